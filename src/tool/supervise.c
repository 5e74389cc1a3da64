#include "tool/supervise.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/compiler.h"

/* The terminal sends the first two to the program as well; the others reach us alone. */
static const int passed_over[] = {SIGINT, SIGQUIT};
static const int passed_on[] = {SIGTERM, SIGHUP, SIGUSR1, SIGUSR2, SIGWINCH, SIGALRM};

static struct sigaction were[NSIG];
static volatile sig_atomic_t program;

static void pass_on(int signal)
{
    int saved = errno;

    if (program > 0)
        (void)kill((pid_t)program, signal);
    errno = saved;
}

static void take(int signal, void (*handler)(int))
{
    struct sigaction a = {.sa_handler = handler, .sa_flags = SA_RESTART};

    sigemptyset(&a.sa_mask);
    (void)sigaction(signal, NULL, &were[signal]);
    /* What was ignored before us stays so, as it would for the program (nohup). */
    if (were[signal].sa_handler != SIG_IGN)
        (void)sigaction(signal, &a, NULL);
}

static void take_all(void)
{
    for (size_t i = 0; i < XS_COUNT_OF(passed_over); i++)
        take(passed_over[i], SIG_IGN);
    for (size_t i = 0; i < XS_COUNT_OF(passed_on); i++)
        take(passed_on[i], pass_on);
}

static void put_back(void)
{
    for (size_t i = 0; i < XS_COUNT_OF(passed_over); i++)
        (void)sigaction(passed_over[i], &were[passed_over[i]], NULL);
    for (size_t i = 0; i < XS_COUNT_OF(passed_on); i++)
        (void)sigaction(passed_on[i], &were[passed_on[i]], NULL);
}

/* In the child: says through the pipe why it could not. */
XS_NORETURN static void become(const char *file, char **argv, const sigset_t *mask, int say)
{
    int rc;

    put_back();
    (void)sigprocmask(SIG_SETMASK, mask, NULL);
    execvp(file, argv);
    rc = errno;
    (void)!write(say, &rc, sizeof(rc));
    _exit(127);
}

int xs_supervise(const char *file, char **argv, struct xs_ended *out)
{
    sigset_t all;
    sigset_t mask;
    int say[2];
    int rc = 0;

    if (pipe2(say, O_CLOEXEC) != 0)
        return errno;
    /* No signal gets lost between the fork and the note of the child's number. */
    sigfillset(&all);
    (void)sigprocmask(SIG_BLOCK, &all, &mask);
    take_all();
    out->pid = fork();
    if (out->pid == 0)
        become(file, argv, &mask, say[1]);
    if (out->pid < 0)
        rc = errno;
    program = out->pid;
    (void)sigprocmask(SIG_SETMASK, &mask, NULL);
    close(say[1]);
    while (rc == 0 && read(say[0], &rc, sizeof(rc)) < 0 && errno == EINTR)
        ;
    close(say[0]);
    while (out->pid > 0 && waitpid(out->pid, &out->status, 0) < 0 && errno == EINTR)
        ;
    program = 0;
    put_back();
    return rc;
}

void xs_end_as(const struct xs_ended *e)
{
    fflush(stdout);
    if (WIFSIGNALED(e->status)) {
        /* One core file is enough. */
        struct rlimit none = {0, 0};
        sigset_t one;
        (void)setrlimit(RLIMIT_CORE, &none);
        (void)signal(WTERMSIG(e->status), SIG_DFL);
        sigemptyset(&one);
        sigaddset(&one, WTERMSIG(e->status));
        (void)sigprocmask(SIG_UNBLOCK, &one, NULL);
        (void)raise(WTERMSIG(e->status));
        exit(128 + WTERMSIG(e->status));
    }
    exit(WEXITSTATUS(e->status));
}
