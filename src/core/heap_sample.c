/* Sampled blocks of the own core. malloc counts bytes down to the next look at the clock anyway, so
 * a sample that is due earlier is such a look, and costs the fast path nothing; and a block that
 * was sampled becomes a chunk of the BFC, whose free and realloc are never fast. */
#include <errno.h>
#include <string.h>

#include "core/thread_heap.h"

XS_TLS bool xs_heap_realloc_is_due;

int64_t xs_heap_next_window(struct xs_heap *h, int64_t window, bool *is_due)
{
    *is_due = false;
    if (!xs_sample_is_in_core)
        return window;
    /* What went beyond the bound, which belongs to the last block, comes off too. */
    h->sample_left += h->counts.until_tick;
    if (h->sample_left < 0) {
        *is_due = xs_sample_is_on && h == xs_heap_mine;
        h->sample_left = xs_sample_gap();
    }
    if (h->sample_left < window)
        window = h->sample_left;
    h->sample_left -= window;
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
    struct xs_heap *mine = xs_heap_mine;
    bool unused;

    /* The others come to it at their next look at the clock. */
    for (struct xs_heap *h = xs_heap_all(); h != NULL; h = h->next)
        h->sample_left = xs_sample_gap();
    if (mine == &xs_heap_none)
        return;
    mine->sample_left -= mine->counts.until_tick; /* which the next line adds */
    int64_t window = xs_heap_next_window(mine, XS_HEAP_TICK_BYTES, &unused);
    mine->counts.requested += window - mine->counts.until_tick;
    mine->counts.until_tick = window;
}

/* A block that is reallocated counts as one that goes and one that comes. Where the new one is from
 * malloc, that has drawn for it. */
void *xs_heap_realloc_sampled(void *p, uint64_t entry, size_t size)
{
    struct xs_sampled was;
    bool was_sampled = !xs_entry_is_object(entry) && xs_sample_forget(p, &was);

    xs_heap_realloc_is_due = false;
    void *q = xs_heap_realloc_plainly(p, entry, size);
    if (q == NULL) {
        if (was_sampled)
            xs_sample_restore(&was);
        return NULL;
    }
    if (!xs_heap_realloc_is_due || !xs_sample_is_on)
        return q;
    xs_heap_realloc_is_due = false;
    entry = xs_page_map_get(q);
    if (!xs_entry_is_object(entry)) {
        (void)xs_sample_take(q, size);
        return q;
    }
    int saved = errno;
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
