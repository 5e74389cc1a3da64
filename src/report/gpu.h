/* report/gpu.h - the part of the report that tells of devices, in both forms.
 * Units:   as gpu/gpu_stats.h.
 * Threads: pure functions of the caller's data and of the loaded configuration.
 * Context: exit, abort, a signal handler; inside cudaMalloc, for `xsigma gpu`. Allocates: never.
 * Errors:  none.
 */
#ifndef XS_REPORT_GPU_H
#define XS_REPORT_GPU_H

#include "report/advice.h"
#include "report/emit.h"

/* False for a device that was never used, or that could not be asked. */
bool xs_report_gpu_get(unsigned device, struct xs_report_gpu *out, bool may_lock);

void xs_report_gpu_head(struct xs_emit *e); /* the table's first line, before the first device */
void xs_report_gpu_text(struct xs_emit *e, const struct xs_report_gpu *g);
void xs_report_gpu_json(struct xs_emit *e, const struct xs_report_gpu *g);

#endif
