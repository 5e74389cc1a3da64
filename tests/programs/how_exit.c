/* how_exit.c WAY [STATUS] - ends the process in the way that is named, after an allocation. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void end(const char *way, int status)
{
    if (strcmp(way, "exit") == 0)
        exit(status);
    if (strcmp(way, "_exit") == 0)
        _exit(status);
    if (strcmp(way, "_Exit") == 0)
        _Exit(status);
    if (strcmp(way, "quick_exit") == 0)
        quick_exit(status);
    if (strcmp(way, "abort") == 0)
        abort();
    if (strcmp(way, "raise") == 0)
        raise(SIGTERM);
}

int main(int argc, char **argv)
{
    const char *way = argc > 1 ? argv[1] : "return";
    int status = argc > 2 ? atoi(argv[2]) : 0;
    void *volatile p = malloc(1000);
    printf("output\n");
    fflush(stdout);
    free(p);
    end(way, status);
    return status;
}
