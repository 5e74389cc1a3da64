/* A block that doubles as a vector does, by malloc, copy and free. Prints the most KiB that were
 * resident beyond what is copied from and to at the end. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#define FROM ((size_t)1 << 20)
#define TO   ((size_t)128 << 20)

int main(void)
{
    struct rusage use;
    char *block = malloc(FROM);

    if (block == NULL)
        return 1;
    memset(block, 1, FROM);
    for (size_t size = 2 * FROM; size <= TO; size *= 2) {
        char *next = malloc(size);
        if (next == NULL)
            return 1;
        memcpy(next, block, size / 2);
        memset(next + size / 2, 1, size / 2);
        free(block);
        block = next;
    }
    getrusage(RUSAGE_SELF, &use);
    printf("%ld\n", use.ru_maxrss - (long)((TO + TO / 2) >> 10));
    return block[TO - 1] == 1 ? 0 : 2;
}
