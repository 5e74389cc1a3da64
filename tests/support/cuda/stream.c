/* stream.c - the calls on streams and events, and launches. */
#include "state.h"

#include <stdlib.h>

/* Both forms of a call: with the legacy stream and with the thread's own behind a null handle. */
#define BOTH(symbol, flags, parameters, call)                                                      \
    CUresult symbol parameters                                                                     \
    {                                                                                              \
        ENTER(flags);                                                                              \
        const bool per_thread = false;                                                             \
        LEAVE(call);                                                                               \
    }                                                                                              \
    CUresult symbol##_ptsz parameters                                                              \
    {                                                                                              \
        ENTER(flags);                                                                              \
        const bool per_thread = true;                                                              \
        LEAVE(call);                                                                               \
    }

/* ---- streams ---- */

static CUresult create(CUstream *out, unsigned int flags, int priority)
{
    if (out == NULL || flags > CU_STREAM_NON_BLOCKING)
        return CUDA_ERROR_INVALID_VALUE;
    return fk_stream_new(fk_current(), flags, priority, 0, out);
}

CUresult cuStreamCreate(CUstream *out, unsigned int flags)
{
    ENTER(NEEDS_CONTEXT);
    LEAVE(create(out, flags, 0));
}

CUresult cuStreamCreateWithPriority(CUstream *out, unsigned int flags, int priority)
{
    ENTER(NEEDS_CONTEXT);
    LEAVE(create(out, flags, priority));
}

static CUresult spoil(CUstream s)
{
    s->capture->status = CU_STREAM_CAPTURE_STATUS_INVALIDATED;
    return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
}

CUresult cuStreamDestroy_v2(CUstream s)
{
    ENTER(NEEDS_CONTEXT);
    CHECK(fk_stream_is(s) && s != s->ctx->legacy && s->thread == 0, CUDA_ERROR_INVALID_HANDLE);
    if (s->capture != NULL)
        LEAVE(spoil(s));
    fk_stream_end(s);
    LEAVE(CUDA_SUCCESS);
}

static CUresult synchronize(CUstream handle, bool per_thread)
{
    CUstream s = fk_stream(handle, per_thread);
    if (s == NULL)
        return CUDA_ERROR_INVALID_HANDLE;
    if (s->capture != NULL)
        return spoil(s);
    struct fake_clock until = s->clock;
    return fk_wait(&until, "cuStreamSynchronize");
}
BOTH(cuStreamSynchronize, NEEDS_CONTEXT | UNSAFE, (CUstream s), synchronize(s, per_thread))

static CUresult query(CUstream handle, bool per_thread)
{
    CUstream s = fk_stream(handle, per_thread);
    if (s == NULL)
        return CUDA_ERROR_INVALID_HANDLE;
    if (s->capture != NULL)
        return spoil(s);
    fk_progress();
    return fk_clock_done(&s->clock) ? CUDA_SUCCESS : CUDA_ERROR_NOT_READY;
}
BOTH(cuStreamQuery, NEEDS_CONTEXT | UNSAFE, (CUstream s), query(s, per_thread))

static CUresult get_context(CUstream handle, CUcontext *out, bool per_thread)
{
    CUstream s = fk_stream(handle, per_thread);
    if (s == NULL || out == NULL)
        return s == NULL ? CUDA_ERROR_INVALID_HANDLE : CUDA_ERROR_INVALID_VALUE;
    *out = s->ctx;
    return CUDA_SUCCESS;
}
static CUresult get_context2(CUstream handle, CUcontext *out, CUgreenCtx *green, bool per_thread)
{
    if (green != NULL)
        *green = NULL;
    return get_context(handle, out, per_thread);
}
BOTH(cuStreamGetCtx, NEEDS_CONTEXT, (CUstream s, CUcontext *out), get_context(s, out, per_thread))
BOTH(cuStreamGetCtx_v2, NEEDS_CONTEXT, (CUstream s, CUcontext *out, CUgreenCtx *green),
     get_context2(s, out, green, per_thread))

static CUresult get_flags(CUstream handle, unsigned int *out, bool per_thread)
{
    CUstream s = fk_stream(handle, per_thread);
    if (s == NULL || out == NULL)
        return s == NULL ? CUDA_ERROR_INVALID_HANDLE : CUDA_ERROR_INVALID_VALUE;
    *out = s->flags;
    return CUDA_SUCCESS;
}
BOTH(cuStreamGetFlags, NEEDS_CONTEXT, (CUstream s, unsigned int *out),
     get_flags(s, out, per_thread))

static CUresult get_id(CUstream handle, unsigned long long *out, bool per_thread)
{
    CUstream s = fk_stream(handle, per_thread);
    if (s == NULL || out == NULL)
        return s == NULL ? CUDA_ERROR_INVALID_HANDLE : CUDA_ERROR_INVALID_VALUE;
    *out = s->id;
    return CUDA_SUCCESS;
}
BOTH(cuStreamGetId, NEEDS_CONTEXT, (CUstream s, unsigned long long *out),
     get_id(s, out, per_thread))

/* ---- events ---- */

CUresult cuEventCreate(CUevent *out, unsigned int flags)
{
    ENTER(NEEDS_CONTEXT);
    CHECK(out != NULL && flags < 8, CUDA_ERROR_INVALID_VALUE);
    CUevent e = calloc(1, sizeof *e);
    CHECK(e != NULL, CUDA_ERROR_OUT_OF_MEMORY);
    e->ctx = fk_current();
    e->flags = flags;
    *out = e;
    LEAVE(CUDA_SUCCESS);
}

CUresult cuEventDestroy_v2(CUevent e)
{
    ENTER(NEEDS_CONTEXT);
    CHECK(e != NULL, CUDA_ERROR_INVALID_HANDLE);
    free(e);
    LEAVE(CUDA_SUCCESS);
}

static CUresult record(CUevent e, CUstream handle, bool per_thread)
{
    CUstream s = fk_stream(handle, per_thread);
    if (e == NULL || s == NULL || s->ctx != e->ctx)
        return CUDA_ERROR_INVALID_HANDLE;
    if (s->capture == NULL && s == s->ctx->legacy) {
        CUresult r = fk_capture_refuses_legacy(s);
        if (r != CUDA_SUCCESS)
            return r;
    }
    e->recorded = true;
    e->capture = s->capture;
    e->capture_id = s->capture != NULL ? s->capture->id : 0;
    if (s->capture == NULL)
        e->clock = *fk_stream_clock(s);
    return CUDA_SUCCESS;
}
BOTH(cuEventRecord, NEEDS_CONTEXT, (CUevent e, CUstream s), record(e, s, per_thread))
BOTH(cuEventRecordWithFlags, NEEDS_CONTEXT, (CUevent e, CUstream s, unsigned int flags),
     flags > 1 ? CUDA_ERROR_INVALID_VALUE : record(e, s, per_thread))

static CUresult wait_event(CUstream handle, CUevent e, bool per_thread)
{
    CUstream s = fk_stream(handle, per_thread);
    if (e == NULL || s == NULL)
        return CUDA_ERROR_INVALID_HANDLE;
    struct capture *c = fk_capture_of_event(e);
    if (c != NULL) { /* the stream joins the capture */
        if (s->capture != NULL && s->capture != c)
            return CUDA_ERROR_STREAM_CAPTURE_ISOLATION;
        if (s == s->ctx->legacy)
            return CUDA_ERROR_STREAM_CAPTURE_IMPLICIT;
        s->capture = c;
        return CUDA_SUCCESS;
    }
    if (s->capture != NULL) { /* on work outside of the capture, which the graph cannot name */
        s->capture->status = CU_STREAM_CAPTURE_STATUS_INVALIDATED;
        return CUDA_ERROR_STREAM_CAPTURE_ISOLATION;
    }
    fk_stream_clock(s);
    fk_clock_merge(&s->clock, &e->clock);
    return CUDA_SUCCESS;
}
BOTH(cuStreamWaitEvent, NEEDS_CONTEXT, (CUstream s, CUevent e, unsigned int flags),
     flags > 1 ? CUDA_ERROR_INVALID_VALUE : wait_event(s, e, per_thread))

CUresult cuEventQuery(CUevent e)
{
    ENTER(NEEDS_CONTEXT | UNSAFE);
    CHECK(e != NULL, CUDA_ERROR_INVALID_HANDLE);
    CHECK(e->capture == NULL, CUDA_ERROR_CAPTURED_EVENT);
    fk_progress();
    LEAVE(fk_clock_done(&e->clock) ? CUDA_SUCCESS : CUDA_ERROR_NOT_READY);
}

CUresult cuEventSynchronize(CUevent e)
{
    ENTER(NEEDS_CONTEXT | UNSAFE);
    CHECK(e != NULL, CUDA_ERROR_INVALID_HANDLE);
    CHECK(e->capture == NULL, CUDA_ERROR_CAPTURED_EVENT);
    struct fake_clock until = e->clock;
    LEAVE(fk_wait(&until, __func__));
}

static CUresult elapsed(float *ms, CUevent a, CUevent b)
{
    if (ms == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    if (a == NULL || b == NULL || !a->recorded || !b->recorded ||
        ((a->flags | b->flags) & CU_EVENT_DISABLE_TIMING) != 0)
        return CUDA_ERROR_INVALID_HANDLE;
    *ms = 1; /* there is no time to tell */
    return fk_clock_done(&a->clock) && fk_clock_done(&b->clock) ? CUDA_SUCCESS
                                                                : CUDA_ERROR_NOT_READY;
}
CUresult cuEventElapsedTime(float *ms, CUevent a, CUevent b)
{
    ENTER(NEEDS_CONTEXT);
    LEAVE(elapsed(ms, a, b));
}
CUresult cuEventElapsedTime_v2(float *ms, CUevent a, CUevent b)
{
    ENTER(NEEDS_CONTEXT);
    LEAVE(elapsed(ms, a, b));
}

/* ---- events of a whole context ---- */

static CUresult context_for_event(CUcontext *ctx, CUevent e)
{
    *ctx = *ctx != NULL ? *ctx : fk_current();
    if (*ctx == NULL || !fk_context_ok(*ctx))
        return CUDA_ERROR_INVALID_CONTEXT;
    if (e == NULL)
        return CUDA_ERROR_INVALID_HANDLE;
    if (fk_context_captures(*ctx)) {
        fk_captures_of_context_spoil(*ctx);
        return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    }
    return CUDA_SUCCESS;
}

CUresult cuCtxRecordEvent(CUcontext ctx, CUevent e)
{
    ENTER(0);
    CUresult r = context_for_event(&ctx, e);
    CHECK(r == CUDA_SUCCESS, r);
    CHECK(e->ctx == ctx, CUDA_ERROR_INVALID_HANDLE);
    CHECK(ctx->sticky == CUDA_SUCCESS, ctx->sticky);
    e->recorded = true;
    e->capture = NULL;
    e->clock = (struct fake_clock){0};
    fk_context_clock(ctx, &e->clock);
    LEAVE(CUDA_SUCCESS);
}

CUresult cuCtxWaitEvent(CUcontext ctx, CUevent e)
{
    ENTER(0);
    CUresult r = context_for_event(&ctx, e);
    CHECK(r == CUDA_SUCCESS, r);
    CHECK(fk_capture_of_event(e) == NULL, CUDA_ERROR_CAPTURED_EVENT);
    CHECK(ctx->sticky == CUDA_SUCCESS, ctx->sticky);
    for (unsigned i = 0; i < fake.nslots; i++)
        if (fake.slot[i].stream != NULL && fake.slot[i].stream->ctx == ctx)
            fk_clock_merge(&fake.slot[i].stream->clock, &e->clock);
    fk_clock_merge(&ctx->waited, &e->clock);
    LEAVE(CUDA_SUCCESS);
}

/* ---- launches ---- */

static CUresult launch(CUfunction f, CUstream handle, void **params, void **extra, bool per_thread,
                       bool early)
{
    CUstream s = fk_stream(handle, per_thread);
    const struct fake_kernel *k = (const void *)f;
    if (s == NULL || f == NULL)
        return CUDA_ERROR_INVALID_HANDLE;
    if (k->ranges > 4 || (k->ranges != 0 && params == NULL) || extra != NULL)
        return CUDA_ERROR_INVALID_VALUE;
    struct op op = {.kind = OP_KERNEL, .what = k->name, .early = early, .u.kernel.body = k->body};
    for (unsigned i = 0; i < k->ranges; i++) {
        uint64_t p = *(CUdeviceptr *)params[2 * i];
        op.range[op.nranges++] = (struct range){p, p + *(size_t *)params[2 * i + 1], 0};
    }
    return fk_submit(s, &op);
}

BOTH(cuLaunchKernel, NEEDS_CONTEXT,
     (CUfunction f, unsigned int gx, unsigned int gy, unsigned int gz, unsigned int bx,
      unsigned int by, unsigned int bz, unsigned int shared, CUstream s, void **params,
      void **extra),
     ((void)gx, (void)gy, (void)gz, (void)bx, (void)by, (void)bz, (void)shared,
      launch(f, s, params, extra, per_thread, false)))

static bool is_early(const CUlaunchConfig *config)
{
    for (unsigned i = 0; i < config->numAttrs; i++)
        if (config->attrs[i].id == CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION &&
            config->attrs[i].value.programmaticStreamSerializationAllowed != 0)
            return true;
    return false;
}

BOTH(cuLaunchKernelEx, NEEDS_CONTEXT,
     (const CUlaunchConfig *config, CUfunction f, void **params, void **extra),
     config == NULL ? CUDA_ERROR_INVALID_VALUE
                    : launch(f, config->hStream, params, extra, per_thread, is_early(config)))

static CUresult host(CUstream handle, CUhostFn fn, CUstreamCallback callback, void *data,
                     bool per_thread)
{
    CUstream s = fk_stream(handle, per_thread);
    if (s == NULL)
        return CUDA_ERROR_INVALID_HANDLE;
    if (fn == NULL && callback == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    if (callback != NULL && s->capture != NULL)
        return spoil(s);
    struct op op = {
        .kind = OP_HOST, .what = "a host function", .u.host = {fn, callback, handle, data}};
    return fk_submit(s, &op);
}
BOTH(cuLaunchHostFunc, NEEDS_CONTEXT, (CUstream s, CUhostFn fn, void *data),
     host(s, fn, NULL, data, per_thread))
BOTH(cuStreamAddCallback, NEEDS_CONTEXT,
     (CUstream s, CUstreamCallback fn, void *data, unsigned int flags),
     flags != 0 ? CUDA_ERROR_INVALID_VALUE : host(s, NULL, fn, data, per_thread))
