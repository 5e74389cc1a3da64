#include "preload/clone.h"

#include <errno.h>
#include <linux/sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/align.h"
#include "preload/fork.h"
#include "sys/elf.h"

/* A child in its parent's memory is the parent to us; the parent of one that it waits for would
 * hold our locks meanwhile; and with another thread pointer it has no heap of ours. */
static bool is_copy(uint64_t flags)
{
    return (flags & (CLONE_VM | CLONE_VFORK | CLONE_SETTLS)) == 0;
}

/* ---- clone ------------------------------------------------------------------------------ */

int xs_clone_is_copy(int (*run)(void *), void *stack, int flags)
{
    return run != NULL && stack != NULL && is_copy((uint64_t)(unsigned)flags);
}

/* At the bottom of the child's stack, where libc puts as much: that stack may lie over the parent's
 * frames. */
struct begin {
    int (*run)(void *);
    void *arg;
};

static int begin(void *at)
{
    const struct begin b = *(const struct begin *)at;

    xs_fork_end_child();
    return b.run(b.arg);
}

typedef int clone_function(int (*run)(void *), void *stack, int flags, void *arg, ...);

int xs_clone_copy(int (*run)(void *), void *stack, int flags, void *arg, void *parent_id, void *tls,
                  void *child_id)
{
    clone_function *next = (clone_function *)(uintptr_t)xs_elf_next("clone");

    if (next == NULL) {
        errno = ENOSYS;
        return -1;
    }
    if (!xs_fork_begin())
        return next(run, stack, flags, arg, parent_id, tls, child_id);
    struct begin *b = (struct begin *)xs_align_down((uintptr_t)stack, 16) - 1;
    *b = (struct begin){run, arg};
    int pid = next(begin, b, flags, b, parent_id, tls, child_id);
    xs_fork_end_parent();
    return pid;
}

/* ---- syscall ---------------------------------------------------------------------------- */

/* Programs probe for clone3 with pointers that lead nowhere. The kernel looks at the signals before
 * it looks at what to do with them. */
static bool is_readable(const void *at)
{
    int saved = errno;
    bool can = syscall(SYS_rt_sigprocmask, -1, at, NULL, 8) == -1 && errno == EINVAL;

    errno = saved;
    return can;
}

static bool is_copy_3(const struct clone_args *a, long bytes)
{
    return bytes >= CLONE_ARGS_SIZE_VER0 && is_readable(a) && is_readable(&a->stack) &&
           is_copy(a->flags) && a->stack == 0;
}

int xs_clone_is_fork(long number, long a, long b)
{
    switch (number) {
#if defined(SYS_fork)
    case SYS_fork:
        return 1;
#endif
    case SYS_clone: /* flags, stack: on one of its own the child does not return to us */
        return is_copy((uint64_t)a) && b == 0;
    default:
        return is_copy_3((const struct clone_args *)(uintptr_t)a, b); /* SYS_clone3 */
    }
}

typedef long syscall_function(long number, ...);

long xs_clone_by_syscall(long number, long a, long b, long c, long d, long e, long f)
{
    syscall_function *next = (syscall_function *)(uintptr_t)xs_elf_next("syscall");
    bool begun = xs_fork_begin();
    long pid = next(number, a, b, c, d, e, f);

    if (begun && pid == 0)
        xs_fork_end_child();
    else if (begun)
        xs_fork_end_parent();
    return pid;
}
