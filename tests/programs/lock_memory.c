/* lock_memory.c - mlockall of everything now and later, then ordinary use of memory. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

int main(void)
{
    free(malloc(100));
    if (mlockall(MCL_CURRENT | MCL_FUTURE) != 0) {
        printf("mlockall: %s\n", strerror(errno));
        return 1;
    }
    for (int round = 0; round < 5; round++) {
        void *block[200];
        for (size_t i = 0; i < 200; i++) {
            block[i] = malloc(i * 50 + 1);
            if (block[i] == NULL) {
                printf("malloc: %s\n", strerror(errno));
                return 1;
            }
            memset(block[i], 1, i * 50 + 1);
        }
        for (size_t i = 0; i < 200; i++)
            free(block[i]);
        void *big = calloc(1, 1 << 20);
        if (big == NULL) {
            printf("calloc: %s\n", strerror(errno));
            return 1;
        }
        free(big);
    }
    puts("locked");
    return 0;
}
