/* cudart.c - a small CUDA runtime for the tests, linked as the real one is: shared or static.
 *
 * It finds the driver as the real one does: at the first call dlopen("libcuda.so.1"), dlsym of
 * cuGetProcAddress_v2, which is asked for cuGetProcAddress at 11030 and at 12000 and replaced by
 * the latter answer; then everything by name and version through that. A driver that answers with
 * error 34, as the toolkit's stub does, is read symbol by symbol. cuGetExportTable is called before
 * cuInit. Contexts are made when first needed. */
#include <dlfcn.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>

#pragma GCC visibility push(default)
#include "sys/cuda_abi.h"
/* Of CUDA 11 and 12; another signature in 13. */
cudaError_t cudaMemPrefetchAsync(const void *, size_t, int, cudaStream_t);
cudaError_t cudaMemPrefetchAsync_ptsz(const void *, size_t, int, cudaStream_t);
#pragma GCC visibility pop

enum { RUNTIME_VERSION = 12080, DEVICES = 16 };

static struct {
#define XS_CUDA_CALL(name, version, per_thread, symbol, parameters)                                \
    CUresult(*symbol##_at_##version) parameters;
#include "sys/cuda_calls.h"
} driver;

static void *library;
static CUresult start_error;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static CUcontext primary[DEVICES];
static _Atomic unsigned epoch = 1; /* a reset makes every thread look for its context again */

static __thread int device;
static __thread unsigned current_epoch;
static __thread int current_device = -1;
static __thread cudaError_t last_error;

typedef CUresult (*resolver)(const char *, void **, int, uint64_t,
                             CUdriverProcAddressQueryResult *);
typedef CUresult (*resolver_11)(const char *, void **, int, uint64_t);

static resolver resolve;
static resolver_11 resolve_11;
static bool by_dlsym;

static void find(const char *name, const char *symbol, int version, int per_thread, void **out)
{
    CUdriverProcAddressQueryResult status;
    uint64_t flags = per_thread ? CU_GET_PROC_ADDRESS_PER_THREAD_DEFAULT_STREAM : 0;
    CUresult r = CUDA_SUCCESS;
    if (by_dlsym)
        *out = dlsym(library, symbol);
    else if (resolve != NULL)
        r = resolve(name, out, version, flags, &status);
    else
        r = resolve_11(name, out, version, flags);
    if (r == CUDA_ERROR_STUB_LIBRARY) {
        by_dlsym = true;
        *out = dlsym(library, symbol);
    }
}

static void find_driver(void)
{
    start_error = cudaErrorInsufficientDriver;
    library = dlopen("libcuda.so.1", RTLD_NOW);
    if (library == NULL)
        return;
    CUdriverProcAddressQueryResult status;
    *(void **)&resolve = dlsym(library, "cuGetProcAddress_v2");
    if (resolve != NULL) {
        void *answer = NULL;
        if (resolve("cuGetProcAddress", &answer, 11030, 0, &status) == CUDA_SUCCESS)
            *(void **)&resolve_11 = answer;
        answer = NULL;
        if (resolve("cuGetProcAddress", &answer, 12000, 0, &status) == CUDA_SUCCESS &&
            answer != NULL)
            *(void **)&resolve = answer;
    } else {
        *(void **)&resolve_11 = dlsym(library, "cuGetProcAddress");
        by_dlsym = resolve_11 == NULL; /* a driver from before 11.3 */
    }
#define XS_CUDA_CALL(name, version, per_thread, symbol, parameters)                                \
    find(#name, #symbol, version, per_thread, (void **)&driver.symbol##_at_##version);
#include "sys/cuda_calls.h"
    if (driver.cuInit_at_2000 == NULL || driver.cuDevicePrimaryCtxRetain_at_7000 == NULL)
        return;
    const void *table = NULL;
    static const CUuuid nothing = {"mini-cudart"};
    driver.cuGetExportTable_at_3000(&table, &nothing);
    start_error = driver.cuInit_at_2000(0);
}

__attribute__((destructor)) static void leave_driver(void)
{
    if (library != NULL)
        dlclose(library);
}

static cudaError_t done(CUresult r)
{
    if (r != CUDA_SUCCESS)
        last_error = r;
    return r;
}

static CUresult start(void)
{
    pthread_once(&once, find_driver);
    return start_error;
}

/* The driver is there and this thread has its device's primary context. */
static CUresult need(void)
{
    CUresult r = start();
    if (r != CUDA_SUCCESS || (current_device == device && current_epoch == epoch))
        return r;
    pthread_mutex_lock(&lock);
    if (primary[device] == NULL)
        r = driver.cuDevicePrimaryCtxRetain_at_7000(&primary[device], device);
    if (r == CUDA_SUCCESS)
        r = driver.cuCtxSetCurrent_at_4000(primary[device]);
    if (r == CUDA_SUCCESS) {
        current_device = device;
        current_epoch = epoch;
    }
    pthread_mutex_unlock(&lock);
    return r;
}

#define CALL(function, ...)                                                                        \
    do {                                                                                           \
        CUresult needed = need();                                                                  \
        if (needed == CUDA_SUCCESS)                                                                \
            needed = driver.function(__VA_ARGS__);                                                 \
        return done(needed);                                                                       \
    } while (0)
#define DEVICE(p) ((CUdeviceptr)(uintptr_t)(p))

/* ---- devices, errors ---- */

cudaError_t cudaGetLastError(void)
{
    cudaError_t e = last_error;
    last_error = cudaSuccess;
    return e;
}
cudaError_t cudaPeekAtLastError(void)
{
    return last_error;
}

cudaError_t cudaDriverGetVersion(int *version)
{
    CUresult r = start();
    return done(r == CUDA_SUCCESS ? driver.cuDriverGetVersion_at_2020(version) : r);
}
cudaError_t cudaRuntimeGetVersion(int *version)
{
    *version = RUNTIME_VERSION;
    return cudaSuccess;
}

cudaError_t cudaGetDeviceCount(int *count)
{
    CUresult r = start();
    return done(r == CUDA_SUCCESS ? driver.cuDeviceGetCount_at_2000(count) : r);
}
cudaError_t cudaGetDevice(int *out)
{
    *out = device;
    return done(start());
}
cudaError_t cudaSetDevice(int d)
{
    int count = 0;
    CUresult r = start();
    if (r == CUDA_SUCCESS)
        r = driver.cuDeviceGetCount_at_2000(&count);
    if (r == CUDA_SUCCESS && (d < 0 || d >= count || d >= DEVICES))
        r = CUDA_ERROR_INVALID_DEVICE;
    if (r == CUDA_SUCCESS)
        device = d;
    return done(r == CUDA_SUCCESS ? need() : r);
}

cudaError_t cudaDeviceSynchronize(void)
{
    CALL(cuCtxSynchronize_at_2000, );
}

cudaError_t cudaDeviceReset(void)
{
    CUresult r = start();
    if (r != CUDA_SUCCESS)
        return done(r);
    pthread_mutex_lock(&lock);
    r = driver.cuDevicePrimaryCtxReset_v2_at_11000(device);
    primary[device] = NULL;
    epoch++;
    pthread_mutex_unlock(&lock);
    return done(r);
}

/* ---- memory ---- */

cudaError_t cudaMalloc(void **out, size_t bytes)
{
    CUdeviceptr p = 0;
    CUresult r = out != NULL ? need() : CUDA_ERROR_INVALID_VALUE;
    if (r == CUDA_SUCCESS && bytes != 0)
        r = driver.cuMemAlloc_v2_at_3020(&p, bytes);
    if (r == CUDA_SUCCESS)
        *out = (void *)(uintptr_t)p;
    return done(r);
}

cudaError_t cudaFree(void *p)
{
    CUresult r = need();
    if (r == CUDA_SUCCESS && p != NULL)
        r = driver.cuMemFree_v2_at_3020(DEVICE(p));
    return done(r);
}

cudaError_t cudaMallocPitch(void **out, size_t *pitch, size_t width, size_t height)
{
    CUdeviceptr p = 0;
    CUresult r = need();
    if (r == CUDA_SUCCESS && width != 0 && height != 0)
        r = driver.cuMemAllocPitch_v2_at_3020(&p, pitch, width, height, 4);
    if (r == CUDA_SUCCESS)
        *out = (void *)(uintptr_t)p;
    return done(r);
}

cudaError_t cudaMallocManaged(void **out, size_t bytes, unsigned int flags)
{
    CUdeviceptr p = 0;
    CUresult r = need();
    if (r == CUDA_SUCCESS)
        r = driver.cuMemAllocManaged_at_6000(&p, bytes, flags);
    if (r == CUDA_SUCCESS)
        *out = (void *)(uintptr_t)p;
    return done(r);
}

cudaError_t cudaMallocHost(void **out, size_t bytes)
{
    CALL(cuMemHostAlloc_at_2020, out, bytes, 0);
}
cudaError_t cudaHostAlloc(void **out, size_t bytes, unsigned int flags)
{
    CALL(cuMemHostAlloc_at_2020, out, bytes, flags);
}
cudaError_t cudaFreeHost(void *p)
{
    CUresult r = need();
    if (r == CUDA_SUCCESS && p != NULL)
        r = driver.cuMemFreeHost_at_2000(p);
    return done(r);
}
cudaError_t cudaHostRegister(void *p, size_t bytes, unsigned int flags)
{
    CALL(cuMemHostRegister_v2_at_6050, p, bytes, flags);
}
cudaError_t cudaHostUnregister(void *p)
{
    CALL(cuMemHostUnregister_at_4000, p);
}
cudaError_t cudaHostGetDevicePointer(void **out, void *p, unsigned int flags)
{
    CUdeviceptr d = 0;
    CUresult r = need();
    if (r == CUDA_SUCCESS)
        r = driver.cuMemHostGetDevicePointer_v2_at_3020(&d, p, flags);
    if (r == CUDA_SUCCESS)
        *out = (void *)(uintptr_t)d;
    return done(r);
}
cudaError_t cudaMemGetInfo(size_t *free_bytes, size_t *total)
{
    CALL(cuMemGetInfo_v2_at_3020, free_bytes, total);
}

static cudaError_t malloc_async(void **out, size_t bytes, cudaStream_t s, bool per_thread)
{
    CUdeviceptr p = 0;
    CUresult r = need();
    if (r == CUDA_SUCCESS && bytes != 0)
        r = per_thread ? driver.cuMemAllocAsync_ptsz_at_11020(&p, bytes, s)
                       : driver.cuMemAllocAsync_at_11020(&p, bytes, s);
    if (r == CUDA_SUCCESS)
        *out = (void *)(uintptr_t)p;
    return done(r);
}
cudaError_t cudaMallocAsync(void **out, size_t bytes, cudaStream_t s)
{
    return malloc_async(out, bytes, s, false);
}
cudaError_t cudaMallocAsync_ptsz(void **out, size_t bytes, cudaStream_t s)
{
    return malloc_async(out, bytes, s, true);
}
cudaError_t cudaFreeAsync(void *p, cudaStream_t s)
{
    CALL(cuMemFreeAsync_at_11020, DEVICE(p), s);
}
cudaError_t cudaFreeAsync_ptsz(void *p, cudaStream_t s)
{
    CALL(cuMemFreeAsync_ptsz_at_11020, DEVICE(p), s);
}
cudaError_t cudaMemPrefetchAsync(const void *p, size_t bytes, int to, cudaStream_t s)
{
    CALL(cuMemPrefetchAsync_at_8000, DEVICE(p), bytes, to, s);
}
cudaError_t cudaMemPrefetchAsync_ptsz(const void *p, size_t bytes, int to, cudaStream_t s)
{
    CALL(cuMemPrefetchAsync_ptsz_at_8000, DEVICE(p), bytes, to, s);
}

/* ---- copies: the driver knows by the addresses which way they go ---- */

cudaError_t cudaMemcpy(void *d, const void *s, size_t n, cudaMemcpyKind kind)
{
    (void)kind;
    CALL(cuMemcpy_at_4000, DEVICE(d), DEVICE(s), n);
}
cudaError_t cudaMemcpy_ptds(void *d, const void *s, size_t n, cudaMemcpyKind kind)
{
    (void)kind;
    CALL(cuMemcpy_ptds_at_7000, DEVICE(d), DEVICE(s), n);
}
cudaError_t cudaMemcpyAsync(void *d, const void *s, size_t n, cudaMemcpyKind kind, cudaStream_t t)
{
    (void)kind;
    CALL(cuMemcpyAsync_at_4000, DEVICE(d), DEVICE(s), n, t);
}
cudaError_t cudaMemcpyAsync_ptsz(void *d, const void *s, size_t n, cudaMemcpyKind kind,
                                 cudaStream_t t)
{
    (void)kind;
    CALL(cuMemcpyAsync_ptsz_at_7000, DEVICE(d), DEVICE(s), n, t);
}
cudaError_t cudaMemset(void *d, int value, size_t n)
{
    CALL(cuMemsetD8_v2_at_3020, DEVICE(d), (unsigned char)value, n);
}
cudaError_t cudaMemset_ptds(void *d, int value, size_t n)
{
    CALL(cuMemsetD8_v2_ptds_at_7000, DEVICE(d), (unsigned char)value, n);
}
cudaError_t cudaMemsetAsync(void *d, int value, size_t n, cudaStream_t t)
{
    CALL(cuMemsetD8Async_at_3020, DEVICE(d), (unsigned char)value, n, t);
}
cudaError_t cudaMemsetAsync_ptsz(void *d, int value, size_t n, cudaStream_t t)
{
    CALL(cuMemsetD8Async_ptsz_at_7000, DEVICE(d), (unsigned char)value, n, t);
}

/* ---- streams and events ---- */

cudaError_t cudaStreamCreate(cudaStream_t *out)
{
    CALL(cuStreamCreate_at_2000, out, CU_STREAM_DEFAULT);
}
cudaError_t cudaStreamCreateWithFlags(cudaStream_t *out, unsigned int flags)
{
    CALL(cuStreamCreate_at_2000, out, flags);
}
cudaError_t cudaStreamCreateWithPriority(cudaStream_t *out, unsigned int flags, int priority)
{
    CALL(cuStreamCreateWithPriority_at_5050, out, flags, priority);
}
cudaError_t cudaStreamDestroy(cudaStream_t s)
{
    CALL(cuStreamDestroy_v2_at_4000, s);
}
cudaError_t cudaStreamSynchronize(cudaStream_t s)
{
    CALL(cuStreamSynchronize_at_2000, s);
}
cudaError_t cudaStreamSynchronize_ptsz(cudaStream_t s)
{
    CALL(cuStreamSynchronize_ptsz_at_7000, s);
}
cudaError_t cudaStreamQuery(cudaStream_t s)
{
    CALL(cuStreamQuery_at_2000, s);
}
cudaError_t cudaStreamQuery_ptsz(cudaStream_t s)
{
    CALL(cuStreamQuery_ptsz_at_7000, s);
}
cudaError_t cudaStreamWaitEvent(cudaStream_t s, cudaEvent_t e, unsigned int flags)
{
    CALL(cuStreamWaitEvent_at_3020, s, e, flags);
}
cudaError_t cudaStreamWaitEvent_ptsz(cudaStream_t s, cudaEvent_t e, unsigned int flags)
{
    CALL(cuStreamWaitEvent_ptsz_at_7000, s, e, flags);
}
cudaError_t cudaStreamBeginCapture(cudaStream_t s, cudaStreamCaptureMode mode)
{
    CALL(cuStreamBeginCapture_v2_at_10010, s, mode);
}
cudaError_t cudaStreamBeginCapture_ptsz(cudaStream_t s, cudaStreamCaptureMode mode)
{
    CALL(cuStreamBeginCapture_v2_ptsz_at_10010, s, mode);
}
cudaError_t cudaStreamEndCapture(cudaStream_t s, cudaGraph_t *out)
{
    CALL(cuStreamEndCapture_at_10000, s, out);
}
cudaError_t cudaStreamEndCapture_ptsz(cudaStream_t s, cudaGraph_t *out)
{
    CALL(cuStreamEndCapture_ptsz_at_10000, s, out);
}
cudaError_t cudaStreamIsCapturing(cudaStream_t s, cudaStreamCaptureStatus *out)
{
    CALL(cuStreamIsCapturing_at_10000, s, out);
}
cudaError_t cudaStreamIsCapturing_ptsz(cudaStream_t s, cudaStreamCaptureStatus *out)
{
    CALL(cuStreamIsCapturing_ptsz_at_10000, s, out);
}
cudaError_t cudaEventCreate(cudaEvent_t *out)
{
    CALL(cuEventCreate_at_2000, out, CU_EVENT_DEFAULT);
}
cudaError_t cudaEventCreateWithFlags(cudaEvent_t *out, unsigned int flags)
{
    CALL(cuEventCreate_at_2000, out, flags);
}
cudaError_t cudaEventRecord(cudaEvent_t e, cudaStream_t s)
{
    CALL(cuEventRecord_at_2000, e, s);
}
cudaError_t cudaEventRecord_ptsz(cudaEvent_t e, cudaStream_t s)
{
    CALL(cuEventRecord_ptsz_at_7000, e, s);
}
cudaError_t cudaEventQuery(cudaEvent_t e)
{
    CALL(cuEventQuery_at_2000, e);
}
cudaError_t cudaEventSynchronize(cudaEvent_t e)
{
    CALL(cuEventSynchronize_at_2000, e);
}
cudaError_t cudaEventDestroy(cudaEvent_t e)
{
    CALL(cuEventDestroy_v2_at_4000, e);
}

/* ---- launches: a kernel's host stub is the fake's own struct fake_kernel ---- */

cudaError_t cudaLaunchKernel(const void *f, dim3 grid, dim3 block, void **args, size_t shared,
                             cudaStream_t s)
{
    CALL(cuLaunchKernel_at_4000, (CUfunction)(uintptr_t)f, grid.x, grid.y, grid.z, block.x, block.y,
         block.z, (unsigned)shared, s, args, NULL);
}
cudaError_t cudaLaunchKernel_ptsz(const void *f, dim3 grid, dim3 block, void **args, size_t shared,
                                  cudaStream_t s)
{
    CALL(cuLaunchKernel_ptsz_at_7000, (CUfunction)(uintptr_t)f, grid.x, grid.y, grid.z, block.x,
         block.y, block.z, (unsigned)shared, s, args, NULL);
}
cudaError_t cudaLaunchHostFunc(cudaStream_t s, CUhostFn fn, void *data)
{
    CALL(cuLaunchHostFunc_at_10000, s, fn, data);
}
cudaError_t cudaLaunchHostFunc_ptsz(cudaStream_t s, CUhostFn fn, void *data)
{
    CALL(cuLaunchHostFunc_ptsz_at_10000, s, fn, data);
}
