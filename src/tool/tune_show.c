/* The verdict of `xsigma tune`. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fmt.h"
#include "report/cells.h"
#include "tool/tool.h"
#include "tool/tune.h"

#define RUNS_TO_TELL 3 /* fewer say nothing of the spread */

static int by_size(const void *a, const void *b)
{
    uint64_t p = *(const uint64_t *)a;
    uint64_t q = *(const uint64_t *)b;

    return p < q ? -1 : p > q;
}

static void sort(uint64_t *out, const uint64_t *figure, unsigned runs)
{
    memcpy(out, figure, runs * sizeof(*out));
    qsort(out, runs, sizeof(*out), by_size);
}

static uint64_t median(const uint64_t *figure, unsigned runs)
{
    uint64_t v[XS_TUNE_RUNS];

    if (runs == 0)
        return 0;
    sort(v, figure, runs);
    return (v[(runs - 1) / 2] + v[runs / 2]) / 2;
}

uint64_t xs_tune_median(const struct xs_tune_candidate *c)
{
    return median(c->figure, c->runs);
}

uint64_t xs_tune_median_cost(const struct xs_tune_candidate *c)
{
    return median(c->cost, c->runs);
}

void xs_tune_interval(const struct xs_tune_candidate *c, uint64_t *low, uint64_t *high)
{
    uint64_t v[XS_TUNE_RUNS];

    *low = *high = 0;
    if (c->runs == 0)
        return;
    sort(v, c->figure, c->runs);
    *low = v[c->runs / 8];
    *high = v[c->runs - 1 - c->runs / 8];
}

static bool is_in_play(const struct xs_tune_candidate *c)
{
    return c->out[0] == '\0' && c->runs > 0;
}

/* By less than a hundredth no setting is worth having, and where nothing differs three runs all lie
 * below three others once in twenty times. */
static bool is_worth_it(const struct xs_tune_candidate *base, const struct xs_tune_candidate *c)
{
    uint64_t was = xs_tune_median(base);

    return xs_tune_median(c) <= was - was / 100;
}

unsigned xs_tune_choose(const struct xs_tune *t)
{
    uint64_t base_low;
    uint64_t ignored;
    uint64_t high;
    unsigned best = 0;

    if (!is_in_play(&t->candidate[0]) || t->candidate[0].runs < RUNS_TO_TELL)
        return 0;
    xs_tune_interval(&t->candidate[0], &base_low, &ignored);
    for (unsigned i = 1; i < t->candidates; i++) {
        const struct xs_tune_candidate *c = &t->candidate[i];
        if (!is_in_play(c) || c->runs < RUNS_TO_TELL)
            continue;
        xs_tune_interval(c, &ignored, &high);
        if (high < base_low && is_worth_it(&t->candidate[0], c) &&
            (best == 0 || xs_tune_median(c) < xs_tune_median(&t->candidate[best])))
            best = i;
    }
    return best;
}

/* ---- printing ------------------------------------------------------------------------------ */

static void put_figure(struct xs_buf *b, const struct xs_tune *t, uint64_t v)
{
    if (t->objective == XS_TUNE_TIME)
        xs_put_duration(b, v);
    else
        xs_put_bytes(b, v);
}

static void print_change(uint64_t v, uint64_t base)
{
    XS_BUF(change, 32);

    if (base != 0)
        xs_fmt(&change, "%s%.1f%%", v < base ? "-" : "+",
               (v < base ? (double)(base - v) : (double)(v - base)) * 100 / (double)base);
    printf(" %8s", change.at);
}

static int label_columns(const struct xs_tune *t)
{
    size_t most = sizeof("candidate") - 1;

    for (unsigned i = 0; i < t->candidates; i++)
        if (strlen(t->candidate[i].label) > most)
            most = strlen(t->candidate[i].label);
    return (int)most;
}

static void print_row(const struct xs_tune *t, const struct xs_tune_candidate *c, bool is_chosen)
{
    const struct xs_tune_candidate *base = &t->candidate[0];
    uint64_t low;
    uint64_t high;
    XS_BUF(median, 32);
    XS_BUF(spread, 64);

    printf("%c %-*s ", is_chosen ? '*' : ' ', label_columns(t), c->label);
    if (c->out[0] != '\0' || c->runs == 0) {
        printf("%s%s\n", c->runs == 0 && c->out[0] == '\0' ? "not run" : "out: ", c->out);
        return;
    }
    xs_tune_interval(c, &low, &high);
    put_figure(&median, t, xs_tune_median(c));
    put_figure(&spread, t, low);
    xs_put_str(&spread, " .. ");
    put_figure(&spread, t, high);
    printf("%10s  %-24s %4u", median.at, spread.at, c->runs);
    if (c != base) {
        print_change(xs_tune_median(c), xs_tune_median(base));
        print_change(xs_tune_median_cost(c), xs_tune_median_cost(base));
    }
    putchar('\n');
}

/* For a shell, whatever is in it. */
static void print_quoted(FILE *out, const char *text)
{
    fputc('\'', out);
    for (; *text != '\0'; text++)
        if (*text == '\'')
            fputs("'\\''", out);
        else
            fputc(*text, out);
    fputc('\'', out);
}

/* What was given to all, but for what the chosen one sets otherwise; then the chosen one's. */
static void each_setting(const struct xs_tune *t, const struct xs_tune_candidate *c,
                         void (*print)(FILE *out, const struct xs_tune_setting *s), FILE *out)
{
    for (unsigned g = 0; g < t->givens; g++) {
        bool is_set = false;
        for (unsigned i = 0; i < c->settings; i++)
            is_set |= strcmp(t->given[g].name, c->setting[i].name) == 0;
        if (!is_set)
            print(out, &t->given[g]);
    }
    for (unsigned i = 0; i < c->settings; i++)
        print(out, &c->setting[i]);
}

static void print_export(FILE *out, const struct xs_tune_setting *s)
{
    fprintf(out, "export %s=", s->name);
    print_quoted(out, s->value);
    fputc('\n', out);
}

static void print_line(FILE *out, const struct xs_tune_setting *s)
{
    fprintf(out, "%s=%s\n", s->name, s->value);
}

static int save(const struct xs_tune *t, const struct xs_tune_candidate *c)
{
    FILE *out = fopen(t->save, "we");
    bool ok = out != NULL;

    if (ok) {
        fputs("# Made by 'xsigma tune'; for XSIGMA_CONFIG.\n", out);
        each_setting(t, c, print_line, out);
        ok = !ferror(out);
        ok = fclose(out) == 0 && ok;
    }
    if (!ok)
        xs_tool_error("tune: %s: %s", t->save, strerror(errno));
    return ok ? XS_EXIT_OK : XS_EXIT_NO;
}

int xs_tune_show(const struct xs_tune *t)
{
    static const char *const what[] = {"CPU time, user and system, of all processes",
                                       "peak resident memory of the largest process",
                                       "peak device memory held, all devices and processes"};
    const unsigned chosen = xs_tune_choose(t);
    const struct xs_tune_candidate *c = &t->candidate[chosen];

    printf("%s; at most %u runs each, interleaved, seed %lu\n", what[t->objective], t->runs,
           (unsigned long)t->seed);
    printf("  %-*s %10s  %-24s runs   change %8s\n", label_columns(t), "candidate", "median",
           "from .. to", t->objective == XS_TUNE_TIME ? "RSS" : "time");
    for (unsigned i = 0; i < t->candidates; i++)
        print_row(t, &t->candidate[i], i == chosen);
    if (xs_tune_interrupted() != 0)
        puts("interrupted; this is what is known so far");
    if (t->candidate[0].out[0] != '\0')
        return XS_EXIT_NO;
    if (t->candidate[0].runs < RUNS_TO_TELL) {
        printf("nothing can be told from fewer than %d runs\n", RUNS_TO_TELL);
        return XS_EXIT_NO;
    }
    if (chosen == 0)
        puts("no significant difference: no candidate's runs all lie below the baseline's, 1 % or "
             "more in\n"
             "the median (of 8 runs and more, an eighth at each end is left out)");
    else
        puts("the runs marked * all lie below the baseline's (of 8 runs and more, an eighth at "
             "each end is\n"
             "left out):");
    each_setting(t, c, print_export, stdout);
    return t->save != NULL ? save(t, c) : XS_EXIT_OK;
}
