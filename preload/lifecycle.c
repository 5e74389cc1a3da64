#include "preload/lifecycle.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/single_threaded.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backend/hot.h"
#include "policy/config.h"
#include "policy/select.h"
#include "report/log.h"
#include "report/report.h"
#include "sys/elf.h"
#include "sys/env.h"
#include "sys/io.h"
#include "sys/proc.h"
#include "xsigma.h"

#define EXIT_STRICT 78 /* EX_CONFIG */

/* Automatic reports that may not go to the terminal lie here, one a program, the last run's. */
#define REPORT_DIR "/dev/shm/xsigma-%u"

static struct {
    pid_t pid; /* of the process that reports when it ends; 0: none does */
    bool bypassed;
    const char *malloc_owner; /* the object that brings its own malloc, "" for the program */
    bool is_root;
    _Atomic bool finished;
    bool fork_was_threaded;
} life;

bool xs_is_bypassed(void)
{
    return life.bypassed;
}

/* ---- the report's way out --------------------------------------------------------------- */

static void to_fd(const char *text, size_t len, void *arg)
{
    (void)xs_io_write(*(int *)arg, text, len);
}

struct file_sink {
    int fd;
    int error;
};

static void to_file(const char *text, size_t len, void *arg)
{
    struct file_sink *f = arg;
    int rc = f->error == 0 ? xs_io_write(f->fd, text, len) : 0;

    if (rc != 0)
        f->error = rc;
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

static void render(const struct xs_report *r, const char *path, xs_sink *sink, void *arg)
{
    const char *locale = xs_env_get("LC_ALL");

    if (locale == NULL || locale[0] == '\0')
        locale = xs_env_get("LC_CTYPE");
    if (locale == NULL || locale[0] == '\0')
        locale = xs_env_get("LANG");
    bool utf8 =
        locale != NULL && (strstr(locale, "UTF-8") != NULL || strstr(locale, "utf8") != NULL);
    if (wants_json(path))
        xs_report_json(r, sink, arg);
    else
        xs_report_text(r, utf8, sink, arg);
}

static void report_to_file(const struct xs_report *r, const char *path, bool guarded)
{
    struct file_sink f = {.fd = xs_io_create(path, guarded)};

    if (f.fd < 0) {
        if (!guarded)
            xs_log("the report cannot be written to %s (%s)", path, strerrorname_np(errno));
        return;
    }
    render(r, path, to_file, &f);
    if (f.error != 0 && !guarded)
        xs_log("the report was not written whole to %s (%s)", path, strerrorname_np(f.error));
    xs_io_close(f.fd);
}

/* stderr is where the program's own output goes: a report there would change what it prints. */
static void report_aside(const struct xs_report *r)
{
    XS_BUF(path, 256);
    struct stat st;

    xs_fmt(&path, REPORT_DIR, (unsigned)geteuid());
    (void)mkdir(path.at, 0700);
    if (lstat(path.at, &st) != 0 || !S_ISDIR(st.st_mode) || st.st_uid != geteuid() ||
        (st.st_mode & 0022) != 0)
        return;
    xs_fmt(&path, "/%s.txt", xs_proc_program());
    report_to_file(r, path.at, true);
}

static void write_report(const struct xs_report *r)
{
    const char *pattern = xs_config(XS_KNOB_STATS_FILE)->text;
    bool always = strcmp(xs_config(XS_KNOB_STATS)->text, "1") == 0;
    int fd;

    if (pattern[0] != '\0') {
        XS_BUF(path, 1024);
        xs_io_expand(&path, pattern);
        report_to_file(r, path.at, false);
    } else if (xs_io_stderr_is_stdout() && !always) {
        report_aside(r);
    } else {
        fd = xs_io_stderr();
        if (fd >= 0)
            render(r, "", to_fd, &fd);
    }
}

void xs_finish(const char *how, int status, bool may_lock)
{
    int saved = errno;
    struct xs_report r;

    if (life.pid == 0 || life.pid != getpid() ||
        atomic_exchange_explicit(&life.finished, true, memory_order_acq_rel))
        return;
    xs_report_collect(&r, may_lock);
    r.how = how;
    r.status = status;
    r.passive = life.malloc_owner != NULL;
    r.passive_owner = life.malloc_owner != NULL ? life.malloc_owner : "";
    write_report(&r);
    errno = saved;
}

/* exit called by a signal handler may have interrupted malloc, whose locks are then held for ever:
 * a blocked signal is the sign of a handler. */
static bool in_signal_handler(void)
{
    sigset_t blocked;
    sigset_t none;

    sigemptyset(&none);
    return pthread_sigmask(SIG_SETMASK, NULL, &blocked) != 0 ||
           memcmp(&blocked, &none, sizeof(unsigned long)) != 0;
}

static void at_exit(int status, void *arg)
{
    (void)arg;
    xs_finish("exit", status & 0xFF, !in_signal_handler());
}

static void at_quick(void)
{
    xs_finish("quick_exit", -1, false);
}

/* ---- fork ------------------------------------------------------------------------------- */

static void fork_prepare(void)
{
    /* We hold no lock of ours across fork; what other threads hold is reset in the child. */
    life.fork_was_threaded = !__libc_single_threaded;
}

static void fork_child(void)
{
    int saved = errno;
    bool report = life.pid != 0 && xs_config(XS_KNOB_STATS_CHILDREN)->num != 0;

    xs_hot_fork_child();
    xs_policy_fork_child(life.fork_was_threaded);
    xs_stats_fork_child();
    xs_proc_fork_child();
    life.is_root = false;
    life.pid = report ? getpid() : 0;
    atomic_store_explicit(&life.finished, false, memory_order_relaxed);
    /* The duplicate would keep a pipe open that the parent's reader waits for. */
    if (!report)
        xs_io_drop_stderr();
    errno = saved;
}

/* ---- start ------------------------------------------------------------------------------ */

static void bypass(void)
{
    life.bypassed = true;
    xs_policy_bypass();
}

/* True if something searched before us defines malloc: then the program never calls ours. */
static bool has_own_malloc(void)
{
    const char *object = NULL;

    if (xs_elf_before("malloc", &object) == NULL)
        return false;
    life.malloc_owner = object;
    return true;
}

static void say_start(void)
{
    XS_BUF(b, 600);

    xs_fmt(&b, "%s, back end %s", XSIGMA_VERSION, xs_backends[xs_hot.step[0].owner]->name);
    for (uint32_t i = 1; i < xs_hot.step_count; i++)
        xs_fmt(&b, ",%s", xs_backends[xs_hot.step[i].owner]->name);
    for (unsigned k = 0; k < XS_KNOB_COUNT; k++) {
        const struct xs_value *v = xs_config((enum xs_knob)k);
        if (v->source != XS_SOURCE_DEFAULT)
            xs_fmt(&b, ", %s=%s (%s)", xs_knob_rows[k].name, v->text,
                   xs_config_source_name(v->source));
    }
    xs_log("%s", b.at);
}

static void say_warnings(void)
{
    const char *line;

    for (size_t i = 0; (line = xs_config_warning(i)) != NULL; i++)
        xs_log("%s", line);
}

/* Who reports, and the handlers that make it happen. */
static void prepare_report(void)
{
    const char *stats = xs_config(XS_KNOB_STATS)->text;
    bool reports =
        strcmp(stats, "0") != 0 && (life.is_root || xs_config(XS_KNOB_STATS_CHILDREN)->num != 0);

    if (life.malloc_owner != NULL && strcmp(stats, "1") != 0)
        reports = xs_config(XS_KNOB_STATS_FILE)->text[0] != '\0' && reports;
    if (!reports)
        return;
    life.pid = getpid();
    xs_io_keep_stderr();
    /* Registered before main's first handler and before the loader's own, so run after the
     * destructors of all libraries; on_exit also tells the status. */
    (void)on_exit(at_exit, NULL);
    (void)at_quick_exit(at_quick);
}

static void start_policy(void)
{
    xs_stats_start();
    xs_policy_start();
    for (unsigned i = 0; i < XS_OWNER_COUNT; i++)
        if (i != XS_OWNER_SYSTEM && xs_backend_is_open((enum xs_owner)i))
            xs_dlopen_strip_deepbind();
}

__attribute__((constructor)) static void start(void)
{
    int saved = errno;

    xs_proc_start();
    xs_config_load(xs_env_secure());
    if (xs_env_secure() || xs_config(XS_KNOB_DISABLE)->num != 0) {
        bypass();
        errno = saved;
        return;
    }
    if (xs_config(XS_KNOB_HELP)->num != 0) {
        xs_config_print_help(xs_log_line, NULL);
        _exit(0);
    }
    life.is_root = !xs_proc_parent_preloads("libxsigma");
    if (has_own_malloc())
        bypass();
    else
        start_policy();
    if (life.is_root) {
        if (life.malloc_owner != NULL)
            xs_log("%s brings its own malloc, so XSigma stands aside",
                   life.malloc_owner[0] != '\0' ? life.malloc_owner : "this program");
        say_warnings();
        if (xs_config(XS_KNOB_VERBOSE)->num != 0)
            say_start();
    }
    if (xs_config(XS_KNOB_STRICT)->num != 0 && xs_config_warning(0) != NULL)
        _exit(EXIT_STRICT);
    (void)pthread_atfork(fork_prepare, NULL, fork_child);
    prepare_report();
    errno = saved;
}
