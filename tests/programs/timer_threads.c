/* timer_threads - timers whose expiries libc tells by threads (SIGEV_THREAD).
 *
 * libc's own thread waits for a signal that it keeps blocked, and allocates for each of them.
 * Prints how often it was told: as many times as asked, or something broke libc's thread.
 */
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define TIMES 50

static sem_t told;

static void tell(union sigval value)
{
    (void)value;
    void *volatile p = malloc(100);
    free(p);
    sem_post(&told);
}

int main(void)
{
    struct sigevent event = {.sigev_notify = SIGEV_THREAD, .sigev_notify_function = tell};
    struct itimerspec every = {.it_value.tv_nsec = 1000000, .it_interval.tv_nsec = 1000000};
    struct timespec until;
    timer_t timer;
    int n = 0;

    sem_init(&told, 0, 0);
    if (timer_create(CLOCK_MONOTONIC, &event, &timer) != 0 ||
        timer_settime(timer, 0, &every, NULL) != 0)
        return 2;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 60;
    while (n < TIMES && sem_timedwait(&told, &until) == 0)
        n++;
    timer_delete(timer);
    printf("told %d times\n", n);
    return 0;
}
