/* Threads that wait for each other spread over arenas; where none is to be had they stay. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/span_arena.h"
#include "sys/numa.h"
#include "tests/support/fake_nodes.h"
#include "tests/support/spans_back.h"

#define THREADS 6u
#define WAITS   20000u /* more than a thread puts up with, */
#define TURNS   1500u  /* and so many rounds of all */

static struct xs_span_options options(unsigned arenas_max)
{
    return (struct xs_span_options){.initial_bytes = 1 << 20,
                                    .allow_growth = true,
                                    .coalesce_on_free = true,
                                    .decay_ns = 500000000,
                                    .arenas_max = arenas_max};
}

static unsigned number(xs_chunk chunk)
{
    return chunk >> xs_span_arena_shift;
}

/* As takes that find the lock held; calm ones between them count against it. */
static void wait_often(unsigned waits, unsigned calm)
{
    for (unsigned i = 0; i < waits; i++) {
        (void)xs_arena_crowded(xs_arena_here());
        for (unsigned k = 0; k < calm; k++)
            xs_arena_calm();
    }
}

static pthread_barrier_t all;
static struct xs_span kept[THREADS];
static unsigned where[THREADS];
static unsigned team, rounds;

static void *one(void *arg)
{
    struct xs_span *s = arg;

    /* By turns: each sees what those before it did. */
    for (unsigned i = 0; i < THREADS; i++) {
        if (s == &kept[i])
            wait_often(WAITS, 0);
        pthread_barrier_wait(&all);
    }
    cr_assert(xs_span_take(100000, 0, s));
    pthread_barrier_wait(&all);
    xs_arena_leave();
    return NULL;
}

static unsigned spread(unsigned arenas_max)
{
    struct xs_span_options o = options(arenas_max);
    pthread_t t[THREADS];
    unsigned seen = 0;

    cr_assert_eq(xs_span_open(&o), 0);
    cr_assert_eq(pthread_barrier_init(&all, NULL, THREADS), 0);
    for (unsigned i = 0; i < THREADS; i++)
        cr_assert_eq(pthread_create(&t[i], NULL, one, &kept[i]), 0);
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(t[i], NULL);
    for (unsigned i = 0; i < THREADS; i++)
        seen |= 1u << number(kept[i].chunk);
    return seen;
}

Test(arenas, threads_that_wait_spread)
{
    struct xs_bfc_stats s;
    xs_chunk chunks[THREADS];

    cr_assert_eq(spread(4), 0xFu);
    xs_span_stats(&s);
    cr_assert_eq(s.arenas, 4u);
    cr_assert_eq(s.chunks_in_use, THREADS);
    cr_assert_leq(s.reserved_peak_bytes, s.reserved_bytes);
    /* What another thread took goes back where it belongs. */
    for (unsigned i = 0; i < THREADS; i++) {
        cr_assert_eq(xs_span_address(kept[i].chunk), kept[i].p);
        chunks[i] = kept[i].chunk;
    }
    all_spans_go_back(chunks, THREADS);
}

Test(arenas, no_more_than_allowed)
{
    cr_assert_eq(spread(1), 1u);
}

Test(arenas, a_limit_is_for_all_together)
{
    struct xs_span_options o = options(4);

    o.limit_bytes = 64 << 20;
    cr_assert_eq(xs_span_open(&o), 0);
    wait_often(WAITS, 0);
    xs_arena_move_to(0);
    wait_often(WAITS, 0);
    cr_assert_eq(xs_span_arenas(), 1u);
}

Test(arenas, who_waits_seldom_stays)
{
    struct xs_span_options o = options(4);

    cr_assert_eq(xs_span_open(&o), 0);
    /* Another one is there, too: going away would be better. */
    xs_arena_move_to(0);
    xs_arena_thread.is_counted = false;
    wait_often(4 * WAITS, 16);
    cr_assert_eq(xs_arena_here()->number, 0u);
    wait_often(4 * WAITS, 8);
    cr_assert_eq(xs_arena_here()->number, 1u);
}

/* Of what was in use at different times the peaks do not add up, of what was at one time they do.
 */
Test(arenas, peaks_at_different_times_do_not_add_up)
{
    struct xs_span_options o = options(2);
    struct xs_span first, second;
    struct xs_bfc_stats s;

    cr_assert_eq(xs_span_open(&o), 0);
    cr_assert(xs_span_take(8 << 20, 0, &first));
    xs_span_give(&first.chunk, 1, NULL);
    xs_arena_move_to(0);
    xs_arena_thread.is_counted = false;
    wait_often(WAITS, 0);
    cr_assert_eq(xs_arena_here()->number, 1u);
    cr_assert(xs_span_take(8 << 20, 0, &second));
    xs_span_stats(&s);
    cr_assert_eq(s.arenas, 2u);
    cr_assert_geq(s.in_use_peak_bytes, 8u << 20);
    cr_assert_lt(s.in_use_peak_bytes, 9u << 20);

    /* Neither is at its own peak. */
    xs_span_give(&second.chunk, 1, NULL);
    cr_assert(xs_span_take(6 << 20, 0, &second));
    xs_arena_move_to(0);
    cr_assert(xs_span_take(6 << 20, 0, &first));
    cr_assert_neq(number(first.chunk), number(second.chunk));
    xs_span_give(&first.chunk, 1, NULL);
    xs_span_give(&second.chunk, 1, NULL);
    xs_span_stats(&s);
    cr_assert_eq(s.in_use_bytes, 0u);
    cr_assert_geq(s.in_use_peak_bytes, (12u << 20) - 2 * (size_t)XS_SPAN_TELL);
    cr_assert_lt(s.in_use_peak_bytes, 13u << 20);
}

/* One at a time, one after the other: what a machine of so many processors does at its worst. */
static void *by_turns(void *arg)
{
    const struct xs_span *mine = arg;

    for (unsigned round = 0; round < rounds; round++)
        for (unsigned i = 0; i < team; i++) {
            if (mine == &kept[i]) {
                struct xs_span s;
                cr_assert(xs_span_take(100000, 0, &s));
                xs_span_give(&s.chunk, 1, NULL);
                where[i] = xs_arena_here()->number;
            }
            pthread_barrier_wait(&all);
        }
    xs_arena_leave();
    return NULL;
}

/* The arenas that so many threads are in after so many rounds, where there are so many processors;
 * what they took by turns in the last part of the rounds. */
static unsigned take_by_turns(unsigned threads, unsigned processors, unsigned n)
{
    struct xs_span_options o = options(processors);
    pthread_t t[THREADS];
    unsigned seen = 0;

    team = threads;
    rounds = n;
    cr_assert_eq(xs_span_open(&o), 0);
    cr_assert_eq(pthread_barrier_init(&all, NULL, threads), 0);
    for (unsigned i = 0; i < threads; i++)
        cr_assert_eq(pthread_create(&t[i], NULL, by_turns, &kept[i]), 0);
    for (unsigned i = 0; i < threads; i++)
        pthread_join(t[i], NULL);
    for (unsigned i = 0; i < threads; i++)
        seen |= 1u << where[i];
    return seen;
}

/* Without one wait: nobody ever finds the lock held. */
Test(arenas, threads_that_take_turns_spread)
{
    cr_assert_eq(take_by_turns(THREADS, THREADS, TURNS), (1u << THREADS) - 1);
}

/* Lines go to and fro between two processors at most, which is cheaper than memory for each. */
Test(arenas, two_that_take_turns_stay)
{
    cr_assert_eq(take_by_turns(2, THREADS, 4 * TURNS), 1u);
}

Test(arenas, two_processors_are_no_reason_to_spread)
{
    cr_assert_eq(take_by_turns(THREADS, 2, 4 * TURNS), 1u);
}

Test(arenas, who_takes_alone_for_long_stays)
{
    struct xs_span_options o = options(64);

    cr_assert_eq(xs_span_open(&o), 0);
    /* As where few processors serve many threads: all others had their turn, then it is its own. */
    xs_arena_took(1);
    for (unsigned i = 0; i < TURNS; i++) {
        xs_arena_took(xs_arena_thread.turns + 64);
        cr_assert_geq(xs_arena_thread.shared, 62u);
        for (unsigned k = 0; k < 31; k++)
            xs_arena_took(xs_arena_thread.turns);
    }
    cr_assert_eq(xs_arena_here()->number, 0u);
    cr_assert_eq(xs_arena_thread.shared, 0u);
}

/* Whoever has the heap of one that ended finds there what that one left. */
Test(arenas, who_follows_is_where_the_one_before_was)
{
    struct xs_span_options o = options(2);

    cr_assert_eq(xs_span_open(&o), 0);
    cr_assert_neq(xs_arenas_open_more(), 0u);
    xs_arena_move_to(1);
    cr_assert_eq(xs_arena_leave(), 1u);
    xs_arena_thread.first = 0;
    xs_arena_follow(1);
    cr_assert_eq(xs_arena_here()->number, 1u);
}

/* What it had where it came from goes back while it settles. */
Test(arenas, who_leaves_takes_its_memory_along)
{
    struct xs_span_options o = options(4);
    struct xs_bfc_stats s;
    struct xs_span span;

    cr_assert_eq(xs_span_open(&o), 0);
    cr_assert(xs_span_take(300000, 0, &span));
    memset(span.p, 1, 300000);
    xs_arena_move_to(0);
    xs_arena_thread.is_counted = false;
    wait_often(WAITS, 0);
    cr_assert_eq(xs_arena_here()->number, 1u);
    xs_span_give(&span.chunk, 1, NULL);
    xs_span_stats(&s);
    cr_assert_gt(s.free_bytes, s.purged_bytes);
    for (unsigned i = 0; i < 240; i++)
        xs_arena_calm();
    xs_span_stats(&s);
    cr_assert_eq(s.free_bytes, s.purged_bytes);
    cr_assert_eq(xs_arena_thread.settling, 0u);
}

/* A child of fork is alone, wherever the threads of its parent were. */
Test(arenas, fork)
{
    struct xs_span span;
    int status;

    cr_assert_eq(spread(2), 3u);
    xs_arena_move_to(1);
    xs_span_fork_prepare();
    cr_assert(xs_span_is_mine());
    pid_t pid = fork();
    if (pid == 0) {
        xs_span_fork_child();
        wait_often(WAITS, 0);
        bool is_fine =
            xs_arena_here()->number == 1 && xs_span_take(5000, 0, &span) && number(span.chunk) == 1;
        xs_span_give(&kept[0].chunk, 1, NULL);
        _exit(is_fine ? 0 : 1);
    }
    xs_span_fork_parent();
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_assert_eq(status, 0);
    cr_assert(!xs_span_is_mine());
}

/* More chunks than an arena has numbers for, which are fewest where there are many nodes. */
Test(arenas, numbers_that_are_used_up)
{
    struct xs_span_options o = options(1);
    struct xs_span span;
    unsigned last = 0;

    fake(0xFF);
    xs_numa_open(XS_NUMA_LOCAL, 0);
    cr_assert_eq(xs_span_open(&o), 0);
    unsigned most = 1u << xs_span_arena_shift;
    for (unsigned i = 0; i < most + most / 8; i++) {
        cr_assert(xs_span_take(4096, 0, &span), "after %u", i);
        last = number(span.chunk);
        cr_assert_eq(last & xs_span_part_mask, 0u);
    }
    cr_assert_gt(last, 0u);
}
