#include "tool/input.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/text.h"
#include "policy/config.h"
#include "sys/io.h"
#include "sys/proc.h"
#include "tool/ask.h"
#include "tool/tool.h"

#define FILE_MAX_BYTES ((size_t)1 << 30)
#define TORN_TRIES     20

/* A process that sleeps does not answer; what its record says is shown then. */
#define PATIENCE_NS 300000000u

static struct xs_input *new_input(struct xs_inputs *in, const char *name)
{
    if (in->count == in->room) {
        size_t room = in->room == 0 ? 16 : 2 * in->room;
        struct xs_input *at = realloc(in->at, room * sizeof(*at));
        if (at == NULL)
            return NULL;
        in->at = at;
        in->room = room;
    }
    struct xs_input *i = &in->at[in->count];
    memset(i, 0, sizeof(*i));
    i->name = strdup(name);
    return i->name != NULL ? i : NULL;
}

static int no_memory(void)
{
    xs_tool_error("out of memory");
    return XS_EXIT_NO;
}

/* ---- files -------------------------------------------------------------------------------- */

/* All of it, page-aligned, with a NUL behind; NULL and errno. */
static unsigned char *read_whole(int fd, size_t *bytes)
{
    size_t room = (size_t)1 << 16;
    size_t n = 0;
    unsigned char *at = NULL;

    for (;;) {
        unsigned char *more = aligned_alloc(XS_RECORD_PAGE, room);
        if (more == NULL)
            break;
        if (at != NULL)
            memcpy(more, at, n);
        free(at);
        at = more;
        ssize_t got = 1;
        while (n < room - 1 && (got = read(fd, at + n, room - 1 - n)) > 0)
            n += (size_t)got;
        if (got <= 0) {
            at[n] = '\0';
            *bytes = n;
            if (got == 0)
                return at;
            break;
        }
        if (room >= FILE_MAX_BYTES) {
            errno = EFBIG;
            break;
        }
        room *= 2;
    }
    free(at);
    return NULL;
}

static const char *why_not(int error)
{
    switch (error) {
    case EBADMSG:
        return "not a record, or a damaged one";
    case ENOTSUP:
        return "written by another version of XSigma";
    case ENODATA:
        return "the process had only just begun; there is nothing in its record";
    default:
        return strerror(error);
    }
}

static bool is_record(const unsigned char *at, size_t bytes)
{
    const uint64_t magic = XS_RECORD_MAGIC;

    return bytes >= sizeof(magic) && memcmp(at, &magic, sizeof(magic)) == 0;
}

/* Owns `at` from here on. */
static int from_record(struct xs_input *i, unsigned char *at, size_t bytes)
{
    i->bytes = (struct xs_record_bytes){at, bytes};
    i->recorded = calloc(1, sizeof(*i->recorded)); /* most of it is never touched */
    if (i->recorded == NULL)
        return ENOMEM;
    int rc = xs_image_read(&i->bytes, i->recorded);
    if (rc == 0)
        i->report = i->recorded->report;
    return rc;
}

static void drop(struct xs_input *i)
{
    free((void *)i->bytes.at);
    free(i->recorded);
    xs_json_free(&i->json);
}

/* `quiet`: a file in a directory may be anything. */
static int add_bytes(struct xs_inputs *in, const char *name, unsigned char *at, size_t bytes,
                     bool quiet)
{
    struct xs_input *i = new_input(in, name);
    size_t space = strspn((const char *)at, " \t\r\n");

    if (i == NULL) {
        free(at);
        return no_memory();
    }
    if (is_record(at, bytes)) {
        int rc = from_record(i, at, bytes);
        if (rc == 0) {
            in->count++;
            return XS_EXIT_OK;
        }
        xs_tool_error("%s: %s", name, why_not(rc));
        drop(i);
        return XS_EXIT_NO;
    }
    if (at[space] != '{') {
        free(at);
        if (!quiet)
            xs_tool_error("%s: neither a record nor a JSON report", name);
        in->skipped++;
        return XS_EXIT_NO;
    }
    i->bytes.at = at;
    if (!xs_json_parse(&i->json, (char *)at, bytes)) {
        xs_tool_error("%s: %s, at byte %zu", name, i->json.error, i->json.error_at);
    } else if (xs_input_from_json(i)) {
        in->count++;
        return XS_EXIT_OK;
    } else if (!quiet) {
        xs_tool_error("%s: JSON, but not a report of the schema xsigma.stats/1", name);
    }
    drop(i);
    in->skipped++;
    return XS_EXIT_NO;
}

static int add_open(struct xs_inputs *in, const char *name, int fd, bool quiet)
{
    size_t bytes;
    unsigned char *at = read_whole(fd, &bytes);

    if (at == NULL) {
        xs_tool_error("%s: %s", name, strerror(errno));
        return XS_EXIT_NO;
    }
    return add_bytes(in, name, at, bytes, quiet);
}

/* ---- processes ---------------------------------------------------------------------------- */

/* Of another process's /proc/PID/NAME; no such file: "". */
static void read_proc(pid_t pid, const char *name, char *text, size_t cap)
{
    char path[64];

    snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
    if (xs_io_read_file(path, text, cap) <= 0)
        text[0] = '\0';
}

static uint64_t status_kib(const char *text, const char *key)
{
    const char *at = strstr(text, key);

    return at != NULL ? strtoull(at + strlen(key), NULL, 10) * 1024 : XS_UNKNOWN;
}

/* What the kernel says of a process that runs. */
static void ask_kernel(struct xs_input *i)
{
    struct xs_report *r = &i->report;
    uint64_t ticks[2] = {0};
    char text[4096];

    read_proc(r->pid, "status", text, sizeof(text));
    r->rss_bytes = status_kib(text, "VmRSS:");
    r->rss_peak_bytes = status_kib(text, "VmHWM:");
    read_proc(r->pid, "stat", text, sizeof(text));
    char *at = strrchr(text, ')');
    for (int field = 3; at != NULL && field <= 14; field++) {
        at = strchr(at, ' ');
        at = at != NULL ? at + 1 : NULL;
    }
    if (at != NULL && sscanf(at, "%lu %lu", &ticks[0], &ticks[1]) == 2) {
        uint64_t tick_ns = UINT64_C(1000000000) / (uint64_t)sysconf(_SC_CLK_TCK);
        r->user_ns = ticks[0] * tick_ns;
        r->sys_ns = ticks[1] * tick_ns;
    }
    r->wall_ns = xs_proc_now_ns() - i->recorded->start_ns;
}

static int mark_reported(const char *path)
{
    const uint32_t yes = 1;
    int fd = xs_record_open_own(path, O_RDWR);

    if (fd < 0)
        return errno;
    ssize_t n = pwrite(fd, &yes, sizeof(yes), (off_t)offsetof(struct xs_record_head, reported));
    close(fd);
    return n == sizeof(yes) ? 0 : EIO;
}

/* A record in its own place: is the process alive? */
static void judge(struct xs_input *i, const char *path)
{
    struct xs_report *r = &i->report;

    if (i->recorded->head.ended != 0 || !xs_record_is_alive(&i->recorded->head)) {
        i->was_dead = true;
        (void)mark_reported(path);
        return;
    }
    i->is_alive = true;
    /* The kernel would tell of another process that has the same number here. */
    if (i->recorded->head.pid_space != xs_record_pid_space()) {
        r->how = XS_TOOL_ELSEWHERE;
        return;
    }
    r->how = "running";
    ask_kernel(i);
}

static int add_record_file(struct xs_inputs *in, const char *path, bool quiet)
{
    int rc = XS_EXIT_NO;

    for (int tries = 0; tries < TORN_TRIES; tries++) {
        int fd = xs_record_open_own(path, O_RDONLY);
        if (fd < 0) {
            xs_tool_error("%s: %s", path, strerror(errno));
            return XS_EXIT_NO;
        }
        rc = add_open(in, path, fd, quiet);
        close(fd);
        if (rc != XS_EXIT_OK || in->at[in->count - 1].recorded == NULL)
            return rc;
        struct xs_input *i = &in->at[in->count - 1];
        judge(i, path);
        /* A dead process's stays as it is. */
        if (!i->recorded->was_torn || i->was_dead || tries + 1 == TORN_TRIES)
            break;
        drop(i);
        in->count--;
        usleep(1000);
    }
    return rc;
}

static void ask_snapshot(const char *directory, pid_t pid, uint64_t patience_ns)
{
    struct xs_ask ask = {XS_RECORD_SNAPSHOT, -1, 0, patience_ns};
    struct xs_record_file f;

    if (xs_record_open(&f, directory, pid) != 0)
        return;
    (void)xs_ask(&ask, f.at);
    xs_record_close(&f);
}

int xs_inputs_add_process(struct xs_inputs *in, pid_t pid, uint64_t patience_ns)
{
    const char *directory = xs_config(XS_KNOB_RECORD)->text;
    char path[256];

    if (!xs_record_path_now(path, sizeof(path), directory, pid)) {
        xs_tool_error("XSIGMA_RECORD=%s is too long", directory);
        return XS_EXIT_NO;
    }
    if (access(path, F_OK) != 0) {
        if (kill(pid, 0) == 0 || errno == EPERM)
            xs_tool_error("%d has no record in %s: it does not run under libxsigma.so, or is not "
                          "to report (XSIGMA_STATS, XSIGMA_STATS_CHILDREN)",
                          (int)pid, directory);
        else
            xs_tool_error("%d: no such process, and it has left no record in %s", (int)pid,
                          directory);
        return XS_EXIT_NO;
    }
    if (patience_ns != 0)
        ask_snapshot(directory, pid, patience_ns);
    return add_record_file(in, path, false);
}

/* ---- directories -------------------------------------------------------------------------- */

static bool is_record_name(const char *name)
{
    return strncmp(name, "xsigma-", 7) == 0;
}

static void progress(size_t n, size_t of)
{
    if (of >= 100 && isatty(STDERR_FILENO) && (n % 16 == 0 || n == of))
        fprintf(stderr, "\rreading %zu of %zu%s", n, of, n == of ? "\r\033[K" : "");
}

static int add_directory(struct xs_inputs *in, const char *directory)
{
    struct dirent **names = NULL;
    int n = scandir(directory, &names, NULL, alphasort);
    size_t before = in->count;

    if (n < 0) {
        xs_tool_error("%s: %s", directory, strerror(errno));
        return XS_EXIT_NO;
    }
    for (int k = 0; k < n; k++) {
        char path[PATH_MAX];
        struct stat st;
        int len = snprintf(path, sizeof(path), "%s/%s", directory, names[k]->d_name);
        progress((size_t)k + 1, (size_t)n);
        if (len < (int)sizeof(path) && stat(path, &st) == 0 && S_ISREG(st.st_mode)) {
            if (is_record_name(names[k]->d_name)) {
                (void)add_record_file(in, path, true);
            } else {
                int fd = open(path, O_RDONLY | O_CLOEXEC);
                if (fd >= 0)
                    (void)add_open(in, path, fd, true);
                if (fd >= 0)
                    close(fd);
            }
        }
        free(names[k]);
    }
    free(names);
    if (in->count == before) {
        xs_tool_error("%s: no record and no JSON report in it", directory);
        return XS_EXIT_NO;
    }
    return XS_EXIT_OK;
}

int xs_inputs_add(struct xs_inputs *in, const char *word)
{
    uint64_t pid;
    struct stat st;

    if (strcmp(word, "-") == 0)
        return add_open(in, "standard input", STDIN_FILENO, false);
    if (stat(word, &st) != 0) {
        if (xs_text_count(word, strlen(word), &pid) == 0 && pid > 0 && pid <= INT_MAX)
            return xs_inputs_add_process(in, (pid_t)pid, PATIENCE_NS);
        xs_tool_error("%s: %s", word, strerror(errno));
        return XS_EXIT_NO;
    }
    if (S_ISDIR(st.st_mode))
        return add_directory(in, word);
    const char *slash = strrchr(word, '/');
    if (is_record_name(slash != NULL ? slash + 1 : word))
        return add_record_file(in, word, false);
    int fd = open(word, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        xs_tool_error("%s: %s", word, strerror(errno));
        return XS_EXIT_NO;
    }
    int rc = add_open(in, word, fd, false);
    close(fd);
    return rc;
}

void xs_inputs_free(struct xs_inputs *in)
{
    for (size_t i = 0; i < in->count; i++) {
        free((void *)in->at[i].name);
        drop(&in->at[i]);
    }
    free(in->at);
    *in = (struct xs_inputs){0};
}

/* ---- settings ----------------------------------------------------------------------------- */

static void put_setting(const char *name, const char *text, const char *source, void *arg)
{
    (void)arg;
    if (name != NULL)
        xs_config_restore(name, text, source);
    else
        xs_config_warn("%s", text);
}

void xs_input_settings(const struct xs_input *i)
{
    const struct xs_json_tree *t = &i->json;

    xs_config_forget();
    if (i->recorded != NULL) {
        xs_image_each_setting(i->recorded, put_setting, NULL);
        return;
    }
    const struct xs_json *root = &t->node[0];
    for (const struct xs_json *v = xs_json_first(t, xs_json_get(t, root, "config")); v != NULL;
         v = xs_json_next(t, v))
        put_setting(xs_json_string(xs_json_get(t, v, "name"), ""),
                    xs_json_string(xs_json_get(t, v, "value"), ""),
                    xs_json_string(xs_json_get(t, v, "source"), ""), NULL);
    for (const struct xs_json *v = xs_json_first(t, xs_json_get(t, root, "warnings")); v != NULL;
         v = xs_json_next(t, v))
        put_setting(NULL, xs_json_string(v, ""), NULL, NULL);
}
