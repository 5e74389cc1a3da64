/* gpu/sub_bfc.h - core/bfc.h over ranges of device memory, as both kinds of sub-allocator use it;
 * nobody but sub_bfc.c and sub_pool.c includes it. A block's handle is its chunk's number, and what
 * is known of it beyond the chunk lies in the chunk's record. Threads, errors: as gpu/sub.h.
 */
#ifndef XS_GPU_SUB_BFC_H
#define XS_GPU_SUB_BFC_H

#include "core/bfc_record.h"
#include "gpu/sub_range.h"
#include "gpu/sub_run.h"

struct xs_sub_bfc {
    struct xs_sub sub;
    struct xs_bfc bfc;
    uint64_t kept_bytes; /* in chunks that are in use to the core, but free to the program */
    struct xs_sub_runs runs;
};

struct xs_sub_note {
    uint32_t next; /* kept, of its class; 0: none */
    uint16_t range : 15;
    uint16_t is_kept : 1;
    uint16_t run; /* it is this one; 0: none */
};
_Static_assert(sizeof(struct xs_sub_note) <= sizeof((struct xs_bfc_record){0}.note), "has room");

/* Of a chunk in use. */
static inline struct xs_sub_note *xs_sub_note(const struct xs_sub_bfc *b, uint32_t handle)
{
    return (struct xs_sub_note *)(void *)bfc_record(&b->bfc, handle)->note;
}

/* `bytes` is the size of the kind's whole struct. */
struct xs_sub *xs_sub_bfc_make(size_t bytes, const struct xs_sub_kind *kind, size_t unit,
                               uint64_t limit_bytes);

/* The block ends and is merged; it may be one that was kept. */
int xs_sub_bfc_merge(struct xs_sub *s, uint32_t handle);

/* A chunk that the core has just given is noted, as it begins; and its block begins. */
struct xs_sub_range *xs_sub_bfc_note(struct xs_sub *s, xs_chunk c);
void xs_sub_bfc_taken(struct xs_sub *s, xs_chunk c, struct xs_sub_block *out);
/* Back to the core, no block being in it. */
int xs_sub_bfc_merge_chunk(struct xs_sub *s, xs_chunk c);

/* As the calls of the kind; the size is whole units. */
enum xs_sub_result xs_sub_bfc_take_in_run(struct xs_sub *s, size_t size, struct xs_sub_block *out);
unsigned xs_sub_bfc_more(struct xs_sub *s, size_t size, unsigned most, struct xs_sub_block *first);
bool xs_sub_bfc_take_back(struct xs_sub *s, uint32_t handle, unsigned n);
void xs_sub_bfc_give_all(struct xs_sub *s, const struct xs_sub_given given[], unsigned n);
/* The block at an address by its handle now: that of one whose run is no more is a chunk's. */
uint32_t xs_sub_bfc_chunk_at(const struct xs_sub *s, uint64_t address);

bool xs_sub_bfc_adopt(struct xs_sub *s, unsigned range);
void xs_sub_bfc_release(struct xs_sub *s);
bool xs_sub_bfc_find(const struct xs_sub *s, unsigned range, uint64_t address,
                     struct xs_sub_block *out, bool *in_use);
uint64_t xs_sub_bfc_largest_free(const struct xs_sub *s);
bool xs_sub_bfc_check(const struct xs_sub *s, struct xs_buf *why);
void xs_sub_bfc_close(struct xs_sub *s);

XS_INLINE bool xs_sub_bfc_is_chunk(const struct xs_sub_bfc *b, uint32_t handle, uint64_t address)
{
    return bfc_in_use(&b->bfc, handle) && bfc_record(&b->bfc, handle)->base == address;
}

/* The next block of the open run. False: none is open (then its size is 0), or it is another
 * size's, or full. */
XS_INLINE bool xs_sub_run_next(struct xs_sub_bfc *b, size_t size, struct xs_sub_block *out)
{
    struct xs_sub_run *r = &b->runs.run[b->runs.open];
    uint32_t n = r->cut;

    if (r->size != size || n == r->most)
        return false;
    out->address = r->base + n * size;
    out->size = size;
    out->handle = XS_SUB_RUN_HANDLE + b->runs.open * XS_SUB_RUN_BLOCKS + n;
    r->in_use |= (uint64_t)1 << n;
    r->cut = (uint8_t)(n + 1);
    xs_sub_began(&b->sub, &b->sub.range[r->range], size);
    return true;
}

/* False: no run has such a block in use. None is open. */
XS_INLINE bool xs_sub_run_give(struct xs_sub_bfc *b, uint32_t handle, uint64_t address)
{
    uint32_t at = handle - XS_SUB_RUN_HANDLE;
    uint64_t bit = (uint64_t)1 << at % XS_SUB_RUN_BLOCKS;

    if (at >= XS_SUB_RUNS * XS_SUB_RUN_BLOCKS)
        return false;
    struct xs_sub_run *r = &b->runs.run[at / XS_SUB_RUN_BLOCKS];
    if (!(r->in_use & bit) || r->base + at % XS_SUB_RUN_BLOCKS * r->size != address)
        return false;
    r->in_use &= ~bit;
    xs_sub_ended(&b->sub, &b->sub.range[r->range], r->size);
    if (XS_UNLIKELY(r->in_use == 0 || !r->is_torn))
        xs_sub_run_torn(b, r);
    return true;
}

#endif
