/* traffic.c LIMIT:BACKEND... - known traffic on several threads, compared with the library's
 * counts.
 *
 * The arguments are the route in force ("65536:mimalloc" "1048576:tbb" "*:system"), so that the
 * program can say for each call which back end must have counted it. Two phases: threads that live
 * through both snapshots, and threads that start and end between them. The second is measured
 * against threads that do nothing, since creating a thread allocates as well.
 */
#include <dlfcn.h>
#include <errno.h>
#include <inttypes.h>
#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "xsigma.h"

enum { THREADS = 4, ROUNDS = 2000, OWNERS = 4, BINS = 64 };

static const char *const owner_name[OWNERS] = {"system", "mimalloc", "tbb", "bfc"};

struct counts {
    uint64_t allocations;
    uint64_t frees;
    uint64_t reallocs;
    uint64_t failures;
    uint64_t realloc_failures;
    uint64_t requested_bytes;
    int64_t live_blocks;
    uint64_t bin[BINS];
};

/* ---- what the library says --------------------------------------------------------------- */

static int (*snapshot)(struct xsigma_stats *out);

static void measure(struct counts c[OWNERS])
{
    static struct xsigma_stats s;
    memset(c, 0, OWNERS * sizeof(*c));
    s.stats_size = sizeof(s);
    if (snapshot(&s) != 0 || !s.counting) {
        fprintf(stderr, "traffic: no snapshot, or not counting\n");
        exit(2);
    }
    for (size_t i = 0; i < s.backend_count; i++)
        for (size_t o = 0; o < OWNERS; o++) {
            const struct xsigma_backend_stats *b = &s.backends[i];
            if (strcmp(b->name, owner_name[o]) != 0)
                continue;
            c[o] = (struct counts){.allocations = b->allocations,
                                   .frees = b->frees,
                                   .reallocs = b->reallocs,
                                   .failures = b->failures,
                                   .realloc_failures = b->realloc_failures,
                                   .requested_bytes = b->requested_bytes,
                                   .live_blocks = b->live_blocks};
            memcpy(c[o].bin, b->size_bins, sizeof(c[o].bin));
        }
}

/* a -= b, field by field */
static void subtract(struct counts a[OWNERS], const struct counts b[OWNERS])
{
    for (size_t o = 0; o < OWNERS; o++) {
        a[o].allocations -= b[o].allocations;
        a[o].frees -= b[o].frees;
        a[o].reallocs -= b[o].reallocs;
        a[o].failures -= b[o].failures;
        a[o].realloc_failures -= b[o].realloc_failures;
        a[o].requested_bytes -= b[o].requested_bytes;
        a[o].live_blocks -= b[o].live_blocks;
        for (size_t i = 0; i < BINS; i++)
            a[o].bin[i] -= b[o].bin[i];
    }
}

/* ---- what the program did ---------------------------------------------------------------- */

struct step {
    size_t limit;
    size_t owner;
};
static struct step route[8];
static size_t steps;

static size_t owner_of_size(size_t n)
{
    for (size_t i = 0; i < steps; i++)
        if (n <= route[i].limit)
            return route[i].owner;
    return 0;
}

static _Thread_local struct counts *did;

/* From the definition: bin k holds (2^(k-1), 2^k] bytes, 63 holds 0. */
/* The own core keeps nothing apart below 16 bytes. */
static size_t bin_of(size_t n, size_t owner)
{
    size_t k = 0;
    if (n <= 16 && strcmp(owner_name[owner], "bfc") == 0)
        return 4;
    if (n == 0)
        return 63;
    while (((size_t)1 << k) < n)
        k++;
    return k;
}

static size_t requested(size_t n)
{
    size_t o = owner_of_size(n);
    did[o].requested_bytes += n;
    did[o].bin[bin_of(n, o)]++;
    return o;
}

/* Each block remembers who owns it, by the rule above. */
struct block {
    void *p;
    size_t size;
};

static struct block allocated(void *p, size_t n)
{
    size_t o = requested(n);
    did[o].allocations++;
    if (p == NULL) {
        did[o].failures++;
        did[o].requested_bytes -= n; /* a refused call counts, its bytes do not */
    } else {
        did[o].live_blocks++;
    }
    return (struct block){p, n};
}

static void release(struct block *b)
{
    if (b->p != NULL) {
        size_t o = owner_of_size(b->size);
        did[o].frees++;
        did[o].live_blocks--;
    }
    free(b->p);
    b->p = NULL;
}

static void resize(struct block *b, size_t n)
{
    void *volatile q = realloc(b->p, n);
    if (b->p == NULL) {
        *b = allocated(q, n);
    } else if (n == 0) {
        size_t o = owner_of_size(b->size);
        did[o].frees++;
        did[o].live_blocks--;
        b->p = NULL;
    } else {
        size_t o = requested(n);
        did[o].reallocs++;
        if (q == NULL) {
            did[o].realloc_failures++;
            did[o].requested_bytes -= n;
            return;
        }
        did[owner_of_size(b->size)].live_blocks--;
        did[o].live_blocks++;
        *b = (struct block){q, n};
    }
}

/* ---- the traffic ------------------------------------------------------------------------- */

enum { SLOTS = 128 };
static struct block slot[SLOTS];
static pthread_mutex_t slot_lock[SLOTS]; /* all zero is unlocked */

static void swap_slot(size_t i, struct block *b)
{
    pthread_mutex_lock(&slot_lock[i]);
    struct block t = slot[i];
    slot[i] = *b;
    *b = t;
    pthread_mutex_unlock(&slot_lock[i]);
}

/* More than any kernel gives, and no overflow of the sum. */
static volatile size_t too_much = (size_t)1 << 55;

static size_t some_size(unsigned r)
{
    static const size_t sizes[] = {0,    1,    15,   16,    17,    63,    64,     65,     100,
                                   1000, 1024, 1025, 16384, 65536, 65537, 262144, 262145, 1048577};
    unsigned pick = r % 40;
    return pick < sizeof(sizes) / sizeof(sizes[0]) ? sizes[pick] : (r >> 8) % 3000;
}

static void traffic(unsigned seed)
{
    unsigned random = seed;
    for (int round = 0; round < ROUNDS; round++) {
        random = random * 1664525u + 1013904223u;
        unsigned r = random >> 8;
        struct block b = {NULL, 0};
        size_t n = some_size(r >> 4);
        void *p = NULL;
        switch (r % 8) {
        case 0:
        case 1:
        case 2:
            b = allocated(malloc(n), n);
            break;
        case 3:
            b = allocated(calloc(n, 1), n);
            break;
        case 4:
            b = allocated(posix_memalign(&p, 64, n) == 0 ? p : NULL, n);
            break;
        case 5:
            b = allocated(aligned_alloc(128, n), n);
            break;
        default: /* grows or shrinks what some thread left, or nothing at all */
            swap_slot(r % SLOTS, &b);
            resize(&b, n);
        }
        if (r % 500 == 499) {
            struct block failed = allocated(malloc(too_much), too_much);
            release(&failed);
            if (b.p != NULL)
                resize(&b, too_much);
        }
        swap_slot(r % SLOTS, &b);
        release(&b); /* often another thread's */
        free(NULL);
    }
}

static pthread_barrier_t gate;
static _Atomic bool idle;
static struct counts by_thread[THREADS][OWNERS];

static void *stays(void *arg)
{
    size_t id = (size_t)arg;
    did = by_thread[id];
    pthread_barrier_wait(&gate); /* the snapshot before */
    pthread_barrier_wait(&gate);
    traffic((unsigned)id + 1);
    pthread_barrier_wait(&gate); /* the snapshot after */
    pthread_barrier_wait(&gate);
    return NULL;
}

static void *ends(void *arg)
{
    size_t id = (size_t)arg;
    did = by_thread[id];
    /* All at once, so that each has a stack of its own, however short the work. */
    pthread_barrier_wait(&gate);
    if (!atomic_load(&idle))
        traffic((unsigned)id + 100);
    pthread_barrier_wait(&gate);
    return NULL;
}

static void run_ending_threads(void)
{
    pthread_t t[THREADS];
    pthread_barrier_init(&gate, NULL, THREADS);
    for (size_t i = 0; i < THREADS; i++)
        if (pthread_create(&t[i], NULL, ends, (void *)i) != 0)
            exit(2);
    for (size_t i = 0; i < THREADS; i++)
        pthread_join(t[i], NULL);
    pthread_barrier_destroy(&gate);
}

static void expected(struct counts sum[OWNERS])
{
    memset(sum, 0, OWNERS * sizeof(*sum));
    for (size_t t = 0; t < THREADS; t++) /* sum -= -x, to have one loop over the fields */
        subtract(sum, by_thread[t]);
    struct counts zero[OWNERS] = {0};
    subtract(zero, sum);
    memcpy(sum, zero, sizeof(zero));
    memset(by_thread, 0, sizeof(by_thread));
}

static int wrong;

static void compare(const char *phase, const struct counts want[OWNERS],
                    const struct counts got[OWNERS])
{
    for (size_t o = 0; o < OWNERS; o++) {
#define FIELD(name)                                                                                \
    if (want[o].name != got[o].name) {                                                             \
        printf("%s: %s %s: did %" PRId64 ", counted %" PRId64 "\n", phase, owner_name[o], #name,   \
               (int64_t)want[o].name, (int64_t)got[o].name);                                       \
        wrong = 1;                                                                                 \
    }
        FIELD(allocations)
        FIELD(frees)
        FIELD(reallocs)
        FIELD(failures)
        FIELD(realloc_failures)
        FIELD(requested_bytes)
        FIELD(live_blocks)
        for (size_t i = 0; i < BINS; i++)
            if (want[o].bin[i] != got[o].bin[i]) {
                printf("%s: %s size bin %zu: did %" PRIu64 ", counted %" PRIu64 "\n", phase,
                       owner_name[o], i, want[o].bin[i], got[o].bin[i]);
                wrong = 1;
            }
    }
    uint64_t all = 0;
    for (size_t o = 0; o < OWNERS; o++)
        all += want[o].allocations;
    if (all < ROUNDS) {
        printf("%s: nothing happened\n", phase);
        wrong = 1;
    }
}

static void parse_route(int argc, char **argv)
{
    for (int i = 1; i < argc && steps < 8; i++) {
        char *name = strchr(argv[i], ':');
        if (name == NULL)
            exit(2);
        route[steps].limit = argv[i][0] == '*' ? SIZE_MAX : strtoul(argv[i], NULL, 10);
        while (strcmp(name + 1, owner_name[route[steps].owner]) != 0)
            if (++route[steps].owner == OWNERS)
                exit(2);
        steps++;
    }
}

int main(int argc, char **argv)
{
    static struct counts before[OWNERS];
    static struct counts after[OWNERS];
    static struct counts nothing[OWNERS];
    static struct counts want[OWNERS];
    pthread_t t[THREADS];

    parse_route(argc, argv);
    snapshot = (int (*)(struct xsigma_stats *))dlsym(RTLD_DEFAULT, "xsigma_stats_snapshot");
    if (snapshot == NULL) {
        fprintf(stderr, "traffic: the library is not loaded\n");
        return 2;
    }
    setvbuf(stdout, NULL, _IONBF, 0);

    pthread_barrier_init(&gate, NULL, THREADS + 1);
    for (size_t i = 0; i < THREADS; i++)
        if (pthread_create(&t[i], NULL, stays, (void *)i) != 0)
            return 2;
    pthread_barrier_wait(&gate);
    measure(before);
    pthread_barrier_wait(&gate);
    pthread_barrier_wait(&gate);
    measure(after);
    pthread_barrier_wait(&gate);
    for (size_t i = 0; i < THREADS; i++)
        pthread_join(t[i], NULL);
    pthread_barrier_destroy(&gate);
    subtract(after, before);
    expected(want);
    compare("threads that stay", want, after);

    atomic_store(&idle, true);
    run_ending_threads(); /* fills glibc's cache of stacks */
    measure(before);
    run_ending_threads();
    measure(nothing);
    subtract(nothing, before);
    atomic_store(&idle, false);
    measure(before);
    run_ending_threads();
    measure(after);
    subtract(after, before);
    subtract(after, nothing);
    expected(want);
    compare("threads that end", want, after);

    /* What is left in the slots, freed by a thread that made none of it. */
    did = by_thread[0];
    measure(before);
    for (size_t i = 0; i < SLOTS; i++)
        release(&slot[i]);
    struct block last = allocated(malloc(77), 77);
    for (int i = 0; i < ROUNDS; i++)
        resize(&last, (size_t)i % 5000 + 1);
    for (int i = 0; i < ROUNDS; i++) {
        struct block b = allocated(calloc(3, (size_t)i), 3 * (size_t)i);
        release(&b);
    }
    release(&last);
    measure(after);
    subtract(after, before);
    expected(want);
    compare("one thread", want, after);
    return wrong;
}
