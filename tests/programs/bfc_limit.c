/* bfc_limit.c BLOCK_BYTES - allocates blocks until there is no more, frees every other one and goes
 * on until there is no more again. Prints the bytes it had when the first NULL came, what it could
 * get after the frees, and how many NULLs malloc and realloc gave: "live again failures". */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { GIVE_UP = 1 << 20, NULLS = 5 };

static void *block[GIVE_UP];
static size_t blocks;
static size_t failures;

/* Adds blocks up to the first NULL; false if that came without ENOMEM. */
static int fill(size_t size)
{
    while (blocks < GIVE_UP) {
        errno = 0;
        void *p = malloc(size);

        if (p == NULL) {
            failures++;
            return errno == ENOMEM;
        }
        memset(p, 1, size < 4096 ? size : 4096);
        block[blocks++] = p;
    }
    return 0;
}

int main(int argc, char **argv)
{
    static char buffer[BUFSIZ];
    size_t size = argc > 1 ? strtoul(argv[1], NULL, 10) : 0;

    setvbuf(stdout, buffer, _IOFBF, sizeof(buffer)); /* stdio asks for nothing */
    if (size == 0 || !fill(size))
        return 1;
    size_t live = blocks * size;
    /* Still none, by each way of asking; the last is the largest. */
    for (size_t i = 0; i < NULLS; i++) {
        errno = 0;
        if (malloc(((size_t)100 << 20) + i) != NULL || errno != ENOMEM)
            return 3;
        failures++;
    }
    errno = 0;
    if (realloc(block[0], (size_t)200 << 20) != NULL || errno != ENOMEM)
        return 4;
    size_t kept = 0;
    for (size_t i = 0; i < blocks; i++) {
        if (i % 2 == 0)
            free(block[i]);
        else
            block[kept++] = block[i];
    }
    blocks = kept;
    if (!fill(size))
        return 5;
    printf("%zu %zu %zu\n", live, (blocks - kept) * size, failures);
    while (blocks > 0)
        free(block[--blocks]);
    free(malloc(size));
    return 0;
}
