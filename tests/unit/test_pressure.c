/* When caches give way: by made-up files of a cgroup, as to use and as to stalls (PSI), and by a
 * clock that stands unless the test turns it. */
#include <criterion/criterion.h>
#include <sys/single_threaded.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "core/heap.h"
#include "core/pressure.h"
#include "core/span_arena.h"
#include "core/supply.h"
#include "sys/limits.h"
#include "tests/support/fake_root.h"
#include "tests/support/gave_back.h"

#define GROUP "/sys/fs/cgroup/a"

#define MS    UINT64_C(1000000)

/* In the place of libc's, for the core that is linked to this. */
static uint64_t now_ns = UINT64_C(1) << 40;

int clock_gettime(clockid_t clock, struct timespec *t)
{
    (void)clock;
    t->tv_sec = (time_t)(now_ns / 1000 / MS);
    t->tv_nsec = (long)(now_ns % (1000 * MS));
    return 0;
}

static struct xs_pressure said;
static unsigned lines;

static void say(const struct xs_pressure *p)
{
    said = *p;
    lines++;
}

static void begin(void)
{
    static const struct xs_pressure_options o = {.warn_permille = 900, .say = say};
    static const struct xs_heap_options heap = {.span = {.initial_bytes = 2 << 20,
                                                         .allow_growth = true,
                                                         .coalesce_on_free = true,
                                                         .decay_ns = UINT64_C(1) << 60},
                                                .cache_bytes = 1 << 20};

    fake_root_begin();
    put("/proc/self/cgroup", "0::/a\n");
    put(GROUP "/memory.max", "100000000\n");
    put(GROUP "/memory.stat", "inactive_file 0\n");
    put(GROUP "/memory.current", "60000000\n");
    put(GROUP "/memory.pressure", "some avg10=5.00 avg60=1.00\n");
    cr_assert_eq(xs_heap_open(&heap), 0);
    xs_pressure_open(&o);
    lines = 0;
}

TestSuite(pressure, .init = begin, .fini = fake_root_end);

static uint64_t shrinks(void)
{
    struct xs_pressure_stats s;

    xs_pressure_stats(&s);
    return s.shrinks;
}

/* Pressure that begins at 1 % of the limit does not begin anew with each look. */
Test(pressure, begins_once_however_early)
{
    static const struct xs_pressure_options early = {.warn_permille = 10, .say = say};

    xs_pressure_open(&early);
    for (unsigned i = 0; i < 6; i++) {
        xs_pressure_look(0);
        now_ns += 11000 * MS; /* longer than warnings are apart */
    }
    cr_assert_eq(lines, 1u, "%u lines", lines);
}

/* What a thread has for itself was counted already; where little is left it has nothing. */
Test(pressure, what_a_thread_draws)
{
    xs_pressure_look(0);
    cr_assert_eq(atomic_load(&xs_pressure_draw), 0);
    cr_assert(!xs_pressure_is_due(100000));
    cr_assert_eq(atomic_load(&xs_pressure_left), 10000000 - 100000);

    put(GROUP "/memory.max", "4000000000\n");
    xs_pressure_look(0);
    __libc_single_threaded = 0;
    int64_t left = atomic_load(&xs_pressure_left);
    int64_t draw = atomic_load(&xs_pressure_draw);
    cr_assert_eq(left, (4000000000 - 60000000) / 4);
    cr_assert_eq(draw, left / 1024);
    cr_assert(!xs_pressure_is_due(1000));
    left -= 1000 + draw;
    cr_assert_eq(atomic_load(&xs_pressure_left), left);
    for (int i = 0; i < 9; i++)
        cr_assert(!xs_pressure_is_due((size_t)draw / 9));
    cr_assert_eq(atomic_load(&xs_pressure_left), left);
    /* Neither later nor much sooner than without it. */
    unsigned n = 0;
    while (!xs_pressure_is_due(1 << 20))
        n++;
    cr_assert_leq(n, (uint64_t)left >> 20);
    cr_assert_geq(n, (uint64_t)(left - 2 * draw) >> 20);
}

/* Waiting for memory is pressure from half of the limit on, though less than 90 % is used. */
Test(pressure, stalls)
{
    void *p = xs_heap_malloc(3 << 20);

    cr_assert(p != NULL);
    memset(p, 1, 3 << 20);
    cr_assert(xs_heap_free(p));
    xs_pressure_look(0);
    cr_assert_eq(shrinks(), 0u);
    cr_assert_gt(xs_span_dirty_bytes(), 2u << 20);
    uint32_t calls = atomic_load(&xs_pressure_calls);

    put(GROUP "/memory.pressure", "some avg10=25.00 avg60=1.00\n");
    xs_pressure_look(0);
    cr_assert_eq(shrinks(), 1u);
    cr_assert_eq(lines, 1u);
    cr_assert_eq(said.stalled, 2500u);
    cr_assert_eq(said.used_bytes, 60000000u);
    cr_assert_gt(said.given_bytes, 2u << 20, "what was free did not go back");
    cr_assert_eq(xs_span_dirty_bytes(), 0u);
    cr_assert_neq(atomic_load(&xs_pressure_calls), calls, "the GPU's caches are not told");
    cr_assert(xs_span_in_hurry());

    /* Still so: no second line. Over: free memory is kept again. */
    xs_pressure_look(0);
    cr_assert_eq(lines, 1u);
    put(GROUP "/memory.pressure", "some avg10=1.00 avg60=1.00\n");
    xs_pressure_look(0);
    cr_assert(!xs_span_in_hurry());
    cr_assert_eq(lines, 1u);
}

/* A process with little waits for others' sake. */
Test(pressure, stalls_far_from_the_limit)
{
    put(GROUP "/memory.current", "40000000\n");
    put(GROUP "/memory.pressure", "some avg10=80.00 avg60=1.00\n");
    xs_pressure_look(0);
    cr_assert_eq(shrinks(), 0u);
    cr_assert_eq(lines, 0u);
}

/* Nor do processes wait for the limit that is ours alone: only where the machine or the group has
 * used half of its own is that pressure, and theirs. */
Test(pressure, stalls_of_others_and_our_limit)
{
    xs_supply_open(&(struct xs_supply_options){.limit_bytes = 40000000});
    cr_assert(xs_supply_charge(30000000));
    put(GROUP "/memory.current", "40000000\n");
    put(GROUP "/memory.pressure", "some avg10=80.00 avg60=1.00\n");
    xs_pressure_look(0);
    cr_assert_eq(lines, 0u);
    put(GROUP "/memory.current", "55000000\n");
    xs_pressure_look(0);
    cr_assert_eq(lines, 1u);
    cr_assert_eq((int)said.of, (int)XS_PRESSURE_CGROUP);
    cr_assert_eq(said.stalled, 8000u);
}

/* Of a machine that is half empty, the one node that the process may use is not. */
Test(pressure, nodes)
{
    put(GROUP "/memory.max", "max\n");
    put("/proc/meminfo", "MemTotal: 1000000 kB\nMemFree: 500000 kB\nMemAvailable: 500000 kB\n");
    put("/proc/self/status", "Mems_allowed_list:\t1\n");
    put("/sys/devices/system/node/has_memory", "0-1\n");
    put("/sys/devices/system/node/node1/meminfo",
        "Node 1 MemTotal: 400000 kB\nNode 1 MemFree: 30000 kB\n");
    xs_pressure_look(0);
    cr_assert_eq(lines, 1u);
    cr_assert_eq((int)said.of, (int)XS_PRESSURE_NODES);
    cr_assert_eq(said.used_bytes, 370000u << 10);
    cr_assert_leq(atomic_load(&xs_pressure_left), (30000 << 10) / 4);
}

/* Each limit counts, whichever leaves the fewest bytes. */
Test(pressure, any_limit)
{
    struct xs_pressure_stats s;

    /* 92 % of the group, and of the machine less, in bytes and by share. */
    put(GROUP "/memory.max", "10000000000\n");
    put(GROUP "/memory.current", "9200000000\n");
    put("/proc/meminfo", "MemTotal: 1000000 kB\nMemAvailable: 500000 kB\n");
    xs_pressure_look(0);
    cr_assert_eq(lines, 1u);
    cr_assert_eq((int)said.of, (int)XS_PRESSURE_CGROUP);
    cr_assert_leq(atomic_load(&xs_pressure_left), 500000 * 1024 / 4,
                  "the machine's end comes first");
    xs_pressure_stats(&s);
    cr_assert_eq(s.most_permille, 920u);

    /* The machine, and the group has less left. */
    put(GROUP "/memory.max", "100000000\n");
    put(GROUP "/memory.current", "60000000\n");
    xs_pressure_look(0);
    cr_assert(!xs_span_in_hurry());
    now_ns += 11000 * MS;
    put("/proc/meminfo", "MemTotal: 1000000 kB\nMemAvailable: 60000 kB\n");
    xs_pressure_look(0);
    cr_assert_eq(lines, 2u);
    cr_assert_eq((int)said.of, (int)XS_PRESSURE_MACHINE);
    cr_assert_leq(atomic_load(&xs_pressure_left), 40000000 / 4);
    xs_pressure_stats(&s);
    cr_assert_eq(s.most_permille, 940u, "%lu are not the machine's",
                 (unsigned long)s.most_permille);
}

/* The group above, which others fill, has the larger limit. */
Test(pressure, the_group_above)
{
    put("/proc/self/cgroup", "0::/a/b\n");
    put(GROUP "/b/memory.max", "80000000\n");
    put(GROUP "/b/memory.current", "10000000\n");
    put(GROUP "/memory.current", "95000000\n");
    xs_limits_fork_child();
    xs_pressure_look(0);
    cr_assert_eq(lines, 1u);
    cr_assert_eq(said.limit_bytes, 100000000u);
    cr_assert_eq(said.used_bytes, 95000000u);
}

/* A limit that comes while the process runs is seen by a look at the clock. */
Test(pressure, a_limit_that_comes)
{
    put(GROUP "/memory.max", "max\n");
    put("/proc/meminfo", "MemTotal: 1000000 kB\nMemAvailable: 500000 kB\n");
    xs_limits_fork_child();
    xs_pressure_look(0);
    cr_assert(!xs_limits_is_confined());
    put(GROUP "/memory.max", "65000000\n");
    xs_pressure_poll();
    cr_assert_eq(lines, 0u);
    now_ns += 1001 * MS;
    xs_pressure_poll();
    cr_assert_eq(lines, 1u);
    cr_assert_eq(said.limit_bytes, 65000000u);
}

/* Of our own limit what lies free without memory is not used. */
Test(pressure, of_our_limit_what_has_memory)
{
    struct xs_supply_stats own;

    put(GROUP "/memory.max", "max\n");
    xs_limits_fork_child();
    void *p = xs_heap_malloc(300000);
    cr_assert(p != NULL);
    xs_supply_stats(&own);
    cr_assert_geq(own.charged_bytes, 1u << 20);
    xs_supply_open(&(struct xs_supply_options){.limit_bytes = own.charged_bytes});
    xs_pressure_look(0);
    cr_assert_eq(lines, 0u, "all of it is taken, but little is used");
    cr_assert(xs_heap_free(p));
}

/* By use: with what is wanted just now, once, and again only when it was 5 % better meanwhile. */
Test(pressure, use)
{
    put(GROUP "/memory.current", "89000000\n");
    xs_pressure_look(0);
    cr_assert_eq(lines, 0u);
    xs_pressure_look(2000000);
    cr_assert_eq(lines, 1u);
    cr_assert_eq(said.used_bytes + said.wanted_bytes, 91000000u);
    put(GROUP "/memory.current", "86000000\n");
    xs_pressure_look(0);
    cr_assert(xs_span_in_hurry());
    put(GROUP "/memory.current", "84000000\n");
    xs_pressure_look(0);
    cr_assert(!xs_span_in_hurry());
    put(GROUP "/memory.current", "95000000\n");
    xs_pressure_look(0);
    cr_assert(xs_span_in_hurry());
    cr_assert_eq(lines, 1u, "two lines within seconds");
}

static void use_bytes(const char *bytes)
{
    put(GROUP "/memory.current", bytes);
    xs_pressure_look(0);
    gave_back = 0;
}

static enum xs_hurry hurry_at(const char *bytes)
{
    use_bytes(bytes);
    return xs_span_hurry_is();
}

/* From what is left on all goes at once: 4 MiB of a group's, or a fortieth of its limit. Either
 * ends a little further from the limit than it began. */
Test(pressure, what_is_tight_stays_so_for_a_while)
{
    cr_assert_eq(hurry_at("94500000\n"), XS_HURRY_SOON);
    cr_assert_eq(hurry_at("95000000\n"), XS_HURRY_SOON); /* 4.8 MiB left */
    cr_assert_eq(hurry_at("95900000\n"), XS_HURRY_NOW);
    cr_assert_eq(hurry_at("95000000\n"), XS_HURRY_NOW);
    cr_assert_eq(hurry_at("94700000\n"), XS_HURRY_SOON); /* 5.05 MiB */

    put(GROUP "/memory.max", "1000000000\n");
    cr_assert_eq(hurry_at("972000000\n"), XS_HURRY_SOON);
    cr_assert_eq(hurry_at("976000000\n"), XS_HURRY_NOW);
    cr_assert_eq(hurry_at("972000000\n"), XS_HURRY_NOW);
    cr_assert_eq(hurry_at("968000000\n"), XS_HURRY_SOON);
}

/* A quarter of what is left, 32 MiB at most. */
Test(pressure, what_may_stay_for_a_moment)
{
    use_bytes("94000000\n");
    cr_assert_eq(atomic_load(&xs_spans.hurried_most), 6000000u / 4);
    xs_pressure_look(1000000);
    cr_assert_eq(atomic_load(&xs_spans.hurried_most), 5000000u / 4);
    put(GROUP "/memory.max", "4000000000\n");
    use_bytes("3700000000\n");
    cr_assert_eq(atomic_load(&xs_spans.hurried_most), 32u << 20);
}

static int child_status = -1;

/* In the midst of a look. */
static void fork_in_look(const struct xs_pressure *p)
{
    (void)p;
    pid_t child = fork();
    if (child == 0) {
        struct xs_pressure_stats before;
        struct xs_pressure_stats after;
        xs_pressure_fork_child();
        xs_pressure_stats(&before);
        xs_pressure_look(0);
        xs_pressure_stats(&after);
        _exit(after.looks == before.looks + 1 ? 0 : 1);
    }
    cr_assert_eq(waitpid(child, &child_status, 0), child);
}

/* Whoever was looking is not there: the child looks itself. */
Test(pressure, a_child_looks_too)
{
    static const struct xs_pressure_options o = {.warn_permille = 900, .say = fork_in_look};

    xs_pressure_open(&o);
    use_bytes("95000000\n");
    cr_assert_eq(child_status, 0);
}

static void come_and_go(unsigned times, size_t bytes)
{
    for (unsigned i = 0; i < times; i++) {
        char *p = xs_heap_malloc(bytes);
        cr_assert(p != NULL);
        memset(p, 1, bytes);
        cr_assert(xs_heap_free(p));
    }
}

/* A block that comes and goes does not lose its memory each time, unless the limit is very near. */
Test(pressure, what_comes_and_goes)
{
    /* What is cut off around a first region to align it is nothing that is given back. */
    come_and_go(1, 256 << 10);
    use_bytes("94000000\n");
    come_and_go(1000, 256 << 10);
    cr_assert_leq(gave_back, 1u, "%u of 1,000 times", gave_back);
    uint64_t looks = shrinks();
    come_and_go(1000, 1 << 20);
    cr_assert_leq(gave_back, 8u, "%u of 1,000 times", gave_back);
    cr_assert_leq(shrinks(), looks + 8, "memory that is used again counts as new");

    use_bytes("98000000\n");
    come_and_go(100, 256 << 10);
    cr_assert_geq(gave_back, 100u, "%u of 100 times", gave_back);
    cr_assert_eq(xs_span_dirty_bytes(), 0u);
}

/* Not wanted again within some ms, it goes; and at once where it is more than a part of what is
 * left. */
Test(pressure, what_rests_goes)
{
    use_bytes("94000000\n");
    come_and_go(1, 1 << 20);
    cr_assert_gt(xs_span_dirty_bytes(), 0u);
    now_ns += 30 * MS;
    (void)xs_span_tick();
    cr_assert_eq(xs_span_dirty_bytes(), 0u);
    come_and_go(1, 5 << 20);
    cr_assert_eq(xs_span_dirty_bytes(), 0u);
}
