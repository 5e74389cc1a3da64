/* gpu/range.h - the sub-allocator of a thread for a context and back end, its ranges, and pieces
 * that come back to it; nobody but piece.c and range.c includes it.
 *
 * It goes with the thread's shard: the next thread adopts it. What lies idle in one thread's is not
 * lost to others: ranges that are wholly free move to who needs them, and where much is free in
 * parts, or the limit is reached, a piece is cut from another thread's range.
 *
 *
 * Units:   bytes.
 * Owns:    the sub-allocators; the ranges, from and to the driver.
 * Threads: one lock for each, which is its thread's: others take it when they have nothing left,
 *          for a look, or for a piece that comes from there. Never held across a call of the
 * driver. Context: inside the driver's calls. Allocates: by mmap. Errors:  as said.
 */
#ifndef XS_GPU_RANGE_H
#define XS_GPU_RANGE_H

#include "gpu/piece.h"
#include "gpu/sub.h"

/* So many chances to do what needs an idle device are let go when it was busy at one. */
#define XS_GPU_BUSY 16u

enum xs_gpu_range_kind { XS_RANGE_POOL, XS_RANGE_BFC, XS_RANGE_KINDS };

struct xs_gpu_range {
    struct xs_gpu_range *next; /* of all */
    struct xs_lock lock;
    enum xs_gpu_range_kind kind;
    struct xs_sub *sub; /* NULL: not yet */
    struct xs_gpu_context *context;
    struct xs_gpu_block *oldest, *youngest; /* that wait, through `newer` */
    struct xs_gpu_block *lost;              /* must not be used again, through `newer` */
    struct xs_gpu_block *spare;             /* records for pieces of it, through `older` */
    unsigned spare_count;
    uint64_t unproven;   /* no free piece of a younger stamp was given back by `single` alone */
    uint32_t until_idle; /* so many times more nobody asks whether the device is idle */
};

/* All, NULL before the first and after the last; is there any that is in use? */
struct xs_gpu_range *xs_gpu_range_next(struct xs_gpu_range *r);
bool xs_gpu_ranges_used(void);

/* The shard's, opened at first. NULL: no memory. */
struct xs_gpu_range *xs_gpu_range_of(struct xs_gpu_shard *s, struct xs_gpu_context *c,
                                     enum xs_gpu_range_kind kind);

/* ---- under the lock ---- */

/* A freed piece, in no list: to the sub-allocator if it is ready, else it waits. */
void xs_gpu_range_put(struct xs_gpu_range *r, struct xs_gpu_block *b);
/* The first of a list, through `older`, as far as they are r's; the rest. */
struct xs_gpu_block *xs_gpu_range_put_all(struct xs_gpu_range *r, struct xs_gpu_block *list,
                                          unsigned *count);
/* A record for a piece, but for its address, size, bin and handle; it comes back unless it is
 * entered. NULL: none is left. */
struct xs_gpu_block *xs_gpu_range_record(struct xs_gpu_range *r);
void xs_gpu_range_keep_record(struct xs_gpu_range *r, struct xs_gpu_block *b);
/* Of those that wait and are ready by now, so many. */
void xs_gpu_range_drain(struct xs_gpu_range *r, unsigned most);

/* ---- without it ---- */

/* A range of another thread's that is wholly free and has room for `size` becomes r's. */
bool xs_gpu_range_move_here(struct xs_gpu_range *r, size_t size);

/* One more range. False: it is of no use to try again. Where less would do, nothing is flushed, or
 * waited for, in order to get more. */
bool xs_gpu_range_extend(struct xs_gpu_shard *s, struct xs_gpu_range *r, size_t size, size_t want,
                         enum xs_gpu_effort *effort);

/* Small ranges come back as one, if they are due to. In a malloc, which waits for nothing: only if
 * the device has nothing to do; else another time. True: something went. */
bool xs_gpu_range_merge(struct xs_gpu_shard *s, struct xs_gpu_range *r);

/* In a free: ranges that are of no use any more go. `waits`: it may wait for the device, as a
 * native one does, where frees are STRICT. */
void xs_gpu_range_tidy(struct xs_gpu_shard *s, struct xs_gpu_range *r, bool waits);

/* All that are wholly free go. `unready`: what is lost too, though work on it may be pending. The
 * bytes. */
size_t xs_gpu_range_spare(struct xs_gpu_shard *s, struct xs_gpu_range *r, bool unready);

#endif
