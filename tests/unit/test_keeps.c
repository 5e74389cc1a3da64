/* What heaps keep, and until when: from one look at the clock to the next, by a clock that stands
 * unless the test turns it; after their thread; and around forks. */
#include <criterion/criterion.h>
#include <linux/membarrier.h>
#include <pthread.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "core/span_arena.h"
#include "core/thread_heap.h"
#include "sys/mem.h"
#include "sys/thread_end.h"
#include "tests/support/heap_test.h"
#include "tests/support/mapped.h"

#define MS    UINT64_C(1000000)
#define CHUNK ((size_t)128 << 10)

/* In the place of libc's, for the core that is linked to this. */
static uint64_t now_ns = UINT64_C(1) << 40;

int clock_gettime(clockid_t clock, struct timespec *t)
{
    (void)clock;
    t->tv_sec = (time_t)(now_ns / (1000 * MS));
    t->tv_nsec = (long)(now_ns % (1000 * MS));
    return 0;
}

static void begin(void)
{
    cr_assert_eq(xs_heap_open(&heap_options), 0);
}

/* Small blocks come and go until the clock is looked at, when that is due. */
static struct xs_heap *look(void)
{
    now_ns += UINT64_C(1000) * 3600 * MS;
    for (unsigned i = 0; i < 10000; i++)
        cr_assert(xs_heap_free(xs_heap_malloc(1000)));
    check_heap();
    return xs_heap_mine;
}

/* ---- from look to look ---- */

static void come_and_go(size_t size)
{
    void *p = xs_heap_malloc(size);

    cr_assert(p != NULL && xs_heap_free(p));
}

/* Chunks in magazines: what was there at one look, and was never needed until the next. */
Test(keeps, chunks_that_are_not_needed_go)
{
    begin();
    (void)look();
    come_and_go(CHUNK);
    const struct xs_heap *h = look();
    cr_assert_eq(h->chunk_bytes, CHUNK);
    for (unsigned i = 0; i < 3; i++) {
        come_and_go(CHUNK);
        cr_assert_eq(look()->chunk_bytes, CHUNK, "it was needed");
    }
    cr_assert_eq(look()->chunk_bytes, 0u);
}

/* Of two of which one was needed the other was not: both go, being told apart by bytes alone. */
Test(keeps, more_chunks_than_are_needed_go)
{
    begin();
    void *p = xs_heap_malloc(CHUNK);
    come_and_go(CHUNK);
    cr_assert(xs_heap_free(p));
    const struct xs_heap *h = look();
    cr_assert_eq(h->chunk_bytes, 2 * CHUNK);
    come_and_go(CHUNK);
    cr_assert_eq(look()->chunk_bytes, 0u);
}

/* Empty slabs likewise. */
Test(keeps, slabs_that_are_not_needed_go)
{
    enum { COUNT = 40 };
    static void *block[COUNT];

    begin();
    (void)look();
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = 0; i < COUNT; i++)
            cr_assert_not_null(block[i] = xs_heap_malloc(20000));
        for (unsigned i = 0; i < COUNT; i++)
            cr_assert(xs_heap_free(block[i]));
        cr_assert_gt(look()->kept_bytes, 0u, "they were needed");
    }
    cr_assert_eq(look()->kept_bytes, 0u);
}

static void grow_and_go(void)
{
    char *p = xs_heap_malloc(100);

    for (size_t size = 200; size < 200000; size *= 2)
        cr_assert_not_null(p = xs_heap_realloc(p, size));
    cr_assert(xs_heap_free(p));
}

/* The room that a block which grew has left behind. */
Test(keeps, room_that_is_not_needed_goes)
{
    begin();
    for (unsigned i = 0; i < 3; i++) {
        grow_and_go();
        cr_assert_neq(look()->kept_room, 0u, "it is new");
    }
    cr_assert_eq(look()->kept_room, 0u);
}

/* ---- threads and their heaps ---- */

enum { HANDED = 1000, SMALL = 40, MIXED = 500, MIXED_COUNT = 20 };
static pthread_barrier_t step;
static void *handed[HANDED];
static struct xs_heap *its;

static void *hand_over(void *unused)
{
    for (unsigned i = 0; i < HANDED; i++)
        handed[i] = xs_heap_malloc(SMALL);
    its = xs_heap_mine;
    pthread_barrier_wait(&step);
    pthread_barrier_wait(&step);
    return unused;
}

/* What others handed over before the thread ended is back in its slabs when it has. */
Test(keeps, what_was_handed_over_at_the_end_of_a_thread)
{
    pthread_t thread;

    begin();
    cr_assert_eq(pthread_barrier_init(&step, NULL, 2), 0);
    cr_assert_eq(pthread_create(&thread, NULL, hand_over, NULL), 0);
    pthread_barrier_wait(&step);
    for (unsigned i = 0; i < HANDED; i++)
        cr_assert(xs_heap_free(handed[i]));
    xs_heap_send_all(xs_heap_mine);
    cr_assert_not_null(atomic_load(&its->pending));
    pthread_barrier_wait(&step);
    cr_assert_eq(pthread_join(thread, NULL), 0);
    cr_assert(its->is_idle);
    cr_assert_null(atomic_load(&its->pending));
}

static void *fill_magazine(void *unused)
{
    void *block[MIXED_COUNT];

    for (unsigned i = 0; i < MIXED_COUNT; i++)
        block[i] = xs_heap_malloc(MIXED);
    for (unsigned i = 0; i < MIXED_COUNT; i++)
        cr_assert(xs_heap_free(block[i]));
    its = xs_heap_mine;
    return unused;
}

static uint32_t left_in_magazine(void *(*what)(void *))
{
    pthread_t thread;

    if (what != NULL) {
        cr_assert_eq(pthread_create(&thread, NULL, what, NULL), 0);
        cr_assert_eq(pthread_join(thread, NULL), 0);
    }
    return xs_magazine_count(&its->hot, XS_MAGAZINE_OF(xs_class_of(MIXED)));
}

/* Who comes soon after finds all that was there; from the second look on it is given back. */
Test(keeps, an_idle_heap_is_emptied_at_the_second_look)
{
    begin();
    (void)xs_heap_malloc(1);
    for (unsigned round = 0; round < 2; round++) { /* adopted, it has not been idle */
        cr_assert_eq(left_in_magazine(fill_magazine), MIXED_COUNT);
        xs_heap_age_idle();
        cr_assert_eq(left_in_magazine(NULL), MIXED_COUNT);
    }
    xs_heap_age_idle();
    cr_assert_eq(left_in_magazine(NULL), 0u);
    cr_assert(its->is_idle);
}

static void *keep_chunk(void *unused)
{
    come_and_go(CHUNK);
    its = xs_heap_mine;
    pthread_barrier_wait(&step);
    pthread_barrier_wait(&step);
    return unused;
}

static void visit_twice(void)
{
    cr_assert(xs_span_begin());
    for (unsigned i = 0; i < 2; i++)
        (void)xs_heap_visit();
    xs_span_end();
}

/* In a child of fork, the heap of a thread that is not there may be half way through a change:
 * nobody takes of it. In the parent what rests is taken. */
Test(keeps, what_a_thread_left_behind_in_the_parent)
{
    pthread_t thread;
    int status = 0;

    begin();
    (void)xs_heap_malloc(1);
    if (syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) != 0)
        return; /* then nobody is visited */
    cr_assert_eq(pthread_barrier_init(&step, NULL, 2), 0);
    cr_assert_eq(pthread_create(&thread, NULL, keep_chunk, NULL), 0);
    pthread_barrier_wait(&step);
    xs_heap_fork_prepare();
    pid_t child = fork();
    if (child == 0) {
        xs_heap_fork_child();
        if (syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) != 0)
            _exit(0);
        visit_twice();
        _exit(its->is_lost && its->chunk_bytes == CHUNK ? 0 : 1);
    }
    xs_heap_fork_parent();
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert_eq(status, 0);
    cr_assert_eq(its->chunk_bytes, CHUNK);
    visit_twice();
    cr_assert_eq(its->chunk_bytes, 0u);
    pthread_barrier_wait(&step);
    cr_assert_eq(pthread_join(thread, NULL), 0);
}

/* Behind the core's own call, in the order of their first use: past the end. */
static void fork_past_the_end(void)
{
    struct xs_heap *h = xs_heap_enter();

    cr_assert(h != NULL && h != &xs_heap_none && xs_heap_mine == &xs_heap_none);
    xs_heap_fork_prepare();
    xs_heap_fork_child(); /* as if it were there */
    xs_heap_leave(h);
    cr_assert(h->is_idle);
    its = h;
}

static void *end_twice(void *unused)
{
    (void)xs_heap_malloc(1);
    cr_assert(xs_thread_end(fork_past_the_end));
    return unused;
}

/* A heap on loan while a process forked is whole: who borrowed it is there. */
Test(keeps, a_heap_on_loan_is_not_lost)
{
    pthread_t thread;

    begin();
    (void)xs_heap_malloc(1);
    cr_assert_eq(pthread_create(&thread, NULL, end_twice, NULL), 0);
    cr_assert_eq(pthread_join(thread, NULL), 0);
    cr_assert_not(its->is_lost);
}

/* ---- storms of forks ---- */

static void make_dirty(void)
{
    struct xs_span span;

    cr_assert(xs_span_take(CHUNK, 0, &span));
    memset(span.p, 1, CHUNK);
    xs_span_give(&span.chunk, 1, NULL);
    cr_assert_geq(xs_span_dirty_bytes(), CHUNK);
}

/* True: at that fork all that was free went. */
static bool goes_at_fork(void)
{
    xs_heap_before_fork();
    return xs_span_dirty_bytes() == 0;
}

/* The fifth within a second of the one before, the ninth, the 17th; not such as are further apart.
 */
Test(keeps, less_in_a_storm_of_forks)
{
    begin();
    make_dirty();
    for (unsigned storm = 0; storm < 2; storm++) {
        for (unsigned i = 0; i <= 16; i++) {
            bool is_due = i == 4 || i == 8 || i == 16;
            cr_assert_eq(goes_at_fork(), is_due, "fork %u", i);
            if (is_due)
                make_dirty();
            now_ns += 999 * MS;
        }
        now_ns += MS;
        for (unsigned i = 0; i < 10; i++) {
            cr_assert(!goes_at_fork());
            now_ns += 1000 * MS;
        }
    }
}

/* ---- a region that cannot be entered ---- */

static bool is_refused;
static void *region;

bool __real_xs_bfc_add(struct xs_bfc *b, void *p, size_t size);
bool __wrap_xs_bfc_add(struct xs_bfc *b, void *p, size_t size);
bool __wrap_xs_bfc_add(struct xs_bfc *b, void *p, size_t size)
{
    region = p;
    return !is_refused && __real_xs_bfc_add(b, p, size);
}

/* For want of a record: it goes back, whole. */
Test(keeps, a_region_without_a_record_goes_back)
{
    struct xs_supply_stats before;
    struct xs_supply_stats after;
    struct xs_bfc_stats was;
    struct xs_bfc_stats is;
    const size_t size = (size_t)80 << 20;

    begin();
    (void)xs_heap_malloc(1);
    xs_supply_stats(&before);
    xs_span_stats(&was);
    is_refused = true;
    cr_assert_null(xs_heap_malloc(size));
    cr_assert(!is_mapped(region));
    xs_supply_stats(&after);
    xs_span_stats(&is);
    cr_assert_eq(after.charged_bytes, before.charged_bytes);
    cr_assert_eq(is.reserved_bytes, was.reserved_bytes);
    cr_assert_eq(atomic_load(&xs_spans.reserved_bytes), was.reserved_bytes);
    is_refused = false;
    void *p = xs_heap_malloc(size);
    cr_assert(p != NULL && is_mapped(p) && xs_heap_free(p));
}
