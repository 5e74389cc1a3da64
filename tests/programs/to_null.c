/* to_null.c MILLISECONDS - points its standard descriptors at /dev/null, as services do, and lives
 * on for a while: whoever reads what it printed has seen all of it. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    int ms = argc > 1 ? atoi(argv[1]) : 0;
    puts("service started");
    fflush(stdout);
    int null = open("/dev/null", O_RDWR);
    if (null < 0)
        return 100;
    for (int fd = 0; fd < 3; fd++)
        dup2(null, fd);
    if (null > 2)
        close(null);
    usleep((useconds_t)ms * 1000);
    return 0;
}
