/* tests/fuzz/heap_fuzz.c - core/heap.h under any sequence of calls, from up to three threads that
 * take turns, against the model.
 *
 * The heap is opened once a process, so its options are the profile. At the end of each input every
 * block is freed, the other threads have ended and all memory was given back, so that little of one
 * input is left for the next: the main thread's heap, and those that wait to be adopted.
 */
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <string.h>

#include "core/heap.h"
#include "tests/fuzz/model.h"

#define KIB             ((size_t)1 << 10)
#define MIB             ((size_t)1 << 20)
#define GIB             ((size_t)1 << 30)
#define SECOND          1000000000u

#define THREADS         3u /* the first is the main thread */
#define LIVE_MAX_BYTES  (192 * MIB)
#define OPERATIONS_MAX  4000u /* of one input; the rest of it is not read */
#define GROWN_MAX_BYTES (6 * MIB)
#define BURST_MAX_BYTES (4 * MIB)
#define BLOCKS_MAX      40000u /* allocated by one input in bursts */

const char fuzz_name[] = "heap";
const unsigned fuzz_random_inputs = 30;

/* ---- profiles ---------------------------------------------------------------------------- */

static const struct profile {
    const char *name;
    uint64_t initial_bytes;
    uint64_t limit_bytes;
    uint64_t cache_bytes;
    uint64_t decay_ns;
    uint64_t retry_ns;
    unsigned fragmentation_permille;
    bool no_growth;
    bool collect;
    bool no_coalesce;
} profiles[] = {
    {"plain", 2 * MIB, 0, 256 * KIB, SECOND, .collect = true},
    {"no cache", 2 * MIB, 0, 0, SECOND, .collect = true},
    {"large cache", 2 * MIB, 0, 64 * MIB, SECOND, .collect = false},
    {"limit", 1 * MIB, 96 * MIB, 256 * KIB, SECOND, .collect = false},
    {"limit, collecting", 1 * MIB, 96 * MIB, 256 * KIB, SECOND, .collect = true},
    {"limit, one region", 1 * MIB, 96 * MIB, 256 * KIB, SECOND, .no_growth = true},
    {"merged late", 2 * MIB, 0, 256 * KIB, SECOND, .no_coalesce = true},
    {"limit, merged late", 1 * MIB, 96 * MIB, 1 * MIB, SECOND, .no_coalesce = true,
     .collect = true},
    {"remainders kept", 4 * MIB, 160 * MIB, 256 * KIB, SECOND, .fragmentation_permille = 500},
    {"purged at once", 2 * MIB, 0, 256 * KIB, 0, .collect = true},
    {"small start, no cache, purged at once", 4 * KIB, 0, 0, 0, .collect = false},
    {"one region, merged late, remainders kept", 48 * MIB, 0, 0, 1000, .no_growth = true,
     .no_coalesce = true, .fragmentation_permille = 100},
    {"limit, retrying", 1 * MIB, 64 * MIB, 256 * KIB, 1000, .retry_ns = 20000, .collect = true},
};
const unsigned fuzz_profiles = XS_COUNT_OF(profiles);

static const struct profile *profile;

const char *fuzz_profile_name(unsigned p)
{
    return profiles[p].name;
}

void fuzz_set_profile(unsigned p)
{
    FUZZ_CHECK(p < fuzz_profiles && profile == NULL, "no profile %u", p);
    profile = &profiles[p];
    struct xs_heap_options o = {
        .span = {.initial_bytes = profile->initial_bytes,
                 .limit_bytes = profile->limit_bytes,
                 .allow_growth = !profile->no_growth,
                 .garbage_collection = profile->collect,
                 .coalesce_on_free = !profile->no_coalesce,
                 .fragmentation_permille = profile->fragmentation_permille,
                 .decay_ns = profile->decay_ns},
        .cache_bytes = profile->cache_bytes,
        .retry_ns = profile->retry_ns,
    };
    FUZZ_CHECK(xs_heap_open(&o) == 0, "xs_heap_open failed");
}

/* What is there in all; 0: what the system has. */
static uint64_t supply(void)
{
    if (profile->limit_bytes != 0)
        return profile->limit_bytes;
    return profile->no_growth ? profile->initial_bytes : 0;
}

/* Below an eighth of the limit there is always room for what was asked, whatever the caches and
 * slabs of three threads hold and however torn the rest is. */
static bool may_fail(const struct model *m, size_t size, size_t align)
{
    uint64_t limit = supply();

    if (size >= GIB || align >= GIB)
        return true;
    return limit != 0 && m->live_bytes + size + 2 * align > limit / 8;
}

/* ---- the program ------------------------------------------------------------------------- */

static struct model model = {.live_max_bytes = LIVE_MAX_BYTES, .may_fail = may_fail};

static struct program {
    struct fuzz_input in;
    unsigned steps;
    unsigned blocks;
    unsigned check_every; /* operations */
    unsigned thread;      /* whose turn it is */
} program;

static uint64_t operations;

static void check_stats(void)
{
    model_stats(&model, profile->limit_bytes, profile->fragmentation_permille == 0);
}

uint64_t fuzz_operations(void)
{
    return operations;
}

static size_t around(size_t n, unsigned by)
{
    return n + by % 3 - 1;
}

static size_t any_size(struct fuzz_input *in)
{
    static const size_t special[] = {
        0,           1,        16,           1024,     1025,     32 * KIB, 32 * KIB + 1, 4 * MIB,
        4 * MIB + 1, 64 * MIB, 64 * MIB + 1, 63 * KIB, 64 * KIB, 65 * KIB, 2 * MIB,      32 * MIB};
    unsigned kind = fuzz_byte(in) % 32;
    unsigned v = fuzz_two(in);

    if (kind < 12)
        return v % 1040;
    if (kind < 18)
        return around(xs_class_bytes(v % XS_CLASS_COUNT), v >> 8);
    if (kind < 20)
        return around((size_t)1 << v % (v % 4 != 0 ? 21 : 27), v >> 8);
    if (kind < 24)
        return v; /* up to 64 KiB */
    if (kind < 26)
        return (size_t)v * (v % 8 != 0 ? 6 : 64); /* up to 384 KiB, or 4 MiB */
    if (kind == 26)
        return (size_t)v * (v % 8 != 0 ? 48 : 640); /* up to 3 MiB, or 40 MiB */
    if (kind < 29)
        return around((size_t)(v % 64 + 1) * 4096, v >> 8);
    if (kind == 29)
        return special[v % XS_COUNT_OF(special)];
    if (v % 8 != 0)
        return v % 4096;
    /* Absurd ones. */
    v /= 8;
    switch (v % 4) {
    case 0:
        return (size_t)PTRDIFF_MAX + 2 - v / 4 % 8;
    case 1:
        return SIZE_MAX - (size_t)(v / 4) * 16;
    case 2:
        return around((size_t)1 << (30 + v / 4 % 34), v >> 8);
    default:
        return (size_t)PTRDIFF_MAX - (size_t)v * 4096;
    }
}

static size_t any_align(struct fuzz_input *in)
{
    unsigned v = fuzz_byte(in);

    if (v < 250)
        return (size_t)1 << v % 25; /* up to 16 MiB */
    return (size_t)1 << (v - 250) * 12;
}

/* One in four far up, where the bursts put theirs. */
static unsigned any_place(struct fuzz_input *in)
{
    unsigned v = fuzz_byte(in);

    return v < 192 ? v : (v - 192) * 64;
}

/* Many at once: of one size when `mixed` is 0, else each of its own. */
static void burst(struct program *p, bool zeroed)
{
    unsigned first = fuzz_byte(&p->in) * 16;
    unsigned count = (fuzz_byte(&p->in) + 1) * 4;
    unsigned mixed = fuzz_byte(&p->in);
    size_t size = any_size(&p->in);

    if (mixed < 192 && size > BURST_MAX_BYTES / count)
        count = size > BURST_MAX_BYTES / 4 ? 4 : (unsigned)(BURST_MAX_BYTES / size);
    for (unsigned k = 0; k < count && p->blocks < BLOCKS_MAX; k++, p->blocks++) {
        unsigned i = (first + k) % MODEL_BLOCKS;
        if (mixed >= 192)
            size = fuzz_mix(mixed + k * 977u) % (k % 16 == 0 ? 20000 : 600);
        if (zeroed)
            model_zalloc(&model, i, size);
        else
            model_malloc(&model, i, size);
    }
}

static void burst_free(struct program *p)
{
    unsigned first = fuzz_byte(&p->in) * 16;
    unsigned count = (fuzz_byte(&p->in) + 1) * 16;
    unsigned how = fuzz_byte(&p->in);
    unsigned stride = how % 8 + 1;

    for (unsigned k = 0; k < count; k += stride) {
        unsigned at = how & 128 ? count - 1 - k : k;
        model_free(&model, (first + at) % MODEL_BLOCKS);
    }
}

/* One block in many steps, as an array that grows. */
static void grow(struct program *p)
{
    unsigned i = any_place(&p->in);
    unsigned steps = fuzz_byte(&p->in) % 24;
    unsigned v = fuzz_two(&p->in);
    size_t size = model.block[i].p != NULL ? model.block[i].size : 1;

    for (unsigned k = 0; k < steps; k++) {
        size = v % 4 == 0 ? size + size / 2 + 1 : size + v;
        if (v % 16 == 15)
            size = size % (v * 8 + 1) + 1; /* and shrinks */
        if (size > GROWN_MAX_BYTES)
            size = 1;
        model_realloc(&model, i, size);
    }
}

/* False: another thread's turn. */
static bool step(struct program *p)
{
    unsigned code = fuzz_byte(&p->in);
    unsigned i;

    switch (code % 32) {
    default: /* 0 to 6 */
        i = any_place(&p->in);
        model_malloc(&model, i, any_size(&p->in));
        break;
    case 7:
    case 8:
        i = any_place(&p->in);
        model_zalloc(&model, i, any_size(&p->in));
        break;
    case 9:
    case 10: {
        i = any_place(&p->in);
        size_t align = any_align(&p->in);
        model_memalign(&model, i, align, any_size(&p->in));
        break;
    }
    case 11:
    case 12:
    case 13:
    case 14:
    case 15:
    case 16:
        i = model_filled(&model, any_place(&p->in));
        if (i < MODEL_BLOCKS)
            model_free(&model, i);
        break;
    case 17:
    case 18:
    case 19:
        i = any_place(&p->in);
        model_realloc(&model, i, any_size(&p->in));
        break;
    case 20:
        burst(p, false);
        break;
    case 21:
        burst(p, true);
        break;
    case 22:
    case 23:
        burst_free(p);
        break;
    case 24:
        grow(p);
        break;
    case 25:
        i = model_filled(&model, any_place(&p->in));
        if (i < MODEL_BLOCKS)
            model_look(&model, i);
        break;
    case 26:
        if (code / 32 % 4 == 0)
            (void)xs_heap_trim();
        break;
    case 27:
        model_foreign(fuzz_mix(fuzz_two(&p->in)));
        break;
    case 28:
        check_stats();
        break;
    case 29:
    case 30:
    case 31:
        p->thread = fuzz_byte(&p->in);
        return false;
    }
    return true;
}

/* Runs the program until it changes threads or ends. */
static void run_turn(struct program *p)
{
    while (p->in.left > 0 && p->steps < OPERATIONS_MAX) {
        p->steps++;
        operations++;
        bool go_on = step(p);
        if (p->steps % p->check_every == 0 || !go_on)
            model_check();
        if (!go_on)
            return;
    }
}

/* ---- threads that take turns ------------------------------------------------------------- */

static struct worker {
    pthread_t thread;
    sem_t go;
    sem_t done;
    bool runs;
    bool is_to_end;
} worker[THREADS];

static void wait_for(sem_t *s)
{
    while (sem_wait(s) != 0)
        FUZZ_CHECK(errno == EINTR, "sem_wait");
}

static void *work(void *arg)
{
    struct worker *w = arg;

    for (;;) {
        wait_for(&w->go);
        if (w->is_to_end)
            return NULL;
        run_turn(&program);
        sem_post(&w->done);
    }
}

static void turn_of(struct worker *w)
{
    if (!w->runs) {
        sem_init(&w->go, 0, 0);
        sem_init(&w->done, 0, 0);
        w->is_to_end = false;
        FUZZ_CHECK(pthread_create(&w->thread, NULL, work, w) == 0, "pthread_create");
        w->runs = true;
    }
    sem_post(&w->go);
    wait_for(&w->done);
}

static void end_thread(struct worker *w)
{
    if (!w->runs)
        return;
    w->is_to_end = true;
    sem_post(&w->go);
    FUZZ_CHECK(pthread_join(w->thread, NULL) == 0, "pthread_join");
    sem_destroy(&w->go);
    sem_destroy(&w->done);
    w->runs = false;
}

/* Who is next: one of the threads, perhaps a new one in its place. */
static void next_turn(struct program *p)
{
    unsigned t = p->thread % THREADS;

    if (p->thread >= 192)
        end_thread(&worker[t]);
    if (t == 0)
        run_turn(p);
    else
        turn_of(&worker[t]);
}

/* ---- an input ---------------------------------------------------------------------------- */

/* When all is free, nothing may be in use, and half of what the limit allows is there in one piece.
 */
static void check_the_end(void)
{
    struct xs_heap_stats s;
    uint64_t limit = supply();

    FUZZ_CHECK(model.live == 0 && model.live_bytes == 0, "the model is not empty");
    (void)xs_heap_trim();
    model_check();
    check_stats();
    FUZZ_CHECK(xs_heap_stats_get(&s, true), "no statistics");
    FUZZ_CHECK(s.bfc.free_bytes == s.bfc.purged_bytes, "%lu of %lu free bytes kept after trim",
               (unsigned long)(s.bfc.free_bytes - s.bfc.purged_bytes),
               (unsigned long)s.bfc.free_bytes);
    if (limit == 0)
        return;
    void *p = xs_heap_malloc(limit / 2);
    FUZZ_CHECK(p != NULL, "everything is free, but not half of the limit: %lu in use, %u regions",
               (unsigned long)s.bfc.in_use_bytes, s.bfc.regions);
    FUZZ_CHECK(xs_heap_free(p), "free refused");
    (void)xs_heap_trim();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (profile == NULL) {
        const char *p = getenv("XS_FUZZ_PROFILE");
        fuzz_set_profile(p != NULL ? (unsigned)atoi(p) : 0);
    }
    program = (struct program){.in = {data, size}};
    program.check_every = 1u << fuzz_byte(&program.in) % 8;
    while (program.in.left > 0 && program.steps < OPERATIONS_MAX)
        next_turn(&program);
    /* The blocks of one thread are freed by another, before or after its end. */
    unsigned last = size == 0 ? 0 : data[size - 1];
    if (last & 1)
        for (unsigned t = 1; t < THREADS; t++)
            end_thread(&worker[t]);
    for (unsigned i = 0; i < MODEL_BLOCKS; i++)
        model_free(&model, last & 2 ? i : MODEL_BLOCKS - 1 - i);
    for (unsigned t = 1; t < THREADS; t++)
        end_thread(&worker[t]);
    check_the_end();
    return 0;
}
