#include "tool/html.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* U+2028 and U+2029 end a line for some readers of scripts. */
static bool is_line_end(const char *text, size_t len)
{
    return len >= 3 && memcmp(text, "\xe2\x80", 2) == 0 && (text[2] & ~1) == (char)0xa8;
}

int xs_html_write(const char *json, size_t len, FILE *out)
{
    size_t done = 0;

    errno = 0; /* what fails here fails early, with a buffer that is full */
    fputs(xs_html_before, out);
    for (size_t i = 0; i < len; i++) {
        const char *instead = NULL;
        size_t taken = 1;
        if (json[i] == '<') { /* in a string: nowhere else has JSON one */
            instead = "\\u003c";
        } else if (is_line_end(json + i, len - i)) {
            instead = json[i + 2] == (char)0xa8 ? "\\u2028" : "\\u2029";
            taken = 3;
        }
        if (instead == NULL)
            continue;
        fwrite(json + done, 1, i - done, out);
        fputs(instead, out);
        done = i + taken;
        i = done - 1;
    }
    fwrite(json + done, 1, len - done, out);
    fputs(xs_html_after, out);
    return fflush(out) != 0 || ferror(out) ? (errno != 0 ? errno : EIO) : 0;
}

static void to_stream(const char *text, size_t len, void *arg)
{
    fwrite(text, 1, len, arg);
}

/* Where a page goes: into a file of another name first, which takes the place of a plain file, or
 * of none, once it is whole; straight into a device or a pipe. */
struct place {
    char at[PATH_MAX];    /* links followed, so that they stay */
    char fresh[PATH_MAX]; /* empty: there is no other name */
};

/* A device, a pipe, a directory. */
static bool is_special(const char *path, struct stat *st)
{
    return stat(path, st) == 0 && !S_ISREG(st->st_mode);
}

static FILE *open_place(struct place *p, const char *path)
{
    struct stat st;
    int n;

    p->fresh[0] = '\0';
    if (is_special(path, &st))
        return fopen(path, "we");
    if (realpath(path, p->at) == NULL)
        snprintf(p->at, PATH_MAX, "%s", path);
    n = snprintf(p->fresh, PATH_MAX, "%s.%d.new", p->at, (int)getpid());
    if (n < 0 || n >= PATH_MAX) {
        errno = ENAMETOOLONG;
        return NULL;
    }
    return fopen(p->fresh, "wxe");
}

int xs_html_may_save(const char *path)
{
    struct place p;
    struct stat st;

    if (strcmp(path, "-") == 0)
        return 0;
    /* A pipe is opened once only: its reader takes the close for the end. */
    if (is_special(path, &st))
        return S_ISDIR(st.st_mode) ? EISDIR : access(path, W_OK) == 0 ? 0 : errno;
    FILE *out = open_place(&p, path);
    if (out == NULL)
        return errno;
    fclose(out);
    return unlink(p.fresh) == 0 ? 0 : errno;
}

static int save(const char *json, size_t len, const char *path)
{
    struct place p;
    FILE *out = open_place(&p, path);
    int rc;

    if (out == NULL)
        return errno;
    rc = xs_html_write(json, len, out);
    if (fclose(out) != 0 && rc == 0)
        rc = errno;
    if (p.fresh[0] == '\0')
        return rc;
    if (rc == 0 && rename(p.fresh, p.at) != 0)
        rc = errno;
    if (rc != 0)
        (void)unlink(p.fresh);
    return rc;
}

int xs_html_save(struct xs_inputs *in, const char *path)
{
    char *json = NULL;
    size_t len = 0;
    FILE *memory = open_memstream(&json, &len);
    int rc;

    if (memory == NULL)
        return errno;
    if (in->count == 1 && in->at[0].json.count != 0 && in->sites == NULL)
        xs_json_print(&in->at[0].json, in->at[0].json.node, to_stream, memory);
    else
        xs_report_json(xs_inputs_sum(in), to_stream, memory);
    if (fclose(memory) != 0) {
        rc = errno;
    } else if (strcmp(path, "-") == 0) {
        rc = xs_html_write(json, len, stdout);
    } else {
        rc = save(json, len, path);
    }
    free(json);
    return rc;
}
