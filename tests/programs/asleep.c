/* asleep.c SECONDS - threads that work for moments and sleep in between, in several ways, so that
 * their heaps are visited; signal handlers sleep too, in the midst of malloc where they happen to;
 * and now and then the process forks. Every block bears a pattern. Prints "ok". */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { THREADS = 8, BLOCKS = 300, SHARED = 64 };

struct block {
    size_t size;
    unsigned char fill;
    unsigned char at[];
};

static _Atomic(struct block *) shared[SHARED];
static atomic_bool is_over;
static int silent[2];

static unsigned next(unsigned *seed)
{
    return (*seed = *seed * 1664525u + 1013904223u) >> 8;
}

static void check(const struct block *b)
{
    if (b->at[0] != b->fill || b->at[b->size / 2] != b->fill || b->at[b->size - 1] != b->fill)
        abort();
}

static struct block *make(unsigned *seed)
{
    static const size_t most[] = {60, 600, 6000, 60000};
    size_t size = next(seed) % most[next(seed) % 4] + 1;
    struct block *b = malloc(sizeof(*b) + size);

    if (b == NULL)
        abort();
    b->size = size;
    b->fill = (unsigned char)next(seed);
    memset(b->at, b->fill, size);
    return b;
}

static void drop(struct block *b)
{
    if (b != NULL)
        check(b);
    free(b);
}

static void work(struct block **own, unsigned calls, unsigned *seed)
{
    for (unsigned i = 0; i < calls; i++) {
        unsigned k = next(seed) % BLOCKS;
        drop(own[k]);
        own[k] = next(seed) % 3 != 0 ? make(seed) : NULL;
        if (next(seed) % 16 == 0)
            drop(atomic_exchange(&shared[next(seed) % SHARED], make(seed)));
    }
}

static void pause_ms(unsigned ms)
{
    const struct timespec t = {.tv_nsec = (long)ms * 1000000};

    nanosleep(&t, NULL);
}

static void sleep_somehow(unsigned *seed)
{
    static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    static pthread_cond_t never = PTHREAD_COND_INITIALIZER;
    unsigned ms = next(seed) % 60;
    struct timespec until;

    switch (next(seed) % 3) {
    case 0:
        pause_ms(ms);
        break;
    case 1: {
        struct pollfd p = {.fd = silent[0], .events = POLLIN};
        poll(&p, 1, (int)ms);
        break;
    }
    default:
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += (long)ms * 1000000;
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        pthread_mutex_lock(&mutex);
        pthread_cond_timedwait(&never, &mutex, &until);
        pthread_mutex_unlock(&mutex);
    }
}

static void *serve(void *arg)
{
    const unsigned seed_of = (unsigned)(size_t)arg;
    unsigned seed = seed_of;
    struct block *own[BLOCKS] = {0};

    while (!atomic_load(&is_over)) {
        /* The first ones hardly sleep but in signal handlers. */
        work(own, next(&seed) % 2000, &seed);
        if (seed_of > THREADS / 2 || next(&seed) % 512 == 0)
            sleep_somehow(&seed);
    }
    for (unsigned i = 0; i < BLOCKS; i++)
        drop(own[i]);
    return NULL;
}

static void on_signal(int sig)
{
    int saved = errno;

    (void)sig;
    pause_ms(100);
    errno = saved;
}

static void fork_one(unsigned *seed)
{
    struct block *own[BLOCKS] = {0};
    int status;
    pid_t child = fork();

    if (child == 0) {
        alarm(20);
        work(own, 3000, seed);
        _exit(0);
    }
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        ;
    if (status != 0)
        abort();
}

int main(int argc, char **argv)
{
    const struct sigaction act = {.sa_handler = on_signal};
    time_t end = time(NULL) + (argc > 1 ? atoi(argv[1]) : 3);
    pthread_t t[THREADS];
    unsigned seed = 42;

    if (pipe(silent) != 0 || sigaction(SIGUSR1, &act, NULL) != 0)
        return 2;
    for (size_t i = 0; i < THREADS; i++)
        if (pthread_create(&t[i], NULL, serve, (void *)(i + 1)) != 0)
            return 2;
    while (time(NULL) < end) {
        pause_ms(next(&seed) % 5);
        pthread_kill(t[next(&seed) % (THREADS / 2)], SIGUSR1); /* the others sleep undisturbed */
        if (next(&seed) % 64 == 0)
            fork_one(&seed);
    }
    atomic_store(&is_over, true);
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(t[i], NULL);
    puts("ok");
    return 0;
}
