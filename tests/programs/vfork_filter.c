/* vfork_filter.c prctl|seccomp - a child of vfork puts a filter of system calls over itself, and
 * ends; its parent, which has none, goes on. */
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    struct sock_filter all = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    const struct sock_fprog program = {1, &all};
    int by_prctl = argc > 1 && strcmp(argv[1], "prctl") == 0;
    int status;

    free(malloc(100));
    pid_t pid = vfork();
    if (pid == 0) {
        if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
            (by_prctl ? prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program)
                      : syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program)) != 0)
            _exit(100);
        execl("/bin/sh", "sh", "-c", "exit 7", NULL);
        _exit(101);
    }
    if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
        return 102;
    if (WEXITSTATUS(status) != 7)
        return WEXITSTATUS(status);
    free(malloc(200));
    puts("done");
    return 3;
}
