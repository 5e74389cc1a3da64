#include "core/span_arena.h"

#include <errno.h>
#include <sched.h>

#include "sys/filter.h"
#include "sys/mem.h"
#include "sys/numa.h"

/* Where threads keep waiting for an arena's lock, they spread over further ones. What was theirs in
 * the one that they leave goes back, and as much is touched anew, so they have to have waited for
 * about as long as that takes. A take that finds the lock held adds to what the thread has seen,
 * one that does not takes a part of it away; one that has seen ENOUGH, some 10 ms of waits, goes
 * where fewer such threads are. */
#define SEEN_A_WAIT 16u
#define ENOUGH      (16384 * SEEN_A_WAIT)

/* On a machine of many processors the lock, and the lines of what it guards, come from another one
 * with nearly every take, long before it is often found held: each such take adds the turns that
 * others had since the thread's last, less those of two. In a process that does nothing else, all
 * threads together have lost some ms then. */
#define ENOUGH_SHARED 4096u

/* A thread that has gone elsewhere has memory given back in so many takes, in four steps. */
#define SETTLES 240

/* Where what is free there is so large a part of what is in use. */
#define LEFT_PART 8

XS_HEAD static struct xs_span_arena first_arena;

/* A small process needs no others. */
#define FEW_RECORDS 24u
XS_AT_HEAD static char few_records[FEW_RECORDS * XS_BFC_RECORD_BYTES];

XS_TLS struct xs_arena_thread xs_arena_thread;

XS_BY_HEAD static struct {
    struct xs_bfc_options bfc;
    struct xs_lock opening;
    bool fork_took_lock;
    unsigned stride;         /* the parts, rounded up to a power of two */
    unsigned spread;         /* at most so many arenas a part */
    _Atomic unsigned wanted; /* as many at most are for spreading; 0: not known yet */
} arenas;

/* Threads that have seen waits, or turns, by where they are. */
XS_UNLIKELY_DATA static _Atomic unsigned arena_threads[XS_SPAN_SPREAD];

bool xs_arena_add_records(struct xs_span_arena *s)
{
    void *records = xs_bfc_map_records(NULL, XS_BFC_RECORDS_BYTES);

    if (records == NULL)
        return false;
    xs_lock_take(&s->lock);
    bool used = xs_bfc_add_records(&s->bfc, records);
    xs_lock_give(&s->lock);
    if (!used)
        xs_bfc_unmap_records(NULL, records, XS_BFC_RECORDS_BYTES);
    return used;
}

/* One for each part, with the numbers from `first` on. */
static int open_from(unsigned first)
{
    static const struct xs_bfc_ops ops = {0};
    struct xs_span_arena *more = &first_arena;
    size_t bytes = arenas.stride * sizeof(*more);

    if (first != 0 || arenas.stride != 1)
        more = xs_mem_map(bytes, XS_NO_SHARE);
    if (more == NULL)
        return ENOMEM;
    for (unsigned i = 0; i < arenas.stride; i++) {
        struct xs_span_arena *s = &more[i];
        s->number = first + i;
        int rc = xs_bfc_open(&s->bfc, &arenas.bfc, &ops);
        if (rc == 0 && s->number == 0 && s->bfc.blocks == 0)
            (void)xs_bfc_add_few(&s->bfc, few_records, FEW_RECORDS);
        if (rc == 0 && !xs_spans.is_barred && !xs_arena_add_records(s))
            rc = ENOMEM;
        if (rc != 0) {
            if (more != &first_arena)
                (void)xs_mem_unmap(more, bytes);
            return rc;
        }
        xs_spans.arena[first + i] = s;
    }
    atomic_store_explicit(&xs_spans.arenas, first + arenas.stride, memory_order_release);
    return 0;
}

int xs_arenas_open(const struct xs_span_options *o, const struct xs_bfc_options *bfc)
{
    unsigned bits = 0;

    xs_spans.parts = xs_numa_parts();
    while (1u << bits < xs_spans.parts)
        bits++;
    arenas.stride = 1u << bits;
    xs_span_part_mask = arenas.stride - 1;
    arenas.spread = 1;
    while (arenas.spread < XS_SPAN_SPREAD && arenas.spread * arenas.stride < XS_SPAN_ARENAS) {
        arenas.spread *= 2;
        bits++;
    }
    xs_span_arena_shift = XS_SPAN_CHUNKS_LOG2 - bits;
    if (xs_span_arena_shift > XS_BFC_CHUNKS_LOG2)
        xs_span_arena_shift = XS_BFC_CHUNKS_LOG2;
    arenas.bfc = *bfc;
    arenas.bfc.chunks_max = (uint32_t)1 << xs_span_arena_shift;
    /* What may not grow, or is limited, or was got beforehand, all threads are to have together. */
    bool is_one = !o->allow_growth || o->is_barred || xs_spans.is_limited ||
                  o->reserve_huge_bytes != 0 || o->prefault_bytes != 0;
    atomic_store_explicit(&arenas.wanted, is_one ? 1 : o->arenas_max, memory_order_relaxed);
    return open_from(0);
}

unsigned xs_arenas_open_more(void)
{
    unsigned opened = 0;

    if (!xs_lock_try(&arenas.opening))
        return 0;
    unsigned first = xs_span_arenas();
    if (first < arenas.spread * arenas.stride && arenas.bfc.allow_growth && open_from(first) == 0)
        opened = first;
    xs_lock_give(&arenas.opening);
    return opened;
}

static _Atomic unsigned *threads_at(unsigned first)
{
    return &arena_threads[first / arenas.stride];
}

unsigned xs_arena_leave(void)
{
    struct xs_arena_thread *t = &xs_arena_thread;

    if (t->is_counted)
        atomic_fetch_sub_explicit(threads_at(t->first), 1, memory_order_relaxed);
    t->is_counted = false;
    return t->first;
}

void xs_arena_move_to(unsigned first)
{
    struct xs_arena_thread *t = &xs_arena_thread;

    (void)xs_arena_leave();
    t->first = first;
    t->is_counted = true;
    atomic_fetch_add_explicit(threads_at(first), 1, memory_order_relaxed);
}

void xs_arena_follow(unsigned arena)
{
    /* Unless it has gone somewhere by itself. */
    if (arena != 0 && xs_arena_thread.first == 0)
        xs_arena_move_to(arena);
}

bool xs_arena_move_beyond(void)
{
    unsigned from = xs_arena_thread.first;
    unsigned first = xs_arenas_open_more();

    if (first == 0)
        first = (from + arenas.stride) % xs_span_arenas();
    if (first == from)
        return false;
    xs_arena_move_to(first);
    return true;
}

/* Not at the start, as it takes a system call. */
static unsigned most_arenas(void)
{
    unsigned most = atomic_load_explicit(&arenas.wanted, memory_order_relaxed);
    cpu_set_t may;

    if (most == 0) {
        int saved = errno;
        most = !xs_is_filtered() && sched_getaffinity(0, sizeof(may), &may) == 0
                   ? (unsigned)CPU_COUNT(&may)
                   : XS_SPAN_SPREAD;
        errno = saved;
    }
    if (most > arenas.spread)
        most = arenas.spread;
    atomic_store_explicit(&arenas.wanted, most, memory_order_relaxed);
    return most;
}

/* Where fewest are, if that is better than to stay. */
XS_COLD static void move_on(unsigned from)
{
    unsigned most = most_arenas();
    unsigned best = from / arenas.stride;
    unsigned least = atomic_load_explicit(&arena_threads[best], memory_order_relaxed);

    for (unsigned i = 0; i < most; i++) {
        unsigned n = atomic_load_explicit(&arena_threads[i], memory_order_relaxed) + 1;
        if (n < least) {
            least = n;
            best = i;
        }
    }
    if (best * arenas.stride >= xs_span_arenas() && xs_arenas_open_more() == 0)
        return;
    xs_arena_thread.left = (uint8_t)xs_arena_here()->number;
    xs_arena_thread.settling = SETTLES;
    xs_arena_move_to(best * arenas.stride);
}

/* It is worth to walk through all that is there, as every thread does that leaves. */
static bool is_much_left(struct xs_span_arena *s)
{
    xs_lock_take(&s->lock);
    bool is_much = s->bfc.dirty << s->bfc.unit_log2 >= s->bfc.stats.in_use_bytes / LEFT_PART;
    xs_lock_give(&s->lock);
    return is_much;
}

/* What it had there it frees meanwhile, and nobody else wants it. */
XS_COLD void xs_arena_settle(void)
{
    struct xs_arena_thread *t = &xs_arena_thread;
    struct xs_span_arena *s = xs_spans.arena[t->left];
    int saved = errno;

    if (--t->settling % (SETTLES / 4) == 0 && is_much_left(s))
        xs_span_give_back(s);
    errno = saved;
}

struct xs_span_arena *xs_arena_crowded(struct xs_span_arena *s)
{
    struct xs_arena_thread *t = &xs_arena_thread;

    if (!t->is_counted)
        xs_arena_move_to(t->first);
    t->crowd += SEEN_A_WAIT;
    if (t->crowd < ENOUGH)
        return s;
    t->crowd = 0;
    move_on(t->first);
    return xs_arena_here();
}

static void has_shared(struct xs_arena_thread *t, uint32_t turns)
{
    int saved = errno;

    if (!t->is_counted)
        xs_arena_move_to(t->first);
    t->shared += turns - XS_ARENA_FEW_TURNS;
    if (t->shared >= ENOUGH_SHARED) {
        t->shared = 0;
        move_on(t->first);
    }
    errno = saved;
}

void xs_arena_count_turns(struct xs_arena_thread *t, uint32_t since)
{
    if (since > XS_ARENA_FEW_TURNS) {
        /* No more processors can have had it. */
        unsigned most = most_arenas();
        since = since < most ? since : most;
    }
    if (since > XS_ARENA_FEW_TURNS)
        has_shared(t, since);
    else
        t->shared -=
            XS_ARENA_FEW_TURNS - since < t->shared ? XS_ARENA_FEW_TURNS - since : t->shared;
}

/* ---- fork ------------------------------------------------------------------------------- */

/* Around what is done with each arena: no more are opened meanwhile. */
void xs_arenas_fork_prepare(void)
{
    arenas.fork_took_lock = !xs_lock_is_mine(&arenas.opening);
    if (arenas.fork_took_lock)
        xs_lock_take(&arenas.opening);
}

void xs_arenas_fork_parent(void)
{
    if (arenas.fork_took_lock)
        xs_lock_give(&arenas.opening);
}

void xs_arenas_fork_child(void)
{
    struct xs_arena_thread *t = &xs_arena_thread;

    for (unsigned i = 0; i < XS_SPAN_SPREAD; i++)
        XS_CHANGE_TO(arena_threads[i], t->is_counted && i * arenas.stride == t->first);
    xs_lock_reset(&arenas.opening);
}
