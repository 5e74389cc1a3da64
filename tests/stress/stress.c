/* stress.c - threads that allocate, hand around and free patterned blocks.
 *
 * stress --list                      the loads
 * stress [SCALE [SEED [LOAD...]]]    runs all of them, or those named; 1 is a short run
 *
 * With XS_HEAP, words in STRESS_HEAP set the core up: nocache, nomerge, nodecay, decay (at once),
 * limit, nogrowth. After each load nothing may be in use, and the core's own walk must find
 * everything in order.
 */
#include "stress.h"

#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifdef XS_HEAP
#include "base/fmt.h"
#include "core/heap.h"

#define heap_malloc       xs_heap_malloc
#define heap_realloc      xs_heap_realloc
#define heap_memalign     xs_heap_memalign
#define heap_usable(p)    xs_heap_usable_size(p)
#define heap_trim()       xs_heap_trim()
#define heap_calloc(n, s) xs_heap_zalloc((n) * (s))

static void heap_free(void *p)
{
    if (!xs_heap_free(p))
        broken("xs_heap_free does not know its own block");
}
#else
#define heap_malloc    malloc
#define heap_calloc    calloc
#define heap_realloc   realloc
#define heap_memalign  memalign
#define heap_free      free
#define heap_usable(p) malloc_usable_size(p)
#define heap_trim()    malloc_trim(0)
#endif

/* Blocks up to WHOLE bytes are patterned throughout, larger ones at their ends and in each page. */
enum { WHOLE = 16384, EDGE = 4096, MARKS = 4096 };
static unsigned char pattern[WHOLE + MARKS];

static double scale = 1;
static uint64_t seed = 1;
static const char *load_name = "";

void broken(const char *what)
{
    char line[200];
    int n = snprintf(line, sizeof(line), "stress: %s, scale %g, seed %llu: %s\n", load_name, scale,
                     (unsigned long long)seed, what);

    (void)!write(STDERR_FILENO, line, (size_t)n);
    _exit(1);
}

unsigned scaled(unsigned n)
{
    double x = n * scale;

    return x < 1 ? 1 : (unsigned)x;
}

/* ---- random ---- */

uint64_t random_next(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

size_t random_below(uint64_t *state, size_t bound)
{
    return (size_t)(random_next(state) >> 11) % bound;
}

uint64_t random_of(unsigned who)
{
    uint64_t state = seed << 20 ^ who;

    for (const char *c = load_name; *c != '\0'; c++)
        state = state * 31 + (unsigned char)*c;
    return random_next(&state);
}

size_t random_size(uint64_t *state, size_t most)
{
    /* Half of all blocks have one of few sizes, so that slabs get full and empty again. */
    static const size_t often[] = {48, 500, 3000, 20000};
    size_t pick = often[random_below(state, 4)];
    if (pick <= most && random_below(state, 2) == 0)
        return pick;

    unsigned doublings = 64 - (unsigned)__builtin_clzll(most);
    size_t a = random_below(state, doublings);
    size_t b = random_below(state, doublings);
    size_t top = (size_t)1 << (a < b ? a : b);

    size_t size = top + random_below(state, top);
    return size < most ? size : most;
}

/* ---- blocks ---- */

static size_t edge_of(size_t size)
{
    return size <= WHOLE ? size : EDGE;
}

static void block_fill(struct block *b, uint64_t *random)
{
    size_t edge = edge_of(b->size);

    b->mark = (unsigned)random_below(random, MARKS);
    memcpy(b->at, pattern + b->mark, edge);
    if (edge == b->size)
        return;
    for (size_t i = EDGE; i < b->size - EDGE; i += EDGE)
        b->at[i] = pattern[b->mark];
    memcpy(b->at + b->size - edge, pattern + b->mark, edge);
}

/* The first `size` bytes, after a realloc to that size. */
static void check_part(const struct block *b, size_t size)
{
    size_t edge = edge_of(b->size);

    if (memcmp(b->at, pattern + b->mark, edge < size ? edge : size) != 0)
        broken("the start of a block is spoiled");
    if (edge == b->size)
        return;
    for (size_t i = EDGE; i < b->size - EDGE && i < size; i += EDGE) {
        if (b->at[i] != pattern[b->mark])
            broken("a page of a block is spoiled");
    }
    if (size == b->size && memcmp(b->at + size - edge, pattern + b->mark, edge) != 0)
        broken("the end of a block is spoiled");
}

void block_check(const struct block *b)
{
    check_part(b, b->size);
}

static void check_zero(const struct block *b)
{
    if (b->at[0] != 0 || memcmp(b->at, b->at + 1, b->size - 1) != 0)
        broken("calloc gave a block that is not zero");
}

struct block block_get(uint64_t *random, size_t size)
{
    struct block b = {NULL, size, 0};
    size_t align = 16;

    switch (random_below(random, 8)) {
    case 0:
        b.at = heap_calloc(1, size);
        if (b.at != NULL)
            check_zero(&b);
        break;
    case 1:
        align <<= random_below(random, 10); /* to 8 KiB */
        b.at = heap_memalign(align, size);
        break;
    default:
        b.at = heap_malloc(size);
    }
    if (b.at == NULL)
        broken("no memory");
    if ((uintptr_t)b.at % align != 0)
        broken("a block is not aligned");
    if (heap_usable(b.at) < size)
        broken("a block is smaller than asked");
    block_fill(&b, random);
    return b;
}

void block_put(struct block *b)
{
    if (b->at == NULL)
        return;
    block_check(b);
    heap_free(b->at);
    b->at = NULL;
}

void block_resize(struct block *b, uint64_t *random, size_t size)
{
    block_check(b);
    unsigned char *p = heap_realloc(b->at, size);

    if (p == NULL)
        broken("no memory for realloc");
    if ((uintptr_t)p % 16 != 0 || heap_usable(p) < size)
        broken("realloc gave a wrong block");
    b->at = p;
    check_part(b, size < b->size ? size : b->size);
    b->size = size;
    block_fill(b, random);
}

void look_around(const struct block *b)
{
    if (b->at != NULL && heap_usable(b->at) < b->size)
        broken("a block became smaller");
    (void)heap_trim();
#ifdef XS_HEAP
    struct xs_heap_stats s;

    if (b->at != NULL && !xs_heap_owns(b->at))
        broken("the core does not own its block");
    if (!xs_heap_stats_get(&s, true))
        broken("no statistics");
    if (b->at != NULL && s.bfc.in_use_bytes == 0)
        broken("a block is in use, and the statistics know of none");
#endif
}

/* ---- the table ---- */

static struct {
    pthread_mutex_t lock; /* all zero is unlocked */
    struct block b;
} table[TABLE];

void table_swap(size_t slot, struct block *b)
{
    pthread_mutex_lock(&table[slot].lock);
    struct block t = table[slot].b;
    table[slot].b = *b;
    *b = t;
    pthread_mutex_unlock(&table[slot].lock);
}

void table_empty(void)
{
    for (size_t i = 0; i < TABLE; i++)
        block_put(&table[i].b);
}

void team(unsigned n, void *(*work)(void *))
{
    pthread_t thread[THREADS_AT_MOST];

    for (unsigned i = 0; i < n; i++) {
        if (pthread_create(&thread[i], NULL, work, (void *)(uintptr_t)i) != 0)
            broken("pthread_create");
    }
    for (unsigned i = 0; i < n; i++)
        pthread_join(thread[i], NULL);
}

/* ---- the core's own view ---- */

#if defined(XS_HEAP) && defined(__SANITIZE_THREAD__)
#include "sys/thread_end.h"

/* In place of sys/thread_end.c, which calls in the last round of destructors: the sanitizer ends
 * its own part of the thread there. So a round earlier; the loads have destructors after it. */
static pthread_key_t end_key;
static void (*_Atomic end_calls[XS_THREAD_END_MAX])(void);

static void end_round(void *round)
{
    if ((uintptr_t)round < DESTRUCTOR_ROUNDS) {
        pthread_setspecific(end_key, (char *)round + 1);
        return;
    }
    for (unsigned i = 0; i < XS_THREAD_END_MAX; i++) {
        void (*call)(void) = atomic_load(&end_calls[i]);
        if (call != NULL)
            call();
    }
}

bool xs_thread_end(void (*call)(void))
{
    unsigned i = 0;
    void (*none)(void) = NULL;

    while (!atomic_compare_exchange_strong(&end_calls[i], &none, call) && none != call) {
        none = NULL;
        i++;
    }
    return pthread_setspecific(end_key, (void *)1) == 0;
}

static void end_open(void)
{
    if (pthread_key_create(&end_key, end_round) != 0)
        broken("pthread_key_create");
}
#else
static void end_open(void)
{
}
#endif

#ifdef XS_HEAP
static bool word(const char *w)
{
    const char *words = getenv("STRESS_HEAP");

    return words != NULL && strstr(words, w) != NULL;
}

static void heap_open(void)
{
    struct xs_heap_options o = {
        .span = {.initial_bytes = 2 * MIB,
                 .limit_bytes = word("limit") || word("nogrowth") ? 4096 * MIB : 0,
                 .allow_growth = !word("nogrowth"),
                 .garbage_collection = true,
                 .coalesce_on_free = !word("nomerge"),
                 .decay_ns = word("nodecay") ? 1000000000000u : 100000000u},
        .cache_bytes = word("nocache") ? 0 : MIB,
    };

    if (word(" decay"))
        o.span.decay_ns = 0;
    if (xs_heap_open(&o) != 0)
        broken("xs_heap_open");
}

static void rest(void)
{
    struct xs_heap_stats s;
    XS_BUF(why, 300);

    if (!xs_heap_check(&why)) {
        why.at[why.len] = '\0';
        broken(why.at);
    }
    if (!xs_heap_stats_get(&s, true))
        broken("no statistics at rest");
    if (s.in_use_bytes != 0) {
        fprintf(stderr, "%llu bytes in use\n", (unsigned long long)s.in_use_bytes);
        broken("all blocks are freed, and some are said to be in use");
    }
    (void)xs_heap_trim();
    if (!xs_heap_stats_get(&s, true) || s.bfc.in_use_bytes != 0) {
        fprintf(stderr, "%llu bytes of spans\n", (unsigned long long)s.bfc.in_use_bytes);
        broken("all blocks are freed, and a trim does not give all memory back");
    }
    /* A heap for each thread of the largest team, and some that were never adopted. */
    if (s.heaps > 2 * THREADS_AT_MOST) {
        fprintf(stderr, "%u heaps\n", s.heaps);
        broken("heaps of threads that ended are not adopted");
    }
    if (s.failures != 0)
        broken("a failure is counted that nobody saw");
}
#else
static void heap_open(void)
{
}

static void rest(void)
{
}
#endif

int main(int argc, char **argv)
{
    uint64_t state = 12345;
    size_t run = 0;

    for (size_t i = 0; i < load_count && argc == 2 && strcmp(argv[1], "--list") == 0; i++)
        puts(loads[i].name);
    if (argc == 2 && strcmp(argv[1], "--list") == 0)
        return 0;
    if (argc > 1)
        scale = atof(argv[1]);
    if (argc > 2)
        seed = strtoull(argv[2], NULL, 10);
    for (size_t i = 0; i < sizeof(pattern); i++)
        pattern[i] = (unsigned char)random_next(&state);
    loads_open();
    end_open();
    heap_open();
    for (size_t i = 0; i < load_count; i++) {
        bool wanted = argc <= 3;

        for (int a = 3; a < argc; a++)
            wanted = wanted || strcmp(argv[a], loads[i].name) == 0;
        if (!wanted)
            continue;
        load_name = loads[i].name;
        loads[i].run();
        table_empty();
        rest();
        run++;
    }
    if (run == 0) {
        fputs("stress: no such load\n", stderr);
        return 2;
    }
    printf("%zu loads\n", run);
    return 0;
}
