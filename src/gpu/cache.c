#include "gpu/cache.h"

#include <sched.h>

#include "sample/sample.h"
#include "sys/thread_end.h"

/* So many blocks of a bin are looked at from its young end, and as many from its old one. */
#define WALK 32

XS_UNLIKELY_DATA static struct xs_gpu_context nowhere; /* no block's home */
XS_LAST struct xs_gpu_shard xs_gpu_shard_none = {
    .quick_handle = XS_GPU_NO_HANDLE, .quick_home = &nowhere, .context = &nowhere};
XS_TLS struct xs_gpu_shard *xs_gpu_shard_mine = &xs_gpu_shard_none;
static XS_TLS bool is_past_end, has_end_call;

static struct {
    struct xs_lock lock; /* of idle */
    struct xs_gpu_shard *idle;
    _Atomic(struct xs_gpu_shard *) all;
    struct xs_gpu_shard *late;
} shards = {.lock.kind = XS_LOCK_GPU};

static struct xs_gpu_block *nothing;

/* ---- shards ---- */

struct xs_gpu_shard *xs_gpu_shards(void)
{
    return atomic_load_explicit(&shards.all, memory_order_acquire);
}

static struct xs_gpu_shard *new_shard(void)
{
    struct xs_gpu_shard *s = xs_gpu_store(sizeof(*s));

    if (s == NULL)
        return NULL;
    s->context = s->quick_home = &nowhere;
    s->quick_handle = XS_GPU_NO_HANDLE;
    s->until_look = 64;
    s->next = atomic_load_explicit(&shards.all, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(&shards.all, &s->next, s, memory_order_release,
                                                  memory_order_relaxed))
        ;
    /* Either leave_single sees the shard, or its thread sees that the process is not single; and
     * who replaces the table of blocks sees it, or its thread that the table is closed. */
    atomic_thread_fence(memory_order_seq_cst);
    return s;
}

XS_COLD void xs_gpu_shard_wait(struct xs_gpu_shard *s)
{
    uint64_t began = xs_lock_ticks();

    /* The holder may be a thread that has not got a processor, and may be of less priority. */
    for (unsigned i = 0;; i++) {
        if (atomic_load_explicit(&s->lock, memory_order_relaxed) == 0 && xs_gpu_shard_try(s))
            break;
        if (i >= 64)
            xs_pause_ns(20000);
        else if (i >= 16)
            sched_yield();
    }
    xs_lock_waited(XS_LOCK_GPU, began);
}

static void thread_ends(void)
{
    struct xs_gpu_shard *s = xs_gpu_shard_mine;

    is_past_end = true;
    xs_gpu_shard_mine = &xs_gpu_shard_none;
    if (s == &xs_gpu_shard_none)
        return;
    xs_lock_take(&shards.lock);
    s->next_idle = shards.idle;
    shards.idle = s;
    xs_lock_give(&shards.lock);
}

static struct xs_gpu_shard *late_shard(void)
{
    xs_lock_take(&shards.lock);
    if (shards.late == NULL && (shards.late = new_shard()) != NULL)
        shards.late->is_late = true;
    xs_lock_give(&shards.lock);
    return shards.late;
}

XS_COLD static struct xs_gpu_shard *attach(void)
{
    struct xs_gpu_shard *s;

    xs_gpu_used();
    if (xs_gpu_is_child())
        return NULL;
    if (is_past_end)
        return late_shard();
    xs_lock_take(&shards.lock);
    s = shards.idle;
    if (s != NULL)
        shards.idle = s->next_idle;
    xs_lock_give(&shards.lock);
    if (s == NULL)
        s = new_shard();
    if (s == NULL)
        return NULL;
    xs_gpu_shard_mine = s;
    if (!has_end_call)
        has_end_call = xs_thread_end(thread_ends);
    return s;
}

struct xs_gpu_shard *xs_gpu_shard(void)
{
    struct xs_gpu_shard *s = xs_gpu_shard_mine;

    return XS_LIKELY(s != &xs_gpu_shard_none) ? s : attach();
}

struct xs_gpu_counters *xs_gpu_counters(struct xs_gpu_shard *s, struct xs_gpu_device *d)
{
    struct xs_gpu_counters *c = __atomic_load_n(&s->count[d->number], __ATOMIC_ACQUIRE);

    if (XS_LIKELY(c != NULL))
        return c;
    c = xs_gpu_store(sizeof(*c));
    struct xs_gpu_counters *none = NULL;
    if (c != NULL && !__atomic_compare_exchange_n(&s->count[d->number], &none, c, false,
                                                  __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
        c = none;
    return c;
}

static struct xs_gpu_bins *bins_there(struct xs_gpu_shard *s, unsigned context, unsigned kind)
{
    return __atomic_load_n(&s->of[context][kind], __ATOMIC_ACQUIRE);
}

struct xs_gpu_bins *xs_gpu_bins(struct xs_gpu_shard *s, struct xs_gpu_context *c, unsigned kind)
{
    struct xs_gpu_bins *bins = bins_there(s, c->index, kind), *none;

    if (XS_LIKELY(bins != NULL && __atomic_load_n(&bins->device, __ATOMIC_RELAXED) == c->device))
        return bins;
    if (bins == NULL) {
        bins = xs_gpu_store(sizeof(*bins));
        if (bins == NULL)
            return NULL;
        none = NULL;
        if (!__atomic_compare_exchange_n(&s->of[c->index][kind], &none, bins, false,
                                         __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
            bins = none;
    }
    struct xs_gpu_counters *count = xs_gpu_counters(s, c->device);
    if (count == NULL)
        return NULL;
    xs_gpu_shard_take(s);
    if (s->contexts <= c->index)
        s->contexts = c->index + 1u;
    bins->count = count;
    bins->context = c;
    __atomic_store_n(&bins->device, c->device, __ATOMIC_RELAXED);
    xs_gpu_shard_give(s);
    return bins;
}

/* ---- finding ---- */

/* Freed in the order of a stream, and to be used in it: whatever else was at work on it, the
 * program has ordered before that free. Not in a capture, which is outside the stream's order. */
static bool is_same_stream(const struct xs_gpu_want *w, const struct xs_gpu_block *b)
{
    return w->stream != NULL && b->stream == w->stream &&
           b->streams_gone == xs_gpu_streams_gone() && !xs_gpu_is_capturing();
}

static bool is_ready(const struct xs_gpu_want *w, const struct xs_gpu_block *b, uint64_t done,
                     bool by_order)
{
    return b->stamp <= done || by_order || XS_UNLIKELY(is_same_stream(w, b));
}

/* Better than `best`, which it may become. A block of no size is dead: not our concern here. */
static void consider(struct xs_gpu_want *w, struct xs_gpu_block *b, uint64_t done, bool by_order,
                     struct xs_gpu_block **best)
{
    if (b->size < w->least || b->size > w->most)
        return;
    if (!is_ready(w, b, done, by_order)) {
        w->stamp = b->stamp < w->stamp ? b->stamp : w->stamp;
        w->youngest = b->stamp > w->youngest ? b->stamp : w->youngest;
    } else if (*best == NULL || b->size < (*best)->size)
        *best = b;
}

static struct xs_gpu_block *best_of_bin(struct xs_gpu_want *w, struct xs_gpu_block *newest,
                                        uint64_t done, bool by_order)
{
    struct xs_gpu_block *best = NULL, *b = newest;

    for (unsigned i = 0; i < WALK; i++) {
        consider(w, b, done, by_order, &best);
        if (best != NULL && best->size == w->least)
            return best;
        b = b->older;
        if (b == newest)
            return best;
    }
    b = newest->newer;
    for (unsigned i = 0; i < WALK && best == NULL; i++, b = b->newer)
        consider(w, b, done, by_order, &best);
    return best;
}

/* The first bin at or after `bin` and before `end` that is not empty; `end`: none. */
static unsigned next_used(struct xs_gpu_bins *bins, unsigned bin, unsigned end)
{
    for (uint64_t eight; bin < end; bin++) {
        if (bin % 8 == 0 && bin + 8 <= end) {
            __builtin_memcpy(&eight, &bins->maybe[bin], sizeof(eight));
            if (eight == 0) {
                bin += 7;
                continue;
            }
        }
        if (bins->maybe[bin] == 0)
            continue;
        if (bins->newest[bin] != NULL)
            return bin;
        __atomic_store_n(&bins->maybe[bin], 0, __ATOMIC_RELAXED); /* a hit emptied it */
    }
    return end;
}

static unsigned bin_of(enum xs_gpu_place place, size_t size)
{
    return (unsigned)place * XS_GPU_BINS + xs_gpu_bin(size);
}

static struct xs_gpu_block *take_from(struct xs_gpu_shard *s, struct xs_gpu_bins *bins,
                                      struct xs_gpu_want *w)
{
    /* Under the shard's lock: see leave_single. */
    bool by_order = xs_gpu_is_single() && !xs_gpu_kind_is_visible(w->kind);
    uint64_t done = xs_gpu_done();
    unsigned end = bin_of(w->place, w->most) + 1;

    for (unsigned bin = next_used(bins, bin_of(w->place, w->least), end); bin < end;
         bin = next_used(bins, bin + 1, end)) {
        struct xs_gpu_block *b = best_of_bin(w, bins->newest[bin], done, by_order);
        if (b == NULL)
            continue;
        xs_gpu_bins_take(&bins->newest[bin], b);
        w->by_order = b->stamp > done && by_order;
        w->by_stream = b->stamp > done && !by_order;
        if (w->by_order)
            s->unproven = atomic_load_explicit(&xs_gpu_epochs.open, memory_order_relaxed);
        return b;
    }
    return NULL;
}

/* A look without the lock. */
static bool may_have(const struct xs_gpu_bins *bins, const struct xs_gpu_want *w)
{
    unsigned last = bin_of(w->place, w->most);

    for (unsigned bin = bin_of(w->place, w->least); bin <= last; bin++)
        if (__atomic_load_n(&bins->maybe[bin], __ATOMIC_RELAXED) != 0)
            return true;
    return false;
}

static struct xs_gpu_block *search(struct xs_gpu_shard *s, struct xs_gpu_want *w, bool try)
{
    struct xs_gpu_bins *bins = bins_there(s, w->context->index, w->kind);
    struct xs_gpu_block *b;

    if (bins == NULL || !may_have(bins, w))
        return NULL;
    if (!try)
        xs_gpu_shard_take(s);
    else if (!xs_gpu_shard_try(s))
        return NULL;
    b = take_from(s, bins, w);
    xs_gpu_shard_give(s);
    return b;
}

struct xs_gpu_block *xs_gpu_cache_take(struct xs_gpu_shard *s, struct xs_gpu_want *w)
{
    struct xs_gpu_block *b = search(s, w, false);

    for (struct xs_gpu_shard *t = xs_gpu_shards();
         b == NULL && t != NULL && w->place == XS_PLACE_DRIVER; t = t->next)
        if (t != s)
            b = search(t, w, true);
    if (b != NULL)
        xs_gpu_caching_ends(w->context->device, w->kind, b->size);
    return b;
}

/* ---- keeping ---- */

/* The block may be taken: its context stays as long as it is in no list. */
static bool hold(const struct xs_gpu_block *b)
{
    return xs_gpu_context_hold(&xs_gpu_contexts[b->context], b->generation);
}

bool xs_gpu_cache_put(struct xs_gpu_shard *s, struct xs_gpu_block *b)
{
    struct xs_gpu_context *c = &xs_gpu_contexts[b->context];
    struct xs_gpu_device *d = c->device;
    unsigned kind = xs_gpu_kind_of_list(b->kind);
    struct xs_gpu_bins *bins = xs_gpu_bins(s, c, kind);

    if (bins == NULL || !xs_gpu_caching_begins(d, kind, b->size))
        return false;
    if (d->o.cache_age_ns != 0)
        b->freed_ns = xs_gpu_tick();
    if (!xs_gpu_kind_is_pinned(kind) && b->kind != XS_KIND_PIECE)
        atomic_fetch_or_explicit(&d->freed[b->bin / 64], (uint64_t)1 << (b->bin % 64),
                                 memory_order_relaxed);
    xs_gpu_shard_take(s);
    if (kind == XS_KIND_DEVICE) /* where it is not NULL, the next free has no stream to forget */
        xs_gpu_block_set_home(b, b->stream == NULL ? c : NULL);
    b->freed = bins->count->frees;
    xs_gpu_bins_put(bins, b);
    xs_gpu_shard_give(s);
    return true;
}

void xs_gpu_cache_queue(struct xs_gpu_shard *s, struct xs_gpu_block *b)
{
    xs_gpu_shard_take(s);
    b->older = s->queue;
    s->queue = b;
    __atomic_store_n(&s->until_look, 1, __ATOMIC_RELAXED); /* the next free looks */
    xs_gpu_shard_give(s);
}

struct xs_gpu_block *xs_gpu_cache_queued(struct xs_gpu_shard *s)
{
    struct xs_gpu_block *list = NULL, **link;

    xs_gpu_shard_take(s);
    for (link = &s->queue; *link != NULL;) {
        struct xs_gpu_block *b = *link;
        if (hold(b)) {
            *link = b->older;
            b->older = list;
            list = b;
        } else {
            link = &b->older; /* of a context that is going */
        }
    }
    xs_gpu_shard_give(s);
    return list;
}

/* ---- giving way ---- */

static bool are_of(const struct xs_gpu_bins *bins, const struct xs_gpu_victims *v)
{
    return bins != NULL && bins->device != NULL && (v->device == NULL || bins->device == v->device);
}

static bool is_victim(const struct xs_gpu_victims *v, const struct xs_gpu_block *b, uint64_t done)
{
    return (!v->ready || b->stamp <= done) && (v->before_ns == 0 || b->freed_ns < v->before_ns);
}

/* The block of the shard that was freed first; the oldest of each bin is at its end. */
static struct xs_gpu_block *oldest(struct xs_gpu_shard *s, const struct xs_gpu_victims *v,
                                   struct xs_gpu_bins **in)
{
    struct xs_gpu_block *best = NULL;
    uint64_t done = xs_gpu_done();

    for (unsigned c = 0; c < XS_GPU_CONTEXTS; c++)
        for (unsigned k = 0; k < XS_KINDS; k++) {
            struct xs_gpu_bins *bins = bins_there(s, c, k);
            if (!are_of(bins, v) ||
                (v->pinned >= 0 && xs_gpu_kind_is_pinned(k) != (v->pinned != 0)))
                continue;
            for (unsigned i = next_used(bins, 0, XS_GPU_BINS); i < XS_GPU_BINS;
                 i = next_used(bins, i + 1, XS_GPU_BINS)) {
                struct xs_gpu_block *b = bins->newest[i]->newer;
                if (is_victim(v, b, done) && (best == NULL || b->freed < best->freed)) {
                    best = b;
                    *in = bins;
                }
            }
        }
    return best;
}

/* As is_victim, of pieces that are ready. */
static bool is_old(const struct xs_gpu_victims *v, const struct xs_gpu_bins *bins,
                   const struct xs_gpu_block *b)
{
    return (v->before_ns == 0 || b->freed_ns < v->before_ns) &&
           (v->frees == 0 || bins->count->frees - b->freed >= v->frees);
}

static void take_victim(struct xs_gpu_bins *bins, struct xs_gpu_victims *v, struct xs_gpu_block *b)
{
    xs_gpu_bins_take(&bins->newest[b->bin], b);
    v->taken_bytes += b->size;
    b->older = v->list;
    v->list = b;
}

/* The whole bin, if all in it is ready; 0: it is not. */
static unsigned take_ring(struct xs_gpu_bins *bins, unsigned bin, struct xs_gpu_victims *v,
                          uint64_t ready)
{
    struct xs_gpu_block *newest = bins->newest[bin], *b = newest;
    uint64_t bytes = 0;
    unsigned n = 0;

    do {
        if (b->stamp > ready)
            return 0;
        bytes += b->size;
        n++;
        b = b->older;
    } while (b != newest);
    newest->newer->older = v->list; /* the oldest one's */
    v->list = newest;
    v->taken_bytes += bytes;
    bins->newest[bin] = NULL;
    return n;
}

/* From the oldest of a bin to the newest; the context is held, but not yet for each. */
static unsigned take_pieces_of(struct xs_gpu_bins *bins, unsigned bin, struct xs_gpu_victims *v,
                               uint64_t done)
{
    bool is_last, takes_all = v->before_ns == 0 && v->frees == 0;
    uint64_t ready = v->ready ? done : UINT64_MAX;
    unsigned n = takes_all && v->bytes == UINT64_MAX ? take_ring(bins, bin, v, ready) : 0;
    const struct xs_gpu_block *last = bins->newest[bin];

    if (n != 0)
        return n;
    struct xs_gpu_block *b = bins->newest[bin]->newer, *next;
    do {
        next = b->newer;
        is_last = b == last;
        if (b->stamp > ready) {
            v->left_bytes += b->size;
            v->left_stamp = b->stamp > v->left_stamp ? b->stamp : v->left_stamp;
        } else if (takes_all || is_old(v, bins, b)) {
            take_victim(bins, v, b);
            n++;
        }
        b = next;
    } while (!is_last && v->taken_bytes < v->bytes);
    return n;
}

static void take_pieces_in(struct xs_gpu_bins *bins, struct xs_gpu_victims *v, uint64_t done)
{
    struct xs_gpu_context *c = bins->context;
    uint64_t before = v->taken_bytes;
    unsigned n = 0;

    if (!xs_gpu_context_hold(c, atomic_load_explicit(&c->generation, memory_order_relaxed)))
        return;
    uint64_t words = atomic_load_explicit(&bins->device->cut_words, memory_order_acquire);
    for (; words != 0; words &= words - 1)
        for (uint64_t at = (uint64_t)__builtin_ctzll(words),
                      cut = atomic_load_explicit(&bins->device->cut[at], memory_order_relaxed);
             cut != 0 && v->taken_bytes < v->bytes; cut &= cut - 1) {
            unsigned bin = (unsigned)(at * 64) + (unsigned)__builtin_ctzll(cut);
            if (bins->newest[bin] != NULL)
                n += take_pieces_of(bins, bin, v, done);
        }
    if (n != 0)
        xs_gpu_caching_ends(bins->device, XS_KIND_DEVICE, v->taken_bytes - before);
    if (n > 1)
        xs_gpu_context_hold_more(c, n - 1);
    else if (n == 0)
        xs_gpu_context_let_go(c);
}

/* Many, and soon cut anew: in no order, but in one go. */
static void take_pieces(struct xs_gpu_shard *s, struct xs_gpu_victims *v)
{
    uint64_t done = xs_gpu_done();

    for (unsigned c = 0; c < s->contexts; c++) {
        struct xs_gpu_bins *bins = bins_there(s, c, XS_KIND_DEVICE);
        if (are_of(bins, v))
            take_pieces_in(bins, v, done);
    }
}

static void victims_of(struct xs_gpu_shard *s, struct xs_gpu_victims *v)
{
    struct xs_gpu_bins *bins = NULL;
    struct xs_gpu_block *b;

    xs_gpu_shard_take(s);
    if (v->only != XS_VICTIMS_WHOLE && v->pinned <= 0)
        take_pieces(s, v);
    while (v->only != XS_VICTIMS_PIECES && v->taken_bytes < v->bytes &&
           (b = oldest(s, v, &bins)) != NULL && hold(b)) {
        take_victim(bins, v, b);
        xs_gpu_caching_ends(bins->device, xs_gpu_kind_of_list(b->kind), b->size);
    }
    xs_gpu_shard_give(s);
}

static void none_yet(struct xs_gpu_victims *v)
{
    v->list = NULL;
    v->taken_bytes = v->left_bytes = v->left_stamp = 0;
}

bool xs_gpu_cache_own_victims(struct xs_gpu_shard *s, struct xs_gpu_victims *v)
{
    none_yet(v);
    victims_of(s, v);
    return v->list != NULL;
}

bool xs_gpu_cache_victims(struct xs_gpu_shard *s, struct xs_gpu_victims *v)
{
    none_yet(v);
    victims_of(s, v);
    for (struct xs_gpu_shard *t = xs_gpu_shards(); t != NULL && v->taken_bytes < v->bytes;
         t = t->next)
        if (t != s)
            victims_of(t, v);
    return v->list != NULL;
}

/* ---- what is gone ---- */

static void forget_block(struct xs_gpu_block *b, void *context)
{
    const struct xs_gpu_context *c = context;

    if (xs_gpu_block_base(b) == 0 || b->context != c->index ||
        b->generation != atomic_load_explicit(&c->generation, memory_order_relaxed))
        return;
    if (!xs_gpu_block_is_kept(b))
        xs_gpu_use_ends(c->device, b->kind, b->size);
    if (!xs_gpu_kind_is_pinned(b->kind) && b->kind != XS_KIND_PIECE)
        xs_gpu_level_sub(&c->device->reserved_bytes, b->size);
    xs_gpu_block_remove(b);
    xs_gpu_block_drop(b);
}

static void forget_sizes(struct xs_gpu_shard *s)
{
    for (unsigned i = 0; i < XS_GPU_QUICK; i++)
        s->quick[i] = (struct xs_gpu_quick){.step = SIZE_MAX, .newest = &nothing};
}

static void forget_context(struct xs_gpu_shard *s)
{
    __atomic_store_n(&s->context, &nowhere, __ATOMIC_RELAXED);
    s->quick_home = &nowhere;
    s->quick_handle = XS_GPU_NO_HANDLE;
    forget_sizes(s);
}

static void forget_lists(struct xs_gpu_shard *s, struct xs_gpu_context *c)
{
    struct xs_gpu_block **link, *b;

    xs_gpu_shard_take(s);
    if (s->context == c)
        forget_context(s);
    for (unsigned k = 0; k < XS_KINDS; k++) {
        struct xs_gpu_bins *bins = bins_there(s, c->index, k);
        if (bins == NULL || bins->device == NULL)
            continue;
        for (unsigned i = next_used(bins, 0, XS_GPU_ALL_BINS); i < XS_GPU_ALL_BINS;
             i = next_used(bins, i + 1, XS_GPU_ALL_BINS))
            while ((b = bins->newest[i]) != NULL) {
                xs_gpu_caching_ends(c->device, k, b->size);
                xs_gpu_bins_take(&bins->newest[i], b);
            }
        __atomic_store_n(&bins->device, NULL, __ATOMIC_RELAXED);
    }
    for (link = &s->queue; (b = *link) != NULL;)
        if (b->context == c->index)
            *link = b->older;
        else
            link = &b->older;
    xs_gpu_shard_give(s);
}

void xs_gpu_cache_forget(struct xs_gpu_context *c)
{
    for (struct xs_gpu_shard *s = xs_gpu_shards(); s != NULL; s = s->next)
        forget_lists(s, c);
    xs_gpu_block_each(forget_block, c);
}

static bool unlink_if_there(struct xs_gpu_shard *s, struct xs_gpu_block *b)
{
    unsigned kind = xs_gpu_kind_of_list(b->kind);
    struct xs_gpu_bins *bins = bins_there(s, b->context, kind);
    struct xs_gpu_block *at = bins != NULL ? bins->newest[b->bin] : NULL;

    if (at == NULL)
        return false;
    do {
        if (at == b) {
            xs_gpu_caching_ends(bins->device, kind, b->size);
            xs_gpu_bins_take(&bins->newest[b->bin], b);
            return true;
        }
        at = at->older;
    } while (at != bins->newest[b->bin]);
    return false;
}

void xs_gpu_cache_stale(struct xs_gpu_block *b)
{
    struct xs_gpu_device *d = xs_gpu_contexts[b->context].device;
    bool found = false;

    if (!xs_gpu_kind_is_pinned(b->kind) && b->kind != XS_KIND_PIECE)
        xs_gpu_level_sub(&d->reserved_bytes, b->size);
    if (!xs_gpu_block_is_kept(b)) {
        xs_gpu_use_ends(d, b->kind, b->size);
        xs_gpu_block_drop(b);
        return;
    }
    for (struct xs_gpu_shard *s = xs_gpu_shards();
         xs_gpu_kind_of_list(b->kind) < XS_KINDS && s != NULL && !found; s = s->next) {
        xs_gpu_shard_take(s);
        found = unlink_if_there(s, b);
        xs_gpu_shard_give(s);
    }
    if (found)
        xs_gpu_block_drop(b);
}

uint64_t xs_gpu_cache_ordered(void)
{
    uint64_t sum = 0;

    for (struct xs_gpu_shard *s = xs_gpu_shards(); s != NULL; s = s->next) {
        xs_gpu_shard_take(s); /* what is counted was freed before */
        for (unsigned d = 0; d < xs_gpu_device_count(); d++) {
            const struct xs_gpu_counters *c = __atomic_load_n(&s->count[d], __ATOMIC_ACQUIRE);
            if (c != NULL)
                sum += __atomic_load_n(&c->reuse_ordered, __ATOMIC_RELAXED);
        }
        xs_gpu_shard_give(s);
    }
    return sum;
}

uint64_t xs_gpu_cache_unproven(void)
{
    uint64_t youngest = 0;

    for (struct xs_gpu_shard *s = xs_gpu_shards(); s != NULL; s = s->next) {
        xs_gpu_shard_take(s);
        youngest = s->unproven > youngest ? s->unproven : youngest;
        xs_gpu_shard_give(s);
    }
    return youngest;
}

/* ---- the short way ---- */

static bool may_free_quickly(const struct xs_gpu_device *d)
{
    return d->o.cache_age_ns == 0 && (xs_gpu_is_single() || d->o.free_way == XS_GPU_DEFERRED);
}

void xs_gpu_cache_settle(struct xs_gpu_shard *s, struct xs_gpu_context *c, CUcontext handle)
{
    struct xs_gpu_bins *bins = xs_gpu_bins(s, c, XS_KIND_DEVICE);

    if (bins == NULL || s->is_late)
        return;
    xs_gpu_shard_take(s);
    forget_context(s);
    /* Under the lock: after xs_gpu_cache_slow_down has been here, this is known. */
    if (xs_gpu_is_on() && atomic_load_explicit(&c->handle, memory_order_relaxed) == handle) {
        __atomic_store_n(&s->context, c, __ATOMIC_RELAXED);
        s->bins = bins;
        s->quick_count = bins->count;
        s->quick_device = bins->device;
        /* Where call sites are noted, nothing is quick. */
        if (!xs_sample_has_devices) {
            s->quick_handle = handle;
            if (may_free_quickly(c->device))
                s->quick_home = c;
        }
    }
    xs_gpu_shard_give(s);
}

void xs_gpu_cache_slow_down(bool all)
{
    for (struct xs_gpu_shard *s = xs_gpu_shards(); s != NULL; s = s->next) {
        xs_gpu_shard_take(s);
        if (all)
            forget_context(s);
        else if (s->context != &nowhere && !may_free_quickly(s->context->device))
            s->quick_home = &nowhere;
        xs_gpu_shard_give(s);
    }
}

static bool ends_a_rule(const struct xs_gpu_options *o, size_t step)
{
    for (unsigned i = 0; i + 1 < o->step_count; i++)
        if (xs_gpu_step_of(o->step[i].last) == step && xs_gpu_step_of(o->step[i].last + 1) == step)
            return true;
    return false;
}

void xs_gpu_cache_quicken(struct xs_gpu_shard *s, enum xs_gpu_place place, size_t size, size_t need,
                          struct xs_gpu_range *from)
{
    size_t step = xs_gpu_step_of(size);

    if (s->is_late)
        return;
    xs_gpu_shard_take(s);
    if (s->context != &nowhere && !ends_a_rule(&s->bins->device->o, step))
        *xs_gpu_quick_at(s, step) =
            (struct xs_gpu_quick){step, need, &s->bins->newest[bin_of(place, need)], from};
    xs_gpu_shard_give(s);
}

void xs_gpu_cache_tighten(struct xs_gpu_shard *s)
{
    xs_gpu_shard_take(s);
    if (s->context != &nowhere && !xs_gpu_keeps_more(s->context->device, XS_KIND_DEVICE)) {
        forget_sizes(s);
        __atomic_store_n(&s->is_loose, false, __ATOMIC_RELAXED);
    }
    xs_gpu_shard_give(s);
}
