#include "report/report.h"

#include <pthread.h>
#include <unistd.h>

#include "backend/counted.h"
#include "policy/select.h"
#include "report/gpu.h"
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

void xs_report_collect(struct xs_report *r, bool may_lock)
{
    int cancel;

    /* Reading /proc is a cancellation point, the calls that lead here are not. */
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
    *r = (struct xs_report){.status = -1, .pid = (int)getpid(), .rank = xs_proc_rank()};
    copy_text(r->program, sizeof(r->program), xs_proc_program());
    copy_text(r->host, sizeof(r->host), xs_proc_host());
    r->wall_ns = xs_proc_wall_ns();
    xs_proc_cpu_ns(&r->user_ns, &r->sys_ns);
    xs_proc_rss(&r->rss_bytes, &r->rss_peak_bytes);
    xs_stats_threads(&r->threads_total, &r->threads_now, &r->threads_peak);
    r->counting = xs_hot.counting;
    r->not_counting_ns = xs_policy_not_counting_ns();
    xs_counted_sum(r->counters);
    for (unsigned i = 0; i < XS_OWNER_COUNT; i++) {
        r->open[i] = xs_backend_is_open((enum xs_owner)i);
        r->memory[i] = (struct xs_backend_memory){XS_UNKNOWN, XS_UNKNOWN, XS_UNKNOWN, "nobody"};
        if (r->open[i])
            xs_backends[i]->memory(&r->memory[i], may_lock);
    }
    if (r->open[XS_OWNER_BFC])
        r->has_core = xs_heap_stats_get(&r->core, may_lock);
    for (uint32_t i = 0; i < xs_hot.step_count; i++)
        r->active[xs_hot.step[i].owner] = true;
    collect_gpus(r, may_lock);
    pthread_setcancelstate(cancel, NULL);
}
