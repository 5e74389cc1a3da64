/* Counts of the own core. malloc and free are at work in the heap anyway: to add to a word of the
 * class, to the frees, and to the bytes up to the next look at the clock costs four instructions a
 * pair, so nothing is to be gained by not counting. */
#include <errno.h>

#include "core/thread_heap.h"

static struct {
    _Atomic uint64_t count;
    _Atomic uint64_t largest;
    _Atomic uint64_t last;
} failures;

/* What was done without a heap: for want of memory, or past the end of a thread. */
XS_UNLIKELY_DATA static struct xs_heap_counts late_counts;

/* Few processes have any, so it becomes a part of the record when it is needed. */
static struct xs_heap_counts *late(void)
{
    static atomic_bool is_area;

    if (!atomic_exchange_explicit(&is_area, true, memory_order_relaxed))
        (void)xs_record_area(XS_RECORD_HEAPS, &late_counts, sizeof(late_counts));
    return &late_counts;
}

static void add(_Atomic uint64_t *to, uint64_t n)
{
    atomic_fetch_add_explicit(to, n, memory_order_relaxed);
}

/* The least class's bin is the least. */
static unsigned bin_of(size_t size)
{
    return (unsigned)xs_size_bin(size < 16 ? 16 : size);
}

void xs_heap_count_request_late(size_t size)
{
    if (xs_heap_back()) {
        xs_heap_count_request(xs_heap_mine, size);
        return;
    }
    XS_COUNT_LATE(late()->requested, size);
    XS_COUNT_LATE(late()->odd_taken[bin_of(size)], 1);
}

void xs_heap_count_realloc_late(void)
{
    if (xs_heap_back())
        XS_COUNT(xs_heap_mine->counts.reallocs, 1);
    else
        XS_COUNT_LATE(late()->reallocs, 1);
}

void xs_heap_count_frees_late(int n)
{
    if (xs_heap_back())
        XS_COUNT(xs_heap_mine->counts.frees, (uint64_t)n);
    else
        XS_COUNT_LATE(late()->frees, (uint64_t)n);
}

/* A heap on loan may have counted it: the sum is right. */
void xs_heap_uncount_request(size_t size)
{
    struct xs_heap *h = xs_heap_here();

    if (xs_heap_is_none(h)) {
        XS_COUNT_LATE(late()->requested, 0 - (uint64_t)size);
        XS_COUNT_LATE(late()->odd_taken[bin_of(size)], UINT64_MAX);
        return;
    }
    XS_COUNT(h->counts.requested, 0 - (int64_t)size);
    xs_heap_count_size(h, size, -1);
}

void xs_heap_uncount_move(size_t size)
{
    xs_heap_count_frees(xs_heap_mine, -1);
    xs_heap_uncount_request(size);
}

/* ---- failures --------------------------------------------------------------------------- */

void xs_heap_note_failure(size_t size)
{
    uint64_t largest = atomic_load_explicit(&failures.largest, memory_order_relaxed);

    add(&failures.count, 1);
    atomic_store_explicit(&failures.last, size, memory_order_relaxed);
    while (size > largest &&
           !atomic_compare_exchange_weak_explicit(&failures.largest, &largest, size,
                                                  memory_order_relaxed, memory_order_relaxed))
        ;
    errno = ENOMEM;
}

void xs_heap_forgive_failure(void)
{
    add(&failures.count, UINT64_MAX);
}

void xs_heap_failures_get(struct xs_heap_stats *out)
{
    out->lent = atomic_load_explicit(&xs_heap_lent, memory_order_relaxed);
    out->failures = atomic_load_explicit(&failures.count, memory_order_relaxed);
    out->largest_failure_bytes = atomic_load_explicit(&failures.largest, memory_order_relaxed);
    out->last_failure_bytes = atomic_load_explicit(&failures.last, memory_order_relaxed);
}

/* ---- sums ------------------------------------------------------------------------------- */

/* Reads what other threads may be changing. */
__attribute__((no_sanitize("thread"))) void xs_heap_counts_add(struct xs_counters *sum,
                                                               const struct xs_heap_counts *c)
{
    int64_t requested;
    uint32_t ticks;
    unsigned tries = 0;

    /* Not for ever: the caller may have interrupted the change. */
    do {
        ticks = atomic_load_explicit(&c->ticks, memory_order_acquire);
        requested = c->requested - c->until_tick;
        atomic_thread_fence(memory_order_acquire);
    } while ((ticks % 2 != 0 || ticks != atomic_load_explicit(&c->ticks, memory_order_relaxed)) &&
             ++tries < 1000);
    sum->requested_bytes += (uint64_t)requested;
    sum->frees += c->frees;
    sum->reallocs += c->reallocs;
    for (unsigned i = 0; i < XS_CLASS_COUNT; i++)
        sum->size_bin[xs_size_bin(xs_class_bytes(i))] += c->taken[i];
    for (unsigned b = 0; b < XS_SIZE_BINS; b++)
        sum->size_bin[b] += c->odd_taken[b];
}

void xs_heap_counters_add(struct xs_counters *sum)
{
    for (const struct xs_heap *h = xs_heap_all(); h != NULL; h = h->next)
        xs_heap_counts_add(sum, &h->counts);
    xs_heap_counts_add(sum, &late_counts);
}
