/* gpu/sub.h - sub-allocators of device memory: they divide ranges that somebody else got from the
 * driver, and never touch the memory itself.
 *
 * Neither calls the driver: what they need or can spare they tell, and the caller does it after it
 * has let go of the lock. So no lock is ever held across a call that waits for the device.
 * Units:   bytes; addresses are device addresses.
 * Owns:    their records, by mmap; the ranges are the caller's.
 * Threads: the caller holds one lock for an instance.
 * Context: inside cudaMalloc. Allocates: records by mmap, given back at close.
 * Errors:  as the results say; EINVAL from free for what is no block in use. Nothing is followed
 *          that a stray pointer of the program could have reached.
 */
#ifndef XS_GPU_SUB_H
#define XS_GPU_SUB_H

#include <stdatomic.h>

#include "base/compiler.h"
#include "base/fmt.h"

struct xs_sub;

struct xs_sub_block {
    uint64_t address;
    size_t size;     /* usable, >= what was asked */
    uint32_t handle; /* for free: never 0 */
};

enum xs_sub_result {
    XS_SUB_OK,
    XS_SUB_NEED, /* a range of *want bytes first (xs_sub_add), then again */
    XS_SUB_NONE  /* the limit forbids it, it is too large, or no record: the caller serves it
                  * otherwise; but if xs_sub_spare(s, false, ...) now gives ranges up and the caller
                  * has freed them, it is worth another try */
};

struct xs_sub_pool_options {
    size_t min_block; /* a power of two: the least block, and what sizes are multiples of; raised to
                       * `align` */
    size_t max_block; /* larger requests: XS_SUB_NONE */
    size_t align;     /* a power of two */
    double growth; /* each slab is so much larger than the last one, up to an eighth of all that is
                    * held, max_block or 64 MiB */
    uint64_t limit_bytes;  /* 0: nothing */
    unsigned class_blocks; /* free blocks to a 64th of max_block kept per class, unmerged */
};

struct xs_sub_bfc_options {
    size_t unit;            /* the alignment */
    uint64_t initial_bytes; /* of the first range; 0: 2 MiB. The next ones: an eighth of all that is
                             * held, up to 64 MiB or this */
    uint64_t limit_bytes;   /* 0: none */
};

/* NULL: no memory for the records. */
struct xs_sub *xs_sub_pool_open(const struct xs_sub_pool_options *o);
struct xs_sub *xs_sub_bfc_open(const struct xs_sub_bfc_options *o);
void xs_sub_close(struct xs_sub *s);

/* Before the first range: the limit is one for all that count what they hold there. Each is still
 * under a lock of its own. */
void xs_sub_share_limit(struct xs_sub *s, _Atomic uint64_t *reserved);

/* A range that is wholly free and has room for a block of `size` leaves, and comes to another one
 * that shares the limit, at which it is counted all the while. False: none; it is not taken. */
bool xs_sub_move_idle(struct xs_sub *s, size_t size, uint64_t *address, size_t *bytes);
bool xs_sub_add_moved(struct xs_sub *s, uint64_t address, size_t bytes);

/* What a pool of this unit (the larger of min_block and align) makes of a size. */
size_t xs_sub_pool_rounded(size_t unit, size_t size);

enum xs_sub_result xs_sub_alloc(struct xs_sub *s, size_t size, struct xs_sub_block *out,
                                size_t *want);

/* More blocks like the one that xs_sub_alloc has just given, side by side: as many as cost next to
 * nothing, at most `most`; the first of them. None if the one had a lower handle. */
#define XS_SUB_MORE_HANDLE ((uint32_t)1 << 31)
unsigned xs_sub_alloc_more(struct xs_sub *s, size_t size, unsigned most,
                           struct xs_sub_block *first);
/* The last `n` of those, of which this is the first, if nothing came between: it is as if they had
 * not been cut. False: they are blocks like any others. */
bool xs_sub_take_back(struct xs_sub *s, uint32_t handle, unsigned n);

/* A range for which XS_SUB_NEED asked, or none after all (address 0: the driver had none; the next
 * xs_sub_alloc wants less, or says XS_SUB_NONE). False: it is not taken, and the caller's as
 * before: no record for it, or another thread's range has used the limit up. As others come between
 * the calls, the caller bounds how often it tries. */
bool xs_sub_add(struct xs_sub *s, uint64_t address, size_t size);

int xs_sub_free(struct xs_sub *s, uint32_t handle, uint64_t address);
/* The same of many, which are blocks in use. */
struct xs_sub_given {
    uint64_t address;
    uint32_t handle;
};
void xs_sub_free_all(struct xs_sub *s, const struct xs_sub_given given[], unsigned n);

/* Whole free ranges leave the sub-allocator: at most `capacity`; how many. The caller gives them
 * back to the driver. `all` (defragment, flush): every one; call it until it gives fewer than
 * `capacity`. Else, after a free: those in the way of a request that got XS_SUB_NONE, and those
 * that nobody has needed for the last 16 to 32 thousand operations; mostly none, in O(1). */
unsigned xs_sub_spare(struct xs_sub *s, bool all, uint64_t address[], size_t size[],
                      unsigned capacity);

/* Is there anything that it would give up after a free? In O(1). */
bool xs_sub_spare_due(const struct xs_sub *s);

/* The block in use at this address is not to be used again, though it is not freed yet. True: a
 * range has no other blocks in use than such. If all of them are freed, and it is wholly free, it
 * leaves. */
void xs_sub_lose(struct xs_sub *s, uint64_t address);
bool xs_sub_lost(const struct xs_sub *s, uint64_t *address, size_t *size);
bool xs_sub_spare_at(struct xs_sub *s, uint64_t address);

/* So many operations were served by what was cached in front: no less of a reason to spare ranges.
 */
void xs_sub_passed_by(struct xs_sub *s, uint32_t operations);

/* In ranges that are wholly free. */
uint64_t xs_sub_idle_bytes(const struct xs_sub *s);

/* Small ranges side by side are of no use to a large block, whatever they come to together. As with
 * `all` above, every range that is wholly free leaves if there are two or more, and the next
 * XS_SUB_NEED asks for one as large as they were, or as was needed lately. Due, in O(1): once after
 * a free that left two such ranges, and half of all bytes in such. */
bool xs_sub_merge_due(struct xs_sub *s);
void xs_sub_merge_later(struct xs_sub *s); /* it was due, but could not be done: it is due still */
unsigned xs_sub_merge(struct xs_sub *s, uint64_t address[], size_t size[], unsigned capacity);

/* The block or free piece around an address of one of the ranges: for address ranges and checks. */
bool xs_sub_find(const struct xs_sub *s, uint64_t address, struct xs_sub_block *out, bool *in_use);

struct xs_sub_stats {
    uint64_t reserved_bytes, reserved_peak_bytes;
    uint64_t in_use_bytes, in_use_peak_bytes;
    uint64_t free_bytes, largest_free_bytes;
    uint64_t stuck_bytes; /* free, in ranges that also hold blocks in use: cannot be given back */
    uint32_t ranges, ranges_added, ranges_spared;
    double fragmentation; /* 1 - largest free / free; 0 when nothing is free */
};
void xs_sub_stats_get(const struct xs_sub *s, struct xs_sub_stats *out);

/* Walks everything; true if all is in order, else what is not in *why. For tests. */
bool xs_sub_check(const struct xs_sub *s, struct xs_buf *why);

#endif
