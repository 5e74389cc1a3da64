#include "tool/target.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "policy/config.h"
#include "tool/tool.h"
#include "tool/wrapper.h"

#define LEVELS_MAX  20  /* of scripts and wrappers inside each other */
#define SCRIPT_LINE 256 /* what the kernel reads of a "#!" line */

static XS_FORMAT(3, 4) void end(struct xs_target *t, int status, const char *format, ...)
{
    va_list ap;

    t->status = status;
    va_start(ap, format);
    vsnprintf(t->reason, sizeof(t->reason), format, ap);
    va_end(ap);
}

static XS_FORMAT(2, 3) void note(struct xs_target *t, const char *format, ...)
{
    va_list ap;

    va_start(ap, format);
    vsnprintf(t->note, sizeof(t->note), format, ap);
    va_end(ap);
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash != NULL ? slash + 1 : path;
}

static bool is_executable_file(const char *path)
{
    struct stat st;

    if (stat(path, &st) != 0)
        return false;
    errno = EACCES;
    return S_ISREG(st.st_mode) && access(path, X_OK) == 0;
}

/* As execvp: the first match that may be executed; EACCES only if nothing else is found. */
static bool search(struct xs_target *t, const char *command, const char *path)
{
    bool denied = false;
    struct stat st;

    if (command[0] == '\0') {
        end(t, XS_EXIT_NOT_FOUND, "the program's name is empty");
        return false;
    }
    if (strchr(command, '/') != NULL) {
        if (snprintf(t->path, sizeof(t->path), "%s", command) >= (int)sizeof(t->path))
            end(t, XS_EXIT_NOT_FOUND, "%s: %s", command, strerror(ENAMETOOLONG));
        else if (is_executable_file(t->path))
            return true;
        else if (stat(t->path, &st) != 0)
            end(t, errno == EACCES ? XS_EXIT_NOT_EXECUTABLE : XS_EXIT_NOT_FOUND, "%s: %s", command,
                errno == ENOENT ? "not found" : strerror(errno));
        else
            end(t, XS_EXIT_NOT_EXECUTABLE, "%s: %s", command,
                S_ISDIR(st.st_mode) ? "is a directory" : "not executable");
        return false;
    }
    for (;;) {
        size_t len = strcspn(path, ":");
        int n = len == 0 ? snprintf(t->path, sizeof(t->path), "./%s", command)
                         : snprintf(t->path, sizeof(t->path), "%.*s/%s", (int)len, path, command);

        if (n > 0 && n < (int)sizeof(t->path)) {
            errno = 0;
            if (is_executable_file(t->path))
                return true;
            denied |= errno == EACCES && stat(t->path, &st) == 0 && S_ISREG(st.st_mode);
        }
        if (path[len] == '\0')
            break;
        path += len + 1;
    }
    if (denied)
        end(t, XS_EXIT_NOT_EXECUTABLE, "%s: not executable", command);
    else
        end(t, XS_EXIT_NOT_FOUND, "%s: not found in PATH", command);
    t->path[0] = '\0';
    return false;
}

/* What of the file's mode makes the kernel set AT_SECURE, or NULL. */
static const char *privilege(const char *path)
{
    struct stat st;

    if (stat(path, &st) != 0)
        return NULL;
    if ((st.st_mode & S_ISUID) != 0)
        return "setuid";
    if ((st.st_mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP))
        return "setgid";
    return getxattr(path, "security.capability", NULL, 0) > 0 ? "given file capabilities" : NULL;
}

static bool is_loader(const char *path)
{
    const char *name = base_name(path);

    return strncmp(name, "ld-linux", 8) == 0 || strcmp(name, "ld.so") == 0;
}

static void judge_machine(struct xs_target *t)
{
    const char *machine = xs_elf_machine_name(t->elf.machine);
    const char *native = xs_elf_machine_name(xs_elf_native_machine());

    if (!t->elf.is_64_bit)
        end(t, XS_EXIT_REFUSED, "%s: a 32-bit program (%s); the library is for 64-bit %s", t->path,
            machine != NULL ? machine : "unknown machine", native);
    else if (machine != NULL)
        end(t, XS_EXIT_REFUSED, "%s: a program for %s; the library is for %s", t->path, machine,
            native);
    else
        end(t, XS_EXIT_REFUSED, "%s: a program for machine %u; the library is for %s", t->path,
            t->elf.machine, native);
}

/* Whether LD_PRELOAD reaches this ELF file, and whether it would get along with us. */
static void judge(struct xs_target *t)
{
    const struct xs_elf_file *f = &t->elf;
    const char *special = privilege(t->path);
    const char *interpreter = base_name(f->interpreter);

    if (!xs_elf_file_is_native(f))
        judge_machine(t);
    else if (f->type != ET_EXEC && f->type != ET_DYN)
        end(t, XS_EXIT_NOT_EXECUTABLE, "%s: an ELF file, but no program", t->path);
    else if (special != NULL)
        end(t, XS_EXIT_REFUSED,
            "%s: is %s, and the loader takes LD_PRELOAD away from such programs", t->path, special);
    else if (!f->has_interpreter && is_loader(t->path))
        note(t, "%s starts programs itself; what it starts was not examined", t->path);
    else if (!f->has_interpreter)
        end(t, XS_EXIT_REFUSED, "%s: statically linked%s, so nothing can be preloaded", t->path,
            f->is_go ? " (a Go program)" : "");
    else if (strncmp(interpreter, "ld-musl", 7) == 0)
        end(t, XS_EXIT_REFUSED, "%s: linked with musl (%s); the library needs glibc", t->path,
            f->interpreter);
    else if (access(f->interpreter, F_OK) != 0)
        end(t, XS_EXIT_NOT_FOUND, "%s: its loader %s: %s", t->path, f->interpreter,
            strerror(errno));
    else if (f->sanitizer != NULL)
        end(t, XS_EXIT_REFUSED, "%s: built with %s, which works on its own malloc only", t->path,
            f->sanitizer);
    else if (f->is_go)
        note(t, "%s is a Go program: only its C parts use malloc", t->path);
}

/* --- scripts --- */

static bool push_words(struct xs_words *w, const char *interpreter, const char *argument,
                       const char *script)
{
    return script != NULL && interpreter != NULL && xs_words_push(w, script) &&
           (argument == NULL || xs_words_push(w, argument)) && xs_words_push(w, interpreter);
}

/* Puts what the kernel makes of "#! interpreter [argument]" in front of the words. */
static bool follow_script(struct xs_target *t, struct xs_words *w, char *line)
{
    const char *script = xs_words_keep(t->path, strlen(t->path));
    const char *argument = NULL;
    char *at = line + 2;
    size_t len;

    line[strcspn(line, "\n")] = '\0';
    at += strspn(at, " \t");
    len = strcspn(at, " \t");
    if (len == 0) {
        end(t, XS_EXIT_NOT_EXECUTABLE, "%s: a script without an interpreter", t->path);
        return false;
    }
    const char *interpreter = xs_words_keep(at, len);
    at += len;
    at += strspn(at, " \t");
    for (len = strlen(at); len > 0 && (at[len - 1] == ' ' || at[len - 1] == '\t');)
        len--;
    if (len > 0)
        argument = xs_words_keep(at, len);
    if (!push_words(w, interpreter, argument, script)) {
        note(t, "%s: too many words; not examined further", t->path);
        return false;
    }
    /* The kernel does not search PATH for it. */
    if (access(interpreter, F_OK) != 0) {
        end(t, XS_EXIT_NOT_FOUND, "%s: its interpreter %s: %s", t->path, interpreter,
            strerror(errno));
        return false;
    }
    return true;
}

/* --- shells --- */

static bool is_shell(const char *name)
{
    static const char *const shells[] = {"sh",  "bash", "dash", "ash",
                                         "ksh", "mksh", "zsh",  "busybox"};

    for (size_t i = 0; i < XS_COUNT_OF(shells); i++)
        if (strcmp(name, shells[i]) == 0)
            return true;
    return false;
}

/* Behind the shell's name stands a script that starts programs and stays. One with "exec" in it may
 * become the program that it is for; what "-c" makes of its last command no two shells agree on. */
static bool starts_more(const struct xs_words *w)
{
    struct xs_words words = *w;
    const char *script;
    char text[8192];

    while ((script = xs_words_take(&words)) != NULL && script[0] == '-')
        if (script[1] != '-' && strchr(script, 'c') != NULL)
            return false;
    if (script == NULL)
        return false;
    int fd = open(script, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    ssize_t len = fd >= 0 ? pread(fd, text, sizeof(text) - 1, 0) : -1;
    if (fd >= 0)
        close(fd);
    text[len > 0 ? len : 0] = '\0';
    return len > 0 && strstr(text, "exec") == NULL;
}

/* --- one step --- */

enum step { STEP_DONE, STEP_AGAIN };

static enum step follow_wrapper(struct xs_target *t, struct xs_words *w, const char *name,
                                const char **path)
{
    const char *special = privilege(t->path);
    const char *why = NULL;

    enum xs_wrapper kind = xs_wrapper_skip(name, w, &why, path);
    switch (kind) {
    case XS_WRAPPER_PARENT:
    case XS_WRAPPER_FOLLOW:
        if (kind == XS_WRAPPER_PARENT)
            t->parent = name;
        if (special == NULL)
            return STEP_AGAIN;
        break; /* judge will say it */
    case XS_WRAPPER_LOST:
        end(t, XS_EXIT_REFUSED, "%s: %s", t->path, why);
        return STEP_DONE;
    case XS_WRAPPER_SPREAD:
        note(t,
             "%s does not pass LD_PRELOAD to other hosts; there, write: %s ... xsigma run -- "
             "program",
             name, name);
        break;
    case XS_WRAPPER_UNCLEAR:
        note(t, "%s: options that are not known here; what it starts was not examined", name);
        break;
    default:
        break;
    }
    if (kind == XS_WRAPPER_NONE && special == NULL && is_shell(name) && starts_more(w))
        t->parent = name;
    if (t->is_examined)
        judge(t);
    return STEP_DONE;
}

/* The file at t->path, which `name` called. */
static enum step follow_file(struct xs_target *t, struct xs_words *w, const char *name,
                             const char **path)
{
    char line[SCRIPT_LINE + 1];
    ssize_t len;
    int err;
    int fd = open(t->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

    if (fd < 0) {
        const char *special = privilege(t->path);
        if (special != NULL)
            end(t, XS_EXIT_REFUSED,
                "%s: is %s, and the loader takes LD_PRELOAD away from such programs", t->path,
                special);
        else
            note(t, "%s: cannot be read (%s), not examined", t->path, strerror(errno));
        return STEP_DONE;
    }
    t->is_examined = false;
    err = xs_elf_file_read(&t->elf, fd);
    len = pread(fd, line, sizeof(line) - 1, 0);
    close(fd);
    /* Where valgrind is a script, what counts is its words all the same. */
    if (err == 0 || (err == ENOEXEC && strcmp(base_name(name), "valgrind") == 0)) {
        t->is_examined = err == 0;
        return follow_wrapper(t, w, base_name(name), path);
    }
    if (err == EBADMSG) {
        end(t, XS_EXIT_REFUSED, "%s: broken ELF file", t->path);
        return STEP_DONE;
    }
    if (err != ENOEXEC) {
        note(t, "%s: cannot be read (%s), not examined", t->path, strerror(err));
        return STEP_DONE;
    }
    line[len > 0 ? len : 0] = '\0';
    if (len >= 2 && line[0] == '#' && line[1] == '!')
        return follow_script(t, w, line) ? STEP_AGAIN : STEP_DONE;
    /* execvp hands everything else to the shell. */
    if (!push_words(w, "/bin/sh", NULL, xs_words_keep(t->path, strlen(t->path))))
        return STEP_DONE;
    return STEP_AGAIN;
}

bool xs_target_not_reported(const struct xs_target *t, char *line, size_t cap)
{
    if (t->parent == NULL || xs_config(XS_KNOB_STATS_CHILDREN)->num != 0 ||
        strcmp(xs_config(XS_KNOB_STATS)->text, "0") == 0)
        return false;
    snprintf(line, cap,
             "the report will be of %s, not of what it starts: put 'xsigma run --' in front of "
             "that, or 'xsigma run --children' in front of all",
             t->parent);
    return true;
}

void xs_target_find(struct xs_target *t, char *const argv[])
{
    struct xs_words words = {.tail = argv};
    const char *path = getenv("PATH");
    const char *name;

    *t = (struct xs_target){0};
    if (path == NULL)
        path = "/bin:/usr/bin"; /* as execvp */
    for (int level = 0; level < LEVELS_MAX; level++) {
        name = xs_words_take(&words);
        if (name == NULL || !search(t, name, path))
            return;
        if (level == 0)
            memcpy(t->first, t->path, sizeof(t->first));
        if (follow_file(t, &words, name, &path) == STEP_DONE)
            return;
    }
    note(t, "%s: too many scripts and wrappers inside each other; not examined further", argv[0]);
}
