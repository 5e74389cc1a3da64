#include "policy/gpu_options.h"

#include <sched.h>
#include <string.h>

#include "policy/config.h"
#include "policy/route.h"
#include "sys/env.h"

_Static_assert(XS_GPU_STEPS_MAX >= XS_ROUTE_MAX, "a parsed route fits the options");

/* ---- whether ---------------------------------------------------------------------------- */

enum { UNKNOWN, SETTLING, NO, YES };
static XS_BUSY _Atomic int wanted;

static int settle(void)
{
    if (xs_env_secure())
        return NO;
    if (!xs_config_is_loaded())
        xs_config_load(false);
    if (xs_config(XS_KNOB_DISABLE)->num != 0 || xs_config(XS_KNOB_GPU)->num == 0)
        return NO;
    return YES;
}

bool xs_gpu_wanted(void)
{
    int now = atomic_load_explicit(&wanted, memory_order_acquire);

    if (XS_LIKELY(now >= NO))
        return now == YES;
    now = UNKNOWN;
    if (atomic_compare_exchange_strong_explicit(&wanted, &now, SETTLING, memory_order_acquire,
                                                memory_order_acquire)) {
        now = settle();
        if (now == YES)
            xs_gpu_open(xs_gpu_options_of);
        atomic_store_explicit(&wanted, now, memory_order_release);
    }
    while (now < NO) { /* another thread is at it */
        sched_yield();
        now = atomic_load_explicit(&wanted, memory_order_acquire);
    }
    return now == YES;
}

void xs_gpu_decline(void)
{
    atomic_store_explicit(&wanted, NO, memory_order_release);
}

/* ---- how -------------------------------------------------------------------------------- */

static enum xs_gpu_round round_of(uint64_t choice)
{
    static const enum xs_gpu_round rounds[] = {XS_GPU_ROUND_NONE, XS_GPU_ROUND_POW2,
                                               XS_GPU_ROUND_HALF, XS_GPU_ROUND_QUARTER,
                                               XS_GPU_ROUND_EIGHTH};

    return rounds[choice < XS_COUNT_OF(rounds) ? choice : 0];
}

/* A device's own value stands above all others. */
static unsigned rank_of(unsigned device, enum xs_knob knob)
{
    const struct xs_value *v = xs_config_device(device, knob);
    unsigned own = v == xs_config(knob) ? 0 : 1;

    return own * (XS_SOURCE_ENVIRONMENT + 1) + (unsigned)v->source;
}

static void set_steps(unsigned device, struct xs_gpu_options *out)
{
    const char *text = xs_config_device(device, XS_KNOB_GPU_ROUTE)->text;
    int chosen = (int)xs_config_device(device, XS_KNOB_GPU_BACKEND)->num;
    struct xs_route route = {.count = 1, .step = {{SIZE_MAX, chosen}}};
    XS_BUF(unused, 8);

    /* A preset's route yields to a back end that somebody chose, as to all that is set. */
    if (text[0] != '\0' &&
        rank_of(device, XS_KNOB_GPU_ROUTE) >= rank_of(device, XS_KNOB_GPU_BACKEND))
        (void)xs_route_parse(text, XS_GPU_NAMES, chosen, &route, &unused);
    out->step_count = (unsigned)route.count;
    for (size_t i = 0; i < route.count; i++)
        out->step[i] =
            (struct xs_gpu_step){route.step[i].last, (enum xs_gpu_backend)route.step[i].choice};
}

/* Limits set while the process runs: bytes + 1, 0 for none. */
XS_UNLIKELY_DATA static _Atomic uint64_t limits[XS_GPU_DEVICES_MAX + 1];

void xs_gpu_options_limit(int device, uint64_t bytes)
{
    uint64_t value = bytes < UINT64_MAX ? bytes + 1 : bytes;

    for (int d = 0; d < XS_GPU_DEVICES_MAX; d++)
        if (device < 0 || d == device)
            atomic_store_explicit(&limits[d], value, memory_order_relaxed);
    xs_gpu_set_cache_max(device, bytes);
}

void xs_gpu_options_of(unsigned device, struct xs_gpu_options *out)
{
#define VALUE(id) (xs_config_device(device, XS_KNOB_GPU_##id)->num)
    if (device > XS_GPU_DEVICES_MAX)
        device = XS_GPU_DEVICES_MAX;
    *out = (struct xs_gpu_options){
        .free_way = (enum xs_gpu_free)VALUE(FREE),
        .round = round_of(VALUE(ROUND)),
        .waste_percent = (unsigned)VALUE(WASTE),
        .align = VALUE(ALIGN),
        .cache_max_bytes = VALUE(CACHE_MAX),
        .headroom_percent = (unsigned)VALUE(HEADROOM),
        .cache_age_ns = VALUE(CACHE_AGE),
        .low_free_bytes = VALUE(LOW_FREE),
        .pool_min_block = VALUE(POOL_MIN_BLOCK),
        .pool_max_block = VALUE(POOL_MAX_BLOCK),
        .pool_growth = (double)VALUE(POOL_GROWTH) / 1000,
        .pool_limit_bytes = VALUE(POOL_LIMIT),
        .pool_class_blocks = (unsigned)VALUE(POOL_CLASS_BLOCKS),
        .pool_defragment_ns = VALUE(POOL_DEFRAGMENT),
        .bfc_initial_bytes = VALUE(BFC_INITIAL),
        .bfc_limit_bytes = VALUE(BFC_LIMIT),
        .prefetch = VALUE(PREFETCH) != 0,
        .prefetch_back = VALUE(PREFETCH_BACK) != 0,
        .pinned_max_bytes = VALUE(PINNED_MAX),
        .oom_wait_ns = VALUE(OOM_WAIT),
    };
#undef VALUE
    if (out->pool_min_block > out->pool_max_block)
        out->pool_min_block = out->pool_max_block;
    if (out->bfc_limit_bytes != 0 && out->bfc_initial_bytes > out->bfc_limit_bytes)
        out->bfc_initial_bytes = out->bfc_limit_bytes;
    uint64_t limit = atomic_load_explicit(&limits[device], memory_order_relaxed);
    if (limit != 0)
        out->cache_max_bytes = limit - 1;
    set_steps(device, out);
}

/* ---- what to tell ----------------------------------------------------------------------- */

static bool uses(const struct xs_gpu_options *o, enum xs_gpu_backend backend)
{
    for (unsigned i = 0; i < o->step_count; i++)
        if (o->step[i].backend == backend)
            return true;
    return false;
}

/* Of the options for all devices. */
static void warn_of_contradictions(void)
{
    struct xs_gpu_options o;

    xs_gpu_options_of(XS_GPU_DEVICES_MAX, &o); /* no device has values of its own under this */
    if (uses(&o, XS_GPU_POOL) && xs_config(XS_KNOB_GPU_POOL_MIN_BLOCK)->num > o.pool_max_block)
        xs_config_warn("XSIGMA_GPU_POOL_MIN_BLOCK is larger than XSIGMA_GPU_POOL_MAX_BLOCK; using "
                       "the latter for both");
}

void xs_gpu_options_start(void)
{
    if (xs_gpu_wanted())
        warn_of_contradictions();
}
