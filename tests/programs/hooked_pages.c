/* hooked_pages.c - what network libraries do: mmap, munmap and madvise are the program's own, which
 * allocates in them, while other threads allocate. Prints whether they were called, and the threads
 * came to their end. */
#include <dlfcn.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { THREADS = 3, SECONDS = 1 };

static _Atomic int maps, unmaps, advices;
static __thread volatile int depth; /* malloc reads it, which no compiler expects */

/* As a cache of registrations would: look-ups in a tree of its own, blocks of several sizes. */
static void work(void)
{
    if (depth++ == 0) {
        void *p[40];
        for (int i = 0; i < 40; i++)
            p[i] = malloc((size_t)i * i * 200 + 1);
        for (int i = 0; i < 40; i++)
            free(p[i]);
    }
    depth--;
}

void *mmap(void *at, size_t size, int prot, int flags, int fd, off_t offset)
{
    maps++;
    void *p = (void *)syscall(SYS_mmap, at, size, prot, flags, fd, offset);
    work();
    return p;
}

int munmap(void *p, size_t size)
{
    unmaps++;
    work();
    return (int)syscall(SYS_munmap, p, size);
}

int madvise(void *p, size_t size, int advice)
{
    advices++;
    work();
    return (int)syscall(SYS_madvise, p, size, advice);
}

static void *churn(void *arg)
{
    time_t end = time(NULL) + SECONDS + 1;
    unsigned seed = (unsigned)(size_t)arg + 7;

    while (time(NULL) < end) {
        void *p[64];
        for (int i = 0; i < 64; i++) {
            seed = seed * 1664525u + 1013904223u;
            size_t size = (seed >> 8) % (i % 4 == 0 ? 3u << 20 : 5000u) + 1;
            p[i] = malloc(size);
            memset(p[i], 1, size);
        }
        for (int i = 0; i < 64; i++)
            free(p[i]);
    }
    return NULL;
}

int main(void)
{
    pthread_t t[THREADS];

    for (size_t i = 0; i < THREADS; i++)
        pthread_create(&t[i], NULL, churn, (void *)i);
    for (size_t i = 0; i < THREADS; i++)
        pthread_join(t[i], NULL);
    printf("%d %d\n", maps > 0, unmaps + advices > 0);
    return 0;
}
