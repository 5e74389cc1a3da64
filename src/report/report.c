#include "report/report.h"

#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "backend/counted.h"
#include "core/span.h"
#include "policy/select.h"
#include "report/gpu.h"
#include "report/sites.h"
#include "report/timeline.h"
#include "sys/proc.h"

static void copy_text(char *out, size_t cap, const char *text)
{
    struct xs_buf b;

    xs_buf_init(&b, out, cap);
    xs_put_str(&b, text);
}

static void collect_gpus(struct xs_report *r, bool may_lock)
{
    unsigned devices = xs_gpu_device_count();

    for (unsigned d = 0; d < devices; d++) {
        struct xs_report_gpu g;
        if (!xs_report_gpu_get(d, &g, may_lock))
            continue;
        if (r->gpu_count < XS_REPORT_GPUS)
            r->gpu[r->gpu_count++] = g;
        else
            r->gpus_left_out++;
    }
}

/* What is known without asking anybody. */
static void collect_policy(struct xs_report *r)
{
    r->wall_ns = xs_proc_wall_ns();
    r->counting = xs_hot.counting;
    r->not_counting_ns = xs_policy_not_counting_ns();
    for (unsigned i = 0; i < XS_OWNER_COUNT; i++) {
        r->open[i] = xs_backend_is_open((enum xs_owner)i);
        r->active[i] = false;
    }
    for (uint32_t i = 0; i < xs_hot.step_count; i++)
        r->active[xs_hot.step[i].owner] = true;
}

static void collect_own(struct xs_report *r)
{
    collect_policy(r);
    xs_stats_threads(&r->threads_total, &r->threads_now, &r->threads_peak);
    xs_counted_sum(r->counters);
    xs_latency_get(&r->latency);
}

static void collect_names(struct xs_report *r)
{
    r->status = -1;
    r->pid = (int)getpid();
    r->rank = xs_proc_rank();
    copy_text(r->program, sizeof(r->program), xs_proc_program());
    copy_text(r->host, sizeof(r->host), xs_proc_host());
    for (unsigned i = 0; i < XS_OWNER_COUNT; i++)
        r->memory[i] = (struct xs_backend_memory){XS_UNKNOWN, XS_UNKNOWN, XS_UNKNOWN, "nobody"};
    r->rss_bytes = r->rss_peak_bytes = XS_UNKNOWN;
    r->user_ns = r->sys_ns = XS_UNKNOWN;
}

void xs_report_collect(struct xs_report *r, bool may_lock)
{
    int cancel;

    /* Reading /proc is a cancellation point, the calls that lead here are not. */
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
    memset(r, 0, XS_REPORT_BYTES(0));
    r->may_lock = may_lock;
    collect_names(r);
    collect_own(r);
    xs_proc_cpu_ns(&r->user_ns, &r->sys_ns);
    xs_proc_rss(&r->rss_bytes, &r->rss_peak_bytes);
    if (r->rss_bytes == 0) /* no /proc */
        r->rss_bytes = r->rss_peak_bytes = XS_UNKNOWN;
    for (unsigned i = 0; i < XS_OWNER_COUNT; i++)
        if (r->open[i])
            xs_backends[i]->memory(&r->memory[i], may_lock);
    if (r->open[XS_OWNER_BFC])
        r->has_core = xs_heap_stats_get(&r->core, may_lock);
    xs_report_pages_get(&r->pages);
    collect_gpus(r, may_lock);
    xs_timeline_lend(r);
    xs_sites_lend(r);
    pthread_setcancelstate(cancel, NULL);
}

void xs_report_collect_free_sizes(struct xs_report *r)
{
    if (r->has_core && r->may_lock)
        xs_span_free_by_size(r->core_free);
}

void xs_report_begin(struct xs_report *r)
{
    collect_names(r);
    collect_policy(r);
}

void xs_report_collect_quickly(struct xs_report *r)
{
    struct xs_heap_stats core;

    if (r->pid == 0)
        collect_names(r);
    collect_own(r);
    /* Somebody may hold its lock: then what was last found stands. */
    if (r->open[XS_OWNER_BFC] && xs_heap_stats_get(&core, false)) {
        r->has_core = true;
        r->core = core;
        r->memory[XS_OWNER_BFC] = (struct xs_backend_memory){
            core.in_use_bytes, core.bfc.reserved_bytes, core.bfc.reserved_peak_bytes, "itself"};
    }
    r->gpu_count = r->gpus_left_out = 0;
    collect_gpus(r, false);
}
