/* micro.c - one allocator call pattern in a loop: CPU time of an operation.
 *
 *   micro --list             the standard rows
 *   micro --malloc           the object file that serves malloc here
 *   micro KIND/SIZE [SCALE]  runs a row for about SCALE (1) x 0.15 s of CPU time
 *
 * Kinds, and what an operation is:
 *   pair1        malloc and free at once
 *   fifo1000     1,000 times malloc, then free in the same order
 *   calloc1      calloc and free at once; a byte of the block is checked to be 0 and dirtied
 *   realloc-x1.5 one realloc of a block that grows from 64 bytes by half up to SIZE
 *   realloc-+64  the same by 64 bytes at a time
 *   churn20k     free of a random one of 20,000 live blocks, and malloc
 *
 * Start-up and the first filling are not counted. The work is repeated and the quickest repetition
 * is printed: what else ran on the machine can only have made it slower.
 */
#include <dlfcn.h>

#include "bench.h"

enum { REPEATS = 7, QUEUE = 1000, MOST_LIVE = 20000 };

static unsigned char *live[MOST_LIVE];
static uint32_t live_n;
static uint64_t random_state = 0x9e3779b97f4a7c15u;

static void fill(size_t size)
{
    for (uint32_t i = 0; i < live_n; i++)
        live[i] = block_get(size);
}

static void empty(void)
{
    for (uint32_t i = 0; i < live_n; i++)
        block_drop(live[i]);
}

/* Each kind does at least `n` operations and returns how many it did. */

static uint64_t pair1(size_t size, uint64_t n)
{
    for (uint64_t i = 0; i < n; i++)
        block_drop(block_get(size));
    return n;
}

static uint64_t fifo(size_t size, uint64_t n)
{
    uint64_t done = 0;

    for (; done < n; done += QUEUE) {
        for (uint32_t i = 0; i < QUEUE; i++)
            live[i] = block_get(size);
        for (uint32_t i = 0; i < QUEUE; i++)
            block_drop(live[i]);
    }
    return done;
}

static uint64_t churn(size_t size, uint64_t n)
{
    for (uint64_t i = 0; i < n; i++) {
        uint32_t at = random_below(&random_state, live_n);

        block_drop(live[at]);
        live[at] = block_get(size);
    }
    return n;
}

static uint64_t calloc1(size_t size, uint64_t n)
{
    for (uint64_t i = 0; i < n; i++) {
        unsigned char *p = calloc(1, size);

        if (p == NULL)
            broken("no memory");
        if (p[size / 2] != 0)
            broken("calloc's block is not clear");
        p[size / 2] = 1;
        __asm__ volatile("" : : "r"(p) : "memory");
        free(p);
    }
    return n;
}

static uint64_t grow(size_t limit, uint64_t n, bool by_half)
{
    uint64_t done = 0;

    while (done < n) {
        size_t size = 64;
        unsigned char *p = malloc(size);

        if (p == NULL)
            broken("no memory");
        p[0] = 7;
        for (;;) {
            size = by_half ? size + size / 2 : size + 64;
            if (size > limit)
                break;
            p = realloc(p, size);
            if (p == NULL)
                broken("no memory");
            if (p[0] != 7)
                broken("realloc lost a byte");
            p[size - 1] = 7;
            done++;
        }
        free(p);
    }
    return done;
}

static uint64_t grow_by_half(size_t limit, uint64_t n)
{
    return grow(limit, n, true);
}

static uint64_t grow_by_64(size_t limit, uint64_t n)
{
    return grow(limit, n, false);
}

static const struct kind {
    const char *name;
    const char *sizes; /* the standard rows */
    uint32_t live;     /* blocks that are there before the loop begins */
    uint64_t (*work)(size_t size, uint64_t n);
} kinds[] = {
    {"pair1", "16 64 256 1024 8192 65536 1048576", 0, pair1},
    {"fifo1000", "16 64 256 1024 8192 65536 1048576", 0, fifo},
    {"calloc1", "64 256 1024 8192 65536 1048576", 0, calloc1},
    {"realloc-x1.5", "64K 4M", 0, grow_by_half},
    {"realloc-+64", "32K", 0, grow_by_64},
    {"churn20k", "256 2048", MOST_LIVE, churn},
};
#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

static void measure(const struct kind *kind, size_t size, double scale)
{
    double slice = 0.15e9 * scale / (REPEATS + 1);
    double best = 0, took;
    uint64_t n = 1, done, total = 0;

    live_n = kind->live;
    fill(size);
    /* How many operations take a slice. This also warms up; where the first blocks are much dearer
     * than later ones, one long run is no evidence, so it takes two in succession. */
    for (int long_runs = 0; long_runs < 2;) {
        double start = cpu_ns();

        done = kind->work(size, n);
        took = cpu_ns() - start;
        if (took >= slice / 2)
            long_runs++;
        else
            long_runs = 0;
        if (took < slice / 10)
            n = done * 10;
        else if (took < slice / 2)
            n = (uint64_t)((double)done * slice / took) + 1;
    }
    for (int i = 0; i < REPEATS; i++) {
        double start = cpu_ns();

        done = kind->work(size, n);
        took = (cpu_ns() - start) / (double)done;
        if (i == 0 || took < best)
            best = took;
        total += done;
    }
    empty();
    printf("cpu_ns_per_op %.3f\nops %llu\npeak_rss_kib %llu\n", best, (unsigned long long)total,
           (unsigned long long)peak_rss_kib());
}

static void list(void)
{
    for (size_t k = 0; k < KINDS; k++) {
        const char *at = kinds[k].sizes;

        while (*at != '\0') {
            int len = (int)strcspn(at, " ");

            printf("%s/%.*s\n", kinds[k].name, len, at);
            at += len;
            at += strspn(at, " ");
        }
    }
}

static int say_who(void)
{
    Dl_info info;
    void *at = dlsym(RTLD_DEFAULT, "malloc");

    if (at == NULL || dladdr(at, &info) == 0)
        broken("nobody knows malloc");
    puts(info.dli_fname);
    return 0;
}

static size_t size_of(const char *text)
{
    char *end;
    size_t size = strtoull(text, &end, 10);

    if (*end == 'K')
        size <<= 10;
    else if (*end == 'M')
        size <<= 20;
    else if (*end != '\0')
        return 0;
    return size;
}

int main(int argc, char **argv)
{
    const char *slash = argc >= 2 ? strchr(argv[1], '/') : NULL;
    double scale = argc == 3 ? atof(argv[2]) : 1;

    if (argc == 2 && strcmp(argv[1], "--list") == 0) {
        list();
        return 0;
    }
    if (argc == 2 && strcmp(argv[1], "--malloc") == 0)
        return say_who();
    for (size_t k = 0; slash != NULL && argc <= 3 && k < KINDS; k++) {
        size_t len = strlen(kinds[k].name);

        if (len == (size_t)(slash - argv[1]) && strncmp(argv[1], kinds[k].name, len) == 0 &&
            size_of(slash + 1) >= 16 && scale > 0) {
            measure(&kinds[k], size_of(slash + 1), scale);
            return 0;
        }
    }
    fputs("usage: micro --list | --malloc | KIND/SIZE [SCALE]\n", stderr);
    return 2;
}
