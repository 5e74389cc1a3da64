/* Where the report of a process that ends goes, and on which stack it is written. */
#include "preload/finish.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <ucontext.h>
#include <unistd.h>

#include "policy/config.h"
#include "report/control.h"
#include "report/log.h"
#include "report/report.h"
#include "sys/env.h"
#include "sys/io.h"
#include "sys/lock.h"
#include "sys/proc.h"

/* Reports that may not go to stderr lie here, one a program, the last run's: beside the records, or
 * in /dev/shm where that cannot be. */
#define REPORT_DIR "%s/xsigma-%u"

XS_FORKED static struct {
    pid_t pid; /* of the process that reports when it ends; 0: none does */
    bool aside;
    const char *malloc_owner;
    _Atomic bool finished;
    _Atomic bool is_busy; /* with a report while the process runs */
    _Atomic uint64_t next_ns;
} plan;

XS_UNLIKELY_DATA static struct xs_report last; /* large, and one thread at a time gets to it */

/* Where the program was at its start, with a slash, if the report's file is named relative to that:
 * it may be elsewhere at its end, or anywhere if it is a service. */
XS_UNLIKELY_DATA static char start_directory[1028];

struct fd_sink {
    int fd;
    int error; /* the first one; nothing is written after it */
};

static void to_fd(const char *text, size_t len, void *arg)
{
    struct fd_sink *f = arg;

    if (f->error == 0)
        f->error = xs_io_write(f->fd, text, len);
}

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text);
    size_t m = strlen(end);

    return n >= m && strcmp(text + n - m, end) == 0;
}

static bool wants_json(const char *path)
{
    const char *format = xs_config(XS_KNOB_STATS_FORMAT)->text;

    return strcmp(format, "json") == 0 || (strcmp(format, "auto") == 0 && ends_with(path, ".json"));
}

static bool is_utf8(void)
{
    static const char names[][12] = {"LC_ALL", "LC_CTYPE", "LANG"};

    for (size_t i = 0; i < XS_COUNT_OF(names); i++) {
        const char *locale = xs_env_get(names[i]);
        if (locale != NULL && locale[0] != '\0')
            return strstr(locale, "UTF-8") != NULL || strstr(locale, "utf8") != NULL;
    }
    return false;
}

static void render(struct xs_report *r, const char *path, struct fd_sink *f)
{
    if (!wants_json(path)) {
        xs_report_text(r, is_utf8(), to_fd, f);
        return;
    }
    xs_report_collect_free_sizes(r);
    xs_report_json(r, to_fd, f);
}

/* True: it was written whole. */
static bool report_to_file(struct xs_report *r, const char *pattern)
{
    XS_UNLIKELY_DATA static char mem[4096]; /* only one thread ever gets here */
    struct xs_buf path;

    xs_buf_init(&path, mem, sizeof(mem));
    xs_put_str(&path, start_directory);
    xs_io_expand(&path, pattern);
    errno = ENAMETOOLONG;
    struct fd_sink f = {.fd = path.truncated ? -1 : xs_io_create(path.at, false)};
    if (f.fd < 0) {
        xs_log("the report cannot be written to %s (%s)", path.at, strerrorname_np(errno));
        return false;
    }
    render(r, path.at, &f);
    if (f.error != 0)
        xs_log("the report was not written whole to %s (%s)", path.at, strerrorname_np(f.error));
    xs_io_close(f.fd);
    return f.error == 0;
}

static bool report_beside(const char *directory, struct xs_report *r)
{
    XS_BUF(final, 256);
    XS_BUF(path, 256);
    struct stat st;

    xs_fmt(&path, REPORT_DIR, directory, (unsigned)geteuid());
    xs_fmt(&final, "%s/%s.txt", path.at, xs_proc_program());
    if (final.truncated)
        return false;
    (void)mkdir(path.at, 0700);
    if (lstat(path.at, &st) != 0 || !S_ISDIR(st.st_mode) || st.st_uid != geteuid() ||
        (st.st_mode & 0022) != 0)
        return false;
    /* Whole under another name first: the same program may be ending beside us. */
    xs_fmt(&path, "/%s.%d", xs_proc_program(), r->pid);
    struct fd_sink f = {.fd = path.truncated ? -1 : xs_io_create(path.at, true)};
    if (f.fd < 0)
        return false;
    render(r, path.at, &f);
    xs_io_close(f.fd);
    if (f.error == 0 && rename(path.at, final.at) == 0)
        return true;
    (void)unlink(path.at);
    return false;
}

/* stderr is where the program's own output goes: a report there would change what it prints. */
static bool report_aside(struct xs_report *r)
{
    const char *records = xs_config(XS_KNOB_RECORD)->text;

    return (strcmp(records, "off") != 0 && report_beside(records, r)) ||
           report_beside("/dev/shm", r);
}

static bool write_report(struct xs_report *r)
{
    const char *pattern = xs_config(XS_KNOB_STATS_FILE)->text;

    if (pattern[0] != '\0')
        return report_to_file(r, pattern);
    if (plan.aside)
        return report_aside(r);
    struct fd_sink f = {.fd = xs_io_stderr()};
    if (f.fd >= 0)
        render(r, "", &f);
    return f.fd >= 0 && f.error == 0;
}

static bool report(const char *how, int status, bool may_lock)
{
    struct xs_report *r = &last;

    xs_report_collect(r, may_lock);
    r->how = how;
    r->status = status;
    r->passive = plan.malloc_owner != NULL;
    r->passive_owner = plan.malloc_owner != NULL ? plan.malloc_owner : "";
    return write_report(r);
}

/* What nobody could be told stays in the record. */
static void finish(const char *how, int status, bool may_lock)
{
    bool told = report(how, status, may_lock);
    bool keep = xs_config(XS_KNOB_RECORD_KEEP)->num != 0;

    if (keep || !told)
        xs_report_collect_free_sizes(&last);
    xs_control_stop(&last, told, keep);
}

/* ---- a stack to do it on ---------------------------------------------------------------- */

/* A signal handler's own stack may have 8 KiB, most of them taken by the frame of the signal. */
XS_UNLIKELY_DATA static struct {
    ucontext_t back;
    ucontext_t there;
    const char *how;
    int status;
    _Alignas(16) char stack[64 << 10]; /* costs nothing until it is used */
} own;

static void finish_there(void)
{
    finish(own.how, own.status, false);
}

static void report_there(void)
{
    (void)report("snapshot", -1, false);
}

static bool on_signal_stack(void)
{
    stack_t s;

    return sigaltstack(NULL, &s) == 0 && (s.ss_flags & SS_ONSTACK) != 0;
}

static void on_own_stack(void (*run)(void))
{
    if (getcontext(&own.there) != 0)
        return;
    own.there.uc_stack.ss_sp = own.stack;
    own.there.uc_stack.ss_size = sizeof(own.stack);
    own.there.uc_link = &own.back;
    makecontext(&own.there, run, 0);
    (void)swapcontext(&own.back, &own.there);
}

void xs_finish_interval(void)
{
    uint64_t interval = xs_config(XS_KNOB_STATS_INTERVAL)->num;
    uint64_t now = xs_proc_now_ns();
    uint64_t next = atomic_load_explicit(&plan.next_ns, memory_order_relaxed);
    int cancel;

    if (now < next || plan.pid == 0 || atomic_load_explicit(&plan.finished, memory_order_relaxed))
        return;
    /* The first look only sets the time. Whoever moves it on reports. */
    if (!atomic_compare_exchange_strong_explicit(&plan.next_ns, &next, now + interval,
                                                 memory_order_relaxed, memory_order_relaxed) ||
        next == 0 || plan.pid != getpid() ||
        atomic_exchange_explicit(&plan.is_busy, true, memory_order_acquire))
        return;
    int saved = errno;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
    on_own_stack(report_there); /* that of a thread may be small */
    pthread_setcancelstate(cancel, NULL);
    errno = saved;
    atomic_store_explicit(&plan.is_busy, false, memory_order_release);
}

void xs_finish(const char *how, int status, bool may_lock)
{
    int saved = errno;
    int cancel;

    if (plan.pid == 0 || plan.pid != getpid()) {
        xs_control_stop(NULL, true, false);
        return;
    }
    if (atomic_exchange_explicit(&plan.finished, true, memory_order_acq_rel))
        return;
    /* Another thread may be in the middle of a report, but not for long; if this one is, it was
     * interrupted, and its own is lost. */
    for (int tries = 0; tries < 2000 && atomic_load_explicit(&plan.is_busy, memory_order_acquire);
         tries++)
        xs_pause_ns(1000000);
    /* _exit is no cancellation point, but reading and writing are. */
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
    own.how = how;
    own.status = status;
    if (on_signal_stack())
        on_own_stack(finish_there);
    else
        finish(how, status, may_lock);
    pthread_setcancelstate(cancel, NULL);
    errno = saved;
}

/* ---- who reports ------------------------------------------------------------------------ */

bool xs_finish_plan(bool is_root, const char *malloc_owner)
{
    const char *stats = xs_config(XS_KNOB_STATS)->text;
    bool to_file = xs_config(XS_KNOB_STATS_FILE)->text[0] != '\0';
    bool always = strcmp(stats, "1") == 0;

    plan.malloc_owner = malloc_owner;
    if (strcmp(stats, "0") == 0 || (!is_root && xs_config(XS_KNOB_STATS_CHILDREN)->num == 0))
        return false;
    /* Nothing passed through us: only who asked outright wants to read that. */
    if (malloc_owner != NULL && !always && !to_file)
        return false;
    plan.pid = getpid();
    plan.aside = !always && (xs_io_stderr_is_stdout() || (is_root && xs_proc_is_orphan()));
    /* Where the name is absolute, nothing is written: that would cost a page. */
    if (to_file && xs_config(XS_KNOB_STATS_FILE)->text[0] != '/') {
        struct xs_buf b;
        xs_buf_init(&b, start_directory, sizeof(start_directory));
        xs_io_put_here(&b, xs_config(XS_KNOB_STATS_FILE)->text);
    }
    /* For a file too, in case that it cannot be written: many programs close stderr as they end. */
    if (to_file ? !xs_io_stderr_is_pipe() : !plan.aside)
        xs_io_keep_stderr();
    return true;
}

void xs_finish_fork_child(void)
{
    bool reports = plan.pid != 0 && xs_config(XS_KNOB_STATS_CHILDREN)->num != 0;

    XS_CHANGE_TO(plan.pid, reports ? getpid() : 0);
    XS_CHANGE_TO(plan.finished, false);
    XS_CHANGE_TO(plan.is_busy, false);
    XS_CHANGE_TO(plan.next_ns, 0);
    /* The duplicate would keep a pipe open that the parent's reader waits for. */
    if (!reports)
        xs_io_drop_stderr();
}

bool xs_finish_reports(void)
{
    return plan.pid != 0;
}

void xs_keep_silent(void)
{
    plan.pid = 0;
    xs_io_drop_stderr(); /* a child, which is under the filter too, may not */
    xs_control_keep_off();
}
