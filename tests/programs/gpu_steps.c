/* Uses CUDA as told, a line of standard input at a time, and answers each with a line; knows
 * nothing of XSigma. The driver is opened and its functions looked up, as Numba does.
 *   m SIZE  allocate    f  free the last one    n COUNT  as many allocations and frees of 4 KiB
 *   pin SIZE  unpin  the same with pinned host memory    host SIZE  malloc, kept
 *   async SIZE  of a pool of the driver's, kept: so much less for everybody else
 *   fork  a child comes and goes    sleep  1.1 s    exec  start over, as the same process
 *   exit  _exit  abort  kill  ways to end */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/cuda/look_up.h"

static int (*cuInit)(unsigned);
static int (*cuDevicePrimaryCtxRetain)(void **, int);
static int (*cuCtxSetCurrent)(void *);
static int (*cuMemAlloc)(unsigned long long *, size_t);
static int (*cuMemFree)(unsigned long long);
static int (*cuMemHostAlloc)(void **, size_t, unsigned);
static int (*cuMemFreeHost)(void *);
static int (*cuMemAllocAsync)(unsigned long long *, size_t, void *);

static unsigned long long blocks[1024];
static unsigned count;
static void *pinned[64];
static unsigned pinned_count;

static int begin(void)
{
    void *ctx = NULL;

    *(void **)&cuInit = look_up("cuInit");
    *(void **)&cuDevicePrimaryCtxRetain = look_up("cuDevicePrimaryCtxRetain");
    *(void **)&cuCtxSetCurrent = look_up("cuCtxSetCurrent");
    *(void **)&cuMemAlloc = look_up("cuMemAlloc_v2");
    *(void **)&cuMemFree = look_up("cuMemFree_v2");
    *(void **)&cuMemHostAlloc = look_up("cuMemHostAlloc");
    *(void **)&cuMemFreeHost = look_up("cuMemFreeHost");
    *(void **)&cuMemAllocAsync = look_up("cuMemAllocAsync");
    int rc = cuInit(0);
    if (rc == 0)
        rc = cuDevicePrimaryCtxRetain(&ctx, 0);
    if (rc == 0)
        rc = cuCtxSetCurrent(ctx);
    return rc;
}

static int allocate(size_t size)
{
    int rc = cuMemAlloc == NULL ? begin() : 0;

    if (rc == 0)
        rc = cuMemAlloc(&blocks[count], size);
    count += rc == 0;
    return rc;
}

static int pin(size_t size)
{
    int rc = cuMemAlloc == NULL ? begin() : 0;

    if (rc == 0)
        rc = cuMemHostAlloc(&pinned[pinned_count], size, 0);
    pinned_count += rc == 0;
    return rc;
}

static int take(size_t size)
{
    unsigned long long taken;
    int rc = cuMemAlloc == NULL ? begin() : 0;

    return rc == 0 ? cuMemAllocAsync(&taken, size, NULL) : rc;
}

static int keep(size_t size)
{
    static char *volatile kept;

    kept = malloc(size);
    if (kept != NULL)
        memset(kept, 1, size);
    return kept == NULL;
}

static int pairs(int n)
{
    int rc = 0;

    for (int i = 0; i < n && rc == 0; i++) {
        rc = allocate(4096);
        if (rc == 0)
            rc = cuMemFree(blocks[--count]);
    }
    return rc;
}

static int step(const char *line, char **argv)
{
    int status = -1;

    if (strncmp(line, "async ", 6) == 0)
        return take(strtoul(line + 6, NULL, 10));
    if (line[0] == 'm')
        return allocate(strtoul(line + 1, NULL, 10));
    if (line[0] == 'n')
        return pairs(atoi(line + 1));
    if (strncmp(line, "pin ", 4) == 0)
        return pin(strtoul(line + 4, NULL, 10));
    if (strcmp(line, "unpin") == 0)
        return cuMemFreeHost(pinned[--pinned_count]);
    if (strncmp(line, "host ", 5) == 0)
        return keep(strtoul(line + 5, NULL, 10));
    if (strcmp(line, "f") == 0)
        return cuMemFree(blocks[--count]);
    if (strcmp(line, "fork") == 0) {
        pid_t child = fork();
        if (child == 0)
            exit(0);
        waitpid(child, &status, 0);
        return status;
    }
    if (strcmp(line, "sleep") == 0)
        return usleep(1100000);
    if (strcmp(line, "exec") == 0)
        execv("/proc/self/exe", argv);
    if (strcmp(line, "exit") == 0)
        exit(0);
    if (strcmp(line, "_exit") == 0)
        _exit(0);
    if (strcmp(line, "abort") == 0)
        abort();
    if (strcmp(line, "kill") == 0)
        raise(SIGKILL);
    return status;
}

int main(int argc, char **argv)
{
    char line[64];
    size_t len = 0;

    (void)argc;
    setvbuf(stdout, NULL, _IOLBF, 0);
    /* A byte at a time: exec must find the rest. */
    while (read(STDIN_FILENO, line + len, 1) == 1) {
        if (line[len] != '\n') {
            len += len < sizeof(line) - 1;
            continue;
        }
        line[len] = '\0';
        len = 0;
        printf("%s %d\n", line, step(line, argv));
    }
    return 0;
}
