/* pairs.c N - N times malloc(64) and free, for counting instructions. */
#include <stdlib.h>

int main(int argc, char **argv)
{
    for (long n = argc > 1 ? atol(argv[1]) : 1000; n > 0; n--) {
        void *p = malloc(64);
        __asm__ volatile("" : "+r"(p) : : "memory");
        free(p);
    }
    return 0;
}
