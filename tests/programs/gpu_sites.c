/* Blocks of each kind of memory that CUDA gives, each from a function of its own, some of them
 * freed again; knows nothing of XSigma. Prints "name total peak live" for each function, in bytes.
 * Nothing is freed before all is there, so that every kind is at its peak then. */
#include <stdio.h>
#include <stdlib.h>

#include "sys/cuda_abi.h"
#include "tests/support/cuda/look_up.h"

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)

#define DO(call)                                                                                   \
    do {                                                                                           \
        if ((call) != CUDA_SUCCESS) {                                                              \
            printf("%s failed\n", #call);                                                          \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

/* Each in a frame of its own: no call is the last one. */
__attribute__((noinline)) static CUdeviceptr take_device(size_t size)
{
    CUdeviceptr p = 0;
    DO(CU(cuMemAlloc_v2)(&p, size));
    return p;
}

__attribute__((noinline)) static CUdeviceptr take_pitched(size_t width, size_t rows, size_t *pitch)
{
    CUdeviceptr p = 0;
    DO(CU(cuMemAllocPitch_v2)(&p, pitch, width, rows, 4));
    return p;
}

__attribute__((noinline)) static CUdeviceptr take_managed(size_t size)
{
    CUdeviceptr p = 0;
    DO(CU(cuMemAllocManaged)(&p, size, CU_MEM_ATTACH_GLOBAL));
    return p;
}

__attribute__((noinline)) static void *take_pinned(size_t size)
{
    void *p = NULL;
    DO(CU(cuMemHostAlloc)(&p, size, 0));
    return p;
}

__attribute__((noinline)) static void *take_host(size_t size)
{
    void *p = NULL;
    DO(CU(cuMemAllocHost_v2)(&p, size));
    return p;
}

__attribute__((noinline)) static CUdeviceptr take_async(size_t size)
{
    CUdeviceptr p = 0;
    DO(CU(cuMemAllocAsync)(&p, size, NULL));
    return p;
}

__attribute__((noinline)) static CUmemGenericAllocationHandle take_created(size_t size)
{
    CUmemGenericAllocationHandle h = 0;
    CUmemAllocationProp what = {.type = 1, .location = {CU_MEM_LOCATION_TYPE_DEVICE, 0}};
    DO(CU(cuMemCreate)(&h, size, &what, 0));
    return h;
}

int main(void)
{
    CUcontext ctx;
    size_t pitch;

    DO(CU(cuInit)(0));
    DO(CU(cuDevicePrimaryCtxRetain)(&ctx, 0));
    DO(CU(cuCtxSetCurrent)(ctx));
    /* The last of each is not freed; a device block is taken once more from what was freed. */
    CUdeviceptr d[3], m[2], a[2];
    void *h[2], *n[2];
    CUmemGenericAllocationHandle c[2];
    volatile int three = 3, two = 2; /* loops, in which a call is one site */
    for (int i = 0; i < three; i++)
        d[i] = take_device((size_t)(i + 1) * MIB);
    CUdeviceptr w = take_pitched(1000, 10, &pitch);
    for (int i = 0; i < two; i++) {
        m[i] = take_managed(300 * KIB);
        h[i] = take_pinned(200 * KIB);
        n[i] = take_host(100 * KIB);
        a[i] = take_async(500 * KIB);
        c[i] = take_created(2 * MIB);
    }
    DO(CU(cuMemFree_v2)(d[0]));
    DO(CU(cuMemFree_v2)(w));
    DO(CU(cuMemFree_v2)(m[0]));
    DO(CU(cuMemFreeHost)(h[0]));
    DO(CU(cuMemFreeHost)(n[0]));
    DO(CU(cuMemFreeAsync)(a[0], NULL));
    DO(CU(cuMemRelease)(c[0]));
    d[0] = take_device(1 * MIB);
    DO(CU(cuMemFree_v2)(d[0]));
    printf("take_device %zu %zu %zu\n", 7 * MIB, 6 * MIB, 5 * MIB);
    printf("take_pitched %zu %zu 0\n", pitch * 10, pitch * 10);
    printf("take_managed %zu %zu %zu\n", 600 * KIB, 600 * KIB, 300 * KIB);
    printf("take_pinned %zu %zu %zu\n", 400 * KIB, 400 * KIB, 200 * KIB);
    printf("take_host %zu %zu %zu\n", 200 * KIB, 200 * KIB, 100 * KIB);
    printf("take_async %zu %zu %zu\n", 1000 * KIB, 1000 * KIB, 500 * KIB);
    printf("take_created %zu %zu %zu\n", 4 * MIB, 4 * MIB, 2 * MIB);
    return 0;
}
