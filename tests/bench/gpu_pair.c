/* tests/bench/gpu_pair.c - a loop of one allocation and its free, and nothing else.
 *
 * gpu_pair runtime|driver|async|cut|mixed PAIRS [BYTES]: by cudaMalloc and cudaFree, by the
 * driver's own functions, or by cudaMallocAsync and cudaFreeAsync; cut: by the driver's own, 16
 * blocks at a time, and each time of another size, so that no freed block is as large as the next
 * one; mixed: of five sizes, never the same twice in a row. Twice as many pairs less once as many
 * is the cost of a pair without the beginning; so callgrind's instructions are counted. Prints "ns
 * X". */
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#ifdef GPU_TOOLKIT
#include <cuda.h>
#include <cuda_runtime.h>
#else
#include "sys/cuda_abi.h"
#endif

static void check(unsigned code, const char *call)
{
    if (code == 0)
        return;
    printf("error %u in %s\n", code, call);
    exit(1);
}
#define DO(call) check((unsigned)(call), #call)

static void runtime(unsigned long n, size_t bytes)
{
    for (unsigned long i = 0; i < n; i++) {
        void *p;
        DO(cudaMalloc(&p, bytes));
        DO(cudaFree(p));
    }
}

static void async(unsigned long n, size_t bytes)
{
    for (unsigned long i = 0; i < n; i++) {
        void *p;
        DO(cudaMallocAsync(&p, bytes, NULL));
        DO(cudaFreeAsync(p, NULL));
    }
}

typedef CUresult (*allocate)(CUdeviceptr *, size_t);
typedef CUresult (*release)(CUdeviceptr);

static allocate get;
static release put;

static void look_up(void)
{
    void *library = dlopen("libcuda.so.1", RTLD_NOW);

    if (library != NULL) {
        *(void **)&get = dlsym(library, "cuMemAlloc_v2");
        *(void **)&put = dlsym(library, "cuMemFree_v2");
    }
    if (get == NULL || put == NULL)
        check(35, "dlsym");
}

static void driver(unsigned long n, size_t bytes)
{
    const allocate quick_get = get;
    const release quick_put = put;

    for (unsigned long i = 0; i < n; i++) {
        CUdeviceptr p;
        DO(quick_get(&p, bytes));
        DO(quick_put(p));
    }
}

static void cut(unsigned long n, size_t bytes, unsigned sizes)
{
    CUdeviceptr p[16];

    for (unsigned long i = 0; i < n; i += 16) {
        for (unsigned k = 0; k < 16; k++)
            DO(get(&p[k], bytes + (i / 16 % 8 + (sizes != 1 ? k % sizes * 8 : 0)) * (bytes / 8)));
        for (unsigned k = 0; k < 16; k++)
            DO(put(p[k]));
    }
}

static void cut_equal(unsigned long n, size_t bytes)
{
    cut(n, bytes, 1);
}

static void cut_mixed(unsigned long n, size_t bytes)
{
    cut(n, bytes, 5);
}

static uint64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

int main(int argc, char **argv)
{
    unsigned long n = argc > 2 ? strtoul(argv[2], NULL, 10) : 0;
    size_t bytes = argc > 3 ? strtoul(argv[3], NULL, 10) : 4096;
    void (*way)(unsigned long, size_t) = argc < 3                          ? NULL
                                         : strcmp(argv[1], "runtime") == 0 ? runtime
                                         : strcmp(argv[1], "driver") == 0  ? driver
                                         : strcmp(argv[1], "async") == 0   ? async
                                         : strcmp(argv[1], "cut") == 0     ? cut_equal
                                         : strcmp(argv[1], "mixed") == 0   ? cut_mixed
                                                                           : NULL;
    if (way == NULL || n == 0) {
        puts("gpu_pair runtime|driver|async|cut|mixed PAIRS [BYTES]");
        return 2;
    }
    DO(cudaSetDevice(0));
    look_up();
    way(100, bytes); /* the context, the first blocks */
    uint64_t begun = now_ns();
    way(n, bytes);
    printf("ns %.1f\n", (double)(now_ns() - begun) / (double)n);
    return 0;
}
