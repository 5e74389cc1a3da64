/* A load that swings, by a clock that the test turns: memory is not given back and taken again with
 * each swing. */
#include <criterion/criterion.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "core/heap.h"
#include "tests/support/gave_back.h"

#define SECOND UINT64_C(1000000000)

/* In the place of libc's, for the core that is linked to this. */
static uint64_t skew_ns;

int clock_gettime(clockid_t clock, struct timespec *t)
{
    int rc = (int)syscall(SYS_clock_gettime, clock, t);
    uint64_t ns = (uint64_t)t->tv_sec * SECOND + (uint64_t)t->tv_nsec + skew_ns;

    t->tv_sec = (time_t)(ns / SECOND);
    t->tv_nsec = (long)(ns % SECOND);
    return rc;
}

static const struct xs_heap_options options = {
    .span = {.initial_bytes = (size_t)64 << 20,
             .allow_growth = true,
             .coalesce_on_free = true,
             .decay_ns = SECOND},
    .cache_bytes = 1 << 20,
};

/* A block that comes and goes, and `ns` without it; true if memory went back meanwhile. */
static bool swing_of(size_t bytes, uint64_t ns)
{
    unsigned before = gave_back;
    char *p = xs_heap_malloc(bytes);

    cr_assert(p != NULL);
    memset(p, 1, bytes);
    cr_assert(xs_heap_free(p));
    for (unsigned i = 0; i < 4; i++) {
        skew_ns += ns / 4;
        (void)xs_span_tick();
    }
    return gave_back != before;
}

static bool swing(uint64_t ns)
{
    return swing_of((size_t)16 << 20, ns);
}

static unsigned given_in(unsigned swings, uint64_t ns)
{
    unsigned n = 0;

    for (unsigned i = 0; i < swings; i++)
        n += swing(ns);
    return n;
}

/* After the first swings it stays, but for a look now and then whether it is still wanted. */
Test(decay, what_swings_stays)
{
    cr_assert_eq(xs_heap_open(&options), 0);
    cr_assert(swing(SECOND * 3 / 2), "free memory goes after the decay time");
    (void)given_in(8, SECOND * 3 / 2);
    unsigned later = given_in(40, SECOND * 3 / 2);
    cr_assert_lt(later, 12u, "%u of 40 swings", later);
}

/* What is not wanted again goes, and what comes at long intervals is not kept for them. */
Test(decay, what_rests_goes)
{
    cr_assert_eq(xs_heap_open(&options), 0);
    cr_assert_eq(given_in(6, SECOND * 40), 6u);
    cr_assert_eq(xs_span_dirty_bytes(), 0u);
}

/* More that lies free than is in use goes sooner, unless it swings. */
Test(decay, much_goes_sooner)
{
    const size_t much = (size_t)128 << 20;
    unsigned later = 0;

    cr_assert_eq(xs_heap_open(&options), 0);
    cr_assert(swing_of(much, SECOND / 2));
    cr_assert_eq(xs_span_dirty_bytes(), 0u);
    for (unsigned i = 0; i < 8; i++)
        (void)swing_of(much, SECOND / 2);
    for (unsigned i = 0; i < 40; i++)
        later += swing_of(much, SECOND / 2);
    cr_assert_lt(later, 12u, "%u of 40 swings", later);
}

/* Not where more is in use, nor in small parts. */
Test(decay, beside_what_is_used_it_stays)
{
    const size_t much = (size_t)128 << 20;

    cr_assert_eq(xs_heap_open(&options), 0);
    cr_assert_not_null(xs_heap_malloc(much + much / 4));
    cr_assert_not(swing_of(much, SECOND / 2));
    cr_assert_neq(xs_span_dirty_bytes(), 0u);
}

Test(decay, small_parts_stay)
{
    enum { PARTS = 48 };
    const size_t part = (size_t)1 << 20;
    char *p[2 * PARTS];

    cr_assert_eq(xs_heap_open(&options), 0);
    for (unsigned i = 0; i < 2 * PARTS; i++)
        cr_assert_not_null(p[i] = xs_heap_malloc(i % 2 == 0 ? part : 70000));
    for (unsigned i = 0; i < 2 * PARTS; i += 2) {
        memset(p[i], 1, part);
        cr_assert(xs_heap_free(p[i]));
    }
    unsigned before = gave_back;
    for (unsigned i = 0; i < 4; i++) {
        skew_ns += SECOND / 8;
        (void)xs_span_tick();
    }
    cr_assert_eq(gave_back, before);
    cr_assert_gt(xs_span_dirty_bytes(), (PARTS - 8) * part);
}

static size_t resident_bytes(char *p, size_t bytes)
{
    static unsigned char is_there[65536];
    size_t page = (size_t)sysconf(_SC_PAGESIZE), n = 0;

    cr_assert_leq(bytes / page, sizeof(is_there));
    cr_assert_eq(mincore(p, bytes, is_there), 0);
    for (size_t i = 0; i < bytes / page; i++)
        n += is_there[i] & 1;
    return n * page;
}

static void look_after(uint64_t ns)
{
    skew_ns += ns;
    (void)xs_span_tick();
}

static char *filled(size_t bytes)
{
    char *p = xs_heap_malloc(bytes);

    cr_assert_not_null(p);
    memset(p, 1, bytes);
    return p;
}

#define MIB ((size_t)1 << 20)

/* Blocks of 40 MiB that lie free beside more that is in use. */
static void burst(char *p[2])
{
    cr_assert_eq(xs_heap_open(&options), 0);
    for (unsigned i = 0; i < 2; i++) {
        p[i] = filled(40 * MIB);
        (void)filled(24 * MIB);
        (void)filled(64 * MIB);
    }
    cr_assert(xs_heap_free(p[0]));
    cr_assert(xs_heap_free(p[1]));
    look_after(SECOND * 3 / 10);
    for (unsigned i = 0; i < 2; i++)
        cr_assert_geq(resident_bytes(p[i], 40 * MIB), 39 * MIB);
}

/* What a burst leaves is not there beside what the process grows by afterwards, long before the
 * decay time. */
Test(decay, growth_of_the_process_comes_first)
{
    char *p[2];

    burst(p);
    (void)filled(48 * MIB);
    look_after(SECOND / 25);
    for (unsigned i = 0; i < 2; i++)
        cr_assert_eq(resident_bytes(p[i], 40 * MIB), 0u);
}

/* What it had before, it may have again. */
Test(decay, below_its_peak_a_process_keeps_what_is_free)
{
    char *p[2];

    burst(p);
    char *other = mmap(NULL, 64 * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    cr_assert_neq(other, MAP_FAILED);
    memset(other, 1, 64 * MIB);
    cr_assert_eq(munmap(other, 64 * MIB), 0);
    (void)filled(48 * MIB);
    look_after(SECOND / 25);
    for (unsigned i = 0; i < 2; i++)
        cr_assert_geq(resident_bytes(p[i], 40 * MIB), 39 * MIB);
}

/* A large block goes where there is memory, though a part that has none is the better fit. */
Test(decay, used_before_fresh)
{
    const size_t mib = (size_t)1 << 20;

    cr_assert_eq(xs_heap_open(&options), 0);
    char *a = xs_heap_malloc(30 * mib);
    char *b = xs_heap_malloc(30 * mib);
    char *c = xs_heap_malloc(20 * mib); /* in a region of its own */
    cr_assert(a != NULL && b != NULL && c != NULL);
    memset(a, 1, 30 * mib);
    memset(b, 1, 30 * mib);
    cr_assert(xs_heap_free(a));
    cr_assert(xs_heap_free(b));
    uint64_t before = xs_span_touched_bytes();
    char *p = xs_heap_malloc(40 * mib);
    cr_assert_not_null(p);
    cr_assert_leq(xs_span_touched_bytes(), before - 40 * mib);
}

/* What was prepared for threads and is not needed any more goes before the first of them. */
Test(decay, before_the_first_thread)
{
    char *p[4];

    cr_assert_eq(xs_heap_open(&options), 0);
    for (unsigned i = 0; i < 4; i++) {
        cr_assert_not_null(p[i] = xs_heap_malloc(200000));
        memset(p[i], 1, 200000);
    }
    for (unsigned i = 0; i < 4; i++)
        cr_assert(xs_heap_free(p[i]));
    unsigned before = gave_back;
    xs_heap_before_threads();
    cr_assert_neq(gave_back, before);
    cr_assert_eq(xs_span_dirty_bytes(), 0u);
}
