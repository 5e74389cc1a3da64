/* sys/lock.h - a lock that needs no set-up and no pthread, and costs no bus cycle while the process
 * has one thread.
 * Threads: any. Context: inside malloc; not recursive. Allocates: never.
 * Errors:  none; waits as long as it takes.
 * Source:  the three-state futex lock of Drepper's "Futexes Are Tricky".
 */
#ifndef XS_SYS_LOCK_H
#define XS_SYS_LOCK_H

#include <stdatomic.h>
#include <sys/single_threaded.h>

#include "base/compiler.h"

/* Whose waits it counts among: zero, so that most locks need not say. */
enum xs_lock_kind { XS_LOCK_CPU, XS_LOCK_GPU, XS_LOCK_KINDS };

struct xs_lock {
    _Atomic uint32_t state; /* 0 free, 1 held, 2 held and waited for */
    enum xs_lock_kind kind;
    _Atomic uintptr_t holder; /* its thread pointer, 0 while free */
};

/* In ticks of the processor's clock: libc's clock, which programs hook, is not to be called when
 * the lock has been got. */
struct xs_lock_waits {
    uint64_t count; /* of times that a lock was held by another thread */
    uint64_t ticks; /* until it was not */
    uint64_t max_ticks;
};

/* An element a kind, where waits are counted; NULL: nowhere. */
extern XS_HIDDEN struct xs_lock_waits *xs_lock_waits;

XS_INLINE uint64_t xs_lock_ticks(void)
{
#if defined(__x86_64__)
    return __builtin_ia32_rdtsc();
#else
    uint64_t ticks;
    __asm__ volatile("mrs %0, cntvct_el0" : "=r"(ticks));
    return ticks;
#endif
}

/* A wait of the kind is over. */
void xs_lock_waited(enum xs_lock_kind kind, uint64_t began_ticks);

void xs_lock_wait(struct xs_lock *l);
void xs_lock_wake(struct xs_lock *l);

/* Sleeps about so long. Not nanosleep, which is a point of cancellation; errno may change. */
void xs_pause_ns(uint64_t ns);

XS_INLINE void xs_lock_take(struct xs_lock *l)
{
    uint32_t free = 0;

    /* Who holds it makes no thread, so both ends see the same answer. */
    if (__libc_single_threaded)
        atomic_store_explicit(&l->state, 1, memory_order_relaxed);
    else if (XS_UNLIKELY(!atomic_compare_exchange_strong_explicit(
                 &l->state, &free, 1, memory_order_acquire, memory_order_relaxed)))
        xs_lock_wait(l);
    atomic_store_explicit(&l->holder, (uintptr_t)__builtin_thread_pointer(), memory_order_relaxed);
}

/* False: held by somebody, perhaps by the code that the caller interrupted. */
XS_INLINE bool xs_lock_try(struct xs_lock *l)
{
    uint32_t free = 0;

    if (!atomic_compare_exchange_strong_explicit(&l->state, &free, 1, memory_order_acquire,
                                                 memory_order_relaxed))
        return false;
    atomic_store_explicit(&l->holder, (uintptr_t)__builtin_thread_pointer(), memory_order_relaxed);
    return true;
}

XS_INLINE void xs_lock_give(struct xs_lock *l)
{
    atomic_store_explicit(&l->holder, 0, memory_order_relaxed);
    if (__libc_single_threaded)
        atomic_store_explicit(&l->state, 0, memory_order_relaxed);
    else if (XS_UNLIKELY(atomic_exchange_explicit(&l->state, 0, memory_order_release) == 2))
        xs_lock_wake(l);
}

/* By whomever, at this moment. */
XS_INLINE bool xs_lock_is_held(struct xs_lock *l)
{
    return atomic_load_explicit(&l->state, memory_order_relaxed) != 0;
}

/* The caller itself holds it: it is a signal handler that interrupted the holder. */
XS_INLINE bool xs_lock_is_mine(struct xs_lock *l)
{
    return atomic_load_explicit(&l->holder, memory_order_relaxed) ==
           (uintptr_t)__builtin_thread_pointer();
}

/* In the child of a fork, whose one thread is not in the middle of what the lock guards. */
XS_INLINE void xs_lock_reset(struct xs_lock *l)
{
    XS_CHANGE_TO(l->holder, 0);
    XS_CHANGE_TO(l->state, 0);
}

#endif
