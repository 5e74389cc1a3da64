#include "sys/proc.h"

#include <fcntl.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "base/fmt.h"
#include "sys/env.h"
#include "sys/io.h"

static struct {
    char program[64];
    char host[65];
    char job[32];
    int rank;
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
    ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 1);

    path[n > 0 ? n : 0] = '\0';
    const char *slash = strrchr(path, '/');
    copy_name(self.program, sizeof(self.program), slash != NULL ? slash + 1 : "unknown");
}

static const char *first_set(const char *const *names)
{
    for (; *names != NULL; names++) {
        const char *v = xs_env_get(*names);
        if (v != NULL && v[0] != '\0')
            return v;
    }
    return NULL;
}

static void find_job(void)
{
    static const char *const ranks[] = {"PMIX_RANK",    "OMPI_COMM_WORLD_RANK", "PMI_RANK",
                                        "SLURM_PROCID", "MV2_COMM_WORLD_RANK",  NULL};
    static const char *const jobs[] = {"SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID", NULL};
    const char *rank = first_set(ranks);
    const char *job = first_set(jobs);

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

    self.start_ns = clock_ns(CLOCK_MONOTONIC);
    self.start_time_s = clock_ns(CLOCK_REALTIME) / 1000000000u;
    copy_name(self.host, sizeof(self.host), uname(&u) == 0 ? u.nodename : "");
    find_program();
    find_job();
}

void xs_proc_fork_child(void)
{
    self.start_ns = clock_ns(CLOCK_MONOTONIC);
    self.start_time_s = clock_ns(CLOCK_REALTIME) / 1000000000u;
}

const char *xs_proc_program(void)
{
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

/* The number after `key` in /proc/self/status, there in KiB. */
static uint64_t status_bytes(const char *status, const char *key)
{
    const char *at = strstr(status, key);
    uint64_t kib = 0;

    if (at == NULL)
        return 0;
    at += strlen(key);
    while (*at == ' ' || *at == '\t')
        at++;
    while (*at >= '0' && *at <= '9')
        kib = kib * 10 + (uint64_t)(*at++ - '0');
    return kib * 1024;
}

void xs_proc_rss(uint64_t *now_bytes, uint64_t *peak_bytes)
{
    char status[4096];

    /* Not getrusage: its peak starts from the parent's, through fork and exec. */
    (void)xs_io_read_file("/proc/self/status", status, sizeof(status));
    *now_bytes = status_bytes(status, "VmRSS:");
    *peak_bytes = status_bytes(status, "VmHWM:");
    if (*peak_bytes < *now_bytes)
        *peak_bytes = *now_bytes;
}

/* One line of smaps: the head of a mapping, or its "Rss:". */
static void smaps_line(const char *line, bool (*mine)(uintptr_t), bool *counts, uint64_t *sum)
{
    uintptr_t start = 0;
    const char *c = line;

    for (; (*c >= '0' && *c <= '9') || (*c >= 'a' && *c <= 'f'); c++)
        start = start << 4 | (uintptr_t)(*c <= '9' ? *c - '0' : *c - 'a' + 10);
    if (c != line && *c == '-')
        *counts = mine(start);
    else if (*counts && strncmp(line, "Rss:", 4) == 0)
        *sum += status_bytes(line, "Rss:");
}

uint64_t xs_proc_resident(bool (*mine)(uintptr_t start))
{
    char piece[2048];
    char line[80]; /* what matters stands at the front; the rest of a long line is dropped */
    size_t len = 0;
    uint64_t sum = 0;
    bool counts = false;
    ssize_t n;
    int fd = open("/proc/self/smaps", O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return UINT64_MAX;
    while ((n = read(fd, piece, sizeof(piece))) > 0) {
        for (ssize_t i = 0; i < n; i++) {
            if (piece[i] == '\n') {
                line[len] = '\0';
                smaps_line(line, mine, &counts, &sum);
                len = 0;
            } else if (len < sizeof(line) - 1) {
                line[len++] = piece[i];
            }
        }
    }
    close(fd);
    return sum;
}

/* Finds `needle` in the LD_PRELOAD entry of a NUL-separated environment read in pieces. */
static bool scan_environ(int fd, const char *needle)
{
    static const char key[] = "LD_PRELOAD=";
    char piece[1024];
    size_t key_at = 0; /* matched characters of key */
    size_t needle_at = 0;
    bool in_value = false;
    ssize_t n;

    while ((n = read(fd, piece, sizeof(piece))) > 0) {
        for (ssize_t i = 0; i < n; i++) {
            char c = piece[i];
            if (c == '\0') {
                if (in_value)
                    return false;
                key_at = 0;
            } else if (in_value) {
                if (c == needle[needle_at])
                    needle_at++;
                else
                    needle_at = c == needle[0];
                if (needle[needle_at] == '\0')
                    return true;
            } else if (key_at != SIZE_MAX) {
                key_at = c == key[key_at] ? key_at + 1 : SIZE_MAX;
                in_value = key_at == sizeof(key) - 1;
            }
        }
    }
    return false;
}

bool xs_proc_parent_preloads(const char *library)
{
    XS_BUF(path, 64);

    xs_fmt(&path, "/proc/%d/environ", (int)getppid());
    int fd = open(path.at, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    bool found = scan_environ(fd, library);
    close(fd);
    return found;
}
