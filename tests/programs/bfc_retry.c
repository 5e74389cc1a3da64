/* bfc_retry.c meanwhile|after - asks for more than a limit of 64 MiB leaves; another thread frees
 * enough while it waits, or after it was answered. Prints whether it was given. */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BLOCKS = 44 };

static void *block[BLOCKS];
static atomic_int may_free;

static void *freer(void *arg)
{
    while (!atomic_load(&may_free))
        usleep(1000);
    usleep(200000); /* most likely it is waiting by then */
    for (int i = 0; i < BLOCKS; i++)
        free(block[i]);
    return arg;
}

int main(int argc, char **argv)
{
    int meanwhile = argc > 1 && strcmp(argv[1], "meanwhile") == 0;
    pthread_t t;

    for (int i = 0; i < BLOCKS; i++) {
        block[i] = malloc((size_t)1 << 20);
        if (block[i] == NULL)
            return 1;
    }
    if (pthread_create(&t, NULL, freer, NULL) != 0)
        return 2;
    atomic_store(&may_free, meanwhile);
    errno = 0;
    void *p = malloc((size_t)24 << 20);
    puts(p != NULL ? "given" : errno == ENOMEM ? "refused" : "refused without errno");
    atomic_store(&may_free, 1);
    pthread_join(t, NULL);
    free(p);
    return 0;
}
