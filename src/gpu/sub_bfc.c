/* core/bfc.h over device memory: every range is a region of it, and a tree of the blocks in use
 * answers which one lies around an address. */
#include "gpu/sub_bfc.h"

#include <errno.h>

#include "base/align.h"
#include "sys/mem.h"

/* Ranges double up to this; a larger request still gets its range. */
#define RANGE_MAX_BYTES ((size_t)64 << 20)

static struct xs_sub_bfc *own(struct xs_sub *s)
{
    return (struct xs_sub_bfc *)s;
}

static const struct xs_sub_bfc *own_const(const struct xs_sub *s)
{
    return (const struct xs_sub_bfc *)s;
}

static uint64_t address_of(const struct xs_sub_bfc *b, xs_chunk c)
{
    return (uintptr_t)xs_bfc_address(&b->bfc, c);
}

/* ---- what the core asks of the system: nothing but records ------------------------------ */

static void *map(void *ctx, size_t size, size_t align)
{
    (void)ctx;
    (void)size;
    (void)align;
    return NULL;
}

/* Its ranges are known here; who collects them sees to them. */
static void unmap(void *ctx, void *p, size_t size)
{
    (void)ctx;
    (void)p;
    (void)size;
}

/* ---- blocks ----------------------------------------------------------------------------- */

enum xs_sub_result xs_sub_bfc_take(struct xs_sub *s, size_t size, size_t requested,
                                   struct xs_sub_block *out)
{
    struct xs_sub_bfc *b = own(s);
    xs_chunk c = xs_bfc_alloc(&b->bfc, size, 0);

    if (c == 0) { /* if it was for want of a record, more ranges do not help */
        struct xs_bfc_stats stats;
        xs_bfc_stats_get(&b->bfc, &stats);
        return stats.largest_free_bytes >= xs_align_up(size, s->align) ? XS_SUB_NONE : XS_SUB_NEED;
    }
    uint64_t address = address_of(b, c);
    if (!xs_sub_tree_insert(&b->tree, c, address)) {
        (void)xs_bfc_free(&b->bfc, c, 0);
        return XS_SUB_NONE;
    }
    struct xs_sub_node *n = xs_sub_tree_node(&b->tree, c);
    n->requested = requested;
    n->is_kept = false;
    *out = (struct xs_sub_block){address, xs_bfc_size(&b->bfc, c), c};
    xs_sub_began(s, &s->range[xs_sub_range_at(s, address)], out->size, requested);
    return XS_SUB_OK;
}

int xs_sub_bfc_merge(struct xs_sub *s, uint32_t handle)
{
    struct xs_sub_bfc *b = own(s);

    if (!xs_bfc_in_use(&b->bfc, handle))
        return EINVAL;
    const struct xs_sub_node *n = xs_sub_tree_node(&b->tree, handle);
    size_t size = xs_bfc_size(&b->bfc, handle);
    int range = xs_sub_range_at(s, n->address);
    int rc = range < 0 ? EFAULT : xs_bfc_free(&b->bfc, handle, 0);
    if (rc != 0)
        return rc;
    if (!n->is_kept)
        xs_sub_ended(s, &s->range[range], size, n->requested);
    xs_sub_tree_remove(&b->tree, handle);
    return 0;
}

/* ---- ranges ----------------------------------------------------------------------------- */

static void *region(const struct xs_sub_range *r)
{
    return (void *)(uintptr_t)r->base; // NOLINT(performance-no-int-to-ptr)
}

bool xs_sub_bfc_adopt(struct xs_sub *s, unsigned range)
{
    return xs_bfc_add(&own(s)->bfc, region(&s->range[range]), s->range[range].usable);
}

void xs_sub_bfc_release(struct xs_sub *s)
{
    struct xs_sub_bfc *b = own(s);

    /* The core lets go of all that is wholly free; what stays comes back, as records for it have
     * just become free. */
    (void)xs_bfc_collect(&b->bfc, UINT64_MAX);
    for (unsigned at = 0; at < s->ranges; at++) {
        const struct xs_sub_range *r = &s->range[s->order[at]];
        if (r->used == 0 && r->cached == 0 && !r->leaving)
            (void)xs_bfc_add(&b->bfc, region(r), r->usable);
    }
}

/* ---- looking ---------------------------------------------------------------------------- */

/* As free neighbours are always one, a free piece reaches from block to block. */
bool xs_sub_bfc_find(const struct xs_sub *s, unsigned range, uint64_t address,
                     struct xs_sub_block *out, bool *in_use)
{
    const struct xs_sub_bfc *b = own_const(s);
    const struct xs_sub_range *r = &s->range[range];
    uint64_t start = r->base;
    uint64_t end = r->base + r->usable;
    xs_chunk c = xs_sub_tree_at(&b->tree, address);

    *in_use = false;
    if (c != 0 && address_of(b, c) >= r->base) {
        start = address_of(b, c) + xs_bfc_size(&b->bfc, c);
        if (address < start) {
            *out = (struct xs_sub_block){address_of(b, c), xs_bfc_size(&b->bfc, c), c};
            *in_use = !xs_sub_tree_node(&b->tree, c)->is_kept;
            return true;
        }
    }
    c = xs_sub_tree_above(&b->tree, address);
    if (c != 0 && address_of(b, c) < end)
        end = address_of(b, c);
    *out = (struct xs_sub_block){start, end - start, 0};
    return true;
}

uint64_t xs_sub_bfc_largest_free(const struct xs_sub *s)
{
    struct xs_bfc_stats stats;

    xs_bfc_stats_get(&own_const(s)->bfc, &stats);
    return stats.largest_free_bytes;
}

bool xs_sub_bfc_check(const struct xs_sub *s, struct xs_buf *why)
{
    const struct xs_sub_bfc *b = own_const(s);
    struct xs_bfc_stats stats;
    uint32_t blocks = 0;
    uint64_t end = 0;
    uint64_t requested = 0;
    uint64_t kept = 0;

    if (!xs_bfc_check(&b->bfc, why))
        return false;
    xs_bfc_stats_get(&b->bfc, &stats);
    for (xs_chunk c = xs_sub_tree_above(&b->tree, 0); c != 0;
         c = xs_sub_tree_above(&b->tree, address_of(b, c))) {
        const struct xs_sub_node *n = xs_sub_tree_node(&b->tree, c);
        if (!xs_bfc_in_use(&b->bfc, c) || address_of(b, c) < end || n->address < end ||
            ++blocks > stats.chunks_in_use) {
            xs_fmt(why, "chunk %u does not belong into the tree", c);
            return false;
        }
        end = address_of(b, c) + xs_bfc_size(&b->bfc, c);
        requested += n->is_kept ? 0 : n->requested;
        kept += n->is_kept ? xs_bfc_size(&b->bfc, c) : 0;
    }
    if (blocks != stats.chunks_in_use || stats.regions != s->ranges ||
        stats.in_use_bytes != s->in_use + kept || kept != b->kept_bytes ||
        requested != s->requested || stats.reserved_bytes != s->usable) {
        xs_put_str(why, "the core's statistics disagree with the ranges");
        return false;
    }
    return true;
}

/* ---- opening and closing ---------------------------------------------------------------- */

void xs_sub_bfc_close(struct xs_sub *s)
{
    xs_bfc_close(&own(s)->bfc);
    xs_sub_tree_close(&own(s)->tree);
}

struct xs_sub *xs_sub_bfc_make(size_t bytes, const struct xs_sub_kind *kind, size_t unit,
                               uint64_t limit_bytes)
{
    static const struct xs_bfc_ops ops = {.map = map,
                                          .unmap = unmap,
                                          .map_records = xs_bfc_map_records,
                                          .unmap_records = xs_bfc_unmap_records};
    struct xs_bfc_options bfc = {.unit = unit, .initial_bytes = unit, .coalesce_on_free = true};
    struct xs_sub *s = xs_sub_open(bytes, kind, unit, limit_bytes);

    if (s == NULL)
        return NULL;
    if (xs_bfc_open(&own(s)->bfc, &bfc, &ops) != 0) {
        (void)xs_mem_unmap(s, s->bytes);
        return NULL;
    }
    return s;
}

/* ---- the kind bfc: nothing more --------------------------------------------------------- */

static enum xs_sub_result take(struct xs_sub *s, size_t size, struct xs_sub_block *out)
{
    return xs_sub_bfc_take(s, size, size, out);
}

static size_t rounded(const struct xs_sub *s, size_t size)
{
    return xs_align_up(size, s->align);
}

static void settle(struct xs_sub *s)
{
    (void)s; /* every free merges */
}

static const struct xs_sub_kind kind_bfc = {
    .take = take,
    .rounded = rounded,
    .adopt = xs_sub_bfc_adopt,
    .release = xs_sub_bfc_release,
    .settle = settle,
    .give = xs_sub_bfc_merge,
    .find = xs_sub_bfc_find,
    .largest_free = xs_sub_bfc_largest_free,
    .check = xs_sub_bfc_check,
    .close = xs_sub_bfc_close,
};

struct xs_sub *xs_sub_bfc_open(const struct xs_sub_bfc_options *o)
{
    if (!xs_is_pow2(o->unit))
        return NULL;
    struct xs_sub *s = xs_sub_bfc_make(sizeof(struct xs_sub_bfc), &kind_bfc, o->unit,
                                       o->limit_bytes != 0 ? o->limit_bytes : UINT64_MAX);
    if (s == NULL)
        return NULL;
    s->largest = XS_SIZE_MAX_REQUEST / 2;
    s->growth = 2.0;
    s->first_bytes = o->initial_bytes != 0 ? (size_t)o->initial_bytes : XS_SUB_GRANULE;
    s->most_bytes = s->first_bytes > RANGE_MAX_BYTES ? s->first_bytes : RANGE_MAX_BYTES;
    s->next_bytes = s->first_bytes;
    return s;
}
