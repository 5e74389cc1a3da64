/* fork_many.c FORKS [SECONDS [PATIENCE]] - three threads fork FORKS times in all, or as often as
 * SECONDS allow, while two others allocate and free, their blocks crossing threads. The children
 * allocate, free what was the parent's, print, fork, exec this program again, and end by _exit or
 * exit. Each child has a watchdog of PATIENCE seconds (120), and every one is waited for: prints
 * how many were forked, how many of them ended well, were hung and ended otherwise. Status 0 if all
 * ended well. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/programs/fork_work.h"

enum { SLOTS = 64, AT_ONCE = 4, FORKERS = 3, NOISY = 2 };

extern char **environ;
static const char *self;
static unsigned patience_s = 120;
static atomic_int stop;
static atomic_long left, forked, well, hung, otherwise;
static _Atomic(char *) slot[SLOTS];
static FILE *null;

static void watchdog(void)
{
    signal(SIGALRM, SIG_DFL);
    alarm(patience_s);
}

static void exchange(unsigned *random)
{
    unsigned r = step(random);

    put_in(&slot[r / 64 % SLOTS], r % 50 == 0 ? 100000 + r % 300000 : 1 + r % 3000, r);
}

static void *noise(void *arg)
{
    unsigned random = (unsigned)(size_t)arg;
    while (!atomic_load(&stop)) {
        for (int i = 0; i < 50; i++)
            exchange(&random);
        fprintf(null, "%u", random); /* stdio's locks are taken at a fork, too */
        usleep(200);
    }
    return NULL;
}

static void allocate(unsigned random)
{
    int large = random % 16 == 0 ? 7 : -1;
    for (int i = 0; i < 20; i++) {
        size_t size = i == large ? 200000 : step(&random) % 2000 + 1;
        use_block(size);
    }
}

/* One that is born out of a child. */
static void grandchild(unsigned random)
{
    int status = 0;
    pid_t pid = fork();
    if (pid == 0) {
        watchdog();
        allocate(random);
        _exit(0);
    }
    if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0)
        _exit(5);
}

static void spawned(void)
{
    char *argv[] = {(char *)(size_t)self, "child", NULL};
    int status = 0;
    pid_t pid;
    if (posix_spawn(&pid, self, NULL, NULL, argv, environ) != 0 ||
        waitpid(pid, &status, 0) != pid || status != 0)
        _exit(6);
}

static void child(unsigned long n, char *kept)
{
    watchdog();
    allocate((unsigned)n);
    if (strcmp(kept, "kept across fork") != 0)
        _exit(7);
    if (n % 4 == 0)
        for (int i = 0; i < SLOTS; i++)
            free(atomic_exchange(&slot[i], NULL));
    if (n % 8 == 1) {
        fprintf(null, "child %lu\n", n);
        fflush(null);
    }
    if (n % 64 == 3)
        grandchild((unsigned)n);
    if (n % 512 == 5)
        spawned();
    if (n % 256 == 7)
        execl(self, self, "child", (char *)NULL);
    if (n % 16 == 9)
        exit(0);
    _exit(0);
}

static void ended(pid_t pid)
{
    int status = 0;
    pid_t got;
    while ((got = waitpid(pid, &status, 0)) < 0 && errno == EINTR)
        ;
    if (got == pid && status == 0) {
        atomic_fetch_add(&well, 1);
    } else if (got == pid && WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM) {
        atomic_fetch_add(&hung, 1);
    } else {
        atomic_fetch_add(&otherwise, 1);
        fprintf(stderr, "a child: %s %d\n",
                got != pid            ? "lost, errno"
                : WIFSIGNALED(status) ? "signal"
                                      : "status",
                got != pid            ? errno
                : WIFSIGNALED(status) ? WTERMSIG(status)
                                      : WEXITSTATUS(status));
    }
}

static void *forker(void *arg)
{
    char *kept = arg;
    pid_t pids[AT_ONCE] = {0};
    long n;
    unsigned random;

    while ((n = atomic_fetch_sub(&left, 1)) > 0) {
        pid_t *place = &pids[n % AT_ONCE];
        random = (unsigned)n;
        exchange(&random);
        if (*place != 0)
            ended(*place);
        while ((*place = fork()) < 0)
            usleep(1000);
        if (*place == 0)
            child((unsigned long)n, kept);
        atomic_fetch_add(&forked, 1);
    }
    for (int i = 0; i < AT_ONCE; i++)
        if (pids[i] != 0)
            ended(pids[i]);
    return NULL;
}

static void time_is_over(int signal)
{
    (void)signal;
    atomic_store(&left, 0);
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "child") == 0) {
        watchdog();
        allocate(16);
        return 0;
    }
    if (argc < 2)
        return 2;
    self = "/proc/self/exe";
    null = fopen("/dev/null", "w");
    char *kept = strdup("kept across fork");
    pthread_t t[FORKERS + NOISY];
    if (null == NULL || kept == NULL)
        return 2;
    atomic_store(&left, atol(argv[1]));
    signal(SIGALRM, time_is_over);
    if (argc > 2)
        alarm((unsigned)atoi(argv[2]));
    if (argc > 3)
        patience_s = (unsigned)atoi(argv[3]);
    for (size_t i = 0; i < FORKERS + NOISY; i++)
        if (pthread_create(&t[i], NULL, i < FORKERS ? forker : noise,
                           i < FORKERS ? (void *)kept : (void *)(i + 1)) != 0)
            return 2;
    for (size_t i = 0; i < FORKERS; i++)
        pthread_join(t[i], NULL);
    atomic_store(&stop, 1);
    for (size_t i = FORKERS; i < FORKERS + NOISY; i++)
        pthread_join(t[i], NULL);
    printf("forked %ld, well %ld, hung %ld, otherwise %ld\n", (long)forked, (long)well, (long)hung,
           (long)otherwise);
    return forked != well;
}
