/* sample/table.h - the process's own table of sites, and which sampled blocks are in use.
 * Units:   bytes.
 * Owns:    a section of the record for the sites; for the blocks a hash table in pages of its own,
 *          which doubles.
 * Threads: the caller holds the sampler's lock, except where marked [any].
 * Context: inside malloc. Allocates: pages.
 * Errors:  false = no memory, nothing changed.
 */
#ifndef XS_SAMPLE_TABLE_H
#define XS_SAMPLE_TABLE_H

#include "sample/sites.h"

/* A block in use. Addresses of devices differ from each other, but may be like those of the host.
 */
struct xs_sampled {
    uintptr_t address;
    uint32_t kind;
    uint32_t site; /* 0: the rest, else its place and 1 */
    uint64_t size;
};

bool xs_table_open(uint64_t mean_bytes, enum xs_unwinder unwinder);

/* NULL: sampling is off. [any] */
struct xs_sites *xs_table_sites(void);

/* Takes the block in, and adds it to its site. What is known of the address already is outdated. */
bool xs_table_add(uint32_t kind, const void *p, uint64_t size, const uint64_t *frame,
                  uint32_t depth);

/* The block is no longer in use: false if it is not known. */
bool xs_table_remove(uint32_t kind, const void *p, struct xs_sampled *was);

/* Again after that; its site's total stays. */
bool xs_table_restore(const struct xs_sampled *was);

/* In the child of a fork: nothing is known, the record's section reads as zero. */
void xs_table_fork_child(void);

/* Counts of blocks by a hash of their address, 255 for that or more. */
#define XS_FILTER_BITS 16
extern XS_HIDDEN uint8_t xs_table_filter[1 << XS_FILTER_BITS];

XS_INLINE uint64_t xs_table_hash(uint32_t kind, const void *p)
{
    return (((uintptr_t)p >> 4) ^ (uint64_t)(kind != 0) << 56) * UINT64_C(0x9e3779b97f4a7c15);
}

/* False: certainly no sampled block. [any] */
XS_INLINE bool xs_table_may_hold(uint32_t kind, const void *p)
{
    return __atomic_load_n(&xs_table_filter[xs_table_hash(kind, p) >> (64 - XS_FILTER_BITS)],
                           __ATOMIC_RELAXED) != 0;
}

#endif
