#include "tool/diff_sites.h"

#include <stdlib.h>
#include <string.h>

#include "sample/weight.h"

#define SHOWN 10

/* ---- which belong together ----------------------------------------------------------------- */

struct side {
    const struct xs_profile *profile;
    const struct xs_profile_stack *stack;
    unsigned is_after;
};

static int compare_frames(const struct xs_frame_line *f, const struct xs_frame_line *g)
{
    if (f->function != NULL && g->function != NULL)
        return strcmp(f->function, g->function);
    if (f->function != NULL || g->function != NULL)
        return f->function != NULL ? 1 : -1;
    int c = strcmp(f->module, g->module);
    if (c != 0)
        return c;
    return f->address < g->address ? -1 : f->address > g->address;
}

static int compare_sides(const void *x, const void *y)
{
    const struct side *a = x;
    const struct side *b = y;

    if (a->stack->kind != b->stack->kind)
        return a->stack->kind < b->stack->kind ? -1 : 1;
    if (a->stack->count != b->stack->count)
        return a->stack->count < b->stack->count ? -1 : 1;
    for (uint32_t i = 0; i < a->stack->count; i++) {
        int c = compare_frames(&a->profile->frame[a->stack->first + i],
                               &b->profile->frame[b->stack->first + i]);
        if (c != 0)
            return c;
    }
    return 0;
}

static void put_side(struct xs_site_change *c, const struct side *s)
{
    if (c->stack == NULL || s->is_after) {
        c->profile = s->profile;
        c->stack = s->stack;
    }
    for (enum xs_profile_kind k = 0; k <= XS_PROFILE_TOTAL; k++)
        xs_site_value_add(&c->value[k][s->is_after], xs_profile_value(s->stack, k));
}

void xs_site_changes_of(struct xs_site_changes *c, const struct xs_profile *before,
                        const struct xs_profile *after)
{
    const struct xs_profile *const profile[2] = {before, after};
    size_t most = before->stacks + after->stacks;
    struct side *sides = calloc(most + 1, sizeof(*sides));
    size_t n = 0;

    c->at = calloc(most + 1, sizeof(*c->at));
    for (unsigned i = 0; i < 2; i++) {
        c->has[i] = profile[i]->view.mean_bytes != 0;
        for (size_t k = 0; k < profile[i]->stacks && sides != NULL; k++)
            sides[n++] = (struct side){profile[i], &profile[i]->stack[k], i};
    }
    if (n != 0)
        qsort(sides, n, sizeof(*sides), compare_sides);
    for (size_t i = 0; i < n && c->at != NULL; i++) {
        c->count += i == 0 || compare_sides(&sides[i - 1], &sides[i]) != 0;
        put_side(&c->at[c->count - 1], &sides[i]);
    }
    free(sides);
}

void xs_site_changes_free(struct xs_site_changes *c)
{
    free(c->at);
    *c = (struct xs_site_changes){0};
}

/* ---- text ---------------------------------------------------------------------------------- */

static enum xs_profile_kind sorted_by; /* qsort hands nothing on */

static double change_of(const struct xs_site_change *c)
{
    return (double)c->value[sorted_by][1].bytes - (double)c->value[sorted_by][0].bytes;
}

static double size_of(const struct xs_site_change *c)
{
    double change = change_of(c);

    return change < 0 ? -change : change;
}

static int compare_changes(const void *x, const void *y)
{
    double a = size_of(x);
    double b = size_of(y);

    return a > b ? -1 : a < b;
}

/* Half of the interval in which the change lies. */
static double error_of(const struct xs_site_change *c)
{
    double a = (double)c->value[sorted_by][0].bytes_error;
    double b = (double)c->value[sorted_by][1].bytes_error;

    return xs_root_of(a * a + b * b);
}

static void print_change(struct xs_emit *e, const struct xs_site_change *c,
                         const struct xs_site_columns *columns)
{
    const uint64_t before = c->value[sorted_by][0].bytes;
    const uint64_t after = c->value[sorted_by][1].bytes;
    const double error = error_of(c);
    const size_t indent = e->indent;
    XS_BUF(cell, 64);

    xs_site_put_kind(&cell, c->stack->kind);
    xs_emit_left(e, 2, cell.at);
    xs_buf_clear(&cell);
    xs_put_bytes(&cell, before);
    xs_emit_right(e, columns->before, cell.at);
    xs_buf_clear(&cell);
    xs_put_bytes(&cell, after);
    xs_emit_right(e, columns->after, cell.at);
    xs_buf_clear(&cell);
    xs_put_char(&cell, after < before ? '-' : '+');
    xs_put_bytes(&cell, (uint64_t)size_of(c));
    xs_emit_right(e, columns->by, cell.at);
    if (error > 0) {
        xs_buf_clear(&cell);
        xs_fmt(&cell, "%s%.0f%%", e->utf8 ? "±" : "+-", error * 100 / size_of(c));
        xs_emit_right(e, columns->part, cell.at);
    }
    xs_emit_line(e);
    xs_put_pad(&e->line, 4);
    e->indent = 4;
    xs_sites_put_stack(e, &c->profile->view, (uint32_t)(c->stack - c->profile->stack));
    xs_emit_line(e);
    e->indent = indent;
}

static void print_kind(struct xs_emit *e, struct xs_site_changes *c, enum xs_profile_kind kind,
                       const char *head, const struct xs_site_columns *columns)
{
    unsigned shown = 0;
    unsigned more = 0;
    XS_BUF(line, 80);

    sorted_by = kind;
    qsort(c->at, c->count, sizeof(*c->at), compare_changes);
    for (size_t i = 0; i < c->count && size_of(&c->at[i]) > 0; i++) {
        /* A change that may be chance is none. */
        if (size_of(&c->at[i]) <= error_of(&c->at[i]))
            continue;
        if (shown == SHOWN) {
            more++;
            continue;
        }
        if (shown++ == 0) {
            xs_emit_left(e, 0, head);
            xs_emit_line(e);
        }
        print_change(e, &c->at[i], columns);
    }
    if (more != 0) {
        xs_fmt(&line, "and %u more", more);
        xs_emit_left(e, 2, line.at);
        xs_emit_line(e);
    }
}

void xs_site_changes_text(struct xs_emit *e, struct xs_site_changes *c,
                          const struct xs_site_columns *columns)
{
    if (!c->has[0] && !c->has[1])
        return;
    if (!c->has[0] || !c->has[1]) {
        xs_emit_left(e, 0, "SITES");
        xs_emit_words(e, c->has[0] ? "only the first report has call sites: nothing to compare"
                                   : "only the second report has call sites: nothing to compare");
        xs_emit_line(e);
        return;
    }
    if (c->count == 0)
        return;
    print_kind(e, c, XS_PROFILE_LIVE, "SITES live at the end, changes beyond chance", columns);
    print_kind(e, c, XS_PROFILE_PEAK, "SITES at peak, changes beyond chance", columns);
}

/* ---- JSON ---------------------------------------------------------------------------------- */

void xs_site_changes_json(struct xs_emit *e, const struct xs_site_changes *c)
{
    static const char *const keys[] = {"live_bytes", "peak_bytes", "total_bytes"};

    xs_emit_array(e, "sites", false);
    for (size_t i = 0; i < c->count; i++) {
        const struct xs_site_change *s = &c->at[i];
        XS_BUF(kind, 16);
        xs_site_put_kind(&kind, s->stack->kind);
        xs_emit_object(e, NULL);
        xs_emit_string(e, "kind", kind.at);
        xs_sites_json_frames(e, &s->profile->view, (uint32_t)(s->stack - s->profile->stack));
        for (enum xs_profile_kind k = 0; k <= XS_PROFILE_TOTAL; k++) {
            xs_emit_object(e, keys[k]);
            xs_emit_u64(e, "before", s->value[k][0].bytes);
            xs_emit_u64(e, "before_error", s->value[k][0].bytes_error);
            xs_emit_u64(e, "after", s->value[k][1].bytes);
            xs_emit_u64(e, "after_error", s->value[k][1].bytes_error);
            xs_emit_end(e);
        }
        xs_emit_end(e);
    }
    xs_emit_end(e);
}
