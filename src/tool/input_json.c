/* A JSON report becomes a snapshot again. Fields that are not there are zero, or unknown. */
#include <stdlib.h>
#include <string.h>

#include "report/pressure.h"
#include "report/summary.h"
#include "tool/input.h"

struct reader {
    const struct xs_json_tree *t;
    struct xs_report *r;
};

static uint64_t number(const struct reader *rd, const struct xs_json *object, const char *key)
{
    return xs_json_u64(xs_json_get(rd->t, object, key), 0);
}

static uint64_t known(const struct reader *rd, const struct xs_json *object, const char *key)
{
    return xs_json_u64(xs_json_get(rd->t, object, key), XS_UNKNOWN);
}

static const char *text(const struct reader *rd, const struct xs_json *object, const char *key)
{
    return xs_json_string(xs_json_get(rd->t, object, key), "");
}

/* null, and what no int holds, is -1. */
static int natural(const struct reader *rd, const struct xs_json *object, const char *key)
{
    uint64_t n = known(rd, object, key);

    return n <= INT32_MAX ? (int)n : -1;
}

static void copy_text(char *out, size_t cap, const char *from)
{
    struct xs_buf b;

    xs_buf_init(&b, out, cap);
    xs_put_str(&b, from);
}

static void process(const struct reader *rd, const struct xs_json *p)
{
    struct xs_report *r = rd->r;

    copy_text(r->program, sizeof(r->program), text(rd, p, "program"));
    copy_text(r->host, sizeof(r->host), text(rd, p, "host"));
    r->pid = natural(rd, p, "pid");
    r->rank = natural(rd, p, "rank");
    r->how = text(rd, p, "how");
    r->status = natural(rd, p, "status");
    r->wall_ns = number(rd, p, "wall_ns");
    r->user_ns = known(rd, p, "user_ns");
    r->sys_ns = known(rd, p, "sys_ns");
    r->rss_bytes = known(rd, p, "rss_bytes");
    r->rss_peak_bytes = known(rd, p, "rss_peak_bytes");
    r->threads_total = number(rd, p, "threads_total");
    r->threads_now = number(rd, p, "threads_now");
    r->threads_peak = number(rd, p, "threads_peak");
    r->passive = xs_json_is_true(xs_json_get(rd->t, p, "passive"));
    r->passive_owner = text(rd, p, "passive_owner");
    r->counting = xs_json_is_true(xs_json_get(rd->t, p, "counting"));
    r->not_counting_ns = number(rd, p, "not_counting_ns");
    r->levels_ns = number(rd, p, "levels_ns");
    r->not_recorded = (uint32_t)number(rd, p, "not_recorded");
}

static void backend(const struct reader *rd, const struct xs_json *b)
{
    struct xs_report *r = rd->r;
    const char *name = text(rd, b, "name");
    unsigned owner = 0;
    size_t i = 0;

    while (owner < XS_OWNER_COUNT && strcmp(xs_backends[owner]->name, name) != 0)
        owner++;
    if (owner == XS_OWNER_COUNT)
        return;
    struct xs_counters *c = &r->counters[owner];
    r->open[owner] = xs_json_is_true(xs_json_get(rd->t, b, "open"));
    r->active[owner] = xs_json_is_true(xs_json_get(rd->t, b, "active"));
#define X(field, unit, help) c->field = number(rd, b, #field);
    XS_COUNTER_FIELDS(X)
#undef X
    for (const struct xs_json *v = xs_json_first(rd->t, xs_json_get(rd->t, b, "size_bins"));
         v != NULL && i < XS_SIZE_BINS; v = xs_json_next(rd->t, v))
        c->size_bin[i++] = xs_json_u64(v, 0);
    r->memory[owner] = (struct xs_backend_memory){
        known(rd, b, "in_use_bytes"),
        known(rd, b, "reserved_bytes"),
        known(rd, b, "reserved_peak_bytes"),
        text(rd, b, "memory_source"),
    };
}

/* Of thousand; more is nonsense. */
static double part(const struct reader *rd, const struct xs_json *object, const char *key)
{
    uint64_t permille = number(rd, object, key);

    return permille <= 1000 ? (double)permille / 1000 : 0;
}

static void core(const struct reader *rd, const struct xs_json *c)
{
    struct xs_heap_stats *s = &rd->r->core;

    if (c == NULL || c->type != XS_JSON_OBJECT)
        return;
    rd->r->has_core = true;
    s->failures = number(rd, c, "failures");
    s->largest_failure_bytes = number(rd, c, "largest_failure_bytes");
    s->last_failure_bytes = number(rd, c, "last_failure_bytes");
    s->lent = number(rd, c, "lent");
    s->growth_ns = number(rd, c, "growth_ns");
    s->heaps = (uint32_t)number(rd, c, "heaps");
    s->slabs = (uint32_t)number(rd, c, "slabs");
    s->in_use_bytes = rd->r->memory[XS_OWNER_BFC].in_use_bytes;
    struct xs_bfc_stats *b = &s->bfc;
    b->limit_bytes = number(rd, c, "limit_bytes");
    b->chunks_in_use = (uint32_t)number(rd, c, "chunks_in_use");
    b->chunks_free = (uint32_t)number(rd, c, "chunks_free");
    b->in_use_bytes = number(rd, c, "chunk_bytes");
    b->in_use_peak_bytes = number(rd, c, "chunk_peak_bytes");
    b->largest_allocation_bytes = number(rd, c, "largest_chunk_bytes");
    b->free_bytes = number(rd, c, "free_bytes");
    b->largest_free_bytes = number(rd, c, "largest_free_bytes");
    b->purged_bytes = number(rd, c, "purged_bytes");
    b->arenas = (uint32_t)number(rd, c, "arenas");
    b->regions = (uint32_t)number(rd, c, "regions");
    b->growth_steps = (uint32_t)number(rd, c, "growth_steps");
    b->collected = (uint32_t)number(rd, c, "collected_regions");
    b->fragmentation = part(rd, c, "fragmentation_permille");
    b->reserved_bytes = rd->r->memory[XS_OWNER_BFC].reserved_bytes;
    b->reserved_peak_bytes = rd->r->memory[XS_OWNER_BFC].reserved_peak_bytes;
    for (const struct xs_json *v = xs_json_first(rd->t, xs_json_get(rd->t, c, "free_sizes"));
         v != NULL; v = xs_json_next(rd->t, v)) {
        uint64_t below = number(rd, v, "below_bytes");
        for (unsigned i = 0; i < XS_BFC_FREE_SIZES; i++)
            if (XS_BFC_FREE_BELOW(i) == below)
                rd->r->core_free[i] = number(rd, v, "free_bytes");
    }
}

static void pressure(const struct reader *rd, const struct xs_json *o)
{
    struct xs_pressure_stats *s = &rd->r->pages.pressure;
    const char *of = text(rd, o, "of");

    s->looks = number(rd, o, "looks");
    s->shrinks = number(rd, o, "shrinks");
    s->given_bytes = number(rd, o, "given_back_bytes");
    s->warnings = number(rd, o, "warnings");
    s->most_permille = number(rd, o, "most_permille");
    for (unsigned k = XS_PRESSURE_MACHINE; k < XS_PRESSURE_KINDS; k++)
        if (strcmp(of, xs_report_pressure_of((enum xs_pressure_of)k)) == 0)
            s->last.of = (enum xs_pressure_of)k;
    s->last.limit_bytes = number(rd, o, "limit_bytes");
    s->last.used_bytes = number(rd, o, "used_bytes");
    s->last.stalled = (unsigned)number(rd, o, "stalled_percent_x100");
}

static void auto_huge(const struct reader *rd, const struct xs_json *o)
{
    struct xs_huge_stats *h = &rd->r->pages.supply.huge;
    const char *verdict = text(rd, o, "verdict");

    for (unsigned v = XS_HUGE_UNTRIED; v <= XS_HUGE_REFUSED; v++)
        if (strcmp(verdict, xs_report_pages_verdict((enum xs_huge_verdict)v)) == 0)
            h->verdict = (enum xs_huge_verdict)v;
    h->got = number(rd, o, "got");
    h->dear = number(rd, o, "dear");
    h->refused = number(rd, o, "refused");
    h->got_ns = number(rd, o, "got_ns");
    h->small_ns = number(rd, o, "small_ns");
    uint64_t touched = number(rd, o, "touched_permille");
    h->touched_permille = touched < 1000 ? (unsigned)touched : 1000;
}

static void pages(const struct reader *rd, const struct xs_json *o)
{
    struct xs_report_pages *p = &rd->r->pages;
    struct xs_supply_stats *s = &p->supply;

    s->charged_bytes = number(rd, o, "charged_bytes");
    s->charged_peak_bytes = number(rd, o, "charged_peak_bytes");
    s->limit_bytes = number(rd, o, "limit_bytes");
    s->refused = number(rd, o, "refused");
    p->resident_bytes = number(rd, o, "resident_bytes");
    p->huge_bytes = number(rd, o, "huge_bytes");
    s->explicit_bytes = number(rd, o, "explicit_bytes");
    s->explicit_refused_bytes = number(rd, o, "explicit_refused_bytes");
    s->prefault_bytes = number(rd, o, "prefault_bytes");
    s->prefault_locked_bytes = number(rd, o, "prefault_locked_bytes");
    s->prefault_ns = number(rd, o, "prefault_ns");
    p->parts = (unsigned)number(rd, o, "arenas");
    for (const struct xs_json *v = xs_json_first(rd->t, xs_json_get(rd->t, o, "nodes")); v != NULL;
         v = xs_json_next(rd->t, v)) {
        uint64_t node = number(rd, v, "node");
        if (node >= XS_NUMA_NODES)
            continue;
        p->node_bytes[node] = number(rd, v, "resident_bytes");
        p->nodes++;
    }
    auto_huge(rd, xs_json_get(rd->t, o, "auto_huge"));
    pressure(rd, xs_json_get(rd->t, o, "pressure"));
}

/* Sums of this size are nobody's, and would overflow when added up. */
static uint64_t within(uint64_t n)
{
    return n <= UINT64_C(1) << 60 ? n : 0;
}

static uint64_t bounded(const struct reader *rd, const struct xs_json *object, const char *key)
{
    return within(number(rd, object, key));
}

static void timed_calls(const struct reader *rd, const struct xs_json *o,
                        struct xs_latency_calls *c)
{
    unsigned b = 0;

    c->samples = bounded(rd, o, "samples");
    c->calls = bounded(rd, o, "calls");
    c->max_ns = bounded(rd, o, "max_ns");
    for (const struct xs_json *v = xs_json_first(rd->t, xs_json_get(rd->t, o, "bins"));
         v != NULL && b < XS_LATENCY_BINS; v = xs_json_next(rd->t, v))
        c->bin[b++] = within(xs_json_u64(v, 0));
}

static void waits(const struct reader *rd, const struct xs_json *o, struct xs_latency_waits *w)
{
    w->count = bounded(rd, o, "count");
    w->ns = bounded(rd, o, "ns");
    w->max_ns = bounded(rd, o, "max_ns");
}

static void latency(const struct reader *rd, const struct xs_json *o)
{
    struct xs_latency *l = &rd->r->latency;

    timed_calls(rd, xs_json_get(rd->t, o, "malloc"), &l->of[XS_LATENCY_MALLOC]);
    timed_calls(rd, xs_json_get(rd->t, o, "free"), &l->of[XS_LATENCY_FREE]);
    waits(rd, xs_json_get(rd->t, o, "lock_waits"), &l->waits[XS_LOCK_CPU]);
    waits(rd, xs_json_get(rd->t, o, "gpu_lock_waits"), &l->waits[XS_LOCK_GPU]);
}

static void device(const struct reader *rd, const struct xs_json *d)
{
    struct xs_report *r = rd->r;
    uint64_t index = known(rd, d, "device");

    if (index >= 64 || r->gpu_count == XS_REPORT_GPUS)
        return;
    struct xs_report_gpu *g = &r->gpu[r->gpu_count++];
    struct xs_gpu_stats *s = &g->stats;
    g->device = (unsigned)index;
    s->backend = text(rd, d, "backend");
#define X(field, unit, help) s->field = bounded(rd, d, #field);
    XS_GPU_COUNTER_FIELDS(X)
    XS_GPU_LEVEL_FIELDS(X)
#undef X
#define X(field, unit, help) s->field##_peak = bounded(rd, d, #field "_peak");
    XS_GPU_LEVEL_FIELDS(X)
#undef X
    if (s->pinned_hits > s->pinned_allocations)
        s->pinned_hits = s->pinned_allocations;
    s->largest_request_bytes = number(rd, d, "largest_request_bytes");
    s->last_oom_bytes = number(rd, d, "last_oom_bytes");
    s->cache_max_bytes = number(rd, d, "cache_max_bytes");
    s->largest_free_bytes = number(rd, d, "largest_free_bytes");
    s->fragmentation = part(rd, d, "fragmentation_permille");
    s->slabs = number(rd, d, "slabs");
    s->slabs_given_back = number(rd, d, "slabs_given_back");
}

static void column(const struct reader *rd, const struct xs_json *object, const char *key,
                   uint64_t count, uint64_t *first, size_t stride_bytes)
{
    const struct xs_json *v = xs_json_first(rd->t, xs_json_get(rd->t, object, key));

    for (uint64_t i = 0; i < count && v != NULL; i++, v = xs_json_next(rd->t, v)) {
        *first = xs_json_u64(v, XS_UNKNOWN);
        first = (uint64_t *)(void *)((char *)first + stride_bytes);
    }
}

static void timeline(const struct reader *rd, const struct xs_json *object)
{
    const struct xs_json *times = xs_json_get(rd->t, object, "t_ns");
    unsigned n = 0;

    if (times == NULL || times->type != XS_JSON_ARRAY)
        return;
    struct xs_timeline *t = calloc(1, sizeof(*t));
    if (t == NULL)
        return;
    t->interval_ns = number(rd, object, "interval_ns");
    t->count = times->count < XS_TIMELINE_POINTS ? times->count : XS_TIMELINE_POINTS;
#define X(field, unit, help)                                                                       \
    column(rd, object, #field, t->count, &t->point[0].field, sizeof(t->point[0]));
    XS_TIMELINE_FIELDS(X)
#undef X
    rd->r->timeline = t;
    for (const struct xs_json *d = xs_json_first(rd->t, xs_json_get(rd->t, object, "gpu"));
         d != NULL && n < XS_REPORT_GPUS; d = xs_json_next(rd->t, d)) {
        struct xs_timeline_gpu *g = calloc(1, sizeof(*g));
        if (g == NULL)
            return;
        g->device = number(rd, d, "device");
#define X(field, unit, help)                                                                       \
    column(rd, d, #field, t->count, &g->point[0].field, sizeof(g->point[0]));
        XS_TIMELINE_GPU_FIELDS(X)
#undef X
        rd->r->timeline_gpu[n++] = g;
    }
}

bool xs_input_from_json(struct xs_input *i)
{
    struct reader rd = {&i->json, &i->report};
    const struct xs_json_tree *t = &i->json;
    const struct xs_json *root = &t->node[0];
    const struct xs_json *cpu = xs_json_get(t, root, "cpu");

    if (strcmp(text(&rd, root, "schema"), "xsigma.stats/1") != 0)
        return false;
    i->report = (struct xs_report){.status = -1};
    for (unsigned owner = 0; owner < XS_OWNER_COUNT; owner++)
        i->report.memory[owner] =
            (struct xs_backend_memory){XS_UNKNOWN, XS_UNKNOWN, XS_UNKNOWN, ""};
    process(&rd, xs_json_get(t, root, "process"));
    for (const struct xs_json *b = xs_json_first(t, xs_json_get(t, cpu, "backends")); b != NULL;
         b = xs_json_next(t, b))
        backend(&rd, b);
    core(&rd, xs_json_get(t, cpu, "core"));
    pages(&rd, xs_json_get(t, cpu, "memory_pages"));
    latency(&rd, xs_json_get(t, root, "latency"));
    for (const struct xs_json *d = xs_json_first(t, xs_json_get(t, root, "gpu")); d != NULL;
         d = xs_json_next(t, d))
        device(&rd, d);
    timeline(&rd, xs_json_get(t, root, "timeline"));
    return true;
}
