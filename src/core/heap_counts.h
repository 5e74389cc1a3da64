/* core/heap_counts.h - what a heap of the own core counts, on a page of its own, so that the page
 * can be one of the record's (sys/record.h) without malloc and free noticing.
 * Units:   as each field says.
 * Threads: one writer, who uses the heap; any may read.
 * Context: anywhere. Allocates: never. Errors: none.
 */
#ifndef XS_CORE_HEAP_COUNTS_H
#define XS_CORE_HEAP_COUNTS_H

#include <stdatomic.h>

#include "core/size_class.h"
#include "stats/stats.h"
#include "sys/record.h"

struct xs_heap_counts {
    _Alignas(XS_RECORD_PAGE) uint64_t taken[XS_CLASS_COUNT]; /* requests, reallocations included */
    uint64_t odd_taken[XS_SIZE_BINS];                        /* the same, of no class */
    int64_t until_tick;     /* bytes to allocate before the next look at the clock */
    int64_t requested;      /* with what until_tick has come down by: the sum of all sizes */
    _Atomic uint32_t ticks; /* odd while until_tick becomes part of `requested` */
    uint64_t frees;
    uint64_t reallocs;
};

_Static_assert(sizeof(struct xs_heap_counts) == XS_RECORD_PAGE, "one page");

/* Exact when the writer rests. */
void xs_heap_counts_add(struct xs_counters *sum, const struct xs_heap_counts *c);

#endif
