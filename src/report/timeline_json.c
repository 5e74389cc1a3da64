/* The timeline as JSON: columns of equal length. */
#include "report/render.h"
#include "report/timeline.h"

static void head_column(struct xs_emit *e, const struct xs_timeline *t, const char *key,
                        size_t offset)
{
    xs_emit_array(e, key, true);
    for (uint64_t i = 0; i < t->count; i++)
        xs_emit_known(e, NULL,
                      *(const uint64_t *)(const void *)((const char *)&t->point[i] + offset));
    xs_emit_end(e);
}

static void gpu_column(struct xs_emit *e, const struct xs_timeline_gpu *g, uint64_t count,
                       const char *key, size_t offset)
{
    xs_emit_array(e, key, true);
    for (uint64_t i = 0; i < count; i++)
        xs_emit_known(e, NULL,
                      *(const uint64_t *)(const void *)((const char *)&g->point[i] + offset));
    xs_emit_end(e);
}

static void device(struct xs_emit *e, const struct xs_timeline_gpu *g, uint64_t count)
{
    xs_emit_object(e, NULL);
    xs_emit_u64(e, "device", g->device);
#define X(name, unit, help)                                                                        \
    gpu_column(e, g, count, #name, offsetof(struct xs_timeline_gpu_point, name));
    XS_TIMELINE_GPU_FIELDS(X)
#undef X
    xs_emit_end(e);
}

void xs_render_timeline_json(struct xs_emit *e, const struct xs_report *r)
{
    const struct xs_timeline *t = r->timeline;

    if (t == NULL || t->count == 0) {
        xs_emit_string(e, "timeline", NULL);
        return;
    }
    xs_emit_object(e, "timeline");
    xs_emit_u64(e, "interval_ns", t->interval_ns);
#define X(name, unit, help) head_column(e, t, #name, offsetof(struct xs_timeline_point, name));
    XS_TIMELINE_FIELDS(X)
#undef X
    xs_emit_array(e, "gpu", false);
    for (unsigned d = 0; d < XS_REPORT_GPUS && r->timeline_gpu[d] != NULL; d++)
        device(e, r->timeline_gpu[d], t->count);
    xs_emit_end(e);
    xs_emit_end(e);
}
