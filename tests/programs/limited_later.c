/* limited_later.c MIB - sets RLIMIT_AS to MIB more than what it has, when it is well under way, and
 * allocates blocks of 100,000 bytes until there are no more; frees half of them, and gets half as
 * many again. Prints the MiB that it got, and whether it got them again. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum { SIZE = 100000, MOST = 1 << 16 };

static void *block[MOST];

int main(int argc, char **argv)
{
    unsigned long pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");

    if (argc != 2 || f == NULL || fscanf(f, "%lu", &pages) != 1)
        return 2;
    fclose(f);
    free(malloc(1 << 20));
    struct rlimit limit = {0};
    limit.rlim_cur = limit.rlim_max =
        pages * (unsigned long)sysconf(_SC_PAGESIZE) + (strtoul(argv[1], NULL, 10) << 20);
    if (setrlimit(RLIMIT_AS, &limit) != 0)
        return 3;
    size_t n = 0;
    errno = 0;
    for (; n < MOST && (block[n] = malloc(SIZE)) != NULL; n++)
        memset(block[n], 1, SIZE);
    int first = errno;
    for (size_t i = 0; i < n; i += 2)
        free(block[i]);
    size_t again = 0;
    for (size_t i = 0; i < n; i += 2)
        again += (block[i] = malloc(SIZE)) != NULL;
    printf("%zu %d %d\n", n * SIZE >> 20, first == ENOMEM, again * 100 >= (n + 1) / 2 * 95);
    return 0;
}
