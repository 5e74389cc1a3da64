/* Loads that advice speaks of: advise grow | limit | apart | reserve | pairs | bounce | contend. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#define KIB    ((size_t)1024)
#define BLOCKS 256

static char *block[BLOCKS];

static int hold(int n, size_t size)
{
    int failed = 0;

    for (int i = 0; i < n; i++) {
        block[i] = malloc(size);
        failed += block[i] == NULL;
    }
    return failed;
}

static void drop(int n)
{
    for (int i = 0; i < n; i++)
        free(block[i]);
}

static void *large_pairs(void *arg)
{
    for (int i = 0; i < 60000; i++) {
        char *volatile p = malloc(100 * KIB);
        free(p);
    }
    return arg;
}

static void contend(void)
{
    pthread_t t[8];

    for (int i = 0; i < 8; i++)
        pthread_create(&t[i], NULL, large_pairs, NULL);
    for (int i = 0; i < 8; i++)
        pthread_join(t[i], NULL);
}

int main(int argc, char **argv)
{
    const char *load = argc > 1 ? argv[1] : "";
    struct rusage usage;

    if (strcmp(load, "grow") == 0) {
        hold(100, 1024 * KIB);
    } else if (strcmp(load, "limit") == 0) {
        hold(48, 1024 * KIB);
    } else if (strcmp(load, "reserve") == 0) {
        hold(10, 1024 * KIB);
    } else if (strcmp(load, "apart") == 0) {
        hold(BLOCKS, 100 * KIB);
        drop(BLOCKS);
    } else if (strcmp(load, "pairs") == 0) {
        for (int i = 0; i < 1100000; i++) {
            char *volatile p = malloc(48);
            free(p);
        }
    } else if (strcmp(load, "bounce") == 0) {
        /* All of it goes, and comes again: pages are touched, so that they are missed. */
        for (int i = 0; i < 200; i++) {
            hold(BLOCKS, 100 * KIB);
            for (int k = 0; k < BLOCKS; k++)
                block[k][5000] = 1;
            drop(BLOCKS);
        }
    }
    if (strcmp(load, "contend") == 0)
        contend();
    getrusage(RUSAGE_SELF, &usage);
    printf("%ld\n", usage.ru_minflt);
    return 0;
}
