/* System calls of ours that no other library comes between.
 *
 * Libraries that are preloaded beside us (libfaketime, tsocks, fakeroot ...) define open, stat or
 * clock_gettime, too, and do not expect to be called before their constructors ran, after their
 * destructors, or inside malloc: some print or die then, some take a lock that their own malloc is
 * under. So the library is linked with --wrap for each name here, and what its files call goes to
 * these; the tool and tests, some of which stand in front of these calls themselves, are linked
 * without. mmap and its kin are not among them: who hooks those must see our memory come and go
 * (sys/mem.h). None is a cancellation point.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <time.h>
#include <unistd.h>

#include "sys/direct.h"
#include "sys/elf.h"

XS_INLINE long enter(long number, long a, long b, long c, long d, long e)
{
#if defined(__x86_64__)
    long result;
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;

    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8)
                     : "rcx", "r11", "memory");
    return result;
#elif defined(__aarch64__)
    register long x8 __asm__("x8") = number;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d;
    register long x4 __asm__("x4") = e;

    __asm__ volatile("svc 0"
                     : "+r"(x0)
                     : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4)
                     : "memory", "cc");
    return x0;
#else
#error "write the system call for this processor"
#endif
}

/* As libc's functions return it. */
XS_INLINE long told(long result)
{
    if (XS_LIKELY(result >= 0 || result < -4095))
        return result;
    errno = (int)-result;
    return -1;
}

#define ENTER(number, a, b, c, d, e, ...)                                                          \
    enter(number, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e))

#define CALL(type, name, parameters, ...)                                                          \
    type name parameters;                                                                          \
    type name parameters                                                                           \
    {                                                                                              \
        return (type)told(ENTER(__VA_ARGS__, 0, 0, 0, 0, 0));                                      \
    }

CALL(int, __wrap_close, (int fd), SYS_close, fd)
CALL(ssize_t, __wrap_read, (int fd, void *to, size_t n), SYS_read, fd, to, n)
CALL(ssize_t, __wrap_write, (int fd, const void *from, size_t n), SYS_write, fd, from, n)
CALL(ssize_t, __wrap_pread, (int fd, void *to, size_t n, off_t at), SYS_pread64, fd, to, n, at)
CALL(ssize_t, __wrap_pwrite, (int fd, const void *from, size_t n, off_t at), SYS_pwrite64, fd, from,
     n, at)
CALL(int, __wrap_fstat, (int fd, struct stat *to), SYS_fstat, fd, to)
CALL(int, __wrap_fstatat, (int dir, const char *path, struct stat *to, int flags), SYS_newfstatat,
     dir, path, to, flags)
CALL(int, __wrap_stat, (const char *path, struct stat *to), SYS_newfstatat, AT_FDCWD, path, to)
CALL(int, __wrap_lstat, (const char *path, struct stat *to), SYS_newfstatat, AT_FDCWD, path, to,
     AT_SYMLINK_NOFOLLOW)
CALL(int, __wrap_mkdir, (const char *path, mode_t mode), SYS_mkdirat, AT_FDCWD, path, mode)
CALL(int, __wrap_rename, (const char *from, const char *to), SYS_renameat, AT_FDCWD, from, AT_FDCWD,
     to)
CALL(int, __wrap_unlink, (const char *path), SYS_unlinkat, AT_FDCWD, path)
CALL(int, __wrap_unlinkat, (int dir, const char *path, int flags), SYS_unlinkat, dir, path, flags)
CALL(ssize_t, __wrap_readlink, (const char *path, char *to, size_t n), SYS_readlinkat, AT_FDCWD,
     path, to, n)
CALL(int, __wrap_ftruncate, (int fd, off_t size), SYS_ftruncate, fd, size)
CALL(int, __wrap_fallocate, (int fd, int mode, off_t at, off_t n), SYS_fallocate, fd, mode, at, n)
CALL(int, __wrap_fchmod, (int fd, mode_t mode), SYS_fchmod, fd, mode)
CALL(int, __wrap_flock, (int fd, int how), SYS_flock, fd, how)
CALL(int, __wrap_kill, (pid_t pid, int signal), SYS_kill, pid, signal)
CALL(pid_t, __wrap_getpid, (void), SYS_getpid)
CALL(pid_t, __wrap_getppid, (void), SYS_getppid)
CALL(pid_t, __wrap_gettid, (void), SYS_gettid)
CALL(pid_t, __wrap_getsid, (pid_t pid), SYS_getsid, pid)
CALL(uid_t, __wrap_geteuid, (void), SYS_geteuid)
CALL(int, __wrap_sysinfo, (struct sysinfo * to), SYS_sysinfo, to)
CALL(int, xs_direct_madvise, (void *p, size_t size, int how), SYS_madvise, p, size, how)

int __wrap_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...)
{
    va_list more;

    va_start(more, flags);
    unsigned mode = (flags & O_CREAT) != 0 ? va_arg(more, unsigned) : 0;
    va_end(more);
    return (int)told(ENTER(SYS_openat, AT_FDCWD, path, flags, mode, 0));
}

/* Never to create a file. */
int __wrap_openat(int dir, const char *path, int flags, ...);
int __wrap_openat(int dir, const char *path, int flags, ...)
{
    return (int)told(ENTER(SYS_openat, dir, path, flags & ~O_CREAT, 0, 0));
}

/* With a number as the last argument. */
int __wrap_fcntl(int fd, int what, ...);
int __wrap_fcntl(int fd, int what, ...)
{
    va_list more;

    va_start(more, what);
    int value = va_arg(more, int);
    va_end(more);
    return (int)told(ENTER(SYS_fcntl, fd, what, value, 0, 0));
}

int __wrap_poll(struct pollfd *of, nfds_t n, int ms);
int __wrap_poll(struct pollfd *of, nfds_t n, int ms)
{
    struct timespec t = {ms / 1000, ms % 1000 * 1000000L};

    return (int)told(ENTER(SYS_ppoll, of, n, ms < 0 ? NULL : &t, NULL, 8));
}

int __wrap_isatty(int fd);
int __wrap_isatty(int fd)
{
    char settings[64];

    return told(ENTER(SYS_ioctl, fd, 0x5401 /* TCGETS */, settings, 0, 0)) == 0;
}

/* libc's own: that needs no system call. */
int __wrap_clock_gettime(clockid_t clock, struct timespec *to);
int __wrap_clock_gettime(clockid_t clock, struct timespec *to)
{
    typedef int function(clockid_t, struct timespec *);
    static XS_BUSY function *libc; /* every thread finds the same */

    function *f = __atomic_load_n(&libc, __ATOMIC_RELAXED);
    if (XS_UNLIKELY(f == NULL)) {
        f = (function *)(uintptr_t)xs_elf_libc("clock_gettime");
        if (f == NULL)
            return (int)told(ENTER(SYS_clock_gettime, clock, to, 0, 0, 0));
        __atomic_store_n(&libc, f, __ATOMIC_RELAXED);
    }
    return f(clock, to);
}

time_t __wrap_time(time_t *to);
time_t __wrap_time(time_t *to)
{
    struct timespec now = {0};

    (void)__wrap_clock_gettime(CLOCK_REALTIME_COARSE, &now);
    if (to != NULL)
        *to = now.tv_sec;
    return now.tv_sec;
}
