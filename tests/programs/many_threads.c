/* many_threads [THREADS] - so many threads alive at one time, each with a heap, that free each
 * other's blocks: more than the page map has numbers for. Every block is looked at before it is
 * freed. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BLOCKS 24
#define ROUNDS 6
#define STACK  (64 << 10)

static unsigned threads = 4500;
static unsigned char *(*block)[BLOCKS]; /* by thread */
static pthread_barrier_t barrier;
static atomic_uint wrong;

static size_t size_of(unsigned thread, unsigned i)
{
    static const size_t sizes[] = {16, 24, 48, 64, 100, 256, 700, 1500, 5000};

    return sizes[(thread + i) % (sizeof(sizes) / sizeof(sizes[0]))];
}

static void *run(void *arg)
{
    unsigned me = (unsigned)(uintptr_t)arg;

    for (unsigned round = 0; round < ROUNDS; round++) {
        for (unsigned i = 0; i < BLOCKS; i++) {
            block[me][i] = malloc(size_of(me, i));
            if (block[me][i] == NULL)
                abort();
            memset(block[me][i], (int)((me + i + round) & 0xff), size_of(me, i));
        }
        pthread_barrier_wait(&barrier);
        /* Blocks of a thread next by, of one far away, and of oneself. */
        for (unsigned i = 0; i < BLOCKS; i++) {
            unsigned from = (me + (i % 3 == 0 ? 1 : i % 3 == 1 ? threads / 2 : 0)) % threads;
            unsigned char *p = block[from][i];
            for (size_t at = 0; at < size_of(from, i); at++)
                if (p[at] != ((from + i + round) & 0xff)) {
                    wrong++;
                    break;
                }
            free(p);
        }
        pthread_barrier_wait(&barrier);
    }
    return NULL;
}

int main(int argc, char **argv)
{
    pthread_attr_t attr;
    pthread_t *id;

    if (argc > 1)
        threads = (unsigned)atoi(argv[1]);
    block = calloc(threads, sizeof(*block));
    id = calloc(threads, sizeof(*id));
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, STACK);
    pthread_barrier_init(&barrier, NULL, threads);
    for (unsigned i = 0; i < threads; i++)
        if (pthread_create(&id[i], &attr, run, (void *)(uintptr_t)i) != 0) {
            printf("only %u threads can be made here\n", i);
            _Exit(77);
        }
    for (unsigned i = 0; i < threads; i++)
        pthread_join(id[i], NULL);
    free(id);
    free(block);
    printf("%u threads, %u blocks wrong\n", threads, wrong);
    return wrong != 0;
}
