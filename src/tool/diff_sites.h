/* tool/diff_sites.h - what is different between the call sites of two reports.
 * Units:   as report/sites.h.
 * Owns:    the list that it makes.
 * Context: the command, one thread. Errors: out of memory: fewer are told.
 *
 * A site is the same in both where its functions are: the program may have been built anew, so
 * lines and addresses count only where there is no name.
 */
#ifndef XS_TOOL_DIFF_SITES_H
#define XS_TOOL_DIFF_SITES_H

#include "report/emit.h"
#include "tool/profile.h"

struct xs_site_change {
    const struct xs_profile *profile; /* that of the second if it has the stack */
    const struct xs_profile_stack *stack;
    struct xs_site_value value[XS_PROFILE_TOTAL + 1][2]; /* by xs_profile_kind, before and after */
};

struct xs_site_changes {
    bool has[2]; /* the report has sites at all */
    struct xs_site_change *at;
    size_t count;
};

void xs_site_changes_of(struct xs_site_changes *c, const struct xs_profile *before,
                        const struct xs_profile *after);
void xs_site_changes_free(struct xs_site_changes *c);

/* With the columns of figures ending as the caller's do. */
struct xs_site_columns {
    size_t before;
    size_t after;
    size_t by;
    size_t part;
};
void xs_site_changes_text(struct xs_emit *e, struct xs_site_changes *c,
                          const struct xs_site_columns *columns);
void xs_site_changes_json(struct xs_emit *e, const struct xs_site_changes *c);

#endif
