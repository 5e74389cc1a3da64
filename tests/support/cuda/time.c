/* time.c - streams' pending work, the order between its pieces, and the passing of time.
 *
 * The order is kept as vector clocks: a stream, an event and each piece of work carry, for every
 * stream, the number of the last piece that comes before. Within a stream work completes in order,
 * so that one number a stream says all; a piece may complete when all its clock names is done. */
#include "state.h"

#include <stdlib.h>
#include <string.h>

struct fake_kernel fake_touch_kernel = {"touch", 1, NULL};
struct fake_kernel fake_touch2_kernel = {"touch2", 2, NULL};

/* ---- streams ---- */

CUresult fk_stream_new(CUcontext ctx, unsigned flags, int priority, unsigned long thread,
                       CUstream *out)
{
    unsigned i = 0;
    while (i < fake.nslots && (fake.slot[i].stream != NULL || fake.slot[i].head != NULL))
        i++;
    if (i == FAKE_STREAMS)
        return CUDA_ERROR_OUT_OF_MEMORY;
    CUstream s = calloc(1, sizeof *s);
    if (s == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    struct slot *slot = &fake.slot[i];
    if (i == fake.nslots)
        fake.nslots++;
    slot->stream = s;
    slot->tail = &slot->head;
    s->ctx = ctx;
    s->flags = flags;
    s->slot = i;
    s->thread = thread;
    s->priority = priority;
    s->id = ++fake.next_id;
    s->clock = ctx->waited;
    *out = s;
    return CUDA_SUCCESS;
}

/* Its work goes on. */
void fk_stream_end(CUstream s)
{
    fk_clock_merge(&s->ctx->ended, &s->clock);
    if (!(s->flags & CU_STREAM_NON_BLOCKING))
        fk_clock_merge(&s->ctx->ended_blocking, &s->clock);
    fake.slot[s->slot].stream = NULL;
    free(s);
}

bool fk_stream_is(CUstream s)
{
    for (unsigned i = 0; i < fake.nslots; i++)
        if (fake.slot[i].stream == s)
            return s != NULL;
    return false;
}

CUstream fk_stream(CUstream handle, bool per_thread)
{
    CUcontext ctx = fk_current();
    if (handle == NULL)
        handle = per_thread ? CU_STREAM_PER_THREAD : CU_STREAM_LEGACY;
    if (handle == CU_STREAM_LEGACY)
        return ctx != NULL ? ctx->legacy : NULL;
    if (handle != CU_STREAM_PER_THREAD)
        return fk_stream_is(handle) ? handle : NULL;
    if (ctx == NULL)
        return NULL;
    for (unsigned i = 0; i < fake.nslots; i++) {
        CUstream s = fake.slot[i].stream;
        if (s != NULL && s->ctx == ctx && s->thread == fk_thread())
            return s;
    }
    CUstream s = NULL;
    fk_stream_new(ctx, CU_STREAM_DEFAULT, 0, fk_thread(), &s);
    return s;
}

static void drop_op(struct op *op)
{
    if (op->kind == OP_COPY)
        free(op->u.copy.staged);
}

void fk_streams_reset(void)
{
    for (unsigned i = 0; i < fake.nslots; i++) {
        struct slot *slot = &fake.slot[i];
        while (slot->head != NULL) {
            struct work *w = slot->head;
            slot->head = w->next;
            drop_op(&w->op);
            free(w);
        }
        free(slot->stream);
        memset(slot, 0, sizeof *slot);
    }
    fake.nslots = 0;
}

/* ---- clocks ---- */

void fk_clock_merge(struct fake_clock *into, const struct fake_clock *from)
{
    for (unsigned i = 0; i < from->n; i++) {
        uint64_t at = i < into->n ? into->at[i] : 0;
        into->at[i] = from->at[i] > at ? from->at[i] : at;
    }
    if (into->n < from->n)
        into->n = from->n;
}

static void clock_set(struct fake_clock *c, unsigned slot, uint64_t seq)
{
    while (c->n <= slot)
        c->at[c->n++] = 0;
    c->at[slot] = seq;
}

/* The legacy stream comes after all blocking streams of its context, and they after it. */
const struct fake_clock *fk_stream_clock(CUstream s)
{
    CUstream legacy = s->ctx->legacy;
    if (s == legacy) {
        fk_clock_merge(&s->clock, &s->ctx->ended_blocking);
        for (unsigned i = 0; i < fake.nslots; i++) {
            CUstream t = fake.slot[i].stream;
            if (t != NULL && t != s && t->ctx == s->ctx && !(t->flags & CU_STREAM_NON_BLOCKING))
                fk_clock_merge(&s->clock, &t->clock);
        }
    } else if (!(s->flags & CU_STREAM_NON_BLOCKING)) {
        fk_clock_merge(&s->clock, &legacy->clock);
    }
    return &s->clock;
}

void fk_context_clock(CUcontext ctx, struct fake_clock *out)
{
    for (unsigned i = 0; i < fake.nslots; i++) {
        CUstream s = fake.slot[i].stream;
        if (s != NULL && s->ctx == ctx)
            fk_clock_merge(out, &s->clock);
    }
    fk_clock_merge(out, &ctx->ended);
}

bool fk_clock_done(const struct fake_clock *c)
{
    for (unsigned i = 0; i < c->n; i++)
        if (fake.slot[i].done < c->at[i])
            return false;
    return true;
}

/* ---- work ---- */

CUresult fk_submit(CUstream s, struct op *op)
{
    if (s->capture != NULL)
        return fk_captured(s, op);
    CUresult r = s == s->ctx->legacy ? fk_capture_refuses_legacy(s) : CUDA_SUCCESS;
    if (r != CUDA_SUCCESS) {
        drop_op(op);
        return r;
    }
    const struct fake_clock *c = fk_stream_clock(s);
    struct slot *slot = &fake.slot[s->slot];
    clock_set(&s->clock, s->slot, slot->submitted + 1);
    struct work *w = malloc(sizeof *w + c->n * sizeof w->clock[0]);
    if (w == NULL)
        abort();
    w->next = NULL;
    w->seq = ++slot->submitted;
    w->op = *op;
    w->nclock = c->n;
    memcpy(w->clock, c->at, c->n * sizeof w->clock[0]);
    fk_lives_of(&w->op);
    fk_check_order(w, s->slot);
    *slot->tail = w;
    slot->tail = &w->next;
    return CUDA_SUCCESS;
}

struct work *fk_pending_on(uint64_t lo, uint64_t hi, unsigned *slot)
{
    for (unsigned i = 0; i < fake.nslots; i++)
        for (struct work *w = fake.slot[i].head; w != NULL; w = w->next)
            for (unsigned k = 0; k < w->op.nranges && !w->op.hint; k++)
                if (w->op.range[k].lo < hi && lo < w->op.range[k].hi) {
                    *slot = i;
                    return w;
                }
    return NULL;
}

/* The first slot that keeps the head of this one from completing; -1: none. */
static int blocked_by(unsigned slot)
{
    const struct work *w = fake.slot[slot].head;
    for (unsigned i = 0; i < w->nclock; i++)
        if (i != slot && fake.slot[i].done < w->clock[i])
            return (int)i;
    return -1;
}

static void run_set(const struct op *op)
{
    for (size_t y = 0; y < op->u.set.height; y++) {
        unsigned char *row = fk_memory(op->u.set.dst + y * op->u.set.pitch);
        for (size_t x = 0; row != NULL && x < op->u.set.width; x += op->u.set.value_bytes)
            memcpy(row + x, &op->u.set.value, op->u.set.value_bytes);
    }
}

static void run_copy(const struct op *op)
{
    const char *staged = op->u.copy.staged;
    for (size_t y = 0; y < op->u.copy.height; y++) {
        const char *src = staged != NULL ? staged + y * op->u.copy.width
                                         : fk_memory(op->u.copy.src + y * op->u.copy.src_pitch);
        char *dst = fk_memory(op->u.copy.dst + y * op->u.copy.dst_pitch);
        if (src != NULL && dst != NULL)
            memmove(dst, src, op->u.copy.width);
    }
}

static void run_kernel(const struct op *op)
{
    void *memory[4];
    size_t bytes[4];
    if (op->u.kernel.body == NULL)
        return;
    for (unsigned i = 0; i < op->nranges; i++) {
        memory[i] = fk_memory(op->range[i].lo);
        bytes[i] = op->range[i].hi - op->range[i].lo;
        if (memory[i] == NULL)
            return;
    }
    op->u.kernel.body(memory, bytes, op->nranges);
}

/* Completes the head of a slot. A host function runs without the lock. */
static bool complete(unsigned i)
{
    struct slot *slot = &fake.slot[i];
    struct work *w = slot->head;
    if (w == NULL || slot->running || w->op.kind == OP_HOLD || blocked_by(i) >= 0)
        return false;
    switch (w->op.kind) {
    case OP_KERNEL:
        run_kernel(&w->op);
        break;
    case OP_COPY:
        run_copy(&w->op);
        break;
    case OP_SET:
        run_set(&w->op);
        break;
    case OP_FREE: {
        struct area *a = fk_area_at(w->op.u.free_base);
        if (a != NULL && a->freeing)
            fk_area_drop(a);
        break;
    }
    case OP_HOST:
        slot->running = true;
        pthread_mutex_unlock(&fake.lock);
        if (w->op.u.host.fn != NULL)
            w->op.u.host.fn(w->op.u.host.data);
        else
            w->op.u.host.callback(w->op.u.host.stream, CUDA_SUCCESS, w->op.u.host.data);
        pthread_mutex_lock(&fake.lock);
        slot->running = false;
        break;
    default:
        break;
    }
    slot->head = w->next;
    if (slot->head == NULL)
        slot->tail = &slot->head;
    slot->done = w->seq;
    drop_op(&w->op);
    free(w);
    pthread_cond_broadcast(&fake.changed);
    return true;
}

CUresult fk_wait(const struct fake_clock *target, const char *who)
{
    struct fake_clock need = *target;
    while (!fk_clock_done(target)) {
        bool progress = false, running = false;
        for (unsigned i = 0; i < need.n; i++) {
            struct slot *slot = &fake.slot[i];
            if (slot->done >= need.at[i] || slot->head == NULL)
                continue;
            if (complete(i)) {
                progress = true;
                continue;
            }
            running |= slot->running;
            /* Something in another stream first. */
            struct work *w = slot->head;
            for (unsigned k = 0; w != NULL && k < w->nclock; k++)
                if (k != i && fake.slot[k].done < w->clock[k] &&
                    (k >= need.n || need.at[k] < w->clock[k])) {
                    clock_set(&need, k, w->clock[k]);
                    progress = true;
                }
        }
        if (!progress && running) {
            pthread_cond_wait(&fake.changed, &fake.lock);
        } else if (!progress) {
            fk_violation("%s waits for work that does not end", who);
            return CUDA_ERROR_LAUNCH_TIMEOUT;
        }
    }
    return CUDA_SUCCESS;
}

CUresult fk_wait_context(CUcontext ctx, const char *who)
{
    struct fake_clock all = {0};
    fk_context_clock(ctx, &all);
    return fk_wait(&all, who);
}

void fk_progress(void)
{
    static unsigned turn;
    if (!fake.autonomous)
        return;
    for (unsigned k = 0; k < fake.nslots; k++)
        if (complete(turn++ % fake.nslots))
            return;
}

/* ---- control ---- */

static CUstream control_stream(CUstream s)
{
    s = fk_stream(s, false);
    if (s == NULL) {
        fprintf(stderr, "fake driver: a control function got no stream of the fake\n");
        abort();
    }
    return s;
}

unsigned fake_advance(CUstream stream, unsigned n)
{
    unsigned did = 0;
    pthread_mutex_lock(&fake.lock);
    if (stream == FAKE_ALL) {
        for (bool progress = true; progress && did < n;) {
            progress = false;
            for (unsigned i = 0; i < fake.nslots && did < n; i++)
                if (complete(i)) {
                    progress = true;
                    did++;
                }
        }
    } else {
        unsigned slot = control_stream(stream)->slot;
        while (did < n && complete(slot))
            did++;
    }
    pthread_mutex_unlock(&fake.lock);
    return did;
}

static uint64_t draw(uint64_t *seed)
{
    uint64_t x = *seed += 0x9e3779b97f4a7c15u; /* splitmix64 */
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

unsigned fake_advance_random(uint64_t *seed, unsigned n)
{
    unsigned did = 0;
    pthread_mutex_lock(&fake.lock);
    while (did < n && fake.nslots > 0) {
        unsigned from = (unsigned)(draw(seed) % fake.nslots), k = 0;
        while (k < fake.nslots && !complete((from + k) % fake.nslots))
            k++;
        if (k == fake.nslots)
            break;
        did++;
    }
    pthread_mutex_unlock(&fake.lock);
    return did;
}

unsigned fake_pending(CUstream stream)
{
    unsigned n = 0;
    pthread_mutex_lock(&fake.lock);
    unsigned only = stream == FAKE_ALL ? 0 : control_stream(stream)->slot;
    for (unsigned i = 0; i < fake.nslots; i++)
        if (stream == FAKE_ALL || i == only)
            n += (unsigned)(fake.slot[i].submitted - fake.slot[i].done);
    pthread_mutex_unlock(&fake.lock);
    return n;
}

void fake_hold(CUstream stream)
{
    pthread_mutex_lock(&fake.lock);
    struct op op = {.kind = OP_HOLD, .what = "a kernel without end"};
    fk_submit(control_stream(stream), &op);
    pthread_mutex_unlock(&fake.lock);
}

void fake_release(CUstream stream)
{
    pthread_mutex_lock(&fake.lock);
    struct slot *slot = &fake.slot[control_stream(stream)->slot];
    for (struct work *w = slot->head; w != NULL; w = w->next)
        if (w->op.kind == OP_HOLD)
            w->op.kind = OP_NOTHING;
    pthread_cond_broadcast(&fake.changed);
    pthread_mutex_unlock(&fake.lock);
}

CUresult fake_touch(CUstream stream, const void *p, size_t bytes)
{
    CUdeviceptr at = (CUdeviceptr)(uintptr_t)p;
    void *params[] = {&at, &bytes};
    return cuLaunchKernel((CUfunction)(void *)&fake_touch_kernel, 1, 1, 1, 1, 1, 1, 0, stream,
                          params, NULL);
}
