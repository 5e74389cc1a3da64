/* The rules for the CPU allocator. */
#include <string.h>

#include "base/align.h"
#include "report/advice.h"
#include "report/cells.h"
#include "report/summary.h"
#include "report/timeline.h"

#define MANY_CALLS  100000 /* fewer cost nothing that anybody would notice */
#define WORTH_BYTES XS_MIB(64)
#define WORTH_NS    1000000
#define SLOW_NS     1000
/* Timed calls, or waits, that are no chance. */
#define ENOUGH_SAMPLES 100
#define RISE_PARTS     8 /* of the timeline, each higher than the one before */
#define RISE_POINTS    4 /* in each, at least */
#define LARGE_CLASSES  2 /* the last ones of xs_size_classes: above 64 KiB */

/* The one back end that serves all sizes; XS_OWNER_COUNT if there are several. */
static enum xs_owner only_backend(const struct xs_report *r)
{
    enum xs_owner only = XS_OWNER_COUNT;

    for (enum xs_owner owner = 0; owner < XS_OWNER_COUNT; owner++) {
        if (!r->active[owner])
            continue;
        if (only != XS_OWNER_COUNT)
            return XS_OWNER_COUNT;
        only = owner;
    }
    return only;
}

static bool uses_core(const struct xs_report *r)
{
    return r->has_core && r->active[XS_OWNER_BFC];
}

/* Requests above 64 KiB. */
static uint64_t large_calls(const struct xs_totals *t)
{
    uint64_t large = 0;

    for (size_t i = XS_SIZE_CLASSES - LARGE_CLASSES; i < XS_SIZE_CLASSES; i++)
        large += t->class_calls[i];
    return large;
}

/* Where a tenth of the requests or more are for large blocks, the own core is quick with those that
 * it may keep. */
static bool suggest_room(const struct xs_report *r, struct xs_advice *out, struct xs_buf *why)
{
    struct xs_totals t;

    xs_totals_of(r, &t);
    if (t.requests == 0 || large_calls(&t) * 10 < t.requests ||
        xs_config(XS_KNOB_CPU_CACHE)->num >= XS_MIB(64))
        return false;
    xs_fmt(why,
           ", and %lu%% of the requests were above 64 KiB; room to keep large "
           "blocks saves most of that",
           (unsigned long)(large_calls(&t) * 100 / t.requests));
    xs_advice_suggest_size(out, -1, XS_KNOB_CPU_CACHE, XS_MIB(64));
    return true;
}

/* With a route the back end's variable is not asked. */
static void suggest_backend(struct xs_advice *out, const char *backend)
{
    XS_BUF(all, 32);

    if (xs_config(XS_KNOB_CPU_ROUTE)->text[0] == '\0') {
        xs_advice_suggest(out, -1, XS_KNOB_CPU_BACKEND, backend);
        return;
    }
    xs_fmt(&all, "*:%s", backend);
    xs_advice_suggest(out, -1, XS_KNOB_CPU_ROUTE, all.at);
}

/* ---- time in malloc ------------------------------------------------------------------------ */

/* What nine of ten calls do not exceed. Not the mean, which one call makes large that lost the
 * processor in the midst of it; nor a higher part, which the first touch of fresh memory makes. */
static bool malloc_ns(const struct xs_advice_subject *s, uint64_t *value)
{
    const struct xs_latency_calls *c = &s->cpu->latency.of[XS_LATENCY_MALLOC];

    *value = xs_latency_permille(c, 900);
    return c->samples >= ENOUGH_SAMPLES;
}

static bool slow_calls(const struct xs_advice_subject *s, struct xs_advice *out, struct xs_buf *why)
{
    const enum xs_owner owner = only_backend(s->cpu);

    xs_put_str(why, "one allocation in ten took ");
    xs_put_duration(why, out->value);
    xs_put_str(why, " or more");
    if (owner == XS_OWNER_BFC && suggest_room(s->cpu, out, why))
        return true;
    suggest_backend(out, owner == XS_OWNER_BFC ? "mimalloc" : "bfc");
    return true;
}

/* ---- waits for locks ------------------------------------------------------------------------ */

/* Of the time that all threads had. */
static bool wait_permille(const struct xs_advice_subject *s, uint64_t *value)
{
    const struct xs_latency_waits *w = &s->cpu->latency.waits[XS_LOCK_CPU];
    const double ns = (double)s->cpu->wall_ns * (double)s->cpu->threads_peak;

    if (ns <= 0 || w->count < ENOUGH_SAMPLES || !uses_core(s->cpu))
        return false;
    *value = (uint64_t)((double)w->ns * 1000 / ns);
    return true;
}

static bool waits(const struct xs_advice_subject *s, struct xs_advice *out, struct xs_buf *why)
{
    const struct xs_latency_waits *w = &s->cpu->latency.waits[XS_LOCK_CPU];

    xs_fmt(why, "threads waited %lu times for locks of the allocator, %lu.%lu%% of their time",
           (unsigned long)w->count, (unsigned long)out->value / 10, (unsigned long)out->value % 10);
    if (suggest_room(s->cpu, out, why))
        return true;
    suggest_backend(out, "tbb");
    return true;
}

/* ---- time in the kernel -------------------------------------------------------------------- */

static bool kernel_ns(const struct xs_advice_subject *s, uint64_t *value)
{
    struct xs_totals t;

    /* What is seen in malloc itself says more. */
    if (malloc_ns(s, value) && *value > SLOW_NS)
        return false;
    xs_totals_of(s->cpu, &t);
    if (s->cpu->sys_ns == XS_UNKNOWN || t.requests < MANY_CALLS)
        return false;
    *value = s->cpu->sys_ns / t.requests;
    return true;
}

static bool much_kernel(const struct xs_advice_subject *s, struct xs_advice *out,
                        struct xs_buf *why)
{
    const enum xs_owner owner = only_backend(s->cpu);
    struct xs_totals t;

    xs_totals_of(s->cpu, &t);
    xs_put_str(why, "the kernel took ");
    xs_put_duration(why, out->value);
    xs_put_str(why, " for each allocation");
    if (owner == XS_OWNER_SYSTEM || owner == XS_OWNER_TBB) {
        xs_put_str(why, ", much of it perhaps for memory that was given back and got again");
        suggest_backend(out, "bfc");
        return true;
    }
    if (owner != XS_OWNER_BFC || large_calls(&t) * 10 < t.requests)
        return false; /* it was not for us */
    if (suggest_room(s->cpu, out, why))
        return true;
    xs_put_str(why, ", many of them large; huge pages make their page faults fewer");
    xs_advice_suggest(out, -1, XS_KNOB_CPU_HUGE_PAGES, "thp");
    return true;
}

/* ---- the own core -------------------------------------------------------------------------- */

/* The part of the run that went into steps which one could have taken. */
static bool growth_permille(const struct xs_advice_subject *s, uint64_t *value)
{
    *value = xs_advice_permille(s->cpu->core.growth_ns, s->cpu->wall_ns);
    return uses_core(s->cpu) && s->cpu->core.bfc.growth_steps > 3 &&
           s->cpu->core.growth_ns >= WORTH_NS;
}

static bool grew(const struct xs_advice_subject *s, struct xs_advice *out, struct xs_buf *why)
{
    const uint64_t peak = s->cpu->core.bfc.reserved_peak_bytes;

    /* Several processes have as many cores; a peak that is not known is no size. */
    if (s->cpu->processes > 1 || peak == XS_UNKNOWN || peak > XS_TIB(8) ||
        peak <= xs_config(XS_KNOB_BFC_INITIAL)->num)
        return false;
    xs_fmt(why,
           "to get memory from the system took %u steps and %lu.%lu%% of the time; one region of ",
           s->cpu->core.bfc.growth_steps, (unsigned long)out->value / 10,
           (unsigned long)out->value % 10);
    xs_put_bytes(why, peak);
    xs_put_str(why, ", the most that there was, takes one");
    xs_advice_suggest_size(out, -1, XS_KNOB_BFC_INITIAL, xs_pow2_up(peak));
    return true;
}

static bool failed(const struct xs_advice_subject *s, uint64_t *value)
{
    *value = s->cpu->core.failures;
    return uses_core(s->cpu) && s->cpu->core.bfc.limit_bytes != 0;
}

/* Switches that are off and would keep free memory together; false: none. */
static bool suggest_together(struct xs_advice *out, struct xs_buf *why)
{
    static const enum xs_knob knobs[] = {XS_KNOB_BFC_COALESCE, XS_KNOB_BFC_GC};

    for (size_t i = 0; i < XS_COUNT_OF(knobs); i++) {
        if (xs_config(knobs[i])->num != 0)
            continue;
        xs_put_str(why, "; free neighbours stay apart, or free regions stay, by a switch");
        xs_advice_suggest(out, -1, knobs[i], "1");
        return true;
    }
    return false;
}

static bool at_limit(const struct xs_advice_subject *s, struct xs_advice *out, struct xs_buf *why)
{
    const struct xs_heap_stats *core = &s->cpu->core;
    const struct xs_bfc_stats *b = &core->bfc;

    xs_fmt(why, "%lu requests found no memory, the last of ", (unsigned long)out->value);
    xs_put_bytes(why, core->last_failure_bytes);
    if (b->largest_free_bytes < core->last_failure_bytes &&
        core->last_failure_bytes <= b->free_bytes) {
        xs_put_str(why, ", while ");
        xs_put_bytes(why, b->free_bytes);
        xs_put_str(why, " lay free in smaller pieces");
        if (suggest_together(out, why))
            return true;
    }
    xs_put_str(why, "; the limit leaves no room");
    xs_advice_suggest_size(out, -1, XS_KNOB_BFC_LIMIT,
                           b->limit_bytes < XS_TIB(8) ? xs_pow2_up(2 * b->limit_bytes)
                                                      : XS_TIB(16));
    return s->cpu->processes <= 1;
}

static bool fragmentation(const struct xs_advice_subject *s, uint64_t *value)
{
    const struct xs_bfc_stats *b = &s->cpu->core.bfc;

    *value = (uint64_t)(b->fragmentation * 1000);
    return uses_core(s->cpu) && s->cpu->core.failures == 0 && b->free_bytes >= XS_MIB(4) &&
           b->free_bytes > b->in_use_bytes / 2;
}

static bool fragmented(const struct xs_advice_subject *s, struct xs_advice *out, struct xs_buf *why)
{
    xs_put_bytes(why, s->cpu->core.bfc.free_bytes);
    xs_fmt(why, " lay free in pieces (%lu%% fragmented)", (unsigned long)(out->value / 10));
    return suggest_together(out, why);
}

static bool reserved_permille(const struct xs_advice_subject *s, uint64_t *value)
{
    const struct xs_bfc_stats *b = &s->cpu->core.bfc;

    *value = xs_advice_permille(b->reserved_peak_bytes, b->in_use_peak_bytes);
    return uses_core(s->cpu) && s->cpu->processes <= 1 && b->in_use_peak_bytes != 0 &&
           b->reserved_peak_bytes != XS_UNKNOWN &&
           b->reserved_peak_bytes >= b->in_use_peak_bytes + WORTH_BYTES;
}

static bool over_reserved(const struct xs_advice_subject *s, struct xs_advice *out,
                          struct xs_buf *why)
{
    const struct xs_bfc_stats *b = &s->cpu->core.bfc;

    /* A first region that is so much larger than all that was ever wanted. What else was got, as by
     * XSIGMA_PREFAULT, is another matter. */
    if (xs_config(XS_KNOB_BFC_INITIAL)->num < b->in_use_peak_bytes + WORTH_BYTES)
        return false;
    xs_put_bytes(why, b->reserved_peak_bytes);
    xs_put_str(why, " was got from the system where ");
    xs_put_bytes(why, b->in_use_peak_bytes);
    xs_put_str(why, " was in use at most; the first region is too large");
    /* Where it is not all there is, the next ones fit what is wanted more closely than another
     * guess: best fit goes to fresh memory before it cuts what was joined of old. */
    if (xs_config(XS_KNOB_BFC_GROWTH)->num != 0)
        xs_advice_suggest(out, -1, XS_KNOB_BFC_INITIAL,
                          xs_knob_def(&xs_knob_rows[XS_KNOB_BFC_INITIAL]));
    else
        xs_advice_suggest_size(out, -1, XS_KNOB_BFC_INITIAL, xs_pow2_up(b->in_use_peak_bytes));
    return true;
}

/* ---- which back end ------------------------------------------------------------------------ */

static bool small_permille(const struct xs_advice_subject *s, uint64_t *value)
{
    struct xs_totals t;

    xs_totals_of(s->cpu, &t);
    *value = xs_advice_permille(t.class_calls[0] + t.class_calls[1], t.requests);
    return t.requests >= 10 * (uint64_t)MANY_CALLS;
}

static bool small_and_frequent(const struct xs_advice_subject *s, struct xs_advice *out,
                               struct xs_buf *why)
{
    const enum xs_owner owner = only_backend(s->cpu);

    if (owner != XS_OWNER_SYSTEM && owner != XS_OWNER_TBB)
        return false;
    xs_fmt(why,
           "%lu%% of the requests were of 64 bytes and less; %s takes more instructions for "
           "those than the own core",
           (unsigned long)(out->value / 10), xs_backends[owner]->name);
    suggest_backend(out, "bfc");
    return true;
}

/* ---- what only rises ------------------------------------------------------------------------ */

/* How much higher the last part of the timeline is than the first, if each part's lowest point is
 * above that of the one before; a program that builds up and stays there has two that are equal. */
static bool rise_permille(const struct xs_advice_subject *s, uint64_t *value)
{
    const struct xs_timeline *t = s->cpu->timeline;
    uint64_t first = 0;
    uint64_t last = 0;

    if (t == NULL || t->count < (uint64_t)RISE_PARTS * RISE_POINTS || t->count > XS_TIMELINE_POINTS)
        return false;
    for (uint64_t part = 0; part < RISE_PARTS; part++) {
        uint64_t low = XS_UNKNOWN;
        for (uint64_t i = part * t->count / RISE_PARTS; i < (part + 1) * t->count / RISE_PARTS; i++)
            low = t->point[i].in_use_bytes < low ? t->point[i].in_use_bytes : low;
        if (low == XS_UNKNOWN || (part > 0 && low <= last + last / 50))
            return false;
        first = part == 0 ? low : first;
        last = low;
    }
    /* Nobody looks for what is gone by the end. */
    if (s->cpu->memory[XS_OWNER_BFC].in_use_bytes < last / 2)
        return false;
    *value = xs_advice_permille(last, first == 0 ? 1 : first);
    return last - first >= WORTH_BYTES / 4;
}

static bool rises(const struct xs_advice_subject *s, struct xs_advice *out, struct xs_buf *why)
{
    const struct xs_timeline *t = s->cpu->timeline;

    xs_put_str(why, "bytes in use only rose, to ");
    xs_put_bytes(why, t->point[t->count - 1].in_use_bytes);
    xs_put_str(why, " in the end; sampled call sites show who holds them");
    if (xs_config(XS_KNOB_SAMPLE)->num == 0) /* else the sites are in this report */
        xs_advice_suggest(out, -1, XS_KNOB_SAMPLE, "512K");
    return true;
}

/* A list and no table, whose addresses the dynamic linker would write in each process. */
#define RULES(ABOVE)                                                                               \
    ABOVE("slow-allocation", "malloc_p90_ns", SLOW_NS, malloc_ns, slow_calls)                      \
    ABOVE("lock-waits", "wait_permille", 10, wait_permille, waits)                                 \
    ABOVE("kernel-time", "kernel_ns_per_allocation", SLOW_NS, kernel_ns, much_kernel)              \
    ABOVE("bfc-limit", "failures", 0, failed, at_limit)                                            \
    ABOVE("bfc-fragmentation", "fragmentation_permille", 500, fragmentation, fragmented)           \
    ABOVE("bfc-growth", "growth_permille", 10, growth_permille, grew)                              \
    ABOVE("bfc-over-reserved", "reserved_per_in_use_permille", 1500, reserved_permille,            \
          over_reserved)                                                                           \
    ABOVE("small-frequent", "small_permille", 500, small_permille, small_and_frequent)             \
    ABOVE("only-rises", "rise_permille", 1500, rise_permille, rises)

#define ONE(...) +1
const unsigned xs_advice_cpu_rules = 0 RULES(ONE);
#undef ONE

bool xs_advice_cpu(unsigned rule, const struct xs_advice_subject *s, struct xs_advice *out)
{
    unsigned i = 0;

#define ABOVE(...)                                                                                 \
    if (i++ == rule)                                                                               \
        return xs_advice_try(s, out, false, __VA_ARGS__);
    RULES(ABOVE)
#undef ABOVE
    return false;
}
