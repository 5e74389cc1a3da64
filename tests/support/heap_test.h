/* What the tests of the own core's heaps share. */
#ifndef XS_TESTS_HEAP_H
#define XS_TESTS_HEAP_H

#include <criterion/criterion.h>

#include "core/heap.h"

/* What is free goes back after an hour: never while a test runs. */
static const struct xs_heap_options heap_options = {
    .span = {.initial_bytes = 2 << 20,
             .allow_growth = true,
             .coalesce_on_free = true,
             .decay_ns = 3600000000000u},
    .cache_bytes = 2 << 20,
};

static inline void check_heap(void)
{
    XS_BUF(why, 256);

    cr_assert(xs_heap_check(&why), "%s", why.at);
}

#endif
