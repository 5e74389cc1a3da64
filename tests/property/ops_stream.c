/* ops_stream.c - operations that submit work, wait for it, capture it, and let time pass; and those
 * that make and end what it runs in. */
#include <stdatomic.h>
#include <string.h>

#include "fake.h"
#include "ops.h"

#define BIT(i) ((uint64_t)1 << (i))

__thread bool thread_ends;

/* ---- work ---- */

static void used(struct block *b, int s)
{
    b->users |= BIT(s);
    m.others |= m.stream[s].thread != NOBODY;
}

static CUresult launch_as(struct fake_kernel *k, CUstream s, struct block *const b[], unsigned n,
                          bool early)
{
    CUlaunchAttribute attribute = {.id = CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION,
                                   .value.programmaticStreamSerializationAllowed = early};
    CUlaunchConfig config = {.hStream = s, .attrs = &attribute, .numAttrs = 1};
    void *params[4];
    for (unsigned i = 0; i < n; i++) {
        params[2 * i] = &b[i]->p;
        params[2 * i + 1] = &b[i]->size;
    }
    fake_spare(true);
    CUresult r = early
                     ? cuLaunchKernelEx(&config, (CUfunction)(void *)k, params, NULL)
                     : cuLaunchKernel((CUfunction)(void *)k, 1, 1, 1, 1, 1, 1, 0, s, params, NULL);
    fake_spare(false);
    check(r == CUDA_SUCCESS || (r == CUDA_ERROR_STREAM_CAPTURE_INVALIDATED && m.injected),
          "the test's own launch gives %u", r);
    return r;
}

static CUresult launch(struct fake_kernel *k, CUstream s, struct block *const b[], unsigned n)
{
    return launch_as(k, s, b, n, false);
}

static int my_capture(void)
{
    for (int i = 0; i < MAX_CAPTURES; i++)
        if (m.capture[i].used && m.capture[i].thread == (int)me)
            return i;
    return NOBODY;
}

/* The graph's blocks live until it is gone. */
void captured_touch(int capture, uint32_t r)
{
    struct capture *c = &m.capture[capture];
    const struct stream *s = &m.stream[c->stream];
    if (c->npins == MAX_PINS || c->excused)
        return;
    struct block *b = block_take(r, any_block);
    if (b == NULL)
        return;
    m.thread_context[me] = s->context;
    if (here() != NOBODY) {
        say("captured touch of %#lx", b->p);
        c->excused |= launch(&fake_touch_kernel, s->handle, &b, 1) != CUDA_SUCCESS;
        b->pins++;
        c->pin[c->npins++] = b;
    }
    block_put(b);
}

static void touch_in(int s, uint32_t r)
{
    struct block *b = block_take(r, any_block);
    if (b == NULL)
        return;
    if (order(b, s, false)) {
        say("touch %#lx in stream %d", b->p, s);
        launch(&fake_touch_kernel, m.stream[s].handle, &b, 1);
        used(b, s);
    }
    block_put(b);
}

void op_touch(const struct op *op)
{
    int capture = my_capture();
    if (capture != NOBODY && op->r[3] % 2 == 0) {
        captured_touch(capture, op->r[0]);
        return;
    }
    int s = stream_take(op->r[1]);
    struct block *b[2] = {s != NOBODY ? block_take(op->r[0], any_block) : NULL, NULL};
    if (b[0] == NULL)
        return;
    if (op->r[2] % 3 == 0)
        b[1] = block_take(op->r[3], any_block);
    unsigned n = b[1] != NULL ? 2 : 1;
    if (order(b[0], s, false) && (n == 1 || order(b[1], s, false))) {
        say("touch %#lx and %#lx in stream %d", b[0]->p, n > 1 ? b[1]->p : 0, s);
        launch(n > 1 ? &fake_touch2_kernel : &fake_touch_kernel, m.stream[s].handle, b, n);
        for (unsigned i = 0; i < n; i++)
            used(b[i], s);
    }
    for (unsigned i = 0; i < n; i++)
        block_put(b[i]);
}

/* By a kernel that may begin while what precedes it in its stream is at work. */
void op_touch_early(const struct op *op)
{
    int s = stream_take(op->r[1]);
    struct block *b = s != NOBODY ? block_take(op->r[0], any_block) : NULL;
    if (b == NULL)
        return;
    if (order(b, s, false)) {
        say("early touch of %#lx in stream %d", b->p, s);
        api_before_overlap();
        launch_as(&fake_touch_kernel, m.stream[s].handle, &b, 1, true);
        used(b, s);
    }
    block_put(b);
}

enum { HEAD = 256, TAIL = 64 };

/* A tag in its first and last bytes. */
void op_write(const struct op *op)
{
    int s = stream_take(op->r[1]);
    struct block *b = s != NOBODY ? block_take(op->r[0], any_block) : NULL;
    if (b == NULL)
        return;
    if (order(b, s, true)) {
        size_t head = b->size < HEAD ? b->size : HEAD, tail = b->size < TAIL ? b->size : TAIL;
        CUstream stream = m.stream[s].handle;
        b->tag = 1 + (int)(op->r[2] % 255);
        say("write %d to %#lx in stream %d", b->tag, b->p, s);
        fake_spare(true);
        CUresult r = cuMemsetD8Async(b->p, (unsigned char)b->tag, head, stream);
        if (r == CUDA_SUCCESS)
            r = cuMemsetD8Async(b->p + b->size - tail, (unsigned char)b->tag, tail, stream);
        fake_spare(false);
        check(r == CUDA_SUCCESS, "the test's own memset gives %u", r);
        used(b, s);
        b->writer = s;
    }
    block_put(b);
}

void op_verify(const struct op *op)
{
    struct block *b = block_take(op->r[0], any_block);
    if (b == NULL)
        return;
    if (b->tag != 0 && settle(b)) {
        const unsigned char *data = fake_shadow(P(b->p));
        size_t head = b->size < HEAD ? b->size : HEAD, tail = b->size < TAIL ? b->size : TAIL;
        for (size_t i = 0; i < head; i++)
            check(data[i] == b->tag, "byte %zu of %#lx is %u, not %d", i, b->p, data[i], b->tag);
        for (size_t i = b->size - tail; i < b->size; i++)
            check(data[i] == b->tag, "byte %zu of %#lx is %u, not %d", i, b->p, data[i], b->tag);
    }
    block_put(b);
}

static bool managed(const struct block *b)
{
    return b->kind == MANAGED;
}

void op_prefetch(const struct op *op)
{
    int s = stream_take(op->r[1]);
    struct block *b = s != NOBODY ? block_take(op->r[0], managed) : NULL;
    if (b == NULL)
        return;
    if (order(b, s, false)) {
        fake_spare(true);
        CUresult r = cuMemPrefetchAsync(b->p, b->size, device_here(), m.stream[s].handle);
        fake_spare(false);
        say("prefetch %#lx in stream %d: %u", b->p, s, r);
        b->users |= BIT(s);
    }
    block_put(b);
}

/* ---- time and waiting ---- */

void op_advance(const struct op *op)
{
    uint64_t seed = op->r[0];
    unsigned n = op->r[1] % 8 == 0 ? 1000 : 1 + op->r[1] % 6;
    n = fake_advance_random(&seed, n);
    say("%u pieces of work complete", n);
}

void op_context_sync(const struct op *op)
{
    (void)op;
    int c = here();
    say("synchronise context %d", c);
    if (c != NOBODY)
        sync_context(c);
}

void op_stream_sync(const struct op *op)
{
    int s = stream_take(op->r[0]);
    if (s == NOBODY || captures_here())
        return;
    say("synchronise stream %d", s);
    fake_spare(true);
    CUresult r = cuStreamSynchronize(m.stream[s].handle);
    fake_spare(false);
    check(r == CUDA_SUCCESS || (!m.p->turns && captures_here()),
          "the test's own synchronisation gives %u", r);
    lock();
    for (unsigned i = 0; m.p->turns && i < MAX_BLOCKS; i++) {
        m.block[i].users &= ~BIT(s);
        if (m.block[i].writer == s)
            m.block[i].writer = NOBODY;
    }
    unlock();
}

/* A stream waits for all that another was given. */
void op_event_order(const struct op *op)
{
    int from = stream_take(op->r[0]), to = stream_take(op->r[1]);
    if (from == NOBODY || to == NOBODY)
        return;
    CUevent e;
    fake_spare(true);
    CUresult r = cuEventCreate(&e, CU_EVENT_DISABLE_TIMING);
    if (r == CUDA_SUCCESS)
        r = cuEventRecord(e, m.stream[from].handle);
    if (r == CUDA_SUCCESS)
        r = cuStreamWaitEvent(m.stream[to].handle, e, 0);
    cuEventDestroy_v2(e);
    fake_spare(false);
    say("stream %d waits for %d", to, from);
    check(r == CUDA_SUCCESS, "the test's own event gives %u", r);
}

static bool others_use(const struct block *b)
{
    for (int s = 0; s < MAX_STREAMS; s++)
        if ((b->users & BIT(s)) && m.stream[s].context != b->context)
            return true;
    return false;
}

/* A kernel that runs on: nothing that gets memory may wait for it. */
void op_hold(const struct op *op)
{
    int s = stream_take(op->r[0]), device = device_here();
    if (s == NOBODY || captures_here() || m.p->tight || m.injected || m.poisoned)
        return;
    CUstream handle = m.stream[s].handle;
    say("a kernel runs on in stream %d", s);
    m.totals->held++;
    fake_hold(handle);
    for (unsigned i = 0; i < 1 + op->r[1] % 6; i++) {
        malloc_one(drawn_size(op->r[2] + 7 * i), op->r[3]);
        struct block *b =
            free_may_not_wait(device) && i % 2 ? block_take(op->r[3] + i, freeable) : NULL;
        if (b == NULL)
            continue;
        if (b->kind == DEVICE && !b->shared && b->lost == 0 && !others_use(b) &&
            m.context[b->context].device == device)
            free_one(b, 1);
        else
            block_put(b);
        check_violations();
    }
    m.thread_context[me] = m.stream[s].context;
    here();
    fake_release(handle);
    say("and ends");
}

/* ---- streams, contexts, threads ---- */

static bool plain(const struct block *b)
{
    return b->kind == DEVICE && freeable(b) && !b->shared;
}

/* Work, a free and an allocation of the same size, with no time in between. */
static void churn(uint32_t r)
{
    int s = stream_take(r);
    struct block *b = s != NOBODY ? block_take(r, plain) : NULL;
    if (b == NULL)
        return;
    size_t size = b->size;
    block_put(b);
    touch_in(s, r);
    b = block_take(r, plain);
    if (b == NULL)
        return;
    free_one(b, 1);
    malloc_one(size, r);
}

void op_stream_create(const struct op *op)
{
    CUstream s;
    int c = here(), made = 0;
    unsigned flags = op->r[0] % 2;
    lock();
    for (int i = 0; i < MAX_STREAMS; i++)
        made += m.stream[i].used;
    unlock();
    if (c == NOBODY || made >= MAX_STREAMS - MAX_THREADS * 2 || captures_here())
        return;
    for (unsigned i = 0; op->r[1] % 2 == 0 && i < 3; i++)
        churn(op->r[1] + i);
    c = here(); /* a free may have gone to another context */
    m.others = true;
    CUresult r = api_stream_create(&s, flags);
    say("stream of flags %u: %u", flags, r);
    check(r == CUDA_SUCCESS || m.injected, "cuStreamCreate gives %u", r);
    if (r != CUDA_SUCCESS)
        return;
    int made_now = stream_new(s, c, NOBODY, false, flags == 0);
    /* Put to use at once: what was reused by the order of the legacy stream alone is in its way. */
    for (unsigned i = 0; made_now != NOBODY && i < op->r[2] % 8; i++)
        touch_in(made_now, op->r[3] + i);
}

void op_stream_destroy(const struct op *op)
{
    int s = stream_take(op->r[0]);
    if (s == NOBODY || m.stream[s].legacy || m.stream[s].thread != NOBODY)
        return;
    CUresult r = api_stream_destroy(m.stream[s].handle);
    say("stream %d destroyed: %u", s, r);
    check(r == CUDA_SUCCESS || m.injected, "cuStreamDestroy gives %u", r);
    if (r == CUDA_SUCCESS)
        stream_gone(s);
}

void op_context_switch(const struct op *op)
{
    for (unsigned i = 0; i < MAX_CONTEXTS; i++) {
        int c = (int)((op->r[0] + i) % MAX_CONTEXTS);
        if (m.context[c].used) {
            m.thread_context[me] = c;
            break;
        }
    }
    say("context %d", here());
}

void op_context_create(const struct op *op)
{
    int c = 0;
    while (c < MAX_CONTEXTS && (m.context[c].used || c < m.p->devices))
        c++;
    if (c == MAX_CONTEXTS || captures_here())
        return;
    CUcontext ctx;
    int device = (int)(op->r[0] % (unsigned)m.p->devices);
    here();
    CUresult r = api_context_create(&ctx, device);
    say("context %d of device %d made: %u", c, device, r);
    check(r == CUDA_SUCCESS || m.injected, "cuCtxCreate gives %u", r);
    if (r != CUDA_SUCCESS)
        return;
    fake_spare(true);
    cuCtxPopCurrent_v2(&ctx);
    fake_spare(false);
    m.context[c] = (struct context){.used = true, .handle = ctx, .device = device};
    m.others = true;
    stream_new(CU_STREAM_LEGACY, c, NOBODY, true, true);
    m.thread_context[me] = c;
    here();
}

/* With all that lies in it: the driver takes the memory, when the context's own work is done. */
static void lose(int c)
{
    for (unsigned i = 0; i < MAX_BLOCKS; i++)
        if (m.block[i].used && m.block[i].context == c)
            settle_others(&m.block[i]);
    for (unsigned i = 0; i < MAX_BLOCKS; i++)
        if (m.block[i].used && m.block[i].context == c)
            block_lost(&m.block[i]);
    streams_of_context_gone(c);
}

void op_context_destroy(const struct op *op)
{
    if (captures_here())
        return;
    for (unsigned i = 0; i < MAX_CONTEXTS; i++) {
        int c = (int)((op->r[0] + i) % MAX_CONTEXTS);
        if (!m.context[c].used || m.context[c].primary)
            continue;
        here();
        lose(c);
        m.totals->resets++;
        CUresult r = api_context_destroy(m.context[c].handle);
        say("context %d destroyed: %u", c, r);
        check(r == CUDA_SUCCESS || m.injected, "cuCtxDestroy gives %u", r);
        m.context[c].used = false;
        return;
    }
}

void op_device_reset(const struct op *op)
{
    int d = (int)(op->r[0] % (unsigned)m.p->devices);
    if (captures_here() || here() == NOBODY)
        return;
    lose(d);
    m.totals->resets++;
    CUresult r = api_device_reset(d);
    say("device %d reset: %u", d, r);
    check(r == CUDA_SUCCESS || m.injected, "cuDevicePrimaryCtxReset gives %u", r);
    fake_spare(true);
    r = api_retain(&m.context[d].handle, d);
    fake_spare(false);
    check(r == CUDA_SUCCESS, "no primary context again: %u", r);
    stream_new(CU_STREAM_LEGACY, d, NOBODY, true, true);
}

/* Its successor gets its number. */
void op_thread_end(const struct op *op)
{
    (void)op;
    if (my_capture() != NOBODY)
        return;
    say("the thread ends");
    thread_ends = true;
}

/* ---- capture ---- */

static int free_capture(void)
{
    for (int i = 0; i < MAX_CAPTURES; i++)
        if (!m.capture[i].used)
            return i;
    return NOBODY;
}

void op_capture_begin(const struct op *op)
{
    int i = free_capture(), s = stream_take(op->r[0]);
    if (i == NOBODY || s == NOBODY || m.stream[s].legacy || my_capture() != NOBODY)
        return;
    CUstreamCaptureMode mode = op->r[1] % 3;
    CUresult r = api_capture_begin(m.stream[s].handle, mode);
    say("capture of stream %d begins, mode %u: %u", s, mode, r);
    check(r == CUDA_SUCCESS || m.injected, "cuStreamBeginCapture gives %u", r);
    if (r != CUDA_SUCCESS)
        return;
    m.capture[i] = (struct capture){.used = true, .stream = s, .thread = (int)me, .mode = mode};
    m.stream[s].capture = i;
    m.captured = true;
    m.open_captures++;
    m.totals->captures++;
}

static void launch_graph(struct capture *c, CUgraph graph, uint32_t r)
{
    CUgraphExec exec;
    fake_spare(true);
    CUresult result = cuGraphInstantiateWithFlags(&exec, graph, 0);
    fake_spare(false);
    check(result == CUDA_SUCCESS, "the test's own graph gives %u", result);
    for (unsigned n = r % 4; n > 0; n--) {
        int s = stream_take(r >> n);
        bool ordered = s != NOBODY;
        for (unsigned i = 0; i < c->npins && ordered; i++)
            ordered = order(c->pin[i], s, false);
        if (!ordered)
            continue;
        say("the graph is launched in stream %d", s);
        fake_spare(true);
        result = cuGraphLaunch(exec, m.stream[s].handle);
        fake_spare(false);
        check(result == CUDA_SUCCESS, "the test's own graph launch gives %u", result);
        for (unsigned i = 0; i < c->npins; i++)
            used(c->pin[i], s);
    }
    cuGraphExecDestroy(exec);
}

static void end_capture(struct capture *c, uint32_t r)
{
    CUgraph graph = NULL;
    m.thread_context[me] = m.stream[c->stream].context;
    here();
    fake_spare(true);
    CUresult result = api_capture_end(m.stream[c->stream].handle, &graph);
    fake_spare(false);
    say("capture of stream %d ends: %u", c->stream, result);
    m.stream[c->stream].capture = NOBODY;
    m.open_captures--;
    if (result != CUDA_SUCCESS) {
        m.totals->spoiled++;
        check(c->excused || m.injected || m.poisoned, "a capture was spoiled: %u", result);
    } else {
        launch_graph(c, graph, r);
        cuGraphDestroy(graph);
    }
    for (unsigned i = 0; i < c->npins; i++)
        c->pin[i]->pins--;
    c->used = false;
}

void op_capture_end(const struct op *op)
{
    int i = my_capture();
    if (i != NOBODY)
        end_capture(&m.capture[i], op->r[0]);
}

void close_captures(void)
{
    for (int i = my_capture(); i != NOBODY; i = my_capture())
        end_capture(&m.capture[i], 0);
}

/* In a thread among others: all of a capture, on a stream that only this thread knows, in the mode
 * that leaves the others alone. */
void op_capture_whole(const struct op *op)
{
    CUstream s;
    CUgraph graph = NULL;
    if (here() == NOBODY)
        return;
    m.others = true;
    if (api_stream_create(&s, CU_STREAM_NON_BLOCKING) != CUDA_SUCCESS)
        return;
    lock();
    bool may = m.syncing == 0;
    m.open_captures += may;
    unlock();
    if (may) {
        struct block *pin[4];
        unsigned pins = 0;
        m.totals->captures++;
        CUresult r = api_capture_begin(s, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL);
        check(r == CUDA_SUCCESS || m.injected, "cuStreamBeginCapture gives %u", r);
        for (unsigned i = 0; i < 4 && r == CUDA_SUCCESS; i++) {
            struct block *b = block_take(op->r[0] + 5 * i, freeable);
            if (b != NULL && i % 2 == 0) {
                launch(&fake_touch_kernel, s, &b, 1);
                pin[pins++] = b;
            } else if (b != NULL && b->kind == DEVICE) {
                free_one(b, 1);
            } else if (b != NULL) {
                block_put(b);
            }
        }
        if (r == CUDA_SUCCESS) {
            fake_spare(true);
            r = api_capture_end(s, &graph);
            fake_spare(false);
            check(r == CUDA_SUCCESS || m.injected, "another thread spoiled a capture: %u", r);
        }
        if (r == CUDA_SUCCESS)
            cuGraphDestroy(graph);
        lock();
        m.open_captures--;
        unlock();
        while (pins > 0)
            block_put(pin[--pins]);
    }
    api_stream_destroy(s);
}

/* ---- errors ---- */

void op_inject(const struct op *op)
{
    static const char *const symbols[] = {
        "cuMemAlloc_v2",       "cuMemFree_v2",    "cuCtxRecordEvent",      "cuEventQuery",
        "cuEventRecord",       "cuEventCreate",   "cuCtxSynchronize",      "cuMemAllocManaged",
        "cuMemHostAlloc",      "cuMemFreeHost",   "cuStreamSynchronize",   "cuMemGetInfo_v2",
        "cuCtxPushCurrent_v2", "cuCtxGetCurrent", "cuPointerGetAttribute", "cuMemPrefetchAsync",
    };
    static const CUresult codes[] = {CUDA_ERROR_OUT_OF_MEMORY, CUDA_ERROR_OUT_OF_MEMORY,
                                     CUDA_ERROR_UNKNOWN, CUDA_ERROR_ILLEGAL_ADDRESS,
                                     CUDA_ERROR_INVALID_VALUE};
    CUresult code = codes[op->r[1] % (sizeof codes / sizeof codes[0])];
    const char *symbol = symbols[op->r[2] % (sizeof symbols / sizeof symbols[0])];
    unsigned n = 1 + op->r[3] % 5;
    m.injected = true;
    m.totals->injected++;
    switch (op->r[0] % 3) {
    case 0:
        say("the call no. %u from now on gives %u", 3 * n, code);
        fake_fail_any(3 * n, code);
        break;
    case 1:
        say("call no. %u of %s gives %u", n, symbol, code);
        fake_fail(symbol, n, code);
        break;
    default:
        say("every call no. %u of %s gives %u", 1 + n, symbol, code);
        fake_fail_every(symbol, 1 + n, code);
    }
}

void op_poison(const struct op *op)
{
    if (captures_here())
        return;
    say("every context is broken from here on");
    m.poisoned = true;
    fake_poison(op->r[0] % 2 ? CUDA_ERROR_ILLEGAL_ADDRESS : CUDA_ERROR_LAUNCH_FAILED);
}
