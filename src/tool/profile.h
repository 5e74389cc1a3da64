/* tool/profile.h - the sites of one or several reports, with names, and what is made of them.
 * Units:   as report/sites.h.
 * Owns:    all that it holds, to the end of the command.
 * Context: the command, one thread. Errors: false = out of memory; what cannot be read is left out.
 */
#ifndef XS_TOOL_PROFILE_H
#define XS_TOOL_PROFILE_H

#include <stdio.h>

#include "report/sites.h"
#include "tool/input.h"

enum xs_profile_kind { XS_PROFILE_LIVE, XS_PROFILE_PEAK, XS_PROFILE_TOTAL };

struct xs_profile_stack {
    uint32_t kind;
    struct xs_site_value live;
    struct xs_site_value peak;
    struct xs_site_value total;
    const char *suppressed;
    uint32_t first; /* in frame[] */
    uint32_t count;
};

struct xs_profile {
    struct xs_sites_view view; /* of the stacks, for a report */
    struct xs_profile_stack *stack;
    size_t stacks;
    size_t stack_room;
    struct xs_frame_line *frame;
    size_t frames;
    size_t frame_room;
};

/* Adds what the report has of sites; nothing if it has none. */
bool xs_profile_add(struct xs_profile *p, const struct xs_input *i);

/* Puts equal stacks together, in the order of their peaks. To be called once. */
void xs_profile_close(struct xs_profile *p);

/* Of all of these, which then have their sites with names; says on stderr what was not to be had.
 */
void xs_inputs_name_sites(struct xs_inputs *in, struct xs_profile *p);

/* Errors of independent samples add by their squares. */
void xs_site_value_add(struct xs_site_value *to, const struct xs_site_value *from);

const struct xs_site_value *xs_profile_value(const struct xs_profile_stack *s,
                                             enum xs_profile_kind kind);

/* A stack a line, outermost function first, and its bytes: what flame graphs are made of. */
void xs_profile_collapsed(const struct xs_profile *p, enum xs_profile_kind kind, FILE *to);

/* profile.proto of pprof, in gzip's form. False: errno. */
bool xs_profile_pprof(const struct xs_profile *p, FILE *to);

#endif
