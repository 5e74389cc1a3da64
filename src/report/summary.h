/* report/summary.h - what both forms of the report work out from a snapshot: totals, what is known
 * to be live, readable size classes, and which settings differ from their defaults.
 * Units:   bytes and calls.
 * Threads: pure functions of the caller's data and of the loaded configuration.
 * Context: exit, abort, a signal handler. Allocates: never.
 */
#ifndef XS_REPORT_SUMMARY_H
#define XS_REPORT_SUMMARY_H

#include "policy/config.h"
#include "report/report.h"

#define XS_SIZE_CLASSES 8

struct xs_size_class {
    char name[8];       /* "4 KiB"; of the last one "1 MiB", which it lies above */
    uint64_t min_bytes; /* both ends belong to the class */
    uint64_t max_bytes; /* XS_UNKNOWN: no end */
};

extern const struct xs_size_class xs_size_classes[XS_SIZE_CLASSES];

struct xs_totals {
    struct xs_counters counters;
    uint64_t allocations;
    int64_t live_blocks;                   /* -1: unknown */
    uint64_t in_use_bytes;                 /* XS_UNKNOWN when one back end in use does not know */
    uint64_t reserved_bytes;               /* the same */
    uint64_t class_calls[XS_SIZE_CLASSES]; /* requests, reallocations included */
    uint64_t requests;                     /* their sum */
    unsigned shown;                        /* back ends with anything to say */
};

void xs_totals_of(const struct xs_report *r, struct xs_totals *t);

/* Open, and chosen by the policy or called at least once. */
bool xs_report_shows(const struct xs_report *r, enum xs_owner owner);

/* Blocks not yet freed, or -1 when counting was off for a while. */
int64_t xs_report_live_blocks(const struct xs_report *r, enum xs_owner owner);

/* The value in use is not the default. */
bool xs_config_differs(enum xs_knob knob);

#endif
