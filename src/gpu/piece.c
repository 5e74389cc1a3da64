#include "gpu/piece.h"

/* Pieces that wait are looked through so many at a time, and ranges given back; so often a malloc
 * looks again; so many chances to merge are let go when the device was busy at one. */
enum { DRAIN = 64, BATCH = 16, TRIES = 12, BUSY = 16 };

/* A range is hardly larger than the piece it was got for: rounding, and the driver's granule. */
#define LITTLE ((size_t)4 << 20)

enum { POOL, BFC, KINDS };

struct xs_gpu_range {
    struct xs_lock lock;
    struct xs_sub *sub; /* NULL: not yet */
    struct xs_gpu_context *context;
    struct xs_gpu_block *oldest, *youngest; /* that wait, through `newer` */
    uint64_t unproven; /* no free piece of a younger stamp was given back by `single` alone */
    uint64_t looked_ns;
    uint32_t until_merge; /* so many times more it is not tried */
};

static struct xs_gpu_range ranges[XS_GPU_CONTEXTS][KINDS];
static _Atomic unsigned opened; /* one and more: any pointer may be a piece */

static struct xs_gpu_range *next_range(struct xs_gpu_range *r)
{
    r = r == NULL ? &ranges[0][0] : r + 1;
    return r < &ranges[0][0] + (size_t)XS_GPU_CONTEXTS * KINDS ? r : NULL;
}

static bool is_used(void)
{
    return atomic_load_explicit(&opened, memory_order_relaxed) != 0;
}

static struct xs_sub *open_sub(const struct xs_gpu_options *o, unsigned kind)
{
    if (kind == POOL)
        return xs_sub_pool_open(&(struct xs_sub_pool_options){
            .min_block = o->pool_min_block,
            .max_block = o->pool_max_block,
            .align = o->align,
            .growth = o->pool_growth,
            .limit_bytes = o->pool_limit_bytes,
            .class_blocks = o->pool_class_blocks,
        });
    return xs_sub_bfc_open(&(struct xs_sub_bfc_options){
        .unit = o->align,
        .initial_bytes = o->bfc_initial_bytes,
        .limit_bytes = o->bfc_limit_bytes,
    });
}

/* ---- pieces come back, under the lock ---- */

static void give_piece(struct xs_gpu_range *r, struct xs_gpu_block *b)
{
    uint32_t handle = b->handle;

    /* First: from then on the address may be another piece's. */
    xs_gpu_block_remove(b);
    (void)xs_sub_free(r->sub, handle);
    xs_gpu_block_drop(b);
}

static void drain(struct xs_gpu_range *r, unsigned most)
{
    uint64_t done = xs_gpu_done();

    while (most-- != 0 && r->oldest != NULL && r->oldest->stamp <= done) {
        struct xs_gpu_block *b = r->oldest;
        r->oldest = b->newer;
        if (r->oldest == NULL)
            r->youngest = NULL;
        give_piece(r, b);
    }
}

/* ---- ranges from the driver and back to it ---- */

static CUresult get_range(struct xs_gpu_shard *s, struct xs_gpu_context *c, size_t want,
                          CUdeviceptr *out)
{
    struct xs_gpu_device *d = c->device;
    uint64_t start = xs_gpu_now();
    CUresult r = xs_cu.cuMemAlloc_v2(out, want);

    XS_GPU_COUNT(s, d, driver_ns, xs_gpu_now() - start);
    if (r == CUDA_SUCCESS) {
        XS_GPU_COUNT(s, d, driver_mallocs, 1);
        xs_gpu_level_add(&d->reserved_bytes, want);
        atomic_fetch_add_explicit(&d->range_bytes, want, memory_order_relaxed);
    }
    return r;
}

static bool return_range(struct xs_gpu_shard *s, struct xs_gpu_context *c, CUdeviceptr p,
                         size_t size)
{
    struct xs_gpu_device *d = c->device;
    uint64_t start = xs_gpu_now();
    bool pushed;
    CUresult r = xs_gpu_context_enter(c, &pushed);

    if (r != CUDA_SUCCESS)
        return false;
    r = xs_cu.cuMemFree_v2(p);
    xs_gpu_context_leave(pushed);
    XS_GPU_COUNT(s, d, driver_ns, xs_gpu_now() - start);
    if (r != CUDA_SUCCESS)
        return false;
    XS_GPU_COUNT(s, d, driver_frees, 1);
    xs_gpu_level_sub(&d->reserved_bytes, size);
    atomic_fetch_sub_explicit(&d->range_bytes, size, memory_order_relaxed);
    return true;
}

enum leave { UNUSED, ALL, MERGE };

/* What the driver refuses to take stays ours. The caller has the gate open. */
static size_t spare(struct xs_gpu_shard *s, struct xs_gpu_range *r, enum leave which)
{
    uint64_t address[BATCH];
    size_t size[BATCH], bytes = 0;
    unsigned n, refused = 0;

    do {
        xs_lock_take(&r->lock);
        struct xs_gpu_context *c = r->context;
        bool is_here =
            r->sub != NULL &&
            xs_gpu_context_hold(c, atomic_load_explicit(&c->generation, memory_order_relaxed));
        n = !is_here         ? 0
            : which == MERGE ? xs_sub_merge(r->sub, address, size, BATCH)
                             : xs_sub_spare(r->sub, which == ALL, address, size, BATCH);
        xs_lock_give(&r->lock);
        for (unsigned i = 0; i < n; i++) {
            if (return_range(s, c, address[i], size[i])) {
                bytes += size[i];
                continue;
            }
            refused++;
            xs_lock_take(&r->lock);
            (void)xs_sub_add(r->sub, address[i], size[i]);
            xs_lock_give(&r->lock);
        }
        if (is_here)
            xs_gpu_context_let_go(c);
    } while (n == BATCH && refused == 0);
    return bytes;
}

static size_t spare_now(struct xs_gpu_shard *s, struct xs_gpu_range *r, enum leave which)
{
    size_t bytes = 0;

    if (xs_gpu_gate_open()) {
        bytes = spare(s, r, which);
        xs_gpu_gate_close();
    }
    return bytes;
}

/* ---- allocation ---- */

static struct xs_gpu_range *range_of(struct xs_gpu_context *c, enum xs_gpu_backend backend)
{
    unsigned kind = backend == XS_GPU_POOL ? POOL : BFC;
    struct xs_gpu_range *r = &ranges[c->index][kind];

    xs_lock_take(&r->lock);
    if (r->sub == NULL) {
        r->sub = open_sub(&c->device->o, kind);
        r->context = c;
        r->looked_ns = xs_gpu_tick();
        if (r->sub != NULL)
            atomic_fetch_add_explicit(&opened, 1, memory_order_relaxed);
    }
    xs_lock_give(&r->lock);
    return r->sub != NULL ? r : NULL;
}

static enum xs_sub_result take(struct xs_gpu_range *r, size_t size, struct xs_sub_block *out,
                               size_t *want, uint64_t *waits, bool *by_order)
{
    enum xs_sub_result result;

    xs_lock_take(&r->lock);
    drain(r, DRAIN);
    result = xs_sub_alloc(r->sub, size, out, want);
    if (result != XS_SUB_OK && r->oldest != NULL) { /* perhaps what is left will do */
        drain(r, UINT32_MAX);
        result = xs_sub_alloc(r->sub, size, out, want);
    }
    *waits = r->oldest != NULL ? r->youngest->stamp : 0;
    *by_order = r->unproven > xs_gpu_done();
    xs_lock_give(&r->lock);
    return result;
}

static CUresult enter_piece(struct xs_gpu_range *r, const struct xs_sub_block *piece,
                            CUdeviceptr *out)
{
    struct xs_gpu_context *c = r->context;
    struct xs_gpu_block *b = xs_gpu_block_new(), *stale = NULL;

    if (b != NULL) {
        b->size = piece->size;
        b->handle = piece->handle;
        b->range = r;
        b->kind = XS_KIND_PIECE;
        b->context = c->index;
        b->generation = atomic_load_explicit(&c->generation, memory_order_relaxed);
        if (xs_gpu_block_insert(b, piece->address, &stale)) {
            if (stale != NULL)
                xs_gpu_cache_stale(stale);
            xs_gpu_use_begins(c->device, XS_KIND_PIECE, piece->size);
            *out = piece->address;
            return CUDA_SUCCESS;
        }
        xs_gpu_block_drop(b);
    }
    xs_lock_take(&r->lock);
    (void)xs_sub_free(r->sub, piece->handle);
    xs_lock_give(&r->lock);
    return CUDA_ERROR_NOT_SUPPORTED;
}

/* One more range. False: it is of no use to try again. Where less would do, nothing is flushed, or
 * waited for, in order to get more. */
static bool extend(struct xs_gpu_shard *s, struct xs_gpu_range *r, size_t size, size_t want,
                   enum xs_gpu_effort *effort)
{
    bool is_least = want <= size + size / 8 + LITTLE;
    struct xs_gpu_context *c = r->context;
    CUdeviceptr p = 0;
    CUresult result = get_range(s, c, want, &p);
    bool ok;

    while (result == CUDA_ERROR_OUT_OF_MEMORY && is_least && xs_gpu_flush(s, c->device, effort))
        result = get_range(s, c, want, &p);
    if (result != CUDA_SUCCESS && result != CUDA_ERROR_OUT_OF_MEMORY)
        return false;
    xs_lock_take(&r->lock);
    ok = xs_sub_add(r->sub, result == CUDA_SUCCESS ? p : 0, want);
    xs_lock_give(&r->lock);
    if (!ok && result == CUDA_SUCCESS)
        (void)return_range(s, c, p, want);
    return true;
}

static void count(struct xs_gpu_shard *s, struct xs_gpu_device *d, bool hit, bool by_order,
                  bool waited_for)
{
    if (hit && by_order)
        XS_GPU_COUNT(s, d, reuse_ordered, 1);
    else if (hit)
        XS_GPU_COUNT(s, d, reuse_waited, 1);
    else if (waited_for)
        XS_GPU_COUNT(s, d, misses_stream, 1);
    else
        XS_GPU_COUNT(s, d, misses_cold, 1);
}

CUresult xs_gpu_piece_get(struct xs_gpu_shard *s, struct xs_gpu_context *c,
                          enum xs_gpu_backend backend, size_t size, CUdeviceptr *out, bool *hit)
{
    struct xs_gpu_range *r = range_of(c, backend);
    enum xs_gpu_effort effort = XS_GPU_AT_ONCE;
    bool by_order, asked = false;
    struct xs_sub_block piece;
    uint64_t waits = 0;
    size_t want = 0;

    *hit = true;
    for (unsigned i = 0; r != NULL && i < TRIES; i++) {
        enum xs_sub_result result = take(r, size, &piece, &want, &waits, &by_order);
        if (result == XS_SUB_OK) {
            CUresult entered = enter_piece(r, &piece, out);
            if (entered == CUDA_SUCCESS)
                count(s, c->device, *hit, by_order, waits != 0);
            return entered;
        }
        if (waits != 0 && !asked) {
            uint64_t events = 0;
            bool proven = xs_gpu_prove(waits, waits, &events);
            asked = true;
            XS_GPU_COUNT(s, c->device, events, events);
            if (proven)
                continue;
        }
        *hit = false;
        /* Beyond the limit whole free ranges may be in the way: giving them back may wait for the
         * device, which is for the next free to do. */
        if (result != XS_SUB_NEED || !extend(s, r, size, want, &effort))
            break;
    }
    *hit = false;
    return CUDA_ERROR_NOT_SUPPORTED;
}

/* ---- free ---- */

/* Has the device nothing to do at this moment? */
static bool is_idle(struct xs_gpu_shard *s, struct xs_gpu_range *r)
{
    uint64_t open = atomic_load_explicit(&xs_gpu_epochs.open, memory_order_seq_cst), events = 0;
    bool proven = xs_gpu_prove(open, open, &events);

    XS_GPU_COUNT(s, r->context->device, events, events);
    return proven;
}

/* Ranges are to come back as one. The driver waits for the device when it takes them: as in a
 * native free, but a deferred one does not. Under the lock; false: not now. */
static bool merge_is_due(struct xs_gpu_range *r)
{
    if (r->sub == NULL || !xs_sub_merge_due(r->sub))
        return false;
    if (r->until_merge != 0)
        r->until_merge--;
    return r->until_merge == 0;
}

/* `waits`: the caller's free is one that may wait for the device, as a native one. */
static bool may_merge(struct xs_gpu_shard *s, struct xs_gpu_range *r, bool waits)
{
    if ((waits && r->context->device->o.free_way == XS_GPU_STRICT) || is_idle(s, r))
        return true;
    xs_lock_take(&r->lock);
    r->until_merge = BUSY;
    xs_lock_give(&r->lock);
    return false;
}

static void put_last(struct xs_gpu_range *r, struct xs_gpu_block *b)
{
    b->newer = NULL;
    if (r->youngest != NULL)
        r->youngest->newer = b;
    else
        r->oldest = b;
    r->youngest = b;
}

void xs_gpu_piece_put(struct xs_gpu_shard *s, struct xs_gpu_block *b, bool waits)
{
    struct xs_gpu_range *r = b->range;

    if (atomic_load_explicit(&b->marks, memory_order_relaxed) & XS_BLOCK_NEVER)
        return; /* nobody's any more, as long as its range lasts */
    xs_lock_take(&r->lock);
    if (r->sub == NULL) {
        xs_gpu_block_remove(b);
        xs_gpu_block_drop(b);
    } else if (b->stamp <= xs_gpu_done()) {
        give_piece(r, b);
    } else if (xs_gpu_is_single()) { /* under the lock: see leave_single */
        r->unproven = b->stamp > r->unproven ? b->stamp : r->unproven;
        give_piece(r, b);
    } else {
        put_last(r, b);
        drain(r, DRAIN);
    }
    bool is_due = merge_is_due(r);
    xs_lock_give(&r->lock);
    (void)spare_now(s, r, is_due && may_merge(s, r, waits) ? MERGE : UNUSED);
}

/* ---- questions ---- */

bool xs_gpu_piece_around(CUdeviceptr p, struct xs_sub_block *out, bool *in_use)
{
    bool found = false;

    for (struct xs_gpu_range *r = next_range(NULL); is_used() && r != NULL && !found;
         r = next_range(r)) {
        xs_lock_take(&r->lock);
        found = r->sub != NULL && xs_sub_find(r->sub, p, out, in_use);
        xs_lock_give(&r->lock);
    }
    return found;
}

bool xs_gpu_piece_range_at(CUdeviceptr p)
{
    struct xs_sub_block piece;
    CUdeviceptr base;
    size_t size;
    bool in_use;

    if (!is_used())
        return false;
    /* Its first bytes may be lost to the alignment: the middle is some piece's in any case. */
    return xs_gpu_piece_around(p, &piece, &in_use) ||
           (xs_cu.cuMemGetAddressRange_v2(&base, &size, p) == CUDA_SUCCESS && base == p &&
            xs_gpu_piece_around(p + size / 2, &piece, &in_use));
}

size_t xs_gpu_pieces_spare(struct xs_gpu_shard *s, struct xs_gpu_device *d, bool unready)
{
    size_t bytes = 0;

    for (struct xs_gpu_range *r = next_range(NULL); is_used() && r != NULL; r = next_range(r)) {
        xs_lock_take(&r->lock);
        bool wanted = r->sub != NULL && r->context->device == d;
        if (wanted) {
            drain(r, UINT32_MAX);
            wanted = unready || r->unproven <= xs_gpu_done();
        }
        xs_lock_give(&r->lock);
        if (wanted)
            bytes += spare_now(s, r, ALL);
    }
    return bytes;
}

void xs_gpu_pieces_look(struct xs_gpu_shard *s, struct xs_gpu_device *d)
{
    uint64_t interval = d->o.pool_defragment_ns, now;

    if (interval == 0 || !is_used())
        return;
    now = xs_gpu_tick();
    uint64_t last = atomic_load_explicit(&d->defragmented_ns, memory_order_relaxed);
    if (now - last >= interval &&
        atomic_compare_exchange_strong_explicit(&d->defragmented_ns, &last, now,
                                                memory_order_relaxed, memory_order_relaxed))
        (void)xs_gpu_pieces_spare(s, d, true);
}

void xs_gpu_pieces_forget(struct xs_gpu_context *c)
{
    for (unsigned k = 0; k < KINDS; k++) {
        struct xs_gpu_range *r = &ranges[c->index][k];
        struct xs_sub_stats stats = {0};
        xs_lock_take(&r->lock);
        if (r->sub != NULL) {
            xs_sub_stats_get(r->sub, &stats);
            xs_sub_close(r->sub);
            atomic_fetch_sub_explicit(&opened, 1, memory_order_relaxed);
        }
        r->sub = NULL;
        r->oldest = r->youngest = NULL;
        r->unproven = 0;
        r->until_merge = 0;
        xs_lock_give(&r->lock);
        xs_gpu_level_sub(&c->device->reserved_bytes, stats.reserved_bytes);
        atomic_fetch_sub_explicit(&c->device->range_bytes, stats.reserved_bytes,
                                  memory_order_relaxed);
    }
}

uint64_t xs_gpu_pieces_unproven(void)
{
    uint64_t youngest = 0;

    for (struct xs_gpu_range *r = next_range(NULL); r != NULL; r = next_range(r)) {
        xs_lock_take(&r->lock);
        youngest = r->unproven > youngest ? r->unproven : youngest;
        xs_lock_give(&r->lock);
    }
    return youngest;
}

void xs_gpu_pieces_stats(const struct xs_gpu_device *d, struct xs_gpu_stats *out, bool may_lock)
{
    uint64_t free_bytes = 0;

    for (struct xs_gpu_range *r = next_range(NULL); r != NULL; r = next_range(r)) {
        struct xs_sub_stats stats = {0};
        if (!xs_lock_try(&r->lock)) {
            if (!may_lock)
                continue;
            xs_lock_take(&r->lock);
        }
        if (r->sub != NULL && r->context->device == d)
            xs_sub_stats_get(r->sub, &stats);
        xs_lock_give(&r->lock);
        free_bytes += stats.free_bytes;
        out->slabs += stats.ranges;
        out->slabs_given_back += stats.ranges_spared;
        if (stats.largest_free_bytes > out->largest_free_bytes)
            out->largest_free_bytes = stats.largest_free_bytes;
    }
    if (free_bytes != 0)
        out->fragmentation = 1 - (double)out->largest_free_bytes / (double)free_bytes;
}
