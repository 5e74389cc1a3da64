#include "gpu/piece.h"

#include "base/align.h"
#include "gpu/range.h"

/* Pieces that wait are looked through so many at a time; so often a malloc looks again. */
enum { DRAIN = 64, TRIES = 12 };

#define LITTLE ((size_t)2 << 20)
#define MANY   32

/* Every so many looks, which is every 16384 frees of a thread, its pieces that nobody wanted for as
 * many frees go back. */
enum { OLD_LOOKS = 256, OLD_FREES = 16384 };

static enum xs_gpu_place place_of(enum xs_gpu_range_kind kind)
{
    return kind == XS_RANGE_POOL ? XS_PLACE_POOL : XS_PLACE_BFC;
}

/* What the sub-allocator makes of a size; 0: it is too large for it. Asked of the options, since a
 * piece that is cached needs no look at the sub-allocator. */
static size_t rounded(const struct xs_gpu_options *o, enum xs_gpu_range_kind kind, size_t size)
{
    size_t unit = o->pool_min_block > o->align ? o->pool_min_block : o->align;

    if (kind == XS_RANGE_BFC)
        return xs_align_up(size, o->align);
    return size <= o->pool_max_block ? xs_sub_pool_rounded(unit, size) : 0;
}

/* How far it was when every thread's pieces went back last. */
XS_UNLIKELY_DATA static _Atomic uint64_t flowed[XS_GPU_DEVICES_MAX];

/* ---- pieces come back from the caches ---- */

void xs_gpu_piece_return(struct xs_gpu_block *b)
{
    struct xs_gpu_range *r = b->range;
    struct xs_gpu_context *c = &xs_gpu_contexts[b->context];

    xs_lock_take(&r->lock);
    xs_gpu_range_put(r, b);
    xs_lock_give(&r->lock);
    xs_gpu_context_let_go(c);
}

static void return_all(struct xs_gpu_block *list)
{
    while (list != NULL) {
        struct xs_gpu_range *r = list->range;
        unsigned n;
        xs_lock_take(&r->lock);
        list = xs_gpu_range_put_all(r, list, &n);
        xs_lock_give(&r->lock);
        xs_gpu_context_let_go_of(r->context, n);
    }
}

/* All of the device's that are ready: the thread's own, or every thread's. True: some came. */
enum whose { OWN, ALL };
static bool flow_back(struct xs_gpu_shard *s, struct xs_gpu_device *d, enum whose whose,
                      struct xs_gpu_victims *v)
{
    *v = (struct xs_gpu_victims){
        .device = d, .ready = !xs_gpu_is_single(), .only = XS_VICTIMS_PIECES, .bytes = UINT64_MAX};
    bool any = whose == OWN ? xs_gpu_cache_own_victims(s, v) : xs_gpu_cache_victims(s, v);
    return_all(v->list);
    return any;
}

static bool no_use(struct xs_gpu_device *d, struct xs_gpu_victims *v)
{
    *v = (struct xs_gpu_victims){.device = d};
    if (xs_gpu_level_now(&d->cached_bytes) != 0)
        v->left_stamp = atomic_load_explicit(&xs_gpu_epochs.open, memory_order_relaxed);
    return false;
}

/* The thread's own, but what is freed is not ready before another epoch is done: until then there
 * is no use in looking again. */
static bool flow_back_if_any(struct xs_gpu_shard *s, struct xs_gpu_context *c,
                             struct xs_gpu_victims *v)
{
    struct xs_gpu_bins *bins = xs_gpu_bins(s, c, XS_KIND_DEVICE);
    uint64_t done = xs_gpu_done();

    if (bins == NULL || xs_gpu_is_single())
        return flow_back(s, c->device, OWN, v);
    if (__atomic_load_n(&bins->flowed_done, __ATOMIC_RELAXED) == done)
        return no_use(c->device, v);
    bool any = flow_back(s, c->device, OWN, v);
    __atomic_store_n(&bins->flowed_done, done, __ATOMIC_RELAXED);
    return any;
}

/* The same of all threads'. */
static bool flow_back_all_if_any(struct xs_gpu_shard *s, struct xs_gpu_device *d,
                                 struct xs_gpu_victims *v)
{
    uint64_t done = xs_gpu_done();

    if (!xs_gpu_is_single() &&
        atomic_load_explicit(&flowed[d->number], memory_order_relaxed) == done)
        return no_use(d, v);
    bool any = flow_back(s, d, ALL, v);
    atomic_store_explicit(&flowed[d->number], done, memory_order_relaxed);
    return any;
}

/* ---- allocation ---- */

/* *record: a record for it, if one was left. */
static enum xs_sub_result take(struct xs_gpu_range *r, size_t size, struct xs_sub_block *out,
                               struct xs_gpu_block **record, size_t *want, bool *by_order)
{
    enum xs_sub_result result;

    xs_lock_take(&r->lock);
    xs_gpu_range_drain(r, DRAIN);
    result = r->sub != NULL ? xs_sub_alloc(r->sub, size, out, want) : XS_SUB_NONE;
    if (result != XS_SUB_OK && r->oldest != NULL) { /* perhaps what is left will do */
        xs_gpu_range_drain(r, UINT32_MAX);
        result = xs_sub_alloc(r->sub, size, out, want);
    }
    *by_order = r->unproven > xs_gpu_done();
    *record = result == XS_SUB_OK ? xs_gpu_range_record(r) : NULL;
    xs_lock_give(&r->lock);
    return result;
}

/* Before a piece can be freed into it: other bins need not be looked through. */
static void note_bin(struct xs_gpu_device *d, unsigned bin)
{
    uint64_t bit = (uint64_t)1 << (bin % 64);

    if (XS_LIKELY(atomic_load_explicit(&d->cut[bin / 64], memory_order_relaxed) & bit))
        return;
    atomic_fetch_or_explicit(&d->cut[bin / 64], bit, memory_order_relaxed);
    atomic_fetch_or_explicit(&d->cut_words, (uint64_t)1 << bin / 64, memory_order_release);
}

static struct xs_gpu_block *new_record(struct xs_gpu_range *r)
{
    struct xs_gpu_block *b = xs_gpu_block_new();

    if (b != NULL) {
        b->range = r;
        b->kind = XS_KIND_PIECE;
        b->context = r->context->index;
    }
    return b;
}

/* The record of a piece that was just cut. */
XS_INLINE void describe(struct xs_gpu_block *b, struct xs_gpu_context *c, size_t size,
                        uint32_t handle, unsigned bin, uint32_t generation)
{
    b->size = size;
    b->handle = handle;
    b->bin = (uint16_t)bin;
    xs_gpu_block_set_home(b, c);
    b->stream = NULL;
    b->generation = generation;
}

/* A piece that was just cut becomes the program's; `b`: its record, NULL: none was left. */
static CUresult enter_piece(struct xs_gpu_shard *s, struct xs_gpu_range *r,
                            const struct xs_sub_block *piece, unsigned bin, struct xs_gpu_block *b,
                            CUdeviceptr *out)
{
    struct xs_gpu_context *c = r->context;
    struct xs_gpu_block *stale = NULL;

    if (XS_UNLIKELY(b == NULL) && (b = new_record(r)) == NULL)
        goto fails;
    describe(b, c, piece->size, piece->handle, bin,
             atomic_load_explicit(&c->generation, memory_order_relaxed));
    if (!xs_gpu_block_insert_again(s, b, piece->address)) {
        if (!xs_gpu_block_insert(b, piece->address, &stale)) {
            xs_gpu_block_drop(b);
            goto fails;
        }
        if (stale != NULL)
            xs_gpu_cache_stale(stale);
    }
    xs_gpu_held_add(c->device, piece->size);
    *out = piece->address;
    return CUDA_SUCCESS;
fails:
    xs_lock_take(&r->lock);
    (void)xs_sub_free(r->sub, piece->handle, piece->address);
    xs_lock_give(&r->lock);
    return CUDA_ERROR_NOT_SUPPORTED;
}

static void count(struct xs_gpu_shard *s, struct xs_gpu_device *d, bool hit, bool by_order,
                  bool waited_for)
{
    if (hit)
        XS_GPU_COUNT(s, d, hits_cut, 1);
    if (hit && by_order)
        XS_GPU_COUNT(s, d, reuse_ordered, 1);
    else if (hit)
        XS_GPU_COUNT(s, d, reuse_waited, 1);
    else if (waited_for)
        XS_GPU_COUNT(s, d, misses_stream, 1);
    else
        XS_GPU_COUNT(s, d, misses_cold, 1);
}

/* ---- a piece ---- */

/* From the thread's own cache. */
static bool get_cached(struct xs_gpu_shard *s, struct xs_gpu_want *w, CUdeviceptr *out)
{
    struct xs_gpu_device *d = w->context->device;
    struct xs_gpu_block *b = xs_gpu_cache_take(s, w);

    if (b == NULL)
        return false;
    if (w->by_order)
        XS_GPU_COUNT(s, d, reuse_ordered, 1);
    else if (w->by_stream)
        XS_GPU_COUNT(s, d, reuse_stream, 1);
    else
        XS_GPU_COUNT(s, d, reuse_waited, 1);
    xs_gpu_use_begins(d, XS_KIND_PIECE, b->size);
    *out = xs_gpu_block_hand_out(b);
    return true;
}

/* In use, or cached. */
static uint64_t held(const struct xs_gpu_device *d)
{
    return atomic_load_explicit(&d->held, memory_order_relaxed);
}

/* More than half as much as the program holds. Then it is likely to be at something else than
 * before, and pieces that stay where they are would tear the ranges apart. What the least range
 * holds is never much. */
static bool is_much_cached(const struct xs_gpu_device *d)
{
    uint64_t cached = xs_gpu_level_now(&d->cached_bytes);

    return cached > LITTLE && cached > held(d) / 3;
}

/* A size that is not cached, and much else is: that goes back first, proven if need be. */
static void change_over(struct xs_gpu_shard *s, struct xs_gpu_range *r)
{
    struct xs_gpu_device *d = r->context->device;
    struct xs_gpu_bins *bins = xs_gpu_bins(s, r->context, XS_KIND_DEVICE);
    uint32_t n = bins != NULL ? __atomic_load_n(&bins->until_flow, __ATOMIC_RELAXED) : 1;
    struct xs_gpu_victims v;
    bool any = flow_back_if_any(s, r->context, &v);

    if (!any && v.left_stamp != 0 && n == 0) {
        uint64_t events = 0;
        (void)xs_gpu_prove(v.left_stamp, v.left_stamp, &events);
        XS_GPU_COUNT(s, d, events, events);
        any = flow_back_if_any(s, r->context, &v);
        /* Whole blocks that are cached too may make much of little. */
        n = any && v.taken_bytes > held(d) / 8 ? 1 : XS_GPU_BUSY;
    }
    if (n != 0 && bins != NULL)
        __atomic_store_n(&bins->until_flow, n - 1, __ATOMIC_RELAXED);
    if (any)
        (void)xs_gpu_range_merge(s, r);
}

/* There was no room: what the thread has cached comes back, then idle ranges of others, what they
 * have cached, then what can be proven, once. True: something may have changed. *waits: the
 * youngest stamp of what is not ready; 0: nothing. */
static bool make_room(struct xs_gpu_shard *s, struct xs_gpu_range *r, size_t size, uint64_t *waits)
{
    struct xs_gpu_device *d = r->context->device;
    uint64_t before = xs_gpu_done(), asked = *waits, events = 0;
    struct xs_gpu_victims v;

    if (flow_back_if_any(s, r->context, &v) || xs_gpu_range_move_here(r, size) ||
        flow_back_all_if_any(s, d, &v))
        return true;
    xs_lock_take(&r->lock);
    *waits = r->oldest != NULL ? r->youngest->stamp : 0;
    xs_lock_give(&r->lock);
    *waits = v.left_stamp > *waits ? v.left_stamp : *waits;
    if (*waits == 0 || asked != 0)
        return false;
    (void)xs_gpu_prove(*waits, *waits, &events);
    XS_GPU_COUNT(s, d, events, events);
    return xs_gpu_done() > before;
}

/* From a range of another thread's, whom that may keep waiting for a moment. */
static struct xs_gpu_range *take_from_others(const struct xs_gpu_range *r, size_t size,
                                             struct xs_sub_block *out, struct xs_gpu_block **record,
                                             bool *by_order)
{
    for (struct xs_gpu_range *of = xs_gpu_range_next(NULL); of != NULL;
         of = xs_gpu_range_next(of)) {
        size_t want;
        if (of != r && of->kind == r->kind && of->context == r->context &&
            take(of, size, out, record, &want, by_order) == XS_SUB_OK)
            return of;
    }
    return NULL;
}

/* An eighth of all that ranges hold, and more, is free; but for so little as is wanted threads need
 * not share: some dozens of them may have a first range each. */
static bool is_much_free(const struct xs_gpu_device *d, size_t want)
{
    uint64_t bytes = atomic_load_explicit(&d->range_bytes, memory_order_relaxed);

    return bytes - bytes / 8 > held(d) && (want > LITTLE || bytes > MANY * LITTLE);
}

/* ---- pieces that are cut ahead ----
 *
 * Who asks for a size again and again gets its pieces cut several at a time, twice as many each
 * time: those that are not asked for yet lie in the thread's cache, as if they had been freed, and
 * are found there. They were never the program's: when it asks for another size they are taken back
 * first, so what is cut next comes to lie where it would have done without them. No more than fits
 * below the most that was ever cached, so that the statistics know nothing of them. */

enum { AHEAD_MOST = 31 };
#define NEVER_FREED UINT64_MAX /* in the place of the number of their free */

/* Under the range's lock: so many; their records in the order of their addresses, which begin at
 * `first`, and the context held. */
__attribute__((noinline)) static unsigned cut_ahead(struct xs_gpu_range *r, size_t size,
                                                    unsigned bin, struct xs_sub_block *first,
                                                    struct xs_gpu_block *ahead[])
{
    struct xs_gpu_context *c = r->context;
    uint32_t generation = atomic_load_explicit(&c->generation, memory_order_relaxed);
    uint64_t now = xs_gpu_level_now(&c->device->cached_bytes), most = XS_PEEK(c->device->quick_max);
    uint64_t fits = now < most ? (most - now) / size : 0;
    unsigned n = r->spare_count < AHEAD_MOST ? r->spare_count : AHEAD_MOST;

    n = fits < n ? (unsigned)fits : n;
    n = n != 0 ? xs_sub_alloc_more(r->sub, size, n, first) : 0;
    if (n != 0 && !xs_gpu_context_hold(c, generation)) {
        (void)xs_sub_take_back(r->sub, first->handle, n);
        n = 0;
    }
    for (unsigned i = 0; i < n; i++) {
        struct xs_gpu_block *b = ahead[i] = xs_gpu_range_record(r);
        describe(b, c, first->size, first->handle + i, bin, generation);
        b->stamp = r->unproven; /* of the free memory that they are cut from */
        b->freed = NEVER_FREED;
    }
    return n;
}

/* They are in no list, and not in the table. */
static void give_ahead(struct xs_gpu_range *r, struct xs_gpu_block *const ahead[],
                       const struct xs_sub_given given[], unsigned n)
{
    xs_lock_take(&r->lock);
    if (!xs_sub_take_back(r->sub, given[0].handle, n))
        xs_sub_free_all(r->sub, given, n);
    for (unsigned i = 0; i < n; i++)
        xs_gpu_range_keep_record(r, ahead[i]);
    xs_lock_give(&r->lock);
}

/* Into the bin, which is empty; the context is let go. */
__attribute__((noinline)) static void keep_ahead(struct xs_gpu_shard *s, struct xs_gpu_bins *bins,
                                                 unsigned bin, const struct xs_sub_block *first,
                                                 struct xs_gpu_block *const ahead[], unsigned n)
{
    struct xs_gpu_range *r = ahead[0]->range;
    struct xs_gpu_device *d = bins->device;
    struct xs_gpu_block *stale = NULL;
    unsigned kept = 0;

    xs_gpu_shard_take(s);
    if (XS_LIKELY(s->bins == bins && bins->newest[bin] == NULL) &&
        XS_LIKELY(xs_gpu_level_reserve(&d->cached_bytes, n * first->size, XS_PEEK(d->quick_max)))) {
        kept = xs_gpu_block_insert_kept(ahead, n, first->address, &stale);
        xs_gpu_bins_put_row(bins, bin, ahead, kept);
        s->ahead = &bins->newest[bin];
        XS_COUNT(bins->count->hits_cut, kept);
        xs_gpu_level_sub(&d->cached_bytes, (n - kept) * first->size);
        xs_gpu_held_add(d, kept * first->size);
    }
    xs_gpu_shard_give(s);
    if (XS_UNLIKELY(stale != NULL))
        xs_gpu_cache_stale(stale);
    if (XS_UNLIKELY(kept != n)) {
        struct xs_sub_given left[AHEAD_MOST] = {0};
        for (unsigned i = kept; i < n; i++)
            left[i - kept] =
                (struct xs_sub_given){first->address + i * first->size, ahead[i]->handle};
        give_ahead(r, ahead + kept, left, n - kept);
    }
    xs_gpu_context_let_go(r->context);
}

/* Those that nobody has asked for lie at the old end of their bin. */
__attribute__((noinline)) static void take_ahead_back(struct xs_gpu_shard *s)
{
    struct xs_gpu_block *ahead[AHEAD_MOST], *b;
    struct xs_sub_given given[AHEAD_MOST];
    struct xs_gpu_context *c = NULL;
    unsigned first = AHEAD_MOST;

    xs_gpu_shard_take(s);
    struct xs_gpu_block **newest = s->ahead;
    s->ahead = NULL;
    while (*newest != NULL && (b = (*newest)->newer)->freed == NEVER_FREED && first != 0) {
        if (c == NULL && !xs_gpu_context_hold(c = &xs_gpu_contexts[b->context], b->generation))
            break;
        xs_gpu_bins_take(newest, b);
        ahead[--first] = b;
        given[first] = (struct xs_sub_given){xs_gpu_block_base(b), b->handle};
        xs_gpu_block_end(b);
    }
    unsigned n = AHEAD_MOST - first;
    if (n != 0) {
        struct xs_gpu_counters *count = xs_gpu_counters(s, c->device);
        XS_COUNT(count->hits_cut, -(uint64_t)n);
    }
    xs_gpu_shard_give(s);
    if (n == 0)
        return;
    xs_gpu_caching_ends(c->device, XS_KIND_DEVICE, n * ahead[first]->size);
    give_ahead(ahead[first]->range, ahead + first, given + first, n);
    xs_gpu_context_let_go(c);
}

CUresult xs_gpu_piece_cut(struct xs_gpu_shard *s, struct xs_gpu_bins *bins, unsigned bin,
                          struct xs_gpu_range *r, size_t size, CUdeviceptr *out)
{
    struct xs_gpu_counters *count = bins->count;
    enum xs_sub_result result = XS_SUB_NONE;
    struct xs_gpu_block *record = NULL, *ahead[AHEAD_MOST];
    struct xs_sub_block piece, first;
    unsigned n = 0;
    size_t want;

    if (s->ahead != NULL)
        take_ahead_back(s);
    if (is_much_cached(bins->device))
        return CUDA_ERROR_NOT_SUPPORTED;
    xs_lock_take(&r->lock);
    if (XS_LIKELY(r->sub != NULL && r->oldest == NULL))
        result = xs_sub_alloc(r->sub, size, &piece, &want);
    bool by_order = r->unproven > xs_gpu_done();
    if (XS_LIKELY(result == XS_SUB_OK)) {
        record = xs_gpu_range_record(r);
        if (piece.handle >= XS_SUB_MORE_HANDLE)
            n = cut_ahead(r, size, bin, &first, ahead);
    }
    xs_lock_give(&r->lock);
    if (n != 0)
        keep_ahead(s, bins, bin, &first, ahead, n);
    if (result != XS_SUB_OK || enter_piece(s, r, &piece, bin, record, out) != CUDA_SUCCESS)
        return CUDA_ERROR_NOT_SUPPORTED;
    XS_COUNT(count->hits_cut, 1);
    XS_COUNT(count->requested_bytes, size);
    if (by_order)
        XS_COUNT(count->reuse_ordered, 1);
    else
        XS_COUNT(count->reuse_waited, 1);
    return CUDA_SUCCESS;
}

static struct xs_gpu_range *own_range(struct xs_gpu_shard *s, const struct xs_gpu_context *c,
                                      enum xs_gpu_range_kind kind)
{
    return atomic_load_explicit(&s->range[c->index][kind], memory_order_acquire);
}

CUresult xs_gpu_piece_get(struct xs_gpu_shard *s, struct xs_gpu_context *c,
                          enum xs_gpu_backend backend, size_t size, void *stream, CUdeviceptr *out,
                          bool *hit)
{
    enum xs_gpu_range_kind kind = backend == XS_GPU_POOL ? XS_RANGE_POOL : XS_RANGE_BFC;
    size_t need = rounded(&c->device->o, kind, size), want = 0;
    struct xs_gpu_want w = {.context = c,
                            .kind = XS_KIND_DEVICE,
                            .place = place_of(kind),
                            .least = need,
                            .most = need,
                            .stamp = UINT64_MAX,
                            .stream = stream};
    enum xs_gpu_effort effort = XS_GPU_AT_ONCE;
    bool by_order, merged = false;
    struct xs_gpu_block *record;
    struct xs_sub_block piece;
    uint64_t waits = 0;

    *hit = true;
    if (need != 0 && get_cached(s, &w, out)) {
        xs_gpu_cache_quicken(s, w.place, size, need, own_range(s, c, kind));
        return CUDA_SUCCESS;
    }
    if (s->ahead != NULL)
        take_ahead_back(s);
    struct xs_gpu_range *r = need != 0 ? xs_gpu_range_of(s, c, kind) : NULL;
    if (r != NULL && is_much_cached(c->device))
        change_over(s, r);
    for (unsigned i = 0; r != NULL && i < TRIES; i++) {
        enum xs_sub_result result = take(r, size, &piece, &record, &want, &by_order);
        if (result != XS_SUB_OK && make_room(s, r, size, &waits))
            continue;
        if (result != XS_SUB_OK && !merged && xs_gpu_range_merge(s, r)) {
            merged = true;
            continue;
        }
        struct xs_gpu_range *of = result == XS_SUB_OK ? r : NULL;
        if (result == XS_SUB_NONE || (result == XS_SUB_NEED && is_much_free(c->device, want)))
            of = take_from_others(r, size, &piece, &record, &by_order);
        if (of != NULL) {
            unsigned bin = (unsigned)w.place * XS_GPU_BINS + xs_gpu_bin(piece.size);
            note_bin(c->device, bin);
            CUresult entered = enter_piece(s, of, &piece, bin, record, out);
            if (entered == CUDA_SUCCESS) {
                count(s, c->device, *hit, by_order, waits != 0);
                xs_gpu_cache_quicken(s, w.place, size, piece.size, r);
            }
            return entered;
        }
        *hit = false;
        if (result == XS_SUB_NEED)
            xs_gpu_watch_free_memory(s, c->device);
        /* Beyond the limit whole free ranges may be in the way: giving them back may wait for the
         * device, which is for the next free to do. */
        /* In a capture the driver is asked last, once nothing else that is kept will do. */
        if (result != XS_SUB_NEED || xs_gpu_is_capturing() ||
            !xs_gpu_range_extend(s, r, size, want, &effort))
            break;
    }
    *hit = false;
    return CUDA_ERROR_NOT_SUPPORTED;
}

/* ---- free ---- */

static bool may_be_kept(const struct xs_gpu_block *b)
{
    return xs_gpu_is_on() &&
           !(atomic_load_explicit(&b->marks, memory_order_relaxed) & XS_BLOCK_NEVER) &&
           b->size <= xs_gpu_cached_max(b->range->context->device, XS_KIND_DEVICE);
}

void xs_gpu_piece_put(struct xs_gpu_shard *s, struct xs_gpu_block *b, bool waits)
{
    struct xs_gpu_range *r = b->range;
    struct xs_gpu_victims v;
    bool may = may_be_kept(b);

    if (may && xs_gpu_cache_put(s, b))
        return;
    /* All that the limit allows is cached: it goes back, as it may be of other sizes. */
    if (!may || !flow_back_if_any(s, r->context, &v) || !xs_gpu_cache_put(s, b)) {
        xs_lock_take(&r->lock);
        xs_gpu_range_put(r, b);
        xs_gpu_range_drain(r, DRAIN);
        xs_lock_give(&r->lock);
    }
    xs_gpu_range_tidy(s, r, waits);
}

/* ---- questions ---- */

bool xs_gpu_piece_around(CUdeviceptr p, struct xs_sub_block *out, bool *in_use)
{
    bool found = false;

    for (struct xs_gpu_range *r = xs_gpu_range_next(NULL);
         xs_gpu_ranges_used() && r != NULL && !found; r = xs_gpu_range_next(r)) {
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

    if (!xs_gpu_ranges_used())
        return false;
    /* Its first bytes may be lost to the alignment: the middle is some piece's in any case. */
    return xs_gpu_piece_around(p, &piece, &in_use) ||
           (xs_cu.cuMemGetAddressRange_v2(&base, &size, p) == CUDA_SUCCESS && base == p &&
            xs_gpu_piece_around(p + size / 2, &piece, &in_use));
}

size_t xs_gpu_pieces_spare(struct xs_gpu_shard *s, struct xs_gpu_device *d, bool unready)
{
    struct xs_gpu_victims v;
    size_t bytes = 0;

    if (!xs_gpu_ranges_used())
        return 0;
    (void)flow_back(s, d, ALL, &v);
    for (struct xs_gpu_range *r = xs_gpu_range_next(NULL); r != NULL; r = xs_gpu_range_next(r)) {
        xs_lock_take(&r->lock);
        bool wanted = r->sub != NULL && r->context->device == d;
        if (wanted) {
            xs_gpu_range_drain(r, UINT32_MAX);
            wanted = unready || r->unproven <= xs_gpu_done();
        }
        xs_lock_give(&r->lock);
        if (wanted)
            bytes += xs_gpu_range_spare(s, r, unready);
    }
    return bytes;
}

void xs_gpu_pieces_idle(struct xs_gpu_shard *s, struct xs_gpu_device *d, uint64_t *cached,
                        uint64_t *idle)
{
    struct xs_gpu_victims v;

    *cached = *idle = 0;
    if (!xs_gpu_ranges_used())
        return;
    (void)flow_back(s, d, ALL, &v);
    *cached = v.left_bytes;
    for (struct xs_gpu_range *r = xs_gpu_range_next(NULL); r != NULL; r = xs_gpu_range_next(r)) {
        xs_lock_take(&r->lock);
        if (r->sub != NULL && r->context->device == d)
            *idle += xs_sub_idle_bytes(r->sub);
        xs_lock_give(&r->lock);
    }
}

/* The frees since the last time, and as many allocations, passed the sub-allocators by. */
static void look_at_old(struct xs_gpu_shard *s, const struct xs_gpu_device *d)
{
    struct xs_gpu_victims v = {.device = d,
                               .ready = !xs_gpu_is_single(),
                               .only = XS_VICTIMS_PIECES,
                               .bytes = UINT64_MAX,
                               .frees = OLD_FREES};

    (void)xs_gpu_cache_own_victims(s, &v);
    return_all(v.list);
    for (struct xs_gpu_range *r = xs_gpu_range_next(NULL); r != NULL; r = xs_gpu_range_next(r)) {
        xs_lock_take(&r->lock);
        bool is_here = r->sub != NULL && r->context->device == d;
        if (is_here)
            xs_sub_passed_by(r->sub, 2 * OLD_FREES);
        xs_lock_give(&r->lock);
        if (is_here)
            xs_gpu_range_tidy(s, r, false);
    }
}

void xs_gpu_pieces_look(struct xs_gpu_shard *s, struct xs_gpu_device *d)
{
    uint64_t interval = d->o.pool_defragment_ns, now;

    if (!xs_gpu_ranges_used())
        return;
    if (__atomic_load_n(&s->looks, __ATOMIC_RELAXED) % OLD_LOOKS == 0)
        look_at_old(s, d);
    if (interval == 0)
        return;
    now = xs_gpu_tick();
    uint64_t last = atomic_load_explicit(&d->defragmented_ns, memory_order_relaxed);
    if (now - last >= interval &&
        atomic_compare_exchange_strong_explicit(&d->defragmented_ns, &last, now,
                                                memory_order_relaxed, memory_order_relaxed))
        (void)xs_gpu_pieces_spare(s, d, true);
}

void xs_gpu_pieces_stats(const struct xs_gpu_device *d, struct xs_gpu_stats *out, bool may_lock)
{
    uint64_t free_bytes = 0;

    for (struct xs_gpu_range *r = xs_gpu_range_next(NULL); r != NULL; r = xs_gpu_range_next(r)) {
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
