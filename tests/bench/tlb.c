/* tlb.c [MIB [MILLIONS]] - random reads over MIB (4096) of memory from malloc, in blocks of 1 MiB:
 * bound by how the processor finds pages. Prints "fill_ms read_ns rss_kib": CPU time to fill the
 * memory, of one read, and the peak of what was resident. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

static double cpu_s(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
    size_t mib = argc > 1 ? strtoul(argv[1], NULL, 10) : 4096;
    size_t reads = (argc > 2 ? strtoul(argv[2], NULL, 10) : 20) * 1000000;
    uint64_t **block = malloc(mib * sizeof(*block));
    uint64_t x = 88172645463325252u;
    uint64_t sum = 0;
    struct rusage used;

    double begun = cpu_s();
    for (size_t i = 0; i < mib; i++) {
        block[i] = malloc((size_t)1 << 20);
        if (block[i] == NULL)
            return 1;
        memset(block[i], (int)i, (size_t)1 << 20);
    }
    double filled = cpu_s();
    for (size_t i = 0; i < reads; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        /* Each address depends on what was read before. */
        x += sum & 1;
        sum += block[(x >> 20) % mib][(x & 0xFFFFF) / sizeof(uint64_t)];
    }
    double done = cpu_s();
    getrusage(RUSAGE_SELF, &used);
    printf("%.0f %.1f %ld%s\n", (filled - begun) * 1e3, (done - filled) * 1e9 / (double)reads,
           used.ru_maxrss, sum == 42 ? " " : "");
    return 0;
}
