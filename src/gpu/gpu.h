/* gpu/gpu.h - device, managed and pinned memory as an allocator in front of the CUDA driver.
 *
 * The calls have the driver's signatures and meanings: cuda_shim/ puts them in the place of the
 * driver's own. What comes out of them may have been used before, never so that work of its earlier
 * life is still pending: see gpu/epoch.h for why.
 *
 * Units:   bytes.
 * Owns:    what it got from the driver and has not given back; a program's block is the program's.
 * Threads: any. No lock is held across a call of the driver that may wait, and none that is shared
 *          by threads is taken on a hit.
 * Context: any thread of the program that may call CUDA; not in a stream callback (as the driver
 *          forbids it). Allocates: by mmap. Never calls CUDA at exit or in a destructor.
 * Errors:  the driver's codes. XSigma's own trouble is never the program's: without memory for a
 *          record the call goes straight to the driver.
 */
#ifndef XS_GPU_GPU_H
#define XS_GPU_GPU_H

#include "gpu/driver.h"
#include "gpu/gpu_stats.h"
#include "gpu/hooks.h"

enum xs_gpu_backend {
    XS_GPU_CACHING,
    XS_GPU_POOL,
    XS_GPU_BFC,
    XS_GPU_DIRECT,
    XS_GPU_MANAGED,
    XS_GPU_BACKENDS
};

/* Native cudaFree waits for the device, and programs rely on it. STRICT does so too wherever more
 * than the legacy stream was used; DEFERRED waits for nothing and proves completion by events. */
enum xs_gpu_free { XS_GPU_STRICT, XS_GPU_DEFERRED };

/* Sizes that the cache keeps apart: every one (to XSIGMA_GPU_ALIGN), or so many to a doubling. */
enum xs_gpu_round {
    XS_GPU_ROUND_NONE = 0,
    XS_GPU_ROUND_POW2 = 1,
    XS_GPU_ROUND_HALF = 2,
    XS_GPU_ROUND_QUARTER = 4,
    XS_GPU_ROUND_EIGHTH = 8
};

#define XS_GPU_DEVICES_MAX 64
#define XS_GPU_STEPS_MAX   8

struct xs_gpu_step {
    size_t last; /* the largest size that goes here */
    enum xs_gpu_backend backend;
};

/* Of one device. */
struct xs_gpu_options {
    struct xs_gpu_step step[XS_GPU_STEPS_MAX];
    unsigned step_count; /* at least 1; the last step's bound is SIZE_MAX */
    enum xs_gpu_free free_way;
    enum xs_gpu_round round;
    unsigned waste_percent;      /* best fit may give a block larger than asked by so much: 12;
                                  * 0: nor twice as large while more is kept than in use */
    size_t align;                /* of every block, 256 to 2 MiB: 512 */
    uint64_t cache_max_bytes;    /* cached, never exceeded; 0: nothing is kept */
    unsigned headroom_percent;   /* so much more than ever was in use may be held; 0: any */
    uint64_t cache_age_ns;       /* what was not used for so long is given back; 0: never */
    uint64_t low_free_bytes;     /* below so much free on the device the cache gives way; 0: off */
    size_t pool_min_block;       /* 1 KiB */
    size_t pool_max_block;       /* 64 MiB; above it: the driver */
    double pool_growth;          /* 2.0: each slab of the pool is so much larger than the last */
    uint64_t pool_limit_bytes;   /* 256 MiB in all; beyond it: the driver */
    unsigned pool_class_blocks;  /* free blocks kept per class before slabs are given back: 16 */
    uint64_t pool_defragment_ns; /* 0: only on request */
    uint64_t bfc_initial_bytes;
    uint64_t bfc_limit_bytes;  /* 0: none */
    bool prefetch;             /* managed: to the device when allocated */
    bool prefetch_back;        /* managed: to the host what is in use when the device is short */
    uint64_t pinned_max_bytes; /* cached pinned host memory */
    uint64_t oom_wait_ns;      /* bounded wait for pending work before OOM is reported */
};

/* Before the first call; `of` gives the options of a device and is called at most once for each. */
void xs_gpu_open(void (*of)(unsigned device, struct xs_gpu_options *out));

/* ---- the driver's calls ---- */

CUresult xs_gpu_malloc(CUdeviceptr *out, size_t size);
/* A block that `stream` will use first: what was freed on it (xs_gpu_free_async) may come back at
 * once, its work before it in the stream. A default stream's handle, or NULL: as xs_gpu_malloc. */
CUresult xs_gpu_malloc_on(CUdeviceptr *out, size_t size, CUstream stream);
CUresult xs_gpu_malloc_pitch(CUdeviceptr *out, size_t *pitch, size_t width, size_t height,
                             unsigned element);
CUresult xs_gpu_malloc_managed(CUdeviceptr *out, size_t size, unsigned flags);
CUresult xs_gpu_free(CUdeviceptr p);
/* `free_async` is the driver's own of the variant that was called: for pointers that are not ours.
 */
CUresult xs_gpu_free_async(CUdeviceptr p, CUstream stream,
                           CUresult (*free_async)(CUdeviceptr, CUstream));
CUresult xs_gpu_host_alloc(void **out, size_t size, unsigned flags);
CUresult xs_gpu_host_malloc(void **out, size_t size); /* cuMemAllocHost */
CUresult xs_gpu_host_free(void *p);
CUresult xs_gpu_mem_info(size_t *free, size_t *total);
CUresult xs_gpu_address_range(CUdeviceptr *base, size_t *size, CUdeviceptr p);

/* `p` is the first byte of a device block that the program holds from xs_gpu_malloc and its kin:
 * one look-up, no lock, no driver. For whoever cannot know whether a pointer is the host's. */
bool xs_gpu_holds(CUdeviceptr p);

/* True if *result was settled here: a sub-allocated block must not be shared with other processes
 * by its neighbours' name. Otherwise the caller asks the driver; the block is never used again. */
bool xs_gpu_exporting(CUdeviceptr p, CUresult *result);
/* Its meaning was changed for good (SYNC_MEMOPS, peer-to-peer tokens, attach, advise): as above. */
void xs_gpu_never_reuse(CUdeviceptr p);
/* It lies in a block that the program has freed and we keep: the driver knows it, and natively
 * would not. Where a whole block begins is known at once; within one the second form asks the
 * driver. */
bool xs_gpu_is_freed(CUdeviceptr p);
bool xs_gpu_is_freed_within(CUdeviceptr p);
/* For RANGE_START_ADDR and RANGE_SIZE: true and the answer if the block lies in a larger one. */
bool xs_gpu_block_range(CUdeviceptr p, CUdeviceptr *base, size_t *size);

/* An allocation call that is the driver's own (arrays, cuMemCreate, cuMemAllocAsync, registered
 * host memory) found no memory: gives back what is kept of the present context's device; true if it
 * is worth another try. */
bool xs_gpu_flush_here(void);
bool xs_gpu_flush_of(CUdevice device); /* the same of a device that was used */
bool xs_gpu_flush_any(void); /* the present one, or if nothing is kept there, another one */

/* ---- what the shim sees go by ---- */

void xs_gpu_before_stream(void);   /* a stream other than the legacy one is about to be made, or */
                                   /* the per-thread default stream or its variants asked for */
void xs_gpu_before_overlap(void);  /* a launch that need not wait for its stream's last one */
void xs_gpu_after_launch(void);    /* of a kernel */
void xs_gpu_after_copy(void);      /* which goes on by itself */
void xs_gpu_after_host_call(void); /* of a function, when a stream comes to it */
void xs_gpu_after_register(void);  /* memory of the host's, which the CPU sees from then on */
void xs_gpu_after_stream(CUstream s, unsigned flags);
void xs_gpu_no_stream(void);               /* it could not be made */
void xs_gpu_stream_gone(CUstream s);       /* before it is destroyed */
void xs_gpu_after_context(CUcontext ctx);  /* it was made, or retained: perhaps once more */
void xs_gpu_context_gone(CUcontext ctx);   /* before it is destroyed */
void xs_gpu_device_reset(CUdevice device); /* before the primary context goes */
void xs_gpu_capture_begun(void);           /* before the real call; */
void xs_gpu_capture_ended(void);           /* after the real end, or when the beginning failed */
/* Before and after the program waited for a whole context: what came before `e` is complete. */
uint64_t xs_gpu_before_sync(void);
void xs_gpu_after_sync(CUcontext ctx, uint64_t e);
void xs_gpu_sync_failed(void); /* instead: it may have waited for nothing */
void xs_gpu_fork_child(void);

/* ---- control: any thread that has a current context of the device ---- */

void xs_gpu_clear(int device); /* -1: all. Everything cached that is ready goes back */
void xs_gpu_set_cache_max(int device, uint64_t bytes);
size_t xs_gpu_defragment(int device); /* whole free slabs and regions go back; the bytes */

/* ---- statistics: callable at exit, calls no CUDA, may_lock as in backend/backend.h ---- */

unsigned xs_gpu_device_count(void); /* devices that were used: 1 + the highest number */
bool xs_gpu_stats_get(unsigned device, struct xs_gpu_stats *out, bool may_lock);

#endif
