/* lines.c own|large|ring|pipe THREADS [TURNS [SEED]] - the program whose memory accesses cores.py
 * traces.
 *
 * Exactly one thread runs at a time: the turn goes round, and in each turn a thread allocates one
 * block, writes to it, and frees one. `own`: one of its own 64 live blocks, at random, of 16 to 512
 * bytes; `large`: the same, of 8 KiB to 1 MiB. `ring`: the one that the thread before it allocated
 * 32 turns ago. `pipe`: threads in pairs, of which one only allocates and the other only frees what
 * that allocated 32 turns ago. Thread switches between all operations are the finest interleaving
 * there is without two of them being inside the allocator at once. The first third of the turns
 * warms up, with eight operations each, and is not counted; in `large` it is eight times as many
 * turns instead, so that there, too, nobody has two operations in a row.
 */
#include <pthread.h>
#include <semaphore.h>
#include <sys/mman.h>

#include "bench.h"
#include "lines.h"

enum { LIVE = 64, LAG = 32, SIZES = 1024, WARM_UP = 8 };

static uint32_t sizes[SIZES];
static unsigned team_size, turns = 300;
static uint64_t seed = 1;
static enum { OWN, LARGE, RING, PIPE, KINDS } kind;
static const char *const kinds[KINDS] = {"own", "large", "ring", "pipe"};

/* A line for each: the program itself must not share any between threads. */
static struct seat {
    _Alignas(128) sem_t turn;
    uint64_t random;
    unsigned char *live[LIVE];
} seats[LINES_THREADS];

static inline void sign(enum lines_doing what, unsigned who)
{
    volatile unsigned char *at =
        (volatile unsigned char *)(LINES_BASE + (what * LINES_THREADS + who) * 64ul);

    __asm__ volatile("" : : : "memory");
    *at = 1;
    __asm__ volatile("" : : : "memory");
}

static void drop(unsigned char **slot, unsigned who, bool counted)
{
    unsigned char *old = *slot;

    if (old == NULL)
        return;
    block_check(old);
    *slot = NULL;
    sign(counted ? LINES_FREE : LINES_WARM, who);
    free(old);
    sign(LINES_PROGRAM, who);
}

static void operate(unsigned who, unsigned step, bool counted)
{
    struct seat *me = &seats[who], *from = &seats[(who + team_size - 1) % team_size];
    unsigned char **slot = &me->live[step % LIVE], *p = NULL;

    sign(LINES_PROGRAM, who);
    if (kind != PIPE || who % 2 == 0) {
        size_t size = sizes[random_below(&me->random, SIZES)];

        sign(counted ? LINES_MALLOC : LINES_WARM, who);
        p = malloc(size);
        sign(LINES_PROGRAM, who);
        if (p == NULL)
            broken("no memory");
        *p = block_mark(p);
    }
    if (kind == OWN || kind == LARGE) {
        slot = &me->live[random_below(&me->random, LIVE)];
        drop(slot, who, counted);
    } else if (kind == RING || who % 2 == 1) {
        drop(&from->live[(step + LIVE - LAG) % LIVE], who, counted);
    }
    if (p != NULL)
        *slot = p;
}

static void *thread(void *arg)
{
    unsigned who = (unsigned)(uintptr_t)arg;

    unsigned warm_ups = turns / 3 * (kind == LARGE ? WARM_UP : 1);
    unsigned at_once = kind == LARGE ? 1 : WARM_UP;

    for (unsigned turn = 0, step = 0; turn < warm_ups + turns - turns / 3; turn++) {
        bool counted = turn >= warm_ups;

        while (sem_wait(&seats[who].turn) != 0)
            continue;
        for (unsigned i = 0; i < (counted ? 1 : at_once); i++)
            operate(who, step++, counted);
        sign(LINES_OUTSIDE, 0);
        sem_post(&seats[(who + 1) % team_size].turn);
    }
    /* Nobody ends before all are done, as a thread's end is none of the operations. */
    sem_wait(&seats[who].turn);
    sem_post(&seats[(who + 1) % team_size].turn);
    return NULL;
}

int main(int argc, char **argv)
{
    pthread_t threads[LINES_THREADS];
    void *signs;

    if (argc > 2) {
        while (kind < KINDS && strcmp(argv[1], kinds[kind]) != 0)
            kind++;
        team_size = (unsigned)atoi(argv[2]);
    }
    if (argc > 3)
        turns = (unsigned)atoi(argv[3]);
    if (argc > 4)
        seed = strtoull(argv[4], NULL, 10);
    if (argc < 3 || argc > 5 || team_size < 1 || team_size > LINES_THREADS || turns < 3 ||
        kind == KINDS || (kind == PIPE && team_size % 2 != 0)) {
        fputs("usage: lines own|large|ring|pipe THREADS [TURNS [SEED]]\n", stderr);
        return 2;
    }
    signs = mmap((void *)LINES_BASE, LINES_SIZE, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    if (signs != (void *)LINES_BASE)
        broken("mmap");
    if (kind == LARGE)
        log_uniform(sizes, SIZES, 8 << 10, 1 << 20);
    else
        log_uniform(sizes, SIZES, 16, 512);
    for (unsigned i = 0; i < team_size; i++) {
        sem_init(&seats[i].turn, 0, 0);
        seats[i].random = (seed * 1000 + i + 1) * 0x9e3779b97f4a7c15u;
    }
    for (unsigned i = 0; i < team_size; i++) {
        if (pthread_create(&threads[i], NULL, thread, (void *)(uintptr_t)i) != 0)
            broken("pthread_create");
    }
    sem_post(&seats[0].turn);
    for (unsigned i = 0; i < team_size; i++)
        pthread_join(threads[i], NULL);
    return 0;
}
