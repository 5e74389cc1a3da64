#include "backend/counted.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include "backend/hardened.h"
#include "core/heap.h"
#include "core/pressure.h"

/* Counts into the thread's own slot if it can have one, else atomically into the shared one. */
void xs_count_request_slow(enum xs_owner owner, size_t size)
{
    struct xs_slot *slot = xs_stats_attach();

    if (slot != NULL) {
        xs_count_into(&slot->by_owner[owner], size);
    } else {
        struct xs_counters *c = xs_stats_late(owner);
        XS_COUNT_LATE(c->requested_bytes, size);
        XS_COUNT_LATE(c->size_bin[xs_size_bin(size)], 1);
    }
}

void xs_count_free_slow(enum xs_owner owner)
{
    struct xs_slot *slot = xs_stats_attach();

    if (slot != NULL)
        XS_COUNT(slot->by_owner[owner].frees, 1);
    else
        XS_COUNT_LATE(xs_stats_late(owner)->frees, 1);
}

void xs_count_realloc_slow(enum xs_owner owner, size_t size)
{
    struct xs_slot *slot = xs_stats_attach();

    xs_count_request_slow(owner, size);
    if (slot != NULL)
        XS_COUNT(slot->by_owner[owner].reallocs, 1);
    else
        XS_COUNT_LATE(xs_stats_late(owner)->reallocs, 1);
}

void xs_count_failure(enum xs_owner owner, bool of_realloc, size_t size)
{
    struct xs_slot *slot = xs_stats_attach();
    struct xs_counters *c = slot != NULL ? &slot->by_owner[owner] : xs_stats_late(owner);

    if (of_realloc)
        XS_COUNT_LATE(c->realloc_failures, 1);
    else
        XS_COUNT_LATE(c->failures, 1);
    XS_COUNT_LATE(c->requested_bytes, 0 - (uint64_t)size);
    /* The bin's formula wraps around from 2^63 on. */
    if (size > XS_SIZE_MAX_REQUEST) {
        XS_COUNT_LATE(c->size_bin[xs_size_bin(size)], UINT64_MAX);
        XS_COUNT_LATE(c->size_bin[XS_SIZE_BIN_ZERO - 1], 1);
    }
    if (owner == XS_OWNER_SYSTEM) /* the others say so themselves, counted or not */
        xs_pressure_failed(size);
}

void *xs_count_no_block(enum xs_owner owner, size_t size)
{
    xs_count_failure(owner, false, size);
    return NULL;
}

void xs_count_no_failure(enum xs_owner owner, size_t size)
{
    struct xs_counters *c = xs_stats_late(owner);
    size_t bin = size > XS_SIZE_MAX_REQUEST ? XS_SIZE_BIN_ZERO - 1 : xs_size_bin(size);

    XS_COUNT_LATE(c->failures, UINT64_MAX);
    XS_COUNT_LATE(c->size_bin[bin], UINT64_MAX);
}

/* ---- on and off ------------------------------------------------------------------------- */

XS_SELDOM static struct xs_counted_switched own;
static bool is_off; /* own.off is for who reads the record, and does not outlive a fork */

static void own_counts(struct xs_counters *c)
{
    *c = (struct xs_counters){0};
    if (xs_backend_is_open(XS_OWNER_BFC)) {
        xs_heap_counters_add(c);
        c->frees += xs_hardened_waiting();
    }
}

/* There is somebody who reads it, or it was changed before. */
static bool is_known(void)
{
    return xs_record_mine() != NULL ||
           atomic_load_explicit(&own.changes, memory_order_relaxed) != 0;
}

void xs_counted_switch(bool on)
{
    static bool is_area;
    struct xs_counters now;

    if (on == !is_off)
        return;
    if (!is_area)
        is_area = xs_record_area(XS_RECORD_SWITCH, &own, sizeof(own));
    own_counts(&now);
    /* Off before anything was counted, as it is in most processes: nobody need know. */
    if (!on && !is_known() && memcmp(&own.then, &now, sizeof(now)) == 0) {
        is_off = true;
        return;
    }
    atomic_fetch_add_explicit(&own.changes, 1, memory_order_acq_rel);
    if (on) {
        xs_counters_add(&own.skipped, &now);
        xs_counters_sub(&own.skipped, &own.then);
    }
    own.then = now;
    own.off = is_off = !on;
    atomic_fetch_add_explicit(&own.changes, 1, memory_order_release);
}

/* What heaps counted that no record knows of is left as it is. */
void xs_counted_fork_child(void)
{
    struct xs_counters now;

    own_counts(&now);
    /* A page that stays as it is costs a small process nothing. */
    if (memcmp(&own.then, &now, sizeof(now)) == 0 && (own.off == is_off || !is_known()))
        return;
    own.then = own.skipped = now;
    own.off = is_off;
    atomic_store_explicit(&own.changes, 0, memory_order_release);
}

__attribute__((no_sanitize("thread"))) static void own_sum(struct xs_counters *sum)
{
    uint32_t before, tries = 0;

    /* Not for ever: it may have been interrupted by the caller. */
    do {
        before = atomic_load_explicit(&own.changes, memory_order_acquire);
        if (is_off)
            *sum = own.then;
        else
            own_counts(sum);
        xs_counters_sub(sum, &own.skipped);
        atomic_thread_fence(memory_order_acquire);
    } while (
        (before % 2 != 0 || before != atomic_load_explicit(&own.changes, memory_order_relaxed)) &&
        ++tries < 1000);
}

void xs_counted_sum(struct xs_counters sum[XS_OWNER_COUNT])
{
    struct xs_counters of_core;

    xs_stats_sum(sum);
    own_sum(&of_core);
    xs_counters_add(&sum[XS_OWNER_BFC], &of_core);
}
