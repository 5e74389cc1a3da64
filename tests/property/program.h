/* program.h - a random CUDA program: its machine, the allocator's options and its operations, all
 * drawn from a seed.
 *
 * An operation is a kind, a thread and four numbers, which mean what the state at its turn makes of
 * them (block r[0] modulo the live ones): so any part of a program is a program too, and a failing
 * one can be cut down (shrink in main.c). */
#ifndef XS_TESTS_PROPERTY_PROGRAM_H
#define XS_TESTS_PROPERTY_PROGRAM_H

#include <stdbool.h>
#include <stdint.h>

#include "gpu/gpu.h"

/* X(name, weight, where): how often among the operations, and whether it may be done in
 * ANY program, or only where threads take TURNS, or where several streams may be USED. */
#define OPERATIONS(X)                                                                              \
    X(malloc, 160, ANY)                                                                            \
    X(malloc_pitch, 8, ANY)                                                                        \
    X(malloc_managed, 16, ANY)                                                                     \
    X(host_alloc, 16, ANY)                                                                         \
    X(free, 130, ANY)                                                                              \
    X(free_many, 8, ANY)                                                                           \
    X(touch, 120, ANY)                                                                             \
    X(touch_early, 8, ANY)                                                                         \
    X(write, 60, ANY)                                                                              \
    X(verify, 20, ANY)                                                                             \
    X(prefetch, 6, ANY)                                                                            \
    X(advance, 60, ANY)                                                                            \
    X(stream_create, 14, STREAMS)                                                                  \
    X(stream_destroy, 6, STREAMS_IN_TURNS)                                                         \
    X(stream_sync, 12, ANY)                                                                        \
    X(context_sync, 10, ANY)                                                                       \
    X(event_order, 10, ANY)                                                                        \
    X(capture_begin, 10, STREAMS_IN_TURNS)                                                         \
    X(capture_end, 14, STREAMS_IN_TURNS)                                                           \
    X(capture_whole, 8, STREAMS)                                                                   \
    X(context_create, 3, STREAMS_IN_TURNS)                                                         \
    X(context_destroy, 3, STREAMS_IN_TURNS)                                                        \
    X(device_reset, 2, IN_TURNS)                                                                   \
    X(context_switch, 12, ANY)                                                                     \
    X(double_free, 8, IN_TURNS)                                                                    \
    X(interior_free, 6, ANY)                                                                       \
    X(foreign_free, 4, ANY)                                                                        \
    X(wrong_free, 4, ANY)                                                                          \
    X(free_async, 8, ANY)                                                                          \
    X(malloc_async, 4, ANY)                                                                        \
    X(memory_info, 6, ANY)                                                                         \
    X(address_range, 8, ANY)                                                                       \
    X(share, 5, ANY)                                                                               \
    X(change_for_good, 5, ANY)                                                                     \
    X(clear, 4, ANY)                                                                               \
    X(cache_limit, 4, ANY)                                                                         \
    X(defragment, 4, ANY)                                                                          \
    X(flush, 2, ANY)                                                                               \
    X(hold, 10, STREAMS_IN_TURNS)                                                                  \
    X(thread_end, 5, IN_TURNS)                                                                     \
    X(inject, 8, ANY)                                                                              \
    X(poison, 1, IN_TURNS)

enum op_kind {
#define X(name, weight, where) OP_##name,
    OPERATIONS(X)
#undef X
        OP_KINDS
};

enum { MAX_OPS = 512, MAX_THREADS = 8, MAX_DEVICES = 2, MAX_SIZES = 8 };

struct op {
    enum op_kind kind;
    unsigned thread;
    uint32_t r[4];
};

struct program {
    uint64_t seed;
    int devices;
    size_t bytes_each, granule;
    int version;
    unsigned threads;
    bool turns;       /* threads take turns in the order of the operations: deterministic */
    bool legacy_only; /* only the legacy stream of one context is used */
    bool tight;       /* memory may run out */
    bool injects, poisons;
    struct xs_gpu_options options[MAX_DEVICES];
    unsigned nsizes;
    size_t size[MAX_SIZES]; /* that it asks for again and again */
    size_t size_max;
    unsigned live_max;
    unsigned n;
    struct op op[MAX_OPS];
};

enum threads_wanted { THREADS_AS_DRAWN, THREADS_IN_TURNS, THREADS_FREE };

uint64_t draw(uint64_t *state);
uint64_t below(uint64_t *state, uint64_t n); /* 0..n-1 */
void program_make(struct program *p, uint64_t seed, enum threads_wanted wanted);
void program_print(const struct program *p);
const char *op_name(enum op_kind kind);
bool program_backend_is(const struct program *p, int device, enum xs_gpu_backend backend);

#endif
