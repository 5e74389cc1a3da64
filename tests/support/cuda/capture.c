/* capture.c - stream capture and the graphs that come of it.
 *
 * A captured graph is its work in order of submission; edges between its nodes are not kept, so a
 * launch of it is a chain in the stream it is launched in. */
#include "state.h"

#include <stdlib.h>
#include <string.h>

static __thread CUstreamCaptureMode thread_mode = CU_STREAM_CAPTURE_MODE_GLOBAL;

static void invalidate(struct capture *c)
{
    c->status = CU_STREAM_CAPTURE_STATUS_INVALIDATED;
}

/* A thread in global mode is bound by its own captures and by others' global ones; in thread-local
 * mode by its own; in relaxed mode by none. A relaxed capture binds nobody. */
CUresult fk_capture_refuses(void)
{
    CUresult r = CUDA_SUCCESS;
    if (fake.ncaptures == 0 || thread_mode == CU_STREAM_CAPTURE_MODE_RELAXED)
        return r;
    for (struct capture *c = fake.capture; c < fake.capture + FAKE_CAPTURES; c++) {
        if (c->id == 0 || c->mode == CU_STREAM_CAPTURE_MODE_RELAXED)
            continue;
        bool mine = c->thread == fk_thread();
        if (mine || (thread_mode == CU_STREAM_CAPTURE_MODE_GLOBAL &&
                     c->mode == CU_STREAM_CAPTURE_MODE_GLOBAL)) {
            invalidate(c);
            r = CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
        }
    }
    return r;
}

/* The legacy stream would wait for a blocking stream that is being captured. */
CUresult fk_capture_refuses_legacy(CUstream legacy)
{
    CUresult r = CUDA_SUCCESS;
    for (unsigned i = 0; fake.ncaptures != 0 && i < fake.nslots; i++) {
        CUstream s = fake.slot[i].stream;
        if (s != NULL && s->ctx == legacy->ctx && s->capture != NULL &&
            !(s->flags & CU_STREAM_NON_BLOCKING)) {
            invalidate(s->capture);
            r = CUDA_ERROR_STREAM_CAPTURE_IMPLICIT;
        }
    }
    return r;
}

bool fk_context_captures(CUcontext ctx)
{
    for (struct capture *c = fake.capture; c < fake.capture + FAKE_CAPTURES; c++)
        if (c->id != 0 && c->ctx == ctx)
            return true;
    return false;
}

void fk_captures_of_context_spoil(CUcontext ctx)
{
    for (struct capture *c = fake.capture; c < fake.capture + FAKE_CAPTURES; c++)
        if (c->id != 0 && c->ctx == ctx)
            invalidate(c);
}

/* ---- graphs ---- */

static CUgraph graph_new(void)
{
    CUgraph g = calloc(1, sizeof *g);
    if (g == NULL)
        abort();
    g->held = 1;
    return g;
}

static void graph_drop(CUgraph g)
{
    if (--g->held != 0)
        return;
    fk_areas_of_graph_drop(g);
    free(g->op);
    free(g);
}

CUresult fk_graph_memory(CUgraph g, CUdevice device, size_t bytes, CUdeviceptr *out)
{
    struct area *a;
    CUresult r = fk_area_new(AREA_GRAPH, device, bytes, &a);
    if (r == CUDA_SUCCESS) {
        a->graph = g;
        *out = a->lo;
    }
    return r;
}

/* A capture that is still open. */
struct capture *fk_capture_of_event(CUevent e)
{
    return e->capture != NULL && e->capture->id == e->capture_id ? e->capture : NULL;
}

static void end(struct capture *c)
{
    for (unsigned i = 0; i < fake.nslots; i++)
        if (fake.slot[i].stream != NULL && fake.slot[i].stream->capture == c)
            fake.slot[i].stream->capture = NULL;
    c->id = 0;
    fake.ncaptures--;
}

void fk_captures_reset(void)
{
    for (struct capture *c = fake.capture; c < fake.capture + FAKE_CAPTURES; c++)
        if (c->id != 0) {
            if (!c->graph_is_callers)
                graph_drop(c->graph);
            end(c);
        }
}

CUresult fk_captured(CUstream s, const struct op *op)
{
    struct capture *c = s->capture;
    CUgraph g = c->graph;
    if (c->status == CU_STREAM_CAPTURE_STATUS_INVALIDATED)
        return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
    if (g->n == g->room) {
        g->room = g->room != 0 ? 2 * g->room : 8;
        g->op = realloc(g->op, g->room * sizeof *g->op);
        if (g->op == NULL)
            abort();
    }
    g->op[g->n++] = *op;
    return CUDA_SUCCESS;
}

static CUresult launch(CUgraphExec exec, CUstream handle, bool per_thread)
{
    CUstream s = fk_stream(handle, per_thread);
    CUresult r = CUDA_SUCCESS;
    if (exec == NULL || s == NULL)
        return CUDA_ERROR_INVALID_HANDLE;
    for (unsigned i = 0; i < exec->graph.n && r == CUDA_SUCCESS; i++) {
        struct op op = exec->graph.op[i];
        r = fk_submit(s, &op);
    }
    return r;
}

CUresult cuGraphLaunch(CUgraphExec exec, CUstream s)
{
    ENTER(NEEDS_CONTEXT);
    LEAVE(launch(exec, s, false));
}
CUresult cuGraphLaunch_ptsz(CUgraphExec exec, CUstream s)
{
    ENTER(NEEDS_CONTEXT);
    LEAVE(launch(exec, s, true));
}

CUresult cuGraphCreate(CUgraph *out, unsigned int flags)
{
    ENTER(0);
    CHECK(out != NULL && flags == 0, CUDA_ERROR_INVALID_VALUE);
    *out = graph_new();
    LEAVE(CUDA_SUCCESS);
}

/* Nodes of memory only, without an order. */
static CUresult add_memory(CUgraphNode *out, CUgraph g, CUDA_MEM_ALLOC_NODE_PARAMS *what)
{
    if (out == NULL || g == NULL || what->poolProps.location.id < 0 ||
        what->poolProps.location.id >= fake.devices)
        return CUDA_ERROR_INVALID_VALUE;
    CUresult r = fk_graph_memory(g, what->poolProps.location.id, what->bytesize, &what->dptr);
    if (r == CUDA_SUCCESS)
        *out = (CUgraphNode)(uintptr_t)what->dptr;
    return r;
}

CUresult cuGraphAddMemAllocNode(CUgraphNode *out, CUgraph g, const CUgraphNode *after, size_t n,
                                CUDA_MEM_ALLOC_NODE_PARAMS *what)
{
    ENTER(NEEDS_CONTEXT);
    (void)after;
    CHECK(what != NULL && n == 0, CUDA_ERROR_INVALID_VALUE);
    LEAVE(add_memory(out, g, what));
}
CUresult cuGraphAddNode(CUgraphNode *out, CUgraph g, const CUgraphNode *after, size_t n,
                        CUgraphNodeParams *what)
{
    ENTER(NEEDS_CONTEXT);
    (void)after;
    CHECK(what != NULL && n == 0 && what->type == CU_GRAPH_NODE_TYPE_MEM_ALLOC,
          CUDA_ERROR_INVALID_VALUE);
    LEAVE(add_memory(out, g, &what->alloc));
}
CUresult cuGraphAddNode_v2(CUgraphNode *out, CUgraph g, const CUgraphNode *after,
                           const CUgraphEdgeData *edges, size_t n, CUgraphNodeParams *what)
{
    ENTER(NEEDS_CONTEXT);
    (void)after;
    (void)edges;
    CHECK(what != NULL && n == 0 && what->type == CU_GRAPH_NODE_TYPE_MEM_ALLOC,
          CUDA_ERROR_INVALID_VALUE);
    LEAVE(add_memory(out, g, &what->alloc));
}

static CUresult instantiate(CUgraphExec *out, CUgraph g)
{
    if (out == NULL || g == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    CUgraphExec exec = calloc(1, sizeof *exec);
    struct op *op = calloc(g->n + 1, sizeof *op);
    if (exec == NULL || op == NULL)
        abort();
    if (g->n != 0)
        memcpy(op, g->op, g->n * sizeof *op);
    exec->graph = (struct CUgraph_st){.n = g->n, .room = g->n, .op = op};
    exec->of = g;
    g->held++;
    *out = exec;
    return CUDA_SUCCESS;
}

CUresult cuGraphInstantiate(CUgraphExec *out, CUgraph g, CUgraphNode *node, char *log, size_t n)
{
    ENTER(NEEDS_CONTEXT);
    (void)node;
    (void)log;
    (void)n;
    LEAVE(instantiate(out, g));
}
CUresult cuGraphInstantiate_v2(CUgraphExec *out, CUgraph g, CUgraphNode *node, char *log, size_t n)
{
    ENTER(NEEDS_CONTEXT);
    (void)node;
    (void)log;
    (void)n;
    LEAVE(instantiate(out, g));
}
CUresult cuGraphInstantiateWithFlags(CUgraphExec *out, CUgraph g, unsigned long long flags)
{
    ENTER(NEEDS_CONTEXT);
    (void)flags;
    LEAVE(instantiate(out, g));
}

CUresult cuGraphDestroy(CUgraph g)
{
    ENTER(0);
    CHECK(g != NULL, CUDA_ERROR_INVALID_VALUE);
    graph_drop(g);
    LEAVE(CUDA_SUCCESS);
}

CUresult cuGraphExecDestroy(CUgraphExec exec)
{
    ENTER(0);
    CHECK(exec != NULL, CUDA_ERROR_INVALID_VALUE);
    graph_drop(exec->of);
    free(exec->graph.op);
    free(exec);
    LEAVE(CUDA_SUCCESS);
}

/* ---- begin and end ---- */

static CUresult begin(CUstream handle, CUgraph into, CUstreamCaptureMode mode, bool per_thread)
{
    CUstream s = fk_stream(handle, per_thread);
    if (s == NULL)
        return CUDA_ERROR_INVALID_HANDLE;
    if (mode > CU_STREAM_CAPTURE_MODE_RELAXED)
        return CUDA_ERROR_INVALID_VALUE;
    if (s == s->ctx->legacy)
        return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    if (s->capture != NULL)
        return CUDA_ERROR_ILLEGAL_STATE;
    struct capture *c = fake.capture;
    while (c < fake.capture + FAKE_CAPTURES && c->id != 0)
        c++;
    if (c == fake.capture + FAKE_CAPTURES)
        return CUDA_ERROR_OUT_OF_MEMORY;
    *c = (struct capture){
        .id = ++fake.next_id,
        .ctx = s->ctx,
        .origin = s,
        .mode = mode,
        .status = CU_STREAM_CAPTURE_STATUS_ACTIVE,
        .thread = fk_thread(),
        .graph = into != NULL ? into : graph_new(),
        .graph_is_callers = into != NULL,
    };
    s->capture = c;
    fake.ncaptures++;
    return CUDA_SUCCESS;
}

CUresult cuStreamBeginCapture(CUstream s)
{
    ENTER(NEEDS_CONTEXT);
    LEAVE(begin(s, NULL, CU_STREAM_CAPTURE_MODE_GLOBAL, false));
}
CUresult cuStreamBeginCapture_ptsz(CUstream s)
{
    ENTER(NEEDS_CONTEXT);
    LEAVE(begin(s, NULL, CU_STREAM_CAPTURE_MODE_GLOBAL, true));
}
CUresult cuStreamBeginCapture_v2(CUstream s, CUstreamCaptureMode mode)
{
    ENTER(NEEDS_CONTEXT);
    LEAVE(begin(s, NULL, mode, false));
}
CUresult cuStreamBeginCapture_v2_ptsz(CUstream s, CUstreamCaptureMode mode)
{
    ENTER(NEEDS_CONTEXT);
    LEAVE(begin(s, NULL, mode, true));
}

static CUresult begin_to_graph(CUstream s, CUgraph g, size_t n, CUstreamCaptureMode mode,
                               bool per_thread)
{
    if (g == NULL || n != 0) /* there are no nodes to depend on */
        return CUDA_ERROR_INVALID_VALUE;
    return begin(s, g, mode, per_thread);
}
CUresult cuStreamBeginCaptureToGraph(CUstream s, CUgraph g, const CUgraphNode *nodes,
                                     const CUgraphEdgeData *edges, size_t n,
                                     CUstreamCaptureMode mode)
{
    ENTER(NEEDS_CONTEXT);
    (void)nodes;
    (void)edges;
    LEAVE(begin_to_graph(s, g, n, mode, false));
}
CUresult cuStreamBeginCaptureToGraph_ptsz(CUstream s, CUgraph g, const CUgraphNode *nodes,
                                          const CUgraphEdgeData *edges, size_t n,
                                          CUstreamCaptureMode mode)
{
    ENTER(NEEDS_CONTEXT);
    (void)nodes;
    (void)edges;
    LEAVE(begin_to_graph(s, g, n, mode, true));
}

static CUresult end_capture(CUstream handle, CUgraph *out, bool per_thread)
{
    CUstream s = fk_stream(handle, per_thread);
    if (s == NULL || out == NULL)
        return s == NULL ? CUDA_ERROR_INVALID_HANDLE : CUDA_ERROR_INVALID_VALUE;
    struct capture *c = s->capture;
    if (c == NULL)
        return CUDA_ERROR_ILLEGAL_STATE;
    if (c->origin != s)
        return CUDA_ERROR_STREAM_CAPTURE_UNMATCHED;
    if (c->mode != CU_STREAM_CAPTURE_MODE_RELAXED && c->thread != fk_thread())
        return CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD;
    bool good = c->status == CU_STREAM_CAPTURE_STATUS_ACTIVE;
    *out = good ? c->graph : NULL;
    if (!good && !c->graph_is_callers)
        graph_drop(c->graph);
    end(c);
    return good ? CUDA_SUCCESS : CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
}

CUresult cuStreamEndCapture(CUstream s, CUgraph *out)
{
    ENTER(NEEDS_CONTEXT);
    LEAVE(end_capture(s, out, false));
}
CUresult cuStreamEndCapture_ptsz(CUstream s, CUgraph *out)
{
    ENTER(NEEDS_CONTEXT);
    LEAVE(end_capture(s, out, true));
}

CUresult cuThreadExchangeStreamCaptureMode(CUstreamCaptureMode *mode)
{
    ENTER(0);
    CHECK(mode != NULL && *mode <= CU_STREAM_CAPTURE_MODE_RELAXED, CUDA_ERROR_INVALID_VALUE);
    CUstreamCaptureMode old = thread_mode;
    thread_mode = *mode;
    *mode = old;
    LEAVE(CUDA_SUCCESS);
}

/* ---- questions ---- */

static CUresult info(CUstream handle, CUstreamCaptureStatus *status, uint64_t *id, CUgraph *g,
                     bool per_thread)
{
    CUstream s = fk_stream(handle, per_thread);
    if (s == NULL || status == NULL)
        return s == NULL ? CUDA_ERROR_INVALID_HANDLE : CUDA_ERROR_INVALID_VALUE;
    if (s == s->ctx->legacy) {
        CUresult r = fk_capture_refuses_legacy(s);
        if (r != CUDA_SUCCESS)
            return r;
    }
    *status = s->capture != NULL ? s->capture->status
                                 : (CUstreamCaptureStatus)CU_STREAM_CAPTURE_STATUS_NONE;
    if (s->capture != NULL && id != NULL)
        *id = s->capture->id;
    if (s->capture != NULL && g != NULL)
        *g = s->capture->graph;
    return CUDA_SUCCESS;
}

CUresult cuStreamIsCapturing(CUstream s, CUstreamCaptureStatus *status)
{
    ENTER(NEEDS_CONTEXT);
    LEAVE(info(s, status, NULL, NULL, false));
}
CUresult cuStreamIsCapturing_ptsz(CUstream s, CUstreamCaptureStatus *status)
{
    ENTER(NEEDS_CONTEXT);
    LEAVE(info(s, status, NULL, NULL, true));
}

#define CAPTURE_INFO(symbol, per_thread)                                                           \
    CUresult symbol(CUstream s, CUstreamCaptureStatus *status, uint64_t *id)                       \
    {                                                                                              \
        ENTER(NEEDS_CONTEXT);                                                                      \
        LEAVE(info(s, status, id, NULL, per_thread));                                              \
    }
#define CAPTURE_INFO_2(symbol, per_thread)                                                         \
    CUresult symbol(CUstream s, CUstreamCaptureStatus *status, uint64_t *id, CUgraph *g,           \
                    const CUgraphNode **nodes, size_t *n)                                          \
    {                                                                                              \
        ENTER(NEEDS_CONTEXT);                                                                      \
        if (nodes != NULL)                                                                         \
            *nodes = NULL;                                                                         \
        if (n != NULL)                                                                             \
            *n = 0;                                                                                \
        LEAVE(info(s, status, id, g, per_thread));                                                 \
    }
#define CAPTURE_INFO_3(symbol, per_thread)                                                         \
    CUresult symbol(CUstream s, CUstreamCaptureStatus *status, uint64_t *id, CUgraph *g,           \
                    const CUgraphNode **nodes, const CUgraphEdgeData **edges, size_t *n)           \
    {                                                                                              \
        ENTER(NEEDS_CONTEXT);                                                                      \
        if (nodes != NULL)                                                                         \
            *nodes = NULL;                                                                         \
        if (edges != NULL)                                                                         \
            *edges = NULL;                                                                         \
        if (n != NULL)                                                                             \
            *n = 0;                                                                                \
        LEAVE(info(s, status, id, g, per_thread));                                                 \
    }
CAPTURE_INFO(cuStreamGetCaptureInfo, false)
CAPTURE_INFO(cuStreamGetCaptureInfo_ptsz, true)
CAPTURE_INFO_2(cuStreamGetCaptureInfo_v2, false)
CAPTURE_INFO_2(cuStreamGetCaptureInfo_v2_ptsz, true)
CAPTURE_INFO_3(cuStreamGetCaptureInfo_v3, false)
CAPTURE_INFO_3(cuStreamGetCaptureInfo_v3_ptsz, true)
