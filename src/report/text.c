#include <string.h>

#include "report/advice.h"
#include "report/cells.h"
#include "report/gpu.h"
#include "report/render.h"
#include "report/sites.h"
#include "report/summary.h"
#include "xsigma.h"

#define BAR_CELLS      40
#define NAME_COLUMNS   24
#define VALUE_COLUMNS  40
#define WARNINGS_SHOWN 5

/* Ends of the columns of the tables. */
enum {
    CPU_REQUESTED = 22,
    CPU_CALLS = 32,
    CPU_REALLOCS = 42,
    CPU_FREES = 52,
    CPU_LIVE = 62,
    CPU_RATE = 74,
    MEM_RESERVED = 22,
    MEM_PEAK = 36,
    MEM_IN_USE = 48,
    MEM_SOURCE = 50, /* start */
    SIZE_BAR = 11,   /* start */
    SIZE_SHARE = 57,
    SIZE_CALLS = 67,
};

/* Of a process that was killed it is only known how long it had run at the last look. */
static bool knows_end(const struct xs_report *r)
{
    return r->levels_ns == 0 || r->levels_ns != r->wall_ns;
}

static void header(struct xs_emit *e, const struct xs_report *r)
{
    XS_BUF(item, 256);

    xs_emit_item(e, 0, "xsigma " XSIGMA_VERSION);

    xs_emit_clean(e, &item, r->program, NAME_COLUMNS);
    if (r->processes != 0)
        xs_fmt(&item, " %u processes", r->processes);
    else
        xs_fmt(&item, " pid %d", r->pid);
    xs_emit_item(e, 2, item.at);

    xs_buf_clear(&item);
    xs_emit_clean(e, &item, r->host, NAME_COLUMNS);
    xs_emit_item(e, 2, item.at);
    if (r->rank >= 0) {
        xs_buf_clear(&item);
        xs_fmt(&item, "rank %d", r->rank);
        xs_emit_item(e, 1, item.at);
    }

    xs_buf_clear(&item);
    xs_put_str(&item, r->how);
    if (r->status >= 0)
        xs_fmt(&item, " %d", r->status);
    xs_emit_item(e, 2, item.at);

    xs_buf_clear(&item);
    xs_put_str(&item, knows_end(r) ? "" : "at least ");
    xs_put_duration(&item, r->wall_ns);
    xs_emit_item(e, 2, item.at);
    if (r->user_ns != XS_UNKNOWN && r->sys_ns != XS_UNKNOWN) {
        xs_buf_clear(&item);
        xs_put_str(&item, "cpu ");
        xs_put_duration(&item, r->user_ns + r->sys_ns);
        xs_emit_item(e, 2, item.at);
    }

    if (xs_config(XS_KNOB_PRESET)->num != 0) {
        xs_buf_clear(&item);
        xs_fmt(&item, "preset %s", xs_config(XS_KNOB_PRESET)->text);
        xs_emit_item(e, 2, item.at);
    }
    xs_emit_line(e);
}

static void cpu_row(struct xs_emit *e, const char *name, const struct xs_counters *c, int64_t live,
                    uint64_t wall_ns) /* 0: unknown */
{
    uint64_t calls = xs_counters_allocations(c);
    XS_BUF(cell, 24);

    xs_emit_left(e, 2, name);
    xs_cell_bytes(e, CPU_REQUESTED, c->requested_bytes);
    xs_cell_number(e, CPU_CALLS, calls);
    xs_cell_number(e, CPU_REALLOCS, c->reallocs);
    xs_cell_number(e, CPU_FREES, c->frees);
    if (live < 0)
        xs_emit_right(e, CPU_LIVE, "unknown");
    else
        xs_cell_number(e, CPU_LIVE, (uint64_t)live);
    if (wall_ns == 0) {
        xs_put_char(&cell, '-');
    } else {
        xs_put_count(&cell, xs_report_whole((double)calls * 1e9 / (double)wall_ns));
        xs_put_str(&cell, "/s");
    }
    xs_emit_right(e, CPU_RATE, cell.at);
    xs_emit_line(e);
}

static void cpu_table(struct xs_emit *e, const struct xs_report *r, const struct xs_totals *t)
{
    uint64_t wall_ns = knows_end(r) ? r->wall_ns : 0;

    xs_emit_left(e, 0, "CPU");
    xs_emit_right(e, CPU_REQUESTED, "requested");
    xs_emit_right(e, CPU_CALLS, "calls");
    xs_emit_right(e, CPU_REALLOCS, "reallocs");
    xs_emit_right(e, CPU_FREES, "frees");
    xs_emit_right(e, CPU_LIVE, "live");
    xs_emit_right(e, CPU_RATE, "calls/time");
    xs_emit_line(e);
    for (enum xs_owner owner = 0; owner < XS_OWNER_COUNT; owner++)
        if (xs_report_shows(r, owner))
            cpu_row(e, xs_backends[owner]->name, &r->counters[owner],
                    xs_report_live_blocks(r, owner), wall_ns);
    if (t->shown > 1)
        cpu_row(e, "total", &t->counters, t->live_blocks, wall_ns);
    if (t->shown > 0 && t->live_blocks < 0) {
        XS_BUF(note, 128);
        xs_put_str(&note, "live unknown: statistics were off ");
        xs_put_duration(&note, r->not_counting_ns);
        xs_emit_left(e, 2, note.at);
        xs_emit_line(e);
    }
}

static void failures(struct xs_emit *e, const struct xs_report *r)
{
    bool any = false;
    XS_BUF(item, 192);

    for (enum xs_owner owner = 0; owner < XS_OWNER_COUNT; owner++) {
        const struct xs_counters *c = &r->counters[owner];

        if (owner == XS_OWNER_BFC && r->has_core && r->core.lent > 0) {
            xs_emit_left(e, 0, "FAILURES");
            any = true;
            xs_buf_clear(&item);
            xs_fmt(&item,
                   "bfc: %lu request%s served by the system's malloc, as the kernel refused memory",
                   (unsigned long)r->core.lent, r->core.lent == 1 ? " was" : "s were");
            xs_emit_item(e, 2, item.at);
        }
        if (c->failures == 0 && c->realloc_failures == 0)
            continue;
        if (!any)
            xs_emit_left(e, 0, "FAILURES");
        any = true;
        xs_buf_clear(&item);
        xs_fmt(&item, "%s: %lu allocations and %lu reallocations returned NULL",
               xs_backends[owner]->name, (unsigned long)c->failures,
               (unsigned long)c->realloc_failures);
        if (owner == XS_OWNER_BFC && r->has_core && r->core.failures > 0) {
            xs_put_str(&item, "; the largest of ");
            xs_put_bytes(&item, r->core.largest_failure_bytes);
            if (r->core.bfc.limit_bytes != 0) {
                xs_put_str(&item, ", limit ");
                xs_put_bytes(&item, r->core.bfc.limit_bytes);
            }
        }
        xs_emit_item(e, 2, item.at);
    }
    if (any)
        xs_emit_line(e);
}

static void memory_row(struct xs_emit *e, const char *name, uint64_t reserved, uint64_t peak,
                       uint64_t in_use, const char *source)
{
    xs_emit_left(e, 2, name);
    xs_cell_bytes(e, MEM_RESERVED, reserved);
    xs_cell_bytes(e, MEM_PEAK, peak);
    xs_cell_bytes(e, MEM_IN_USE, in_use);
    xs_emit_left(e, MEM_SOURCE, source);
    xs_emit_line(e);
}

/* What the program had of the own core's memory at most, and how that is cut up. */
static void core_line(struct xs_emit *e, const struct xs_report *r)
{
    const struct xs_bfc_stats *b = &r->core.bfc;
    XS_BUF(item, 160);

    if (!r->has_core || !xs_report_shows(r, XS_OWNER_BFC) || b->regions + b->collected == 0)
        return;
    xs_put_str(&item, "bfc: at most ");
    xs_put_bytes(&item, b->in_use_peak_bytes);
    xs_put_str(&item, " in use;");
    xs_emit_left(e, 2, item.at);
    xs_buf_clear(&item);
    xs_fmt(&item, "%u region%s", b->regions, b->regions == 1 ? "" : "s");
    if (b->arenas > 1)
        xs_fmt(&item, " in %u arenas", b->arenas);
    xs_fmt(&item, ", %u given back;", b->collected);
    xs_emit_item(e, 1, item.at);
    xs_buf_clear(&item);
    xs_put_str(&item, "free ");
    xs_put_bytes(&item, b->free_bytes);
    xs_put_str(&item, ", the largest piece ");
    xs_put_bytes(&item, b->largest_free_bytes);
    xs_fmt(&item, " (%.0f%% fragmented)", b->fragmentation * 100);
    xs_emit_item(e, 1, item.at);
    xs_emit_line(e);
}

static void memory_table(struct xs_emit *e, const struct xs_report *r, const struct xs_totals *t)
{
    XS_BUF(threads, 96);

    xs_emit_left(e, 0, "MEMORY");
    xs_emit_right(e, MEM_RESERVED, "reserved");
    xs_emit_right(e, MEM_PEAK, "peak");
    xs_emit_right(e, MEM_IN_USE, "in use");
    xs_emit_left(e, MEM_SOURCE, "counted by");
    xs_emit_line(e);
    for (enum xs_owner owner = 0; owner < XS_OWNER_COUNT && !r->passive; owner++)
        if (xs_report_shows(r, owner))
            memory_row(e, xs_backends[owner]->name, r->memory[owner].reserved_bytes,
                       r->memory[owner].reserved_peak_bytes, r->memory[owner].in_use_bytes,
                       r->memory[owner].source);
    /* No peak: the parts peak at different times. */
    if (t->shown > 1 && !r->passive)
        memory_row(e, "total", t->reserved_bytes, XS_UNKNOWN, t->in_use_bytes, NULL);
    memory_row(e, "RSS", r->rss_bytes, r->rss_peak_bytes, XS_UNKNOWN, "the kernel");
    core_line(e, r);
    if (!r->passive)
        xs_report_pages_text(e, &r->pages);
    if (r->threads_total > 0) {
        xs_put_str(&threads, "threads that allocated: ");
        xs_put_count(&threads, r->threads_total);
        xs_put_str(&threads, ", at most ");
        xs_put_count(&threads, r->threads_peak);
        xs_put_str(&threads, " at one time, ");
        xs_put_count(&threads, r->threads_now);
        xs_put_str(&threads, " now");
        xs_emit_left(e, 2, threads.at);
        xs_emit_line(e);
    }
}

static void gpus(struct xs_emit *e, const struct xs_report *r)
{
    XS_BUF(more, 64);

    if (r->gpu_count == 0)
        return;
    xs_report_gpu_head(e);
    for (size_t i = 0; i < r->gpu_count; i++)
        xs_report_gpu_text(e, &r->gpu[i]);
    if (r->gpus_left_out == 0)
        return;
    xs_fmt(&more, "and %u devices more", r->gpus_left_out);
    xs_emit_left(e, 2, more.at);
    xs_emit_line(e);
}

static void put_share(struct xs_buf *b, uint64_t part, uint64_t whole)
{
    double percent = (double)part * 100.0 / (double)whole;

    if (percent < 1)
        xs_put_str(b, "<1%");
    else if (percent > 99 && part != whole)
        xs_put_str(b, ">99%");
    else
        xs_fmt(b, "%.0f%%", percent);
}

static void sizes(struct xs_emit *e, const struct xs_totals *t)
{
    if (t->requests == 0)
        return;
    xs_emit_left(e, 0, "SIZES of all requests, reallocations included");
    xs_emit_line(e);
    for (size_t i = 0; i < XS_SIZE_CLASSES; i++) {
        bool last = i + 1 == XS_SIZE_CLASSES;
        XS_BUF(cell, 32);

        if (t->class_calls[i] == 0)
            continue;
        xs_fmt(&cell, "%s%s", last ? ">" : e->utf8 ? "≤" : "<=", xs_size_classes[i].name);
        xs_emit_left(e, 2, cell.at);
        xs_put_pad(&e->line, SIZE_BAR);
        xs_emit_bar(e, BAR_CELLS, t->class_calls[i], t->requests);
        xs_buf_clear(&cell);
        put_share(&cell, t->class_calls[i], t->requests);
        xs_emit_right(e, SIZE_SHARE, cell.at);
        xs_cell_number(e, SIZE_CALLS, t->class_calls[i]);
        xs_emit_line(e);
    }
}

static void setting(struct xs_emit *e, bool *any, const char *name, const struct xs_value *value)
{
    XS_BUF(item, 320);

    if (!*any)
        xs_emit_left(e, 0, "CONFIG");
    *any = true;
    xs_fmt(&item, "%s=", name);
    xs_emit_clean(e, &item, value->text, VALUE_COLUMNS);
    xs_fmt(&item, " (%s)", xs_config_source_name(value->source));
    xs_emit_item(e, 2, item.at);
}

static void config(struct xs_emit *e)
{
    const struct xs_device_value *own;
    bool any = false;

    for (enum xs_knob knob = 0; knob < XS_KNOB_COUNT; knob++)
        if (xs_config_differs(knob))
            setting(e, &any, xs_knob_name(&xs_knob_rows[knob]), xs_config(knob));
    for (size_t i = 0; (own = xs_config_device_value(i)) != NULL; i++) {
        XS_BUF(name, 80);
        xs_config_device_name(&name, own->device, own->knob);
        setting(e, &any, name.at, &own->value);
    }
    if (any)
        xs_emit_line(e);
}

static void warnings(struct xs_emit *e)
{
    const char *warning;
    size_t n = 0;

    for (; (warning = xs_config_warning(n)) != NULL; n++) {
        XS_BUF(text, 512);

        if (n >= WARNINGS_SHOWN)
            continue;
        if (n == 0)
            xs_emit_left(e, 0, "WARNINGS");
        if (n == 0)
            xs_emit_line(e);
        xs_emit_clean(e, &text, warning, (size_t)3 * XS_EMIT_COLUMNS);
        xs_put_pad(&e->line, 2);
        e->indent = 4;
        xs_emit_words(e, text.at);
        xs_emit_line(e);
        e->indent = 2;
    }
    if (n > WARNINGS_SHOWN) {
        XS_BUF(more, 48);
        xs_fmt(&more, "and %zu more", n - WARNINGS_SHOWN);
        xs_emit_left(e, 2, more.at);
        xs_emit_line(e);
    }
}

static void passive_note(struct xs_emit *e, const struct xs_report *r)
{
    const char *owner = r->passive_owner;
    XS_BUF(note, 640);

    xs_put_str(&note, "this program brings its own malloc (");
    xs_emit_clean(e, &note, owner != NULL && owner[0] != '\0' ? owner : "the program itself", 120);
    xs_put_str(&note, "); nothing was routed");
    xs_emit_words(e, note.at);
    xs_emit_line(e);
}

void xs_report_text(const struct xs_report *r, bool utf8, xs_sink *sink, void *arg)
{
    struct xs_emit e;
    struct xs_totals t;
    const struct xs_advice_from advice = xs_advice_from(r);

    xs_emit_open(&e, utf8, sink, arg);
    xs_totals_of(r, &t);
    header(&e, r);
    xs_render_record_note(&e, r);
    xs_render_processes_text(&e, r);
    if (r->passive) {
        passive_note(&e, r);
    } else {
        cpu_table(&e, r, &t);
        failures(&e, r);
    }
    memory_table(&e, r, &t);
    xs_render_latency_text(&e, &r->latency);
    gpus(&e, r);
    if (!r->passive)
        sizes(&e, &t);
    xs_sites_text(&e, r);
    xs_advice_text(&e, &advice);
    config(&e);
    warnings(&e);
    xs_emit_close(&e);
}
