/* client.c - a program that knows nothing of the fakes: client N allocates N device blocks, sets,
 * copies and checks them, and frees them; then prints "ok", or "error CODE in CALL" with status 1.
 *
 * Compiled five ways: CLIENT_DRIVER by the driver's symbols, CLIENT_DLSYM by dlopen and dlsym of
 * the driver, CLIENT_PER_THREAD by the runtime's names for per-thread default streams, and plainly
 * by the runtime, which is linked shared or static. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sys/cuda_abi.h"

enum { BYTES = 4096, MOST = 4096 };

static unsigned check(unsigned code, const char *call)
{
    if (code != 0) {
        printf("error %u in %s\n", code, call);
        exit(1);
    }
    return code;
}
#define DO(call) check(call, #call)

#if defined(CLIENT_DRIVER) || defined(CLIENT_DLSYM)

#ifdef CLIENT_DLSYM
#include "tests/support/cuda/look_up.h"
#else
#define CU(symbol) symbol
#endif

static void begin(void)
{
    CUcontext ctx;
    DO(CU(cuInit)(0));
    DO(CU(cuDevicePrimaryCtxRetain)(&ctx, 0));
    DO(CU(cuCtxSetCurrent)(ctx));
}

static void *get(size_t bytes)
{
    CUdeviceptr p;
    DO(CU(cuMemAlloc_v2)(&p, bytes));
    return (void *)(uintptr_t)p;
}

static void fill(void *p, int value, size_t bytes)
{
    DO(CU(cuMemsetD8Async)((CUdeviceptr)(uintptr_t)p, (unsigned char)value, bytes, NULL));
}

static void fetch(void *to, const void *p, size_t bytes)
{
    DO(CU(cuMemcpyDtoH_v2)(to, (CUdeviceptr)(uintptr_t)p, bytes));
}

static void put(void *p)
{
    DO(CU(cuMemFree_v2)((CUdeviceptr)(uintptr_t)p));
}

#else

#ifdef CLIENT_PER_THREAD
#define cudaMemsetAsync cudaMemsetAsync_ptsz
#define cudaMemcpy      cudaMemcpy_ptds
#endif

static void begin(void)
{
    int count;
    DO(cudaGetDeviceCount(&count));
    void *p = &count;
    DO(cudaMalloc(&p, 0));
    if (p != NULL)
        check(1, "cudaMalloc of nothing");
}

static void *get(size_t bytes)
{
    void *p;
    DO(cudaMalloc(&p, bytes));
    return p;
}

static void fill(void *p, int value, size_t bytes)
{
    DO(cudaMemsetAsync(p, value, bytes, NULL));
}

static void fetch(void *to, const void *p, size_t bytes)
{
    DO(cudaMemcpy(to, p, bytes, cudaMemcpyDeviceToHost));
}

static void put(void *p)
{
    DO(cudaFree(p));
}

#endif

int main(int argc, char **argv)
{
    static void *block[MOST];
    static unsigned char back[BYTES], want[BYTES];
    int n = argc > 1 ? atoi(argv[1]) : 1;
    if (n < 0 || n > MOST)
        return 2;
    begin();
    for (int i = 0; i < n; i++) {
        block[i] = get(BYTES);
        fill(block[i], i, BYTES);
    }
    for (int i = 0; i < n; i++) {
        memset(want, i, BYTES);
        fetch(back, block[i], BYTES);
        if (memcmp(back, want, BYTES) != 0) {
            printf("block %d has been written to\n", i);
            return 1;
        }
    }
    for (int i = 0; i < n; i++)
        put(block[i]);
    puts("ok");
    return 0;
}
