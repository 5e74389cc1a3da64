/* tests/gpu/reuse.cu - is a block ever reused before earlier work on it is done?
 *
 * Kernels that are delayed on non-blocking streams write a tag into all of a block and check that
 * it stays; the block is freed while they run, as native cudaFree permits since it waits; the next
 * allocation most likely gets the same memory, for another stream, whose kernels are not delayed.
 * Several threads do so at once. Every word that was not what it should be is counted.
 *
 * reuse [--iterations N] [--threads N] [--delay MICROSECONDS] [--wrong]
 * --wrong: the program hands its own blocks on without waiting, which must be seen: the proof that
 * the test can fail. Prints "violations N". */
#include "gpu.cuh"

#include <cstring>
#include <thread>
#include <vector>

enum { STREAMS = 8 };

static unsigned iterations = 400;
static unsigned threads = 4;
static unsigned delay = 300;
static bool wrong;

static __global__ void write_tag(uint32_t *p, size_t n, uint32_t tag, unsigned us)
{
    spin_us(us);
    for (size_t i = blockIdx.x * (size_t)blockDim.x + threadIdx.x; i < n;
         i += (size_t)gridDim.x * blockDim.x)
        p[i] = tag;
}

static __global__ void check_tag(const uint32_t *p, size_t n, uint32_t tag, unsigned us,
                                 unsigned long long *bad)
{
    spin_us(us);
    for (size_t i = blockIdx.x * (size_t)blockDim.x + threadIdx.x; i < n;
         i += (size_t)gridDim.x * blockDim.x)
        if (((const volatile uint32_t *)p)[i] != tag)
            atomicAdd(bad, 1ull);
}

static void work(unsigned thread, unsigned long long *bad)
{
    static const size_t sizes[] = {4096, 65536, 1 << 20, 1 << 20, 6 << 20};
    uint64_t seed = 77 + thread;
    cudaStream_t stream[STREAMS];
    cudaEvent_t event;
    void *kept[5] = {};

    DO(cudaSetDevice(0));
    for (cudaStream_t &s : stream)
        DO(cudaStreamCreateWithFlags(&s, cudaStreamNonBlocking));
    DO(cudaEventCreateWithFlags(&event, cudaEventDisableTiming));
    for (unsigned i = 0; i < iterations; i++) {
        unsigned which = (unsigned)(random_next(&seed) >> 32) % 5;
        size_t bytes = sizes[which];
        size_t n = bytes / sizeof(uint32_t);
        cudaStream_t s = stream[(random_next(&seed) >> 32) % STREAMS];
        cudaStream_t s2 = stream[(random_next(&seed) >> 32) % STREAMS];
        uint32_t tag = thread << 24 | i;
        unsigned us = i % 2 == 0 ? delay : 0;
        void *p = kept[which];
        if (!wrong || p == nullptr)
            DO(cudaMalloc(&p, bytes));
        write_tag<<<8, 128, 0, s>>>((uint32_t *)p, n, tag, us);
        check_tag<<<8, 128, 0, s>>>((const uint32_t *)p, n, tag, us / 2, bad);
        if (i % 3 == 0) { /* a second stream, in order */
            DO(cudaEventRecord(event, s));
            DO(cudaStreamWaitEvent(s2, event, 0));
            check_tag<<<8, 128, 0, s2>>>((const uint32_t *)p, n, tag, us, bad);
        }
        DO(cudaGetLastError());
        if (wrong)
            kept[which] = p;
        else
            DO(cudaFree(p));
    }
    for (cudaStream_t s : stream)
        DO(cudaStreamSynchronize(s));
    for (void *p : kept)
        DO(cudaFree(p));
    for (cudaStream_t s : stream)
        DO(cudaStreamDestroy(s));
    DO(cudaEventDestroy(event));
}

int main(int argc, char **argv)
{
    unsigned long long *bad;
    std::vector<std::thread> all;

    for (int i = 1; i < argc; i++) {
        if (std::strcmp(argv[i], "--wrong") == 0)
            wrong = true;
        else if (i + 1 < argc && std::strcmp(argv[i], "--iterations") == 0)
            iterations = (unsigned)std::atoi(argv[++i]);
        else if (i + 1 < argc && std::strcmp(argv[i], "--threads") == 0)
            threads = (unsigned)std::atoi(argv[++i]);
        else if (i + 1 < argc && std::strcmp(argv[i], "--delay") == 0)
            delay = (unsigned)std::atoi(argv[++i]);
        else
            return 2;
    }
    DO(cudaMallocManaged(&bad, sizeof(*bad)));
    *bad = 0;
    double begun = now_us();
    for (unsigned t = 0; t < threads; t++)
        all.emplace_back(work, t, bad);
    for (std::thread &t : all)
        t.join();
    DO(cudaDeviceSynchronize());
    std::printf("ms %.1f\nviolations %llu\n", (now_us() - begun) / 1e3, *bad);
    return *bad != 0;
}
