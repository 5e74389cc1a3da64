#include "sys/thread_end.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>

static _Atomic(void (*)(void)) calls[XS_THREAD_END_MAX];
static pthread_key_t key;
/* volatile: pthread_setspecific is declared as never calling back, and it does, through calloc. */
static XS_TLS volatile bool is_set;

static void thread_ends(void *round)
{
    uintptr_t done = (uintptr_t)round;

    if (done < PTHREAD_DESTRUCTOR_ITERATIONS &&
        pthread_setspecific(key, (void *)(done + 1)) == 0) // NOLINT(performance-no-int-to-ptr)
        return;
    for (unsigned i = 0; i < XS_THREAD_END_MAX; i++) {
        void (*call)(void) = atomic_load_explicit(&calls[i], memory_order_acquire);
        if (call != NULL)
            call();
    }
}

/* By the first thread that asks, wherever in the start of the process that is. */
static bool have_key(void)
{
    enum { NO_KEY, KEY_COMING, KEY };
    static _Atomic int state;
    int expected = NO_KEY;

    if (atomic_load_explicit(&state, memory_order_acquire) == KEY)
        return true;
    if (!atomic_compare_exchange_strong_explicit(&state, &expected, KEY_COMING,
                                                 memory_order_acquire, memory_order_relaxed))
        return false;
    int rc = pthread_key_create(&key, thread_ends);
    atomic_store_explicit(&state, rc == 0 ? KEY : NO_KEY, memory_order_release);
    return rc == 0;
}

static bool have_call(void (*call)(void))
{
    for (unsigned i = 0; i < XS_THREAD_END_MAX; i++) {
        void (*there)(void) = NULL;
        if (atomic_compare_exchange_strong_explicit(&calls[i], &there, call, memory_order_acq_rel,
                                                    memory_order_acquire) ||
            there == call)
            return true;
    }
    return false;
}

bool xs_thread_end(void (*call)(void))
{
    int saved = errno;

    if (!have_call(call) || !have_key())
        return false;
    if (!is_set) {
        is_set = true; /* first: setspecific may call us again through calloc */
        is_set = pthread_setspecific(key, (void *)1) == 0;
    }
    errno = saved;
    return is_set;
}
