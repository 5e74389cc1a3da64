#include "preload/fork.h"

#include <errno.h>
#include <stdatomic.h>
#include <sys/single_threaded.h>
#include <unistd.h>

#include "backend/counted.h"
#include "backend/hot.h"
#include "core/heap.h"
#include "core/keeper.h"
#include "core/pressure.h"
#include "gpu/gpu.h"
#include "policy/select.h"
#include "preload/exports.h"
#include "preload/finish.h"
#include "report/control.h"
#include "sample/sample.h"
#include "stats/latency.h"
#include "sys/elf.h"
#include "sys/proc.h"
#include "sys/record.h"

static struct {
    atomic_bool is_watched;
    bool was_threaded;
    bool locked_streams;
} forking;

/* fork takes the lock of the list of streams after its handlers ran, and a thread in fflush(NULL)
 * holds it while it frees: so it has to come before the locks of a back end. It is recursive, and
 * fork itself makes it free in the child. */
static bool call_libc(const char *function)
{
    void (*f)(void) = (void (*)(void))(uintptr_t)xs_elf_libc(function);

    if (f != NULL)
        f();
    return f != NULL;
}

static void fork_prepare(void)
{
    xs_keeper_before_fork();
    if (xs_backend_is_open(XS_OWNER_BFC))
        xs_heap_before_fork();
    XS_CHANGE_TO(forking.was_threaded, !__libc_single_threaded);
    if (!forking.was_threaded)
        return;
    forking.locked_streams = xs_backend_is_open(XS_OWNER_BFC) && call_libc("_IO_list_lock");
    xs_sample_fork_prepare();
    xs_policy_fork_prepare();
}

static void fork_parent(void)
{
    if (!forking.was_threaded)
        return;
    xs_policy_fork_parent();
    xs_sample_fork_parent();
    if (forking.locked_streams)
        (void)call_libc("_IO_list_unlock");
}

static void fork_child(void)
{
    int saved = errno;

    xs_record_fork_child(); /* first: until then the parent's counters are ours too */
    xs_hot_fork_child();
    xs_policy_fork_child(forking.was_threaded);
    xs_stats_fork_child();
    xs_counted_fork_child();
    xs_proc_fork_child();
    xs_finish_fork_child();
    xs_sample_fork_child(xs_finish_reports());
    xs_control_fork_child();
    xs_gpu_fork_child();
    xs_keeper_fork_child();
    xs_pressure_fork_child();
    if (xs_finish_reports())
        xs_control_begin();
    else
        xs_latency_switch(XS_LATENCY_OFF); /* nobody reads it */
    errno = saved;
}

typedef int register_atfork(void (*prepare)(void), void (*parent)(void), void (*child)(void),
                            void *dso);

extern void *__dso_handle XS_HIDDEN;
register_atfork __register_atfork;

static register_atfork *libc_register(void)
{
    return (register_atfork *)(uintptr_t)xs_elf_libc("__register_atfork");
}

void xs_fork_watch(void)
{
    register_atfork *libc = libc_register();

    if (libc != NULL && !atomic_exchange_explicit(&forking.is_watched, true, memory_order_acq_rel))
        (void)libc(fork_prepare, fork_parent, fork_child, &__dso_handle);
}

/* A fork that calls no handlers, so it would leave the child the parent's counters; POSIX promises
 * such a child no malloc, but it has one. Of the list of streams, which fork makes free in the
 * child, it knows nothing. */
XS_EXPORT pid_t xs_bare_fork(void) __asm__("_Fork");
pid_t xs_bare_fork(void)
{
    pid_t (*next)(void) = (pid_t(*)(void))(uintptr_t)xs_elf_next("_Fork");

    if (next == NULL) {
        errno = ENOSYS; /* before glibc 2.34 */
        return -1;
    }
    if (!atomic_load_explicit(&forking.is_watched, memory_order_acquire))
        return next();
    fork_prepare();
    pid_t pid = next();
    if (pid != 0) {
        int saved = errno;
        fork_parent();
        errno = saved;
        return pid;
    }
    if (forking.was_threaded && forking.locked_streams)
        (void)call_libc("_IO_list_unlock");
    fork_child();
    return 0;
}

/* What pthread_atfork of every library calls. Prepare handlers run in the reverse order of their
 * registration, and those of others may wait for threads (a pool that is shut down), which may want
 * the locks that ours takes: so ours is registered before the first of them. */
XS_EXPORT int __register_atfork(void (*prepare)(void), void (*parent)(void), void (*child)(void),
                                void *dso)
{
    register_atfork *libc = libc_register();

    xs_fork_watch();
    return libc != NULL ? libc(prepare, parent, child, dso) : ENOMEM;
}
