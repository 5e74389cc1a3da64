/* What is read of an instance: sizes, how it may grow, statistics, and the walker; and where its
 * records come from. */
#include "base/align.h"
#include "core/bfc_record.h"
#include "sys/mem.h"

/* Whoever adds records himself does it when so many are left. */
#define RECORDS_LOW 256u

void *xs_bfc_map_records(void *ctx, size_t size)
{
    (void)ctx;
    return xs_mem_map(size, 1);
}

void xs_bfc_unmap_records(void *ctx, void *p, size_t size)
{
    (void)ctx;
    (void)xs_mem_unmap(p, size);
}

bool xs_bfc_wants_records(const struct xs_bfc *b)
{
    return b->unused_count < RECORDS_LOW && b->blocks < b->most_blocks;
}

bool xs_bfc_is_full(const struct xs_bfc *b)
{
    return b->blocks >= b->most_blocks && b->unused_count < 2;
}

bool xs_bfc_add_few(struct xs_bfc *b, void *fresh, uint32_t n)
{
    if (b->blocks >= b->most_blocks)
        return false;
    /* What is left of the block before it: fewer than a split needs, or few. */
    for (; b->fresh < b->fresh_end; b->fresh++) {
        bfc_record(b, b->fresh)->next = b->unused;
        b->unused = b->fresh;
    }
    b->fresh = b->blocks * RECORDS_PER_BLOCK;
    b->fresh_end = b->fresh + n;
    b->block[b->blocks] = fresh;
    b->blocks++;
    b->unused_count += n;
    if (b->fresh == 0) { /* that is nobody's */
        b->fresh = 1;
        b->unused_count--;
    }
    return true;
}

bool xs_bfc_add_records(struct xs_bfc *b, void *fresh)
{
    return xs_bfc_add_few(b, fresh, RECORDS_PER_BLOCK);
}

bool xs_bfc_in_use(const struct xs_bfc *b, xs_chunk c)
{
    return bfc_in_use(b, c);
}

void *xs_bfc_address(const struct xs_bfc *b, xs_chunk c)
{
    return (void *)bfc_record(b, c)->base; // NOLINT(performance-no-int-to-ptr)
}

bool xs_bfc_add_kept(struct xs_bfc *b, void *p, size_t size)
{
    if (!xs_bfc_add(b, p, size))
        return false;
    bfc_record(b, b->first_region)->is_kept = true;
    return true;
}

bool xs_bfc_is_zero(const struct xs_bfc *b, xs_chunk c)
{
    return bfc_record(b, c)->was_purged;
}

size_t xs_bfc_size(const struct xs_bfc *b, xs_chunk c)
{
    return bfc_record(b, c)->size;
}

size_t xs_bfc_used(const struct xs_bfc *b, xs_chunk c)
{
    return (size_t)bfc_record(b, c)->dirty << b->unit_log2;
}

size_t xs_bfc_requested(const struct xs_bfc *b, xs_chunk c)
{
    return bfc_record(b, c)->requested;
}

void xs_bfc_set_limit(struct xs_bfc *b, uint64_t limit_bytes)
{
    b->options.limit_bytes = limit_bytes;
    b->stats.limit_bytes = limit_bytes;
}

size_t xs_bfc_less(const struct xs_bfc *b, size_t size, size_t least)
{
    size_t unit = b->options.unit;

    size = xs_align_down(size - (size / 10 < unit ? unit : size / 10), unit);
    return size < least ? least : size;
}

static uint64_t room(const struct xs_bfc *b)
{
    if (b->options.limit_bytes == 0)
        return UINT64_MAX;
    return b->options.limit_bytes > b->stats.reserved_bytes
               ? b->options.limit_bytes - b->stats.reserved_bytes
               : 0;
}

size_t bfc_growth(const struct xs_bfc *b, size_t need)
{
    size_t unit = b->options.unit;
    uint64_t available = xs_align_down(room(b), unit);
    size_t size = b->next_region_bytes;

    if (!b->options.allow_growth && b->first_region != 0)
        return 0;
    if (!b->options.allow_growth && b->options.limit_bytes == 0)
        available = size;
    if (need > available)
        return 0;
    if (!b->options.allow_growth && b->options.limit_bytes != 0)
        size = (size_t)available;
    while (size < need && size <= SIZE_MAX / 2)
        size *= 2;
    if (b->options.allow_growth && size > b->options.region_max_bytes)
        size = b->options.region_max_bytes;
    if (size < need)
        size = need;
    return size > available ? (size_t)available : size;
}

size_t xs_bfc_growth(const struct xs_bfc *b, size_t size, size_t align, size_t *least)
{
    if (size == 0 || align > XS_SIZE_MAX_REQUEST / 4 || size > XS_SIZE_MAX_REQUEST - 2 * align)
        return 0;
    /* A new region is aligned already. */
    *least = xs_align_up(size, b->options.unit);
    return bfc_growth(b, *least);
}

void xs_bfc_stats_get(const struct xs_bfc *b, struct xs_bfc_stats *out)
{
    size_t largest = b->open != 0 ? bfc_record(b, b->open)->size : 0;

    *out = b->stats;
    if (b->fl_map != 0) {
        /* The largest free chunk lies in the highest bin that has any. */
        unsigned fl = 63u - (unsigned)__builtin_clzll(b->fl_map);
        unsigned sl = 31u - (unsigned)__builtin_clz(b->sl_map[fl]);
        for (xs_chunk c = bfc_heads(b, fl)[sl]; c != 0; c = bfc_record(b, c)->next)
            if (bfc_record(b, c)->size > largest)
                largest = bfc_record(b, c)->size;
    }
    out->largest_free_bytes = largest;
    out->fragmentation =
        out->free_bytes == 0 ? 0.0 : 1.0 - (double)largest / (double)out->free_bytes;
}

void xs_bfc_free_by_size(const struct xs_bfc *b, uint64_t bytes[XS_BFC_FLS + 1])
{
    for (unsigned fl = 0; fl <= XS_BFC_FLS; fl++) {
        bytes[fl] = 0;
        for (uint32_t sls = b->sl_map[fl]; sls != 0; sls &= sls - 1)
            for (xs_chunk c = bfc_heads(b, fl)[__builtin_ctz(sls)]; c != 0;
                 c = bfc_record(b, c)->next)
                bytes[fl] += bfc_record(b, c)->size;
    }
    if (b->open != 0)
        bytes[bfc_bin_of(b, bfc_record(b, b->open)->size).fl] += bfc_record(b, b->open)->size;
}

/* ---- the end ---------------------------------------------------------------------------- */

void xs_bfc_close(struct xs_bfc *b)
{
    for (xs_chunk region = b->first_region; region != 0;) {
        size_t size = bfc_record(b, region)->requested;
        xs_chunk next = bfc_record(b, region)->next;
        b->ops.unmap(b->ops.ctx, xs_bfc_address(b, region), size);
        region = next;
    }
    for (uint32_t i = 0; i < b->blocks; i++)
        b->ops.unmap_records(b->ops.ctx, b->block[i], XS_BFC_RECORDS_BYTES);
    b->blocks = 0;
    b->first_region = 0;
}

/* ---- the walker ------------------------------------------------------------------------- */

struct walk {
    uint64_t in_use;
    uint64_t requested;
    uint64_t free;
    uint64_t purged;
    uint64_t dirty;
    uint64_t reserved;
    uint32_t chunks_in_use;
    uint32_t chunks_free;
    uint32_t regions;
};

static bool walk_region(const struct xs_bfc *b, xs_chunk region, struct walk *w, struct xs_buf *why)
{
    uintptr_t at = bfc_record(b, region)->base;
    uintptr_t end = at + bfc_record(b, region)->requested;
    xs_chunk left = region;

    for (xs_chunk c = bfc_record(b, region)->right; c != 0; c = bfc_record(b, c)->right) {
        const struct xs_bfc_record *r = bfc_record(b, c);
        if (r->base != at || r->left != left || r->size == 0 || r->size % b->options.unit != 0) {
            xs_fmt(why, "chunk %u does not follow its left neighbour", c);
            return false;
        }
        if (r->state == CHUNK_IN_USE) {
            w->in_use += r->size;
            w->requested += r->requested;
            w->chunks_in_use++;
        } else if (r->state == CHUNK_FREE) {
            if (b->options.coalesce_on_free && bfc_record(b, left)->state == CHUNK_FREE) {
                xs_fmt(why, "free chunk %u lies beside a free one", c);
                return false;
            }
            w->free += r->size;
            w->purged += r->is_purged ? r->size : 0;
            w->dirty += r->dirty;
            w->chunks_free++;
        } else {
            xs_fmt(why, "chunk %u is neither free nor in use", c);
            return false;
        }
        at += r->size;
        left = c;
    }
    if (at != end) {
        xs_fmt(why, "the chunks of region %u do not fill it", region);
        return false;
    }
    w->reserved += bfc_record(b, region)->requested;
    w->regions++;
    return true;
}

/* Every chunk in a bin is free and of a size that belongs there; every bit tells the truth. */
static bool walk_bins(const struct xs_bfc *b, uint32_t chunks_free, struct xs_buf *why)
{
    uint32_t seen = b->open != 0 && bfc_record(b, b->open)->state == CHUNK_FREE;

    for (unsigned fl = 0; fl <= XS_BFC_FLS; fl++) {
        if (((b->fl_map >> fl & 1) != 0) != (b->sl_map[fl] != 0)) {
            xs_fmt(why, "bit %u of the first level is wrong", fl);
            return false;
        }
        for (unsigned sl = 0; sl < XS_BFC_SLS; sl++) {
            xs_chunk prev = 0;
            if (((b->sl_map[fl] >> sl & 1) != 0) != (bfc_heads(b, fl)[sl] != 0)) {
                xs_fmt(why, "bit %u/%u of the second level is wrong", fl, sl);
                return false;
            }
            uint64_t low = fl == 0 ? sl : (uint64_t)(XS_BFC_SLS + sl) << (fl - 1);
            uint64_t high = fl == 0 ? sl + 1 : (uint64_t)(XS_BFC_SLS + sl + 1) << (fl - 1);
            for (xs_chunk c = bfc_heads(b, fl)[sl]; c != 0; c = bfc_record(b, c)->next) {
                const struct xs_bfc_record *r = bfc_record(b, c);
                uint64_t units = r->size / b->options.unit;
                if (c == b->open || r->state != CHUNK_FREE || r->prev != prev || units < low ||
                    units >= high || ++seen > chunks_free) {
                    xs_fmt(why, "chunk %u does not belong into bin %u/%u", c, fl, sl);
                    return false;
                }
                prev = c;
            }
        }
    }
    if (seen != chunks_free) {
        xs_fmt(why, "%u free chunks, but %u in bins", chunks_free, seen);
        return false;
    }
    return true;
}

bool xs_bfc_check(const struct xs_bfc *b, struct xs_buf *why)
{
    struct walk w = {0};
    const struct xs_bfc_stats *s = &b->stats;

    for (xs_chunk region = b->first_region; region != 0; region = bfc_record(b, region)->next)
        if (!walk_region(b, region, &w, why))
            return false;
    if (!walk_bins(b, w.chunks_free, why))
        return false;
    if (w.in_use != s->in_use_bytes || w.requested != s->requested_bytes ||
        w.free != s->free_bytes || w.purged != s->purged_bytes || w.dirty != b->dirty ||
        w.reserved != s->reserved_bytes || w.chunks_in_use != s->chunks_in_use ||
        w.chunks_free != s->chunks_free || w.regions != s->regions) {
        xs_put_str(why, "the statistics disagree with the chunks");
        return false;
    }
    return true;
}
