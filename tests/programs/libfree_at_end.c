/* libfree_at_end.c - FREE_AT_END blocks live from the library's constructor to its destructor. */
#include <stdlib.h>

enum { MOST = 1000 };
static void *block[MOST];
static int count;

__attribute__((constructor)) static void start(void)
{
    const char *n = getenv("FREE_AT_END");
    count = n == NULL ? 0 : atoi(n);
    for (int i = 0; i < count && i < MOST; i++)
        block[i] = malloc((size_t)i * 100 + 1);
}

__attribute__((destructor)) static void end(void)
{
    for (int i = 0; i < count && i < MOST; i++)
        free(block[i]);
}
