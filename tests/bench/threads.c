/* threads.c - loads of several threads, with seeded randomness: CPU time of an operation and
 * memory.
 *
 *   threads --list                        the loads
 *   threads LOAD [SCALE [THREADS [SEED]]]
 *
 * SCALE (1) multiplies the work, THREADS defaults to 2. An operation is a malloc and its free,
 * wherever they happen, but for falseshare, where it is one write into a block. CPU time is user
 * and system time of the whole process. Who waits, sleeps: waiting is not counted as CPU time.
 */
#include <malloc.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <sys/mman.h>

#include "bench.h"

enum { MOST_THREADS = 256, SIZES = 4096 };

static unsigned team_size = 2;
static double scale = 1;
static uint64_t seed = 1;
static _Atomic uint64_t ops;
static uint32_t sizes[SIZES]; /* what a load draws from */

static uint64_t scaled(double n)
{
    n *= scale;
    return n < 1 ? 1 : (uint64_t)n;
}

/* A generator of its own for each thread `who`. */
static uint64_t random_of(uint64_t who)
{
    uint64_t state = (seed * 1000003 + who + 1) * 0x9e3779b97f4a7c15u;

    random_next(&state);
    return state;
}

static uint32_t any_size(uint64_t *random)
{
    return sizes[random_below(random, SIZES)];
}

/* Runs work(0) to work(n - 1) in threads of their own to their end. */
static void team(unsigned n, void *(*work)(void *))
{
    static pthread_t threads[MOST_THREADS];

    for (unsigned i = 0; i < n; i++) {
        if (pthread_create(&threads[i], NULL, work, (void *)(uintptr_t)i) != 0)
            broken("pthread_create");
    }
    for (unsigned i = 0; i < n; i++)
        pthread_join(threads[i], NULL);
}

/* ---- larson: each thread replaces blocks, hands them to a new thread, and ends ---- */

enum { LARSON_SLOTS = 4000, LARSON_GENERATIONS = 50 };

struct chain {
    uint64_t random;
    uint64_t replacements;
    unsigned left;
    unsigned char *slot[LARSON_SLOTS];
};

static sem_t chain_ended;
static pthread_attr_t detached;

static void *larson_thread(void *arg)
{
    struct chain *c = arg;
    pthread_t next;

    for (uint64_t i = 0; i < c->replacements; i++) {
        uint32_t at = random_below(&c->random, LARSON_SLOTS);

        block_drop(c->slot[at]);
        c->slot[at] = block_get(any_size(&c->random));
    }
    atomic_fetch_add(&ops, c->replacements);
    if (--c->left == 0)
        sem_post(&chain_ended);
    else if (pthread_create(&next, &detached, larson_thread, c) != 0)
        broken("pthread_create");
    return NULL;
}

static void larson(void)
{
    struct chain *chains = calloc(team_size, sizeof(*chains));
    pthread_t first;

    if (chains == NULL)
        broken("no memory");
    log_uniform(sizes, SIZES, 8, 1000);
    sem_init(&chain_ended, 0, 0);
    pthread_attr_init(&detached);
    pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
    for (unsigned t = 0; t < team_size; t++) {
        chains[t].random = random_of(t);
        chains[t].replacements = scaled(80000);
        chains[t].left = LARSON_GENERATIONS;
        for (unsigned i = 0; i < LARSON_SLOTS; i++)
            chains[t].slot[i] = block_get(any_size(&chains[t].random));
    }
    for (unsigned t = 0; t < team_size; t++) {
        if (pthread_create(&first, &detached, larson_thread, &chains[t]) != 0)
            broken("pthread_create");
    }
    for (unsigned t = 0; t < team_size; t++) {
        while (sem_wait(&chain_ended) != 0)
            continue;
    }
    for (unsigned t = 0; t < team_size; t++) {
        for (unsigned i = 0; i < LARSON_SLOTS; i++)
            block_drop(chains[t].slot[i]);
    }
    free(chains);
}

/* ---- prodcons: some threads allocate, others free; batches go through a ring ---- */

enum { BATCH = 256, RING = 32 };

static struct {
    pthread_mutex_t lock;
    pthread_cond_t not_empty, not_full;
    unsigned first, used, producers;
    unsigned char *slot[RING][BATCH];
} ring = {.lock = PTHREAD_MUTEX_INITIALIZER,
          .not_empty = PTHREAD_COND_INITIALIZER,
          .not_full = PTHREAD_COND_INITIALIZER};
static unsigned producers_n;
static uint64_t batches_each;

static void produce(uint64_t who)
{
    uint64_t random = random_of(who);
    unsigned char *batch[BATCH];

    for (uint64_t b = 0; b < batches_each; b++) {
        for (unsigned i = 0; i < BATCH; i++)
            batch[i] = block_get(any_size(&random));
        pthread_mutex_lock(&ring.lock);
        while (ring.used == RING)
            pthread_cond_wait(&ring.not_full, &ring.lock);
        memcpy(ring.slot[(ring.first + ring.used) % RING], batch, sizeof(batch));
        ring.used++;
        pthread_cond_signal(&ring.not_empty);
        pthread_mutex_unlock(&ring.lock);
    }
    pthread_mutex_lock(&ring.lock);
    if (--ring.producers == 0)
        pthread_cond_broadcast(&ring.not_empty);
    pthread_mutex_unlock(&ring.lock);
}

static void consume(void)
{
    unsigned char *batch[BATCH];
    uint64_t freed = 0;

    for (;;) {
        pthread_mutex_lock(&ring.lock);
        while (ring.used == 0 && ring.producers > 0)
            pthread_cond_wait(&ring.not_empty, &ring.lock);
        if (ring.used == 0) {
            pthread_mutex_unlock(&ring.lock);
            break;
        }
        memcpy(batch, ring.slot[ring.first], sizeof(batch));
        ring.first = (ring.first + 1) % RING;
        ring.used--;
        pthread_cond_signal(&ring.not_full);
        pthread_mutex_unlock(&ring.lock);
        for (unsigned i = 0; i < BATCH; i++)
            block_drop(batch[i]);
        freed += BATCH;
    }
    atomic_fetch_add(&ops, freed);
}

static void *prodcons_thread(void *arg)
{
    unsigned who = (unsigned)(uintptr_t)arg;

    if (who < producers_n)
        produce(who);
    else
        consume();
    return NULL;
}

static void prodcons(unsigned producers, unsigned consumers)
{
    log_uniform(sizes, SIZES, 16, 512);
    producers_n = ring.producers = producers;
    batches_each = scaled(24000.0) / producers + 1;
    team(producers + consumers, prodcons_thread);
}

static void prodcons_1n(void)
{
    prodcons(1, team_size);
}

static void prodcons_n1(void)
{
    prodcons(team_size, 1);
}

static void prodcons_nn(void)
{
    prodcons(team_size, team_size);
}

/* ---- storm: short-lived threads ---- */

enum { STORM_BLOCKS = 64, STORM_ROUNDS = 2 };

static unsigned storm_wave;

static void *storm_thread(void *arg)
{
    uint64_t random = random_of(storm_wave * 1000 + (uintptr_t)arg);
    unsigned char *block[STORM_BLOCKS];

    for (unsigned round = 0; round < STORM_ROUNDS; round++) {
        for (unsigned i = 0; i < STORM_BLOCKS; i++)
            block[i] = block_get(any_size(&random));
        for (unsigned i = 0; i < STORM_BLOCKS; i++)
            block_drop(block[i * 5 % STORM_BLOCKS]);
    }
    atomic_fetch_add(&ops, STORM_BLOCKS * STORM_ROUNDS);
    return NULL;
}

static void storm(void)
{
    unsigned waves = (unsigned)scaled(400);

    log_uniform(sizes, SIZES, 16, 1024);
    for (storm_wave = 0; storm_wave < waves; storm_wave++)
        team(team_size * 8 < MOST_THREADS ? team_size * 8 : MOST_THREADS, storm_thread);
}

/* ---- falseshare: threads write to small blocks of their own ---- */

enum { WRITES = 2000 };

static unsigned char *handed[MOST_THREADS];
static pthread_barrier_t all_here;

static void write_often(unsigned char *p)
{
    volatile unsigned char *at = p + 1;

    for (unsigned i = 0; i < WRITES; i++)
        *at = (unsigned char)(*at + 1);
}

static void *falseshare_thread(void *arg)
{
    uint64_t rounds = scaled(20000);
    unsigned char *p = handed[(uintptr_t)arg];

    pthread_barrier_wait(&all_here);
    /* First the block that the main thread made beside the others', then ones of its own. */
    for (uint64_t i = 0; i < rounds; i++) {
        write_often(p);
        block_drop(p);
        p = block_get(8);
    }
    block_drop(p);
    atomic_fetch_add(&ops, rounds * WRITES);
    return NULL;
}

static void falseshare(void)
{
    pthread_barrier_init(&all_here, NULL, team_size);
    for (unsigned i = 0; i < team_size; i++)
        handed[i] = block_get(8);
    team(team_size, falseshare_thread);
}

/* ---- mixed: sizes drift from 32 bytes to 16 KiB and back, twice ---- */

enum { PHASES = 32, PHASE_SIZES = 1024, MIXED_SLOTS = 4000 };

static uint32_t drift[PHASES][PHASE_SIZES];

static void *mixed_thread(void *arg)
{
    uint64_t random = random_of((uintptr_t)arg), n = scaled(25000);
    unsigned char **slot = calloc(MIXED_SLOTS, sizeof(*slot));

    if (slot == NULL)
        broken("no memory");
    for (unsigned phase = 0; phase < PHASES; phase++) {
        for (uint64_t i = 0; i < n; i++) {
            uint32_t at = random_below(&random, MIXED_SLOTS);

            if (slot[at] != NULL)
                block_drop(slot[at]);
            slot[at] = block_get_whole(drift[phase][random_below(&random, PHASE_SIZES)]);
        }
    }
    for (unsigned i = 0; i < MIXED_SLOTS; i++) {
        if (slot[i] != NULL)
            block_drop(slot[i]);
    }
    free(slot);
    atomic_fetch_add(&ops, n * PHASES);
    return NULL;
}

static void mixed(void)
{
    for (unsigned phase = 0; phase < PHASES; phase++) {
        double up = (double)(phase % (PHASES / 2)) / (PHASES / 4.0); /* 0 to 2 */
        double middle = 32 * pow(512, up <= 1 ? up : 2 - up);

        log_uniform(drift[phase], PHASE_SIZES, middle / 4, middle * 4);
    }
    team(team_size, mixed_thread);
}

/* ---- xfree: threads replace blocks in one table, so most frees are of another's block ---- */

enum { SHARED_SLOTS = 20000 };

static _Atomic(unsigned char *) shared[SHARED_SLOTS];

static void *xfree_thread(void *arg)
{
    uint64_t random = random_of((uintptr_t)arg), n = scaled(1600000);

    for (uint64_t i = 0; i < n; i++) {
        unsigned char *mine = block_get(any_size(&random));
        unsigned char *old = atomic_exchange(&shared[random_below(&random, SHARED_SLOTS)], mine);

        if (old != NULL)
            block_drop(old);
    }
    atomic_fetch_add(&ops, n);
    return NULL;
}

static void xfree(void)
{
    log_uniform(sizes, SIZES, 16, 1024);
    team(team_size, xfree_thread);
    for (unsigned i = 0; i < SHARED_SLOTS; i++) {
        if (shared[i] != NULL)
            block_drop(shared[i]);
    }
}

/* ---- batch: 8 KiB to 1 MiB, 64 of them live in each thread ---- */

enum { BATCH_LIVE = 64 };

static void *batch_thread(void *arg)
{
    uint64_t random = random_of((uintptr_t)arg), n = scaled(24000);
    unsigned char *live[BATCH_LIVE] = {NULL};

    for (uint64_t i = 0; i < n; i++) {
        uint32_t at = random_below(&random, BATCH_LIVE);

        if (live[at] != NULL)
            block_drop(live[at]);
        live[at] = block_get_whole(any_size(&random));
    }
    for (unsigned i = 0; i < BATCH_LIVE; i++) {
        if (live[i] != NULL)
            block_drop(live[i]);
    }
    atomic_fetch_add(&ops, n);
    return NULL;
}

static void batch(void)
{
    log_uniform(sizes, SIZES, 8 << 10, 1 << 20);
    team(team_size, batch_thread);
}

/* ---- fill: fill, free half at random, refill with blocks twice as large; what is resident ---- */

static uint64_t resident_kib(uint64_t own_bytes)
{
    return proc_kib("/proc/self/smaps_rollup", "Rss:") - own_bytes / 1024;
}

static void fill(double lo, double hi)
{
    struct entry {
        unsigned char *at;
        uint64_t size;
    } * entry;
    uint64_t target = scaled(1024.0 * 1024 * 1024), live = 0, sum = 0, n = 0, refilled = 0;
    uint64_t random = random_of(0), before;
    size_t most, own_bytes;

    log_uniform(sizes, SIZES, lo, hi);
    for (unsigned i = 0; i < SIZES; i++)
        sum += sizes[i];
    /* The list is no block of the allocator's, and is not counted as resident. */
    most = (size_t)(target / (sum / SIZES)) * 5 / 4 + 1000;
    own_bytes = (most * sizeof(*entry) + PAGE - 1) / PAGE * PAGE;
    entry = mmap(NULL, own_bytes, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (entry == MAP_FAILED)
        broken("mmap");

    for (; live < target && n < most; n++) {
        entry[n].size = any_size(&random);
        entry[n].at = block_get_whole(entry[n].size);
        live += entry[n].size;
    }
    for (uint64_t i = 0; i < n / 2; i++) {
        uint64_t pick = i + random_below(&random, (uint32_t)(n - i));
        struct entry e = entry[pick];

        entry[pick] = entry[i];
        entry[i].at = NULL;
        live -= e.size;
        block_drop(e.at);
    }
    log_uniform(sizes, SIZES, 2 * lo, 2 * hi);
    for (; live < target && refilled < n / 2; refilled++) {
        struct entry *e = &entry[refilled];

        e->size = any_size(&random);
        e->at = block_get_whole(e->size);
        live += e->size;
    }
    before = resident_kib(own_bytes);
    malloc_trim(0);
    printf("live_kib %llu\nrss_kib %llu\nrss_trimmed_kib %llu\n", (unsigned long long)(live / 1024),
           (unsigned long long)before, (unsigned long long)resident_kib(own_bytes));
    atomic_fetch_add(&ops, n + refilled);
    for (uint64_t i = 0; i < n; i++) {
        if (entry[i].at != NULL)
            block_check(entry[i].at);
    }
}

static void fill_large(void)
{
    fill(8 << 10, 256 << 10);
}

static void fill_small(void)
{
    fill(16, 512);
}

/* ---- */

static const struct load {
    const char *name;
    void (*run)(void);
} loads[] = {
    {"larson", larson},
    {"prodcons-1:N", prodcons_1n},
    {"prodcons-N:1", prodcons_n1},
    {"prodcons-N:N", prodcons_nn},
    {"storm", storm},
    {"falseshare", falseshare},
    {"mixed", mixed},
    {"xfree", xfree},
    {"batch", batch},
    {"fill-large", fill_large},
    {"fill-small", fill_small},
};
#define LOADS (sizeof(loads) / sizeof(loads[0]))

int main(int argc, char **argv)
{
    double start = wall_ns();

    if (argc == 2 && strcmp(argv[1], "--list") == 0) {
        for (size_t i = 0; i < LOADS; i++)
            puts(loads[i].name);
        return 0;
    }
    if (argc > 2)
        scale = atof(argv[2]);
    if (argc > 3)
        team_size = (unsigned)atoi(argv[3]);
    if (argc > 4)
        seed = strtoull(argv[4], NULL, 10);
    for (size_t i = 0; argc > 1 && argc <= 5 && i < LOADS; i++) {
        if (strcmp(argv[1], loads[i].name) != 0)
            continue;
        if (!(scale > 0) || team_size < 1 || team_size > MOST_THREADS / 2)
            break;
        loads[i].run();
        printf("cpu_ns_per_op %.3f\nops %llu\nwall_ms %.1f\npeak_rss_kib %llu\n",
               cpu_ns() / (double)ops, (unsigned long long)ops, (wall_ns() - start) / 1e6,
               (unsigned long long)peak_rss_kib());
        return 0;
    }
    fputs("usage: threads --list | LOAD [SCALE [THREADS [SEED]]]\n", stderr);
    return 2;
}
