/* gpu/sub_run.h - runs of equal blocks, which the core knows as one chunk; nobody but sub_bfc.c and
 * sub_run.c includes it.
 *
 * Who asks for the same size again is likely to ask for many, and to free them all before other
 * sizes come. So the free chunk that the core would cut from is taken whole, and blocks of the size
 * are cut from its beginning one after the other without the core, as it would have done itself.
 * When another size is asked for, or something is freed, what is left of it goes back: the run is
 * closed. A run whose blocks are all free is one free chunk again. One that has only some free ones
 * becomes chunks of its own, which merge with what is around them, before anything else is cut: so
 * a request finds what it would have found if each block had been a chunk from the start.
 *
 * Units:   bytes. Owns: chunks of the core. Threads, context, errors: as gpu/sub.h.
 */
#ifndef XS_GPU_SUB_RUN_H
#define XS_GPU_SUB_RUN_H

#include "core/bfc_record.h"
#include "gpu/sub_range.h"

#define XS_SUB_RUNS       256u /* at a time, with number 0, which is none */
#define XS_SUB_RUN_BLOCKS 64u

/* Handles of blocks in runs: number and index. The core's are below. A handle may outlive its run:
 * then the block is a chunk, known by its address. */
#define XS_SUB_RUN_HANDLE XS_SUB_MORE_HANDLE
_Static_assert(XS_SUB_RUN_HANDLE > XS_BFC_CHUNKS + XS_SUB_RUNS * XS_SUB_RUN_BLOCKS, "apart");

struct xs_sub_run {
    uint64_t base;
    size_t size;     /* of a block; 0: no run has this number */
    uint64_t in_use; /* a bit a block */
    size_t bytes;    /* of the chunk */
    xs_chunk chunk;
    uint16_t range;
    uint8_t cut, most; /* blocks so far, and that it has room for */
    bool is_torn;      /* some of them are free */
};

struct xs_sub_runs {
    unsigned open;     /* the one that is cut from; 0: none */
    unsigned torn;     /* so many are */
    size_t last_size;  /* that was asked for */
    unsigned row;      /* blocks of that size in runs that were closed since */
    unsigned last_row; /* how many they were of the last size that came in runs */
    struct xs_sub_run run[XS_SUB_RUNS];
};

struct xs_sub_bfc;

/* False: from the core, as if there were no runs. `size` is whole units. */
bool xs_sub_run_take(struct xs_sub_bfc *b, size_t size, struct xs_sub_block *out);
void xs_sub_run_close(struct xs_sub_bfc *b);
/* The core gave the block: the next one of the size may be a run's. */
void xs_sub_run_none(struct xs_sub_bfc *b, size_t size);

/* As xs_sub_alloc_more: as many as there were of the last size, then as many as of this one; and
 * xs_sub_take_back. */
unsigned xs_sub_run_more(struct xs_sub_bfc *b, size_t size, unsigned most,
                         struct xs_sub_block *first);
/* The first of those that are given, as far as they are of one run; how many. None is open. */
unsigned xs_sub_run_give_row(struct xs_sub_bfc *b, const struct xs_sub_given given[], unsigned n);
bool xs_sub_run_take_back(struct xs_sub_bfc *b, uint32_t handle, unsigned n);

/* After one of its blocks became free: the first, or the last one. */
void xs_sub_run_torn(struct xs_sub_bfc *b, struct xs_sub_run *r);

/* What has free blocks among others becomes chunks; it stays as it is if there are no records. */
void xs_sub_run_settle(struct xs_sub_bfc *b);

/* Around an address in the run of this number. */
void xs_sub_run_find(const struct xs_sub_bfc *b, unsigned number, uint64_t address,
                     struct xs_sub_block *out, bool *in_use);

/* What the core takes for used and is free; the largest piece of it. */
uint64_t xs_sub_run_free_bytes(const struct xs_sub_bfc *b, uint64_t *largest);

bool xs_sub_run_check(const struct xs_sub_bfc *b, struct xs_buf *why);

#endif
