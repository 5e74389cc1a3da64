/* The own core, core/heap.h. */
#include "backend/counted.h"
#include "core/thread_heap.h"

enum { bfc_counts_failures = false };

XS_INLINE void *bfc_do_malloc(size_t size)
{
    return xs_heap_malloc_inline(size);
}

XS_INLINE void *bfc_do_zalloc(size_t size)
{
    return xs_heap_zalloc(size);
}

XS_INLINE void *bfc_do_memalign(size_t align, size_t size)
{
    return xs_heap_memalign(align, size);
}

XS_COUNTED_ALLOCATIONS(bfc, XS_OWNER_BFC)

static void *bfc_realloc_own(void *p, size_t size)
{
    return xs_heap_realloc(p, size);
}

static void *bfc_realloc(void *p, size_t size)
{
    uint64_t entry = xs_page_map_get(p);

    if (XS_LIKELY((entry & 0xFF) == XS_OWNER_BFC))
        return xs_heap_realloc_at(p, entry, size);
    return xs_any_realloc(p, size);
}

static void *bfc_counted_realloc_own(void *p, size_t size)
{
    xs_count_realloc(XS_OWNER_BFC, size);
    void *q = xs_heap_realloc(p, size);
    if (XS_UNLIKELY(q == NULL))
        xs_count_failure(XS_OWNER_BFC, true, size);
    return q;
}

static void *bfc_counted_realloc(void *p, size_t size)
{
    return xs_heap_owns(p) ? bfc_counted_realloc_own(p, size) : xs_any_realloc(p, size);
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

XS_COLD static void bfc_first_free(void *p)
{
    xs_count_free_slow(XS_OWNER_BFC);
    (void)xs_heap_free(p);
}

static void bfc_counted_free_own(void *p)
{
    struct xs_slot *slot = xs_slot_mine;

    if (XS_UNLIKELY(slot == NULL)) {
        bfc_first_free(p);
        return;
    }
    XS_COUNT(slot->by_owner[XS_OWNER_BFC].frees, 1);
    (void)xs_heap_free(p);
}

static void bfc_counted_free(void *p)
{
    uint64_t entry = xs_page_map_get(p);
    struct xs_heap *h = xs_heap_mine;
    struct xs_slot *slot = xs_slot_mine;

    if (XS_LIKELY((uint32_t)entry == h->tag && slot != NULL)) {
        XS_COUNT(slot->by_owner[XS_OWNER_BFC].frees, 1);
        xs_heap_free_inline(h, p, entry);
    } else if ((entry & 0xFF) == XS_OWNER_BFC) {
        bfc_counted_free_own(p);
    } else {
        xs_any_free(p);
    }
}

XS_COUNTED_TABLE(bfc)

static int bfc_open(const struct xs_backend_options *o, struct xs_buf *why)
{
    int rc = xs_heap_open(&o->bfc);

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
    .open = bfc_open,
    .calls = bfc_calls,
    .free_own = bfc_free_own,
    .free_own_counted = bfc_counted_free_own,
    .realloc_own = bfc_realloc_own,
    .realloc_own_counted = bfc_counted_realloc_own,
    .usable_size = bfc_usable_size,
    .trim = bfc_trim,
    .memory = bfc_memory,
    .fork_prepare = xs_heap_fork_prepare,
    .fork_parent = xs_heap_fork_parent,
    .survives_fork = bfc_survives_fork,
};
