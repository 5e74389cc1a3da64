/* core/span_arena.h - what core/span.c, core/arena.c and core/give_back.c share of core/span.h.
 * Threads: an arena's `bfc` under its lock; the rest as said. Everything else as core/span.h.
 */
#ifndef XS_CORE_SPAN_ARENA_H
#define XS_CORE_SPAN_ARENA_H

#include <stdatomic.h>

#include "core/span.h"
#include "sys/lock.h"

/* Ranges that are on their way to the system at one time. */
#define XS_SPAN_OUT 32

/* Of all parts; each has so many, or fewer where there are many parts. */
#define XS_SPAN_ARENAS 64
#define XS_SPAN_SPREAD 64

/* Memory with a BFC and a lock of its own. */
struct xs_span_arena {
    _Alignas(XS_NO_SHARE) struct xs_lock lock;
    atomic_bool is_growing;
    bool fork_took_lock;
    unsigned number;
    unsigned out_count;
    uint64_t told_bytes; /* of those in use: xs_spans.told_bytes has them */
    unsigned untold;     /* changes since that was so */
    uintptr_t taker;     /* who took last: its thread pointer */
    uint32_t turns;      /* takes by another one than the last */
    struct xs_bfc bfc;
    /* Under the lock: a child puts back what the giver had out. */
    struct xs_bfc_range out[XS_SPAN_OUT];
};

/* An arena's bytes in use are told of when they are so many more; when they are so many less only
 * after so many changes, or if it is more than half. So where they swing the sum has the most there
 * was of late, and its line does not go from processor to processor with each change. */
#define XS_SPAN_TELL       ((int64_t)256 << 10)
#define XS_SPAN_TELL_LATER 64u

struct xs_span_state {
    _Atomic unsigned arenas; /* that are open: the first ones */
    unsigned parts;
    uint64_t decay_ns;
    uint64_t limit_bytes; /* of all arenas */
    uint64_t huge_from;   /* of xs_huge_open */
    bool is_limited;
    bool is_barred;
    atomic_bool is_giving;
    _Atomic uintptr_t giver; /* its thread pointer */
    _Atomic uint64_t next_look_ns;
    _Atomic uint64_t hurried_most;   /* of xs_span_hurry */
    _Atomic uint64_t reserved_bytes; /* of all arenas */
    _Atomic uint64_t reserved_peak_bytes;
    _Atomic uint64_t told_bytes; /* in use in all arenas, but for what XS_SPAN_TELL leaves out */
    _Atomic uint64_t told_peak_bytes;
    /* By number, whose lowest bits are the part. */
    struct xs_span_arena *arena[XS_SPAN_ARENAS];
};

extern XS_HIDDEN struct xs_span_state xs_spans;

XS_INLINE unsigned xs_span_arenas(void)
{
    return atomic_load_explicit(&xs_spans.arenas, memory_order_acquire);
}

XS_INLINE unsigned xs_span_part_of_arena(const struct xs_span_arena *s)
{
    return s->number & xs_span_part_mask;
}

/* The first ones, one for each part; an errno. */
int xs_arenas_open(const struct xs_span_options *options, const struct xs_bfc_options *bfc);

/* Further ones, one for each part, with the number of the first of them; 0: there are none. */
unsigned xs_arenas_open_more(void);

struct xs_arena_thread {
    unsigned first;   /* the number of its arena of part 0 */
    unsigned crowd;   /* how often it found the lock held by others */
    unsigned shared;  /* how much of its arena went from processor to processor */
    uint32_t turns;   /* of the arena, at its last take; 0: there was none */
    bool is_counted;  /* among those that found it so */
    uint8_t settling; /* so many takes more until it has settled where it went */
    uint8_t left;     /* the arena that it came from then */
};
extern XS_HIDDEN XS_TLS struct xs_arena_thread xs_arena_thread;

/* For takes of the calling thread. */
XS_INLINE struct xs_span_arena *xs_arena_here(void)
{
    return xs_spans.arena[xs_arena_thread.first + xs_numa_here()];
}

/* The thread found it held by another one: where it goes from here. */
struct xs_span_arena *xs_arena_crowded(struct xs_span_arena *s);

void xs_arena_settle(void);

/* The thread took something, so many turns after its last. */
XS_COLD void xs_arena_count_turns(struct xs_arena_thread *t, uint32_t since);

/* Two processors that use an arena by turns make two. */
#define XS_ARENA_FEW_TURNS 2u

/* Under the arena's lock, of a take: its turns. */
XS_INLINE uint32_t xs_arena_turn(struct xs_span_arena *s)
{
    uintptr_t me = (uintptr_t)__builtin_thread_pointer();

    if (s->taker != me) {
        s->taker = me;
        s->turns++;
    }
    return s->turns;
}

/* After the take. */
XS_INLINE void xs_arena_took(uint32_t turns)
{
    struct xs_arena_thread *t = &xs_arena_thread;
    uint32_t before = t->turns;

    t->turns = turns;
    if (XS_UNLIKELY(turns - before > XS_ARENA_FEW_TURNS || t->shared != 0) && before != 0)
        xs_arena_count_turns(t, turns - before);
}

XS_INLINE void xs_arena_calm(void)
{
    if (XS_UNLIKELY(xs_arena_thread.crowd != 0))
        xs_arena_thread.crowd--;
    if (XS_UNLIKELY(xs_arena_thread.settling != 0))
        xs_arena_settle();
}

/* The thread is served from the arenas that begin with this number from now on. */
void xs_arena_move_to(unsigned first);

/* To arenas that were never used, else to the next ones; false: there are no others. */
bool xs_arena_move_beyond(void);

bool xs_arena_add_records(struct xs_span_arena *s);

void xs_arenas_fork_prepare(void);
void xs_arenas_fork_parent(void);
void xs_arenas_fork_child(void);

uint64_t xs_span_now_ns(void);

/* A region goes back, with no lock held; false: the kernel did not take it. */
bool xs_span_unmap(void *p, size_t size);

/* All that is free in it goes back now, unless another thread is at this. */
void xs_span_give_back(struct xs_span_arena *s);

/* The same for memory, not regions, where it is no more than `fresh` bytes. */
void xs_span_make_up(struct xs_span_arena *s, size_t fresh);

/* Whole free regions go back, however young; the bytes. */
size_t xs_span_collect(struct xs_span_arena *s);

#endif
