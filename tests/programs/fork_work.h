/* What the programs that fork among busy threads share. */
#ifndef XS_TESTS_FORK_WORK_H
#define XS_TESTS_FORK_WORK_H

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static unsigned step(unsigned *random)
{
    *random = *random * 1664525u + 1013904223u;
    return *random >> 8;
}

/* One block in, and the one that was there out: mostly another thread's, so that frees are remote,
 * too. */
static void put_in(_Atomic(char *) *slot, size_t size, unsigned mark)
{
    char *p = malloc(size);
    if (p == NULL)
        abort();
    p[0] = (char)mark;
    p[size - 1] = (char)mark;
    free(atomic_exchange(slot, p));
}

/* In a child, which ends with 3 or 4 if a block is refused or loses what was in it. */
static void use_block(size_t size)
{
    char *p = malloc(size);
    if (p == NULL)
        _exit(3);
    memset(p, 'c', size);
    p = realloc(p, size * 2);
    if (p == NULL || p[size - 1] != 'c')
        _exit(4);
    free(p);
}

#endif
