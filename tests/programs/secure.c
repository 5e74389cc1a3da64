/* secure.c [any] - status 77 unless the kernel started this program in secure mode (or "any"). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>

int main(int argc, char **argv)
{
    if (getauxval(AT_SECURE) == 0 && (argc < 2 || strcmp(argv[1], "any") != 0))
        return 77;
    char *p = malloc(1000);
    p = realloc(p, 100000);
    free(p);
    puts("ran");
    return 0;
}
