/* What is left behind of blocks that went: no mark of a free one, for which it would be looked in
 * the magazines of all heaps, and no entry in the page map of memory that is no longer ours. */
#include <criterion/criterion.h>
#include <pthread.h>

#include "core/thread_heap.h"
#include "tests/support/heap_test.h"

#define COUNT 30
#define CHUNK ((size_t)XS_SLAB_MAX_BYTES * 2)
#define SIZE  ((size_t)512) /* whose blocks a thread keeps, whosever they are */

static unsigned looks; /* into the magazines of all heaps */
static void *block[COUNT];

bool __real_xs_heap_any_holds(const void *p, unsigned class);
bool __wrap_xs_heap_any_holds(const void *p, unsigned class);
bool __wrap_xs_heap_any_holds(const void *p, unsigned class)
{
    looks++;
    return __real_xs_heap_any_holds(p, class);
}

static void *free_all(void *unused)
{
    cr_assert(xs_heap_free(xs_heap_malloc(SIZE))); /* it has a magazine for them */
    for (unsigned i = 0; i < COUNT; i++)
        cr_assert(xs_heap_free(block[i]));
    return unused;
}

Test(left_behind, a_magazine_that_is_emptied_leaves_no_marks)
{
    pthread_t thread;

    cr_assert_eq(xs_heap_open(&heap_options), 0);
    for (unsigned i = 0; i < COUNT; i++)
        cr_assert_not_null(block[i] = xs_heap_malloc(SIZE));
    cr_assert_eq(pthread_create(&thread, NULL, free_all, NULL), 0);
    cr_assert_eq(pthread_join(thread, NULL), 0);
    const struct xs_heap *its = xs_heap_all(); /* the newest */
    cr_assert(its != xs_heap_mine && its->is_idle);
    cr_assert_eq(xs_magazine_count(&its->hot, XS_MAGAZINE_OF(xs_class_of(SIZE))), COUNT + 1);
    (void)xs_heap_trim();
    cr_assert_eq(xs_magazine_count(&its->hot, XS_MAGAZINE_OF(xs_class_of(SIZE))), 0u);
    cr_assert_eq(looks, 0u);
}

Test(left_behind, a_chunk_that_leaves_its_magazine_bears_no_mark)
{
    cr_assert_eq(xs_heap_open(&heap_options), 0);
    void *p = xs_heap_malloc(CHUNK);
    cr_assert(xs_heap_free(p));
    xs_heap_flush(xs_heap_mine);
    cr_assert_eq(xs_heap_malloc(CHUNK), p);
    cr_assert(xs_heap_free(p));
    cr_assert_eq(looks, 0u);
}

/* At the same address there may be the program's own memory next. */
Test(left_behind, a_region_that_went_is_in_no_page_map)
{
    const size_t size = (size_t)100 << 20;

    cr_assert_eq(xs_heap_open(&heap_options), 0);
    char *p = xs_heap_malloc(size);
    cr_assert(xs_heap_owns(p));
    cr_assert(xs_heap_free(p));
    (void)xs_heap_trim();
    for (size_t at = 0; at < size; at += XS_SPAN_PAGE)
        cr_assert_not(xs_heap_owns(p + at));
}
