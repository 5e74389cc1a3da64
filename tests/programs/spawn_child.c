/* spawn_child.c PROGRAM [ARGUMENT...] - starts a program by posix_spawn, waits, returns its status.
 */
#include <spawn.h>
#include <stdlib.h>
#include <sys/wait.h>

extern char **environ;

int main(int argc, char **argv)
{
    pid_t pid;
    int status = 0;
    free(malloc(12345));
    if (argc < 2 || posix_spawnp(&pid, argv[1], NULL, NULL, argv + 1, environ) != 0)
        return 127;
    if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
        return 126;
    return WEXITSTATUS(status);
}
