/* Waiting for a run of `xsigma tune`: to its end, to a signal for us, or as long as it may take. */
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tool/tune.h"

#define TREE_MOST 1024

static volatile sig_atomic_t caught;
static volatile sig_atomic_t running;

int xs_tune_interrupted(void)
{
    return (int)caught;
}

/* From a terminal the program gets ^C itself; of other senders it would not hear. One that goes on
 * all the same is killed by the second signal. */
static void on_signal(int signal)
{
    if (running != 0)
        kill((pid_t)running, caught != 0 ? SIGKILL : signal);
    caught = signal;
}

static sigset_t only_child(void)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    return set;
}

/* SIGCHLD is asked for, not caught, so that none comes unnoticed between a look and a wait. */
void xs_tune_catch_signals(void)
{
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
    struct sigaction sa = {.sa_handler = on_signal}; /* no SA_RESTART: waits end */
    const sigset_t set = only_child();

    for (size_t i = 0; i < XS_COUNT_OF(signals); i++)
        sigaction(signals[i], &sa, NULL);
    sigprocmask(SIG_BLOCK, &set, NULL);
}

void xs_tune_become_program(void)
{
    const sigset_t set = only_child();

    sigprocmask(SIG_UNBLOCK, &set, NULL);
}

/* ---- an end to it ------------------------------------------------------------------------- */

struct tree {
    pid_t pid[TREE_MOST];
    size_t count;
};

static pid_t parent_of(const char *pid)
{
    char path[300];
    char line[512];
    int parent = 0;

    snprintf(path, sizeof(path), "/proc/%s/stat", pid);
    FILE *f = fopen(path, "re");
    if (f == NULL)
        return 0;
    if (fgets(line, sizeof(line), f) != NULL) {
        /* The name may hold anything, a parenthesis too. */
        const char *after = strrchr(line, ')');
        if (after == NULL || sscanf(after + 1, " %*c %d", &parent) != 1)
            parent = 0;
    }
    fclose(f);
    return parent;
}

static bool is_in(const struct tree *t, pid_t pid)
{
    for (size_t i = 0; i < t->count; i++)
        if (t->pid[i] == pid)
            return true;
    return false;
}

/* Stops those of the tree that are not in it yet: true if there were any. */
static bool grow(struct tree *t)
{
    const struct dirent *d;
    size_t had = t->count;
    DIR *dir = opendir("/proc");

    while (dir != NULL && (d = readdir(dir)) != NULL) {
        pid_t pid = (pid_t)strtol(d->d_name, NULL, 10);
        if (pid <= 0 || t->count == TREE_MOST || is_in(t, pid) || !is_in(t, parent_of(d->d_name)))
            continue;
        t->pid[t->count++] = pid;
        kill(pid, SIGSTOP);
    }
    if (dir != NULL)
        closedir(dir);
    return t->count != had;
}

/* With all that it has started; stopped first, so that nobody starts more or loses his parent. */
static void kill_tree(pid_t pid)
{
    struct tree t = {.pid = {pid}, .count = 1};

    kill(pid, SIGSTOP);
    while (grow(&t))
        ;
    for (size_t i = 0; i < t.count; i++)
        kill(t.pid[i], SIGKILL);
}

/* ---- waiting ------------------------------------------------------------------------------ */

static uint64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* Until a child ends, a signal comes, or the time is up. */
static void sleep_until(uint64_t end_ns)
{
    const sigset_t set = only_child();
    uint64_t now = now_ns();
    uint64_t left = end_ns > now ? end_ns - now : 0;
    const struct timespec t = {(time_t)(left / 1000000000), (long)(left % 1000000000)};

    (void)sigtimedwait(&set, NULL, &t);
}

enum xs_tune_end xs_tune_wait(pid_t pid, uint64_t limit_ns, int *status, struct rusage *usage)
{
    uint64_t end_ns = limit_ns == 0 ? UINT64_MAX : now_ns() + limit_ns;
    bool is_late = false;
    pid_t done;

    running = pid;
    if (caught != 0)
        kill(pid, (int)caught);
    while ((done = wait4(pid, status, WNOHANG, usage)) == 0 || (done < 0 && errno == EINTR)) {
        if (is_late || now_ns() < end_ns) {
            sleep_until(is_late ? UINT64_MAX : end_ns);
        } else {
            is_late = true;
            kill_tree(pid);
        }
    }
    running = 0;
    return caught != 0 ? XS_TUNE_INTERRUPTED : is_late ? XS_TUNE_LATE : XS_TUNE_ENDED;
}
