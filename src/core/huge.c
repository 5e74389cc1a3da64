#include "core/huge.h"

#include <errno.h>
#include <stdatomic.h>
#include <time.h>

#include "core/span_arena.h"
#include "core/supply.h"
#include "sys/filter.h"
#include "sys/mem.h"

#define PAGES ((unsigned)(XS_MEM_HUGE / XS_SPAN_PAGE))

/* What a small page costs is the mean of so many, but of no fewer. */
#define TIMED_MOST  16u
#define TIMED_LEAST 4u

/* So many times 2 MiB later it is looked how much of it was touched, and again until so many later.
 * The next is left to small pages so many after the last, or earlier where that was sparse. */
#define JUDGED_FROM  3u
#define JUDGED_UNTIL 12u
#define SAMPLE_EVERY 64u

/* What is touched, at least, of what is to become huge: so much larger may the process get. */
#define DENSE_PERMILLE 970u

/* A part of the time that passes may be lost: 1/128, with each further loss in a row half of it. */
#define TIME_LOG2   6u
#define LOSSES_MOST 6u

/* What was gained is no reason to lose more than so many times the small pages. */
#define CREDIT_MOST 8

/* Each place where the advice changes is one more mapping, and their number has a limit. */
#define PLACES_MOST 4096u

/* Changed by who has set is_busy; what is shown is read without. */
XS_UNLIKELY_DATA static struct {
    atomic_bool is_busy;
    bool is_dense;
    bool is_over;    /* for good */
    char *sample;    /* 2 MiB in small pages, not judged yet */
    bool is_timed;   /* some of these were */
    unsigned since;  /* so many times 2 MiB since the last sample */
    unsigned pause;  /* until the next one */
    unsigned losses; /* one after the other */
    unsigned places;
    char *last_end; /* of the last that the kernel was told of */
    int64_t credit_ns;
    uint64_t credited_ns; /* the time of that */
    struct xs_huge_stats stats;
} huge;

uint64_t xs_huge_open(bool is_wanted)
{
    /* Huge pages are of this size, and small ones in them are looked at one by one. */
    return is_wanted && xs_mem_page() == XS_SPAN_PAGE ? XS_HUGE_LOOK_FROM : UINT64_MAX;
}

static uint64_t cpu_ns(void)
{
    struct timespec t;

    if (clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t) != 0)
        return 0;
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* The chunk is the caller's: what is there is nobody's yet, and zero where that is known. */
static uint64_t time_touch(char *p, unsigned pages)
{
    uint64_t begun = cpu_ns();

    for (unsigned i = 0; i < pages; i++)
        *(volatile char *)(p + (size_t)i * XS_SPAN_PAGE) = 0;
    return cpu_ns() - begun;
}

static void tell(char *p, bool is_huge)
{
    if (is_huge)
        xs_mem_want_huge(p, XS_MEM_HUGE);
    else
        xs_mem_want_small(p, XS_MEM_HUGE);
}

/* ---- small ones ------------------------------------------------------------------------- */

/* False: it is too small a part. */
static bool sample(char *p, size_t own)
{
    unsigned pages = own / XS_SPAN_PAGE < TIMED_MOST ? (unsigned)(own / XS_SPAN_PAGE) : TIMED_MOST;

    if (pages < TIMED_LEAST)
        return false;
    tell(p, false);
    /* Where the program leaves its memory untouched, no page is touched for the time alone. */
    huge.is_timed = huge.is_dense || huge.stats.small_ns == 0;
    if (huge.is_timed) {
        huge.stats.small_ns = time_touch(p, pages) * PAGES / pages;
        huge.is_over = huge.stats.small_ns == 0; /* there is no such clock */
    }
    huge.sample = p;
    huge.since = 0;
    return true;
}

/* What was handed out last may be still to be touched, so there is time for that. */
static void judge(void)
{
    unsigned touched = xs_mem_resident(huge.sample, XS_MEM_HUGE);

    huge.stats.touched_permille = touched * 1000 / PAGES;
    bool is_dense = huge.stats.touched_permille >= DENSE_PERMILLE;
    if (!is_dense && huge.since < JUDGED_UNTIL)
        return;
    huge.is_dense = is_dense;
    huge.sample = NULL;
    if (is_dense) {
        huge.pause = huge.is_timed ? SAMPLE_EVERY : 0;
        return;
    }
    huge.stats.verdict = XS_HUGE_SPARSE;
    huge.pause = huge.pause < SAMPLE_EVERY ? 2 * huge.pause + JUDGED_UNTIL : SAMPLE_EVERY;
}

/* ---- huge ones -------------------------------------------------------------------------- */

static void earn(void)
{
    uint64_t now = xs_span_now_ns();

    if (huge.credit_ns < 0) {
        huge.credit_ns += (int64_t)((now - huge.credited_ns) >> (TIME_LOG2 + huge.losses));
        if (huge.credit_ns > 0)
            huge.credit_ns = 0;
    }
    huge.credited_ns = now;
}

static void settle(enum xs_huge_verdict verdict, int64_t gained_ns)
{
    int64_t most = CREDIT_MOST * (int64_t)huge.stats.small_ns;

    huge.stats.verdict = verdict;
    huge.credit_ns += gained_ns;
    if (huge.credit_ns > most)
        huge.credit_ns = most;
    if (gained_ns >= 0)
        huge.losses = 0;
    else if (huge.losses < LOSSES_MOST)
        huge.losses++;
}

static void get(char *p)
{
    huge.places += p != huge.last_end;
    if (huge.places >= PLACES_MOST)
        huge.is_over = true;
    tell(p, true);
    uint64_t ns = time_touch(p, 1);
    bool is_huge = xs_mem_resident(p, XS_MEM_HUGE) == PAGES;
    tell(p, false);
    huge.last_end = p + XS_MEM_HUGE;
    if (!is_huge) {
        huge.stats.refused++;
        settle(XS_HUGE_REFUSED, -CREDIT_MOST * (int64_t)huge.stats.small_ns);
        return;
    }
    huge.stats.got++;
    huge.stats.got_ns += ns;
    huge.stats.dear += ns > huge.stats.small_ns;
    settle(ns > huge.stats.small_ns ? XS_HUGE_DEAR : XS_HUGE_CHEAP,
           (int64_t)huge.stats.small_ns - (int64_t)ns);
}

static void enter(char *p, size_t own, bool is_large)
{
    if (xs_supply_keeps(p) || xs_mem_resident(p, XS_MEM_HUGE) != 0)
        return;
    huge.since++;
    if (huge.sample != NULL && huge.since >= JUDGED_FROM)
        judge();
    if (huge.sample == NULL && huge.since >= huge.pause && sample(p, own))
        return;
    earn();
    if (is_large && huge.is_dense && huge.credit_ns >= 0)
        get(p);
}

void xs_huge_enter(char *p, size_t own, bool is_large)
{
    if (xs_is_filtered() || xs_span_in_hurry() || xs_numa_interleaves() ||
        atomic_exchange_explicit(&huge.is_busy, true, memory_order_acquire))
        return;
    int saved = errno;
    if (!huge.is_over)
        enter(p + (-(uintptr_t)p & (XS_MEM_HUGE - 1)), own, is_large);
    errno = saved;
    atomic_store_explicit(&huge.is_busy, false, memory_order_release);
}

void xs_huge_fork_child(void)
{
    /* Whoever was at it is not here. */
    XS_CHANGE_TO(huge.is_busy, false);
}

__attribute__((no_sanitize("thread"))) struct xs_huge_stats xs_huge_stats(void)
{
    return huge.stats;
}
