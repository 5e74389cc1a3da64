/* fork_counts.c - three times over: a thread comes and goes, and then a fork. Prints each time how
 * many threads the kernel counts after the fork, in the parent and in the child. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static int threads(void)
{
    struct stat st;
    return stat("/proc/self/task", &st) == 0 ? (int)st.st_nlink - 2 : -1;
}

static void *work(void *arg)
{
    for (size_t i = 0; i < 1000; i++)
        free(malloc(i * 50));
    return arg;
}

int main(void)
{
    setbuf(stdout, NULL); /* valgrind writes out at _exit what a child has inherited */
    for (int i = 0; i < 3; i++) {
        pthread_t t;
        if (pthread_create(&t, NULL, work, NULL) != 0 || pthread_join(t, NULL) != 0)
            return 2;
        usleep(50000); /* joined before the kernel has done with it */
        pid_t pid = fork();
        if (pid == 0)
            _exit(threads());
        int here = threads();
        int status = 0;
        if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
            return 2;
        printf("%d %d\n", here, WEXITSTATUS(status));
    }
    return 0;
}
