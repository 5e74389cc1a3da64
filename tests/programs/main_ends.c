/* main_ends.c - the main thread ends while another one works: the process ends with that one. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void *work(void *arg)
{
    free(malloc(1000000));
    usleep(300000);
    puts("last");
    return arg;
}

int main(void)
{
    pthread_t t;

    free(malloc(1000));
    if (pthread_create(&t, NULL, work, NULL) != 0)
        return 1;
    pthread_exit(NULL);
}
