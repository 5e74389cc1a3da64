/* gpu/block.h - the records of blocks, and from a block's address to its record.
 *
 * A record exists for each block of the driver's that we know of, and for each piece of one that
 * the program holds. It stays in the table while the block is cached, so that a second free of it
 * is seen for what it is.
 * Units:   bytes; addresses are the driver's.
 * Owns:    the records and the table, by mmap; records are used again, nothing is unmapped.
 * Threads: look-ups take no lock; insertions and removals, and getting a record, take that of the
 *          calling thread's own shard (gpu/cache.h), which must not be held; one in some dozens
 *          takes a lock that all share. A record's fields belong to whoever claimed it, or has the
 *          lock of the shard whose list it is in.
 * Context: inside the driver's calls. Allocates: by mmap.
 * Errors:  NULL or false: no memory.
 */
#ifndef XS_GPU_BLOCK_H
#define XS_GPU_BLOCK_H

#include <stdatomic.h>

#include "base/compiler.h"

struct xs_gpu_context;
struct xs_gpu_range;
struct xs_gpu_shard;

/* A record is the program's block (its address), or was freed by the program (the address with
 * KEPT: cached, queued, or on the way to either), or nobody's (0). */
#define XS_BLOCK_KEPT 1u

enum {
    XS_BLOCK_NEVER = 1 /* of xs_gpu_block.marks: must not be used again */
};

struct xs_gpu_block {
    _Atomic uint64_t address;
    size_t size; /* 0: the memory is gone, whoever finds it drops it */
    struct xs_gpu_context
        *home;                  /* of plain device memory that was freed, on no stream; else NULL */
    uint64_t stamp;             /* the epoch in which it was freed */
    struct xs_gpu_block *newer; /* in its bin: a ring, by the time of the free */
    uint64_t freed;             /* its number among the frees of its shard */
    struct xs_gpu_block *older;
    uint16_t bin;
    uint8_t kind, context;
    _Atomic uint8_t marks;
    uint32_t generation;        /* of the context */
    uint32_t handle;            /* of a piece */
    uint64_t freed_ns;          /* only where blocks grow old */
    void *stream;               /* that its free was ordered on; NULL: none, or of no one stream */
    uint64_t streams_gone;      /* at that time: later a handle may mean another stream */
    struct xs_gpu_range *range; /* of a piece */
};

struct xs_gpu_entry {
    _Atomic uint64_t key; /* 0: never used; 1: no longer; 2: about to be */
    _Atomic(struct xs_gpu_block *) block;
};

/* Stands before the entries. */
struct xs_gpu_table {
    unsigned shift;
    size_t mask;
};

extern XS_HIDDEN _Atomic(struct xs_gpu_entry *) xs_gpu_entries;

XS_INLINE size_t xs_gpu_table_start(const struct xs_gpu_entry *entries, uint64_t address)
{
    const struct xs_gpu_table *t = (const struct xs_gpu_table *)(const void *)entries - 1;

    return ((uint32_t)(address >> 8) * 0x9e3779b1u) >> t->shift;
}

/* NULL: no block of ours begins there. A program that frees twice at once may have had the record
 * recycled: the claim sees to that. */
struct xs_gpu_block *xs_gpu_block_find(uint64_t address);

/* The same for what is where it should be; NULL: perhaps elsewhere. */
XS_INLINE struct xs_gpu_block *xs_gpu_block_find_quick(uint64_t address)
{
    struct xs_gpu_entry *t = atomic_load_explicit(&xs_gpu_entries, memory_order_acquire);
    struct xs_gpu_entry *e = &t[xs_gpu_table_start(t, address)];

    /* An entry that was never used has no block either. */
    return XS_LIKELY(atomic_load_explicit(&e->key, memory_order_acquire) == address)
               ? atomic_load_explicit(&e->block, memory_order_relaxed)
               : NULL;
}

/* A record with everything but its address to be filled in. */
struct xs_gpu_block *xs_gpu_block_new(void);
void xs_gpu_block_drop(struct xs_gpu_block *b);

/* Enters it under its address, as the program's. *stale is a record that was there before: the
 * driver gave its memory out again without our having seen it freed. */
bool xs_gpu_block_insert(struct xs_gpu_block *b, uint64_t address, struct xs_gpu_block **stale);
/* The same where a piece's entry is left: see xs_gpu_block_end. False: not so, or not at once. */
bool xs_gpu_block_insert_again(struct xs_gpu_shard *s, struct xs_gpu_block *b, uint64_t address);
/* Records of `n` pieces side by side are entered as kept, under the lock of the thread's own shard:
 * so many of them, from the first on. *stale as above; it is the last one's. */
unsigned xs_gpu_block_insert_kept(struct xs_gpu_block *const row[], unsigned n, uint64_t address,
                                  struct xs_gpu_block **stale);
void xs_gpu_block_remove(struct xs_gpu_block *b);

/* The same for a piece, whose address is likely to be another piece's soon: the entry stays. */
XS_INLINE void xs_gpu_block_end(struct xs_gpu_block *b)
{
    atomic_store_explicit(&b->address, 0, memory_order_release);
}

/* Every record that was ever made; the caller looks at their addresses. */
void xs_gpu_block_each(void (*call)(struct xs_gpu_block *b, void *arg), void *arg);

/* Memory that is never given back, zeroed. */
void *xs_gpu_store(size_t size);

XS_INLINE uint64_t xs_gpu_block_base(const struct xs_gpu_block *b)
{
    return atomic_load_explicit(&b->address, memory_order_acquire) & ~(uint64_t)XS_BLOCK_KEPT;
}

XS_INLINE bool xs_gpu_block_is_kept(const struct xs_gpu_block *b)
{
    return atomic_load_explicit(&b->address, memory_order_acquire) & XS_BLOCK_KEPT;
}

/* A free looks at it before the claim says whether the record is still the block's. */
XS_INLINE void xs_gpu_block_set_home(struct xs_gpu_block *b, struct xs_gpu_context *home)
{
    __atomic_store_n(&b->home, home, __ATOMIC_RELAXED);
}

/* From the program: false if it has freed it before. */
XS_INLINE bool xs_gpu_block_claim(struct xs_gpu_block *b, uint64_t address)
{
    return XS_LIKELY(
        atomic_compare_exchange_strong_explicit(&b->address, &address, address + XS_BLOCK_KEPT,
                                                memory_order_acq_rel, memory_order_relaxed));
}

/* Of the program's block. */
XS_INLINE void xs_gpu_block_mark(struct xs_gpu_block *b, uint8_t mark)
{
    atomic_fetch_or_explicit(&b->marks, mark, memory_order_relaxed);
    xs_gpu_block_set_home(b, NULL); /* its free is nothing simple any more */
}

/* To the program. */
XS_INLINE uint64_t xs_gpu_block_hand_out(struct xs_gpu_block *b)
{
    uint64_t base = atomic_load_explicit(&b->address, memory_order_relaxed) - XS_BLOCK_KEPT;

    atomic_store_explicit(&b->address, base, memory_order_release);
    return base;
}

#endif
