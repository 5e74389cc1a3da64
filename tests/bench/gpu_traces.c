/* tests/bench/gpu_traces.c - allocation traces as programs on a GPU make them, from a seed.
 *
 * An ordinary client of the CUDA runtime that knows of nobody in front of the driver: it runs on
 * the fake driver and on a GPU, and does the same there, call for call. Each block is written by
 * work on a stream and some are read back, so that a block which two owners got changes the
 * checksum.
 *
 *   monte-carlo  batches of equal path blocks and their random numbers, sizes by product; a few
 *                parameter blocks that stay; everything else is freed after each batch
 *   pde          multigrid: sizes halve by level, a temporary for each sweep, restarts on others
 *   risk         many small vectors that come and go beside some large cubes
 *   drift        sizes around a centre that wanders from 4 KiB to 4 MiB and back
 *   nosync       as risk, freed while the work is under way, never waited for
 *
 * gpu_traces [--trace NAME] [--seed N] [--iterations N] [--streams N] [--poll N]
 * Streams are non-blocking; 0: the legacy default stream only. --poll N asks each stream N times an
 * iteration how it does: on the fake driver with FAKE_CUDA_AUTO=1 that lets its work go on.
 * The first N iterations are the same for any number of iterations, so that two runs tell apart
 * what is only the beginning. Prints lines "name value". */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#ifdef GPU_TOOLKIT
#include <cuda_runtime.h>
#else
#include "sys/cuda_abi.h"
#endif

enum { SLOTS = 4096, STREAMS = 16, WRITTEN = 256 };
#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)

static struct {
    void *p;
    size_t size;
    unsigned char mark;
} slot[SLOTS];

static uint64_t seed = 1;
static unsigned iterations = 200;
static int stream_count = -1;
static unsigned polls;
static cudaStream_t stream[STREAMS];

static struct {
    uint64_t allocations;
    uint64_t frees;
    uint64_t live;
    uint64_t peak;
    uint64_t largest;
    uint64_t malloc_ns;
    uint64_t free_ns;
    uint64_t checksum;
} sum;

static void check(unsigned code, const char *call)
{
    if (code == 0)
        return;
    printf("error %u in %s after %lu allocations\n", code, call, (unsigned long)sum.allocations);
    exit(1);
}
#define DO(call) check((unsigned)(call), #call)

static uint64_t next(void)
{
    seed ^= seed >> 12;
    seed ^= seed << 25;
    seed ^= seed >> 27;
    return seed * 0x2545f4914f6cdd1du;
}
static unsigned below(unsigned bound)
{
    return (unsigned)(((next() >> 32) * bound) >> 32);
}
/* Every doubling from low to high as likely as any other. */
static size_t by_doubling(unsigned low_log2, unsigned high_log2)
{
    size_t size = (size_t)1 << (low_log2 + below(high_log2 - low_log2));

    return size + (size_t)(((double)size * below(1000)) / 1000);
}

static uint64_t now_ns(clockid_t clock)
{
    struct timespec t;

    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* ---- blocks ----------------------------------------------------------------------------- */

static cudaStream_t any_stream(void)
{
    unsigned r = below(STREAMS);

    return stream_count == 0 ? NULL : stream[r % (unsigned)stream_count];
}

/* Work on the block: its first bytes become its mark. */
static void work(unsigned i, cudaStream_t s)
{
    slot[i].mark = (unsigned char)next();
    DO(cudaMemsetAsync(slot[i].p, slot[i].mark, slot[i].size < WRITTEN ? slot[i].size : WRITTEN,
                       s));
}

static void get(unsigned i, size_t size)
{
    uint64_t begun = now_ns(CLOCK_MONOTONIC);

    DO(cudaMalloc(&slot[i].p, size));
    sum.malloc_ns += now_ns(CLOCK_MONOTONIC) - begun;
    slot[i].size = size;
    sum.allocations++;
    sum.live += size;
    if (sum.live > sum.peak)
        sum.peak = sum.live;
    if (size > sum.largest)
        sum.largest = size;
}

static void put(unsigned i)
{
    uint64_t begun = now_ns(CLOCK_MONOTONIC);

    DO(cudaFree(slot[i].p));
    sum.free_ns += now_ns(CLOCK_MONOTONIC) - begun;
    sum.frees++;
    sum.live -= slot[i].size;
    slot[i].p = NULL;
}

/* What is in the block goes into the checksum. Its work must be complete. */
static void read_back(unsigned i)
{
    unsigned char back[WRITTEN];
    size_t n = slot[i].size < WRITTEN ? slot[i].size : WRITTEN;

    DO(cudaMemcpy(back, slot[i].p, n, cudaMemcpyDeviceToHost));
    for (size_t at = 0; at < n; at++) {
        if (back[at] != slot[i].mark) {
            printf("a block lost its mark after %lu allocations\n", (unsigned long)sum.allocations);
            exit(1);
        }
        sum.checksum = (sum.checksum ^ back[at]) * 0x100000001b3u;
        sum.checksum ^= sum.checksum >> 29;
    }
}

static void wait_for_all(void)
{
    if (stream_count == 0)
        DO(cudaStreamSynchronize(NULL));
    else
        for (int i = 0; i < stream_count; i++)
            DO(cudaStreamSynchronize(stream[i]));
}

static void poll_all(void)
{
    for (unsigned n = 0; n < polls; n++)
        for (int i = 0; i < (stream_count != 0 ? stream_count : 1); i++)
            (void)cudaStreamQuery(stream_count != 0 ? stream[i] : NULL);
    (void)cudaGetLastError();
}

/* ---- the traces: begin, iteration number i -------------------------------------------------- */

enum { PARAMETERS = 6, PRODUCTS = 8 };
static size_t product_bytes[PRODUCTS]; /* of one path block */
static unsigned product_blocks[PRODUCTS];

static void monte_carlo_begin(void)
{
    static const unsigned steps[] = {12, 52, 104, 252};

    for (unsigned i = 0; i < PARAMETERS; i++) {
        get(i, by_doubling(12, 18));
        work(i, any_stream());
    }
    for (unsigned i = 0; i < PRODUCTS; i++) {
        product_bytes[i] = (size_t)(1 + below(16)) * 1000 * sizeof(float) * steps[below(4)];
        product_blocks[i] = 4 + below(5);
    }
}

static void monte_carlo(unsigned i)
{
    unsigned product = i < PRODUCTS ? i : below(PRODUCTS);
    unsigned first = PARAMETERS;
    unsigned n = product_blocks[product];

    for (unsigned b = 0; b < 2 * n; b++) { /* random numbers, paths */
        get(first + b, product_bytes[product]);
        work(first + b, any_stream());
    }
    get(first + 2 * n, product_bytes[product] / 12); /* payoffs, their sums */
    get(first + 2 * n + 1, 4096);
    work(first + 2 * n, any_stream());
    work(first + 2 * n + 1, any_stream());
    /* The random numbers are not needed to the end. */
    for (unsigned b = 0; b < n; b++)
        put(first + b);
    wait_for_all();
    for (unsigned b = n; b < 2 * n + 2; b++)
        read_back(first + b);
    for (unsigned b = n; b < 2 * n + 2; b++)
        put(first + b);
}

enum { LEVELS = 9, ARRAYS = 3, CYCLES = 25 };
static size_t grid_bytes;

static void pde_grid(void)
{
    grid_bytes = (8 + below(25)) * MIB + below(64) * 8 * KIB;
    for (unsigned level = 0; level < LEVELS; level++)
        for (unsigned a = 0; a < ARRAYS; a++) {
            get(level * ARRAYS + a, grid_bytes >> level);
            work(level * ARRAYS + a, any_stream());
        }
}

static void pde_sweep(unsigned level)
{
    unsigned temporary = LEVELS * ARRAYS;

    get(temporary, grid_bytes >> level);
    get(temporary + 1, (grid_bytes >> level) / 64 + 1024); /* a reduction's partial sums */
    work(temporary, any_stream());
    work(temporary + 1, any_stream());
    work(level * ARRAYS, any_stream());
    put(temporary + 1);
    put(temporary);
}

static void pde(unsigned i)
{
    if (i % CYCLES == 0 && i != 0) {
        wait_for_all();
        for (unsigned a = 0; a < LEVELS * ARRAYS; a++) {
            read_back(a);
            put(a);
        }
        pde_grid();
    }
    for (unsigned level = 0; level < LEVELS; level++)
        for (unsigned sweep = 0; sweep < 2; sweep++)
            pde_sweep(level);
    for (unsigned level = LEVELS; level-- > 0;)
        for (unsigned sweep = 0; sweep < 2; sweep++)
            pde_sweep(level);
    if (i % 5 == 4)
        wait_for_all(); /* the residual is looked at */
}

enum { VECTORS = 1500, CUBES = 6, CHANGES = 150 };

static size_t vector_bytes(void)
{
    return by_doubling(8, 16);
}

static void risk_begin(void)
{
    for (unsigned i = 0; i < VECTORS; i++) {
        get(i, vector_bytes());
        work(i, any_stream());
    }
}

static void risk_iteration(bool waits)
{
    static const size_t cube[] = {8 * MIB, 12 * MIB, 20 * MIB, 24 * MIB, 40 * MIB, 64 * MIB};
    unsigned cubes = 2 + below(CUBES - 1);

    for (unsigned i = 0; i < cubes; i++) {
        get(VECTORS + i, cube[below(CUBES)] + below(4) * 256 * KIB);
        work(VECTORS + i, any_stream());
    }
    for (unsigned n = 0; n < CHANGES; n++) {
        unsigned i = below(VECTORS);
        put(i);
        get(i, vector_bytes());
        work(i, any_stream());
    }
    if (waits) {
        wait_for_all();
        for (unsigned i = 0; i < cubes; i++)
            read_back(VECTORS + i);
        for (unsigned n = 0; n < 20; n++)
            read_back(below(VECTORS));
    }
    for (unsigned i = 0; i < cubes; i++)
        put(VECTORS + i);
}

static void risk(unsigned i)
{
    (void)i;
    risk_iteration(true);
}

static void nosync(unsigned i)
{
    (void)i;
    risk_iteration(false);
}

enum { DRIFTING = 200, PERIOD = 400 };

static size_t drift_bytes(unsigned i)
{
    unsigned phase = i % PERIOD;
    double way = phase < PERIOD / 2 ? phase / (PERIOD / 2.0) : 2.0 - phase / (PERIOD / 2.0);
    double size = 4096;

    for (double left = way * 10; left > 0; left -= 0.1) /* 4 KiB * 2^(10 way) */
        size *= 1.0717734625;
    return (size_t)(size * (0.5 + below(1000) / 1000.0)) + 1;
}

static void drift_begin(void)
{
    for (unsigned i = 0; i < DRIFTING; i++) {
        get(i, drift_bytes(0));
        work(i, any_stream());
    }
}

static void drift(unsigned i)
{
    for (unsigned n = 0; n < 40; n++) {
        unsigned at = below(DRIFTING);
        put(at);
        get(at, drift_bytes(i));
        work(at, any_stream());
    }
    wait_for_all();
    for (unsigned n = 0; n < 10; n++)
        read_back(below(DRIFTING));
}

static const struct trace {
    const char *name;
    void (*begin)(void);
    void (*iteration)(unsigned i);
    int streams;
} traces[] = {
    {"monte-carlo", monte_carlo_begin, monte_carlo, 0},
    {"pde", pde_grid, pde, 0},
    {"risk", risk_begin, risk, 2},
    {"drift", drift_begin, drift, 0},
    {"nosync", risk_begin, nosync, 4},
};
enum { TRACES = sizeof(traces) / sizeof(traces[0]) };

static void run(const struct trace *t)
{
    if (stream_count < 0)
        stream_count = t->streams;
    for (int i = 0; i < stream_count; i++)
        DO(cudaStreamCreateWithFlags(&stream[i], 1 /* non-blocking */));
    uint64_t cpu = now_ns(CLOCK_PROCESS_CPUTIME_ID);
    uint64_t begun = now_ns(CLOCK_MONOTONIC);
    t->begin();
    for (unsigned i = 0; i < iterations; i++) {
        t->iteration(i);
        poll_all();
    }
    for (unsigned i = 0; i < SLOTS; i++)
        if (slot[i].p != NULL)
            put(i);
    cpu = now_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu;
    begun = now_ns(CLOCK_MONOTONIC) - begun;
    DO(cudaDeviceSynchronize());
    printf("trace %s\nallocations %lu\nfrees %lu\nrequested_peak_bytes %lu\nlargest_bytes %lu\n",
           t->name, (unsigned long)sum.allocations, (unsigned long)sum.frees,
           (unsigned long)sum.peak, (unsigned long)sum.largest);
    printf("malloc_ns %.1f\nfree_ns %.1f\ncpu_ns_per_pair %.1f\nwall_ms %.3f\nchecksum %016lx\n",
           (double)sum.malloc_ns / (double)sum.allocations, (double)sum.free_ns / (double)sum.frees,
           (double)cpu / (double)sum.allocations, (double)begun / 1e6, (unsigned long)sum.checksum);
}

static int usage(void)
{
    puts("gpu_traces [--trace NAME] [--seed N] [--iterations N] [--streams N] [--poll N]");
    for (unsigned i = 0; i < TRACES; i++)
        printf("  %s\n", traces[i].name);
    return 2;
}

int main(int argc, char **argv)
{
    const struct trace *t = &traces[0];

    for (int i = 1; i < argc; i += 2) {
        long n = i + 1 < argc ? strtol(argv[i + 1], NULL, 10) : -1;
        if (i + 1 < argc && strcmp(argv[i], "--trace") == 0) {
            unsigned k = 0;
            while (k < TRACES && strcmp(traces[k].name, argv[i + 1]) != 0)
                k++;
            if (k == TRACES)
                return usage();
            t = &traces[k];
        } else if (n > 0 && strcmp(argv[i], "--seed") == 0) {
            seed = (uint64_t)n * 0x9E3779B97F4A7C15u;
        } else if (n >= 0 && strcmp(argv[i], "--iterations") == 0) {
            iterations = (unsigned)n;
        } else if (n >= 0 && n <= STREAMS && strcmp(argv[i], "--streams") == 0) {
            stream_count = (int)n;
        } else if (n >= 0 && strcmp(argv[i], "--poll") == 0) {
            polls = (unsigned)n;
        } else {
            return usage();
        }
    }
    run(t);
    return 0;
}
