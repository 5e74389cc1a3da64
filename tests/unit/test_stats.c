#include <criterion/criterion.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>

#include "base/align.h"
#include "stats/stats.h"
#include "sys/mem.h"
#include "sys/thread_end.h"

Test(stats, bins)
{
    cr_assert_eq(xs_size_bin(0), XS_SIZE_BIN_ZERO);
    cr_assert_eq(xs_size_bin(1), 0u);
    cr_assert_eq(xs_size_bin(2), 1u);
    for (unsigned k = 2; k < 62; k++) {
        size_t top = (size_t)1 << k;
        cr_assert_eq(xs_size_bin(top), k);
        cr_assert_eq(xs_size_bin(top - 1), k == 2 ? 2u : k - (top - 1 == top / 2));
        cr_assert_eq(xs_size_bin(top + 1), k + 1);
    }
}

static void count(unsigned n, size_t size)
{
    for (unsigned i = 0; i < n; i++) {
        struct xs_slot *slot = xs_stats_attach();
        cr_assert(slot != NULL);
        struct xs_counters *c = &slot->by_owner[XS_OWNER_TBB];
        XS_COUNT(c->requested_bytes, size);
        XS_COUNT(c->size_bin[xs_size_bin(size)], 1);
        if (i % 2 == 0)
            XS_COUNT(c->frees, 1);
    }
}

static void *work(void *arg)
{
    (void)arg;
    count(1000, 48);
    return NULL;
}

static struct xs_counters total(void)
{
    struct xs_counters sum[XS_OWNER_COUNT];

    xs_stats_sum(sum);
    return sum[XS_OWNER_TBB];
}

static void nothing(void)
{
}

/* Where several threads are the first to ask, those that come while one is at it ask again with
 * their next call: one that has none would leave its slot to nobody. */
static void have_thread_ends(void)
{
    cr_assert(xs_thread_end(nothing));
}

Test(stats, ended_threads_stay_in_the_sum, .init = have_thread_ends)
{
    uint64_t all;
    uint64_t now;
    uint64_t peak;

    for (unsigned round = 1; round <= 20; round++) {
        pthread_t t[5];
        for (unsigned i = 0; i < 5; i++)
            cr_assert_eq(pthread_create(&t[i], NULL, work, NULL), 0);
        for (unsigned i = 0; i < 5; i++)
            pthread_join(t[i], NULL);
        struct xs_counters c = total();
        cr_assert_eq(xs_counters_allocations(&c), round * 5000u);
        cr_assert_eq(c.requested_bytes, round * 5000u * 48);
        cr_assert_eq(c.frees, round * 2500u);
        cr_assert_eq(xs_counters_live_blocks(&c), (int64_t)round * 2500);
    }
    xs_stats_threads(&all, &now, &peak);
    cr_assert_eq(all, 100u);
    cr_assert_eq(now, 0u);
    cr_assert(peak >= 1 && peak <= 5, "peak %lu", (unsigned long)peak);
}

static atomic_bool in_late_destructor;
static pthread_key_t late_key;

/* Runs in the last round of destructors, after the one that ends the slot: the thread is past its
 * end. */
static void late(void *arg)
{
    uintptr_t round = (uintptr_t)arg;

    if (round < PTHREAD_DESTRUCTOR_ITERATIONS) {
        pthread_setspecific(late_key, (void *)(round + 1));
        return;
    }
    cr_assert(xs_stats_attach() == NULL);
    XS_COUNT_LATE(xs_stats_late(XS_OWNER_TBB)->frees, 1);
    in_late_destructor = true;
}

static void *work_late(void *arg)
{
    count(10, 8);
    pthread_setspecific(late_key, (void *)1);
    return arg;
}

Test(stats, frees_after_the_end_of_a_thread_count)
{
    pthread_t t;

    /* Destructors of a round run in the order of their keys, and the slot's must be the first. */
    xs_stats_attach();
    pthread_key_create(&late_key, late);
    pthread_create(&t, NULL, work_late, NULL);
    pthread_join(t, NULL);
    cr_assert(in_late_destructor);
    struct xs_counters c = total();
    cr_assert_eq(c.frees, 6u);
    cr_assert_eq(xs_counters_live_blocks(&c), 4);
}

Test(stats, a_fork_child_starts_from_zero)
{
    count(100, 64);
    xs_stats_fork_child();
    struct xs_counters c = total();
    cr_assert_eq(xs_counters_allocations(&c), 0u);
    count(3, 64);
    c = total();
    cr_assert_eq(xs_counters_allocations(&c), 3u);
}

enum { TEAM = 8 };
static pthread_barrier_t all_have_one;

static void *have_slot(void *arg)
{
    struct xs_slot **slot = arg;

    *slot = xs_stats_attach();
    pthread_barrier_wait(&all_have_one); /* none ends before */
    return NULL;
}

/* A slot has one writer, in the child too, where those of threads that are not there are free. */
Test(stats, a_fork_child_s_threads_have_slots_of_their_own)
{
    struct xs_slot *slot[TEAM + 1];
    pthread_t t[TEAM];

    slot[TEAM] = xs_stats_attach();
    for (unsigned n = TEAM - 1; n <= TEAM; n++) { /* then more than there were */
        cr_assert_eq(pthread_barrier_init(&all_have_one, NULL, n), 0);
        for (unsigned i = 0; i < n; i++)
            cr_assert_eq(pthread_create(&t[i], NULL, have_slot, &slot[i]), 0);
        for (unsigned i = 0; i < n; i++)
            pthread_join(t[i], NULL);
        for (unsigned i = 0; i < n; i++) {
            cr_assert(slot[i] != NULL && slot[i] != slot[TEAM]);
            for (unsigned k = 0; k < i; k++)
                cr_assert(slot[i] != slot[k]);
        }
        xs_stats_fork_child();
    }
}

/* ---- between the two ends of taking a free slot ---- */

extern char __bss_start[];
extern char _end[];
static unsigned interruptions;

static void protect_own(int prot)
{
    uintptr_t page = xs_mem_page();
    uintptr_t from = xs_align_down((uintptr_t)__bss_start, page);
    uintptr_t to = xs_align_up((uintptr_t)_end, page);

    if (mprotect((void *)from, to - from, prot) != 0)
        _exit(1);
}

/* A thread that has a slot until it is told to end. */
struct holder {
    pthread_t thread;
    pthread_barrier_t step;
    struct xs_slot *slot;
};

static void *hold(void *arg)
{
    struct holder *h = arg;

    h->slot = xs_stats_attach();
    pthread_barrier_wait(&h->step);
    pthread_barrier_wait(&h->step);
    return NULL;
}

static void begin_holder(struct holder *h)
{
    if (pthread_barrier_init(&h->step, NULL, 2) != 0 ||
        pthread_create(&h->thread, NULL, hold, h) != 0)
        _exit(1);
    pthread_barrier_wait(&h->step);
}

static void end_holder(struct holder *h)
{
    pthread_barrier_wait(&h->step);
    pthread_join(h->thread, NULL);
}

static struct holder first, second, third;

/* The thread that takes a slot has read which is the first one and which comes next, and is about
 * to write that. Meanwhile others take both, and the first one comes back. */
static void others_come_between(int signal)
{
    (void)signal;
    protect_own(PROT_READ | PROT_WRITE);
    interruptions++;
    begin_holder(&first);
    begin_holder(&second);
    end_holder(&first);
}

Test(stats, a_slot_has_one_owner_whoever_comes_between, .init = have_thread_ends)
{
    struct sigaction act = {.sa_handler = others_come_between};

    /* Two that are free. */
    begin_holder(&first);
    begin_holder(&second);
    end_holder(&first);
    end_holder(&second);
    cr_assert_eq(sigaction(SIGSEGV, &act, NULL), 0);
    protect_own(PROT_READ);
    struct xs_slot *mine = xs_stats_attach();
    protect_own(PROT_READ | PROT_WRITE);
    cr_assert_eq(interruptions, 1u);
    cr_assert(mine != NULL && second.slot != NULL && mine != second.slot);
    begin_holder(&third);
    cr_assert(third.slot != mine && third.slot != second.slot);
    end_holder(&third);
    end_holder(&second);
}

Test(stats, live_blocks)
{
    struct xs_counters c = {.frees = 3,
                            .reallocs = 2,
                            .failures = 1,
                            .moved_in = 4,
                            .moved_out = 1,
                            .size_bin = {[4] = 10}};

    cr_assert_eq(xs_counters_allocations(&c), 8u);
    cr_assert_eq(xs_counters_live_blocks(&c), 8 - 1 - 3 + 4 - 1);
}
