/* steady.c - warms the allocator up, then repeats the same work between two marks, which are writes
 * to descriptor -1: what system calls the allocator makes in its steady state. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { THREADS = 3, ROUNDS = 30, BLOCKS = 500 };

static atomic_int warm;
static atomic_int finished;
static atomic_int go;
static atomic_int leave;

static void work(unsigned random)
{
    void *block[BLOCKS] = {NULL};
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < BLOCKS; i++) {
            random = random * 1664525u + 1013904223u;
            unsigned r = random >> 8;
            size_t size = r % 100 == 0 ? 100000 + r % 3000000 : r % 5000;
            switch (r % 5) {
            case 0:
                free(block[i]);
                block[i] = calloc(1, size);
                break;
            case 1:
                block[i] = realloc(block[i], size + 1);
                break;
            case 2:
                free(block[i]);
                if (posix_memalign(&block[i], 64, size) != 0)
                    block[i] = NULL;
                break;
            default:
                free(block[i]);
                block[i] = malloc(size);
            }
            if (block[i] != NULL && size > 0)
                memset(block[i], 1, size < 100 ? size : 100);
        }
    }
    for (int i = 0; i < BLOCKS; i++)
        free(block[i]);
}

/* Waits by spinning, so as to make no call of its own. */
static void *thread(void *arg)
{
    unsigned seed = (unsigned)(size_t)arg;
    work(seed);
    atomic_fetch_add(&warm, 1);
    while (!atomic_load(&go))
        continue;
    work(seed + 100);
    atomic_fetch_add(&finished, 1);
    while (!atomic_load(&leave))
        continue;
    return NULL;
}

int main(void)
{
    pthread_t t[THREADS];
    for (size_t i = 0; i < THREADS; i++)
        if (pthread_create(&t[i], NULL, thread, (void *)(i + 1)) != 0)
            return 1;
    work(99);
    while (atomic_load(&warm) < THREADS)
        continue;
    (void)!write(-1, "begin", 5);
    atomic_store(&go, 1);
    work(199);
    while (atomic_load(&finished) < THREADS)
        continue;
    (void)!write(-1, "end", 3);
    atomic_store(&leave, 1);
    for (int i = 0; i < THREADS; i++)
        pthread_join(t[i], NULL);
    return 0;
}
