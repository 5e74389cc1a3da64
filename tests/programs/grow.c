/* grow.c MIB [FILE:KEY]... - takes MIB in blocks of 64 KiB, and after each MiB prints "step N" and
 * what the kernel says behind KEY in each FILE (nothing: the first number). Prints "failed" and
 * ends with 3 where malloc does. Standard output is written at once. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static unsigned long number_in(const char *file_and_key)
{
    static char text[16384];
    char path[512];
    const char *colon = strchr(file_and_key, ':');
    const char *key = colon + 1;

    snprintf(path, sizeof(path), "%.*s", (int)(colon - file_and_key), file_and_key);
    int fd = open(path, O_RDONLY);
    ssize_t n = fd >= 0 ? read(fd, text, sizeof(text) - 1) : -1;
    close(fd);
    text[n > 0 ? n : 0] = '\0';
    const char *at = strstr(text, key);
    return at != NULL ? strtoul(at + strlen(key), NULL, 10) : 0;
}

int main(int argc, char **argv)
{
    static char line[512];
    unsigned mib = argc > 1 ? (unsigned)atoi(argv[1]) : 0;

    for (int i = 2; i < argc; i++)
        if (strchr(argv[i], ':') == NULL)
            return 2;
    for (unsigned n = 1; n <= mib; n++) {
        for (unsigned i = 0; i < 16; i++) {
            char *p = malloc(65536);
            if (p == NULL) {
                (void)!write(1, "failed\n", 7);
                return 3;
            }
            memset(p, (int)n, 65536);
        }
        int len = snprintf(line, sizeof(line), "step %u", n);
        for (int i = 2; i < argc; i++)
            len += snprintf(line + len, sizeof(line) - (size_t)len, " %lu", number_in(argv[i]));
        line[len++] = '\n';
        (void)!write(1, line, (size_t)len);
    }
    return 0;
}
