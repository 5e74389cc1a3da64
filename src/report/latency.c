/* Sampled latency and waits for locks, in both forms. */
#include "report/cells.h"
#include "report/render.h"

/* Ends of the columns. */
enum { P50 = 22, P99 = 32, P999 = 42, MOST = 52, SAMPLES = 62, OF_CALLS = 74 };

static const char kinds[XS_LATENCY_KINDS][8] = {"malloc", "free"};

/* Nothing is what clocks tell of what is shorter than one step of theirs, or 1 ns where they round:
 * the shortest time that was told apart from that, of calls of any kind, is above it. */
#define ROUNDED_NS 1
static void cell_ns(struct xs_emit *e, size_t end, const struct xs_latency *l, uint64_t ns)
{
    XS_BUF(cell, 24);

    for (unsigned b = ROUNDED_NS + 1; ns <= ROUNDED_NS && b < XS_LATENCY_BINS; b++) {
        uint64_t calls = 0;
        for (unsigned k = 0; k < XS_LATENCY_KINDS; k++)
            calls |= l->of[k].bin[b];
        if (calls != 0) {
            xs_put_str(&cell, "<");
            ns = xs_latency_bin_end(b - 1);
        }
    }
    xs_put_duration(&cell, ns);
    xs_emit_right(e, end, cell.at);
}

static void calls_row(struct xs_emit *e, const struct xs_latency *l, unsigned kind)
{
    const struct xs_latency_calls *c = &l->of[kind];

    xs_emit_left(e, 2, kinds[kind]);
    cell_ns(e, P50, l, xs_latency_permille(c, 500));
    cell_ns(e, P99, l, xs_latency_permille(c, 990));
    cell_ns(e, P999, l, xs_latency_permille(c, 999));
    cell_ns(e, MOST, l, c->max_ns);
    xs_cell_number(e, SAMPLES, c->samples);
    xs_cell_number(e, OF_CALLS, c->calls);
    xs_emit_line(e);
}

static void waits_line(struct xs_emit *e, const char *what, const struct xs_latency_waits *w)
{
    XS_BUF(line, 160);

    if (w->count == 0)
        return;
    xs_fmt(&line, "%s: ", what);
    xs_put_number(&line, w->count);
    xs_put_str(&line, w->count == 1 ? " wait, " : " waits, ");
    xs_put_duration(&line, w->ns);
    xs_put_str(&line, " in all, the longest ");
    xs_put_duration(&line, w->max_ns);
    xs_emit_left(e, 2, line.at);
    xs_emit_line(e);
}

void xs_render_latency_text(struct xs_emit *e, const struct xs_latency *l)
{
    bool any = false;

    for (unsigned k = 0; k < XS_LATENCY_KINDS; k++) {
        if (l->of[k].samples == 0)
            continue;
        if (!any) {
            xs_emit_left(e, 0, "LATENCY");
            xs_emit_right(e, P50, "p50");
            xs_emit_right(e, P99, "p99");
            xs_emit_right(e, P999, "p99.9");
            xs_emit_right(e, MOST, "longest");
            xs_emit_right(e, SAMPLES, "samples");
            xs_emit_right(e, OF_CALLS, "of calls");
            xs_emit_line(e);
        }
        any = true;
        calls_row(e, l, k);
    }
    waits_line(e, "locks of the allocator", &l->waits[XS_LOCK_CPU]);
    waits_line(e, "locks of the GPU cache", &l->waits[XS_LOCK_GPU]);
}

/* ---- JSON ------------------------------------------------------------------------------- */

static void calls_json(struct xs_emit *e, const char *key, const struct xs_latency_calls *c)
{
    unsigned bins = XS_LATENCY_BINS;

    if (c->samples == 0) {
        xs_emit_string(e, key, NULL);
        return;
    }
    while (bins > 0 && c->bin[bins - 1] == 0)
        bins--;
    xs_emit_object(e, key);
    xs_emit_u64(e, "samples", c->samples);
    xs_emit_u64(e, "calls", c->calls);
    xs_emit_u64(e, "p50_ns", xs_latency_permille(c, 500));
    xs_emit_u64(e, "p99_ns", xs_latency_permille(c, 990));
    xs_emit_u64(e, "p999_ns", xs_latency_permille(c, 999));
    xs_emit_u64(e, "max_ns", c->max_ns);
    xs_emit_array(e, "bins", true);
    for (unsigned b = 0; b < bins; b++)
        xs_emit_u64(e, NULL, c->bin[b]);
    xs_emit_end(e);
    xs_emit_end(e);
}

static void waits_json(struct xs_emit *e, const char *key, const struct xs_latency_waits *w)
{
    xs_emit_object(e, key);
    xs_emit_u64(e, "count", w->count);
    xs_emit_u64(e, "ns", w->ns);
    xs_emit_u64(e, "max_ns", w->max_ns);
    xs_emit_end(e);
}

static bool is_empty(const struct xs_latency *l)
{
    uint64_t any = 0;

    for (unsigned k = 0; k < XS_LATENCY_KINDS; k++)
        any |= l->of[k].samples;
    for (unsigned k = 0; k < XS_LOCK_KINDS; k++)
        any |= l->waits[k].count;
    return any == 0;
}

void xs_render_latency_json(struct xs_emit *e, const struct xs_latency *l)
{
    if (is_empty(l)) {
        xs_emit_string(e, "latency", NULL);
        return;
    }
    xs_emit_object(e, "latency");
    for (unsigned k = 0; k < XS_LATENCY_KINDS; k++)
        calls_json(e, kinds[k], &l->of[k]);
    waits_json(e, "lock_waits", &l->waits[XS_LOCK_CPU]);
    waits_json(e, "gpu_lock_waits", &l->waits[XS_LOCK_GPU]);
    xs_emit_end(e);
}
