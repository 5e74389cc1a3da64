/* cancelled_exit.c STATUS - ends by _exit, which is no cancellation point, with a cancellation of
 * its only thread pending. */
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    int status = argc > 1 ? atoi(argv[1]) : 0;
    free(malloc(100));
    if (pthread_cancel(pthread_self()) != 0)
        return 100;
    _exit(status);
}
