/* gpu/sites.h - who asks for device memory, where that is to be noted (sample/sample.h).
 * Threads: any. Context: calls of the CUDA driver. Errors: none.
 * Cost:    a look at a word while nothing is sampled.
 */
#ifndef XS_GPU_SITES_H
#define XS_GPU_SITES_H

#include "sample/sample.h"
#include "sys/cuda_abi.h"

void xs_gpu_note_slow(CUdeviceptr p, size_t size);
void xs_gpu_note_created_slow(CUmemGenericAllocationHandle h, size_t size,
                              const CUmemAllocationProp *of);
void xs_gpu_note_released_slow(CUmemGenericAllocationHandle h);

/* `r` is the result of a call that was to give `size` bytes at *p. */
XS_INLINE CUresult xs_gpu_note(CUresult r, const CUdeviceptr *p, size_t size)
{
    if (XS_UNLIKELY(xs_sample_has_devices) && r == CUDA_SUCCESS)
        xs_gpu_note_slow(*p, size);
    return r;
}

/* The same for host memory. */
XS_INLINE CUresult xs_gpu_note_host(CUresult r, void *const *p, size_t size)
{
    if (XS_UNLIKELY(xs_sample_has_devices) && r == CUDA_SUCCESS)
        xs_sample_pinned(*p, size);
    return r;
}

/* The same for memory that has a handle, and its end: when the handle is released, whether the
 * memory is mapped or not. */
XS_INLINE CUresult xs_gpu_note_created(CUresult r, const CUmemGenericAllocationHandle *h,
                                       size_t size, const CUmemAllocationProp *of)
{
    if (XS_UNLIKELY(xs_sample_has_devices) && r == CUDA_SUCCESS)
        xs_gpu_note_created_slow(*h, size, of);
    return r;
}
XS_INLINE void xs_gpu_note_released(CUmemGenericAllocationHandle h)
{
    if (XS_UNLIKELY(xs_sample_has_devices))
        xs_gpu_note_released_slow(h);
}

/* Before the block is freed. */
XS_INLINE void xs_gpu_note_free(CUdeviceptr p)
{
    if (XS_UNLIKELY(xs_sample_has_devices))
        xs_sample_device_freed((uintptr_t)p);
}

#endif
