/* core/bfc_record.h - what core/bfc*.c and gpu/sub_bfc.c, which cuts device memory by it, know of a
 * chunk; nobody else includes it. Threads, context, errors: as core/bfc.h.
 */
#ifndef XS_CORE_BFC_RECORD_H
#define XS_CORE_BFC_RECORD_H

#include "core/bfc.h"

#define RECORDS_PER_BLOCK (XS_BFC_CHUNKS / XS_BFC_BLOCKS)

enum chunk_state {
    CHUNK_NONE, /* the record is unused */
    CHUNK_CUT,  /* between two calls of ours, in no bin */
    CHUNK_FREE, /* in a bin, or the open one */
    CHUNK_IN_USE,
    /* No chunk but a region itself: an empty left neighbour of its first chunk, so that nothing has
     * to be moved when another chunk becomes the first. `right` is the first chunk, `next` the next
     * region, `requested` the region's bytes. */
    CHUNK_REGION,
    CHUNK_KEPT_REGION /* one that is never given back */
};

/* A line of the processor's cache. The blocks that they come in begin with one. */
struct xs_bfc_record {
    uintptr_t base;
    size_t size;
    union {
        size_t requested;  /* while in use */
        uint64_t freed_at; /* while free: the caller's clock */
    };
    /* Neighbours in memory, the first one's being the region's own record. */
    struct xs_bfc_record *left;
    struct xs_bfc_record *right; /* NULL at the region's end */
    union {
        struct {
            struct xs_bfc_record *next; /* in the bin, or among the unused */
            struct xs_bfc_record *prev;
        };
        unsigned char note[16]; /* while in use: for who has it */
    };
    /* While free: so many units of it were in use since it had no memory behind it, as a merged
     * chunk may be mostly memory that was never touched; or PURGED: it has no memory behind it.
     * While in use: as it came. */
    uint32_t dirty;
    xs_chunk number : XS_BFC_CHUNKS_LOG2;
    uint8_t state;
};

static inline struct xs_bfc_record *bfc_record(const struct xs_bfc *b, xs_chunk c)
{
    return &b->block[c / RECORDS_PER_BLOCK][c % RECORDS_PER_BLOCK];
}

static inline xs_chunk bfc_number(const struct xs_bfc_record *r)
{
    return r != NULL ? r->number : 0;
}

static inline xs_chunk *bfc_head(const struct xs_bfc *b, unsigned bin)
{
    struct xs_bfc *own = (struct xs_bfc *)(uintptr_t)b;

    return bin < XS_BFC_NEAR_BINS ? &own->near_bin[bin] : &own->far_bin[bin - XS_BFC_NEAR_BINS];
}

/* Bins below this have chunks of one size each; they have a word of the map of filled ones. */
#define EXACT_BINS 64u
_Static_assert(EXACT_BINS == 2 * XS_BFC_SLS && EXACT_BINS <= XS_BFC_NEAR_BINS, "one word");

/* The sizes of each doubling have XS_BFC_SLS bins, those below 2 * XS_BFC_SLS units one each. */
static inline unsigned bfc_bin_of(const struct xs_bfc *b, size_t size)
{
    uint64_t units = size >> b->unit_log2;

    if (units < EXACT_BINS)
        return (unsigned)units;
    unsigned shift = 63u - XS_BFC_SLS_LOG2 - (unsigned)__builtin_clzll(units);
    return shift * XS_BFC_SLS + (unsigned)(units >> shift);
}

/* The head of the first filled bin from this one on; NULL: none is. */
XS_INLINE const xs_chunk *bfc_filled_from(const struct xs_bfc *b, unsigned *bin)
{
    unsigned at = *bin / 64;
    uint64_t bits = b->filled[at] >> *bin % 64;

    if (bits != 0) {
        *bin += (unsigned)__builtin_ctzll(bits);
    } else {
        uint32_t words = b->filled_words & (UINT32_MAX - 1) << at;
        if (words == 0)
            return NULL;
        at = (unsigned)__builtin_ctz(words);
        *bin = at * 64 + (unsigned)__builtin_ctzll(b->filled[at]);
    }
    return bfc_head(b, *bin);
}

/* Number 0's state is CHUNK_NONE. */
static inline bool bfc_in_use(const struct xs_bfc *b, xs_chunk c)
{
    return c / RECORDS_PER_BLOCK < b->blocks && bfc_record(b, c)->state == CHUNK_IN_USE;
}

static inline bool bfc_is_free(const struct xs_bfc_record *r)
{
    return r != NULL && r->state == CHUNK_FREE;
}

/* The chunk that a wholly free region consists of, or NULL. */
static inline struct xs_bfc_record *bfc_whole_free(const struct xs_bfc_record *region)
{
    return bfc_is_free(region->right) && region->right->right == NULL ? region->right : NULL;
}

/* For sums that cannot overflow; what is beyond makes no difference. */
#define DIRTY_MOST ((uint32_t)INT32_MAX)
#define PURGED     (DIRTY_MOST + 1)

static inline bool bfc_is_purged(const struct xs_bfc_record *r)
{
    return r->dirty == PURGED;
}

static inline uint32_t bfc_dirty_units(const struct xs_bfc_record *r)
{
    return r->dirty & DIRTY_MOST;
}

static inline uint32_t bfc_units_of(const struct xs_bfc *b, size_t size)
{
    size_t units = size >> b->unit_log2;

    return units < DIRTY_MOST ? (uint32_t)units : DIRTY_MOST;
}

/* The bytes of a region for `need`, which is whole units; 0: there may be none. */
size_t bfc_growth(const struct xs_bfc *b, size_t need);

#endif
