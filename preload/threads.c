/* pthread_create: a program that is about to have threads may have ours, but it comes first. Where
 * the number of threads is limited (RLIMIT_NPROC, a cgroup's pids.max), ours makes room for its
 * last.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>

#include "core/keeper.h"
#include "preload/lifecycle.h"
#include "sys/elf.h"
#include "sys/lock.h"

/* Ours may be giving memory back, and is counted until the kernel is through with it. */
#define TRIES    200
#define PAUSE_NS 100000u

typedef int create_function(pthread_t *thread, const pthread_attr_t *attributes, void *run(void *),
                            void *arg);

static XS_COLD int create_instead(create_function *next, pthread_t *thread,
                                  const pthread_attr_t *attributes, void *run(void *), void *arg)
{
    int saved = errno;
    int rc = EAGAIN;

    for (int i = 0; i < TRIES && rc == EAGAIN; i++) {
        xs_pause_ns(PAUSE_NS);
        rc = next(thread, attributes, run, arg);
    }
    errno = saved;
    return rc;
}

XS_EXPORT int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *run(void *),
                             void *arg)
{
    static _Atomic(create_function *) found;
    create_function *next = atomic_load_explicit(&found, memory_order_relaxed);

    xs_before_thread();
    if (next == NULL) {
        next = (create_function *)(uintptr_t)xs_elf_next("pthread_create");
        if (next == NULL)
            return ENOSYS;
        atomic_store_explicit(&found, next, memory_order_relaxed);
    }
    int rc = next(thread, attributes, run, arg);
    if (XS_UNLIKELY(rc == EAGAIN && xs_keeper_stop()))
        rc = create_instead(next, thread, attributes, run, arg);
    return rc;
}
