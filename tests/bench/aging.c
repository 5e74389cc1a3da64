/* aging.c [SCALE [THREADS]] - a server's heap over a long time: CPU time of an operation, and what
 * is resident by what is live at the end of each of 40 epochs.
 *
 * Each thread keeps objects of three lifetimes (most die young, a few stay for many epochs) whose
 * sizes and whose sum shift from epoch to epoch, so that holes of one epoch have to serve another's
 * sizes. An operation is one malloc and its free. The lists of objects are no blocks of the
 * allocator's and are not counted as resident.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>

#include "bench.h"

enum { EPOCHS = 40, MOST_THREADS = 64, SIZES = 4096, AGES = 3 };

struct object {
    unsigned char *at;
    uint32_t size;
};

struct list {
    struct object *object;
    size_t n, most;
};

static unsigned team_size = 2;
static double scale = 1;
static uint32_t sizes[EPOCHS][SIZES];
static pthread_barrier_t epoch_ends;
static _Atomic uint64_t ops, live_bytes;
static uint64_t list_bytes, resident_kib[EPOCHS], live_kib[EPOCHS];

/* The mean size is well above 256. */
static size_t list_most(uint64_t bytes)
{
    return (size_t)bytes / 256 + 4096;
}

static void list_open(struct list *l, size_t most)
{
    l->object = mmap(NULL, most * sizeof(*l->object), PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (l->object == MAP_FAILED)
        broken("mmap");
    l->n = 0;
    l->most = most;
}

static uint64_t list_drop(struct list *l, size_t at)
{
    struct object o = l->object[at];

    l->object[at] = l->object[--l->n];
    block_drop(o.at);
    return o.size;
}

/* Every seventh object lives for long, every second of the others for an epoch or so. */
static unsigned age_of(uint64_t *random)
{
    uint32_t r = random_below(random, 14);

    return r < 2 ? 2 : r < 8 ? 1 : 0;
}

static void *serve(void *arg)
{
    static const uint32_t chance[AGES] = {40, 8, 1}; /* to be the next to die, by age */
    uint64_t random = ((uintptr_t)arg + 1) * 0x9e3779b97f4a7c15u, live = 0, done = 0;
    uint64_t whole = (uint64_t)(96e6 * scale) / team_size;
    struct list lists[AGES];
    size_t most = list_most(whole);

    for (unsigned a = 0; a < AGES; a++)
        list_open(&lists[a], most);
    for (unsigned epoch = 0; epoch < EPOCHS; epoch++) {
        /* From half of it to all of it and back, three times. */
        double wave = 0.75 + 0.25 * cos(6.283185307 * 3 * epoch / EPOCHS);
        uint64_t target = (uint64_t)((double)whole * wave), turned_over = 0;

        while (turned_over < whole / 2 || live > target) {
            unsigned age = age_of(&random);

            if (live <= target && lists[age].n < most) {
                struct object o = {.size = sizes[epoch][random_below(&random, SIZES)]};

                o.at = block_get_whole(o.size);
                lists[age].object[lists[age].n++] = o;
                live += o.size;
                turned_over += o.size;
                done++;
            }
            for (unsigned a = 0; a < AGES && live > target; a++) {
                if (lists[a].n > 0 && random_below(&random, 41) < chance[a])
                    live -= list_drop(&lists[a], random_below(&random, (uint32_t)lists[a].n));
            }
        }
        atomic_fetch_add(&live_bytes, live);
        if (pthread_barrier_wait(&epoch_ends) == PTHREAD_BARRIER_SERIAL_THREAD) {
            uint64_t rss = proc_kib("/proc/self/smaps_rollup", "Rss:");

            resident_kib[epoch] = rss - list_bytes / 1024;
            live_kib[epoch] = atomic_exchange(&live_bytes, 0) / 1024;
        }
        pthread_barrier_wait(&epoch_ends);
    }
    for (unsigned a = 0; a < AGES; a++) {
        while (lists[a].n > 0)
            list_drop(&lists[a], lists[a].n - 1);
    }
    atomic_fetch_add(&ops, done);
    return NULL;
}

int main(int argc, char **argv)
{
    pthread_t threads[MOST_THREADS];
    double start = wall_ns(), sum = 0;

    if (argc > 1)
        scale = atof(argv[1]);
    if (argc > 2)
        team_size = (unsigned)atoi(argv[2]);
    if (argc > 3 || !(scale > 0) || team_size < 1 || team_size > MOST_THREADS) {
        fputs("usage: aging [SCALE [THREADS]]\n", stderr);
        return 2;
    }
    for (unsigned epoch = 0; epoch < EPOCHS; epoch++) {
        /* Small ones at first, then ever larger ones, then a mix; one in 64 is large. */
        double middle = 48 * pow(2, epoch % 13 * 0.5);

        log_uniform(sizes[epoch], SIZES, middle / 3 + 8, middle * 6);
        for (unsigned i = 0; i < SIZES; i += 64)
            sizes[epoch][i] = (8u << 10) << (i / 64 % 5);
    }
    list_bytes = team_size * AGES *
                 (list_most((uint64_t)(96e6 * scale) / team_size) * sizeof(struct object));
    pthread_barrier_init(&epoch_ends, NULL, team_size);
    for (unsigned i = 0; i < team_size; i++) {
        if (pthread_create(&threads[i], NULL, serve, (void *)(uintptr_t)i) != 0)
            broken("pthread_create");
    }
    for (unsigned i = 0; i < team_size; i++)
        pthread_join(threads[i], NULL);
    printf("cpu_ns_per_op %.3f\nops %llu\nwall_ms %.1f\npeak_rss_kib %llu\n",
           cpu_ns() / (double)ops, (unsigned long long)ops, (wall_ns() - start) / 1e6,
           (unsigned long long)(peak_rss_kib() - list_bytes / 1024));
    for (unsigned epoch = 0; epoch < EPOCHS; epoch++) {
        sum += (double)resident_kib[epoch] / (double)live_kib[epoch];
        printf("resident_by_live_%02u %.4f\n", epoch,
               (double)resident_kib[epoch] / (double)live_kib[epoch]);
    }
    printf("resident_by_live %.4f\n", sum / EPOCHS);
    return 0;
}
