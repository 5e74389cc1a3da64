/* A pool of blocks of many sizes: slabs of device memory, in which any class may lie.
 *
 * A request is rounded up to a class: whole units (a unit is the least block) up to 8, from there 8
 * classes to a doubling, so that at most a ninth of a block is waste, and of a block below 8 units
 * at most a unit. A small freed block is kept whole in a short list of its class, from where the
 * next request of that class has it at once. When the list is full, when nothing else fits, or when
 * nobody wanted it for some thousands of operations, it is merged with what is free around it.
 *
 * Inside the slabs works the core's best fit: a slab that serves all classes gets wholly free
 * whatever the program's sizes were. A buddy system was tried in its place: on four traces of
 * tests/bench/gpu_traces (300 iterations, seed 1) it reserved 1.29 to 1.80 times the peak in use,
 * best fit 1.14 to 1.29. Large blocks are merged at once: kept ones tear the slabs apart (1.79
 * against 1.28 times on the trace "risk"). */
#include <errno.h>

#include "base/align.h"
#include "gpu/sub_bfc.h"

#define CLASSES   (8 * 40)           /* up to 2^42 units */
#define SLAB_MOST ((size_t)64 << 20) /* unless the largest block needs more */

struct pool {
    struct xs_sub_bfc bfc;
    size_t unit;
    unsigned unit_log2;
    size_t keep_most; /* larger blocks are merged at once */
    unsigned class_blocks;
    uint32_t kept[CLASSES]; /* lists of handles, by their notes' `next` */
    uint32_t kept_count[CLASSES];
    uint32_t kept_blocks;
};

static struct pool *own(struct xs_sub *s)
{
    return (struct pool *)s;
}

static const struct pool *own_const(const struct xs_sub *s)
{
    return (const struct pool *)s;
}

/* ---- classes ---------------------------------------------------------------------------- */

static unsigned log2_of(size_t n)
{
    return 63u - (unsigned)__builtin_clzll(n);
}

/* Rounds `n` units up to those of its class. */
static size_t class_round(size_t n)
{
    return n <= 8 ? n : xs_align_up(n, (size_t)1 << (log2_of(n - 1) - 3));
}

/* Of a rounded n: 1 to 8 are 0 to 7; of (2^k, 2^(k+1)] it tells the eighths. */
static unsigned class_of(size_t n)
{
    if (n <= 8)
        return (unsigned)n - 1;
    unsigned k = log2_of(n - 1);
    return 8 * (k - 2) + (unsigned)((n - 1) >> (k - 3)) - 8;
}

size_t xs_sub_pool_rounded(size_t unit, size_t size)
{
    unsigned shift = log2_of(unit);

    return class_round((size + unit - 1) >> shift) << shift;
}

static size_t rounded(const struct xs_sub *s, size_t size)
{
    return xs_sub_pool_rounded(own_const(s)->unit, size);
}

/* ---- freed blocks, kept whole ----------------------------------------------------------- */

static struct xs_sub_note *note(struct pool *p, uint32_t handle)
{
    return xs_sub_note(&p->bfc, handle);
}

static struct xs_sub_range *range_of(struct pool *p, uint32_t handle)
{
    return &p->bfc.sub.range[note(p, handle)->range];
}

static void keep(struct pool *p, uint32_t handle, unsigned of_class, size_t size)
{
    struct xs_sub_note *n = note(p, handle);

    n->is_kept = true;
    n->next = p->kept[of_class];
    p->kept[of_class] = handle;
    p->kept_count[of_class]++;
    p->kept_blocks++;
    p->bfc.kept_bytes += size;
    range_of(p, handle)->cached++;
}

/* The last block kept of a class, still marked as kept; 0: none. */
static uint32_t unkeep(struct pool *p, unsigned of_class)
{
    uint32_t handle = p->kept[of_class];

    if (handle == 0)
        return 0;
    p->kept[of_class] = note(p, handle)->next;
    p->kept_count[of_class]--;
    p->kept_blocks--;
    p->bfc.kept_bytes -= xs_bfc_size(&p->bfc.bfc, handle);
    range_of(p, handle)->cached--;
    return handle;
}

static void settle(struct xs_sub *s)
{
    struct pool *p = own(s);

    for (unsigned c = 0; c < CLASSES && p->kept_blocks != 0; c++)
        for (uint32_t h = unkeep(p, c); h != 0; h = unkeep(p, c))
            (void)xs_sub_bfc_merge(s, h);
    xs_sub_run_close(&p->bfc);
    xs_sub_run_settle(&p->bfc);
}

/* ---- the kind --------------------------------------------------------------------------- */

static enum xs_sub_result take(struct xs_sub *s, size_t size, struct xs_sub_block *out)
{
    struct pool *p = own(s);
    size_t whole = rounded(s, size);

    if (xs_sub_run_next(&p->bfc, whole, out))
        return XS_SUB_OK;
    uint32_t handle = unkeep(p, class_of(whole >> p->unit_log2));

    if (handle != 0) {
        struct xs_sub_note *n = note(p, handle);
        n->is_kept = false;
        *out = (struct xs_sub_block){bfc_record(&p->bfc.bfc, handle)->base, whole, handle};
        xs_sub_began(s, range_of(p, handle), whole);
        return XS_SUB_OK;
    }
    enum xs_sub_result result = xs_sub_bfc_take_in_run(s, whole, out);
    if (result == XS_SUB_NEED && p->kept_blocks != 0) {
        settle(s);
        result = xs_sub_bfc_take_in_run(s, whole, out);
    }
    return result;
}

static int give(struct xs_sub *s, uint32_t handle, uint64_t address)
{
    struct pool *p = own(s);

    if (p->bfc.runs.open != 0)
        xs_sub_run_close(&p->bfc);
    if (handle >= XS_SUB_RUN_HANDLE) {
        if (xs_sub_run_give(&p->bfc, handle, address))
            return 0;
        handle = xs_sub_bfc_chunk_at(s, address);
    }
    if (!xs_sub_bfc_is_chunk(&p->bfc, handle, address) || note(p, handle)->is_kept ||
        note(p, handle)->run != 0)
        return EINVAL;
    size_t size = xs_bfc_size(&p->bfc.bfc, handle);
    unsigned of_class = class_of(size >> p->unit_log2);
    if (p->kept_count[of_class] >= p->class_blocks || size > p->keep_most)
        return xs_sub_bfc_merge(s, handle);
    xs_sub_ended(s, range_of(p, handle), size);
    keep(p, handle, of_class, size);
    return 0;
}

/* What the next request could get at most, without another slab: a free piece, a block that is
 * kept, or a slab that has nothing else in it. */
static uint64_t largest_free(const struct xs_sub *s)
{
    const struct pool *p = own_const(s);
    uint64_t largest = xs_sub_bfc_largest_free(s), of_runs;

    (void)xs_sub_run_free_bytes(&p->bfc, &of_runs);
    largest = of_runs > largest ? of_runs : largest;

    for (unsigned c = 0; c < CLASSES; c++) {
        uint64_t size = p->kept[c] != 0 ? xs_bfc_size(&p->bfc.bfc, p->kept[c]) : 0;
        if (size > largest)
            largest = size;
    }
    for (unsigned at = 0; at < s->ranges; at++) {
        const struct xs_sub_range *r = &s->range[s->order[at]];
        if (r->used == 0 && r->usable > largest)
            largest = r->usable;
    }
    return largest;
}

static bool check(const struct xs_sub *s, struct xs_buf *why)
{
    const struct pool *p = own_const(s);
    uint64_t bytes = 0;
    uint32_t blocks = 0;
    uint32_t cached = 0;

    for (unsigned c = 0; c < CLASSES; c++) {
        uint32_t count = 0;
        for (uint32_t h = p->kept[c]; h != 0 && count <= p->class_blocks; count++) {
            const struct xs_sub_note *n = xs_sub_note(&p->bfc, h);
            size_t size = xs_bfc_size(&p->bfc.bfc, h);
            if (!bfc_in_use(&p->bfc.bfc, h) || !n->is_kept || class_of(size >> p->unit_log2) != c)
                break;
            bytes += size;
            h = n->next;
        }
        if (count != p->kept_count[c] || count > p->class_blocks) {
            xs_fmt(why, "the kept blocks of class %u are not in order", c);
            return false;
        }
        blocks += count;
    }
    for (unsigned at = 0; at < s->ranges; at++)
        cached += s->range[s->order[at]].cached;
    if (blocks != p->kept_blocks || blocks != cached || bytes != p->bfc.kept_bytes) {
        xs_put_str(why, "the kept blocks are not what the sums say");
        return false;
    }
    return xs_sub_bfc_check(s, why);
}

static const struct xs_sub_kind kind = {
    .take = take,
    .more = xs_sub_bfc_more,
    .take_back = xs_sub_bfc_take_back,
    .rounded = rounded,
    .adopt = xs_sub_bfc_adopt,
    .release = xs_sub_bfc_release,
    .settle = settle,
    .give = give,
    .give_all = xs_sub_bfc_give_all,
    .find = xs_sub_bfc_find,
    .largest_free = largest_free,
    .check = check,
    .close = xs_sub_bfc_close,
};

struct xs_sub *xs_sub_pool_open(const struct xs_sub_pool_options *o)
{
    size_t unit = o->min_block > o->align ? o->min_block : o->align;

    if (!xs_is_pow2(o->min_block) || !xs_is_pow2(o->align) || o->max_block == 0 ||
        o->max_block > (size_t)1 << 46)
        return NULL;
    struct xs_sub *s = xs_sub_bfc_make(sizeof(struct pool), &kind, o->align, o->limit_bytes);
    if (s == NULL)
        return NULL;
    own(s)->unit = unit;
    own(s)->keep_most = o->max_block / 64;
    own(s)->unit_log2 = log2_of(unit);
    own(s)->class_blocks = o->class_blocks;
    s->largest = o->max_block;
    s->growth = o->growth > 1.0 ? o->growth : 1.0;
    s->first_bytes = XS_SUB_GRANULE;
    s->most_bytes = xs_pow2_up(o->max_block) > SLAB_MOST ? xs_pow2_up(o->max_block) : SLAB_MOST;
    s->next_bytes = s->first_bytes;
    return s;
}
