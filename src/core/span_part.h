/* core/span_part.h - what core/span.c and core/give_back.c share of core/span.h.
 * Threads: a part's `bfc` under its lock; the rest as said. Everything else as core/span.h.
 */
#ifndef XS_CORE_SPAN_PART_H
#define XS_CORE_SPAN_PART_H

#include <stdatomic.h>

#include "core/span.h"
#include "sys/lock.h"

/* Ranges that are on their way to the system at one time. */
#define XS_SPAN_OUT 32

struct xs_span_part {
    _Alignas(XS_NO_SHARE) struct xs_lock lock;
    atomic_bool is_growing;
    bool fork_took_lock;
    unsigned out_count;
    struct xs_bfc bfc;
    /* Under the lock: a child puts back what the giver had out. */
    struct xs_bfc_range out[XS_SPAN_OUT];
};

struct xs_span_state {
    unsigned parts;
    uint64_t decay_ns;
    uint64_t limit_bytes; /* of all parts */
    bool is_limited;
    bool is_barred;
    atomic_bool is_giving;
    _Atomic uintptr_t giver; /* its thread pointer */
    _Atomic uint64_t next_look_ns;
    _Atomic uint64_t hurried_most;   /* of xs_span_hurry */
    _Atomic uint64_t reserved_bytes; /* of all parts */
    struct xs_span_part *part;       /* one for each; the first where there are no more */
};

extern XS_HIDDEN struct xs_span_state xs_spans;

uint64_t xs_span_now_ns(void);

/* A region goes back, with no lock held. */
void xs_span_unmap(void *p, size_t size);

/* Whole free regions go back, however young; the bytes. */
size_t xs_span_collect(struct xs_span_part *s);

#endif
