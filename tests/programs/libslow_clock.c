/* libslow_clock.c - a clock that goes by what the process does, not by time: nanoseconds for each
 * reading of it (CLOCK_READ_NS), each large mapping made (CLOCK_MAP_NS) and each page fault
 * (CLOCK_FAULT_NS). To be preloaded before the library under test. */
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define LARGE ((size_t)1 << 20)

static atomic_ulong readings;
static atomic_ulong maps;

static unsigned long each(const char *name)
{
    const char *text = getenv(name);

    return text != NULL ? strtoul(text, NULL, 10) : 0;
}

int clock_gettime(clockid_t clock, struct timespec *t)
{
    static atomic_ulong read_ns, map_ns, fault_ns;
    struct rusage usage = {0};

    if (clock != CLOCK_MONOTONIC)
        return (int)syscall(SYS_clock_gettime, clock, t);
    if (readings == 0) {
        read_ns = each("CLOCK_READ_NS");
        map_ns = each("CLOCK_MAP_NS");
        fault_ns = each("CLOCK_FAULT_NS");
    }
    if (fault_ns != 0)
        getrusage(RUSAGE_SELF, &usage);
    unsigned long now = 1000000000 + ++readings * read_ns + maps * map_ns +
                        (unsigned long)usage.ru_minflt * fault_ns;
    *t = (struct timespec){(time_t)(now / 1000000000), (long)(now % 1000000000)};
    return 0;
}

void *mmap(void *at, size_t size, int prot, int flags, int fd, off_t offset)
{
    if (size >= LARGE && (flags & MAP_ANONYMOUS) != 0)
        maps++;
    return (void *)syscall(SYS_mmap, at, size, prot, flags, fd, offset);
}
