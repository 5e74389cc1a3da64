/* One run of the program that is tuned: its environment, its figures, whether it did its work. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "report/cells.h"
#include "tool/input.h"
#include "tool/scratch.h"
#include "tool/tool.h"
#include "tool/tune.h"

static void path_of(const struct xs_tune *t, const char *name, char *out, size_t cap)
{
    snprintf(out, cap, "%s/%s", t->directory, name);
}

static bool has_reports(const struct xs_tune *t)
{
    const struct dirent *d;
    DIR *dir = opendir(t->directory);
    bool any = false;

    while (dir != NULL && !any && (d = readdir(dir)) != NULL)
        any = strncmp(d->d_name, "report-", 7) == 0;
    if (dir != NULL)
        closedir(dir);
    return any;
}

/* ---- the child ----------------------------------------------------------------------------- */

static void put_at(int fd, const char *path, int flags)
{
    int opened = open(path, flags | O_CLOEXEC, 0600);

    if (opened >= 0)
        dup2(opened, fd);
}

static _Noreturn void become(const struct xs_tune *t, const struct xs_tune_candidate *c,
                             bool reports)
{
    char path[512];

    xs_tune_become_program();
    /* A file is read from its start each time; what can be read only once, not at all. */
    if (lseek(STDIN_FILENO, 0, SEEK_SET) < 0)
        put_at(STDIN_FILENO, "/dev/null", O_RDONLY);
    path_of(t, "stdout", path, sizeof(path));
    put_at(STDOUT_FILENO, path, O_WRONLY | O_CREAT | O_TRUNC);
    path_of(t, "stderr", path, sizeof(path));
    put_at(STDERR_FILENO, path, O_WRONLY | O_CREAT | O_TRUNC);
    path_of(t, "report-%p.json", path, sizeof(path));
    setenv("XSIGMA_STATS_FILE", path, 1);
    setenv("XSIGMA_STATS_FORMAT", "json", 1);
    if (reports) {
        setenv("XSIGMA_STATS", "auto", 1);
        setenv("XSIGMA_STATS_CHILDREN", "1", 1);
    }
    for (unsigned i = 0; i < c->settings; i++)
        setenv(c->setting[i].name, c->setting[i].value, 1);
    execvp(t->program, t->argv);
    _exit(errno == ENOENT ? XS_EXIT_NOT_FOUND : XS_EXIT_NOT_EXECUTABLE);
}

/* ---- afterwards ---------------------------------------------------------------------------- */

static uint64_t ns_of(const struct timeval *tv)
{
    return (uint64_t)tv->tv_sec * 1000000000 + (uint64_t)tv->tv_usec * 1000;
}

/* Of all processes and devices. */
static bool gpu_peak(const struct xs_tune *t, uint64_t *figure)
{
    struct xs_inputs in = {0};
    bool any = false;

    if (!has_reports(t) || xs_inputs_add(&in, t->directory) != 0)
        return false;
    *figure = 0;
    for (size_t i = 0; i < in.count; i++)
        for (unsigned d = 0; d < in.at[i].report.gpu_count; d++) {
            *figure += in.at[i].report.gpu[d].stats.reserved_bytes_peak;
            any = true;
        }
    xs_inputs_free(&in);
    return any;
}

/* The check reads what the program wrote. */
static bool passes(const struct xs_tune *t)
{
    char path[512];
    struct rusage ignored;
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        xs_tune_become_program();
        path_of(t, "stdout", path, sizeof(path));
        put_at(STDIN_FILENO, path, O_RDONLY);
        unsetenv("LD_PRELOAD");
        dup2(STDERR_FILENO, STDOUT_FILENO);
        execl("/bin/sh", "sh", "-c", t->check, (char *)NULL);
        _exit(XS_EXIT_NOT_FOUND);
    }
    if (pid < 0)
        return false;
    return xs_tune_wait(pid, t->limit_ns, &status, &ignored) == XS_TUNE_ENDED &&
           WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static void judge(struct xs_tune *t, struct xs_tune_candidate *c, int status)
{
    bool is_first = c == &t->candidate[0] && c->figure == NULL;

    if (WIFSIGNALED(status)) {
        snprintf(c->out, sizeof(c->out), "killed by signal %d (%s)", WTERMSIG(status),
                 strsignal(WTERMSIG(status)));
        return;
    }
    if (is_first)
        t->baseline_status = WEXITSTATUS(status);
    if (is_first && WEXITSTATUS(status) >= XS_EXIT_NOT_EXECUTABLE)
        snprintf(c->out, sizeof(c->out), "exit status %d", WEXITSTATUS(status));
    else if (WEXITSTATUS(status) != t->baseline_status)
        snprintf(c->out, sizeof(c->out), "exit status %d, the baseline's is %d",
                 WEXITSTATUS(status), t->baseline_status);
    else if (t->check != NULL && !passes(t) && xs_tune_interrupted() == 0)
        snprintf(c->out, sizeof(c->out), "the check failed");
}

static void put_late(const struct xs_tune *t, struct xs_tune_candidate *c)
{
    XS_BUF(limit, 32);

    xs_put_duration(&limit, t->limit_ns);
    snprintf(c->out, sizeof(c->out), "did not end within %s (--timeout)", limit.at);
}

bool xs_tune_run(struct xs_tune *t, struct xs_tune_candidate *c, bool reports, uint64_t *figure,
                 uint64_t *cost)
{
    struct rusage usage = {0};
    int status = 0;

    *figure = *cost = 0;
    if (xs_tune_interrupted() != 0)
        return false;
    xs_scratch_clear(t->directory);
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0)
        become(t, c, reports);
    if (pid < 0) {
        snprintf(c->out, sizeof(c->out), "fork: %s", strerror(errno));
        return true;
    }
    switch (xs_tune_wait(pid, t->limit_ns, &status, &usage)) {
    case XS_TUNE_INTERRUPTED:
        return false;
    case XS_TUNE_LATE:
        put_late(t, c);
        return true;
    case XS_TUNE_ENDED:
        judge(t, c, status);
    }
    if (xs_tune_interrupted() != 0)
        return false;
    const uint64_t time_ns = ns_of(&usage.ru_utime) + ns_of(&usage.ru_stime);
    const uint64_t rss_bytes = (uint64_t)usage.ru_maxrss * 1024;
    *cost = t->objective == XS_TUNE_TIME ? rss_bytes : time_ns;
    if (t->objective == XS_TUNE_TIME)
        *figure = time_ns;
    else if (t->objective == XS_TUNE_RSS)
        *figure = rss_bytes;
    else if (c->out[0] == '\0' && !gpu_peak(t, figure))
        snprintf(c->out, sizeof(c->out), "no report of a device: it used none");
    return true;
}
