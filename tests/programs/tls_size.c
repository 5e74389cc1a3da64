/* tls_size - threads of a program whose thread-local variables take TLS_BYTES, at work until
 * another thread could give back what they keep. Prints how many threads there are then. */
#include <dirent.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#ifndef TLS_BYTES
#define TLS_BYTES 1000
#endif
#define BLOCKS 1000

static _Thread_local volatile char large[TLS_BYTES];

static void *work(void *unused)
{
    static _Thread_local void *block[BLOCKS];

    large[TLS_BYTES - 1] = 1;
    for (int round = 0; round < 10; round++) {
        for (size_t i = 0; i < BLOCKS; i++)
            block[i] = malloc(100 + i * 10);
        for (size_t i = 0; i < BLOCKS; i++)
            free(block[i]);
        usleep(30000);
    }
    return unused;
}

static int threads_now(void)
{
    DIR *tasks = opendir("/proc/self/task");
    int n = -2; /* . and .. */

    while (tasks != NULL && readdir(tasks) != NULL)
        n++;
    return n;
}

int main(void)
{
    pthread_t thread[2];

    for (int i = 0; i < 2; i++)
        if (pthread_create(&thread[i], NULL, work, NULL) != 0)
            return 1;
    for (int i = 0; i < 2; i++)
        pthread_join(thread[i], NULL);
    usleep(50000); /* the kernel counts them a moment longer */
    printf("%d\n", threads_now());
    return 0;
}
