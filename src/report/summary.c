#include "report/summary.h"

#include <string.h>

const struct xs_size_class xs_size_classes[XS_SIZE_CLASSES] = {
    {"16 B", 0, 16},
    {"64 B", 17, 64},
    {"256 B", 65, 256},
    {"1 KiB", 257, XS_KIB(1)},
    {"4 KiB", XS_KIB(1) + 1, XS_KIB(4)},
    {"64 KiB", XS_KIB(4) + 1, XS_KIB(64)},
    {"1 MiB", XS_KIB(64) + 1, XS_MIB(1)},
    {"1 MiB", XS_MIB(1) + 1, XS_UNKNOWN},
};

/* Every class ends at a power of two, so that no bin lies in two of them. */
static size_t class_of_bin(unsigned bin)
{
    size_t class = 0;

    if (bin == XS_SIZE_BIN_ZERO)
        return 0;
    while (class + 1 < XS_SIZE_CLASSES && ((uint64_t)1 << bin) > xs_size_classes[class].max_bytes)
        class ++;
    return class;
}

static bool is_used(const struct xs_counters *c)
{
    uint64_t any = 0;

#define X(name, unit, help) any |= c->name;
    XS_COUNTER_FIELDS(X)
#undef X
    for (size_t b = 0; b < XS_SIZE_BINS; b++)
        any |= c->size_bin[b];
    return any != 0;
}

bool xs_report_shows(const struct xs_report *r, enum xs_owner owner)
{
    return r->open[owner] && (r->active[owner] || is_used(&r->counters[owner]));
}

int64_t xs_report_live_blocks(const struct xs_report *r, enum xs_owner owner)
{
    int64_t live = xs_counters_live_blocks(&r->counters[owner]);

    if (r->not_counting_ns > 0 || !r->counting)
        return -1;
    /* Other threads at work during the sum can have their frees seen before their allocations. */
    return live < 0 ? 0 : live;
}

static uint64_t add_known(uint64_t sum, uint64_t v)
{
    return sum == XS_UNKNOWN || v == XS_UNKNOWN ? XS_UNKNOWN : sum + v;
}

void xs_totals_of(const struct xs_report *r, struct xs_totals *t)
{
    *t = (struct xs_totals){0};
    for (enum xs_owner owner = 0; owner < XS_OWNER_COUNT; owner++) {
        int64_t live = xs_report_live_blocks(r, owner);

        if (!xs_report_shows(r, owner))
            continue;
        t->shown++;
        xs_counters_add(&t->counters, &r->counters[owner]);
        t->live_blocks = live < 0 || t->live_blocks < 0 ? -1 : t->live_blocks + live;
        t->in_use_bytes = add_known(t->in_use_bytes, r->memory[owner].in_use_bytes);
        t->reserved_bytes = add_known(t->reserved_bytes, r->memory[owner].reserved_bytes);
    }
    t->allocations = xs_counters_allocations(&t->counters);
    for (unsigned b = 0; b < XS_SIZE_BINS; b++) {
        t->class_calls[class_of_bin(b)] += t->counters.size_bin[b];
        t->requests += t->counters.size_bin[b];
    }
}

bool xs_config_differs(enum xs_knob knob)
{
    const struct xs_value *value = xs_config(knob);
    const struct xs_knob_row *row = &xs_knob_rows[knob];
    uint64_t def;

    if (value->source == XS_SOURCE_DEFAULT)
        return false;
    if (row->type == XS_TYPE_TEXT || row->type == XS_TYPE_ROUTE || row->type == XS_TYPE_NODES)
        return strcmp(value->text, xs_knob_def(row)) != 0;
    return xs_config_parse(row, xs_knob_def(row), &def) != 0 || def != value->num;
}
