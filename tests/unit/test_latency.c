/* Timed calls: the bins, what the own core makes of its calls by a clock of ours, waits for locks.
 */
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "core/thread_heap.h"
#include "stats/latency.h"
#include "tests/support/heap_test.h"

/* ---- the clock: ours while `is_ours`, and then each reading of it takes step_ns ---- */

static bool is_ours;
static uint64_t step_ns = 10;

int clock_gettime(clockid_t clock, struct timespec *t)
{
    static uint64_t now_ns = 1000000000;

    if (!is_ours)
        return (int)syscall(SYS_clock_gettime, clock, t);
    now_ns += step_ns;
    *t = (struct timespec){(time_t)(now_ns / 1000000000u), (long)(now_ns % 1000000000u)};
    return 0;
}

static void begin(enum xs_latency_where where)
{
    struct xs_heap_options o = heap_options;

    o.cache_bytes = 64 << 20;
    is_ours = true;
    cr_assert_eq(xs_heap_open(&o), 0);
    xs_latency_switch(where);
}

/* What the next calls take, should one be timed. */
static void takes(uint64_t ns)
{
    step_ns = 10 + ns;
}

static void *get(size_t size)
{
    void *p = xs_heap_malloc(size);

    cr_assert(p != NULL);
    return p;
}

static struct xs_latency l;

static double part_from(const struct xs_latency_calls *c, uint64_t ns)
{
    uint64_t all = 0;
    uint64_t above = 0;

    for (unsigned b = 0; b < XS_LATENCY_BINS; b++) {
        all += c->bin[b];
        above += b >= xs_latency_bin(ns) ? c->bin[b] : 0;
    }
    cr_assert(all > 0);
    return (double)above / (double)all;
}

Test(latency, bins_follow_each_other)
{
    cr_assert_eq(xs_latency_bin(0), 0);
    for (unsigned b = 0; b + 1 < XS_LATENCY_BINS; b++) {
        uint64_t end = xs_latency_bin_end(b);
        cr_assert_eq(xs_latency_bin(end - 1), b, "%u", b);
        cr_assert_eq(xs_latency_bin(end), b + 1, "%u", b);
        cr_assert(b < 4 || end <= xs_latency_bin_end(b - 1) * 5 / 4 + 1);
    }
    cr_assert_eq(xs_latency_bin(UINT64_MAX), XS_LATENCY_BINS - 1);
}

Test(latency, percentiles_and_sums)
{
    struct xs_latency sum = {0};
    struct xs_latency_calls *c = &l.of[XS_LATENCY_MALLOC];

    cr_assert_eq(xs_latency_permille(c, 990), 0);
    c->bin[xs_latency_bin(10)] = 980;
    c->bin[xs_latency_bin(1000)] = 19;
    c->bin[xs_latency_bin(1 << 20)] = 1;
    c->samples = c->calls = 1000;
    c->max_ns = 1100000;
    l.waits[XS_LOCK_CPU] = (struct xs_latency_waits){3, 500, 400};
    cr_assert_eq(xs_latency_permille(c, 500), xs_latency_bin_end(xs_latency_bin(10)) - 1);
    cr_assert_eq(xs_latency_permille(c, 980), xs_latency_bin_end(xs_latency_bin(10)) - 1);
    cr_assert_eq(xs_latency_permille(c, 990), xs_latency_bin_end(xs_latency_bin(1000)) - 1);
    cr_assert_eq(xs_latency_permille(c, 1000), 1100000); /* and not the end of its bin */
    xs_latency_add(&sum, &l);
    l.of[XS_LATENCY_MALLOC].max_ns = 7;
    xs_latency_add(&sum, &l);
    cr_assert_eq(sum.of[XS_LATENCY_MALLOC].calls, 2000);
    cr_assert_eq(sum.of[XS_LATENCY_MALLOC].max_ns, 1100000);
    cr_assert_eq(sum.waits[XS_LOCK_CPU].count, 6);
    cr_assert_eq(sum.waits[XS_LOCK_CPU].max_ns, 400);
}

/* A large block after each three small ones; the clock says which was timed. All sizes have the
 * same chance, though the clock is looked at by bytes, and nearly always after a large block. */
Test(latency, calls_of_all_sizes_have_the_same_chance)
{
    enum { TURNS = 1000000 };

    begin(XS_LATENCY_IN_CORE);
    /* What a reading of the clock takes is found out by the first sample: not by a slow one. */
    xs_latency_note(XS_LATENCY_MALLOC, 0, 0, 0);
    for (int i = 0; i < TURNS; i++) {
        void *p[4];
        for (int k = 0; k < 4; k++) {
            takes(k == 3 ? 5000 : 0);
            p[k] = get(k == 3 ? 60000 : 32);
        }
        for (int k = 0; k < 4; k++) {
            takes(k == 3 ? 5000 : 0);
            cr_assert(xs_heap_free(p[k]));
        }
    }
    xs_latency_get(&l);
    for (unsigned k = 0; k < XS_LATENCY_KINDS; k++) {
        const struct xs_latency_calls *c = &l.of[k];
        cr_assert(c->samples > 250, "%lu samples", c->samples);
        cr_assert(c->calls <= 4 * TURNS && c->calls > 4 * TURNS * 9 / 10, "of %lu calls", c->calls);
        /* A quarter; its standard deviation is 0.05. By their bytes it would be nearly all. */
        double part = part_from(c, 5000);
        cr_assert(part > 0.03 && part < 0.5, "%u: %g of the calls were slow", k, part);
    }
}

/* Small blocks for a time, then large ones: a tenth of the calls, and most of the bytes. */
Test(latency, calls_weigh_as_many_as_there_were)
{
    begin(XS_LATENCY_IN_CORE);
    for (int i = 0; i < 4000000; i++) {
        bool is_large = i >= 3600000;
        takes(is_large ? 5000 : 0);
        void *p = get(is_large ? 30000 : 300);
        takes(0);
        cr_assert(xs_heap_free(p));
    }
    xs_latency_get(&l);
    double part = part_from(&l.of[XS_LATENCY_MALLOC], 5000);
    /* The first large one stands for the small ones since the last that was timed, of which there
     * are 14,000 to a timed call; half of these are frees, so many in a row may be. */
    cr_assert(part > 0.04 && part < 0.3, "%g of the calls were slow", part);
    cr_assert(part_from(&l.of[XS_LATENCY_FREE], 5000) == 0);
}

Test(latency, large_blocks_alone_are_timed_too)
{
    begin(XS_LATENCY_IN_CORE);
    for (int i = 0; i < 10000; i++) {
        void *p = get(200000);
        cr_assert(xs_heap_free(p));
    }
    xs_latency_get(&l);
    cr_assert(l.of[XS_LATENCY_MALLOC].samples > 20 && l.of[XS_LATENCY_FREE].samples > 20);
}

/* Frees that no request comes between: by the owner, by another thread, of small blocks and large
 * ones. */
static void *free_all(void *arg)
{
    for (void **p = arg; *p != NULL; p++)
        cr_assert(xs_heap_free(*p));
    return NULL;
}

static uint64_t frees_stood_for(void)
{
    xs_latency_get(&l);
    return l.of[XS_LATENCY_FREE].calls;
}

Test(latency, frees_alone_are_timed_too)
{
    enum { BLOCKS = 100000 };
    static void *block[BLOCKS + 1];
    static const size_t sizes[] = {24, 100, 700, 5000, 40000, 200000};

    begin(XS_LATENCY_IN_CORE);
    for (unsigned i = 0; i < XS_COUNT_OF(sizes); i++) {
        size_t n = sizes[i] < 10000 ? BLOCKS : BLOCKS / 5;
        for (unsigned by_other = 0; by_other < 2; by_other++) {
            pthread_t t;
            for (size_t k = 0; k < n; k++)
                block[k] = get(sizes[i]);
            block[n] = NULL;
            uint64_t before = frees_stood_for();
            if (by_other) {
                cr_assert_eq(pthread_create(&t, NULL, free_all, block), 0);
                pthread_join(t, NULL);
            } else {
                free_all(block);
            }
            uint64_t stood = frees_stood_for() - before;
            /* What was freed since the last one that was timed comes with the next. */
            cr_assert(stood > n - 10000 && stood < n + 10000, "%zu, %u: %lu of %zu", sizes[i],
                      by_other, stood, n);
        }
    }
}

Test(latency, nothing_while_it_is_off)
{
    begin(XS_LATENCY_OFF);
    for (int i = 0; i < 100000; i++)
        cr_assert(xs_heap_free(get(1000)));
    xs_latency_get(&l);
    cr_assert_eq(l.of[XS_LATENCY_MALLOC].samples + l.of[XS_LATENCY_FREE].samples, 0);
}

/* Whatever is called while the heap is away for a timed call finds it, and counts there. */
Test(latency, a_heap_that_is_away_comes_back)
{
    struct xs_counters sum = {0};
    uint64_t most = 0;
    XS_BUF(why, 200);

    begin(XS_LATENCY_IN_CORE);
    void *kept = get(100);
    for (int i = 0; i < 20000; i++) {
        xs_heap_time_next(xs_heap_here());
        most += xs_heap_away != NULL;
        switch (i % 6) {
        case 0:
            kept = xs_heap_realloc(kept, 100 + (size_t)(i % 7) * 5000);
            break;
        case 1:
            cr_assert(xs_heap_free(xs_heap_memalign(256, 1000)));
            break;
        case 2:
            cr_assert(xs_heap_free(xs_heap_zalloc(300000)));
            break;
        case 3:
            cr_assert(xs_heap_usable_size(kept) > 0);
            break;
        case 4:
            cr_assert(xs_heap_free(get(5000000)));
            break;
        default:
            if (i % 600 == 5)
                (void)xs_heap_trim();
            break;
        }
        if (i % 1000 == 0)
            cr_assert(xs_heap_check(&why), "%s", why.at);
    }
    cr_assert_eq(most, 20000);
    cr_assert(xs_heap_free(kept));
    xs_heap_counters_add(&sum);
    cr_assert_eq(sum.reallocs, 3334);
    cr_assert_eq(xs_counters_live_blocks(&sum), 0);
    struct xs_heap_stats stats;
    cr_assert(xs_heap_stats_get(&stats, true));
    cr_assert_eq(stats.heaps, 1);
}

/* ---- locks ---- */

static struct xs_lock lock = {.kind = XS_LOCK_GPU};

static void *take(void *arg)
{
    xs_lock_take(&lock);
    xs_lock_give(&lock);
    return arg;
}

static void make_one_wait(void)
{
    pthread_t t;

    xs_lock_take(&lock);
    cr_assert_eq(pthread_create(&t, NULL, take, NULL), 0);
    /* It sleeps: 2 is written by who does. */
    while (atomic_load(&lock.state) != 2)
        usleep(1000);
    xs_lock_give(&lock);
    pthread_join(t, NULL);
}

static void *nothing(void *arg)
{
    return arg;
}

Test(latency, waits_are_counted_where_they_belong)
{
    pthread_t t;

    /* Locks are only taken in earnest from the second thread on. */
    cr_assert_eq(pthread_create(&t, NULL, nothing, NULL), 0);
    pthread_join(t, NULL);
    make_one_wait();
    xs_latency_get(&l);
    cr_assert_eq(l.waits[XS_LOCK_GPU].count, 0);
    xs_latency_switch(XS_LATENCY_IN_CORE);
    take(NULL);
    xs_latency_get(&l);
    cr_assert_eq(l.waits[XS_LOCK_GPU].count, 0);
    make_one_wait();
    make_one_wait();
    xs_latency_get(&l);
    cr_assert_eq(l.waits[XS_LOCK_GPU].count, 2);
    cr_assert_eq(l.waits[XS_LOCK_CPU].count, 0);
    cr_assert(l.waits[XS_LOCK_GPU].ns >= l.waits[XS_LOCK_GPU].max_ns);
    cr_assert(l.waits[XS_LOCK_GPU].max_ns > 0);
}
