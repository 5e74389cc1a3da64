#include "sys/record.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fmt.h"
#include "base/text.h"
#include "sys/io.h"

_Static_assert(sizeof(struct xs_record) < XS_RECORD_BYTES / 2, "most of the file is for answers");

static bool put_path(struct xs_record_file *f, const char *directory, pid_t pid)
{
    struct xs_buf b;

    xs_buf_init(&b, f->path, sizeof(f->path));
    xs_fmt(&b, "%s/xsigma-%u-%d", directory, (unsigned)geteuid(), (int)pid);
    return !b.truncated;
}

/* When a process began, which no later one of the same number can have. 0: there is none. */
static uint64_t start_of(pid_t pid)
{
    char text[1024];
    uint64_t ticks = 0;
    XS_BUF(path, 32);

    xs_fmt(&path, "/proc/%d/stat", (int)pid);
    if (xs_io_read_file(path.at, text, sizeof(text)) <= 0)
        return 0;
    char *at = strrchr(text, ')'); /* the name may hold anything; the third field follows */
    for (int field = 3; at != NULL && field <= 22; field++) {
        at = strchr(at, ' ');
        at = at != NULL ? at + 1 : NULL;
    }
    if (at == NULL || xs_text_count(at, strcspn(at, " "), &ticks) != 0)
        return 0;
    return ticks;
}

static uint64_t pid_space(void)
{
    struct stat st;

    return stat("/proc/self/ns/pid", &st) == 0 ? (uint64_t)st.st_ino : 0;
}

/* ---- the process ------------------------------------------------------------------------ */

/* All of its pages, before any is touched. */
static int make_room(int fd)
{
    static const char zeros[4096];

    if (fallocate(fd, 0, 0, (off_t)XS_RECORD_BYTES) == 0)
        return 0;
    if (errno != EOPNOTSUPP && errno != ENOSYS)
        return errno;
    for (size_t at = 0; at < XS_RECORD_BYTES; at += sizeof(zeros))
        if (pwrite(fd, zeros, sizeof(zeros), (off_t)at) != (ssize_t)sizeof(zeros))
            return errno != 0 ? errno : ENOSPC;
    return 0;
}

static int map_new(struct xs_record_file *f, int fd, const char *program)
{
    struct xs_buf name;
    int rc = make_room(fd);

    if (rc != 0)
        return rc;
    void *at = mmap(NULL, XS_RECORD_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (at == MAP_FAILED)
        return errno;
    f->at = at;
    f->pid = getpid();
    struct xs_record_head *h = &f->at->head;
    h->version = XS_RECORD_VERSION;
    h->bytes = XS_RECORD_BYTES;
    h->pid = (int32_t)f->pid;
    h->uid = (uint32_t)geteuid();
    h->started = start_of(f->pid);
    h->pid_space = pid_space();
    xs_buf_init(&name, h->program, sizeof(h->program));
    xs_put_str(&name, program);
    /* Last: until it is there, nobody takes the file for one of ours. */
    __atomic_store_n(&h->magic, XS_RECORD_MAGIC, __ATOMIC_RELEASE);
    return 0;
}

static int read_head(const char *path, struct xs_record_head *h);
static bool is_alive(const struct xs_record_head *h);

/* What has our name already is what we left before an exec, or somebody dead did; unless it belongs
 * to a live process of another container on the same directory. */
static bool may_replace(const char *path)
{
    struct xs_record_head h = {0};

    if (read_head(path, &h) != 0)
        return true; /* unlink itself says whether it may */
    return h.pid_space == pid_space();
}

int xs_record_create(struct xs_record_file *f, const char *directory, const char *program)
{
    const int flags = O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;

    f->at = NULL;
    if (!put_path(f, directory, getpid()))
        return ENAMETOOLONG;
    int fd = open(f->path, flags, 0600);
    if (fd < 0 && errno == EEXIST && may_replace(f->path) && unlink(f->path) == 0)
        fd = open(f->path, flags, 0600);
    if (fd < 0)
        return errno;
    int rc = fchmod(fd, 0600) == 0 ? map_new(f, fd, program) : errno;
    close(fd);
    if (rc != 0)
        (void)unlink(f->path);
    return rc;
}

bool xs_record_is_mine(const struct xs_record_file *f)
{
    return f->at != NULL && f->pid == getpid();
}

void xs_record_remove(struct xs_record_file *f)
{
    if (xs_record_is_mine(f))
        (void)unlink(f->path);
}

void xs_record_forget(struct xs_record_file *f)
{
    if (f->at != NULL)
        (void)munmap(f->at, XS_RECORD_BYTES);
    f->at = NULL;
}

/* ---- reading others' -------------------------------------------------------------------- */

/* A descriptor of a plain file that this user alone may write, else -1 and errno. */
static int open_own(const char *path, int access)
{
    struct stat st;
    int fd = open(path, access | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

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

static int read_head(const char *path, struct xs_record_head *h)
{
    int fd = open_own(path, O_RDONLY);

    if (fd < 0)
        return errno;
    int rc = head_of(fd, h);
    close(fd);
    return rc;
}

/* Processes of other namespaces cannot be judged and count as alive. */
static bool is_alive(const struct xs_record_head *h)
{
    if (h->pid_space != pid_space())
        return true;
    uint64_t started = start_of(h->pid);
    return started != 0 ? started == h->started : kill(h->pid, 0) == 0 || errno != ESRCH;
}

static int map_others(struct xs_record_file *f, int fd)
{
    struct xs_record_head h = {0};
    int rc = head_of(fd, &h);

    if (rc == 0 && (h.pid != f->pid || h.pid_space != pid_space()))
        rc = EBADMSG;
    if (rc == 0 && !is_alive(&h))
        rc = ESRCH;
    if (rc != 0)
        return rc;
    /* Held by the description, so to the end of the command. */
    if (flock(fd, LOCK_EX | LOCK_NB) != 0)
        return errno == EWOULDBLOCK ? EBUSY : errno;
    void *at = mmap(NULL, XS_RECORD_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (at == MAP_FAILED)
        return errno;
    f->at = at;
    return 0;
}

int xs_record_open(struct xs_record_file *f, const char *directory, pid_t pid)
{
    f->at = NULL;
    f->pid = pid;
    if (!put_path(f, directory, pid))
        return ENAMETOOLONG;
    int fd = open_own(f->path, O_RDWR);
    if (fd < 0)
        return errno;
    int rc = map_others(f, fd);
    if (rc != 0)
        close(fd); /* else it stays open, and with it the lock */
    return rc;
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

/* The name is DIRECTORY's own, xsigma-UID-PID of this user. */
static bool is_record_name(const char *name)
{
    XS_BUF(prefix, 32);
    uint64_t pid;

    xs_fmt(&prefix, "xsigma-%u-", (unsigned)geteuid());
    if (strncmp(name, prefix.at, prefix.len) != 0)
        return false;
    name += prefix.len;
    return xs_text_count(name, strlen(name), &pid) == 0;
}

struct walk {
    const char *directory;
    void (*use)(const struct xs_record_head *head, void *arg);
    void *arg;
    unsigned count;
    unsigned dead;
    unsigned limit; /* of dead ones */
};

static bool walk_one(int dir, const char *name, void *arg)
{
    struct walk *w = arg;
    struct xs_record_head h = {0};
    XS_BUF(path, 256);

    if (!is_record_name(name))
        return true;
    xs_fmt(&path, "%s/%s", w->directory, name);
    if (path.truncated || read_head(path.at, &h) != 0)
        return true;
    if (is_alive(&h)) {
        w->count++;
        if (w->use != NULL)
            w->use(&h, w->arg);
        return true;
    }
    w->dead += unlinkat(dir, name, 0) == 0;
    return w->dead < w->limit;
}

void xs_record_reap(const char *directory, unsigned limit)
{
    struct walk w = {.directory = directory, .limit = limit};

    each_name(directory, walk_one, &w);
}

unsigned xs_record_each(const char *directory,
                        void (*use)(const struct xs_record_head *head, void *arg), void *arg)
{
    struct walk w = {.directory = directory, .use = use, .arg = arg, .limit = UINT32_MAX};

    each_name(directory, walk_one, &w);
    return w.count;
}
