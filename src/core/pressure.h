/* core/pressure.h - memory runs short: the caches give way, and somebody says so.
 *
 * The core asks for a look when it has handed out a part of what was left at the last one, so that
 * the limit is not passed between two looks; with a limit on this process, also now and then.
 * Units:   bytes; shares in 1/1000.
 * Owns:    nothing. Threads: any; one looks at a time.
 * Context: inside malloc, with no lock of the core's held: reads files, unless the program has set
 *          a filter of system calls. Keeps errno. Allocates: never.
 * Errors:  none.
 */
#ifndef XS_CORE_PRESSURE_H
#define XS_CORE_PRESSURE_H

#include <stdatomic.h>
#include <sys/single_threaded.h>

#include "base/compiler.h"

enum xs_pressure_of {
    XS_PRESSURE_MACHINE,
    XS_PRESSURE_CGROUP,
    XS_PRESSURE_LIMIT,
    XS_PRESSURE_NODES, /* those of the machine that the process gets memory from */
    XS_PRESSURE_KINDS
};

struct xs_pressure {
    enum xs_pressure_of of;
    uint64_t limit_bytes;
    uint64_t used_bytes;
    uint64_t wanted_bytes; /* besides, just now */
    unsigned stalled;      /* as in sys/limits.h */
    uint64_t given_bytes;  /* what the caches just gave back */
};

struct xs_pressure_options {
    unsigned warn_permille; /* 0: nothing is looked at */
    /* May be NULL. Says a line; of the second, why an allocation of `size` failed. No lock held. */
    void (*say)(const struct xs_pressure *p);
    void (*say_failure)(size_t size);
};

void xs_pressure_open(const struct xs_pressure_options *options);

struct xs_pressure_stats {
    uint64_t looks;
    uint64_t shrinks; /* the caches gave way */
    uint64_t given_bytes;
    uint64_t warnings;
    uint64_t most_permille;  /* seen used */
    struct xs_pressure last; /* at the last look; limit 0: there was none */
};

void xs_pressure_stats(struct xs_pressure_stats *out);

/* Goes up when caches shall give way: for those that the core does not know. */
extern XS_HIDDEN _Atomic uint32_t xs_pressure_calls;

/* So much more may be handed out until the next look. */
extern XS_HIDDEN _Atomic int64_t xs_pressure_left;

/* What a thread has of that for itself, and how much more it takes each time that it has none: so
 * the line of what is left does not go from processor to processor with each span. */
extern XS_HIDDEN XS_TLS int64_t xs_pressure_drawn;
extern XS_HIDDEN _Atomic int64_t xs_pressure_draw;

/* `size` bytes are about to be used that may not have been before: true if it is time to look. */
XS_INLINE bool xs_pressure_is_due(size_t size)
{
    if (__libc_single_threaded) {
        int64_t left = atomic_load_explicit(&xs_pressure_left, memory_order_relaxed);
        atomic_store_explicit(&xs_pressure_left, left - (int64_t)size, memory_order_relaxed);
        return XS_UNLIKELY(left < (int64_t)size);
    }
    if (xs_pressure_drawn >= (int64_t)size) {
        xs_pressure_drawn -= (int64_t)size;
        return false;
    }
    int64_t draw = (int64_t)size + atomic_load_explicit(&xs_pressure_draw, memory_order_relaxed);
    if (XS_UNLIKELY(atomic_fetch_sub_explicit(&xs_pressure_left, draw, memory_order_relaxed) <
                    draw))
        return true;
    xs_pressure_drawn += draw - (int64_t)size;
    return false;
}

/* What was said to be about to be used had been used already. */
XS_INLINE void xs_pressure_forgive(size_t size)
{
    atomic_fetch_add_explicit(&xs_pressure_left, (int64_t)size, memory_order_relaxed);
}

/* So little is left that looks by the clock are to be frequent. */
extern XS_HIDDEN atomic_bool xs_pressure_near;

XS_INLINE bool xs_pressure_is_near(void)
{
    return atomic_load_explicit(&xs_pressure_near, memory_order_relaxed);
}

/* `size` bytes more are wanted. */
void xs_pressure_look(size_t size);

/* The same if the last look is some time ago and the process has a limit of its own. */
void xs_pressure_poll(void);

/* An allocation failed. */
XS_COLD void xs_pressure_failed(size_t size);
void xs_pressure_fork_child(void);

#endif
