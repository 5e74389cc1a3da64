/* report/advice.h - what a user might set differently, from what a device's counters say.
 *
 * The rule: a cache that serves less than nine requests in ten does not earn its memory. The
 * cause that was counted most names the variable.
 * Units:   as gpu/gpu_stats.h.
 * Threads: a pure function of its arguments and of the loaded configuration.
 * Context: exit, abort, a signal handler. Allocates: never. Errors: none.
 */
#ifndef XS_REPORT_ADVICE_H
#define XS_REPORT_ADVICE_H

#include "base/fmt.h"
#include "report/report.h"

#define XS_ADVICE_ALLOCATIONS 1000 /* fewer say nothing */

struct xs_advice {
    char text[320];    /* a sentence, without the name of the device */
    char variable[64]; /* "" if no variable would help */
    char value[64];    /* in use */
    char suggested[64];
};

/* Requests that a kept block might have served: what the hit rate is a part of. Those that the
 * policy sends straight to the driver are none. */
uint64_t xs_report_gpu_asked(const struct xs_report_gpu *g);

/* False if there is nothing to say. */
bool xs_advice_of(const struct xs_report_gpu *g, struct xs_advice *out);

#endif
