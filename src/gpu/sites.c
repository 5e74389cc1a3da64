#include "gpu/sites.h"

#include "gpu/driver.h"

void xs_gpu_note_slow(CUdeviceptr p, size_t size)
{
    CUdevice device = 0;

    if (xs_cu.cuCtxGetDevice(&device) == CUDA_SUCCESS && device >= 0)
        xs_sample_device((unsigned)device, (uintptr_t)p, size);
}
