/* gpu/gpu_stats.h - what is counted for each device. One list: the struct, the sums, the JSON and
 * the report are expansions of it.
 *
 * X(name, unit, help). Units: bytes, calls, nanoseconds, blocks. */
#ifndef XS_GPU_GPU_STATS_H
#define XS_GPU_GPU_STATS_H

#include "base/compiler.h"

/* Sums over threads: counters. */
#define XS_GPU_COUNTER_FIELDS(X)                                                                   \
    X(allocations, "calls", "device allocations asked for by the program")                         \
    X(frees, "calls", "device blocks freed by the program")                                        \
    X(requested_bytes, "bytes", "sum of the sizes asked for")                                      \
    X(hits, "calls", "allocations served from what was kept")                                      \
    X(misses_cold, "calls", "nothing of that size had been freed yet")                             \
    X(misses_evicted, "calls", "a block of that size had been evicted")                            \
    X(misses_size, "calls", "blocks were kept, none of a fitting size")                            \
    X(misses_stream, "calls", "fitting blocks were kept, but work on them was still pending")      \
    X(evictions, "blocks", "blocks given back because of a limit")                                 \
    X(flushes, "calls", "times everything kept was given back because memory was out")             \
    X(failures, "calls", "allocations that the program saw fail")                                  \
    X(ooms, "calls", "of these, for want of memory")                                               \
    X(bad_frees, "calls", "frees of what was no block: double, interior or foreign")               \
    X(driver_mallocs, "calls", "allocations made of the driver")                                   \
    X(driver_frees, "calls", "blocks given back to the driver")                                    \
    X(driver_ns, "ns", "time in those")                                                            \
    X(syncs, "calls", "waits for the device inside a free")                                        \
    X(events, "calls", "events recorded to prove completion")                                      \
    X(reuse_ordered, "calls", "hits where only the legacy stream had been used")                   \
    X(reuse_waited, "calls", "hits of blocks whose completion was proven")                         \
    X(reuse_stream, "calls", "hits on the very stream that the block had been freed on")           \
    X(hits_cut, "calls", "hits of pool and bfc, cut from what was freed in other sizes")           \
    X(pinned_allocations, "calls", "pinned host allocations")                                      \
    X(pinned_hits, "calls", "of these, from the cache")                                            \
    X(pinned_requested_bytes, "bytes", "sum of their sizes")                                       \
    X(managed_allocations, "calls", "managed allocations")                                         \
    X(managed_requested_bytes, "bytes", "sum of their sizes")                                      \
    X(managed_moved_back_bytes, "bytes", "blocks of `managed` moved to the host for want of room") \
    X(async_allocations, "calls", "stream-ordered allocations, passed through")                    \
    X(async_bytes, "bytes", "sum of their sizes")                                                  \
    X(vmm_allocations, "calls", "cuMemCreate, passed through")                                     \
    X(vmm_bytes, "bytes", "sum of their sizes")                                                    \
    X(array_allocations, "calls", "arrays and mipmaps, passed through")                            \
    X(graph_allocations, "calls", "allocations that became nodes of graphs")                       \
    X(graph_bytes, "bytes", "sum of their sizes, once a node")

/* Levels: now and peak. */
#define XS_GPU_LEVEL_FIELDS(X)                                                                     \
    X(in_use_bytes, "bytes", "in blocks that the program holds, by their own size")                \
    X(cached_bytes, "bytes", "kept for reuse")                                                     \
    X(reserved_bytes, "bytes", "got from the driver and not given back")                           \
    X(pinned_in_use_bytes, "bytes", "pinned host memory that the program holds")                   \
    X(pinned_cached_bytes, "bytes", "pinned host memory kept for reuse")                           \
    X(managed_in_use_bytes, "bytes", "managed memory that the program holds")                      \
    X(async_in_use_bytes, "bytes", "stream-ordered memory that is not freed yet")                  \
    X(vmm_in_use_bytes, "bytes", "memory of cuMemCreate that has a handle, or is mapped")

enum xs_gpu_pass {
    XS_GPU_PASS_ASYNC,
    XS_GPU_PASS_VMM,
    XS_GPU_PASS_ARRAY,
    XS_GPU_PASS_GRAPH,
    XS_GPU_PASSES
};

struct xs_gpu_stats {
#define X(name, unit, help) uint64_t name;
    XS_GPU_COUNTER_FIELDS(X)
    XS_GPU_LEVEL_FIELDS(X)
#undef X
#define X(name, unit, help) uint64_t name##_peak;
    XS_GPU_LEVEL_FIELDS(X)
#undef X
    uint64_t largest_request_bytes;
    uint64_t last_oom_bytes;     /* size of the last request that found no memory */
    uint64_t cache_max_bytes;    /* the limit now */
    uint64_t largest_free_bytes; /* pool, bfc: largest free piece */
    double fragmentation;        /* pool, bfc: 1 - largest free / free; 0 when nothing is free */
    uint64_t slabs;              /* pool, bfc: got from the driver and held */
    uint64_t slabs_given_back;
    const char *backend; /* "caching", or steps joined by commas */
};

/* Served without the driver, of all that asked for memory; 0 with none. In 0..1. */
double xs_gpu_hit_rate(const struct xs_gpu_stats *s);

#endif
