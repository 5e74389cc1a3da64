#include "core/pressure.h"

#include <errno.h>
#include <sys/sysinfo.h>

#include "core/heap.h"
#include "core/supply.h"
#include "sys/filter.h"
#include "sys/limits.h"
#include "sys/mem.h"
#include "sys/proc.h"

/* The next look comes when so much of what was left has been handed out, within bounds. */
#define PART_OF_LEFT 4
#define LEFT_LEAST   ((uint64_t)1 << 20)
#define LEFT_MOST    ((uint64_t)1 << 32)

/* A thread takes so much of that for itself at once, so that the most that threads have taken and
 * not used is little of it; nothing where that would be little. */
#define PART_OF_DRAW 1024
#define DRAW_LEAST   ((uint64_t)64 << 10)

/* Looks by the clock, without a group that has a limit or nodes to keep to, with such, and near to
 * it; and two warnings are so far apart. */
#define POLL_FAR_NS  1000000000u
#define POLL_NS      250000000u
#define POLL_NEAR_NS 10000000u
#define WARN_NS      10000000000u

/* In a cgroup, or nodes, with so little left threads could use it up between two looks. */
#define NEAR_BYTES ((uint64_t)16 << 20)

/* So little left is too little for any cache, whatever share of the limit it is; and so much more
 * has to be there again. */
#define TIGHT_BYTES ((uint64_t)4 << 20)
#define TIGHT_PART  4

/* The state of pressure ends so far below where it began, or at half of that. */
#define BELOW_PERMILLE 50

/* From so much of the way from there to the limit on all that is free goes at once; before that,
 * some of it may stay for a moment: so much of what is left, within a bound. */
#define URGENT_QUARTERS       3
#define BELOW_URGENT_PERMILLE 5
#define KEEP_PART             4
#define KEEP_MOST             ((uint64_t)32 << 20)

/* Waiting for memory so much of the time is pressure too, from half of the limit on. */
#define STALLED_FROM  2000u
#define STALLED_SHARE 500u

_Atomic uint32_t xs_pressure_calls;
atomic_bool xs_pressure_near;
_Atomic int64_t xs_pressure_left = INT64_MAX;
_Atomic int64_t xs_pressure_draw;
XS_TLS int64_t xs_pressure_drawn;

XS_BY_HEAD static struct {
    struct xs_pressure_options options;
    size_t physical_bytes;
    atomic_bool is_looking;
    atomic_bool is_pressed;
    atomic_bool polls;
    _Atomic uint64_t next_poll_ns;
    _Atomic uint64_t next_warning_ns;
    _Atomic uint64_t next_failure_ns;
    _Atomic uint64_t looks;
    _Atomic uint64_t shrinks;
    _Atomic uint64_t given;
    _Atomic uint64_t warnings;
    _Atomic uint64_t most_permille[XS_PRESSURE_KINDS]; /* by what it is of */
    struct xs_pressure last;                           /* by who looks */
} pressure;

void xs_pressure_open(const struct xs_pressure_options *o)
{
    struct sysinfo machine;

    pressure.options = *o;
    pressure.physical_bytes = sysinfo(&machine) == 0 ? machine.totalram * machine.mem_unit : 0;
    /* The first look, which finds the cgroup, comes with the first memory of any size. */
    if (o->warn_permille != 0)
        atomic_store_explicit(&xs_pressure_left, (int64_t)LEFT_LEAST * 4, memory_order_relaxed);
}

static void add(_Atomic uint64_t *to, uint64_t n)
{
    atomic_fetch_add_explicit(to, n, memory_order_relaxed);
}

static uint64_t permille(const struct xs_pressure *p, uint64_t used)
{
    return p->limit_bytes != 0 ? used / ((p->limit_bytes + 999) / 1000) : 0;
}

static uint64_t left_of(const struct xs_pressure *p)
{
    return p->limit_bytes > p->used_bytes ? p->limit_bytes - p->used_bytes : 0;
}

/* A very large block is hardly ever filled. */
static uint64_t share_with(const struct xs_pressure *p, size_t size)
{
    return permille(p, p->used_bytes + (size < p->limit_bytes / 2 ? size : 0));
}

static bool is_stalled(const struct xs_pressure *p)
{
    return p->stalled >= STALLED_FROM && permille(p, p->used_bytes) >= STALLED_SHARE;
}

/* Of the machine, the cgroups and our own limit. */
struct state {
    struct xs_pressure fullest;
    struct xs_pressure stalled;   /* or one that is waited for; limit 0: none */
    uint64_t left_bytes;          /* the least that any of them leaves */
    uint64_t left_confined_bytes; /* of the groups and the nodes */
};

static void consider(struct state *s, const struct xs_pressure *p, size_t size)
{
    uint64_t left = left_of(p);

    if (s->fullest.limit_bytes == 0 || share_with(p, size) > share_with(&s->fullest, size))
        s->fullest = *p;
    if (is_stalled(p) && p->stalled > s->stalled.stalled)
        s->stalled = *p;
    if (left < s->left_bytes)
        s->left_bytes = left;
    if ((p->of == XS_PRESSURE_CGROUP || p->of == XS_PRESSURE_NODES) &&
        left < s->left_confined_bytes)
        s->left_confined_bytes = left;
}

/* What lies free without memory is taken, but not used. */
static uint64_t used_of_ours(const struct xs_supply_stats *own)
{
    uint64_t untouched = xs_span_untouched_bytes();

    return own->charged_bytes > untouched ? own->charged_bytes - untouched : 0;
}

static enum xs_pressure_of kind_of(enum xs_limits_of of)
{
    switch (of) {
    case XS_LIMITS_CGROUP:
        return XS_PRESSURE_CGROUP;
    case XS_LIMITS_NODES:
        return XS_PRESSURE_NODES;
    default:
        return XS_PRESSURE_MACHINE;
    }
}

/* `size` bytes more are wanted. False: no limit is known. */
static bool measure(struct state *s, size_t size)
{
    struct xs_limits l[XS_LIMITS_MOST];
    unsigned n = xs_is_filtered() ? 0 : xs_limits_look(l);
    struct xs_supply_stats own;

    *s = (struct state){.left_bytes = UINT64_MAX, .left_confined_bytes = UINT64_MAX};
    for (unsigned i = 0; i < n; i++) {
        const struct xs_pressure p = {
            .of = kind_of(l[i].of),
            .limit_bytes = l[i].limit_bytes,
            .used_bytes = l[i].used_bytes,
            .stalled = l[i].stalled,
        };
        consider(s, &p, size);
    }
    xs_supply_stats(&own);
    if (own.limit_bytes != 0) {
        const struct xs_pressure p = {
            .of = XS_PRESSURE_LIMIT,
            .limit_bytes = own.limit_bytes,
            .used_bytes = used_of_ours(&own),
        };
        consider(s, &p, size);
    }
    return s->fullest.limit_bytes != 0;
}

/* One warning each time that it gets tight, and not too often. */
static void warn(const struct xs_pressure *p, uint64_t now, bool begins)
{
    if (!begins || now < atomic_load_explicit(&pressure.next_warning_ns, memory_order_relaxed))
        return;
    atomic_store_explicit(&pressure.next_warning_ns, now + WARN_NS, memory_order_relaxed);
    add(&pressure.warnings, 1);
    if (pressure.options.say != NULL)
        pressure.options.say(p);
}

static void shrink(struct xs_pressure *p)
{
    p->given_bytes = xs_heap_trim();
    atomic_fetch_add_explicit(&xs_pressure_calls, 1, memory_order_relaxed);
    add(&pressure.shrinks, 1);
    add(&pressure.given, p->given_bytes);
}

static void note(const struct state *s, uint64_t now)
{
    _Atomic uint64_t *most = &pressure.most_permille[s->fullest.of];
    uint64_t part = s->left_bytes / PART_OF_LEFT;
    uint64_t share = permille(&s->fullest, s->fullest.used_bytes);

    part = part < LEFT_LEAST ? LEFT_LEAST : part > LEFT_MOST ? LEFT_MOST : part;
    uint64_t draw = part / PART_OF_DRAW;
    atomic_store_explicit(&xs_pressure_left, (int64_t)part, memory_order_relaxed);
    XS_CHANGE_TO(xs_pressure_draw, (int64_t)(draw < DRAW_LEAST ? 0 : draw));
    bool is_near = s->left_confined_bytes < NEAR_BYTES;
    uint64_t pause = is_near ? POLL_NEAR_NS : xs_limits_is_confined() ? POLL_NS : POLL_FAR_NS;
    atomic_store_explicit(&xs_pressure_near, is_near, memory_order_relaxed);
    atomic_store_explicit(&pressure.next_poll_ns, now + pause, memory_order_relaxed);
    atomic_store_explicit(&pressure.polls, true, memory_order_relaxed);
    add(&pressure.looks, 1);
    if (share > atomic_load_explicit(most, memory_order_relaxed))
        atomic_store_explicit(most, share, memory_order_relaxed);
}

static bool is_tight(const struct state *s, size_t size, bool was_tight)
{
    uint64_t from = TIGHT_BYTES + (was_tight ? TIGHT_BYTES / TIGHT_PART : 0);
    uint64_t left = s->left_confined_bytes;

    return left < from || left - from < size;
}

/* With `size` bytes more, which make `share` of the limit. */
static bool is_urgent(const struct state *s, size_t size, uint64_t share, enum xs_hurry was)
{
    unsigned warn = pressure.options.warn_permille;
    unsigned from = warn + (1000 - warn) / 4 * URGENT_QUARTERS;

    if (was == XS_HURRY_NOW)
        from -= BELOW_URGENT_PERMILLE;
    return share >= from || is_tight(s, size, was == XS_HURRY_NOW);
}

static uint64_t may_keep(uint64_t left, size_t size)
{
    uint64_t keep = left > size ? (left - size) / KEEP_PART : 0;

    return keep < KEEP_MOST ? keep : KEEP_MOST;
}

/* For all that the limits that are looked at say. */
static void leave_much(void)
{
    atomic_store_explicit(&xs_pressure_left, INT64_MAX, memory_order_relaxed);
    atomic_store_explicit(&xs_pressure_draw, (int64_t)(LEFT_MOST / PART_OF_DRAW),
                          memory_order_relaxed);
}

static void look(size_t size)
{
    uint64_t now = xs_proc_now_ns();
    bool was_pressed = atomic_load_explicit(&pressure.is_pressed, memory_order_relaxed);
    struct state s;

    if (!measure(&s, size)) {
        leave_much();
        return;
    }
    note(&s, now);
    unsigned warn_from = pressure.options.warn_permille;
    unsigned below = warn_from / 2 < BELOW_PERMILLE ? warn_from / 2 : BELOW_PERMILLE;
    uint64_t from = warn_from - (was_pressed ? below : 0);
    uint64_t share = share_with(&s.fullest, size);
    uint64_t want = size < s.fullest.limit_bytes / 2 ? size : 0;
    bool is_full = share >= from;
    bool is_pressed = is_full || s.stalled.limit_bytes != 0;
    struct xs_pressure p = is_full || !is_pressed ? s.fullest : s.stalled;
    p.wanted_bytes = size;
    enum xs_hurry was = xs_span_hurry_is();
    enum xs_hurry hurry = is_urgent(&s, want, share, was) ? XS_HURRY_NOW
                          : is_pressed                    ? XS_HURRY_SOON
                                                          : XS_HURRY_NONE;
    /* Or as much of what was left has been handed out anew as to be looked at. */
    if (hurry == XS_HURRY_NOW || (is_pressed && (size != 0 || was == XS_HURRY_NONE)))
        shrink(&p);
    atomic_store_explicit(&pressure.is_pressed, is_pressed, memory_order_relaxed);
    xs_span_hurry(hurry, hurry == XS_HURRY_SOON ? may_keep(s.left_bytes, want) : 0);
    pressure.last = p;
    warn(&p, now, is_pressed && !was_pressed);
}

void xs_pressure_look(size_t size)
{
    int saved = errno;

    if (pressure.options.warn_permille == 0) {
        leave_much();
        return;
    }
    if (atomic_exchange_explicit(&pressure.is_looking, true, memory_order_acquire))
        return;
    look(size);
    atomic_store_explicit(&pressure.is_looking, false, memory_order_release);
    errno = saved;
}

void xs_pressure_poll(void)
{
    if (atomic_load_explicit(&pressure.polls, memory_order_relaxed) &&
        xs_proc_now_ns() >= atomic_load_explicit(&pressure.next_poll_ns, memory_order_relaxed))
        xs_pressure_look(0);
}

/* A size that no machine could give is a question, not a need. */
void xs_pressure_failed(size_t size)
{
    int saved = errno;

    /* Programs ask such questions by the million, and a look at the memory is a system call. */
    if (pressure.options.say_failure == NULL || size > pressure.physical_bytes)
        return;
    uint64_t now = xs_proc_now_ns();
    if (now >= atomic_load_explicit(&pressure.next_failure_ns, memory_order_relaxed)) {
        atomic_store_explicit(&pressure.next_failure_ns, now + WARN_NS, memory_order_relaxed);
        pressure.options.say_failure(size);
    }
    errno = saved;
}

void xs_pressure_fork_child(void)
{
    XS_CHANGE_TO(pressure.is_looking, false);
    xs_limits_fork_child();
}

void xs_pressure_stats(struct xs_pressure_stats *out)
{
    *out = (struct xs_pressure_stats){
        .looks = atomic_load_explicit(&pressure.looks, memory_order_relaxed),
        .shrinks = atomic_load_explicit(&pressure.shrinks, memory_order_relaxed),
        .given_bytes = atomic_load_explicit(&pressure.given, memory_order_relaxed),
        .warnings = atomic_load_explicit(&pressure.warnings, memory_order_relaxed),
        .last = pressure.last,
    };
    out->most_permille =
        atomic_load_explicit(&pressure.most_permille[out->last.of], memory_order_relaxed);
}
