#include "gpu/piece.h"

#include "base/align.h"

/* ---- from the driver ---- */

static CUresult pinned(CUdeviceptr *out, size_t size, unsigned flags)
{
    void *p = NULL;
    CUresult r = xs_cu.cuMemHostAlloc(&p, size, flags);

    *out = (CUdeviceptr)(uintptr_t)p;
    return r;
}

static CUresult ask_driver(unsigned kind, size_t size, CUdeviceptr *out)
{
    switch (kind) {
    case XS_KIND_DEVICE:
    case XS_KIND_DIRECT:
        return xs_cu.cuMemAlloc_v2(out, size);
    case XS_KIND_MANAGED:
    case XS_KIND_MANAGED_GLOBAL:
        return xs_cu.cuMemAllocManaged(out, size, CU_MEM_ATTACH_GLOBAL);
    case XS_KIND_MANAGED_HOST:
        return xs_cu.cuMemAllocManaged(out, size, CU_MEM_ATTACH_HOST);
    default:
        return pinned(out, size, kind - XS_KIND_PINNED);
    }
}

static CUresult ask(struct xs_gpu_shard *s, struct xs_gpu_device *d, unsigned kind, size_t size,
                    CUdeviceptr *out)
{
    uint64_t start = xs_gpu_now();
    CUresult r = ask_driver(kind, size, out);

    XS_GPU_COUNT(s, d, driver_ns, xs_gpu_now() - start);
    if (r == CUDA_SUCCESS)
        XS_GPU_COUNT(s, d, driver_mallocs, 1);
    return r;
}

/* Memory is out. Less of it first, then what the cache has. */
XS_COLD static CUresult ask_again(struct xs_gpu_shard *s, struct xs_gpu_device *d, unsigned kind,
                                  size_t *size, size_t exact, CUdeviceptr *out)
{
    CUresult r = CUDA_ERROR_OUT_OF_MEMORY;
    enum xs_gpu_effort effort = XS_GPU_AT_ONCE;

    if (exact < *size) {
        *size = exact;
        r = ask(s, d, kind, exact, out);
    }
    while (r == CUDA_ERROR_OUT_OF_MEMORY && xs_gpu_flush(s, d, &effort))
        r = ask(s, d, kind, exact, out);
    return r;
}

/* Without a record the block is the program's and the driver's affair: no loss but in the counts.
 */
void xs_gpu_adopt(struct xs_gpu_context *c, unsigned kind, size_t size, CUdeviceptr address)
{
    struct xs_gpu_block *b = xs_gpu_block_new(), *stale = NULL;

    if (b == NULL)
        return;
    b->size = size;
    b->kind = (uint8_t)kind;
    b->bin = (uint16_t)xs_gpu_bin(size);
    b->context = c->index;
    b->generation = atomic_load_explicit(&c->generation, memory_order_relaxed);
    bool ok = xs_gpu_block_insert(b, address, &stale);
    if (stale != NULL)
        xs_gpu_cache_stale(stale);
    if (!ok) {
        xs_gpu_block_drop(b);
        return;
    }
    xs_gpu_use_begins(c->device, kind, size);
    if (!xs_gpu_kind_is_pinned(kind))
        xs_gpu_level_add(&c->device->reserved_bytes, size);
}

CUresult xs_gpu_supply(struct xs_gpu_shard *s, struct xs_gpu_context *c, unsigned kind, size_t size,
                       size_t exact, CUdeviceptr *out)
{
    struct xs_gpu_device *d = c->device;
    CUdeviceptr p = 0;
    CUresult r = ask(s, d, kind, size, &p);

    if (XS_UNLIKELY(r == CUDA_ERROR_OUT_OF_MEMORY))
        r = ask_again(s, d, kind, &size, exact, &p);
    if (r == CUDA_SUCCESS) {
        xs_gpu_adopt(c, kind, size, p);
        *out = p;
    }
    return r;
}

/* ---- to the driver ---- */

/* A block whose context is held (and let go): it and its record are gone, or, with an error, all is
 * as before. */
static CUresult give_back(struct xs_gpu_shard *s, struct xs_gpu_block *b)
{
    struct xs_gpu_context *c = &xs_gpu_contexts[b->context];
    struct xs_gpu_device *d = c->device;
    uint64_t address = xs_gpu_block_base(b);
    bool is_pinned = xs_gpu_kind_is_pinned(b->kind), pushed;
    CUresult r = xs_gpu_context_enter(c, &pushed);

    if (r == CUDA_SUCCESS) {
        struct xs_gpu_block *stale;
        uint64_t start = xs_gpu_now();
        /* First: once the driver has it, the address may be another block's. */
        xs_gpu_block_remove(b);
        r = is_pinned ? xs_cu.cuMemFreeHost((void *)(uintptr_t)address) // NOLINT
                      : xs_cu.cuMemFree_v2(address);
        XS_GPU_COUNT(s, d, driver_ns, xs_gpu_now() - start);
        xs_gpu_context_leave(pushed);
        if (r != CUDA_SUCCESS) {
            (void)xs_gpu_block_insert(b, address, &stale);
            (void)xs_gpu_block_claim(b, address);
        }
    }
    if (r == CUDA_SUCCESS) {
        XS_GPU_COUNT(s, d, driver_frees, 1);
        if (!is_pinned)
            xs_gpu_level_sub(&d->reserved_bytes, b->size);
        xs_gpu_block_drop(b);
    }
    xs_gpu_context_let_go(c);
    return r;
}

static void count_eviction(struct xs_gpu_shard *s, const struct xs_gpu_block *b)
{
    struct xs_gpu_device *d = xs_gpu_contexts[b->context].device;

    XS_GPU_COUNT(s, d, evictions, 1);
    if (!xs_gpu_kind_is_pinned(b->kind))
        atomic_fetch_add_explicit(&d->evicted[b->bin], 1, memory_order_relaxed);
}

bool xs_gpu_evict(struct xs_gpu_shard *s, struct xs_gpu_victims *v, bool by_limit)
{
    bool any = false;

    if (!xs_gpu_gate_open())
        return false;
    any = xs_gpu_cache_victims(s, v);
    for (struct xs_gpu_block *b = v->list, *next; b != NULL; b = next) {
        next = b->older;
        if (b->kind == XS_KIND_PIECE) {
            xs_gpu_piece_return(b);
            continue;
        }
        if (by_limit)
            count_eviction(s, b);
        if (give_back(s, b) != CUDA_SUCCESS)
            xs_gpu_cache_queue(s, b);
    }
    xs_gpu_gate_close();
    return any;
}

/* What is not ready may go too where the driver would have waited for it long ago; but a kernel
 * without end must not keep the cache from working where nobody waits, so there the block itself
 * goes instead, as it would without us. */
static bool make_room(struct xs_gpu_shard *s, struct xs_gpu_device *d, unsigned kind, size_t size)
{
    uint64_t max = xs_gpu_cached_max(d, kind), now = xs_gpu_level_now(xs_gpu_cached(d, kind));

    if (size > max)
        return false;
    struct xs_gpu_victims v = {
        .device = d,
        .pinned = xs_gpu_kind_is_pinned(kind),
        .ready = !xs_gpu_is_single(),
        .bytes = now + size > max ? now + size - max : 1,
    };
    return xs_gpu_evict(s, &v, true);
}

static bool may_be_kept(const struct xs_gpu_block *b)
{
    return b->kind < XS_KINDS && !(atomic_load(&b->marks) & XS_BLOCK_NEVER);
}

static bool keep_in_cache(struct xs_gpu_shard *s, struct xs_gpu_block *b)
{
    struct xs_gpu_device *d = xs_gpu_contexts[b->context].device;

    /* Others may take the room that was made. */
    for (unsigned tries = 0; tries < 8; tries++) {
        if (xs_gpu_cache_put(s, b))
            return true;
        if (!make_room(s, d, b->kind, b->size))
            return false;
    }
    return false;
}

CUresult xs_gpu_keep(struct xs_gpu_shard *s, struct xs_gpu_block *b, const CUstream *after)
{
    struct xs_gpu_context *c = &xs_gpu_contexts[b->context];
    CUresult r = CUDA_ERROR_INVALID_VALUE;

    if (may_be_kept(b) && xs_gpu_is_on() && keep_in_cache(s, b))
        return CUDA_SUCCESS;
    if (!xs_gpu_gate_open()) {
        xs_gpu_cache_queue(s, b);
        return CUDA_SUCCESS;
    }
    if (may_be_kept(b))
        count_eviction(s, b);
    if (after != NULL) /* it may be another context's: the driver would not wait for it */
        (void)xs_cu.cuStreamSynchronize(*after);
    if (xs_gpu_context_hold(c, b->generation))
        r = give_back(s, b);
    xs_gpu_gate_close();
    return r;
}

/* Once through what is there: what the driver refuses comes again at another time. */
static void unqueue(struct xs_gpu_shard *s, struct xs_gpu_shard *from)
{
    struct xs_gpu_block *next;

    if (xs_gpu_is_capturing())
        return;
    for (struct xs_gpu_block *b = xs_gpu_cache_queued(from); b != NULL; b = next) {
        struct xs_gpu_context *c = &xs_gpu_contexts[b->context];
        next = b->older;
        if (xs_gpu_keep(s, b, NULL) != CUDA_SUCCESS)
            xs_gpu_cache_queue(s, b);
        xs_gpu_context_let_go(c);
    }
}

void xs_gpu_unqueue(struct xs_gpu_shard *s, bool all)
{
    unqueue(s, s);
    for (struct xs_gpu_shard *t = xs_gpu_shards(); all && t != NULL; t = t->next)
        if (t != s)
            unqueue(s, t);
}

static bool flush(struct xs_gpu_shard *s, struct xs_gpu_device *d, enum xs_gpu_effort effort)
{
    struct xs_gpu_victims v = {.device = d, .pinned = -1, .ready = true, .bytes = UINT64_MAX};
    uint64_t stamp = atomic_load_explicit(&xs_gpu_epochs.open, memory_order_seq_cst), events = 0;

    if (effort == XS_GPU_AT_ONCE)
        (void)xs_gpu_prove(stamp, stamp, &events);
    else if (effort == XS_GPU_BY_DRIVER)
        xs_gpu_wait_all();
    else
        (void)xs_gpu_prove_within(stamp, d->o.oom_wait_ns, &events);
    XS_GPU_COUNT(s, d, events, events);
    bool any = xs_gpu_evict(s, &v, false);
    return xs_gpu_pieces_spare(s, d, effort == XS_GPU_BY_DRIVER) != 0 || any;
}

uint64_t xs_gpu_kept_bytes(const struct xs_gpu_device *d)
{
    return atomic_load_explicit(&d->range_bytes, memory_order_relaxed) +
           xs_gpu_level_now(&d->cached_bytes) + xs_gpu_level_now(&d->pinned_cached_bytes);
}

bool xs_gpu_flush(struct xs_gpu_shard *s, struct xs_gpu_device *d, enum xs_gpu_effort *effort)
{
    if (*effort == XS_GPU_AT_ONCE) {
        uint64_t before = xs_gpu_level_now(&d->reserved_bytes);
        XS_GPU_COUNT(s, d, flushes, 1);
        xs_gpu_unqueue(s, true);
        if (xs_gpu_level_now(&d->reserved_bytes) < before)
            return true; /* and this step comes again */
    }
    while (*effort <= XS_GPU_BY_DRIVER && xs_gpu_kept_bytes(d) != 0 && !xs_gpu_is_capturing())
        if (flush(s, d, (*effort)++))
            return true;
    return false;
}
