/* cache_heavy.c LIVE_MIB SWING_MIB ROUNDS - holds LIVE_MIB, and in each round fills SWING_MIB with
 * blocks and frees them: of 3,000 bytes in one round, of 40,000 in the next, so that what one
 * leaves behind is of no use to the other. Prints "ok", or at which round there was no more. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(int argc, char **argv)
{
    if (argc != 4)
        return 2;
    size_t live = strtoul(argv[1], NULL, 10);
    size_t swing = strtoul(argv[2], NULL, 10) << 20;
    int rounds = atoi(argv[3]);

    for (size_t i = 0; i < live; i++) {
        char *p = malloc((size_t)1 << 20);
        if (p == NULL)
            return 3;
        memset(p, 1, (size_t)1 << 20);
    }
    for (int r = 0; r < rounds; r++) {
        size_t size = r % 2 != 0 ? 40000 : 3000;
        size_t n = swing / size;
        char **block = malloc(n * sizeof(*block));
        for (size_t i = 0; i < n; i++) {
            block[i] = malloc(size);
            if (block[i] == NULL) {
                printf("round %d\n", r);
                return 4;
            }
            memset(block[i], 1, size);
        }
        for (size_t i = 0; i < n; i++)
            free(block[i]);
        free(block);
    }
    puts("ok");
    return 0;
}
