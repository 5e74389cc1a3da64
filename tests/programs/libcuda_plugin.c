/* libcuda_plugin.c - a library that is linked with the driver, opened by a program that knows
 * nothing of it: run(N) allocates and frees N blocks by the driver's symbols, and by those that it
 * looks up. */
#include <dlfcn.h>
#include <stdlib.h>

#include "sys/cuda_abi.h"

/* Weak, so that it can be built without the driver; at run time it is there. */
#define WEAK __attribute__((weak))
WEAK CUresult cuInit(unsigned int);
WEAK CUresult cuDevicePrimaryCtxRetain(CUcontext *, CUdevice);
WEAK CUresult cuCtxSetCurrent(CUcontext);
WEAK CUresult cuMemAlloc_v2(CUdeviceptr *, size_t);
WEAK CUresult cuMemFree_v2(CUdeviceptr);

int run(int n)
{
    CUcontext ctx;
    if (cuInit(0) != 0 || cuDevicePrimaryCtxRetain(&ctx, 0) != 0 || cuCtxSetCurrent(ctx) != 0)
        return 1;
    for (int i = 0; i < n; i++) {
        CUdeviceptr p;
        /* RTLD_DEFAULT of a library that was opened locally is its own scope, too. */
        __typeof__(&cuMemAlloc_v2) get = (__typeof__(get))dlsym(RTLD_DEFAULT, "cuMemAlloc_v2");
        if (i % 2 == 0)
            get = cuMemAlloc_v2;
        if (get == NULL)
            return 2;
        CUresult r = get(&p, 4096);
        if (r == 0)
            r = cuMemFree_v2(p);
        if (r != 0)
            return (int)r;
    }
    return 0;
}

__attribute__((constructor)) static void early(void)
{
    if (getenv("PLUGIN_EARLY") != NULL && run(3) != 0)
        abort();
}
