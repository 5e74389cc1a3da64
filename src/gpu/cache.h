/* gpu/cache.h - blocks that are kept for reuse: whole ones of the driver's, and pieces of ranges.
 *
 * Each thread has a shard: for each context and kind of memory a table of bins by size, in each bin
 * a ring of blocks by the time of their free. A hit takes the newest block of the right size, or,
 * if that is not ready, the oldest; a size that is not there, the best fit within the bound on
 * waste. What is looked for in vain in one's own shard is looked for in others'. While more is kept
 * than in use, blocks of up to twice the size will do: what is wasted then, the cache had anyway.
 *   Pieces of the sub-allocators (gpu/piece.h) lie in the same tables, in bins of their own. They
 * are found by their exact size and only by who freed them; they are the first to give way, and go
 * back to where they were cut from.
 *
 * Units:   bytes.
 * Owns:    the cached blocks; the shards, by mmap: the next thread adopts a dead one's, blocks and
 *          counters and all.
 * Threads: a shard's lock is taken by its own thread on a hit, by others only when they are slow.
 *          Never held across a call of the driver.
 * Context: inside the driver's calls. Allocates: by mmap.
 * Errors:  NULL: nothing fits, or no memory for a shard.
 */
#ifndef XS_GPU_CACHE_H
#define XS_GPU_CACHE_H

#include "gpu/block.h"
#include "gpu/epoch.h"
#include "sys/lock.h"

/* Places whose blocks are cut from ranges. */
#define XS_GPU_PARTED (XS_PLACES - 1)

struct xs_gpu_bins {
    struct xs_gpu_counters *count; /* the shard's, of the device */
    struct xs_gpu_device *device;
    struct xs_gpu_context *context;
    struct xs_gpu_block *newest[XS_GPU_ALL_BINS];
    uint8_t maybe[XS_GPU_ALL_BINS]; /* 0: the bin is empty for sure */
    /* The thread's own, without a lock. */
    uint64_t flowed_done; /* how far it was when pieces went back last */
    uint32_t until_flow;  /* so many times more nothing is proven only to let pieces go back */
};

/* Sizes that were asked for lately, and where blocks of what they are rounded to lie. No alignment
 * is less than a step, so all sizes in it come to the same, but where a rule of the route ends
 * there: such steps are not entered. */
#define XS_GPU_QUICK_STEP_LOG2 8
struct xs_gpu_quick {
    size_t step, need;
    struct xs_gpu_block **newest;
    struct xs_gpu_range *from; /* that they are cut from; NULL: whole ones */
};
#define XS_GPU_QUICK_LOG2 7
#define XS_GPU_QUICK      (1u << XS_GPU_QUICK_LOG2)

struct xs_gpu_shard {
    _Atomic uint32_t lock;
    uint32_t until_look;                 /* frees until the next look at age and control */
    CUcontext quick_handle;              /* the context that was current last, while all is well */
    struct xs_gpu_context *quick_home;   /* the same, while frees need not wait */
    struct xs_gpu_bins *bins;            /* its device memory */
    struct xs_gpu_counters *quick_count; /* and what of it each call would look up there */
    struct xs_gpu_device *quick_device;
    struct xs_gpu_context *context; /* whose `bins` are */
    struct xs_gpu_quick quick[XS_GPU_QUICK];
    uint64_t unproven;           /* on the slow way: as xs_gpu_cache_unproven */
    bool is_late;                /* many threads': counted by atomic adds, never quick */
    bool is_loose;               /* sizes may be quick in blocks beyond the bound on waste */
    uint32_t looks;              /* at age and control */
    struct xs_gpu_block **ahead; /* the bin that has pieces cut ahead: see piece.c; or NULL */
    struct xs_gpu_block *queue;  /* freed while a capture was active; through `older` */
    struct xs_gpu_block *spare;  /* records of no block; through `older` */
    unsigned spare_count;
    struct xs_gpu_shard *next; /* of all */
    struct xs_gpu_shard *next_idle;
    struct xs_gpu_counters *count[XS_GPU_DEVICES_MAX];
    unsigned contexts; /* that have bins: none has so high an index */
    struct xs_gpu_bins *of[XS_GPU_CONTEXTS][XS_KINDS];
    /* That the thread's pieces are cut from; not under the lock. */
    _Atomic(struct xs_gpu_range *) range[XS_GPU_CONTEXTS][XS_GPU_PARTED];
};
#define XS_GPU_SPARE_RECORDS 32u /* are got at a time, and twice as many kept at most */

#define XS_GPU_NO_HANDLE     ((CUcontext)-1L) /* no current context is this one */

/* Until the thread is here for the first time, and again after its end, an empty one. */
extern XS_HIDDEN XS_TLS struct xs_gpu_shard *xs_gpu_shard_mine;
extern XS_HIDDEN struct xs_gpu_shard xs_gpu_shard_none;

/* The calling thread's, or one for all late comers; NULL: no memory. */
struct xs_gpu_shard *xs_gpu_shard(void);
struct xs_gpu_shard *xs_gpu_shards(void); /* all, through `next` */

/* Those of a shard, made at first; the caller owns the shard. NULL: no memory. */
struct xs_gpu_bins *xs_gpu_bins(struct xs_gpu_shard *s, struct xs_gpu_context *c, unsigned kind);
struct xs_gpu_counters *xs_gpu_counters(struct xs_gpu_shard *s, struct xs_gpu_device *d);

#define XS_GPU_COUNT(s, d, field, n)                                                               \
    do {                                                                                           \
        struct xs_gpu_counters *counted = xs_gpu_counters(s, d);                                   \
        if (XS_UNLIKELY(counted == NULL))                                                          \
            ;                                                                                      \
        else if (XS_UNLIKELY((s)->is_late))                                                        \
            XS_COUNT_LATE(counted->field, (n));                                                    \
        else                                                                                       \
            XS_COUNT(counted->field, (n));                                                         \
    } while (0)

/* ---- a shard's lock: held for some tens of instructions, by one thread nearly always ---- */

XS_COLD void xs_gpu_shard_wait(struct xs_gpu_shard *s);

/* On x86-64 also a full fence, and so elsewhere with xs_gpu_stamp. */
XS_INLINE bool xs_gpu_shard_try(struct xs_gpu_shard *s)
{
    return XS_LIKELY(atomic_exchange_explicit(&s->lock, 1, memory_order_acquire) == 0);
}

XS_INLINE void xs_gpu_shard_take(struct xs_gpu_shard *s)
{
    if (!xs_gpu_shard_try(s))
        xs_gpu_shard_wait(s);
}

XS_INLINE void xs_gpu_shard_give(struct xs_gpu_shard *s)
{
    atomic_store_explicit(&s->lock, 0, memory_order_release);
}

/* ---- under it ---- */

XS_INLINE void xs_gpu_bins_take(struct xs_gpu_block **newest, struct xs_gpu_block *b)
{
    struct xs_gpu_block *older = b->older;

    if (older == b) {
        *newest = NULL;
    } else {
        struct xs_gpu_block *newer = b->newer;
        newer->older = older;
        older->newer = newer;
        if (*newest == b)
            *newest = older;
    }
}

/* The newest of its bin. */
XS_INLINE void xs_gpu_bins_pop(struct xs_gpu_block **newest, struct xs_gpu_block *b)
{
    struct xs_gpu_block *older = b->older, *oldest = b->newer;

    oldest->older = older;
    older->newer = oldest;
    *newest = older != b ? older : NULL;
}

XS_INLINE void xs_gpu_bins_put(struct xs_gpu_bins *bins, struct xs_gpu_block *b)
{
    size_t bin = b->bin;
    struct xs_gpu_block *top = bins->newest[bin];

    if (top == NULL) {
        b->newer = b->older = b;
        __atomic_store_n(&bins->maybe[bin], 1, __ATOMIC_RELAXED);
    } else {
        struct xs_gpu_block *oldest = top->newer; /* a ring */
        b->older = top;
        b->newer = oldest;
        oldest->older = b;
        top->newer = b;
    }
    bins->newest[bin] = b;
}

/* Several, of which the first is to be the newest, into a bin that is empty. */
XS_INLINE void xs_gpu_bins_put_row(struct xs_gpu_bins *bins, unsigned bin,
                                   struct xs_gpu_block *const row[], unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        row[i]->newer = row[i != 0 ? i - 1 : n - 1];
        row[i]->older = row[i + 1 != n ? i + 1 : 0];
    }
    if (n != 0) {
        bins->newest[bin] = row[0];
        __atomic_store_n(&bins->maybe[bin], 1, __ATOMIC_RELAXED);
    }
}

/* What is looked for, and what stood in the way. */
struct xs_gpu_want {
    struct xs_gpu_context *context;
    unsigned kind;
    enum xs_gpu_place place;
    size_t least, most;
    uint64_t stamp;    /* of the oldest block that would fit but is not ready; UINT64_MAX: none */
    uint64_t youngest; /* of those */
    void *stream;      /* that will use it; NULL: any */
    bool by_order;     /* out: the block is ready only because the process is single */
    bool by_stream;    /* out: only because its earlier work is on that stream, or before it */
};

/* From the own shard, then, unless it is a piece, the others'; the block is in no list any more.
 * NULL: none. */
struct xs_gpu_block *xs_gpu_cache_take(struct xs_gpu_shard *s, struct xs_gpu_want *want);

/* A block that the program has freed, state KEPT, into a list; `b->stamp` is set. False: the limit,
 * or no memory: it is the caller's still. */
bool xs_gpu_cache_put(struct xs_gpu_shard *s, struct xs_gpu_block *b);

/* Freed while a capture is active, or what the driver would not take back. Taken off: all, their
 * contexts held, through `older`. */
void xs_gpu_cache_queue(struct xs_gpu_shard *s, struct xs_gpu_block *b);
struct xs_gpu_block *xs_gpu_cache_queued(struct xs_gpu_shard *s);

/* What to take out in order to give it back. */
struct xs_gpu_victims {
    const struct xs_gpu_device *device; /* NULL: of all */
    int pinned;                         /* 1: only such, 0: no such, -1: both */
    bool ready;                         /* only what no work is pending on */
    enum { XS_VICTIMS_ALL, XS_VICTIMS_WHOLE, XS_VICTIMS_PIECES } only;
    uint64_t bytes;            /* so much, or a little more */
    uint64_t before_ns;        /* only what was freed before; 0: all */
    uint64_t frees;            /* pieces: only those that so many frees of their shard came after */
    struct xs_gpu_block *list; /* out, through `older`; contexts held */
    uint64_t taken_bytes;      /* out */
    uint64_t left_bytes, left_stamp; /* out: pieces that were not ready, the youngest's */
};
/* Of the own shard, then of the others: pieces, then whole blocks, of which the oldest go first.
 * True: there was something. */
bool xs_gpu_cache_victims(struct xs_gpu_shard *s, struct xs_gpu_victims *v);
/* Of the own shard alone. */
bool xs_gpu_cache_own_victims(struct xs_gpu_shard *s, struct xs_gpu_victims *v);

/* Frees of device memory must wait from now on, where STRICT is the rule; or nothing is quick. */
void xs_gpu_cache_slow_down(bool all);

/* The context is the thread's present one; a size is served from its cache. */
void xs_gpu_cache_settle(struct xs_gpu_shard *s, struct xs_gpu_context *c, CUcontext handle);
void xs_gpu_cache_quicken(struct xs_gpu_shard *s, enum xs_gpu_place place, size_t size, size_t need,
                          struct xs_gpu_range *from);

/* Sizes may be quick no longer in blocks beyond the bound on waste, unless that is still lifted. */
void xs_gpu_cache_tighten(struct xs_gpu_shard *s);

XS_INLINE size_t xs_gpu_step_of(size_t size)
{
    return (size - 1) >> XS_GPU_QUICK_STEP_LOG2;
}

XS_INLINE struct xs_gpu_quick *xs_gpu_quick_at(struct xs_gpu_shard *s, size_t step)
{
    return &s->quick[((uint32_t)step * 0x9e3779b1u) >> (32 - XS_GPU_QUICK_LOG2)];
}

/* The context is gone: its blocks are dropped, those in use too. */
void xs_gpu_cache_forget(struct xs_gpu_context *c);
/* A record whose memory the driver has given out anew. */
void xs_gpu_cache_stale(struct xs_gpu_block *b);

/* Blocks that were reused by `single` alone on the short way; the slow one notes `unproven`. */
uint64_t xs_gpu_cache_ordered(void);

/* No block of a younger stamp was reused by `single` on the slow way; whoever is deciding so, on
 * either, has decided. */
uint64_t xs_gpu_cache_unproven(void);

#endif
