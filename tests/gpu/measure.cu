/* tests/gpu/measure.cu - what the design wants to know of a driver before it trusts it: does
 * cudaFree wait; what events cost as streams grow in number; are addresses from cuGetProcAddress
 * those of dlsym; which calls beside a capture invalidate it; is memory zeroed that was freed and is
 * allocated again. And what the native calls cost.
 * Prints lines "name value". To be run without the library. */
#include "gpu.cuh"

#include <cstring>
#include <dlfcn.h>
#include <string>
#include <thread>
#include <vector>

static void *library;
template <typename F> static F find(const char *name)
{
    return (F)dlsym(library, name);
}

static CUresult (*record_context)(CUcontext, CUevent);
static CUresult (*event_record)(CUevent, CUstream);
static CUresult (*event_query)(CUevent);
static CUresult (*event_create)(CUevent *, unsigned);
static CUresult (*context_of)(CUcontext *);
static CUresult (*context_synchronize)();
static CUresult (*mem_alloc)(CUdeviceptr *, size_t);
static CUresult (*mem_free)(CUdeviceptr);

static cudaStream_t new_stream()
{
    cudaStream_t s;
    DO(cudaStreamCreateWithFlags(&s, cudaStreamNonBlocking));
    return s;
}

/* ---- 1: does cudaFree wait? ---- */

enum { SPIN_US = 50000 };

static void free_waits(const char *where, cudaStream_t s)
{
    static const size_t sizes[] = {512, 1 << 20, 64 << 20};
    void *p;

    for (size_t bytes : sizes) {
        DO(cudaMalloc(&p, bytes)); /* the work below has nothing to do with it */
        DO(cudaDeviceSynchronize());
        spin_kernel<<<1, 1, 0, s>>>(SPIN_US);
        double begun = now_us();
        DO(cudaFree(p));
        std::printf("cudaFree_of_%zu_with_work_on_%s_us %.1f\n", bytes, where, now_us() - begun);
        begun = now_us();
        DO(cudaMalloc(&p, bytes));
        std::printf("cudaMalloc_of_%zu_with_work_on_%s_us %.1f\n", bytes, where, now_us() - begun);
        DO(cudaDeviceSynchronize());
        DO(cudaFree(p));
    }
    DO(cudaMallocHost(&p, 1 << 20));
    DO(cudaDeviceSynchronize());
    spin_kernel<<<1, 1, 0, s>>>(SPIN_US);
    double begun = now_us();
    DO(cudaFreeHost(p));
    std::printf("cudaFreeHost_with_work_on_%s_us %.1f\n", where, now_us() - begun);
    DO(cudaDeviceSynchronize());
}

/* ---- 2: events against the number of streams ---- */

template <typename F> static double each_us(unsigned n, F call)
{
    double begun = now_us();
    for (unsigned i = 0; i < n; i++)
        call();
    return (now_us() - begun) / n;
}

static void events(std::vector<cudaStream_t> &streams, size_t count, bool busy)
{
    CUcontext context;
    CUevent event;
    const char *what = busy ? "busy" : "idle";

    while (streams.size() < count)
        streams.push_back(new_stream());
    context_of(&context);
    event_create(&event, CU_EVENT_DISABLE_TIMING);
    DO(cudaDeviceSynchronize());
    for (size_t i = 0; busy && i < count; i++)
        spin_kernel<<<1, 1, 0, streams[i]>>>(20000);
    if (record_context != nullptr) {
        std::printf("cuCtxRecordEvent_%s_%zu_streams_us %.2f\n", what, count,
                    each_us(200, [&] { record_context(context, event); }));
        std::printf("cuEventQuery_after_it_%s_%zu_streams_us %.2f\n", what, count,
                    each_us(1000, [&] { event_query(event); }));
    }
    if (count > 0) {
        std::printf("cuEventRecord_each_%s_%zu_streams_us %.2f\n", what, count, each_us(50, [&] {
                        for (size_t i = 0; i < count; i++)
                            event_record(event, streams[i]);
                    }));
        std::printf("cuEventQuery_%s_%zu_streams_us %.2f\n", what, count,
                    each_us(1000, [&] { event_query(event); }));
    }
    DO(cudaDeviceSynchronize());
}

/* ---- 3: the two ways to a symbol ---- */

static void addresses()
{
    static const struct {
        const char *name;
        const char *symbol;
        const char *per_thread;
    } names[] = {
        {"cuMemAlloc", "cuMemAlloc_v2", nullptr},
        {"cuMemFree", "cuMemFree_v2", nullptr},
        {"cuMemAllocPitch", "cuMemAllocPitch_v2", nullptr},
        {"cuMemAllocManaged", "cuMemAllocManaged", nullptr},
        {"cuMemHostAlloc", "cuMemHostAlloc", nullptr},
        {"cuMemFreeHost", "cuMemFreeHost", nullptr},
        {"cuMemGetInfo", "cuMemGetInfo_v2", nullptr},
        {"cuMemGetAddressRange", "cuMemGetAddressRange_v2", nullptr},
        {"cuMemAllocAsync", "cuMemAllocAsync", "cuMemAllocAsync_ptsz"},
        {"cuMemFreeAsync", "cuMemFreeAsync", "cuMemFreeAsync_ptsz"},
        {"cuStreamBeginCapture", "cuStreamBeginCapture_v2", "cuStreamBeginCapture_v2_ptsz"},
        {"cuCtxSynchronize", "cuCtxSynchronize", nullptr},
        {"cuStreamCreate", "cuStreamCreate", nullptr},
        {"cuLaunchKernel", "cuLaunchKernel", "cuLaunchKernel_ptsz"},
        {"cuGetProcAddress", "cuGetProcAddress_v2", nullptr},
    };
    auto get = find<CUresult (*)(const char *, void **, int, cuuint64_t,
                                 CUdriverProcAddressQueryResult *)>("cuGetProcAddress_v2");
    unsigned same = 0;
    unsigned other = 0;

    for (auto &n : names) {
        for (unsigned per_thread = 0; per_thread < 2; per_thread++) {
            const char *symbol =
                per_thread != 0 && n.per_thread != nullptr ? n.per_thread : n.symbol;
            CUdriverProcAddressQueryResult status;
            void *got = nullptr;
            if (get == nullptr ||
                get(n.name, &got, 12000, per_thread != 0 ? 2 : 0, &status) != CUDA_SUCCESS)
                continue;
            if (got == dlsym(library, symbol)) {
                same++;
            } else {
                other++;
                std::printf("address_differs_%s_flags_%u yes\n", n.name, per_thread * 2);
            }
        }
    }
    std::printf("addresses_same %u\naddresses_other %u\n", same, other);
}

/* ---- 4: what beside a capture invalidates it ---- */

struct beside {
    const char *name;
    void (*call)(cudaStream_t other);
};

static const beside calls[] = {
    {"nothing", [](cudaStream_t) {}},
    {"cuMemAlloc",
     [](cudaStream_t) {
         CUdeviceptr p;
         mem_alloc(&p, 1 << 20);
     }},
    {"cuMemFree",
     [](cudaStream_t) {
         static CUdeviceptr p[64];
         static unsigned next;
         if (p[0] == 0) /* before any capture: see main */
             for (CUdeviceptr &q : p)
                 mem_alloc(&q, 1 << 20);
         else
             mem_free(p[next++ % 64]);
     }},
    {"cuEventRecord_other_stream",
     [](cudaStream_t other) {
         CUevent e;
         event_create(&e, CU_EVENT_DISABLE_TIMING);
         event_record(e, other);
     }},
    {"cuEventQuery",
     [](cudaStream_t) {
         static CUevent e;
         if (e == nullptr)
             event_create(&e, CU_EVENT_DISABLE_TIMING);
         event_query(e);
     }},
    {"cuCtxRecordEvent",
     [](cudaStream_t) {
         CUcontext c;
         CUevent e;
         context_of(&c);
         event_create(&e, CU_EVENT_DISABLE_TIMING);
         if (record_context != nullptr)
             record_context(c, e);
     }},
    {"cuCtxSynchronize", [](cudaStream_t) { context_synchronize(); }},
};

static void captures()
{
    static const struct {
        cudaStreamCaptureMode mode;
        const char *name;
    } modes[] = {{cudaStreamCaptureModeGlobal, "global"},
                 {cudaStreamCaptureModeThreadLocal, "thread_local"},
                 {cudaStreamCaptureModeRelaxed, "relaxed"}};
    cudaStream_t s = new_stream();
    cudaStream_t other = new_stream();

    for (const beside &b : calls) /* what a call needs, it makes now */
        b.call(other);
    DO(cudaDeviceSynchronize());
    for (auto &m : modes)
        for (const beside &b : calls)
            for (bool same_thread : {true, false}) {
                cudaGraph_t graph = nullptr;
                cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
                DO(cudaStreamBeginCapture(s, m.mode));
                spin_kernel<<<1, 1, 0, s>>>(1);
                if (same_thread)
                    b.call(other);
                else
                    std::thread([&] {
                        DO(cudaSetDevice(0));
                        b.call(other);
                    }).join();
                (void)cudaStreamIsCapturing(s, &status);
                cudaError_t end = cudaStreamEndCapture(s, &graph);
                std::printf("capture_%s_%s_thread_%s %s\n", m.name, same_thread ? "same" : "other",
                            b.name, end == cudaSuccess ? "survives" : cudaGetErrorName(end));
                if (graph != nullptr)
                    (void)cudaGraphDestroy(graph);
                (void)cudaGetLastError();
                (void)cudaDeviceSynchronize();
                (void)cudaGetLastError();
            }
}

/* ---- 5: what programs may come to rely on: what is in memory that is allocated again ---- */

static void zeroed()
{
    static const struct {
        const char *name;
        cudaError_t (*get)(void **, size_t);
        cudaError_t (*put)(void *);
    } kinds[] = {
        {"cudaMalloc", [](void **p, size_t n) { return cudaMalloc(p, n); }, cudaFree},
        {"cudaMallocManaged", [](void **p, size_t n) { return cudaMallocManaged(p, n); }, cudaFree},
        {"cudaMallocHost", [](void **p, size_t n) { return cudaMallocHost(p, n); }, cudaFreeHost},
    };

    for (auto &kind : kinds)
        for (size_t bytes : {(size_t)512, (size_t)65536, (size_t)1 << 20, (size_t)16 << 20}) {
            std::vector<unsigned char> back(bytes);
            size_t dirty = 0;
            void *p;
            for (unsigned round = 0; round < 4; round++) {
                DO(kind.get(&p, bytes));
                DO(cudaMemcpy(back.data(), p, bytes, cudaMemcpyDefault));
                for (size_t i = 0; round != 0 && i < bytes; i++)
                    dirty += back[i] != 0;
                DO(cudaMemset(p, 0xa5, bytes));
                DO(cudaDeviceSynchronize());
                DO(kind.put(p));
            }
            std::printf("%s_of_%zu_after_free %s\n", kind.name, bytes,
                        dirty == 0 ? "zero" : "as_it_was");
        }
}

/* ---- the native calls ---- */

static void native_costs()
{
    static const size_t sizes[] = {512, 4096, 65536, 1 << 20, 2 << 20, 16 << 20, 256 << 20};
    size_t free_bytes;
    size_t before;
    size_t total;

    for (size_t bytes : sizes) {
        CUdeviceptr p[16];
        double alloc_us = 0;
        double free_us = 0;
        for (unsigned round = 0; round < 8; round++) {
            unsigned n = bytes > (16 << 20) ? 4 : 16;
            alloc_us += each_us(n, [&, i = 0]() mutable { mem_alloc(&p[i++], bytes); }) / 8;
            free_us += each_us(n, [&, i = 0]() mutable { mem_free(p[i++]); }) / 8;
        }
        std::printf("cuMemAlloc_%zu_us %.2f\ncuMemFree_%zu_us %.2f\n", bytes, alloc_us, bytes,
                    free_us);
    }
    std::printf("cuMemGetInfo_us %.2f\n", each_us(200, [&] { cudaMemGetInfo(&before, &total); }));
    for (size_t bytes :
         {(size_t)1, (size_t)1 << 20, ((size_t)1 << 20) + 1, ((size_t)2 << 20) + 1}) {
        std::vector<void *> blocks(64);
        DO(cudaMemGetInfo(&before, &total));
        for (void *&p : blocks)
            DO(cudaMalloc(&p, bytes));
        DO(cudaMemGetInfo(&free_bytes, &total));
        std::printf("memory_taken_by_64_of_%zu %zu\naligned_to_%zu %zu\n", bytes,
                    before - free_bytes, bytes,
                    (size_t)1 << __builtin_ctzll((unsigned long long)blocks[1]));
        for (void *p : blocks)
            DO(cudaFree(p));
    }
}

int main()
{
    int version;
    cudaDeviceProp prop;
    std::vector<cudaStream_t> streams;

    DO(cudaSetDevice(0));
    DO(cudaFree(nullptr));
    DO(cudaDriverGetVersion(&version));
    DO(cudaGetDeviceProperties(&prop, 0));
    std::printf("device %s\ndriver %d\n", prop.name, version);
    library = dlopen("libcuda.so.1", RTLD_NOW);
    if (library == nullptr)
        return 1;
    record_context = find<CUresult (*)(CUcontext, CUevent)>("cuCtxRecordEvent");
    event_record = find<CUresult (*)(CUevent, CUstream)>("cuEventRecord");
    event_query = find<CUresult (*)(CUevent)>("cuEventQuery");
    event_create = find<CUresult (*)(CUevent *, unsigned)>("cuEventCreate");
    context_of = find<CUresult (*)(CUcontext *)>("cuCtxGetCurrent");
    context_synchronize = find<CUresult (*)()>("cuCtxSynchronize");
    mem_alloc = find<CUresult (*)(CUdeviceptr *, size_t)>("cuMemAlloc_v2");
    mem_free = find<CUresult (*)(CUdeviceptr)>("cuMemFree_v2");
    std::printf("has_cuCtxRecordEvent %s\n", record_context != nullptr ? "yes" : "no");
    spin_kernel<<<1, 1>>>(1);
    DO(cudaDeviceSynchronize());
    native_costs();
    free_waits("legacy_stream", cudaStreamLegacy);
    free_waits("per_thread_stream", cudaStreamPerThread);
    free_waits("non_blocking_stream", new_stream());
    for (size_t n : {0, 1, 4, 16, 64, 256})
        events(streams, n, false);
    for (size_t n : {1, 4, 16, 64})
        events(streams, n, true);
    addresses();
    zeroed();
    captures();
    return 0;
}
