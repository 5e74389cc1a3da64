/* api_core.c - a program's calls straight into the GPU core, in the order in which the shim makes
 * them; and a clock that only the core's own looking moves on, so that ages are the seed's too. */
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "api.h"
#include "fake.h"
#include "gpu/passed.h"

bool api_has_stats(void)
{
    return true;
}
const bool api_is_client = false;

static const struct program *program;
static _Atomic uint64_t now = 1000000000;

int clock_gettime(clockid_t id, struct timespec *t)
{
    (void)id;
    uint64_t ns = atomic_fetch_add_explicit(&now, 1000, memory_order_relaxed);
    t->tv_sec = (time_t)(ns / 1000000000);
    t->tv_nsec = (long)(ns % 1000000000);
    return 0;
}

static const struct {
    const char *symbol;
    int version;
    void (*function)(void);
} exported[] = {
#define XS_CUDA_CALL(name, version, per_thread, symbol, parameters)                                \
    {#symbol, version, (void (*)(void))symbol},
#include "sys/cuda_calls.h"
};

static void *look_up(void *arg, const char *symbol)
{
    (void)arg;
    for (size_t i = 0; i < sizeof exported / sizeof exported[0]; i++)
        if (strcmp(exported[i].symbol, symbol) == 0 && exported[i].version <= program->version)
            return (void *)exported[i].function;
    return NULL;
}

static void options_of(unsigned device, struct xs_gpu_options *out)
{
    *out = program->options[device < MAX_DEVICES ? device : 0];
}

void api_open(const struct program *p)
{
    program = p;
    if (!xs_cu_find(look_up, NULL))
        abort();
    xs_gpu_open(options_of);
}

void api_thread_start(void)
{
}
void api_environment(const struct program *p)
{
    (void)p;
}

CUresult api_malloc(CUdeviceptr *out, size_t size)
{
    return xs_gpu_malloc(out, size);
}
CUresult api_malloc_pitch(CUdeviceptr *out, size_t *pitch, size_t width, size_t height)
{
    return xs_gpu_malloc_pitch(out, pitch, width, height, 4);
}
CUresult api_malloc_managed(CUdeviceptr *out, size_t size, unsigned flags)
{
    return xs_gpu_malloc_managed(out, size, flags);
}
CUresult api_free(CUdeviceptr p)
{
    return xs_gpu_free(p);
}
CUresult api_free_async(CUdeviceptr p, CUstream s)
{
    return xs_gpu_free_async(p, s, cuMemFreeAsync);
}
CUresult api_malloc_async(CUdeviceptr *out, size_t size, CUstream s)
{
    CUresult r = cuMemAllocAsync(out, size, s);
    while (r == CUDA_ERROR_OUT_OF_MEMORY && xs_gpu_flush_here())
        r = cuMemAllocAsync(out, size, s);
    if (r == CUDA_SUCCESS)
        xs_gpu_passed_through(XS_GPU_PASS_ASYNC, -1, *out, size);
    return r;
}
CUresult api_host_alloc(void **out, size_t size, unsigned flags, bool plain)
{
    return plain ? xs_gpu_host_malloc(out, size) : xs_gpu_host_alloc(out, size, flags);
}
CUresult api_host_free(void *p)
{
    return xs_gpu_host_free(p);
}
CUresult api_mem_info(size_t *free, size_t *total)
{
    return xs_gpu_mem_info(free, total);
}
CUresult api_address_range(CUdeviceptr *base, size_t *size, CUdeviceptr p)
{
    return xs_gpu_address_range(base, size, p);
}
CUresult api_ipc_export(CUdeviceptr p, CUipcMemHandle *out)
{
    CUresult r;
    return xs_gpu_exporting(p, &r) ? r : cuIpcGetMemHandle(out, p);
}
CUresult api_sync_memops(CUdeviceptr p)
{
    const unsigned on = 1;
    xs_gpu_never_reuse(p);
    return cuPointerSetAttribute(&on, CU_POINTER_ATTRIBUTE_SYNC_MEMOPS, p);
}
CUresult api_advise(CUdeviceptr p, size_t size)
{
    xs_gpu_never_reuse(p);
    return cuMemAdvise(p, size, 1, 0);
}

void api_use_per_thread(void)
{
    xs_gpu_before_stream();
}
void api_before_overlap(void)
{
    xs_gpu_before_overlap();
}
CUresult api_stream_create(CUstream *out, unsigned flags)
{
    xs_gpu_before_stream();
    CUresult r = cuStreamCreate(out, flags);
    if (r == CUDA_SUCCESS)
        xs_gpu_after_stream(*out, flags);
    else
        xs_gpu_no_stream();
    return r;
}
CUresult api_stream_destroy(CUstream s)
{
    xs_gpu_stream_gone(s);
    return cuStreamDestroy_v2(s);
}
CUresult api_retain(CUcontext *out, CUdevice device)
{
    CUresult r = cuDevicePrimaryCtxRetain(out, device);
    if (r == CUDA_SUCCESS)
        xs_gpu_after_context(*out);
    return r;
}
CUresult api_context_create(CUcontext *out, CUdevice device)
{
    CUresult r = cuCtxCreate_v2(out, 0, device);
    if (r == CUDA_SUCCESS)
        xs_gpu_after_context(*out);
    return r;
}
CUresult api_context_destroy(CUcontext ctx)
{
    xs_gpu_context_gone(ctx);
    return cuCtxDestroy_v2(ctx);
}
CUresult api_device_reset(CUdevice device)
{
    xs_gpu_device_reset(device);
    return cuDevicePrimaryCtxReset_v2(device);
}
CUresult api_context_sync(CUcontext current)
{
    uint64_t e = xs_gpu_before_sync();
    CUresult r = cuCtxSynchronize();
    if (r == CUDA_SUCCESS)
        xs_gpu_after_sync(current, e);
    else
        xs_gpu_sync_failed();
    return r;
}
CUresult api_capture_begin(CUstream s, CUstreamCaptureMode mode)
{
    xs_gpu_capture_begun();
    CUresult r = cuStreamBeginCapture_v2(s, mode);
    if (r != CUDA_SUCCESS)
        xs_gpu_capture_ended();
    return r;
}
CUresult api_capture_end(CUstream s, CUgraph *out)
{
    CUresult r = cuStreamEndCapture(s, out);
    xs_gpu_capture_ended();
    return r;
}

void api_clear(int device)
{
    xs_gpu_clear(device);
}
void api_cache_limit(int device, uint64_t bytes)
{
    xs_gpu_set_cache_max(device, bytes);
}
void api_defragment(int device)
{
    xs_gpu_defragment(device);
}
bool api_flush(void)
{
    return xs_gpu_flush_here();
}
bool api_stats(unsigned device, struct xs_gpu_stats *out)
{
    return xs_gpu_stats_get(device, out, true);
}
