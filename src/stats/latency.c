#include "stats/latency.h"

#include "sys/proc.h"
#include "sys/record.h"

#define CALIBRATIONS 16

XS_SELDOM static struct xs_latency_counts own;

/* Ticks of the processor's clock are worked out from what went by since then. */
static struct {
    uint64_t ns;
    uint64_t ticks;
} start;

_Static_assert(sizeof(own) == XS_RECORD_PAGE, "one page");

XS_FORKED bool xs_latency_is_in_core;
XS_FORKED bool xs_latency_is_in_front;

void xs_latency_record(void)
{
    (void)xs_record_area(XS_RECORD_LATENCY, &own, sizeof(own));
}

void xs_latency_switch(enum xs_latency_where where)
{
    if (where != XS_LATENCY_OFF && start.ns == 0) {
        start.ns = xs_latency_now();
        start.ticks = xs_lock_ticks();
    }
    XS_CHANGE_TO(xs_latency_is_in_core, where == XS_LATENCY_IN_CORE);
    XS_CHANGE_TO(xs_latency_is_in_front, where == XS_LATENCY_IN_FRONT);
    struct xs_lock_waits *waits = where != XS_LATENCY_OFF ? own.waits : NULL;
    if (waits != xs_lock_waits)
        __atomic_store_n(&xs_lock_waits, waits, __ATOMIC_RELAXED);
}

uint64_t xs_latency_now(void)
{
    return xs_proc_now_ns();
}

/* The least that lies between two readings, plus one, as 0 means that it was not looked for. */
static uint64_t reading_ns(void)
{
    static uint64_t known;
    uint64_t least = __atomic_load_n(&known, __ATOMIC_RELAXED);

    if (XS_LIKELY(least != 0))
        return least - 1;
    least = UINT64_MAX;
    for (unsigned i = 0; i < CALIBRATIONS; i++) {
        uint64_t from = xs_latency_now();
        uint64_t ns = xs_latency_now() - from;
        least = ns < least ? ns : least;
    }
    __atomic_store_n(&known, least + 1, __ATOMIC_RELAXED);
    return least;
}

static void add(uint64_t *to, uint64_t n)
{
    (void)__atomic_fetch_add(to, n, __ATOMIC_RELAXED);
}

void xs_latency_note(enum xs_latency_kind kind, uint64_t from, uint64_t to, uint64_t stands_for)
{
    struct xs_latency_calls *c = &own.of[kind];
    uint64_t reading = reading_ns();
    uint64_t ns = to > from + reading ? to - from - reading : 0;
    uint64_t max = __atomic_load_n(&c->max_ns, __ATOMIC_RELAXED);

    add(&c->samples, 1);
    add(&c->calls, stands_for);
    add(&c->bin[xs_latency_bin(ns)], stands_for);
    while (ns > max && !__atomic_compare_exchange_n(&c->max_ns, &max, ns, true, __ATOMIC_RELAXED,
                                                    __ATOMIC_RELAXED))
        ;
}

/* ---- pure functions --------------------------------------------------------------------- */

/* 0 to 3 have bins of their own; from 4 on the two bits below the highest tell the quarter. */
unsigned xs_latency_bin(uint64_t ns)
{
    if (ns < 4)
        return (unsigned)ns;
    unsigned top = 63u - (unsigned)__builtin_clzll(ns);
    unsigned bin = 4 * (top - 1) + (unsigned)(ns >> (top - 2) & 3);
    return bin < XS_LATENCY_BINS ? bin : XS_LATENCY_BINS - 1;
}

uint64_t xs_latency_bin_end(unsigned bin)
{
    if (bin < 4)
        return bin + 1;
    unsigned top = bin / 4 + 1;
    return (uint64_t)(bin % 4 + 5) << (top - 2);
}

uint64_t xs_latency_permille(const struct xs_latency_calls *c, unsigned permille)
{
    double all = 0;
    double sum = 0;

    for (unsigned b = 0; b < XS_LATENCY_BINS; b++)
        all += (double)c->bin[b];
    if (all <= 0)
        return 0;
    for (unsigned b = 0; b < XS_LATENCY_BINS - 1; b++) {
        sum += (double)c->bin[b];
        if (sum * 1000 >= all * permille) {
            uint64_t end = xs_latency_bin_end(b) - 1;
            return end < c->max_ns ? end : c->max_ns;
        }
    }
    return c->max_ns;
}

static uint64_t larger(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

#define LOAD(v) __atomic_load_n(&(v), __ATOMIC_RELAXED)

void xs_latency_calls_add(struct xs_latency_calls *sum, const struct xs_latency_calls *c)
{
    sum->samples += LOAD(c->samples);
    sum->calls += LOAD(c->calls);
    sum->max_ns = larger(sum->max_ns, LOAD(c->max_ns));
    for (unsigned b = 0; b < XS_LATENCY_BINS; b++)
        sum->bin[b] += LOAD(c->bin[b]);
}

void xs_latency_add(struct xs_latency *sum, const struct xs_latency *l)
{
    for (unsigned k = 0; k < XS_LATENCY_KINDS; k++)
        xs_latency_calls_add(&sum->of[k], &l->of[k]);
    for (unsigned k = 0; k < XS_LOCK_KINDS; k++) {
        sum->waits[k].count += l->waits[k].count;
        sum->waits[k].ns += l->waits[k].ns;
        sum->waits[k].max_ns = larger(sum->waits[k].max_ns, l->waits[k].max_ns);
    }
}

void xs_latency_get(struct xs_latency *out)
{
    uint64_t ns = xs_latency_now() - start.ns;
    uint64_t ticks = xs_lock_ticks() - start.ticks;
    double ns_a_tick = ticks == 0 ? 0 : (double)ns / (double)ticks;

    *out = (struct xs_latency){0};
    for (unsigned k = 0; k < XS_LATENCY_KINDS; k++)
        xs_latency_calls_add(&out->of[k], &own.of[k]);
    for (unsigned k = 0; k < XS_LOCK_KINDS; k++)
        out->waits[k] = (struct xs_latency_waits){
            .count = LOAD(own.waits[k].count),
            .ns = (uint64_t)((double)LOAD(own.waits[k].ticks) * ns_a_tick),
            .max_ns = (uint64_t)((double)LOAD(own.waits[k].max_ticks) * ns_a_tick),
        };
}
