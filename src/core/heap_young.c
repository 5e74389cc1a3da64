/* A heap of which little was asked: see core/thread_heap.h. */
#include "core/thread_heap.h"

#define YOUNG_LEAST 64u
#define YOUNG_MOST  4096u

/* So many objects of larger classes may serve requests: each costs some 50 instructions more than
 * one of its own class would, all together less than the page that most of these never need. */
#define BORROWS 64u

/* So many of its slabs are short: what blocks that grow leave behind is the sooner of use to
 * others. Of a large heap the longer ones cost less time. */
#define FEW 64u

void xs_heap_begin_young(struct xs_heap *h)
{
    h->borrows = BORROWS;
    h->few = FEW;
    for (uint32_t top = YOUNG_LEAST; top <= YOUNG_MOST; top *= 2)
        h->young |= top;
}

bool xs_heap_is_young(const struct xs_heap *h, unsigned class)
{
    size_t bytes = xs_class_bytes(class);

    return (bytes & (bytes - 1)) == 0 && (bytes & h->young) != 0;
}

unsigned xs_heap_open_class(struct xs_heap *h, size_t size)
{
    unsigned class = xs_class_of(size);
    size_t least = SIZE_MAX; /* from here on all sizes are of it */

    if (size > YOUNG_LEAST / 2 && size <= YOUNG_MOST) {
        size_t top = YOUNG_LEAST;
        while (top < size)
            top *= 2;
        if ((h->young & top) != 0) {
            class = xs_class_of(top);
            least = top / 2 + 1;
        }
    }
    if (h->hot.current[XS_MAGAZINE_OF(class)] == NULL)
        xs_heap_open_magazine(h, class);
    if (size <= XS_CLASS_TABLE_MAX && h->place[(size + 15) / 16] == 0) {
        size_t at = xs_class_table_bytes[class] / 16u;
        do
            h->place[at] = (uint8_t)XS_MAGAZINE_OF(class);
        while (at-- != 0 && (16 * at >= least || xs_class_of(16 * at) == class));
    }
    return class;
}

/* One that is there, on a page that was touched; or NULL. */
static void *take_touched(struct xs_heap *h, unsigned class)
{
    size_t place = XS_MAGAZINE_OF(class);
    struct xs_slab *s = h->hot.current[place];

    if (s == NULL)
        return NULL;
    if (!xs_magazine_is_empty(&h->hot, place))
        return xs_magazine_pop(h, place);
    return s->free != NULL || (uintptr_t)s->bump % XS_SPAN_PAGE != 0 ? xs_slab_take(s) : NULL;
}

void *xs_heap_borrow(struct xs_heap *h, unsigned class)
{
    size_t bytes = xs_class_bytes(class);
    void *p = NULL;

    if (h->borrows == 0 || h->partial[class].first != NULL || h->empty[class] != NULL)
        return NULL;
    for (size_t top = 32; top <= YOUNG_MOST && p == NULL; top *= 2)
        if (top > bytes && top <= 4 * bytes)
            p = take_touched(h, xs_class_of(top));
    if (p != NULL) {
        h->borrows--;
        xs_heap_count_taken(h, XS_MAGAZINE_OF(class));
    }
    return p;
}

bool xs_heap_grow_up(struct xs_heap *h, struct xs_slab *s)
{
    uint32_t top = s->size;

    if (s->end != s->base + XS_YOUNG_BYTES)
        return false;
    s->end = s->base + xs_slab_span_bytes(s->kind) / top * top;
    h->young &= ~top;
    /* All but the largest size are asked for anew. */
    for (size_t at = top / 32 + 1; xs_class_of(16 * at) != s->class; at++)
        h->place[at] = 0;
    return true;
}
