/* model.c - the tables of a program: blocks, streams, contexts, and the order of their work. */
#include "model.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fake.h"

struct model m;
__thread unsigned me;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

#define BIT(i) ((uint64_t)1 << (i))

void lock(void)
{
    pthread_mutex_lock(&mutex);
}

void unlock(void)
{
    pthread_mutex_unlock(&mutex);
}

/* ---- messages ---- */

void say(const char *format, ...)
{
    va_list args;
    if (!m.trace)
        return;
    char line[256];
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    printf("%5u t%u %s\n", m.at, me, line);
    fflush(stdout);
}

void fail(const char *format, ...)
{
    va_list args;
    char line[768];
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    const char *op = m.at < m.p->n ? op_name(m.p->op[m.at].kind) : "the end";
    printf("FAIL seed %lu, %s, operation %u (%s), thread %u: %s\n", m.p->seed,
           m.p->turns ? "in turns" : "free", m.at, op, me, line);
    fflush(stdout);
    _exit(1);
}

void check(bool good, const char *format, ...)
{
    if (good)
        return;
    va_list args;
    char line[512];
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    fail("%s", line);
}

void check_violations(void)
{
    if (fake_violations() != 0)
        fail("violation: %s", fake_last_violation());
}

/* ---- contexts and threads ---- */

int here(void)
{
    int c = m.thread_context[me];
    if (c == NOBODY || !m.context[c].used) {
        for (c = 0; c < MAX_CONTEXTS && !m.context[c].used; c++)
            ;
        if (c == MAX_CONTEXTS)
            return NOBODY;
    }
    m.thread_context[me] = c;
    fake_spare(true);
    CUcontext now = NULL;
    cuCtxGetCurrent(&now);
    if (now != m.context[c].handle)
        check(cuCtxSetCurrent(m.context[c].handle) == CUDA_SUCCESS || m.poisoned,
              "cuCtxSetCurrent failed");
    fake_spare(false);
    return c;
}

int device_here(void)
{
    int c = here();
    return c == NOBODY ? 0 : m.context[c].device;
}

/* ---- blocks ---- */

struct block *block_new(uint64_t p, size_t size, enum block_kind kind)
{
    struct block *b = NULL;
    lock();
    for (unsigned i = 0; i < MAX_BLOCKS && b == NULL; i++)
        if (!m.block[i].used)
            b = &m.block[i];
    if (b != NULL) {
        *b = (struct block){.used = true,
                            .busy = true,
                            .p = p,
                            .size = size,
                            .kind = kind,
                            .context = m.thread_context[me],
                            .writer = NOBODY};
        m.nblocks++;
    }
    unlock();
    return b;
}

bool any_block(const struct block *b)
{
    (void)b;
    return true;
}

struct block *block_take(uint32_t r, bool (*fits)(const struct block *))
{
    struct block *b = NULL;
    lock();
    for (unsigned i = 0, n = 0; i < MAX_BLOCKS && b == NULL; i++) { /* the r-th that is live */
        if (m.block[i].used && n++ == (m.nblocks != 0 ? r % m.nblocks : 0))
            for (unsigned k = 0; k < MAX_BLOCKS && b == NULL; k++) {
                struct block *c = &m.block[(i + k) % MAX_BLOCKS];
                if (c->used && !c->busy && fits(c))
                    b = c;
            }
    }
    if (b != NULL)
        b->busy = true;
    unlock();
    return b;
}

void block_put(struct block *b)
{
    lock();
    b->busy = false;
    unlock();
}

void block_gone(struct block *b)
{
    lock();
    b->used = b->busy = false;
    m.nblocks--;
    unlock();
}

bool live_at(uint64_t p)
{
    bool live = false;
    lock();
    for (unsigned i = 0; i < MAX_BLOCKS; i++)
        live |= m.block[i].used && m.block[i].p <= p && p < m.block[i].p + m.block[i].size;
    unlock();
    return live;
}

/* ---- streams ---- */

int stream_new(CUstream handle, int context, int thread, bool legacy, bool blocking)
{
    int i = 0;
    lock();
    while (i < MAX_STREAMS && m.stream[i].used)
        i++;
    if (i < MAX_STREAMS)
        m.stream[i] = (struct stream){true, handle, context, thread, legacy, blocking, NOBODY};
    unlock();
    return i < MAX_STREAMS ? i : NOBODY;
}

static bool room_for_stream(void)
{
    for (int i = 0; i < MAX_STREAMS; i++)
        if (!m.stream[i].used)
            return true;
    return false;
}

/* The legacy stream would wait for a blocking stream that is being captured. */
static bool legacy_forbidden(int context)
{
    for (int i = 0; m.p->turns && i < MAX_STREAMS; i++)
        if (m.stream[i].used && m.stream[i].context == context && m.stream[i].capture != NOBODY &&
            m.stream[i].blocking)
            return true;
    return false;
}

int stream_take(uint32_t r)
{
    int context = here(), fit[MAX_STREAMS], n = 0;
    bool has_own = false;
    if (context == NOBODY)
        return NOBODY;
    lock();
    for (int i = 0; i < MAX_STREAMS; i++) {
        const struct stream *s = &m.stream[i];
        if (!s->used || s->context != context || (s->thread != NOBODY && s->thread != (int)me))
            continue;
        has_own |= s->thread == (int)me;
        if (s->capture == NOBODY && !(s->legacy && legacy_forbidden(context)))
            fit[n++] = i;
    }
    bool wants_own = !m.p->legacy_only && !has_own && r % 16 == 1 && room_for_stream();
    unlock();
    if (wants_own && m.open_captures == 0) {
        say("the thread's default stream is used from here on");
        m.others |= !api_is_client; /* else the library sees it when work comes */
        api_use_per_thread();
        stream_new(CU_STREAM_PER_THREAD, context, (int)me, false, true);
    }
    return n > 0 ? fit[(r >> 8) % (unsigned)n] : NOBODY;
}

/* What it was given goes on; only a wait for the whole context tells when it is done. */
void stream_gone(int s)
{
    lock();
    for (unsigned i = 0; i < MAX_BLOCKS; i++) {
        struct block *b = &m.block[i];
        if (b->used && (b->users & BIT(s))) {
            b->users &= ~BIT(s);
            b->lost |= BIT(m.stream[s].context);
            if (b->writer == s)
                b->writer = NOBODY;
        }
    }
    m.stream[s].used = false;
    unlock();
}

/* The driver waits for all their work. */
void streams_of_context_gone(int context)
{
    lock();
    for (int s = 0; s < MAX_STREAMS; s++) {
        if (!m.stream[s].used || m.stream[s].context != context)
            continue;
        for (unsigned i = 0; i < MAX_BLOCKS; i++) {
            m.block[i].users &= ~BIT(s);
            if (m.block[i].writer == s)
                m.block[i].writer = NOBODY;
        }
        m.stream[s].used = false;
    }
    for (unsigned i = 0; i < MAX_BLOCKS; i++)
        m.block[i].lost &= ~BIT(context);
    unlock();
}

/* ---- order ---- */

bool captures_here(void)
{
    return m.open_captures != 0;
}

void excuse(CUresult r)
{
    if (r != CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED || !m.p->turns)
        return;
    for (int i = 0; i < MAX_CAPTURES; i++)
        m.capture[i].excused = true;
}

static uint64_t streams_of(int context)
{
    uint64_t mask = 0;
    lock();
    for (int s = 0; s < MAX_STREAMS; s++)
        if (m.stream[s].used && m.stream[s].context == context)
            mask |= BIT(s);
    unlock();
    return mask;
}

static void complete(struct block *b, int context, uint64_t streams)
{
    b->users &= ~streams;
    b->lost &= ~BIT(context);
    if (b->writer != NOBODY && (streams & BIT(b->writer)))
        b->writer = NOBODY;
}

bool sync_context(int context)
{
    lock();
    bool may = m.open_captures == 0;
    m.syncing += may;
    unlock();
    if (!may)
        return false;
    fake_spare(true);
    uint64_t streams = streams_of(context);
    CUcontext was;
    CUresult r = cuCtxPushCurrent_v2(m.context[context].handle);
    if (r == CUDA_SUCCESS) {
        r = api_context_sync(m.context[context].handle);
        cuCtxPopCurrent_v2(&was);
    }
    fake_spare(false);
    check(r == CUDA_SUCCESS || m.poisoned, "a context's synchronisation gives %u", r);
    lock();
    m.syncing--;
    for (unsigned i = 0; m.p->turns && i < MAX_BLOCKS; i++)
        complete(&m.block[i], context, streams);
    unlock();
    return r == CUDA_SUCCESS;
}

static bool settle_where(struct block *b, int but)
{
    for (int c = 0; c < MAX_CONTEXTS; c++) {
        if (!m.context[c].used || c == but)
            continue;
        uint64_t streams = streams_of(c);
        if (!(b->users & streams) && !(b->lost & BIT(c)))
            continue;
        if (!sync_context(c))
            return false;
        complete(b, c, streams);
    }
    return true;
}

bool settle(struct block *b)
{
    return settle_where(b, NOBODY);
}

bool settle_others(struct block *b)
{
    return settle_where(b, b->context);
}

/* By an event, where this thread can record one in t. */
static bool wait_for(int t, int s)
{
    const struct stream *from = &m.stream[t], *to = &m.stream[s];
    if (from->capture != NOBODY || (from->thread != NOBODY && from->thread != (int)me) ||
        (from->legacy && legacy_forbidden(from->context)))
        return false;
    CUevent e;
    CUcontext was;
    fake_spare(true);
    CUresult r = cuCtxPushCurrent_v2(m.context[from->context].handle);
    if (r == CUDA_SUCCESS) {
        r = cuEventCreate(&e, CU_EVENT_DISABLE_TIMING);
        if (r == CUDA_SUCCESS)
            r = cuEventRecord(e, from->handle);
        cuCtxPopCurrent_v2(&was);
        if (r == CUDA_SUCCESS)
            r = cuStreamWaitEvent(to->handle, e, 0);
        cuEventDestroy_v2(e);
    }
    fake_spare(false);
    check(r == CUDA_SUCCESS, "the test's own event gives %u", r);
    return true;
}

bool order(struct block *b, int s, bool writes)
{
    uint64_t need = writes ? b->users : b->writer != NOBODY ? BIT(b->writer) : 0;
    need &= ~BIT(s);
    if (b->lost != 0)
        return settle(b);
    for (int t = 0; t < MAX_STREAMS; t++)
        if ((need & BIT(t)) && !wait_for(t, s))
            return settle(b);
    return true;
}

/* ---- what is counted ---- */

static void check_device(int d)
{
    struct xs_gpu_stats s;
    uint64_t live = 0, pooled = 0;
    if (!api_stats((unsigned)d, &s))
        return;
    m.limit_open[d] &= s.cached_bytes > s.cache_max_bytes;
    check(s.cached_bytes <= s.cache_max_bytes || m.limit_open[d] || m.injected || m.poisoned,
          "%lu bytes are cached, %lu is the limit", s.cached_bytes, s.cache_max_bytes);
    for (unsigned i = 0; i < MAX_BLOCKS; i++) {
        const struct block *b = &m.block[i];
        if (b->used && b->kind == DEVICE && m.context[b->context].device == d)
            live += b->size;
        if (b->used && b->kind == POOLED && m.context[b->context].device == d)
            pooled += b->size;
    }
    check(s.in_use_bytes >= live || m.injected, "in use %lu, but %lu is held", s.in_use_bytes,
          live);
    check(s.async_in_use_bytes == pooled || m.injected || m.poisoned,
          "stream-ordered %lu, but %lu is held", s.async_in_use_bytes, pooled);
}

void check_stats(void)
{
    for (int d = 0; api_has_stats() && m.p->turns && d < m.p->devices; d++)
        check_device(d);
}

/* ---- beginning and end ---- */

void model_open(const struct program *p)
{
    m.p = p;
    fake_on_violation(FAKE_COUNT);
    fake_set_devices(p->devices, p->bytes_each);
    fake_set_version(p->version);
    fake_set_granule(p->granule);
    api_open(p);
    check(cuInit(0) == CUDA_SUCCESS, "cuInit failed");
    for (int d = 0; d < p->devices; d++) {
        m.context[d] = (struct context){.used = true, .device = d, .primary = true};
        check(api_retain(&m.context[d].handle, d) == CUDA_SUCCESS, "no primary context");
        stream_new(CU_STREAM_LEGACY, d, NOBODY, true, true);
    }
    for (unsigned t = 0; t < MAX_THREADS; t++)
        m.thread_context[t] = (int)(t % (unsigned)p->devices);
}

static void count_all(int d)
{
    struct xs_gpu_stats s;
    if (!api_stats((unsigned)d, &s))
        return;
    m.totals->hits += s.hits;
    m.totals->ordered += s.reuse_ordered;
    m.totals->waited += s.reuse_waited;
    m.totals->events += s.events;
    m.totals->syncs += s.syncs;
    m.totals->evictions += s.evictions;
    m.totals->flushes += s.flushes;
    m.totals->ooms += s.ooms;
    m.totals->failures += s.failures;
    if (m.injected || m.poisoned)
        return;
    uint64_t misses = s.misses_cold + s.misses_evicted + s.misses_size + s.misses_stream;
    check(s.allocations == m.count[d].calls, "%lu allocations are counted, %lu were made",
          s.allocations, m.count[d].calls);
    check(s.requested_bytes == m.count[d].requested || m.pitch_failed,
          "%lu bytes are counted, %lu were asked for", s.requested_bytes, m.count[d].requested);
    unsigned long served = s.hits + misses + m.count[d].direct;
    unsigned long asked = s.allocations - m.count[d].failed;
    /* The driver is asked itself for the first pitch. */
    check(served == asked || (m.pitched && served == asked + 1),
          "%lu hits, %lu misses, %lu direct: of %lu allocations %lu succeeded", s.hits, misses,
          m.count[d].direct, s.allocations, asked);
    check(s.events <= fake_calls_all(), "%lu events are counted", s.events);
    check(s.driver_mallocs <= fake_calls_all() && s.driver_frees <= s.driver_mallocs + 1000,
          "%lu driver's allocations and %lu frees are counted", s.driver_mallocs, s.driver_frees);
    check(s.frees == m.count[d].frees, "%lu frees are counted, %lu were made", s.frees,
          m.count[d].frees);
    if (m.spoilt)
        return;
    check(s.in_use_bytes == 0, "at the end %lu bytes are in use", s.in_use_bytes);
    check(s.cached_bytes == 0, "at the end %lu bytes are cached", s.cached_bytes);
    check(s.reserved_bytes == 0, "at the end %lu bytes are reserved", s.reserved_bytes);
    check(s.pinned_in_use_bytes == 0 && s.pinned_cached_bytes == 0, "at the end pinned %lu, %lu",
          s.pinned_in_use_bytes, s.pinned_cached_bytes);
    check(fake_used(d) == 0, "at the end the driver has %zu bytes out", fake_used(d));
}

void model_close(void)
{
    for (int c = 0; c < MAX_CONTEXTS; c++)
        if (m.context[c].used)
            sync_context(c);
    for (int c = 0; c < MAX_CONTEXTS; c++) {
        if (!m.context[c].used)
            continue;
        m.thread_context[me] = c;
        here();
        api_clear(m.context[c].device);
    }
    check_violations();
    for (int d = 0; api_has_stats() && d < m.p->devices; d++)
        count_all(d);
    if (api_has_stats() && !m.injected && !m.poisoned && !m.spoilt)
        check(fake_blocks() == 0, "at the end the driver has %u blocks out", fake_blocks());
}
