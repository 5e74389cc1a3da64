#include "preload/lifecycle.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backend/counted.h"
#include "backend/hardened.h"
#include "backend/hot.h"
#include "core/keeper.h"
#include "policy/config.h"
#include "policy/gpu_options.h"
#include "policy/select.h"
#include "preload/exports.h"
#include "preload/finish.h"
#include "preload/fork.h"
#include "report/control.h"
#include "report/log.h"
#include "report/pressure.h"
#include "sys/elf.h"
#include "sys/env.h"
#include "sys/filter.h"
#include "sys/io.h"
#include "sys/limits.h"
#include "sys/own_pages.h"
#include "sys/proc.h"
#include "xsigma.h"

#define EXIT_STRICT 78 /* EX_CONFIG */

static XS_BUSY struct {
    bool bypassed;
    bool has_room;            /* for what is no more than good: no small cgroup */
    const char *malloc_owner; /* the object that brings its own malloc, "" for the program */
} life;

bool xs_is_bypassed(void)
{
    return life.bypassed;
}

/* ---- the ways out ----------------------------------------------------------------------- */

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
    if (xs_is_filtered()) /* no report, and no call to ask for the way to write one */
        return;
    if (XS_UNLIKELY(xs_hardened_has_end()))
        xs_hardened_at_end();
    xs_finish("exit", status & 0xFF, !in_signal_handler());
}

static void at_quick(void)
{
    if (XS_UNLIKELY(xs_hardened_has_end()))
        xs_hardened_at_end();
    xs_finish("quick_exit", -1, false);
}

/* ---- a thread of ours ------------------------------------------------------------------- */

/* Set before any of the program's code runs but constructors of libraries. */
static bool wants_keeper;

/* What the new thread allocates is not the program's. */
static XS_COLD void start_keeper(void)
{
    bool counting = xs_hot.counting;

    xs_heap_before_threads();
    if (counting)
        xs_counted_switch(false);
    xs_keeper_start();
    if (counting)
        xs_counted_switch(true);
}

void xs_before_thread(void)
{
    xs_policy_threads();
    if (XS_UNLIKELY(wants_keeper && !xs_keeper_is_settled() && !xs_is_filtered()))
        start_keeper();
}

/* ---- start ------------------------------------------------------------------------------ */

/* Asked for, and all that the process does: so it is its output, for a pager or a filter. */
static void say_help(const char *text, void *arg)
{
    XS_BUF(line, 1024);

    (void)arg;
    xs_fmt(&line, "%s\n", text);
    int fd = fcntl(STDOUT_FILENO, F_GETFD) >= 0 ? STDOUT_FILENO : STDERR_FILENO;
    (void)xs_io_write(fd, line.at, line.len);
}

static void bypass(void)
{
    life.bypassed = true;
    xs_policy_bypass();
}

/* True if something searched before us defines malloc: then the program never calls ours. Or if it
 * mixes ours with calls of another one's, which takes our blocks for its own, or a sanitizer has to
 * see every block. Or if valgrind puts its own over everybody's: all its tools load a core, and
 * those that do that load a part more. */
static bool has_own_malloc(void)
{
    const char *object = NULL;

    if (xs_elf_before("malloc", &object) == NULL && xs_system_other(&object) == NULL)
        object = xs_elf_loaded("vgpreload_", "vgpreload_core");
    life.malloc_owner = object;
    return object != NULL;
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
            xs_fmt(&b, ", %s=%s (%s)", xs_knob_name(&xs_knob_rows[k]), v->text,
                   xs_config_source_name(v->source));
    }
    xs_log("%s", b.at);
}

/* From the given one on; returns how many there are. */
static size_t say_warnings(size_t i)
{
    const char *line;

    for (; (line = xs_config_warning(i)) != NULL; i++)
        xs_log("%s", line);
    return i;
}

static void say_mismatch(const char *text)
{
    xs_log("%s", text);
}

static void start_policy(bool is_root)
{
    /* Else who started this process may read its stderr. */
    bool says = is_root || xs_config(XS_KNOB_LOG)->source != XS_SOURCE_DEFAULT;

    if (!xs_config_is_small())
        xs_report_pressure_start(is_root);
    xs_policy_start(says ? say_mismatch : NULL);
    xs_new_harden();
    wants_keeper = xs_backend_is_open(XS_OWNER_BFC) && xs_config(XS_KNOB_CPU_IDLE_THREAD)->num != 0;
    for (unsigned i = 0; i < XS_OWNER_COUNT; i++)
        if (i != XS_OWNER_SYSTEM && xs_backend_is_open((enum xs_owner)i))
            xs_dlopen_strip_deepbind();
}

/* True for the root of a tree of processes. It looks at its cgroup, which takes a tenth of the
 * start of a small process; the others find its mark where they look for the library anyway. */
static bool look_around(void)
{
    bool is_small;
    bool is_root = !xs_proc_parent_maps("/libxsigma.so", &is_small);

    if (is_root)
        is_small = xs_limits_cgroup() < XS_CONFIG_SMALL_CGROUP;
    if (is_small)
        xs_own_pages_mark();
    life.has_room = !is_small;
    return is_root;
}

/* Before anything of ours is written to but what a bypassed process cannot do without: those pages
 * would count as well. */
static void stand_aside(bool is_root)
{
    if (is_root) {
        xs_io_note_stderr();
        xs_log("the memory cgroup has less than %u MiB and no XSIGMA_ variable is set, so XSigma "
               "stands aside",
               (unsigned)(XS_CONFIG_SMALL_CGROUP >> 20));
    }
    bypass();
    xs_gpu_decline(); /* forks are not watched, and nothing would be reported */
}

static __attribute__((noinline)) void begin(void)
{
    bool is_secure = xs_env_secure();
    /* A library's constructor may have looked for CUDA before us. */
    bool is_loaded = xs_config_is_loaded();
    bool is_asked = is_loaded || xs_env_has("XSIGMA_");
    bool is_root = false;

    life.has_room = true;
    if (!is_secure && !is_asked)
        is_root = look_around();
    if (!life.has_room) {
        stand_aside(is_root);
        return;
    }
    xs_proc_start();
    xs_io_note_stderr();
    if (!is_loaded)
        xs_config_load(is_secure);
    if (is_secure || xs_config(XS_KNOB_DISABLE)->num != 0) {
        bypass();
        return;
    }
    if (xs_config(XS_KNOB_HELP)->num != 0) {
        xs_config_print_help(say_help, NULL);
        _exit(0);
    }
    xs_gpu_options_start();
    if (is_asked)
        is_root = look_around();
    if (!life.has_room)
        xs_config_small_cgroup(is_root);
    size_t said = 0;
    if (has_own_malloc())
        bypass();
    else
        start_policy(is_root);
    xs_control_start(
        life.malloc_owner,
        (struct xs_control_hooks){
            .interval = xs_config(XS_KNOB_STATS_INTERVAL)->num != 0 ? xs_finish_interval : NULL,
            .copied = xs_fork_noticed});
    if (is_root) {
        if (life.malloc_owner != NULL)
            xs_log("%s brings its own malloc, so XSigma stands aside",
                   life.malloc_owner[0] != '\0' ? life.malloc_owner : "this program");
        said = say_warnings(said);
        if (xs_config(XS_KNOB_VERBOSE)->num != 0)
            say_start();
    }
    if (xs_config(XS_KNOB_STRICT)->num != 0 && xs_config_warning(0) != NULL)
        _exit(EXIT_STRICT);
    xs_fork_watch();
    bool reports = xs_finish_plan(is_root, life.malloc_owner);
    if (reports) {
        if (life.has_room)
            (void)xs_proc_program(); /* while /proc is surely where it was */
        xs_control_begin();
        xs_policy_sample(!life.bypassed);
        if (is_root)
            (void)say_warnings(said);
    }
    if (reports || xs_gpu_wanted() || xs_hardened_has_end()) {
        /* Registered before main's first handler and before the loader's own, so run after the
         * destructors of all libraries; on_exit also tells the status. */
        (void)on_exit(at_exit, NULL);
        (void)at_quick_exit(at_quick);
    }
}

__attribute__((constructor)) static void start(void)
{
    int saved = errno;

    begin();
    xs_own_stack_give_back();
    if (life.has_room) /* it takes two objects of the kernel's to look at them */
        xs_own_pages_give_back(xs_hot.counting);
    errno = saved;
}
