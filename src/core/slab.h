/* core/slab.h - slabs: spans cut into objects of one size, described by records elsewhere.
 *
 * A record belongs to one heap for ever and is used again by it only, so a thread that still holds
 * a pointer to the record of a slab that is gone does no harm.
 * Units:   bytes.
 * Threads: the first line of a record is its heap's, which one thread at a time uses; the second
 *          line is written by all.
 * Context: inside malloc. Allocates: blocks of records by mmap.
 * Errors:  false = no memory. A broken free list: the process dies with a message.
 */
#ifndef XS_CORE_SLAB_H
#define XS_CORE_SLAB_H

#include <stdatomic.h>

#include "core/bfc.h"
#include "core/magazine.h"
#include "core/page_map.h"
#include "stats/stats.h"

struct xs_heap;

/* ---- entries of the page map ----
 *
 * Bits 0-1 are the owner (XS_OWNER_BITS), 8-15 the place of the class's magazine, 0 of all that is
 * no object. Of objects: 2-7 and 16-22 the tag of the heap in whose slab it lies, 23-63 the address
 * of the slab's record without its lowest bits. Tags do not suffice for every heap; the last one
 * stands for all beyond, and of these the slab's record tells. Of chunks: 16-23 the class, 24-36
 * some bits of a heap's number, 37-63 the chunk; 2-7 are set, so that with a class, which has bits
 * too, it is nobody's tag. */
_Static_assert(XS_OWNER_COUNT - 1 <= XS_OWNER_MASK, "the owner's bits");
#define XS_ENTRY_TAG_MASK    0x7F00FFu
#define XS_ENTRY_TAG(e)      ((uint32_t)(e)&XS_ENTRY_TAG_MASK)
#define XS_ENTRY_MAGAZINE(e) ((size_t)(uint8_t)((e) >> 8))

/* Of the 13 bits of a tag 6 are set, so that one heap's tag has a bit that another's lacks: to ask
 * for one of those that one's own has not is to ask whether it is one's own. There are 1,716. */
#define XS_TAG_FIRST 0x3Fu
#ifndef XS_HEAP_TAGS /* tests try fewer */
#define XS_HEAP_TAGS (XS_OWNER_BITS == 2 ? 1716u : 924u)
_Static_assert(XS_OWNER_BITS == 2 || XS_OWNER_BITS == 3, "6 of 15 bits less the owner's");
#endif
#define XS_ENTRY_CHUNK_SHIFT 37
#define XS_ENTRY_CHUNKS      ((uint32_t)1 << (64 - XS_ENTRY_CHUNK_SHIFT))
#define XS_ENTRY_HEAPS       ((uint64_t)1 << (XS_ENTRY_CHUNK_SHIFT - 24))

struct xs_slab;

#define XS_NO_TAG ((uint32_t)1 << 31) /* of no entry */

/* Of heap number 1 and so on, as entries have it, with the owner. */
uint32_t xs_heap_tag(uint32_t heap);

XS_INLINE uint64_t xs_entry_of_object(uint32_t tag, unsigned class, const struct xs_slab *s)
{
    return tag | (uint64_t)XS_MAGAZINE_OF(class) << 8 | (uint64_t)(uintptr_t)s << 16;
}

XS_INLINE uint64_t xs_entry_of_chunk(unsigned class, uint16_t heap, uint32_t chunk)
{
    return XS_OWNER_BFC | (0xFF ^ XS_OWNER_MASK) | (uint64_t) class << 16 |
           (heap & (XS_ENTRY_HEAPS - 1)) << 24 | (uint64_t)chunk << XS_ENTRY_CHUNK_SHIFT;
}

/* Of the core's entries. */
XS_INLINE bool xs_entry_is_object(uint64_t e)
{
    return XS_ENTRY_MAGAZINE(e) != 0;
}

/* Of objects. */
#define XS_ENTRY_CLASS(e) ((unsigned)XS_ENTRY_MAGAZINE(e) - 1)
// NOLINTNEXTLINE(performance-no-int-to-ptr)
#define XS_ENTRY_SLAB(e) ((struct xs_slab *)(uintptr_t)((e) >> 16 & ~(uint64_t)0x7F))

/* Of chunks. */
#define XS_ENTRY_CHUNK_CLASS(e) ((unsigned)((e) >> 16) & 0xFF)
#define XS_ENTRY_CHUNK(e)       ((uint32_t)((e) >> XS_ENTRY_CHUNK_SHIFT))

enum xs_slab_state {
    XS_SLAB_NONE,    /* the record describes nothing */
    XS_SLAB_CURRENT, /* its heap takes objects from here */
    XS_SLAB_PARTIAL, /* in the heap's list of those with free objects */
    XS_SLAB_FULL,    /* was current and ran out; in no list until something is freed */
    XS_SLAB_EMPTY,   /* kept for the next need of its class */
    XS_SLAB_SPARE    /* kept for the next need of any class of its span's size */
};

struct xs_slab {
    void **free; /* list through the objects' first words */
    char *bump;  /* from here on nothing was handed out since the slab was last empty */
    char *end;
    void **chains;        /* further such lists, linked through their heads' second words */
    struct xs_slab *next; /* in the list that the state names */
    struct xs_slab *prev;
    uint32_t held; /* objects handed out, less 1; see below */
    uint32_t size;
    uint8_t class;
    uint8_t state;
    uint8_t kind; /* of its span */
    /* So many bytes from `bump` on may bear marks of free objects. What is behind is not written
     * to before the program has it: there may be no memory there yet. */
    int32_t marked;

    /* What other threads freed: (number of objects << 48) | first of the chains. */
    _Alignas(XS_NO_SHARE / 2) _Atomic uint64_t remote;
    struct xs_slab *pending_next;
    struct xs_heap *heap;
    char *base;
    xs_chunk chunk;
    uint32_t index;
    atomic_bool is_pending; /* in the heap's stack of slabs with something in `remote` */
};

/* `held` counts what others freed meanwhile too. It is one less than the number, and has this bit
 * while the slab is full, so that its sign after a free tells of all that is rare: the last object
 * came back, the first one of a full slab did, or one too many. */
#define XS_SLAB_IS_FULL    0x80000000u
#define XS_SLAB_HOLDS_NONE UINT32_MAX

#define XS_REMOTE_COUNT(r) ((uint32_t)((r) >> 48))
#define XS_REMOTE_LIST(r)  ((void **)(uintptr_t)((r) & (((uint64_t)1 << 48) - 1)))

#define XS_SLABS_PER_BLOCK 1024u
#define XS_SLABS_MAX       ((uint32_t)1 << 24)

struct xs_slab_block {
    struct xs_slab slab[XS_SLABS_PER_BLOCK];
};

/* Stands where there is no slab: it has nothing to give. */
extern XS_HIDDEN struct xs_slab xs_slab_none;

/* The second word of a free block. An address of ours, which is at hand without a load and is
 * another one in the next process; odd, so that no aligned pointer of the program's looks like it.
 * A program that has it all the same, by chance or on purpose, makes the free of that block a slow
 * one and nothing else. */
#define XS_FREE_MARK ((uintptr_t)&xs_slab_none + 1)

/* For who compares with its lower half and then stores it: the compiler would make it twice. */
XS_INLINE uintptr_t xs_free_mark(void)
{
    uintptr_t mark = XS_FREE_MARK;

    __asm__("" : "+r"(mark));
    return mark;
}

/* Of a record that exists. */
struct xs_slab *xs_slab_at(uint32_t index);

/* `n` records in a row, for a heap to keep, from number *first on; false = no memory. [any] */
bool xs_slab_records(unsigned n, uint32_t *first);

/* Records ever made, in use or not. [any] */
uint32_t xs_slab_count(void);

/* The largest span; the kinds of spans, smallest first. The first is for objects of up to
 * XS_SLAB_FEW_BYTES in the only heap while little was asked; else the second is for these too.
 */
#define XS_SLAB_SPAN       ((size_t)512 << 10)
#define XS_SLAB_SPAN_KINDS 4
#define XS_SLAB_FEW        0u
#define XS_SLAB_SMALL      1u
#define XS_SLAB_FEW_BYTES  1024u

/* Of a slab of this class; `is_few`: in such a heap. */
unsigned xs_slab_span_kind(unsigned class, bool is_few);
size_t xs_slab_span_bytes(unsigned kind);

/* Chains are linked through their heads' second words, where the mark of a free block is: by the
 * upper half, which is how far away the next one is, so that the head bears the lower half of the
 * mark, which is what a second free looks at first. */
XS_INLINE void **xs_chain_next(void **chain)
{
    int64_t word = (int64_t)((uintptr_t)chain[1] ^ XS_FREE_MARK);

    if (XS_UNLIKELY((uint32_t)word != 0)) /* written to: somewhere else */
        return (void **)word;             // NOLINT(performance-no-int-to-ptr)
    return word != 0 ? (void **)(void *)((char *)chain + (word >> 28)) : NULL;
}

XS_INLINE void xs_chain_link(void **chain, void **next)
{
    uintptr_t steps = next != NULL ? (uintptr_t)(((char *)next - (char *)chain) / 16) : 0;

    ((uintptr_t *)chain)[1] = XS_FREE_MARK ^ steps << 32;
}

/* Hands a chain of `n` freed objects to the slab's heap; [any]. True if the heap must be told. */
bool xs_slab_push_remote(struct xs_slab *s, void **head, uint32_t n);

/* The next chain becomes the list, which is used up: false if there is none. */
bool xs_slab_use_chain(struct xs_slab *s);

/* Takes over the chains that others handed in: false if there are none. Only the heads are touched:
 * the rest lies in the cache of who freed it. */
bool xs_slab_take_remote(struct xs_slab *s);

XS_COLD XS_NORETURN void xs_slab_die(const void *p);

XS_INLINE uint32_t xs_slab_used(const struct xs_slab *s)
{
    return (s->held + 1) & ~XS_SLAB_IS_FULL;
}

/* Nothing further away than a span is can lie in the same slab; NULL is further away. */
XS_INLINE bool xs_slab_is_far(const void *p, const void *q)
{
    return (uintptr_t)p - (uintptr_t)q + XS_SLAB_SPAN >= 2 * XS_SLAB_SPAN;
}

XS_INLINE bool xs_slab_contains(const struct xs_slab *s, const void *p)
{
    return (uintptr_t)p - (uintptr_t)s->base < (uintptr_t)(s->end - s->base);
}

/* An object; NULL when the list and the fresh part are used up (there may be chains then). */
XS_INLINE void *xs_slab_take(struct xs_slab *s)
{
    void **p = s->free;

    if (p != NULL) {
        void **next = p[0];
        if (XS_UNLIKELY(xs_slab_is_far(next, p))) {
            if (next != NULL)
                xs_slab_die(p);
            /* Next it will be looked whether others have freed something. */
            xs_prefetch_write(&s->remote);
            __builtin_prefetch(s->chains);
        }
        s->free = next;
        /* Mostly the next one to be handed out, and not in the cache if it was freed long ago. */
        __builtin_prefetch(next);
    } else {
        p = (void **)(void *)s->bump;
        if (s->bump == s->end)
            return NULL;
        s->bump += s->size;
        s->held++;
        if (s->marked <= 0)
            return p;
        s->marked -= (int32_t)s->size;
        p[1] = NULL;
        return p;
    }
    s->held++;
    p[1] = NULL; /* no longer marked as free */
    return p;
}

/* Every object is free: they are handed out in the order of their addresses again. */
XS_INLINE void xs_slab_reset(struct xs_slab *s)
{
    s->marked = (int32_t)(s->bump - s->base) + (s->marked > 0 ? s->marked : 0);
    s->free = NULL;
    s->chains = NULL;
    s->bump = s->base;
}

#endif
