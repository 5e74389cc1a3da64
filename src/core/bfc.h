/* core/bfc.h - best fit with coalescing over regions that somebody else supplies.
 *
 * Regions are cut into chunks; what is known of a chunk lies in a record elsewhere, so that the
 * same code manages memory that the CPU cannot touch. Free chunks hang in two-level bins (32 steps
 * to each doubling of size); a request takes the best of at most XS_BFC_PROBES chunks of its own
 * bin, else of the next filled bin above.
 *
 * Units:   bytes at the interface, always multiples of options.unit inside.
 * Owns:    regions got from ops->map and records got from ops->map_records, until xs_bfc_close.
 * Threads: the caller holds one lock for an instance. ops are called under it, which is why whoever
 *          may not hold a lock across them leaves map NULL and uses what is below, apart.
 * Context: callable inside malloc and before main. Allocates: only through ops.
 * Errors:  0 = exhausted, nothing changed. A handle that is no chunk in use, or a broken neighbour,
 *          is reported by the return value (EINVAL, EFAULT) and never followed.
 * Cost:    xs_bfc_alloc without growth: at most 2 * XS_BFC_PROBES probes and 2 splits; xs_bfc_free:
 *          2 merges. Before it fails, it looks through the whole of one bin. Growth and collection
 *          walk the regions, never the chunks in use. With coalesce off, an allocation that finds
 *          nothing merges everything once: linear.
 * Bound:   no allocator that cannot move blocks does better than Robson's bound in the worst case:
 *          for blocks up to n units and M live, M(log2(n)/2 + 1) - n + 1 units.
 * Source:  Knuth's boundary tags without the tags; the two-level bitmap of TLSF (Masmano et al.,
 *          2004) with a bounded best-fit scan; options as the BFC allocator of TensorFlow has them.
 *          Different from the latter: exact split by default, bounded search, alignment to any
 *          power of two.
 */
#ifndef XS_CORE_BFC_H
#define XS_CORE_BFC_H

#include "base/compiler.h"
#include "base/fmt.h"

#define XS_BFC_PROBES      8
#define XS_BFC_FLS         44 /* doublings above 32 units */
#define XS_BFC_SLS_LOG2    5
#define XS_BFC_SLS         (1u << XS_BFC_SLS_LOG2)
#define XS_BFC_BINS        ((XS_BFC_FLS + 1) * XS_BFC_SLS)
#define XS_BFC_NEAR_BINS   (6 * XS_BFC_SLS) /* of these, what a small process has */
#define XS_BFC_BLOCKS      4096u
#define XS_BFC_CHUNKS_LOG2 24
#define XS_BFC_CHUNKS      ((uint32_t)1 << XS_BFC_CHUNKS_LOG2) /* handles are below this */

/* Of a block of records, zeroed. */
#define XS_BFC_RECORDS_BYTES ((size_t)256 << 10)
#define XS_BFC_RECORD_BYTES  64u /* of one of them */

/* A chunk; 0 is none. */
typedef uint32_t xs_chunk;

struct xs_bfc_ops {
    /* At least `size` bytes at a multiple of `align`; NULL = none. As an op NULL: the caller grows
     * the instance himself. */
    void *(*map)(void *ctx, size_t size, size_t align);
    void (*unmap)(void *ctx, void *p, size_t size);
    /* Zeroed host memory for records, never given back before close; as an op NULL: the caller adds
     * records before they run out. */
    void *(*map_records)(void *ctx, size_t size);
    void (*unmap_records)(void *ctx, void *p, size_t size);
    void *ctx;
};

struct xs_bfc_options {
    size_t unit;             /* granule and least alignment, a power of two */
    size_t initial_bytes;    /* size of the first region */
    size_t region_max_bytes; /* doubling stops here; a larger request still gets its region */
    uint64_t limit_bytes;    /* of all regions; 0: none */
    bool allow_growth;       /* off: one region of limit_bytes, or of initial_bytes, is all */
    bool garbage_collection; /* give whole free regions back when that lets a request succeed */
    bool coalesce_on_free;   /* off: merge only when a request finds nothing */
    /* A remainder is kept inside a chunk unless it is at least the request or this part of the
     * limit; 0: every remainder is split off. In 1/1000. */
    unsigned fragmentation_permille;
    uint32_t chunks_max; /* handles stay below; 0: XS_BFC_CHUNKS */
};

struct xs_bfc_stats {
    uint64_t allocations;
    uint64_t frees;
    uint64_t failures;
    uint64_t in_use_bytes; /* sum of the chunks in use */
    uint64_t in_use_peak_bytes;
    uint64_t requested_bytes; /* what was asked for those chunks */
    uint64_t largest_allocation_bytes;
    uint64_t reserved_bytes; /* sum of the regions */
    uint64_t reserved_peak_bytes;
    uint64_t limit_bytes;
    uint64_t free_bytes;
    uint64_t largest_free_bytes;
    uint64_t purged_bytes;      /* of free_bytes, without memory behind them */
    uint64_t ever_purged_bytes; /* the sum of what was put back purged and had been in use */
    uint64_t refilled_bytes;    /* of chunks that were handed out with no memory behind them */
    uint32_t regions;
    uint32_t growth_steps; /* regions ever obtained */
    uint32_t arenas;       /* in a sum: instances that ever had a region */
    uint32_t collected;    /* regions ever given back */
    uint32_t chunks_in_use;
    uint32_t chunks_free;
    double fragmentation; /* 1 - largest free / free; 0 when nothing is free */
};

struct xs_bfc_record;

struct xs_bfc {
    struct xs_bfc_ops ops;
    struct xs_bfc_options options;
    uint32_t most_blocks;
    xs_chunk fresh; /* from here on, in the newest block, records were never touched */
    xs_chunk fresh_end;
    uint32_t records;                   /* that were ever added */
    struct xs_bfc_record *first_region; /* the newest; the records of the regions are chained */
    size_t next_region_bytes;
    size_t unmerged;    /* free chunks that may have free neighbours */
    uint64_t divided;   /* chunks in use that came from another one, and were not allocated */
    uint64_t out_bytes; /* on their way to the system */
    uint32_t out_chunks;
    /* From here on what every call needs. */
    uint32_t blocks;
    unsigned unit_log2;
    uint32_t unused_count;        /* records without a chunk, the fresh ones too */
    struct xs_bfc_record *unused; /* those that had one */
    struct xs_bfc_record *open;   /* the free chunk that changed last, in no bin */
    uint64_t dirty;            /* units: of what is free, what was in use since it had no memory */
    uint64_t steps;            /* probes, merges and splits so far */
    struct xs_bfc_stats stats; /* but for what xs_bfc_stats_get works out */
    uint32_t filled_words;     /* a bit for each of the next that is not 0 */
    uint64_t filled[(XS_BFC_BINS + 63) / 64]; /* a bit for each bin that has a chunk */
    /* Last, being large, but first of them what a small process touches: one page has it all. */
    xs_chunk near_bin[XS_BFC_NEAR_BINS];
    struct xs_bfc_record *block[XS_BFC_BLOCKS];
    xs_chunk far_bin[XS_BFC_BINS - XS_BFC_NEAR_BINS];
};

/* *b is zeroed, as static memory and fresh pages are. */
int xs_bfc_open(struct xs_bfc *b, const struct xs_bfc_options *options,
                const struct xs_bfc_ops *ops);

/* Gives every region back, whatever is in use, and the records. */
void xs_bfc_close(struct xs_bfc *b);

/* A region that the caller got by himself, where ops->map gives none; false: no record for it, or
 * it is not made of whole units. Collection and close hand it to ops->unmap like any other. */
bool xs_bfc_add(struct xs_bfc *b, void *p, size_t size);

/* The same for good: collection passes it by. */
bool xs_bfc_add_kept(struct xs_bfc *b, void *p, size_t size);

/* One that xs_bfc_take_regions took and that could not go after all; it has no memory behind it. */
bool xs_bfc_add_back(struct xs_bfc *b, void *p, size_t size, uint64_t now);

/* `size` > 0; `align` a power of two or 0. The address is xs_bfc_address of the result. */
xs_chunk xs_bfc_alloc(struct xs_bfc *b, size_t size, size_t align);

/* 0; EINVAL if `c` is not in use; EFAULT if its neighbours contradict it. `now` dates the memory
 * for xs_bfc_take_old. */
int xs_bfc_free(struct xs_bfc *b, xs_chunk c, uint64_t now);

/* Grows into a free neighbour above or gives the tail back: true if the chunk now holds `size`. */
bool xs_bfc_resize(struct xs_bfc *b, xs_chunk c, size_t size, uint64_t now);

void *xs_bfc_address(const struct xs_bfc *b, xs_chunk c);
size_t xs_bfc_size(const struct xs_bfc *b, xs_chunk c); /* usable, >= what was asked */
size_t xs_bfc_requested(const struct xs_bfc *b, xs_chunk c);
/* In free chunks. */
static inline uint64_t xs_bfc_free_bytes(const struct xs_bfc *b)
{
    return b->stats.reserved_bytes - b->stats.in_use_bytes - b->out_bytes;
}

size_t xs_bfc_used(const struct xs_bfc *b, xs_chunk c); /* so much had memory, about, when taken */

/* Whole free regions dated up to `until` go back to the system; the bytes given back. */
size_t xs_bfc_collect(struct xs_bfc *b, uint64_t until);

/* ---- apart: what happens to memory while the lock is not held ---- */

/* What is handed out. */
struct xs_bfc_taken {
    void *p;
    xs_chunk chunk;
    bool is_zero; /* fresh from the system or purged: where the supplier gives zeroed memory */
};

enum xs_bfc_how {
    XS_BFC_ANY,  /* as xs_bfc_alloc */
    XS_BFC_HELD, /* what is free, or is when neighbours are merged: it never grows, never searches a
                  * bin to its end, and does not count a failure */
    XS_BFC_USED, /* the same, unless it would have memory behind less than half of it */
    XS_BFC_WHOLE, /* as xs_bfc_alloc_whole */
    XS_BFC_OPEN   /* bfc.c alone: of the open chunk, which is aligned and large enough */
};

/* As xs_bfc_alloc; false: nothing was taken, and *out is as it was. */
bool xs_bfc_take(struct xs_bfc *b, size_t size, size_t align, enum xs_bfc_how how,
                 struct xs_bfc_taken *out);

/* True: the best fit for `size` bytes, whole units, has no memory yet, and another free chunk that
 * has is the open one now, to be taken from by XS_BFC_OPEN. */
bool xs_bfc_open_used(struct xs_bfc *b, size_t size);

/* As XS_BFC_HELD, but all of the chunk that it would be cut from. */
xs_chunk xs_bfc_alloc_whole(struct xs_bfc *b, size_t size);

/* A chunk in use keeps `size` bytes, whole units; what is behind them is one of its own, in use
 * too. 0: no record. */
xs_chunk xs_bfc_divide(struct xs_bfc *b, xs_chunk c, size_t size);

/* Of a chunk that was just taken, of `size` bytes at most, a power of two: what of it lies behind a
 * multiple of `size` in it, if none of the `size` bytes from there on have memory, and those that
 * are not the chunk's are free; else 0. */
size_t xs_bfc_fresh_bytes(const struct xs_bfc *b, xs_chunk c, size_t size);

/* From the region that was just added, for which it was got: it is aligned. */
bool xs_bfc_take_newest(struct xs_bfc *b, size_t size, size_t align, struct xs_bfc_taken *out);

/* Pages for records: as ops, or for xs_bfc_add_records. NULL: none. */
void *xs_bfc_map_records(void *ctx, size_t size);
void xs_bfc_unmap_records(void *ctx, void *p, size_t size);

/* So many can be had. */
bool xs_bfc_have_records(struct xs_bfc *b, unsigned n);

/* There is no record for a split, and none can be added. */
bool xs_bfc_is_full(const struct xs_bfc *b);

/* Few records are left; and more of them, XS_BFC_RECORDS_BYTES: false if it cannot use them. */
bool xs_bfc_wants_records(const struct xs_bfc *b);
bool xs_bfc_add_records(struct xs_bfc *b, void *records);

/* The same of `n` records of XS_BFC_RECORD_BYTES, less than a block: for who begins with few. */
bool xs_bfc_add_few(struct xs_bfc *b, void *records, uint32_t n);

/* How large a region should be got for a request that found nothing, at least *least; 0: none may
 * be. It is then xs_bfc_add's. */
/* The next size to try where the system did not have `size`. */
size_t xs_bfc_less(const struct xs_bfc *b, size_t size, size_t least);
size_t xs_bfc_growth(const struct xs_bfc *b, size_t size, size_t align, size_t *least);

/* Giving whole free regions back would let a request of `size` succeed at the limit. */
bool xs_bfc_worth_collecting(struct xs_bfc *b, size_t size);

/* Memory on its way to the system. */
struct xs_bfc_range {
    void *p;
    size_t size;
    xs_chunk chunk;
};

/* Up to `most` free chunks of some `least` bytes or more, dated up to `until`, that have memory
 * behind them: nobody gets them until each is put back, purged or not. */
unsigned xs_bfc_take_old(struct xs_bfc *b, size_t least, uint64_t until, struct xs_bfc_range out[],
                         unsigned most);
void xs_bfc_put_back(struct xs_bfc *b, xs_chunk c, bool is_purged, uint64_t now);

/* Up to `most` wholly free regions dated up to `until`: they are the instance's no more. */
unsigned xs_bfc_take_regions(struct xs_bfc *b, uint64_t until, struct xs_bfc_range out[],
                             unsigned most);

void xs_bfc_stats_get(const struct xs_bfc *b, struct xs_bfc_stats *out);

/* Adds the free bytes by the size of their chunks: [0] those below 8 KiB, then of each doubling.
 * Goes through all free chunks. */
#define XS_BFC_FREE_SIZES       32
#define XS_BFC_FREE_BELOW(size) (UINT64_C(8192) << (size))
void xs_bfc_free_by_size(const struct xs_bfc *b, uint64_t bytes[XS_BFC_FREE_SIZES]);

/* Walks everything; true if all is in order, else what is not in *why. For tests. */
bool xs_bfc_check(const struct xs_bfc *b, struct xs_buf *why);

#endif
