/* Which lines that all threads share a malloc and free of a large block writes to, where each
 * thread has an arena: none, but now and then. Threads run one at a time, by turns. */
#include <criterion/criterion.h>
#include <pthread.h>

#include "core/heap.h"
#include "core/pressure.h"
#include "core/span_arena.h"

enum { TEAM = 4, LIVE = 64, WARM_UP = 600, ROUNDS = 1200 };

static pthread_barrier_t all;
static unsigned who[TEAM];
static unsigned takes, turns, told, drawn; /* since the warm-up */

static unsigned turns_of_all(void)
{
    unsigned n = 0;

    for (unsigned i = 0; i < xs_span_arenas(); i++)
        n += xs_spans.arena[i]->turns;
    return n;
}

static uint64_t takes_of_all(void)
{
    struct xs_bfc_stats s;

    xs_span_stats(&s);
    return s.allocations;
}

static void *large_pairs(void *arg)
{
    unsigned me = *(unsigned *)arg;
    unsigned random = me;
    void *live[LIVE] = {NULL};

    xs_arena_move_to(me);
    for (unsigned round = 0; round < ROUNDS; round++)
        for (unsigned i = 0; i < TEAM; i++) {
            pthread_barrier_wait(&all);
            if (i != me)
                continue;
            uint64_t taken = takes_of_all();
            unsigned turned = turns_of_all();
            uint64_t sum = atomic_load(&xs_spans.told_bytes);
            int64_t left = atomic_load(&xs_pressure_left);
            random = random * 1664525u + 1013904223u;
            void **at = &live[random % LIVE];
            cr_assert(*at == NULL || xs_heap_free(*at));
            /* As many of each doubling. */
            *at = xs_heap_malloc((size_t)(8192 + (random >> 8) % 8192) << (random >> 28) % 7);
            cr_assert_not_null(*at);
            if (round < WARM_UP)
                continue;
            takes += (unsigned)(takes_of_all() - taken);
            turns += turns_of_all() - turned;
            told += atomic_load(&xs_spans.told_bytes) != sum;
            drawn += atomic_load(&xs_pressure_left) != left;
        }
    return NULL;
}

Test(lines, large_blocks_of_ones_own)
{
    struct xs_heap_options o = {.span = {.initial_bytes = 2 << 20,
                                         .allow_growth = true,
                                         .coalesce_on_free = true,
                                         .decay_ns = UINT64_C(1) << 60,
                                         .arenas_max = TEAM},
                                .cache_bytes = 2 << 20};
    pthread_t t[TEAM];

    cr_assert_eq(xs_heap_open(&o), 0);
    xs_pressure_look(0);
    for (unsigned i = 1; i < TEAM; i++)
        cr_assert_neq(xs_arenas_open_more(), 0u);
    cr_assert_eq(pthread_barrier_init(&all, NULL, TEAM), 0);
    for (unsigned i = 0; i < TEAM; i++) {
        who[i] = i;
        cr_assert_eq(pthread_create(&t[i], NULL, large_pairs, &who[i]), 0);
    }
    for (unsigned i = 0; i < TEAM; i++)
        pthread_join(t[i], NULL);

    /* Most pairs go to the arena, and to nobody else's. */
    cr_assert_gt(takes, (ROUNDS - WARM_UP) * TEAM / 4, "%u", takes);
    cr_assert_eq(turns, 0u, "%u", turns);
    cr_assert_lt(told, takes / 10, "%u of %u", told, takes);
    cr_assert_lt(drawn, takes / 10, "%u of %u", drawn, takes);
}
