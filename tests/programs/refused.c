/* refused.c [WHAT] - some traffic, and with WHAT requests between that no allocator can meet:
 * "malloc" 11 of malloc, "all" 4 more of its relatives and 2 of realloc. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static size_t hide(size_t n)
{
    __asm__ volatile("" : "+r"(n));
    return n;
}

static int refuse_malloc(void)
{
    int got = 0;
    for (size_t i = 0; i < 10; i++)
        got += malloc(hide(SIZE_MAX - i)) != NULL;
    got += malloc(hide((size_t)1 << 62)) != NULL;
    return got;
}

static int refuse_relatives(void *block)
{
    void *p = NULL;
    int got = 0;
    got += calloc(1, hide((size_t)1 << 62)) != NULL;
    got += calloc(hide((size_t)1 << 61), 2) != NULL;
    got += aligned_alloc(64, hide((size_t)1 << 62)) != NULL;
    got += posix_memalign(&p, 64, hide((size_t)1 << 62)) == 0;
    got += realloc(block, hide((size_t)1 << 62)) != NULL;
    got += realloc(block, hide(SIZE_MAX - 1)) != NULL;
    return got;
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";
    void *block[100];
    int got = 0;
    for (size_t i = 0; i < 100; i++)
        block[i] = malloc(hide(i * 100));
    if (strcmp(what, "") != 0)
        got += refuse_malloc();
    if (strcmp(what, "all") == 0)
        got += refuse_relatives(block[50]);
    for (size_t i = 0; i < 100; i += 2)
        free(block[i]);
    return got;
}
