/* Several processes in one report, and what is to be said of records. */
#include "report/cells.h"
#include "report/render.h"

#define SHOWN 20

/* Ends of the columns; NAME and HOW are starts. */
enum {
    NAME = 2,
    NAME_COLUMNS = 14,
    PID = 24,
    RANK = 29,
    REQUESTED = 40,
    CALLS = 50,
    RSS_PEAK = 61,
    HOW = 63,
    HOW_COLUMNS = 17
};

static void row(struct xs_emit *e, const struct xs_report_process *p)
{
    XS_BUF(cell, 96);

    xs_emit_clean(e, &cell, p->program, NAME_COLUMNS);
    xs_emit_left(e, NAME, cell.at);
    xs_buf_clear(&cell);
    xs_fmt(&cell, "%d", p->pid);
    xs_emit_right(e, PID, cell.at);
    xs_buf_clear(&cell);
    if (p->rank >= 0)
        xs_fmt(&cell, "%d", p->rank);
    xs_emit_right(e, RANK, cell.at);
    xs_cell_bytes(e, REQUESTED, p->requested_bytes);
    xs_cell_number(e, CALLS, p->allocations);
    xs_cell_bytes(e, RSS_PEAK, p->rss_peak_bytes);
    xs_buf_clear(&cell);
    xs_emit_clean(e, &cell, p->ended_unheard ? "no report" : p->how, HOW_COLUMNS);
    if (p->status >= 0)
        xs_fmt(&cell, " %d", p->status);
    xs_emit_left(e, HOW, cell.at);
    xs_emit_line(e);
}

void xs_render_processes_text(struct xs_emit *e, const struct xs_report *r)
{
    if (r->processes == 0)
        return;
    xs_emit_left(e, 0, "PROCESSES");
    xs_emit_right(e, PID, "pid");
    xs_emit_right(e, RANK, "rank");
    xs_emit_right(e, REQUESTED, "requested");
    xs_emit_right(e, CALLS, "calls");
    xs_emit_right(e, RSS_PEAK, "RSS peak");
    xs_emit_left(e, HOW, "end");
    xs_emit_line(e);
    for (unsigned i = 0; i < r->processes && i < SHOWN; i++)
        row(e, &r->process[i]);
    if (r->processes > SHOWN) {
        XS_BUF(more, 64);
        xs_fmt(&more, "and %u more, which requested less", r->processes - SHOWN);
        xs_emit_left(e, NAME, more.at);
        xs_emit_line(e);
    }
}

void xs_render_processes_json(struct xs_emit *e, const struct xs_report *r)
{
    if (r->processes == 0) {
        xs_emit_string(e, "processes", NULL);
        return;
    }
    xs_emit_array(e, "processes", false);
    for (unsigned i = 0; i < r->processes; i++) {
        const struct xs_report_process *p = &r->process[i];
        xs_emit_object(e, NULL);
        xs_emit_string(e, "program", p->program);
        xs_emit_natural(e, "pid", p->pid);
        xs_emit_string(e, "host", p->host);
        xs_emit_natural(e, "rank", p->rank);
        xs_emit_string(e, "how", p->how);
        xs_emit_natural(e, "status", p->status);
        xs_emit_u64(e, "wall_ns", p->wall_ns);
        xs_emit_u64(e, "requested_bytes", p->requested_bytes);
        xs_emit_u64(e, "allocations", p->allocations);
        xs_emit_u64(e, "frees", p->frees);
        xs_emit_natural(e, "live_blocks", p->live_blocks);
        xs_emit_known(e, "reserved_bytes", p->reserved_bytes);
        xs_emit_known(e, "rss_peak_bytes", p->rss_peak_bytes);
        xs_emit_end(e);
    }
    xs_emit_end(e);
}

void xs_render_record_note(struct xs_emit *e, const struct xs_report *r)
{
    XS_BUF(note, 320);

    if (r->levels_ns != 0) {
        xs_put_str(&note, r->processes != 0 ? "of those that gave no report, counts are exact; "
                                              "memory and times are those of the last look"
                                            : "from the record: counts are exact; memory and time "
                                              "are those of the last look, ");
        if (r->processes == 0) {
            xs_put_duration(&note, r->levels_ns);
            xs_put_str(&note, " after the start");
        }
        xs_put_pad(&e->line, 2);
        e->indent = 4;
        xs_emit_words(e, note.at);
        xs_emit_line(e);
    }
    if (r->not_recorded != 0) {
        xs_buf_clear(&note);
        xs_fmt(&note,
               "%u parts of the counts had no room in the record and are missing: the totals are "
               "too low",
               r->not_recorded);
        xs_put_pad(&e->line, 2);
        e->indent = 4;
        xs_emit_words(e, note.at);
        xs_emit_line(e);
    }
    e->indent = 2;
}
