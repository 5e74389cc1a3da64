/* stats/latency.h - how long malloc and free take, from a sample of the calls, and what was waited
 * for locks (sys/lock.h).
 *
 * Each timed call stands for all calls of its kind that the sampler has passed since the last one,
 * so that percentiles are of calls, whatever their sizes and however unevenly the sample lies:
 * core/heap_time.c chooses by bytes and then by chance, before it is known whether the call will
 * be fast, and where nothing is allocated by frees; backend/sampled.c by bytes alone, and weighs by
 * that. What is left of a bias: of threads that allocate little few calls are seen; a call of the
 * core's that is timed comes by its slow door, whose few instructions are not counted.
 *
 * Units:   nanoseconds, less what the reading of the clock itself takes; calls.
 * Owns:    one page of counts, an area of the record.
 * Threads: any; counts are added to atomically, which happens once in thousands of calls.
 * Context: inside malloc. Allocates: never. Errors: none.
 */
#ifndef XS_STATS_LATENCY_H
#define XS_STATS_LATENCY_H

#include "base/compiler.h"
#include "sys/lock.h"
#include "sys/record.h"

/* Four bins to a doubling: a bin ends at most a quarter above where it begins. The last one, from
 * 2^40 on, has no end. */
#define XS_LATENCY_BINS 160

enum xs_latency_kind { XS_LATENCY_MALLOC, XS_LATENCY_FREE, XS_LATENCY_KINDS };

struct xs_latency_calls {
    uint64_t samples;
    uint64_t calls; /* that the samples stand for */
    uint64_t max_ns;
    uint64_t bin[XS_LATENCY_BINS]; /* of calls */
};

struct xs_latency_waits {
    uint64_t count; /* every one of them */
    uint64_t ns;
    uint64_t max_ns;
};

/* A snapshot. */
struct xs_latency {
    struct xs_latency_calls of[XS_LATENCY_KINDS];
    struct xs_latency_waits waits[XS_LOCK_KINDS];
};

/* The area of the record. */
struct xs_latency_counts {
    _Alignas(XS_RECORD_PAGE) struct xs_latency_calls of[XS_LATENCY_KINDS];
    struct xs_lock_waits waits[XS_LOCK_KINDS];
};

/* Who times calls: the own core its own, or the sampler in front of all back ends theirs; waits for
 * locks are counted with either. Off until it is said. */
enum xs_latency_where { XS_LATENCY_OFF, XS_LATENCY_IN_CORE, XS_LATENCY_IN_FRONT };
extern XS_HIDDEN bool xs_latency_is_in_core;
extern XS_HIDDEN bool xs_latency_is_in_front;
void xs_latency_switch(enum xs_latency_where where);

/* Becomes an area of the record. Once, before that is made. */
void xs_latency_record(void);

/* The clock, and a call that took from one reading of it to the other. */
uint64_t xs_latency_now(void);
void xs_latency_note(enum xs_latency_kind kind, uint64_t from, uint64_t to, uint64_t stands_for);

/* What was counted so far. */
void xs_latency_get(struct xs_latency *out);

/* ---- pure functions ---- */

unsigned xs_latency_bin(uint64_t ns);
uint64_t xs_latency_bin_end(unsigned bin); /* the first that is no more in it */

/* A time that so many thousandths of the calls did not exceed: the end of the bin, or the longest.
 * 0: nothing was timed. */
uint64_t xs_latency_permille(const struct xs_latency_calls *c, unsigned permille);

void xs_latency_calls_add(struct xs_latency_calls *sum, const struct xs_latency_calls *c);
void xs_latency_add(struct xs_latency *sum, const struct xs_latency *l);

#endif
