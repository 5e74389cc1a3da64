/* api_driver.c - a program's calls to the driver, or for every second seed to the runtime, which is
 * linked statically. A library that is preloaded stands before both; what it can be told only by
 * its environment is set before the process of the program starts. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api.h"
#include "fake.h"
#include "include/xsigma.h"

/* Of the preloaded library, if there is one. */
#pragma weak xsigma_gpu_clear
#pragma weak xsigma_gpu_set_cache_max
#pragma weak xsigma_gpu_defragment
#pragma weak xsigma_gpu_stats_snapshot

bool api_has_stats(void)
{
    return xsigma_gpu_clear != NULL;
}
const bool api_is_client = true;

static bool by_runtime;

static void set(const char *name, uint64_t value)
{
    char text[32];
    snprintf(text, sizeof text, "%lu", value);
    setenv(name, text, 1);
}

static void set_time(const char *name, uint64_t ns)
{
    char text[32];
    snprintf(text, sizeof text, "%luns", ns);
    setenv(name, text, 1);
}

static uint64_t at_least(uint64_t n, uint64_t least)
{
    return n < least ? least : n;
}

/* What api_core.c gives to xs_gpu_open. Devices share their options here. */
void api_environment(const struct program *p)
{
    static const char *const backends[] = {"caching", "pool", "bfc", "direct", "managed"};
    const struct xs_gpu_options *o = &p->options[0];
    char route[256] = "";
    for (unsigned i = 0; i + 1 < o->step_count; i++)
        snprintf(route + strlen(route), sizeof route - strlen(route), "<=%zu:%s,", o->step[i].last,
                 backends[o->step[i].backend]);
    const char *last = backends[o->step[o->step_count - 1].backend];
    if (o->step_count > 1) {
        snprintf(route + strlen(route), sizeof route - strlen(route), "*:%s", last);
        setenv("XSIGMA_GPU_ROUTE", route, 1);
    }
    setenv("XSIGMA_GPU_BACKEND", last, 1);
    setenv("XSIGMA_GPU_FREE", o->free_way == XS_GPU_STRICT ? "strict" : "deferred", 1);
    setenv("XSIGMA_GPU_ROUND",
           o->round == XS_GPU_ROUND_NONE      ? "none"
           : o->round == XS_GPU_ROUND_POW2    ? "pow2"
           : o->round == XS_GPU_ROUND_HALF    ? "half"
           : o->round == XS_GPU_ROUND_QUARTER ? "quarter"
                                              : "eighth",
           1);
    set("XSIGMA_GPU_CACHE_MAX", o->cache_max_bytes);
    set_time("XSIGMA_GPU_CACHE_AGE", o->cache_age_ns);
    set("XSIGMA_GPU_WASTE", o->waste_percent);
    set("XSIGMA_GPU_ALIGN", o->align);
    set("XSIGMA_GPU_LOW_FREE", o->low_free_bytes);
    set("XSIGMA_GPU_POOL_MIN_BLOCK", o->pool_min_block);
    set("XSIGMA_GPU_POOL_MAX_BLOCK", o->pool_max_block);
    setenv("XSIGMA_GPU_POOL_GROWTH", o->pool_growth > 1.5 ? "2.0" : "1.0", 1);
    set("XSIGMA_GPU_POOL_LIMIT", o->pool_limit_bytes);
    set("XSIGMA_GPU_POOL_CLASS_BLOCKS", o->pool_class_blocks);
    set_time("XSIGMA_GPU_POOL_DEFRAGMENT", o->pool_defragment_ns);
    set("XSIGMA_GPU_BFC_INITIAL", at_least(o->bfc_initial_bytes, 64 << 10));
    set("XSIGMA_GPU_BFC_LIMIT", o->bfc_limit_bytes);
    set("XSIGMA_GPU_PREFETCH", o->prefetch);
    set("XSIGMA_GPU_PREFETCH_BACK", o->prefetch_back);
    set("XSIGMA_GPU_PINNED_MAX", o->pinned_max_bytes);
    set_time("XSIGMA_GPU_OOM_WAIT", o->oom_wait_ns);
}

void api_open(const struct program *p)
{
    by_runtime = p->seed % 2 == 0;
}

/* The runtime takes its own context at a thread's first call, and leaves ours alone afterwards. */
void api_thread_start(void)
{
    fake_spare(true);
    if (by_runtime)
        cudaFree(NULL);
    fake_spare(false);
}

CUresult api_malloc(CUdeviceptr *out, size_t size)
{
    void *p = NULL;
    if (!by_runtime)
        return cuMemAlloc_v2(out, size);
    CUresult r = cudaMalloc(&p, size);
    *out = (CUdeviceptr)(uintptr_t)p;
    return r;
}
CUresult api_malloc_pitch(CUdeviceptr *out, size_t *pitch, size_t width, size_t height)
{
    void *p = NULL;
    if (!by_runtime)
        return cuMemAllocPitch_v2(out, pitch, width, height, 4);
    CUresult r = cudaMallocPitch(&p, pitch, width, height);
    *out = (CUdeviceptr)(uintptr_t)p;
    return r;
}
CUresult api_malloc_managed(CUdeviceptr *out, size_t size, unsigned flags)
{
    void *p = NULL;
    if (!by_runtime)
        return cuMemAllocManaged(out, size, flags);
    CUresult r = cudaMallocManaged(&p, size, flags);
    *out = (CUdeviceptr)(uintptr_t)p;
    return r;
}
CUresult api_free(CUdeviceptr p)
{
    return by_runtime ? cudaFree((void *)(uintptr_t)p) : cuMemFree_v2(p);
}
CUresult api_free_async(CUdeviceptr p, CUstream s)
{
    return by_runtime ? cudaFreeAsync((void *)(uintptr_t)p, s) : cuMemFreeAsync(p, s);
}
CUresult api_malloc_async(CUdeviceptr *out, size_t size, CUstream s)
{
    void *p = NULL;
    if (!by_runtime)
        return cuMemAllocAsync(out, size, s);
    CUresult r = cudaMallocAsync(&p, size, s);
    *out = (CUdeviceptr)(uintptr_t)p;
    return r;
}
CUresult api_host_alloc(void **out, size_t size, unsigned flags, bool plain)
{
    if (by_runtime)
        return plain ? cudaMallocHost(out, size) : cudaHostAlloc(out, size, flags);
    return plain ? cuMemAllocHost_v2(out, size) : cuMemHostAlloc(out, size, flags);
}
CUresult api_host_free(void *p)
{
    return by_runtime ? cudaFreeHost(p) : cuMemFreeHost(p);
}
CUresult api_mem_info(size_t *free, size_t *total)
{
    return by_runtime ? cudaMemGetInfo(free, total) : cuMemGetInfo_v2(free, total);
}
CUresult api_address_range(CUdeviceptr *base, size_t *size, CUdeviceptr p)
{
    return cuMemGetAddressRange_v2(base, size, p);
}
CUresult api_ipc_export(CUdeviceptr p, CUipcMemHandle *out)
{
    return cuIpcGetMemHandle(out, p);
}
CUresult api_sync_memops(CUdeviceptr p)
{
    const unsigned on = 1;
    return cuPointerSetAttribute(&on, CU_POINTER_ATTRIBUTE_SYNC_MEMOPS, p);
}
CUresult api_advise(CUdeviceptr p, size_t size)
{
    return cuMemAdvise(p, size, 1, 0);
}

void api_use_per_thread(void)
{
}
void api_before_overlap(void)
{
}
CUresult api_stream_create(CUstream *out, unsigned flags)
{
    return by_runtime ? cudaStreamCreateWithFlags(out, flags) : cuStreamCreate(out, flags);
}
CUresult api_stream_destroy(CUstream s)
{
    return by_runtime ? cudaStreamDestroy(s) : cuStreamDestroy_v2(s);
}
CUresult api_retain(CUcontext *out, CUdevice device)
{
    return cuDevicePrimaryCtxRetain(out, device);
}
CUresult api_context_create(CUcontext *out, CUdevice device)
{
    return cuCtxCreate_v2(out, 0, device);
}
CUresult api_context_destroy(CUcontext ctx)
{
    return cuCtxDestroy_v2(ctx);
}
CUresult api_device_reset(CUdevice device)
{
    return cuDevicePrimaryCtxReset_v2(device);
}
CUresult api_context_sync(CUcontext current)
{
    (void)current;
    return by_runtime ? cudaDeviceSynchronize() : cuCtxSynchronize();
}
CUresult api_capture_begin(CUstream s, CUstreamCaptureMode mode)
{
    return by_runtime ? cudaStreamBeginCapture(s, mode) : cuStreamBeginCapture_v2(s, mode);
}
CUresult api_capture_end(CUstream s, CUgraph *out)
{
    return by_runtime ? cudaStreamEndCapture(s, out) : cuStreamEndCapture(s, out);
}

void api_clear(int device)
{
    if (api_has_stats())
        xsigma_gpu_clear(device);
}
void api_cache_limit(int device, uint64_t bytes)
{
    if (api_has_stats())
        xsigma_gpu_set_cache_max(device, bytes);
}
void api_defragment(int device)
{
    if (api_has_stats())
        xsigma_gpu_defragment(device, NULL);
}
bool api_flush(void)
{
    return false;
}
bool api_stats(unsigned device, struct xs_gpu_stats *out)
{
    struct xsigma_gpu_stats s = {.stats_size = sizeof s};
    if (!api_has_stats() || xsigma_gpu_stats_snapshot((int)device, &s) != 0)
        return false;
    memset(out, 0, sizeof *out);
#define X(name, unit, help) out->name = s.name;
    XS_GPU_COUNTER_FIELDS(X)
    XS_GPU_LEVEL_FIELDS(X)
#undef X
    out->cache_max_bytes = s.cache_max_bytes;
    return true;
}
