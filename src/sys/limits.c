#include "sys/limits.h"

#include <pthread.h>
#include <string.h>

#include "base/fmt.h"
#include "sys/io.h"

/* A limit from here on is none. */
#define NO_LIMIT  ((uint64_t)1 << 60)

#define TEXT_MOST 8192

const char *xs_limits_root = "";

struct version {
    const char *mount;
    const char *limit;
    const char *used;
    const char *cold; /* of memory.stat: files that would be dropped first */
    const char *stalls;
};

static const struct version versions[] = {
    {"/sys/fs/cgroup", "memory.max", "memory.current", "inactive_file ", "memory.pressure"},
    {"/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes",
     "total_inactive_file ", NULL},
};

static bool is_open;

#define PATH_MOST 1024

/* What is mostly written to lies in one page. */
XS_SELDOM static struct {
    _Alignas(4096) const struct version *version; /* NULL: no cgroup with a limit */
    char group[PATH_MOST];                        /* that the process is in */
    char path[PATH_MOST]; /* of it, or of the one above it, whose limit counts */
    char text[TEXT_MOST];
} limits;

/* The file's text, or NULL. */
static const char *text_of(const char *directory, const char *name)
{
    char mem[1280];
    struct xs_buf path;

    xs_buf_init(&path, mem, sizeof(mem));
    xs_fmt(&path, "%s%s/%s", xs_limits_root, directory, name);
    if (path.truncated || xs_io_read_file(path.at, limits.text, sizeof(limits.text)) < 0)
        return NULL;
    return limits.text;
}

static uint64_t number(const char *c)
{
    uint64_t n = 0;

    while (*c == ' ')
        c++;
    if (*c < '0' || *c > '9')
        return UINT64_MAX; /* "max" */
    for (; *c >= '0' && *c <= '9' && n < NO_LIMIT; c++)
        n = n * 10 + (uint64_t)(*c - '0');
    return n;
}

/* The number behind `key` at the start of a line; 0 if there is none. */
static uint64_t number_of(const char *text, const char *key)
{
    size_t len = strlen(key);

    for (; text != NULL && *text != '\0'; text++) {
        if (strncmp(text, key, len) == 0)
            return number(text + len);
        text = strchr(text, '\n');
        if (text == NULL)
            break;
    }
    return 0;
}

static uint64_t limit_of(const struct version *v, const char *directory)
{
    const char *text = text_of(directory, v->limit);
    uint64_t limit = text != NULL ? number(text) : UINT64_MAX;

    return limit < NO_LIMIT ? limit : UINT64_MAX;
}

/* The tightest limit on the way from the group up to where the hierarchy is mounted. */
static void find_tightest(const struct version *v, const char *group, size_t len)
{
    char mem[sizeof(limits.path)];
    uint64_t least = UINT64_MAX;
    struct xs_buf path;

    for (;;) {
        xs_buf_init(&path, mem, sizeof(mem));
        xs_put_str(&path, v->mount);
        if (len > 1)
            xs_put_mem(&path, group, len);
        uint64_t limit = path.truncated ? UINT64_MAX : limit_of(v, path.at);
        if (limit < least) {
            least = limit;
            limits.version = v;
            memcpy(limits.path, path.at, path.len + 1);
        }
        if (len <= 1)
            return;
        while (len > 0 && group[len - 1] != '/')
            len--;
        if (len > 0)
            len--;
    }
}

static void open_limits(void)
{
    const char *text = text_of("/proc/self", "cgroup");
    const char *line = text;

    is_open = true;
    limits.version = NULL;
    for (; line != NULL && *line != '\0'; line++) {
        const char *at = strchr(line, ':');
        const char *path = at != NULL ? strchr(at + 1, ':') : NULL;
        const char *end = strchr(line, '\n');
        if (path == NULL || end == NULL)
            return;
        bool is_first = strncmp(line, "0::", 3) == 0;
        /* Controllers of version 1 may share a hierarchy. */
        const char *found = memmem(at, (size_t)(path - at), "memory", 6);
        size_t len = (size_t)(end - path - 1);
        if ((is_first || found != NULL) && len < sizeof(limits.group)) {
            memcpy(limits.group, path + 1, len);
            size_t next = (size_t)(end - text);
            find_tightest(&versions[is_first ? 0 : 1], limits.group, len);
            if (limits.version != NULL)
                return;
            text = text_of("/proc/self", "cgroup"); /* that was written over */
            if (text == NULL || strlen(text) <= next)
                return;
            end = text + next;
        }
        line = end;
    }
}

static void look_at_cgroup(struct xs_limits *out)
{
    const char *text;

    *out = (struct xs_limits){.is_cgroup = true};
    out->limit_bytes = limit_of(limits.version, limits.path);
    text = text_of(limits.path, limits.version->used);
    if (text == NULL || out->limit_bytes == UINT64_MAX) {
        out->limit_bytes = 0;
        return;
    }
    uint64_t used = number(text);
    text = text_of(limits.path, "memory.stat");
    uint64_t cold = text != NULL ? number_of(text, limits.version->cold) : 0;
    out->used_bytes = used > cold ? used - cold : 0;
}

static void look_at_machine(struct xs_limits *out)
{
    const char *text = text_of("/proc", "meminfo");

    *out = (struct xs_limits){0};
    if (text == NULL)
        return;
    uint64_t total = number_of(text, "MemTotal:") << 10;
    uint64_t available = number_of(text, "MemAvailable:") << 10;
    if (available == 0 || available > total)
        return;
    out->limit_bytes = total;
    out->used_bytes = total - available;
}

/* "some avg10=12.34 ..." as 1234 */
static unsigned stalled_of(const char *text)
{
    const char *at = text != NULL ? strstr(text, "avg10=") : NULL;
    unsigned n = 0;
    unsigned digits = 0;

    if (at == NULL)
        return 0;
    for (at += 6; (*at >= '0' && *at <= '9') || *at == '.'; at++)
        if (*at != '.' && digits++ < 6)
            n = n * 10 + (unsigned)(*at - '0');
    return n;
}

static uint64_t left(const struct xs_limits *l)
{
    return l->limit_bytes == 0              ? UINT64_MAX
           : l->limit_bytes > l->used_bytes ? l->limit_bytes - l->used_bytes
                                            : 0;
}

bool xs_limits_look(struct xs_limits *out)
{
    struct xs_limits machine;
    const char *stalls = NULL;
    int cancel;

    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
    if (!is_open)
        open_limits();
    *out = (struct xs_limits){0};
    if (limits.version != NULL)
        look_at_cgroup(out);
    look_at_machine(&machine);
    if (left(&machine) < left(out))
        *out = machine;
    /* The machine's are not for a group: another one's may be all there is to them. */
    if (!out->is_cgroup)
        stalls = text_of("/proc/pressure", "memory");
    else if (limits.version->stalls != NULL)
        stalls = text_of(limits.path, limits.version->stalls);
    out->stalled = stalled_of(stalls);
    pthread_setcancelstate(cancel, NULL);
    return out->limit_bytes != 0;
}

bool xs_limits_has_cgroup(void)
{
    return limits.version != NULL;
}

void xs_limits_fork_child(void)
{
    XS_CHANGE_TO(is_open, false);
}
