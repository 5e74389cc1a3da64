/* Sizes and their classes; and that a heap hands memory on from one class to another. */
#include <criterion/criterion.h>

#include "core/heap.h"
#include "core/size_class.h"

#define KIB ((size_t)1 << 10)

Test(size_class, the_least_that_holds_a_size)
{
    size_t last = 0;

    for (size_t size = 1; size <= XS_CLASS_MAX_BYTES; size += size < 64 * KIB ? 1 : 4093) {
        size_t bytes = xs_class_bytes(xs_class_of(size));
        cr_assert(bytes >= size && bytes % 16 == 0, "%zu in %zu", size, bytes);
        cr_assert(bytes - size < 16 || (bytes - size) * 8 <= bytes, "%zu in %zu", size, bytes);
        cr_assert_geq(bytes, last);
        cr_assert_eq(xs_class_of(bytes), xs_class_of(size));
        last = bytes;
    }
    cr_assert_eq(xs_class_of(0), xs_class_of(1));
    cr_assert_eq(xs_class_of(XS_CLASS_MAX_BYTES), XS_CLASS_COUNT - 1);
}

Test(size_class, every_number_has_a_size)
{
    for (unsigned c = 0; c < XS_CLASS_COUNT; c++) {
        cr_assert_eq(xs_class_of(xs_class_bytes(c)), c);
        cr_assert_eq(c < XS_CLASS_UPPER, xs_class_bytes(c) <= XS_CLASS_TABLE_MAX);
        cr_assert_eq(c < XS_CLASS_SLABS, xs_class_bytes(c) <= XS_SLAB_MAX_BYTES);
    }
}

Test(size_class, a_power_of_two_with_a_header_has_its_own)
{
    for (size_t size = 256; size <= 8192; size *= 2) {
        cr_assert_eq(xs_class_bytes(xs_class_of(size)), size);
        cr_assert_eq(xs_class_bytes(xs_class_of(size + 8)), size + 16);
    }
}

static uint64_t taken_bytes(void)
{
    struct xs_heap_stats s;

    cr_assert(xs_heap_stats_get(&s, true));
    return s.bfc.in_use_bytes;
}

static void fill(void *block[], unsigned n, size_t size)
{
    for (unsigned i = 0; i < n; i++)
        cr_assert_not_null(block[i] = xs_heap_malloc(size));
}

static const struct xs_heap_options options = {
    .span = {.initial_bytes = (size_t)64 << 20,
             .allow_growth = true,
             .coalesce_on_free = true,
             .decay_ns = UINT64_MAX / 4},
    .cache_bytes = 8 * 1024 * KIB,
};

/* Of one size is asked for much at first, later of another one: what the former left serves it. */
Test(size_class, empty_slabs_serve_other_sizes)
{
    void *block[192];

    cr_assert_eq(xs_heap_open(&options), 0);
    fill(block, 64, 60 * KIB);
    uint64_t most = taken_bytes();
    for (unsigned i = 0; i < 64; i++)
        cr_assert(xs_heap_free(block[i]));
    fill(block, 192, 20 * KIB);
    uint64_t after = taken_bytes();
    /* The other one's first slab may be a new one, and some of the first size are in magazines. */
    cr_assert(after <= most + 1024 * KIB, "%zu KiB, then %zu", (size_t)(most / KIB),
              (size_t)(after / KIB));
}

/* Large blocks that were freed wait in magazines, but not while others need fresh memory. */
Test(size_class, kept_chunks_serve_small_sizes)
{
    void *block[4096];

    cr_assert_eq(xs_heap_open(&options), 0);
    fill(block, 4, 1024 * KIB);
    for (unsigned i = 0; i < 4; i++)
        cr_assert(xs_heap_free(block[i]));
    uint64_t most = taken_bytes();
    cr_assert_geq(most, 4096 * KIB, "they wait");
    fill(block, 3584, KIB);
    uint64_t after = taken_bytes();
    cr_assert(after <= most, "%zu KiB, then %zu", (size_t)(most / KIB), (size_t)(after / KIB));
}

/* Of each size one block comes and goes: the slabs serve the next size that needs several. */
Test(size_class, slabs_at_rest_serve_other_sizes)
{
    void *block[48];

    cr_assert_eq(xs_heap_open(&options), 0);
    for (size_t size = 9 * KIB; size <= 32 * KIB; size += KIB)
        cr_assert(xs_heap_free(xs_heap_malloc(size)));
    uint64_t most = taken_bytes();
    fill(block, 48, 32 * KIB);
    uint64_t after = taken_bytes();
    cr_assert(after <= most, "%zu KiB, then %zu", (size_t)(most / KIB), (size_t)(after / KIB));
}
