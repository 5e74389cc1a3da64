#include "sys/io.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sys/proc.h"
#include "sys/signals.h"

/* Beyond what programs count on, inside the usual limit of 1024 descriptors. */
#define KEPT_FD_MIN 960

static struct {
    int fd; /* -1: none kept */
    bool known;
    dev_t device;
    ino_t inode;
    bool same_as_stdout;
    bool is_pipe;
} kept = {.fd = -1};

static bool is_kept_file(int fd)
{
    struct stat st;

    return fstat(fd, &st) == 0 && st.st_dev == kept.device && st.st_ino == kept.inode;
}

void xs_io_note_stderr(void)
{
    int saved = errno;
    struct stat err;
    struct stat out;

    if (fstat(STDERR_FILENO, &err) == 0) {
        kept.known = true;
        kept.device = err.st_dev;
        kept.inode = err.st_ino;
        kept.is_pipe = S_ISFIFO(err.st_mode) || S_ISSOCK(err.st_mode);
        kept.same_as_stdout = fstat(STDOUT_FILENO, &out) == 0 && out.st_dev == err.st_dev &&
                              out.st_ino == err.st_ino && !isatty(STDERR_FILENO);
    }
    errno = saved;
}

void xs_io_keep_stderr(void)
{
    int saved = errno;
    struct rlimit limit;

    if (kept.known && getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur > KEPT_FD_MIN)
        kept.fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, KEPT_FD_MIN);
    errno = saved;
}

void xs_io_drop_stderr(void)
{
    int saved = errno;

    if (kept.fd >= 0 && is_kept_file(kept.fd))
        close(kept.fd);
    kept.fd = -1;
    errno = saved;
}

int xs_io_stderr(void)
{
    int saved = errno;
    int fd = -1;

    if (kept.known && kept.fd >= 0 && is_kept_file(kept.fd))
        fd = kept.fd;
    else if (kept.known && is_kept_file(STDERR_FILENO))
        fd = STDERR_FILENO;
    errno = saved;
    return fd;
}

bool xs_io_stderr_is_pipe(void)
{
    return kept.is_pipe;
}

bool xs_io_stderr_is_stdout(void)
{
    return kept.same_as_stdout;
}

#define PATIENCE_MS 2000

/* Waits until fd takes a page without blocking; false after the patience is used up. Signals are
 * blocked, so nothing starts the wait again. */
static bool wait_writable(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLOUT};

    return poll(&p, 1, PATIENCE_MS) > 0 && (p.revents & (POLLOUT | POLLERR | POLLHUP)) != 0;
}

/* All signals are blocked, so one in a row is one too many; but a report is nothing to hang for. */
#define INTERRUPTED_MOST 100

static int write_pieces(int fd, const char *text, size_t len)
{
    int interrupted = 0;

    while (len > 0) {
        if (!wait_writable(fd))
            return EAGAIN;
        /* Not more than a pipe takes at once, or the write would block after all. */
        ssize_t n = write(fd, text, len < 4096 ? len : 4096);
        if (n < 0 && errno == EINTR && ++interrupted < INTERRUPTED_MOST)
            continue;
        if (n <= 0)
            return n < 0 ? errno : EIO;
        interrupted = 0;
        text += n;
        len -= (size_t)n;
    }
    return 0;
}

int xs_io_write(int fd, const char *text, size_t len)
{
    static const struct timespec now = {0};
    int saved = errno;
    sigset_t ours;
    sigset_t pending;
    xs_signals before;

    sigpending(&pending);
    xs_signals_hold(&before);
    int rc = write_pieces(fd, text, len);
    /* A reader that has gone, or a full quota, must not kill the program with our signal. */
    int raised = rc == EPIPE ? SIGPIPE : rc == EFBIG ? SIGXFSZ : 0;
    if (raised != 0 && !sigismember(&pending, raised)) {
        sigemptyset(&ours);
        sigaddset(&ours, raised);
        sigtimedwait(&ours, NULL, &now);
    }
    xs_signals_put_back(&before);
    errno = saved;
    return rc;
}

/* Everybody may write to the directory that the file lies in, and so have put something in our way.
 */
static bool is_in_shared_directory(const char *path)
{
    const char *slash = strrchr(path, '/');
    XS_BUF(dir, 4096);
    struct stat st;

    if (slash == NULL)
        xs_put_char(&dir, '.');
    else
        xs_put_mem(&dir, path, (size_t)(slash - path) + 1);
    return stat(dir.at, &st) == 0 && (st.st_mode & S_IWOTH) != 0;
}

static int open_for_writing(const char *path, int flags, int mode, bool guarded)
{
    struct stat st;
    int fd = open(path,
                  O_WRONLY | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK | flags |
                      (guarded ? O_NOFOLLOW : 0),
                  mode);

    if (fd < 0) {
        if (guarded && errno == ELOOP)
            errno = EPERM;
        return -1;
    }
    if (!guarded ||
        (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_uid == geteuid() && st.st_nlink == 1))
        return fd;
    close(fd);
    errno = EPERM;
    return -1;
}

/* Emptied only when it is known to be ours. */
int xs_io_create(const char *path, bool is_private)
{
    bool guarded = is_private || is_in_shared_directory(path);
    int fd = open_for_writing(path, guarded ? 0 : O_TRUNC, is_private ? 0600 : 0644, guarded);

    if (fd < 0 || !guarded || ftruncate(fd, 0) == 0)
        return fd;
    close(fd);
    errno = EPERM;
    return -1;
}

int xs_io_open_append(const char *path)
{
    return open_for_writing(path, O_APPEND, 0644, is_in_shared_directory(path));
}

void xs_io_close(int fd)
{
    close(fd);
}

long xs_io_read_file(const char *path, char *mem, size_t cap)
{
    size_t len = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat st;

    mem[0] = '\0';
    if (fd < 0)
        return -1;
    /* A pipe would be waited for, at the start of every program. */
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        close(fd);
        errno = EINVAL;
        return -1;
    }
    while (len < cap - 1) {
        ssize_t n = read(fd, mem + len, cap - 1 - len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        len += (size_t)n;
    }
    close(fd);
    mem[len] = '\0';
    return (long)len;
}

void xs_io_put_here(struct xs_buf *out, const char *path)
{
    char here[1024];

    if (path[0] != '/' && getcwd(here, sizeof(here)) != NULL && here[0] == '/')
        xs_fmt(out, "%s/", here);
}

void xs_io_expand(struct xs_buf *out, const char *pattern)
{
    for (const char *c = pattern; *c != '\0'; c++) {
        if (*c != '%' || c[1] == '\0') {
            xs_put_char(out, *c);
            continue;
        }
        switch (*++c) {
        case 'p':
            xs_fmt(out, "%d", (int)getpid());
            break;
        case 'h':
            xs_put_str(out, xs_proc_host());
            break;
        case 'e':
            xs_put_str(out, xs_proc_program());
            break;
        case 't':
            xs_fmt(out, "%lu", (unsigned long)xs_proc_start_time_s());
            break;
        case 'j':
            xs_put_str(out, xs_proc_job());
            break;
        case 'r':
            xs_fmt(out, "%d", xs_proc_rank() < 0 ? 0 : xs_proc_rank());
            break;
        case '%':
            xs_put_char(out, '%');
            break;
        default:
            xs_put_char(out, '%');
            xs_put_char(out, *c);
            break;
        }
    }
}
