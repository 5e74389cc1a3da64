/* fake.h - the control side of the fake driver (libcuda.so.1 of the tests).
 *
 * The fake's streams hold work that is pending until a test lets time pass: nothing completes by
 * itself. A wait (cuStreamSynchronize and the like) completes just what it waits for, a query
 * nothing. What only a lucky order of events would make right is therefore found wrong every time.
 *
 * The oracle. A test tells when a block's life begins (an allocation, as the program sees it) and
 * ends (its free). Work belongs to the lives that it touches. It is a violation when
 *   - work is submitted on memory that pending work of an earlier life touches, and that work is
 *     not ordered before it: by its stream, by events, by the legacy stream, or by completion;
 *   - a life begins while another one covers part of it, or outside the driver's memory;
 *   - a life of memory that the CPU sees (managed, pinned) begins while such work is pending;
 *   - memory goes back to the driver in the midst of a life, or (FAKE_FREE_CHECKS) under pending
 *     work;
 *   - a call waits for work that will never end (fake_hold).
 *
 * Device memory is a range of addresses that faults when the CPU touches it; copies, memsets and
 * kernels act, on completion, on a hidden copy, so that data can be checked too (fake_shadow).
 *
 * Threads: all may be called from any. Streams: as the driver takes them, of the calling thread's
 * current context; FAKE_ALL is every stream of every context. */
#ifndef XS_TESTS_FAKE_H
#define XS_TESTS_FAKE_H

#include <stdbool.h>

#include "sys/cuda_abi.h"

#define FAKE_ALL ((CUstream)-1L)

/* ---- the machine; before cuInit or after fake_reset ---- */

/* Forgets contexts, memory, lives, counters and injected errors. Handles from before are void; the
 * settings stay. Only while no other thread is in a call. A CUDA runtime does not survive it:
 * between programs on one, cudaDeviceReset. */
void fake_reset(void);
void fake_set_devices(int count, size_t bytes_each); /* 1 of 4 GiB */
void fake_set_version(int version);                  /* of the driver: 13000; hides younger calls */
void fake_set_granule(size_t bytes);                 /* sizes are accounted in these: 512 */

/* cuMemFree and its kin: wait for all work of the context, as the driver does; or wait for nothing,
 * and call it a violation to free memory that pending work touches. */
enum fake_free { FAKE_FREE_WAITS, FAKE_FREE_CHECKS };
void fake_set_free(enum fake_free way);

/* Each query lets one piece of work complete, for programs that poll. Off. */
void fake_set_auto(bool on);

/* ---- time ---- */

/* Completes up to n pieces of work at the head of a stream, in its order and not before what they
 * wait for in others; with FAKE_ALL, round robin. Returns how many. */
unsigned fake_advance(CUstream stream, unsigned n);
/* The same over all streams in an order drawn from *seed. */
unsigned fake_advance_random(uint64_t *seed, unsigned n);
unsigned fake_pending(CUstream stream);
/* A kernel that runs until fake_release; touches nothing. */
void fake_hold(CUstream stream);
void fake_release(CUstream stream);

/* ---- work ---- */

/* What a CUfunction of the fake points to. The kernel's parameters are `ranges` pairs of a
 * CUdeviceptr and a size_t, then whatever the body wants. The body runs on completion, on the
 * hidden memory, and makes no CUDA call. */
struct fake_kernel {
    const char *name;
    unsigned ranges;
    void (*body)(void *const *memory, const size_t *bytes, unsigned ranges);
};
extern struct fake_kernel fake_touch_kernel;  /* one range, nothing done */
extern struct fake_kernel fake_touch2_kernel; /* two */
/* cuLaunchKernel of fake_touch_kernel. */
CUresult fake_touch(CUstream stream, const void *p, size_t bytes);
/* Where the hidden copy of device memory lies; host memory is its own. NULL: not the driver's. */
void *fake_shadow(const void *p);
/* Where managed memory was last prefetched to: a device, or -1 for the host; -2: nowhere yet. */
int fake_where(const void *p);

/* ---- the oracle ---- */

void fake_life_begin(const void *p, size_t bytes);
void fake_life_end(const void *p);
/* What a violation does: print and abort (the default), or print and count. */
enum fake_violation { FAKE_ABORT, FAKE_COUNT };
void fake_on_violation(enum fake_violation what);
unsigned fake_violations(void);
const char *fake_last_violation(void); /* "" if none */

/* ---- errors and counters ---- */

/* The nth call from now on (1: the next) of this exported symbol returns code and does nothing
 * else; n 0: no longer. */
void fake_fail(const char *symbol, unsigned n, CUresult code);
/* Every nth call from now on; n 0: no longer. */
void fake_fail_every(const char *symbol, unsigned n, CUresult code);
/* The nth call from now on, of whatever symbol but cuCtxPopCurrent, after whose failure nobody
 * knows where he is; n 0: no longer. */
void fake_fail_any(unsigned n, CUresult code);
/* Calls of this thread are neither failed so nor counted for it, until it is ended as often: for
 * what a test does on its own account. A poisoned context fails them all the same. */
void fake_spare(bool on);
/* From now on every call on a context returns code, as after a fault of a kernel; 0: well again. */
void fake_poison(CUresult code);
/* Calls of an exported symbol since the start or the last reset, failed ones included. */
unsigned long fake_calls(const char *symbol);
unsigned long fake_calls_all(void);
/* Calls cuGetProcAddress and cuGetProcAddress_v2 have answered with an address of this symbol. */
unsigned long fake_resolved(const char *symbol);
/* Device memory in use, as accounted, and blocks that the driver holds. */
size_t fake_used(CUdevice device);
unsigned fake_blocks(void);

/* For programs that know nothing of the fake, the environment, read when it is loaded:
 * FAKE_CUDA_DEVICES, _MEMORY (bytes each), _VERSION, _FAIL (symbol:nth:code, comma between),
 * _AUTO=1, _STUB=1 (every call answers 34, as the toolkit's stub), _COUNTS=path (at exit, a line
 * "symbol count" for each that was called), _LOG=path (a line for each call). */

#endif
