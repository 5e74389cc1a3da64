/* large_edges.c - blocks around 16 MiB and 32 MiB and up to 200 MiB, grown and shrunk across them,
 * and small ones of wide alignment. Every byte that counts is checked. Prints how many blocks it
 * asked for of more than 16 MiB or more than 64 KiB of alignment. */
#include <malloc.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MIB ((size_t)1 << 20)

static unsigned large;

static void need(int ok, const char *what, size_t size)
{
    if (ok)
        return;
    fprintf(stderr, "%s: %zu\n", what, size);
    exit(1);
}

/* The first byte, the last, and one of each MiB. */
static void mark(char *p, size_t size)
{
    for (size_t at = 0; at < size; at += MIB)
        p[at] = (char)(at / MIB + 1);
    p[size - 1] = 77;
}

static void check(const char *p, size_t size)
{
    for (size_t at = 0; at < size - 1; at += MIB)
        need(p[at] == (char)(at / MIB + 1), "lost", at);
}

static char *grown(char *p, size_t from, size_t to)
{
    char *q = realloc(p, to);
    need(q != NULL && malloc_usable_size(q) >= to, "realloc", to);
    check(q, from < to ? from : to);
    mark(q, to);
    return q;
}

int main(void)
{
    static const size_t sizes[] = {MIB,      16 * MIB - 1, 16 * MIB,     16 * MIB + 1,
                                   32 * MIB, 33 * MIB,     100 * MIB + 7};
    static const size_t aligns[] = {64, 4096, 65536, 131072, MIB, 4 * MIB, 16 * MIB};

    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        char *p = malloc(sizes[i]);
        need(p != NULL && malloc_usable_size(p) >= sizes[i], "malloc", sizes[i]);
        mark(p, sizes[i]);
        char *z = calloc(1, sizes[i]);
        need(z != NULL && z[0] == 0 && z[sizes[i] - 1] == 0, "calloc", sizes[i]);
        free(z);
        large += sizes[i] > 16 * MIB ? 2 : 0;
        p = grown(p, sizes[i], 100);
        p = grown(p, 100, sizes[i]);
        p = grown(p, sizes[i], 2 * sizes[i]);
        p = grown(p, 2 * sizes[i], 64 * MIB);
        free(p);
    }
    for (size_t i = 0; i < sizeof(aligns) / sizeof(aligns[0]); i++) {
        char *p = memalign(aligns[i], 1000);
        need(p != NULL && (uintptr_t)p % aligns[i] == 0, "memalign", aligns[i]);
        mark(p, 1000);
        free(grown(p, 1000, 5000));
        p = memalign(aligns[i], 20 * MIB);
        need(p != NULL && (uintptr_t)p % aligns[i] == 0, "memalign of 20 MiB", aligns[i]);
        free(p);
        large += aligns[i] > 65536 ? 2 : 1;
    }
    printf("%u\n", large);
    return 0;
}
