/* main.c - runs programs, each in a process of its own, and cuts a failing one down.
 *
 * gpu [--seeds FIRST COUNT] [--turns | --free] [--trace] [--no-shrink]
 * gpu-shim the same and [--preload LIBRARY]
 *
 * A program whose threads take turns does the same again from the same seed, and is cut down before
 * it is told; one whose threads run free is told by its seed only. A program that takes more than
 * XS_PROGRAM_SECONDS (20) hangs. */
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fake.h"
#include "ops.h"

static struct program program;
static unsigned most_seconds = 20;
static bool kept[MAX_OPS]; /* when cutting down: what is left of it */
static const struct {
    void (*run)(const struct op *);
    bool when_poisoned;
} ops[OP_KINDS] = {
#define X(name, weight, where) {op_##name, OP_##name <= OP_free || OP_##name == OP_clear},
    OPERATIONS(X)
#undef X
};

static void run_op(unsigned i)
{
    const struct op *op = &program.op[i];
    m.at = i;
    if (m.poisoned && !ops[op->kind].when_poisoned)
        return;
    m.totals->ops++;
    ops[op->kind].run(op);
    if (!m.poisoned)
        check_violations();
    check_stats();
}

static void start_thread(unsigned number)
{
    me = number;
    api_thread_start();
}

/* Its default streams go with it. */
static void leave_thread(void)
{
    if (!m.poisoned)
        close_captures();
    for (int s = 0; m.p->turns && s < MAX_STREAMS; s++)
        if (m.stream[s].used && m.stream[s].thread == (int)me)
            stream_gone(s);
}

/* ---- threads in turns: a baton, and a janitor that joins and starts them ---- */

static struct {
    pthread_t thread[MAX_THREADS];
    bool alive[MAX_THREADS];
    sem_t turn[MAX_THREADS], janitor;
    unsigned next; /* operation */
} turns;

static unsigned owner_of_next(void)
{
    while (turns.next < program.n && !kept[turns.next])
        turns.next++;
    return turns.next < program.n ? program.op[turns.next].thread : MAX_THREADS;
}

static void *take_turns(void *number)
{
    start_thread((unsigned)(uintptr_t)number);
    for (;;) {
        sem_wait(&turns.turn[me]);
        while (owner_of_next() == me && !thread_ends)
            run_op(turns.next++);
        unsigned next = owner_of_next();
        if (next == MAX_THREADS || thread_ends) {
            leave_thread();
            turns.alive[me] = false;
            sem_post(&turns.janitor);
            return NULL;
        }
        sem_post(turns.alive[next] ? &turns.turn[next] : &turns.janitor);
    }
}

static void run_in_turns(void)
{
    sem_init(&turns.janitor, 0, 0);
    for (unsigned t = 0; t < MAX_THREADS; t++)
        sem_init(&turns.turn[t], 0, 0);
    bool was[MAX_THREADS] = {false};
    for (;;) {
        for (unsigned t = 0; t < MAX_THREADS; t++)
            if (was[t] && !turns.alive[t]) {
                pthread_join(turns.thread[t], NULL);
                was[t] = false;
            }
        unsigned next = owner_of_next();
        for (unsigned t = 0; next == MAX_THREADS && t < MAX_THREADS; t++)
            if (was[t])
                next = t; /* to end */
        if (next == MAX_THREADS)
            return;
        if (!was[next]) {
            turns.alive[next] = was[next] = true;
            pthread_create(&turns.thread[next], NULL, take_turns, (void *)(uintptr_t)next);
        }
        sem_post(&turns.turn[next]);
        sem_wait(&turns.janitor);
    }
}

/* ---- threads that run free ---- */

static void *run_freely(void *number)
{
    start_thread((unsigned)(uintptr_t)number);
    for (unsigned i = 0; i < program.n; i++)
        if (program.op[i].thread == me && kept[i])
            run_op(i);
    leave_thread();
    return NULL;
}

static void run_all_freely(void)
{
    pthread_t thread[MAX_THREADS];
    for (unsigned t = 0; t < program.threads; t++)
        pthread_create(&thread[t], NULL, run_freely, (void *)(uintptr_t)t);
    for (unsigned t = 0; t < program.threads; t++)
        pthread_join(thread[t], NULL);
}

/* ---- one program ---- */

static void free_the_rest(void)
{
    m.at = program.n;
    fake_fail_any(0, 0);
    for (struct block *b; (b = block_take(0, any_block)) != NULL;) {
        if (!m.poisoned && !settle(b))
            fail("the rest cannot be freed");
        m.thread_context[me] = b->context;
        free_one(b, 1);
    }
}

static void run_program(bool trace)
{
    m.trace = trace;
    alarm(most_seconds);
    model_open(&program);
    if (program.turns)
        run_in_turns();
    else
        run_all_freely();
    start_thread(0);
    free_the_rest();
    model_close();
}

enum output { QUIET, TELL, TRACE };
static enum threads_wanted wanted = THREADS_AS_DRAWN;
static const char *preload; /* for programs that are clients */
static const char *self;

static const char *threads_option(enum threads_wanted w)
{
    return w == THREADS_IN_TURNS ? "--turns" : w == THREADS_FREE ? "--free" : "";
}

/* This very program again, told by its arguments which one to be. */
static void become_client(bool trace)
{
    char seed[32], keeps[MAX_OPS + 1];
    for (unsigned i = 0; i < MAX_OPS; i++)
        keeps[i] = kept[i] ? '1' : '0';
    keeps[MAX_OPS] = 0;
    snprintf(seed, sizeof seed, "%lu", program.seed);
    api_environment(&program);
    if (preload != NULL)
        setenv("LD_PRELOAD", preload, 1);
    execl(self, self, threads_option(wanted), "--client", seed, keeps, trace ? "--trace" : "",
          (char *)NULL);
    perror(self);
    _exit(2);
}

static bool good(enum output output)
{
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        if (output == QUIET && (freopen("/dev/null", "w", stdout) == NULL ||
                                freopen("/dev/null", "w", stderr) == NULL))
            _exit(2);
        if (output == TRACE)
            program_print(&program);
        fflush(stdout);
        if (api_is_client)
            become_client(output == TRACE);
        run_program(output == TRACE);
        fflush(stdout);
        _exit(0);
    }
    int status = 0;
    waitpid(child, &status, 0);
    if (status != 0 && output != QUIET && !WIFEXITED(status))
        printf("FAIL seed %lu ends by signal %d%s\n", program.seed, WTERMSIG(status),
               WTERMSIG(status) == SIGALRM ? " (it hung)" : "");
    return status == 0;
}

/* Leaves out whatever is not needed for the failure: halves, quarters, ..., single operations. */
static void shrink(void)
{
    unsigned runs = 0;
    for (unsigned part = program.n / 2; part >= 1; part /= 2) {
        for (unsigned from = 0; from < program.n && runs < 3000; from += part) {
            bool before[MAX_OPS], any = false;
            memcpy(before, kept, sizeof before);
            for (unsigned i = from; i < from + part && i < program.n; i++) {
                any |= kept[i];
                kept[i] = false;
            }
            if (any && (runs++, good(QUIET)))
                memcpy(kept, before, sizeof before);
        }
    }
    unsigned left = 0;
    for (unsigned i = 0; i < program.n; i++)
        left += kept[i];
    printf("cut down from %u operations to %u (%u runs):\n", program.n, left, runs);
}

static void print_totals(void)
{
    const struct totals *t = m.totals;
    printf("%lu programs, %lu operations, %lu allocations: %lu hits (%lu ordered, %lu waited for), "
           "%lu events, %lu syncs, %lu evictions, %lu flushes, %lu failures, %lu out of memory; "
           "%lu frees with work pending, %lu kernels held, %lu captures (%lu spoiled), %lu resets, "
           "%lu errors injected\n",
           t->programs, t->ops, t->calls, t->hits, t->ordered, t->waited, t->events, t->syncs,
           t->evictions, t->flushes, t->failures, t->ooms, t->frees_pending, t->held, t->captures,
           t->spoiled, t->resets, t->injected);
}

/* The totals are in memory that the programs' processes share, behind descriptor TOTALS. */
enum { TOTALS = 60 };

static void share_totals(bool is_first)
{
    int fd = is_first ? memfd_create("totals", 0) : TOTALS;
    if (fd < 0 || (is_first && (ftruncate(fd, sizeof *m.totals) != 0 || dup2(fd, TOTALS) < 0)))
        exit(2);
    m.totals = mmap(NULL, sizeof *m.totals, PROT_READ | PROT_WRITE, MAP_SHARED, TOTALS, 0);
    if (m.totals == MAP_FAILED)
        exit(2);
}

/* A client's environment has one set of options for all devices. */
static void make_program(uint64_t seed)
{
    program_make(&program, seed, wanted);
    for (int d = 1; api_is_client && d < program.devices; d++)
        program.options[d] = program.options[0];
}

static int be_client(const char *seed, const char *keeps, bool trace)
{
    make_program(strtoull(seed, NULL, 0));
    for (unsigned i = 0; i < MAX_OPS; i++)
        kept[i] = keeps[i] == '1';
    share_totals(false);
    run_program(trace);
    fflush(stdout);
    return 0;
}

static int run_seeds(uint64_t first, uint64_t count, bool trace, bool cut)
{
    unsigned failed = 0;
    share_totals(true);
    for (uint64_t seed = first; seed < first + count && failed < (cut ? 20 : 500); seed++) {
        make_program(seed);
        memset(kept, true, sizeof kept);
        m.totals->programs++;
        if (good(trace ? TRACE : TELL))
            continue;
        failed++;
        if (cut && program.turns) {
            shrink();
            good(TRACE);
            cut = false; /* once is enough to look at */
        }
    }
    print_totals();
    printf("%u failed\n", failed);
    return failed != 0;
}

int main(int argc, char **argv)
{
    uint64_t first = 1, count = 300;
    const char *client = NULL, *keeps = NULL;
    bool trace = false, cut = true;
    const char *most = getenv("XS_PROGRAM_SECONDS");
    self = argv[0];
    if (most != NULL && strtoul(most, NULL, 10) != 0)
        most_seconds = (unsigned)strtoul(most, NULL, 10);
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--seeds") == 0 && i + 2 < argc) {
            first = strtoull(argv[++i], NULL, 0);
            count = strtoull(argv[++i], NULL, 0);
        } else if (strcmp(argv[i], "--client") == 0 && i + 2 < argc) {
            client = argv[++i];
            keeps = argv[++i];
        } else if (strcmp(argv[i], "--preload") == 0 && i + 1 < argc) {
            preload = argv[++i];
        } else if (strcmp(argv[i], "--turns") == 0) {
            wanted = THREADS_IN_TURNS;
        } else if (strcmp(argv[i], "--free") == 0) {
            wanted = THREADS_FREE;
        } else if (strcmp(argv[i], "--trace") == 0) {
            trace = true;
        } else if (strcmp(argv[i], "--no-shrink") == 0) {
            cut = false;
        } else if (argv[i][0] != 0) {
            fprintf(stderr,
                    "usage: %s [--seeds FIRST COUNT] [--turns|--free] [--trace] [--no-shrink] "
                    "[--preload LIBRARY]\n",
                    argv[0]);
            return 2;
        }
    }
    if (client != NULL)
        return be_client(client, keeps, trace);
    return run_seeds(first, count, trace, cut);
}
