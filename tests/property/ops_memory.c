/* ops_memory.c - operations that get, give back and ask about memory, and what must hold of each.
 */
#include <stdatomic.h>
#include <string.h>

#include "fake.h"
#include "ops.h"

/* ---- addresses to be wrong with, and memory that must not come again ---- */

enum { RING = 32 };
static struct {
    uint64_t p;
    enum block_kind kind;
} freed[RING];
static unsigned nfreed;
static struct {
    uint64_t id, lo, hi;
} retired[RING];
static unsigned nretired;

static void remember_freed(const struct block *b)
{
    lock();
    freed[nfreed % RING].p = b->p;
    freed[nfreed % RING].kind = b->kind;
    nfreed++;
    unlock();
}

static uint64_t driver_id(uint64_t p)
{
    uint64_t id = 0;
    fake_spare(true);
    cuPointerGetAttribute(&id, CU_POINTER_ATTRIBUTE_BUFFER_ID, p);
    fake_spare(false);
    return id;
}

static void retire(const struct block *b)
{
    uint64_t id = driver_id(b->p);
    lock();
    retired[nretired % RING].id = id;
    retired[nretired % RING].lo = b->p;
    retired[nretired % RING].hi = b->p + b->size;
    nretired++;
    unlock();
}

static void check_not_retired(uint64_t p, size_t size)
{
    uint64_t id = driver_id(p);
    bool bad = false;
    lock();
    for (unsigned i = 0; i < RING; i++)
        bad |= retired[i].id == id && p < retired[i].hi && retired[i].lo < p + size && id != 0;
    unlock();
    check(!bad, "%#lx was shared or changed for good, and is handed out again", p);
}

/* ---- allocation ---- */

size_t drawn_size(uint32_t r)
{
    const struct program *p = m.p;
    if (r % 4 != 0)
        return p->size[(r >> 2) % p->nsizes];
    uint64_t s = r;
    size_t n = (size_t)1 << below(&s, 64 - (unsigned)__builtin_clzll(p->size_max));
    n += below(&s, n);
    return n < p->size_max ? n : p->size_max;
}

/* A capture that binds this thread: what is not served from the cache is refused, natively too. */
static bool capture_refuses(void)
{
    for (int i = 0; i < MAX_CAPTURES; i++) {
        const struct capture *c = &m.capture[i];
        if (c->used && (c->mode == CU_STREAM_CAPTURE_MODE_GLOBAL ||
                        (c->mode == CU_STREAM_CAPTURE_MODE_THREAD_LOCAL && c->thread == (int)me)))
            return true;
    }
    return !m.p->turns && captures_here();
}

/* Memory is out only if what the program holds, and what work is pending on, leaves no room. */
static void check_out_of_memory(size_t size)
{
    struct xs_gpu_stats s;
    int d = device_here();
    m.totals->ooms++;
    if (!m.p->turns || captures_here() || m.spoilt || m.injected || fake_pending(FAKE_ALL) != 0 ||
        program_backend_is(m.p, d, XS_GPU_POOL) || program_backend_is(m.p, d, XS_GPU_BFC) ||
        !api_stats((unsigned)d, &s))
        return;
    size_t slack = (m.nblocks + 1) * m.p->granule + m.p->options[d].align;
    for (unsigned i = 0; i < MAX_BLOCKS; i++)
        if (m.block[i].used && m.block[i].kind == POOLED)
            slack += m.block[i].size;
    check(s.in_use_bytes + size + slack + s.in_use_bytes / 8 > m.p->bytes_each,
          "out of memory for %zu with %lu of %zu in use, %lu cached, %lu reserved", size,
          s.in_use_bytes, m.p->bytes_each, s.cached_bytes, s.reserved_bytes);
}

static void check_error(CUresult r, size_t size)
{
    if (r == CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED && capture_refuses()) {
        excuse(r);
        return;
    }
    if (m.injected || m.poisoned)
        return;
    if (r == CUDA_ERROR_OUT_OF_MEMORY && m.p->tight) {
        check_out_of_memory(size);
        return;
    }
    fail("an allocation of %zu gives %u", size, r);
}

static void check_place(uint64_t p, enum block_kind kind, size_t size)
{
    CUcontext of = NULL;
    check(p != 0 && p % 256 == 0, "%#lx is handed out", p);
    fake_spare(true);
    CUresult r = cuPointerGetAttribute(&of, CU_POINTER_ATTRIBUTE_CONTEXT, p);
    fake_spare(false);
    check(m.poisoned || r == CUDA_SUCCESS, "%#lx is handed out and is not the driver's", p);
    if (kind != POOLED && !m.poisoned)
        check(of == m.context[m.thread_context[me]].handle,
              "%#lx is handed out and belongs to another context", p);
    check_not_retired(p, size);
}

static struct block *obtained(CUresult r, uint64_t p, size_t size, enum block_kind kind)
{
    m.totals->calls++;
    if (r != CUDA_SUCCESS) {
        check_error(r, size);
        return NULL;
    }
    check_place(p, kind, size);
    fake_life_begin(P(p), size);
    check_violations();
    struct block *b = block_new(p, size, kind);
    if (b != NULL) {
        block_put(b);
        return b;
    }
    fake_life_end(P(p)); /* no place to note it */
    if (kind == PINNED)
        api_host_free(P(p));
    else
        api_free(p);
    if (kind == DEVICE || kind == MANAGED)
        __atomic_fetch_add(&m.count[device_here()].frees, 1, __ATOMIC_RELAXED);
    return NULL;
}

static enum xs_gpu_backend route(int device, size_t size)
{
    const struct xs_gpu_options *o = &m.p->options[device];
    unsigned i = 0;
    while (i + 1 < o->step_count && size > o->step[i].last)
        i++;
    return o->step[i].backend;
}

static void count_call(CUresult r, size_t size)
{
    int d = device_here();
    if (r != CUDA_SUCCESS)
        __atomic_fetch_add(&m.count[d].failed, 1, __ATOMIC_RELAXED);
    else if (route(d, size) == XS_GPU_DIRECT)
        __atomic_fetch_add(&m.count[d].direct, 1, __ATOMIC_RELAXED);
    __atomic_fetch_add(&m.count[d].calls, 1, __ATOMIC_RELAXED);
    __atomic_fetch_add(&m.count[d].requested, size, __ATOMIC_RELAXED);
}

static bool nothing_waits(void)
{
    return m.p->turns && !m.p->tight && !m.injected && !m.poisoned;
}

static void check_waited_for_nothing(unsigned before, const char *who)
{
    unsigned now = fake_pending(FAKE_ALL);
    check(now >= before, "%s waited: %u pieces of work were pending, now %u", who, before, now);
}

void malloc_one(size_t size, uint32_t r)
{
    CUdeviceptr p = 0;
    if (here() == NOBODY || m.nblocks >= m.p->live_max)
        return;
    (void)r;
    unsigned before = nothing_waits() ? fake_pending(FAKE_ALL) : 0;
    CUresult result = api_malloc(&p, size);
    say("malloc %zu: %u, %#llx", size, result, p);
    if (nothing_waits())
        check_waited_for_nothing(before, "malloc");
    count_call(result, size);
    obtained(result, p, size, DEVICE);
}

void op_malloc(const struct op *op)
{
    malloc_one(drawn_size(op->r[0]), op->r[1]);
}

void op_malloc_pitch(const struct op *op)
{
    CUdeviceptr p = 0;
    size_t pitch = 0, height = 1 + op->r[1] % 8, width = drawn_size(op->r[0]) / height + 1;
    if (here() == NOBODY || m.nblocks >= m.p->live_max)
        return;
    CUresult r = api_malloc_pitch(&p, &pitch, width, height);
    say("malloc_pitch %zu x %zu: %u, %#llx, pitch %zu", width, height, r, p, pitch);
    if (r == CUDA_SUCCESS)
        check(pitch >= width && pitch % 4 == 0, "a pitch of %zu for %zu", pitch, width);
    count_call(r, pitch * height);
    m.pitched = true;
    m.pitch_failed |= r != CUDA_SUCCESS; /* how much was asked for is unknown then */
    obtained(r, p, r == CUDA_SUCCESS ? pitch * height : width * height, DEVICE);
}

void op_malloc_managed(const struct op *op)
{
    CUdeviceptr p = 0;
    size_t size = drawn_size(op->r[0]);
    if (here() == NOBODY || m.nblocks >= m.p->live_max)
        return;
    CUresult r = api_malloc_managed(&p, size, 1 + op->r[1] % 2);
    say("malloc_managed %zu: %u, %#llx", size, r, p);
    obtained(r, p, size, MANAGED);
}

void op_host_alloc(const struct op *op)
{
    void *p = NULL;
    size_t size = drawn_size(op->r[0]);
    unsigned flags = op->r[1] % 8;
    bool plain = op->r[2] % 2;
    if (here() == NOBODY || m.nblocks >= m.p->live_max)
        return;
    CUresult r = api_host_alloc(&p, size, flags, plain);
    say("host_alloc %zu %s%u: %u, %p", size, plain ? "plain " : "", flags, r, p);
    if (r == CUDA_SUCCESS && !m.poisoned) {
        unsigned has;
        fake_spare(true);
        CUresult known = cuMemHostGetFlags(&has, p);
        fake_spare(false);
        check(known == CUDA_SUCCESS && has == (plain ? 0 : flags), "pinned memory of flags %u",
              has);
    }
    obtained(r, (uintptr_t)p, size, PINNED);
}

void op_malloc_async(const struct op *op)
{
    CUdeviceptr p = 0;
    int s = stream_take(op->r[1]);
    size_t size = drawn_size(op->r[0]);
    if (s == NOBODY || captures_here() || m.nblocks >= m.p->live_max)
        return;
    CUresult r = api_malloc_async(&p, size, m.stream[s].handle);
    say("malloc_async %zu: %u, %#llx", size, r, p);
    obtained(r, p, size, POOLED);
}

/* ---- free ---- */

bool freeable(const struct block *b)
{
    return b->pins == 0 && (b->kind != POOLED || !captures_here());
}

/* Deferred, and the cache takes whatever comes. */
bool free_may_not_wait(int d)
{
    const struct xs_gpu_options *o = &m.p->options[d];
    for (unsigned i = 0; i < o->step_count; i++)
        if (o->step[i].backend != XS_GPU_CACHING)
            return false;
    return nothing_waits() && api_has_stats() && !m.captured && !m.pitched && !m.spoilt &&
           !m.limited && o->free_way == XS_GPU_DEFERRED &&
           o->cache_max_bytes >= (uint64_t)4 << 30 && o->cache_age_ns == 0 &&
           o->low_free_bytes == 0 && m.p->size_max <= 4 << 20;
}

/* Strict, and more than the legacy stream was used: the free has waited, as cudaFree does. */
static void check_strict(const struct block *b)
{
    if (!nothing_waits() || captures_here() || !m.others || b->kind == PINNED ||
        b->kind == POOLED || m.p->options[m.context[b->context].device].free_way != XS_GPU_STRICT)
        return;
    for (int s = 0; s < MAX_STREAMS; s++) {
        const struct stream *t = &m.stream[s];
        if (t->used && t->context == b->context && (t->thread == NOBODY || t->thread == (int)me))
            check(fake_pending(t->handle) == 0, "a strict free has left work pending");
    }
}

static void count_free(const struct block *b)
{
    m.totals->frees_pending += b->users != 0 || b->lost != 0;
    if (b->kind == DEVICE || b->kind == MANAGED)
        __atomic_fetch_add(&m.count[m.context[b->context].device].frees, 1, __ATOMIC_RELAXED);
}

/* As CUDA allows it: with work of the block's own context pending. */
void free_one(struct block *b, uint32_t r)
{
    bool from_elsewhere = r % 4 == 0 && !captures_here();
    if (!settle_others(b) || (from_elsewhere && !settle(b))) {
        block_put(b);
        return;
    }
    if (!from_elsewhere)
        m.thread_context[me] = b->context;
    if (here() == NOBODY) {
        block_put(b);
        return;
    }
    unsigned before = fake_pending(FAKE_ALL);
    bool may_not_wait =
        free_may_not_wait(m.context[b->context].device) && b->kind == DEVICE && !b->shared;
    if (b->shared)
        retire(b);
    say("free %#lx (%zu, kind %d, users %#lx)", b->p, b->size, b->kind, b->users);
    count_free(b);
    struct block was = *b;
    block_gone(b);
    fake_life_end(P(was.p));
    CUresult result = was.kind == PINNED ? api_host_free(P(was.p)) : api_free(was.p);
    check(result == CUDA_SUCCESS || m.injected || m.poisoned, "the free of %#lx gives %u", was.p,
          result);
    if (result == CUDA_SUCCESS)
        remember_freed(&was);
    if (may_not_wait)
        check_waited_for_nothing(before, "a deferred free");
    if (!from_elsewhere)
        check_strict(&was);
}

void op_free(const struct op *op)
{
    struct block *b = block_take(op->r[0], freeable);
    if (b != NULL)
        free_one(b, op->r[1]);
}

void op_free_many(const struct op *op)
{
    for (unsigned i = 0; i < 1 + op->r[1] % 12; i++) {
        struct block *b = block_take(op->r[0] + i, freeable);
        if (b != NULL)
            free_one(b, op->r[2] + i);
    }
}

static bool stream_freeable(const struct block *b)
{
    return b->pins == 0 && (b->kind == DEVICE || b->kind == POOLED);
}

/* Ordered after all that uses it, as the program must see to itself. */
void op_free_async(const struct op *op)
{
    int s = stream_take(op->r[1]);
    if (s == NOBODY || captures_here())
        return;
    struct block *b = block_take(op->r[0], stream_freeable);
    if (b == NULL)
        return;
    if (captures_here() || !order(b, s, true)) {
        block_put(b);
        return;
    }
    if (b->shared)
        retire(b);
    say("free_async %#lx (%zu, kind %d) in %d", b->p, b->size, b->kind, s);
    count_free(b);
    struct block was = *b;
    block_gone(b);
    fake_life_end(P(was.p));
    CUresult r = api_free_async(was.p, m.stream[s].handle);
    check(r == CUDA_SUCCESS || m.injected || m.poisoned, "cuMemFreeAsync of %#lx gives %u", was.p,
          r);
}

void block_lost(struct block *b)
{
    say("lost %#lx", b->p);
    remember_freed(b);
    fake_life_end(P(b->p));
    block_gone(b);
}

/* ---- frees that must fail ---- */

static void must_refuse(CUresult r, uint64_t p, const char *what)
{
    say("%s %#lx: %u", what, p, r);
    if (m.injected) /* a free that failed before may be made up for now */
        return;
    check(r != CUDA_SUCCESS, "%s of %#lx succeeds", what, p);
    check(r == CUDA_ERROR_INVALID_VALUE || m.injected || m.poisoned, "%s of %#lx gives %u", what, p,
          r);
}

void op_double_free(const struct op *op)
{
    if (nfreed == 0 || captures_here() || here() == NOBODY)
        return;
    unsigned i = op->r[0] % (nfreed < RING ? nfreed : RING);
    if (live_at(freed[i].p))
        return;
    if (freed[i].kind == PINNED)
        must_refuse(api_host_free(P(freed[i].p)), freed[i].p, "a second free (host)");
    else if (freed[i].kind == DEVICE || freed[i].kind == MANAGED)
        must_refuse(api_free(freed[i].p), freed[i].p, "a second free");
}

void op_interior_free(const struct op *op)
{
    if (captures_here() || here() == NOBODY)
        return;
    struct block *b = block_take(op->r[0], any_block);
    if (b == NULL)
        return;
    if (b->size > 1) {
        uint64_t p = b->p + 1 + op->r[1] % (b->size - 1);
        if (op->r[2] % 2 == 0 && b->size > 512)
            p = b->p + 256 * (1 + op->r[1] % ((b->size - 1) / 256));
        if (b->kind == PINNED)
            must_refuse(api_host_free(P(p)), p, "an interior free (host)");
        else
            must_refuse(api_free(p), p, "an interior free");
    }
    block_put(b);
}

void op_foreign_free(const struct op *op)
{
    static const uint64_t foreign[] = {4096, 0x1234560000, UINT64_MAX & ~(uint64_t)511};
    if (captures_here() || here() == NOBODY)
        return;
    if (op->r[0] % 4 == 3) {
        CUresult r = api_free(0);
        check(r == CUDA_SUCCESS || m.injected || m.poisoned, "the free of 0 gives %u", r);
        return;
    }
    must_refuse(api_free(foreign[op->r[0] % 3]), foreign[op->r[0] % 3], "a foreign free");
}

/* By the other sort's call. */
void op_wrong_free(const struct op *op)
{
    if (captures_here() || here() == NOBODY)
        return;
    struct block *b = block_take(op->r[0], any_block);
    if (b == NULL)
        return;
    if (b->kind == PINNED)
        must_refuse(api_free(b->p), b->p, "the wrong free");
    else
        must_refuse(api_host_free(P(b->p)), b->p, "the wrong free (host)");
    block_put(b);
}

/* ---- questions ---- */

void op_memory_info(const struct op *op)
{
    size_t free = 0, total = 0;
    int c = here();
    (void)op;
    if (c == NOBODY)
        return;
    CUresult r = api_mem_info(&free, &total);
    say("mem_info: %u, %zu of %zu", r, free, total);
    if (m.injected || m.poisoned)
        return;
    check(r == CUDA_SUCCESS, "cuMemGetInfo gives %u", r);
    if (!m.p->turns)
        return;
    size_t really = m.p->bytes_each - fake_used(m.context[c].device);
    struct xs_gpu_stats s;
    check(total == m.p->bytes_each && free >= really && free <= total,
          "cuMemGetInfo: %zu of %zu free, the driver has %zu", free, total, really);
    if (api_stats((unsigned)m.context[c].device, &s) && !captures_here() && !m.spoilt)
        check(free + s.in_use_bytes <= total + (m.nblocks + 1) * m.p->granule ||
                  program_backend_is(m.p, m.context[c].device, XS_GPU_MANAGED),
              "cuMemGetInfo: %zu of %zu free with %lu in use", free, total, s.in_use_bytes);
}

void op_address_range(const struct op *op)
{
    if (here() == NOBODY)
        return;
    struct block *b = block_take(op->r[0], any_block);
    if (b == NULL)
        return;
    CUdeviceptr base = 0;
    size_t size = 0;
    uint64_t p = b->p + op->r[1] % b->size;
    bool no_base = op->r[2] % 4 == 0, no_size = op->r[2] % 4 == 1;
    CUresult r = api_address_range(no_base ? NULL : &base, no_size ? NULL : &size, p);
    if (!m.injected && !m.poisoned)
        check(r == CUDA_SUCCESS && (no_base || base == b->p) && (no_size || size >= b->size),
              "the range of %#lx in %#lx..+%zu: %u, %#llx..+%zu", p, b->p, b->size, r, base, size);
    block_put(b);
}

static bool shareable(const struct block *b)
{
    return b->kind == DEVICE;
}

/* The driver names the whole of its own allocation: that must be the block, from its first byte. */
void op_share(const struct op *op)
{
    CUipcMemHandle handle;
    if (here() == NOBODY || captures_here())
        return;
    struct block *b = block_take(op->r[0], shareable);
    if (b == NULL)
        return;
    CUresult r = api_ipc_export(b->p, &handle);
    say("export %#lx: %u", b->p, r);
    if (r == CUDA_SUCCESS) {
        CUdeviceptr base = 0;
        fake_spare(true);
        cuMemGetAddressRange_v2(&base, NULL, b->p);
        fake_spare(false);
        check(base == b->p || m.poisoned, "an export of %#lx names %#llx", b->p, base);
        b->shared = true;
    }
    block_put(b);
}

static bool changeable(const struct block *b)
{
    return b->kind == DEVICE || b->kind == MANAGED;
}

void op_change_for_good(const struct op *op)
{
    if (here() == NOBODY || captures_here())
        return;
    struct block *b = block_take(op->r[0], changeable);
    if (b == NULL)
        return;
    CUresult r = b->kind == DEVICE ? api_sync_memops(b->p) : api_advise(b->p, b->size);
    say("change %#lx for good: %u", b->p, r);
    b->shared |= r == CUDA_SUCCESS;
    block_put(b);
}

/* ---- control ---- */

void op_clear(const struct op *op)
{
    if (here() == NOBODY)
        return;
    say("clear");
    api_clear(op->r[0] % 2 ? -1 : device_here());
}

void op_cache_limit(const struct op *op)
{
    static const uint64_t limits[] = {0, 4096, 1 << 20, 64 << 20, (uint64_t)4 << 30};
    if (here() == NOBODY)
        return;
    say("cache limit %lu", limits[op->r[0] % 5]);
    m.totals->calls++;
    api_cache_limit(device_here(), limits[op->r[0] % 5]);
    m.limited = true;
    m.limit_open[device_here()] |= captures_here(); /* it cannot be kept now */
}

void op_defragment(const struct op *op)
{
    (void)op;
    if (here() == NOBODY)
        return;
    say("defragment");
    api_defragment(device_here());
}

void op_flush(const struct op *op)
{
    (void)op;
    if (here() == NOBODY || captures_here())
        return;
    say("flush");
    api_flush();
}
