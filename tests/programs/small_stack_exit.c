/* small_stack_exit.c STATUS - ends by _exit in a handler on a signal stack of 8192 bytes, below
 * which lies a page that may not be touched. */
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum { STACK_BYTES = 8192, GUARD_BYTES = 65536 };

static int status;

static void handler(int sig)
{
    (void)sig;
    _exit(status);
}

int main(int argc, char **argv)
{
    status = argc > 1 ? atoi(argv[1]) : 0;
    free(malloc(100));
    char *whole =
        mmap(NULL, GUARD_BYTES + STACK_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (whole == MAP_FAILED ||
        mprotect(whole + GUARD_BYTES, STACK_BYTES, PROT_READ | PROT_WRITE) != 0)
        return 100;
    stack_t stack = {.ss_sp = whole + GUARD_BYTES, .ss_size = STACK_BYTES};
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_ONSTACK};
    if (sigaltstack(&stack, NULL) != 0 || sigaction(SIGUSR1, &action, NULL) != 0)
        return 100;
    raise(SIGUSR1);
    return 101;
}
