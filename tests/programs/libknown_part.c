/* A library with a known site: opened and closed again, or stripped of its names. */
#include <stdlib.h>
#include <string.h>

void *part_fill(int n);

/* Of no name but for the debugger. */
static __attribute__((noinline)) void *part_hidden(size_t bytes)
{
    void *p = malloc(bytes);

    if (p != NULL)
        memset(p, 1, bytes);
    return p;
}

/* A chain of n blocks of 120 bytes. */
void *part_fill(int n)
{
    void **first = NULL;

    for (int i = 0; i < n; i++) {
        void **p = part_hidden(120);
        if (p == NULL)
            return first;
        *p = first;
        first = p;
    }
    return first;
}

/* Some of both ends of its life is spent in malloc, too. */
static void *kept;

__attribute__((constructor)) static void open_part(void)
{
    kept = part_hidden(200);
}

__attribute__((destructor)) static void close_part(void)
{
    free(kept);
    free(part_hidden(300));
}
