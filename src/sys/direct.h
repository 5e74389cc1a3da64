/* sys/direct.h - a system call that nobody who hooks libc's hears of.
 * Threads: any. Context: anywhere. Allocates: never. Errors: -1 and errno.
 */
#ifndef XS_SYS_DIRECT_H
#define XS_SYS_DIRECT_H

#include "base/compiler.h"

/* For ranges that are no memory of the heap; those go through sys/mem.h. */
int xs_direct_madvise(void *p, size_t size, int how);

#endif
