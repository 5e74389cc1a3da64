/* Several reports added up. Peaks are added too, as nobody knows when each was: the sum is the most
 * that it can have been. */
#include <stdlib.h>
#include <string.h>

#include "report/summary.h"
#include "tool/input.h"

static struct xs_report sum;
static struct xs_report_process *processes;

static uint64_t add_known(uint64_t a, uint64_t b)
{
    return a == XS_UNKNOWN || b == XS_UNKNOWN ? XS_UNKNOWN : a + b;
}

static uint64_t larger(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* A text that all have, or what stands for several. */
static const char *common(const char *a, const char *b, const char *several)
{
    return strcmp(a, b) == 0 ? a : several;
}

static void add_core(struct xs_heap_stats *to, const struct xs_heap_stats *from)
{
    struct xs_bfc_stats *b = &to->bfc;
    const struct xs_bfc_stats *f = &from->bfc;

    to->failures += from->failures;
    to->largest_failure_bytes = larger(to->largest_failure_bytes, from->largest_failure_bytes);
    to->last_failure_bytes = from->last_failure_bytes;
    to->lent += from->lent;
    to->growth_ns += from->growth_ns;
    to->slabs += from->slabs;
    to->heaps += from->heaps;
    to->in_use_bytes += from->in_use_bytes;
    b->limit_bytes += f->limit_bytes;
    b->chunks_in_use += f->chunks_in_use;
    b->chunks_free += f->chunks_free;
    b->in_use_bytes += f->in_use_bytes;
    b->in_use_peak_bytes += f->in_use_peak_bytes;
    b->largest_allocation_bytes = larger(b->largest_allocation_bytes, f->largest_allocation_bytes);
    /* Of the one with most: no block can lie in two processes. */
    if (f->free_bytes > b->free_bytes)
        b->fragmentation = f->fragmentation;
    b->free_bytes += f->free_bytes;
    b->largest_free_bytes = larger(b->largest_free_bytes, f->largest_free_bytes);
    b->purged_bytes += f->purged_bytes;
    b->arenas += f->arenas;
    b->regions += f->regions;
    b->growth_steps += f->growth_steps;
    b->collected += f->collected;
}

static void add_device(struct xs_report *to, const struct xs_report_gpu *g)
{
    unsigned d = 0;

    while (d < to->gpu_count && to->gpu[d].device != g->device)
        d++;
    if (d == XS_REPORT_GPUS) {
        to->gpus_left_out++;
        return;
    }
    if (d == to->gpu_count) {
        to->gpu[to->gpu_count++] = *g;
        return;
    }
    struct xs_gpu_stats *s = &to->gpu[d].stats;
#define X(name, unit, help) s->name += g->stats.name;
    XS_GPU_COUNTER_FIELDS(X)
    XS_GPU_LEVEL_FIELDS(X)
#undef X
#define X(name, unit, help) s->name##_peak += g->stats.name##_peak;
    XS_GPU_LEVEL_FIELDS(X)
#undef X
    s->largest_request_bytes = larger(s->largest_request_bytes, g->stats.largest_request_bytes);
    s->last_oom_bytes = larger(s->last_oom_bytes, g->stats.last_oom_bytes);
    s->cache_max_bytes += g->stats.cache_max_bytes;
    s->largest_free_bytes = larger(s->largest_free_bytes, g->stats.largest_free_bytes);
    if (g->stats.fragmentation > s->fragmentation)
        s->fragmentation = g->stats.fragmentation;
    s->slabs += g->stats.slabs;
    s->slabs_given_back += g->stats.slabs_given_back;
    s->backend = common(s->backend, g->stats.backend, "several");
}

static void add_owner(struct xs_report *to, const struct xs_report *from, unsigned owner)
{
    struct xs_backend_memory *m = &to->memory[owner];
    const struct xs_backend_memory *f = &from->memory[owner];

    /* Who did not use it has nothing there, whatever is known. */
    if (from->open[owner]) {
        if (!to->open[owner]) {
            *m = *f;
        } else {
            m->in_use_bytes = add_known(m->in_use_bytes, f->in_use_bytes);
            m->reserved_bytes = add_known(m->reserved_bytes, f->reserved_bytes);
            m->reserved_peak_bytes = add_known(m->reserved_peak_bytes, f->reserved_peak_bytes);
        }
    }
    to->open[owner] |= from->open[owner];
    to->active[owner] |= from->active[owner];
    xs_counters_add(&to->counters[owner], &from->counters[owner]);
}

static void add(struct xs_report *to, const struct xs_report *from)
{
    to->wall_ns = larger(to->wall_ns, from->wall_ns);
    to->user_ns = add_known(to->user_ns, from->user_ns);
    to->sys_ns = add_known(to->sys_ns, from->sys_ns);
    to->rss_bytes = add_known(to->rss_bytes, from->rss_bytes);
    to->rss_peak_bytes = add_known(to->rss_peak_bytes, from->rss_peak_bytes);
    to->threads_total += from->threads_total;
    to->threads_now += from->threads_now;
    to->threads_peak += from->threads_peak;
    to->passive &= from->passive;
    to->counting &= from->counting;
    to->not_counting_ns = larger(to->not_counting_ns, from->not_counting_ns);
    to->levels_ns = larger(to->levels_ns, from->levels_ns);
    to->not_recorded += from->not_recorded;
    for (unsigned owner = 0; owner < XS_OWNER_COUNT; owner++)
        add_owner(to, from, owner);
    xs_latency_add(&to->latency, &from->latency);
    if (from->has_core && to->has_core)
        add_core(&to->core, &from->core);
    else if (from->has_core)
        to->core = from->core;
    to->has_core |= from->has_core;
    for (unsigned i = 0; i < XS_BFC_FREE_SIZES; i++)
        to->core_free[i] += from->core_free[i];
    for (unsigned d = 0; d < from->gpu_count; d++)
        add_device(to, &from->gpu[d]);
    to->gpus_left_out += from->gpus_left_out;
    to->how = common(to->how, from->how, "various ends");
    if (to->status != from->status)
        to->status = -1;
    if (strcmp(to->program, from->program) != 0)
        strcpy(to->program, "several programs");
    if (strcmp(to->host, from->host) != 0)
        strcpy(to->host, "several hosts");
}

static void describe(struct xs_report_process *p, const struct xs_input *i)
{
    struct xs_totals t;

    xs_totals_of(&i->report, &t);
    *p = (struct xs_report_process){
        .program = i->report.program,
        .host = i->report.host,
        .how = i->report.how,
        .pid = i->report.pid,
        .rank = i->report.rank,
        .status = i->report.status,
        .ended_unheard = i->recorded != NULL && !i->is_alive && i->recorded->head.ended == 0,
        .wall_ns = i->report.wall_ns,
        .requested_bytes = t.counters.requested_bytes,
        .allocations = t.allocations,
        .frees = t.counters.frees,
        .live_blocks = t.live_blocks,
        .reserved_bytes = t.reserved_bytes,
        .rss_peak_bytes = i->report.rss_peak_bytes,
    };
}

/* Ranks in their order, then who requested most. */
static int by_rank_and_size(const void *a, const void *b)
{
    const struct xs_report_process *p = a;
    const struct xs_report_process *q = b;

    if (p->rank != q->rank && p->rank >= 0 && q->rank >= 0)
        return p->rank < q->rank ? -1 : 1;
    if (p->requested_bytes != q->requested_bytes)
        return p->requested_bytes > q->requested_bytes ? -1 : 1;
    return p->pid < q->pid ? -1 : p->pid > q->pid;
}

const struct xs_report *xs_inputs_sum(struct xs_inputs *in)
{
    if (in->count == 0)
        return NULL;
    in->at[0].report.sites = in->sites;
    if (in->count == 1)
        return &in->at[0].report;
    free(processes);
    processes = calloc(in->count, sizeof(*processes));
    if (processes == NULL)
        return NULL;
    sum = in->at[0].report;
    for (size_t i = 1; i < in->count; i++)
        add(&sum, &in->at[i].report);
    for (size_t i = 0; i < in->count; i++)
        describe(&processes[i], &in->at[i]);
    qsort(processes, in->count, sizeof(*processes), by_rank_and_size);
    sum.pid = sum.rank = -1;
    /* Each has its own beginning. */
    sum.timeline = NULL;
    memset((void *)sum.timeline_gpu, 0, sizeof(sum.timeline_gpu));
    sum.process = processes;
    sum.processes = (unsigned)in->count;
    return &sum;
}
