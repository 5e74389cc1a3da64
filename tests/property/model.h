/* model.h - what a correct program knows of its blocks, streams, contexts and captures.
 *
 * A program here does only what CUDA allows: work in one stream that depends on work in another is
 * ordered by events, a block that a captured graph uses lives until the graph is gone, nothing is
 * done during a capture that would spoil it. It frees blocks with work pending, as cudaFree allows.
 *
 * Threads: a block that was taken (block_take) is its thread's until it is put back; tables are
 * under one lock; streams and contexts go only while threads take turns. */
#ifndef XS_TESTS_PROPERTY_MODEL_H
#define XS_TESTS_PROPERTY_MODEL_H

#include "api.h"

enum { MAX_BLOCKS = 256, MAX_STREAMS = 60, MAX_CONTEXTS = 6, MAX_CAPTURES = 2, MAX_PINS = 8 };
#define NOBODY (-1)

enum block_kind { DEVICE, MANAGED, PINNED, POOLED /* cuMemAllocAsync */ };
struct block {
    bool used, busy;
    uint64_t p;
    size_t size;
    enum block_kind kind;
    int context;    /* in which it was made */
    uint64_t users; /* streams with work on it that is not known to be complete */
    uint64_t lost;  /* contexts with such work in streams that are gone */
    int writer;     /* the stream of the last write, among the users; or NOBODY */
    int tag;        /* what was written; 0: nothing */
    unsigned pins;  /* captures that name it */
    bool shared;    /* exported, or changed for good */
};

struct stream {
    bool used;
    CUstream handle;
    int context;
    int thread; /* of a thread's default stream, else NOBODY */
    bool legacy, blocking;
    int capture;
};

struct context {
    bool used;
    CUcontext handle;
    int device;
    bool primary;
};

struct capture {
    bool used;
    bool excused; /* the program itself, natively too, may have spoiled it */
    int stream, thread;
    CUstreamCaptureMode mode;
    unsigned npins;
    struct block *pin[MAX_PINS];
};

struct totals { /* over all programs: shared by the processes */
    _Atomic unsigned long programs, ops, calls, hits, ordered, waited, events, syncs, evictions,
        flushes, ooms, failures, injected, captures, spoiled, frees_pending, held, resets;
};

extern struct model {
    const struct program *p;
    bool trace;
    struct block block[MAX_BLOCKS];
    _Atomic unsigned nblocks;
    struct stream stream[MAX_STREAMS];
    struct context context[MAX_CONTEXTS];
    struct capture capture[MAX_CAPTURES];
    _Atomic unsigned open_captures; /* capture_whole ones included */
    _Atomic unsigned syncing;       /* threads in a wait for a context: no capture may begin */
    _Atomic bool pitched, pitch_failed;
    _Atomic bool injected, poisoned, spoilt; /* spoilt: memory may have leaked on purpose */
    bool captured;        /* what was freed meanwhile may go back, and wait, at any free later */
    _Atomic bool limited; /* the cache's limit was changed */
    _Atomic bool
        limit_open[MAX_DEVICES]; /* lowered during a capture: not kept until something goes back */
    int thread_context[MAX_THREADS];
    _Atomic bool others; /* more than the legacy stream was ever used */
    struct {
        unsigned long calls, frees, requested;
        unsigned long failed;
        unsigned long direct; /* calls that were served without the cache being asked */
    } count[MAX_DEVICES];
    struct totals *totals;
    _Atomic unsigned at; /* the operation under way, for messages */
} m;

extern __thread unsigned me; /* thread number */

#define P(address) ((void *)(uintptr_t)(address))

void fail(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
void check(bool good, const char *format, ...) __attribute__((format(printf, 2, 3)));
void lock(void);
void unlock(void);

void model_open(const struct program *p);
void model_close(void); /* everything freed, everything checked */

/* The context of this thread, made current; NOBODY: none that can be had. */
int here(void);
int device_here(void);

/* A free place filled in, busy; NULL: no room (then the caller frees it again). */
struct block *block_new(uint64_t p, size_t size, enum block_kind kind);
/* One of the live blocks for which `fits` holds, from place r on. */
struct block *block_take(uint32_t r, bool (*fits)(const struct block *));
void block_put(struct block *b);
void block_gone(struct block *b);
bool any_block(const struct block *b);
bool live_at(uint64_t p); /* a live block covers it */

/* A stream of this thread's context that is not being captured. */
int stream_take(uint32_t r);
int stream_new(CUstream handle, int context, int thread, bool legacy, bool blocking);
void streams_of_context_gone(int context);
void stream_gone(int s);

/* Work on s that reads or writes comes after what it must. */
bool order(struct block *b, int s, bool writes);
/* Waits for all that uses the block: false if it cannot now, because of a capture. */
bool settle(struct block *b);
bool sync_context(int context);
/* Work of other contexts than the block's ends before its free, which waits for its own only. */
bool settle_others(struct block *b);

bool captures_here(void); /* under way, by anyone: nothing may wait for a context */
void excuse(CUresult r);

void check_stats(void);
void check_violations(void);

#endif
