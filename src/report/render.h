/* report/render.h - parts of the report that only some have: a timeline, several processes, a
 * record in place of the process's own words. Units:   as report/report.h. Threads: pure functions
 * of the caller's data. Context: exit, abort, a signal handler, the command. Allocates: never.
 * Errors: none.
 */
#ifndef XS_REPORT_RENDER_H
#define XS_REPORT_RENDER_H

#include "report/emit.h"
#include "report/report.h"

void xs_render_timeline_json(struct xs_emit *e, const struct xs_report *r);

/* What was measured of it; nothing, or null, where nothing was. */
void xs_render_latency_text(struct xs_emit *e, const struct xs_latency *l);
void xs_render_latency_json(struct xs_emit *e, const struct xs_latency *l);

/* The processes whose reports were added up; JSON: null if it is one process's own. */
void xs_render_processes_text(struct xs_emit *e, const struct xs_report *r);
void xs_render_processes_json(struct xs_emit *e, const struct xs_report *r);

/* What a record cannot tell exactly. */
void xs_render_record_note(struct xs_emit *e, const struct xs_report *r);

#endif
