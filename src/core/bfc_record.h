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
    CHUNK_REGION
};

struct xs_bfc_record {
    uintptr_t base;
    size_t size;
    size_t requested;  /* while in use */
    uint64_t freed_at; /* the caller's clock */
    xs_chunk left;     /* neighbours in memory, the first one's being the region's own record */
    xs_chunk right;    /* 0 at the region's end */
    union {
        struct {
            xs_chunk next; /* in the bin, or among the unused */
            xs_chunk prev;
        };
        unsigned char note[8]; /* while in use: for who has it */
    };
    uint8_t state;
    bool is_purged;  /* while free: no memory behind it */
    bool was_purged; /* while in use: it came so */
    bool is_kept;    /* of a region: never given back */
    /* While free: so many units of it were in use since it had no memory behind it; a merged chunk
     * may be mostly memory that was never touched. */
    uint32_t dirty;
};

static inline struct xs_bfc_record *bfc_record(const struct xs_bfc *b, xs_chunk c)
{
    return &b->block[c / RECORDS_PER_BLOCK][c % RECORDS_PER_BLOCK];
}

struct bfc_bin {
    unsigned fl;
    unsigned sl;
};

static inline xs_chunk *bfc_heads(const struct xs_bfc *b, unsigned fl)
{
    struct xs_bfc *own = (struct xs_bfc *)(uintptr_t)b;

    return fl < XS_BFC_NEAR_FLS ? own->near_bin[fl] : own->far_bin[fl - XS_BFC_NEAR_FLS];
}

static inline struct bfc_bin bfc_bin_of(const struct xs_bfc *b, size_t size)
{
    uint64_t units = size >> b->unit_log2;

    if (units < XS_BFC_SLS)
        return (struct bfc_bin){0, (unsigned)units};
    unsigned log2 = 63u - (unsigned)__builtin_clzll(units);
    return (struct bfc_bin){log2 - 4, (unsigned)(units >> (log2 - 5)) & (XS_BFC_SLS - 1)};
}

static inline bool bfc_in_use(const struct xs_bfc *b, xs_chunk c)
{
    return c != 0 && c / RECORDS_PER_BLOCK < b->blocks && bfc_record(b, c)->state == CHUNK_IN_USE;
}

/* For sums that cannot overflow; what is beyond makes no difference. */
#define DIRTY_MOST ((uint32_t)INT32_MAX)

static inline uint32_t bfc_units_of(const struct xs_bfc *b, size_t size)
{
    size_t units = size >> b->unit_log2;

    return units < DIRTY_MOST ? (uint32_t)units : DIRTY_MOST;
}

static inline void bfc_add_dirty(struct xs_bfc *b, struct xs_bfc_record *to,
                                 const struct xs_bfc_record *from)
{
    uint32_t sum = to->dirty + from->dirty;

    if (XS_UNLIKELY(sum > DIRTY_MOST)) {
        b->dirty -= sum - DIRTY_MOST;
        sum = DIRTY_MOST;
    }
    to->dirty = sum;
}

/* The front has what it can have: there chunks are taken from. */
static inline void bfc_share_dirty(const struct xs_bfc *b, struct xs_bfc_record *front,
                                   struct xs_bfc_record *back, uint32_t sum)
{
    uint32_t most = bfc_units_of(b, front->size);

    front->dirty = sum < most ? sum : most;
    back->dirty = sum - front->dirty;
}

/* The bytes of a region for `need`, which is whole units; 0: there may be none. */
size_t bfc_growth(const struct xs_bfc *b, size_t need);

#endif
