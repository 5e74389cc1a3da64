/* report/advice.h - what a user might set differently: a table of rules, each with a metric, a
 * threshold and the variable that would move the metric.
 *
 * A rule speaks of one device, or of the CPU allocator. It measures first and speaks only beyond
 * its threshold; what it suggests is a value that the variable takes, so that it can be tried as it
 * is. Units:   as gpu/gpu_stats.h and core/bfc.h; metrics carry theirs in the name. Threads: pure
 * functions of their arguments and of the loaded configuration. Context: exit, abort, a signal
 * handler. Allocates: never. Errors: none.
 */
#ifndef XS_REPORT_ADVICE_H
#define XS_REPORT_ADVICE_H

#include "base/fmt.h"
#include "policy/config.h"
#include "policy/gpu_options.h"
#include "report/emit.h"
#include "report/report.h"

#define XS_ADVICE_ALLOCATIONS 1000 /* fewer say nothing */

/* What the rules look at. */
struct xs_advice_from {
    const struct xs_report *cpu; /* NULL: of devices only */
    const struct xs_report_gpu *gpu;
    size_t gpu_count;
    uint64_t wall_ns; /* 0: unknown, and rules that go by rates are silent */
};

struct xs_advice {
    const char *id;     /* of the rule */
    const char *metric; /* what was measured, unit included */
    int device;         /* -1: of the CPU allocator */
    uint64_t value;
    uint64_t threshold;
    char text[320];    /* a sentence, without the name of the device */
    char variable[64]; /* "" if no variable would help */
    char current[64];
    char suggested[64];
};

/* *at is 0 at first; false past the end. */
bool xs_advice_next(const struct xs_advice_from *from, unsigned *at, struct xs_advice *out);

void xs_advice_text(struct xs_emit *e, const struct xs_advice_from *from);
void xs_advice_json(struct xs_emit *e, const struct xs_advice_from *from);

/* The whole of a report. */
struct xs_advice_from xs_advice_from(const struct xs_report *r);

/* Requests that a kept block might have served: what the hit rate is a part of. Those that the
 * policy sends straight to the driver are none. */
uint64_t xs_report_gpu_asked(const struct xs_report_gpu *g);

/* ---- between the table and the rules ---- */

struct xs_advice_subject {
    const struct xs_advice_from *from;
    const struct xs_report *cpu;     /* of a CPU rule */
    const struct xs_report_gpu *gpu; /* of a device's, and then: */
    struct xs_gpu_options options;
};

/* False: there is nothing to be measured. */
typedef bool xs_advice_measure(const struct xs_advice_subject *s, uint64_t *value);
/* Adds to `why`, which is out->text, and may name a variable. False: no reason to speak. */
typedef bool xs_advice_advise(const struct xs_advice_subject *s, struct xs_advice *out,
                              struct xs_buf *why);

/* A rule of that name speaks above its threshold, or else below it. */
bool xs_advice_try(const struct xs_advice_subject *s, struct xs_advice *out, bool is_below,
                   const char *id, const char *metric, uint64_t threshold,
                   xs_advice_measure *measure, xs_advice_advise *advise);

/* The rules, by their number. */
extern const unsigned xs_advice_cpu_rules;
extern const unsigned xs_advice_gpu_rules;
bool xs_advice_cpu(unsigned rule, const struct xs_advice_subject *s, struct xs_advice *out);
bool xs_advice_gpu(unsigned rule, const struct xs_advice_subject *s, struct xs_advice *out);

/* Names the variable as it would have to be written to take effect on the device; -1: it is none of
 * a device. The text or size must be one that the row takes; sizes are cut to its bounds. */
void xs_advice_suggest(struct xs_advice *a, int device, enum xs_knob knob, const char *suggested);
void xs_advice_suggest_size(struct xs_advice *a, int device, enum xs_knob knob, uint64_t bytes);

/* 1000 x part / whole, without overflow; 0 of nothing. */
uint64_t xs_advice_permille(uint64_t part, uint64_t whole);

#endif
