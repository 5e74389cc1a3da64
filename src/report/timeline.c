#include "report/timeline.h"

#include <stdatomic.h>

#include "report/report.h"
#include "report/summary.h"
#include "sys/proc.h"
#include "sys/record.h"

static struct {
    struct xs_timeline *at;
    struct xs_timeline_gpu *gpu[XS_REPORT_GPUS];
    unsigned device[XS_REPORT_GPUS];
    _Atomic uint64_t next_ns;
    bool is_refused; /* no memory for it */
} line;

bool xs_timeline_is_due(uint64_t now_ns)
{
    return now_ns >= atomic_load_explicit(&line.next_ns, memory_order_relaxed);
}

void xs_timeline_not_before(uint64_t ns)
{
    if (xs_timeline_is_due(ns))
        atomic_store_explicit(&line.next_ns, ns, memory_order_relaxed);
}

/* Of each pair the later one stays. */
static void thin_out(void)
{
    struct xs_timeline *t = line.at;
    const uint64_t half = XS_TIMELINE_POINTS / 2;

    for (uint64_t i = 0; i < half; i++)
        t->point[i] = t->point[2 * i + 1];
    for (unsigned d = 0; d < XS_REPORT_GPUS && line.gpu[d] != NULL; d++)
        for (uint64_t i = 0; i < half; i++)
            line.gpu[d]->point[i] = line.gpu[d]->point[2 * i + 1];
    t->interval_ns *= 2;
    t->count = half;
}

/* The device's column, from its first use on; NULL: no room. */
static struct xs_timeline_gpu *column_of(unsigned device)
{
    unsigned d = 0;

    while (d < XS_REPORT_GPUS && line.gpu[d] != NULL && line.device[d] != device)
        d++;
    if (d == XS_REPORT_GPUS)
        return NULL;
    if (line.gpu[d] == NULL) {
        line.gpu[d] = xs_record_section(XS_RECORD_TIMELINE_GPU, sizeof(*line.gpu[d]));
        line.device[d] = device;
        if (line.gpu[d] != NULL)
            line.gpu[d]->device = device;
    }
    return line.gpu[d];
}

static void put_gpu(const struct xs_report_gpu *g, uint64_t i)
{
    struct xs_timeline_gpu *column = column_of(g->device);
    const struct xs_gpu_stats *s = &g->stats;

    if (column == NULL || !xs_record_fill(column, offsetof(struct xs_timeline_gpu, point[i + 1])))
        return;
    column->point[i] = (struct xs_timeline_gpu_point){
        .in_use_bytes = s->in_use_bytes,
        .cached_bytes = s->cached_bytes,
        .hits = s->hits,
        .misses = s->misses_cold + s->misses_evicted + s->misses_size + s->misses_stream,
    };
}

void xs_timeline_take(const struct xs_report *r)
{
    struct xs_totals totals;

    if (line.at == NULL && !line.is_refused) {
        line.at = xs_record_section(XS_RECORD_TIMELINE, sizeof(*line.at));
        line.is_refused = line.at == NULL;
        if (line.at != NULL)
            line.at->interval_ns = XS_TIMELINE_INTERVAL_NS;
    }
    if (line.is_refused)
        return;
    if (line.at->count == XS_TIMELINE_POINTS)
        thin_out();
    uint64_t i = line.at->count;
    atomic_store_explicit(&line.next_ns, xs_proc_now_ns() + line.at->interval_ns,
                          memory_order_relaxed);
    if (!xs_record_fill(line.at, offsetof(struct xs_timeline, point[i + 1])))
        return;
    xs_totals_of(r, &totals);
    line.at->point[i] = (struct xs_timeline_point){
        .t_ns = r->wall_ns,
        .requested_bytes = totals.counters.requested_bytes,
        .allocations = totals.allocations,
        .frees = totals.counters.frees,
        .in_use_bytes = r->memory[XS_OWNER_BFC].in_use_bytes,
        .reserved_bytes = r->memory[XS_OWNER_BFC].reserved_bytes,
        .rss_bytes = r->rss_bytes,
    };
    for (unsigned d = 0; d < r->gpu_count; d++)
        put_gpu(&r->gpu[d], i);
    line.at->count = i + 1;
}

void xs_timeline_lend(struct xs_report *r)
{
    r->timeline = line.at;
    for (unsigned d = 0; d < XS_REPORT_GPUS; d++)
        r->timeline_gpu[d] = line.gpu[d];
}

void xs_timeline_begin(void)
{
    atomic_store_explicit(&line.next_ns, xs_proc_now_ns() + XS_TIMELINE_INTERVAL_NS,
                          memory_order_relaxed);
}

/* The sections read as zero now. */
void xs_timeline_fork_child(void)
{
    if (line.at != NULL)
        line.at->interval_ns = XS_TIMELINE_INTERVAL_NS;
    for (unsigned d = 0; d < XS_REPORT_GPUS && line.gpu[d] != NULL; d++)
        line.gpu[d]->device = line.device[d];
}
