/* The own core, core/heap.h. It counts by itself, always: what is on or off is whether that shows
 * (backend/counted.h), so the plain calls and the counting ones are the same but where one fails.
 */
#include "backend/counted.h"
#include "backend/entry.h"
#include "sys/mem.h"

static void *bfc_malloc(size_t size)
{
    return xs_heap_malloc_inline(size);
}

static void *bfc_realloc_own(void *p, size_t size)
{
    return xs_heap_realloc(p, size);
}

/* Of any pointer, mostly of one in the leaf that the thread looked into last. */
XS_INLINE uint64_t entry_of(const void *p)
{
    uint64_t entry;

    return XS_LIKELY(xs_heap_near(xs_heap_mine, p, &entry)) ? entry : xs_page_map_get(p);
}

XS_LINE static void *bfc_realloc(void *p, size_t size)
{
    uint64_t entry = entry_of(p);

    if (XS_LIKELY(XS_PAGE_MAP_OWNER(entry) == XS_OWNER_BFC))
        return xs_heap_realloc_at(p, entry, size);
    return xs_any_realloc(p, size);
}

static void *checked(void *q, size_t size)
{
    if (XS_UNLIKELY(q == NULL)) {
        xs_count_realloc(XS_OWNER_BFC, size);
        xs_count_failure(XS_OWNER_BFC, true, size);
    }
    return q;
}

static void *bfc_counted_realloc_own(void *p, size_t size)
{
    return checked(xs_heap_realloc(p, size), size);
}

static void *bfc_counted_realloc(void *p, size_t size)
{
    uint64_t entry = entry_of(p);

    if (XS_LIKELY(XS_PAGE_MAP_OWNER(entry) == XS_OWNER_BFC))
        return checked(xs_heap_realloc_at(p, entry, size), size);
    return xs_any_realloc(p, size);
}

static void bfc_free_own(void *p)
{
    (void)xs_heap_free(p);
}

/* One look at the page map tells whose the block is, and where it goes. */
static void bfc_free(void *p)
{
    if (!xs_heap_free_at(p, xs_page_map_get(p)))
        xs_any_free(p);
}

void xs_bfc_free_far(void *p)
{
    if (p == NULL)
        return;
    if (XS_UNLIKELY(xs_hot.core_below == 0)) {
        xs_any_free(p); /* the core may not even be open */
        return;
    }
    xs_heap_note_leaf(xs_heap_mine, p);
    bfc_free(p);
}

static const struct xs_calls *bfc_calls(bool counted)
{
    static const struct xs_calls plain = {bfc_malloc, xs_heap_zalloc, bfc_realloc, xs_heap_memalign,
                                          bfc_free};
    static const struct xs_calls counting = {bfc_malloc, xs_heap_zalloc, bfc_counted_realloc,
                                             xs_heap_memalign, bfc_free};

    return counted ? &counting : &plain;
}

/* An allocation failed, or one that did was the core's own attempt (-1). */
static void count_failure(size_t size, int n)
{
    /* The least class's bin is the least. */
    if (size < 16)
        size = 16;
    if (!xs_hot.counting)
        return;
    if (n > 0) {
        xs_count_request_slow(XS_OWNER_BFC, size);
        xs_count_failure(XS_OWNER_BFC, false, size);
    } else {
        xs_count_no_failure(XS_OWNER_BFC, size);
    }
}

/* The page map takes 2 MiB of address space at once, and each size a region: where less than this
 * is allowed to the process the core takes nothing, and all is the last resort's. */
#define LIMIT_LEAST ((uint64_t)8 << 20)

/* The system has no region for the core; its own malloc may still get on with brk. */
static void *last_resort(void *p, size_t align, size_t size)
{
    xs_system_begin();
    void *q = align > 16 ? xs_hot.libc.memalign(align, size) : xs_hot.libc.malloc(size);
    if (p != NULL)
        (q != NULL ? xs_hot.libc.free : xs_hot.free_own[XS_OWNER_SYSTEM])(p);
    else if (q != NULL && xs_hot.counting)
        xs_count_request_slow(XS_OWNER_SYSTEM, size);
    return q;
}

static int bfc_open(const struct xs_backend_options *o, struct xs_buf *why)
{
    struct xs_heap_options options = o->bfc;
    options.count_failure = count_failure;
    /* A limit that was asked for holds, and seals are where the classes of blocks say. */
    bool is_bounded =
        options.span.limit_bytes != 0 || options.span.is_limited || !options.span.allow_growth;
    if (!is_bounded && !options.exact_classes) {
        options.last_resort = last_resort;
        options.span.is_barred = xs_mem_limit() < LIMIT_LEAST;
    }
    int rc = xs_heap_open(&options);

    if (rc != 0)
        xs_put_str(why, "no memory for its records");
    return rc;
}

static size_t bfc_usable_size(void *p)
{
    return xs_heap_usable_size(p);
}

static bool bfc_trim(size_t pad)
{
    (void)pad;
    return xs_heap_trim() > 0;
}

static void bfc_memory(struct xs_backend_memory *m, bool may_lock)
{
    struct xs_heap_stats s;

    *m = (struct xs_backend_memory){XS_UNKNOWN, XS_UNKNOWN, XS_UNKNOWN, "itself"};
    if (!xs_heap_stats_get(&s, may_lock))
        return;
    m->in_use_bytes = s.in_use_bytes;
    m->reserved_bytes = s.bfc.reserved_bytes;
    m->reserved_peak_bytes = s.bfc.reserved_peak_bytes;
}

static bool bfc_survives_fork(bool was_threaded)
{
    (void)was_threaded;
    xs_heap_fork_child();
    return true;
}

const struct xs_backend xs_backend_bfc = {
    .name = "bfc",
    .owner = XS_OWNER_BFC,
    .uncount_move = xs_heap_uncount_move,
    .uncount_failure = xs_heap_forgive,
    .open = bfc_open,
    .calls = bfc_calls,
    .free_own = bfc_free_own,
    .free_own_counted = bfc_free_own,
    .realloc_own = bfc_realloc_own,
    .realloc_own_counted = bfc_counted_realloc_own,
    .usable_size = bfc_usable_size,
    .trim = bfc_trim,
    .memory = bfc_memory,
    .fork_prepare = xs_heap_fork_prepare,
    .fork_parent = xs_heap_fork_parent,
    .survives_fork = bfc_survives_fork,
};
