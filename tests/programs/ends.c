/* ends.c WAY BLOCKS [CHILDREN] - allocates BLOCKS times 100 bytes, frees every fourth, and ends in
 * the way that is named. With CHILDREN, so many children do the same first, each with as many more
 * blocks as its number says, and end in all ways in turn. Nothing else is allocated. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *const ways[] = {"return", "exit", "_exit", "term", "kill", "overflow"};
#define WAYS (sizeof(ways) / sizeof(ways[0]))

static volatile int depth;

static __attribute__((noinline)) int overflow(volatile char *above)
{
    volatile char frame[4096];

    frame[0] = above != NULL ? above[0] : 0;
    depth++;
    return depth < 0 ? 0 : overflow(frame) + frame[0];
}

static void allocate(long blocks)
{
    for (long i = 0; i < blocks; i++) {
        char *volatile p = malloc(100);
        if (i % 4 == 0)
            free(p);
    }
}

static int end(const char *way)
{
    const struct rlimit no_core = {0, 0};

    setrlimit(RLIMIT_CORE, &no_core);
    if (strcmp(way, "exit") == 0)
        exit(3);
    if (strcmp(way, "_exit") == 0)
        _exit(3);
    if (strcmp(way, "term") == 0)
        raise(SIGTERM);
    if (strcmp(way, "kill") == 0)
        raise(SIGKILL);
    if (strcmp(way, "abort") == 0)
        abort();
    if (strcmp(way, "trap") == 0) /* as libc's own abort, that nobody can interpose */
        raise(SIGABRT);
    if (strcmp(way, "overflow") == 0)
        return overflow(NULL);
    return 3;
}

int main(int argc, char **argv)
{
    long blocks = argc > 2 ? atol(argv[2]) : 0;
    int children = argc > 3 ? atoi(argv[3]) : 0;
    int failed = 0;

    for (int i = 0; i < children; i++) {
        pid_t child = fork();
        if (child == 0) {
            allocate(blocks + i);
            return end(ways[(size_t)i % WAYS]);
        }
        failed += child < 0;
        /* A few at a time. */
        if (i % 8 == 7)
            while (wait(NULL) > 0)
                ;
    }
    while (wait(NULL) > 0)
        ;
    allocate(blocks);
    return failed != 0 ? 99 : end(argc > 1 ? argv[1] : "return");
}
