/* Proof of completion: an event for a whole context, where the driver knows such (12.5), or one for
 * each stream that was made. The latter has gaps, in which nothing is proven but by a wait of the
 * program's own: streams that we have not seen made, more of them than we have events for, and
 * default streams of other threads, on which nobody but these can record. */
#include "gpu/epoch.h"

enum { STREAMS = 256, ROUNDS_PATIENT = 4 };

/* Under the lock of epochs. */
XS_UNLIKELY_DATA static struct {
    CUstream stream;
    struct xs_gpu_context *context;
} streams[STREAMS];
/* Announced and not known: the default stream of a thread, or more streams than there is room for.
 */
static _Atomic uint32_t unseen;

void xs_gpu_before_stream(void)
{
    if (xs_gpu_is_child())
        return;
    atomic_fetch_add_explicit(&unseen, 1, memory_order_seq_cst);
    xs_gpu_leave_single();
}

void xs_gpu_after_stream(CUstream s, unsigned flags)
{
    CUcontext handle = NULL;
    bool found = false;

    (void)flags;
    if (!xs_gpu_is_on() || xs_cu.cuCtxGetCurrent(&handle) != CUDA_SUCCESS)
        return;
    struct xs_gpu_context *c = xs_gpu_context_of(handle);
    xs_gpu_epoch_lock();
    for (unsigned i = 0; i < STREAMS && c != NULL && !found; i++)
        if (streams[i].stream == NULL) {
            streams[i].stream = s;
            streams[i].context = c;
            found = true;
        }
    if (found) /* now: no epoch is being closed meanwhile */
        atomic_fetch_sub_explicit(&unseen, 1, memory_order_seq_cst);
    xs_gpu_epoch_unlock();
}

void xs_gpu_no_stream(void)
{
    if (!xs_gpu_is_child())
        atomic_fetch_sub_explicit(&unseen, 1, memory_order_seq_cst);
}

static CUresult spare_event(struct xs_gpu_context *c, CUevent *out)
{
    CUresult r = CUDA_SUCCESS;

    if (c->spare_count == 0) {
        r = xs_cu.cuEventCreate(out, CU_EVENT_DISABLE_TIMING);
        if (r == CUDA_SUCCESS)
            c->spare[c->spare_count++] = *out;
    }
    if (r == CUDA_SUCCESS)
        *out = c->spare[--c->spare_count];
    return r;
}

/* The context is the thread's own. Room is the caller's affair. */
static CUresult record_on(struct xs_gpu_context *c, CUcontext whole, CUstream s, uint64_t epoch,
                          bool is_last, uint64_t *events)
{
    CUevent event;
    CUresult r = spare_event(c, &event);

    if (r != CUDA_SUCCESS)
        return r;
    r = whole != NULL ? xs_cu.cuCtxRecordEvent(whole, event) : xs_cu.cuEventRecord(event, s);
    *events += r == CUDA_SUCCESS;
    if (r == CUDA_SUCCESS)
        c->pending[c->pending_count++] = (struct xs_gpu_proof){epoch, event, is_last};
    else
        c->spare[c->spare_count++] = event;
    return r;
}

static unsigned count_streams(const struct xs_gpu_context *c)
{
    unsigned n = 0;

    for (unsigned i = 0; i < STREAMS; i++)
        n += streams[i].stream != NULL && streams[i].context == c;
    return n;
}

/* The event says as much as all looks at the stream before it. */
static void be_no_longer_patient(struct xs_gpu_context *c)
{
    unsigned n = 0;

    for (unsigned i = 0; i < c->pending_count; i++)
        if (c->pending[i].event != NULL)
            c->pending[n++] = c->pending[i];
    c->pending_count = n;
}

static CUresult record_streams(struct xs_gpu_context *c, uint64_t epoch, uint64_t *events)
{
    unsigned rounds = 0;
    CUresult r = CUDA_SUCCESS;

    if (atomic_load_explicit(&unseen, memory_order_seq_cst) != 0 ||
        c->pending_count + count_streams(c) + 1 > XS_GPU_PENDING)
        return CUDA_ERROR_NOT_READY;
    for (unsigned i = 0; i < STREAMS && r == CUDA_SUCCESS; i++)
        if (streams[i].stream != NULL && streams[i].context == c)
            r = record_on(c, NULL, streams[i].stream, epoch, false, events);
    if (r != CUDA_SUCCESS)
        return r;
    /* An event in the legacy stream makes the blocking streams wait for each other: only if that
     * stream is never seen idle. */
    for (unsigned i = 0; i < c->pending_count; i++)
        rounds += c->pending[i].is_last;
    if (rounds >= ROUNDS_PATIENT || xs_gpu_is_single()) {
        r = record_on(c, NULL, CU_STREAM_LEGACY, epoch, true, events);
        if (r == CUDA_SUCCESS)
            be_no_longer_patient(c);
        return r;
    }
    c->pending[c->pending_count++] = (struct xs_gpu_proof){epoch, NULL, true};
    return CUDA_SUCCESS;
}

CUresult xs_gpu_record(struct xs_gpu_context *c, CUcontext handle, uint64_t epoch, uint64_t *events)
{
    enum { WHOLE_PENDING = 16 };
    CUresult r;

    if (xs_cu.cuCtxRecordEvent != NULL && c->pending_count >= WHOLE_PENDING)
        return CUDA_ERROR_NOT_READY;
    r = xs_cu.cuCtxPushCurrent_v2(handle);
    if (r != CUDA_SUCCESS)
        return r;
    r = xs_cu.cuCtxRecordEvent != NULL ? record_on(c, handle, NULL, epoch, true, events)
                                       : record_streams(c, epoch, events);
    xs_gpu_pop();
    return r;
}

CUresult xs_gpu_query(struct xs_gpu_context *c, const struct xs_gpu_proof *p)
{
    CUresult r;

    if (p->event != NULL)
        return xs_cu.cuEventQuery(p->event);
    r = xs_cu.cuCtxPushCurrent_v2(atomic_load_explicit(&c->handle, memory_order_relaxed));
    if (r != CUDA_SUCCESS)
        return r;
    r = xs_cu.cuStreamQuery(CU_STREAM_LEGACY);
    xs_gpu_pop();
    return r;
}

void xs_gpu_streams_forget(const struct xs_gpu_context *c)
{
    for (unsigned i = 0; i < STREAMS; i++)
        if (streams[i].context == c)
            streams[i].stream = NULL;
}

/* Its work goes on: later epochs must wait for it too. */
static _Atomic uint64_t streams_gone;

uint64_t xs_gpu_streams_gone(void)
{
    return atomic_load_explicit(&streams_gone, memory_order_acquire);
}

void xs_gpu_streams_go(void)
{
    atomic_fetch_add_explicit(&streams_gone, 1, memory_order_acq_rel);
}

void xs_gpu_stream_gone(CUstream s)
{
    xs_gpu_streams_go();
    if (!xs_gpu_is_on())
        return;
    uint64_t events = 0; /* not counted: they belong to no allocation */
    bool may_record = xs_gpu_gate_open();
    xs_gpu_epoch_lock();
    for (unsigned i = 0; i < STREAMS; i++) {
        if (streams[i].stream != s)
            continue;
        struct xs_gpu_context *c = streams[i].context;
        CUcontext handle = atomic_load_explicit(&c->handle, memory_order_relaxed);
        uint64_t open = atomic_load_explicit(&xs_gpu_epochs.open, memory_order_relaxed);
        CUresult r = CUDA_SUCCESS;
        streams[i].stream = NULL;
        if (xs_cu.cuCtxRecordEvent != NULL || handle == NULL)
            continue;
        if (!may_record || c->pending_count == XS_GPU_PENDING)
            r = CUDA_ERROR_NOT_READY;
        else if ((r = xs_cu.cuCtxPushCurrent_v2(handle)) == CUDA_SUCCESS) {
            r = record_on(c, NULL, s, open, false, &events);
            xs_gpu_pop();
        }
        if (r != CUDA_SUCCESS) /* from now on it is one that we know nothing of */
            atomic_fetch_add_explicit(&unseen, 1, memory_order_seq_cst);
    }
    xs_gpu_epoch_unlock();
    if (may_record)
        xs_gpu_gate_close();
}
