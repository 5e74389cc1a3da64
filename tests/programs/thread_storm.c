/* thread_storm.c - 64 threads at a time are created, allocate, and end, wave after wave.
 *
 * Blocks outlive the thread that made them: each wave frees those of the wave before. Every block
 * carries a pattern that is checked when it is freed. Prints the sums of what was written.
 * Argument: the number of waves (25).
 */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { THREADS = 64, BLOCKS = 100, LEFT = 20 };

struct block {
    unsigned char *at;
    size_t size;
    unsigned char mark;
};

static struct block left[2][THREADS][LEFT];
static uint64_t sum[THREADS];
static unsigned wave;

static void broken(const char *what)
{
    printf("broken: %s\n", what);
    exit(1);
}

static struct block make(uint64_t *random)
{
    struct block b;

    *random = *random * 6364136223846793005u + 1442695040888963407u;
    /* Mostly small, now and then beyond every thread cache. */
    b.size = 1 + (*random >> 40) % ((*random >> 33) % 50 == 0 ? 200000 : 1500);
    b.mark = (unsigned char)(*random >> 25);
    b.at = (*random >> 60) == 0 ? calloc(1, b.size) : malloc(b.size);
    if (b.at == NULL)
        broken("no memory");
    memset(b.at, b.mark, b.size);
    return b;
}

static void drop(struct block *b)
{
    if (b->at == NULL)
        return;
    if (b->at[0] != b->mark || b->at[b->size / 2] != b->mark || b->at[b->size - 1] != b->mark)
        broken("a block lost its pattern");
    free(b->at);
    b->at = NULL;
}

static void *storm(void *arg)
{
    size_t me = (size_t)arg;
    uint64_t random = wave * 1000003u + me;
    struct block mine[BLOCKS];

    for (size_t i = 0; i < LEFT; i++)
        drop(&left[(wave + 1) % 2][(me + 7) % THREADS][i]);
    for (size_t i = 0; i < BLOCKS; i++) {
        mine[i] = make(&random);
        sum[me] += mine[i].size * (mine[i].mark + 1u);
    }
    for (size_t i = 0; i < BLOCKS; i += 3) {
        size_t size = mine[i].size + (random >> (i % 32)) % 4000;
        unsigned char *p = realloc(mine[i].at, size);

        if (p == NULL)
            broken("no memory for realloc");
        memset(p + mine[i].size, mine[i].mark, size - mine[i].size);
        mine[i].at = p;
        mine[i].size = size;
    }
    for (size_t i = 0; i < LEFT; i++)
        left[wave % 2][me][i] = mine[i];
    for (size_t i = LEFT; i < BLOCKS; i++)
        drop(&mine[i]);
    return NULL;
}

int main(int argc, char **argv)
{
    unsigned waves = argc > 1 ? (unsigned)atoi(argv[1]) : 25;
    uint64_t total = 0;

    for (wave = 0; wave < waves; wave++) {
        pthread_t threads[THREADS];

        for (size_t t = 0; t < THREADS; t++) {
            if (pthread_create(&threads[t], NULL, storm, (void *)t) != 0)
                broken("pthread_create");
        }
        for (size_t t = 0; t < THREADS; t++)
            pthread_join(threads[t], NULL);
    }
    for (size_t t = 0; t < THREADS; t++) {
        for (size_t i = 0; i < LEFT; i++) {
            drop(&left[0][t][i]);
            drop(&left[1][t][i]);
        }
        total += sum[t];
    }
    printf("%u waves of %d threads, sum %llu\n", waves, THREADS, (unsigned long long)total);
    return 0;
}
