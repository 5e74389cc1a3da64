/* Ways out of the process that run no exit handlers: dash and Python's os._exit take them always.
 */
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "preload/finish.h"
#include "sys/elf.h"

XS_NORETURN static void leave(const char *symbol, int status)
{
    void *next = xs_elf_next(symbol);

    if (next != NULL)
        ((void (*)(int))(uintptr_t)next)(status);
    for (;;)
        syscall(SYS_exit_group, status);
}

/* A vfork child gets here in its parent's memory: xs_finish compares process ids. */
XS_EXPORT XS_NORETURN void _exit(int status)
{
    xs_finish("_exit", status & 0xFF, false);
    leave("_exit", status);
}

XS_EXPORT XS_NORETURN void _Exit(int status)
{
    xs_finish("_exit", status & 0xFF, false);
    leave("_Exit", status);
}

/* abort inside libc (assert, glibc's own checks) does not come through here. */
XS_EXPORT XS_NORETURN void abort(void)
{
    void *next = xs_elf_next("abort");

    xs_finish("abort", -1, false);
    if (next != NULL)
        ((void (*)(void))(uintptr_t)next)();
    __builtin_trap();
}
