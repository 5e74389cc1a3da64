/* slow_switch.c COMMAND... - runs a command twice by ptrace. The first time it learns which page of
 * libxsigma.so is made read-only after the mark (a write to descriptor -1) of a library that has
 * threads running; the second time it holds the main thread after every store into that page, while
 * the threads run on: what would take a rare preemption happens each time. Its status is the
 * command's, 128 + N after signal N, or 77 where this machine cannot tell. */
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { CANNOT_TELL = 77 };

#if defined(__x86_64__)
#include <sys/mman.h>

enum { PAGE = 4096, STEPS_AT_MOST = 100000 };

/* The words of the page that are watched until the first store: one of malloc's pointers, or of
 * free's, is among the first to be stored. */
static const size_t watched[] = {0, 2, 3, 4};

static void cannot_tell(const char *why)
{
    printf("cannot tell: %s\n", why);
    exit(CANNOT_TELL);
}

static int status_of(int status)
{
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static pid_t start(char **command)
{
    pid_t pid = fork();
    if (pid == 0) {
        if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0)
            _exit(CANNOT_TELL);
        execvp(command[0], command);
        _exit(127);
    }
    int status;
    if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFSTOPPED(status))
        cannot_tell("ptrace is refused");
    if (ptrace(PTRACE_SETOPTIONS, pid, NULL, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL) != 0)
        cannot_tell("no options of ptrace");
    return pid;
}

/* Runs on to the next entry of a system call; false: the process ended, with *status. */
static int next_call(pid_t pid, struct __ptrace_syscall_info *call, int *status)
{
    long signal = 0;
    for (;;) {
        if (ptrace(PTRACE_SYSCALL, pid, NULL, signal) != 0 && waitpid(pid, status, WNOHANG) == 0)
            cannot_tell("lost the process");
        if (waitpid(pid, status, 0) != pid || !WIFSTOPPED(*status))
            return 0;
        signal = WSTOPSIG(*status);
        if (signal == SIGTRAP)
            signal = 0; /* exec's */
        if (signal != (SIGTRAP | 0x80))
            continue;
        signal = 0;
        if (ptrace(PTRACE_GET_SYSCALL_INFO, pid, sizeof(*call), call) < 0)
            cannot_tell("no PTRACE_GET_SYSCALL_INFO");
        if (call->op == PTRACE_SYSCALL_INFO_ENTRY)
            return 1;
    }
}

static void run_to_mark(pid_t pid)
{
    struct __ptrace_syscall_info call;
    int status;
    do
        if (!next_call(pid, &call, &status))
            cannot_tell("the process ended before the mark");
    while (call.entry.nr != SYS_write || (int)call.entry.args[0] != -1);
}

/* Where the library starts, and where its last mapping ends, its zeroed memory included. */
static uintptr_t find_library(pid_t pid, uintptr_t *end)
{
    char line[512];
    uintptr_t first = 0;
    snprintf(line, sizeof(line), "/proc/%d/maps", (int)pid);
    FILE *maps = fopen(line, "r");
    *end = 0;
    while (maps != NULL && fgets(line, sizeof(line), maps) != NULL) {
        uintptr_t from = strtoul(line, NULL, 16);
        uintptr_t to = strtoul(strchr(line, '-') + 1, NULL, 16);
        if (strstr(line, "libxsigma") != NULL) {
            first = first == 0 ? from : first;
            *end = to;
        } else if (from == *end && strchr(line, '/') == NULL) {
            *end = to;
        }
    }
    if (maps != NULL)
        fclose(maps);
    if (first == 0)
        cannot_tell("no libxsigma in the process");
    return first;
}

static uintptr_t learn_page(char **command)
{
    struct __ptrace_syscall_info call;
    uintptr_t end;
    int status;
    pid_t pid = start(command);
    run_to_mark(pid);
    uintptr_t base = find_library(pid, &end);
    do
        if (!next_call(pid, &call, &status))
            cannot_tell("no page is made read-only");
    while (call.entry.nr != SYS_mprotect || call.entry.args[0] < base ||
           call.entry.args[0] >= end || call.entry.args[1] != PAGE ||
           call.entry.args[2] != PROT_READ);
    kill(pid, SIGKILL);
    waitpid(pid, &status, 0);
    return (uintptr_t)call.entry.args[0] - base;
}

static void watch(pid_t pid, uintptr_t page)
{
    unsigned long control = 0;
    for (size_t i = 0; i < 4; i++) {
        control |= 1ul << (2 * i) | 0x9ul << (16 + 4 * i); /* stores into 8 bytes */
        if (ptrace(PTRACE_POKEUSER, pid, offsetof(struct user, u_debugreg[i]),
                   page + 8 * watched[i]) != 0)
            cannot_tell("no watchpoints");
    }
    if (ptrace(PTRACE_POKEUSER, pid, offsetof(struct user, u_debugreg[7]), control) != 0)
        cannot_tell("no watchpoints");
}

static int at_end_of_switch(pid_t pid, uintptr_t page)
{
    struct user_regs_struct regs;
    if (ptrace(PTRACE_GETREGS, pid, NULL, &regs) != 0 || regs.rax != SYS_mprotect ||
        regs.rdi != page)
        return 0;
    long code = ptrace(PTRACE_PEEKTEXT, pid, regs.rip, NULL);
    return (code & 0xffff) == 0x050f; /* syscall */
}

static int read_page(pid_t pid, uintptr_t page, char *to)
{
    struct iovec here = {to, PAGE};
    struct iovec there = {(void *)page, PAGE};
    return process_vm_readv(pid, &here, 1, &there, 1, 0) == PAGE;
}

/* Holds the main thread after every store, up to the end of the switch. False as above. */
static int step_through(pid_t pid, uintptr_t page, int *status)
{
    static const struct timespec hold = {0, 3000000};
    char before[PAGE];
    char now[PAGE];
    int held = 0;
    memset(before, 0, sizeof(before));
    for (int steps = 0; steps < STEPS_AT_MOST && !at_end_of_switch(pid, page); steps++) {
        if (read_page(pid, page, now) && memcmp(before, now, PAGE) != 0) {
            memcpy(before, now, PAGE);
            nanosleep(&hold, NULL);
            held++;
        }
        (void)ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL);
        if (waitpid(pid, status, 0) != pid || !WIFSTOPPED(*status))
            return 0;
    }
    if (held < 2)
        cannot_tell("nothing is stored into the page");
    return 1;
}

int main(int argc, char **argv)
{
    uintptr_t end;
    int status;
    if (argc < 2)
        return 2;
    uintptr_t offset = learn_page(argv + 1);
    pid_t pid = start(argv + 1);
    run_to_mark(pid);
    uintptr_t page = find_library(pid, &end) + offset;
    watch(pid, page);
    (void)ptrace(PTRACE_CONT, pid, NULL, NULL);
    if (waitpid(pid, &status, 0) != pid || !WIFSTOPPED(status))
        cannot_tell("no store was seen");
    if (step_through(pid, page, &status)) {
        (void)ptrace(PTRACE_POKEUSER, pid, offsetof(struct user, u_debugreg[7]), 0);
        (void)ptrace(PTRACE_DETACH, pid, NULL, NULL);
        waitpid(pid, &status, 0);
    }
    return status_of(status);
}
#else
int main(void)
{
    puts("cannot tell: watchpoints are x86-64's here");
    return CANNOT_TELL;
}
#endif
