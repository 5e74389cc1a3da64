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
 * known; ENOTSUP what this version cannot do (device memory, streams, NUMA nodes).
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
    void *stream;        /* CUDA stream of a device block, or NULL */
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

/* NULL is allowed. The same as free. */
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

#ifdef __cplusplus
}
#endif
#endif
