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
        struct xs_bfc_record *r = bfc_record(b, b->fresh);
        r->number = b->fresh & (XS_BFC_CHUNKS - 1);
        r->next = b->unused;
        b->unused = r;
    }
    b->fresh = b->blocks * RECORDS_PER_BLOCK;
    b->fresh_end = b->fresh + n;
    b->block[b->blocks] = fresh;
    b->blocks++;
    if (b->fresh == 0) { /* that is nobody's */
        b->fresh = 1;
        n--;
    }
    b->unused_count += n;
    b->records += n;
    return true;
}

bool xs_bfc_add_records(struct xs_bfc *b, void *fresh)
{
    return xs_bfc_add_few(b, fresh, RECORDS_PER_BLOCK);
}

void *xs_bfc_address(const struct xs_bfc *b, xs_chunk c)
{
    return (void *)bfc_record(b, c)->base; // NOLINT(performance-no-int-to-ptr)
}

bool xs_bfc_add_kept(struct xs_bfc *b, void *p, size_t size)
{
    size_t next = b->next_region_bytes;

    if (!xs_bfc_add(b, p, size))
        return false;
    b->next_region_bytes = next;
    b->first_region->state = CHUNK_KEPT_REGION;
    return true;
}

bool xs_bfc_add_back(struct xs_bfc *b, void *p, size_t size, uint64_t now)
{
    size_t next = b->next_region_bytes;

    if (!xs_bfc_add(b, p, size))
        return false;
    b->next_region_bytes = next;
    b->stats.growth_steps--;
    b->stats.collected--;
    b->first_region->right->freed_at = now;
    return true;
}

size_t xs_bfc_size(const struct xs_bfc *b, xs_chunk c)
{
    return bfc_record(b, c)->size;
}

size_t xs_bfc_used(const struct xs_bfc *b, xs_chunk c)
{
    return (size_t)bfc_dirty_units(bfc_record(b, c)) << b->unit_log2;
}

size_t xs_bfc_fresh_bytes(const struct xs_bfc *b, xs_chunk c, size_t size)
{
    const struct xs_bfc_record *r = bfc_record(b, c);
    uintptr_t at = xs_align_up(r->base, size);
    uintptr_t end = r->base + r->size;

    if (r->size > size || at >= end || at < r->base + xs_bfc_used(b, c))
        return 0;
    if (size == end - at)
        return size;
    const struct xs_bfc_record *rest = r->right;
    bool is_fresh = rest != NULL && rest->state == CHUNK_FREE && bfc_dirty_units(rest) == 0;
    return is_fresh && size - (end - at) <= rest->size ? end - at : 0;
}

size_t xs_bfc_requested(const struct xs_bfc *b, xs_chunk c)
{
    return bfc_record(b, c)->requested;
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

/* The one that there is without growth. What was got at start and is kept comes on top. */
static bool has_region(const struct xs_bfc *b)
{
    const struct xs_bfc_record *r = b->first_region;

    while (r != NULL && r->state == CHUNK_KEPT_REGION)
        r = r->next;
    return r != NULL;
}

size_t bfc_growth(const struct xs_bfc *b, size_t need)
{
    size_t unit = b->options.unit;
    uint64_t available = xs_align_down(room(b), unit);
    size_t size = b->next_region_bytes;

    if (!b->options.allow_growth && has_region(b))
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
    size_t largest = b->open != NULL ? b->open->size : 0;

    *out = b->stats;
    if (b->filled_words != 0) {
        /* The largest free chunk lies in the highest bin that has any. */
        unsigned at = 31u - (unsigned)__builtin_clz(b->filled_words);
        unsigned bin = at * 64 + 63u - (unsigned)__builtin_clzll(b->filled[at]);
        for (const struct xs_bfc_record *r = bfc_record(b, *bfc_head(b, bin)); r != NULL;
             r = r->next)
            if (r->size > largest)
                largest = r->size;
    }
    /* Of what adds up only a part is counted with each call. */
    out->allocations = out->frees + out->chunks_in_use - b->divided;
    out->free_bytes = xs_bfc_free_bytes(b);
    out->chunks_free =
        b->records - b->unused_count - out->regions - out->chunks_in_use - b->out_chunks;
    out->largest_free_bytes = largest;
    out->fragmentation =
        out->free_bytes == 0 ? 0.0 : 1.0 - (double)largest / (double)out->free_bytes;
}

static unsigned free_size_of(size_t size)
{
    unsigned at = 0;

    while (at < XS_BFC_FREE_SIZES - 1 && size >= XS_BFC_FREE_BELOW(at))
        at++;
    return at;
}

void xs_bfc_free_by_size(const struct xs_bfc *b, uint64_t bytes[XS_BFC_FREE_SIZES])
{
    for (unsigned bin = 0; bin < XS_BFC_BINS; bin++) {
        const xs_chunk *head = bfc_filled_from(b, &bin);
        if (head == NULL)
            break;
        for (const struct xs_bfc_record *r = bfc_record(b, *head); r != NULL; r = r->next)
            bytes[free_size_of(r->size)] += r->size;
    }
    if (b->open != NULL)
        bytes[free_size_of(b->open->size)] += b->open->size;
}

/* ---- the end ---------------------------------------------------------------------------- */

void xs_bfc_close(struct xs_bfc *b)
{
    for (struct xs_bfc_record *region = b->first_region; region != NULL;) {
        size_t size = region->requested;
        struct xs_bfc_record *next = region->next;
        b->ops.unmap(b->ops.ctx, xs_bfc_address(b, region->number), size);
        region = next;
    }
    for (uint32_t i = 0; i < b->blocks; i++)
        b->ops.unmap_records(b->ops.ctx, b->block[i], XS_BFC_RECORDS_BYTES);
    b->blocks = 0;
    b->first_region = NULL;
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

static bool walk_region(const struct xs_bfc *b, const struct xs_bfc_record *region, struct walk *w,
                        struct xs_buf *why)
{
    uintptr_t at = region->base;
    uintptr_t end = at + region->requested;
    const struct xs_bfc_record *left = region;

    for (const struct xs_bfc_record *r = region->right; r != NULL; r = r->right) {
        xs_chunk c = r->number;
        if (bfc_record(b, c) != r || r->base != at || r->left != left || r->size == 0 ||
            r->size % b->options.unit != 0) {
            xs_fmt(why, "chunk %u does not follow its left neighbour", c);
            return false;
        }
        if (r->state == CHUNK_IN_USE) {
            w->in_use += r->size;
            w->requested += r->requested;
            w->chunks_in_use++;
        } else if (r->state == CHUNK_FREE) {
            if (b->options.coalesce_on_free && left->state == CHUNK_FREE) {
                xs_fmt(why, "free chunk %u lies beside a free one", c);
                return false;
            }
            w->free += r->size;
            w->purged += bfc_is_purged(r) ? r->size : 0;
            w->dirty += bfc_dirty_units(r);
            w->chunks_free++;
        } else {
            xs_fmt(why, "chunk %u is neither free nor in use", c);
            return false;
        }
        at += r->size;
        left = r;
    }
    if (at != end) {
        xs_fmt(why, "the chunks of region %u do not fill it", (unsigned)region->number);
        return false;
    }
    w->reserved += region->requested;
    w->regions++;
    return true;
}

/* Every chunk in a bin is free and of a size that belongs there; every bit tells the truth. */
static bool walk_bins(const struct xs_bfc *b, uint32_t chunks_free, struct xs_buf *why)
{
    uint32_t seen = bfc_is_free(b->open);

    for (unsigned at = 0; at < XS_COUNT_OF(b->filled); at++) {
        if ((b->filled_words >> at & 1) != (b->filled[at] != 0)) {
            xs_fmt(why, "bit %u of the first level is wrong", at);
            return false;
        }
    }
    for (unsigned bin = 0; bin < XS_BFC_BINS; bin++) {
        xs_chunk head = *bfc_head(b, bin);
        const struct xs_bfc_record *prev = NULL;
        if ((b->filled[bin / 64] >> bin % 64 & 1) != (head != 0)) {
            xs_fmt(why, "bit %u of the second level is wrong", bin);
            return false;
        }
        unsigned fl = bin / XS_BFC_SLS, sl = bin % XS_BFC_SLS;
        uint64_t low = fl == 0 ? sl : (uint64_t)(XS_BFC_SLS + sl) << (fl - 1);
        uint64_t high = fl == 0 ? sl + 1 : (uint64_t)(XS_BFC_SLS + sl + 1) << (fl - 1);
        for (const struct xs_bfc_record *r = head != 0 ? bfc_record(b, head) : NULL; r != NULL;
             r = r->next) {
            uint64_t units = r->size / b->options.unit;
            if (r == b->open || r->state != CHUNK_FREE || r->prev != prev || units < low ||
                units >= high || ++seen > chunks_free) {
                xs_fmt(why, "chunk %u does not belong into bin %u", (unsigned)r->number, bin);
                return false;
            }
            prev = r;
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
    struct xs_bfc_stats s;

    for (const struct xs_bfc_record *region = b->first_region; region != NULL;
         region = region->next)
        if (!walk_region(b, region, &w, why))
            return false;
    if (!walk_bins(b, w.chunks_free, why))
        return false;
    xs_bfc_stats_get(b, &s);
    if (w.in_use != s.in_use_bytes || w.requested != s.requested_bytes || w.free != s.free_bytes ||
        w.purged != s.purged_bytes || w.dirty != b->dirty || w.reserved != s.reserved_bytes ||
        w.chunks_in_use != s.chunks_in_use || w.chunks_free != s.chunks_free ||
        w.regions != s.regions) {
        xs_put_str(why, "the statistics disagree with the chunks");
        return false;
    }
    return true;
}
