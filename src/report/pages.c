#include "report/pages.h"

#include "policy/config.h"
#include "report/cells.h"
#include "report/emit.h"
#include "report/pressure.h"
#include "sys/proc.h"

void xs_report_pages_get(struct xs_report_pages *p)
{
    *p = (struct xs_report_pages){.parts = xs_numa_parts(), .nodes = xs_numa_count()};
    xs_supply_stats(&p->supply);
    xs_pressure_stats(&p->pressure);
    if (xs_config(XS_KNOB_CPU_HUGE_PAGES)->num > XS_HUGE_AUTO || p->supply.huge.got != 0 ||
        p->supply.explicit_bytes != 0)
        xs_proc_huge(&p->resident_bytes, &p->huge_bytes);
    if (xs_config(XS_KNOB_CPU_NUMA)->num != XS_NUMA_OFF && p->nodes > 1)
        xs_proc_nodes(p->node_bytes);
}

static void line(struct xs_emit *e, const struct xs_buf *b)
{
    xs_emit_left(e, 2, "");
    xs_emit_words(e, b->at);
    xs_emit_line(e);
}

static void huge_line(struct xs_emit *e, const struct xs_report_pages *p)
{
    XS_BUF(b, 200);

    if (p->resident_bytes == 0)
        return;
    xs_put_str(&b, "huge pages: ");
    xs_put_bytes(&b, p->huge_bytes);
    xs_put_str(&b, " of ");
    xs_put_bytes(&b, p->resident_bytes);
    xs_fmt(&b, " resident (%.0f%%)", (double)p->huge_bytes * 100.0 / (double)p->resident_bytes);
    if (p->supply.explicit_bytes != 0) {
        xs_put_str(&b, ", explicit ");
        xs_put_bytes(&b, p->supply.explicit_bytes);
    }
    if (p->supply.explicit_refused_bytes != 0) {
        xs_put_str(&b, "; explicit ones were not there for ");
        xs_put_bytes(&b, p->supply.explicit_refused_bytes);
        xs_put_str(&b, " (vm.nr_hugepages)");
    }
    line(e, &b);
}

const char *xs_report_pages_verdict(enum xs_huge_verdict verdict)
{
    switch (verdict) {
    case XS_HUGE_CHEAP:
        return "cheap";
    case XS_HUGE_DEAR:
        return "dear";
    case XS_HUGE_SPARSE:
        return "sparse";
    case XS_HUGE_REFUSED:
        return "refused";
    default:
        return "untried";
    }
}

/* What `auto` found, where it looked. */
static void found_line(struct xs_emit *e, const struct xs_huge_stats *h)
{
    XS_BUF(b, 240);

    if (h->small_ns == 0)
        return;
    xs_fmt(&b, "huge pages, auto: %lu got", (unsigned long)h->got);
    if (h->got != 0) {
        xs_put_str(&b, " at ");
        xs_put_duration(&b, h->got_ns / h->got);
    }
    xs_put_str(&b, " (small ones ");
    xs_put_duration(&b, h->small_ns);
    xs_put_char(&b, ')');
    if (h->dear != 0)
        xs_fmt(&b, ", %lu dear", (unsigned long)h->dear);
    if (h->verdict == XS_HUGE_SPARSE)
        xs_fmt(&b, "; %u%% of memory untouched", (1000 - h->touched_permille) / 10);
    if (h->verdict == XS_HUGE_REFUSED)
        xs_put_str(&b, "; the kernel gave small ones");
    line(e, &b);
}

static void node_line(struct xs_emit *e, const struct xs_report_pages *p)
{
    XS_BUF(b, 320);

    if (p->nodes < 2)
        return;
    xs_put_str(&b, "nodes:");
    for (unsigned n = 0; n < XS_NUMA_NODES; n++) {
        if (p->node_bytes[n] == 0)
            continue;
        xs_fmt(&b, " %u has ", n);
        xs_put_bytes(&b, p->node_bytes[n]);
        xs_put_char(&b, ';');
    }
    xs_fmt(&b, " %u of %u have an arena of their own", p->parts > 1 ? p->parts : 0, p->nodes);
    line(e, &b);
}

static void prefault_line(struct xs_emit *e, const struct xs_report_pages *p)
{
    XS_BUF(b, 160);

    if (p->supply.prefault_bytes == 0)
        return;
    xs_put_str(&b, "prefault: ");
    xs_put_bytes(&b, p->supply.prefault_bytes);
    xs_put_str(&b, p->supply.prefault_locked_bytes != 0 ? ", locked, in " : " in ");
    xs_put_duration(&b, p->supply.prefault_ns);
    xs_put_str(&b, " at start");
    line(e, &b);
}

static void pressure_line(struct xs_emit *e, const struct xs_report_pages *p)
{
    const struct xs_pressure_stats *s = &p->pressure;
    XS_BUF(b, 240);

    if (s->shrinks == 0)
        return;
    xs_fmt(&b, "memory ran short: caches gave way %lu times, ", (unsigned long)s->shrinks);
    xs_put_bytes(&b, s->given_bytes);
    xs_fmt(&b, " in all; at most %lu.%lu%% of %s used", (unsigned long)(s->most_permille / 10),
           (unsigned long)(s->most_permille % 10), xs_report_pressure_of(s->last.of));
    line(e, &b);
}

void xs_report_pages_text(struct xs_emit *e, const struct xs_report_pages *p)
{
    huge_line(e, p);
    found_line(e, &p->supply.huge);
    node_line(e, p);
    prefault_line(e, p);
    pressure_line(e, p);
}

void xs_report_pages_json(struct xs_emit *e, const struct xs_report_pages *p)
{
    const struct xs_supply_stats *s = &p->supply;
    const struct xs_pressure_stats *q = &p->pressure;

    xs_emit_object(e, "memory_pages");
    xs_emit_u64(e, "charged_bytes", s->charged_bytes);
    xs_emit_u64(e, "charged_peak_bytes", s->charged_peak_bytes);
    xs_emit_u64(e, "limit_bytes", s->limit_bytes);
    xs_emit_u64(e, "refused", s->refused);
    xs_emit_u64(e, "resident_bytes", p->resident_bytes);
    xs_emit_u64(e, "huge_bytes", p->huge_bytes);
    xs_emit_u64(e, "explicit_bytes", s->explicit_bytes);
    xs_emit_u64(e, "explicit_refused_bytes", s->explicit_refused_bytes);
    xs_emit_object(e, "auto_huge");
    xs_emit_string(e, "verdict", xs_report_pages_verdict(s->huge.verdict));
    xs_emit_u64(e, "got", s->huge.got);
    xs_emit_u64(e, "dear", s->huge.dear);
    xs_emit_u64(e, "refused", s->huge.refused);
    xs_emit_u64(e, "got_ns", s->huge.got_ns);
    xs_emit_u64(e, "small_ns", s->huge.small_ns);
    xs_emit_u64(e, "touched_permille", s->huge.touched_permille);
    xs_emit_end(e);
    xs_emit_u64(e, "prefault_bytes", s->prefault_bytes);
    xs_emit_u64(e, "prefault_locked_bytes", s->prefault_locked_bytes);
    xs_emit_u64(e, "prefault_ns", s->prefault_ns);
    xs_emit_u64(e, "arenas", p->parts);
    xs_emit_array(e, "nodes", false);
    for (unsigned n = 0; n < XS_NUMA_NODES; n++) {
        if (p->node_bytes[n] == 0)
            continue;
        xs_emit_object(e, NULL);
        xs_emit_u64(e, "node", n);
        xs_emit_u64(e, "resident_bytes", p->node_bytes[n]);
        xs_emit_end(e);
    }
    xs_emit_end(e);
    xs_emit_object(e, "pressure");
    xs_emit_u64(e, "looks", q->looks);
    xs_emit_u64(e, "shrinks", q->shrinks);
    xs_emit_u64(e, "given_back_bytes", q->given_bytes);
    xs_emit_u64(e, "warnings", q->warnings);
    xs_emit_u64(e, "most_permille", q->most_permille);
    xs_emit_string(e, "of", q->last.limit_bytes != 0 ? xs_report_pressure_of(q->last.of) : NULL);
    xs_emit_u64(e, "limit_bytes", q->last.limit_bytes);
    xs_emit_u64(e, "used_bytes", q->last.used_bytes);
    xs_emit_u64(e, "stalled_percent_x100", q->last.stalled);
    xs_emit_end(e);
    xs_emit_end(e);
}
