/* A heap of which little was asked: sizes that few objects are asked of get them out of pages that
 * larger ones have touched, so that it has fewer; and are counted as what they are. */
#include <criterion/criterion.h>
#include <pthread.h>

#include "core/thread_heap.h"
#include "tests/support/heap_test.h"

static void begin(bool exact_classes)
{
    struct xs_heap_options options = heap_options;

    options.exact_classes = exact_classes;
    cr_assert_eq(xs_heap_open(&options), 0);
}

static bool is_one_page(const void *p, const void *q)
{
    return ((uintptr_t)p ^ (uintptr_t)q) < XS_SPAN_PAGE;
}

static uint64_t requests(size_t size)
{
    struct xs_counters sum = {0};

    xs_heap_counters_add(&sum);
    return sum.size_bin[xs_size_bin(size)];
}

Test(young, few_objects_lie_among_larger_ones)
{
    begin(false);
    void *larger = xs_heap_malloc(64);
    void *p = xs_heap_malloc(32);
    void *q = xs_heap_malloc(16);
    cr_assert(is_one_page(larger, p) && is_one_page(larger, q));
    cr_assert_eq(xs_heap_usable_size(p), 64);
    cr_assert_eq(requests(16), 1);
    cr_assert_eq(requests(32), 1);
    cr_assert_eq(requests(64), 1);
    check_heap();
    cr_assert(xs_heap_free(q) && xs_heap_free(p) && xs_heap_free(larger));
    /* What was freed serves its own class again, and smaller ones. */
    cr_assert_eq(xs_heap_malloc(20), larger);
    cr_assert_eq(xs_heap_malloc(64), p);
    check_heap();
}

/* Larger ones have no page yet, or one that is much larger. */
Test(young, what_is_first_has_its_own)
{
    begin(false);
    void *p = xs_heap_malloc(32);
    cr_assert_eq(xs_heap_usable_size(p), 32);
    cr_assert_eq(xs_heap_usable_size(xs_heap_malloc(1000)), 1024);
    cr_assert_eq(xs_heap_usable_size(xs_heap_malloc(48)), 64);
    check_heap();
}

/* No page is touched for it. */
Test(young, at_the_end_of_a_page_it_has_its_own)
{
    begin(false);
    for (unsigned i = 0; i < XS_SPAN_PAGE / 64; i++)
        (void)xs_heap_malloc(64);
    cr_assert_eq(xs_heap_usable_size(xs_heap_malloc(32)), 32);
    check_heap();
}

Test(young, many_objects_have_their_own)
{
    begin(false);
    void *larger = xs_heap_malloc(64);
    unsigned among = 0;
    for (unsigned i = 0; i < 1000; i++) {
        void *p = xs_heap_malloc(32);
        among += xs_heap_usable_size(p) == 64;
        cr_assert(xs_heap_free(p));
    }
    cr_assert(among > 0 && among < 100, "%u", among);
    cr_assert_eq(requests(32), 1000);
    cr_assert_eq(xs_heap_usable_size(larger), 64);
    check_heap();
}

Test(young, exact_classes_are_exact)
{
    begin(true);
    (void)xs_heap_malloc(64);
    cr_assert_eq(xs_heap_usable_size(xs_heap_malloc(32)), 32);
    check_heap();
}

/* Strings that grow side by side: what they leave behind in one class serves the next ones. */
Test(young, what_outgrew_a_class_leaves_little_there)
{
    enum { STRINGS = 777, MOST = 128 };
    static void *strings[STRINGS];
    struct xs_heap_stats stats;
    begin(false);
    for (size_t size = 16; size <= MOST; size += 4) {
        for (unsigned i = 0; i < STRINGS; i++) {
            void *p = xs_heap_malloc(size);
            cr_assert_not_null(p);
            cr_assert(strings[i] == NULL || xs_heap_free(strings[i]));
            strings[i] = p;
        }
    }
    check_heap();
    cr_assert(xs_heap_stats_get(&stats, true));
    cr_assert_lt(stats.bfc.in_use_bytes, 4u * STRINGS * MOST, "%lu",
                 (unsigned long)stats.bfc.in_use_bytes);
    for (unsigned i = 0; i < STRINGS; i++)
        cr_assert(xs_heap_free(strings[i]));
    check_heap();
}

static unsigned kind_of_slab(size_t size)
{
    unsigned class = xs_class_of(size);

    cr_assert_not_null(xs_heap_malloc(size));
    return xs_heap_mine->hot.current[XS_MAGAZINE_OF(class)]->kind;
}

static void *ask(void *unused)
{
    cr_assert_not_null(xs_heap_malloc(64));
    return unused;
}

Test(young, slabs_are_short_where_there_is_one_heap)
{
    pthread_t thread;

    begin(false);
    cr_assert_eq(kind_of_slab(64), XS_SLAB_FEW);
    cr_assert_eq(pthread_create(&thread, NULL, ask, NULL), 0);
    cr_assert_eq(pthread_join(thread, NULL), 0);
    cr_assert_eq(kind_of_slab(128), XS_SLAB_SMALL);
    check_heap();
}
