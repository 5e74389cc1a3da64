/* sys/thread_end.h - a call at the end of each thread that asks for it, as late as can be.
 *
 * pthread calls the destructors of thread-specific values in rounds; we wait for the last round, so
 * that what other libraries free in theirs still finds the thread's own state.
 * Threads: any. Context: inside malloc: pthread_setspecific may call calloc, so the caller's state
 *          must be complete before it asks. Allocates: never by itself.
 */
#ifndef XS_SYS_THREAD_END_H
#define XS_SYS_THREAD_END_H

#include "base/compiler.h"

#define XS_THREAD_END_MAX 4

/* `call` will run in the calling thread when it ends; each function once a thread, in the order of
 * first use in the process. False: it could not be arranged; ask again later. */
bool xs_thread_end(void (*call)(void));

#endif
