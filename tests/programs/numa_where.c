/* numa_where.c NODES - a thread pinned to each node allocates, hands half of its blocks to the next
 * thread, which frees them, and allocates again. Asks the kernel where each page of what a thread
 * then has lies. Prints where the process may run; for each thread "node N local PERCENT of KIB";
 * and by the kernel's numa_maps the pages on each node, "spread" of all memory that no file is
 * behind, "interleaved" of what is under that policy. */
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { MOST = 8, BLOCKS = 3000, ROUNDS = 4, PAGE = 4096 };

static unsigned nodes;
static pthread_barrier_t turn;
static void *handed[MOST][BLOCKS];
static size_t local_pages[MOST], all_pages[MOST];

static size_t size_of(unsigned i)
{
    return i % 100 == 0 ? 200000 : i % 10 == 0 ? 9000 : 100 + i % 1500;
}

/* The processors of a node, "0-1". */
static int pin(unsigned node)
{
    char path[64], text[64];
    unsigned first;
    cpu_set_t set;

    snprintf(path, sizeof(path), "/sys/devices/system/node/node%u/cpulist", node);
    FILE *f = fopen(path, "r");
    if (f == NULL || fgets(text, sizeof(text), f) == NULL || sscanf(text, "%u", &first) != 1)
        return 1;
    fclose(f);
    CPU_ZERO(&set);
    CPU_SET(first, &set);
    return sched_setaffinity(0, sizeof(set), &set);
}

static void count(unsigned me, void *block, size_t size)
{
    for (char *p = (char *)((size_t)block & ~(size_t)(PAGE - 1)); p < (char *)block + size;
         p += PAGE) {
        void *page = p;
        int status = -1;
        if (syscall(SYS_move_pages, 0, 1ul, &page, NULL, &status, 0) != 0 || status < 0)
            continue;
        all_pages[me]++;
        local_pages[me] += status == (int)me;
    }
}

static void *work(void *arg)
{
    unsigned me = (unsigned)(size_t)arg;
    void *own[BLOCKS] = {0};

    if (pin(me) != 0)
        exit(3);
    for (unsigned r = 0; r < ROUNDS; r++) {
        for (unsigned i = 0; i < BLOCKS; i++) {
            if (own[i] == NULL)
                own[i] = malloc(size_of(i));
            memset(own[i], (int)r, size_of(i));
        }
        pthread_barrier_wait(&turn);
        for (unsigned i = r % 2; i < BLOCKS; i += 2) {
            handed[(me + 1) % nodes][i] = own[i];
            own[i] = NULL;
        }
        pthread_barrier_wait(&turn);
        for (unsigned i = r % 2; i < BLOCKS; i += 2)
            free(handed[me][i]);
        pthread_barrier_wait(&turn);
    }
    for (unsigned i = 0; i < BLOCKS; i++) {
        if (own[i] == NULL)
            own[i] = malloc(size_of(i));
        memset(own[i], 9, size_of(i));
        count(me, own[i], size_of(i));
    }
    pthread_barrier_wait(&turn);
    pthread_barrier_wait(&turn);
    return NULL;
}

static void spread(const char *name, const char *policy)
{
    unsigned long sum[MOST] = {0};
    char line[1024];
    FILE *f = fopen("/proc/self/numa_maps", "r");

    while (f != NULL && fgets(line, sizeof(line), f) != NULL) {
        if (strstr(line, "file=") != NULL || strstr(line, policy) == NULL)
            continue;
        for (unsigned n = 0; n < nodes; n++) {
            char key[8];
            snprintf(key, sizeof(key), " N%u=", n);
            const char *at = strstr(line, key);
            if (at != NULL)
                sum[n] += strtoul(at + strlen(key), NULL, 10);
        }
    }
    printf("%s", name);
    for (unsigned n = 0; n < nodes; n++)
        printf(" %lu", sum[n]);
    printf("\n");
}

int main(int argc, char **argv)
{
    pthread_t t[MOST];

    nodes = argc == 2 ? (unsigned)atoi(argv[1]) : 0;
    if (nodes < 1 || nodes > MOST)
        return 2;
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof(set), &set) == 0)
        printf("runs on %d, %d processors\n", sched_getcpu(), CPU_COUNT(&set));
    pthread_barrier_init(&turn, NULL, nodes + 1);
    for (unsigned n = 0; n < nodes; n++)
        if (pthread_create(&t[n], NULL, work, (void *)(size_t)n) != 0)
            return 3;
    for (unsigned i = 0; i < 3 * ROUNDS + 1; i++)
        pthread_barrier_wait(&turn);
    for (unsigned n = 0; n < nodes; n++)
        printf("node %u local %.1f of %zu\n", n,
               all_pages[n] == 0 ? 0.0 : 100.0 * (double)local_pages[n] / (double)all_pages[n],
               all_pages[n] * 4);
    spread("spread", "");
    spread("interleaved", " interleave");
    pthread_barrier_wait(&turn);
    for (unsigned n = 0; n < nodes; n++)
        pthread_join(t[n], NULL);
    return 0;
}
