/* Sampled blocks of the own core. malloc counts bytes down to the next look at the clock anyway, so
 * a sample that is due earlier is such a look, and costs the fast path nothing; and a block that
 * was sampled becomes a chunk of the BFC, whose free and realloc are never fast. */
#include <errno.h>
#include <string.h>

#include "core/thread_heap.h"
#include "stats/latency.h"

bool xs_heap_window_is_over(struct xs_heap *h, bool *is_sampled, bool *is_timed)
{
    const int64_t over = h->counts.until_tick;

    *is_sampled = *is_timed = false;
    if (!xs_sample_is_in_core && !xs_latency_is_in_core)
        return true;
    /* What went beyond the bound, which belongs to the last block, comes off too. */
    h->look_left += over;
    if (xs_sample_is_in_core && (h->sample_left += over) < 0) {
        *is_sampled = xs_sample_is_on && h == xs_heap_mine;
        h->sample_left = xs_sample_gap();
    }
    *is_timed = xs_latency_is_in_core && xs_heap_time_is_due(h, over);
    return h->look_left < 0;
}

int64_t xs_heap_next_window(struct xs_heap *h, int64_t to_look)
{
    if (!xs_sample_is_in_core && !xs_latency_is_in_core)
        return to_look;
    if (to_look != 0)
        h->look_left = to_look;
    int64_t window = h->look_left;
    if (xs_sample_is_in_core && h->sample_left < window)
        window = h->sample_left;
    if (xs_latency_is_in_core && h->time_left < window)
        window = h->time_left;
    h->look_left -= window;
    h->sample_left -= window;
    h->time_left -= window;
    return window;
}

void *xs_heap_sampled(void *p, size_t size)
{
    struct xs_heap *h = xs_heap_mine;
    bool is_zero;
    void *q = xs_large_malloc(h, size, 0, &is_zero);

    if (q == NULL)
        return p;
    bool done = xs_sample_take(q, size);
    if (!done) {
        void *unused = p;
        p = q;
        q = unused;
    }
    xs_heap_free_moved(p, xs_page_map_get(p));
    return q;
}

void xs_heap_sample_start(void)
{
    struct xs_heap *mine = xs_heap_here();

    /* The others come to it at their next look at the clock. */
    for (struct xs_heap *h = xs_heap_all(); h != NULL; h = h->next)
        h->sample_left = xs_sample_gap();
    if (mine == &xs_heap_none)
        return;
    mine->time_left += mine->counts.until_tick; /* which the window comes off */
    int64_t window = xs_heap_next_window(mine, XS_HEAP_TICK_LEAST_BYTES);
    mine->counts.requested += window - mine->counts.until_tick;
    mine->counts.until_tick = window;
}

/* The block that realloc returns, and which has passed the bound. */
XS_COLD static void *tick(void *q, size_t size)
{
    int saved = errno;

    if (!xs_heap_tick_over(xs_heap_mine))
        return q;
    uint64_t entry = xs_page_map_get(q);
    if (!xs_entry_is_object(entry)) {
        (void)xs_sample_take(q, size);
        return q;
    }
    bool is_zero;
    void *chunk = xs_large_malloc(xs_heap_mine, size, 0, &is_zero);
    if (chunk != NULL) {
        memcpy(chunk, q, size);
        xs_heap_free_moved(q, entry);
        (void)xs_sample_take(chunk, size);
        q = chunk;
    }
    errno = saved;
    return q;
}

XS_COLD static void *realloc_noted(void *p, uint64_t entry, size_t size)
{
    struct xs_sampled was;
    bool was_sampled = xs_sample_forget(p, &was);
    void *q = xs_heap_realloc_plainly(p, entry, size);

    if (q == NULL && was_sampled)
        xs_sample_restore(&was);
    return q;
}

/* A block that is reallocated counts as one that goes and one that comes. Where the new one is from
 * malloc, that has drawn for it. */
void *xs_heap_realloc_sampled(void *p, uint64_t entry, size_t size)
{
    bool may_be = XS_UNLIKELY(!xs_entry_is_object(entry)) && xs_table_may_hold(0, p);
    void *q = may_be ? realloc_noted(p, entry, size) : xs_heap_realloc_plainly(p, entry, size);

    return XS_LIKELY(xs_heap_mine->counts.until_tick >= 0) || q == NULL ? q : tick(q, size);
}
