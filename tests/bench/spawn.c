/* spawn.c RESULTS [NAME=VALUE...] COMMAND [ARGUMENT...] - runs a command and says what it used.
 *
 * Writes to the file RESULTS, as lines "name value": its exit status, its user and system time and
 * its peak RSS, those of its waited-for children included, and the instructions in user space of
 * all of them where the machine counts these. A child's ru_maxrss begins with the peak of the
 * process that spawned it, so the spawning process has to be as small as this one is. Status: the
 * command's, 128 + the signal that ended it, or 127 when it cannot be run.
 */
#include <errno.h>
#include <linux/perf_event.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static long long micros(struct timeval t)
{
    return t.tv_sec * 1000000LL + t.tv_usec;
}

/* Where memory does not suffice for the largest loads, they are to end and nobody else. */
static void go_first(void)
{
    FILE *score = fopen("/proc/self/oom_score_adj", "w");

    if (score == NULL)
        return;
    fputs("1000", score);
    fclose(score);
}

/* A counter that children inherit, or -1. */
static int count_instructions(void)
{
    struct perf_event_attr attr = {.type = PERF_TYPE_HARDWARE,
                                   .size = sizeof(attr),
                                   .config = PERF_COUNT_HW_INSTRUCTIONS,
                                   .inherit = 1,
                                   .exclude_kernel = 1,
                                   .exclude_hv = 1};

    return (int)syscall(SYS_perf_event_open, &attr, 0, -1, -1, PERF_FLAG_FD_CLOEXEC);
}

int main(int argc, char **argv)
{
    int at = 2, status, counter;
    long long instructions;
    struct rusage used;
    pid_t pid;
    FILE *results;

    while (at < argc && strchr(argv[at], '=') != NULL && strchr(argv[at], '/') != argv[at])
        putenv(argv[at++]);
    if (at >= argc) {
        fputs("usage: spawn RESULTS [NAME=VALUE...] COMMAND [ARGUMENT...]\n", stderr);
        return 2;
    }
    go_first();
    counter = count_instructions();
    status = posix_spawnp(&pid, argv[at], NULL, NULL, argv + at, environ);
    if (status != 0) {
        fprintf(stderr, "spawn: %s: %s\n", argv[at], strerror(status));
        return 127;
    }
    while (wait4(pid, &status, 0, &used) < 0) {
        if (errno != EINTR) {
            perror("spawn: wait4");
            return 127;
        }
    }
    status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    results = fopen(argv[1], "w");
    if (results == NULL) {
        perror(argv[1]);
        return 127;
    }
    fprintf(results, "status %d\nuser_us %lld\nsystem_us %lld\npeak_rss_kib %ld\n", status,
            micros(used.ru_utime), micros(used.ru_stime), used.ru_maxrss);
    if (counter >= 0 &&
        read(counter, &instructions, sizeof(instructions)) == sizeof(instructions) &&
        instructions > 0)
        fprintf(results, "instructions %lld\n", instructions);
    if (fclose(results) != 0) {
        perror(argv[1]);
        return 127;
    }
    return status;
}
