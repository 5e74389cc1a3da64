/* tests/fault/heap_map.c - the Nth call that gets memory from the system fails, or gives it back,
 * or changes it, for every N until the program runs through without one; then, for some N, that
 * call and all that follow.
 *
 * Linked with --wrap for these calls, so that those of the library's objects come here, and those
 * inside libc do not. Each N is a process of its own. In each: a request gets memory or NULL with
 * ENOMEM, no block that lives is harmed, the heap is in order, and when the failures have stopped
 * everything can be had again.
 */
#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/heap.h"
#include "core/supply.h"
#include "tests/fuzz/model.h"

#define KIB          ((size_t)1 << 10)
#define MIB          ((size_t)1 << 20)

#define HANG_SECONDS 60

/* ---- the calls that fail ----------------------------------------------------------------- */

enum call { CALL_MMAP, CALL_MUNMAP, CALL_MADVISE, CALL_MPROTECT, CALL_MREMAP, CALLS };
static const char *const call_names[CALLS] = {"mmap", "munmap", "madvise", "mprotect", "mremap"};

static struct {
    enum call call;
    unsigned at;    /* this one fails, counted from 1 */
    bool and_after; /* and those that follow */
    bool stopped;
    unsigned seen;
    unsigned failed;
} fault;

static bool fails(enum call call)
{
    if (call != fault.call || fault.stopped)
        return false;
    fault.seen++;
    if (fault.seen != fault.at && !(fault.and_after && fault.seen > fault.at))
        return false;
    fault.failed++;
    return true;
}

/* Names that the linker makes. NOLINTBEGIN */
void *__real_mmap(void *p, size_t size, int prot, int flags, int fd, off_t at);
int __real_munmap(void *p, size_t size);
int __real_madvise(void *p, size_t size, int advice);
int __real_mprotect(void *p, size_t size, int prot);
void *__real_mremap(void *p, size_t old, size_t size, int flags, ...);
void *__wrap_mmap(void *p, size_t size, int prot, int flags, int fd, off_t at);
int __wrap_munmap(void *p, size_t size);
int __wrap_madvise(void *p, size_t size, int advice);
int __wrap_mprotect(void *p, size_t size, int prot);
void *__wrap_mremap(void *p, size_t old, size_t size, int flags, ...);

void *__wrap_mmap(void *p, size_t size, int prot, int flags, int fd, off_t at)
{
    if (fails(CALL_MMAP)) {
        errno = ENOMEM;
        return MAP_FAILED;
    }
    return __real_mmap(p, size, prot, flags, fd, at);
}

/* As when a hole would need one mapping more than the process may have. */
int __wrap_munmap(void *p, size_t size)
{
    if (fails(CALL_MUNMAP)) {
        errno = ENOMEM;
        return -1;
    }
    return __real_munmap(p, size);
}

/* As on locked memory. */
int __wrap_madvise(void *p, size_t size, int advice)
{
    if (fails(CALL_MADVISE)) {
        errno = EINVAL;
        return -1;
    }
    return __real_madvise(p, size, advice);
}

int __wrap_mprotect(void *p, size_t size, int prot)
{
    if (fails(CALL_MPROTECT)) {
        errno = ENOMEM;
        return -1;
    }
    return __real_mprotect(p, size, prot);
}

void *__wrap_mremap(void *p, size_t old, size_t size, int flags, ...)
{
    va_list ap;

    if (fails(CALL_MREMAP)) {
        errno = ENOMEM;
        return MAP_FAILED;
    }
    va_start(ap, flags);
    void *to = va_arg(ap, void *); /* garbage unless MREMAP_FIXED, and not read then */
    va_end(ap);
    return __real_mremap(p, old, size, flags, to);
}
/* NOLINTEND */

/* ---- the program ------------------------------------------------------------------------- */

#define HUGE_BYTES ((size_t)1 << 30) /* more than the machine may have */

static bool no_limit;

/* Only a failure in the system is a reason; a single one is no reason for ever. */
static bool may_fail(const struct model *m, size_t size, size_t align)
{
    (void)m;
    (void)align;
    return size >= HUGE_BYTES || (fault.failed > 0 && !no_limit);
}

static struct model model = {.live_max_bytes = 512 * MIB, .may_fail = may_fail};

enum { LARGE_ONES = 18 };

/* Places of the model, by what fills them. */
enum { SMALL = 0, LARGE = 2000, HUGE_AT = 2200, THREAD = 2300, MOVED = 3000, ALIGNED = 3200 };

static void allocate_small(void)
{
    for (unsigned i = 0; i < 1500; i++)
        model_malloc(&model, SMALL + i, i % 7 * (i % 60) + i % 13);
    model_check();
    for (unsigned i = 0; i < 1500; i += 3)
        model_free(&model, SMALL + i);
    for (unsigned i = 0; i < 1500; i += 6)
        model_zalloc(&model, SMALL + i, i % 2000);
    for (unsigned c = 0; c < XS_CLASS_SLABS; c++)
        model_zalloc(&model, SMALL + 1500 + c, xs_class_bytes(c));
    model_check();
}

static void allocate_large(void)
{
    for (unsigned i = 0; i < LARGE_ONES; i++)
        model_malloc(&model, LARGE + i, (i * 19 + 33) * KIB);
    for (unsigned i = 0; i < LARGE_ONES; i += 2)
        model_free(&model, LARGE + i);
    for (unsigned i = 0; i < LARGE_ONES; i += 4)
        model_zalloc(&model, LARGE + i, (i * 16 + 40) * KIB);
    for (unsigned i = 0; i < 4; i++)
        model_malloc(&model, HUGE_AT + i, (i + 4) * MIB + 1);
    model_check();
    for (unsigned i = 0; i < 4; i += 2)
        model_free(&model, HUGE_AT + i);
    for (unsigned i = 0; i < 4; i += 2)
        model_zalloc(&model, HUGE_AT + i, (i + 3) * MIB);
    model_check();
}

static void allocate_aligned(void)
{
    for (unsigned log2 = 4; log2 <= 25; log2++)
        for (unsigned i = 0; i < 3; i++)
            model_memalign(&model, ALIGNED + log2 * 3 + i, (size_t)1 << log2, i * 20000 + log2);
    model_check();
}

/* Arrays that grow by turns, one of them alone for a while, and shrink again. */
static void reallocate(void)
{
    for (unsigned round = 0; round < 24; round++)
        for (unsigned i = 0; i < 4; i++)
            model_realloc(&model, MOVED + i, (size_t)100 << round / 2 << i);
    for (unsigned round = 0; round < 20; round++)
        model_realloc(&model, MOVED + 10, 1000 + round * 30 * KIB);
    model_realloc(&model, MOVED + 10, 5 * MIB);
    model_check();
    for (unsigned round = 0; round < 24; round++)
        for (unsigned i = 0; i < 4; i++)
            model_realloc(&model, MOVED + i, (size_t)800 * KIB >> round / 2 >> i);
    model_realloc(&model, MOVED + 10, 50 * KIB);
    model_realloc(&model, MOVED + 10, 10);
    model_check();
}

/* Frees what the main thread allocated, and leaves blocks for it. */
static void *other_thread(void *arg)
{
    unsigned round = *(unsigned *)arg;

    for (unsigned i = round; i < 1500; i += 4)
        model_free(&model, SMALL + i);
    for (unsigned i = 0; i < 200; i++)
        model_malloc(&model, THREAD + round * 200 + i, i * 11);
    for (unsigned i = 0; i < LARGE_ONES; i += 3)
        model_realloc(&model, LARGE + i, (i * 20 + 1) * KIB);
    for (unsigned i = 1; i < 200; i += 2)
        model_free(&model, THREAD + round * 200 + i);
    model_check();
    return NULL;
}

static void use_threads(void)
{
    for (unsigned round = 0; round < 3; round++) {
        pthread_t t;
        FUZZ_CHECK(pthread_create(&t, NULL, other_thread, &round) == 0, "pthread_create");
        FUZZ_CHECK(pthread_join(t, NULL) == 0, "pthread_join");
        model_check();
    }
    for (unsigned i = 0; i < 600; i += 2)
        model_free(&model, THREAD + i);
    model_check();
}

/* What trim gave back, or could not, is zeroed for those who ask for that. */
static void trim_and_clear(void)
{
    for (unsigned i = 0; i < LARGE_ONES; i++)
        model_free(&model, LARGE + i);
    for (unsigned i = 0; i < 3; i++)
        model_free(&model, HUGE_AT + i);
    (void)xs_heap_trim();
    model_check();
    for (unsigned i = 0; i < LARGE_ONES; i++)
        model_zalloc(&model, LARGE + i, (i * 15 + 33) * KIB);
    for (unsigned i = 0; i < 3; i++)
        model_zalloc(&model, HUGE_AT + i, (i + 4) * MIB + 1);
    for (unsigned i = 0; i < LARGE_ONES; i++)
        model_free(&model, LARGE + i);
    (void)xs_heap_trim();
    model_check();
}

/* Whole regions go back, then come again. */
static void start_over(void)
{
    for (unsigned i = 0; i < MODEL_BLOCKS; i++)
        if (i % 500 != 0)
            model_free(&model, i);
    (void)xs_heap_trim();
    model_check();
    for (unsigned i = 0; i < 12; i++)
        model_malloc(&model, LARGE + i, (i % 4 + 1) * MIB);
    for (unsigned i = 0; i < 300; i++)
        model_malloc(&model, SMALL + i, i);
    model_check();
}

/* Address space that the page map knows nothing of yet; the model frees such blocks at once. */
static void reach_far(void)
{
    for (unsigned i = 1; i < 4; i++)
        model_malloc(&model, HUGE_AT, HUGE_BYTES + i * HUGE_BYTES / 4);
    model_check();
}

static void run_program(void)
{
    reach_far();
    allocate_small();
    allocate_large();
    allocate_aligned();
    reallocate();
    use_threads();
    trim_and_clear();
    start_over();
}

static void look_at_all(void)
{
    for (unsigned i = 0; i < MODEL_BLOCKS; i++)
        model_look(&model, i);
    model_stats(&model, 0, true);
}

static void free_all(void)
{
    for (unsigned i = 0; i < MODEL_BLOCKS; i++)
        model_free(&model, i);
    (void)xs_heap_trim();
    model_check();
    model_stats(&model, 0, true);
    struct xs_heap_stats core;
    struct xs_supply_stats supply;
    (void)xs_heap_stats_get(&core, true);
    xs_supply_stats(&supply);
    FUZZ_CHECK(core.bfc.reserved_bytes == supply.charged_bytes,
               "%lu bytes are mapped, but the core has %lu", (unsigned long)supply.charged_bytes,
               (unsigned long)core.bfc.reserved_bytes);
}

static void open_heap(void)
{
    struct xs_heap_options o = {.span = {.initial_bytes = 64 * KIB,
                                         .allow_growth = true,
                                         .garbage_collection = true,
                                         .coalesce_on_free = true,
                                         .decay_ns = 0},
                                .cache_bytes = 128 * KIB};
    int rc = xs_heap_open(&o);

    FUZZ_CHECK(rc == 0 || fault.failed > 0, "xs_heap_open: %d", rc);
    if (rc != 0) {
        fault.stopped = true;
        FUZZ_CHECK(xs_heap_open(&o) == 0, "xs_heap_open failed again");
        fault.stopped = false;
    }
}

/* In a process of its own. True: something failed. */
static bool run_with_fault(void)
{
    open_heap();
    run_program();
    fault.stopped = true;
    no_limit = true;
    look_at_all();
    allocate_small();
    allocate_large();
    allocate_aligned();
    look_at_all();
    free_all();
    return fault.failed > 0;
}

/* ---- every N ----------------------------------------------------------------------------- */

enum { NOTHING_FAILED = 0, SOMETHING_FAILED = 3 };

static int run_child(enum call call, unsigned n, bool and_after)
{
    int status;

    fflush(NULL);
    pid_t pid = fork();
    FUZZ_CHECK(pid >= 0, "fork");
    if (pid == 0) {
        alarm(HANG_SECONDS);
        fault.call = call;
        fault.at = n;
        fault.and_after = and_after;
        _exit(run_with_fault() ? SOMETHING_FAILED : NOTHING_FAILED);
    }
    while (waitpid(pid, &status, 0) < 0)
        FUZZ_CHECK(errno == EINTR, "waitpid");
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

/* A broken heap is told and counted. With `and_after` the steps get longer: so much fails already
 * that one more makes little difference. Returns how many were tried. */
static unsigned every_n(enum call call, bool and_after, unsigned *broken)
{
    unsigned tried = 0;

    for (unsigned n = 1;; n += and_after ? 1 + n / 4 : 1) {
        int rc = run_child(call, n, and_after);
        if (rc == NOTHING_FAILED)
            return tried;
        tried++;
        if (rc == SOMETHING_FAILED)
            continue;
        fprintf(stderr, "%s %u%s fails: the process ended with %s %d\n", call_names[call], n,
                and_after ? " and all after it" : "", rc < 0 ? "signal" : "status",
                rc < 0 ? -rc : rc);
        if (++*broken >= 10)
            return tried; /* enough to look at */
    }
}

int main(int argc, char **argv)
{
    unsigned broken = 0;

    /* CALL N [after]: only this. */
    if (argc >= 3) {
        for (unsigned call = 0; call < CALLS; call++)
            if (strcmp(argv[1], call_names[call]) == 0)
                fault.call = (enum call)call;
        fault.at = (unsigned)atoi(argv[2]);
        fault.and_after = argc > 3;
        printf("%u failed\n", run_with_fault() ? fault.failed : 0);
        return 0;
    }
    for (unsigned call = 0; call < CALLS; call++) {
        unsigned one = every_n((enum call)call, false, &broken);
        unsigned after = every_n((enum call)call, true, &broken);
        printf("%s: each of %u calls failed alone, %u of them with all that followed\n",
               call_names[call], one, after);
        FUZZ_CHECK(call != CALL_MMAP || one > 10, "the failures do not reach the library");
    }
    return broken == 0 ? 0 : 1;
}
