#include "sys/lock.h"

#include <errno.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define SPINS 100

XS_FORKED struct xs_lock_waits *xs_lock_waits;

void xs_lock_waited(enum xs_lock_kind kind, uint64_t began_ticks)
{
    struct xs_lock_waits *w = __atomic_load_n(&xs_lock_waits, __ATOMIC_RELAXED);
    uint64_t now = xs_lock_ticks();

    if (w == NULL)
        return;
    /* Two processors' clocks may differ a little. */
    uint64_t ticks = now > began_ticks ? now - began_ticks : 0;
    uint64_t max = __atomic_load_n(&w[kind].max_ticks, __ATOMIC_RELAXED);
    (void)__atomic_fetch_add(&w[kind].count, 1, __ATOMIC_RELAXED);
    (void)__atomic_fetch_add(&w[kind].ticks, ticks, __ATOMIC_RELAXED);
    while (ticks > max && !__atomic_compare_exchange_n(&w[kind].max_ticks, &max, ticks, true,
                                                       __ATOMIC_RELAXED, __ATOMIC_RELAXED))
        ;
}

static bool spin(struct xs_lock *l)
{
    for (int i = 0; i < SPINS; i++) {
        uint32_t free = 0;
        if (atomic_load_explicit(&l->state, memory_order_relaxed) == 0 &&
            atomic_compare_exchange_strong_explicit(&l->state, &free, 1, memory_order_acquire,
                                                    memory_order_relaxed))
            return true;
#if defined(__x86_64__)
        __builtin_ia32_pause();
#endif
    }
    return false;
}

XS_COLD void xs_lock_wait(struct xs_lock *l)
{
    int saved = errno;
    uint64_t began = xs_lock_ticks();

    if (!spin(l))
        while (atomic_exchange_explicit(&l->state, 2, memory_order_acquire) != 0)
            syscall(SYS_futex, &l->state, FUTEX_WAIT_PRIVATE, 2, NULL, NULL, 0);
    xs_lock_waited(l->kind, began);
    errno = saved;
}

XS_COLD void xs_lock_wake(struct xs_lock *l)
{
    int saved = errno;

    syscall(SYS_futex, &l->state, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
    errno = saved;
}

void xs_pause_ns(uint64_t ns)
{
    static uint32_t never;
    const struct timespec t = {(time_t)(ns / 1000000000u), (long)(ns % 1000000000u)};

    syscall(SYS_futex, &never, FUTEX_WAIT_PRIVATE, 0, &t, NULL, 0);
}
