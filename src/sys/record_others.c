/* Records of other processes: for the command, and to clear away what dead ones left. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/fmt.h"
#include "base/text.h"
#include "sys/io.h"
#include "sys/record.h"

bool xs_record_path(char *out, size_t cap, const char *directory, pid_t pid, unsigned n)
{
    struct xs_buf b;

    xs_buf_init(&b, out, cap);
    xs_fmt(&b, "%s/xsigma-%u-%d", directory, (unsigned)geteuid(), (int)pid);
    if (n > 1)
        xs_fmt(&b, "-%u", n);
    return !b.truncated;
}

/* The fields of /proc/PID/stat from the third on, the state; NULL where there is none. */
static const char *stat_of(pid_t pid, char *text, size_t cap)
{
    XS_BUF(path, 32);

    xs_fmt(&path, "/proc/%d/stat", (int)pid);
    if (xs_io_read_file(path.at, text, cap) <= 0)
        return NULL;
    const char *at = strrchr(text, ')'); /* the name may hold anything */
    return at != NULL && at[1] == ' ' ? at + 2 : NULL;
}

static uint64_t stat_field(const char *at, int field)
{
    uint64_t n = 0;

    for (int i = 3; at != NULL && i < field; i++) {
        at = strchr(at, ' ');
        at = at != NULL ? at + 1 : NULL;
    }
    return at != NULL && xs_text_count(at, strcspn(at, " "), &n) == 0 ? n : 0;
}

uint64_t xs_record_now(void)
{
    struct timespec t = {0};
    uint64_t ticks = (uint64_t)sysconf(_SC_CLK_TCK);

    (void)clock_gettime(CLOCK_BOOTTIME, &t);
    return (uint64_t)t.tv_sec * ticks + (uint64_t)t.tv_nsec * ticks / 1000000000u;
}

uint64_t xs_record_pid_space(void)
{
    struct stat st;

    return stat("/proc/self/ns/pid", &st) == 0 ? (uint64_t)st.st_ino : 0;
}

/* ---- reading others' -------------------------------------------------------------------- */

static int open_own(int dir, const char *name, int access)
{
    struct stat st;
    int fd = openat(dir, name, access | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

    if (fd < 0) {
        if (errno == ELOOP)
            errno = EPERM;
        return -1;
    }
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_uid == geteuid() && st.st_nlink == 1 &&
        (st.st_mode & 077) == 0)
        return fd;
    close(fd);
    errno = EPERM;
    return -1;
}

int xs_record_open_own(const char *path, int access)
{
    return open_own(AT_FDCWD, path, access);
}

static int check_head(const struct xs_record_head *h, off_t bytes)
{
    if (h->magic != XS_RECORD_MAGIC)
        return EBADMSG;
    if (h->version != XS_RECORD_VERSION)
        return ENOTSUP;
    if (h->bytes < XS_RECORD_BYTES || bytes < (off_t)XS_RECORD_BYTES || h->pid <= 0 ||
        memchr(h->program, '\0', sizeof(h->program)) == NULL)
        return EBADMSG;
    return 0;
}

static int head_of(int fd, struct xs_record_head *h)
{
    struct stat st;

    if (pread(fd, h, sizeof(*h), 0) != (ssize_t)sizeof(*h) || fstat(fd, &st) != 0)
        return EBADMSG;
    return check_head(h, st.st_size);
}

static int read_head(int dir, const char *name, struct xs_record_head *h)
{
    int fd = open_own(dir, name, O_RDONLY);

    if (fd < 0)
        return errno;
    int rc = head_of(fd, h);
    close(fd);
    return rc;
}

bool xs_record_is_foreign(const char *path)
{
    struct xs_record_head h = {0};

    return read_head(AT_FDCWD, path, &h) == 0 && h.pid_space != xs_record_pid_space();
}

bool xs_record_path_now(char *out, size_t cap, const char *directory, pid_t pid)
{
    struct xs_record_head h = {0};

    if (!xs_record_path(out, cap, directory, pid, XS_RECORD_NAMES))
        return false; /* as it is the longest */
    (void)xs_record_path(out, cap, directory, pid, 1);
    if (access(out, F_OK) == 0 && !xs_record_is_foreign(out))
        return true;
    for (unsigned n = 2; n <= XS_RECORD_NAMES; n++) {
        (void)xs_record_path(out, cap, directory, pid, n);
        if (read_head(AT_FDCWD, out, &h) == 0 && h.pid_space == xs_record_pid_space())
            return true;
    }
    return xs_record_path(out, cap, directory, pid, 1);
}

/* Processes of other namespaces cannot be judged and count as alive. */
bool xs_record_is_alive(const struct xs_record_head *h)
{
    if (h->pid_space != xs_record_pid_space())
        return true;
    char text[1024];
    const char *stat = stat_of(h->pid, text, sizeof(text));
    uint64_t started = stat_field(stat, 22);
    if (started == 0)
        return kill(h->pid, 0) == 0 || errno != ESRCH;
    /* Its parent has not heard of its end yet. One whose first thread alone has ended is alive. */
    if ((stat[0] == 'Z' || stat[0] == 'X') && stat_field(stat, 20) <= 1)
        return false;
    return started <= h->made;
}

static int map_others(struct xs_record_file *f, int fd)
{
    struct xs_record_head h = {0};
    int rc = head_of(fd, &h);

    if (rc == 0 && (h.pid != f->pid || h.pid_space != xs_record_pid_space()))
        rc = EBADMSG;
    if (rc == 0 && !xs_record_is_alive(&h))
        rc = ESRCH;
    if (rc != 0)
        return rc;
    if (flock(fd, LOCK_EX | LOCK_NB) != 0)
        return errno == EWOULDBLOCK ? EBUSY : errno;
    void *at = mmap(NULL, XS_RECORD_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (at == MAP_FAILED)
        return errno;
    f->at = at;
    f->fd = fd;
    return 0;
}

int xs_record_open(struct xs_record_file *f, const char *directory, pid_t pid)
{
    f->at = NULL;
    f->pid = pid;
    if (!xs_record_path_now(f->path, sizeof(f->path), directory, pid))
        return ENAMETOOLONG;
    int fd = xs_record_open_own(f->path, O_RDWR);
    if (fd < 0)
        return errno;
    int rc = map_others(f, fd);
    if (rc != 0)
        close(fd);
    return rc;
}

void xs_record_close(struct xs_record_file *f)
{
    if (f->at == NULL)
        return;
    (void)munmap(f->at, XS_RECORD_BYTES);
    close(f->fd);
    f->at = NULL;
}

/* ---- all of them ------------------------------------------------------------------------ */

struct entry { /* as getdents64 has it */
    uint64_t inode;
    int64_t offset;
    uint16_t bytes;
    uint8_t type;
    char name[];
};

/* opendir would allocate, inside an allocator. Stops when `use` returns false. */
static void each_name(const char *directory, bool (*use)(int dir, const char *name, void *arg),
                      void *arg)
{
    _Alignas(struct entry) char mem[2048];
    int dir = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool more = dir >= 0;
    long n;

    while (more && (n = syscall(SYS_getdents64, dir, mem, sizeof(mem))) > 0) {
        for (long at = 0; more && at < n;) {
            const struct entry *e = (const struct entry *)(mem + at);
            more = use(dir, e->name, arg);
            at += e->bytes;
        }
    }
    if (dir >= 0)
        close(dir);
}

struct walk {
    struct xs_buf prefix; /* of this user's: xsigma-UID- */
    void (*use)(const struct xs_record_head *head, bool is_alive, void *arg);
    void *arg;
    unsigned alive;
    unsigned dead;
    unsigned limit; /* of files that are looked at */
    unsigned seen;  /* of those */
    bool may_remove;
};

/* So long a report may be asked for once more. */
#define REPORTED_S 600
/* What nobody asked for stays a week, of many for an hour; of too many none stays. */
#define LONELY_S 604800
#define MANY     64
#define MANY_S   3600
#define TOO_MANY 512

static bool has_outlived(const struct walk *w, const struct xs_record_head *h, int64_t age_s)
{
    return (h->reported != 0 && age_s > REPORTED_S) || age_s > LONELY_S ||
           (w->dead > MANY && age_s > MANY_S) || w->dead > TOO_MANY;
}

/* The pid in the name xsigma-UID-PID, or xsigma-UID-PID-N, of a record of this user's, or 0. */
static uint64_t pid_of(const struct walk *w, const char *name)
{
    uint64_t pid = 0;
    uint64_t n = 0;

    if (strncmp(name, w->prefix.at, w->prefix.len) != 0)
        return 0;
    name += w->prefix.len;
    size_t len = strcspn(name, "-");
    if (name[len] != '\0' && xs_text_count(name + len + 1, strlen(name + len + 1), &n) != 0)
        return 0;
    return xs_text_count(name, len, &pid) == 0 ? pid : 0;
}

static bool walk_one(int dir, const char *name, void *arg)
{
    struct walk *w = arg;
    struct xs_record_head h = {0};
    uint64_t pid = pid_of(w, name);
    struct stat st;

    if (pid == 0)
        return true;
    /* To clear away there is no need to know more of it; if the number is another's by now, it is
     * not so later on. */
    if (w->use == NULL && pid <= INT_MAX && kill((pid_t)pid, 0) == 0)
        return ++w->seen < w->limit;
    if (read_head(dir, name, &h) != 0)
        return true;
    bool is_alive = xs_record_is_alive(&h);
    if (is_alive)
        w->alive++;
    else
        w->dead++;
    if (w->use != NULL)
        w->use(&h, is_alive, w->arg);
    if (w->may_remove && !is_alive && fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
        has_outlived(w, &h, (int64_t)time(NULL) - (int64_t)st.st_mtime))
        (void)unlinkat(dir, name, 0);
    return ++w->seen < w->limit;
}

void xs_record_reap(const char *directory, unsigned limit)
{
    XS_BUF(prefix, 32);
    xs_fmt(&prefix, "xsigma-%u-", (unsigned)geteuid());
    struct walk w = {.prefix = prefix, .limit = limit, .may_remove = true};

    each_name(directory, walk_one, &w);
}

unsigned xs_record_each(const char *directory,
                        void (*use)(const struct xs_record_head *head, bool is_alive, void *arg),
                        void *arg)
{
    XS_BUF(prefix, 32);
    xs_fmt(&prefix, "xsigma-%u-", (unsigned)geteuid());
    struct walk w = {.prefix = prefix, .use = use, .arg = arg, .limit = UINT32_MAX};

    each_name(directory, walk_one, &w);
    return w.alive;
}
