#include "gpu/sub_run.h"

#include "gpu/sub_bfc.h"

/* A chunk that has no room for so many blocks is cut by the core. */
enum { LEAST_BLOCKS = 3 };

static uint64_t bit(unsigned index)
{
    return (uint64_t)1 << index;
}

static size_t left(const struct xs_sub_run *r)
{
    return r->bytes - r->cut * r->size;
}

static unsigned free_number(struct xs_sub_runs *runs)
{
    for (unsigned n = 1; n < XS_SUB_RUNS; n++)
        if (runs->run[n].size == 0)
            return n;
    return 0;
}

/* The chunk is the run's; no block has begun. */
static void open_run(struct xs_sub_bfc *b, unsigned number, xs_chunk c, size_t size)
{
    struct xs_sub_runs *runs = &b->runs;

    xs_sub_bfc_note(&b->sub, c);
    xs_sub_note(b, c)->run = (uint16_t)number;
    size_t most = bfc_record(&b->bfc, c)->size / size;
    runs->run[number] =
        (struct xs_sub_run){.base = bfc_record(&b->bfc, c)->base,
                            .size = size,
                            .bytes = bfc_record(&b->bfc, c)->size,
                            .chunk = c,
                            .most = most < XS_SUB_RUN_BLOCKS ? (uint8_t)most : XS_SUB_RUN_BLOCKS,
                            .range = xs_sub_note(b, c)->range};
    runs->open = number;
}

bool xs_sub_run_take(struct xs_sub_bfc *b, size_t size, struct xs_sub_block *out)
{
    struct xs_sub_runs *runs = &b->runs;

    if (xs_sub_run_next(b, size, out))
        return true;
    xs_sub_run_close(b);
    unsigned number = size == runs->last_size ? free_number(runs) : 0;
    xs_chunk c = number != 0 ? xs_bfc_alloc_whole(&b->bfc, size) : 0;
    if (c == 0)
        return false;
    if (bfc_record(&b->bfc, c)->size < LEAST_BLOCKS * size) {
        (void)xs_bfc_resize(&b->bfc, c, size, 0);
        xs_sub_bfc_taken(&b->sub, c, out);
        return true;
    }
    open_run(b, number, c, size);
    return xs_sub_run_next(b, size, out);
}

void xs_sub_run_none(struct xs_sub_bfc *b, size_t size)
{
    struct xs_sub_runs *runs = &b->runs;

    if (size == runs->last_size)
        return;
    runs->last_size = size;
    if (runs->row != 0) {
        runs->last_row = runs->row;
        runs->row = 0;
    }
}

static uint64_t bits(unsigned from, unsigned n)
{
    return (bit(n) - 1) << from;
}

unsigned xs_sub_run_more(struct xs_sub_bfc *b, size_t size, unsigned most,
                         struct xs_sub_block *first)
{
    struct xs_sub_run *r = &b->runs.run[b->runs.open];
    unsigned left = (unsigned)r->most - r->cut;
    unsigned row = b->runs.row + r->cut;
    unsigned n = b->runs.last_row > row ? b->runs.last_row - row : row;

    n = n < left ? n : left;
    n = n < most ? n : most;
    if (r->size != size || n == 0)
        return 0;
    *first = (struct xs_sub_block){r->base + r->cut * size, size,
                                   XS_SUB_RUN_HANDLE + b->runs.open * XS_SUB_RUN_BLOCKS + r->cut};
    r->in_use |= bits(r->cut, n);
    r->cut = (uint8_t)(r->cut + n);
    b->sub.range[r->range].used += n;
    b->sub.in_use += n * size;
    if (b->sub.in_use > b->sub.in_use_peak)
        b->sub.in_use_peak = b->sub.in_use;
    return n;
}

bool xs_sub_run_take_back(struct xs_sub_bfc *b, uint32_t handle, unsigned n)
{
    struct xs_sub_run *r = &b->runs.run[b->runs.open];
    uint32_t index = handle - XS_SUB_RUN_HANDLE - b->runs.open * XS_SUB_RUN_BLOCKS;

    if (b->runs.open == 0 || index == 0 || index >= r->cut || r->cut - index != n)
        return false;
    r->in_use &= ~bits(index, n);
    r->cut = (uint8_t)index;
    b->sub.range[r->range].used -= n;
    b->sub.in_use -= n * r->size;
    return true;
}

unsigned xs_sub_run_give_row(struct xs_sub_bfc *b, const struct xs_sub_given given[], unsigned n)
{
    uint32_t number = (given[0].handle - XS_SUB_RUN_HANDLE) / XS_SUB_RUN_BLOCKS;
    uint32_t first = XS_SUB_RUN_HANDLE + number * XS_SUB_RUN_BLOCKS;
    struct xs_sub_run *r = &b->runs.run[number < XS_SUB_RUNS ? number : 0];
    uint64_t in_use = r->in_use;
    size_t size = r->size;
    unsigned i = 0;

    for (; i < n; i++) {
        uint32_t at = given[i].handle - first;
        if (at >= XS_SUB_RUN_BLOCKS || !(in_use >> at & 1) ||
            r->base + at * size != given[i].address)
            break;
        in_use &= ~bit(at);
    }
    if (i == 0)
        return 0;
    struct xs_sub_range *range = &b->sub.range[r->range];
    r->in_use = in_use;
    range->used -= i - 1;
    b->sub.in_use -= (i - 1) * size;
    xs_sub_ended(&b->sub, range, size);
    if (in_use == 0 || !r->is_torn)
        xs_sub_run_torn(b, r);
    return i;
}

void xs_sub_run_close(struct xs_sub_bfc *b)
{
    struct xs_sub_run *r = &b->runs.run[b->runs.open];

    if (b->runs.open == 0)
        return;
    b->runs.open = 0;
    b->runs.row += r->cut;
    /* Without a record for what is left, that stays with the run. */
    if (left(r) != 0 && xs_bfc_resize(&b->bfc, r->chunk, r->cut * r->size, 0))
        r->bytes = r->cut * r->size;
}

static void end_run(struct xs_sub_bfc *b, struct xs_sub_run *r)
{
    b->runs.torn -= r->is_torn;
    *r = (struct xs_sub_run){0};
}

void xs_sub_run_torn(struct xs_sub_bfc *b, struct xs_sub_run *r)
{
    if (r->in_use == 0) {
        (void)xs_sub_bfc_merge_chunk(&b->sub, r->chunk);
        end_run(b, r);
    } else {
        r->is_torn = true;
        b->runs.torn++;
    }
}

static void tear(struct xs_sub_bfc *b, struct xs_sub_run *r)
{
    struct xs_sub_run was = *r;
    xs_chunk c = was.chunk;

    end_run(b, r);
    for (unsigned i = 0; i < was.cut && c != 0; i++) {
        xs_chunk rest =
            i + 1 < was.cut || left(&was) != 0 ? xs_bfc_divide(&b->bfc, c, was.size) : 0;
        xs_sub_bfc_note(&b->sub, c);
        if (!(was.in_use & bit(i)))
            (void)xs_sub_bfc_merge_chunk(&b->sub, c);
        c = rest;
    }
    if (c != 0) {
        xs_sub_bfc_note(&b->sub, c);
        (void)xs_sub_bfc_merge_chunk(&b->sub, c);
    }
}

void xs_sub_run_settle(struct xs_sub_bfc *b)
{
    for (unsigned n = 1; n < XS_SUB_RUNS && b->runs.torn != 0; n++)
        if (b->runs.run[n].is_torn && xs_bfc_have_records(&b->bfc, XS_SUB_RUN_BLOCKS))
            tear(b, &b->runs.run[n]);
}

void xs_sub_run_find(const struct xs_sub_bfc *b, unsigned number, uint64_t address,
                     struct xs_sub_block *out, bool *in_use)
{
    const struct xs_sub_run *r = &b->runs.run[number];
    unsigned index = (unsigned)((address - r->base) / r->size);

    *in_use = index < r->cut && r->in_use & bit(index);
    *out =
        (struct xs_sub_block){r->base + index * r->size, r->size,
                              *in_use ? XS_SUB_RUN_HANDLE + number * XS_SUB_RUN_BLOCKS + index : 0};
    if (index >= r->cut) {
        out->address = r->base + r->cut * r->size;
        out->size = left(r);
    }
}

uint64_t xs_sub_run_free_bytes(const struct xs_sub_bfc *b, uint64_t *largest)
{
    uint64_t bytes = 0;

    *largest = 0;
    for (unsigned n = 1; n < XS_SUB_RUNS; n++) {
        const struct xs_sub_run *r = &b->runs.run[n];
        unsigned blocks = r->cut - (unsigned)__builtin_popcountll(r->in_use);
        uint64_t piece = blocks != 0 && r->size > left(r) ? r->size : left(r);
        bytes += blocks * r->size + left(r);
        *largest = piece > *largest ? piece : *largest;
    }
    return bytes;
}

bool xs_sub_run_check(const struct xs_sub_bfc *b, struct xs_buf *why)
{
    unsigned torn = 0;

    for (unsigned n = 1; n < XS_SUB_RUNS; n++) {
        const struct xs_sub_run *r = &b->runs.run[n];
        torn += r->is_torn;
        if (r->size == 0)
            continue;
        uint64_t all = r->cut < XS_SUB_RUN_BLOCKS ? bit(r->cut) - 1 : UINT64_MAX;
        if (!bfc_in_use(&b->bfc, r->chunk) || xs_sub_note(b, r->chunk)->run != n ||
            bfc_record(&b->bfc, r->chunk)->base != r->base ||
            bfc_record(&b->bfc, r->chunk)->size != r->bytes || r->cut > XS_SUB_RUN_BLOCKS ||
            r->cut * r->size > r->bytes || r->in_use == 0 || (r->in_use & ~all) != 0 ||
            r->is_torn != (r->in_use != all)) {
            xs_fmt(why, "run %u is not in order", n);
            return false;
        }
    }
    if (torn != b->runs.torn || b->runs.run[0].size != 0) {
        xs_put_str(why, "the runs do not add up");
        return false;
    }
    return true;
}
