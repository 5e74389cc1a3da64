/* tests/fuzz/model.h - the heap as it should be, beside the heap of core/heap.h as it is.
 *
 * Every call goes to both. Checked at each: alignment, usable size, owner, that live blocks do not
 * overlap, that contents survive until the block ends (a pattern; of large blocks at both ends and
 * at an address in each so many pages), that zalloc's memory is zero, that errno is kept by free
 * and is ENOMEM with NULL, and that NULL comes only when may_fail says so. What is wrong ends the
 * process by abort.
 *
 * Threads: one at a time, each seeing what the last one did.
 */
#ifndef TESTS_FUZZ_MODEL_H
#define TESTS_FUZZ_MODEL_H

#include "core/heap.h"
#include "tests/fuzz/fuzz.h"

#define MODEL_BLOCKS 4096u

struct model_block {
    unsigned char *p; /* NULL: none here */
    size_t size;
    size_t usable; /* `size` where nobody asked; to ask may change what the heap does with it */
    bool asked;
    uint64_t seed;
    size_t phase; /* offset of the first sample inside a large block */
};

struct model_range {
    uintptr_t start;
    uintptr_t end;
};

struct model {
    struct model_block block[MODEL_BLOCKS];
    struct model_range order[MODEL_BLOCKS]; /* live ranges, rising */
    unsigned live;
    uint64_t live_bytes; /* as far as known to be usable */
    uint64_t live_max_bytes;
    uint64_t seeds;
    uint64_t calls;
    uint64_t refused;
    /* May a request for so much get no memory now? */
    bool (*may_fail)(const struct model *m, size_t size, size_t align);
};

/* Into the place `i`, which is emptied first. False: no memory, or the model holds live_max_bytes
 * already and nothing was asked. */
bool model_malloc(struct model *m, unsigned i, size_t size);
bool model_zalloc(struct model *m, unsigned i, size_t size);
bool model_memalign(struct model *m, unsigned i, size_t align, size_t size);

/* On an empty place: as model_malloc. */
bool model_realloc(struct model *m, unsigned i, size_t size);

/* Nothing on an empty place. */
void model_free(struct model *m, unsigned i);

/* The block's contents, usable size and owner, without ending it. */
void model_look(struct model *m, unsigned i);

/* The first filled place from `i` on, round the end; MODEL_BLOCKS: there is none. */
unsigned model_filled(const struct model *m, unsigned i);

/* Pointers that are none of the heap's are refused, and nothing happens. */
void model_foreign(uint64_t seed);

/* xs_heap_check. */
void model_check(void);

/* Asks for the usable size of every block. The heap's statistics against the model. Not exact:
 * chunks may be larger than what is usable. */
void model_stats(const struct model *m, uint64_t limit_bytes, bool exact);

#endif
