/* cuda_sign.c - cuda_sign WAY CALL STREAM: a block, one call on a stream (0, 1, 2: the handles that
 * need no making; "new": one that is made), the block freed and another of its size. By WAY the
 * call is found: "link" (built with -DLINKED), "dlsym", "entry" (cuGetProcAddress), "entry-thread"
 * (the same for the forms that use the thread's stream). Prints "ok" or what went wrong; "calls"
 * lists them. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sys/cuda_abi.h"

static const char *way = "link";
static void *library;

static void *found(const char *name, const char *symbol, int version, void *linked)
{
    void *p = linked;
    CUdriverProcAddressQueryResult status;
    __typeof__(&cuGetProcAddress_v2) resolve;
    if (strcmp(way, "dlsym") == 0)
        p = dlsym(library, symbol);
    else if (strncmp(way, "entry", 5) == 0) {
        resolve = (__typeof__(resolve))dlsym(library, "cuGetProcAddress_v2");
        if (resolve(name, &p, version, way[5] != 0 ? 2 : 0, &status) != 0)
            p = NULL;
    }
    if (p == NULL) {
        printf("no %s\n", symbol);
        exit(1);
    }
    return p;
}

/* With nothing linked the names only serve for their types. */
#ifdef LINKED
#define ADDRESS(symbol) ((void *)symbol)
#else
#define ADDRESS(symbol) NULL
#endif
#define CU_AT(name, symbol, version)                                                               \
    ((__typeof__(&symbol))found(#name, #symbol, version, ADDRESS(symbol)))
#define CU(name, symbol) CU_AT(name, symbol, 13000)

static CUresult call(const char *name, CUdeviceptr p, CUstream s)
{
    static const CUmemLocation device = {CU_MEM_LOCATION_TYPE_DEVICE, 0};
    CUdeviceptr q = 0;
    CUevent e;
    CUresult r = CUDA_SUCCESS;
    if (strcmp(name, "none") == 0)
        return r;
#define IS(symbol) (strcmp(name, #symbol) == 0)
    if (IS(cuMemsetD8Async))
        return CU(cuMemsetD8Async, cuMemsetD8Async)(p, 1, 64, s);
    if (IS(cuMemsetD8Async_ptsz))
        return CU(cuMemsetD8Async, cuMemsetD8Async_ptsz)(p, 1, 64, s);
    if (IS(cuMemsetD2D8Async))
        return CU(cuMemsetD2D8Async, cuMemsetD2D8Async)(p, 64, 1, 8, 8, s);
    if (IS(cuMemcpyAsync))
        return CU(cuMemcpyAsync, cuMemcpyAsync)(p, p + 2048, 64, s);
    if (IS(cuMemcpy_ptds))
        return CU(cuMemcpy, cuMemcpy_ptds)(p, p + 2048, 64);
    if (IS(cuMemcpyDtoDAsync_v2))
        return CU(cuMemcpyDtoDAsync, cuMemcpyDtoDAsync_v2)(p, p + 2048, 64, s);
    if (IS(cuMemPrefetchAsync_v2)) {
        r = CU(cuMemAllocManaged, cuMemAllocManaged)(&q, 4096, CU_MEM_ATTACH_GLOBAL);
        return r != 0 ? r : CU(cuMemPrefetchAsync, cuMemPrefetchAsync_v2)(q, 64, device, 0, s);
    }
    if (IS(cuMemAllocAsync))
        return CU(cuMemAllocAsync, cuMemAllocAsync)(&q, 64, s);
    if (IS(cuEventRecord)) {
        r = CU(cuEventCreate, cuEventCreate)(&e, CU_EVENT_DISABLE_TIMING);
        return r != 0 ? r : CU(cuEventRecord, cuEventRecord)(e, s);
    }
    if (IS(cuMemFree_v2)) /* a call that has nothing to do with a stream */
        return CU(cuMemFree, cuMemFree_v2)(q);
    printf("no call %s\n", name);
    exit(1);
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "calls") == 0)
        return puts("cuMemsetD8Async cuMemsetD2D8Async cuMemcpyAsync cuMemcpyDtoDAsync_v2 "
                    "cuMemPrefetchAsync_v2 cuMemAllocAsync cuEventRecord"),
               0;
    if (argc < 4)
        return 2;
    way = argv[1];
    library = dlopen("libcuda.so.1", RTLD_NOW);
    CUcontext ctx;
    CUdeviceptr p, q;
    CUstream s = (CUstream)strtoul(argv[3], NULL, 0);
    CUresult r = CU(cuInit, cuInit)(0);
    if (r == 0)
        r = CU(cuDevicePrimaryCtxRetain, cuDevicePrimaryCtxRetain)(&ctx, 0);
    if (r == 0)
        r = CU(cuCtxSetCurrent, cuCtxSetCurrent)(ctx);
    if (r == 0 && strcmp(argv[3], "new") == 0)
        r = CU(cuStreamCreate, cuStreamCreate)(&s, CU_STREAM_NON_BLOCKING);
    if (r == 0)
        r = CU(cuMemAlloc, cuMemAlloc_v2)(&p, 4096);
    if (r == 0)
        r = call(argv[2], p, s);
    if (r == 0)
        r = CU(cuMemFree, cuMemFree_v2)(p);
    if (r == 0)
        r = CU(cuMemAlloc, cuMemAlloc_v2)(&q, 4096);
    if (r == 0)
        r = CU(cuMemFree, cuMemFree_v2)(q);
    if (r == 0)
        puts("ok");
    else
        printf("error %u\n", r);
    return r != 0;
}
