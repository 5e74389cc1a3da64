/* The verb `diff`: what is different between two reports. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy/config.h"
#include "report/cells.h"
#include "report/gpu.h"
#include "report/summary.h"
#include "tool/diff_sites.h"
#include "tool/input.h"
#include "tool/tool.h"
#include "xsigma.h"

enum unit { BYTES, COUNT, TIME, PERMILLE };

struct change {
    char name[56];
    enum unit unit;
    uint64_t before; /* XS_UNKNOWN: not known */
    uint64_t after;
};

struct changes {
    struct change *at;
    size_t count;
    size_t room;
};

static const char *const unit_names[] = {"bytes", "calls", "ns", "permille"};

static void add(struct changes *c, enum unit unit, uint64_t before, uint64_t after,
                const char *format, ...) XS_FORMAT(5, 6);

static void add(struct changes *c, enum unit unit, uint64_t before, uint64_t after,
                const char *format, ...)
{
    va_list ap;

    if (c->count == c->room) {
        size_t room = c->room == 0 ? 64 : 2 * c->room;
        struct change *at = realloc(c->at, room * sizeof(*at));
        if (at == NULL)
            return;
        c->at = at;
        c->room = room;
    }
    struct change *n = &c->at[c->count++];
    *n = (struct change){.unit = unit, .before = before, .after = after};
    va_start(ap, format);
    vsnprintf(n->name, sizeof(n->name), format, ap);
    va_end(ap);
}

static uint64_t live(const struct xs_totals *t)
{
    return t->live_blocks < 0 ? XS_UNKNOWN : (uint64_t)t->live_blocks;
}

static void of_process(struct changes *c, const struct xs_report *a, const struct xs_report *b)
{
    struct xs_totals ta;
    struct xs_totals tb;

    xs_totals_of(a, &ta);
    xs_totals_of(b, &tb);
    add(c, TIME, a->wall_ns, b->wall_ns, "wall");
    add(c, TIME, a->user_ns, b->user_ns, "user");
    add(c, TIME, a->sys_ns, b->sys_ns, "system");
    add(c, BYTES, a->rss_bytes, b->rss_bytes, "RSS");
    add(c, BYTES, a->rss_peak_bytes, b->rss_peak_bytes, "RSS peak");
    add(c, BYTES, ta.counters.requested_bytes, tb.counters.requested_bytes, "CPU requested");
    add(c, COUNT, ta.allocations, tb.allocations, "CPU allocations");
    add(c, COUNT, ta.counters.reallocs, tb.counters.reallocs, "CPU reallocations");
    add(c, COUNT, ta.counters.frees, tb.counters.frees, "CPU frees");
    add(c, COUNT, live(&ta), live(&tb), "CPU live blocks");
    add(c, COUNT, ta.counters.failures + ta.counters.realloc_failures,
        tb.counters.failures + tb.counters.realloc_failures, "CPU failures");
    add(c, BYTES, ta.in_use_bytes, tb.in_use_bytes, "CPU in use");
    add(c, BYTES, ta.reserved_bytes, tb.reserved_bytes, "CPU reserved");
    for (unsigned owner = 0; owner < XS_OWNER_COUNT; owner++)
        if (xs_report_shows(a, (enum xs_owner)owner) && xs_report_shows(b, (enum xs_owner)owner))
            add(c, BYTES, a->memory[owner].reserved_peak_bytes,
                b->memory[owner].reserved_peak_bytes, "%s reserved peak", xs_backends[owner]->name);
    add(c, COUNT, a->threads_peak, b->threads_peak, "threads at one time");
    for (size_t i = 0; i < XS_SIZE_CLASSES; i++)
        add(c, COUNT, ta.class_calls[i], tb.class_calls[i], "calls %s %s",
            i + 1 == XS_SIZE_CLASSES ? ">" : "<=", xs_size_classes[i].name);
}

/* Of what was not timed nothing is known. */
static uint64_t timed(const struct xs_latency_calls *c, unsigned permille)
{
    return c->samples == 0 ? XS_UNKNOWN : xs_latency_permille(c, permille);
}

static void of_latency(struct changes *c, const struct xs_latency *a, const struct xs_latency *b)
{
    static const char *const kinds[XS_LATENCY_KINDS] = {"malloc", "free"};
    static const char *const locks[XS_LOCK_KINDS] = {"CPU", "GPU"};

    for (unsigned k = 0; k < XS_LATENCY_KINDS; k++) {
        add(c, TIME, timed(&a->of[k], 500), timed(&b->of[k], 500), "%s p50", kinds[k]);
        add(c, TIME, timed(&a->of[k], 990), timed(&b->of[k], 990), "%s p99", kinds[k]);
        add(c, TIME, timed(&a->of[k], 999), timed(&b->of[k], 999), "%s p99.9", kinds[k]);
    }
    for (unsigned k = 0; k < XS_LOCK_KINDS; k++) {
        add(c, COUNT, a->waits[k].count, b->waits[k].count, "%s lock waits", locks[k]);
        add(c, TIME, a->waits[k].ns, b->waits[k].ns, "%s lock waits, time", locks[k]);
    }
}

static uint64_t hit_permille(const struct xs_report_gpu *g)
{
    if (xs_report_gpu_asked(g) == 0)
        return XS_UNKNOWN;
    return (uint64_t)(xs_gpu_hit_rate(&g->stats) * 1000);
}

static enum unit unit_of(const char *unit)
{
    return strcmp(unit, "bytes") == 0 ? BYTES : strcmp(unit, "ns") == 0 ? TIME : COUNT;
}

static void of_device(struct changes *c, const struct xs_report_gpu *a,
                      const struct xs_report_gpu *b)
{
    const struct xs_gpu_stats *s = &a->stats;
    const struct xs_gpu_stats *t = &b->stats;

    add(c, PERMILLE, hit_permille(a), hit_permille(b), "GPU %u hit rate", b->device);
#define X(name, unit, help)                                                                        \
    add(c, unit_of(unit), s->name, t->name, "GPU %u " #name, b->device);                           \
    add(c, unit_of(unit), s->name##_peak, t->name##_peak, "GPU %u " #name " peak", b->device);
    XS_GPU_LEVEL_FIELDS(X)
#undef X
#define X(name, unit, help) add(c, unit_of(unit), s->name, t->name, "GPU %u " #name, b->device);
    XS_GPU_COUNTER_FIELDS(X)
#undef X
}

static const struct xs_report_gpu *device_of(const struct xs_report *r, unsigned device)
{
    for (unsigned d = 0; d < r->gpu_count; d++)
        if (r->gpu[d].device == device)
            return &r->gpu[d];
    return NULL;
}

static void of_devices(struct changes *c, const struct xs_report *a, const struct xs_report *b)
{
    for (unsigned device = 0; device < 64; device++) {
        const struct xs_report_gpu none = {.device = device};
        const struct xs_report_gpu *before = device_of(a, device);
        const struct xs_report_gpu *after = device_of(b, device);

        if (before != NULL || after != NULL)
            of_device(c, before != NULL ? before : &none, after != NULL ? after : &none);
    }
}

/* ---- text --------------------------------------------------------------------------------- */

/* Ends of the columns. */
enum { BEFORE = 44, AFTER = 56, BY = 69, PART = 79 };

static void put(struct xs_buf *b, enum unit unit, uint64_t v)
{
    switch (unit) {
    case BYTES:
        xs_put_bytes(b, v);
        break;
    case TIME:
        xs_put_duration(b, v);
        break;
    case PERMILLE:
        xs_fmt(b, "%lu.%lu%%", (unsigned long)(v / 10), (unsigned long)(v % 10));
        break;
    case COUNT:
        xs_put_number(b, v);
        break;
    }
}

static void put_part(struct xs_buf *b, uint64_t before, uint64_t after)
{
    double percent = ((double)after - (double)before) * 100 / (double)before;

    if (percent > 999)
        xs_fmt(b, "x%.0f", (double)after / (double)before);
    else
        xs_fmt(b, "%s%.1f%%", percent < 0 ? "-" : "+", percent < 0 ? -percent : percent);
}

static void print_change(struct xs_emit *e, const struct change *c)
{
    bool less = c->after < c->before;
    XS_BUF(cell, 64);

    xs_emit_left(e, 2, c->name);
    put(&cell, c->unit, c->before);
    xs_emit_right(e, BEFORE, cell.at);
    xs_buf_clear(&cell);
    put(&cell, c->unit, c->after);
    xs_emit_right(e, AFTER, cell.at);
    xs_buf_clear(&cell);
    xs_put_char(&cell, less ? '-' : '+');
    put(&cell, c->unit, less ? c->before - c->after : c->after - c->before);
    xs_emit_right(e, BY, cell.at);
    if (c->before != 0 && c->unit != PERMILLE) {
        xs_buf_clear(&cell);
        put_part(&cell, c->before, c->after);
        xs_emit_right(e, PART, cell.at);
    }
    xs_emit_line(e);
}

static bool is_shown(const struct change *c)
{
    return c->before != c->after && c->before != XS_UNKNOWN && c->after != XS_UNKNOWN;
}

static void print_text(const struct changes *c, struct xs_site_changes *sites, const char *a,
                       const char *b)
{
    static const struct xs_site_columns columns = {BEFORE, AFTER, BY, PART};
    struct xs_emit e;
    XS_BUF(names, 512);
    size_t same = 0;

    xs_emit_open(&e, xs_tool_utf8(), xs_tool_sink, NULL);
    xs_put_str(&names, "xsigma " XSIGMA_VERSION "  diff  ");
    xs_emit_clean(&e, &names, a, 28);
    xs_put_str(&names, " -> ");
    xs_emit_clean(&e, &names, b, 28);
    xs_emit_left(&e, 0, names.at);
    xs_emit_line(&e);
    xs_emit_right(&e, BEFORE, "before");
    xs_emit_right(&e, AFTER, "after");
    xs_emit_right(&e, BY, "change");
    xs_emit_line(&e);
    for (size_t i = 0; i < c->count; i++) {
        if (is_shown(&c->at[i]))
            print_change(&e, &c->at[i]);
        else
            same++;
    }
    xs_buf_clear(&names);
    xs_fmt(&names, "%zu figures are the same, or not known in both", same);
    xs_emit_left(&e, 2, names.at);
    xs_emit_line(&e);
    xs_site_changes_text(&e, sites, &columns);
    xs_emit_close(&e);
}

/* ---- JSON --------------------------------------------------------------------------------- */

static void side(struct xs_emit *e, const char *key, const char *name, const struct xs_report *r)
{
    xs_emit_object(e, key);
    xs_emit_string(e, "name", name);
    xs_emit_string(e, "program", r->program);
    xs_emit_natural(e, "pid", r->pid);
    xs_emit_u64(e, "processes", r->processes != 0 ? r->processes : 1);
    xs_emit_string(e, "how", r->how);
    xs_emit_end(e);
}

static void print_json(const struct changes *c, const struct xs_site_changes *sites, const char *a,
                       const struct xs_report *before, const char *b, const struct xs_report *after)
{
    struct xs_emit e;

    xs_emit_open(&e, true, xs_tool_sink, NULL);
    xs_emit_object(&e, NULL);
    xs_emit_string(&e, "schema", "xsigma.diff/1");
    xs_emit_string(&e, "version", XSIGMA_VERSION);
    side(&e, "before", a, before);
    side(&e, "after", b, after);
    xs_emit_array(&e, "figures", false);
    for (size_t i = 0; i < c->count; i++) {
        xs_emit_object(&e, NULL);
        xs_emit_string(&e, "name", c->at[i].name);
        xs_emit_string(&e, "unit", unit_names[c->at[i].unit]);
        xs_emit_known(&e, "before", c->at[i].before);
        xs_emit_known(&e, "after", c->at[i].after);
        xs_emit_end(&e);
    }
    xs_emit_end(&e);
    xs_site_changes_json(&e, sites);
    xs_emit_end(&e);
    xs_emit_close(&e);
}

int xs_tool_diff(int argc, char **argv)
{
    const char *words[2] = {NULL, NULL};
    struct xs_inputs in[2] = {{0}};
    static struct xs_profile profile[2];
    struct xs_site_changes sites = {0};
    struct changes c = {0};
    bool json = false;
    bool only_words = false;
    int n = 0;

    xs_config_load(false);
    for (int i = 1; i < argc; i++) {
        bool is_option = !only_words && argv[i][0] == '-' && argv[i][1] != '\0';
        if (is_option && strcmp(argv[i], "--json") == 0) {
            json = true;
        } else if (is_option && strcmp(argv[i], "--") == 0) {
            only_words = true;
        } else if (is_option || n == 2) {
            return xs_tool_refuse("diff", argv[i], NULL);
        } else {
            words[n++] = argv[i];
        }
    }
    if (n < 2) {
        xs_tool_error("diff: two reports are needed; see 'xsigma help diff'");
        return XS_EXIT_USAGE;
    }
    for (int i = 0; i < 2; i++) {
        int rc = xs_inputs_add(&in[i], words[i]);
        if (rc != XS_EXIT_OK && in[i].count == 0)
            return rc;
        xs_inputs_name_sites(&in[i], &profile[i]);
    }
    /* Sums are kept in one place only. */
    static struct xs_report before;
    const struct xs_report *sum = xs_inputs_sum(&in[0]);
    const struct xs_report *after = NULL;
    if (sum != NULL) {
        before = *sum;
        after = xs_inputs_sum(&in[1]);
    }
    if (after == NULL) {
        xs_tool_error("out of memory");
        return XS_EXIT_NO;
    }
    of_process(&c, &before, after);
    of_latency(&c, &before.latency, &after->latency);
    of_devices(&c, &before, after);
    xs_site_changes_of(&sites, &profile[0], &profile[1]);
    if (json)
        print_json(&c, &sites, words[0], &before, words[1], after);
    else
        print_text(&c, &sites, words[0], words[1]);
    xs_site_changes_free(&sites);
    free(c.at);
    return XS_EXIT_OK;
}
