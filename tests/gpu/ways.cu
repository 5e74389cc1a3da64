/* tests/gpu/ways.cu - one of each allocation call, used by kernels and checked; the same result in
 * every way of linking and with any allocator. Prints "hash X" last. */
#include "gpu.cuh"

#include <vector>

static uint64_t hash = 0xcbf29ce484222325u;

static void mix(uint64_t value)
{
    hash = (hash ^ value) * 0x100000001b3u;
    hash ^= hash >> 29;
}

static __global__ void fill(uint32_t *p, size_t n, uint32_t with)
{
    for (size_t i = blockIdx.x * (size_t)blockDim.x + threadIdx.x; i < n;
         i += (size_t)gridDim.x * blockDim.x)
        p[i] = with * 2654435761u + (uint32_t)i;
}

/* The sum over a block: its content, whoever had it before. */
static uint32_t sum_of(const uint32_t *p, size_t n)
{
    std::vector<uint32_t> back(n);
    uint32_t sum = 0;

    DO(cudaMemcpy(back.data(), p, n * sizeof(*p), cudaMemcpyDefault));
    for (uint32_t v : back)
        sum = sum * 31 + v;
    return sum;
}

static void use(uint32_t *p, size_t bytes, uint32_t with, cudaStream_t s)
{
    fill<<<64, 128, 0, s>>>(p, bytes / sizeof(*p), with);
    DO(cudaGetLastError());
    DO(cudaStreamSynchronize(s));
    mix(sum_of(p, bytes / sizeof(*p)));
}

static void device_blocks()
{
    static const size_t sizes[] = {1, 4, 255, 512, 513, 4096, 100000, 1 << 20, 3 << 20, 33 << 20};
    uint64_t seed = 7;
    void *block[64] = {};
    size_t size[64] = {};

    for (unsigned i = 0; i < 2000; i++) {
        unsigned at = (unsigned)(random_next(&seed) >> 32) % 64;
        if (block[at] != nullptr)
            DO(cudaFree(block[at]));
        size[at] = sizes[(random_next(&seed) >> 32) % (i % 10 == 0 ? 10 : 7)];
        DO(cudaMalloc(&block[at], size[at]));
        if ((uintptr_t)block[at] % 256 != 0)
            mix(1);
        if (size[at] >= 4)
            use((uint32_t *)block[at], size[at] < 65536 ? size[at] / 4 * 4 : 65536, i, nullptr);
    }
    for (void *p : block)
        DO(cudaFree(p));
    DO(cudaMalloc(&block[0], 0));
    mix(block[0] == nullptr);
    DO(cudaFree(nullptr));
}

static void other_memory(cudaStream_t s)
{
    void *p;
    size_t pitch;
    size_t free_before;
    size_t free_bytes;
    size_t total;

    DO(cudaMemGetInfo(&free_before, &total));
    DO(cudaMallocPitch(&p, &pitch, 1000, 77));
    mix(pitch >= 1000 && pitch % 32 == 0);
    use((uint32_t *)p, pitch * 77, 11, s);
    DO(cudaFree(p));
    for (unsigned flags = 0; flags < 4; flags++) {
        DO(cudaHostAlloc(&p, 50000, flags));
        use((uint32_t *)p, 50000, 13 + flags, s);
        DO(cudaFreeHost(p));
    }
    DO(cudaMallocHost(&p, 1 << 20));
    use((uint32_t *)p, 1 << 20, 17, s);
    DO(cudaFreeHost(p));
    for (unsigned i = 0; i < 20; i++) {
        DO(cudaMallocManaged(&p, 300000));
        use((uint32_t *)p, 300000, 19 + i, s);
        DO(cudaFree(p));
    }
    DO(cudaMallocAsync(&p, 70000, s));
    use((uint32_t *)p, 70000, 23, s);
    DO(cudaFreeAsync(p, s));
    DO(cudaMalloc(&p, 70000)); /* one kind's block freed by the other's call */
    use((uint32_t *)p, 70000, 29, s);
    cudaError_t error = cudaFreeAsync(p, s);
    mix(error);
    if (error != cudaSuccess)
        DO(cudaFree(p));
    DO(cudaStreamSynchronize(s));
    cudaArray_t array;
    cudaChannelFormatDesc desc = cudaCreateChannelDesc<float>();
    DO(cudaMallocArray(&array, &desc, 64, 64));
    DO(cudaFreeArray(array));
    DO(cudaMemGetInfo(&free_bytes, &total));
    mix(free_bytes <= total && free_bytes > 0);
}

/* The native codes, and nothing else, for what is wrong. */
static void errors()
{
    void *p;

    DO(cudaMalloc(&p, 5000));
    mix(cudaFree((char *)p + 256) != cudaSuccess);
    (void)cudaGetLastError();
    DO(cudaFree(p));
    mix(cudaFree(p) != cudaSuccess);
    (void)cudaGetLastError();
    mix(cudaMalloc(&p, (size_t)1 << 60) == cudaErrorMemoryAllocation);
    (void)cudaGetLastError();
    DO(cudaDeviceSynchronize());
}

static void capture()
{
    cudaStream_t s;
    cudaGraph_t graph;
    cudaGraphExec_t exec;
    uint32_t *p;
    void *other;

    DO(cudaStreamCreateWithFlags(&s, cudaStreamNonBlocking));
    DO(cudaMalloc(&p, 1 << 20));
    DO(cudaMalloc(&other, 12345));
    DO(cudaStreamBeginCapture(s, cudaStreamCaptureModeRelaxed));
    fill<<<64, 128, 0, s>>>(p, 1 << 18, 31);
    DO(cudaFree(other));
    DO(cudaMalloc(&other, 12345));
    fill<<<64, 128, 0, s>>>(p, 1 << 18, 37);
    DO(cudaStreamEndCapture(s, &graph));
    DO(cudaGraphInstantiate(&exec, graph, 0));
    for (unsigned i = 0; i < 3; i++)
        DO(cudaGraphLaunch(exec, s));
    DO(cudaStreamSynchronize(s));
    mix(sum_of(p, 1 << 18));
    DO(cudaGraphExecDestroy(exec));
    DO(cudaGraphDestroy(graph));
    DO(cudaFree(p));
    DO(cudaFree(other));
    DO(cudaStreamDestroy(s));
}

int main()
{
    cudaStream_t s;

    DO(cudaSetDevice(0));
    device_blocks();
    DO(cudaStreamCreate(&s));
    other_memory(s);
    errors();
    capture();
    device_blocks();
    DO(cudaStreamDestroy(s));
    DO(cudaDeviceReset());
    device_blocks();
    std::printf("hash %016llx\n", (unsigned long long)hash);
    return 0;
}
