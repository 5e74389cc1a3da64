/* state.h - what the files of the fake driver share. Everything under fake.lock. */
#ifndef XS_TESTS_FAKE_STATE_H
#define XS_TESTS_FAKE_STATE_H

#include <pthread.h>
#include <stdint.h>
#include <stdio.h>

#pragma GCC visibility push(default)
#include "fake.h"
#pragma GCC visibility pop

enum { FAKE_STREAMS = 512, FAKE_CONTEXTS = 40, FAKE_CAPTURES = 64, FAKE_DEVICES = 16 };

/* A vector clock: at[i] is the last piece of work of stream slot i that is known to come before. */
struct fake_clock {
    unsigned n; /* entries in use; those above are 0 */
    uint64_t at[FAKE_STREAMS];
};

struct range {
    uint64_t lo, hi;
    uint64_t life; /* 0: none */
};

enum op_kind { OP_NOTHING, OP_KERNEL, OP_COPY, OP_SET, OP_HOST, OP_FREE, OP_HOLD };
struct op {
    enum op_kind kind;
    const char *what; /* of a message */
    unsigned nranges;
    struct range range[4];
    bool hint;  /* moves memory about, and changes nothing that anybody sees */
    bool early; /* may begin before the work just before it in its stream has ended */
    union {
        struct {
            void (*body)(void *const *, const size_t *, unsigned);
        } kernel;
        struct {
            uint64_t dst, src;
            size_t width, height, dst_pitch, src_pitch;
            void *staged; /* the source, copied at submission; freed with the op */
        } copy;
        struct {
            uint64_t dst;
            size_t width, height, pitch; /* in bytes */
            uint32_t value;
            unsigned value_bytes;
        } set;
        struct {
            CUhostFn fn;
            CUstreamCallback callback;
            CUstream stream;
            void *data;
        } host;
        uint64_t free_base;
    } u;
};

struct work {
    struct work *next;
    uint64_t seq;
    struct op op;
    unsigned nclock;
    uint64_t clock[]; /* what must be done before; own slot: seq */
};

struct slot { /* outlives its stream until the last work is done */
    CUstream stream;
    struct work *head, **tail;
    uint64_t submitted, done;
    bool running; /* a host function, without the lock */
};

struct CUstream_st {
    CUcontext ctx;
    unsigned flags;
    unsigned slot;
    unsigned long thread; /* of a per-thread default stream; else 0 */
    int priority;
    uint64_t id;
    struct fake_clock clock;
    struct capture *capture;
};

struct CUevent_st {
    CUcontext ctx;
    unsigned flags;
    bool recorded;
    struct fake_clock clock;
    struct capture *capture; /* recorded inside of it, it is nobody else's */
    uint64_t capture_id;
};

struct CUgraph_st {
    unsigned n, room;
    struct op *op;
    unsigned held; /* by the program, and by what was instantiated: so long it has its memory */
};

struct CUgraphExec_st {
    struct CUgraph_st graph;
    CUgraph of;
};

struct capture {
    uint64_t id; /* 0: free */
    CUcontext ctx;
    CUstream origin;
    CUstreamCaptureMode mode;
    CUstreamCaptureStatus status;
    unsigned long thread;
    CUgraph graph;
    bool graph_is_callers;
};

struct CUctx_st {
    bool used;
    bool primary;
    int references; /* of a primary context */
    CUdevice device;
    unsigned flags;
    uint64_t id;
    CUresult sticky;
    CUstream legacy;
    /* What destroyed streams were given: the blocking ones, and all. */
    struct fake_clock ended_blocking, ended;
    struct fake_clock waited; /* by cuCtxWaitEvent: streams to come wait too */
};

enum area_kind {
    AREA_DEVICE,
    AREA_ARRAY,
    AREA_MANAGED,
    AREA_HOST,
    AREA_REGISTERED,
    AREA_ASYNC,
    AREA_GRAPH,
    AREA_VMM,
    AREA_IPC
};
struct area {
    uint64_t lo, hi;
    enum area_kind kind;
    CUcontext ctx;
    CUdevice device;
    size_t accounted;
    unsigned flags;
    bool freeing;     /* cuMemFreeAsync is on its way */
    bool sync_memops; /* CU_POINTER_ATTRIBUTE_SYNC_MEMOPS */
    bool is_moved;    /* by a prefetch, */
    int moved_to;     /* to a device, or -1 */
    uint64_t id;
    uint64_t shadow; /* of an opened IPC handle: where the exporter's memory lies; else 0 */
    CUmemGenericAllocationHandle handle;
    CUmemoryPool pool;
    CUgraph graph; /* whose node it is */
};

struct CUmemPoolHandle_st {
    CUdevice device;
    uint64_t used, high, threshold;
};

struct device {
    uint64_t base, end, shadow; /* addresses, and where their hidden memory starts */
    void *seen;
    size_t seen_bytes;
    size_t used;
    struct CUctx_st primary;
    struct CUmemPoolHandle_st pool;
    CUmemoryPool current_pool;
};

extern struct fake {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    /* settings */
    int devices;
    size_t bytes_each;
    int version;
    size_t granule;
    enum fake_free free_way;
    enum fake_violation violation_way;
    bool autonomous;
    bool stub;
    FILE *log;
    /* state */
    bool started;
    int pid;
    uint64_t next_id;
    struct device device[FAKE_DEVICES];
    struct CUctx_st contexts[FAKE_CONTEXTS];
    unsigned nslots;
    struct slot slot[FAKE_STREAMS];
    struct capture capture[FAKE_CAPTURES];
    unsigned ncaptures;
    unsigned violations;
    char last_violation[512];
} fake;

/* Grows with every change that a thread's memory of its current context does not outlive: a context
 * made or closed, an error to inject, a fork. */
extern _Atomic unsigned long fk_generation;
void fk_changed(void);
/* Calls of cuCtxGetCurrent that were answered from that memory, without the lock. */
extern _Atomic unsigned long fk_quick_calls;
bool fk_quick_allowed(void); /* under the lock: nothing is to be done to such a call */

/* ---- entry.c: the way into and out of a call ---- */

enum { ANY_TIME = 1, NEEDS_CONTEXT = 2, UNSAFE = 4 }; /* UNSAFE: not during a capture */
/* Takes the lock and counts; what is not CUDA_SUCCESS is to be returned, the lock free again. */
CUresult fk_enter(const char *symbol, int *number, unsigned flags);
CUresult fk_leave(CUresult r);
#define ENTER(flags)                                                                               \
    do {                                                                                           \
        static int number = -1;                                                                    \
        CUresult entered = fk_enter(__func__, &number, flags);                                     \
        if (entered != CUDA_SUCCESS)                                                               \
            return entered;                                                                        \
    } while (0)
#define LEAVE(r) return fk_leave(r)
#define CHECK(condition, error)                                                                    \
    do {                                                                                           \
        if (!(condition))                                                                          \
            LEAVE(error);                                                                          \
    } while (0)
void fk_violation(const char *format, ...) __attribute__((format(printf, 1, 2)));
unsigned long fk_thread(void); /* never 0, never given twice */

/* ---- context.c ---- */
CUcontext fk_current(void); /* NULL: none */
bool fk_context_ok(CUcontext ctx);
void fk_contexts_reset(void);

/* ---- time.c: streams' work and its order ---- */
CUresult fk_stream_new(CUcontext ctx, unsigned flags, int priority, unsigned long thread,
                       CUstream *out);
void fk_stream_end(CUstream s);
/* The stream behind a handle; NULL: none. */
CUstream fk_stream(CUstream handle, bool per_thread);
bool fk_stream_is(CUstream s);
void fk_clock_merge(struct fake_clock *into, const struct fake_clock *from);
/* What is put on s now comes after this. */
const struct fake_clock *fk_stream_clock(CUstream s);
/* All that the context's streams have been given so far. */
void fk_context_clock(CUcontext ctx, struct fake_clock *out);
bool fk_clock_done(const struct fake_clock *c);
/* Completes what the clock names, and no more. */
CUresult fk_wait(const struct fake_clock *c, const char *who);
CUresult fk_wait_context(CUcontext ctx, const char *who);
/* Puts work on a stream, or into the graph when the stream is being captured. */
CUresult fk_submit(CUstream s, struct op *op);
void fk_streams_reset(void);
/* Pending work that touches the range, prefetches apart, or NULL; its slot. */
struct work *fk_pending_on(uint64_t lo, uint64_t hi, unsigned *slot);
void fk_progress(void); /* one piece, if autonomous */

/* ---- oracle.c ---- */
void fk_lives_of(struct op *op);
void fk_check_order(const struct work *w, unsigned slot);
void fk_check_driver_free(const struct area *a);
void fk_lives_reset(void);

/* ---- memory.c ---- */
struct area *fk_area(uint64_t p);
struct area *fk_area_at(uint64_t base);
CUresult fk_memory_start(void);
void fk_memory_reset(void);
CUresult fk_area_new(enum area_kind kind, CUdevice device, size_t bytes, struct area **out);
void fk_area_drop(struct area *a);
void fk_areas_of_context_drop(CUcontext ctx);
void fk_areas_of_graph_drop(CUgraph g);
bool fk_host_visible(const struct area *a);
void *fk_memory(uint64_t p); /* what the hidden or real memory behind p is */

/* ---- capture.c ---- */
CUresult fk_capture_refuses(void); /* for an unsafe call of this thread */
CUresult fk_capture_refuses_legacy(CUstream legacy);
CUresult fk_captured(CUstream s, const struct op *op);
/* A memory node of a graph: it has an address as long as the graph, and nothing else. */
CUresult fk_graph_memory(CUgraph g, CUdevice device, size_t bytes, CUdeviceptr *out);
void fk_captures_of_context_spoil(CUcontext ctx);
bool fk_context_captures(CUcontext ctx);
void fk_captures_reset(void);
struct capture *fk_capture_of_event(CUevent e);

#endif
