/* report/sites.h - where blocks were allocated, as a report shows it.
 *
 * The process knows modules and offsets, the command names as well: both offer their sites by the
 * same two functions, in the order of their peaks.
 * Units:   bytes, blocks; errors are half the width of the interval that holds the true value in 95
 *          of 100 cases, in the unit of the value.
 * Threads: a view of one's own sites may be of sites that change.
 * Context: exit, abort, a signal handler, the command. Allocates: never. Errors: none.
 */
#ifndef XS_REPORT_SITES_H
#define XS_REPORT_SITES_H

#include "report/emit.h"
#include "report/report.h"
#include "sample/sites.h"

struct xs_site_value {
    uint64_t bytes;
    uint64_t bytes_error;
    uint64_t blocks;
};

struct xs_site_line {
    uint32_t kind;          /* as struct xs_site has it */
    const char *suppressed; /* the rule by which it is no finding, or NULL */
    struct xs_site_value live;
    struct xs_site_value peak; /* when all of the kind was at its peak */
    struct xs_site_value total;
};

/* One function on the way to an allocation; a call that was compiled into its caller is one too. */
struct xs_frame_line {
    uint64_t address;   /* in the module's own terms, or where it was if there is none */
    const char *module; /* "": none */
    const char *function;
    const char *file;
    uint32_t line;
    bool inlined; /* into the next one */
};

typedef void xs_use_frame(const struct xs_frame_line *f, void *arg);

struct xs_sites_view {
    uint64_t mean_bytes;
    uint64_t samples;
    uint64_t dropped;
    enum xs_unwinder unwinder;
    uint32_t count;
    bool has_names; /* of functions, where they are to be had */
    void (*site)(const struct xs_sites_view *v, uint32_t i, struct xs_site_line *out);
    void (*frames)(const struct xs_sites_view *v, uint32_t i, xs_use_frame *use, void *arg);
    const void *data;
};

/* "cpu", "pinned", "gpu0" ..., and back. */
void xs_site_put_kind(struct xs_buf *b, uint32_t kind);
uint32_t xs_site_kind_of(const char *name);

struct xs_site_value xs_site_value_of(const struct xs_site_sum *s);

/* Of runtimes' own pools, by the modules that the first two frames of different ones lie in. */
const char *xs_site_suppressed(const char *inner, const char *outer);

/* Refers to the process's own sites, if it has any. */
void xs_sites_lend(struct xs_report *r);

void xs_sites_text(struct xs_emit *e, const struct xs_report *r);
void xs_sites_json(struct xs_emit *e, const struct xs_report *r);

/* The stack of site `i`, innermost first: what tells it from others, as items; all of it. */
void xs_sites_put_stack(struct xs_emit *e, const struct xs_sites_view *v, uint32_t i);
void xs_sites_json_frames(struct xs_emit *e, const struct xs_sites_view *v, uint32_t i);

#endif
