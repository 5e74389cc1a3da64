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

/* If nobody took the locks for it, what they guard is left alone. */
static void begin_anew(bool with_locks)
{
    xs_record_fork_child(); /* first: until then the parent's counters are ours too */
    if (with_locks) {
        xs_hot_fork_child();
        xs_policy_fork_child(forking.was_threaded);
    }
    xs_stats_fork_child();
    xs_counted_fork_child();
    xs_proc_fork_child();
    xs_finish_fork_child();
    xs_sample_fork_child(with_locks && xs_finish_reports());
    xs_control_fork_child();
    xs_gpu_fork_child();
    xs_keeper_fork_child();
    xs_pressure_fork_child();
    if (xs_finish_reports())
        xs_control_begin();
    else
        xs_latency_switch(XS_LATENCY_OFF); /* nobody reads it */
}

static void fork_child(void)
{
    int saved = errno;

    begin_anew(true);
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

/* ---- ways that call no handlers --------------------------------------------------------- */

bool xs_fork_begin(void)
{
    if (!atomic_load_explicit(&forking.is_watched, memory_order_acquire))
        return false;
    fork_prepare();
    return true;
}

void xs_fork_end_parent(void)
{
    int saved = errno;

    fork_parent();
    errno = saved;
}

/* Of the list of streams, which fork makes free in the child, these ways know nothing. */
void xs_fork_end_child(void)
{
    if (forking.was_threaded && forking.locked_streams)
        (void)call_libc("_IO_list_unlock");
    fork_child();
}

/* What other threads were at in the parent is as it was then, and who needs a lock that they held
 * waits for ever, as with any malloc; but the child counts for itself. Not if it has threads by
 * now, which may be counting. */
void xs_fork_noticed(void)
{
    bool is_alone = __libc_single_threaded;

    if (!is_alone && xs_proc_threads() > 1)
        return;
    if (is_alone)
        XS_CHANGE_TO(forking.was_threaded, false);
    begin_anew(is_alone);
}

/* POSIX promises such a child no malloc, but it has one. */
XS_EXPORT pid_t xs_bare_fork(void) __asm__("_Fork");
pid_t xs_bare_fork(void)
{
    pid_t (*next)(void) = (pid_t(*)(void))(uintptr_t)xs_elf_next("_Fork");

    if (next == NULL) {
        errno = ENOSYS; /* before glibc 2.34 */
        return -1;
    }
    if (!xs_fork_begin())
        return next();
    pid_t pid = next();
    if (pid == 0)
        xs_fork_end_child();
    else
        xs_fork_end_parent();
    return pid;
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
