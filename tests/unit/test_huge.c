/* XSIGMA_CPU_HUGE_PAGES=auto, on a kernel and a clock of the test's own: huge pages are asked for
 * where they come cheap and memory is used, and no more where it is not so. */
#include <criterion/criterion.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "core/huge.h"
#include "core/span_arena.h"
#include "sys/filter.h"
#include "sys/mem.h"

#define SECOND UINT64_C(1000000000)
#define MIB    ((size_t)1 << 20)
#define PAGES  (XS_MEM_HUGE / XS_SPAN_PAGE)

static unsigned asked;            /* for a huge page */
static unsigned small_touched;    /* pages of 2 MiB in small ones, in the end */
static bool is_given;             /* the kernel gives huge pages */
static uint64_t huge_ns, page_ns; /* what a huge and a small page cost */
static uint64_t skew_ns, cpu_ns;
static void (*in_madvise)(void);

static char *pending; /* told to be huge, not touched yet */
static char *got[512], *small[512];
static unsigned gots, smalls;

int madvise(void *p, size_t size, int advice)
{
    if (advice == MADV_HUGEPAGE) {
        cr_assert_eq((uintptr_t)p % XS_MEM_HUGE, 0u);
        cr_assert_eq(size, XS_MEM_HUGE);
        asked++;
        pending = p;
        if (in_madvise != NULL)
            in_madvise();
    } else if (advice == MADV_NOHUGEPAGE && size == XS_MEM_HUGE) {
        if (p != pending) /* or one of the page map */
            small[smalls++] = p;
        pending = NULL;
    }
    return 0;
}

/* Where large ranges begin hangs on the kernel (since 6.7 at 2 MiB, in an emulator anywhere), and
 * on that how much of each 2 MiB a span has first. */
void *mmap(void *at, size_t size, int prot, int flags, int fd, off_t offset)
{
    size_t more = at == NULL && size >= XS_MEM_HUGE ? XS_MEM_HUGE : 0;
    long p = syscall(SYS_mmap, at, size + more, prot, flags, fd, offset);

    if (p != -1 && more != 0)
        p = (p + (long)XS_MEM_HUGE - 1) & -(long)XS_MEM_HUGE;
    return (void *)p; // NOLINT(performance-no-int-to-ptr)
}

static bool is_among(char *p, char *const list[], unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        if (list[i] == p)
            return true;
    return false;
}

int mincore(void *p, size_t size, unsigned char *in_core)
{
    bool is_small = is_among(p, small, smalls);

    if (size != XS_MEM_HUGE) /* an unwinder's */
        return (int)syscall(SYS_mincore, p, size, in_core);
    memset(in_core, 0, PAGES);
    if (is_among(p, got, gots))
        memset(in_core, 1, PAGES);
    else if (is_small)
        memset(in_core, 1, small_touched);
    return 0;
}

/* By pairs of calls: the end of one has what was touched in between. */
int clock_gettime(clockid_t clock, struct timespec *t)
{
    static bool is_end;
    uint64_t ns;

    if (clock == CLOCK_THREAD_CPUTIME_ID) {
        if (is_end && pending != NULL && is_given) {
            got[gots++] = pending;
            cpu_ns += huge_ns;
        } else if (is_end) {
            cpu_ns += pending != NULL ? page_ns : 16 * page_ns;
        }
        is_end = !is_end;
        ns = cpu_ns;
    } else {
        syscall(SYS_clock_gettime, clock, t);
        ns = (uint64_t)t->tv_sec * SECOND + (uint64_t)t->tv_nsec + skew_ns;
    }
    t->tv_sec = (time_t)(ns / SECOND);
    t->tv_nsec = (long)(ns % SECOND);
    return 0;
}

#define LARGE (XS_HUGE_FROM + 60 * MIB)

static void start(enum xs_huge huge)
{
    const struct xs_span_options options = {.initial_bytes = 512 * MIB,
                                            .allow_growth = true,
                                            .coalesce_on_free = true,
                                            .decay_ns = SECOND};

    is_given = true;
    small_touched = PAGES;
    page_ns = 1400;
    huge_ns = 100000;
    xs_supply_open(&(struct xs_supply_options){.huge = huge});
    cr_assert_eq(xs_span_open(&options), 0);
}

/* In spans of 256 KiB. */
static void use(size_t bytes)
{
    struct xs_span s;

    for (size_t i = 0; i < bytes; i += MIB / 4) {
        cr_assert(xs_span_take(MIB / 4, 0, &s));
        cr_assert(s.is_zero);
        cr_assert_eq(*(char *)s.p, 0);
    }
}

Test(huge, none_in_a_small_heap)
{
    start(XS_HUGE_AUTO);
    use(XS_HUGE_FROM - MIB);
    cr_assert_eq(asked, 0u);
    cr_assert_gt(xs_huge_stats().small_ns, 0u);
}

Test(huge, cheap_ones_are_got)
{
    start(XS_HUGE_AUTO);
    use(LARGE);
    struct xs_huge_stats s = xs_huge_stats();
    cr_assert_geq(asked, (LARGE - XS_HUGE_FROM) / XS_MEM_HUGE - 1);
    cr_assert_eq(s.got, asked);
    cr_assert_eq(s.verdict, XS_HUGE_CHEAP);
    cr_assert_eq(s.dear + s.refused, 0u);
    cr_assert_eq(s.small_ns, page_ns * PAGES);
    cr_assert_eq(s.got_ns, asked * huge_ns);
}

Test(huge, off_asks_for_none)
{
    start(XS_HUGE_OFF);
    use(LARGE);
    cr_assert_eq(asked, 0u);
    cr_assert_eq(xs_huge_stats().small_ns, 0u);
}

Test(huge, no_more_than_a_hundredth_of_the_time_is_lost)
{
    start(XS_HUGE_AUTO);
    huge_ns = 5000000;
    use(LARGE);
    cr_assert_eq(asked, 1u);
    cr_assert_eq(xs_huge_stats().verdict, XS_HUGE_DEAR);
    /* What was lost is made up for by time that passes. */
    skew_ns += 100 * huge_ns;
    use(10 * MIB);
    cr_assert_eq(asked, 1u);
    skew_ns += 200 * huge_ns;
    use(10 * MIB);
    cr_assert_eq(asked, 2u);
    /* Dear again: the next waits for longer. */
    skew_ns += 128 * huge_ns;
    use(10 * MIB);
    cr_assert_eq(asked, 2u);
    skew_ns += 256 * huge_ns;
    huge_ns = 100000;
    use(10 * MIB);
    cr_assert_geq(asked, 6u);
    cr_assert_eq(xs_huge_stats().verdict, XS_HUGE_CHEAP);
}

Test(huge, one_dear_page_after_many_cheap_ones_is_borne)
{
    start(XS_HUGE_AUTO);
    use(XS_HUGE_FROM + 40 * MIB);
    unsigned before = asked;
    huge_ns = 3 * page_ns * PAGES;
    use(XS_MEM_HUGE);
    huge_ns = 100000;
    use(8 * MIB);
    cr_assert_eq(asked, before + 5);
    cr_assert_eq(xs_huge_stats().dear, 1u);
}

Test(huge, none_where_memory_is_left_untouched)
{
    start(XS_HUGE_AUTO);
    small_touched = PAGES * 9 / 10;
    use(200 * MIB);
    cr_assert_eq(asked, 0u);
    cr_assert_eq(xs_huge_stats().verdict, XS_HUGE_SPARSE);
    cr_assert_eq(xs_huge_stats().touched_permille, 898u);
    cr_assert_eq(cpu_ns, 16 * page_ns); /* no page is touched for its time but at first */
}

Test(huge, where_memory_is_used_again_small_pages_are_timed_again)
{
    start(XS_HUGE_AUTO);
    small_touched = PAGES / 2;
    use(100 * MIB);
    cr_assert_eq(xs_huge_stats().verdict, XS_HUGE_SPARSE);
    small_touched = PAGES;
    page_ns *= 2;
    use(200 * MIB);
    cr_assert_gt(asked, 0u);
    cr_assert_eq(xs_huge_stats().small_ns, page_ns * PAGES);
}

Test(huge, a_kernel_that_gives_none_is_not_asked_again_soon)
{
    start(XS_HUGE_AUTO);
    is_given = false;
    use(200 * MIB);
    cr_assert_eq(asked, 1u);
    cr_assert_eq(xs_huge_stats().verdict, XS_HUGE_REFUSED);
    cr_assert_eq(xs_huge_stats().got, 0u);
}

Test(huge, none_after_a_filter_of_system_calls)
{
    start(XS_HUGE_AUTO);
    xs_filter_note();
    use(LARGE);
    cr_assert_eq(asked, 0u);
    cr_assert_eq(xs_huge_stats().small_ns, 0u);
}

Test(huge, none_where_memory_runs_short)
{
    start(XS_HUGE_AUTO);
    xs_span_hurry(XS_HURRY_SOON, 0);
    use(LARGE);
    cr_assert_eq(asked, 0u);
    cr_assert_eq(xs_huge_stats().small_ns, 0u);
}

/* Blocks that need not be touched whole. */
Test(huge, none_for_large_blocks)
{
    struct xs_span s;

    start(XS_HUGE_AUTO);
    for (unsigned i = 0; i < 20; i++)
        cr_assert(xs_span_take(10 * MIB, 0, &s));
    cr_assert_eq(asked, 0u);
    cr_assert_eq(xs_huge_stats().small_ns, 0u);
}

/* Used memory is no fresh one. */
Test(huge, none_where_there_is_memory)
{
    enum { SPANS = LARGE / (MIB / 4) };
    static xs_chunk chunks[SPANS];
    struct xs_span s;

    start(XS_HUGE_AUTO);
    for (unsigned i = 0; i < SPANS; i++) {
        cr_assert(xs_span_take(MIB / 4, 0, &s));
        chunks[i] = s.chunk;
    }
    unsigned before = asked;
    cr_assert_gt(before, 0u);
    xs_span_give(&chunks[SPANS - 200], 200, NULL);
    for (unsigned i = 0; i < 200; i++)
        cr_assert(xs_span_take(MIB / 4, 0, &s));
    cr_assert_eq(asked, before);
}

static pid_t child;

/* In the middle of it: a hook that allocates, and one that forks. */
static void take_and_fork(void)
{
    struct xs_span s;

    in_madvise = NULL;
    cr_assert(xs_span_take(XS_MEM_HUGE, 0, &s));
    xs_span_fork_prepare();
    child = fork();
    cr_assert_neq(child, -1);
    if (child != 0) {
        xs_span_fork_parent();
        return;
    }
    xs_span_fork_child();
    asked = 0;
    use(20 * MIB);
    _exit(asked > 4 ? 0 : 1);
}

Test(huge, who_is_interrupted_there)
{
    int status;

    start(XS_HUGE_AUTO);
    in_madvise = take_and_fork;
    use(XS_HUGE_FROM + 20 * MIB);
    cr_assert_gt(asked, 4u);
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert_eq(status, 0);
}
