#include "core/span.h"

#include <errno.h>
#include <time.h>

#include "core/page_map.h"
#include "sys/die.h"
#include "sys/lock.h"
#include "sys/mem.h"

/* Regions double up to this size: large enough that few mappings serve a large heap, small enough
 * that a whole one gets free again. */
#define REGION_MAX_BYTES ((size_t)64 << 20)

/* Memory is looked through for what has been free long enough at most this often a decay time. */
#define LOOKS_PER_DECAY 4

static struct {
    struct xs_lock lock;
    struct xs_bfc bfc;
    uint64_t decay_ns;
    _Atomic uint64_t next_look_ns;
    bool fork_took_lock;
} span;

static uint64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void *map(void *ctx, size_t size, size_t align)
{
    void *p = xs_mem_map(size, align);

    (void)ctx;
    if (p != NULL && xs_page_map_prepare(p, size) != 0) {
        (void)xs_mem_unmap(p, size);
        return NULL;
    }
    return p;
}

static void unmap(void *ctx, void *p, size_t size)
{
    (void)ctx;
    /* Out of the map first: once unmapped, the range may be anybody's. */
    (void)xs_page_map_set(p, size, 0);
    (void)xs_mem_unmap(p, size);
}

static bool purge(void *ctx, void *p, size_t size)
{
    (void)ctx;
    return xs_mem_purge(p, size) == 0;
}

static void *map_records(void *ctx, size_t size)
{
    (void)ctx;
    return xs_mem_map(size, 1);
}

static void unmap_records(void *ctx, void *p, size_t size)
{
    (void)ctx;
    (void)xs_mem_unmap(p, size);
}

int xs_span_open(const struct xs_span_options *o)
{
    static const struct xs_bfc_ops ops = {map, unmap, purge, map_records, unmap_records, NULL};
    struct xs_bfc_options bfc = {
        /* What is given back must be whole pages of the kernel's. */
        .unit = xs_mem_page() > XS_SPAN_PAGE ? xs_mem_page() : XS_SPAN_PAGE,
        .initial_bytes = o->initial_bytes,
        .region_max_bytes = REGION_MAX_BYTES,
        .limit_bytes = o->limit_bytes,
        .allow_growth = o->allow_growth,
        .garbage_collection = o->garbage_collection,
        .coalesce_on_free = o->coalesce_on_free,
        .fragmentation_permille = o->fragmentation_permille,
    };

    span.decay_ns = o->decay_ns;
    return xs_bfc_open(&span.bfc, &bfc, &ops);
}

bool xs_span_take(size_t size, size_t align, struct xs_span *out)
{
    int saved = errno;

    xs_lock_take(&span.lock);
    xs_chunk c = xs_bfc_alloc(&span.bfc, size, align);
    if (c != 0) {
        out->chunk = c;
        out->p = xs_bfc_address(&span.bfc, c);
        out->is_zero = xs_bfc_is_zero(&span.bfc, c);
    }
    xs_lock_give(&span.lock);
    errno = saved;
    return c != 0;
}

/* After the decay time free memory goes, after twice that whole free regions. */
static void look_for_old(uint64_t now)
{
    atomic_store_explicit(&span.next_look_ns, now + span.decay_ns / LOOKS_PER_DECAY,
                          memory_order_relaxed);
    if (now < 2 * span.decay_ns)
        return;
    (void)xs_bfc_collect(&span.bfc, now - 2 * span.decay_ns);
    (void)xs_bfc_purge(&span.bfc, now - span.decay_ns);
}

static bool is_look_due(uint64_t now)
{
    return now >= atomic_load_explicit(&span.next_look_ns, memory_order_relaxed);
}

bool xs_span_tick(void)
{
    uint64_t now = now_ns();
    int saved = errno;

    if (!is_look_due(now))
        return false;
    xs_lock_take(&span.lock);
    if (is_look_due(now))
        look_for_old(now);
    xs_lock_give(&span.lock);
    errno = saved;
    return true;
}

void xs_span_give(const xs_chunk chunks[], unsigned n, const void *p)
{
    int saved = errno;
    uint64_t now = now_ns();
    int rc = 0;
    unsigned i = 0;

    xs_lock_take(&span.lock);
    for (; i < n && rc == 0; i++)
        rc = xs_bfc_free(&span.bfc, chunks[i], now);
    if (rc == 0 && is_look_due(now))
        look_for_old(now);
    xs_lock_give(&span.lock);
    if (rc != 0)
        xs_die(rc == EINVAL ? "double free" : "corrupted heap", p);
    errno = saved;
}

/* Records of chunks in use are only changed by their owner, so reading them needs no lock. */
void *xs_span_address(xs_chunk chunk)
{
    return xs_bfc_address(&span.bfc, chunk);
}

size_t xs_span_requested(xs_chunk chunk)
{
    return xs_bfc_requested(&span.bfc, chunk);
}

bool xs_span_resize(xs_chunk chunk, size_t size)
{
    xs_lock_take(&span.lock);
    bool done = xs_bfc_resize(&span.bfc, chunk, size, now_ns());
    xs_lock_give(&span.lock);
    return done;
}

size_t xs_span_trim(void)
{
    int saved = errno;

    xs_lock_take(&span.lock);
    size_t bytes = xs_bfc_collect(&span.bfc, UINT64_MAX) + xs_bfc_purge(&span.bfc, UINT64_MAX);
    xs_lock_give(&span.lock);
    errno = saved;
    return bytes;
}

void xs_span_stats(struct xs_bfc_stats *out)
{
    xs_lock_take(&span.lock);
    xs_bfc_stats_get(&span.bfc, out);
    xs_lock_give(&span.lock);
}

bool xs_span_stats_try(struct xs_bfc_stats *out)
{
    if (!xs_lock_try(&span.lock))
        return false;
    xs_bfc_stats_get(&span.bfc, out);
    xs_lock_give(&span.lock);
    return true;
}

bool xs_span_check(struct xs_buf *why)
{
    xs_lock_take(&span.lock);
    bool fine = xs_bfc_check(&span.bfc, why);
    xs_lock_give(&span.lock);
    return fine;
}

bool xs_span_is_limited(void)
{
    return span.bfc.options.limit_bytes != 0;
}

void xs_span_fork_prepare(void)
{
    /* A signal handler may fork while its own thread is in the middle of a call. */
    bool take = !xs_lock_is_mine(&span.lock);

    if (take)
        xs_lock_take(&span.lock);
    span.fork_took_lock = take;
}

void xs_span_fork_parent(void)
{
    if (span.fork_took_lock)
        xs_lock_give(&span.lock);
}

void xs_span_fork_child(void)
{
    xs_lock_reset(&span.lock);
}
