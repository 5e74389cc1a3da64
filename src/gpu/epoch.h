/* gpu/epoch.h - when memory that the program has freed may be used again.
 *
 * We are never told which streams used a block. So time is cut into epochs, for the process as a
 * whole: `open` is the number of the present one. A block is stamped with it when it is freed.
 * Epoch e is closed by e = open++, and then an event is recorded in every live context that covers
 * all the context has been given so far. When that event has completed, the context is done up to
 * e; `done` is the least of all live contexts. A block may be used again when done >= its stamp.
 *
 * Why this is enough. Let W be work on a block that was submitted before its free, as a correct
 * program's is: W's submission returned, then the free read `open` = s. Say e >= s was closed, the
 * closer having read e in its increment. The free read a value that the increment overwrote, so it
 * came first in the order of `open`. Suppose the record in W's context came before W's submission
 * in the driver. The driver orders what it does with a context by locks, so the record would have
 * happened before W's submission, and the increment, which precedes the record, before the free's
 * load, which must then have read more than e: a contradiction. So the event covers W. (On x86-64
 * the lock that the free takes before it reads `open` is a full fence too; elsewhere there is an
 * explicit one. The argument holds without them as long as the driver has locks.)
 *   It does not matter in which context or stream W is, nor whose thread submitted it: copies
 * between devices can touch any context's memory, hence `done` over all of them. A context that
 * appears later starts as done up to open - 1: no work in it can be on a block with such a stamp,
 * since its handle was given to the program after we had counted it.
 *   Instead of an event, a wait of the program's own for a whole context will do: the increment
 * before it, `done` after it.
 *
 * Where no event is needed. As long as the process has used nothing but the legacy default stream
 * of one context, and no launch that need not wait for the one before it (programmatic dependent
 * launch), all its work is done in the order of submission: W comes before whatever is submitted
 * after the free. Device memory, which only the device's work reaches, may then be used
 * again at once (`single`). Managed and pinned memory may not: the CPU waits for no stream.
 *   Before the first stream, second context or such launch exists this ends: `single` is cleared,
 * then the lock of each shard is taken once. Whoever decided by `single` did so under such a lock:
 * now either it is known to us as unproven, or it was decided by epochs. If there is an unproven
 * block, the context is waited for before the program gets its stream: what was submitted before an
 * unproven block's free is complete then. A native cudaFree would have waited earlier. (A program
 * that reused memory, then started a kernel without end in the legacy stream, and only then makes
 * its first stream, waits for ever where it would not natively. That one we give up.) While single,
 * an idle legacy stream (cuStreamQuery) is proof too. The closer looks at `single` once more after
 * its increment: who cleared it before a free of that epoch did so before the free's load of
 * `open`, which came before the increment.
 *
 * Drivers before 12.5 have no event for a context. There an epoch has one for each stream that we
 * saw being made, and those of streams that were destroyed since; the legacy stream is looked at,
 * and gets an event only if it is never seen idle, since that orders all blocking streams. If there
 * is a stream that we have not seen, as another thread's default stream, there is no such proof;
 * then only the program's own waits promote, and blocks that are not ready are not reused.
 *
 * Captures. While one is active we record, query, wait and give back nothing, since that would
 * invalidate it. xs_gpu_capture_begun is called before the real call: it counts, then waits for
 * what is under way (xs_gpu_gate).
 *
 * Units:   epochs count from 1. Owns: events, which go with their context.
 * Threads: any; the hit path reads two words. The lock of epochs is held across record and query,
 *          which do not wait for the device; a miss only tries to take it.
 * Context: inside the driver's calls. Allocates: never.
 * Errors:  a failing event, or a context beyond those that we can count, turns us off for good:
 *          everything passes through from then on.
 */
#ifndef XS_GPU_EPOCH_H
#define XS_GPU_EPOCH_H

#include <stdatomic.h>

#include "gpu/device.h"

#define XS_GPU_CONTEXTS 32
#define XS_GPU_PENDING  64 /* events of a context that are still asked for */

struct xs_gpu_proof {
    uint64_t epoch;
    CUevent event; /* NULL: the legacy stream, when it has nothing to do */
    bool is_last;  /* of those that the epoch needs */
};

struct xs_gpu_context {
    _Atomic(CUcontext) handle; /* NULL: free */
    struct xs_gpu_device *device;
    uint8_t index;
    bool is_primary;             /* or may be: goes with a reset of the device */
    _Atomic uint32_t generation; /* changes when the handle does */
    _Atomic uint64_t done;
    _Atomic uint32_t users; /* threads that are about to call the driver on it */
    /* under the lock of epochs */
    struct xs_gpu_proof pending[XS_GPU_PENDING]; /* by epoch */
    unsigned pending_count;
    CUevent spare[XS_GPU_PENDING];
    unsigned spare_count;
};

/* gpu/stream.c, under the lock of epochs: one event, or several, after which the context is done up
 * to the epoch. CUDA_ERROR_NOT_READY: not now, and no harm done. */
CUresult xs_gpu_record(struct xs_gpu_context *c, CUcontext handle, uint64_t epoch,
                       uint64_t *events);
/* CUDA_SUCCESS: what the proof stands for is complete. */
CUresult xs_gpu_query(struct xs_gpu_context *c, const struct xs_gpu_proof *p);
void xs_gpu_streams_forget(const struct xs_gpu_context *c);
void xs_gpu_epoch_lock(void);
void xs_gpu_epoch_unlock(void);

enum { XS_GPU_CLOSED, XS_GPU_ON, XS_GPU_OFF, XS_GPU_CHILD };

/* What the CPU may come to see of it: all that kernels write and print; what copies write; all. */
enum { XS_GPU_GIVEN_KERNEL = 1, XS_GPU_GIVEN_COPY = 2, XS_GPU_GIVEN_CALL = 4 };

struct xs_gpu_epochs {
    _Atomic bool is_used; /* set before anything else here is changed, or any lock is taken */
    _Atomic uint64_t open, done;
    _Atomic uint32_t mode;
    _Atomic bool single;
    _Atomic uint32_t given;  /* XS_GPU_GIVEN_*: since a context was waited for last */
    _Atomic bool registered; /* memory of the host's, once: perhaps it still is */
    _Atomic uint32_t captures;
};

extern XS_HIDDEN struct xs_gpu_epochs xs_gpu_epochs;
extern XS_HIDDEN struct xs_gpu_context xs_gpu_contexts[XS_GPU_CONTEXTS];

XS_INLINE bool xs_gpu_is_on(void)
{
    return XS_LIKELY(atomic_load_explicit(&xs_gpu_epochs.mode, memory_order_relaxed) == XS_GPU_ON);
}

/* Of a fork: locks are as they were, and CUDA is of no use. */
XS_INLINE bool xs_gpu_is_child(void)
{
    return XS_UNLIKELY(atomic_load_explicit(&xs_gpu_epochs.mode, memory_order_relaxed) ==
                       XS_GPU_CHILD);
}

XS_INLINE bool xs_gpu_is_single(void)
{
    return atomic_load_explicit(&xs_gpu_epochs.single, memory_order_relaxed);
}

XS_INLINE bool xs_gpu_is_capturing(void)
{
    return XS_UNLIKELY(atomic_load_explicit(&xs_gpu_epochs.captures, memory_order_relaxed) != 0);
}

/* Acquire: what the completed work left behind is seen by who uses the block next. */
XS_INLINE uint64_t xs_gpu_done(void)
{
    return atomic_load_explicit(&xs_gpu_epochs.done, memory_order_acquire);
}

/* For a free whose caller has just taken its shard's lock. */
XS_INLINE uint64_t xs_gpu_stamp(void)
{
#if !defined(__x86_64__)
    atomic_thread_fence(memory_order_seq_cst);
#endif
    return atomic_load_explicit(&xs_gpu_epochs.open, memory_order_seq_cst);
}

/* Whoever is the first to get here from the program: see fork. */
XS_INLINE void xs_gpu_used(void)
{
    if (XS_UNLIKELY(!atomic_load_explicit(&xs_gpu_epochs.is_used, memory_order_relaxed)))
        atomic_store_explicit(&xs_gpu_epochs.is_used, true, memory_order_seq_cst);
}

/* From now on everything passes through; the second form says why, once. */
void xs_gpu_turn_off(void);
void xs_gpu_turn_off_for(const char *why);

/* The present context's, entered at first; NULL: none, or beyond those that we can count. */
struct xs_gpu_context *xs_gpu_context_of(CUcontext handle);

/* While it is held it is not destroyed: for as long as a block of it is in nobody's list. False: it
 * is gone. */
bool xs_gpu_context_hold(struct xs_gpu_context *c, uint32_t generation);
void xs_gpu_context_let_go(struct xs_gpu_context *c);
/* Of one that is held, so many times more; and no longer. */
void xs_gpu_context_hold_more(struct xs_gpu_context *c, unsigned n);
void xs_gpu_context_let_go_of(struct xs_gpu_context *c, unsigned n);

/* Makes a held context the thread's own for calls of the driver. */
CUresult xs_gpu_context_enter(struct xs_gpu_context *c, bool *pushed);
void xs_gpu_context_leave(bool pushed);
/* What was pushed must go, or the program would go on in another context. */
void xs_gpu_pop(void);

/* How many streams, and contexts with theirs, have gone: a handle means the same stream as long as
 * this stays. */
uint64_t xs_gpu_streams_gone(void);
void xs_gpu_streams_go(void);

/* False while a capture is active; else none begins before xs_gpu_gate_close. */
bool xs_gpu_gate_open(void);
void xs_gpu_gate_close(void);

/* Tries to make done >= stamp true, without waiting for the device. True: it is. For `youngest`
 * there is an event then, so that it will be true of it too. *events grows by those that were
 * recorded. */
bool xs_gpu_prove(uint64_t stamp, uint64_t youngest, uint64_t *events);
/* The same, polling for at most so long. */
bool xs_gpu_prove_within(uint64_t stamp, uint64_t ns, uint64_t *events);

/* Before a stream or a second context exists. */
void xs_gpu_leave_single(void);

/* Waits for all work of the context. Not during a capture: NOT_PERMITTED then. */
CUresult xs_gpu_context_wait(struct xs_gpu_context *c, uint32_t generation);

/* Of all contexts' work: a block's own context is not the only one that can touch it. */
void xs_gpu_wait_all(void);

#endif
