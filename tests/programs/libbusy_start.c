/* libbusy_start.c - four threads that allocate from this library's constructor on, so also while a
 * preloaded allocator's constructor runs, and for as long as the process lives. */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

enum { THREADS = 4, BYTES_AT_MOST = 60000 };

static atomic_int running;

static void *work(void *arg)
{
    unsigned random = (unsigned)(size_t)arg;
    for (int first = 1;; first = 0) {
        random = random * 1664525u + 1013904223u;
        size_t size = (random >> 8) % BYTES_AT_MOST + 1;
        unsigned char *p = malloc(size);
        if (p == NULL)
            abort();
        p[0] = p[size - 1] = (unsigned char)size;
        unsigned char *q = realloc(p, size * 2);
        if (q == NULL || q[0] != (unsigned char)size || q[size - 1] != (unsigned char)size)
            abort();
        free(q);
        if (first)
            atomic_fetch_add(&running, 1);
    }
    return NULL;
}

__attribute__((constructor)) static void start(void)
{
    pthread_t thread;
    for (size_t i = 0; i < THREADS; i++)
        if (pthread_create(&thread, NULL, work, (void *)(i + 1)) != 0 ||
            pthread_detach(thread) != 0)
            abort();
    while (atomic_load(&running) < THREADS)
        sched_yield();
    (void)!write(-1, "begin", 5); /* a mark for slow_switch */
}
