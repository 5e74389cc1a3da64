/* preload/exports.h - prototypes of exported functions that no system header declares.
 * The names that leave the library are listed in preload/exports.list.
 */
#ifndef XS_PRELOAD_EXPORTS_H
#define XS_PRELOAD_EXPORTS_H

#include <stddef.h>
#include <stdio.h>

#include "base/compiler.h"

void cfree(void *p);
void free_sized(void *p, size_t size);
void free_aligned_sized(void *p, size_t align, size_t size);

/* The same as the exported names, but certainly ours: a program may have its own of those. */
XS_HIDDEN void *xs_memalign(size_t align, size_t size);
XS_HIDDEN void *xs_realloc(void *p, size_t size);
XS_HIDDEN int xs_trim(size_t pad);

/* After the policy has started: if the core is hardened, the operators tell it what they are. */
XS_HIDDEN void xs_new_harden(void);

#endif
