/* Contexts, streams and captures: what the core must know of when they come and go. The driver's
 * own call is always made; nothing that comes of it can be used before we return. */
#include <stdatomic.h>
#include <string.h>

#include "cuda_shim/shim.h"
#include "sys/lock.h"

/* ---- streams besides the legacy one ----------------------------------------------------- */

_Atomic bool xs_shim_stream_noted;

/* A thread's default stream is in use; called by the jumps too. Streams that are made are announced
 * one by one, since each is seen when it is there, and this one never. Noted only after the core
 * has been told: until then others tell it too. */
void xs_shim_stream_seen(void)
{
    if (atomic_load_explicit(&xs_shim_stream_noted, memory_order_acquire))
        return;
    xs_gpu_before_stream();
    atomic_store_explicit(&xs_shim_stream_noted, true, memory_order_release);
}

static CUresult made_stream(CUresult r, const CUstream *out, unsigned flags)
{
    if (r == CUDA_SUCCESS)
        xs_gpu_after_stream(*out, flags);
    else
        xs_gpu_no_stream();
    return r;
}

CUresult xs_do_cuStreamCreate(CUstream *out, unsigned int flags)
{
    xs_gpu_before_stream();
    XS_SHIM_RETRY(r, XS_REAL(cuStreamCreate)(out, flags));
    return made_stream(r, out, flags);
}

CUresult xs_do_cuStreamCreateWithPriority(CUstream *out, unsigned int flags, int priority)
{
    xs_gpu_before_stream();
    XS_SHIM_RETRY(r, XS_REAL(cuStreamCreateWithPriority)(out, flags, priority));
    return made_stream(r, out, flags);
}

/* ---- captures --------------------------------------------------------------------------- */

/* Those that were begun, by the stream: what ends one that is none changes nothing. A handle for a
 * default stream means another stream in another thread or context. */
XS_UNLIKELY_DATA static struct {
    struct xs_lock lock;
    unsigned count;
    struct capture {
        CUstream stream;
        CUcontext ctx;
        uintptr_t thread; /* 0: the handle means the same stream in all */
    } at[64];
    unsigned lost; /* beyond the table: ended by any end that is not in it */
} captures;

static struct capture key_of(CUstream stream)
{
    struct capture c = {.stream = stream};

    if (xs_cu.cuCtxGetCurrent(&c.ctx) != CUDA_SUCCESS)
        c.ctx = NULL;
    if ((uintptr_t)stream <= (uintptr_t)CU_STREAM_PER_THREAD)
        c.thread = (uintptr_t)__builtin_thread_pointer();
    return c;
}

static bool is_same(const struct capture *a, const struct capture *b)
{
    return a->stream == b->stream && a->thread == b->thread && (a->thread == 0 || a->ctx == b->ctx);
}

static void begun(struct capture c)
{
    xs_lock_take(&captures.lock);
    if (captures.count < XS_COUNT_OF(captures.at))
        captures.at[captures.count++] = c;
    else
        captures.lost++;
    xs_lock_give(&captures.lock);
}

static void drop(unsigned i)
{
    captures.at[i] = captures.at[--captures.count];
}

static bool ended(struct capture c)
{
    bool found = false;

    xs_lock_take(&captures.lock);
    for (unsigned i = 0; !found && i < captures.count; i++)
        if (is_same(&captures.at[i], &c)) {
            drop(i);
            found = true;
        }
    if (!found && captures.lost > 0) {
        captures.lost--;
        found = true;
    }
    xs_lock_give(&captures.lock);
    return found;
}

/* With a context, or a stream, its captures go too. */
static void abandon(CUcontext ctx, CUstream stream)
{
    unsigned gone = 0;

    xs_lock_take(&captures.lock);
    for (unsigned i = captures.count; i-- > 0;)
        if ((ctx != NULL && captures.at[i].ctx == ctx) ||
            (stream != NULL && captures.at[i].stream == stream)) {
            drop(i);
            gone++;
        }
    xs_lock_give(&captures.lock);
    while (gone-- > 0)
        xs_gpu_capture_ended();
}

/* The core must hold still from before the capture is on. */
#define BEGIN(stream, call)                                                                        \
    struct capture c = key_of(stream);                                                             \
    xs_gpu_capture_begun();                                                                        \
    CUresult r = (call);                                                                           \
    if (r == CUDA_SUCCESS)                                                                         \
        begun(c);                                                                                  \
    else                                                                                           \
        xs_gpu_capture_ended();                                                                    \
    return r

/* Ended in the wrong thread, or with nowhere to put the graph, it goes on. Any other error means
 * that there is none any more. */
static CUresult after_end(CUresult r, struct capture c)
{
    if (r != CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD && r != CUDA_ERROR_INVALID_VALUE && ended(c))
        xs_gpu_capture_ended();
    return r;
}

CUresult xs_do_cuStreamBeginCapture(CUstream stream)
{
    BEGIN(stream, XS_REAL(cuStreamBeginCapture)(stream));
}

CUresult xs_do_cuStreamBeginCapture_ptsz(CUstream stream)
{
    BEGIN(stream, XS_REAL(cuStreamBeginCapture_ptsz)(stream));
}

CUresult xs_do_cuStreamBeginCapture_v2(CUstream stream, CUstreamCaptureMode mode)
{
    BEGIN(stream, XS_REAL(cuStreamBeginCapture_v2)(stream, mode));
}

CUresult xs_do_cuStreamBeginCapture_v2_ptsz(CUstream stream, CUstreamCaptureMode mode)
{
    BEGIN(stream, XS_REAL(cuStreamBeginCapture_v2_ptsz)(stream, mode));
}

CUresult xs_do_cuStreamBeginCaptureToGraph(CUstream stream, CUgraph graph,
                                           const CUgraphNode *dependencies,
                                           const CUgraphEdgeData *edges, size_t count,
                                           CUstreamCaptureMode mode)
{
    BEGIN(stream,
          XS_REAL(cuStreamBeginCaptureToGraph)(stream, graph, dependencies, edges, count, mode));
}

CUresult xs_do_cuStreamBeginCaptureToGraph_ptsz(CUstream stream, CUgraph graph,
                                                const CUgraphNode *dependencies,
                                                const CUgraphEdgeData *edges, size_t count,
                                                CUstreamCaptureMode mode)
{
    BEGIN(stream, XS_REAL(cuStreamBeginCaptureToGraph_ptsz)(stream, graph, dependencies, edges,
                                                            count, mode));
}

CUresult xs_do_cuStreamBeginRecaptureToGraph(CUstream stream, CUstreamCaptureMode mode,
                                             CUgraph graph, void (*differs)(void), void *data)
{
    BEGIN(stream, XS_REAL(cuStreamBeginRecaptureToGraph)(stream, mode, graph, differs, data));
}

CUresult xs_do_cuStreamBeginRecaptureToGraph_ptsz(CUstream stream, CUstreamCaptureMode mode,
                                                  CUgraph graph, void (*differs)(void), void *data)
{
    BEGIN(stream, XS_REAL(cuStreamBeginRecaptureToGraph_ptsz)(stream, mode, graph, differs, data));
}

CUresult xs_do_cuStreamBeginCaptureToCig(CUstream stream, void *how)
{
    BEGIN(stream, XS_REAL(cuStreamBeginCaptureToCig)(stream, how));
}

CUresult xs_do_cuStreamBeginCaptureToCig_ptsz(CUstream stream, void *how)
{
    BEGIN(stream, XS_REAL(cuStreamBeginCaptureToCig_ptsz)(stream, how));
}

CUresult xs_do_cuStreamEndCapture(CUstream stream, CUgraph *out)
{
    return after_end(XS_REAL(cuStreamEndCapture)(stream, out), key_of(stream));
}

CUresult xs_do_cuStreamEndCapture_ptsz(CUstream stream, CUgraph *out)
{
    return after_end(XS_REAL(cuStreamEndCapture_ptsz)(stream, out), key_of(stream));
}

CUresult xs_do_cuStreamEndCaptureToCig(CUstream stream)
{
    return after_end(XS_REAL(cuStreamEndCaptureToCig)(stream), key_of(stream));
}

CUresult xs_do_cuStreamEndCaptureToCig_ptsz(CUstream stream)
{
    return after_end(XS_REAL(cuStreamEndCaptureToCig_ptsz)(stream), key_of(stream));
}

static void before_destroy(CUstream stream)
{
    if ((uintptr_t)stream <= (uintptr_t)CU_STREAM_PER_THREAD)
        return; /* the driver will say what it thinks of that */
    abandon(NULL, stream);
    xs_gpu_stream_gone(stream);
}

CUresult xs_do_cuStreamDestroy(CUstream stream)
{
    before_destroy(stream);
    return XS_REAL(cuStreamDestroy)(stream);
}

CUresult xs_do_cuStreamDestroy_v2(CUstream stream)
{
    before_destroy(stream);
    return XS_REAL(cuStreamDestroy_v2)(stream);
}

/* ---- contexts --------------------------------------------------------------------------- */

static CUresult made_context(CUresult r, const CUcontext *out)
{
    if (r == CUDA_SUCCESS)
        xs_gpu_after_context(*out);
    return r;
}

/* A context takes some hundreds of MiB. There may be none yet to go by, but the device is named. */
#define RETRY_OF(device, result, call) XS_SHIM_RETRY_AFTER(xs_gpu_flush_of(device), result, call)

CUresult xs_do_cuCtxCreate(CUcontext *out, unsigned int flags, CUdevice device)
{
    RETRY_OF(device, r, XS_REAL(cuCtxCreate)(out, flags, device));
    return made_context(r, out);
}

CUresult xs_do_cuCtxCreate_v2(CUcontext *out, unsigned int flags, CUdevice device)
{
    RETRY_OF(device, r, XS_REAL(cuCtxCreate_v2)(out, flags, device));
    return made_context(r, out);
}

CUresult xs_do_cuCtxCreate_v3(CUcontext *out, CUexecAffinityParam *affinity, int count,
                              unsigned int flags, CUdevice device)
{
    RETRY_OF(device, r, XS_REAL(cuCtxCreate_v3)(out, affinity, count, flags, device));
    return made_context(r, out);
}

CUresult xs_do_cuCtxCreate_v4(CUcontext *out, CUctxCreateParams *params, unsigned int flags,
                              CUdevice device)
{
    RETRY_OF(device, r, XS_REAL(cuCtxCreate_v4)(out, params, flags, device));
    return made_context(r, out);
}

CUresult xs_do_cuGLCtxCreate(CUcontext *out, unsigned int flags, CUdevice device)
{
    RETRY_OF(device, r, XS_REAL(cuGLCtxCreate)(out, flags, device));
    return made_context(r, out);
}

CUresult xs_do_cuGLCtxCreate_v2(CUcontext *out, unsigned int flags, CUdevice device)
{
    RETRY_OF(device, r, XS_REAL(cuGLCtxCreate_v2)(out, flags, device));
    return made_context(r, out);
}

CUresult xs_do_cuVDPAUCtxCreate(CUcontext *out, unsigned int flags, CUdevice device, uint32_t vdp,
                                void (*look_up)(void))
{
    RETRY_OF(device, r, XS_REAL(cuVDPAUCtxCreate)(out, flags, device, vdp, look_up));
    return made_context(r, out);
}

CUresult xs_do_cuVDPAUCtxCreate_v2(CUcontext *out, unsigned int flags, CUdevice device,
                                   uint32_t vdp, void (*look_up)(void))
{
    RETRY_OF(device, r, XS_REAL(cuVDPAUCtxCreate_v2)(out, flags, device, vdp, look_up));
    return made_context(r, out);
}

static void before_context_goes(CUcontext ctx)
{
    if (ctx == NULL)
        return;
    abandon(ctx, NULL);
    xs_gpu_context_gone(ctx);
}

CUresult xs_do_cuCtxDestroy(CUcontext ctx)
{
    before_context_goes(ctx);
    return XS_REAL(cuCtxDestroy)(ctx);
}

CUresult xs_do_cuCtxDestroy_v2(CUcontext ctx)
{
    before_context_goes(ctx);
    return XS_REAL(cuCtxDestroy_v2)(ctx);
}

CUresult xs_do_cuCtxDetach(CUcontext ctx)
{
    before_context_goes(ctx);
    return XS_REAL(cuCtxDetach)(ctx);
}

/* A context made of a green one goes with that. */
XS_UNLIKELY_DATA static struct {
    struct xs_lock lock;
    struct {
        CUgreenCtx green;
        CUcontext ctx;
    } at[32];
} greens;

static bool note_green(CUgreenCtx green, CUcontext ctx)
{
    bool is_new = true;
    unsigned place = XS_COUNT_OF(greens.at);

    xs_lock_take(&greens.lock);
    for (unsigned i = 0; i < XS_COUNT_OF(greens.at); i++) {
        if (greens.at[i].green == green && greens.at[i].ctx == ctx)
            is_new = false;
        else if (greens.at[i].green == NULL)
            place = i;
    }
    if (is_new && place < XS_COUNT_OF(greens.at)) {
        greens.at[place].green = green;
        greens.at[place].ctx = ctx;
    }
    xs_lock_give(&greens.lock);
    return is_new;
}

CUresult xs_do_cuGreenCtxCreate(CUgreenCtx *out, CUdevResourceDesc what, CUdevice device,
                                unsigned int flags)
{
    RETRY_OF(device, r, XS_REAL(cuGreenCtxCreate)(out, what, device, flags));
    return r;
}

CUresult xs_do_cuCtxFromGreenCtx(CUcontext *out, CUgreenCtx green)
{
    CUresult r = XS_REAL(cuCtxFromGreenCtx)(out, green);

    return r == CUDA_SUCCESS && note_green(green, *out) ? made_context(r, out) : r;
}

/* Its work is another context's than the present one's, which the program need never ask for. */
CUresult xs_do_cuGreenCtxStreamCreate(CUstream *out, CUgreenCtx green, unsigned int flags,
                                      int priority)
{
    CUcontext ctx;

    xs_gpu_before_stream();
    XS_SHIM_RETRY(r, XS_REAL(cuGreenCtxStreamCreate)(out, green, flags, priority));
    if (r == CUDA_SUCCESS)
        (void)xs_do_cuCtxFromGreenCtx(&ctx, green);
    return made_stream(r, out, flags);
}

CUresult xs_do_cuGreenCtxDestroy(CUgreenCtx green)
{
    CUcontext ctx = NULL;

    xs_lock_take(&greens.lock);
    for (unsigned i = 0; green != NULL && i < XS_COUNT_OF(greens.at); i++)
        if (greens.at[i].green == green) {
            ctx = greens.at[i].ctx;
            greens.at[i].green = NULL;
        }
    xs_lock_give(&greens.lock);
    before_context_goes(ctx);
    return XS_REAL(cuGreenCtxDestroy)(green);
}

/* ---- primary contexts ------------------------------------------------------------------- */

/* Retained by everybody, and there until all have released it. */
XS_UNLIKELY_DATA static struct {
    struct xs_lock lock;
    struct {
        CUcontext ctx;
        unsigned retained; /* as far as we saw */
    } of[XS_GPU_DEVICES_MAX];
} primary;

static bool is_device(CUdevice device)
{
    return device >= 0 && device < XS_GPU_DEVICES_MAX;
}

CUresult xs_do_cuDevicePrimaryCtxRetain(CUcontext *out, CUdevice device)
{
    bool is_new = true;

    RETRY_OF(device, r, XS_REAL(cuDevicePrimaryCtxRetain)(out, device));
    if (r != CUDA_SUCCESS)
        return r;
    if (is_device(device)) {
        xs_lock_take(&primary.lock);
        is_new = primary.of[device].ctx != *out;
        primary.of[device].ctx = *out;
        primary.of[device].retained++;
        xs_lock_give(&primary.lock);
    }
    return is_new ? made_context(r, out) : r;
}

static void primary_goes(CUdevice device, bool all)
{
    CUcontext ctx = NULL;

    if (!is_device(device))
        return;
    xs_lock_take(&primary.lock);
    if (primary.of[device].retained > 0)
        primary.of[device].retained--;
    if (all || primary.of[device].retained == 0) {
        ctx = primary.of[device].ctx;
        primary.of[device].ctx = NULL;
        primary.of[device].retained = 0;
    }
    xs_lock_give(&primary.lock);
    if (ctx != NULL)
        abandon(ctx, NULL);
    if (ctx != NULL || all)
        xs_gpu_device_reset(device);
}

CUresult xs_do_cuDevicePrimaryCtxRelease(CUdevice device)
{
    primary_goes(device, false);
    return XS_REAL(cuDevicePrimaryCtxRelease)(device);
}

CUresult xs_do_cuDevicePrimaryCtxRelease_v2(CUdevice device)
{
    primary_goes(device, false);
    return XS_REAL(cuDevicePrimaryCtxRelease_v2)(device);
}

CUresult xs_do_cuDevicePrimaryCtxReset(CUdevice device)
{
    primary_goes(device, true);
    return XS_REAL(cuDevicePrimaryCtxReset)(device);
}

CUresult xs_do_cuDevicePrimaryCtxReset_v2(CUdevice device)
{
    primary_goes(device, true);
    return XS_REAL(cuDevicePrimaryCtxReset_v2)(device);
}

/* ---- fork ------------------------------------------------------------------------------- */

void xs_shim_streams_forked(void)
{
    xs_lock_reset(&captures.lock);
    captures.count = captures.lost = 0;
    xs_lock_reset(&greens.lock);
    memset(greens.at, 0, sizeof(greens.at));
    xs_lock_reset(&primary.lock);
    memset(primary.of, 0, sizeof(primary.of));
}

/* ---- waits for a whole context ---------------------------------------------------------- */

CUresult xs_do_cuCtxSynchronize(void)
{
    CUcontext ctx = NULL;
    uint64_t e = xs_gpu_before_sync();
    CUresult r = XS_REAL(cuCtxSynchronize)();

    if (r != CUDA_SUCCESS)
        xs_gpu_sync_failed();
    else if (xs_cu.cuCtxGetCurrent(&ctx) == CUDA_SUCCESS && ctx != NULL)
        xs_gpu_after_sync(ctx, e);
    return r;
}

CUresult xs_do_cuCtxSynchronize_v2(CUcontext ctx)
{
    uint64_t e = xs_gpu_before_sync();
    CUresult r = XS_REAL(cuCtxSynchronize_v2)(ctx);

    if (r != CUDA_SUCCESS)
        xs_gpu_sync_failed();
    else if ((ctx != NULL || xs_cu.cuCtxGetCurrent(&ctx) == CUDA_SUCCESS) && ctx != NULL)
        xs_gpu_after_sync(ctx, e);
    return r;
}
