/* idle_service.c THREADS LIVE_MIB SECONDS - a service: its threads answer requests with blocks of
 * all sizes over LIVE_MIB that stay, then all of them sleep. Prints the resident KiB before it
 * began, the KiB that are live, and the resident KiB when it was busy and SECONDS after. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "resident.h"

enum { REQUESTS = 300, BLOCKS = 400, KEPT_BYTES = 16 << 10 };

static pthread_barrier_t done;
static pthread_barrier_t end;
static size_t live_each;

static unsigned next(unsigned *seed)
{
    return *seed = *seed * 1664525u + 1013904223u;
}

static size_t size_of(unsigned *seed)
{
    unsigned r = next(seed) >> 8;

    if (r % 64 == 0)
        return (size_t)(r >> 6) % (2u << 20) + 1;
    return (size_t)(r >> 6) % (r % 8 == 0 ? 30000 : 600) + 1;
}

static void *serve(void *arg)
{
    unsigned seed = (unsigned)(size_t)arg + 1;
    void *first = NULL;

    for (size_t kept = 0; kept < live_each; kept += KEPT_BYTES) {
        void **p = malloc(KEPT_BYTES);
        memset(p, 1, KEPT_BYTES);
        *p = first;
        first = p;
    }
    for (unsigned r = 0; r < REQUESTS; r++) {
        void *block[BLOCKS];
        for (unsigned i = 0; i < BLOCKS; i++) {
            size_t size = size_of(&seed);
            block[i] = malloc(size);
            memset(block[i], 2, size);
        }
        for (unsigned i = 0; i < BLOCKS; i++)
            free(block[i]);
    }
    pthread_barrier_wait(&done);
    pthread_barrier_wait(&end);
    return first;
}

int main(int argc, char **argv)
{
    if (argc != 4)
        return 2;
    unsigned threads = (unsigned)atoi(argv[1]);
    size_t live = (size_t)atoi(argv[2]) << 20;
    long before = resident_kib();
    pthread_t t[64];

    live_each = live / threads;
    pthread_barrier_init(&done, NULL, threads + 1);
    pthread_barrier_init(&end, NULL, threads + 1);
    for (unsigned i = 0; i < threads; i++)
        if (pthread_create(&t[i], NULL, serve, (void *)(size_t)i) != 0)
            return 3;
    pthread_barrier_wait(&done);
    long busy = resident_kib();
    sleep((unsigned)atoi(argv[3]));
    printf("%ld %zu %ld %ld\n", before, live >> 10, busy, resident_kib());
    fflush(stdout);
    _exit(0);
}
