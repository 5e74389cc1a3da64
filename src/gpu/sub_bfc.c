/* core/bfc.h over device memory: every range is a region of it. Which block lies around an address
 * is found by walking along its neighbours, from one that begins not far below. */
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

static struct xs_bfc_record *record(const struct xs_sub_bfc *b, xs_chunk handle)
{
    return bfc_record(&b->bfc, handle);
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

static uint32_t *begins_at(const struct xs_sub_range *r, uint64_t address)
{
    return &r->begins[(address - r->base) >> r->begins_log2];
}

static struct xs_sub_range *range_around(struct xs_sub *s, uint64_t address)
{
    const struct xs_sub_range *r = &s->range[s->last];

    if (address - r->address >= r->size)
        s->last = (unsigned)xs_sub_range_at(s, address);
    return &s->range[s->last];
}

struct xs_sub_range *xs_sub_bfc_note(struct xs_sub *s, xs_chunk c)
{
    struct xs_sub_bfc *b = own(s);
    uint64_t address = record(b, c)->base;
    struct xs_sub_range *r = range_around(s, address);

    *xs_sub_note(b, c) = (struct xs_sub_note){.range = (uint16_t)(s->last & (XS_SUB_RANGES - 1))};
    if (r->begins != NULL)
        *begins_at(r, address) = c;
    return r;
}

void xs_sub_bfc_taken(struct xs_sub *s, xs_chunk c, struct xs_sub_block *out)
{
    const struct xs_bfc_record *got = record(own(s), c);

    *out = (struct xs_sub_block){got->base, got->size, c};
    xs_sub_began(s, xs_sub_bfc_note(s, c), got->size);
}

static enum xs_sub_result take_chunk(struct xs_sub *s, size_t size, struct xs_sub_block *out)
{
    struct xs_sub_bfc *b = own(s);
    xs_chunk c = xs_bfc_alloc(&b->bfc, size, 0);

    if (XS_UNLIKELY(c == 0)) { /* if it was for want of a record, more ranges do not help */
        struct xs_bfc_stats stats;
        xs_bfc_stats_get(&b->bfc, &stats);
        return stats.largest_free_bytes >= xs_align_up(size, s->align) ? XS_SUB_NONE : XS_SUB_NEED;
    }
    xs_sub_bfc_taken(s, c, out);
    return XS_SUB_OK;
}

int xs_sub_bfc_merge_chunk(struct xs_sub *s, xs_chunk c)
{
    struct xs_sub_bfc *b = own(s);
    const struct xs_sub_range *r = &s->range[xs_sub_note(b, c)->range];
    uint64_t address = record(b, c)->base;
    int rc = xs_bfc_free(&b->bfc, c, 0);

    if (rc == 0 && r->begins != NULL && *begins_at(r, address) == c)
        *begins_at(r, address) = 0;
    return rc;
}

int xs_sub_bfc_merge(struct xs_sub *s, uint32_t handle)
{
    struct xs_sub_bfc *b = own(s);

    if (!bfc_in_use(&b->bfc, handle))
        return EINVAL;
    struct xs_sub_note note = *xs_sub_note(b, handle);
    size_t size = record(b, handle)->size;
    int rc = note.run != 0 ? EINVAL : xs_sub_bfc_merge_chunk(s, handle);
    if (rc == 0 && !note.is_kept)
        xs_sub_ended(s, &s->range[note.range], size);
    return rc;
}

/* ---- ranges ----------------------------------------------------------------------------- */

static void *region(const struct xs_sub_range *r)
{
    return (void *)(uintptr_t)r->base; // NOLINT(performance-no-int-to-ptr)
}

/* A page, or a part of it. */
#define BEGINS_BYTES      4096u
#define BEGINS_LEAST_LOG2 16

static void index_open(struct xs_sub_range *r)
{
    r->begins_log2 = BEGINS_LEAST_LOG2;
    while ((r->usable - 1) >> r->begins_log2 >= BEGINS_BYTES / sizeof(*r->begins))
        r->begins_log2++;
    r->begins = xs_mem_map(BEGINS_BYTES, 1);
}

static void index_close(struct xs_sub_range *r)
{
    if (r->begins != NULL)
        (void)xs_mem_unmap(r->begins, BEGINS_BYTES);
    r->begins = NULL;
}

static bool add(struct xs_sub_bfc *b, struct xs_sub_range *r)
{
    if (!xs_bfc_add(&b->bfc, region(r), r->usable))
        return false;
    r->region = bfc_number(b->bfc.first_region);
    return true;
}

bool xs_sub_bfc_adopt(struct xs_sub *s, unsigned range)
{
    if (!add(own(s), &s->range[range]))
        return false;
    index_open(&s->range[range]);
    return true;
}

void xs_sub_bfc_release(struct xs_sub *s)
{
    struct xs_sub_bfc *b = own(s);

    /* The core lets go of all that is wholly free; what stays comes back, as records for it have
     * just become free. */
    (void)xs_bfc_collect(&b->bfc, UINT64_MAX);
    for (unsigned at = 0; at < s->ranges; at++) {
        struct xs_sub_range *r = &s->range[s->order[at]];
        if (r->leaving)
            index_close(r);
        else if (r->used == 0 && r->cached == 0)
            (void)add(b, r);
    }
}

/* ---- looking ---------------------------------------------------------------------------- */

/* A chunk of the range that begins at the address or below: a block close to it, else the first. */
static const struct xs_bfc_record *before(const struct xs_sub_bfc *b, const struct xs_sub_range *r,
                                          uint64_t address)
{
    uint64_t n = r->begins != NULL ? ((address - r->base) >> r->begins_log2) + 1 : 0;

    while (n-- != 0)
        if (r->begins[n] != 0 && record(b, r->begins[n])->base <= address)
            return record(b, r->begins[n]);
    return record(b, r->region)->right;
}

/* As free neighbours are always one, a free piece reaches from block to block. */
bool xs_sub_bfc_find(const struct xs_sub *s, unsigned range, uint64_t address,
                     struct xs_sub_block *out, bool *in_use)
{
    const struct xs_sub_bfc *b = own_const(s);
    const struct xs_bfc_record *c = before(b, &s->range[range], address);

    while (address - c->base >= c->size)
        c = c->right;
    bool is_block = c->state == CHUNK_IN_USE;
    if (is_block && xs_sub_note(b, c->number)->run != 0) {
        xs_sub_run_find(b, xs_sub_note(b, c->number)->run, address, out, in_use);
        return true;
    }
    *out = (struct xs_sub_block){c->base, c->size, is_block ? c->number : 0};
    *in_use = is_block && !xs_sub_note(b, c->number)->is_kept;
    return true;
}

uint64_t xs_sub_bfc_largest_free(const struct xs_sub *s)
{
    struct xs_bfc_stats stats;

    xs_bfc_stats_get(&own_const(s)->bfc, &stats);
    return stats.largest_free_bytes;
}

static bool check_range(const struct xs_sub_bfc *b, unsigned number, uint64_t *kept,
                        uint32_t *blocks, struct xs_buf *why)
{
    const struct xs_sub_range *r = &b->sub.range[number];
    uint64_t at = r->base;
    uint32_t used = 0;

    for (const struct xs_bfc_record *c = record(b, r->region)->right; c != NULL; c = c->right) {
        if (c->base != at) {
            xs_fmt(why, "chunk %u does not belong into range %u", (unsigned)c->number, number);
            return false;
        }
        at += c->size;
        if (c->state != CHUNK_IN_USE)
            continue;
        const struct xs_sub_note *n = xs_sub_note(b, c->number);
        if (n->range != number) {
            xs_fmt(why, "chunk %u is noted in range %u", (unsigned)c->number, n->range);
            return false;
        }
        ++*blocks;
        used +=
            n->run != 0 ? (uint32_t)__builtin_popcountll(b->runs.run[n->run].in_use) : !n->is_kept;
        *kept += n->is_kept ? c->size : 0;
    }
    for (uint64_t i = 0; r->begins != NULL && i <= (r->usable - 1) >> r->begins_log2; i++) {
        xs_chunk c = r->begins[i];
        if (c != 0 &&
            (!bfc_in_use(&b->bfc, c) || begins_at(r, record(b, c)->base) != r->begins + i)) {
            xs_fmt(why, "chunk %u does not begin where it should", c);
            return false;
        }
    }
    if (at != r->base + r->usable || used != r->used) {
        xs_fmt(why, "the blocks of range %u do not add up", number);
        return false;
    }
    return true;
}

bool xs_sub_bfc_check(const struct xs_sub *s, struct xs_buf *why)
{
    const struct xs_sub_bfc *b = own_const(s);
    struct xs_bfc_stats stats;
    uint32_t blocks = 0;
    uint64_t kept = 0, largest;

    if (!xs_bfc_check(&b->bfc, why) || !xs_sub_run_check(b, why))
        return false;
    xs_bfc_stats_get(&b->bfc, &stats);
    for (unsigned at = 0; at < s->ranges; at++)
        if (!check_range(b, s->order[at], &kept, &blocks, why))
            return false;
    if (blocks != stats.chunks_in_use || stats.regions != s->ranges ||
        stats.in_use_bytes != s->in_use + kept + xs_sub_run_free_bytes(b, &largest) ||
        kept != b->kept_bytes || stats.reserved_bytes != s->usable) {
        xs_put_str(why, "the core's statistics disagree with the ranges");
        return false;
    }
    return true;
}

/* ---- opening and closing ---------------------------------------------------------------- */

void xs_sub_bfc_close(struct xs_sub *s)
{
    for (unsigned at = 0; at < s->ranges; at++)
        index_close(&s->range[s->order[at]]);
    xs_bfc_close(&own(s)->bfc);
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

/* ---- blocks in runs, where they can be ---------------------------------------------------- */

enum xs_sub_result xs_sub_bfc_take_in_run(struct xs_sub *s, size_t size, struct xs_sub_block *out)
{
    struct xs_sub_bfc *b = own(s);

    if (b->runs.torn != 0)
        xs_sub_run_settle(b);
    /* Of a size that has just been, or from the run that is open; else there is nothing to take. */
    if ((size == b->runs.last_size || b->runs.open != 0) && xs_sub_run_take(b, size, out))
        return XS_SUB_OK;
    enum xs_sub_result result = take_chunk(s, size, out);
    if (XS_LIKELY(result == XS_SUB_OK))
        xs_sub_run_none(b, size);
    return result;
}

unsigned xs_sub_bfc_more(struct xs_sub *s, size_t size, unsigned most, struct xs_sub_block *first)
{
    return xs_sub_run_more(own(s), s->kind->rounded(s, size), most, first);
}

bool xs_sub_bfc_take_back(struct xs_sub *s, uint32_t handle, unsigned n)
{
    return xs_sub_run_take_back(own(s), handle, n);
}

uint32_t xs_sub_bfc_chunk_at(const struct xs_sub *s, uint64_t address)
{
    struct xs_sub_block found = {0};
    bool in_use;

    return xs_sub_find(s, address, &found, &in_use) && found.address == address ? found.handle : 0;
}

void xs_sub_bfc_give_all(struct xs_sub *s, const struct xs_sub_given given[], unsigned n)
{
    struct xs_sub_bfc *b = own(s);

    if (b->runs.open != 0)
        xs_sub_run_close(b);
    for (unsigned i = 0, of_run; i < n; i += of_run != 0 ? of_run : 1) {
        of_run =
            given[i].handle >= XS_SUB_RUN_HANDLE ? xs_sub_run_give_row(b, given + i, n - i) : 0;
        if (of_run == 0)
            (void)s->kind->give(s, given[i].handle, given[i].address);
    }
}

/* ---- the kind bfc ----------------------------------------------------------------------- */

static enum xs_sub_result take(struct xs_sub *s, size_t size, struct xs_sub_block *out)
{
    size_t whole = xs_align_up(size, s->align);

    /* In the open run: nothing has been freed since. */
    return xs_sub_run_next(own(s), whole, out) ? XS_SUB_OK : xs_sub_bfc_take_in_run(s, whole, out);
}

static int give(struct xs_sub *s, uint32_t handle, uint64_t address)
{
    struct xs_sub_bfc *b = own(s);

    if (XS_UNLIKELY(b->runs.open != 0))
        xs_sub_run_close(b);
    if (handle < XS_SUB_RUN_HANDLE)
        return xs_sub_bfc_is_chunk(b, handle, address) ? xs_sub_bfc_merge(s, handle) : EINVAL;
    return xs_sub_run_give(b, handle, address)
               ? 0
               : xs_sub_bfc_merge(s, xs_sub_bfc_chunk_at(s, address));
}

static size_t rounded(const struct xs_sub *s, size_t size)
{
    return xs_align_up(size, s->align);
}

static void settle(struct xs_sub *s)
{
    xs_sub_run_close(own(s));
    xs_sub_run_settle(own(s));
}

static uint64_t largest_free(const struct xs_sub *s)
{
    uint64_t most = xs_sub_bfc_largest_free(s), of_runs;

    (void)xs_sub_run_free_bytes(own_const(s), &of_runs);
    return of_runs > most ? of_runs : most;
}

static const struct xs_sub_kind kind_bfc = {
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
