#include "gpu/sites.h"

#include "gpu/driver.h"

void xs_gpu_note_slow(CUdeviceptr p, size_t size)
{
    CUdevice device = 0;

    if (xs_cu.cuCtxGetDevice(&device) == CUDA_SUCCESS && device >= 0)
        xs_sample_device((unsigned)device, (uintptr_t)p, size);
}

/* What no block's address can be. */
static uintptr_t key_of(CUmemGenericAllocationHandle h)
{
    return (uintptr_t)h << 1 | 1;
}

void xs_gpu_note_created_slow(CUmemGenericAllocationHandle h, size_t size,
                              const CUmemAllocationProp *of)
{
    if (of->location.type == CU_MEM_LOCATION_TYPE_DEVICE && of->location.id >= 0)
        xs_sample_device((unsigned)of->location.id, key_of(h), size);
}

void xs_gpu_note_released_slow(CUmemGenericAllocationHandle h)
{
    xs_sample_device_freed(key_of(h));
}
