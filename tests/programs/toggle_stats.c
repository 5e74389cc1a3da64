/* toggle_stats.c - counting goes on and off all the time while threads allocate; their blocks hold
 * what was put into them. Without the library the threads run alone. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <xsigma.h>

#pragma weak xsigma_stats_enable

enum { THREADS = 3, TOGGLES = 2000, KEPT = 64, BYTES_AT_MOST = 100000, ROUNDS_AT_LEAST = 2000 };

struct kept {
    unsigned char *at;
    size_t size;
    unsigned char value;
};

static atomic_bool leave;
static atomic_int spoiled;

/* The whole of small blocks, of large ones the ends: that is where a stranger's header would be. */
static size_t edge(size_t size)
{
    return size < 256 ? size : 128;
}

static void fill(struct kept *k)
{
    memset(k->at, k->value, edge(k->size));
    memset(k->at + k->size - edge(k->size), k->value, edge(k->size));
}

static void check(const struct kept *k, size_t size)
{
    for (size_t i = 0; i < edge(size); i++)
        if (k->at[i] != k->value || (size == k->size && k->at[size - 1 - i] != k->value))
            atomic_fetch_add(&spoiled, 1);
}

static void *work(void *arg)
{
    struct kept kept[KEPT] = {{NULL, 0, 0}};
    unsigned random = (unsigned)(size_t)arg;
    for (int round = 0; round < ROUNDS_AT_LEAST || !atomic_load(&leave); round++) {
        random = random * 1664525u + 1013904223u;
        struct kept *k = &kept[(random >> 8) % KEPT];
        size_t size = (random >> 14) % ((random & 0x80) != 0 ? 500 : BYTES_AT_MOST) + 1;
        if (k->at != NULL)
            check(k, k->size);
        if (k->at != NULL && (random & 0x40) != 0) {
            size_t least = size < k->size ? size : k->size;
            k->at = realloc(k->at, size);
            if (k->at == NULL)
                abort();
            if (edge(least) == edge(k->size))
                check(k, least);
        } else {
            free(k->at);
            k->at = malloc(size);
            if (k->at == NULL)
                abort();
        }
        k->size = size;
        k->value = (unsigned char)(random >> 20);
        fill(k);
    }
    for (int i = 0; i < KEPT; i++)
        free(kept[i].at);
    return NULL;
}

int main(void)
{
    pthread_t thread[THREADS];
    int refused = 0;
    for (size_t i = 0; i < THREADS; i++)
        if (pthread_create(&thread[i], NULL, work, (void *)(i + 1)) != 0)
            return 100;
    for (int i = 0; i < TOGGLES; i++)
        if (xsigma_stats_enable != NULL)
            refused += xsigma_stats_enable(i % 2 == 0 ? 0 : 1) != 0;
    atomic_store(&leave, true);
    for (int i = 0; i < THREADS; i++)
        pthread_join(thread[i], NULL);
    printf("%d bytes spoiled, %d calls refused\n", atomic_load(&spoiled), refused);
    return atomic_load(&spoiled) != 0 || refused != 0;
}
