/* fork_signal.c - a signal handler forks while the main loop is inside malloc and free.
 *
 * fork is on the list of functions that a handler may call; an allocator whose fork handler waits
 * for a lock that the interrupted malloc holds never returns. Another process sends the signals.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum { FORKS = 300 };

static volatile sig_atomic_t forks;
static volatile sig_atomic_t bad;

static void on_signal(int number)
{
    (void)number;
    int saved = errno;
    pid_t pid = fork();
    if (pid == 0)
        _exit(7);
    int status = 0;
    if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status) ||
        WEXITSTATUS(status) != 7)
        bad = 1;
    forks++;
    errno = saved;
}

int main(void)
{
    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGUSR1, &action, NULL);
    pid_t parent = getpid();
    pid_t sender = fork();
    if (sender < 0)
        return 2;
    if (sender == 0) {
        while (kill(parent, SIGUSR1) == 0 && getppid() == parent)
            usleep(200);
        _exit(0);
    }
    enum { BLOCKS = 64 };
    static void *block[BLOCKS];
    unsigned random = 1;
    while (forks < FORKS && !bad) {
        for (int i = 0; i < 1000; i++) {
            random = random * 1664525u + 1013904223u;
            unsigned r = random >> 8;
            free(block[r % BLOCKS]);
            block[r % BLOCKS] = malloc(r % 40 == 0 ? 200000 + r % 100000 : r % 2000);
            if (block[r % BLOCKS] == NULL)
                bad = 1;
        }
    }
    kill(sender, SIGKILL);
    waitpid(sender, NULL, 0);
    puts(bad ? "failed" : "done");
    return bad;
}
