/* core/bfc_bins.h - free chunks in their bins, and unused records, for bfc.c and bfc_age.c; nobody
 * else includes it. Threads, context, errors: as core/bfc.h.
 */
#ifndef XS_CORE_BFC_BINS_H
#define XS_CORE_BFC_BINS_H

#include "core/bfc_record.h"

/* As it was left, but for its number. */
XS_INLINE struct xs_bfc_record *bfc_take_record(struct xs_bfc *b)
{
    struct xs_bfc_record *r = b->unused;

    b->unused_count--;
    if (XS_LIKELY(r != NULL)) {
        b->unused = r->next;
    } else {
        r = bfc_record(b, b->fresh);
        r->number = b->fresh++ & (XS_BFC_CHUNKS - 1);
    }
    return r;
}

XS_INLINE void bfc_give_record(struct xs_bfc *b, struct xs_bfc_record *r)
{
    r->state = CHUNK_NONE;
    r->next = b->unused;
    b->unused = r;
    b->unused_count++;
}

XS_INLINE void bfc_bin_link(struct xs_bfc *b, struct xs_bfc_record *r)
{
    unsigned bin = bfc_bin_of(b, r->size);
    xs_chunk *head = bfc_head(b, bin);

    r->next = NULL;
    r->prev = NULL;
    if (*head != 0) {
        r->next = bfc_record(b, *head);
        r->next->prev = r;
    }
    *head = r->number;
    b->filled[bin / 64] |= (uint64_t)1 << bin % 64;
    b->filled_words |= (uint32_t)1 << bin / 64;
}

XS_INLINE void bfc_bin_unlink(struct xs_bfc *b, struct xs_bfc_record *r)
{
    struct xs_bfc_record *next = r->next;

    if (next != NULL)
        next->prev = r->prev;
    if (r->prev != NULL) {
        r->prev->next = next;
        return;
    }
    unsigned bin = bfc_bin_of(b, r->size);
    *bfc_head(b, bin) = bfc_number(next);
    if (next == NULL) {
        b->filled[bin / 64] &= ~((uint64_t)1 << bin % 64);
        if (b->filled[bin / 64] == 0)
            b->filled_words &= ~((uint32_t)1 << bin / 64);
    }
}

/* The chunk becomes the open one, and the last one goes into its bin. What is cut from is mostly
 * cut from again, and what is freed next mostly lies beside what was freed last: such a chunk
 * changes its size many times before it is worth a bin. */
XS_INLINE void bfc_open_chunk(struct xs_bfc *b, struct xs_bfc_record *r)
{
    struct xs_bfc_record *last = b->open;

    b->open = r;
    if (last != NULL)
        bfc_bin_link(b, last);
}

/* Before the bins are looked through. */
static inline void bfc_close_open(struct xs_bfc *b)
{
    bfc_open_chunk(b, NULL);
}

XS_INLINE void bfc_bin_insert(struct xs_bfc *b, struct xs_bfc_record *r)
{
    r->state = CHUNK_FREE;
    if (bfc_is_purged(r))
        b->stats.purged_bytes += r->size;
    bfc_open_chunk(b, r);
}

XS_INLINE void bfc_bin_remove(struct xs_bfc *b, struct xs_bfc_record *r)
{
    if (r == b->open)
        b->open = NULL;
    else
        bfc_bin_unlink(b, r);
    if (bfc_is_purged(r))
        b->stats.purged_bytes -= r->size;
}

/* `r`, in no bin, becomes free and one with its free neighbours. 0, as xs_bfc_free, which ends with
 * it, returns. */
int bfc_release(struct xs_bfc *b, struct xs_bfc_record *r);

/* For coalesce_on_free = off: everything that touches, at once. */
bool bfc_merge_all(struct xs_bfc *b);

bool bfc_worth_collecting(const struct xs_bfc *b, size_t need);

#endif
