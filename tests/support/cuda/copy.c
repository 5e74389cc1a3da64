/* copy.c - copies and memsets: work that names what it touches, and acts on completion.
 *
 * The host waits only where the driver promises it: for a copy to pageable memory, and for a
 * synchronous copy that pinned memory takes part in. A copy from pageable memory is taken at once
 * and goes on by itself; copies within the device, where managed memory is, and memsets never wait.
 */
#include "state.h"

#include <stdlib.h>
#include <string.h>

static void name_range(struct op *op, uint64_t p, size_t bytes)
{
    if (bytes != 0 && fk_area(p) != NULL)
        op->range[op->nranges++] = (struct range){p, p + bytes, 0};
}

static size_t extent(size_t width, size_t height, size_t pitch)
{
    return height == 0 || width == 0 ? 0 : (height - 1) * pitch + width;
}

/* Memory of the driver's must hold it; pageable memory is the caller's affair. */
static bool inside(uint64_t p, size_t bytes, bool pageable_ok)
{
    const struct area *a = fk_area(p);
    if (a == NULL)
        return pageable_ok && fk_memory(p) != NULL;
    return p + bytes <= a->hi;
}

static bool is_pinned(const struct area *a)
{
    return a != NULL && fk_host_visible(a) && a->kind != AREA_MANAGED;
}

static CUresult copy(struct op *op, CUstream stream, bool per_thread, bool synchronous)
{
    CUstream s = fk_stream(stream, per_thread);
    if (s == NULL)
        return CUDA_ERROR_INVALID_HANDLE;
    size_t from = extent(op->u.copy.width, op->u.copy.height, op->u.copy.src_pitch);
    size_t to = extent(op->u.copy.width, op->u.copy.height, op->u.copy.dst_pitch);
    if (from == 0)
        return CUDA_SUCCESS;
    if (!inside(op->u.copy.src, from, true) || !inside(op->u.copy.dst, to, true))
        return CUDA_ERROR_INVALID_VALUE;
    op->kind = OP_COPY;
    op->what = "a copy";
    name_range(op, op->u.copy.dst, to);
    name_range(op, op->u.copy.src, from);
    const struct area *src = fk_area(op->u.copy.src), *dst = fk_area(op->u.copy.dst);
    bool waits = dst == NULL || (synchronous && (is_pinned(src) || is_pinned(dst)));
    if (waits && s->capture != NULL)
        waits = false;
    if (src == NULL && s->capture == NULL) {
        char *staged = malloc(op->u.copy.width * op->u.copy.height);
        if (staged == NULL)
            abort();
        for (size_t y = 0; y < op->u.copy.height; y++)
            memcpy(staged + y * op->u.copy.width,
                   (const char *)(uintptr_t)op->u.copy.src + y * op->u.copy.src_pitch,
                   op->u.copy.width);
        op->u.copy.staged = staged;
    }
    CUresult r = fk_submit(s, op);
    if (r == CUDA_SUCCESS && waits) {
        struct fake_clock until = s->clock;
        r = fk_wait(&until, "a synchronous copy");
    }
    return r;
}

static CUresult copy1(uint64_t dst, uint64_t src, size_t n, CUstream s, bool per_thread, bool sync)
{
    struct op op = {.u.copy = {.dst = dst, .src = src, .width = n, .height = 1}};
    return copy(&op, s, per_thread, sync);
}

static uint64_t end_of(CUmemorytype type, const void *host, CUdeviceptr device, size_t x, size_t y,
                       size_t pitch)
{
    uint64_t base = type == CU_MEMORYTYPE_HOST ? (uint64_t)(uintptr_t)host : device;
    return base + y * pitch + x;
}

static CUresult copy2(const CUDA_MEMCPY2D *c, CUstream s, bool per_thread, bool sync)
{
    if (c == NULL || c->srcMemoryType == CU_MEMORYTYPE_ARRAY ||
        c->dstMemoryType == CU_MEMORYTYPE_ARRAY)
        return c == NULL ? CUDA_ERROR_INVALID_VALUE : CUDA_ERROR_NOT_SUPPORTED;
    if (c->Height > 1 && (c->srcPitch < c->WidthInBytes || c->dstPitch < c->WidthInBytes))
        return CUDA_ERROR_INVALID_VALUE;
    struct op op = {.u.copy = {
                        .dst = end_of(c->dstMemoryType, c->dstHost, c->dstDevice, c->dstXInBytes,
                                      c->dstY, c->dstPitch),
                        .src = end_of(c->srcMemoryType, c->srcHost, c->srcDevice, c->srcXInBytes,
                                      c->srcY, c->srcPitch),
                        .width = c->WidthInBytes,
                        .height = c->Height,
                        .dst_pitch = c->dstPitch,
                        .src_pitch = c->srcPitch,
                    }};
    return copy(&op, s, per_thread, sync);
}

static CUresult set(CUdeviceptr p, size_t pitch, uint32_t value, unsigned value_bytes, size_t count,
                    size_t height, CUstream stream, bool per_thread)
{
    CUstream s = fk_stream(stream, per_thread);
    size_t width = count * value_bytes;
    if (s == NULL)
        return CUDA_ERROR_INVALID_HANDLE;
    if (extent(width, height, pitch) == 0)
        return CUDA_SUCCESS;
    if (p % value_bytes != 0 || !inside(p, extent(width, height, pitch), false))
        return CUDA_ERROR_INVALID_VALUE;
    struct op op = {
        .kind = OP_SET,
        .what = "a memset",
        .u.set = {.dst = p,
                  .width = width,
                  .height = height,
                  .pitch = pitch,
                  .value = value,
                  .value_bytes = value_bytes},
    };
    name_range(&op, p, extent(width, height, pitch));
    return fk_submit(s, &op);
}

#define HOST(p) ((uint64_t)(uintptr_t)(p))

/* A synchronous call uses the legacy stream, or the thread's own where so compiled; it is no call
 * to make during a capture. */
#define SYNCHRONOUS(symbol, parameters, call)                                                      \
    CUresult symbol parameters                                                                     \
    {                                                                                              \
        ENTER(NEEDS_CONTEXT | UNSAFE);                                                             \
        const bool per_thread = false;                                                             \
        LEAVE(call);                                                                               \
    }                                                                                              \
    CUresult symbol##_ptds parameters                                                              \
    {                                                                                              \
        ENTER(NEEDS_CONTEXT | UNSAFE);                                                             \
        const bool per_thread = true;                                                              \
        LEAVE(call);                                                                               \
    }
#define ASYNCHRONOUS(symbol, parameters, call)                                                     \
    CUresult symbol parameters                                                                     \
    {                                                                                              \
        ENTER(NEEDS_CONTEXT);                                                                      \
        const bool per_thread = false;                                                             \
        LEAVE(call);                                                                               \
    }                                                                                              \
    CUresult symbol##_ptsz parameters                                                              \
    {                                                                                              \
        ENTER(NEEDS_CONTEXT);                                                                      \
        const bool per_thread = true;                                                              \
        LEAVE(call);                                                                               \
    }

SYNCHRONOUS(cuMemcpy, (CUdeviceptr d, CUdeviceptr s, size_t n),
            copy1(d, s, n, NULL, per_thread, true))
SYNCHRONOUS(cuMemcpyHtoD_v2, (CUdeviceptr d, const void *s, size_t n),
            copy1(d, HOST(s), n, NULL, per_thread, true))
SYNCHRONOUS(cuMemcpyDtoH_v2, (void *d, CUdeviceptr s, size_t n),
            copy1(HOST(d), s, n, NULL, per_thread, true))
SYNCHRONOUS(cuMemcpyDtoD_v2, (CUdeviceptr d, CUdeviceptr s, size_t n),
            copy1(d, s, n, NULL, per_thread, true))
SYNCHRONOUS(cuMemcpyPeer, (CUdeviceptr d, CUcontext dc, CUdeviceptr s, CUcontext sc, size_t n),
            (fk_context_ok(dc) && fk_context_ok(sc)) ? copy1(d, s, n, NULL, per_thread, true)
                                                     : CUDA_ERROR_INVALID_CONTEXT)
SYNCHRONOUS(cuMemcpy2D_v2, (const CUDA_MEMCPY2D *c), copy2(c, NULL, per_thread, true))
SYNCHRONOUS(cuMemcpy2DUnaligned_v2, (const CUDA_MEMCPY2D *c), copy2(c, NULL, per_thread, true))
SYNCHRONOUS(cuMemsetD8_v2, (CUdeviceptr d, unsigned char v, size_t n),
            set(d, 0, v, 1, n, 1, NULL, per_thread))
SYNCHRONOUS(cuMemsetD16_v2, (CUdeviceptr d, unsigned short v, size_t n),
            set(d, 0, v, 2, n, 1, NULL, per_thread))
SYNCHRONOUS(cuMemsetD32_v2, (CUdeviceptr d, unsigned int v, size_t n),
            set(d, 0, v, 4, n, 1, NULL, per_thread))
SYNCHRONOUS(cuMemsetD2D8_v2, (CUdeviceptr d, size_t pitch, unsigned char v, size_t w, size_t h),
            set(d, pitch, v, 1, w, h, NULL, per_thread))

ASYNCHRONOUS(cuMemcpyAsync, (CUdeviceptr d, CUdeviceptr s, size_t n, CUstream t),
             copy1(d, s, n, t, per_thread, false))
ASYNCHRONOUS(cuMemcpyHtoDAsync_v2, (CUdeviceptr d, const void *s, size_t n, CUstream t),
             copy1(d, HOST(s), n, t, per_thread, false))
ASYNCHRONOUS(cuMemcpyDtoHAsync_v2, (void *d, CUdeviceptr s, size_t n, CUstream t),
             copy1(HOST(d), s, n, t, per_thread, false))
ASYNCHRONOUS(cuMemcpyDtoDAsync_v2, (CUdeviceptr d, CUdeviceptr s, size_t n, CUstream t),
             copy1(d, s, n, t, per_thread, false))
ASYNCHRONOUS(cuMemcpyPeerAsync,
             (CUdeviceptr d, CUcontext dc, CUdeviceptr s, CUcontext sc, size_t n, CUstream t),
             (fk_context_ok(dc) && fk_context_ok(sc)) ? copy1(d, s, n, t, per_thread, false)
                                                      : CUDA_ERROR_INVALID_CONTEXT)
ASYNCHRONOUS(cuMemcpy2DAsync_v2, (const CUDA_MEMCPY2D *c, CUstream t),
             copy2(c, t, per_thread, false))
ASYNCHRONOUS(cuMemsetD8Async, (CUdeviceptr d, unsigned char v, size_t n, CUstream t),
             set(d, 0, v, 1, n, 1, t, per_thread))
ASYNCHRONOUS(cuMemsetD16Async, (CUdeviceptr d, unsigned short v, size_t n, CUstream t),
             set(d, 0, v, 2, n, 1, t, per_thread))
ASYNCHRONOUS(cuMemsetD32Async, (CUdeviceptr d, unsigned int v, size_t n, CUstream t),
             set(d, 0, v, 4, n, 1, t, per_thread))
ASYNCHRONOUS(cuMemsetD2D8Async,
             (CUdeviceptr d, size_t pitch, unsigned char v, size_t w, size_t h, CUstream t),
             set(d, pitch, v, 1, w, h, t, per_thread))
