/* process.c - the contract over the life of a process: threads, fork, exit, limits, signals. */
#include "contract.h"

/* Threads trade blocks through a table of slots: what one allocates, another checks, grows or
 * frees. */
enum { TRADE_SLOTS = 256, TRADE_THREADS = 4, TRADE_ROUNDS = 40000 };
static _Atomic(struct tagged *) trade[TRADE_SLOTS];

static void *trader(void *arg)
{
    uint64_t random = 0x2545f4914f6cdd1du * ((uint64_t)(uintptr_t)arg + 1);
    for (int round = 0; round < TRADE_ROUNDS; round++) {
        size_t slot = next_random(&random) % TRADE_SLOTS;
        struct tagged *t = atomic_exchange(&trade[slot], NULL);
        if (t != NULL)
            CHECK2(tag_ok(t, SIZE_MAX), t->size, round);
        uint64_t choice = next_random(&random) % 8;
        size_t size = random_size(&random);
        if (t != NULL && choice < 3) {
            size_t keep = t->size < size ? t->size : size;
            t = realloc(t, size);
            MUST(t);
            CHECK2(tag_ok(t, keep), t->size, size);
        } else {
            free(t);
            t = choice == 7 ? calloc(1, size) : choice == 6 ? memalign(128, size) : malloc(size);
            MUST(t);
            CHECK2(choice != 6 || aligned_to(t, 128), size, 0);
        }
        tag_fill(t, size, next_random(&random));
        free(atomic_exchange(&trade[slot], t));
    }
    return NULL;
}

static void case_threads(void)
{
    pthread_t t[TRADE_THREADS];
    for (uintptr_t i = 0; i < TRADE_THREADS; i++)
        MUST(pthread_create(&t[i], NULL, trader, (void *)i) == 0);
    for (int i = 0; i < TRADE_THREADS; i++)
        pthread_join(t[i], NULL);
    for (size_t i = 0; i < TRADE_SLOTS; i++) {
        struct tagged *block = atomic_exchange(&trade[i], NULL);
        if (block != NULL)
            CHECK2(tag_ok(block, SIZE_MAX), block->size, i);
        free(block);
    }
}

static void *leaves_blocks(void *arg)
{
    struct tagged **out = arg;
    uint64_t random = (uint64_t)(uintptr_t)arg | 1;
    for (int i = 0; i < 20; i++) {
        size_t size = random_size(&random);
        out[i] = malloc(size);
        MUST(out[i]);
        tag_fill(out[i], size, (uint64_t)i);
    }
    return NULL;
}

static void case_blocks_outlive_threads(void)
{
    static struct tagged *block[100][20];
    for (int i = 0; i < 100; i += 4) {
        pthread_t t[4];
        for (int j = 0; j < 4; j++)
            MUST(pthread_create(&t[j], NULL, leaves_blocks, block[i + j]) == 0);
        for (int j = 0; j < 4; j++)
            pthread_join(t[j], NULL);
    }
    for (int i = 0; i < 100; i++)
        for (int j = 0; j < 20; j++) {
            CHECK2(tag_ok(block[i][j], SIZE_MAX), i, j);
            if (j % 2 == 0) {
                size_t size = block[i][j]->size;
                block[i][j] = realloc(block[i][j], size + 100000);
                MUST(block[i][j]);
                CHECK2(tag_ok(block[i][j], size), i, j);
            }
            free(block[i][j]);
        }
}

enum { KEYS = 40 }; /* more than the 32 that need no memory of their own */
static pthread_key_t keys[KEYS];
static atomic_int destructors_run;

/* None of these calls is a point of cancellation, not even the first of its kind in the process. */
static void *cancelled_thread(void *arg)
{
    void *p[8];
    bool *done = arg;

    MUST(pthread_cancel(pthread_self()) == 0);
    mallinfo2();
    p[0] = memalign(32 * MIB, 10);
    mallopt(M_MMAP_MAX, 65536);
    for (size_t i = 1; i < 8; i++)
        p[i] = malloc((size_t)1 << 3 * i);
    p[7] = realloc(p[7], 40 * MIB);
    for (size_t i = 0; i < 8; i++)
        free(p[i]);
    malloc_trim(0);
    *done = true;
    pthread_testcancel();
    *done = false;
    return NULL;
}

/* In a process of its own: only the first one may find what is not made yet. */
static void case_cancellation(void)
{
    for (unsigned i = 0; i < 5; i++) {
        bool done = false;
        pthread_t t;
        void *result;
        MUST(pthread_create(&t, NULL, cancelled_thread, &done) == 0);
        MUST(pthread_join(t, &result) == 0);
        CHECK(done && result == PTHREAD_CANCELED);
    }
}

static void tsd_destructor(void *value)
{
    size_t round = *(size_t *)value;
    atomic_fetch_add(&destructors_run, 1);
    free(value);
    churn(10);
    if (round < 3) { /* glibc runs four rounds */
        size_t *again = malloc(sizeof(size_t));
        MUST(again);
        *again = round + 1;
        pthread_setspecific(keys[round], again);
    }
}

static void *tsd_thread(void *arg)
{
    (void)arg;
    for (int i = 0; i < KEYS; i++) {
        size_t *value = calloc(1, sizeof(size_t));
        MUST(value);
        MUST(pthread_setspecific(keys[i], value) == 0);
    }
    /* Freed by glibc after the last TSD destructor. */
    (void)opaque(strerror(98765));
    (void)dlsym(RTLD_DEFAULT, "no_such_symbol_anywhere");
    (void)opaque(dlerror());
    churn(100);
    return NULL;
}

static void case_tsd_destructors(void)
{
    for (int i = 0; i < KEYS; i++)
        MUST(pthread_key_create(&keys[i], tsd_destructor) == 0);
    for (int i = 0; i < 20; i++) {
        pthread_t t;
        MUST(pthread_create(&t, NULL, tsd_thread, NULL) == 0);
        pthread_join(t, NULL);
    }
    CHECK2(destructors_run >= 20 * KEYS, destructors_run, 0);
}

static void *kept_for_exit;
static bool exit_checks;

static void at_exit(void)
{
    churn(200);
    kept_for_exit = realloc(kept_for_exit, 50000);
    MUST(kept_for_exit != NULL && memcmp(kept_for_exit, "kept", 5) == 0);
}

__attribute__((destructor)) static void after_exit_handlers(void)
{
    if (!exit_checks)
        return;
    churn(200);
    MUST(kept_for_exit != NULL && memcmp(kept_for_exit, "kept", 5) == 0);
    free(kept_for_exit);
    if (failures != 0)
        _exit(1);
}

static void case_exit_handlers(void)
{
    exit_checks = true;
    kept_for_exit = malloc(10);
    MUST(kept_for_exit);
    memcpy(kept_for_exit, "kept", 5);
    for (int i = 0; i < 100; i++) /* more than the 32 that need no memory */
        MUST(atexit(at_exit) == 0);
    exit(failures != 0);
}

static struct tagged *before_fork[64];

static void child_uses_memory(void)
{
    alarm(20);
    for (int i = 0; i < 64; i++) {
        size_t size = before_fork[i]->size;
        MUST(tag_ok(before_fork[i], SIZE_MAX));
        MUST(malloc_usable_size(before_fork[i]) >= size);
        if (i % 2 == 0) {
            before_fork[i] = realloc(before_fork[i], size * 3);
            MUST(before_fork[i] && tag_ok(before_fork[i], size));
        }
        free(before_fork[i]);
    }
    churn(500);
    void *big = calloc(1, 2 * MIB);
    MUST(big && all_zero(big, 2 * MIB));
    free(big);
}

static void *child_thread(void *arg)
{
    churn(200);
    return arg;
}

static void *forker(void *arg)
{
    (void)arg;
    for (int i = 0; i < 5; i++) {
        pid_t pid = fork();
        MUST(pid >= 0);
        if (pid == 0) {
            child_uses_memory();
            pthread_t t;
            MUST(pthread_create(&t, NULL, child_thread, NULL) == 0);
            pthread_join(t, NULL);
            if (i % 2 == 0)
                exit(failures == 0 ? 42 : 1);
            _exit(failures == 0 ? 42 : 1);
        }
        int status = wait_status(pid);
        CHECK2(status == 42, i, status);
    }
    return NULL;
}

static void case_fork(void)
{
    uint64_t random = 99;
    for (int i = 0; i < 64; i++) {
        size_t size = random_size(&random);
        before_fork[i] = malloc(size);
        MUST(before_fork[i]);
        tag_fill(before_fork[i], size, (uint64_t)i);
    }
    forker(NULL); /* while the process has one thread */
    pthread_t noise[2];
    pthread_t t;
    for (uintptr_t i = 0; i < 2; i++)
        MUST(pthread_create(&noise[i], NULL, trader, (void *)i) == 0);
    MUST(pthread_create(&t, NULL, forker, NULL) == 0);
    pthread_join(t, NULL);
    for (int i = 0; i < 2; i++)
        pthread_join(noise[i], NULL);
    churn(500);
}

static void case_vfork_exec(void)
{
    static char *const argv[] = {"true", NULL};
    for (int i = 0; i < 10; i++) {
        churn(50);
        pid_t pid = vfork();
        if (pid == 0) {
            if (i % 2 == 0)
                execv("/bin/true", argv);
            _exit(i % 2 == 0 ? 99 : 3);
        }
        MUST(pid > 0);
        int status = wait_status(pid);
        CHECK2(status == (i % 2 == 0 ? 0 : 3), i, status);
        pid_t spawned;
        MUST(posix_spawn(&spawned, "/bin/true", NULL, NULL, argv, environ) == 0);
        CHECK(wait_status(spawned) == 0);
    }
    churn(50);
}

static void case_exhaustion(void)
{
    long pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    MUST(f && fscanf(f, "%ld", &pages) == 1);
    fclose(f);
    rlim_t now = (rlim_t)pages * 4096;
    if (now > 512 * GIB)
        _exit(77); /* a reservation, made before the limit, is not bounded by it */
    struct rlimit limit = {now + 300 * MIB, RLIM_INFINITY};
    MUST(setrlimit(RLIMIT_AS, &limit) == 0);
    enum { MOST = 4096 };
    static void *block[MOST];
    for (int round = 0; round < 3; round++) {
        size_t n = 0;
        errno = 0;
        while (n < MOST && (block[n] = malloc((n % 3 + 1) * 200 * KIB)) != NULL) {
            touch(block[n], 1);
            n++;
        }
        CHECK2(n < MOST && errno == ENOMEM, n, errno);
        CHECK2(n > 100, n, round);
        errno = 0;
        CHECK(opaque(calloc(hide(GIB), 1)) == NULL && errno == ENOMEM);
        errno = 0;
        CHECK(opaque(memalign(4096, hide(GIB))) == NULL && errno == ENOMEM);
        errno = 0;
        void *kept = block[0];
        if (n > 0) {
            CHECK(opaque(realloc(opaque(kept), hide(GIB))) == NULL && errno == ENOMEM);
            CHECK(*(volatile unsigned char *)kept == 0xa5);
        }
        while (n > 0)
            free(block[--n]);
    }
    limit.rlim_cur = RLIM_INFINITY;
    setrlimit(RLIMIT_AS, &limit);
    churn(100);
}

static atomic_int ticks;
static void on_tick(int signal_number)
{
    (void)signal_number;
    atomic_fetch_add(&ticks, 1);
}

static void case_signals(void)
{
    struct sigaction action = {.sa_handler = on_tick};
    sigaction(SIGALRM, &action, NULL);
    struct itimerval every = {{0, 500}, {0, 500}};
    setitimer(ITIMER_REAL, &every, NULL);
    for (int i = 0; i < 100 || (ticks < 50 && i < 100000); i++)
        churn(100);
    every = (struct itimerval){{0, 0}, {0, 0}};
    setitimer(ITIMER_REAL, &every, NULL);
    CHECK(ticks >= 50);
}

static void case_dlopen(void)
{
    for (int i = 0; i < 200; i++) {
        void *handle = dlopen("libresolv.so.2", RTLD_NOW | RTLD_LOCAL);
        MUST(handle);
        churn(5);
        dlclose(handle);
        CHECK(dlopen("libnothere.so.9", RTLD_NOW) == NULL);
        CHECK(dlerror() != NULL);
    }
}

const struct contract_case contract_process[] = {
    {"threads", case_threads},
    {"blocks-outlive-threads", case_blocks_outlive_threads},
    {"tsd-destructors", case_tsd_destructors},
    {"cancellation", case_cancellation},
    {"exit-handlers", case_exit_handlers},
    {"fork", case_fork},
    {"vfork-exec", case_vfork_exec},
    {"exhaustion", case_exhaustion},
    {"signals", case_signals},
    {"dlopen", case_dlopen},
    {NULL, NULL},
};
