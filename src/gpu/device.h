/* gpu/device.h - what is known and counted of one device.
 *
 * Units:   bytes, nanoseconds, calls.
 * Owns:    nothing.
 * Threads: options are written once, before `is_open`; levels are atomic; counters have one writer,
 *          the thread of their shard, and any reader.
 * Context: inside the driver's calls. Allocates: never.
 * Errors:  none.
 */
#ifndef XS_GPU_DEVICE_H
#define XS_GPU_DEVICE_H

#include <stdatomic.h>

#include "gpu/gpu.h"
#include "stats/stats.h"

/* Sizes are sorted into bins, 32 to a doubling from 256 bytes on; up to 16 KiB a bin is one
 * multiple of 512. Larger bins hold several sizes, none more than 1/32 apart. */
#define XS_GPU_BIN_BITS  5
#define XS_GPU_SIZE_BITS 48
#define XS_GPU_BINS      ((XS_GPU_SIZE_BITS - 8) << XS_GPU_BIN_BITS)
#define XS_GPU_SIZE_MAX  ((size_t)1 << (XS_GPU_SIZE_BITS - 1))

/* Blocks of device memory do not stand in for each other if they come from different places: each
 * place has bins of its own. */
enum xs_gpu_place { XS_PLACE_DRIVER, XS_PLACE_POOL, XS_PLACE_BFC, XS_PLACES };
#define XS_GPU_ALL_BINS (XS_PLACES * XS_GPU_BINS)

/* Blocks of different kinds never stand in for each other. */
enum xs_gpu_kind {
    XS_KIND_DEVICE,
    XS_KIND_MANAGED,        /* in the place of device memory: the back end `managed` */
    XS_KIND_MANAGED_GLOBAL, /* the program's own, by its flag */
    XS_KIND_MANAGED_HOST,
    XS_KIND_PINNED, /* and the seven after it, by cuMemHostAlloc's flags */
    XS_KIND_PINNED_LAST = XS_KIND_PINNED + 7,
    XS_KINDS,                  /* those above are cached, in bins */
    XS_KIND_DIRECT = XS_KINDS, /* given back when freed */
    XS_KIND_PIECE              /* of a larger block, by a sub-allocator; cached as DEVICE */
};

struct xs_gpu_level {
    _Atomic uint64_t now, peak;
};

/* A relaxed load that may be part of another instruction; GCC makes a separate one of an atomic. */
#ifdef __SANITIZE_THREAD__
#define XS_PEEK(atomic) atomic_load_explicit(&(atomic), memory_order_relaxed)
#else
#define XS_PEEK(atomic) (*(const uint64_t *)(const void *)&(atomic))
#endif

struct xs_gpu_counters {
#define X(name, unit, help) uint64_t name;
    XS_GPU_COUNTER_FIELDS(X)
#undef X
};

/* What the program holds of device memory is `held` less what is cached: so neither a hit nor a
 * free that is cached has to touch a second number that all threads share. */
struct xs_gpu_device {
    _Alignas(XS_NO_SHARE) struct xs_gpu_level cached_bytes;
    _Atomic uint64_t held;        /* in use by the program, and cached, pinned memory apart */
    _Atomic uint64_t in_use_peak; /* of held - cached */
    _Atomic uint64_t low_water;   /* with fewer bytes cached there is a new peak in use */
    /* To this the cache may grow and nobody has to look: limit, peak, what is awaited. */
    _Atomic uint64_t quick_max;
    _Atomic uint64_t cache_max;
    _Alignas(XS_NO_SHARE) _Atomic bool is_open;
    unsigned number;
    struct xs_gpu_options o;
    char names[80]; /* of several back ends, in the order of their steps */
    _Atomic uint64_t pinned_max;
    _Atomic uint64_t managed_cached; /* of what is cached: it takes no memory of the device */
    struct xs_gpu_level reserved_bytes;
    struct xs_gpu_level pinned_in_use_bytes, pinned_cached_bytes, managed_in_use_bytes;
    struct xs_gpu_level async_in_use_bytes, vmm_in_use_bytes;
    _Atomic uint64_t largest_request, last_oom;
    _Atomic uint64_t range_bytes; /* in ranges of the sub-allocators */
    _Atomic uint64_t defragmented_ns;
    _Atomic uint64_t asked_ns; /* when free memory was last looked at */
    _Atomic uint64_t
        lacking_bytes;          /* so much less than there should be: the next frees make room */
    _Atomic uint64_t looked_ns; /* when old blocks were last looked for */
    _Atomic size_t pitch;       /* 0: unknown; 1: not to be foretold; else rows are multiples */
    _Atomic uint64_t freed[XS_GPU_BINS / 64];   /* bins that had a block freed */
    _Atomic uint64_t cut[XS_GPU_ALL_BINS / 64]; /* bins of pieces that were ever cut */
    _Atomic uint64_t cut_words;                 /* those of `cut` that are not 0 */
    _Atomic uint32_t evicted[XS_GPU_BINS];      /* blocks evicted and not missed yet */
};

_Static_assert(XS_GPU_ALL_BINS / 64 <= 64, "a bit for each word of bits");

extern XS_HIDDEN struct xs_gpu_device xs_gpu_devices[XS_GPU_DEVICES_MAX];

/* Opens it at first; NULL: beyond those that we know. */
struct xs_gpu_device *xs_gpu_device(unsigned number);

/* In the child of a fork, where none was used. */
void xs_gpu_devices_forget(void);

/* CLOCK_MONOTONIC, exact, and to a tick. */
uint64_t xs_gpu_now(void);
uint64_t xs_gpu_tick(void);

XS_COLD void xs_gpu_peak(struct xs_gpu_level *l, uint64_t now);

XS_INLINE void xs_gpu_level_add(struct xs_gpu_level *l, uint64_t n)
{
    uint64_t now = atomic_fetch_add_explicit(&l->now, n, memory_order_relaxed) + n;

    if (XS_UNLIKELY(now > atomic_load_explicit(&l->peak, memory_order_relaxed)))
        xs_gpu_peak(l, now);
}

XS_INLINE void xs_gpu_level_sub(struct xs_gpu_level *l, uint64_t n)
{
    atomic_fetch_sub_explicit(&l->now, n, memory_order_relaxed);
}

/* Adds if the sum is at most `max`: at no time is the level higher. The peak is the caller's. */
XS_INLINE bool xs_gpu_level_reserve(struct xs_gpu_level *l, uint64_t n, uint64_t max)
{
    uint64_t now = atomic_load_explicit(&l->now, memory_order_relaxed);

    do {
        if (XS_UNLIKELY(now + n > max))
            return false;
    } while (XS_UNLIKELY(!atomic_compare_exchange_weak_explicit(
        &l->now, &now, now + n, memory_order_relaxed, memory_order_relaxed)));
    return true;
}

/* After `held` or what is cached has changed. */
void xs_gpu_in_use_changed(struct xs_gpu_device *d);
void xs_gpu_held_add(struct xs_gpu_device *d, uint64_t n);
void xs_gpu_cache_max_set(struct xs_gpu_device *d, uint64_t bytes);
void xs_gpu_given_changed(void); /* xs_gpu_epochs.given, or .registered */

/* A block begins or ends to be the program's; a block enters or leaves the cache. */
void xs_gpu_use_begins(struct xs_gpu_device *d, unsigned kind, size_t size);
void xs_gpu_use_ends(struct xs_gpu_device *d, unsigned kind, size_t size);
bool xs_gpu_caching_begins(struct xs_gpu_device *d, unsigned kind, size_t size);
void xs_gpu_caching_ends(struct xs_gpu_device *d, unsigned kind, size_t size);

XS_INLINE uint64_t xs_gpu_level_now(const struct xs_gpu_level *l)
{
    return atomic_load_explicit(&l->now, memory_order_relaxed);
}

XS_INLINE bool xs_gpu_kind_is_pinned(unsigned kind)
{
    return kind >= XS_KIND_PINNED && kind <= XS_KIND_PINNED_LAST;
}

/* The CPU reaches such memory without asking the driver, so that no stream orders it. */
XS_INLINE bool xs_gpu_kind_is_visible(unsigned kind)
{
    return kind >= XS_KIND_MANAGED && kind <= XS_KIND_PINNED_LAST;
}

/* In whose lists a block is cached. */
XS_INLINE unsigned xs_gpu_kind_of_list(unsigned kind)
{
    return kind == XS_KIND_PIECE ? XS_KIND_DEVICE : kind;
}

/* There is work, and a free of the block is where the program may look for what that did: kernels,
 * and it holds no other block, or anything, and it has memory that the CPU sees. */
bool xs_gpu_is_awaited(const struct xs_gpu_device *d, size_t size);

/* More memory of the kind is kept than in use: the program is at something else now. */
bool xs_gpu_keeps_more(const struct xs_gpu_device *d, unsigned kind);

XS_INLINE struct xs_gpu_level *xs_gpu_cached(struct xs_gpu_device *d, unsigned kind)
{
    return xs_gpu_kind_is_pinned(kind) ? &d->pinned_cached_bytes : &d->cached_bytes;
}

XS_INLINE uint64_t xs_gpu_cached_max(struct xs_gpu_device *d, unsigned kind)
{
    return atomic_load_explicit(xs_gpu_kind_is_pinned(kind) ? &d->pinned_max : &d->cache_max,
                                memory_order_relaxed);
}

XS_INLINE unsigned xs_gpu_bin(size_t size)
{
    size_t x = size - 1;
    unsigned e = 63u - (unsigned)__builtin_clzll((unsigned long long)x | 256);

    return ((e - 8) << XS_GPU_BIN_BITS) +
           ((unsigned)(x >> (e - XS_GPU_BIN_BITS)) & ((1u << XS_GPU_BIN_BITS) - 1));
}

/* What is asked of the driver for a size: in [1, XS_GPU_SIZE_MAX]. */
XS_INLINE size_t xs_gpu_class(const struct xs_gpu_options *o, size_t size)
{
    size_t unit = o->align;

    if (o->round != XS_GPU_ROUND_NONE && size > unit) {
        unsigned e = 63u - (unsigned)__builtin_clzll((unsigned long long)size - 1);
        size_t step = ((size_t)1 << e) / (size_t)o->round;

        /* A tenth of a large GPU must not be lost: the driver's own granule there. */
        if (o->round == XS_GPU_ROUND_EIGHTH && step > (size_t)2 << 20)
            step = (size_t)2 << 20;
        if (step > unit)
            unit = step;
    }
    return (size + unit - 1) & ~(unit - 1);
}

#endif
