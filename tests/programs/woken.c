/* woken.c ROUNDS - a thread that wakes just while another one, of the library's, goes through what
 * it keeps: it is woken each time that one asks for the time, which then waits a moment for it.
 * Every block bears a pattern. Prints "ok", and how often somebody else woke it. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { SIZES = 40, EACH = 60, WAIT_MS = 5, MOST = 40, LONG_MS = 200 };

enum { WORKS, SLEEPS, HOLDS };

static atomic_int state = WORKS;
static atomic_uint woken;
static atomic_bool is_over;
static atomic_uint asked; /* for the time since the thread sleeps */
static atomic_uint nth;   /* of these it is woken at */
static int bell[2];
static int other_bell[2];

static size_t size_of(unsigned i)
{
    return 24 + (size_t)(i % SIZES) * (i % SIZES) * 20;
}

static void *make(unsigned i, unsigned char fill)
{
    void *p = malloc(size_of(i));

    if (p == NULL)
        abort();
    return memset(p, fill, size_of(i));
}

static void drop(unsigned char *p, unsigned i, unsigned char fill)
{
    for (size_t at = 0; at < size_of(i); at++)
        if (p[at] != fill) {
            printf("a block of %zu bytes was another's too\n", size_of(i));
            fflush(stdout);
            _exit(1);
        }
    free(p);
}

static void make_all(void **block, unsigned char fill)
{
    for (unsigned i = 0; i < SIZES * EACH; i++)
        block[i] = make(i, fill);
}

static void drop_all(void **block, unsigned char fill)
{
    for (unsigned i = 0; i < SIZES * EACH; i++)
        drop(block[i], i, fill);
}

static void pause_ms(unsigned ms)
{
    const struct timespec t = {.tv_nsec = (long)ms * 1000000};

    nanosleep(&t, NULL);
}

static bool is_the_librarys(void)
{
    char name[16] = "";

    return prctl(PR_GET_NAME, name) == 0 && strcmp(name, "xsigma") == 0;
}

/* True if it slept. */
static bool wake(void)
{
    int sleeps = SLEEPS;

    return atomic_compare_exchange_strong(&state, &sleeps, WORKS) && write(bell[1], "", 1) == 1;
}

/* In the place of libc's. */
int clock_gettime(clockid_t clock, struct timespec *t)
{
    if (atomic_load(&state) == SLEEPS && is_the_librarys() &&
        atomic_fetch_add(&asked, 1) == atomic_load(&nth) && wake()) {
        atomic_fetch_add(&woken, 1);
        for (unsigned i = 0; i < WAIT_MS && atomic_load(&state) == WORKS; i++)
            pause_ms(1);
    }
    return (int)syscall(SYS_clock_gettime, clock, t);
}

static void *sleeper(void *unused)
{
    static void *block[SIZES * EACH];
    char c;

    for (;;) {
        make_all(block, 1);
        atomic_store(&state, HOLDS);
        (void)!read(other_bell[0], &c, 1);
        drop_all(block, 1);
        atomic_store(&asked, 0);
        atomic_store(&state, SLEEPS);
        (void)!read(bell[0], &c, 1);
        if (atomic_load(&is_over))
            return unused;
    }
}

int main(int argc, char **argv)
{
    static void *block[SIZES * EACH];
    unsigned rounds = argc > 1 ? (unsigned)atoi(argv[1]) : 20;
    pthread_t t;

    if (pipe(bell) != 0 || pipe(other_bell) != 0 || pthread_create(&t, NULL, sleeper, NULL) != 0)
        return 2;
    for (unsigned i = 0; i < rounds; i++) {
        while (atomic_load(&state) != HOLDS)
            pause_ms(1);
        make_all(block, 2);
        (void)!write(other_bell[1], "", 1);
        drop_all(block, 2);
        atomic_store(&nth, i % MOST);
        for (unsigned ms = 0; ms < LONG_MS && atomic_load(&state) != WORKS; ms++)
            pause_ms(1);
        wake();
    }
    atomic_store(&is_over, true);
    (void)!write(other_bell[1], "", 1);
    while (pthread_tryjoin_np(t, NULL) != 0) {
        wake();
        pause_ms(1);
    }
    printf("ok %u\n", atomic_load(&woken));
    return 0;
}
