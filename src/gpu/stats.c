/* The devices, and the sums of what was counted. */
#include <time.h>

#include "base/fmt.h"
#include "gpu/piece.h"

XS_UNLIKELY_DATA struct xs_gpu_device xs_gpu_devices[XS_GPU_DEVICES_MAX];
static struct xs_lock opening = {.kind = XS_LOCK_GPU};
static _Atomic unsigned device_count;

uint64_t xs_gpu_now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

uint64_t xs_gpu_tick(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void raise_to(_Atomic uint64_t *peak, uint64_t now)
{
    uint64_t old = atomic_load_explicit(peak, memory_order_relaxed);

    while (now > old && !atomic_compare_exchange_weak_explicit(
                            peak, &old, now, memory_order_relaxed, memory_order_relaxed))
        ;
}

void xs_gpu_peak(struct xs_gpu_level *l, uint64_t now)
{
    raise_to(&l->peak, now);
}

/* ---- levels ---- */

static uint64_t in_use(const struct xs_gpu_device *d)
{
    uint64_t held = atomic_load_explicit(&d->held, memory_order_relaxed);
    uint64_t cached = xs_gpu_level_now(&d->cached_bytes);

    return held > cached ? held - cached : 0; /* read in the midst of a change */
}

static uint32_t given(void)
{
    return atomic_load_explicit(&xs_gpu_epochs.given, memory_order_relaxed);
}

static bool sees_some(const struct xs_gpu_device *d, uint32_t work)
{
    return work & XS_GPU_GIVEN_CALL || xs_gpu_level_now(&d->managed_in_use_bytes) != 0 ||
           xs_gpu_level_now(&d->pinned_in_use_bytes) != 0 ||
           atomic_load_explicit(&xs_gpu_epochs.registered, memory_order_relaxed);
}

bool xs_gpu_is_awaited(const struct xs_gpu_device *d, size_t size)
{
    uint32_t work = given();

    return work != 0 && ((work & XS_GPU_GIVEN_KERNEL && in_use(d) <= size) || sees_some(d, work));
}

static void set_quick_max(struct xs_gpu_device *d)
{
    uint64_t max = atomic_load_explicit(&d->cache_max, memory_order_relaxed);
    uint64_t peak = atomic_load_explicit(&d->cached_bytes.peak, memory_order_relaxed);
    uint64_t held = atomic_load_explicit(&d->held, memory_order_relaxed);

    uint32_t work = given();

    max = max < peak ? max : peak;
    if (work != 0 && sees_some(d, work))
        max = 0;
    else if (work & XS_GPU_GIVEN_KERNEL && held <= max)
        max = held != 0 ? held - 1 : 0;
    atomic_store_explicit(&d->quick_max, max, memory_order_relaxed);
}

void xs_gpu_given_changed(void)
{
    for (unsigned i = 0; i < xs_gpu_device_count(); i++)
        if (atomic_load_explicit(&xs_gpu_devices[i].is_open, memory_order_acquire))
            set_quick_max(&xs_gpu_devices[i]);
}

void xs_gpu_in_use_changed(struct xs_gpu_device *d)
{
    uint64_t held = atomic_load_explicit(&d->held, memory_order_relaxed);
    uint64_t cached = xs_gpu_level_now(&d->cached_bytes); /* perhaps in the midst of a change */
    uint64_t peak = atomic_load_explicit(&d->in_use_peak, memory_order_relaxed);

    if (XS_UNLIKELY(held > cached + peak)) {
        raise_to(&d->in_use_peak, held - cached);
        peak = atomic_load_explicit(&d->in_use_peak, memory_order_relaxed);
    }
    atomic_store_explicit(&d->low_water, held > peak ? held - peak : 0, memory_order_relaxed);
    if (given() & XS_GPU_GIVEN_KERNEL) /* the rest does not go by what is held */
        set_quick_max(d);
}

void xs_gpu_held_add(struct xs_gpu_device *d, uint64_t n)
{
    atomic_fetch_add_explicit(&d->held, n, memory_order_relaxed);
    xs_gpu_in_use_changed(d);
}

static void held_sub(struct xs_gpu_device *d, uint64_t n)
{
    atomic_fetch_sub_explicit(&d->held, n, memory_order_relaxed);
    xs_gpu_in_use_changed(d);
}

void xs_gpu_cache_max_set(struct xs_gpu_device *d, uint64_t bytes)
{
    atomic_store_explicit(&d->cache_max, bytes, memory_order_relaxed);
    set_quick_max(d);
}

/* What the CPU sees by the program's own wish; NULL: it does not. */
static struct xs_gpu_level *seen(struct xs_gpu_device *d, unsigned kind)
{
    if (xs_gpu_kind_is_pinned(kind))
        return &d->pinned_in_use_bytes;
    return kind == XS_KIND_MANAGED_GLOBAL || kind == XS_KIND_MANAGED_HOST ? &d->managed_in_use_bytes
                                                                          : NULL;
}

void xs_gpu_use_begins(struct xs_gpu_device *d, unsigned kind, size_t size)
{
    struct xs_gpu_level *l = seen(d, kind);

    if (l == NULL) {
        xs_gpu_held_add(d, size);
    } else {
        xs_gpu_level_add(l, size);
        if (given() != 0)
            set_quick_max(d);
    }
}

void xs_gpu_use_ends(struct xs_gpu_device *d, unsigned kind, size_t size)
{
    struct xs_gpu_level *l = seen(d, kind);

    if (l == NULL) {
        held_sub(d, size);
    } else {
        xs_gpu_level_sub(l, size);
        if (given() != 0)
            set_quick_max(d);
    }
}

bool xs_gpu_caching_begins(struct xs_gpu_device *d, unsigned kind, size_t size)
{
    struct xs_gpu_level *l = xs_gpu_cached(d, kind);

    if (!xs_gpu_level_reserve(l, size, xs_gpu_cached_max(d, kind)))
        return false;
    raise_to(&l->peak, xs_gpu_level_now(l));
    if (!xs_gpu_kind_is_pinned(kind)) {
        if (kind != XS_KIND_DEVICE)
            atomic_fetch_add_explicit(&d->managed_cached, size, memory_order_relaxed);
        set_quick_max(d);
        xs_gpu_held_add(d, size);
    }
    return true;
}

void xs_gpu_caching_ends(struct xs_gpu_device *d, unsigned kind, size_t size)
{
    /* In this order: in use must not seem more than it is. */
    if (!xs_gpu_kind_is_pinned(kind)) {
        if (kind != XS_KIND_DEVICE)
            atomic_fetch_sub_explicit(&d->managed_cached, size, memory_order_relaxed);
        held_sub(d, size);
    }
    xs_gpu_level_sub(xs_gpu_cached(d, kind), size);
}

bool xs_gpu_keeps_more(const struct xs_gpu_device *d, unsigned kind)
{
    if (xs_gpu_kind_is_pinned(kind))
        return xs_gpu_level_now(&d->pinned_cached_bytes) >
               xs_gpu_level_now(&d->pinned_in_use_bytes);
    if (kind == XS_KIND_MANAGED_GLOBAL || kind == XS_KIND_MANAGED_HOST)
        return atomic_load_explicit(&d->managed_cached, memory_order_relaxed) >
               xs_gpu_level_now(&d->managed_in_use_bytes);
    return 2 * xs_gpu_level_now(&d->cached_bytes) >
           atomic_load_explicit(&d->held, memory_order_relaxed);
}

/* ---- devices ---- */

static const char names[XS_GPU_BACKENDS][8] = {"caching", "pool", "bfc", "direct", "managed"};

static void name_steps(struct xs_gpu_device *d)
{
    struct xs_buf text;

    xs_buf_init(&text, d->names, sizeof(d->names));
    for (unsigned i = 0; i < d->o.step_count; i++)
        xs_fmt(&text, "%s%s", i != 0 ? "," : "",
               names[d->o.step[i].backend < XS_GPU_BACKENDS ? d->o.step[i].backend : 0]);
}

static void open_device(struct xs_gpu_device *d, unsigned number)
{
    d->number = number;
    xs_gpu_options_for(number, &d->o);
    if (d->o.step_count == 0 || d->o.step_count > XS_GPU_STEPS_MAX) {
        d->o.step_count = 1;
        d->o.step[0] = (struct xs_gpu_step){SIZE_MAX, XS_GPU_CACHING};
    }
    if (d->o.align < 256)
        d->o.align = 256;
    atomic_store_explicit(&d->cache_max, d->o.cache_max_bytes, memory_order_relaxed);
    atomic_store_explicit(&d->pinned_max, d->o.pinned_max_bytes, memory_order_relaxed);
    name_steps(d);
    atomic_store_explicit(&d->is_open, true, memory_order_release);
}

struct xs_gpu_device *xs_gpu_device(unsigned number)
{
    struct xs_gpu_device *d = &xs_gpu_devices[number < XS_GPU_DEVICES_MAX ? number : 0];
    unsigned count = atomic_load_explicit(&device_count, memory_order_relaxed);

    if (number >= XS_GPU_DEVICES_MAX)
        return NULL;
    if (atomic_load_explicit(&d->is_open, memory_order_acquire))
        return d;
    xs_lock_take(&opening);
    if (!atomic_load_explicit(&d->is_open, memory_order_relaxed))
        open_device(d, number);
    if (count <= number)
        atomic_store_explicit(&device_count, number + 1, memory_order_release);
    xs_lock_give(&opening);
    return d;
}

void xs_gpu_devices_forget(void)
{
    XS_CHANGE_TO(device_count, 0);
}

unsigned xs_gpu_device_count(void)
{
    return atomic_load_explicit(&device_count, memory_order_acquire);
}

bool xs_gpu_stats_get(unsigned device, struct xs_gpu_stats *out, bool may_lock)
{
    struct xs_gpu_device *d =
        device < XS_GPU_DEVICES_MAX ? &xs_gpu_devices[device] : &xs_gpu_devices[0];

    if (device >= XS_GPU_DEVICES_MAX || xs_gpu_is_child() ||
        !atomic_load_explicit(&d->is_open, memory_order_acquire))
        return false;
    *out = (struct xs_gpu_stats){0};
    for (struct xs_gpu_shard *s = xs_gpu_shards(); s != NULL; s = s->next) {
        const struct xs_gpu_counters *c = __atomic_load_n(&s->count[device], __ATOMIC_ACQUIRE);
        if (c == NULL)
            continue;
#define X(name, unit, help) out->name += __atomic_load_n(&c->name, __ATOMIC_RELAXED);
        XS_GPU_COUNTER_FIELDS(X)
#undef X
    }
    /* A hit is counted once, by what made it possible. */
    out->hits = out->reuse_ordered + out->reuse_waited + out->reuse_stream;
    out->allocations += out->hits;
#define X(name)                                                                                    \
    out->name = xs_gpu_level_now(&d->name);                                                        \
    out->name##_peak = atomic_load_explicit(&d->name.peak, memory_order_relaxed);
    X(cached_bytes)
    X(reserved_bytes)
    X(pinned_in_use_bytes)
    X(pinned_cached_bytes)
    X(managed_in_use_bytes)
    X(async_in_use_bytes)
    X(vmm_in_use_bytes)
#undef X
    out->in_use_bytes = in_use(d);
    out->in_use_bytes_peak = atomic_load_explicit(&d->in_use_peak, memory_order_relaxed);
    out->largest_request_bytes = atomic_load_explicit(&d->largest_request, memory_order_relaxed);
    out->last_oom_bytes = atomic_load_explicit(&d->last_oom, memory_order_relaxed);
    out->cache_max_bytes = atomic_load_explicit(&d->cache_max, memory_order_relaxed);
    out->backend = d->names;
    xs_gpu_pieces_stats(d, out, may_lock);
    return true;
}

double xs_gpu_hit_rate(const struct xs_gpu_stats *s)
{
    uint64_t asked =
        s->hits + s->misses_cold + s->misses_evicted + s->misses_size + s->misses_stream;

    return asked == 0 ? 0 : (double)s->hits / (double)asked;
}
