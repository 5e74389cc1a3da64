/* core/magazine.h - a thread's stack of free blocks of one class.
 *
 * Threads: as core/thread_heap.h, whose heaps they are part of.
 * Context: inside malloc. Allocates: never.
 */
#ifndef XS_CORE_MAGAZINE_H
#define XS_CORE_MAGAZINE_H

#include "core/size_class.h"

struct xs_heap;
struct xs_slab;

/* Blocks in a magazine: every one keeps a slab from getting empty, but the fewer there are the more
 * of others' blocks must go back to them, and the more often a magazine is found empty or full,
 * which the processor does not foresee. */
#define XS_MAGAZINE 60

/* Of chunks there are at most so many; and of any size, where a thread gets and frees more at a
 * time (core/heap_deep.c). */
#define XS_MAGAZINE_CHUNKS 28
#define XS_MAGAZINE_DEEP   1024

/* A stack of blocks, which lie in the heap's `stacks`, one magazine's behind another's, as many as
 * each may hold: so little memory is touched however many that is. Those of deep ones lie apart. */
struct xs_magazine {
    /* In bytes from the beginning of the heap: where the next block that is freed goes, behind the
     * one that the next request gets; what the lower half of this is when there is none, and when
     * there is no room for more. All are 0 in one that is not open. */
    _Alignas(1 << XS_CLASS_TABLE_SHIFT) size_t at; /* so wide as an index is */
    uint32_t least;
    uint32_t most;
    /* What it takes: entries of the page map that have these bits where the mask has ones. Of
     * classes that are mixed the mask leaves out whose object it is, since a branch on that would
     * go now one way, now the other. */
    uint16_t tag;
    uint16_t tag_mask;
    int32_t patience;        /* so many frees may find it full until it is asked why */
    struct xs_slab *current; /* takes over when the magazine is empty; or xs_slab_none */
};

_Static_assert(sizeof(struct xs_magazine) == 1 << XS_CLASS_TABLE_SHIFT, "half a line");

XS_INLINE bool xs_magazine_has_room(const struct xs_magazine *m)
{
    return (uint32_t)m->at != m->most;
}

XS_INLINE bool xs_magazine_is_empty(const struct xs_magazine *m)
{
    return (uint32_t)m->at == m->least;
}

XS_INLINE uint32_t xs_magazine_count(const struct xs_magazine *m)
{
    return ((uint32_t)m->at - m->least) / (uint32_t)sizeof(void *);
}

/* So many it may hold. */
XS_INLINE uint32_t xs_magazine_capacity(const struct xs_magazine *m)
{
    return (m->most - m->least) / (uint32_t)sizeof(void *);
}

/* Where a block lies in its heap's stacks, or is to lie. Deep ones may lie in front of the heap. */
XS_INLINE void **xs_magazine_place(const struct xs_heap *h, size_t at)
{
    return (void **)((uintptr_t)h + at); // NOLINT(performance-no-int-to-ptr)
}

/* Where the oldest block does. */
XS_INLINE void **xs_magazine_oldest(const struct xs_heap *h, const struct xs_magazine *m)
{
    size_t at = m->at;

    return xs_magazine_place(h, at - ((uint32_t)at - m->least));
}

/* The block in place `i`, oldest first. */
XS_INLINE void *xs_magazine_at(const struct xs_heap *h, const struct xs_magazine *m, uint32_t i)
{
    return xs_magazine_oldest(h, m)[i];
}

/* Into one that has room. */
XS_INLINE void xs_magazine_push(struct xs_heap *h, struct xs_magazine *m, void *p)
{
    size_t at = m->at;

    *xs_magazine_place(h, at) = p;
    m->at = at + sizeof(void *);
}

/* The next two of one that is not empty. take: for no request. */
XS_INLINE void *xs_magazine_take(struct xs_heap *h, struct xs_magazine *m)
{
    size_t at = m->at - sizeof(void *);

    m->at = at;
    return *xs_magazine_place(h, at);
}

#endif
