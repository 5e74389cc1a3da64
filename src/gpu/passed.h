/* gpu/passed.h - memory that the driver gives out by itself: how much, and what of it is in use.
 *
 * Units:   bytes. A key is a block's address, or the handle of what cuMemCreate made.
 * Owns:    an entry for each block, by mmap; entries are used again.
 * Threads: any; one lock, held for no call of the driver.
 * Context: inside the driver's calls. Allocates: by mmap.
 * Errors:  none; a block that there was no memory for is not in the levels.
 */
#ifndef XS_GPU_PASSED_H
#define XS_GPU_PASSED_H

#include "gpu/epoch.h"

struct xs_gpu_passed {
    unsigned kind; /* an enum xs_gpu_pass; in passed.c a mapping too */
    unsigned device, context;
    uint64_t key;
    size_t size;
};

/* The driver gave it out: counted, and under a key that is not 0 known as in use. Device -1: the
 * present context's. */
void xs_gpu_passed_through(enum xs_gpu_pass kind, int device, uint64_t key, size_t size);
/* A stream-ordered allocation on it has become a part of a graph, and no memory yet. */
bool xs_gpu_is_captured(CUstream stream, bool per_thread);

/* Before the call that is to free a block, or to release a handle: later another thread may have
 * got the same one. True: it was known, and is again if the driver refuses. */
bool xs_gpu_passed_ends(enum xs_gpu_pass kind, uint64_t key, struct xs_gpu_passed *was);
void xs_gpu_passed_stays(const struct xs_gpu_passed *was);

/* After that call, which returned `r`. */
XS_INLINE CUresult xs_gpu_passed_ended(bool is_known, const struct xs_gpu_passed *was, CUresult r)
{
    if (is_known && r != CUDA_SUCCESS)
        xs_gpu_passed_stays(was);
    return r;
}

/* Memory of cuMemCreate that somebody got a handle of once more, mapped, or unmapped: after the
 * call. */
void xs_gpu_passed_again(CUmemGenericAllocationHandle h);
void xs_gpu_passed_mapped(CUdeviceptr p, size_t size, CUmemGenericAllocationHandle h);
void xs_gpu_passed_unmapped(CUdeviceptr p, size_t size);

/* With a context go the stream-ordered blocks that were asked for in it. */
void xs_gpu_passed_forget(const struct xs_gpu_context *c);

#endif
