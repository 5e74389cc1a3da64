/* report/report.h - one snapshot of the process, printed as a screen of text or as JSON.
 * Units:   bytes, calls, nanoseconds, as each field says.
 * Threads: xs_report_collect from any thread; the rest on the caller's data.
 * Context: exit, abort, a signal handler. Allocates: never.
 */
#ifndef XS_REPORT_REPORT_H
#define XS_REPORT_REPORT_H

#include "backend/hot.h"
#include "base/fmt.h"
#include "gpu/gpu.h"
#include "report/pages.h"
#include "stats/latency.h"
#include "stats/stats.h"

/* A snapshot stands on stacks, so not all devices that there could be find room in it. */
#define XS_REPORT_GPUS 16

struct xs_report_gpu {
    unsigned device;
    struct xs_gpu_stats stats;
};

/* One of several whose reports were added up. */
struct xs_report_process {
    const char *program;
    const char *host;
    const char *how;
    int pid;
    int rank;
    int status;
    bool ended_unheard; /* its record is all there is */
    uint64_t wall_ns;
    uint64_t requested_bytes;
    uint64_t allocations;
    uint64_t frees;
    int64_t live_blocks; /* -1: unknown */
    uint64_t reserved_bytes;
    uint64_t rss_peak_bytes;
};

struct xs_sites_view;
struct xs_timeline;
struct xs_timeline_gpu;

struct xs_report {
    /* the process */
    char program[64];
    int pid;
    char host[64];
    int rank;        /* of an MPI or Slurm job, -1 if none */
    const char *how; /* "exit", "_exit", "quick_exit", "abort", "snapshot", and of a record
                        "running" or "ended without a report" */
    int status;      /* -1: not known at this point */
    uint64_t wall_ns;
    uint64_t user_ns; /* these four are XS_UNKNOWN where nobody can be asked */
    uint64_t sys_ns;
    uint64_t rss_bytes;
    uint64_t rss_peak_bytes;
    uint64_t threads_total;
    uint64_t threads_now;
    uint64_t threads_peak;
    /* the policy */
    bool passive;              /* the program brings its own malloc: nothing passes through us */
    const char *passive_owner; /* the object that does */
    bool counting;             /* counters are on now */
    uint64_t not_counting_ns;  /* for so long they were off */
    /* the allocator, an element for each back end */
    bool open[XS_OWNER_COUNT];
    bool active[XS_OWNER_COUNT]; /* the policy sends allocations there */
    struct xs_counters counters[XS_OWNER_COUNT];
    struct xs_backend_memory memory[XS_OWNER_COUNT];
    struct xs_latency latency;
    /* the own core, when it is open and could be asked */
    bool has_core;
    struct xs_heap_stats core;
    /* what is free of it: xs_report_collect_free_sizes; none where nobody could wait for that */
    uint64_t core_free[XS_BFC_FREE_SIZES];
    bool may_lock; /* who collects: there is nobody whose lock would stay held */
    struct xs_report_pages pages;
    /* of a record: what does not count by itself is as it was then; 0: as everything else */
    uint64_t levels_ns;
    uint32_t not_recorded; /* of a record: blocks of counts that found no room in it */
    unsigned processes;    /* whose reports were added up; 0: it is one's own */
    const struct xs_report_process *process;
    /* NULL: none; the devices' in the order of their first use, NULL past the last */
    const struct xs_timeline *timeline;
    const struct xs_timeline_gpu *timeline_gpu[XS_REPORT_GPUS];
    const struct xs_sites_view *sites; /* NULL: none were looked for */
    /* devices that were used, in rising order; last, as it is large and those past gpu_count mean
     * nothing */
    unsigned gpu_count;
    unsigned gpus_left_out;
    struct xs_report_gpu gpu[XS_REPORT_GPUS];
};

/* So much of a snapshot with `n` devices means something. */
#define XS_REPORT_BYTES(n) (offsetof(struct xs_report, gpu) + (n) * sizeof(struct xs_report_gpu))

/* Fills in everything but how and status. `may_lock` as in backend/backend.h. */
void xs_report_collect(struct xs_report *r, bool may_lock);

/* The same without system calls and without waiting: what would take any is unknown, or as `r` has
 * it already. */
void xs_report_collect_quickly(struct xs_report *r);

/* Into a snapshot, if it may lock: how what is free is cut up. All free chunks are gone through for
 * it, with the locks held that threads want for theirs, so not where nobody is shown it. */
void xs_report_collect_free_sizes(struct xs_report *r);

/* Into a snapshot that is all zero: who the process is and what is in use, without any count. */
void xs_report_begin(struct xs_report *r);

/* Calls sink with pieces of the output, in order. `utf8` allows block characters in the bars. */
typedef void xs_sink(const char *text, size_t len, void *arg);
void xs_report_text(const struct xs_report *r, bool utf8, xs_sink *sink, void *arg);
void xs_report_json(const struct xs_report *r, xs_sink *sink, void *arg);

/* A quotient as a whole number, whatever a damaged record made of it. */
XS_INLINE uint64_t xs_report_whole(double v)
{
    return !(v > 0) ? 0 : v < 18446744073709551616.0 ? (uint64_t)v : UINT64_MAX;
}

#endif
