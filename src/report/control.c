#include "report/control.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "core/heap.h"
#include "core/pressure.h"
#include "gpu/hooks.h"
#include "policy/config.h"
#include "policy/gpu_options.h"
#include "report/gpu.h"
#include "report/image.h"
#include "report/log.h"
#include "stats/latency.h"
#include "sys/proc.h"
#include "sys/record.h"

/* One process in so many clears away what dead ones left, and looks at so many records. */
#define REAP_EVERY     16
#define REAPED_AT_ONCE 2048

enum { NONE, OPENING, OPEN, OFF };

XS_FORKED static struct {
    _Atomic int state; /* release after `at` was written, acquire before it is read */
    struct xs_record *at;
    const char *passive_owner;
    struct xs_control_hooks on;
} control;

/* ---- answers ---------------------------------------------------------------------------- */

struct answer {
    struct xs_record *to;
    size_t len;
    size_t most;
};

static void to_record(const char *text, size_t len, void *arg)
{
    struct answer *a = arg;
    size_t room = a->most - a->len;

    if (len > room)
        len = room;
    memcpy(a->to->text + a->len, text, len);
    a->len += len;
}

static void answer_line(struct answer *a, const struct xs_buf *line)
{
    to_record(line->at, line->len, a);
}

static void stats(struct answer *a)
{
    struct xs_emit e;
    struct xs_report_gpu g;
    unsigned devices = xs_gpu_device_count();
    bool any = false;

    xs_emit_open(&e, false, to_record, a);
    for (unsigned d = 0; d < devices; d++) {
        if (!xs_report_gpu_get(d, &g, true))
            continue;
        if (!any)
            xs_report_gpu_head(&e);
        any = true;
        xs_report_gpu_text(&e, &g);
    }
    for (unsigned d = 0; d < devices; d++)
        if (xs_report_gpu_get(d, &g, true)) {
            const struct xs_advice_from from = {.gpu = &g, .gpu_count = 1};
            xs_advice_text(&e, &from);
        }
    xs_emit_close(&e);
}

static void act(const struct xs_record *ask)
{
    switch (ask->command) {
    case XS_RECORD_CLEAR:
        xs_gpu_clear(ask->device);
        break;
    case XS_RECORD_LIMIT:
        xs_gpu_options_limit(ask->device, ask->argument);
        break;
    default:
        (void)xs_gpu_defragment(ask->device);
        break;
    }
}

#define DEVICES_TOLD 64

struct levels {
    uint64_t cached_bytes;
    uint64_t reserved_bytes;
};

static void change(struct answer *a)
{
    const struct xs_record *ask = a->to;
    struct levels before[DEVICES_TOLD] = {0};
    struct xs_report_gpu g;
    unsigned devices = xs_gpu_device_count();

    if (devices > DEVICES_TOLD)
        devices = DEVICES_TOLD;
    for (unsigned d = 0; d < devices; d++)
        if (xs_report_gpu_get(d, &g, true))
            before[d] = (struct levels){g.stats.cached_bytes, g.stats.reserved_bytes};
    act(ask);
    for (unsigned d = 0; d < devices; d++) {
        XS_BUF(line, 160);
        if ((ask->device >= 0 && (unsigned)ask->device != d) || !xs_report_gpu_get(d, &g, true))
            continue;
        xs_fmt(&line, "GPU %u: cached ", d);
        xs_put_bytes(&line, before[d].cached_bytes);
        xs_put_str(&line, " -> ");
        xs_put_bytes(&line, g.stats.cached_bytes);
        xs_put_str(&line, ", reserved ");
        xs_put_bytes(&line, before[d].reserved_bytes);
        xs_put_str(&line, " -> ");
        xs_put_bytes(&line, g.stats.reserved_bytes);
        xs_put_str(&line, ", limit of the cache ");
        xs_put_bytes(&line, g.stats.cache_max_bytes);
        xs_put_char(&line, '\n');
        answer_line(a, &line);
    }
}

static int serve(struct answer *a)
{
    const struct xs_record *ask = a->to;

    if (ask->device < -1 || (ask->device >= 0 && (unsigned)ask->device >= xs_gpu_device_count()))
        return ENODEV;
    switch (ask->command) {
    case XS_RECORD_STATS:
        stats(a);
        return 0;
    case XS_RECORD_SNAPSHOT:
        xs_image_look(true);
        return 0;
    case XS_RECORD_CLEAR:
    case XS_RECORD_LIMIT:
    case XS_RECORD_DEFRAGMENT:
        change(a);
        return 0;
    default:
        return ENOTSUP;
    }
}

static XS_COLD void answer_it(struct xs_record *r, uint64_t turn)
{
    int saved = errno;
    struct answer a = {.to = r};

    /* Whoever takes the turn answers: acquire, for the request; release, for the answer. */
    if (!atomic_compare_exchange_strong_explicit(&r->turn, &turn,
                                                 (turn & ~(uint64_t)3) | XS_RECORD_TAKEN,
                                                 memory_order_acquire, memory_order_relaxed))
        return;
    if (xs_record_fill_text())
        a.most = XS_RECORD_TEXT;
    r->result = serve(&a);
    r->text_len = (uint32_t)a.len;
    atomic_store_explicit(&r->turn, (turn & ~(uint64_t)3) | XS_RECORD_DONE, memory_order_release);
    errno = saved;
}

/* ---- the record -------------------------------------------------------------------------- */

static XS_COLD int open_record(void)
{
    const char *directory = xs_config(XS_KNOB_RECORD)->text;

    if (strcmp(directory, "off") == 0)
        return OFF;
    if ((unsigned)getpid() % REAP_EVERY == 0)
        xs_record_reap(directory, REAPED_AT_ONCE);
    int rc = xs_record_create(directory, xs_proc_program());
    if (rc == 0) {
        xs_stats_tell_threads();
        xs_image_begin(control.passive_owner);
        return OPEN;
    }
    xs_log("no record in %s (%s), so 'xsigma report' and 'top' cannot look at this process; "
           "XSIGMA_RECORD names another directory, or off",
           directory, strerrorname_np(rc));
    return OFF;
}

void xs_control_begin(void)
{
    int expected = NONE;
    int saved = errno;
    int cancel;

    if (!atomic_compare_exchange_strong_explicit(&control.state, &expected, OPENING,
                                                 memory_order_acquire, memory_order_relaxed))
        return;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
    int now = open_record();
    control.at = now == OPEN ? xs_record_mine() : NULL;
    expected = OPENING; /* or the process has begun to end, or to bind itself */
    if (!atomic_compare_exchange_strong_explicit(&control.state, &expected, now,
                                                 memory_order_release, memory_order_relaxed) &&
        now == OPEN)
        xs_record_remove();
    pthread_setcancelstate(cancel, NULL);
    errno = saved;
}

/* Memory of the host runs short, and pinned memory is of the host; and on a machine where that is
 * so, the device's may be wanted too. */
static void give_way(void)
{
    static _Atomic uint32_t seen;
    uint32_t calls = atomic_load_explicit(&xs_pressure_calls, memory_order_relaxed);

    xs_pressure_poll();
    if (XS_UNLIKELY(atomic_exchange_explicit(&seen, calls, memory_order_relaxed) != calls))
        xs_gpu_clear(-1);
}

static void look(void)
{
    if (atomic_load_explicit(&control.state, memory_order_acquire) != OPEN)
        return;
    if (XS_UNLIKELY(xs_image_is_copied())) {
        control.on.copied();
        return;
    }
    struct xs_record *r = control.at;
    uint64_t turn = atomic_load_explicit(&r->turn, memory_order_relaxed);
    if (XS_UNLIKELY(XS_RECORD_STATE(turn) == XS_RECORD_ASKED))
        answer_it(r, turn);
    xs_image_look(false);
}

/* The same, and the report that is due now and then. */
static void look_and_report(void)
{
    look();
    control.on.interval();
}

/* A process that uses CUDA is to be reached even if it will not report. */
static void gpu_look(void)
{
    give_way();
    if (atomic_load_explicit(&control.state, memory_order_relaxed) == NONE)
        xs_control_begin();
    if (atomic_load_explicit(&control.state, memory_order_acquire) == OPEN)
        __atomic_store_n(&control.at->head.uses_cuda, 1, __ATOMIC_RELAXED);
    if (control.on.interval != NULL)
        look_and_report();
    else
        look();
}

void xs_control_start(const char *passive_owner, struct xs_control_hooks on)
{
    control.passive_owner = passive_owner;
    control.on = on;
    xs_stats_record();
    xs_latency_record();
    xs_image_start();
    atomic_store_explicit(&xs_gpu_control, gpu_look, memory_order_relaxed);
    atomic_store_explicit(&xs_heap_look, on.interval != NULL ? look_and_report : look,
                          memory_order_relaxed);
}

static void end_with(const struct xs_report *report)
{
    xs_image_end(report);
    __atomic_store_n(&control.at->head.ended, 1, __ATOMIC_RELEASE);
}

static void keep_record(void)
{
    int rc = xs_record_keep(xs_proc_host());

    if (rc != 0)
        xs_log("the record keeps its name in %s (%s)", xs_config(XS_KNOB_RECORD)->text,
               strerrorname_np(rc));
}

void xs_control_stop(const struct xs_report *report, bool told, bool keep)
{
    int saved = errno;

    /* In a vfork child this is the parent's memory. */
    if (atomic_load_explicit(&control.state, memory_order_acquire) == OPEN &&
        xs_record_mine() != NULL) {
        atomic_store_explicit(&control.state, OFF, memory_order_relaxed);
        /* Nobody reads what goes at once. */
        if (report != NULL && (keep || !told))
            end_with(report);
        if (keep)
            keep_record();
        else if (told)
            xs_record_remove();
    }
    errno = saved;
}

void xs_control_fork_child(void)
{
    xs_image_fork_child();
    if (atomic_load_explicit(&control.state, memory_order_acquire) != OFF)
        XS_CHANGE_TO(control.state, NONE);
}

void xs_control_keep_off(void)
{
    atomic_store_explicit(&control.state, OFF, memory_order_relaxed);
    xs_record_freeze();
}
