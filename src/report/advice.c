#include "report/advice.h"

static void put(char *mem, size_t cap, const char *text)
{
    struct xs_buf b;

    xs_buf_init(&b, mem, cap);
    xs_put_str(&b, text);
}

void xs_advice_suggest(struct xs_advice *a, int device, enum xs_knob knob, const char *suggested)
{
    const struct xs_value *v = xs_config(knob);
    struct xs_buf b;

    xs_buf_init(&b, a->variable, sizeof(a->variable));
    if (device >= 0 && xs_config_device((unsigned)device, knob) != v) {
        v = xs_config_device((unsigned)device, knob);
        xs_config_device_name(&b, (unsigned)device, knob);
    } else {
        xs_put_str(&b, xs_knob_name(&xs_knob_rows[knob]));
    }
    put(a->current, sizeof(a->current), v->text);
    put(a->suggested, sizeof(a->suggested), suggested);
}

void xs_advice_suggest_size(struct xs_advice *a, int device, enum xs_knob knob, uint64_t bytes)
{
    const struct xs_knob_row *row = &xs_knob_rows[knob];
    XS_BUF(text, 32);

    bytes = bytes < row->min ? row->min : bytes;
    xs_put_size(&text, bytes < row->max ? bytes : row->max);
    xs_advice_suggest(a, device, knob, text.at);
}

uint64_t xs_advice_permille(uint64_t part, uint64_t whole)
{
    return whole == 0 ? 0 : xs_report_whole((double)part * 1000.0 / (double)whole);
}

struct xs_advice_from xs_advice_from(const struct xs_report *r)
{
    return (struct xs_advice_from){
        .cpu = r->passive ? NULL : r,
        .gpu = r->gpu,
        .gpu_count = r->gpu_count,
        .wall_ns = r->wall_ns,
    };
}

bool xs_advice_try(const struct xs_advice_subject *s, struct xs_advice *out, bool is_below,
                   const char *id, const char *metric, uint64_t threshold,
                   xs_advice_measure *measure, xs_advice_advise *advise)
{
    uint64_t value;
    struct xs_buf why;

    if (!measure(s, &value) || (is_below ? value >= threshold : value <= threshold))
        return false;
    *out = (struct xs_advice){
        .id = id,
        .metric = metric,
        .device = s->gpu != NULL ? (int)s->gpu->device : -1,
        .value = value,
        .threshold = threshold,
    };
    xs_buf_init(&why, out->text, sizeof(out->text));
    return advise(s, out, &why);
}

/* *at counts the rules of the CPU first, then for each device all of a device's. */
bool xs_advice_next(const struct xs_advice_from *from, unsigned *at, struct xs_advice *out)
{
    const unsigned cpu_rules = xs_advice_cpu_rules;
    const unsigned gpu_rules = xs_advice_gpu_rules;
    struct xs_advice_subject s = {.from = from, .cpu = from->cpu};

    for (; *at < cpu_rules; (*at)++)
        if (from->cpu != NULL && xs_advice_cpu(*at, &s, out)) {
            (*at)++;
            return true;
        }
    while (*at - cpu_rules < gpu_rules * from->gpu_count) {
        unsigned i = (*at)++ - cpu_rules;
        s.gpu = &from->gpu[i / gpu_rules];
        xs_gpu_options_of(s.gpu->device, &s.options);
        if (xs_advice_gpu(i % gpu_rules, &s, out))
            return true;
    }
    return false;
}

/* ---- both forms --------------------------------------------------------------------------- */

void xs_advice_text(struct xs_emit *e, const struct xs_advice_from *from)
{
    struct xs_advice a;
    unsigned at = 0;
    bool any = false;

    while (xs_advice_next(from, &at, &a)) {
        XS_BUF(b, 640);

        if (!any) {
            xs_emit_left(e, 0, "ADVICE");
            xs_emit_line(e);
        }
        any = true;
        if (a.device >= 0)
            xs_fmt(&b, "GPU %d: ", a.device);
        xs_put_str(&b, a.text);
        if (a.variable[0] != '\0')
            xs_fmt(&b, ": %s=%s (now %s)", a.variable, a.suggested,
                   a.current[0] != '\0' ? a.current : "not set");
        xs_put_pad(&e->line, 2);
        e->indent = 4;
        xs_emit_words(e, b.at);
        xs_emit_line(e);
        e->indent = 2;
    }
}

static void string_or_null(struct xs_emit *e, const char *key, const char *text, bool there)
{
    xs_emit_string(e, key, there ? text : NULL);
}

void xs_advice_json(struct xs_emit *e, const struct xs_advice_from *from)
{
    struct xs_advice a;
    unsigned at = 0;

    xs_emit_array(e, "advice", false);
    while (xs_advice_next(from, &at, &a)) {
        bool names = a.variable[0] != '\0';

        xs_emit_object(e, NULL);
        xs_emit_string(e, "id", a.id);
        xs_emit_natural(e, "device", a.device);
        xs_emit_string(e, "metric", a.metric);
        xs_emit_u64(e, "value", a.value);
        xs_emit_u64(e, "threshold", a.threshold);
        xs_emit_string(e, "text", a.text);
        string_or_null(e, "variable", a.variable, names);
        string_or_null(e, "current", a.current, names);
        string_or_null(e, "suggested", a.suggested, names);
        xs_emit_end(e);
    }
    xs_emit_end(e);
}
