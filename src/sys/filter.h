/* sys/filter.h - a filter of system calls that the program puts over itself.
 *
 * It may kill for any call that is not on its list, and the list is made for what the C library's
 * own malloc needs: mmap, munmap and mremap, brk, futexes where there are threads, and mprotect
 * for a thread's own arena. Whoever would make another call asks here first and does without it.
 * A filter that was there before the start does not count as such: those of containers refuse, and
 * what is refused is done without anyway. Those of systemd kill, but allow all that the library
 * calls except mincore (sys/mem.c).
 *
 * Threads: any. Context: any. Allocates: never.
 */
#ifndef XS_SYS_FILTER_H
#define XS_SYS_FILTER_H

#include <stdatomic.h>

#include "base/compiler.h"

extern XS_HIDDEN atomic_bool xs_filter_is_set;

/* One is about to be set; there is no way back. */
void xs_filter_note(void);

/* One was there before the start; for calls that it might kill for, other than those that any
 * program needs. Asks the kernel, so not under one of the program's own; may change errno. */
bool xs_filter_was_before(void);

XS_INLINE bool xs_is_filtered(void)
{
    return atomic_load_explicit(&xs_filter_is_set, memory_order_relaxed);
}

#endif
