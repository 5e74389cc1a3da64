/* seccomp_run ERROR CALL[,CALL...] COMMAND... - runs COMMAND where these system calls fail with
 * ERROR (a number), or kill the process if that is "kill"; "all" for every one of the table below.
 * seccomp_run --list prints their names. A name with a colon is the call with certain arguments
 * only: the loader itself could not do without the rest. */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

struct call {
    const char *name;
    long number;
    unsigned argument; /* looked at if there is a mask: fails if all of its bits are set */
    unsigned mask;
};

#define CALL(name)                                                                                 \
    {                                                                                              \
#name, SYS_##name, 0, 0                                                                    \
    }

static const struct call calls[] = {
    {"mmap:shared", SYS_mmap, 3, MAP_SHARED},
    {"mmap:fixed-anonymous", SYS_mmap, 3, MAP_FIXED | MAP_ANONYMOUS},
    {"mmap:noreserve", SYS_mmap, 3, MAP_NORESERVE},
    {"mmap:hugetlb", SYS_mmap, 3, MAP_HUGETLB},
    {"mmap:populate", SYS_mmap, 3, MAP_POPULATE},
    {"openat:create", SYS_openat, 2, O_CREAT},
    {"openat:directory", SYS_openat, 2, O_DIRECTORY},
    {"openat:nofollow", SYS_openat, 2, O_NOFOLLOW},
    {"clone:thread", SYS_clone, 0, CLONE_THREAD},
    CALL(madvise),
    CALL(munmap),
    CALL(mremap),
    CALL(mlock),
    CALL(mlock2),
    CALL(mlockall),
    CALL(mincore),
    CALL(msync),
    CALL(mbind),
    CALL(get_mempolicy),
    CALL(set_mempolicy),
    CALL(membarrier),
    CALL(getcpu),
    CALL(sched_getaffinity),
    CALL(sched_setaffinity),
    CALL(sched_yield),
    CALL(clone3),
    CALL(rseq),
    CALL(prctl),
    CALL(prlimit64),
    CALL(getrlimit),
    CALL(getrusage),
    CALL(sysinfo),
    CALL(uname),
    CALL(getrandom),
    CALL(memfd_create),
    CALL(fallocate),
    CALL(ftruncate),
    CALL(fchmod),
    CALL(flock),
    CALL(fcntl),
    CALL(ioctl),
    CALL(pread64),
    CALL(pwrite64),
    CALL(getdents64),
    CALL(statx),
    CALL(statfs),
    CALL(fstat),
    CALL(newfstatat),
    CALL(faccessat),
    CALL(readlinkat),
    CALL(mkdirat),
    CALL(unlinkat),
    CALL(renameat),
    CALL(renameat2),
    CALL(ppoll),
    CALL(pselect6),
    CALL(pipe2),
    CALL(dup3),
    CALL(kill),
    CALL(tgkill),
    CALL(rt_sigaction),
    CALL(rt_sigprocmask),
    CALL(rt_sigpending),
    CALL(rt_sigtimedwait),
    CALL(sigaltstack),
    CALL(getpid),
    CALL(getppid),
    CALL(gettid),
    CALL(getsid),
    CALL(getuid),
    CALL(geteuid),
    CALL(clock_gettime),
    CALL(clock_nanosleep),
    CALL(nanosleep),
    CALL(set_robust_list),
    CALL(process_vm_readv),
#ifdef __x86_64__
    CALL(open),
    CALL(access),
    CALL(stat),
    CALL(lstat),
    CALL(readlink),
    CALL(mkdir),
    CALL(unlink),
    CALL(rename),
    CALL(poll),
    CALL(pipe),
    CALL(time),
    CALL(brk),
#endif
};
enum { CALLS = sizeof(calls) / sizeof(calls[0]), PER_CALL = 6 };

static struct sock_filter filter[CALLS * PER_CALL + 2];
static unsigned short length;

static void add(struct sock_filter step)
{
    filter[length++] = step;
}

#define DATA(field)  offsetof(struct seccomp_data, field)
#define LOAD(at)     (struct sock_filter) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (unsigned)(at))
#define RETURN(what) (struct sock_filter) BPF_STMT(BPF_RET | BPF_K, (what))
#define SKIP_UNLESS(how, value, steps)                                                             \
    (struct sock_filter) BPF_JUMP(BPF_JMP | BPF_K | (how), (value), 0, (steps))

/* The number of the call is what is loaded, before and after. */
static void add_call(const struct call *c, unsigned what)
{
    if (c->mask == 0) {
        add(SKIP_UNLESS(BPF_JEQ, (unsigned)c->number, 1));
        add(RETURN(what));
        return;
    }
    add(SKIP_UNLESS(BPF_JEQ, (unsigned)c->number, 5));
    add(LOAD(DATA(args) + c->argument * sizeof(__u64)));
    add((struct sock_filter)BPF_STMT(BPF_ALU | BPF_AND | BPF_K, c->mask));
    add(SKIP_UNLESS(BPF_JEQ, c->mask, 1));
    add(RETURN(what));
    /* Not these arguments: the number again, for those that follow. */
    add(LOAD(DATA(nr)));
}

static int named(const char *list, const char *name)
{
    size_t n = strlen(name);

    for (const char *at = list; (at = strstr(at, name)) != NULL; at += n)
        if ((at == list || at[-1] == ',') && (at[n] == ',' || at[n] == '\0'))
            return 1;
    return 0;
}

int main(int argc, char **argv)
{
    unsigned what;
    int found = 0;

    if (argc == 2 && strcmp(argv[1], "--list") == 0) {
        for (int i = 0; i < CALLS; i++)
            puts(calls[i].name);
        return 0;
    }
    if (argc < 4)
        return 125;
    what = strcmp(argv[1], "kill") == 0 ? SECCOMP_RET_KILL_PROCESS
                                        : SECCOMP_RET_ERRNO | (unsigned)atoi(argv[1]);
    add(LOAD(DATA(nr)));
    for (int i = 0; i < CALLS; i++)
        if (strcmp(argv[2], "all") == 0 || named(argv[2], calls[i].name)) {
            add_call(&calls[i], what);
            found++;
        }
    add(RETURN(SECCOMP_RET_ALLOW));
    struct sock_fprog program = {length, filter};
    if (found == 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
        return 125;
    execvp(argv[3], argv + 3);
    return 126;
}
