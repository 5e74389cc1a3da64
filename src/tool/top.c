/* The verb `top`: a screen of a running process, refreshed. */
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "base/text.h"
#include "policy/config.h"
#include "report/cells.h"
#include "report/gpu.h"
#include "report/render.h"
#include "report/summary.h"
#include "sys/proc.h"
#include "tool/input.h"
#include "tool/settings.h"
#include "tool/tool.h"
#include "xsigma.h"

#define PATIENCE_NS 100000000u

/* What rates are worked out from. */
struct moment {
    uint64_t wall_ns;
    uint64_t cpu_ns;
    uint64_t requested_bytes;
    uint64_t allocations;
    uint64_t frees;
    uint64_t hits[XS_REPORT_GPUS];
    uint64_t asked[XS_REPORT_GPUS];
    uint64_t driver[XS_REPORT_GPUS];
};

struct options {
    pid_t pid;
    unsigned turns; /* 0: to the end */
    unsigned pause_ms;
    bool refresh;
};

static volatile sig_atomic_t is_over;

static void stop(int signal)
{
    (void)signal;
    is_over = 1;
}

static struct moment moment_of(const struct xs_report *r)
{
    struct xs_totals t;
    struct moment m = {.wall_ns = r->wall_ns};

    xs_totals_of(r, &t);
    if (r->user_ns != XS_UNKNOWN && r->sys_ns != XS_UNKNOWN)
        m.cpu_ns = r->user_ns + r->sys_ns;
    m.requested_bytes = t.counters.requested_bytes;
    m.allocations = t.allocations;
    m.frees = t.counters.frees;
    for (unsigned d = 0; d < r->gpu_count; d++) {
        m.hits[d] = r->gpu[d].stats.hits;
        m.asked[d] = xs_report_gpu_asked(&r->gpu[d]);
        m.driver[d] = r->gpu[d].stats.driver_mallocs;
    }
    return m;
}

/* ---- the screen --------------------------------------------------------------------------- */

/* Ends of the columns. */
enum { NOW = 24, PEAK = 36, TOTAL = 48, RATE = 62, GPU_LATEST = 74 };

static void put_rate(struct xs_emit *e, size_t end, uint64_t then, uint64_t now, uint64_t ns,
                     bool is_bytes)
{
    XS_BUF(cell, 32);

    if (ns == 0 || now < then) {
        xs_emit_right(e, end, "-");
        return;
    }
    uint64_t rate = (uint64_t)((double)(now - then) * 1e9 / (double)ns);
    if (is_bytes)
        xs_put_bytes(&cell, rate);
    else
        xs_put_count(&cell, rate);
    xs_put_str(&cell, "/s");
    xs_emit_right(e, end, cell.at);
}

static void head(struct xs_emit *e, const struct xs_report *r, const struct moment *then,
                 const struct moment *now, uint64_t ns)
{
    XS_BUF(item, 160);

    xs_emit_item(e, 0, "xsigma top");
    xs_emit_clean(e, &item, r->program, 32);
    xs_fmt(&item, " pid %d", r->pid);
    xs_emit_item(e, 2, item.at);
    xs_emit_item(e, 2, r->how);
    xs_buf_clear(&item);
    xs_put_duration(&item, r->wall_ns);
    xs_emit_item(e, 2, item.at);
    if (ns != 0 && now->cpu_ns >= then->cpu_ns) {
        xs_buf_clear(&item);
        xs_fmt(&item, "CPU %.0f%%", (double)(now->cpu_ns - then->cpu_ns) * 100 / (double)ns);
        xs_emit_item(e, 2, item.at);
    }
    xs_emit_line(e);
    if (r->levels_ns != 0 && r->wall_ns > r->levels_ns + 2000000000u) {
        xs_buf_clear(&item);
        xs_put_str(&item, "in use and reserved are those of ");
        xs_put_duration(&item, r->wall_ns - r->levels_ns);
        xs_put_str(&item, " ago: it has allocated little since");
        xs_emit_left(e, 2, item.at);
        xs_emit_line(e);
    }
}

static void level(struct xs_emit *e, const char *name, uint64_t now, uint64_t peak)
{
    xs_emit_left(e, 2, name);
    xs_cell_bytes(e, NOW, now);
    xs_cell_bytes(e, PEAK, peak);
    xs_emit_line(e);
}

static void cpu(struct xs_emit *e, const struct xs_report *r, const struct moment *then,
                const struct moment *now, uint64_t ns)
{
    struct xs_totals t;

    xs_totals_of(r, &t);
    xs_emit_left(e, 0, "CPU");
    xs_emit_right(e, NOW, "now");
    xs_emit_right(e, PEAK, "peak");
    xs_emit_right(e, TOTAL, "total");
    xs_emit_right(e, RATE, "rate");
    xs_emit_line(e);
    xs_emit_left(e, 2, "requested");
    xs_cell_bytes(e, TOTAL, t.counters.requested_bytes);
    put_rate(e, RATE, then->requested_bytes, now->requested_bytes, ns, true);
    xs_emit_line(e);
    xs_emit_left(e, 2, "allocations");
    if (t.live_blocks >= 0)
        xs_cell_number(e, NOW, (uint64_t)t.live_blocks);
    xs_cell_number(e, TOTAL, t.allocations);
    put_rate(e, RATE, then->allocations, now->allocations, ns, false);
    xs_emit_line(e);
    xs_emit_left(e, 2, "frees");
    xs_cell_number(e, TOTAL, t.counters.frees);
    put_rate(e, RATE, then->frees, now->frees, ns, false);
    xs_emit_line(e);
    for (unsigned owner = 0; owner < XS_OWNER_COUNT; owner++) {
        const struct xs_backend_memory *m = &r->memory[owner];
        XS_BUF(name, 48);
        if (!xs_report_shows(r, (enum xs_owner)owner) ||
            (m->in_use_bytes == XS_UNKNOWN && m->reserved_bytes == XS_UNKNOWN))
            continue;
        xs_fmt(&name, "%s in use", xs_backends[owner]->name);
        level(e, name.at, m->in_use_bytes, XS_UNKNOWN);
        xs_buf_clear(&name);
        xs_fmt(&name, "%s reserved", xs_backends[owner]->name);
        level(e, name.at, m->reserved_bytes, m->reserved_peak_bytes);
    }
    level(e, "RSS", r->rss_bytes, r->rss_peak_bytes);
    xs_render_latency_text(e, &r->latency);
}

static void gpus(struct xs_emit *e, const struct xs_report *r, const struct moment *then,
                 const struct moment *now)
{
    if (r->gpu_count == 0)
        return;
    xs_emit_left(e, 0, "GPU");
    xs_emit_right(e, NOW, "in use");
    xs_emit_right(e, PEAK, "cached");
    xs_emit_right(e, TOTAL, "reserved");
    xs_emit_right(e, RATE, "hits, all");
    xs_emit_right(e, GPU_LATEST, "latest");
    xs_emit_line(e);
    for (unsigned d = 0; d < r->gpu_count; d++) {
        const struct xs_gpu_stats *s = &r->gpu[d].stats;
        uint64_t asked = now->asked[d] - then->asked[d];
        XS_BUF(cell, 32);
        xs_fmt(&cell, "%u", r->gpu[d].device);
        xs_emit_left(e, 2, cell.at);
        xs_cell_bytes(e, NOW, s->in_use_bytes);
        xs_cell_bytes(e, PEAK, s->cached_bytes);
        xs_cell_bytes(e, TOTAL, s->reserved_bytes);
        xs_buf_clear(&cell);
        if (now->asked[d] != 0)
            xs_fmt(&cell, "%.1f%%", (double)now->hits[d] * 100 / (double)now->asked[d]);
        xs_emit_right(e, RATE, cell.at);
        xs_buf_clear(&cell);
        if (asked != 0 && now->asked[d] > then->asked[d])
            xs_fmt(&cell, "%.1f%%", (double)(now->hits[d] - then->hits[d]) * 100 / (double)asked);
        xs_emit_right(e, GPU_LATEST, cell.at);
        xs_emit_line(e);
    }
}

static void screen(const struct xs_report *r, const struct moment *then)
{
    struct moment now = moment_of(r);
    uint64_t ns =
        then->wall_ns != 0 && now.wall_ns > then->wall_ns ? now.wall_ns - then->wall_ns : 0;
    struct xs_emit e;

    xs_emit_open(&e, xs_tool_utf8(), xs_tool_sink, NULL);
    head(&e, r, then, &now, ns);
    cpu(&e, r, then, &now, ns);
    gpus(&e, r, then, &now);
    xs_emit_close(&e);
}

/* ---- the terminal ------------------------------------------------------------------------- */

static struct termios before;
static bool is_changed;
static bool is_listening; /* to the terminal's keys */

static void quiet_keys(void)
{
    struct termios t;

    if (!isatty(STDIN_FILENO) || tcgetattr(STDIN_FILENO, &before) != 0)
        return;
    t = before;
    t.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
    is_changed = tcsetattr(STDIN_FILENO, TCSANOW, &t) == 0;
    is_listening = is_changed;
}

static void restore_keys(void)
{
    if (is_changed)
        (void)tcsetattr(STDIN_FILENO, TCSANOW, &before);
}

/* q ends it. Without a terminal to read from, or with one that has gone, it only waits. */
static void wait_for_key(unsigned ms)
{
    uint64_t end = xs_proc_now_ns() + ms * UINT64_C(1000000);
    uint64_t now;

    while (!is_over && (now = xs_proc_now_ns()) < end) {
        struct pollfd p = {.fd = is_listening ? STDIN_FILENO : -1, .events = POLLIN};
        char c = '\0';

        if (poll(&p, 1, (int)((end - now + 999999) / 1000000)) <= 0)
            continue;
        is_listening = read(STDIN_FILENO, &c, 1) == 1;
        if (c == 'q' || c == 'Q')
            is_over = 1;
    }
}

static int run(const struct options *o)
{
    struct moment then = {0};
    int status = XS_EXIT_OK;

    for (unsigned turn = 0; !is_over && (o->turns == 0 || turn < o->turns); turn++) {
        struct xs_inputs in = {0};
        if (turn != 0)
            wait_for_key(o->pause_ms);
        if (is_over)
            break;
        status = xs_inputs_add_process(&in, o->pid, PATIENCE_NS);
        if (status != XS_EXIT_OK) {
            /* It ended with a report of its own. */
            return turn != 0 ? XS_EXIT_OK : status;
        }
        const struct xs_report *r = &in.at[0].report;
        xs_input_settings(&in.at[0]);
        if (o->refresh)
            fputs("\033[H\033[J", stdout);
        screen(r, &then);
        fflush(stdout);
        then = moment_of(r);
        bool is_alive = in.at[0].is_alive;
        xs_inputs_free(&in);
        xs_config_load(false); /* where the records are */
        if (!is_alive)
            break;
    }
    return status;
}

static bool number(const char *text, uint64_t most, uint64_t *out)
{
    return xs_text_count(text, strlen(text), out) == 0 && *out <= most;
}

int xs_tool_top(int argc, char **argv)
{
    struct options o = {.pause_ms = 1000};
    uint64_t n;

    xs_config_load(false);
    for (int i = 1; i < argc; i++) {
        size_t len = strcspn(argv[i], "=");
        bool is_turns = len == 2 && strncmp(argv[i], "-n", len) == 0;
        if (is_turns || (len == 2 && strncmp(argv[i], "-d", len) == 0)) {
            uint64_t ns;
            const char *value = xs_settings_value(argc, argv, &i, len);
            if (value == NULL)
                value = "";
            if (is_turns && number(value, UINT_MAX, &n) && n > 0) {
                o.turns = (unsigned)n;
            } else if (!is_turns && xs_text_time(value, strlen(value), &ns) == 0 &&
                       ns >= 10000000u && ns <= 3600000000000u) {
                o.pause_ms = (unsigned)(ns / 1000000u);
            } else {
                xs_tool_error("top: %s '%s': expected %s", is_turns ? "-n" : "-d", value,
                              is_turns ? "a number from 1" : "a time such as 500ms or 2s");
                return XS_EXIT_USAGE;
            }
        } else if (o.pid == 0 && number(argv[i], INT_MAX, &n) && n > 0) {
            o.pid = (pid_t)n;
        } else {
            return xs_tool_refuse("top", argv[i], o.pid != 0 ? NULL : "no number of a process");
        }
    }
    if (o.pid == 0) {
        xs_tool_error("top: the number of a process is needed; 'xsigma report' lists them");
        return XS_EXIT_USAGE;
    }
    const char *terminal = getenv("TERM");
    o.refresh =
        o.turns != 1 && isatty(STDOUT_FILENO) && terminal != NULL && strcmp(terminal, "dumb") != 0;
    if (o.turns == 0 && !isatty(STDOUT_FILENO))
        o.turns = 1;
    struct sigaction action = {.sa_handler = stop};
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
    if (o.refresh)
        quiet_keys();
    int status = run(&o);
    restore_keys();
    return status;
}
