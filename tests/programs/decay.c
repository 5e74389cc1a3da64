/* decay.c BLOCK_BYTES MS BELOW_KIB - allocates 256 MiB in blocks of that size, frees them, and goes
 * on with small blocks for at least MS milliseconds of work, and up to 20 s until fewer than
 * BELOW_KIB are resident. Prints the resident KiB when all was allocated and at the end. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "resident.h"

enum { PAGE = 4096, TOTAL = 256 << 20, AT_MOST_MS = 20000 };

static long now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

int main(int argc, char **argv)
{
    if (argc != 4)
        return 2;
    size_t size = strtoul(argv[1], NULL, 10);
    long ms = atol(argv[2]);
    long below = atol(argv[3]);
    void **list = NULL;
    for (size_t done = 0; done < TOTAL; done += size) {
        void **p = malloc(size);

        if (p == NULL)
            return 3;
        for (size_t i = 0; i < size; i += PAGE)
            ((char *)p)[i] = 1;
        *p = list;
        list = p;
    }
    long full = resident_kib();
    while (list != NULL) {
        void **next = *list;

        free(list);
        list = next;
    }
    long started = now_ms();
    long left;
    do {
        /* As a program does that goes on: a few hundred blocks live, of all small sizes. */
        static void *kept[500];
        for (size_t i = 0; i < 20000; i++) {
            size_t at = i * 7919 % 500;

            free(kept[at]);
            kept[at] = malloc(i % 3000 + 1);
        }
        left = resident_kib();
    } while (now_ms() - started < ms || (left >= below && now_ms() - started < AT_MOST_MS));
    printf("%ld %ld\n", full, left);
    return 0;
}
