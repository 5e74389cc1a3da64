/* bare_fork.c WAY N [threads] - a child, made in a way that calls no handlers of fork, makes N
 * pairs of malloc and free; with threads, while four others do so in the parent. WAY: _Fork; by
 * clone or the system calls fork, clone, clone3 through syscall; raw, by an instruction that nobody
 * sees; or shared, in the parent's memory. Prints what the child ended with. */
#include <linux/sched.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define THREADS 4
#define ENDED   7

pid_t _Fork(void) __attribute__((weak));

static atomic_bool stop;
static long child_pairs;

static void pairs(long n)
{
    for (; n > 0; n--) {
        void *p = malloc((size_t)(n % 3000));
        __asm__ volatile("" : "+r"(p) : : "memory");
        free(p);
    }
}

static void *work(void *arg)
{
    while (!atomic_load(&stop))
        pairs(100);
    return arg;
}

static int child(void *arg)
{
    pairs(child_pairs);
    return arg != NULL ? ENDED : 1;
}

/* The stack is no larger than what a cautious program gives. */
static pid_t by_clone(int flags)
{
    _Alignas(16) static char stack[16 << 10];

    return clone(child, stack + sizeof(stack), flags | SIGCHLD, stack);
}

static pid_t raw(void)
{
    long pid;
#if defined(__x86_64__)
    __asm__ volatile("syscall"
                     : "=a"(pid)
                     : "a"(SYS_clone), "D"(SIGCHLD), "S"(0), "d"(0)
                     : "rcx", "r11", "memory");
#else
    register long number __asm__("x8") = SYS_clone;
    register long first __asm__("x0") = SIGCHLD;
    register long second __asm__("x1") = 0;
    __asm__ volatile("svc 0" : "+r"(first) : "r"(number), "r"(second) : "memory");
    pid = first;
#endif
    return (pid_t)pid;
}

static pid_t make(const char *way)
{
    struct clone_args a = {.exit_signal = SIGCHLD};

    if (strcmp(way, "clone") == 0)
        return by_clone(0);
    if (strcmp(way, "shared") == 0)
        return by_clone(CLONE_VM | CLONE_VFORK);
    if (strcmp(way, "_Fork") == 0)
        return _Fork();
    if (strcmp(way, "raw") == 0)
        return raw();
#if defined(SYS_fork)
    if (strcmp(way, "SYS_fork") == 0)
        return (pid_t)syscall(SYS_fork);
#endif
    if (strcmp(way, "SYS_clone") == 0)
        return (pid_t)syscall(SYS_clone, (long)SIGCHLD, 0L, 0L, 0L, 0L);
    if (strcmp(way, "SYS_clone3") == 0) {
        /* As programs ask whether it is there. */
        if (syscall(SYS_clone3, 8L, sizeof(a)) != -1 || syscall(SYS_clone3, NULL, 0L) != -1)
            return -1;
        return (pid_t)syscall(SYS_clone3, &a, sizeof(a));
    }
    exit(77);
}

int main(int argc, char **argv)
{
    const char *way = argc > 1 ? argv[1] : "_Fork";
    int threads = argc > 3 ? THREADS : 0;
    int forks = argc > 3 ? 20 : 1;
    pthread_t t[THREADS];
    int status = 0;

    child_pairs = argc > 2 ? atol(argv[2]) : 1000;
    if (strcmp(way, "_Fork") == 0 && _Fork == NULL)
        return 77;
    pairs(10000);
    for (int i = 0; i < threads; i++)
        if (pthread_create(&t[i], NULL, work, NULL) != 0)
            return 2;
    for (int i = 0; i < forks && status == 0; i++) {
        pid_t pid = make(way);
        if (pid == 0)
            _exit(child(argv));
        if (pid < 0 || waitpid(pid, &status, 0) != pid)
            return 2;
        status = WIFEXITED(status) && WEXITSTATUS(status) == ENDED ? 0 : 3;
    }
    atomic_store(&stop, true);
    for (int i = 0; i < threads; i++)
        pthread_join(t[i], NULL);
    puts(status == 0 ? "each child ended well" : "a child did not end well");
    return status;
}
