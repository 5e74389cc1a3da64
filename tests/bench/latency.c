/* latency.c - how long single calls of malloc and free take: every one of them, by the cycle
 * counter.
 *
 *   latency --list
 *   latency LOAD [SCALE [THREADS]]
 *
 * Loads: small (16 to 1,024 B, 20,000 live, one thread), wide (16 B to 256 KiB, 2,000 live, one
 * thread), handed (THREADS threads replace blocks in one table, so most frees are of another's
 * block).
 *
 * A figure contains one reading of the counter, whose own cost is printed as timer_ns: the median
 * of intervals with nothing in them. The counter is read with fences, so that nothing of the call
 * is outside of its interval. What interrupts the thread meanwhile is in the figures too, as it is
 * in a program's.
 */
#include <pthread.h>
#include <stdatomic.h>

#include "bench.h"

enum {
    MOST_THREADS = 128,
    SIZES = 4096,
    MOST_LIVE = 20000,
    SUB_BITS = 5,
    BUCKETS = 64 << SUB_BITS
};

struct histogram {
    uint64_t n, most, bucket[BUCKETS];
};

struct worker {
    struct histogram malloc_ticks, free_ticks;
    uint64_t random;
};

static struct worker workers[MOST_THREADS];
static struct histogram nothing;
static uint32_t sizes[SIZES], live_n;
static _Atomic(unsigned char *) live[MOST_LIVE];
static uint64_t ops_each;
static bool shared;

#if defined(__x86_64__)
static inline uint64_t before(void)
{
    uint32_t lo, hi;

    __asm__ volatile("lfence\n\trdtsc\n\tlfence" : "=a"(lo), "=d"(hi) : : "memory");
    return (uint64_t)hi << 32 | lo;
}

static inline uint64_t after(void)
{
    uint32_t lo, hi;

    __asm__ volatile("rdtscp\n\tlfence" : "=a"(lo), "=d"(hi) : : "rcx", "memory");
    return (uint64_t)hi << 32 | lo;
}
#elif defined(__aarch64__)
static inline uint64_t before(void)
{
    uint64_t t;

    __asm__ volatile("isb\n\tmrs %0, cntvct_el0\n\tisb" : "=r"(t) : : "memory");
    return t;
}

static inline uint64_t after(void)
{
    return before();
}
#else
#error "no cycle counter is known for this machine"
#endif

/* Exact to 32, then 32 buckets to each doubling: 3 % wide at most. */
static void count(struct histogram *h, uint64_t ticks)
{
    unsigned at;

    if (ticks < 1u << SUB_BITS) {
        at = (unsigned)ticks;
    } else {
        unsigned shift = 63 - (unsigned)__builtin_clzll(ticks) - SUB_BITS;

        at = ((shift + 1) << SUB_BITS) + (unsigned)(ticks >> shift) - (1u << SUB_BITS);
    }
    h->bucket[at]++;
    h->n++;
    if (ticks > h->most)
        h->most = ticks;
}

/* The middle of the bucket in which the `part` of all lies. */
static double quantile(const struct histogram *h, double part)
{
    uint64_t wanted = (uint64_t)((double)h->n * part), seen = 0;

    for (unsigned at = 0; at < BUCKETS; at++) {
        seen += h->bucket[at];
        if (seen > wanted) {
            unsigned shift = at >> SUB_BITS, low = at & ((1u << SUB_BITS) - 1);

            if (shift == 0)
                return at;
            return ((double)(1u << SUB_BITS) + low + 0.5) * (double)(1ull << (shift - 1));
        }
    }
    return (double)h->most;
}

static void *replace(void *arg)
{
    struct worker *w = arg;

    for (uint64_t i = 0; i < ops_each; i++) {
        uint32_t at = random_below(&w->random, live_n);
        size_t size = sizes[random_below(&w->random, SIZES)];
        unsigned char *p, *old;
        uint64_t start, end;

        start = before();
        p = malloc(size);
        end = after();
        if (p == NULL)
            broken("no memory");
        count(&w->malloc_ticks, end - start);
        *p = block_mark(p);
        p[size - 1] = *p;
        if (shared) {
            old = atomic_exchange(&live[at], p);
        } else {
            old = atomic_load_explicit(&live[at], memory_order_relaxed);
            atomic_store_explicit(&live[at], p, memory_order_relaxed);
        }
        if (old == NULL)
            continue;
        block_check(old);
        start = before();
        free(old);
        end = after();
        count(&w->free_ticks, end - start);
    }
    return NULL;
}

static void add(struct histogram *sum, const struct histogram *h)
{
    for (unsigned at = 0; at < BUCKETS; at++)
        sum->bucket[at] += h->bucket[at];
    sum->n += h->n;
    if (h->most > sum->most)
        sum->most = h->most;
}

static void show(const char *what, const struct histogram *h, double ns_per_tick)
{
    printf("%s_p50_ns %.1f\n%s_p99_ns %.1f\n%s_p999_ns %.1f\n%s_max_ns %.1f\n", what,
           quantile(h, 0.5) * ns_per_tick, what, quantile(h, 0.99) * ns_per_tick, what,
           quantile(h, 0.999) * ns_per_tick, what, (double)h->most * ns_per_tick);
}

static const struct load {
    const char *name;
    double lo, hi, ops;
    uint32_t live;
    bool shared;
} loads[] = {
    {"small", 16, 1024, 4e6, MOST_LIVE, false},
    {"wide", 16, 256 << 10, 1e6, 2000, false},
    {"handed", 16, 1024, 4e6, MOST_LIVE, true},
};
#define LOADS (sizeof(loads) / sizeof(loads[0]))

static void measure(const struct load *l, double scale, unsigned team)
{
    static struct histogram mallocs, frees;
    pthread_t threads[MOST_THREADS];
    uint64_t start, ticks;
    double start_ns = wall_ns(), ns_per_tick;

    start = before();
    log_uniform(sizes, SIZES, l->lo, l->hi);
    live_n = l->live;
    shared = l->shared;
    ops_each = (uint64_t)(l->ops * scale) / team + 1;
    for (unsigned i = 0; i < 100000; i++) {
        uint64_t from = before();

        count(&nothing, after() - from);
    }
    for (unsigned i = 0; i < team; i++)
        workers[i].random = (i + 1) * 0x9e3779b97f4a7c15u;
    if (team == 1) {
        replace(&workers[0]);
    } else {
        for (unsigned i = 0; i < team; i++) {
            if (pthread_create(&threads[i], NULL, replace, &workers[i]) != 0)
                broken("pthread_create");
        }
        for (unsigned i = 0; i < team; i++)
            pthread_join(threads[i], NULL);
    }
    ticks = after() - start;
    ns_per_tick = (wall_ns() - start_ns) / (double)ticks;
    for (unsigned i = 0; i < team; i++) {
        add(&mallocs, &workers[i].malloc_ticks);
        add(&frees, &workers[i].free_ticks);
    }
    printf("ops %llu\nticks_per_us %.1f\ntimer_ns %.1f\n", (unsigned long long)mallocs.n,
           1000 / ns_per_tick, quantile(&nothing, 0.5) * ns_per_tick);
    show("malloc", &mallocs, ns_per_tick);
    show("free", &frees, ns_per_tick);
    printf("cpu_ns_per_op %.3f\npeak_rss_kib %llu\n", cpu_ns() / (double)mallocs.n,
           (unsigned long long)peak_rss_kib());
}

int main(int argc, char **argv)
{
    double scale = argc > 2 ? atof(argv[2]) : 1;
    unsigned team = argc > 3 ? (unsigned)atoi(argv[3]) : 2;

    if (argc == 2 && strcmp(argv[1], "--list") == 0) {
        for (size_t i = 0; i < LOADS; i++)
            puts(loads[i].name);
        return 0;
    }
    for (size_t i = 0; argc > 1 && argc <= 4 && i < LOADS; i++) {
        if (strcmp(argv[1], loads[i].name) == 0 && scale > 0 && team >= 1 && team <= MOST_THREADS) {
            measure(&loads[i], scale, loads[i].shared ? team : 1);
            return 0;
        }
    }
    fputs("usage: latency --list | LOAD [SCALE [THREADS]]\n", stderr);
    return 2;
}
