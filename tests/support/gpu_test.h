/* What the tests of the GPU core share: the core on the fake driver, and what a program does. */
#ifndef XS_TESTS_GPU_H
#define XS_TESTS_GPU_H

#include <criterion/criterion.h>
#include <dlfcn.h>
#include <pthread.h>
#include <unistd.h>

#include "fake.h"
#include "gpu/gpu.h"

#define OK(call)          cr_assert_eq((call), CUDA_SUCCESS, "%s", #call)
#define GIVES(code, call) cr_assert_eq((call), (CUresult)(code), "%s", #call)
#define P(d)              ((void *)(uintptr_t)(d))
#define MIB               ((size_t)1 << 20)

static CUcontext ctx;
static struct xs_gpu_options options = {
    .step = {{SIZE_MAX, XS_GPU_CACHING}},
    .step_count = 1,
    .free_way = XS_GPU_STRICT,
    .round = XS_GPU_ROUND_NONE,
    .waste_percent = 12,
    .align = 512,
    .cache_max_bytes = 256 * MIB,
    .pool_min_block = 1024,
    .pool_max_block = 64 * MIB,
    .pool_growth = 2,
    .pool_limit_bytes = 256 * MIB,
    .pool_class_blocks = 16,
    .bfc_initial_bytes = 2 * MIB,
    .pinned_max_bytes = 64 * MIB,
    .oom_wait_ns = 20000000,
};

static void options_of(unsigned device, struct xs_gpu_options *out)
{
    (void)device;
    *out = options;
}

static void find_driver(void)
{
#define X(symbol) xs_cu.symbol = (__typeof__(&symbol))dlsym(RTLD_DEFAULT, #symbol);
    XS_CU_NEEDED(X)
    XS_CU_OPTIONAL(X)
#undef X
    xs_cu.version = 13000;
    atomic_store(&xs_cu.ready, true);
}

static void start(void)
{
    find_driver();
    xs_gpu_open(options_of);
    OK(cuInit(0));
    OK(cuDevicePrimaryCtxRetain(&ctx, 0));
    OK(cuCtxSetCurrent(ctx));
    xs_gpu_after_context(ctx);
}

/* ---- what a program does, and its shim ---- */

XS_UNUSED static CUstream stream(unsigned flags)
{
    CUstream s;
    xs_gpu_before_stream();
    OK(cuStreamCreate(&s, flags));
    xs_gpu_after_stream(s, flags);
    return s;
}

XS_UNUSED static void be_deferred(void)
{
    options.free_way = XS_GPU_DEFERRED;
}

XS_UNUSED static CUdeviceptr get(size_t size)
{
    CUdeviceptr p = 0;
    OK(xs_gpu_malloc(&p, size));
    fake_life_begin(P(p), size);
    return p;
}

/* A block that a stream of its own is at work on, where frees are deferred. */
XS_UNUSED static CUdeviceptr get_busy(size_t size, CUstream *at_work)
{
    CUdeviceptr p;

    be_deferred();
    start();
    *at_work = stream(CU_STREAM_NON_BLOCKING);
    p = get(size);
    OK(fake_touch(*at_work, P(p), size));
    return p;
}

XS_UNUSED static void give(CUdeviceptr p)
{
    fake_life_end(P(p));
    OK(xs_gpu_free(p));
}

XS_UNUSED static void *get_host(size_t size, unsigned flags)
{
    void *p = NULL;
    OK(xs_gpu_host_alloc(&p, size, flags));
    fake_life_begin(p, size);
    return p;
}

XS_UNUSED static void give_host(void *p)
{
    fake_life_end(p);
    OK(xs_gpu_host_free(p));
}

XS_UNUSED static struct xs_gpu_stats stats(void)
{
    struct xs_gpu_stats s;
    cr_assert(xs_gpu_stats_get(0, &s, true));
    return s;
}

#endif
