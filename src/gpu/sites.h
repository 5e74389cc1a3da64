/* gpu/sites.h - who asks for device memory, where that is to be noted (sample/sample.h).
 * Threads: any. Context: calls of the CUDA driver. Errors: none.
 * Cost:    a look at a word while nothing is sampled.
 */
#ifndef XS_GPU_SITES_H
#define XS_GPU_SITES_H

#include "sample/sample.h"
#include "sys/cuda_abi.h"

void xs_gpu_note_slow(CUdeviceptr p, size_t size);

/* `r` is the result of a call that was to give `size` bytes at *p. */
XS_INLINE CUresult xs_gpu_note(CUresult r, const CUdeviceptr *p, size_t size)
{
    if (XS_UNLIKELY(xs_sample_has_devices) && r == CUDA_SUCCESS)
        xs_gpu_note_slow(*p, size);
    return r;
}

/* Before the block is freed. */
XS_INLINE void xs_gpu_note_free(CUdeviceptr p)
{
    if (XS_UNLIKELY(xs_sample_has_devices))
        xs_sample_device_freed((uintptr_t)p);
}

#endif
