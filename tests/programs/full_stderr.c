/* full_stderr.c [restart] - starts itself anew with a full pipe as standard error, the other end of
 * which it has but never reads, then returns from main with a 100 ms timer running. The timer's
 * handler interrupts what waits, or with "restart" has it restarted. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

static void handler(int sig)
{
    (void)sig;
}

static int end_with_timer(int restart)
{
    struct sigaction action = {.sa_handler = handler, .sa_flags = restart ? SA_RESTART : 0};
    struct itimerval every = {{0, 100000}, {0, 100000}};
    if (sigaction(SIGALRM, &action, NULL) != 0 || setitimer(ITIMER_REAL, &every, NULL) != 0)
        return 100;
    return 0;
}

int main(int argc, char **argv)
{
    static char page[4096];
    int ends[2];
    if (argc > 2)
        return end_with_timer(strcmp(argv[2], "restart") == 0);
    if (pipe(ends) != 0 || fcntl(ends[1], F_SETFL, O_NONBLOCK) != 0)
        return 100;
    while (write(ends[1], page, sizeof(page)) > 0)
        continue;
    if (errno != EAGAIN || fcntl(ends[1], F_SETFL, 0) != 0 || dup2(ends[1], 2) != 2)
        return 100;
    close(ends[1]);
    char *how = argc > 1 ? argv[1] : "interrupt";
    execl("/proc/self/exe", argv[0], "again", how, (char *)NULL);
    return 100;
}
