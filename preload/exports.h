/* preload/exports.h - prototypes of exported functions that no system header declares.
 * The names that leave the library are listed in preload/exports.list.
 */
#ifndef XS_PRELOAD_EXPORTS_H
#define XS_PRELOAD_EXPORTS_H

#include <stddef.h>
#include <stdio.h>

void cfree(void *p);
void free_sized(void *p, size_t size);
void free_aligned_sized(void *p, size_t align, size_t size);

#endif
