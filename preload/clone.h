/* preload/clone.h - processes that clone and system calls make as fork does, with memory of their
 * own: around these our handlers run too. jumps.c stands in front.
 * Threads: any. Context: outside malloc.
 */
#ifndef XS_PRELOAD_CLONE_H
#define XS_PRELOAD_CLONE_H

#include "base/compiler.h"

/* The arguments of clone: it is for xs_clone_copy, not for libc alone. */
XS_HIDDEN int xs_clone_is_copy(int (*run)(void *), void *stack, int flags);
XS_HIDDEN int xs_clone_copy(int (*run)(void *), void *stack, int flags, void *arg, void *parent_id,
                            void *tls, void *child_id);

/* The first arguments of syscall: it is for xs_clone_by_syscall. */
XS_HIDDEN int xs_clone_is_fork(long number, long a, long b);
XS_HIDDEN long xs_clone_by_syscall(long number, long a, long b, long c, long d, long e, long f);

#endif
