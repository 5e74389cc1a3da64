/* The rules for one device. */
#include "base/align.h"
#include "report/advice.h"
#include "report/cells.h"

#define SECOND_NS     UINT64_C(1000000000)
#define WORTH_BYTES   XS_MIB(16) /* less memory than this is no matter */
#define RARE_PER_S    100
#define LARGE_BYTES   XS_MIB(1)
#define RARE_AT_LEAST 20 /* fewer calls are no habit */

static bool uses(const struct xs_gpu_options *o, enum xs_gpu_backend backend)
{
    for (unsigned i = 0; i < o->step_count; i++)
        if (o->step[i].backend == backend)
            return true;
    return false;
}

/* All sizes go there. */
static bool is_all(const struct xs_gpu_options *o, enum xs_gpu_backend backend)
{
    return o->step_count == 1 && o->step[0].backend == backend;
}

static int device_of(const struct xs_advice_subject *s)
{
    return (int)s->gpu->device;
}

/* Of sizes that have a route the back end's variable is not asked. */
static void suggest_backend(const struct xs_advice_subject *s, struct xs_advice *out,
                            const char *backend)
{
    const int device = device_of(s);
    const struct xs_value *route = xs_config_device(s->gpu->device, XS_KNOB_GPU_ROUTE);
    XS_BUF(all, 32);

    if (route->text[0] == '\0') {
        xs_advice_suggest(out, device, XS_KNOB_GPU_BACKEND, backend);
        return;
    }
    xs_fmt(&all, "*:%s", backend);
    xs_advice_suggest(out, device, XS_KNOB_GPU_ROUTE, all.at);
}

/* Twice what there is, or all that was ever held of the driver: on a device that holds it there was
 * room for it. */
static uint64_t larger(const struct xs_report_gpu *g, uint64_t now)
{
    uint64_t twice = now > XS_TIB(8) ? XS_TIB(16) : 2 * now;
    uint64_t most = twice > g->stats.reserved_bytes_peak ? twice : g->stats.reserved_bytes_peak;

    most = most < XS_MIB(1) ? XS_MIB(1) : most;
    return most < XS_TIB(16) ? xs_pow2_up(most) : XS_TIB(16);
}

static uint64_t larger_cache(const struct xs_report_gpu *g)
{
    return larger(g, g->stats.cache_max_bytes);
}

/* The largest power of two that is no more. */
static uint64_t pow2_down(uint64_t n)
{
    return n == 0 ? 0 : (uint64_t)1 << (63 - __builtin_clzll(n));
}

/* ---- the 90 % rule ------------------------------------------------------------------------ */

/* The next coarser way to round, or none. */
static const char *coarser(enum xs_gpu_round round)
{
    switch (round) {
    case XS_GPU_ROUND_NONE:
        return "eighth";
    case XS_GPU_ROUND_EIGHTH:
        return "quarter";
    case XS_GPU_ROUND_QUARTER:
        return "half";
    case XS_GPU_ROUND_HALF:
        return "pow2";
    default:
        return NULL;
    }
}

enum cause { COLD, EVICTED, SIZE, STREAM, CAUSES };

static enum cause main_cause(const struct xs_gpu_stats *s)
{
    const uint64_t count[CAUSES] = {s->misses_cold, s->misses_evicted, s->misses_size,
                                    s->misses_stream};
    enum cause most = COLD;

    for (enum cause c = COLD; c < CAUSES; c++)
        if (count[c] > count[most])
            most = c;
    return most;
}

static void of_caching(const struct xs_advice_subject *s, struct xs_advice *out, struct xs_buf *why)
{
    const struct xs_report_gpu *g = s->gpu;
    const char *round = coarser(s->options.round);

    switch (main_cause(&g->stats)) {
    case EVICTED:
        xs_put_str(why, "most others had been given back for want of room in the cache");
        xs_advice_suggest_size(out, device_of(s), XS_KNOB_GPU_CACHE_MAX, larger_cache(g));
        break;
    case STREAM:
        xs_put_str(why, "most others found kept blocks with work still running on them; room for "
                        "more of these helps, or fewer streams in flight");
        xs_advice_suggest_size(out, device_of(s), XS_KNOB_GPU_CACHE_MAX, larger_cache(g));
        break;
    case SIZE:
        xs_put_str(why, "most others were of sizes that no kept block fitted");
        if (round != NULL)
            xs_advice_suggest(out, device_of(s), XS_KNOB_GPU_ROUND, round);
        else
            suggest_backend(s, out, "bfc");
        break;
    default:
        xs_put_str(why, "most others were the first of their size");
        if (is_all(&s->options, XS_GPU_BFC))
            break;
        xs_put_str(why, ", which best fit cuts from regions that it holds");
        suggest_backend(s, out, "bfc");
        break;
    }
}

static void of_pool(const struct xs_advice_subject *s, struct xs_advice *out, struct xs_buf *why)
{
    const uint64_t largest = s->gpu->stats.largest_request_bytes;

    if (largest > s->options.pool_max_block && largest <= s->options.pool_limit_bytes) {
        xs_put_str(why, "some requests were larger than the pool's largest block");
        xs_advice_suggest_size(out, device_of(s), XS_KNOB_GPU_POOL_MAX_BLOCK, xs_pow2_up(largest));
    } else {
        xs_put_str(why, "the pool was full");
        xs_advice_suggest_size(out, device_of(s), XS_KNOB_GPU_POOL_LIMIT,
                               larger(s->gpu, s->options.pool_limit_bytes));
    }
}

uint64_t xs_report_gpu_asked(const struct xs_report_gpu *g)
{
    const struct xs_gpu_stats *s = &g->stats;

    return s->hits + s->misses_cold + s->misses_evicted + s->misses_size + s->misses_stream;
}

/* Calls a second, as far as it is known. */
static uint64_t per_second(const struct xs_advice_subject *s)
{
    return xs_report_whole((double)s->gpu->stats.allocations * 1e9 / (double)s->from->wall_ns);
}

/* Blocks that are large and seldom asked for are no matter of a cache. */
static bool is_large_and_rare(const struct xs_advice_subject *s)
{
    const struct xs_gpu_stats *g = &s->gpu->stats;

    return s->from->wall_ns >= SECOND_NS && g->allocations >= RARE_AT_LEAST &&
           g->requested_bytes / g->allocations >= LARGE_BYTES && per_second(s) < RARE_PER_S;
}

static bool hit_permille(const struct xs_advice_subject *s, uint64_t *value)
{
    if (xs_report_gpu_asked(s->gpu) < XS_ADVICE_ALLOCATIONS || is_large_and_rare(s))
        return false;
    *value = xs_report_whole(xs_gpu_hit_rate(&s->gpu->stats) * 1000);
    return true;
}

static bool hit_rate(const struct xs_advice_subject *s, struct xs_advice *out, struct xs_buf *why)
{
    xs_fmt(why, "%d%% of the requests needed no call of the driver; ", (int)(out->value / 10));
    if (uses(&s->options, XS_GPU_POOL) &&
        s->gpu->stats.reserved_bytes_peak * 2 > s->options.pool_limit_bytes)
        of_pool(s, out, why);
    else
        of_caching(s, out, why);
    return true;
}

/* ---- out of memory ------------------------------------------------------------------------ */

static uint64_t free_bytes(const struct xs_gpu_stats *g)
{
    return g->reserved_bytes > g->in_use_bytes ? g->reserved_bytes - g->in_use_bytes : 0;
}

static bool cut_up_at_oom(const struct xs_gpu_stats *g)
{
    return g->ooms > 0 && g->largest_free_bytes < g->last_oom_bytes &&
           g->last_oom_bytes <= free_bytes(g);
}

static bool ooms_cut_up(const struct xs_advice_subject *s, uint64_t *value)
{
    *value = s->gpu->stats.ooms;
    return cut_up_at_oom(&s->gpu->stats);
}

static bool out_cut_up(const struct xs_advice_subject *s, struct xs_advice *out, struct xs_buf *why)
{
    const struct xs_gpu_stats *g = &s->gpu->stats;

    if (is_all(&s->options, XS_GPU_BFC))
        return false;
    xs_put_str(why, "a request for ");
    xs_put_bytes(why, g->last_oom_bytes);
    xs_put_str(why, " failed while ");
    xs_put_bytes(why, free_bytes(g));
    xs_put_str(why, " lay free in smaller pieces, the largest of ");
    xs_put_bytes(why, g->largest_free_bytes);
    xs_put_str(why, "; best fit keeps pieces together");
    suggest_backend(s, out, "bfc");
    return true;
}

static bool memory_outs(const struct xs_advice_subject *s, uint64_t *value)
{
    const struct xs_gpu_stats *g = &s->gpu->stats;

    *value = g->flushes > g->ooms ? g->flushes : g->ooms;
    return !cut_up_at_oom(g);
}

static bool out_of_memory(const struct xs_advice_subject *s, struct xs_advice *out,
                          struct xs_buf *why)
{
    const struct xs_gpu_stats *g = &s->gpu->stats;
    uint64_t spare = g->reserved_bytes_peak > g->in_use_bytes_peak
                         ? g->reserved_bytes_peak - g->in_use_bytes_peak
                         : 0;

    xs_fmt(why, "memory was out %lu times", (unsigned long)out->value);
    if (g->cached_bytes_peak == 0 || g->cache_max_bytes == 0) {
        xs_put_str(why, ", and nothing that was kept could be given back: the program needs more "
                        "than the device has; run less at once, or let memory be managed");
        suggest_backend(s, out, "managed");
        return !uses(&s->options, XS_GPU_MANAGED);
    }
    xs_put_str(why,
               ", and all that was kept went back at once; keep less, or call 'xsigma gpu clear' "
               "before the large step");
    /* What the device had room for beside the blocks in use, or half of the limit. */
    spare = pow2_down(spare < g->cached_bytes_peak ? spare : g->cached_bytes_peak) / 2;
    if (spare >= g->cache_max_bytes)
        spare = pow2_down(g->cache_max_bytes) / 2;
    xs_advice_suggest_size(out, device_of(s), XS_KNOB_GPU_CACHE_MAX, spare);
    return true;
}

/* ---- memory that is held and not used ------------------------------------------------------ */

static bool fragmentation(const struct xs_advice_subject *s, uint64_t *value)
{
    const struct xs_gpu_stats *g = &s->gpu->stats;

    *value = (uint64_t)(g->fragmentation * 1000);
    return uses(&s->options, XS_GPU_POOL) && !cut_up_at_oom(g) && free_bytes(g) >= WORTH_BYTES &&
           free_bytes(g) > g->reserved_bytes / 4;
}

static bool fragmented(const struct xs_advice_subject *s, struct xs_advice *out, struct xs_buf *why)
{
    xs_put_bytes(why, free_bytes(&s->gpu->stats));
    xs_fmt(why,
           " lay free in pieces (%lu%% fragmented); best fit keeps them together and gives "
           "whole regions back",
           (unsigned long)(out->value / 10));
    suggest_backend(s, out, "bfc");
    return true;
}

static bool reserved_permille(const struct xs_advice_subject *s, uint64_t *value)
{
    const struct xs_gpu_stats *g = &s->gpu->stats;

    *value = xs_advice_permille(g->reserved_bytes_peak, g->in_use_bytes_peak);
    return g->in_use_bytes_peak > 0 && g->reserved_bytes_peak >= WORTH_BYTES &&
           g->cached_bytes_peak >= g->in_use_bytes_peak / 2;
}

/* What is held beyond the blocks in use was handed out so often that it is no waste: with less, the
 * rule for hits would ask for more again. */
#define REUSED 4
static bool is_worth_its_room(const struct xs_gpu_stats *g)
{
    uint64_t rest = g->reserved_bytes_peak - g->in_use_bytes_peak;

    return xs_gpu_hit_rate(g) * (double)g->requested_bytes >= REUSED * (double)rest;
}

static bool over_reserved(const struct xs_advice_subject *s, struct xs_advice *out,
                          struct xs_buf *why)
{
    const struct xs_gpu_stats *g = &s->gpu->stats;
    uint64_t half = pow2_down(g->in_use_bytes_peak / 2);

    /* A cache that is too small for the program is no cache that is too large. */
    if (!uses(&s->options, XS_GPU_CACHING) || half >= g->cache_max_bytes ||
        main_cause(g) == EVICTED || is_worth_its_room(g))
        return false;
    xs_put_bytes(why, g->reserved_bytes_peak);
    xs_put_str(why, " was held at most where ");
    xs_put_bytes(why, g->in_use_bytes_peak);
    xs_put_str(why, " was in use; other processes and libraries could have the rest");
    xs_advice_suggest_size(out, device_of(s), XS_KNOB_GPU_CACHE_MAX, half);
    return true;
}

/* ---- which back end ------------------------------------------------------------------------ */

static bool calls_per_second(const struct xs_advice_subject *s, uint64_t *value)
{
    const struct xs_gpu_stats *g = &s->gpu->stats;

    if (s->from->wall_ns == 0 || g->allocations < XS_ADVICE_ALLOCATIONS ||
        g->requested_bytes / g->allocations >= LARGE_BYTES || !is_all(&s->options, XS_GPU_DIRECT))
        return false;
    *value = per_second(s);
    return true;
}

static bool small_and_frequent(const struct xs_advice_subject *s, struct xs_advice *out,
                               struct xs_buf *why)
{
    xs_put_count(why, out->value);
    xs_put_str(why, " blocks a second, ");
    xs_put_bytes(why, s->gpu->stats.requested_bytes / s->gpu->stats.allocations);
    xs_put_str(why,
               " each on average, were all had from the driver; kept blocks need no call of it");
    suggest_backend(s, out, "caching");
    return true;
}

static bool kept_for_rare(const struct xs_advice_subject *s, uint64_t *value)
{
    *value = s->gpu->stats.cached_bytes_peak;
    return is_large_and_rare(s) && xs_gpu_hit_rate(&s->gpu->stats) < 0.5;
}

static bool large_and_rare(const struct xs_advice_subject *s, struct xs_advice *out,
                           struct xs_buf *why)
{
    if (!uses(&s->options, XS_GPU_CACHING) || s->options.step_count > 1)
        return false;
    xs_put_str(why, "blocks of ");
    xs_put_bytes(why, s->gpu->stats.requested_bytes / s->gpu->stats.allocations);
    xs_fmt(why, " on average, %lu a second, seldom met a kept one; up to ",
           (unsigned long)per_second(s));
    xs_put_bytes(why, out->value);
    xs_put_str(why, " was kept for them");
    xs_advice_suggest(out, device_of(s), XS_KNOB_GPU_ROUTE, "<1M:caching,*:direct");
    return true;
}

static bool driver_ns(const struct xs_advice_subject *s, uint64_t *value)
{
    const struct xs_gpu_stats *g = &s->gpu->stats;

    if (g->allocations < XS_ADVICE_ALLOCATIONS || xs_gpu_hit_rate(g) < 0.9)
        return false; /* the 90 % rule speaks */
    *value = g->driver_ns / g->allocations;
    return main_cause(g) == EVICTED && g->misses_evicted > 0;
}

static bool slow(const struct xs_advice_subject *s, struct xs_advice *out, struct xs_buf *why)
{
    xs_put_str(why, "an allocation took ");
    xs_put_duration(why, out->value);
    xs_put_str(why, " in the driver on average; most that went there had been given back for want "
                    "of room in the cache");
    xs_advice_suggest_size(out, device_of(s), XS_KNOB_GPU_CACHE_MAX, larger_cache(s->gpu));
    return true;
}

/* A list and no table, whose addresses the dynamic linker would write in each process. */
#define RULES(ABOVE, BELOW)                                                                        \
    BELOW("gpu-hit-rate", "hit_permille", 900, hit_permille, hit_rate)                             \
    ABOVE("gpu-oom-cut-up", "ooms", 0, ooms_cut_up, out_cut_up)                                    \
    ABOVE("gpu-oom", "memory_outs", 0, memory_outs, out_of_memory)                                 \
    ABOVE("gpu-fragmentation", "fragmentation_permille", 500, fragmentation, fragmented)           \
    ABOVE("gpu-over-reserved", "reserved_per_in_use_permille", 1500, reserved_permille,            \
          over_reserved)                                                                           \
    ABOVE("gpu-small-frequent", "allocations_per_second", RARE_PER_S, calls_per_second,            \
          small_and_frequent)                                                                      \
    ABOVE("gpu-large-rare", "cached_bytes_peak", 0, kept_for_rare, large_and_rare)                 \
    ABOVE("gpu-slow-allocation", "driver_ns_per_allocation", 1000, driver_ns, slow)

#define ONE(...) +1
const unsigned xs_advice_gpu_rules = 0 RULES(ONE, ONE);
#undef ONE

bool xs_advice_gpu(unsigned rule, const struct xs_advice_subject *s, struct xs_advice *out)
{
    unsigned i = 0;

#define ABOVE(...)                                                                                 \
    if (i++ == rule)                                                                               \
        return xs_advice_try(s, out, false, __VA_ARGS__);
#define BELOW(...)                                                                                 \
    if (i++ == rule)                                                                               \
        return xs_advice_try(s, out, true, __VA_ARGS__);
    RULES(ABOVE, BELOW)
#undef BELOW
#undef ABOVE
    return false;
}
