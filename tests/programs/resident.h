/* tests/programs/resident.h - what the kernel counts of this process, read without an allocation.
 */
#ifndef XS_TESTS_RESIDENT_H
#define XS_TESTS_RESIDENT_H

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static inline long resident_kib(void)
{
    char text[4096];
    int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
    ssize_t got = read(fd, text, sizeof(text) - 1);

    close(fd);
    if (got <= 0)
        exit(2);
    text[got] = '\0';
    const char *at = strstr(text, "VmRSS:");
    return at == NULL ? -1 : atol(at + 6);
}

#endif
