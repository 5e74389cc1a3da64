/* What `xsigma tune` tries. */
#include <stdio.h>
#include <string.h>

#include "backend/library.h"
#include "policy/config.h"
#include "report/advice.h"
#include "tool/input.h"
#include "tool/tool.h"
#include "tool/tune.h"

/* As a user would write them. */
static const char *const known_cpu[] = {
    "CPU_BACKEND=bfc", "CPU_BACKEND=mimalloc",         "CPU_BACKEND=system",
    "CPU_BACKEND=tbb", "CPU_ROUTE=<=64K:bfc,*:system", "CPU_BACKEND=bfc CPU_CACHE=64M",
};

static const char *const known_gpu[] = {
    "GPU_BACKEND=pool",  "GPU_BACKEND=bfc",    "GPU_BACKEND=direct", "GPU_CACHE_MAX=1G",
    "GPU_CACHE_MAX=64M", "PRESET=monte-carlo", "PRESET=pde",         "PRESET=risk",
};

static bool add_setting(struct xs_tune_candidate *c, const char *name, const char *value)
{
    struct xs_tune_setting *s = &c->setting[c->settings];

    if (c->settings == XS_TUNE_SETTINGS || strlen(name) >= sizeof(s->name) ||
        strlen(value) >= sizeof(s->value))
        return false;
    snprintf(s->name, sizeof(s->name), "%s", name);
    snprintf(s->value, sizeof(s->value), "%s", value);
    size_t len = strlen(c->label);
    snprintf(c->label + len, sizeof(c->label) - len, "%s%s=%s", len != 0 ? " " : "", name + 7,
             value);
    c->settings++;
    return true;
}

/* One word of it. */
static int parse(struct xs_tune_candidate *c, const char *word, size_t len)
{
    char text[256];
    XS_BUF(name, 96);
    enum xs_knob knob;
    int device;
    uint64_t ignored;

    snprintf(text, sizeof(text), "%.*s", (int)len, word);
    char *equals = strchr(text, '=');
    if (equals == NULL || len >= sizeof(text) ||
        !xs_config_find(text, (size_t)(equals - text), &knob, &device)) {
        xs_tool_error(
            "tune: --candidate: '%s' is no NAME=VALUE of a variable; 'xsigma vars' lists them",
            text);
        return XS_EXIT_USAGE;
    }
    if (device < 0)
        xs_put_str(&name, xs_knob_name(&xs_knob_rows[knob]));
    else
        xs_config_device_name(&name, (unsigned)device, knob);
    if (xs_config_parse(&xs_knob_rows[knob], equals + 1, &ignored) != 0) {
        XS_BUF(grammar, 512);
        xs_config_grammar(&grammar, &xs_knob_rows[knob]);
        xs_tool_error("tune: --candidate: '%s': %s", text, grammar.at);
        return XS_EXIT_USAGE;
    }
    if (add_setting(c, name.at, equals + 1))
        return 0;
    xs_tool_error("tune: --candidate: at most %d variables, values of at most %zu bytes",
                  XS_TUNE_SETTINGS, sizeof(c->setting[0].value) - 1);
    return XS_EXIT_USAGE;
}

static struct xs_tune_candidate *begin(struct xs_tune *t)
{
    if (t->candidates == XS_TUNE_CANDIDATES)
        return NULL;
    struct xs_tune_candidate *c = &t->candidate[t->candidates];
    *c = (struct xs_tune_candidate){0};
    return c;
}

/* Not twice, and not what the baseline is. */
static void keep(struct xs_tune *t, const struct xs_tune_candidate *c)
{
    bool is_new = false;
    enum xs_knob knob;
    int device;

    for (unsigned i = 1; i < t->candidates; i++)
        if (strcmp(t->candidate[i].label, c->label) == 0)
            return;
    for (unsigned i = 0; i < c->settings; i++) {
        const char *name = c->setting[i].name;
        if (!xs_config_find(name, strlen(name), &knob, &device) || device >= 0 ||
            strcmp(xs_config(knob)->text, c->setting[i].value) != 0)
            is_new = true;
    }
    t->candidates += is_new;
}

int xs_tune_add(struct xs_tune *t, const char *words)
{
    struct xs_tune_candidate *c = begin(t);

    if (c == NULL) {
        xs_tool_error("tune: at most %d candidates", XS_TUNE_CANDIDATES - 1);
        return XS_EXIT_USAGE;
    }
    for (size_t len; *(words += strspn(words, " ")) != '\0'; words += len) {
        len = strcspn(words, " ");
        int status = parse(c, words, len);
        if (status != 0)
            return status;
    }
    if (c->settings == 0) {
        xs_tool_error("tune: --candidate: NAME=VALUE is needed");
        return XS_EXIT_USAGE;
    }
    t->candidates++;
    return 0;
}

/* ---- by themselves ------------------------------------------------------------------------- */

static bool can_load(enum xs_knob library)
{
    XS_BUF(unused, 8);
    void *handle = xs_library_open(xs_config(library)->text, &unused);

    return handle != NULL && xs_mimalloc_suits(handle, &unused);
}

static void add_all(struct xs_tune *t, const char *const *known, size_t n)
{
    bool has_mimalloc = can_load(XS_KNOB_CPU_MIMALLOC_LIBRARY);
    bool has_tbb = can_load(XS_KNOB_CPU_TBB_LIBRARY);

    for (size_t i = 0; i < n; i++) {
        struct xs_tune_candidate *c = begin(t);
        unsigned had = t->candidates;
        if (c == NULL)
            return;
        if ((strstr(known[i], "mimalloc") != NULL && !has_mimalloc) ||
            (strstr(known[i], "tbb") != NULL && !has_tbb) || xs_tune_add(t, known[i]) != 0)
            continue;
        t->candidates = had;
        keep(t, c);
    }
}

void xs_tune_add_known(struct xs_tune *t)
{
    struct xs_inputs in = {0};
    bool has_gpu = t->objective == XS_TUNE_GPU_PEAK;

    if (xs_inputs_add(&in, t->directory) == 0)
        for (size_t i = 0; i < in.count; i++)
            has_gpu |= in.at[i].report.gpu_count != 0;
    if (t->objective != XS_TUNE_GPU_PEAK)
        add_all(t, known_cpu, XS_COUNT_OF(known_cpu));
    if (has_gpu)
        add_all(t, known_gpu, XS_COUNT_OF(known_gpu));
    xs_inputs_free(&in);
}

/* Of the process that asked for most; what the others advise would be of little weight. */
static const struct xs_input *heaviest(const struct xs_inputs *in)
{
    const struct xs_input *most = NULL;
    uint64_t most_bytes = 0;

    for (size_t i = 0; i < in->count; i++) {
        uint64_t bytes = 1;
        for (unsigned o = 0; o < XS_OWNER_COUNT; o++)
            bytes += in->at[i].report.counters[o].requested_bytes;
        for (unsigned d = 0; d < in->at[i].report.gpu_count; d++)
            bytes += in->at[i].report.gpu[d].stats.requested_bytes;
        if (bytes > most_bytes) {
            most = &in->at[i];
            most_bytes = bytes;
        }
    }
    return most;
}

static void add_advice(struct xs_tune *t, const struct xs_report *r)
{
    const struct xs_advice_from from = xs_advice_from(r);
    struct xs_tune_candidate all = {0};
    struct xs_advice a;
    unsigned at = 0;

    while (xs_advice_next(&from, &at, &a)) {
        struct xs_tune_candidate *c = begin(t);
        if (a.variable[0] == '\0')
            continue;
        if (c == NULL)
            return;
        if (add_setting(c, a.variable, a.suggested))
            keep(t, c);
        (void)add_setting(&all, a.variable, a.suggested);
    }
    struct xs_tune_candidate *c = begin(t);
    if (all.settings > 1 && c != NULL) {
        *c = all;
        keep(t, c);
    }
}

void xs_tune_add_advised(struct xs_tune *t)
{
    struct xs_inputs in = {0};

    if (xs_inputs_add(&in, t->directory) == 0) {
        const struct xs_input *i = heaviest(&in);
        if (i != NULL) {
            xs_input_settings(i);
            add_advice(t, &i->report);
        }
    }
    xs_inputs_free(&in);
}
