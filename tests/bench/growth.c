/* growth.c - what an operation costs as something grows: CPU time.
 *
 *   growth own N [OPS]      N threads replace blocks of their own (16 to 1,024 B, 1,000 live in
 * each) growth handed N [OPS]   N threads in a ring; each frees what the one before it has
 * allocated growth heap BYTES [floor]    16 B to 256 KiB until BYTES live; replacements at random;
 * all freed growth objects N [floor]     N objects of 16, 32 or 48 B; replacements at random; all
 * freed
 *
 * OPS (4,000,000) is divided among the threads, so that every N does the same work. With `floor`
 * there is no allocator: blocks lie one after another in one mapping and a replacement takes the
 * same place again, so what its cost does as the heap grows is the machine's caches and page
 * tables, not an allocator.
 */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/mman.h>

#include "bench.h"

enum { MOST_THREADS = 256, SIZES = 4096, OWN_LIVE = 1000, BATCH = 256, BOX = 4 };

static uint32_t sizes[SIZES];
static unsigned team_size;
static uint64_t ops_each;

static double phase_ns(void)
{
    static double last;
    struct timespec t;
    double now, took;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    now = (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
    took = now - last;
    last = now;
    return took;
}

/* ---- threads ---- */

static void *own_thread(void *arg)
{
    uint64_t random = ((uintptr_t)arg + 1) * 0x9e3779b97f4a7c15u;
    unsigned char *live[OWN_LIVE] = {NULL};

    for (uint64_t i = 0; i < ops_each; i++) {
        uint32_t at = random_below(&random, OWN_LIVE);

        if (live[at] != NULL)
            block_drop(live[at]);
        live[at] = block_get(sizes[random_below(&random, SIZES)]);
    }
    for (unsigned i = 0; i < OWN_LIVE; i++) {
        if (live[i] != NULL)
            block_drop(live[i]);
    }
    return NULL;
}

/* What thread i has for thread i + 1: a ring of batches with one writer and one reader. Who finds
 * it full or empty sleeps, which costs the same for every allocator. */
static struct box {
    _Alignas(128) pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned first, used;
    unsigned char *batch[BOX][BATCH];
} boxes[MOST_THREADS];

static void put(struct box *b, unsigned char **batch)
{
    pthread_mutex_lock(&b->lock);
    while (b->used == BOX)
        pthread_cond_wait(&b->changed, &b->lock);
    memcpy(b->batch[(b->first + b->used++) % BOX], batch, sizeof(b->batch[0]));
    pthread_cond_signal(&b->changed);
    pthread_mutex_unlock(&b->lock);
}

static void take(struct box *b, unsigned char **batch)
{
    pthread_mutex_lock(&b->lock);
    while (b->used == 0)
        pthread_cond_wait(&b->changed, &b->lock);
    memcpy(batch, b->batch[b->first], sizeof(b->batch[0]));
    b->first = (b->first + 1) % BOX;
    b->used--;
    pthread_cond_signal(&b->changed);
    pthread_mutex_unlock(&b->lock);
}

static void *handed_thread(void *arg)
{
    unsigned who = (unsigned)(uintptr_t)arg;
    struct box *mine = &boxes[who], *from = &boxes[(who + team_size - 1) % team_size];
    uint64_t random = (who + 1) * 0x9e3779b97f4a7c15u;
    unsigned char *batch[BATCH];

    for (uint64_t done = 0; done < ops_each; done += BATCH) {
        for (unsigned i = 0; i < BATCH; i++)
            batch[i] = block_get(sizes[random_below(&random, SIZES)]);
        put(mine, batch);
        take(from, batch);
        for (unsigned i = 0; i < BATCH; i++)
            block_drop(batch[i]);
    }
    return NULL;
}

static int run_threads(unsigned n, double ops, void *(*work)(void *))
{
    static pthread_t threads[MOST_THREADS];

    if (n < 1 || n > MOST_THREADS)
        return 2;
    team_size = n;
    ops_each = (uint64_t)ops / n;
    log_uniform(sizes, SIZES, 16, 1024);
    for (unsigned i = 0; i < n; i++) {
        pthread_mutex_init(&boxes[i].lock, NULL);
        pthread_cond_init(&boxes[i].changed, NULL);
    }
    for (unsigned i = 0; i < n; i++) {
        if (pthread_create(&threads[i], NULL, work, (void *)(uintptr_t)i) != 0)
            broken("pthread_create");
    }
    for (unsigned i = 0; i < n; i++)
        pthread_join(threads[i], NULL);
    printf("ns_per_op %.3f\npeak_rss_kib %llu\n", cpu_ns() / (double)(ops_each * n),
           (unsigned long long)peak_rss_kib());
    return 0;
}

/* ---- heap and objects ---- */

static unsigned char *floor_next, *floor_end, *floor_kept;

static void *map(uint64_t bytes, int flags)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | flags, -1, 0);

    if (p == MAP_FAILED)
        broken("mmap");
    return p;
}

static void touch(unsigned char *p, size_t size)
{
    for (size_t at = PAGE; at < size; at += PAGE)
        p[at] = 1;
    p[size - 1] = 1;
    p[0] = block_mark(p);
}

static unsigned char *get(size_t size)
{
    unsigned char *p = floor_kept;

    if (floor_next == NULL) {
        p = malloc(size);
        if (p == NULL)
            broken("no memory");
    } else if (p != NULL && p + size <= floor_end) {
        floor_kept = NULL;
    } else {
        p = floor_next;
        floor_next += size;
        if (floor_next > floor_end)
            broken("the floor's mapping is too small");
    }
    touch(p, size);
    return p;
}

static void drop(unsigned char *p)
{
    if (floor_next == NULL) {
        block_drop(p);
        return;
    }
    /* The same read; marks of other blocks may have been written over it. */
    __asm__ volatile("" : : "r"(*p) : "memory");
    floor_kept = p;
}

/* Blocks of sizes[] until `most` blocks or `bytes` are live, then replacements, then none. */
static int grow(uint64_t most, uint64_t bytes, uint64_t replacements, bool floor)
{
    struct entry {
        unsigned char *at;
        uint32_t size;
    } * entry;
    uint64_t list = most * sizeof(*entry), live = 0, n = 0, done = 0, random = 42, rss;
    double took;

    entry = map(list, 0);
    if (floor) {
        floor_next = map(bytes + bytes / 2 + (64 << 20), 0);
        floor_end = floor_next + bytes + bytes / 2 + (64 << 20);
    }
    phase_ns();
    for (; n < most && live < bytes; n++) {
        entry[n].size = sizes[random_below(&random, SIZES)];
        entry[n].at = get(entry[n].size);
        live += entry[n].size;
    }
    took = phase_ns();
    printf("live_objects %llu\nlive_kib %llu\nfill_ns %.3f\n", (unsigned long long)n,
           (unsigned long long)live / 1024, took / (double)n);
    for (; done < replacements; done++) {
        struct entry *e = &entry[(((random_next(&random) >> 32) * n) >> 32) % n];

        drop(e->at);
        live -= e->size;
        e->size = sizes[random_below(&random, SIZES)];
        e->at = get(e->size);
        live += e->size;
    }
    took = phase_ns();
    /* Of the list, what its entries fill is resident. */
    rss = proc_kib("/proc/self/smaps_rollup", "Rss:") - n * sizeof(*entry) / 1024;
    phase_ns();
    printf("replace_ns %.3f\nrss_by_live %.4f\n", took / (double)done,
           (double)rss / ((double)live / 1024));
    for (uint64_t i = 0; i < n; i++)
        drop(entry[i].at);
    printf("drain_ns %.3f\npeak_rss_kib %llu\n", phase_ns() / (double)n,
           (unsigned long long)(peak_rss_kib() - n * sizeof(*entry) / 1024));
    return 0;
}

static int run_heap(double bytes, bool floor)
{
    log_uniform(sizes, SIZES, 16, 256 << 10);
    return grow((uint64_t)(bytes / 8192) + 1000, (uint64_t)bytes, 200000, floor);
}

static int run_objects(double n, bool floor)
{
    for (unsigned i = 0; i < SIZES; i++)
        sizes[i] = 16 * (1 + i % 3);
    return grow((uint64_t)n, (uint64_t)n * 48, n < 4e6 ? 1000000 : 3000000, floor);
}

int main(int argc, char **argv)
{
    const char *what = argc > 2 ? argv[1] : "";
    double n = argc > 2 ? atof(argv[2]) : 0, ops = argc > 3 ? atof(argv[3]) : 4e6;
    bool floor = argc > 3 && strcmp(argv[3], "floor") == 0;
    int status = 2;

    if (argc > 4 || !(n >= 1))
        what = "";
    if (strcmp(what, "own") == 0 && ops >= 1)
        status = run_threads((unsigned)n, ops, own_thread);
    else if (strcmp(what, "handed") == 0 && ops >= 1)
        status = run_threads((unsigned)n, ops, handed_thread);
    else if (strcmp(what, "heap") == 0)
        status = run_heap(n, floor);
    else if (strcmp(what, "objects") == 0)
        status = run_objects(n, floor);
    if (status == 2)
        fputs("usage: growth own|handed N [OPS] | heap BYTES [floor] | objects N [floor]\n",
              stderr);
    return status;
}
