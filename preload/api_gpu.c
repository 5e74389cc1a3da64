/* include/xsigma.h over the GPU core. */
#include "preload/api_gpu.h"

#include <errno.h>
#include <string.h>

#include "base/align.h"
#include "gpu/gpu.h"
#include "gpu/hooks.h"
#include "policy/config.h"
#include "policy/gpu_options.h"

/* Set with the first device block given out: before that, nobody can bring one. */
static _Atomic bool has_given;

static int error_of(CUresult r)
{
    switch (r) {
    case CUDA_SUCCESS:
        return 0;
    case CUDA_ERROR_OUT_OF_MEMORY:
        return ENOMEM;
    case CUDA_ERROR_INVALID_VALUE:
    case CUDA_ERROR_INVALID_DEVICE:
    case CUDA_ERROR_INVALID_HANDLE:
    case CUDA_ERROR_INVALID_CONTEXT:
        return EINVAL;
    case CUDA_ERROR_NO_DEVICE:
    case CUDA_ERROR_STUB_LIBRARY:
    case CUDA_ERROR_NOT_SUPPORTED:
        return ENOTSUP;
    default:
        return EIO;
    }
}

/* The driver is there, and ours to use. */
static int need_driver(void)
{
    if (!xs_gpu_wanted())
        return ENOTSUP;
    if (xs_cu_ready() || (xs_cu_loader != NULL && xs_cu_loader()))
        return 0;
    return ENOTSUP;
}

/* ---- a context -------------------------------------------------------------------------- */

XS_UNLIKELY_DATA static _Atomic(CUcontext) primaries[XS_GPU_DEVICES_MAX];

/* One reference is kept for as long as the process lives, as the runtime does. */
static CUresult retain(int device, CUcontext *out)
{
    CUresult r = xs_cu.cuDevicePrimaryCtxRetain(out, device);
    if (r == CUDA_SUCCESS) {
        xs_gpu_after_context(*out);
        atomic_store_explicit(&primaries[device], *out, memory_order_release);
    }
    return r;
}

static CUresult push_primary(int device)
{
    CUcontext ctx = atomic_load_explicit(&primaries[device], memory_order_acquire);

    if (ctx != NULL && xs_cu.cuCtxPushCurrent_v2(ctx) == CUDA_SUCCESS)
        return CUDA_SUCCESS;
    CUresult r = retain(device, &ctx); /* the first time, or the program has reset the device */
    return r == CUDA_SUCCESS ? xs_cu.cuCtxPushCurrent_v2(ctx) : r;
}

/* Makes a context of the device current; *pushed says whether leave has to undo it. */
static int enter(int device, bool *pushed)
{
    CUcontext now = NULL;
    CUdevice of = -1;
    CUresult r = xs_cu.cuCtxGetCurrent(&now);

    *pushed = false;
    if (device < 0 || device >= XS_GPU_DEVICES_MAX)
        return EINVAL;
    if (r == CUDA_ERROR_NOT_INITIALIZED) {
        r = xs_cu.cuInit(0);
        now = NULL;
    }
    if (r != CUDA_SUCCESS)
        return error_of(r);
    if (now != NULL && xs_cu.cuCtxGetDevice(&of) == CUDA_SUCCESS && of == device)
        return 0;
    r = push_primary(device);
    *pushed = r == CUDA_SUCCESS;
    return error_of(r);
}

static void leave(bool pushed)
{
    CUcontext ignored;

    if (pushed)
        (void)xs_cu.cuCtxPopCurrent_v2(&ignored);
}

/* ---- blocks ----------------------------------------------------------------------------- */

static CUdeviceptr pointer_of(const void *block)
{
    return (CUdeviceptr)(uintptr_t)block;
}

/* The handle means a stream of its own for each thread, which nobody has to make. */
static void note_stream(void *stream)
{
    if (stream == CU_STREAM_PER_THREAD)
        xs_gpu_before_stream();
}

int xs_api_device_alloc(void **out, size_t size, const struct xsigma_attr *attr)
{
    CUdeviceptr p = 0;
    int saved = errno;
    bool pushed;

    if (attr->device < 0 || attr->device >= XS_GPU_DEVICES_MAX ||
        (attr->alignment != 0 && !xs_is_pow2(attr->alignment)))
        return EINVAL;
    if (attr->backend != NULL || attr->numa_node != XSIGMA_ANY_NODE)
        return ENOTSUP;
    int rc = need_driver();
    if (rc == 0 &&
        attr->alignment > xs_config_device((unsigned)attr->device, XS_KNOB_GPU_ALIGN)->num)
        rc = ENOTSUP;
    if (rc == 0)
        rc = enter(attr->device, &pushed);
    if (rc == 0) {
        note_stream(attr->stream);
        rc = error_of(xs_gpu_malloc_on(&p, size != 0 ? size : 1, attr->stream));
        leave(pushed);
    }
    if (rc == 0) {
        atomic_store_explicit(&has_given, true, memory_order_relaxed);
        *out = (void *)(uintptr_t)p;
    }
    errno = saved;
    return rc;
}

bool xs_api_is_device_block(const void *block)
{
    return atomic_load_explicit(&has_given, memory_order_relaxed) &&
           xs_gpu_holds(pointer_of(block));
}

bool xs_api_device_free(void *block)
{
    int saved = errno;

    if (XS_LIKELY(!xs_api_is_device_block(block)))
        return false;
    (void)xs_gpu_free(pointer_of(block)); /* knows the block's context, and enters it if need be */
    errno = saved;
    return true;
}

XS_EXPORT int xsigma_gpu_free(void *block, void *stream)
{
    int saved = errno;

    if (block == NULL)
        return 0;
    if (!xs_gpu_wanted() || !xs_cu_ready())
        return ENOTSUP;
    if (!xs_gpu_holds(pointer_of(block)))
        return EINVAL;
    note_stream(stream);
    int rc = error_of(xs_gpu_free_async(pointer_of(block), stream, xs_cu.cuMemFreeAsync));
    errno = saved;
    return rc;
}

/* Some context: the thread's, or the first that was brought up for this interface. */
static int enter_any(bool *pushed)
{
    CUcontext now = NULL;
    int device = 0;

    *pushed = false;
    if (xs_cu.cuCtxGetCurrent(&now) == CUDA_SUCCESS && now != NULL)
        return 0;
    for (int d = XS_GPU_DEVICES_MAX; d-- > 0;)
        if (atomic_load_explicit(&primaries[d], memory_order_relaxed) != NULL)
            device = d;
    return enter(device, pushed);
}

XS_EXPORT int xsigma_gpu_prefetch(const void *block, size_t size, int device, void *stream)
{
    int saved = errno;
    CUresult r = CUDA_ERROR_NOT_SUPPORTED;
    bool pushed;

    if (device < XSIGMA_HOST || device >= XS_GPU_DEVICES_MAX)
        return EINVAL;
    int rc = need_driver();
    if (rc == 0)
        rc = device >= 0 ? enter(device, &pushed) : enter_any(&pushed);
    if (rc == 0) {
        const CUmemLocation to = {device >= 0 ? CU_MEM_LOCATION_TYPE_DEVICE
                                              : CU_MEM_LOCATION_TYPE_HOST,
                                  device >= 0 ? device : 0};
        note_stream(stream);
        if (xs_cu.cuMemPrefetchAsync_v2 != NULL)
            r = xs_cu.cuMemPrefetchAsync_v2(pointer_of(block), size, to, 0, stream);
        else if (xs_cu.cuMemPrefetchAsync != NULL) /* -1 is the host here too */
            r = xs_cu.cuMemPrefetchAsync(pointer_of(block), size, device, stream);
        rc = error_of(r);
        leave(pushed);
    }
    errno = saved;
    return rc;
}

/* ---- control ---------------------------------------------------------------------------- */

/* Calls `act` with a context of each device that is meant and was used. */
static int each_device(int device, void (*act)(int device, void *arg), void *arg)
{
    int saved = errno;
    int rc = device < XSIGMA_ALL_DEVICES || device >= XS_GPU_DEVICES_MAX ? EINVAL : need_driver();
    int devices = rc == 0 ? (int)xs_gpu_device_count() : 0;

    for (int d = 0; rc == 0 && d < devices; d++) {
        struct xs_gpu_stats s;
        bool pushed;
        if ((device >= 0 && d != device) || !xs_gpu_stats_get((unsigned)d, &s, true))
            continue;
        rc = enter(d, &pushed);
        if (rc == 0) {
            act(d, arg);
            leave(pushed);
        }
    }
    errno = saved;
    return rc;
}

static void clear(int device, void *arg)
{
    (void)arg;
    xs_gpu_clear(device);
}

XS_EXPORT int xsigma_gpu_clear(int device)
{
    return each_device(device, clear, NULL);
}

static void set_cache_max(int device, void *arg)
{
    xs_gpu_options_limit(device, *(const uint64_t *)arg);
}

XS_EXPORT int xsigma_gpu_set_cache_max(int device, uint64_t bytes)
{
    int rc = each_device(device, set_cache_max, &bytes);

    /* And for those that are used later, which needs no context. */
    if (rc == 0)
        xs_gpu_options_limit(device, bytes);
    return rc;
}

static void defragment(int device, void *arg)
{
    *(uint64_t *)arg += xs_gpu_defragment(device);
}

XS_EXPORT int xsigma_gpu_defragment(int device, uint64_t *bytes)
{
    uint64_t sum = 0;
    int rc = each_device(device, defragment, &sum);

    if (bytes != NULL)
        *bytes = sum;
    return rc;
}

/* ---- statistics ------------------------------------------------------------------------- */

XS_EXPORT int xsigma_gpu_stats_snapshot(int device, struct xsigma_gpu_stats *out)
{
    struct xs_gpu_stats s;
    struct xs_buf backend;
    int saved = errno;

    if (out->stats_size != sizeof(*out) || device < 0 || device >= XS_GPU_DEVICES_MAX)
        return EINVAL;
    bool known = xs_gpu_stats_get((unsigned)device, &s, true);
    errno = saved;
    if (!known)
        return ENOENT;
    *out = (struct xsigma_gpu_stats){.stats_size = sizeof(*out)};
    xs_buf_init(&backend, out->backend, sizeof(out->backend));
    xs_put_str(&backend, s.backend != NULL ? s.backend : "");
#define X(name, unit, help) out->name = s.name;
    XS_GPU_COUNTER_FIELDS(X)
    XS_GPU_LEVEL_FIELDS(X)
#undef X
#define X(name, unit, help) out->name##_peak = s.name##_peak;
    XS_GPU_LEVEL_FIELDS(X)
#undef X
    out->largest_request_bytes = s.largest_request_bytes;
    out->last_oom_bytes = s.last_oom_bytes;
    out->cache_max_bytes = s.cache_max_bytes;
    out->largest_free_bytes = s.largest_free_bytes;
    out->slabs = s.slabs;
    out->slabs_given_back = s.slabs_given_back;
    out->fragmentation = s.fragmentation;
    out->hit_rate = xs_gpu_hit_rate(&s);
    return 0;
}
