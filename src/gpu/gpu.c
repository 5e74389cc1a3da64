#include "gpu/gpu.h"

#include "base/align.h"
#include "gpu/passed.h"
#include "gpu/piece.h"
#include "gpu/sites.h"

#define LOOK_EVERY 64
#define OTHERS     8     /* blocks of a bin that are looked at when the newest will not do */
#define IDLE_WAIT  50000 /* ns: what a device needs to tell that it is idle */
/* ns: how often free memory is asked for, at most, before the driver is asked for more and else. */
#define ASK_EVERY       100000000u
#define ASK_AT_LEISURE  1000000000u
#define LEISURELY_LOOKS 4

static void (*options_of)(unsigned device, struct xs_gpu_options *out);

void xs_gpu_open(void (*of)(unsigned device, struct xs_gpu_options *out))
{
    uint32_t closed = XS_GPU_CLOSED;

    options_of = of;
    atomic_compare_exchange_strong_explicit(&xs_gpu_epochs.mode, &closed, XS_GPU_ON,
                                            memory_order_release, memory_order_relaxed);
}

void xs_gpu_options_for(unsigned device, struct xs_gpu_options *out)
{
    options_of(device, out);
}

/* ---- allocation ---- */

static enum xs_gpu_backend route_of(const struct xs_gpu_options *o, size_t size)
{
    unsigned i = 0;

    while (i + 1 < o->step_count && size > o->step[i].last)
        i++;
    return o->step[i].backend;
}

XS_INLINE bool was_freed(const struct xs_gpu_device *d, unsigned bin)
{
    return atomic_load_explicit(&d->freed[bin / 64], memory_order_relaxed) >> (bin % 64) & 1;
}

static void count_miss(struct xs_gpu_shard *s, struct xs_gpu_device *d, unsigned bin,
                       const struct xs_gpu_want *w)
{
    uint32_t evicted = atomic_load_explicit(&d->evicted[bin], memory_order_relaxed);

    if (w->stamp != UINT64_MAX) {
        XS_GPU_COUNT(s, d, misses_stream, 1);
    } else if (evicted != 0 && atomic_compare_exchange_strong_explicit(
                                   &d->evicted[bin], &evicted, evicted - 1, memory_order_relaxed,
                                   memory_order_relaxed)) {
        XS_GPU_COUNT(s, d, misses_evicted, 1);
    } else if (was_freed(d, bin) && xs_gpu_level_now(&d->cached_bytes) != 0) {
        XS_GPU_COUNT(s, d, misses_size, 1);
    } else {
        XS_GPU_COUNT(s, d, misses_cold, 1);
    }
}

void xs_gpu_count_failure(struct xs_gpu_shard *s, struct xs_gpu_device *d, CUresult r, size_t size)
{
    XS_GPU_COUNT(s, d, failures, 1);
    if (r == CUDA_ERROR_OUT_OF_MEMORY) {
        XS_GPU_COUNT(s, d, ooms, 1);
        atomic_store_explicit(&d->last_oom, size, memory_order_relaxed);
    }
}

static bool is_due(const struct xs_gpu_device *d, uint64_t every)
{
    return d->o.low_free_bytes != 0 &&
           xs_gpu_tick() - atomic_load_explicit(&d->asked_ns, memory_order_relaxed) >= every;
}

/* Seldom: natively it may take milliseconds. True: too little is free. */
static bool is_free_memory_low(struct xs_gpu_device *d, uint64_t every)
{
    uint64_t asked = atomic_load_explicit(&d->asked_ns, memory_order_relaxed);
    size_t left, total;

    if (!is_due(d, every) ||
        !atomic_compare_exchange_strong_explicit(&d->asked_ns, &asked, xs_gpu_tick(),
                                                 memory_order_relaxed, memory_order_relaxed) ||
        xs_cu.cuMemGetInfo_v2(&left, &total) != CUDA_SUCCESS)
        return false;
    uint64_t lacking = left < d->o.low_free_bytes ? d->o.low_free_bytes - left : 0;
    atomic_store_explicit(&d->lacking_bytes, lacking, memory_order_relaxed);
    return lacking != 0;
}

void xs_gpu_watch_free_memory(struct xs_gpu_shard *s, struct xs_gpu_device *d)
{
    if (is_free_memory_low(d, ASK_EVERY))
        __atomic_store_n(&s->until_look, 1, __ATOMIC_RELAXED);
}

/* A program that finds all it needs in what is kept never asks the driver; it is others, then, who
 * may lack what it keeps beyond that. */
static void watch_at_leisure(struct xs_gpu_shard *s)
{
    struct xs_gpu_context *c = __atomic_load_n(&s->context, __ATOMIC_RELAXED);

    /* It has no device in a thread that has allocated nothing yet. */
    if (__atomic_load_n(&s->looks, __ATOMIC_RELAXED) % LEISURELY_LOOKS != 0 || c->device == NULL ||
        !is_due(c->device, ASK_AT_LEISURE) || (c = xs_gpu_here(s)) == NULL)
        return;
    if ((xs_gpu_kept_bytes(c->device) != 0 || c->device->o.prefetch_back) && xs_gpu_gate_open()) {
        (void)is_free_memory_low(c->device, ASK_AT_LEISURE);
        xs_gpu_gate_close();
    }
}

/* How much of what is kept is beyond the headroom, once `size` more is in use. */
static uint64_t surplus(const struct xs_gpu_device *d, size_t size)
{
    uint64_t percent = d->o.headroom_percent, reserved = xs_gpu_level_now(&d->reserved_bytes);
    uint64_t held = atomic_load_explicit(&d->held, memory_order_relaxed);
    uint64_t cached = xs_gpu_level_now(&d->cached_bytes);
    uint64_t in_use = (held > cached ? held - cached : 0) + size;
    uint64_t peak = atomic_load_explicit(&d->in_use_peak, memory_order_relaxed);

    peak = in_use > peak ? in_use : peak;
    uint64_t most = peak + peak / 100 * percent;
    return percent != 0 && cached != 0 && reserved + size > most ? reserved + size - most : 0;
}

/* Before the driver is asked for more: the least recently used blocks go, if the device has nothing
 * to do, for the driver waits for it. If it is busy, the next free sees to it. */
static void keep_within_headroom(struct xs_gpu_shard *s, struct xs_gpu_device *d, size_t size)
{
    uint64_t open = atomic_load_explicit(&xs_gpu_epochs.open, memory_order_relaxed), events = 0;
    uint64_t bytes = surplus(d, size);

    if (bytes == 0)
        return;
    bool is_idle = xs_gpu_prove_within(open, IDLE_WAIT, &events);
    XS_GPU_COUNT(s, d, events, events);
    if (is_idle) {
        struct xs_gpu_victims v = {.device = d, .ready = true, .bytes = bytes};
        v.only = XS_VICTIMS_WHOLE;
        (void)xs_gpu_evict(s, &v, true);
    } else {
        __atomic_store_n(&s->until_look, 1, __ATOMIC_RELAXED);
    }
}

static struct xs_gpu_block *find_kept(struct xs_gpu_shard *s, struct xs_gpu_want *w)
{
    struct xs_gpu_block *b = xs_gpu_cache_take(s, w);
    uint64_t events = 0;

    if (b != NULL || w->stamp == UINT64_MAX)
        return b;
    bool proven = xs_gpu_prove(w->stamp, w->youngest, &events);
    XS_GPU_COUNT(s, w->context->device, events, events);
    if (!proven)
        return NULL;
    w->stamp = UINT64_MAX;
    return xs_gpu_cache_take(s, w);
}

/* *got: what it has come to. */
static CUresult get_on(struct xs_gpu_shard *s, struct xs_gpu_context *c, unsigned kind, size_t size,
                       void *stream, CUdeviceptr *out, bool *hit, size_t *got)
{
    struct xs_gpu_device *d = c->device;
    size_t need = xs_gpu_class(&d->o, size), exact = xs_align_up(size, d->o.align);
    size_t waste = exact + exact / 100 * d->o.waste_percent;
    struct xs_gpu_want w = {
        .context = c,
        .kind = kind,
        .place = XS_PLACE_DRIVER,
        .least = exact,
        .most = waste > need ? (waste < XS_GPU_SIZE_MAX ? waste : XS_GPU_SIZE_MAX) : need,
        .stamp = UINT64_MAX,
        .stream = stream,
    };
    bool is_counted = kind == XS_KIND_DEVICE || kind == XS_KIND_MANAGED;
    struct xs_gpu_block *b = find_kept(s, &w);

    if (b == NULL && d->o.waste_percent != 0 && exact <= XS_GPU_SIZE_MAX / 2 &&
        2 * exact > w.most && xs_gpu_keeps_more(d, kind)) {
        w.most = 2 * exact;
        /* What could be proven has been, if there was one that fits better. */
        b = w.stamp == UINT64_MAX ? find_kept(s, &w) : xs_gpu_cache_take(s, &w);
        if (b != NULL)
            __atomic_store_n(&s->is_loose, true, __ATOMIC_RELAXED);
    }
    *hit = b != NULL;
    *got = b != NULL ? b->size : need;
    if (b != NULL) {
        if (is_counted && w.by_order)
            XS_GPU_COUNT(s, d, reuse_ordered, 1);
        else if (is_counted && w.by_stream)
            XS_GPU_COUNT(s, d, reuse_stream, 1);
        else if (is_counted)
            XS_GPU_COUNT(s, d, reuse_waited, 1);
        xs_gpu_use_begins(d, kind, b->size);
        *out = xs_gpu_block_hand_out(b);
        return CUDA_SUCCESS;
    }
    xs_gpu_watch_free_memory(s, d);
    keep_within_headroom(s, d, need);
    xs_gpu_poll_control();
    CUresult r = xs_gpu_supply(s, c, kind, need, exact, out);
    if (r == CUDA_SUCCESS && is_counted)
        count_miss(s, d, xs_gpu_bin(need), &w);
    return r;
}

CUresult xs_gpu_get(struct xs_gpu_shard *s, struct xs_gpu_context *c, unsigned kind, size_t size,
                    CUdeviceptr *out, bool *hit)
{
    size_t got;

    return get_on(s, c, kind, size, NULL, out, hit, &got);
}

static void note_largest(struct xs_gpu_device *d, size_t size)
{
    uint64_t largest = atomic_load_explicit(&d->largest_request, memory_order_relaxed);

    while (size > largest &&
           !atomic_compare_exchange_weak_explicit(&d->largest_request, &largest, size,
                                                  memory_order_relaxed, memory_order_relaxed))
        ;
}

/* The context whose memory the calling thread asks for; NULL: it asks the driver itself. */
struct xs_gpu_context *xs_gpu_here(struct xs_gpu_shard *s)
{
    CUcontext handle = NULL;
    struct xs_gpu_context *c;

    if (!xs_gpu_is_on() || s == NULL || xs_cu.cuCtxGetCurrent(&handle) != CUDA_SUCCESS)
        return NULL;
    c = xs_gpu_context_of(handle);
    if (c != NULL && __atomic_load_n(&s->context, __ATOMIC_RELAXED) != c)
        xs_gpu_cache_settle(s, c, handle);
    return c;
}

/* What is served from something that is kept counts as a hit, in xs_gpu_get; all else here. */
static CUresult malloc_by_route(struct xs_gpu_shard *s, struct xs_gpu_context *c, size_t size,
                                void *stream, CUdeviceptr *out, bool *hit)
{
    struct xs_gpu_device *d = c->device;
    enum xs_gpu_backend backend = route_of(&d->o, size);
    size_t got;
    CUresult r;

    *hit = false;
    if (size == 0 || size > XS_GPU_SIZE_MAX)
        return xs_cu.cuMemAlloc_v2(out, size);
    switch (backend) {
    case XS_GPU_DIRECT:
        return xs_gpu_supply(s, c, XS_KIND_DIRECT, size, size, out);
    case XS_GPU_MANAGED:
        r = xs_gpu_get(s, c, XS_KIND_MANAGED, size, out, hit);
        if (r == CUDA_SUCCESS)
            xs_gpu_move_there(c, *out, size);
        return r;
    case XS_GPU_POOL:
    case XS_GPU_BFC:
        r = xs_gpu_piece_get(s, c, backend, size, stream, out, hit);
        if (r != CUDA_ERROR_NOT_SUPPORTED)
            return r;
        return xs_gpu_get(s, c, XS_KIND_DEVICE, size, out, hit); /* too large for it */
    default:
        r = get_on(s, c, XS_KIND_DEVICE, size, stream, out, hit, &got);
        if (r == CUDA_SUCCESS) /* a larger one is likely to be free again at the next request */
            xs_gpu_cache_quicken(s, XS_PLACE_DRIVER, size, got, NULL);
        return r;
    }
}

static CUresult malloc_anyhow(CUdeviceptr *out, size_t size, void *stream)
{
    struct xs_gpu_shard *s = xs_gpu_shard();
    struct xs_gpu_context *c = xs_gpu_here(s);
    bool hit;

    if (c == NULL || out == NULL)
        return xs_cu.cuMemAlloc_v2(out, size);
    CUresult r = malloc_by_route(s, c, size, stream, out, &hit);
    if (!hit)
        XS_GPU_COUNT(s, c->device, allocations, 1);
    XS_GPU_COUNT(s, c->device, requested_bytes, size);
    note_largest(c->device, size);
    if (r != CUDA_SUCCESS)
        xs_gpu_count_failure(s, c->device, r, size);
    return r;
}

XS_COLD static CUresult malloc_slow(CUdeviceptr *out, size_t size, void *stream)
{
    return xs_gpu_note(malloc_anyhow(out, size, stream), out, size);
}

XS_COLD static CUresult count_peak(struct xs_gpu_device *d)
{
    xs_gpu_in_use_changed(d);
    return CUDA_SUCCESS;
}

/* There is none of a size that was asked for lately. Under the shard's lock, which is let go. */
__attribute__((noinline)) static CUresult malloc_cut(CUdeviceptr *out, size_t size)
{
    struct xs_gpu_shard *s = xs_gpu_shard_mine;
    const struct xs_gpu_quick *q = xs_gpu_quick_at(s, xs_gpu_step_of(size));
    struct xs_gpu_bins *bins = s->bins;
    struct xs_gpu_range *from = q->from;
    unsigned bin = (unsigned)(q->newest - bins->newest);

    xs_gpu_shard_give(s);
    if (from != NULL && xs_gpu_piece_cut(s, bins, bin, from, size, out) == CUDA_SUCCESS)
        return CUDA_SUCCESS;
    return malloc_slow(out, size, NULL);
}

/* A block of the shard's becomes the program's. Under the shard's lock, which is let go. */
XS_INLINE CUresult hand_out(struct xs_gpu_shard *s, struct xs_gpu_device *d, struct xs_gpu_block *b,
                            size_t had, CUdeviceptr *out)
{
    xs_gpu_shard_give(s);
    uint64_t left =
        atomic_fetch_sub_explicit(&d->cached_bytes.now, had, memory_order_relaxed) - had;
    *out = xs_gpu_block_hand_out(b);
    if (XS_UNLIKELY(left < XS_PEEK(d->low_water)))
        return count_peak(d);
    return CUDA_SUCCESS;
}

/* The newest one is of another size of the bin's, or not ready: at the old end there may be one
 * that will do. Under the shard's lock, which is let go. */
__attribute__((noinline)) static CUresult malloc_older(CUdeviceptr *out, size_t size)
{
    struct xs_gpu_shard *s = xs_gpu_shard_mine;
    const struct xs_gpu_quick *q = xs_gpu_quick_at(s, xs_gpu_step_of(size));
    struct xs_gpu_bins *bins = s->bins;
    struct xs_gpu_block *newest = *q->newest, *b = newest->newer; /* the oldest */
    uint64_t done = xs_gpu_done();
    bool is_single = xs_gpu_is_single();

    for (unsigned i = 0; i < OTHERS && b != newest; i++, b = b->newer) {
        if (b->size != q->need || (b->stamp > done && !is_single))
            continue;
        if (b->stamp > done)
            XS_COUNT(bins->count->reuse_ordered, 1);
        else
            XS_COUNT(bins->count->reuse_waited, 1);
        XS_COUNT(bins->count->requested_bytes, size);
        xs_gpu_bins_take(q->newest, b);
        return hand_out(s, bins->device, b, b->size, out);
    }
    xs_gpu_shard_give(s);
    return malloc_slow(out, size, NULL);
}

/* The newest block of a size that was asked for lately, if it may be used: all else is
 * malloc_slow's. What can be changed by others is read under the shard's lock, which nobody else
 * takes but in need. */
CUresult xs_gpu_malloc(CUdeviceptr *out, size_t size)
{
    CUcontext handle;

    if (XS_UNLIKELY(out == NULL) || XS_UNLIKELY(xs_cu.cuCtxGetCurrent(&handle) != CUDA_SUCCESS))
        return malloc_slow(out, size, NULL);
    struct xs_gpu_shard *s = xs_gpu_shard_mine;
    if (XS_UNLIKELY(!xs_gpu_shard_try(s)))
        return malloc_slow(out, size, NULL);
    size_t step = xs_gpu_step_of(size);
    const struct xs_gpu_quick *q = xs_gpu_quick_at(s, step);
    __asm__("" : "+r"(q)); /* worked out once */
    if (XS_UNLIKELY(s->quick_handle != handle) || XS_UNLIKELY(q->step != step))
        goto slow;
    struct xs_gpu_block **newest = q->newest, *b = *newest;
    size_t need = q->need;
    if (XS_UNLIKELY(b == NULL))
        return malloc_cut(out, size);
    if (XS_UNLIKELY(b->size != need))
        return malloc_older(out, size);
    struct xs_gpu_counters *count = s->quick_count;
    uint64_t done = xs_gpu_done();
    if (b->stamp > done) {
        if (XS_UNLIKELY(!xs_gpu_is_single()))
            return malloc_older(out, size);
        XS_COUNT(count->reuse_ordered, 1); /* by which xs_gpu_leave_single knows */
    } else {
        XS_COUNT(count->reuse_waited, 1);
    }
    XS_COUNT(count->requested_bytes, size);
    xs_gpu_bins_pop(newest, b);
    return hand_out(s, s->quick_device, b, need, out);
slow:
    xs_gpu_shard_give(s);
    return malloc_slow(out, size, NULL);
}

/* Default streams' handles mean others in another thread or context. */
static bool is_one_stream(CUstream s)
{
    return (uintptr_t)s > (uintptr_t)CU_STREAM_PER_THREAD;
}

CUresult xs_gpu_malloc_on(CUdeviceptr *out, size_t size, CUstream stream)
{
    return is_one_stream(stream) ? malloc_slow(out, size, stream) : xs_gpu_malloc(out, size);
}

CUresult xs_gpu_malloc_pitch(CUdeviceptr *out, size_t *pitch, size_t width, size_t height,
                             unsigned element)
{
    struct xs_gpu_shard *s = xs_gpu_shard();
    struct xs_gpu_context *c = xs_gpu_here(s);
    size_t row, size;
    CUresult r;

    if (c == NULL || out == NULL || pitch == NULL || width == 0 || height == 0 ||
        (element != 4 && element != 8 && element != 16) || width > XS_GPU_SIZE_MAX)
        return xs_cu.cuMemAllocPitch_v2(out, pitch, width, height, element);
    row = atomic_load_explicit(&c->device->pitch, memory_order_relaxed);
    if (row > 1 && xs_mul(xs_align_up(width, row), height, &size)) {
        r = xs_gpu_malloc(out, size);
        if (r == CUDA_SUCCESS)
            *pitch = xs_align_up(width, row);
        return r;
    }
    /* The driver's own answer tells whether it can be foretold. */
    r = xs_cu.cuMemAllocPitch_v2(out, pitch, width, height, element);
    while (r == CUDA_ERROR_OUT_OF_MEMORY && xs_gpu_flush_here())
        r = xs_cu.cuMemAllocPitch_v2(out, pitch, width, height, element);
    if (r == CUDA_SUCCESS) {
        xs_gpu_note(r, out, *pitch * height);
        bool is_usual = *pitch == xs_align_up(width, XS_GPU_PITCH);
        atomic_store_explicit(&c->device->pitch, is_usual ? XS_GPU_PITCH : 1, memory_order_relaxed);
    }
    XS_GPU_COUNT(s, c->device, allocations, 1);
    if (r != CUDA_SUCCESS) {
        xs_gpu_count_failure(s, c->device, r, width);
    } else {
        if (route_of(&c->device->o, *pitch * height) != XS_GPU_DIRECT)
            XS_GPU_COUNT(s, c->device, misses_cold, 1);
        xs_gpu_adopt(c, XS_KIND_DIRECT, *pitch * height, *out);
        XS_GPU_COUNT(s, c->device, requested_bytes, *pitch * height);
    }
    return r;
}

/* ---- free ---- */

/* cuda-gdb stops where a kernel leaves an allocation, and may have come later than we. */
static void make_way_for_debugger(void)
{
    if (XS_LIKELY(xs_cu.debugged == NULL ||
                  atomic_load_explicit(xs_cu.debugged, memory_order_relaxed) == 0) ||
        !xs_gpu_is_on())
        return;
    xs_gpu_turn_off_for("a debugger of device code has attached");
    xs_gpu_clear(-1);
}

/* Now and then, in a free: a free may wait, and so may what is done here. */
void xs_gpu_look(struct xs_gpu_shard *s)
{
    if (xs_gpu_is_capturing()) {
        __atomic_store_n(&s->until_look, 1, __ATOMIC_RELAXED); /* at the next free, then */
        return;
    }
    __atomic_store_n(&s->until_look, LOOK_EVERY, __ATOMIC_RELAXED);
    make_way_for_debugger();
    xs_gpu_unqueue(s, false);
    if (__atomic_load_n(&s->is_loose, __ATOMIC_RELAXED))
        xs_gpu_cache_tighten(s);
    __atomic_fetch_add(&s->looks, 1, __ATOMIC_RELAXED);
    watch_at_leisure(s);
    for (unsigned i = 0; i < xs_gpu_device_count() && xs_gpu_is_on(); i++) {
        struct xs_gpu_device *d = &xs_gpu_devices[i];
        if (!atomic_load_explicit(&d->is_open, memory_order_acquire))
            continue;
        uint64_t low = atomic_exchange_explicit(&d->lacking_bytes, 0, memory_order_relaxed);
        bool ready = !xs_gpu_is_single();
        uint64_t beyond = surplus(d, 0), lacking = beyond > low ? beyond : low;
        if (lacking != 0) {
            struct xs_gpu_victims v = {.device = d, .ready = ready, .bytes = lacking};
            v.only = XS_VICTIMS_WHOLE;
            (void)xs_gpu_evict(s, &v, true);
            uint64_t gone = v.taken_bytes;
            if (gone < lacking)
                gone += xs_gpu_pieces_spare(s, d, !ready);
            if (gone < low && d->o.prefetch_back)
                xs_gpu_move_back(s, d, low - gone);
        }
        xs_gpu_pieces_look(s, d);
        uint64_t age = d->o.cache_age_ns, now = age != 0 ? xs_gpu_tick() : 0;
        if (now > age &&
            now - atomic_load_explicit(&d->looked_ns, memory_order_relaxed) > age / 4) {
            struct xs_gpu_victims v = {.device = d,
                                       .pinned = -1,
                                       .ready = ready,
                                       .bytes = UINT64_MAX,
                                       .before_ns = now - age};
            atomic_store_explicit(&d->looked_ns, now, memory_order_relaxed);
            (void)xs_gpu_evict(s, &v, true);
        }
    }
    xs_gpu_poll_control();
}

/* A single stream puts reuse in order, but not what the CPU sees: that a kernel's output is
 * printed, or its results are there, may have been the free's doing. */
static bool needs_no_wait(const struct xs_gpu_device *d, const struct xs_gpu_block *b)
{
    return xs_gpu_is_single() && !xs_gpu_kind_is_visible(b->kind) && !xs_gpu_is_awaited(d, b->size);
}

/* True: the block may be kept. Waits where the native call does and programs may rely on it. */
static bool wait_as_native(struct xs_gpu_shard *s, struct xs_gpu_context *c,
                           const struct xs_gpu_block *b)
{
    if (c->device->o.free_way != XS_GPU_STRICT || b->kind == XS_KIND_DIRECT || !xs_gpu_is_on() ||
        needs_no_wait(c->device, b))
        return true;
    CUresult r = xs_gpu_context_wait(c, b->generation);
    if (r == CUDA_ERROR_NOT_PERMITTED)
        return true; /* not during a capture */
    XS_GPU_COUNT(s, c->device, syncs, 1);
    return r == CUDA_SUCCESS;
}

/* The driver's free of a block waits for no other context than the block's: work in a stream of
 * another one must be done before the block can come to that. Not so during a capture. */
static void wait_for_stranger(const struct xs_gpu_context *c, CUstream stream)
{
    CUcontext of = NULL;

    if (xs_gpu_is_single() || !xs_gpu_gate_open())
        return;
    if (xs_cu.cuStreamGetCtx(stream, &of) != CUDA_SUCCESS ||
        of != atomic_load_explicit(&c->handle, memory_order_relaxed))
        (void)xs_cu.cuStreamSynchronize(stream);
    xs_gpu_gate_close();
}

/* A claimed block of ours: kept, or given back. */
CUresult xs_gpu_put(struct xs_gpu_shard *s, struct xs_gpu_block *b, const CUstream *after)
{
    struct xs_gpu_context *c = &xs_gpu_contexts[b->context];
    struct xs_gpu_device *d = c->device;
    uint64_t address = xs_gpu_block_base(b);
    unsigned kind = b->kind;
    size_t size = b->size;

    xs_gpu_shard_take(s);
    b->stamp = xs_gpu_stamp();
    xs_gpu_shard_give(s);
    b->stream = after != NULL && is_one_stream(*after) ? *after : NULL;
    b->streams_gone = xs_gpu_streams_gone();
    if (after != NULL)
        wait_for_stranger(c, *after);
    else if (!wait_as_native(s, c, b))
        xs_gpu_turn_off(); /* the driver says itself what it thinks of the free */
    xs_gpu_use_ends(d, kind, size);
    if (kind == XS_KIND_PIECE) {
        xs_gpu_piece_put(s, b, after == NULL);
        return CUDA_SUCCESS;
    }
    CUresult r = xs_gpu_keep(s, b, after);
    if (r != CUDA_SUCCESS && xs_gpu_block_find(address) == b) { /* it is the program's as before */
        xs_gpu_use_begins(d, kind, size);
        (void)xs_gpu_block_hand_out(b);
    }
    return r;
}

/* Of one that the driver gave out by itself, or nobody. */
static CUresult free_passed(CUdeviceptr p)
{
    struct xs_gpu_passed was;
    bool is_known = xs_gpu_passed_ends(XS_GPU_PASS_ASYNC, p, &was);

    return xs_gpu_passed_ended(is_known, &was, xs_cu.cuMemFree_v2(p));
}

static CUresult not_ours(struct xs_gpu_shard *s, CUdeviceptr p)
{
    struct xs_gpu_context *c = p != 0 ? xs_gpu_here(s) : NULL;
    CUresult r = xs_gpu_piece_range_at(p) ? (CUresult)CUDA_ERROR_INVALID_VALUE : free_passed(p);

    if (c != NULL && r == CUDA_ERROR_INVALID_VALUE)
        XS_GPU_COUNT(s, c->device, bad_frees, 1);
    return r;
}

CUresult xs_gpu_count_bad_free(struct xs_gpu_shard *s, const struct xs_gpu_block *b)
{
    XS_GPU_COUNT(s, xs_gpu_contexts[b->context].device, bad_frees, 1);
    return CUDA_ERROR_INVALID_VALUE;
}

XS_COLD static CUresult free_claimed(struct xs_gpu_shard *s, struct xs_gpu_block *b,
                                     const CUstream *after)
{
    struct xs_gpu_device *d = xs_gpu_contexts[b->context].device;
    CUresult r = xs_gpu_put(s, b, after);

    if (r == CUDA_SUCCESS)
        XS_GPU_COUNT(s, d, frees, 1);
    if (s->until_look <= 1)
        xs_gpu_look(s);
    else
        __atomic_store_n(&s->until_look, s->until_look - 1, __ATOMIC_RELAXED);
    return r;
}

XS_COLD static CUresult free_slow(CUdeviceptr p, const CUstream *after)
{
    struct xs_gpu_shard *s = xs_gpu_shard();
    struct xs_gpu_block *b = xs_gpu_block_find(p);

    xs_gpu_note_free(p);
    if (s == NULL)
        return free_passed(p);
    if (b == NULL)
        return not_ours(s, p);
    if (xs_gpu_kind_is_pinned(b->kind) || !xs_gpu_block_claim(b, p))
        return xs_gpu_count_bad_free(s, b);
    return free_claimed(s, b, after);
}

XS_COLD static CUresult look_after_free(struct xs_gpu_shard *s)
{
    xs_gpu_look(s);
    return CUDA_SUCCESS;
}

/* What nobody has to wait for and the cache has room for: all else is free_slow's. */
CUresult xs_gpu_free(CUdeviceptr p)
{
    struct xs_gpu_shard *s = xs_gpu_shard_mine;
    struct xs_gpu_block *b = xs_gpu_block_find_quick(p);

    if (XS_UNLIKELY(b == NULL) || XS_UNLIKELY(!xs_gpu_shard_try(s)))
        return free_slow(p, NULL);
    if (XS_UNLIKELY(__atomic_load_n(&b->home, __ATOMIC_RELAXED) != s->quick_home) ||
        XS_UNLIKELY(!xs_gpu_block_claim(b, p))) {
        xs_gpu_shard_give(s);
        return free_slow(p, NULL);
    }
    struct xs_gpu_device *d = s->quick_device;
    struct xs_gpu_counters *count = s->quick_count;
    size_t size = b->size;
    if (XS_UNLIKELY(!xs_gpu_level_reserve(&d->cached_bytes, size, XS_PEEK(d->quick_max)))) {
        xs_gpu_shard_give(s);
        return free_claimed(s, b, NULL);
    }
    b->stamp = xs_gpu_stamp();
    b->freed = count->frees;
    XS_COUNT(count->frees, 1);
    xs_gpu_bins_put(s->bins, b);
    bool looks = --s->until_look == 0;
    xs_gpu_shard_give(s);
    return XS_UNLIKELY(looks) ? look_after_free(s) : (CUresult)CUDA_SUCCESS;
}

CUresult xs_gpu_free_async(CUdeviceptr p, CUstream stream,
                           CUresult (*free_async)(CUdeviceptr, CUstream))
{
    struct xs_gpu_passed was;

    if (xs_gpu_block_find(p) == NULL) {
        bool is_known = xs_gpu_passed_ends(XS_GPU_PASS_ASYNC, p, &was);
        return xs_gpu_passed_ended(is_known, &was, free_async(p, stream));
    }
    if (stream == NULL && free_async == xs_cu.cuMemFreeAsync_ptsz)
        stream = CU_STREAM_PER_THREAD;
    /* The stamp covers all that was submitted before, in whatever stream. */
    return free_slow(p, &stream);
}

bool xs_gpu_holds(CUdeviceptr p)
{
    const struct xs_gpu_block *b = xs_gpu_block_find(p);

    return b != NULL && !xs_gpu_kind_is_pinned(b->kind) &&
           atomic_load_explicit(&b->address, memory_order_acquire) == p;
}
