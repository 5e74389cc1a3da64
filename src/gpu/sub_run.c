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
    bool again = size == runs->last_size;
    runs->last_size = size;
    unsigned number = again ? free_number(runs) : 0;
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

void xs_sub_run_close(struct xs_sub_bfc *b)
{
    struct xs_sub_run *r = &b->runs.run[b->runs.open];

    if (b->runs.open == 0)
        return;
    b->runs.open = 0;
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
