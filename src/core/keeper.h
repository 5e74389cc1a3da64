/* core/keeper.h - the one thread of ours: it gives memory back while the program's threads sleep.
 *
 * A process without threads has none; memory then goes back when the program calls. In one with
 * threads it is there from before the first of them, sleeps without an end while there is nothing
 * to give back, else wakes once a decay time. It empties the caches of threads that did nothing
 * since its last visit, too.
 * Units:   none. Owns: one thread, all signals blocked.
 * Threads: any. Context: xs_keeper_start where the program makes a thread, not inside malloc: it
 *          allocates what any thread needs. The rest: inside malloc.
 * Errors:  without it memory goes back when the program calls.
 */
#ifndef XS_CORE_KEEPER_H
#define XS_CORE_KEEPER_H

#include <stdatomic.h>

#include "base/compiler.h"

enum { XS_KEEPER_NONE, XS_KEEPER_AWAKE, XS_KEEPER_ASLEEP, XS_KEEPER_LEAVING, XS_KEEPER_ENDED };

extern XS_HIDDEN _Atomic uint32_t xs_keeper_state;

/* There is one, or there will be none. */
XS_INLINE bool xs_keeper_is_settled(void)
{
    return atomic_load_explicit(&xs_keeper_state, memory_order_relaxed) != XS_KEEPER_NONE;
}

/* Its thread visits those that sleep. */
bool xs_keeper_may_visit(void);

void xs_keeper_start(void);

/* For good: the process shall have no thread of ours. True: it had one, which leaves. */
bool xs_keeper_stop(void);

/* Before a filter of system calls is set that is for all threads (sys/filter.h): returns when the
 * thread is through with what it was at, its own start for one. Waits, not long. */
void xs_keeper_filtered(void);

/* Where it is the only other thread it leaves, until the program makes one: who looks at a fork
 * whether there are threads (Python 3.12 does, and warns) sees the program's own. Waits, not long.
 */
void xs_keeper_before_fork(void);
void xs_keeper_fork_child(void);

XS_COLD void xs_keeper_wake(void);

/* There is something to give back. */
XS_INLINE void xs_keeper_poke(void)
{
    if (XS_UNLIKELY(atomic_load_explicit(&xs_keeper_state, memory_order_relaxed) ==
                    XS_KEEPER_ASLEEP))
        xs_keeper_wake();
}

#endif
