#include "sys/limits.h"

#include <pthread.h>
#include <string.h>
#include <sys/mman.h>

#include "base/fmt.h"
#include "sys/direct.h"
#include "sys/io.h"
#include "sys/numa.h"
#include "sys/proc.h"

/* A limit from here on is none. */
#define NO_LIMIT  ((uint64_t)1 << 60)

#define TEXT_MOST 8192

/* The group may change, and the limits that groups have: both are looked for anew after so long. */
#define OPEN_NS UINT64_C(1000000000)

const char *xs_limits_root = "";

struct version {
    char mount[24];
    char limit[24];
    char high[16]; /* from here on processes wait, so it is a limit too; "": none */
    char used[24];
    /* Of memory.stat. What the kernel would drop first; files that are in use, of which it keeps
     * those that are mapped, as programs are; its own caches. */
    char cold[24];
    char warm[24];
    char mapped[24];
    char slabs[24];
    char stalls[16];
};

XS_SELDOM_READ static const struct version versions[] = {
    {"/sys/fs/cgroup", "memory.max", "memory.high", "memory.current", "inactive_file ",
     "active_file ", "file_mapped ", "slab_reclaimable ", "memory.pressure"},
    {"/sys/fs/cgroup/memory", "memory.limit_in_bytes", "", "memory.usage_in_bytes",
     "total_inactive_file ", "total_active_file ", "total_mapped_file ", "", ""},
};

static bool is_open;

#define PATH_MOST 1024

/* What is mostly written to lies in one page. */
XS_SELDOM static struct {
    _Alignas(4096) uint64_t opened_ns;
    const struct version *version;
    uint64_t nodes;                     /* all that memory comes from; 0: the whole machine */
    unsigned groups;                    /* that have a limit, from the process's own up */
    uint16_t group[XS_LIMITS_MOST - 1]; /* how much of the path is theirs */
    char path[PATH_MOST];               /* of the group that the process is in */
    char text[TEXT_MOST];
} limits;

/* Read once for a small answer, it is no use to have the pages. */
static void forget_all(void)
{
    is_open = false;
    (void)xs_direct_madvise(&limits, sizeof(limits), MADV_DONTNEED);
}

/* The text of a file in the directory of so many characters, or NULL. */
static const char *text_in(const char *directory, size_t len, const char *name)
{
    char mem[1280];
    struct xs_buf path;

    if (name[0] == '\0')
        return NULL;
    xs_buf_init(&path, mem, sizeof(mem));
    xs_put_str(&path, xs_limits_root);
    xs_put_mem(&path, directory, len);
    xs_fmt(&path, "/%s", name);
    if (path.truncated || xs_io_read_file(path.at, limits.text, sizeof(limits.text)) < 0)
        return NULL;
    return limits.text;
}

static const char *text_of(const char *directory, const char *name)
{
    return text_in(directory, strlen(directory), name);
}

static const char *text_of_group(size_t len, const char *name)
{
    return text_in(limits.path, len, name);
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

/* What stands behind `key` at the start of a line, or NULL. */
static const char *behind(const char *text, const char *key)
{
    size_t len = strlen(key);

    for (; text != NULL && *text != '\0'; text++) {
        if (strncmp(text, key, len) == 0)
            return text + len;
        text = strchr(text, '\n');
        if (text == NULL)
            break;
    }
    return NULL;
}

/* 0 if there is none. */
static uint64_t number_of(const char *text, const char *key)
{
    const char *at = behind(text, key);

    return at != NULL ? number(at) : 0;
}

static uint64_t limit_in(size_t group, const char *name)
{
    const char *text = text_of_group(group, name);
    uint64_t limit = text != NULL ? number(text) : UINT64_MAX;

    return limit < NO_LIMIT ? limit : UINT64_MAX;
}

static uint64_t limit_of(size_t group)
{
    uint64_t limit = limit_in(group, limits.version->limit);
    uint64_t high = limit_in(group, limits.version->high);

    return high < limit ? high : limit;
}

/* On the way from the group up to where the hierarchy is mounted: the groups above count what
 * others use there as well, so any of them may be the one that is full first. */
static void find_limited(const struct version *v, const char *group, size_t len)
{
    size_t mount = strlen(v->mount);

    if (mount + len >= sizeof(limits.path))
        return;
    memmove(limits.path + mount, group, len); /* it may lie in the text, which is read over */
    memcpy(limits.path, v->mount, mount);
    limits.version = v;
    for (size_t at = len > 1 ? mount + len : mount;;) {
        if (limits.groups < XS_COUNT_OF(limits.group) && limit_of(at) != UINT64_MAX)
            limits.group[limits.groups++] = (uint16_t)at;
        if (at <= mount)
            return;
        while (limits.path[--at] != '/')
            ;
    }
}

static void open_limits(void)
{
    const char *text = text_of("/proc/self", "cgroup");
    const char *line = text;

    is_open = true;
    limits.opened_ns = xs_proc_now_ns();
    limits.groups = 0;
    for (; line != NULL && *line != '\0'; line++) {
        const char *at = strchr(line, ':');
        const char *path = at != NULL ? strchr(at + 1, ':') : NULL;
        const char *end = strchr(line, '\n');
        if (path == NULL || end == NULL)
            return;
        bool is_first = strncmp(line, "0::", 3) == 0;
        /* Controllers of version 1 may share a hierarchy. */
        const char *found = memmem(at, (size_t)(path - at), "memory", 6);
        if (is_first || found != NULL) {
            size_t next = (size_t)(end - text);
            find_limited(&versions[is_first ? 0 : 1], path + 1, (size_t)(end - path - 1));
            if (limits.groups != 0)
                return;
            text = text_of("/proc/self", "cgroup"); /* that was written over */
            if (text == NULL || strlen(text) <= next)
                return;
            end = text + next;
        }
        line = end;
    }
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

/* What the kernel would give up before it kills, of memory.stat. */
static uint64_t droppable(const struct version *v, const char *text)
{
    uint64_t warm = number_of(text, v->warm);
    uint64_t mapped = number_of(text, v->mapped);

    return number_of(text, v->cold) + (warm > mapped ? warm - mapped : 0) +
           (v->slabs[0] != '\0' ? number_of(text, v->slabs) : 0);
}

static bool look_at_group(size_t group, struct xs_limits *out)
{
    const struct version *v = limits.version;
    const char *text;

    *out = (struct xs_limits){.of = XS_LIMITS_CGROUP, .limit_bytes = limit_of(group)};
    text = text_of_group(group, v->used);
    if (text == NULL || out->limit_bytes == UINT64_MAX || out->limit_bytes == 0)
        return false;
    uint64_t used = number(text);
    text = text_of_group(group, "memory.stat");
    uint64_t idle = text != NULL ? droppable(v, text) : 0;
    out->used_bytes = used > idle ? used - idle : 0;
    out->stalled = stalled_of(text_of_group(group, v->stalls));
    return true;
}

/* ---- the machine, or some nodes of it ---------------------------------------------------- */

#define NODES "/sys/devices/system/node"

/* What the process's cpuset leaves, and the policies; other nodes have memory too. */
static void open_nodes(void)
{
    uint64_t all;
    uint64_t allowed;
    const char *text = text_of(NODES, "has_memory");

    limits.nodes = 0;
    if (text == NULL || !xs_numa_parse(text, &all) || (all & (all - 1)) == 0)
        return;
    text = behind(text_of("/proc/self", "status"), "Mems_allowed_list:\t");
    if (text == NULL || !xs_numa_parse(text, &allowed))
        allowed = all;
    uint64_t bound = xs_numa_bound() & allowed;
    allowed = all & (bound != 0 ? bound : allowed);
    if (allowed != all)
        limits.nodes = allowed;
}

struct free {
    uint64_t total;
    uint64_t free;
    uint64_t droppable;
};

/* Of the machine's meminfo, or a node's, where each line begins with the node. */
static bool read_free(const char *text, const char *node, struct free *out)
{
    static const char names[][16] = {
        "MemTotal:", "MemFree:", "Active(file):", "Inactive(file):", "SReclaimable:"};
    uint64_t kib[XS_COUNT_OF(names)] = {0};

    for (unsigned i = 0; i < XS_COUNT_OF(names); i++) {
        XS_BUF(key, 64);
        xs_fmt(&key, "%s%s", node, names[i]);
        kib[i] = number_of(text, key.at);
    }
    out->total += kib[0];
    out->free += kib[1];
    out->droppable += kib[2] + kib[3] + kib[4];
    return kib[0] != 0;
}

/* Nodes do not tell what is available. Of what is free or would be dropped the kernel keeps some
 * for itself, and theirs is taken for their part of the machine's. */
static void narrow_to_nodes(uint64_t kept, uint64_t total, struct xs_limits *out)
{
    struct free nodes = {0};

    for (unsigned n = 0; n < XS_NUMA_NODES; n++) {
        XS_BUF(path, 64);
        XS_BUF(node, 16);
        if ((limits.nodes >> n & 1) == 0)
            continue;
        xs_fmt(&path, NODES "/node%u", n);
        xs_fmt(&node, "Node %u ", n);
        if (!read_free(text_of(path.at, "meminfo"), node.at, &nodes))
            return;
    }
    uint64_t has = nodes.free + nodes.droppable;
    kept = kept * nodes.total / total;
    has = has > kept ? has - kept : 0;
    *out = (struct xs_limits){
        .of = XS_LIMITS_NODES,
        .limit_bytes = nodes.total << 10,
        .used_bytes = (nodes.total > has ? nodes.total - has : 0) << 10,
    };
}

static bool look_at_machine(struct xs_limits *out)
{
    const char *text = text_of("/proc", "meminfo");
    struct free machine = {0};

    *out = (struct xs_limits){0};
    uint64_t available = number_of(text, "MemAvailable:");
    if (!read_free(text, "", &machine) || available == 0 || available > machine.total)
        return false;
    out->limit_bytes = machine.total << 10;
    out->used_bytes = (machine.total - available) << 10;
    if (limits.nodes != 0) {
        uint64_t has = machine.free + machine.droppable;
        narrow_to_nodes(has > available ? has - available : 0, machine.total, out);
    }
    return true;
}

unsigned xs_limits_look(struct xs_limits out[XS_LIMITS_MOST])
{
    uint64_t least = UINT64_MAX;
    unsigned n = 0;
    int cancel;

    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
    if (!is_open || xs_proc_now_ns() - limits.opened_ns >= OPEN_NS) {
        open_limits();
        open_nodes();
    }
    for (unsigned i = 0; i < limits.groups; i++) {
        if (!look_at_group(limits.group[i], &out[n]))
            continue;
        uint64_t left = xs_limits_left(&out[n]);
        least = left < least ? left : least;
        n++;
    }
    if (look_at_machine(&out[n])) {
        /* For a group that is nearer to its limit they say nothing: they may be another one's. */
        if (xs_limits_left(&out[n]) < least)
            out[n].stalled = stalled_of(text_of("/proc/pressure", "memory"));
        n++;
    }
    pthread_setcancelstate(cancel, NULL);
    return n;
}

uint64_t xs_limits_cgroup(void)
{
    uint64_t least = UINT64_MAX;

    open_limits();
    for (unsigned i = 0; i < limits.groups; i++) {
        uint64_t limit = limit_of(limits.group[i]);
        least = limit < least ? limit : least;
    }
    forget_all();
    return least;
}

bool xs_limits_is_confined(void)
{
    return limits.groups != 0 || limits.nodes != 0;
}

void xs_limits_fork_child(void)
{
    XS_CHANGE_TO(is_open, false);
}
