/* A request that finds no memory waits for some once, whatever led to it: waits are counted, not
 * timed. */
#include <criterion/criterion.h>
#include <dlfcn.h>
#include <stdarg.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/heap.h"

#define MS UINT64_C(1000000)

static unsigned waits;

/* In the place of libc's, for the core that is linked to this. */
long syscall(long number, ...)
{
    static long (*real)(long number, ...);
    long a[6];
    va_list list;

    if (real == NULL)
        real = (long (*)(long, ...))dlsym(RTLD_NEXT, "syscall");
    va_start(list, number);
    for (unsigned i = 0; i < 6; i++)
        a[i] = va_arg(list, long);
    va_end(list);
    waits += number == SYS_futex;
    return real(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

static const struct xs_heap_options options = {
    .span = {.initial_bytes = (size_t)1 << 20,
             .limit_bytes = (size_t)8 << 20,
             .allow_growth = true,
             .coalesce_on_free = true,
             .decay_ns = 1000 * MS},
    .cache_bytes = 1 << 20,
    .retry_ns = 20 * MS,
};

Test(retry, waits_once)
{
    cr_assert_eq(xs_heap_open(&options), 0);
    while (xs_heap_malloc(1000) != NULL) /* the first one that fails has just used up a slab */
        cr_assert_eq(waits, 0, "nothing to wait for");
    unsigned first = waits;
    cr_assert(first > 0, "it waits for memory");
    cr_assert_null(xs_heap_malloc(1000));
    cr_assert_eq(waits - first, first, "each waits as long as the other");
}
