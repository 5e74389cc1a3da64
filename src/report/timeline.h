/* report/timeline.h - how the process's memory went, in at most XS_TIMELINE_POINTS points however
 * long it runs: when they are used up every other one goes, and the interval doubles.
 *
 * A point is taken where the allocator looks at the clock anyway (xs_heap_look, xs_gpu_control), so
 * a process that does not allocate has none for that time. Intervals are the least distance.
 * Units:   as each field says; times since the start of the process.
 * Owns:    sections of the record (sys/record.h), made when the first point is due.
 * Threads: one takes a point, others go on. Context: inside malloc and cudaMalloc. Allocates:
 * pages. Errors:  none; without memory there is no timeline.
 */
#ifndef XS_REPORT_TIMELINE_H
#define XS_REPORT_TIMELINE_H

#include "base/compiler.h"

#define XS_TIMELINE_POINTS      1024u
#define XS_TIMELINE_INTERVAL_NS UINT64_C(10000000)

/* X(name, unit, help). Levels that are not known are XS_UNKNOWN. */
#define XS_TIMELINE_FIELDS(X)                                                                      \
    X(t_ns, "ns", "time since the start")                                                          \
    X(requested_bytes, "bytes", "sum of the sizes asked for until then")                           \
    X(allocations, "calls", "until then")                                                          \
    X(frees, "calls", "until then")                                                                \
    X(in_use_bytes, "bytes", "in blocks of the own core")                                          \
    X(reserved_bytes, "bytes", "got from the system by the own core and not given back")           \
    X(rss_bytes, "bytes", "resident, with XSIGMA_RECORD_RSS=1")

#define XS_TIMELINE_GPU_FIELDS(X)                                                                  \
    X(in_use_bytes, "bytes", "in blocks that the program holds")                                   \
    X(cached_bytes, "bytes", "kept for reuse")                                                     \
    X(hits, "calls", "allocations served from what was kept, until then")                          \
    X(misses, "calls", "allocations that found nothing fit, until then")

struct xs_timeline_point {
#define X(name, unit, help) uint64_t name;
    XS_TIMELINE_FIELDS(X)
#undef X
};

struct xs_timeline_gpu_point {
#define X(name, unit, help) uint64_t name;
    XS_TIMELINE_GPU_FIELDS(X)
#undef X
};

struct xs_timeline {
    uint64_t interval_ns;
    uint64_t count; /* of points, in order of their time */
    struct xs_timeline_point point[XS_TIMELINE_POINTS];
};

struct xs_timeline_gpu { /* its points are at the times of the timeline's */
    uint64_t device;
    struct xs_timeline_gpu_point point[XS_TIMELINE_POINTS];
};

struct xs_report;

/* A point is due at this time. Cheap. */
bool xs_timeline_is_due(uint64_t now_ns);
void xs_timeline_not_before(uint64_t ns); /* it is not due */

/* Takes one from the snapshot, at wall_ns. The caller sees to it that there is one at a time. */
void xs_timeline_take(const struct xs_report *r);

/* Lends what was taken so far to the snapshot. */
void xs_timeline_lend(struct xs_report *r);

/* The first point is due an interval from now. */
void xs_timeline_begin(void);

void xs_timeline_fork_child(void);

#endif
