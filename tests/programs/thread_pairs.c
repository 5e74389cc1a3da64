/* thread_pairs.c seen|unseen N [alone] - four threads make N pairs of malloc(64) and free each, at
 * one time. `unseen`: by the C library's own pthread_create, as its timers do, which nobody can put
 * another in front of. alone: main makes the pairs when a thread has come and gone. */
#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define THREADS 4

static pthread_barrier_t all;

static void pairs(long n)
{
    for (; n > 0; n--) {
        void *p = malloc(64);
        __asm__ volatile("" : "+r"(p) : : "memory");
        free(p);
    }
}

static void *run(void *arg)
{
    pthread_barrier_wait(&all);
    pairs((long)arg);
    return NULL;
}

static void *nothing(void *arg)
{
    return arg;
}

int main(int argc, char **argv)
{
    int (*create)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *) = pthread_create;
    pthread_t thread[THREADS];
    long n = argc > 2 ? atol(argv[2]) : 1000;

    if (argc > 1 && strcmp(argv[1], "unseen") == 0) {
        void *at = dlsym(dlopen("libc.so.6", RTLD_NOW), "pthread_create");
        if (at == NULL || at == (void *)pthread_create)
            return 2;
        memcpy(&create, &at, sizeof(at));
    }
    if (argc > 3) {
        if (create(&thread[0], NULL, nothing, NULL) != 0 || pthread_join(thread[0], NULL) != 0)
            return 1;
        pairs(n);
        return 0;
    }
    pthread_barrier_init(&all, NULL, THREADS);
    for (int i = 0; i < THREADS; i++)
        if (create(&thread[i], NULL, run, (void *)n) != 0)
            return 1;
    for (int i = 0; i < THREADS; i++)
        pthread_join(thread[i], NULL);
    return 0;
}
