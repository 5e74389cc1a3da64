/* sparse.c - asks twice for zeroed arrays of 150 MiB together, of which it uses little, as
 * solvers do that allocate for the largest case; in between it frees them and uses 40 MiB there.
 * Prints the resident KiB with the second ones. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "resident.h"

enum { MIB = 1 << 20, LARGE = 75 * MIB, USED = 2 * MIB };

static char *volatile blocks[2];

int main(void)
{
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 2; i++) {
            blocks[i] = calloc(LARGE / 4, 4);
            if (blocks[i] == NULL)
                return 3;
        }
        for (int i = 0; i < 2; i++)
            memset(blocks[i], 1, USED);
        if (round == 1)
            break;
        free(blocks[1]);
        free(blocks[0]);
        char *volatile p = malloc(40 * MIB);
        memset(p, 2, 40 * MIB);
        free(p);
    }
    long kib = resident_kib();
    for (int i = 0; i < 2; i++)
        for (size_t at = USED; at < LARGE; at++)
            if (blocks[i][at] != 0)
                return 4;
    printf("%ld\n", kib);
    return 0;
}
