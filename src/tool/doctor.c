#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* dladdr, environ, pipe2 */
#endif
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backend/library.h"
#include "policy/config.h"
#include "tool/settings.h"
#include "tool/target.h"
#include "tool/tool.h"

#define OUTPUT_MAX 2048

enum mark { MARK_OK, MARK_NOTE, MARK_WARN, MARK_NO };

static bool any_no;

static XS_FORMAT(3, 4) void say(enum mark mark, const char *subject, const char *format, ...)
{
    static const char *const marks[] = {"ok", "note", "warn", "no"};
    va_list ap;

    any_no |= mark == MARK_NO;
    printf("%-4s  %-11s ", marks[mark], subject);
    va_start(ap, format);
    vprintf(format, ap);
    va_end(ap);
    putchar('\n');
}

/* --- questions that are asked of a child, so that its answer cannot harm us --- */

/* Runs `child` with its output kept; its exit status, or -1. */
static int ask(int (*child)(void *arg), void *arg, char *output, size_t cap)
{
    size_t len = 0;
    int status;
    int fds[2];
    pid_t pid;

    output[0] = '\0';
    if (pipe2(fds, O_CLOEXEC) != 0)
        return -1;
    fflush(stdout);
    pid = fork();
    if (pid == 0) {
        dup2(fds[1], STDOUT_FILENO);
        dup2(fds[1], STDERR_FILENO);
        status = child(arg);
        fflush(stdout);
        _exit(status);
    }
    close(fds[1]);
    while (pid > 0) {
        char drop[256];
        size_t room = cap - 1 - len;
        ssize_t n = room > 0 ? read(fds[0], output + len, room) : read(fds[0], drop, sizeof(drop));

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        if (room > 0)
            len += (size_t)n;
    }
    output[len] = '\0';
    close(fds[0]);
    if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
        return -1;
    return WEXITSTATUS(status);
}

int xs_tool_probe(void)
{
    void *function = dlsym(RTLD_DEFAULT, "malloc");
    Dl_info info;

    if (function == NULL || dladdr(function, &info) == 0 || info.dli_fname == NULL)
        return XS_EXIT_NO;
    printf("malloc %s\n", info.dli_fname);
    return XS_EXIT_OK;
}

/* Misspelt ones too, about which the library would talk. */
static void clear_variables(void)
{
    for (char **e = environ; *e != NULL;) {
        char name[128];
        size_t len = strcspn(*e, "=");

        if (strncmp(*e, "XSIGMA_", 7) != 0 || len >= sizeof(name)) {
            e++;
            continue;
        }
        memcpy(name, *e, len);
        name[len] = '\0';
        if (unsetenv(name) != 0)
            e++;
        else
            e = environ; /* it has moved */
    }
}

/* This command itself, with the library preloaded and all else as it comes. */
static int run_probe(void *library)
{
    clear_variables();
    setenv(xs_knob_name(&xs_knob_rows[XS_KNOB_STATS]), "0", 1);
    setenv("LD_PRELOAD", library, 1);
    execl("/proc/self/exe", "xsigma", "--probe", (char *)NULL);
    return XS_EXIT_NO;
}

struct backend_question {
    const char *library;
    const char *symbol;
};

static int open_backend(void *arg)
{
    const struct backend_question *q = arg;
    XS_BUF(why, 512);
    void *handle = xs_library_open(q->library, &why);
    void *at = handle != NULL ? dlsym(handle, q->symbol) : NULL;
    Dl_info found;

    if (handle == NULL)
        printf("%s\n", why.at);
    else if (at == NULL || dladdr(at, &found) == 0)
        printf("%s has no %s in it\n", q->library, q->symbol);
    else if (!xs_mimalloc_suits(handle, &why))
        printf("%s: %s\n", found.dli_fname, why.at);
    else
        return printf("%s\n", found.dli_fname), XS_EXIT_OK;
    return XS_EXIT_NO;
}

/* --- checks --- */

static void first_line(char *text)
{
    text[strcspn(text, "\n")] = '\0';
}

static void check_library(struct xs_settings *s)
{
    char output[OUTPUT_MAX];
    char *why = NULL;
    char reason[3 * PATH_MAX];

    if (xs_settings_library(s, reason, sizeof(reason)) != 0) {
        say(MARK_NO, "library", "%s", reason);
        return;
    }
    if (ask(run_probe, s->library, output, sizeof(output)) == XS_EXIT_OK) {
        const char *malloc_line = strstr(output, "malloc /");
        size_t len = strlen(s->library);

        if (malloc_line != NULL && strncmp(malloc_line + 7, s->library, len) == 0 &&
            malloc_line[7 + len] == '\n') {
            say(MARK_OK, "library", "%s loads and serves malloc", s->library);
            return;
        }
    }
    /* The loader's own word: "... cannot be preloaded (reason): ignored." */
    why = strstr(output, "cannot be preloaded");
    if (why == NULL)
        why = output;
    first_line(why);
    say(MARK_NO, "library", "%s does not work%s%s", s->library, why[0] != '\0' ? ": " : "", why);
}

static void check_program(char **argv)
{
    static struct xs_target target;
    char line[PATH_MAX + 256];
    const char *name;

    xs_target_find(&target, argv);
    if (target.status != 0) {
        say(MARK_NO, "program", "%s", target.reason);
        return;
    }
    if (!target.is_examined) {
        say(MARK_WARN, "program", "%s", target.note[0] != '\0' ? target.note : "not examined");
        return;
    }
    if (target.elf.owns_malloc)
        say(MARK_NO, "program",
            "%s: brings its own malloc, so the library stays passive and routes nothing",
            target.path);
    else if (target.elf.has_interpreter)
        say(MARK_OK, "program", "%s: %s, dynamically linked (%s)%s%s", target.path,
            xs_elf_machine_name(target.elf.machine), target.elf.interpreter,
            strcmp(target.path, target.first) != 0 ? ", started by " : "",
            strcmp(target.path, target.first) != 0 ? target.first : "");
    if (target.note[0] != '\0')
        say(MARK_WARN, "program", "%s", target.note);
    if (xs_target_not_reported(&target, line, sizeof(line)))
        say(MARK_WARN, "program", "%s", line);
    name = strrchr(target.path, '/');
    if (name != NULL && strncmp(name + 1, "python", 6) == 0 && getenv("PYTHONMALLOC") == NULL)
        say(MARK_NOTE, "program",
            "Python serves objects up to 512 bytes itself; PYTHONMALLOC=malloc sends them here");
}

static void check_variables(void)
{
    const char *warning;
    bool strict = xs_config(XS_KNOB_STRICT)->num != 0;
    size_t i = 0;

    for (; (warning = xs_config_warning(i)) != NULL; i++)
        say(strict ? MARK_NO : MARK_WARN, "variables", "%s", warning);
    if (xs_config(XS_KNOB_DISABLE)->num != 0)
        say(MARK_NO, "variables", "XSIGMA_DISABLE=1 passes every call to the C library");
    else if (i == 0)
        say(MARK_OK, "variables", "XSIGMA_* as set here are all valid");
}

/* A back end is wanted by name in a route, or alone. */
static bool is_wanted(const char *name)
{
    const struct xs_value *route = xs_config(XS_KNOB_CPU_ROUTE);
    const char *choices = xs_knob_choices(&xs_knob_rows[XS_KNOB_CPU_BACKEND]);
    size_t len = strlen(name);
    uint64_t index = 0;

    for (const char *at = route->text; (at = strchr(at, ':')) != NULL;) {
        at++;
        at += strspn(at, " ");
        if (strncmp(at, name, len) == 0 && strchr(", ", at[len]) != NULL)
            return true;
    }
    for (const char *c = choices; c != NULL; index++) {
        size_t n = strcspn(c, "|");
        if (n == len && strncmp(c, name, n) == 0)
            return index == xs_config(XS_KNOB_CPU_BACKEND)->num;
        c = c[n] == '|' ? c + n + 1 : NULL;
    }
    return false;
}

static void check_backend(const char *name, enum xs_knob library_knob, const char *symbol)
{
    struct backend_question q = {.library = xs_config(library_knob)->text, .symbol = symbol};
    char output[OUTPUT_MAX];

    if (!is_wanted(name))
        return;
    bool loads = ask(open_backend, &q, output, sizeof(output)) == XS_EXIT_OK;
    first_line(output);
    if (loads)
        say(MARK_OK, "back end", "%s: %s loads", name, output);
    else
        say(MARK_NO, "back end", "%s: %s", name, output[0] != '\0' ? output : "does not load");
}

static void check_limits(void)
{
    struct rlimit limit;
    XS_BUF(bytes, 32);

    if (getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY) {
        xs_put_bytes(&bytes, limit.rlim_cur);
        say(is_wanted("mimalloc") ? MARK_WARN : MARK_NOTE, "limits",
            "address space is limited to %s (ulimit -v): none is reserved for mimalloc", bytes.at);
    } else {
        say(MARK_OK, "limits", "no limit on address space");
    }
    xs_buf_clear(&bytes);
    if (getrlimit(RLIMIT_DATA, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY) {
        xs_put_bytes(&bytes, limit.rlim_cur);
        say(is_wanted("mimalloc") ? MARK_WARN : MARK_NOTE, "limits",
            "private memory is limited to %s (ulimit -d): nothing is reserved for mimalloc",
            bytes.at);
    }
    xs_buf_clear(&bytes);
    if (geteuid() != 0 && getrlimit(RLIMIT_MEMLOCK, &limit) == 0 &&
        limit.rlim_cur != RLIM_INFINITY && is_wanted("mimalloc")) {
        xs_put_bytes(&bytes, limit.rlim_cur);
        say(MARK_NOTE, "limits",
            "locked memory is limited to %s (ulimit -l): a program that calls mlockall needs "
            "XSIGMA_RESERVE=off",
            bytes.at);
    }
}

static bool has_own_malloc(const char *path)
{
    struct xs_elf_file f = {0};
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    bool owns = fd >= 0 && xs_elf_file_read(&f, fd) == 0 && f.owns_malloc;

    if (fd >= 0)
        close(fd);
    return owns;
}

static bool sounds_like_allocator(const char *path)
{
    static const char *const names[] = {"jemalloc", "mimalloc",       "tcmalloc", "tbbmalloc",
                                        "hoard",    "scudo",          "snmalloc", "rpmalloc",
                                        "asan",     "hardened_malloc"};

    for (size_t i = 0; i < XS_COUNT_OF(names); i++)
        if (strstr(path, names[i]) != NULL)
            return true;
    return false;
}

static void check_preload(const struct xs_settings *s)
{
    const char *list = getenv("LD_PRELOAD");
    bool found = false;
    size_t len;

    if (list == NULL)
        return;
    for (const char *e = xs_preload_entry(list, &len); len > 0;
         e = xs_preload_entry(e + len, &len)) {
        char path[PATH_MAX];

        snprintf(path, sizeof(path), "%.*s", (int)(len < PATH_MAX ? len : PATH_MAX - 1), e);
        if (strcmp(path, s->library) == 0 || strstr(path, "libxsigma.so") != NULL)
            continue;
        if (strchr(path, '/') != NULL ? !has_own_malloc(path) : !sounds_like_allocator(path))
            continue;
        found = true;
        say(MARK_WARN, "LD_PRELOAD",
            "names %s, which has a malloc too; 'xsigma run' puts the library before it", path);
    }
    if (!found)
        say(MARK_OK, "LD_PRELOAD", "names no other allocator");
}

int xs_tool_doctor(int argc, char **argv)
{
    static struct xs_settings settings;
    int status = xs_settings_parse(&settings, argc, argv, false);

    if (status != 0)
        return status;
    xs_config_load(false);
    check_library(&settings);
    if (settings.program < argc)
        check_program(argv + settings.program);
    check_variables();
    check_backend("mimalloc", XS_KNOB_CPU_MIMALLOC_LIBRARY, "mi_malloc");
    check_backend("tbb", XS_KNOB_CPU_TBB_LIBRARY, "scalable_malloc");
    check_limits();
    check_preload(&settings);
    puts(any_no ? "It would not take effect, or not as asked." : "It would take effect.");
    return any_no ? XS_EXIT_NO : XS_EXIT_OK;
}
