/* realloc of a block that cannot grow where it is: where it moves to, and that it is counted once.
 */
#include <criterion/criterion.h>
#include <string.h>

#include "core/thread_heap.h"
#include "tests/support/heap_test.h"

#define KIB ((size_t)1 << 10)

static void begin(void)
{
    struct xs_heap_options options = heap_options;

    options.span.initial_bytes = 4 << 20;
    cr_assert_eq(xs_heap_open(&options), 0);
}

static struct xs_counters counters(void)
{
    struct xs_counters sum = {0};

    check_heap();
    xs_heap_counters_add(&sum);
    return sum;
}

static void counted_once(const struct xs_counters *before, size_t size)
{
    struct xs_counters after = counters();
    unsigned bin = (unsigned)xs_size_bin(size);

    cr_assert_eq(after.size_bin[bin] - before->size_bin[bin], 1);
    cr_assert_eq(after.requested_bytes - before->requested_bytes, size);
    cr_assert_eq(after.reallocs - before->reallocs, 1);
    cr_assert_eq(after.frees, before->frees);
}

/* A chunk that was made smaller, and may now be an object: memory that is kept is there already. */
Test(realloc, a_chunk_moves_into_what_a_magazine_has)
{
    begin();
    char *p = xs_heap_malloc(200 * KIB);
    void *kept = xs_heap_malloc(60 * KIB);
    cr_assert(p != NULL && kept != NULL);
    cr_assert_eq(xs_heap_realloc(p, 110 * KIB), p);
    cr_assert_eq(xs_heap_realloc(p, 40 * KIB), p);
    void *behind = xs_heap_memalign(4 * KIB, 100 * KIB);
    cr_assert_eq(behind, p + 40 * KIB);
    memset(p, 7, 40 * KIB);
    cr_assert(xs_heap_free(kept));
    struct xs_counters before = counters();
    char *q = xs_heap_realloc(p, 60 * KIB);
    cr_assert_eq(q, kept);
    for (size_t i = 0; i < 40 * KIB; i++)
        cr_assert_eq(q[i], 7);
    counted_once(&before, 60 * KIB);
    cr_assert(xs_heap_free(q) && xs_heap_free(behind));
}

/* The same where no magazine has anything. */
Test(realloc, a_chunk_that_moves_is_counted_once)
{
    begin();
    char *p = xs_heap_malloc(100 * KIB);
    void *behind = xs_heap_malloc(100 * KIB);
    cr_assert(p != NULL && behind != NULL);
    struct xs_counters before = counters();
    char *q = xs_heap_realloc(p, 300 * KIB);
    cr_assert(q != NULL && q != p);
    counted_once(&before, 300 * KIB);
    cr_assert(xs_heap_free(q) && xs_heap_free(behind));
}

/* A chunk stays as it is while more than half of it is wanted; of half, what is behind goes. */
Test(realloc, a_chunk_that_shrinks)
{
    begin();
    char *p = xs_heap_malloc(KIB << 10);
    cr_assert_not_null(p);
    size_t usable = xs_heap_usable_size(p);
    memset(p, 7, KIB << 10);
    cr_assert_eq(xs_heap_realloc(p, 512 * KIB + 1), p);
    cr_assert_eq(xs_heap_usable_size(p), usable);
    cr_assert_eq(xs_heap_realloc(p, 512 * KIB), p);
    cr_assert_eq(xs_heap_usable_size(p), 512 * KIB);
    for (size_t i = 0; i < 512 * KIB; i++)
        cr_assert_eq(p[i], 7);
    check_heap();
    cr_assert(xs_heap_free(p));
}
