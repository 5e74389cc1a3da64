#include "backend/counted.h"

#include <errno.h>

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
}
