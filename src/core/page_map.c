#include "core/page_map.h"

#include <errno.h>
#include <stdatomic.h>

#include "sys/mem.h"

/* In front of others of its kind: the page for the usual addresses lies at its end, and so all that
 * a small process writes to within what one page of the kernel's table maps. */
__attribute__((section(
    ".bss.root"))) _Atomic(struct xs_page_map_leaf *) xs_page_map_root[XS_PAGE_MAP_ROOT_ENTRIES];

static struct xs_page_map_leaf *leaf_for(uintptr_t at)
{
    _Atomic(struct xs_page_map_leaf *) *root = &xs_page_map_root[at >> XS_PAGE_MAP_LEAF_LOG2];
    struct xs_page_map_leaf *leaf = atomic_load_explicit(root, memory_order_acquire);
    struct xs_page_map_leaf *fresh;

    if (leaf != NULL)
        return leaf;
    fresh = xs_mem_map(sizeof(*fresh), 1);
    if (fresh == NULL)
        return NULL;
    /* Release: whoever loads the pointer sees the zeroed leaf. */
    if (atomic_compare_exchange_strong_explicit(root, &leaf, fresh, memory_order_acq_rel,
                                                memory_order_acquire))
        return fresh;
    (void)xs_mem_unmap(fresh, sizeof(*fresh));
    return leaf;
}

uintptr_t xs_page_map_leaf_base(const void *p)
{
    uintptr_t number = xs_page_map_leaf_number(p);
    struct xs_page_map_leaf *leaf;

    if (number >= XS_PAGE_MAP_ROOT_ENTRIES)
        return 0;
    leaf = atomic_load_explicit(&xs_page_map_root[number], memory_order_acquire);
    return leaf == NULL ? 0 : (uintptr_t)leaf - number * sizeof(*leaf);
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
