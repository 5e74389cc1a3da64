#include "backend/counted.h"

#include <errno.h>
#include <string.h>

void xs_any_free(void *p)
{
    if (p != NULL)
        xs_hot.free_own[xs_owner_of(p)](p);
}

void xs_errno_keeping_free(void *p)
{
    int saved = errno;

    xs_hot.inner.free(p);
    errno = saved;
}

size_t xs_any_usable_size(void *p)
{
    return p != NULL ? xs_backends[xs_owner_of(p)]->usable_size(p) : 0;
}

/* `counted`: the request, by who served it. */
static void count_move(const struct xs_backend *from, const struct xs_backend *to, size_t size,
                       bool done, bool counted)
{
    struct xs_slot *slot = xs_stats_attach();
    struct xs_counters *c = slot != NULL ? &slot->by_owner[to->owner] : xs_stats_late(to->owner);
    struct xs_counters *old =
        slot != NULL ? &slot->by_owner[from->owner] : xs_stats_late(from->owner);

    /* Rare enough to be atomic in either case. */
    XS_COUNT_LATE(c->reallocs, 1);
    if (!done && counted)
        xs_count_no_failure(to->owner, size);
    if (!done || !counted) {
        XS_COUNT_LATE(c->requested_bytes, size);
        XS_COUNT_LATE(c->size_bin[xs_size_bin(size)], 1);
    }
    if (done) {
        XS_COUNT_LATE(c->moved_in, 1);
        XS_COUNT_LATE(old->moved_out, 1);
        if (from->uncount_move != NULL)
            XS_COUNT_LATE(old->frees, UINT64_MAX);
    } else {
        XS_COUNT_LATE(c->realloc_failures, 1);
        XS_COUNT_LATE(c->requested_bytes, 0 - (uint64_t)size);
    }
}

static void *move(void *p, size_t size, const struct xs_backend *from, const struct xs_backend *to)
{
    void *q = to->calls(false)->malloc(size);

    if (q != NULL) {
        size_t old = from->usable_size(p);
        memcpy(q, p, old < size ? old : size);
        from->free_own(p);
    }
    /* Of the core's last resort it is not what was asked. */
    if (xs_hot.counting)
        count_move(from, q != NULL ? xs_backends[xs_owner_of(q)] : to, size, q != NULL,
                   to->uncount_move != NULL);
    return q;
}

void *xs_any_realloc(void *p, size_t size)
{
    enum xs_owner from = xs_owner_of(p);
    enum xs_owner to = xs_step_for(size)->owner;

    if (from == to)
        return xs_hot.realloc_own[from](p, size);
    if (from == XS_OWNER_SYSTEM && xs_heap_has_lent()) {
        void *q = xs_backends[from]->realloc_own(p, size);
        if (q != NULL && xs_hot.counting)
            count_move(xs_backends[from], xs_backends[from], size, true, false);
        if (q != NULL)
            return q;
    }
    return move(p, size, xs_backends[from], xs_backends[to]);
}

static void *routed_malloc(size_t size)
{
    return xs_step_for(size)->calls->malloc(size);
}

static void *routed_zalloc(size_t size)
{
    return xs_step_for(size)->calls->zalloc(size);
}

static void *routed_memalign(size_t align, size_t size)
{
    const struct xs_step *s = xs_step_for(size);

    /* Then the largest sizes are another's, who knows no such bound. */
    if (s->owner == XS_OWNER_MIMALLOC && align > xs_hot.mimalloc.align_max)
        s = xs_step_for(SIZE_MAX);
    return s->calls->memalign(align, size);
}

const struct xs_calls xs_routed_calls = {
    .malloc = routed_malloc,
    .zalloc = routed_zalloc,
    .realloc = xs_any_realloc,
    .memalign = routed_memalign,
    .free = xs_any_free,
};
