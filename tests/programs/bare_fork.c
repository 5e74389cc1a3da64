/* bare_fork.c N [threads] - a child made by _Fork, which calls no handlers, makes N pairs of malloc
 * and free; with threads, while four others do so in the parent. Prints what the child ended with.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define THREADS 4

pid_t _Fork(void) __attribute__((weak));

static atomic_bool stop;

static void pairs(long n)
{
    for (; n > 0; n--) {
        void *p = malloc((size_t)(n % 3000));
        __asm__ volatile("" : "+r"(p) : : "memory");
        free(p);
    }
}

static void *work(void *arg)
{
    while (!atomic_load(&stop))
        pairs(100);
    return arg;
}

int main(int argc, char **argv)
{
    long n = argc > 1 ? atol(argv[1]) : 1000;
    int threads = argc > 2 ? THREADS : 0;
    int forks = argc > 2 ? 20 : 1;
    pthread_t t[THREADS];
    int status = 0;

    if (_Fork == NULL)
        return 77;
    pairs(1);
    for (int i = 0; i < threads; i++)
        if (pthread_create(&t[i], NULL, work, NULL) != 0)
            return 2;
    for (int i = 0; i < forks && status == 0; i++) {
        pid_t pid = _Fork();
        if (pid == 0) {
            pairs(n);
            _exit(7);
        }
        if (pid < 0 || waitpid(pid, &status, 0) != pid)
            return 2;
        status = WIFEXITED(status) && WEXITSTATUS(status) == 7 ? 0 : 3;
    }
    atomic_store(&stop, true);
    for (int i = 0; i < threads; i++)
        pthread_join(t[i], NULL);
    puts(status == 0 ? "each child ended well" : "a child did not end well");
    return status;
}
