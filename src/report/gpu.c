#include "report/gpu.h"

#include <string.h>

#include "policy/config.h"
#include "report/cells.h"

/* Ends of the columns; the first two and the first word of the fourth stand under MEMORY's. */
enum { RESERVED = 22, PEAK = 36, IN_USE = 48, CACHED = 58, CALLS = 68, HITS = 78 };

bool xs_report_gpu_get(unsigned device, struct xs_report_gpu *out, bool may_lock)
{
    const struct xs_gpu_stats *s = &out->stats;

    *out = (struct xs_report_gpu){.device = device};
    if (!xs_gpu_stats_get(device, &out->stats, may_lock))
        return false;
    return (s->allocations | s->frees | s->bad_frees | s->pinned_allocations |
            s->managed_allocations | s->async_allocations | s->vmm_allocations |
            s->array_allocations | s->graph_allocations | s->reserved_bytes_peak) != 0;
}

/* ---- text ------------------------------------------------------------------------------- */

void xs_report_gpu_head(struct xs_emit *e)
{
    xs_emit_left(e, 0, "GPU");
    xs_emit_right(e, RESERVED, "reserved");
    xs_emit_right(e, PEAK, "peak");
    xs_emit_right(e, IN_USE, "in use");
    xs_emit_right(e, CACHED, "cached");
    xs_emit_right(e, CALLS, "calls");
    xs_emit_right(e, HITS, "hits");
    xs_emit_line(e);
}

/* A line below the device's row, broken only after a comma; nothing is printed of an empty one. */
static void put_line(struct xs_emit *e, struct xs_buf *b)
{
    char *phrase = b->at;

    if (b->len == 0)
        return;
    xs_put_pad(&e->line, 4);
    e->indent = 6;
    while (phrase != NULL) {
        char *end = strstr(phrase, ", ");
        if (end != NULL)
            end[1] = '\0';
        xs_emit_item(e, 1, phrase);
        phrase = end != NULL ? end + 2 : NULL;
    }
    xs_emit_line(e);
    e->indent = 2;
    xs_buf_clear(b);
}

/* "12 evictions" after a comma, or nothing of zero. */
static void put_some(struct xs_buf *b, const char *before, uint64_t n, const char *what)
{
    if (n == 0)
        return;
    xs_put_str(b, b->len == 0 || b->at[b->len - 1] == ' ' ? "" : ", ");
    if (before != NULL)
        xs_put_str(b, before);
    xs_put_number(b, n);
    xs_fmt(b, " %s", what);
}

static void put_level(struct xs_buf *b, const char *what, uint64_t now, uint64_t peak)
{
    xs_fmt(b, ", %s ", what);
    xs_put_bytes(b, now);
    xs_put_str(b, " (at most ");
    xs_put_bytes(b, peak);
    xs_put_char(b, ')');
}

static void put_permille(struct xs_buf *b, double part)
{
    unsigned permille = (unsigned)(part * 1000); /* rounded down: 100.0% is all of them */

    xs_fmt(b, "%u.%u%%", permille / 10, permille % 10);
}

static void row(struct xs_emit *e, const struct xs_report_gpu *g)
{
    const struct xs_gpu_stats *s = &g->stats;
    XS_BUF(cell, 24);

    xs_fmt(&cell, "%u", g->device);
    xs_emit_left(e, 2, cell.at);
    xs_cell_bytes(e, RESERVED, s->reserved_bytes);
    xs_cell_bytes(e, PEAK, s->reserved_bytes_peak);
    xs_cell_bytes(e, IN_USE, s->in_use_bytes);
    xs_cell_bytes(e, CACHED, s->cached_bytes);
    xs_cell_number(e, CALLS, s->allocations);
    xs_buf_clear(&cell);
    if (xs_report_gpu_asked(g) == 0)
        xs_put_char(&cell, '-');
    else
        put_permille(&cell, xs_gpu_hit_rate(s));
    xs_emit_right(e, HITS, cell.at);
    xs_emit_line(e);
}

static void memory(struct xs_emit *e, const struct xs_gpu_stats *s, struct xs_buf *b)
{
    xs_fmt(b, "by %s, at most ", s->backend != NULL ? s->backend : "unknown");
    xs_put_bytes(b, s->in_use_bytes_peak);
    xs_put_str(b, " in use, ");
    xs_put_bytes(b, s->cached_bytes_peak);
    xs_put_str(b, " cached (limit ");
    xs_put_bytes(b, s->cache_max_bytes);
    xs_put_str(b, "), largest request ");
    xs_put_bytes(b, s->largest_request_bytes);
    put_line(e, b);
    if (s->slabs == 0 && s->slabs_given_back == 0)
        return;
    xs_fmt(b, "slabs: %lu held, %lu given back, the largest free piece ", (unsigned long)s->slabs,
           (unsigned long)s->slabs_given_back);
    xs_put_bytes(b, s->largest_free_bytes);
    xs_fmt(b, " (%.0f%% fragmented)", s->fragmentation * 100);
    put_line(e, b);
}

static void calls(struct xs_emit *e, const struct xs_gpu_stats *s, struct xs_buf *b)
{
    if ((s->misses_cold | s->misses_evicted | s->misses_size | s->misses_stream) != 0) {
        xs_put_str(b, "misses: ");
        put_some(b, NULL, s->misses_cold, "cold");
        put_some(b, NULL, s->misses_evicted, "evicted");
        put_some(b, NULL, s->misses_size, "of another size");
        put_some(b, NULL, s->misses_stream, "still at work");
        put_line(e, b);
    }
    xs_put_str(b, "driver: ");
    xs_put_number(b, s->driver_mallocs);
    xs_put_str(b, " allocations, ");
    xs_put_number(b, s->driver_frees);
    xs_put_str(b, " frees, ");
    xs_put_duration(b, s->driver_ns);
    put_some(b, NULL, s->evictions, "evictions");
    put_some(b, NULL, s->flushes, "flushes");
    put_some(b, NULL, s->syncs, "waits in frees");
    put_some(b, NULL, s->events, "events");
    put_line(e, b);
    if ((s->failures | s->ooms | s->bad_frees) == 0)
        return;
    xs_put_str(b, "failed: ");
    put_some(b, NULL, s->failures, "allocations");
    put_some(b, NULL, s->ooms, "of these for want of memory");
    if (s->ooms != 0) {
        xs_put_str(b, " (the last of ");
        xs_put_bytes(b, s->last_oom_bytes);
        xs_put_char(b, ')');
    }
    put_some(b, NULL, s->bad_frees, "frees of what was no block");
    put_line(e, b);
}

static void others(struct xs_emit *e, const struct xs_gpu_stats *s, struct xs_buf *b)
{
    if (s->pinned_allocations != 0) {
        put_some(b, "pinned: ", s->pinned_allocations, "calls, hits ");
        put_permille(b, (double)s->pinned_hits / (double)s->pinned_allocations);
        put_level(b, "in use", s->pinned_in_use_bytes, s->pinned_in_use_bytes_peak);
        put_level(b, "cached", s->pinned_cached_bytes, s->pinned_cached_bytes_peak);
        put_line(e, b);
    }
    if (s->managed_allocations != 0) {
        put_some(b, "managed: ", s->managed_allocations, "calls");
        put_level(b, "in use", s->managed_in_use_bytes, s->managed_in_use_bytes_peak);
        put_line(e, b);
    }
    if (s->managed_moved_back_bytes != 0) {
        xs_put_bytes(b, s->managed_moved_back_bytes);
        xs_put_str(b, " of managed blocks moved to the host: the device was short");
        put_line(e, b);
    }
    if (s->async_allocations != 0) {
        put_some(b, "stream-ordered, passed through: ", s->async_allocations, "calls of ");
        xs_put_bytes(b, s->async_bytes);
        put_level(b, "in use", s->async_in_use_bytes, s->async_in_use_bytes_peak);
        put_line(e, b);
    }
    if (s->vmm_allocations != 0) {
        put_some(b, "cuMemCreate, passed through: ", s->vmm_allocations, "calls of ");
        xs_put_bytes(b, s->vmm_bytes);
        put_level(b, "in use", s->vmm_in_use_bytes, s->vmm_in_use_bytes_peak);
        put_line(e, b);
    }
    if ((s->array_allocations | s->graph_allocations) == 0)
        return;
    xs_put_str(b, "passed through: ");
    put_some(b, NULL, s->array_allocations, "arrays");
    put_some(b, NULL, s->graph_allocations, "nodes of graphs of ");
    if (s->graph_allocations != 0)
        xs_put_bytes(b, s->graph_bytes);
    put_line(e, b);
}

void xs_report_gpu_text(struct xs_emit *e, const struct xs_report_gpu *g)
{
    XS_BUF(b, 320);

    row(e, g);
    memory(e, &g->stats, &b);
    calls(e, &g->stats, &b);
    others(e, &g->stats, &b);
}

/* ---- JSON ------------------------------------------------------------------------------- */

void xs_report_gpu_json(struct xs_emit *e, const struct xs_report_gpu *g)
{
    const struct xs_gpu_stats *s = &g->stats;

    xs_emit_object(e, NULL);
    xs_emit_u64(e, "device", g->device);
    xs_emit_string(e, "backend", s->backend);
#define X(name, unit, help) xs_emit_u64(e, #name, s->name);
    XS_GPU_COUNTER_FIELDS(X)
#undef X
#define X(name, unit, help)                                                                        \
    xs_emit_u64(e, #name, s->name);                                                                \
    xs_emit_u64(e, #name "_peak", s->name##_peak);
    XS_GPU_LEVEL_FIELDS(X)
#undef X
    xs_emit_u64(e, "largest_request_bytes", s->largest_request_bytes);
    xs_emit_u64(e, "last_oom_bytes", s->last_oom_bytes);
    xs_emit_u64(e, "cache_max_bytes", s->cache_max_bytes);
    xs_emit_u64(e, "largest_free_bytes", s->largest_free_bytes);
    xs_emit_u64(e, "fragmentation_permille", (uint64_t)(s->fragmentation * 1000));
    xs_emit_u64(e, "slabs", s->slabs);
    xs_emit_u64(e, "slabs_given_back", s->slabs_given_back);
    if (xs_report_gpu_asked(g) == 0)
        xs_emit_string(e, "hit_permille", NULL);
    else
        xs_emit_u64(e, "hit_permille", xs_report_whole(xs_gpu_hit_rate(s) * 1000));
    xs_emit_end(e);
}
