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

/* The place of a class's magazine among those of a heap; 0 is that of sizes of which none was asked
 * yet, which never holds anything and has no room. */
#define XS_MAGAZINE_OF(class) ((class) + 1u)
#define XS_MAGAZINE_PLACES    (XS_CLASS_COUNT + 1)

/* Stacks of blocks, which lie in the heap's `stacks`, one magazine's behind another's, as many as
 * each may hold: so little memory is touched however many that is. Those of deep ones lie apart.
 * What of them is looked at together lies so that the place is all that is needed to get there. */
struct xs_magazines {
    /* Below the first block of each stack there is NULL; of those that are not open, here. */
    void *floor;
    /* In bytes from here: where the next block that is freed goes, behind the one that the next
     * request gets; what the lower half of this is when there is none, and when there is no room
     * for more. All are 0 of one that is not open. */
    size_t at[XS_MAGAZINE_PLACES]; /* so wide as an index is */
    uint32_t most[XS_MAGAZINE_PLACES];
    /* It takes no block whose entry of the page map has one of these bits. Of classes that are
     * mixed that leaves out whose object it is, since a branch on that would go now one way, now
     * the other. */
    uint32_t refuses[XS_MAGAZINE_PLACES];
    /* Takes over when it is empty; or xs_slab_none. NULL, not even that, of one that is not open.
     */
    struct xs_slab *current[XS_MAGAZINE_PLACES];
    uint32_t least[XS_MAGAZINE_PLACES];
    int32_t patience[XS_MAGAZINE_PLACES]; /* so many frees may find it full until it is asked why */
};

XS_INLINE bool xs_magazine_has_room(const struct xs_magazines *m, size_t place)
{
    return (uint32_t)m->at[place] != m->most[place];
}

XS_INLINE bool xs_magazine_is_empty(const struct xs_magazines *m, size_t place)
{
    return (uint32_t)m->at[place] == m->least[place];
}

XS_INLINE uint32_t xs_magazine_count(const struct xs_magazines *m, size_t place)
{
    return ((uint32_t)m->at[place] - m->least[place]) / (uint32_t)sizeof(void *);
}

/* So many it may hold. */
XS_INLINE uint32_t xs_magazine_capacity(const struct xs_magazines *m, size_t place)
{
    return (m->most[place] - m->least[place]) / (uint32_t)sizeof(void *);
}

/* Where a block lies, or is to lie. Deep ones may lie in front of the heap. */
XS_INLINE void **xs_magazine_slot(const struct xs_magazines *m, size_t at)
{
    return (void **)((uintptr_t)m->at + at); // NOLINT(performance-no-int-to-ptr)
}

/* What `at` of a block in this slot is. */
XS_INLINE size_t xs_magazine_slot_at(const struct xs_magazines *m, void **slot)
{
    return (uintptr_t)slot - (uintptr_t)m->at;
}

/* Where the oldest block does. */
XS_INLINE void **xs_magazine_oldest(const struct xs_magazines *m, size_t place)
{
    size_t at = m->at[place];

    return xs_magazine_slot(m, at - ((uint32_t)at - m->least[place]));
}

/* Block number `i`, oldest first. */
XS_INLINE void *xs_magazine_at(const struct xs_magazines *m, size_t place, uint32_t i)
{
    return xs_magazine_oldest(m, place)[i];
}

/* Into one that has room. */
XS_INLINE void xs_magazine_push(struct xs_magazines *m, size_t place, void *p)
{
    size_t at = m->at[place];

    *xs_magazine_slot(m, at) = p;
    m->at[place] = at + sizeof(void *);
}

/* The next block; NULL: it is empty. */
XS_INLINE void *xs_magazine_take(struct xs_magazines *m, size_t place)
{
    size_t at = m->at[place] - sizeof(void *);
    void *p = *xs_magazine_slot(m, at);

    if (XS_LIKELY(p != NULL))
        m->at[place] = at;
    return p;
}

#endif
