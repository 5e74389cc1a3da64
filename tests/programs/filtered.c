/* filtered.c prctl|seccomp BEFORE AFTER CHILDREN - allows itself the system calls that the C
 * library's malloc needs, those that make threads and children if it is to have some, and few more;
 * then it allocates, in BEFORE threads that were there already and AFTER new ones, one by one, and
 * in CHILDREN processes. For any other call it says which it was, and ends with status 99. */
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { THREADS = 8, BLOCKS = 256, STEPS = 6000 };

static pthread_barrier_t barrier;

static void forbidden(int signal, siginfo_t *info, void *context)
{
    char text[64];
    int n = snprintf(text, sizeof(text), "system call %d is not allowed\n", info->si_syscall);

    (void)signal, (void)context;
    (void)!write(STDERR_FILENO, text, (size_t)n);
    _exit(99);
}

static size_t some_size(unsigned r)
{
    unsigned kind = r % 100;

    r /= 100;
    return kind < 80 ? 16 + r % 500 : kind < 97 ? r % 60000 : kind < 99 ? r % 2000000 : 5000000;
}

static void *work(void *arg)
{
    unsigned seed = (unsigned)(size_t)arg;
    char *block[BLOCKS] = {0};

    for (int i = 0; i < STEPS; i++) {
        char **b = &block[(seed = seed * 1103515245 + 12345) >> 8 & (BLOCKS - 1)];
        size_t size = some_size((seed = seed * 1103515245 + 12345) >> 8);
        if (*b != NULL && seed >> 31 != 0) {
            *b = realloc(*b, size + 1);
        } else {
            free(*b);
            *b = malloc(size + 1);
        }
        if (*b == NULL)
            _exit(98);
        memset(*b, 1, size < 5000 ? size + 1 : 5000);
    }
    for (int i = 0; i < BLOCKS; i++)
        free(block[i]);
    return NULL;
}

static void *early(void *arg)
{
    free(malloc(50));
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    return work(arg);
}

static struct sock_filter filter[64];
static unsigned short length;

static void allow(int call)
{
    filter[length++] =
        (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)call, 0, 1);
    filter[length++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
}

static void make_filter(int threads, int new_threads, int children)
{
    static const int always[] = {SYS_brk,   SYS_mmap,       SYS_munmap,       SYS_mremap,
                                 SYS_write, SYS_exit_group, SYS_rt_sigreturn, SYS_clock_nanosleep};
    static const int for_threads[] = {SYS_mprotect, SYS_madvise, SYS_futex, SYS_exit,
                                      SYS_rt_sigprocmask};
    /* glibc's malloc asks how many processors there are, for its arenas. */
    static const int for_new[] = {
        SYS_clone, SYS_clone3, SYS_set_robust_list,   SYS_rseq,  SYS_openat,
        SYS_read,  SYS_close,  SYS_sched_getaffinity, SYS_fstat, SYS_rt_sigaction};
    static const int for_children[] = {SYS_clone, SYS_set_robust_list, SYS_wait4};
    struct sigaction action = {.sa_sigaction = forbidden, .sa_flags = SA_SIGINFO};

    sigaction(SIGSYS, &action, NULL);
    filter[length++] =
        (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    for (size_t i = 0; i < sizeof(always) / sizeof(int); i++)
        allow(always[i]);
    for (size_t i = 0; threads + new_threads > 0 && i < sizeof(for_threads) / sizeof(int); i++)
        allow(for_threads[i]);
    for (size_t i = 0; new_threads > 0 && i < sizeof(for_new) / sizeof(int); i++)
        allow(for_new[i]);
    for (size_t i = 0; children > 0 && i < sizeof(for_children) / sizeof(int); i++)
        allow(for_children[i]);
    filter[length++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP);
}

int main(int argc, char **argv)
{
    pthread_t thread[THREADS];
    if (argc != 5)
        return 100;
    int threads = atoi(argv[2]);
    int new_threads = atoi(argv[3]);
    int children = atoi(argv[4]);
    const struct timespec pause = {0, 60000000};

    pthread_barrier_init(&barrier, NULL, (unsigned)threads + 1);
    for (int i = 0; i < threads; i++)
        pthread_create(&thread[i], NULL, early, (void *)(size_t)(i + 1));
    if (threads > 0)
        pthread_barrier_wait(&barrier);
    free(malloc(100));
    make_filter(threads, new_threads, children);
    struct sock_fprog program = {length, filter};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return 100;
    long rc = strcmp(argv[1], "prctl") == 0 ? prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program)
                                            : syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
                                                      SECCOMP_FILTER_FLAG_TSYNC, &program);
    if (rc != 0)
        return 100;
    if (threads > 0)
        pthread_barrier_wait(&barrier);
    work((void *)9);
    for (int i = 0; i < new_threads; i++) {
        if (pthread_create(&thread[THREADS - 1], NULL, work, (void *)7) != 0)
            return 97;
        pthread_join(thread[THREADS - 1], NULL);
    }
    for (int i = 0; i < children; i++) {
        int status;
        pid_t pid = fork();
        if (pid == 0) {
            work((void *)3);
            exit(0);
        }
        if (waitpid(pid, &status, 0) != pid || status != 0)
            return 96;
    }
    if (malloc((size_t)1 << 50) != NULL)
        return 95;
    nanosleep(&pause, NULL); /* what was freed is due to go back */
    work((void *)11);
    for (int i = 0; i < threads; i++)
        pthread_join(thread[i], NULL);
    (void)!write(STDOUT_FILENO, "done\n", 5);
    return 3;
}
