/* threads_most LIMIT - how many threads there can be besides the first where the user may have
 * LIMIT tasks. For root that does not hold, hence as another user, whom nobody is. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#define USER 54321u

static void *wait_for_end(void *unused)
{
    while (unused == NULL)
        pause();
    return NULL;
}

static int threads_under(unsigned limit)
{
    const struct rlimit tasks = {limit, limit};
    pthread_attr_t small;
    pthread_t thread;
    int n = 0;

    if (setrlimit(RLIMIT_NPROC, &tasks) != 0 || setuid(USER) != 0)
        return -1;
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 64 << 10);
    while (n < 1000 && pthread_create(&thread, &small, wait_for_end, NULL) == 0)
        n++;
    return n;
}

int main(int argc, char **argv)
{
    unsigned limit = argc > 1 ? (unsigned)atoi(argv[1]) : 0;

    printf("%d\n", threads_under(limit));
    return 0;
}
