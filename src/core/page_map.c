#include "core/page_map.h"

#include <errno.h>
#include <stdatomic.h>

#include "sys/mem.h"

XS_FIRST struct xs_page_map_root xs_page_map_root;

/* The kernel maps from the top downwards, or, where the stack has no bound, from below upwards, and
 * before that into holes. A free whose block lies in another leaf than the last one's takes the
 * long way. */
#define HOLES ((uintptr_t)32 << 20)

/* Of the first range, of which `p` is the beginning. */
static void find_origin(const void *p)
{
    uintptr_t at = (uintptr_t)p & ~(sizeof(struct xs_page_map_leaf) - 1);
    bool is_downwards = at >> (XS_PAGE_MAP_LOG2 - 1) != 0;
    uintptr_t none = 0;

    if (atomic_load_explicit(&xs_page_map_root.origin, memory_order_relaxed) == 0)
        (void)atomic_compare_exchange_strong_explicit(&xs_page_map_root.origin, &none,
                                                      is_downwards ? at + HOLES : at - HOLES,
                                                      memory_order_relaxed, memory_order_relaxed);
}

/* In a small process all lies in the 64 GiB of one table. */
static struct xs_page_map_table *new_table(struct xs_page_map_table *first, atomic_bool *is_taken)
{
    if (!atomic_exchange_explicit(is_taken, true, memory_order_relaxed))
        return first;
    return xs_mem_map(sizeof(struct xs_page_map_table), 1);
}

static struct xs_page_map_table *table_for(uintptr_t at)
{
    static struct xs_page_map_table first;
    static atomic_bool is_taken;
    _Atomic(struct xs_page_map_table *) *root =
        &xs_page_map_root.table[at >> XS_PAGE_MAP_TABLE_LOG2 & (XS_PAGE_MAP_ROOT_ENTRIES - 1)];
    struct xs_page_map_table *table = atomic_load_explicit(root, memory_order_acquire);
    struct xs_page_map_table *fresh;

    if (table != NULL)
        return table;
    fresh = new_table(&first, &is_taken);
    if (fresh == NULL)
        return NULL;
    /* Release: whoever loads the pointer sees the zeroed table. */
    if (atomic_compare_exchange_strong_explicit(root, &table, fresh, memory_order_acq_rel,
                                                memory_order_acquire))
        return fresh;
    if (fresh == &first)
        atomic_store_explicit(&is_taken, false, memory_order_relaxed);
    else
        (void)xs_mem_unmap(fresh, sizeof(*fresh));
    return table;
}

/* Where the leaf's address stands; NULL: out of memory. Here and above `at` is as of
 * xs_page_map_at. */
static _Atomic(struct xs_page_map_leaf *) *place_for(uintptr_t at)
{
    struct xs_page_map_table *table = table_for(at);

    return table == NULL
               ? NULL
               : &table->leaf[(at >> XS_PAGE_MAP_LEAF_LOG2) & (XS_PAGE_MAP_TABLE_ENTRIES - 1)];
}

/* The leaf that stands there now. */
static struct xs_page_map_leaf *put_leaf(_Atomic(struct xs_page_map_leaf *) *place,
                                         struct xs_page_map_leaf *fresh)
{
    struct xs_page_map_leaf *leaf = NULL;

    /* Release, as for a table. */
    if (atomic_compare_exchange_strong_explicit(place, &leaf, fresh, memory_order_acq_rel,
                                                memory_order_acquire))
        return fresh;
    (void)xs_mem_unmap(fresh, sizeof(*fresh));
    return leaf;
}

static struct xs_page_map_leaf *leaf_for(uintptr_t at)
{
    _Atomic(struct xs_page_map_leaf *) *place = place_for(at);
    struct xs_page_map_leaf *leaf;

    if (place == NULL)
        return NULL;
    leaf = atomic_load_explicit(place, memory_order_acquire);
    if (leaf != NULL)
        return leaf;
    leaf = xs_mem_map(sizeof(*leaf), 1);
    if (leaf == NULL)
        return NULL;
    xs_mem_want_small(leaf, sizeof(*leaf));
    return put_leaf(place, leaf);
}

/* Of two areas that the kernel maps by one page of its table each, so long as a leaf is, the leaf
 * takes the middle, where its page for the longer end lies in the same area as that end. The other
 * end goes back. */
void *xs_page_map_region(size_t *size)
{
    const size_t bytes = sizeof(struct xs_page_map_leaf);
    const size_t last = XS_PAGE_MAP_LEAF_ENTRIES * XS_PAGE_MAP_GRANULE / bytes - 1;
    _Atomic(struct xs_page_map_leaf *) *place;

    if (xs_mem_page() != XS_PAGE_MAP_GRANULE)
        return NULL;
    char *block = xs_mem_map(2 * bytes, bytes);
    if (block == NULL)
        return NULL;
    find_origin(block);
    /* No huge page for so little. */
    xs_mem_want_small(block, 2 * bytes);
    size_t lower = (last - (xs_page_map_at(block) / bytes & last)) * XS_PAGE_MAP_GRANULE;
    size_t upper = bytes - lower;
    char *leaf = block + lower;
    char *end = leaf + bytes;
    char *region = lower > upper ? block : end;
    *size = lower > upper ? lower : upper;
    if (lower > upper)
        (void)xs_mem_unmap(end, upper);
    else if (lower != 0)
        (void)xs_mem_unmap(block, lower);
    /* The last area is followed by one of another leaf. */
    place = lower != 0 ? place_for(xs_page_map_at(region)) : NULL;
    if (place != NULL)
        (void)put_leaf(place, (struct xs_page_map_leaf *)leaf);
    else
        (void)xs_mem_unmap(leaf, bytes);
    return region;
}

/* So that the end of a range is beyond its beginning. */
static uintptr_t bounded(uintptr_t at)
{
    return at & (XS_PAGE_MAP_BYTES - 1);
}

int xs_page_map_prepare(const void *p, size_t size)
{
    uintptr_t first = (uintptr_t)p;
    uintptr_t end = first + size;

    if (end < first || (end - 1) >> XS_PAGE_MAP_LOG2 != 0)
        return ENOMEM;
    find_origin(p);
    uintptr_t at = bounded(xs_page_map_at(p));
    for (end = at + size; at < end; at = (at | (XS_PAGE_MAP_LEAF_BYTES - 1)) + 1)
        if (leaf_for(at) == NULL)
            return ENOMEM;
    return 0;
}

int xs_page_map_set(const void *p, size_t size, uint64_t entry)
{
    /* All leaves first, so that a failure leaves nothing half set. */
    int rc = xs_page_map_prepare(p, size);

    if (rc != 0)
        return rc;
    uintptr_t at = bounded(xs_page_map_at(p));
    for (uintptr_t end = at + size; at < end;) {
        struct xs_page_map_leaf *leaf = leaf_for(at);
        size_t i = xs_page_map_index(at);
        for (; i < XS_PAGE_MAP_LEAF_ENTRIES && at < end; i++, at += XS_PAGE_MAP_GRANULE)
            if (atomic_load_explicit(&leaf->entry[i], memory_order_relaxed) != entry)
                atomic_store_explicit(&leaf->entry[i], entry, memory_order_relaxed);
    }
    return 0;
}
