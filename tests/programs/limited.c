/* limited.c MIB [THREADS] - allocates that many MiB in blocks of 1 MiB and of 100 bytes, makes
 * threads with a stack of 8 MiB each, then frees the blocks. For use under a limit on address space
 * or on private memory. */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *wait_there(void *barrier)
{
    pthread_barrier_wait(barrier);
    return NULL;
}

/* All at once; 0 or errno. */
static int make_threads(unsigned count)
{
    pthread_t thread[16];
    pthread_barrier_t all;
    pthread_attr_t attr;

    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, (size_t)8 << 20);
    pthread_barrier_init(&all, NULL, count + 1);
    for (unsigned i = 0; i < count; i++) {
        int rc = pthread_create(&thread[i], &attr, wait_there, &all);
        if (rc != 0)
            return rc;
    }
    pthread_barrier_wait(&all);
    for (unsigned i = 0; i < count; i++)
        pthread_join(thread[i], NULL);
    return 0;
}

int main(int argc, char **argv)
{
    unsigned threads = argc > 2 ? (unsigned)atoi(argv[2]) & 15 : 0;
    size_t mib = argc > 1 ? (size_t)atoi(argv[1]) : 100;
    size_t small = 100;
    size_t count = mib * 10000 / 2;
    char **list = NULL;
    char **large = calloc(mib, sizeof(*large));
    for (size_t i = 0; large != NULL && i < mib / 2; i++) {
        large[i] = malloc(1 << 20);
        if (large[i] == NULL) {
            printf("large block %zu: %s\n", i, strerror(errno));
            return 1;
        }
        memset(large[i], 1, 1 << 20);
    }
    list = calloc(count, sizeof(*list));
    for (size_t i = 0; list != NULL && i < count; i++) {
        list[i] = malloc(small);
        if (list[i] == NULL) {
            printf("small block %zu: %s\n", i, strerror(errno));
            return 1;
        }
        list[i][0] = 1;
    }
    if (large == NULL || list == NULL)
        return 1;
    int rc = make_threads(threads);
    if (rc != 0) {
        printf("threads: %s\n", strerror(rc));
        return 1;
    }
    errno = 0;
    void *volatile too_much = malloc((size_t)1 << 40);
    if (too_much != NULL || errno != ENOMEM) {
        puts("1 TiB under a limit was not refused with ENOMEM");
        return 1;
    }
    for (size_t i = 0; i < count; i++)
        free(list[i]);
    for (size_t i = 0; i < mib / 2; i++)
        free(large[i]);
    free(list);
    free(large);
    puts("fits");
    return 0;
}
