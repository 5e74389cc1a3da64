/* core/supply.h - where the regions of the own core come from and how they go back: pages of which
 * size, on which node, within which limit.
 * Units:   bytes; whole pages.
 * Owns:    regions between xs_supply_map and xs_supply_unmap.
 * Threads: any. Context: inside malloc, with no lock of the core held: a program may have hooked
 *          mmap, munmap and madvise, and allocate there. errno may change. Allocates: by mmap.
 * Errors:  NULL, false = not possible; nothing changed.
 */
#ifndef XS_CORE_SUPPLY_H
#define XS_CORE_SUPPLY_H

#include "core/huge.h"

enum xs_huge {
    XS_HUGE_OFF,     /* none are asked for */
    XS_HUGE_AUTO,    /* where they come cheap and are used: core/huge.h */
    XS_HUGE_THP,     /* transparent ones for regions of a heap that has grown large */
    XS_HUGE_ALWAYS,  /* for all regions */
    XS_HUGE_EXPLICIT /* from the kernel's pool, else as XS_HUGE_ALWAYS */
};

struct xs_supply_options {
    enum xs_huge huge;
    uint64_t limit_bytes; /* of all that is charged; 0: none */
};

void xs_supply_open(const struct xs_supply_options *options);

bool xs_supply_is_auto(void);     /* XS_HUGE_AUTO */
bool xs_supply_is_explicit(void); /* XS_HUGE_EXPLICIT */

/* A region of a huge page, of who has `total` bytes already, is to be in one. */
bool xs_supply_is_huge(uint64_t total);

/* A region for `node` (of sys/numa.h), at least `size` bytes, which is made a multiple of a huge
 * page where there are to be some; *size is what it got. `total`: the bytes that the caller has
 * already. */
void *xs_supply_map(unsigned node, size_t *size, size_t align, uint64_t total);
/* The first region, of 2 MiB at most and half of that at least, if that serves; NULL: xs_supply_map
 * may have one. */
void *xs_supply_map_first(unsigned node, size_t *size);
int xs_supply_unmap(void *p, size_t size); /* 0 or errno: then it is still there */

/* The memory behind a range goes back; false: it stays, being locked, reserved or in huge pages
 * that cannot be divided. */
bool xs_supply_purge(void *p, size_t size);

/* It is of those that keep their memory. */
bool xs_supply_keeps(const void *p);

/* `size` bytes of explicit huge pages of 1 GiB, else of 2 MiB; *size is what there was in one
 * piece, NULL for none. They are not purged. */
void *xs_supply_reserve_huge(size_t *size);

/* A region that has all its memory at once and keeps it, `lock`: in a way that it is never swapped;
 * *size is what there was, of which nearly all may be had. What that took is in the statistics. */
void *xs_supply_prefault(size_t *size, bool lock);

/* The options' limit; UINT64_MAX: none. */
uint64_t xs_supply_limit(void);

/* Memory of anybody's that counts to the limit; false: it would pass it. */
bool xs_supply_charge(size_t size);
void xs_supply_uncharge(size_t size);

struct xs_supply_stats {
    struct xs_huge_stats huge;
    uint64_t charged_bytes;
    uint64_t charged_peak_bytes;
    uint64_t limit_bytes;
    uint64_t refused; /* requests that would have passed the limit */
    uint64_t explicit_bytes;
    uint64_t explicit_refused_bytes; /* asked for and not to be had in explicit pages */
    uint64_t prefault_bytes;
    uint64_t prefault_locked_bytes;
    uint64_t prefault_ns;
};

void xs_supply_stats(struct xs_supply_stats *out);

#endif
