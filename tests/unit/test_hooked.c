/* The program's own mmap allocates, as those of network libraries do, just while a heap gets its
 * next slab: what comes of that is the heap's like any other. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/thread_heap.h"
#include "tests/support/heap_test.h"

#define COUNT 4000

static void *hooks[COUNT]; /* what the hook got and keeps */
static unsigned hooked;
static size_t hook_size; /* 0: it does nothing */
static bool hook_frees;

void *mmap(void *at, size_t size, int prot, int flags, int fd, off_t offset)
{
    static bool is_inside;

    if (hook_size != 0 && !is_inside && hooked < COUNT) {
        is_inside = true;
        void *p = xs_heap_malloc(hook_size);
        cr_assert_not_null(p);
        if (hook_frees)
            cr_assert(xs_heap_free(p));
        hooks[hooked++] = hook_frees ? NULL : p;
        is_inside = false;
    }
    return (void *)syscall(SYS_mmap, at, size, prot, flags, fd, offset);
}

/* A slab in no list is one that nobody finds again. */
static void all_are_found(const struct xs_heap *h)
{
    for (uint32_t i = 0; i < xs_slab_count(); i++) {
        const struct xs_slab *s = xs_slab_at(i);
        if (s->heap == h && s->state == XS_SLAB_CURRENT)
            cr_assert_eq(h->hot.current[XS_MAGAZINE_OF(s->class)], s, "slab %u is in no list", i);
    }
}

static void run(size_t size, bool frees)
{
    static void *p[COUNT];
    struct xs_bfc_stats s;
    struct xs_heap_options o = heap_options;

    o.span.initial_bytes = (size_t)1 << 20;
    o.exact_classes = true;
    cr_assert_eq(xs_heap_open(&o), 0);
    hook_size = size;
    hook_frees = frees;
    for (unsigned i = 0; i < COUNT; i++) {
        cr_assert_not_null(p[i] = xs_heap_malloc(size));
        all_are_found(xs_heap_mine);
    }
    cr_assert_gt(hooked, 1u);
    check_heap();
    hook_size = 0;
    for (unsigned i = 0; i < COUNT; i++)
        cr_assert(xs_heap_free(p[i]));
    for (unsigned i = 0; i < hooked; i++)
        if (hooks[i] != NULL)
            cr_assert(xs_heap_free(hooks[i]));
    (void)xs_heap_trim();
    check_heap();
    xs_span_stats(&s);
    cr_assert_eq(s.in_use_bytes, 0u, "%lu bytes are kept for ever", (unsigned long)s.in_use_bytes);
}

static void *allocate(void *unused)
{
    cr_assert(xs_heap_free(xs_heap_malloc(100)));
    return unused;
}

/* What its hook gets while a thread gets its heap is of the same one. */
Test(hooked, the_heap_of_a_thread)
{
    pthread_t thread;

    cr_assert_eq(xs_heap_open(&heap_options), 0);
    cr_assert(xs_heap_free(xs_heap_malloc(100))); /* the first heap is a variable */
    hook_size = 100;
    cr_assert_eq(pthread_create(&thread, NULL, allocate, NULL), 0);
    cr_assert_eq(pthread_join(thread, NULL), 0);
    cr_assert_gt(hooked, 0u);
    for (const struct xs_heap *h = xs_heap_all(); h != NULL; h = h->next)
        cr_assert(h == xs_heap_mine || h->is_idle, "a heap is lost");
}

Test(hooked, slabs_of_small_objects)
{
    run(4096, false);
}

Test(hooked, slabs_of_larger_ones)
{
    run(20000, false);
}

Test(hooked, what_the_hook_frees_at_once)
{
    run(4096, true);
}

Test(hooked, the_same_of_larger_ones)
{
    run(20000, true);
}
