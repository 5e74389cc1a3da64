#include "report/advice.h"

#include "base/align.h"
#include "policy/config.h"
#include "policy/gpu_options.h"

#define GOOD_HIT_RATE 0.9

static void put(char *mem, size_t cap, const char *text)
{
    struct xs_buf b;

    xs_buf_init(&b, mem, cap);
    xs_put_str(&b, text);
}

/* Names the variable as it would have to be written to take effect on this device. */
static void suggest(struct xs_advice *a, unsigned device, enum xs_knob knob, const char *suggested)
{
    const struct xs_value *v = xs_config_device(device, knob);
    struct xs_buf b;

    xs_buf_init(&b, a->variable, sizeof(a->variable));
    if (v == xs_config(knob))
        xs_put_str(&b, xs_knob_rows[knob].name);
    else
        xs_config_device_name(&b, device, knob);
    put(a->value, sizeof(a->value), v->text);
    put(a->suggested, sizeof(a->suggested), suggested);
}

static void suggest_bytes(struct xs_advice *a, unsigned device, enum xs_knob knob, uint64_t bytes)
{
    const uint64_t most = xs_knob_rows[knob].max;
    XS_BUF(text, 32);

    xs_put_size(&text, bytes < most ? xs_pow2_up(bytes) : most);
    suggest(a, device, knob, text.at);
}

/* Twice what there is, or all that was ever held of the driver: on a device that holds it there was
 * room for it. */
static uint64_t larger_cache(const struct xs_report_gpu *g)
{
    uint64_t now = g->stats.cache_max_bytes;
    uint64_t twice = now > XS_TIB(8) ? XS_TIB(16) : 2 * now;
    uint64_t most = twice > g->stats.reserved_bytes_peak ? twice : g->stats.reserved_bytes_peak;

    return most < XS_MIB(1) ? XS_MIB(1) : most;
}

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

static bool uses(const struct xs_gpu_options *o, enum xs_gpu_backend backend)
{
    for (unsigned i = 0; i < o->step_count; i++)
        if (o->step[i].backend == backend)
            return true;
    return false;
}

static void of_caching(const struct xs_report_gpu *g, const struct xs_gpu_options *o,
                       struct xs_advice *a, struct xs_buf *why)
{
    const char *round = coarser(o->round);

    switch (main_cause(&g->stats)) {
    case EVICTED:
        xs_put_str(why, "most others had been given back for want of room in the cache");
        suggest_bytes(a, g->device, XS_KNOB_GPU_CACHE_MAX, larger_cache(g));
        break;
    case STREAM:
        xs_put_str(why, "most others found kept blocks with work still running on them; room for "
                        "more of these helps, or fewer streams in flight");
        suggest_bytes(a, g->device, XS_KNOB_GPU_CACHE_MAX, larger_cache(g));
        break;
    case SIZE:
        xs_put_str(why, "most others were of sizes that no kept block fitted");
        if (round != NULL)
            suggest(a, g->device, XS_KNOB_GPU_ROUND, round);
        else
            suggest(a, g->device, XS_KNOB_GPU_BACKEND, "bfc");
        break;
    default:
        xs_put_str(why, "most others were the first of their size, which no setting changes");
        break;
    }
}

static void of_pool(const struct xs_report_gpu *g, const struct xs_gpu_options *o,
                    struct xs_advice *a, struct xs_buf *why)
{
    if (g->stats.largest_request_bytes > o->pool_max_block) {
        xs_put_str(why, "some requests were larger than the pool's largest block");
        suggest_bytes(a, g->device, XS_KNOB_GPU_POOL_MAX_BLOCK, g->stats.largest_request_bytes);
    } else {
        xs_put_str(why, "the pool was full");
        suggest_bytes(a, g->device, XS_KNOB_GPU_POOL_LIMIT, 2 * o->pool_limit_bytes);
    }
}

uint64_t xs_report_gpu_asked(const struct xs_report_gpu *g)
{
    const struct xs_gpu_stats *s = &g->stats;

    return s->hits + s->misses_cold + s->misses_evicted + s->misses_size + s->misses_stream;
}

bool xs_advice_of(const struct xs_report_gpu *g, struct xs_advice *out)
{
    double rate = xs_gpu_hit_rate(&g->stats);
    struct xs_gpu_options o;
    struct xs_buf b;

    if (xs_report_gpu_asked(g) < XS_ADVICE_ALLOCATIONS || rate >= GOOD_HIT_RATE)
        return false;
    xs_gpu_options_of(g->device, &o);
    *out = (struct xs_advice){0};
    xs_buf_init(&b, out->text, sizeof(out->text));
    xs_fmt(&b, "%d%% of the requests needed no call of the driver; ", (int)(rate * 100));
    if (uses(&o, XS_GPU_POOL) && g->stats.reserved_bytes_peak * 2 > o.pool_limit_bytes)
        of_pool(g, &o, out, &b);
    else
        of_caching(g, &o, out, &b);
    return true;
}
