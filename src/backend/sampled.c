#include "backend/sampled.h"

#include "backend/hardened.h"
#include "backend/hot.h"
#include "sample/sample.h"
#include "stats/latency.h"

/* Of nothing, too, something is noted now and then. */
XS_INLINE size_t weight(size_t size)
{
    return size + (size == 0);
}

/* Who called us: sampled calls are jumped to. */
#define CALLER ((uintptr_t)__builtin_return_address(0))

/* A checked block says who asked for it, and that is not us. */
static void *note(void *p, size_t size, uintptr_t caller)
{
    if (p == NULL)
        return NULL;
    (void)xs_sample_take(p, size);
    return xs_hardened_is_on() ? xs_hardened_mark(p, XS_BLOCK_MALLOC, caller) : p;
}

/* Apart, so that the calls above need no stack frame. */
XS_COLD static void *malloc_noted(size_t size)
{
    bool is_timed = xs_latency_is_in_front;
    uint64_t from = is_timed ? xs_latency_now() : 0;
    void *p = xs_hot.beneath.malloc(size);

    if (is_timed && p != NULL)
        xs_latency_note(XS_LATENCY_MALLOC, from, xs_latency_now(),
                        xs_sample_stands_for(weight(size)));
    return note(p, size, CALLER);
}

static void *sampled_malloc(size_t size)
{
    return xs_sample_due(weight(size)) ? malloc_noted(size) : xs_hot.beneath.malloc(size);
}

XS_COLD static void *zalloc_noted(size_t size)
{
    return note(xs_hot.beneath.zalloc(size), size, CALLER);
}

static void *sampled_zalloc(size_t size)
{
    return xs_sample_due(weight(size)) ? zalloc_noted(size) : xs_hot.beneath.zalloc(size);
}

XS_COLD static void *memalign_noted(size_t align, size_t size)
{
    return note(xs_hot.beneath.memalign(align, size), size, CALLER);
}

static void *sampled_memalign(size_t align, size_t size)
{
    return xs_sample_due(weight(size)) ? memalign_noted(align, size)
                                       : xs_hot.beneath.memalign(align, size);
}

/* A block that is reallocated counts as one that goes and one that comes. */
XS_COLD static void *realloc_noted(void *p, size_t size, bool is_due)
{
    struct xs_sampled was;
    bool was_sampled = xs_sample_forget(p, &was);
    xs_hardened_caller = CALLER;
    void *q = xs_hot.beneath.realloc(p, size);
    xs_hardened_caller = 0;

    if (q != NULL && is_due)
        (void)xs_sample_take(q, size);
    else if (q == NULL && was_sampled)
        xs_sample_restore(&was);
    return q;
}

static void *sampled_realloc(void *p, size_t size)
{
    bool is_due = xs_sample_due(size);

    if (XS_UNLIKELY(is_due || xs_table_may_hold(0, p)))
        return realloc_noted(p, size, is_due);
    return xs_hot.beneath.realloc(p, size);
}

void xs_sampled_forget(void *p)
{
    struct xs_sampled was;

    (void)xs_sample_forget(p, &was);
}

static __attribute__((noinline)) void free_timed(void *p)
{
    struct xs_sampled was;
    bool is_timed = xs_sample_forget(p, &was);
    uint64_t from = is_timed ? xs_latency_now() : 0;

    xs_hot.beneath.free(p);
    if (is_timed)
        xs_latency_note(XS_LATENCY_FREE, from, xs_latency_now(),
                        xs_sample_stands_for(weight(was.size)));
}

XS_COLD static void free_noted(void *p)
{
    if (xs_latency_is_in_front) {
        free_timed(p);
        return;
    }
    xs_sampled_forget(p);
    xs_hot.beneath.free(p);
}

static void sampled_free(void *p)
{
    if (XS_UNLIKELY(xs_table_may_hold(0, p)))
        free_noted(p);
    else
        xs_hot.beneath.free(p);
}

struct xs_calls xs_sampled_calls(void)
{
    return (struct xs_calls){
        .malloc = sampled_malloc,
        .zalloc = sampled_zalloc,
        .realloc = sampled_realloc,
        .memalign = sampled_memalign,
        .free = sampled_free,
    };
}
