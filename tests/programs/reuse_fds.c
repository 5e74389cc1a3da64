/* reuse_fds.c FILE FILE FILE - closes every descriptor, opens the files as 0, 1 and 2, and writes a
 * line to each: none of them is a terminal's or a log any more. */
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    static const char line[] = "data\n";
    if (argc != 4)
        return 2;
    for (int fd = 0; fd < 4096; fd++)
        close(fd);
    for (int fd = 0; fd < 3; fd++)
        if (open(argv[fd + 1], O_WRONLY | O_CREAT | O_APPEND, 0644) != fd)
            return 3;
    for (int fd = 0; fd < 3; fd++)
        if (write(fd, line, strlen(line)) != (ssize_t)strlen(line))
            return 4;
    return 0;
}
