#include "core/bfc.h"

#include <errno.h>

#include "base/align.h"
#include "core/bfc_bins.h"

_Static_assert(XS_BFC_RECORDS_BYTES >= RECORDS_PER_BLOCK * sizeof(struct xs_bfc_record), "fits");
_Static_assert(sizeof(struct xs_bfc_record) == XS_BFC_RECORD_BYTES, "as others know it");

/* So many free chunks are looked at for one that has memory. */
#define USED_PROBES 32

/* ---- records ---------------------------------------------------------------------------- */

XS_COLD static bool add_block(struct xs_bfc *b)
{
    if (b->ops.map_records == NULL || b->blocks >= b->most_blocks)
        return false;
    void *fresh = b->ops.map_records(b->ops.ctx, XS_BFC_RECORDS_BYTES);
    return fresh != NULL && xs_bfc_add_records(b, fresh);
}

/* Makes sure that `n` records can be had; splits must not fail half way. */
bool xs_bfc_have_records(struct xs_bfc *b, unsigned n)
{
    return XS_LIKELY(b->unused_count >= n) || add_block(b);
}

/* ---- looking ---------------------------------------------------------------------------- */

/* The smallest chunk of at least `size` among the first few of a bin. */
XS_INLINE struct xs_bfc_record *best_in(struct xs_bfc *b, struct xs_bfc_record *first, size_t size,
                                        unsigned most)
{
    struct xs_bfc_record *best = NULL;
    size_t least_over = SIZE_MAX / 2;
    unsigned probes = 0;

    for (struct xs_bfc_record *r = first; r != NULL && probes < most && least_over != 0;
         r = r->next) {
        size_t over = r->size - size; /* huge where it is too small */
        probes++;
        if (over < least_over) {
            best = r;
            least_over = over;
        }
    }
    b->steps += probes;
    return best;
}

/* Everything in a bin above that of `size` is large enough. */
static struct xs_bfc_record *find_in_bins(struct xs_bfc *b, size_t size)
{
    unsigned bin = bfc_bin_of(b, size), at = bin;
    const xs_chunk *head = bin < XS_BFC_BINS ? bfc_filled_from(b, &at) : NULL;

    if (head == NULL)
        return NULL;
    struct xs_bfc_record *r = best_in(b, bfc_record(b, *head), size, XS_BFC_PROBES);
    if (r != NULL || at != bin)
        return r;
    at = bin + 1;
    head = at < XS_BFC_BINS ? bfc_filled_from(b, &at) : NULL;
    return head != NULL ? best_in(b, bfc_record(b, *head), size, XS_BFC_PROBES) : NULL;
}

/* The same where the best one is the first of its bin: its number; 0: there is none. */
XS_INLINE xs_chunk find_exact(struct xs_bfc *b, size_t size)
{
    uint64_t units = size >> b->unit_log2;
    uint64_t bins = units < EXACT_BINS ? b->filled[0] >> units : 0;

    if (bins == 0)
        return 0;
    b->steps++;
    return b->near_bin[units + (unsigned)__builtin_ctzll(bins)];
}

XS_INLINE struct xs_bfc_record *find(struct xs_bfc *b, size_t size)
{
    struct xs_bfc_record *open = b->open;

    if (open != NULL && open->size == size)
        return open;
    xs_chunk exact = find_exact(b, size);
    struct xs_bfc_record *r = XS_LIKELY(exact != 0) ? bfc_record(b, exact) : find_in_bins(b, size);
    if (open == NULL || open->size < size)
        return r;
    return r == NULL || open->size <= r->size ? open : r;
}

/* ---- splitting and merging -------------------------------------------------------------- */

/* Of what the back had, the front has what it can have: there chunks are taken from. */
XS_INLINE void share_dirty(const struct xs_bfc *b, struct xs_bfc_record *front,
                           struct xs_bfc_record *back, uint32_t dirty)
{
    uint32_t most = bfc_units_of(b, front->size);

    if (dirty == PURGED) {
        front->dirty = back->dirty = PURGED;
    } else if (dirty < most) {
        front->dirty = dirty;
        back->dirty = 0;
    } else {
        front->dirty = most;
        back->dirty = dirty - most;
    }
}

/* Cuts `r` after `size` bytes; the rest becomes a new chunk behind it, in no bin. */
static struct xs_bfc_record *cut(struct xs_bfc *b, struct xs_bfc_record *r, size_t size)
{
    struct xs_bfc_record *rest = bfc_take_record(b);

    rest->base = r->base + size;
    rest->size = r->size - size;
    rest->freed_at = r->freed_at;
    rest->left = r;
    rest->right = r->right;
    rest->state = CHUNK_CUT;
    if (r->right != NULL)
        r->right->left = rest;
    r->right = rest;
    r->size = size;
    share_dirty(b, r, rest, r->dirty);
    b->steps++;
    return rest;
}

/* Cuts `size` bytes off the beginning of the free chunk `r`, which is the open one now. */
XS_INLINE struct xs_bfc_record *cut_head(struct xs_bfc *b, struct xs_bfc_record *r, size_t size)
{
    struct xs_bfc_record *head = bfc_take_record(b);
    struct xs_bfc_record *left = r->left;
    uintptr_t base = r->base;

    head->base = base;
    head->size = size;
    head->freed_at = r->freed_at;
    head->left = left;
    head->right = r;
    left->right = head;
    r->left = head;
    r->base = base + size;
    r->size -= size;
    share_dirty(b, head, r, r->dirty);
    b->steps++;
    return head;
}

/* When a chunk of two parts was freed. A small part that was in use until now does not make a large
 * one young again: else memory next to what a program keeps using would never be given back. */
XS_INLINE uint64_t date_of(const struct xs_bfc_record *a, const struct xs_bfc_record *c)
{
    if (bfc_is_purged(a) != bfc_is_purged(c))
        return bfc_is_purged(a) ? c->freed_at : a->freed_at;
    const struct xs_bfc_record *young = a->freed_at > c->freed_at ? a : c;
    const struct xs_bfc_record *old = a->freed_at > c->freed_at ? c : a;

    return young->size >= old->size / 4 ? young->freed_at : old->freed_at;
}

XS_INLINE uint32_t sum_of_dirty(struct xs_bfc *b, uint32_t one, uint32_t other)
{
    if (one == PURGED || other == PURGED)
        return one == PURGED ? (other == PURGED ? PURGED : other) : one;
    uint32_t sum = one + other;
    if (XS_UNLIKELY(sum > DIRTY_MOST)) {
        b->dirty -= sum - DIRTY_MOST;
        sum = DIRTY_MOST;
    }
    return sum;
}

/* `r` disappears into its left neighbour; neither is in a bin. */
XS_INLINE void join(struct xs_bfc *b, struct xs_bfc_record *l, struct xs_bfc_record *r)
{
    l->freed_at = date_of(l, r);
    l->dirty = sum_of_dirty(b, l->dirty, r->dirty);
    l->size += r->size;
    l->right = r->right;
    if (r->right != NULL)
        r->right->left = l;
    bfc_give_record(b, r);
    b->steps++;
}

int bfc_release(struct xs_bfc *b, struct xs_bfc_record *r)
{
    if (XS_LIKELY(b->options.coalesce_on_free)) {
        struct xs_bfc_record *left = r->left, *right = r->right;
        if (bfc_is_free(right)) {
            bfc_bin_remove(b, right);
            join(b, r, right);
        }
        if (bfc_is_free(left)) {
            bfc_bin_remove(b, left);
            join(b, left, r);
            r = left;
        }
    } else {
        b->unmerged++;
    }
    bfc_bin_insert(b, r);
    return 0;
}

bool bfc_merge_all(struct xs_bfc *b)
{
    bool any = false;

    if (b->unmerged == 0)
        return false;
    for (struct xs_bfc_record *region = b->first_region; region != NULL; region = region->next) {
        for (struct xs_bfc_record *r = region->right; r != NULL; r = r->right) {
            if (!bfc_is_free(r) || !bfc_is_free(r->right))
                continue;
            bfc_bin_remove(b, r);
            while (bfc_is_free(r->right)) {
                bfc_bin_remove(b, r->right);
                join(b, r, r->right);
            }
            bfc_bin_insert(b, r);
            any = true;
        }
    }
    b->unmerged = 0;
    return any;
}

/* ---- regions ---------------------------------------------------------------------------- */

/* Two records can be had. The region is one free chunk. */
static void add_region(struct xs_bfc *b, uintptr_t base, size_t size)
{
    struct xs_bfc_record *region = bfc_take_record(b);
    struct xs_bfc_record *r = bfc_take_record(b);

    region->base = base;
    region->size = 0;
    region->requested = size;
    region->right = r;
    region->next = b->first_region;
    region->state = CHUNK_REGION;
    b->first_region = region;
    r->base = base;
    r->size = size;
    r->freed_at = 0;
    r->left = region;
    r->right = NULL;
    r->dirty = PURGED; /* fresh from the system: nothing to purge */
    b->stats.reserved_bytes += size;
    if (b->stats.reserved_bytes > b->stats.reserved_peak_bytes)
        b->stats.reserved_peak_bytes = b->stats.reserved_bytes;
    b->stats.regions++;
    b->stats.growth_steps++;
    bfc_bin_insert(b, r);
}

/* The next region is larger. */
static void note_growth(struct xs_bfc *b)
{
    if (b->next_region_bytes <= SIZE_MAX / 2 && b->next_region_bytes < b->options.region_max_bytes)
        b->next_region_bytes *= 2;
}

/* A region of at least `need` bytes as one free chunk, or NULL. */
static struct xs_bfc_record *extend(struct xs_bfc *b, size_t need, size_t align)
{
    size_t size;
    void *p = NULL;

    if (b->ops.map == NULL)
        return NULL;
    size = bfc_growth(b, need);
    if (size == 0 || !xs_bfc_have_records(b, 2))
        return NULL;
    for (;; size = xs_bfc_less(b, size, need)) {
        p = b->ops.map(b->ops.ctx, size, align);
        if (p != NULL || size == need)
            break;
    }
    if (p == NULL)
        return NULL;
    note_growth(b);
    add_region(b, (uintptr_t)p, size);
    return b->open;
}

bool xs_bfc_add(struct xs_bfc *b, void *p, size_t size)
{
    uintptr_t base = (uintptr_t)p;

    if (size == 0 || ((base | size) & (b->options.unit - 1)) != 0 || !xs_bfc_have_records(b, 2))
        return false;
    if (b->ops.map == NULL)
        note_growth(b);
    add_region(b, base, size);
    return true;
}

static bool collect_for(struct xs_bfc *b, size_t need)
{
    return b->ops.map != NULL && bfc_worth_collecting(b, need) &&
           xs_bfc_collect(b, UINT64_MAX) != 0;
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

/* TensorFlow's rule. */
static __attribute__((noinline)) bool worth_by_rule(const struct xs_bfc *b, size_t size,
                                                    size_t remainder)
{
    uint64_t limit = b->options.limit_bytes != 0 ? b->options.limit_bytes : b->stats.reserved_bytes;

    return remainder >= size || remainder >= limit / 1000 * b->options.fragmentation_permille;
}

/* By that when a part of the limit is given, else every remainder is split off. */
XS_INLINE bool worth_splitting(const struct xs_bfc *b, size_t size, size_t remainder)
{
    return remainder != 0 &&
           (XS_LIKELY(b->options.fragmentation_permille == 0) || worth_by_rule(b, size, remainder));
}

/* The best of the whole bin of `size`, which find only probes. */
static struct xs_bfc_record *find_in_bin(struct xs_bfc *b, size_t size)
{
    unsigned bin = bfc_bin_of(b, size);
    xs_chunk head = bin < XS_BFC_BINS ? *bfc_head(b, bin) : 0;

    return head != 0 ? best_in(b, bfc_record(b, head), size, UINT32_MAX) : NULL;
}

static bool is_counted(enum xs_bfc_how how)
{
    return how == XS_BFC_ANY || how == XS_BFC_OPEN;
}

XS_INLINE bool is_fresh(const struct xs_bfc *b, const struct xs_bfc_record *r, size_t size)
{
    return bfc_dirty_units(r) < bfc_units_of(b, size) / 2;
}

static void reopen(struct xs_bfc *b, struct xs_bfc_record *r)
{
    if (r != b->open) {
        bfc_bin_unlink(b, r);
        bfc_open_chunk(b, r);
    }
}

bool xs_bfc_open_used(struct xs_bfc *b, size_t size)
{
    struct xs_bfc_record *r = find(b, size);
    unsigned probes = 0;

    if (r == NULL || !is_fresh(b, r, size))
        return false;
    if (b->open != NULL && b->open->size >= size && !is_fresh(b, b->open, size))
        return true;
    for (unsigned bin = bfc_bin_of(b, size); bin < XS_BFC_BINS; bin++) {
        const xs_chunk *head = bfc_filled_from(b, &bin);
        if (head == NULL)
            return false;
        for (r = bfc_record(b, *head); r != NULL; r = r->next) {
            if (r->size >= size && !is_fresh(b, r, size)) {
                reopen(b, r);
                return true;
            }
            if (++probes == USED_PROBES)
                return false;
        }
    }
    return false;
}

/* Where nothing was found: a region for `size` at a multiple of `align`, or what is in the whole
 * bin of `need`. */
static struct xs_bfc_record *get(struct xs_bfc *b, size_t size, size_t need, size_t align)
{
    struct xs_bfc_record *r = extend(b, size, align);

    if (r == NULL && collect_for(b, size))
        r = extend(b, size, align);
    return r != NULL ? r : find_in_bin(b, need);
}

/* The open chunk is one from which `size` bytes at a multiple of `align`, which is more than the
 * unit, are to be taken; false: there is none. */
static bool open_aligned(struct xs_bfc *b, size_t size, size_t align, enum xs_bfc_how how)
{
    /* Room to move up to the alignment; a chunk that happens to be aligned gives it back. */
    size_t need = size + (align - b->options.unit);
    struct xs_bfc_record *r = how == XS_BFC_OPEN ? b->open : find(b, need);

    if (r == NULL && bfc_merge_all(b))
        r = find(b, need);
    if (r == NULL && how == XS_BFC_ANY)
        r = get(b, size, need, align);
    if (r == NULL || (how == XS_BFC_USED && is_fresh(b, r, size)) || !xs_bfc_have_records(b, 2))
        return false;
    reopen(b, r);
    size_t lead = xs_align_up(r->base, align) - r->base;
    if (lead > 0) {
        bfc_bin_remove(b, r);
        struct xs_bfc_record *rest = cut(b, r, lead);
        bfc_bin_insert(b, r);
        bfc_bin_insert(b, rest);
    }
    return true;
}

/* What is no plain request, or finds no record. */
static __attribute__((noinline)) bool take_odd(struct xs_bfc *b, size_t request, size_t align,
                                               enum xs_bfc_how how, struct xs_bfc_taken *out)
{
    bool is_fine = request - 1 < XS_SIZE_MAX_REQUEST / 4 && align <= XS_SIZE_MAX_REQUEST / 4 &&
                   xs_bfc_have_records(b, 2);

    if (is_fine && align > b->options.unit) {
        is_fine = open_aligned(b, xs_align_up(request, b->options.unit), align, how);
        how = is_fine ? XS_BFC_OPEN : how;
    }
    if (is_fine)
        return xs_bfc_take(b, request, 0, how, out);
    b->stats.failures += is_counted(how);
    return false;
}

/* Nothing that is free was found to be large enough. */
static __attribute__((noinline)) bool take_more(struct xs_bfc *b, size_t request,
                                                enum xs_bfc_how how, struct xs_bfc_taken *out)
{
    size_t size = xs_align_up(request, b->options.unit);

    if (bfc_merge_all(b))
        return xs_bfc_take(b, request, 0, how, out);
    if (how != XS_BFC_ANY)
        return false;
    struct xs_bfc_record *r = get(b, size, size, b->options.unit);
    if (r == NULL) {
        b->stats.failures++;
        return false;
    }
    reopen(b, r);
    return xs_bfc_take(b, request, 0, XS_BFC_OPEN, out);
}

bool xs_bfc_take(struct xs_bfc *b, size_t request, size_t align, enum xs_bfc_how how,
                 struct xs_bfc_taken *out)
{
    if (XS_UNLIKELY(request - 1 >= XS_SIZE_MAX_REQUEST / 4 || align > b->options.unit ||
                    b->unused_count == 0))
        return take_odd(b, request, align, how, out);
    size_t size = xs_align_up(request, b->options.unit);
    struct xs_bfc_record *r = XS_UNLIKELY(how == XS_BFC_OPEN) ? b->open : find(b, size);
    if (XS_UNLIKELY(r == NULL))
        return take_more(b, request, how, out);
    if (how == XS_BFC_USED && is_fresh(b, r, size))
        return false;
    struct xs_bfc_record *open = b->open;
    if (r != open)
        bfc_bin_unlink(b, r);
    if (how != XS_BFC_WHOLE && worth_splitting(b, size, r->size - size)) {
        if (r != open)
            bfc_open_chunk(b, r);
        r = cut_head(b, r, size);
    } else if (r == open) {
        b->open = NULL;
    }
    r->state = CHUNK_IN_USE;
    size = r->size;
    out->p = (void *)r->base; // NOLINT(performance-no-int-to-ptr)
    out->chunk = r->number;
    out->is_zero = bfc_is_purged(r);
    if (!bfc_is_purged(r)) {
        b->dirty -= r->dirty;
    } else {
        b->stats.purged_bytes -= size;
        b->stats.refilled_bytes += r->freed_at != 0 ? size : 0;
    }
    r->requested = request;
    b->stats.chunks_in_use++;
    b->stats.requested_bytes += request;
    b->stats.in_use_bytes += size;
    if (b->stats.in_use_bytes > b->stats.in_use_peak_bytes)
        b->stats.in_use_peak_bytes = b->stats.in_use_bytes;
    if (request > b->stats.largest_allocation_bytes)
        b->stats.largest_allocation_bytes = request;
    return true;
}

static xs_chunk alloc(struct xs_bfc *b, size_t size, size_t align, enum xs_bfc_how how)
{
    struct xs_bfc_taken taken;

    return xs_bfc_take(b, size, align, how, &taken) ? taken.chunk : 0;
}

xs_chunk xs_bfc_alloc(struct xs_bfc *b, size_t size, size_t align)
{
    return alloc(b, size, align, XS_BFC_ANY);
}

xs_chunk xs_bfc_alloc_whole(struct xs_bfc *b, size_t size)
{
    return alloc(b, size, 0, XS_BFC_WHOLE);
}

bool xs_bfc_take_newest(struct xs_bfc *b, size_t size, size_t align, struct xs_bfc_taken *out)
{
    struct xs_bfc_record *r = bfc_whole_free(b->first_region);

    if (r == NULL) {
        b->stats.failures++;
        return false;
    }
    reopen(b, r);
    return xs_bfc_take(b, size, align, XS_BFC_OPEN, out);
}

xs_chunk xs_bfc_divide(struct xs_bfc *b, xs_chunk c, size_t size)
{
    if (!xs_bfc_have_records(b, 1))
        return 0;
    struct xs_bfc_record *r = bfc_record(b, c);
    struct xs_bfc_record *s = cut(b, r, size);
    s->state = CHUNK_IN_USE;
    s->requested = s->size;
    b->stats.requested_bytes += size + s->size - r->requested;
    b->stats.chunks_in_use++;
    b->divided++;
    r->requested = size;
    return s->number;
}

/* Both neighbours must agree that this chunk lies between them. */
XS_INLINE bool neighbours_agree(const struct xs_bfc_record *r)
{
    const struct xs_bfc_record *left = r->left;
    const struct xs_bfc_record *right = r->right;

    return left->right == r && left->base + left->size == r->base &&
           (right == NULL || (right->left == r && r->base + r->size == right->base));
}

int xs_bfc_free(struct xs_bfc *b, xs_chunk c, uint64_t now)
{
    if (!bfc_in_use(b, c))
        return EINVAL;
    struct xs_bfc_record *r = bfc_record(b, c);
    if (!neighbours_agree(r))
        return EFAULT;
    b->stats.frees++;
    b->stats.chunks_in_use--;
    b->stats.requested_bytes -= r->requested;
    b->stats.in_use_bytes -= r->size;
    r->freed_at = now;
    r->dirty = bfc_units_of(b, r->size);
    b->dirty += r->dirty;
    return bfc_release(b, r);
}

bool xs_bfc_resize(struct xs_bfc *b, xs_chunk c, size_t request, uint64_t now)
{
    if (!bfc_in_use(b, c) || request - 1 >= XS_SIZE_MAX_REQUEST / 4 || !xs_bfc_have_records(b, 1))
        return false;
    struct xs_bfc_record *r = bfc_record(b, c);
    if (!neighbours_agree(r))
        return false;
    size_t size = xs_align_up(request, b->options.unit);
    size_t old = r->size;
    size_t old_request = r->requested;
    bool tail_is_purged = false;
    uint64_t tail_date = now;

    if (size > r->size) {
        struct xs_bfc_record *right = r->right;
        if (!bfc_is_free(right) || r->size + right->size < size)
            return false;
        tail_is_purged = bfc_is_purged(right);
        tail_date = right->freed_at;
        bfc_bin_remove(b, right);
        b->dirty -= bfc_dirty_units(right);
        right->dirty = 0;
        join(b, r, right);
    }
    if (worth_splitting(b, size, r->size - size)) {
        struct xs_bfc_record *s = cut(b, r, size);
        /* A tail that was in use is dated now; one that was free keeps what it was. */
        s->freed_at = tail_date;
        s->dirty = tail_is_purged ? PURGED : bfc_units_of(b, s->size);
        b->dirty += bfc_dirty_units(s);
        if (bfc_is_free(s->right)) {
            struct xs_bfc_record *right = s->right;
            bfc_bin_remove(b, right);
            join(b, s, right);
        }
        bfc_bin_insert(b, s);
    }
    b->stats.in_use_bytes += r->size - old;
    b->stats.requested_bytes += request - old_request;
    r->requested = request;
    if (b->stats.in_use_bytes > b->stats.in_use_peak_bytes)
        b->stats.in_use_peak_bytes = b->stats.in_use_bytes;
    return true;
}
