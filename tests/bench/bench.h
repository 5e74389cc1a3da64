/* tests/bench/bench.h - what the benchmark programs share.
 * Blocks carry a mark in their first byte, which is checked before they are freed: a block that two
 * owners got, or that lost its content, ends the program with status 1.
 * Results are printed as lines "name value", which tests/bench/run reads.
 */
#ifndef XS_TESTS_BENCH_H
#define XS_TESTS_BENCH_H

#include <fcntl.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum { PAGE = 4096 };

_Noreturn static inline void broken(const char *what)
{
    fprintf(stderr, "broken: %s\n", what);
    exit(1);
}

/* xorshift64*: the state is never 0. */
static inline uint64_t random_next(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 0x2545f4914f6cdd1du;
}

/* 0 to bound - 1. */
static inline uint32_t random_below(uint64_t *state, uint32_t bound)
{
    return (uint32_t)(((random_next(state) >> 32) * bound) >> 32);
}

static inline unsigned char block_mark(const unsigned char *p)
{
    return (unsigned char)((uintptr_t)p >> 4 | 1);
}

static inline unsigned char *block_get(size_t size)
{
    unsigned char *p = malloc(size);

    if (p == NULL)
        broken("no memory");
    *p = block_mark(p);
    return p;
}

static inline void block_check(unsigned char *p)
{
    /* The compiler may not know what was stored: the check has to read it. */
    __asm__ volatile("" : "+r"(p) : : "memory");
    if (*p != block_mark(p))
        broken("a block lost its mark");
}

static inline void block_drop(unsigned char *p)
{
    block_check(p);
    free(p);
}

/* A block of which every page is in use. */
static inline unsigned char *block_get_whole(size_t size)
{
    unsigned char *p = block_get(size);

    for (size_t at = PAGE; at < size; at += PAGE)
        p[at] = 1;
    if (size > 1)
        p[size - 1] = 1;
    return p;
}

/* `n` sizes evenly spread over the logarithm from lo to hi. */
static inline void log_uniform(uint32_t *table, size_t n, double lo, double hi)
{
    for (size_t i = 0; i < n; i++)
        table[i] = (uint32_t)(lo * pow(hi / lo, ((double)i + 0.5) / (double)n));
}

/* CPU time of the process, user and system. */
static inline double cpu_ns(void)
{
    struct rusage used;

    getrusage(RUSAGE_SELF, &used);
    return (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1e9 +
           (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) * 1e3;
}

static inline double wall_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/* The value of `field` ("VmHWM:") in a file like /proc/self/status, in KiB; allocates nothing. */
static inline uint64_t proc_kib(const char *file, const char *field)
{
    char text[8192];
    int fd = open(file, O_RDONLY | O_CLOEXEC);
    ssize_t got = fd >= 0 ? read(fd, text, sizeof(text) - 1) : -1;
    const char *at;

    if (fd >= 0)
        close(fd);
    if (got <= 0)
        broken(file);
    text[got] = '\0';
    at = strstr(text, field);
    if (at == NULL)
        broken(field);
    return strtoull(at + strlen(field), NULL, 10);
}

static inline uint64_t peak_rss_kib(void)
{
    return proc_kib("/proc/self/status", "VmHWM:");
}

#endif
