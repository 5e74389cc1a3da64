#include "gpu/range.h"

/* Ranges are given back so many at a time. */
enum { BATCH = 16 };

/* And so many pieces to their sub-allocator, which keeps so many records of theirs. */
enum { AT_ONCE = 64, RECORDS_KEPT = 128 };

/* A range is hardly larger than the piece it was got for: rounding, and the driver's granule. */
#define LITTLE ((size_t)4 << 20)

_Static_assert(XS_RANGE_KINDS == XS_GPU_PARTED, "a slot of the shard's for each");

static _Atomic(struct xs_gpu_range *) ranges;
static _Atomic unsigned opened; /* one and more: any pointer may be a piece */
XS_UNLIKELY_DATA static _Atomic uint64_t
    reserved[XS_GPU_CONTEXTS][XS_RANGE_KINDS]; /* by all threads */

struct xs_gpu_range *xs_gpu_range_next(struct xs_gpu_range *r)
{
    return r == NULL ? atomic_load_explicit(&ranges, memory_order_acquire) : r->next;
}

bool xs_gpu_ranges_used(void)
{
    /* A child's are as some thread of the parent left them. */
    return atomic_load_explicit(&opened, memory_order_relaxed) != 0 && !xs_gpu_is_child();
}

/* It stays, as its shard does. */
static struct xs_gpu_range *new_range(struct xs_gpu_shard *s, struct xs_gpu_context *c,
                                      enum xs_gpu_range_kind kind)
{
    struct xs_gpu_range *r = xs_gpu_store(sizeof(*r)), *there = NULL;

    if (r == NULL)
        return NULL;
    r->lock.kind = XS_LOCK_GPU;
    r->kind = kind;
    r->context = c;
    r->next = atomic_load_explicit(&ranges, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(&ranges, &r->next, r, memory_order_release,
                                                  memory_order_relaxed))
        ;
    /* Either leave_single sees it, or who frees into it sees that the process is not single. */
    atomic_thread_fence(memory_order_seq_cst);
    return atomic_compare_exchange_strong_explicit(&s->range[c->index][kind], &there, r,
                                                   memory_order_acq_rel, memory_order_acquire)
               ? r
               : there; /* the shard of late threads; this one stays unused */
}

static struct xs_sub *open_sub(const struct xs_gpu_options *o, enum xs_gpu_range_kind kind)
{
    if (kind == XS_RANGE_POOL)
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

struct xs_gpu_range *xs_gpu_range_of(struct xs_gpu_shard *s, struct xs_gpu_context *c,
                                     enum xs_gpu_range_kind kind)
{
    struct xs_gpu_range *r = atomic_load_explicit(&s->range[c->index][kind], memory_order_acquire);

    if (r == NULL && (r = new_range(s, c, kind)) == NULL)
        return NULL;
    xs_lock_take(&r->lock);
    if (r->sub == NULL && (r->sub = open_sub(&c->device->o, kind)) != NULL) {
        xs_sub_share_limit(r->sub, &reserved[c->index][kind]);
        atomic_fetch_add_explicit(&opened, 1, memory_order_relaxed);
    }
    bool is_open = r->sub != NULL;
    xs_lock_give(&r->lock);
    return is_open ? r : NULL;
}

/* ---- pieces come back ---- */

struct xs_gpu_block *xs_gpu_range_record(struct xs_gpu_range *r)
{
    struct xs_gpu_block *b = r->spare;

    if (b != NULL) {
        r->spare = b->older;
        r->spare_count--;
    }
    return b;
}

void xs_gpu_range_keep_record(struct xs_gpu_range *r, struct xs_gpu_block *b)
{
    if (r->spare_count == RECORDS_KEPT) {
        xs_gpu_block_drop(b);
        return;
    }
    atomic_store_explicit(&b->marks, 0, memory_order_relaxed);
    b->older = r->spare;
    r->spare = b;
    r->spare_count++;
}

static void give_piece(struct xs_gpu_range *r, struct xs_gpu_block *b)
{
    uint64_t address = xs_gpu_block_base(b);

    /* First: from then on the address may be another piece's. */
    xs_gpu_block_end(b);
    (void)xs_sub_free(r->sub, b->handle, address);
    xs_gpu_range_keep_record(r, b);
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

static void lose(struct xs_gpu_range *r, struct xs_gpu_block *b)
{
    b->newer = r->lost;
    r->lost = b;
    xs_sub_lose(r->sub, xs_gpu_block_base(b));
}

/* Ready for the sub-allocator. */
static bool is_ready(struct xs_gpu_range *r, const struct xs_gpu_block *b)
{
    if (b->stamp <= xs_gpu_done()) {
        return true;
    } else if (xs_gpu_is_single()) { /* under the lock: see leave_single */
        r->unproven = b->stamp > r->unproven ? b->stamp : r->unproven;
        return true;
    }
    return false;
}

static bool is_marked(const struct xs_gpu_block *b)
{
    return atomic_load_explicit(&b->marks, memory_order_relaxed) & XS_BLOCK_NEVER;
}

void xs_gpu_range_put(struct xs_gpu_range *r, struct xs_gpu_block *b)
{
    if (r->sub == NULL) {
        xs_gpu_block_remove(b);
        xs_gpu_block_drop(b);
    } else if (is_marked(b)) {
        lose(r, b);
    } else if (is_ready(r, b)) {
        give_piece(r, b);
    } else {
        put_last(r, b);
    }
}

struct xs_gpu_block *xs_gpu_range_put_all(struct xs_gpu_range *r, struct xs_gpu_block *list,
                                          unsigned *count)
{
    struct xs_sub_given given[AT_ONCE];
    struct xs_gpu_block *next;
    unsigned n = 0, gives = 0;

    for (; list != NULL && list->range == r && n < AT_ONCE; list = next, n++) {
        next = list->older;
        if (XS_UNLIKELY(r->sub == NULL) || XS_UNLIKELY(is_marked(list)) ||
            XS_UNLIKELY(!is_ready(r, list))) {
            xs_gpu_range_put(r, list);
            continue;
        }
        given[gives++] = (struct xs_sub_given){xs_gpu_block_base(list), list->handle};
        xs_gpu_block_end(list);
        xs_gpu_range_keep_record(r, list);
    }
    if (gives != 0)
        xs_sub_free_all(r->sub, given, gives);
    *count = n;
    return list;
}

void xs_gpu_range_drain(struct xs_gpu_range *r, unsigned most)
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

/* True: the context is held. Under the lock. */
static bool hold_context(struct xs_gpu_range *r)
{
    return r->sub != NULL &&
           xs_gpu_context_hold(r->context,
                               atomic_load_explicit(&r->context->generation, memory_order_relaxed));
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
        bool is_here = hold_context(r);
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

/* ---- what must not be used again ---- */

/* Under the lock: a range that has nothing in use but what is lost, and leaves. */
static bool take_lost(struct xs_gpu_range *r, bool unready, uint64_t *address, size_t *size)
{
    uint64_t done = xs_gpu_done();
    bool found = r->lost != NULL && xs_sub_lost(r->sub, address, size);

    for (struct xs_gpu_block *b = r->lost; b != NULL && found && !unready; b = b->newer)
        found = b->stamp <= done || xs_gpu_block_base(b) - *address >= *size;
    for (struct xs_gpu_block **link = &r->lost, *b; found && (b = *link) != NULL;) {
        if (xs_gpu_block_base(b) - *address >= *size) {
            link = &b->newer;
            continue;
        }
        *link = b->newer;
        give_piece(r, b);
    }
    return found && xs_sub_spare_at(r->sub, *address);
}

/* The caller has the gate open. */
static size_t spare_lost(struct xs_gpu_shard *s, struct xs_gpu_range *r, bool unready)
{
    uint64_t address;
    size_t size, bytes = 0;
    bool found;

    do {
        xs_lock_take(&r->lock);
        struct xs_gpu_context *c = r->context;
        bool is_here = r->lost != NULL && hold_context(r);
        found = is_here && take_lost(r, unready, &address, &size);
        xs_lock_give(&r->lock);
        if (found && return_range(s, c, address, size))
            bytes += size;
        if (is_here)
            xs_gpu_context_let_go(c);
    } while (found);
    return bytes;
}

size_t xs_gpu_range_spare(struct xs_gpu_shard *s, struct xs_gpu_range *r, bool unready)
{
    size_t bytes = 0;

    if (xs_gpu_gate_open()) {
        bytes = spare(s, r, ALL) + spare_lost(s, r, unready);
        xs_gpu_gate_close();
    }
    return bytes;
}

bool xs_gpu_range_extend(struct xs_gpu_shard *s, struct xs_gpu_range *r, size_t size, size_t want,
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
    ok = r->sub != NULL && xs_sub_add(r->sub, result == CUDA_SUCCESS ? p : 0, want);
    xs_lock_give(&r->lock);
    if (!ok && result == CUDA_SUCCESS)
        (void)return_range(s, c, p, want);
    return true;
}

/* ---- ranges of other threads ---- */

/* Puts it there, counted as before. */
static bool arrive(struct xs_gpu_range *r, uint64_t address, size_t bytes, uint64_t unproven)
{
    xs_lock_take(&r->lock);
    if (unproven > r->unproven)
        r->unproven = unproven;
    bool ok = r->sub != NULL && xs_sub_add_moved(r->sub, address, bytes);
    xs_lock_give(&r->lock);
    return ok;
}

/* Neither has a place for it: the context is gone meanwhile, with it. */
static void is_gone(const struct xs_gpu_range *r, size_t bytes)
{
    struct xs_gpu_device *d = r->context->device;

    atomic_fetch_sub_explicit(&reserved[r->context->index][r->kind], bytes, memory_order_relaxed);
    xs_gpu_level_sub(&d->reserved_bytes, bytes);
    atomic_fetch_sub_explicit(&d->range_bytes, bytes, memory_order_relaxed);
}

bool xs_gpu_range_move_here(struct xs_gpu_range *r, size_t size)
{
    for (struct xs_gpu_range *from = xs_gpu_range_next(NULL); from != NULL;
         from = xs_gpu_range_next(from)) {
        uint64_t address, unproven;
        size_t bytes;

        if (from == r || from->kind != r->kind || from->context != r->context ||
            !xs_lock_try(&from->lock))
            continue;
        bool found = from->sub != NULL && xs_sub_move_idle(from->sub, size, &address, &bytes);
        /* No free piece of a younger stamp, of this range too, went back unproven. */
        unproven = from->unproven;
        xs_lock_give(&from->lock);
        if (!found)
            continue;
        if (arrive(r, address, bytes, unproven))
            return true;
        if (!arrive(from, address, bytes, unproven)) {
            is_gone(r, bytes);
            return false;
        }
    }
    return false;
}

/* ---- ranges that come back as one ---- */

/* Has the device nothing to do at this moment? */
static bool is_idle(struct xs_gpu_shard *s, struct xs_gpu_range *r)
{
    uint64_t open = atomic_load_explicit(&xs_gpu_epochs.open, memory_order_seq_cst), events = 0;
    bool proven = xs_gpu_prove(open, open, &events);

    XS_GPU_COUNT(s, r->context->device, events, events);
    return proven;
}

bool xs_gpu_range_merge(struct xs_gpu_shard *s, struct xs_gpu_range *r)
{
    xs_lock_take(&r->lock);
    bool is_due = r->sub != NULL && xs_sub_merge_due(r->sub);
    xs_lock_give(&r->lock);
    if (!is_due)
        return false;
    if (is_idle(s, r) && xs_gpu_gate_open()) {
        size_t bytes = spare(s, r, MERGE);
        xs_gpu_gate_close();
        return bytes != 0;
    }
    xs_lock_take(&r->lock);
    if (r->sub != NULL)
        xs_sub_merge_later(r->sub);
    xs_lock_give(&r->lock);
    return false;
}

enum { NOTHING, MERGES = 1, UNUSEDS = 2, LOST = 4 };

/* What there is to do, unless the device was busy a moment ago. Under the lock. */
static unsigned due(struct xs_gpu_range *r)
{
    uint64_t address;
    size_t size;

    if (r->sub == NULL)
        return NOTHING;
    unsigned what = (xs_sub_merge_due(r->sub) ? MERGES : 0) |
                    (xs_sub_spare_due(r->sub) ? UNUSEDS : 0) |
                    (r->lost != NULL && xs_sub_lost(r->sub, &address, &size) ? LOST : 0);
    if (what == NOTHING || r->until_idle == 0)
        return what;
    r->until_idle--;
    return NOTHING;
}

/* The driver waits for the device when it takes a range: as in a native free, but a deferred one
 * does not. */
void xs_gpu_range_tidy(struct xs_gpu_shard *s, struct xs_gpu_range *r, bool waits)
{
    xs_lock_take(&r->lock);
    unsigned what = due(r);
    xs_lock_give(&r->lock);
    if (what == NOTHING)
        return;
    if (!(waits && r->context->device->o.free_way == XS_GPU_STRICT) && !is_idle(s, r)) {
        xs_lock_take(&r->lock);
        r->until_idle = XS_GPU_BUSY;
        xs_lock_give(&r->lock);
        return;
    }
    if (!xs_gpu_gate_open())
        return;
    if (what & (MERGES | UNUSEDS))
        (void)spare(s, r, what & MERGES ? MERGE : UNUSED);
    if (what & LOST)
        (void)spare_lost(s, r, true);
    xs_gpu_gate_close();
}

/* ---- what is gone ---- */

void xs_gpu_pieces_forget(struct xs_gpu_context *c)
{
    for (struct xs_gpu_range *r = xs_gpu_range_next(NULL); r != NULL; r = xs_gpu_range_next(r)) {
        struct xs_sub_stats stats = {0};
        if (r->context != c)
            continue;
        xs_lock_take(&r->lock);
        if (r->sub != NULL) {
            xs_sub_stats_get(r->sub, &stats);
            xs_sub_close(r->sub);
            atomic_fetch_sub_explicit(&opened, 1, memory_order_relaxed);
        }
        r->sub = NULL;
        r->oldest = r->youngest = r->lost = NULL;
        for (struct xs_gpu_block *b; (b = xs_gpu_range_record(r)) != NULL;)
            xs_gpu_block_drop(b);
        r->unproven = 0;
        r->until_idle = 0;
        xs_lock_give(&r->lock);
        xs_gpu_level_sub(&c->device->reserved_bytes, stats.reserved_bytes);
        atomic_fetch_sub_explicit(&c->device->range_bytes, stats.reserved_bytes,
                                  memory_order_relaxed);
    }
}

uint64_t xs_gpu_pieces_unproven(void)
{
    uint64_t youngest = 0;

    for (struct xs_gpu_range *r = xs_gpu_range_next(NULL); r != NULL; r = xs_gpu_range_next(r)) {
        xs_lock_take(&r->lock);
        youngest = r->unproven > youngest ? r->unproven : youngest;
        xs_lock_give(&r->lock);
    }
    return youngest;
}
