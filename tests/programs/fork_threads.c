/* fork_threads.c - forks 200 times from a thread while others allocate; each child allocates too.
 * A child that finds a lock of the allocator held hangs, and its alarm ends it. */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/programs/fork_work.h"

enum { FORKS = 200, THREADS = 4, SLOTS = 64 };

static atomic_int stop;
static _Atomic(char *) slot[SLOTS];

static void *noise(void *arg)
{
    unsigned random = (unsigned)(size_t)arg;
    while (!atomic_load(&stop)) {
        unsigned r = step(&random);
        size_t size = r % 50 == 0 ? 300000 + r % 100000 : 1 + r % 3000;
        put_in(&slot[r % SLOTS], size, r);
        if (r % 512 == 0)
            usleep(20); /* the forking thread gets its turn on a small machine */
    }
    return NULL;
}

static void child(char *kept)
{
    alarm(15);
    unsigned random = 7;
    for (int i = 0; i < 100; i++) {
        size_t size = i % 20 == 0 ? 500000 : step(&random) % 4000 + 1;
        use_block(size);
    }
    for (int i = 0; i < SLOTS; i++)
        free(atomic_exchange(&slot[i], NULL));
    if (strcmp(kept, "kept across fork") != 0)
        _exit(5);
    free(kept);
    _exit(0);
}

static void *forker(void *arg)
{
    char *kept = arg;
    for (int i = 0; i < FORKS; i++) {
        pid_t pid = fork();
        if (pid == 0)
            child(kept);
        int status = 0;
        if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0) {
            fprintf(stderr, "fork %d: child %s %d\n", i, WIFSIGNALED(status) ? "signal" : "status",
                    WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
            _exit(1);
        }
    }
    return NULL;
}

int main(void)
{
    pthread_t t[THREADS];
    pthread_t f;
    char *kept = strdup("kept across fork");
    for (size_t i = 0; i < THREADS; i++)
        if (pthread_create(&t[i], NULL, noise, (void *)(i + 1)) != 0)
            return 2;
    if (kept == NULL || pthread_create(&f, NULL, forker, kept) != 0)
        return 2;
    pthread_join(f, NULL);
    atomic_store(&stop, 1);
    for (int i = 0; i < THREADS; i++)
        pthread_join(t[i], NULL);
    for (int i = 0; i < SLOTS; i++)
        free(slot[i]);
    free(kept);
    puts("done");
    return 0;
}
