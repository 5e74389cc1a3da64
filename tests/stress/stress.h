/* stress.h - what the loads share: patterned blocks, a table through which threads hand them
 * around, and teams of threads.
 *
 * Built twice from the same source: as a plain program, whose malloc is whatever is preloaded, and
 * with XS_HEAP against the own core's functions, so that a sanitizer sees inside them.
 */
#ifndef XS_TESTS_STRESS_H
#define XS_TESTS_STRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)

enum { THREADS_AT_MOST = 64, TABLE = 1024 };

/* The thread sanitizer has the last one for itself. */
#ifdef __SANITIZE_THREAD__
enum { DESTRUCTOR_ROUNDS = 3 };
#else
enum { DESTRUCTOR_ROUNDS = 4 };
#endif

/* splitmix64 */
uint64_t random_next(uint64_t *state);
size_t random_below(uint64_t *state, size_t bound);
uint64_t random_of(unsigned who); /* a state of its own for each thread of each load */

/* From 1 to `most`, small ones far more often, and some sizes most often. */
size_t random_size(uint64_t *state, size_t most);

struct block {
    unsigned char *at; /* NULL: none */
    size_t size;
    unsigned mark; /* which pattern it carries */
};

/* A new block by any call of the family, filled. */
struct block block_get(uint64_t *random, size_t size);
void block_check(const struct block *b);
void block_put(struct block *b); /* checks and frees it, if there is one */
void block_resize(struct block *b, uint64_t *random, size_t size);

/* Gives `b` to a slot of the table and takes what was there. */
void table_swap(size_t slot, struct block *b);
void table_empty(void);

/* Runs `work` in `n` threads, `arg` their number, and waits for them. */
void team(unsigned n, void *(*work)(void *));

/* What a program may do at any time beside it: trims, asks. */
void look_around(const struct block *b);

/* Number of rounds, by the scale on the command line; at least 1. */
unsigned scaled(unsigned n);

_Noreturn void broken(const char *what);

struct load {
    const char *name;
    void (*run)(void);
};
extern const struct load loads[];
extern const size_t load_count;

/* Called once, before the core's first block. */
void loads_open(void);

#endif
