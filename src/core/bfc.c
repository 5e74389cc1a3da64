#include "core/bfc.h"

#include <errno.h>

#include "base/align.h"
#include "core/bfc_record.h"
#include "sys/mem.h"

_Static_assert(XS_BFC_RECORDS_BYTES >= RECORDS_PER_BLOCK * sizeof(struct xs_bfc_record), "fits");
_Static_assert(sizeof(struct xs_bfc_record) == XS_BFC_RECORD_BYTES, "as others know it");

/* ---- records ---------------------------------------------------------------------------- */

static bool add_block(struct xs_bfc *b)
{
    if (b->ops.map_records == NULL || b->blocks >= b->most_blocks)
        return false;
    void *fresh = b->ops.map_records(b->ops.ctx, XS_BFC_RECORDS_BYTES);
    return fresh != NULL && xs_bfc_add_records(b, fresh);
}

/* Makes sure that `n` records can be had; splits must not fail half way. */
bool xs_bfc_have_records(struct xs_bfc *b, unsigned n)
{
    return b->unused_count >= n || add_block(b);
}

XS_INLINE xs_chunk take_record(struct xs_bfc *b)
{
    xs_chunk c = b->unused != 0 ? b->unused : b->fresh++;
    struct xs_bfc_record *r = bfc_record(b, c);

    if (c == b->unused)
        b->unused = r->next;
    b->unused_count--;
    *r = (struct xs_bfc_record){0};
    return c;
}

XS_INLINE void give_record(struct xs_bfc *b, xs_chunk c)
{
    struct xs_bfc_record *r = bfc_record(b, c);

    r->state = CHUNK_NONE;
    r->next = b->unused;
    b->unused = c;
    b->unused_count++;
}

/* ---- bins ------------------------------------------------------------------------------- */

XS_INLINE void bin_link(struct xs_bfc *b, xs_chunk c)
{
    struct xs_bfc_record *r = bfc_record(b, c);
    struct bfc_bin at = bfc_bin_of(b, r->size);
    xs_chunk *head = &bfc_heads(b, at.fl)[at.sl];

    r->next = *head;
    r->prev = 0;
    if (*head != 0)
        bfc_record(b, *head)->prev = c;
    *head = c;
    b->fl_map |= (uint64_t)1 << at.fl;
    b->sl_map[at.fl] |= (uint32_t)1 << at.sl;
}

/* Out of the bin that it was linked to when it had `size`. */
XS_INLINE void bin_unlink(struct xs_bfc *b, xs_chunk c, size_t size)
{
    struct xs_bfc_record *r = bfc_record(b, c);

    if (r->next != 0)
        bfc_record(b, r->next)->prev = r->prev;
    if (r->prev != 0) {
        bfc_record(b, r->prev)->next = r->next;
    } else {
        struct bfc_bin at = bfc_bin_of(b, size);
        bfc_heads(b, at.fl)[at.sl] = r->next;
        if (r->next == 0) {
            b->sl_map[at.fl] &= ~((uint32_t)1 << at.sl);
            if (b->sl_map[at.fl] == 0)
                b->fl_map &= ~((uint64_t)1 << at.fl);
        }
    }
    r->next = 0;
    r->prev = 0;
}

/* The chunk becomes the open one, and the last one goes into its bin. What is cut from is mostly
 * cut from again, and what is freed next mostly lies beside what was freed last: such a chunk
 * changes its size many times before it is worth a bin. */
static void open_chunk(struct xs_bfc *b, xs_chunk c)
{
    if (b->open != 0)
        bin_link(b, b->open);
    b->open = c;
}

/* Before the bins are looked through. */
static void close_open(struct xs_bfc *b)
{
    if (b->open != 0)
        open_chunk(b, 0);
}

static void bin_insert(struct xs_bfc *b, xs_chunk c)
{
    struct xs_bfc_record *r = bfc_record(b, c);

    r->state = CHUNK_FREE;
    r->next = 0;
    r->prev = 0;
    open_chunk(b, c);
    b->stats.free_bytes += r->size;
    b->stats.purged_bytes += r->is_purged ? r->size : 0;
    b->stats.chunks_free++;
}

static void bin_remove(struct xs_bfc *b, xs_chunk c)
{
    struct xs_bfc_record *r = bfc_record(b, c);

    if (c == b->open)
        b->open = 0;
    else
        bin_unlink(b, c, r->size);
    b->stats.free_bytes -= r->size;
    b->stats.purged_bytes -= r->is_purged ? r->size : 0;
    b->stats.chunks_free--;
}

/* A free chunk of another size than its bin knows, which was `old_size`. */
XS_INLINE void bin_update(struct xs_bfc *b, xs_chunk c, size_t old_size, bool was_purged)
{
    const struct xs_bfc_record *r = bfc_record(b, c);

    if (c != b->open) {
        bin_unlink(b, c, old_size);
        open_chunk(b, c);
    }
    b->stats.free_bytes += r->size - old_size;
    b->stats.purged_bytes += (r->is_purged ? r->size : 0) - (was_purged ? old_size : 0);
}

/* The smallest chunk of at least `size` among the first few of a bin. */
XS_INLINE xs_chunk best_in(struct xs_bfc *b, xs_chunk head, size_t size, unsigned most)
{
    xs_chunk best = 0;
    size_t best_size = SIZE_MAX;
    unsigned probes = 0;

    for (xs_chunk c = head; c != 0 && probes < most; probes++) {
        const struct xs_bfc_record *r = bfc_record(b, c);
        if (r->size >= size && r->size < best_size) {
            best = c;
            best_size = r->size;
        }
        c = r->next;
    }
    b->steps += probes;
    return best;
}

XS_INLINE xs_chunk find_in_bins(struct xs_bfc *b, size_t size)
{
    struct bfc_bin at = bfc_bin_of(b, size);

    if (at.fl > XS_BFC_FLS)
        return 0;
    xs_chunk c = best_in(b, bfc_heads(b, at.fl)[at.sl], size, XS_BFC_PROBES);
    if (c != 0)
        return c;
    /* Everything in a bin above is large enough. */
    uint32_t sls = at.sl + 1 < XS_BFC_SLS ? b->sl_map[at.fl] & (UINT32_MAX << (at.sl + 1)) : 0;
    if (sls == 0) {
        uint64_t fls = b->fl_map & (UINT64_MAX << (at.fl + 1));
        if (fls == 0)
            return 0;
        at.fl = (unsigned)__builtin_ctzll(fls);
        sls = b->sl_map[at.fl];
    }
    return best_in(b, bfc_heads(b, at.fl)[__builtin_ctz(sls)], size, XS_BFC_PROBES);
}

XS_INLINE xs_chunk find(struct xs_bfc *b, size_t size)
{
    xs_chunk c = find_in_bins(b, size), open = b->open;

    if (open != 0 && bfc_record(b, open)->size >= size &&
        (c == 0 || bfc_record(b, open)->size <= bfc_record(b, c)->size))
        return open;
    return c;
}

/* ---- splitting and merging -------------------------------------------------------------- */

/* Cuts `c` after `size` bytes; the rest becomes a new chunk behind it, in no bin. */
static xs_chunk cut(struct xs_bfc *b, xs_chunk c, size_t size)
{
    xs_chunk rest = take_record(b);
    struct xs_bfc_record *r = bfc_record(b, c);
    struct xs_bfc_record *s = bfc_record(b, rest);

    s->base = r->base + size;
    s->size = r->size - size;
    s->left = c;
    s->right = r->right;
    s->freed_at = r->freed_at;
    s->is_purged = r->is_purged;
    s->state = CHUNK_CUT;
    if (r->right != 0)
        bfc_record(b, r->right)->left = rest;
    r->right = rest;
    r->size = size;
    bfc_share_dirty(b, r, s, r->dirty);
    b->steps++;
    return rest;
}

/* Cuts `size` bytes off the beginning of the free chunk `c`, which stays in its bins. */
static xs_chunk cut_head(struct xs_bfc *b, xs_chunk c, size_t size)
{
    xs_chunk head = take_record(b);
    struct xs_bfc_record *r = bfc_record(b, c);
    struct xs_bfc_record *h = bfc_record(b, head);
    size_t old_size = r->size;

    h->base = r->base;
    h->size = size;
    h->left = r->left;
    h->right = c;
    h->freed_at = r->freed_at;
    h->is_purged = r->is_purged;
    h->state = CHUNK_CUT;
    bfc_record(b, r->left)->right = head;
    r->left = head;
    r->base += size;
    r->size -= size;
    bfc_share_dirty(b, h, r, r->dirty);
    bin_update(b, c, old_size, r->is_purged);
    b->steps++;
    return head;
}

/* When a chunk of two parts was freed. A small part that was in use until now does not make a large
 * one young again: else memory next to what a program keeps using would never be given back. */
static uint64_t date_of(const struct xs_bfc_record *a, const struct xs_bfc_record *c)
{
    if (a->is_purged != c->is_purged)
        return a->is_purged ? c->freed_at : a->freed_at;
    const struct xs_bfc_record *young = a->freed_at > c->freed_at ? a : c;
    const struct xs_bfc_record *old = a->freed_at > c->freed_at ? c : a;

    return young->size >= old->size / 4 ? young->freed_at : old->freed_at;
}

/* `right` disappears into its left neighbour; neither is in a bin. */
static void join(struct xs_bfc *b, xs_chunk left, xs_chunk right)
{
    struct xs_bfc_record *l = bfc_record(b, left);
    struct xs_bfc_record *r = bfc_record(b, right);

    l->freed_at = date_of(l, r);
    l->size += r->size;
    l->right = r->right;
    if (r->right != 0)
        bfc_record(b, r->right)->left = left;
    l->is_purged = l->is_purged && r->is_purged;
    bfc_add_dirty(b, l, r);
    give_record(b, right);
    b->steps++;
}

static bool is_free(const struct xs_bfc *b, xs_chunk c)
{
    return c != 0 && bfc_record(b, c)->state == CHUNK_FREE;
}

/* `c`, in no bin, becomes free: it grows a free neighbour where there is one. */
static void release(struct xs_bfc *b, xs_chunk c)
{
    struct xs_bfc_record *r = bfc_record(b, c);
    xs_chunk left = r->left;
    xs_chunk right = r->right;

    if (!b->options.coalesce_on_free) {
        b->unmerged++;
        bin_insert(b, c);
        return;
    }
    if (is_free(b, left)) {
        struct xs_bfc_record *l = bfc_record(b, left);
        size_t old_size = l->size;
        bool was_purged = l->is_purged;
        if (is_free(b, right)) {
            bin_remove(b, right);
            join(b, c, right);
        }
        join(b, left, c);
        bin_update(b, left, old_size, was_purged);
    } else if (is_free(b, right)) {
        struct xs_bfc_record *g = bfc_record(b, right);
        size_t old_size = g->size;
        bool was_purged = g->is_purged;
        g->freed_at = date_of(g, r);
        g->base = r->base;
        g->size += r->size;
        g->left = left;
        bfc_record(b, left)->right = right;
        g->is_purged = g->is_purged && r->is_purged;
        bfc_add_dirty(b, g, r);
        give_record(b, c);
        bin_update(b, right, old_size, was_purged);
        b->steps++;
    } else {
        bin_insert(b, c);
    }
}

/* For coalesce_on_free = off: everything that touches, at once. */
static bool merge_all(struct xs_bfc *b)
{
    bool any = false;

    if (b->unmerged == 0)
        return false;
    for (xs_chunk region = b->first_region; region != 0; region = bfc_record(b, region)->next) {
        for (xs_chunk c = bfc_record(b, region)->right; c != 0; c = bfc_record(b, c)->right) {
            if (!is_free(b, c) || !is_free(b, bfc_record(b, c)->right))
                continue;
            bin_remove(b, c);
            while (is_free(b, bfc_record(b, c)->right)) {
                bin_remove(b, bfc_record(b, c)->right);
                join(b, c, bfc_record(b, c)->right);
            }
            bin_insert(b, c);
            any = true;
        }
    }
    b->unmerged = 0;
    return any;
}

/* ---- regions ---------------------------------------------------------------------------- */

/* The chunk that a wholly free region consists of, or 0. */
static xs_chunk whole_free(const struct xs_bfc *b, xs_chunk region)
{
    xs_chunk c = bfc_record(b, region)->right;

    return is_free(b, c) && bfc_record(b, c)->right == 0 ? c : 0;
}

/* Two records can be had. The region's one free chunk. */
static xs_chunk add_region(struct xs_bfc *b, uintptr_t base, size_t size)
{
    xs_chunk region = take_record(b);
    xs_chunk c = take_record(b);
    struct xs_bfc_record *r = bfc_record(b, c);

    *bfc_record(b, region) = (struct xs_bfc_record){
        .base = base,
        .requested = size,
        .right = c,
        .next = b->first_region,
        .state = CHUNK_REGION,
    };
    b->first_region = region;
    r->base = base;
    r->size = size;
    r->left = region;
    r->is_purged = true; /* fresh from the system: nothing to purge */
    b->stats.reserved_bytes += size;
    if (b->stats.reserved_bytes > b->stats.reserved_peak_bytes)
        b->stats.reserved_peak_bytes = b->stats.reserved_bytes;
    b->stats.regions++;
    b->stats.growth_steps++;
    bin_insert(b, c);
    return c;
}

/* The next region is larger. */
static void note_growth(struct xs_bfc *b)
{
    if (b->next_region_bytes <= SIZE_MAX / 2 && b->next_region_bytes < b->options.region_max_bytes)
        b->next_region_bytes *= 2;
}

/* A region of at least `need` bytes as one free chunk, or 0. */
static xs_chunk extend(struct xs_bfc *b, size_t need, size_t align)
{
    size_t size;
    void *p = NULL;

    if (b->ops.map == NULL)
        return 0;
    size = bfc_growth(b, need);
    if (size == 0 || !xs_bfc_have_records(b, 2))
        return 0;
    for (;; size = xs_bfc_less(b, size, need)) {
        p = b->ops.map(b->ops.ctx, size, align);
        if (p != NULL || size == need)
            break;
    }
    if (p == NULL)
        return 0;
    note_growth(b);
    return add_region(b, (uintptr_t)p, size);
}

bool xs_bfc_add(struct xs_bfc *b, void *p, size_t size)
{
    uintptr_t base = (uintptr_t)p;

    if (size == 0 || ((base | size) & (b->options.unit - 1)) != 0 || !xs_bfc_have_records(b, 2))
        return false;
    if (b->ops.map == NULL)
        note_growth(b);
    (void)add_region(b, base, size);
    return true;
}

unsigned xs_bfc_take_regions(struct xs_bfc *b, uint64_t until, struct xs_bfc_range out[],
                             unsigned most)
{
    unsigned n = 0;

    merge_all(b);
    for (xs_chunk *link = &b->first_region; *link != 0 && n < most;) {
        xs_chunk region = *link;
        xs_chunk c = whole_free(b, region);
        if (c == 0 || bfc_record(b, c)->freed_at > until || bfc_record(b, region)->is_kept) {
            link = &bfc_record(b, region)->next;
            continue;
        }
        *link = bfc_record(b, region)->next;
        bin_remove(b, c);
        out[n].p = xs_bfc_address(b, c);
        out[n].size = bfc_record(b, c)->size;
        out[n].chunk = 0;
        b->stats.reserved_bytes -= out[n].size;
        b->stats.regions--;
        b->stats.collected++;
        b->dirty -= bfc_record(b, c)->dirty;
        give_record(b, c);
        give_record(b, region);
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
static bool worth_collecting(struct xs_bfc *b, size_t need)
{
    uint64_t whole = 0;

    if (!b->options.garbage_collection || b->options.limit_bytes == 0)
        return false;
    merge_all(b);
    for (xs_chunk region = b->first_region; region != 0; region = bfc_record(b, region)->next)
        if (whole_free(b, region) != 0 && !bfc_record(b, region)->is_kept)
            whole += bfc_record(b, region)->requested;
    return whole != 0 && need <= b->options.limit_bytes &&
           need <= b->options.limit_bytes - (b->stats.reserved_bytes - whole);
}

static bool collect_for(struct xs_bfc *b, size_t need)
{
    return b->ops.map != NULL && worth_collecting(b, need) && xs_bfc_collect(b, UINT64_MAX) != 0;
}

bool xs_bfc_worth_collecting(struct xs_bfc *b, size_t size)
{
    return size <= XS_SIZE_MAX_REQUEST && worth_collecting(b, xs_align_up(size, b->options.unit));
}

/* ---- the calls -------------------------------------------------------------------------- */

int xs_bfc_open(struct xs_bfc *b, const struct xs_bfc_options *o, const struct xs_bfc_ops *ops)
{
    if (!xs_is_pow2(o->unit) || o->initial_bytes == 0 || o->fragmentation_permille > 1000)
        return EINVAL;
    b->ops = *ops;
    b->options = *o;
    b->unit_log2 = (unsigned)__builtin_ctzll(o->unit);
    b->next_region_bytes = xs_align_up(o->initial_bytes, o->unit);
    b->options.region_max_bytes = o->region_max_bytes > b->next_region_bytes
                                      ? xs_align_up(o->region_max_bytes, o->unit)
                                      : b->next_region_bytes;
    b->stats.limit_bytes = o->limit_bytes;
    b->most_blocks = o->chunks_max != 0 ? o->chunks_max / RECORDS_PER_BLOCK : XS_BFC_BLOCKS;
    return ops->map_records == NULL || add_block(b) ? 0 : ENOMEM;
}

/* TensorFlow's rule when a part of the limit is given, else every remainder is split off. */
static bool worth_splitting(const struct xs_bfc *b, size_t size, size_t remainder)
{
    if (remainder < b->options.unit)
        return false;
    if (b->options.fragmentation_permille == 0)
        return true;
    uint64_t limit = b->options.limit_bytes != 0 ? b->options.limit_bytes : b->stats.reserved_bytes;
    return remainder >= size || remainder >= limit / 1000 * b->options.fragmentation_permille;
}

/* The best of the whole bin of `size`, which find only probes. */
static xs_chunk find_in_bin(struct xs_bfc *b, size_t size)
{
    struct bfc_bin at = bfc_bin_of(b, size);

    return at.fl > XS_BFC_FLS ? 0 : best_in(b, bfc_heads(b, at.fl)[at.sl], size, UINT32_MAX);
}

enum from {
    FROM_ANY,
    FROM_HELD,  /* what is there; a failure is not counted */
    FROM_USED,  /* the same, if there is memory behind it */
    FROM_WHOLE, /* as FROM_HELD, and nothing is split off */
    FROM_NEWEST /* the region that was just added */
};

static bool is_from_held(enum from from)
{
    return from == FROM_HELD || from == FROM_USED || from == FROM_WHOLE;
}

static bool is_fresh(const struct xs_bfc *b, xs_chunk c, size_t size)
{
    return bfc_record(b, c)->dirty < bfc_units_of(b, size) / 2;
}

/* A free chunk of at least `need` bytes; a new region is aligned already, so `size` will do there.
 */
static xs_chunk find_or_grow(struct xs_bfc *b, size_t need, size_t size, size_t align,
                             enum from from)
{
    if (from == FROM_NEWEST)
        return whole_free(b, b->first_region);
    xs_chunk c = find(b, need);
    if (c == 0 && merge_all(b))
        c = find(b, need);
    if (c != 0 || is_from_held(from))
        return c;
    c = extend(b, size, align);
    if (c == 0 && collect_for(b, size))
        c = extend(b, size, align);
    return c != 0 ? c : find_in_bin(b, need);
}

static xs_chunk alloc(struct xs_bfc *b, size_t request, size_t align, enum from from)
{
    size_t unit = b->options.unit;

    if (align < unit)
        align = unit;
    if (request == 0 || align > XS_SIZE_MAX_REQUEST / 4 ||
        request > XS_SIZE_MAX_REQUEST - 2 * align || !xs_bfc_have_records(b, 2)) {
        b->stats.failures += !is_from_held(from);
        return 0;
    }
    size_t size = xs_align_up(request, unit);
    /* Room to move up to the alignment; a chunk that happens to be aligned gives it back. */
    size_t need = size + (align - unit);
    xs_chunk c = find_or_grow(b, need, size, align, from);
    if (c == 0 || (from == FROM_USED && is_fresh(b, c, size)) || !xs_bfc_have_records(b, 2)) {
        b->stats.failures += !is_from_held(from);
        return 0;
    }
    struct xs_bfc_record *r = bfc_record(b, c);
    size_t lead = xs_align_up(r->base, align) - r->base;
    if (lead > 0) {
        bin_remove(b, c);
        xs_chunk rest = cut(b, c, lead);
        bin_insert(b, c);
        bin_insert(b, rest);
        c = rest;
        r = bfc_record(b, c);
    }
    if (from != FROM_WHOLE && worth_splitting(b, size, r->size - size)) {
        c = cut_head(b, c, size);
        r = bfc_record(b, c);
    } else {
        bin_remove(b, c);
    }
    r->state = CHUNK_IN_USE;
    r->requested = request;
    b->dirty -= r->dirty;
    r->was_purged = r->is_purged;
    r->is_purged = false;
    b->stats.refilled_bytes += r->was_purged && r->freed_at != 0 ? r->size : 0;
    b->stats.allocations++;
    b->stats.chunks_in_use++;
    b->stats.requested_bytes += request;
    b->stats.in_use_bytes += r->size;
    if (b->stats.in_use_bytes > b->stats.in_use_peak_bytes)
        b->stats.in_use_peak_bytes = b->stats.in_use_bytes;
    if (request > b->stats.largest_allocation_bytes)
        b->stats.largest_allocation_bytes = request;
    return c;
}

xs_chunk xs_bfc_alloc(struct xs_bfc *b, size_t size, size_t align)
{
    return alloc(b, size, align, FROM_ANY);
}

xs_chunk xs_bfc_alloc_held(struct xs_bfc *b, size_t size, size_t align)
{
    return alloc(b, size, align, FROM_HELD);
}

xs_chunk xs_bfc_alloc_used(struct xs_bfc *b, size_t size, size_t align)
{
    return alloc(b, size, align, FROM_USED);
}

xs_chunk xs_bfc_alloc_whole(struct xs_bfc *b, size_t size)
{
    return alloc(b, size, 0, FROM_WHOLE);
}

xs_chunk xs_bfc_divide(struct xs_bfc *b, xs_chunk c, size_t size)
{
    if (!xs_bfc_have_records(b, 1))
        return 0;
    xs_chunk rest = cut(b, c, size);
    struct xs_bfc_record *r = bfc_record(b, c), *s = bfc_record(b, rest);
    s->state = CHUNK_IN_USE;
    s->was_purged = r->was_purged;
    s->requested = s->size;
    b->stats.requested_bytes += size + s->size - r->requested;
    b->stats.chunks_in_use++;
    r->requested = size;
    return rest;
}

xs_chunk xs_bfc_alloc_newest(struct xs_bfc *b, size_t size, size_t align)
{
    return alloc(b, size, align, FROM_NEWEST);
}

/* Both neighbours must agree that this chunk lies between them. */
XS_INLINE bool neighbours_agree(const struct xs_bfc *b, xs_chunk c)
{
    const struct xs_bfc_record *r = bfc_record(b, c);
    const struct xs_bfc_record *left = bfc_record(b, r->left);
    const struct xs_bfc_record *right = r->right != 0 ? bfc_record(b, r->right) : NULL;

    return left->right == c && left->base + left->size == r->base &&
           (right == NULL || (right->left == c && r->base + r->size == right->base));
}

int xs_bfc_free(struct xs_bfc *b, xs_chunk c, uint64_t now)
{
    if (!bfc_in_use(b, c))
        return EINVAL;
    if (!neighbours_agree(b, c))
        return EFAULT;
    struct xs_bfc_record *r = bfc_record(b, c);
    b->stats.frees++;
    b->stats.chunks_in_use--;
    b->stats.requested_bytes -= r->requested;
    b->stats.in_use_bytes -= r->size;
    r->requested = 0;
    r->freed_at = now;
    r->is_purged = false;
    r->dirty = bfc_units_of(b, r->size);
    b->dirty += r->dirty;
    release(b, c);
    return 0;
}

bool xs_bfc_resize(struct xs_bfc *b, xs_chunk c, size_t request, uint64_t now)
{
    if (!bfc_in_use(b, c) || !neighbours_agree(b, c) || request == 0 ||
        request > XS_SIZE_MAX_REQUEST - b->options.unit || !xs_bfc_have_records(b, 1))
        return false;
    struct xs_bfc_record *r = bfc_record(b, c);
    size_t size = xs_align_up(request, b->options.unit);
    size_t old = r->size;

    bool tail_is_purged = false;
    uint64_t tail_date = now;

    if (size > r->size) {
        xs_chunk right = r->right;
        if (!is_free(b, right) || r->size + bfc_record(b, right)->size < size)
            return false;
        tail_is_purged = bfc_record(b, right)->is_purged;
        tail_date = bfc_record(b, right)->freed_at;
        b->dirty -= bfc_record(b, right)->dirty;
        bfc_record(b, right)->dirty = 0;
        bin_remove(b, right);
        join(b, c, right);
    }
    if (worth_splitting(b, size, r->size - size)) {
        xs_chunk rest = cut(b, c, size);
        struct xs_bfc_record *s = bfc_record(b, rest);
        /* A tail that was in use is dated now; one that was free keeps what it was. */
        s->freed_at = tail_date;
        s->is_purged = tail_is_purged;
        s->dirty = tail_is_purged ? 0 : bfc_units_of(b, s->size);
        b->dirty += s->dirty;
        if (is_free(b, s->right)) {
            xs_chunk right = s->right;
            bin_remove(b, right);
            join(b, rest, right);
        }
        bin_insert(b, rest);
    }
    b->stats.in_use_bytes += r->size - old;
    b->stats.requested_bytes += request - r->requested;
    r->requested = request;
    if (b->stats.in_use_bytes > b->stats.in_use_peak_bytes)
        b->stats.in_use_peak_bytes = b->stats.in_use_bytes;
    return true;
}

unsigned xs_bfc_take_old(struct xs_bfc *b, uint64_t until, struct xs_bfc_range out[], unsigned most)
{
    unsigned n = 0;

    close_open(b);
    for (unsigned fl = 0; fl <= XS_BFC_FLS; fl++) {
        for (uint32_t sls = b->sl_map[fl]; sls != 0; sls &= sls - 1) {
            for (xs_chunk c = bfc_heads(b, fl)[__builtin_ctz(sls)], next; c != 0; c = next) {
                struct xs_bfc_record *r = bfc_record(b, c);
                next = r->next;
                if (r->is_purged || r->freed_at > until)
                    continue;
                if (n == most)
                    return n;
                bin_remove(b, c);
                r->state = CHUNK_CUT;
                out[n++] = (struct xs_bfc_range){xs_bfc_address(b, c), r->size, c};
            }
        }
    }
    return n;
}

void xs_bfc_put_back(struct xs_bfc *b, xs_chunk c, bool is_purged, uint64_t now)
{
    struct xs_bfc_record *r = bfc_record(b, c);

    r->is_purged = is_purged;
    if (is_purged) {
        b->stats.ever_purged_bytes += (uint64_t)r->dirty << b->unit_log2;
        b->dirty -= r->dirty;
        r->dirty = 0;
    } else {
        r->freed_at = now; /* not again before it has aged once more */
    }
    release(b, c);
}

size_t xs_bfc_purge(struct xs_bfc *b, uint64_t until)
{
    size_t bytes = 0;

    if (b->ops.purge == NULL)
        return 0;
    close_open(b);
    for (unsigned fl = 0; fl <= XS_BFC_FLS; fl++) {
        for (uint32_t sls = b->sl_map[fl]; sls != 0; sls &= sls - 1) {
            for (xs_chunk c = bfc_heads(b, fl)[__builtin_ctz(sls)]; c != 0;) {
                struct xs_bfc_record *r = bfc_record(b, c);
                if (!r->is_purged && r->freed_at <= until &&
                    b->ops.purge(b->ops.ctx, xs_bfc_address(b, c), r->size)) {
                    r->is_purged = true;
                    b->dirty -= r->dirty;
                    r->dirty = 0;
                    b->stats.purged_bytes += r->size;
                    bytes += r->size;
                }
                c = r->next;
            }
        }
    }
    return bytes;
}
