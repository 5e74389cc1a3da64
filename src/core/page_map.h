/* core/page_map.h - which back end owns an address, and what it knows of it: the truth where no
 * reserved range tells.
 *
 * Three levels over 48 bits (x86-64: 47): a root with an entry for each 64 GiB, tables with one for
 * each GiB, and leaves with one for each 4 KiB. Tables and leaves are made when first needed and
 * never freed. A leaf is only touched where something was set. Where the GiBs begin depends on the
 * first range, so that what the kernel maps after it lies in the same one, as far as it goes.
 * Units:   bytes; ranges are whole granules.
 * Threads: get: any, for an address that cannot be released meanwhile (a live block). set: any, the
 *          ranges of two callers being disjoint.
 * Context: inside malloc. Allocates: tables and leaves by mmap.
 * Errors:  set: ENOMEM, nothing changed. get: 0 for what was never set.
 * Cost:    get is three dependent loads.
 */
#ifndef XS_CORE_PAGE_MAP_H
#define XS_CORE_PAGE_MAP_H

#include <stdatomic.h>

#include "base/compiler.h"

#define XS_PAGE_MAP_GRANULE_LOG2 12
#define XS_PAGE_MAP_GRANULE      ((size_t)1 << XS_PAGE_MAP_GRANULE_LOG2)
#define XS_PAGE_MAP_LEAF_LOG2    30
#define XS_PAGE_MAP_TABLE_LOG2   36
/* Of address space that a program can have without asking for more. */
#ifdef __x86_64__
#define XS_PAGE_MAP_LOG2 47
#else
#define XS_PAGE_MAP_LOG2 48
#endif
#define XS_PAGE_MAP_BYTES         ((size_t)1 << XS_PAGE_MAP_LOG2)
#define XS_PAGE_MAP_ROOT_ENTRIES  (XS_PAGE_MAP_BYTES >> XS_PAGE_MAP_TABLE_LOG2)
#define XS_PAGE_MAP_TABLE_ENTRIES ((size_t)1 << (XS_PAGE_MAP_TABLE_LOG2 - XS_PAGE_MAP_LEAF_LOG2))
#define XS_PAGE_MAP_LEAF_ENTRIES  ((size_t)1 << (XS_PAGE_MAP_LEAF_LOG2 - XS_PAGE_MAP_GRANULE_LOG2))

/* The lowest bits of an entry name the owner (enum xs_owner); the rest is the owner's. */
#define XS_OWNER_BITS        2
#define XS_OWNER_MASK        ((1u << XS_OWNER_BITS) - 1)
#define XS_PAGE_MAP_OWNER(e) ((unsigned)(e)&XS_OWNER_MASK)

struct xs_page_map_leaf {
    _Atomic uint64_t entry[XS_PAGE_MAP_LEAF_ENTRIES];
};

struct xs_page_map_table {
    _Atomic(struct xs_page_map_leaf *) leaf[XS_PAGE_MAP_TABLE_ENTRIES];
};

/* What lies before it has its end, which is for the usual addresses, share a page with what every
 * process writes to. */
struct xs_page_map_root {
    char gap[248];
    _Atomic(struct xs_page_map_table *) table[XS_PAGE_MAP_ROOT_ENTRIES];
    _Atomic uintptr_t origin; /* where the first GiB begins, or 0 until anything is set */
};
extern XS_HIDDEN struct xs_page_map_root xs_page_map_root;

/* The address as levels and entries are counted; the top bits, which are 0 in any that a program
 * can have, mean nothing. */
XS_INLINE uintptr_t xs_page_map_at(const void *p)
{
    return (uintptr_t)p - atomic_load_explicit(&xs_page_map_root.origin, memory_order_relaxed);
}

XS_INLINE uintptr_t xs_page_map_index(uintptr_t at)
{
    return at >> XS_PAGE_MAP_GRANULE_LOG2 & (XS_PAGE_MAP_LEAF_ENTRIES - 1);
}

/* The leaf that it lies in; NULL: there is none. */
XS_INLINE struct xs_page_map_leaf *xs_page_map_leaf_of(uintptr_t at)
{
    uintptr_t root =
        at << (64 - XS_PAGE_MAP_LOG2) >> (64 - XS_PAGE_MAP_LOG2 + XS_PAGE_MAP_TABLE_LOG2);
    struct xs_page_map_table *table =
        atomic_load_explicit(&xs_page_map_root.table[root], memory_order_acquire);

    if (XS_UNLIKELY(table == NULL))
        return NULL;
    at = (at >> XS_PAGE_MAP_LEAF_LOG2) & (XS_PAGE_MAP_TABLE_ENTRIES - 1);
    return atomic_load_explicit(&table->leaf[at], memory_order_acquire);
}

XS_INLINE uint64_t xs_page_map_get(const void *p)
{
    uintptr_t at = xs_page_map_at(p);
    struct xs_page_map_leaf *leaf = xs_page_map_leaf_of(at);

    if (XS_UNLIKELY(leaf == NULL))
        return 0;
    return atomic_load_explicit(&leaf->entry[xs_page_map_index(at)], memory_order_relaxed);
}

/* For who looks up addresses that mostly lie in one leaf: where its addresses begin, from which
 * others are further away than it is long, and what it says of one of them by its distance. */
#define XS_PAGE_MAP_LEAF_BYTES ((uintptr_t)1 << XS_PAGE_MAP_LEAF_LOG2)

XS_INLINE uintptr_t xs_page_map_leaf_start(const void *p)
{
    return (uintptr_t)p - (xs_page_map_at(p) & (XS_PAGE_MAP_LEAF_BYTES - 1));
}

/* The start of a leaf that no address lies in, NULL neither. */
#define XS_PAGE_MAP_NOWHERE ((uintptr_t)1 << 63)

XS_INLINE uint64_t xs_page_map_get_near(const struct xs_page_map_leaf *leaf, uintptr_t distance)
{
    return atomic_load_explicit(&leaf->entry[distance >> XS_PAGE_MAP_GRANULE_LOG2],
                                memory_order_relaxed);
}

/* The leaf that `p` lies in; NULL: it lies in none. */
XS_INLINE const struct xs_page_map_leaf *xs_page_map_leaf_at(const void *p)
{
    return (uintptr_t)p >> XS_PAGE_MAP_LOG2 == 0 ? xs_page_map_leaf_of(xs_page_map_at(p)) : NULL;
}

/* A small process's first memory, 1 to 2 MiB, so that the page of its leaf is mapped by the same
 * page of the kernel's table as its beginning. Given back by xs_mem_unmap; NULL: none. */
void *xs_page_map_region(size_t *size);

/* Makes the leaves of a range, touching nothing in them: what lies in it can be set without fail.
 */
int xs_page_map_prepare(const void *p, size_t size);

/* One granule of a prepared range. */
XS_INLINE void xs_page_map_put(const void *p, uint64_t entry)
{
    uintptr_t at = xs_page_map_at(p);

    atomic_store_explicit(&xs_page_map_leaf_of(at)->entry[xs_page_map_index(at)], entry,
                          memory_order_relaxed);
}

/* `p` and `size` are multiples of the granule. Entry 0 forgets the range, and touches only what was
 * set. */
int xs_page_map_set(const void *p, size_t size, uint64_t entry);

#endif
