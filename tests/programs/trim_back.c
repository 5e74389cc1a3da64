/* trim_back.c BLOCK_BYTES MIB [other|each] - allocates so much in blocks of that size and writes to
 * every page of it, frees it all, and calls malloc_trim(0). Prints the resident KiB when all is
 * allocated and at the end. "other": the blocks are another thread's, which has ended before they
 * are freed. "each": 64 threads allocate and free a part each, and end. */
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "resident.h"

enum { PAGE = 4096, THREADS = 64 };

static size_t size;
static size_t total; /* of a thread */
static long full;
static pthread_barrier_t all_have;

/* The list goes through the blocks. */
static void *allocate(void *arg)
{
    void **list = NULL;

    for (size_t done = 0; done < total; done += size) {
        void **p = malloc(size);

        if (p == NULL)
            exit(3);
        for (size_t i = 0; i < size; i += PAGE)
            ((char *)p)[i] = 1;
        *p = list;
        list = p;
    }
    (void)arg;
    return list;
}

static void release(void **list)
{
    while (list != NULL) {
        void **next = *list;

        free(list);
        list = next;
    }
}

static void *one_of_many(void *arg)
{
    void **list = allocate(NULL);

    if (pthread_barrier_wait(&all_have) == PTHREAD_BARRIER_SERIAL_THREAD)
        full = resident_kib();
    pthread_barrier_wait(&all_have);
    release(list);
    return arg;
}

static void many(void)
{
    pthread_t t[THREADS];

    total /= THREADS;
    pthread_barrier_init(&all_have, NULL, THREADS);
    for (int i = 0; i < THREADS; i++) {
        if (pthread_create(&t[i], NULL, one_of_many, NULL) != 0)
            exit(2);
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(t[i], NULL);
}

int main(int argc, char **argv)
{
    pthread_t t;
    void *list = NULL;

    if (argc < 3)
        return 2;
    size = strtoul(argv[1], NULL, 10);
    total = strtoul(argv[2], NULL, 10) << 20;
    if (argc > 3 && strcmp(argv[3], "each") == 0) {
        many();
    } else if (argc > 3) {
        if (pthread_create(&t, NULL, allocate, NULL) != 0 || pthread_join(t, &list) != 0)
            return 2;
    } else {
        list = allocate(NULL);
    }
    if (full == 0)
        full = resident_kib();
    release(list);
    malloc_trim(0);
    printf("%ld %ld\n", full, resident_kib());
    return 0;
}
