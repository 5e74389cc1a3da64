/* free_errno_locked.c - free keeps errno while all memory is locked, when the kernel refuses to
 * take pages back. 77: this process may not lock its memory. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

enum { BLOCKS = 40, ROUNDS = 12, MARK = 12345 };

static int changed;
static int last;

static void drop(void *p)
{
    errno = MARK;
    free(p);
    if (errno != MARK) {
        last = errno;
        changed++;
    }
}

int main(void)
{
    /* Allocators give pages back after a while, some 10 ms. */
    const struct timespec pause = {0, 5000000};
    if (mlockall(MCL_CURRENT | MCL_FUTURE) != 0) {
        perror("mlockall");
        return 77;
    }
    for (int round = 0; round < ROUNDS; round++) {
        void *block[BLOCKS];
        for (size_t i = 0; i < BLOCKS; i++) {
            block[i] = malloc(300000 + i * 10000);
            if (block[i] != NULL)
                memset(block[i], 1, 1000);
        }
        void *big = malloc((size_t)24 << 20);
        for (size_t i = 0; i < BLOCKS; i++)
            drop(block[i]);
        drop(big);
        nanosleep(&pause, NULL);
    }
    if (changed != 0)
        printf("free changed errno %d times, at last to %s\n", changed, strerror(last));
    return changed != 0;
}
