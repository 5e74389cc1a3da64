#include "report/advice.h"
#include "report/gpu.h"
#include "report/render.h"
#include "report/sites.h"
#include "report/summary.h"
#include "xsigma.h"

/* Every key is described in docs/report-json.md. */

static void process(struct xs_emit *e, const struct xs_report *r)
{
    const struct xs_value *preset = xs_config(XS_KNOB_PRESET);

    xs_emit_object(e, "process");
    xs_emit_string(e, "program", r->program);
    xs_emit_natural(e, "pid", r->pid);
    xs_emit_string(e, "host", r->host);
    xs_emit_natural(e, "rank", r->rank);
    xs_emit_string(e, "how", r->how);
    xs_emit_natural(e, "status", r->status);
    xs_emit_u64(e, "wall_ns", r->wall_ns);
    xs_emit_known(e, "user_ns", r->user_ns);
    xs_emit_known(e, "sys_ns", r->sys_ns);
    xs_emit_known(e, "rss_bytes", r->rss_bytes);
    xs_emit_known(e, "rss_peak_bytes", r->rss_peak_bytes);
    xs_emit_u64(e, "threads_total", r->threads_total);
    xs_emit_u64(e, "threads_now", r->threads_now);
    xs_emit_u64(e, "threads_peak", r->threads_peak);
    xs_emit_string(e, "preset", preset->num != 0 ? preset->text : NULL);
    xs_emit_bool(e, "passive", r->passive);
    xs_emit_string(e, "passive_owner", r->passive ? r->passive_owner : NULL);
    xs_emit_bool(e, "counting", r->counting);
    xs_emit_u64(e, "not_counting_ns", r->not_counting_ns);
    xs_emit_known(e, "levels_ns", r->levels_ns != 0 ? r->levels_ns : XS_UNKNOWN);
    xs_emit_u64(e, "not_recorded", r->not_recorded);
    xs_emit_end(e);
}

static void setting(struct xs_emit *e, const char *name, const struct xs_value *value,
                    const char *def)
{
    xs_emit_object(e, NULL);
    xs_emit_string(e, "name", name);
    xs_emit_string(e, "value", value->text);
    xs_emit_string(e, "source", xs_config_source_name(value->source));
    xs_emit_string(e, "default", def);
    xs_emit_end(e);
}

static void config(struct xs_emit *e)
{
    const struct xs_device_value *own;

    xs_emit_array(e, "config", false);
    for (enum xs_knob knob = 0; knob < XS_KNOB_COUNT; knob++)
        setting(e, xs_knob_name(&xs_knob_rows[knob]), xs_config(knob),
                xs_knob_def(&xs_knob_rows[knob]));
    for (size_t i = 0; (own = xs_config_device_value(i)) != NULL; i++) {
        XS_BUF(name, 80);
        xs_config_device_name(&name, own->device, own->knob);
        setting(e, name.at, &own->value, xs_config(own->knob)->text);
    }
    xs_emit_end(e);
}

static void warnings(struct xs_emit *e)
{
    const char *warning;

    xs_emit_array(e, "warnings", false);
    for (size_t i = 0; (warning = xs_config_warning(i)) != NULL; i++)
        xs_emit_string(e, NULL, warning);
    xs_emit_end(e);
}

static void counters(struct xs_emit *e, const struct xs_counters *c)
{
    xs_emit_u64(e, "allocations", xs_counters_allocations(c));
#define X(name, unit, help) xs_emit_u64(e, #name, c->name);
    XS_COUNTER_FIELDS(X)
#undef X
}

static void size_bins(struct xs_emit *e, const struct xs_counters *c)
{
    xs_emit_array(e, "size_bins", true);
    for (size_t b = 0; b < XS_SIZE_BINS; b++)
        xs_emit_u64(e, NULL, c->size_bin[b]);
    xs_emit_end(e);
}

static void core(struct xs_emit *e, const struct xs_report *r)
{
    const struct xs_heap_stats *s = &r->core;
    const struct xs_bfc_stats *b = &s->bfc;

    if (!r->has_core) {
        xs_emit_string(e, "core", NULL);
        return;
    }
    xs_emit_object(e, "core");
    xs_emit_u64(e, "failures", s->failures);
    xs_emit_u64(e, "largest_failure_bytes", s->largest_failure_bytes);
    xs_emit_u64(e, "last_failure_bytes", s->last_failure_bytes);
    xs_emit_u64(e, "lent", s->lent);
    xs_emit_u64(e, "limit_bytes", b->limit_bytes);
    xs_emit_u64(e, "heaps", s->heaps);
    xs_emit_u64(e, "slabs", s->slabs);
    xs_emit_u64(e, "chunks_in_use", b->chunks_in_use);
    xs_emit_u64(e, "chunks_free", b->chunks_free);
    xs_emit_u64(e, "chunk_bytes", b->in_use_bytes);
    xs_emit_u64(e, "chunk_peak_bytes", b->in_use_peak_bytes);
    xs_emit_u64(e, "largest_chunk_bytes", b->largest_allocation_bytes);
    xs_emit_u64(e, "free_bytes", b->free_bytes);
    xs_emit_u64(e, "largest_free_bytes", b->largest_free_bytes);
    xs_emit_u64(e, "purged_bytes", b->purged_bytes);
    xs_emit_u64(e, "arenas", b->arenas);
    xs_emit_u64(e, "regions", b->regions);
    xs_emit_u64(e, "growth_steps", b->growth_steps);
    xs_emit_u64(e, "growth_ns", s->growth_ns);
    xs_emit_u64(e, "collected_regions", b->collected);
    xs_emit_u64(e, "fragmentation_permille", (uint64_t)(b->fragmentation * 1000));
    xs_emit_array(e, "free_sizes", false);
    for (unsigned i = 0; i < XS_BFC_FREE_SIZES; i++) {
        if (r->core_free[i] == 0)
            continue;
        xs_emit_object(e, NULL);
        xs_emit_u64(e, "below_bytes", XS_BFC_FREE_BELOW(i));
        xs_emit_u64(e, "free_bytes", r->core_free[i]);
        xs_emit_end(e);
    }
    xs_emit_end(e);
    xs_emit_end(e);
}

static void backend(struct xs_emit *e, const struct xs_report *r, enum xs_owner owner)
{
    /* Nobody has asked a closed back end about its memory. */
    struct xs_backend_memory m = {XS_UNKNOWN, XS_UNKNOWN, XS_UNKNOWN, NULL};

    if (r->open[owner])
        m = r->memory[owner];
    xs_emit_object(e, NULL);
    xs_emit_string(e, "name", xs_backends[owner]->name);
    xs_emit_bool(e, "open", r->open[owner]);
    xs_emit_bool(e, "active", r->active[owner]);
    counters(e, &r->counters[owner]);
    xs_emit_natural(e, "live_blocks", xs_report_live_blocks(r, owner));
    xs_emit_known(e, "in_use_bytes", m.in_use_bytes);
    xs_emit_known(e, "reserved_bytes", m.reserved_bytes);
    xs_emit_known(e, "reserved_peak_bytes", m.reserved_peak_bytes);
    xs_emit_string(e, "memory_source", m.source);
    size_bins(e, &r->counters[owner]);
    xs_emit_end(e);
}

static void cpu(struct xs_emit *e, const struct xs_report *r, const struct xs_totals *t)
{
    xs_emit_object(e, "cpu");
    xs_emit_array(e, "backends", false);
    for (enum xs_owner owner = 0; owner < XS_OWNER_COUNT; owner++)
        backend(e, r, owner);
    xs_emit_end(e);
    xs_emit_object(e, "totals");
    counters(e, &t->counters);
    xs_emit_natural(e, "live_blocks", t->live_blocks);
    xs_emit_known(e, "in_use_bytes", t->in_use_bytes);
    xs_emit_known(e, "reserved_bytes", t->reserved_bytes);
    size_bins(e, &t->counters);
    xs_emit_end(e);
    core(e, r);
    xs_report_pages_json(e, &r->pages);
    xs_emit_end(e);
}

static void size_classes(struct xs_emit *e, const struct xs_totals *t)
{
    xs_emit_array(e, "size_classes", false);
    for (size_t i = 0; i < XS_SIZE_CLASSES; i++) {
        xs_emit_object(e, NULL);
        xs_emit_u64(e, "min_bytes", xs_size_classes[i].min_bytes);
        xs_emit_known(e, "max_bytes", xs_size_classes[i].max_bytes);
        xs_emit_u64(e, "calls", t->class_calls[i]);
        xs_emit_end(e);
    }
    xs_emit_end(e);
}

void xs_report_json(const struct xs_report *r, xs_sink *sink, void *arg)
{
    struct xs_emit e;
    struct xs_totals t;
    const struct xs_advice_from advice = xs_advice_from(r);

    xs_emit_open(&e, true, sink, arg);
    xs_totals_of(r, &t);
    xs_emit_object(&e, NULL);
    xs_emit_string(&e, "schema", "xsigma.stats/1");
    xs_emit_string(&e, "version", XSIGMA_VERSION);
    process(&e, r);
    xs_render_processes_json(&e, r);
    config(&e);
    warnings(&e);
    cpu(&e, r, &t);
    size_classes(&e, &t);
    xs_render_latency_json(&e, &r->latency);
    xs_emit_array(&e, "gpu", false);
    for (size_t i = 0; i < r->gpu_count; i++)
        xs_report_gpu_json(&e, &r->gpu[i]);
    xs_emit_end(&e);
    xs_render_timeline_json(&e, r);
    xs_sites_json(&e, r);
    xs_advice_json(&e, &advice);
    xs_emit_end(&e);
    xs_emit_close(&e);
}
