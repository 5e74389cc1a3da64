/* xsigma.h - the C interface of XSigma, for programs that are recompiled.
 *
 * Nobody needs it: under LD_PRELOAD malloc and its family are XSigma already. A program that links
 * with -lxsigma gets the same malloc and these calls; one that must also run without the library
 * declares them weak and tests their address.
 *
 * Units:   bytes, calls, nanoseconds, as names say.
 * Owns:    the caller owns what it is given; blocks go back by xsigma_free or free alike.
 * Threads: every function may be called from any thread; none from a signal handler.
 * Errors:  functions that return int give 0 or an errno value and leave errno itself alone.
 *          ENOMEM  no memory; EINVAL a bad argument; ENOENT a back end that is not open or not
 *          known, a device that was not used; ENOTSUP what cannot be done (NUMA nodes; a size or an
 *          alignment that the back end named in attr has no blocks for, as mimalloc 3 above 16 MiB;
 *          device memory without a CUDA driver or with XSIGMA_GPU=0); EIO the CUDA driver failed.
 */
#ifndef XSIGMA_H
#define XSIGMA_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define XSIGMA_VERSION "0.1.0"

/* The version of the library that runs, which may be newer than the header. */
const char *xsigma_version(void);

/* ---- allocation ------------------------------------------------------------------------- */

#define XSIGMA_HOST     (-1)
#define XSIGMA_ANY_NODE (-1)

/* How a block should be. Start from XSIGMA_ATTR_INIT, so that fields of later versions are right.
 */
struct xsigma_attr {
    size_t attr_size;    /* sizeof(struct xsigma_attr) of the caller */
    int device;          /* XSIGMA_HOST, or a CUDA device */
    int numa_node;       /* XSIGMA_ANY_NODE, or a node */
    size_t alignment;    /* a power of two, or 0 for the usual one */
    void *stream;        /* of a device block: the CUDA stream that will use it, or NULL */
    const char *backend; /* "system", "mimalloc", "tbb", or NULL for the policy's choice */
};

#define XSIGMA_ATTR_INIT                                                                           \
    {                                                                                              \
        sizeof(struct xsigma_attr), XSIGMA_HOST, XSIGMA_ANY_NODE, 0, NULL, NULL                    \
    }

/* *out becomes a block of at least `size` bytes. attr may be NULL. On error *out is NULL. */
int xsigma_alloc(void **out, size_t size, const struct xsigma_attr *attr);

/* As realloc, keeping the alignment that attr asks for; on error *block is unchanged and valid.
 * Without a back end in attr the block stays where it is if the policy agrees. */
int xsigma_realloc(void **block, size_t size, const struct xsigma_attr *attr);

/* NULL is allowed. The same as free, and for device blocks the same as cudaFree. */
void xsigma_free(void *block);

/* `count` blocks of `size` bytes each, or none at all (then out[] is all NULL). */
int xsigma_alloc_batch(void **out, size_t count, size_t size, const struct xsigma_attr *attr);
void xsigma_free_batch(void *const *blocks, size_t count);

/* Asks every back end to give unused memory back to the system, but for `pad` bytes where it can
 * keep some. 1 if any may have, else 0. The same as malloc_trim. */
int xsigma_trim(size_t pad);

/* ---- back ends -------------------------------------------------------------------------- */

struct xsigma_backend_info {
    char name[16];
    int is_open;   /* loaded, so that attr.backend may name it */
    int is_active; /* the policy sends some sizes there */
};

/* Fills in at most `capacity` elements and returns how many back ends there are. */
size_t xsigma_backends(struct xsigma_backend_info *out, size_t capacity);

/* ---- device memory ---------------------------------------------------------------------- */

/* With attr.device >= 0 xsigma_alloc gives device memory, as cudaMalloc does under XSigma: by the
 * policy, and free of earlier work, so that any stream may use it. With attr.stream it may be what
 * xsigma_gpu_free freed on that very stream, with work on it still under way there: to be used on
 * it only, or after it; launches that overlap within a stream mind that, as with cudaMallocAsync.
 * It needs no CUDA context: without one of that device on the calling thread, the device's primary
 * context is used and kept.
 * Alignment: up to XSIGMA_GPU_ALIGN. Device blocks cannot be reallocated. */

#define XSIGMA_ALL_DEVICES (-1)

/* Frees a device block once the work that `stream` has now is done; nothing waits. */
int xsigma_gpu_free(void *block, void *stream);

/* Gives back to the driver what is kept for reuse. */
int xsigma_gpu_clear(int device);

/* Changes XSIGMA_GPU_CACHE_MAX; what is kept beyond it goes back at once. */
int xsigma_gpu_set_cache_max(int device, uint64_t bytes);

/* Gives back whole free slabs and regions of pool and bfc; *bytes, unless NULL, becomes how much.
 * What is in use does not move. */
int xsigma_gpu_defragment(int device, uint64_t *bytes);

/* Moves managed memory to a device, or with XSIGMA_HOST to the host, in the order of a stream. */
int xsigma_gpu_prefetch(const void *block, size_t size, int device, void *stream);

/* ---- statistics ------------------------------------------------------------------------- */

#define XSIGMA_UNKNOWN UINT64_MAX

struct xsigma_backend_stats {
    char name[16];
    uint64_t allocations;         /* calls of malloc, calloc, aligned forms, operator new */
    uint64_t frees;               /* of non-null pointers */
    uint64_t reallocs;            /* of existing blocks */
    uint64_t failures;            /* allocations that returned NULL */
    uint64_t realloc_failures;    /* reallocations that returned NULL */
    uint64_t requested_bytes;     /* sum of all sizes asked for and given */
    int64_t live_blocks;          /* exact while counting was never off */
    uint64_t in_use_bytes;        /* by the back end's own count, or XSIGMA_UNKNOWN */
    uint64_t reserved_bytes;      /* held from the system, or XSIGMA_UNKNOWN */
    uint64_t reserved_peak_bytes; /* or XSIGMA_UNKNOWN */
    uint64_t size_bins[64];       /* bin k: requests of (2^(k-1), 2^k] bytes; 63: of 0 bytes. bfc:
                                     bin 4 is the first, with all up to 16 bytes */
};

#define XSIGMA_BACKENDS_MAX 8

struct xsigma_stats {
    size_t stats_size;        /* in: sizeof(struct xsigma_stats) of the caller */
    int counting;             /* counters are on now */
    uint64_t not_counting_ns; /* for so long they were off */
    uint64_t wall_ns;
    uint64_t cpu_user_ns;
    uint64_t cpu_sys_ns;
    uint64_t rss_bytes;
    uint64_t rss_peak_bytes;
    uint64_t threads_now; /* that have allocated and still run */
    uint64_t threads_peak;
    uint64_t threads_total;
    size_t backend_count;
    struct xsigma_backend_stats backends[XSIGMA_BACKENDS_MAX];
};

/* Exact when the other threads are at rest. EINVAL if stats_size is not this version's. */
int xsigma_stats_snapshot(struct xsigma_stats *out);

/* Switches counting on (1) or off (0) for the whole process. ENOTSUP when the library stands aside
 * (XSIGMA_DISABLE, a privileged program, or one with its own malloc). */
int xsigma_stats_enable(int on);

/* Of one device. A level has what it is now and, as NAME_peak, the most it was. */
struct xsigma_gpu_stats {
    size_t stats_size; /* in: sizeof(struct xsigma_gpu_stats) of the caller */
    char backend[48];  /* "caching", or several with commas between */
    uint64_t allocations;
    uint64_t frees;
    uint64_t requested_bytes;
    uint64_t hits;           /* served from what was kept */
    uint64_t misses_cold;    /* nothing of that size had been freed yet */
    uint64_t misses_evicted; /* it had, but was given back */
    uint64_t misses_size;    /* blocks were kept, none that fitted */
    uint64_t misses_stream;  /* fitting blocks were kept, with work still pending on them */
    uint64_t evictions;
    uint64_t flushes; /* times everything went back because memory was out */
    uint64_t failures;
    uint64_t ooms; /* of these, for want of memory */
    uint64_t bad_frees;
    uint64_t driver_mallocs;
    uint64_t driver_frees;
    uint64_t driver_ns; /* time in these */
    uint64_t syncs;     /* waits for the device in frees */
    uint64_t events;
    uint64_t reuse_ordered; /* hits where only the default stream was in use */
    uint64_t reuse_waited;  /* hits of blocks whose earlier work was proven done */
    uint64_t reuse_stream;  /* hits on the stream that the block had been freed on */
    uint64_t hits_cut; /* hits of pool and bfc that did not come from what the thread had freed */
    uint64_t pinned_allocations;
    uint64_t pinned_hits;
    uint64_t pinned_requested_bytes;
    uint64_t managed_allocations;
    uint64_t managed_requested_bytes;
    uint64_t managed_moved_back_bytes; /* to the host, for want of room on the device */
    uint64_t async_allocations;        /* cudaMallocAsync: counted, not served */
    uint64_t async_bytes;
    uint64_t vmm_allocations; /* cuMemCreate: the same */
    uint64_t vmm_bytes;
    uint64_t array_allocations;
    uint64_t graph_allocations; /* that became nodes of graphs: the same, once a node */
    uint64_t graph_bytes;
    uint64_t in_use_bytes, in_use_bytes_peak;
    uint64_t cached_bytes, cached_bytes_peak;
    uint64_t reserved_bytes, reserved_bytes_peak; /* got from the driver and not given back */
    uint64_t pinned_in_use_bytes, pinned_in_use_bytes_peak;
    uint64_t pinned_cached_bytes, pinned_cached_bytes_peak;
    uint64_t managed_in_use_bytes, managed_in_use_bytes_peak;
    uint64_t async_in_use_bytes, async_in_use_bytes_peak;
    uint64_t vmm_in_use_bytes, vmm_in_use_bytes_peak; /* has a handle, or is mapped */
    uint64_t largest_request_bytes;
    uint64_t last_oom_bytes;
    uint64_t cache_max_bytes;
    uint64_t largest_free_bytes; /* pool and bfc */
    uint64_t slabs;
    uint64_t slabs_given_back;
    double fragmentation; /* 1 - largest free / free */
    double hit_rate;      /* 0 to 1 */
};

/* ENOENT if the process has not used the device. */
int xsigma_gpu_stats_snapshot(int device, struct xsigma_gpu_stats *out);

#ifdef __cplusplus
}
#endif
#endif
