/* contract.h - checks, blocks with patterns, and the lists of cases of the contract program.
 * glibc is the truth: without a preload every case must pass. MUST ends the case at once, CHECK
 * goes on.
 */
#ifndef XS_TESTS_CONTRACT_H
#define XS_TESTS_CONTRACT_H

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)
#define GIB ((size_t)1 << 30)

extern const char *case_name;
extern atomic_int failures;
extern size_t least_align; /* that every block must have */

static inline void check_failed(const char *file, int line, const char *what, size_t a, size_t b)
{
    char text[256];
    int n = snprintf(text, sizeof(text), "%s:%d: %s: %s (%zu, %zu)\n", file, line, case_name, what,
                     a, b);
    if (n > 0)
        (void)!write(2, text, (size_t)n < sizeof(text) ? (size_t)n : sizeof(text) - 1);
    if (atomic_fetch_add(&failures, 1) >= 10)
        _exit(1);
}

/* CHECK2 shows two numbers with the failure, the size and alignment at hand for example. */
#define CHECK2(ok, a, b)                                                                           \
    do {                                                                                           \
        if (!(ok))                                                                                 \
            check_failed(__FILE__, __LINE__, #ok, (size_t)(a), (size_t)(b));                       \
    } while (0)
#define CHECK(ok) CHECK2(ok, 0, 0)
#define MUST(ok)                                                                                   \
    do {                                                                                           \
        if (!(ok)) {                                                                               \
            check_failed(__FILE__, __LINE__, #ok, 0, (size_t)errno);                               \
            _exit(1);                                                                              \
        }                                                                                          \
    } while (0)

/* The compiler knows malloc and would drop unused pairs or fold known sizes; these hide values. */
static inline size_t hide(size_t n)
{
    __asm__ volatile("" : "+r"(n));
    return n;
}

static inline void *opaque(void *p)
{
    __asm__ volatile("" : "+r"(p) : : "memory");
    return p;
}

static inline bool aligned_to(const void *p, size_t align)
{
    return ((uintptr_t)p & (align - 1)) == 0;
}

static inline uint64_t next_random(uint64_t *state)
{
    uint64_t x = *state;
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return *state = x;
}

/* Writes the ends of a block, and of each page of it up to 1 MiB. */
static inline void touch(void *block, size_t n)
{
    unsigned char *p = block;
    if (n == 0)
        return;
    for (size_t i = 0; i < n && i < MIB; i += 4096)
        p[i] = 0x5a;
    p[0] = 0xa5;
    p[n - 1] = 0xa5;
}

static inline void check_block(const char *file, int line, void *p, size_t n, size_t align)
{
    opaque(p);
    if (p == NULL) {
        check_failed(file, line, "block is NULL", n, align);
        return;
    }
    size_t want = align > least_align ? align : least_align;
    if (!aligned_to(p, want))
        check_failed(file, line, "alignment of (size, alignment)", n, want);
    if (malloc_usable_size(p) < n)
        check_failed(file, line, "usable size of (size, usable)", n, malloc_usable_size(p));
    touch(p, n);
}
#define BLOCK(p, n, align) check_block(__FILE__, __LINE__, p, n, align)

/* 0 to 1040, then around each power of two up to 64 MiB, more closely below 8 MiB. */
static inline size_t size_at(size_t i)
{
    static const int around[] = {-1, 0, 1, -17, -16, -15, -8, 8, 15, 16, 17, 100};
    enum { MANY = sizeof(around) / sizeof(around[0]), FEW = 3, FINE = 12 };
    if (i <= 1040)
        return i;
    i -= 1041;
    bool fine = i < FINE * MANY;
    size_t shift = fine ? 11 + i / MANY : 11 + FINE + (i - FINE * MANY) / FEW;
    int offset = around[fine ? i % MANY : (i - FINE * MANY) % FEW];
    return shift > 26 ? SIZE_MAX : ((size_t)1 << shift) + (size_t)(ssize_t)offset;
}
#define FOR_EACH_SIZE(n) for (size_t i_ = 0, n = size_at(0); n != SIZE_MAX; n = size_at(++i_))

static inline bool all_zero(const unsigned char *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (p[i] != 0)
            return false;
    return true;
}

struct tagged {
    size_t size;
    uint64_t seed;
    unsigned char data[];
};

static inline void tag_fill(struct tagged *t, size_t size, uint64_t seed)
{
    t->size = size;
    t->seed = seed;
    for (size_t i = 0; i + sizeof(*t) < size; i += 1 + size / 64)
        t->data[i] = (unsigned char)(seed + i);
    if (size > sizeof(*t))
        t->data[size - sizeof(*t) - 1] = (unsigned char)(seed + size);
}

/* The part of the pattern below `limit` bytes; the last byte only when all of it is there. */
static inline bool tag_ok(const struct tagged *t, size_t limit)
{
    size_t size = t->size;
    for (size_t i = 0; i + sizeof(*t) < size && i + sizeof(*t) < limit; i += 1 + size / 64) {
        bool last = i == size - sizeof(*t) - 1;
        if (t->data[i] != (unsigned char)(t->seed + (last ? size : i)))
            return false;
    }
    return limit < size || size <= sizeof(*t) ||
           t->data[size - sizeof(*t) - 1] == (unsigned char)(t->seed + size);
}

static inline size_t random_size(uint64_t *random)
{
    uint64_t r = next_random(random);
    unsigned shift = 5 + (unsigned)(r % 100 < 90 ? r % 7 : r % 100 < 98 ? r % 12 : r % 17);
    return sizeof(struct tagged) + (size_t)((r >> 20) & (((uint64_t)1 << shift) - 1));
}

static inline void churn(size_t rounds)
{
    uint64_t random = rounds | 1;
    for (size_t i = 0; i < rounds; i++) {
        size_t size = random_size(&random);
        struct tagged *t = malloc(size);
        MUST(t);
        tag_fill(t, size, i);
        struct tagged *u = realloc(t, 2 * size);
        MUST(u);
        CHECK2(tag_ok(u, size), size, i);
        free(u);
    }
}

static inline int wait_status(pid_t pid)
{
    int status = 0;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        continue;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

struct contract_case {
    const char *name;
    void (*run)(void);
};

/* One list a file; the last element has no name. */
extern const struct contract_case contract_calls[];
extern const struct contract_case contract_process[];

#endif
