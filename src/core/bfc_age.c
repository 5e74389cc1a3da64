/* What goes back to the system: whole regions, and the memory behind free chunks. */
#include "base/align.h"
#include "core/bfc_bins.h"

/* ---- regions ---------------------------------------------------------------------------- */

unsigned xs_bfc_take_regions(struct xs_bfc *b, uint64_t until, struct xs_bfc_range out[],
                             unsigned most)
{
    unsigned n = 0;

    bfc_merge_all(b);
    for (struct xs_bfc_record **link = &b->first_region; *link != NULL && n < most;) {
        struct xs_bfc_record *region = *link;
        struct xs_bfc_record *r = bfc_whole_free(region);
        if (r == NULL || r->freed_at > until || region->state == CHUNK_KEPT_REGION) {
            link = &region->next;
            continue;
        }
        *link = region->next;
        bfc_bin_remove(b, r);
        out[n].p = (void *)r->base; // NOLINT(performance-no-int-to-ptr)
        out[n].size = r->size;
        out[n].chunk = 0;
        b->stats.reserved_bytes -= r->size;
        b->stats.regions--;
        b->stats.collected++;
        b->dirty -= bfc_dirty_units(r);
        bfc_give_record(b, r);
        bfc_give_record(b, region);
        n++;
    }
    return n;
}

size_t xs_bfc_collect(struct xs_bfc *b, uint64_t until)
{
    struct xs_bfc_range range;
    size_t bytes = 0;

    while (xs_bfc_take_regions(b, until, &range, 1) != 0) {
        b->ops.unmap(b->ops.ctx, range.p, range.size);
        bytes += range.size;
    }
    return bytes;
}

/* Giving whole free regions back would leave room for `need`. */
bool bfc_worth_collecting(const struct xs_bfc *b, size_t need)
{
    uint64_t whole = 0;

    if (!b->options.garbage_collection || b->options.limit_bytes == 0)
        return false;
    for (const struct xs_bfc_record *region = b->first_region; region != NULL;
         region = region->next)
        if (bfc_whole_free(region) != NULL && region->state != CHUNK_KEPT_REGION)
            whole += region->requested;
    return whole != 0 && need <= b->options.limit_bytes &&
           need <= b->options.limit_bytes - (b->stats.reserved_bytes - whole);
}

bool xs_bfc_worth_collecting(struct xs_bfc *b, size_t size)
{
    return size <= XS_SIZE_MAX_REQUEST &&
           bfc_worth_collecting(b, xs_align_up(size, b->options.unit));
}

/* ---- memory ----------------------------------------------------------------------------- */

/* The first filled bin from this one on: its first chunk; NULL: there are no more. */
static struct xs_bfc_record *first_from(const struct xs_bfc *b, unsigned *bin)
{
    const xs_chunk *head = *bin < XS_BFC_BINS ? bfc_filled_from(b, bin) : NULL;

    return head != NULL ? bfc_record(b, *head) : NULL;
}

unsigned xs_bfc_take_old(struct xs_bfc *b, size_t least, uint64_t until, struct xs_bfc_range out[],
                         unsigned most)
{
    unsigned n = 0;

    bfc_close_open(b);
    for (unsigned bin = bfc_bin_of(b, least);; bin++) {
        struct xs_bfc_record *r = first_from(b, &bin);
        if (r == NULL)
            return n;
        for (struct xs_bfc_record *next; r != NULL; r = next) {
            next = r->next;
            if (bfc_is_purged(r) || r->freed_at > until)
                continue;
            if (n == most)
                return n;
            bfc_bin_remove(b, r);
            r->state = CHUNK_CUT;
            b->out_chunks++;
            b->out_bytes += r->size;
            out[n++] = (struct xs_bfc_range){(void *)r->base, r->size,
                                             r->number}; // NOLINT(performance-no-int-to-ptr)
        }
    }
}

void xs_bfc_put_back(struct xs_bfc *b, xs_chunk c, bool is_purged, uint64_t now)
{
    struct xs_bfc_record *r = bfc_record(b, c);

    b->out_chunks--;
    b->out_bytes -= r->size;
    if (is_purged) {
        b->stats.ever_purged_bytes += (uint64_t)r->dirty << b->unit_log2;
        b->dirty -= r->dirty;
        r->dirty = PURGED;
    } else {
        r->freed_at = now; /* not again before it has aged once more */
    }
    (void)bfc_release(b, r);
}
