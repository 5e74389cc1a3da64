#include "sys/proc.h"

#include <fcntl.h>
#include <linux/kcmp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "base/fmt.h"
#include "base/text.h"
#include "sys/env.h"
#include "sys/filter.h"
#include "sys/io.h"

static struct {
    char program[64];
    char host[65];
    char job[32];
    int rank;
    pid_t pid;
    uint64_t start_ns;
    uint64_t start_time_s;
} self = {.rank = -1};

static uint64_t clock_ns(clockid_t clock)
{
    struct timespec t;

    if (clock_gettime(clock, &t) != 0)
        return 0;
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void copy_name(char *out, size_t cap, const char *text)
{
    struct xs_buf b;

    xs_buf_init(&b, out, cap);
    xs_put_str(&b, text);
}

static void find_program(void)
{
    char path[512];
    const char *name = path;
    ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 1);

    path[n > 0 ? n : 0] = '\0';
    if (n <= 0) { /* no /proc: as the kernel was told */
        const char *told = (const char *)getauxval(AT_EXECFN); // NOLINT(performance-no-int-to-ptr)
        name = told != NULL ? told : path;
    }
    const char *slash = strrchr(name, '/');
    name = slash != NULL ? slash + 1 : name;
    copy_name(self.program, sizeof(self.program), name[0] != '\0' ? name : "unknown");
}

/* Of a list of names, each with its NUL, that an empty one ends. */
static const char *first_set(const char *names)
{
    for (; *names != '\0'; names += strlen(names) + 1) {
        const char *v = xs_env_get(names);
        if (v != NULL && v[0] != '\0')
            return v;
    }
    return NULL;
}

static void find_job(void)
{
    const char *rank = first_set("PMIX_RANK\0OMPI_COMM_WORLD_RANK\0PMI_RANK\0SLURM_PROCID\0"
                                 "MV2_COMM_WORLD_RANK\0");
    const char *job = first_set("SLURM_JOB_ID\0PBS_JOBID\0LSB_JOBID\0");

    self.rank = -1;
    if (rank != NULL && rank[0] >= '0' && rank[0] <= '9' && strlen(rank) <= 8) {
        self.rank = 0;
        for (const char *c = rank; *c >= '0' && *c <= '9'; c++)
            self.rank = self.rank * 10 + (*c - '0');
    }
    copy_name(self.job, sizeof(self.job), job != NULL ? job : "0");
    for (char *c = self.job; *c != '\0'; c++)
        if (*c == '/')
            *c = '_';
}

void xs_proc_start(void)
{
    struct utsname u;

    self.pid = getpid();
    self.start_ns = clock_ns(CLOCK_MONOTONIC);
    self.start_time_s = clock_ns(CLOCK_REALTIME) / 1000000000u;
    copy_name(self.host, sizeof(self.host), uname(&u) == 0 ? u.nodename : "");
    find_job();
}

void xs_proc_fork_child(void)
{
    if (!xs_is_filtered()) /* else nobody asks */
        self.pid = getpid();
    self.start_ns = clock_ns(CLOCK_MONOTONIC);
    self.start_time_s = clock_ns(CLOCK_REALTIME) / 1000000000u;
}

bool xs_proc_is_in_parent(void)
{
    pid_t pid = getpid();

    return pid != self.pid && syscall(SYS_kcmp, pid, getppid(), KCMP_VM, 0, 0) == 0;
}

const char *xs_proc_program(void)
{
    if (self.program[0] == '\0')
        find_program();
    return self.program;
}

const char *xs_proc_host(void)
{
    return self.host;
}

const char *xs_proc_job(void)
{
    return self.job;
}

int xs_proc_rank(void)
{
    return self.rank;
}

uint64_t xs_proc_start_time_s(void)
{
    return self.start_time_s;
}

uint64_t xs_proc_now_ns(void)
{
    return clock_ns(CLOCK_MONOTONIC);
}

uint64_t xs_proc_wall_ns(void)
{
    return clock_ns(CLOCK_MONOTONIC) - self.start_ns;
}

static uint64_t timeval_ns(struct timeval t)
{
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_usec * 1000u;
}

void xs_proc_cpu_ns(uint64_t *user, uint64_t *sys)
{
    struct rusage u = {0};

    (void)getrusage(RUSAGE_SELF, &u);
    *user = timeval_ns(u.ru_utime);
    *sys = timeval_ns(u.ru_stime);
}

/* The number behind `key` at the start of a line of /proc, there in KiB; 0 if another line. */
static uint64_t line_bytes(const char *line, const char *key)
{
    const char *at = line + strlen(key);
    uint64_t kib = 0;

    if (strncmp(line, key, strlen(key)) != 0)
        return 0;
    while (*at == ' ' || *at == '\t')
        at++;
    while (*at >= '0' && *at <= '9')
        kib = kib * 10 + (uint64_t)(*at++ - '0');
    return kib * 1024;
}

/* Hands each line to `use` until it says stop; what matters stands at the front, so the rest of a
 * long line is dropped. Little stack: this may run on a signal handler's. False: no such file. */
static bool each_line(const char *path, bool (*use)(const char *line, void *arg), void *arg)
{
    char piece[512];
    char line[320];
    size_t len = 0;
    bool more = true;
    ssize_t n;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return false;
    while (more && (n = read(fd, piece, sizeof(piece))) > 0) {
        const char *at = piece;
        const char *end = piece + n;
        while (more && at < end) {
            const char *newline = memchr(at, '\n', (size_t)(end - at));
            size_t part = (size_t)((newline != NULL ? newline : end) - at);
            size_t room = sizeof(line) - 1 - len;
            memcpy(line + len, at, part < room ? part : room);
            len += part < room ? part : room;
            if (newline == NULL)
                break;
            line[len] = '\0';
            more = use(line, arg);
            len = 0;
            at = newline + 1;
        }
    }
    close(fd);
    return true;
}

struct rss {
    uint64_t now;
    uint64_t peak;
};

static bool rss_line(const char *line, void *arg)
{
    struct rss *r = arg;

    r->now += line_bytes(line, "VmRSS:");
    r->peak += line_bytes(line, "VmHWM:");
    return r->now == 0 || r->peak == 0;
}

void xs_proc_rss(uint64_t *now_bytes, uint64_t *peak_bytes)
{
    struct rss r = {0};

    /* Not getrusage: its peak starts from the parent's, through fork and exec. */
    (void)each_line("/proc/self/status", rss_line, &r);
    *now_bytes = r.now;
    *peak_bytes = r.peak > r.now ? r.peak : r.now;
}

unsigned xs_proc_threads(void)
{
    struct stat st;

    /* A directory of directories, one a thread: a link each, and two of its own. */
    return stat("/proc/self/task", &st) == 0 && st.st_nlink > 2 ? (unsigned)st.st_nlink - 2 : 0;
}

bool xs_proc_is_emulated(void)
{
    char text[512];
    const char *at;

    if (xs_io_read_file("/proc/self/stat", text, sizeof(text)) <= 0)
        return false;
    at = strrchr(text, ')'); /* of the name, the second of the fields; that is the 23rd */
    for (unsigned field = 2; at != NULL && field < 23; field++)
        at = strchr(at + 1, ' ');
    return at != NULL && at[1] == '0';
}

uint64_t xs_proc_rss_now(void)
{
    char text[128];
    uint64_t pages = 0;

    if (xs_io_read_file("/proc/self/statm", text, sizeof(text)) <= 0)
        return 0;
    const char *at = strchr(text, ' ');
    if (at == NULL || xs_text_count(at + 1, strcspn(at + 1, " "), &pages) != 0)
        return 0;
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

struct resident {
    bool (*mine)(uintptr_t start);
    bool counts;
    uint64_t sum;
};

/* One line of smaps: the head of a mapping, or its "Rss:". */
static bool smaps_line(const char *line, void *arg)
{
    struct resident *r = arg;
    uintptr_t start = 0;
    const char *c = line;

    for (; (*c >= '0' && *c <= '9') || (*c >= 'a' && *c <= 'f'); c++)
        start = start << 4 | (uintptr_t)(*c <= '9' ? *c - '0' : *c - 'a' + 10);
    if (c != line && *c == '-')
        r->counts = r->mine(start);
    else if (r->counts)
        r->sum += line_bytes(line, "Rss:");
    return true;
}

uint64_t xs_proc_resident(bool (*mine)(uintptr_t start))
{
    struct resident r = {.mine = mine};

    return each_line("/proc/self/smaps", smaps_line, &r) ? r.sum : UINT64_MAX;
}

struct huge {
    uint64_t resident;
    uint64_t huge;
};

static bool rollup_line(const char *line, void *arg)
{
    struct huge *h = arg;

    h->resident += line_bytes(line, "Rss:") + line_bytes(line, "Private_Hugetlb:");
    h->huge += line_bytes(line, "AnonHugePages:") + line_bytes(line, "Private_Hugetlb:");
    return true;
}

void xs_proc_huge(uint64_t *resident_bytes, uint64_t *huge_bytes)
{
    struct huge h = {0};

    (void)each_line("/proc/self/smaps_rollup", rollup_line, &h);
    *resident_bytes = h.resident;
    *huge_bytes = h.huge;
}

static uint64_t decimal(const char **at)
{
    uint64_t n = 0;

    for (; **at >= '0' && **at <= '9'; (*at)++)
        n = n * 10 + (uint64_t)(**at - '0');
    return n;
}

/* "7f... default anon=9 N0=5 N1=4 kernelpagesize_kB=4" */
static bool numa_line(const char *line, void *arg)
{
    const char *page = strstr(line, "kernelpagesize_kB=");
    uint64_t *bytes = arg;
    uint64_t kib = 4;

    if (page != NULL) {
        page += strlen("kernelpagesize_kB=");
        kib = decimal(&page);
    }
    for (const char *at = strstr(line, " N"); at != NULL; at = strstr(at, " N")) {
        at += 2;
        uint64_t node = decimal(&at);
        if (*at != '=' || node >= 64)
            continue;
        at++;
        bytes[node] += decimal(&at) * kib * 1024;
    }
    return true;
}

void xs_proc_nodes(uint64_t bytes[64])
{
    memset(bytes, 0, 64 * sizeof(bytes[0]));
    (void)each_line("/proc/self/numa_maps", numa_line, bytes);
}

/* Of the lines of one file, which follow each other: the first one that is another's, or what is
 * left of the text behind the last whole line. */
static char *its_lines(char *line, const char *text_end, const char *library, bool *is_marked,
                       bool *is_end)
{
    char *end;

    while ((end = memchr(line, '\n', (size_t)(text_end - line))) != NULL) {
        const char *rights = memchr(line, ' ', (size_t)(end - line));
        *is_end = memmem(line, (size_t)(end - line), library, strlen(library)) == NULL;
        if (*is_end)
            break;
        *is_marked |= rights != NULL && strncmp(rights, " ---", 4) == 0;
        line = end + 1;
    }
    return line;
}

/* Line by line only what is the file's: every process that starts does this, and its parent may
 * have many mappings. */
bool xs_proc_parent_maps(const char *library, bool *is_marked)
{
    char text[4096 + 256];
    size_t kept = 0; /* of what was read before: the line that the rest is of */
    bool found = false;
    bool is_end = false;
    ssize_t n;
    XS_BUF(path, 64);

    *is_marked = false;
    xs_fmt(&path, "/proc/%d/maps", (int)getppid());
    int fd = open(path.at, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    while (!is_end && (n = read(fd, text + kept, sizeof(text) - kept)) > 0) {
        char *end = text + kept + n;
        char *line = found ? text : memmem(text, (size_t)(end - text), library, strlen(library));
        found = line != NULL;
        if (line == NULL)
            line = end;
        while (line > text && line[-1] != '\n')
            line--;
        if (found)
            line = its_lines(line, end, library, is_marked, &is_end);
        kept = (size_t)(end - line);
        if (kept == sizeof(text))
            kept = 0;
        memmove(text, line, kept);
    }
    close(fd);
    return found;
}

bool xs_proc_is_traced_by(const char *name)
{
    static const char key[] = "\nTracerPid:\t";
    char text[4096];
    XS_BUF(path, 64);

    const char *at =
        xs_io_read_file("/proc/self/status", text, sizeof(text)) > 0 ? strstr(text, key) : NULL;
    if (at == NULL || at[sizeof(key) - 1] == '0')
        return false;
    xs_fmt(&path, "/proc/%d/comm", (int)strtol(at + sizeof(key) - 1, NULL, 10));
    return xs_io_read_file(path.at, text, sizeof(text)) > 0 &&
           strncmp(text, name, strlen(name)) == 0;
}

bool xs_proc_is_orphan(void)
{
    pid_t session = getsid(0);

    return session != getpid() && getsid(getppid()) != session;
}
