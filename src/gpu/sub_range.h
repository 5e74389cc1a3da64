/* gpu/sub_range.h - what the two kinds of sub-allocator have in common; nobody but sub*.c includes
 * it. Ranges are known by their number; they are also kept in the order of their addresses, so that
 * the one around an address is found by bisection. Threads, context, errors: as gpu/sub.h.
 */
#ifndef XS_GPU_SUB_RANGE_H
#define XS_GPU_SUB_RANGE_H

#include "gpu/sub.h"

#define XS_SUB_RANGES 4096u
/* The driver maps device memory in pieces of this size. */
#define XS_SUB_GRANULE ((size_t)2 << 20)
/* What is asked for where a granule would be left half empty. */
#define XS_SUB_EXACT ((size_t)64 << 10)

struct xs_sub_range {
    uint64_t address; /* as the driver gave it */
    size_t size;      /* 0: no range has this number */
    uint64_t base;    /* the aligned part, which is divided */
    size_t usable;
    uint32_t used;   /* blocks in use */
    uint32_t cached; /* free blocks that are not merged yet */
    uint32_t lost;   /* of those in use, that must not be used again */
    bool leaving;
    /* Of sub_bfc.c: the core's region; and for each 2^begins_log2 bytes of it a block that begins
     * there, if one does that was not forgotten. NULL: no memory. */
    uint32_t region, *begins;
    unsigned begins_log2;
};

struct xs_sub_kind {
    /* NEED: nothing that is free will do. `size` is at most `largest`. */
    enum xs_sub_result (*take)(struct xs_sub *s, size_t size, struct xs_sub_block *out);
    /* As xs_sub_alloc_more and xs_sub_take_back. */
    unsigned (*more)(struct xs_sub *s, size_t size, unsigned most, struct xs_sub_block *first);
    bool (*take_back)(struct xs_sub *s, uint32_t handle, unsigned n);
    /* What a request comes to in a fresh range. */
    size_t (*rounded)(const struct xs_sub *s, size_t size);
    bool (*adopt)(struct xs_sub *s, unsigned range);
    /* Every range that is leaving, wholly free, goes out of the kind's own books. */
    void (*release)(struct xs_sub *s);
    /* Merges what is free. */
    void (*settle)(struct xs_sub *s);
    int (*give)(struct xs_sub *s, uint32_t handle, uint64_t address);
    void (*give_all)(struct xs_sub *s, const struct xs_sub_given given[], unsigned n);
    bool (*find)(const struct xs_sub *s, unsigned range, uint64_t address, struct xs_sub_block *out,
                 bool *in_use);
    uint64_t (*largest_free)(const struct xs_sub *s);
    bool (*check)(const struct xs_sub *s, struct xs_buf *why);
    void (*close)(struct xs_sub *s); /* the records, but for `s` itself */
};

struct xs_sub {
    const struct xs_sub_kind *kind;
    size_t bytes; /* of the whole, for munmap */
    size_t align;
    size_t largest; /* request */
    double growth;
    size_t first_bytes; /* of the first range, and the most */
    size_t most_bytes;
    size_t next_bytes;
    uint64_t limit_bytes;   /* UINT64_MAX: none */
    _Atomic uint64_t *held; /* what counts for the limit: own_held, or by several */
    _Atomic uint64_t own_held;
    bool misaligned;      /* the driver's ranges are less aligned than blocks must be */
    size_t asked_bytes;   /* of the last XS_SUB_NEED */
    size_t fitted;        /* the size of block that it was asked for */
    size_t refused_bytes; /* the driver had not so much; 0: it did not say so lately */
    uint64_t owed_bytes;  /* of ranges that left to come back as one */
    size_t room_wanted;   /* a request would fit if whole free ranges were given back */

    uint64_t reserved, reserved_peak;
    uint64_t usable;
    uint64_t in_use, in_use_peak;
    uint64_t idle;        /* in ranges without a block in use, by their size */
    uint64_t idle_usable; /* by their usable part */
    unsigned idle_ranges;
    bool merge_due;       /* since it was asked for, many ranges became idle */
    size_t smallest_idle; /* no idle range is smaller; it may be too low */
    uint32_t added, spared;

    uint32_t window_left;   /* operations */
    uint64_t window_demand; /* the most that ranges with blocks came to in this window */
    uint64_t last_demand;   /* and in the one before */

    struct xs_sub_range range[XS_SUB_RANGES];
    uint16_t order[XS_SUB_RANGES]; /* by address */
    unsigned ranges;
    unsigned last;    /* the number of the range that was cut from last */
    unsigned numbers; /* no range has had one as high */
};

/* The bookkeeping of a block that began or ended to be in use. */
void xs_sub_first_began(struct xs_sub *s, const struct xs_sub_range *r);
void xs_sub_last_ended(struct xs_sub *s, const struct xs_sub_range *r);

XS_INLINE void xs_sub_began(struct xs_sub *s, struct xs_sub_range *r, size_t size)
{
    if (XS_UNLIKELY(r->used++ == 0))
        xs_sub_first_began(s, r);
    s->in_use += size;
    if (s->in_use > s->in_use_peak)
        s->in_use_peak = s->in_use;
}

XS_INLINE void xs_sub_ended(struct xs_sub *s, struct xs_sub_range *r, size_t size)
{
    if (XS_UNLIKELY(--r->used == 0))
        xs_sub_last_ended(s, r);
    s->in_use -= size;
}

/* The range around an address, or -1. */
int xs_sub_range_at(const struct xs_sub *s, uint64_t address);

/* Maps `bytes`, the first of which are the struct xs_sub. NULL: no memory. */
struct xs_sub *xs_sub_open(size_t bytes, const struct xs_sub_kind *kind, size_t align,
                           uint64_t limit_bytes);

#endif
