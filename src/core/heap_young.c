/* A heap of which little was asked: see core/thread_heap.h. */
#include "core/thread_heap.h"

#define YOUNG_LEAST 64u
#define YOUNG_MOST  1024u

void xs_heap_begin_young(struct xs_heap *h)
{
    for (uint32_t top = YOUNG_LEAST; top <= YOUNG_MOST; top *= 2) {
        h->young |= top;
        for (uint32_t at = top / 32 + 1; at < top / 16; at++)
            h->place[at] = h->place[top / 16];
    }
}

bool xs_heap_is_young(const struct xs_heap *h, unsigned class)
{
    size_t bytes = xs_class_bytes(class);

    return (bytes & (bytes - 1)) == 0 && (bytes & h->young) != 0;
}

bool xs_heap_grow_up(struct xs_heap *h, struct xs_slab *s)
{
    uint32_t top = s->size;

    if (s->end != s->base + XS_SPAN_PAGE)
        return false;
    s->end = s->base + xs_slab_span_bytes(s->class) / top * top;
    h->young &= ~top;
    for (uint32_t at = top / 32 + 1; at < top / 16; at++)
        h->place[at] = xs_class_table[at];
    return true;
}
