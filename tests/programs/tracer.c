/* tracer NAME COMMAND... - runs the command as a debugger of that name does, and ends as it does.
 * Status 77: nothing may be traced here. */
#include <errno.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    int status = 0;

    if (argc < 3 || prctl(PR_SET_NAME, argv[1]) != 0)
        return 2;
    pid_t child = fork();
    if (child == 0) {
        if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0)
            _exit(77);
        execvp(argv[2], argv + 2);
        _exit(127);
    }
    while (waitpid(child, &status, 0) == child && WIFSTOPPED(status)) {
        /* The first stop is the exec's own. */
        int sig = WSTOPSIG(status) == SIGTRAP ? 0 : WSTOPSIG(status);
        if (ptrace(PTRACE_CONT, child, NULL, (void *)(long)sig) != 0)
            return 1;
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
