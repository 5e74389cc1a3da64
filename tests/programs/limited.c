/* limited.c MIB - allocates that many MiB in blocks of 1 MiB and of 100 bytes, then frees them. For
 * use under a limit on address space. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(int argc, char **argv)
{
    size_t mib = argc > 1 ? (size_t)atoi(argv[1]) : 100;
    size_t small = 100;
    size_t count = mib * 10000 / 2;
    char **list = NULL;
    char **large = calloc(mib, sizeof(*large));
    for (size_t i = 0; large != NULL && i < mib / 2; i++) {
        large[i] = malloc(1 << 20);
        if (large[i] == NULL) {
            printf("large block %zu: %s\n", i, strerror(errno));
            return 1;
        }
        memset(large[i], 1, 1 << 20);
    }
    list = calloc(count, sizeof(*list));
    for (size_t i = 0; list != NULL && i < count; i++) {
        list[i] = malloc(small);
        if (list[i] == NULL) {
            printf("small block %zu: %s\n", i, strerror(errno));
            return 1;
        }
        list[i][0] = 1;
    }
    if (large == NULL || list == NULL)
        return 1;
    errno = 0;
    void *volatile too_much = malloc((size_t)1 << 40);
    if (too_much != NULL || errno != ENOMEM) {
        puts("1 TiB under a limit was not refused with ENOMEM");
        return 1;
    }
    for (size_t i = 0; i < count; i++)
        free(list[i]);
    for (size_t i = 0; i < mib / 2; i++)
        free(large[i]);
    free(list);
    free(large);
    puts("fits");
    return 0;
}
