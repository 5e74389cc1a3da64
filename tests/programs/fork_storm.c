/* fork_storm.c - fills 64 MiB, frees them, and forks 20 children. Prints the resident KiB when it
 * was full, and after the forks. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "resident.h"

enum { SIZE = 60000, BLOCKS = (64 << 20) / SIZE };

int main(void)
{
    static void *block[BLOCKS];

    for (int i = 0; i < BLOCKS; i++) {
        block[i] = malloc(SIZE);
        memset(block[i], 1, SIZE);
    }
    long full = resident_kib();
    for (int i = 0; i < BLOCKS; i++)
        free(block[i]);
    for (int i = 0; i < 20; i++) {
        pid_t child = fork();
        if (child == 0)
            _exit(0);
        waitpid(child, NULL, 0);
    }
    printf("%ld %ld\n", full, resident_kib());
    return 0;
}
