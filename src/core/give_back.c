/* Free memory goes back to the system: when, and with no lock held.
 *
 * What is on its way is in no bin, so nobody can get it; who finds nothing else waits for it
 * (span.c). One thread at a time gives back. */
#include <errno.h>
#include <string.h>
#include <time.h>

#include "core/huge.h"
#include "core/page_map.h"
#include "core/span_arena.h"
#include "sys/filter.h"
#include "sys/proc.h"

/* Memory is looked through for what has been free long enough at most this often a decay time. */
#define LOOKS_PER_DECAY 4

/* Where most of what went back is wanted again soon, the decay time doubles, up to so many times.
 */
#define PATIENCE_MOST 8

/* Where nothing went back and nothing was wanted again, nothing was learnt: the time is halved
 * after so many such looks, to see whether it is still needed. */
#define QUIET_LOOKS 4

/* Where more lies free than is in use, and more than this, large parts of it go after a fraction of
 * the time: a few pages for each MiB are soon paid for, and peers give such blocks back at once.
 * What is wanted again makes this time longer as well. */
#define LAVISH_FROM  ((uint64_t)32 << 20)
#define LAVISH_LEAST ((size_t)4 << 20)
#define LAVISH_PART  8

/* Where the process grows beyond all that it ever had resident while this much lies free, parts of
 * it that nobody wanted for a small fraction of the time go: they would stay beside what it grows
 * by. Below that peak they cost nothing that was not had before. The peak rises in steps of a part
 * of it, larger ones where what went back is wanted again: so this happens at most 22 times while
 * it doubles. */
#define GROWTH_FROM  ((uint64_t)16 << 20)
#define GROWTH_LEAST ((size_t)1 << 20)
#define GROWTH_STEP  ((uint64_t)4 << 20)
#define GROWTH_SHARE 32
#define GROWTH_PART  32

/* When memory runs short: what is not wanted again so soon goes, and looks are so far apart. A
 * block that comes and goes would else pay for its pages each time. */
#define HURRY_DECAY_NS 20000000u
#define HURRY_LOOK_NS  5000000u

#define TRIM_WAITS     200
#define TRIM_WAIT_NS   100000

XS_BY_HEAD static struct {
    uint64_t patience; /* times the decay time; 0 before the first look */
    uint64_t next_ns;  /* of the patience's own look */
    uint64_t purged;   /* sums at the last one */
    uint64_t refilled;
    unsigned quiet;         /* looks in a row with neither */
    uint64_t next_whole_ns; /* when all is looked through again */
    uint64_t own_most;      /* of ours, used or free */
    uint64_t resident_most; /* of the process, that is known of */
} wants;

uint64_t xs_span_now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

bool xs_span_begin(void)
{
    if (atomic_exchange_explicit(&xs_spans.is_giving, true, memory_order_acquire))
        return false;
    atomic_store_explicit(&xs_spans.giver, (uintptr_t)__builtin_thread_pointer(),
                          memory_order_relaxed);
    return true;
}

void xs_span_end(void)
{
    atomic_store_explicit(&xs_spans.giver, 0, memory_order_relaxed);
    atomic_store_explicit(&xs_spans.is_giving, false, memory_order_release);
}

bool xs_span_is_giver(void)
{
    return atomic_load_explicit(&xs_spans.giver, memory_order_relaxed) ==
           (uintptr_t)__builtin_thread_pointer();
}

bool xs_span_unmap(void *p, size_t size)
{
    /* Out of the map first: once unmapped, the range may be anybody's. */
    (void)xs_page_map_set(p, size, 0);
    if (xs_supply_unmap(p, size) != 0)
        return false;
    atomic_fetch_sub_explicit(&xs_spans.reserved_bytes, size, memory_order_relaxed);
    return true;
}

/* A region that the kernel did not take, as a hole would be one mapping more than a process may
 * have: it is the arena's again, and the memory behind it goes all the same. */
XS_COLD static void take_back(struct xs_span_arena *s, const struct xs_bfc_range *region)
{
    if (!xs_supply_purge(region->p, region->size))
        memset(region->p, 0, region->size); /* for who takes it for fresh */
    xs_lock_take(&s->lock);
    (void)xs_bfc_add_back(&s->bfc, region->p, region->size, xs_span_now_ns());
    xs_lock_give(&s->lock);
}

/* Whole regions dated up to `until`. The caller is the giver, or at the limit. */
static size_t collect(struct xs_span_arena *s, uint64_t until)
{
    struct xs_bfc_range gone[XS_SPAN_OUT];
    size_t bytes = 0;
    bool all_went = true;
    unsigned n;

    do {
        xs_lock_take(&s->lock);
        n = xs_bfc_take_regions(&s->bfc, until, gone, XS_SPAN_OUT);
        xs_lock_give(&s->lock);
        for (unsigned i = 0; i < n; i++) {
            bool went = xs_span_unmap(gone[i].p, gone[i].size);
            if (went)
                bytes += gone[i].size;
            else
                take_back(s, &gone[i]);
            all_went &= went;
        }
    } while (n == XS_SPAN_OUT && all_went);
    return bytes;
}

size_t xs_span_collect(struct xs_span_arena *s)
{
    return collect(s, UINT64_MAX);
}

/* The memory behind free chunks of some `least` bytes dated up to `until`. The caller is the giver.
 */
static size_t purge(struct xs_span_arena *s, size_t least, uint64_t until, uint64_t now)
{
    size_t bytes = 0;
    unsigned n;

    do {
        bool done[XS_SPAN_OUT];
        xs_lock_take(&s->lock);
        n = xs_bfc_take_old(&s->bfc, least, until, s->out, XS_SPAN_OUT);
        s->out_count = n;
        xs_lock_give(&s->lock);
        for (unsigned i = 0; i < n; i++) {
            done[i] = xs_supply_purge(s->out[i].p, s->out[i].size);
            bytes += done[i] ? s->out[i].size : 0;
        }
        xs_lock_take(&s->lock);
        for (unsigned i = 0; i < n; i++)
            xs_bfc_put_back(&s->bfc, s->out[i].chunk, done[i], now + 1);
        s->out_count = 0;
        xs_lock_give(&s->lock);
    } while (n == XS_SPAN_OUT);
    return bytes;
}

void xs_span_give_back(struct xs_span_arena *s)
{
    uint64_t now = xs_span_now_ns();

    if (!xs_span_begin())
        return;
    (void)collect(s, UINT64_MAX);
    (void)purge(s, 0, now, now);
    xs_span_end();
}

void xs_span_make_up(struct xs_span_arena *s, size_t fresh)
{
    xs_lock_take(&s->lock);
    uint64_t dirty = s->bfc.dirty << s->bfc.unit_log2;
    xs_lock_give(&s->lock);
    if (dirty == 0 || dirty > fresh || !xs_span_begin())
        return;
    uint64_t now = xs_span_now_ns();
    (void)purge(s, 0, now, now);
    xs_span_end();
}

/* Of all arenas, one after the other. */
struct sums {
    uint64_t touched_bytes; /* these three as span.h has them */
    uint64_t dirty_bytes;
    uint64_t untouched_bytes;
    uint64_t in_use_bytes;
    uint64_t purged_bytes; /* ever */
    uint64_t refilled_bytes;
};

__attribute__((noinline)) static struct sums add_up(void)
{
    struct sums sum = {0};

    for (unsigned i = 0; i < xs_span_arenas(); i++) {
        const struct xs_bfc *b = &xs_spans.arena[i]->bfc;
        xs_lock_take(&xs_spans.arena[i]->lock);
        sum.touched_bytes += b->dirty << b->unit_log2;
        sum.dirty_bytes += xs_bfc_free_bytes(b) - b->stats.purged_bytes;
        sum.untouched_bytes += xs_bfc_free_bytes(b) - (b->dirty << b->unit_log2);
        sum.in_use_bytes += b->stats.in_use_bytes;
        sum.purged_bytes += b->stats.ever_purged_bytes;
        sum.refilled_bytes += b->stats.refilled_bytes;
        xs_lock_give(&xs_spans.arena[i]->lock);
    }
    return sum;
}

uint64_t xs_span_touched_bytes(void)
{
    return add_up().touched_bytes;
}

uint64_t xs_span_dirty_bytes(void)
{
    return add_up().dirty_bytes;
}

uint64_t xs_span_untouched_bytes(void)
{
    return add_up().untouched_bytes;
}

/* How many times as long free memory is kept: longer while most of what went back is taken again
 * before long, so that a load that swings does not pay for its pages with each swing. `decay` is
 * how long what went back was kept at the least. */
static uint64_t patience(const struct sums *sum, uint64_t now, uint64_t decay)
{
    if (now >= wants.next_ns) {
        uint64_t away = sum->purged_bytes - wants.purged;
        uint64_t again = sum->refilled_bytes - wants.refilled;
        wants.quiet = away == 0 && again == 0 ? wants.quiet + 1 : 0;
        if (again > away / 2 && again != 0 && wants.patience < PATIENCE_MOST)
            wants.patience *= 2;
        else if (again <= away / 4 && wants.patience > 1 && wants.quiet % QUIET_LOOKS == 0)
            wants.patience /= 2;
        wants.purged = sum->purged_bytes;
        wants.refilled = sum->refilled_bytes;
        wants.next_ns = now + 2 * wants.patience * decay;
    }
    return wants.patience;
}

static bool is_lavish(const struct sums *sum)
{
    return sum->touched_bytes > LAVISH_FROM && sum->touched_bytes > sum->in_use_bytes;
}

static bool is_too_much(void)
{
    switch (xs_span_hurry_is()) {
    case XS_HURRY_NONE:
        return false;
    case XS_HURRY_SOON:
        return xs_span_touched_bytes() >
               atomic_load_explicit(&xs_spans.hurried_most, memory_order_relaxed);
    default:
        return true;
    }
}

/* So much more that it counts. */
static uint64_t more_than(uint64_t resident)
{
    uint64_t share = resident / GROWTH_SHARE;

    return resident + (share > GROWTH_STEP ? share : GROWTH_STEP) * wants.patience;
}

/* The process has more resident than ever. The kernel is asked where we have more than ever too,
 * however little: a load that is steady has reached its most, and makes no system calls from then
 * on. What there was while nobody looked only the slow way tells. */
XS_COLD static bool is_grown(const struct sums *sum)
{
    uint64_t own = sum->in_use_bytes + sum->touched_bytes;
    uint64_t most;

    if (own <= wants.own_most || xs_is_filtered())
        return false;
    wants.own_most = own;
    uint64_t resident = xs_proc_rss_now();
    if (resident < more_than(wants.resident_most))
        return false;
    xs_proc_rss(&resident, &most);
    bool is_first = wants.resident_most == 0;
    wants.resident_most = most;
    return !is_first && more_than(resident) > most;
}

XS_COLD static void purge_large(size_t least, uint64_t until, uint64_t now)
{
    for (unsigned i = 0; i < xs_span_arenas(); i++)
        (void)purge(xs_spans.arena[i], least, until, now);
}

/* After the decay time free memory goes, after twice that whole free regions. */
static void look_for_old(uint64_t now)
{
    uint64_t decay = xs_spans.decay_ns;
    uint64_t next = decay / LOOKS_PER_DECAY;
    struct sums sum = add_up();

    if (wants.patience == 0)
        wants.patience = 1;
    if (sum.touched_bytes > GROWTH_FROM && !xs_span_in_hurry()) {
        next = decay / GROWTH_PART;
        if (is_grown(&sum))
            purge_large(GROWTH_LEAST, now - next, now);
        atomic_store_explicit(&xs_spans.next_look_ns, now + next, memory_order_relaxed);
        if (now < wants.next_whole_ns)
            return;
    }
    wants.next_whole_ns = now + decay / LOOKS_PER_DECAY;
    uint64_t of_large = is_lavish(&sum) ? decay / LAVISH_PART : decay;
    uint64_t times = patience(&sum, now, of_large);

    decay *= times;
    of_large *= times;

    if (xs_span_in_hurry()) {
        decay = is_too_much() ? 0 : decay < HURRY_DECAY_NS ? decay : HURRY_DECAY_NS;
        next = next < HURRY_LOOK_NS ? next : HURRY_LOOK_NS;
    }
    atomic_store_explicit(&xs_spans.next_look_ns, now + next, memory_order_relaxed);
    if (now < 2 * decay)
        return;
    for (unsigned i = 0; i < xs_span_arenas(); i++) {
        (void)collect(xs_spans.arena[i], now - 2 * decay);
        (void)purge(xs_spans.arena[i], 0, now - decay, now);
    }
    if (of_large < decay)
        purge_large(LAVISH_LEAST, now - of_large, now);
}

bool xs_span_tick(void)
{
    uint64_t now = xs_span_now_ns();
    int saved = errno;

    bool is_due = now >= atomic_load_explicit(&xs_spans.next_look_ns, memory_order_relaxed);
    if ((!is_due && !is_too_much()) || !xs_span_begin())
        return false;
    look_for_old(now);
    xs_span_end();
    errno = saved;
    return true;
}

size_t xs_span_trim(void)
{
    int saved = errno;
    uint64_t now = xs_span_now_ns();
    size_t bytes = 0;
    bool is_giver = xs_span_begin();

    /* What another thread has out is not here to be given back, so its turn first. */
    for (unsigned i = 0; i < TRIM_WAITS && !is_giver && !xs_span_is_giver(); i++) {
        xs_pause_ns(TRIM_WAIT_NS);
        is_giver = xs_span_begin();
    }
    for (unsigned i = 0; i < xs_span_arenas(); i++) {
        bytes += collect(xs_spans.arena[i], UINT64_MAX);
        if (is_giver)
            bytes += purge(xs_spans.arena[i], 0, now, now);
    }
    if (is_giver)
        xs_span_end();
    errno = saved;
    return bytes;
}

uint64_t xs_span_decay_ns(void)
{
    return xs_spans.decay_ns;
}

void xs_span_hurry(enum xs_hurry hurry, uint64_t most)
{
    atomic_store_explicit(&xs_spans.hurried_most, most, memory_order_relaxed);
    if (hurry == xs_span_hurry_is())
        return;
    atomic_store_explicit(&xs_span_hurries, (uint8_t)hurry, memory_order_relaxed);
    atomic_store_explicit(&xs_spans.next_look_ns, 0, memory_order_relaxed);
}

/* ---- fork ------------------------------------------------------------------------------- */

bool xs_span_is_mine(void)
{
    for (unsigned i = 0; i < xs_span_arenas(); i++)
        if (xs_lock_is_mine(&xs_spans.arena[i]->lock))
            return true;
    return false;
}

void xs_span_fork_prepare(void)
{
    xs_arenas_fork_prepare();
    for (unsigned i = 0; i < xs_span_arenas(); i++) {
        struct xs_span_arena *s = xs_spans.arena[i];
        /* A signal handler may fork while its own thread is in the middle of a call. */
        bool take = !xs_lock_is_mine(&s->lock);
        if (take)
            xs_lock_take(&s->lock);
        s->fork_took_lock = take;
    }
}

void xs_span_fork_parent(void)
{
    for (unsigned i = 0; i < xs_span_arenas(); i++)
        if (xs_spans.arena[i]->fork_took_lock)
            xs_lock_give(&xs_spans.arena[i]->lock);
    xs_arenas_fork_parent();
}

void xs_span_fork_child(void)
{
    xs_arenas_fork_child();
    xs_huge_fork_child();
    for (unsigned i = 0; i < xs_span_arenas(); i++) {
        struct xs_span_arena *s = xs_spans.arena[i];
        /* What another thread had out is still there. */
        for (unsigned k = 0; k < s->out_count && !xs_span_is_giver(); k++)
            xs_bfc_put_back(&s->bfc, s->out[k].chunk, false, xs_span_now_ns());
        if (!xs_span_is_giver())
            XS_CHANGE_TO(s->out_count, 0);
        XS_CHANGE_TO(s->is_growing, false);
        xs_lock_reset(&s->lock);
    }
    if (!xs_span_is_giver() && atomic_load_explicit(&xs_spans.is_giving, memory_order_relaxed))
        xs_span_end();
}
