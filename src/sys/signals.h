/* sys/signals.h - the calling thread's signals, held back for a moment.
 *
 * Not by pthread_sigmask, which takes the C library's own two out of every set: a mask put back by
 * it lets the first of them through where it was blocked, and in the C library's thread for timers
 * (SIGEV_THREAD), which waits for it with sigwaitinfo, it would end the process.
 *
 * Threads: any. Context: any. Allocates: never. Errors: none.
 */
#ifndef XS_SYS_SIGNALS_H
#define XS_SYS_SIGNALS_H

#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/compiler.h"

/* By it setuid and its kin reach all threads, and wait for each: a thread that is made meanwhile
 * inherits the mask, and must have it through. */
#define XS_SIGNAL_SETXID 33

/* As the kernel has it: a bit for each. */
typedef uint64_t xs_signals;

XS_INLINE void xs_signals_put_back(const xs_signals *before)
{
    (void)syscall(SYS_rt_sigprocmask, SIG_SETMASK, before, NULL, sizeof(*before));
}

XS_INLINE void xs_signals_hold(xs_signals *before)
{
    xs_signals most = ~((xs_signals)1 << (XS_SIGNAL_SETXID - 1));

    (void)syscall(SYS_rt_sigprocmask, SIG_SETMASK, &most, before, sizeof(most));
}

#endif
