/* Preloaded behind libxsigma.so: the FAULT_AT'th call of FAULT_CALL that libxsigma.so makes fails,
 * with FAULT_ERROR (a number), and if FAULT_AFTER is set so do all that follow. At exit, or _exit,
 * one line goes to the file FAULT_LOG: "CALLS FAILED". Calls of the program and of other libraries
 * are let through. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static struct {
    uintptr_t start, end;
    const char *call;
    long at;
    int error;
    int after;
    atomic_long seen;
    long failed;
    int begun;
} fault;

static int find(struct dl_phdr_info *info, size_t size, void *arg)
{
    (void)size;
    (void)arg;
    if (strstr(info->dlpi_name, "libxsigma.so") == NULL)
        return 0;
    for (int i = 0; i < info->dlpi_phnum; i++)
        if (info->dlpi_phdr[i].p_type == PT_LOAD) {
            uintptr_t at = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;
            if (fault.start == 0)
                fault.start = at;
            fault.end = at + info->dlpi_phdr[i].p_memsz;
        }
    return 1;
}

/* The library may call before our constructor. */
static void begin(void)
{
    if (fault.begun)
        return;
    fault.begun = 1;
    dl_iterate_phdr(find, NULL);
    const char *at = getenv("FAULT_AT"), *error = getenv("FAULT_ERROR");
    fault.call = getenv("FAULT_CALL");
    fault.at = at != NULL ? atol(at) : 0;
    fault.error = error != NULL ? atoi(error) : ENOMEM;
    fault.after = getenv("FAULT_AFTER") != NULL;
}

static int fails(const char *call, void *from)
{
    begin();
    if (fault.call == NULL || strcmp(fault.call, call) != 0 ||
        (uintptr_t)from - fault.start >= fault.end - fault.start)
        return 0;
    long n = atomic_fetch_add(&fault.seen, 1) + 1;
    if (n != fault.at && !(fault.after && n > fault.at))
        return 0;
    fault.failed++;
    errno = fault.error;
    return 1;
}

__attribute__((destructor)) static void tell(void)
{
    const char *log = getenv("FAULT_LOG");
    char line[64];

    if (log == NULL)
        return;
    int n = snprintf(line, sizeof(line), "%ld %ld\n", (long)fault.seen, fault.failed);
    int fd = (int)syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_CREAT | O_APPEND, 0644);
    (void)!syscall(SYS_write, fd, line, (size_t)n);
    syscall(SYS_close, fd);
}

#define FROM __builtin_return_address(0)

void *mmap(void *p, size_t size, int prot, int flags, int fd, off_t at)
{
    if (fails("mmap", FROM))
        return MAP_FAILED;
    return (void *)syscall(SYS_mmap, p, size, prot, flags, fd, at);
}

int munmap(void *p, size_t size)
{
    return fails("munmap", FROM) ? -1 : (int)syscall(SYS_munmap, p, size);
}

int madvise(void *p, size_t size, int advice)
{
    return fails("madvise", FROM) ? -1 : (int)syscall(SYS_madvise, p, size, advice);
}

int mprotect(void *p, size_t size, int prot)
{
    return fails("mprotect", FROM) ? -1 : (int)syscall(SYS_mprotect, p, size, prot);
}

int open(const char *path, int flags, ...)
{
    va_list ap;
    va_start(ap, flags);
    int mode = va_arg(ap, int);
    va_end(ap);
    return fails("open", FROM) ? -1 : (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

ssize_t read(int fd, void *to, size_t size)
{
    return fails("read", FROM) ? -1 : syscall(SYS_read, fd, to, size);
}

ssize_t write(int fd, const void *from, size_t size)
{
    return fails("write", FROM) ? -1 : syscall(SYS_write, fd, from, size);
}

int fstat(int fd, struct stat *st)
{
    return fails("fstat", FROM) ? -1 : fstatat(fd, "", st, AT_EMPTY_PATH);
}

int fcntl(int fd, int command, ...)
{
    va_list ap;
    va_start(ap, command);
    long arg = va_arg(ap, long);
    va_end(ap);
    return fails("fcntl", FROM) ? -1 : (int)syscall(SYS_fcntl, fd, command, arg);
}

int fallocate(int fd, int mode, off_t at, off_t size)
{
    return fails("fallocate", FROM) ? -1 : (int)syscall(SYS_fallocate, fd, mode, at, size);
}

int ftruncate(int fd, off_t size)
{
    return fails("ftruncate", FROM) ? -1 : (int)syscall(SYS_ftruncate, fd, size);
}

ssize_t pwrite(int fd, const void *from, size_t size, off_t at)
{
    return fails("pwrite", FROM) ? -1 : syscall(SYS_pwrite64, fd, from, size, at);
}

int mkdir(const char *path, mode_t mode)
{
    return fails("mkdir", FROM) ? -1 : (int)syscall(SYS_mkdirat, AT_FDCWD, path, mode);
}

int rename(const char *from, const char *to)
{
    return fails("rename", FROM) ? -1
                                 : (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
}

#define NEXT(type, name, params, args)                                                             \
    type name params                                                                               \
    {                                                                                              \
        type(*next) params = (type(*) params)(uintptr_t)dlsym(RTLD_NEXT, #name);                   \
        return fails(#name, FROM) ? fault.error : next args;                                       \
    }
NEXT(int, pthread_key_create, (unsigned *key, void (*end)(void *)), (key, end))
NEXT(int, pthread_setspecific, (unsigned key, const void *value), (key, value))

/* The library hands the program's own calls on, so what is to run tells whose it is. */
int pthread_create(unsigned long *thread, const void *attr, void *(*run)(void *), void *arg)
{
    typedef int create_function(unsigned long *, const void *, void *(*)(void *), void *);
    create_function *next = (create_function *)(uintptr_t)dlsym(RTLD_NEXT, "pthread_create");

    return fails("pthread_create", (void *)(uintptr_t)run) ? fault.error
                                                           : next(thread, attr, run, arg);
}
