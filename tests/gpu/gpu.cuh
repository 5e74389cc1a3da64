/* tests/gpu/gpu.cuh - what the programs for a real GPU share. They are ordinary CUDA programs that
 * know of nobody in front of the driver, and print lines "name value"; scripts/gpu-check builds and
 * runs them, with the library and without. */
#ifndef XS_TESTS_GPU_CUH
#define XS_TESTS_GPU_CUH

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>

#include <cuda.h>
#include <cuda_runtime.h>

#define DO(call)                                                                                   \
    do {                                                                                           \
        cudaError_t do_error = (call);                                                             \
        if (do_error != cudaSuccess) {                                                             \
            std::printf("error %d in %s, line %d: %s\n", (int)do_error, #call, __LINE__,           \
                        cudaGetErrorString(do_error));                                             \
            std::exit(1);                                                                          \
        }                                                                                          \
    } while (0)

static inline double now_us()
{
    timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

/* xorshift64*: the state is never 0. */
static inline uint64_t random_next(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 0x2545f4914f6cdd1du;
}

static __device__ void spin_us(unsigned us)
{
    unsigned long long begun;
    unsigned long long now;
    asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(begun));
    do
        asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(now));
    while (now - begun < 1000ull * us);
}

static __global__ void spin_kernel(unsigned us)
{
    spin_us(us);
}

#endif
