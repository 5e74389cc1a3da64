#include "core/page_map.h"

#include <errno.h>
#include <stdatomic.h>

#include "sys/mem.h"

XS_FIRST struct xs_page_map_root xs_page_map_root;

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
        &xs_page_map_root.table[at >> XS_PAGE_MAP_TABLE_LOG2];
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

/* Where the leaf's address stands; NULL: out of memory. */
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
    /* No huge page for so little. */
    xs_mem_want_small(block, 2 * bytes);
    size_t lower = (last - ((uintptr_t)block / bytes & last)) * XS_PAGE_MAP_GRANULE;
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
    place = lower != 0 ? place_for((uintptr_t)region) : NULL;
    if (place != NULL)
        (void)put_leaf(place, (struct xs_page_map_leaf *)leaf);
    else
        (void)xs_mem_unmap(leaf, bytes);
    return region;
}

int xs_page_map_prepare(const void *p, size_t size)
{
    uintptr_t first = (uintptr_t)p;
    uintptr_t end = first + size;

    if (end < first || (end - 1) >> XS_PAGE_MAP_LOG2 != 0)
        return ENOMEM;
    for (uintptr_t at = first; at < end;
         at = (at | (((uintptr_t)1 << XS_PAGE_MAP_LEAF_LOG2) - 1)) + 1)
        if (leaf_for(at) == NULL)
            return ENOMEM;
    return 0;
}

int xs_page_map_set(const void *p, size_t size, uint64_t entry)
{
    uintptr_t end = (uintptr_t)p + size;
    /* All leaves first, so that a failure leaves nothing half set. */
    int rc = xs_page_map_prepare(p, size);

    if (rc != 0)
        return rc;
    for (uintptr_t at = (uintptr_t)p; at < end;) {
        struct xs_page_map_leaf *leaf = leaf_for(at);
        size_t i = (at >> XS_PAGE_MAP_GRANULE_LOG2) & (XS_PAGE_MAP_LEAF_ENTRIES - 1);
        for (; i < XS_PAGE_MAP_LEAF_ENTRIES && at < end; i++, at += XS_PAGE_MAP_GRANULE)
            if (atomic_load_explicit(&leaf->entry[i], memory_order_relaxed) != entry)
                atomic_store_explicit(&leaf->entry[i], entry, memory_order_relaxed);
    }
    return 0;
}
