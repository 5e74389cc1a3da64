/* thread_end.c - in place of sys/thread_end.c under the thread sanitizer: that one calls in the
 * last round of destructors, where the sanitizer has ended its own part of the thread. So here in
 * the first. */
#ifdef __SANITIZE_THREAD__
#include "sys/thread_end.h"

#include <pthread.h>
#include <stdatomic.h>

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t key;
static void (*_Atomic calls[XS_THREAD_END_MAX])(void);

static void end(void *unused)
{
    (void)unused;
    for (unsigned i = 0; i < XS_THREAD_END_MAX; i++) {
        void (*call)(void) = atomic_load(&calls[i]);
        if (call != NULL)
            call();
    }
}

static void make_key(void)
{
    pthread_key_create(&key, end);
}

bool xs_thread_end(void (*call)(void))
{
    pthread_once(&once, make_key);
    for (unsigned i = 0; i < XS_THREAD_END_MAX; i++) {
        void (*there)(void) = NULL;
        if (atomic_compare_exchange_strong(&calls[i], &there, call) || there == call)
            return pthread_setspecific(key, (void *)1) == 0;
    }
    return false;
}
#endif
