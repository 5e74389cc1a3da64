/* core/huge.h - XSIGMA_CPU_HUGE_PAGES=auto: 2 MiB of memory that is about to be used come as one
 * huge page where that costs neither time nor memory.
 *
 * In a heap that has grown large, where a chunk reaches into 2 MiB that have no memory yet, these
 * may become a huge page at once. Whether they do is measured, again and again:
 * - Now and then they are left to small pages, and unless the program was seen to leave such
 *   untouched, a few of these are timed. When some more memory was handed out behind them it is
 *   looked how many of them the program has touched: only where nearly all, what follows may be
 *   huge.
 * - Each huge page is timed when it is first touched. Where one costs more than its small pages, as
 *   where a hypervisor has to find the memory first, that is lost time; no more of it is lost than
 *   huge pages have gained of late, and a hundredth of the time that passes.
 * What has its page is then told to have none, so that the kernel does not fill holes in it later.
 * Units:   bytes, nanoseconds. Owns: nothing.
 * Threads: any; one at a time, others do without. Context: inside malloc, with no lock of the core
 *          held; keeps errno. Allocates: never.
 * Errors:  none: then pages are small.
 */
#ifndef XS_CORE_HUGE_H
#define XS_CORE_HUGE_H

#include "base/compiler.h"

/* In an arena it is looked from so much memory in use on, and they are got from so much on: of the
 * last one most may stay unused, which must be a small part. */
#define XS_HUGE_LOOK_FROM ((uint64_t)16 << 20)
#define XS_HUGE_FROM      ((uint64_t)64 << 20)

/* XS_HUGE_LOOK_FROM; UINT64_MAX: never. */
uint64_t xs_huge_open(bool is_wanted);

/* Just taken: a chunk at `p` of which the last `own` bytes lie behind a multiple of XS_MEM_HUGE,
 * where as many without memory begin. `is_large`: its arena has XS_HUGE_FROM in use. */
XS_COLD void xs_huge_enter(char *p, size_t own, bool is_large);

void xs_huge_fork_child(void);

enum xs_huge_verdict {
    XS_HUGE_UNTRIED, /* the heap did not grow so large */
    XS_HUGE_CHEAP,
    XS_HUGE_DEAR,   /* cost more than small ones */
    XS_HUGE_SPARSE, /* the program leaves too much of its memory untouched */
    XS_HUGE_REFUSED /* the kernel gave small ones */
};

struct xs_huge_stats {
    enum xs_huge_verdict verdict; /* the last one */
    uint64_t got;
    uint64_t dear; /* of those got */
    uint64_t refused;
    uint64_t got_ns;           /* all that were got took */
    uint64_t small_ns;         /* 2 MiB in small ones, by the last look; 0: none was taken */
    unsigned touched_permille; /* of 2 MiB in small ones, by the last look */
};

struct xs_huge_stats xs_huge_stats(void);

#endif
