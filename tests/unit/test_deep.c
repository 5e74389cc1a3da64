/* Magazines that get room for more: where blocks go and come back in bursts, not where they only
 * go, nor beyond what a thread may keep; and at a look at the clock all of it goes back. */
#include <criterion/criterion.h>

#include "core/thread_heap.h"
#include "tests/support/heap_test.h"

#define MANY ((uint32_t)100000)

static void *block[MANY];

static void get(size_t size, uint32_t from, uint32_t to)
{
    for (uint32_t i = from; i < to; i++) {
        block[i] = xs_heap_malloc(size);
        cr_assert(block[i] != NULL);
    }
}

static void drop(uint32_t from, uint32_t to)
{
    for (uint32_t i = from; i < to; i++)
        cr_assert(xs_heap_free(block[i]));
}

/* In the order in which they were got. */
static void bursts(unsigned n, size_t size, uint32_t blocks)
{
    while (n-- > 0) {
        get(size, 0, blocks);
        drop(0, blocks);
    }
}

static size_t place_of(size_t size)
{
    return XS_MAGAZINE_OF(xs_class_of(size));
}

static uint32_t held(size_t size)
{
    return xs_magazine_count(&xs_heap_mine->hot, place_of(size));
}

static void begin(void)
{
    cr_assert_eq(xs_heap_open(&heap_options), 0);
    /* Beyond these a doubling of sizes has a class for each. */
    get(64, 0, 2000);
    get(1024, 0, 2000);
}

Test(deep, bursts_stay)
{
    begin();
    bursts(100, 64, 1000);
    cr_assert_gt(held(64), 900, "%u", held(64));
    for (uint32_t i = 0; i < 900; i++)
        cr_assert(xs_heap_any_holds(block[i], xs_class_of(64)), "a second free of block %u", i);
    check_heap();
    bursts(100, 1024, 1000);
    cr_assert_gt(held(1024), 16 * 20, "%u", held(1024));
    check_heap();
}

/* A few of all frees: then there is room for some more. */
Test(deep, what_swings_a_little_stays)
{
    uint32_t most = XS_MAGAZINE + 20;

    begin();
    for (unsigned i = 0; i < 1000; i++) {
        bursts(1, 64, most);
        bursts(1000, 64, 1);
    }
    cr_assert_eq(held(64), most, "%u", held(64));
    check_heap();
}

/* Neither what only goes, nor what comes in bursts that would fill any magazine. */
Test(deep, what_goes_does_not)
{
    begin();
    bursts(20, 64, MANY);
    cr_assert_leq(held(64), 2 * XS_MAGAZINE, "%u", held(64));
    get(64, 0, MANY);
    for (uint32_t i = 0; i < MANY; i++) {
        drop(i, i + 1);
        if (i % 32 == 0)
            get(64, i, i + 1);
    }
    cr_assert_leq(held(64), 2 * XS_MAGAZINE, "%u", held(64));
    check_heap();
}

static size_t held_beyond(void)
{
    size_t bytes = 0;

    for (unsigned c = 0; c < XS_CLASS_SLABS; c++) {
        uint32_t n = xs_magazine_count(&xs_heap_mine->hot, XS_MAGAZINE_OF(c));
        uint32_t usual = xs_magazine_usual(xs_heap_mine, c);
        if (n > usual)
            bytes += (n - usual) * xs_class_bytes(c);
    }
    return bytes;
}

Test(deep, all_have_a_bound)
{
    begin();
    for (size_t size = 16; size <= XS_SLAB_MAX_BYTES; size += size < 1024 ? 16 : size / 8)
        bursts(40, size, 600);
    cr_assert_gt(held_beyond(), heap_options.cache_bytes / 8);
    cr_assert_leq(held_beyond(), heap_options.cache_bytes / 2);
    check_heap();
}

/* At a look at the clock; then those that were not used are as they were. */
Test(deep, all_goes_back)
{
    begin();
    bursts(100, 64, 1000);
    xs_heap_rest_deep(xs_heap_mine);
    cr_assert_eq(held(64), 0, "%u", held(64));
    bursts(1, 64, 1000);
    cr_assert_gt(held(64), 900, "%u", held(64));
    xs_heap_rest_deep(xs_heap_mine);
    xs_heap_rest_deep(xs_heap_mine);
    cr_assert_eq(xs_heap_mine->deep_bytes, 0);
    bursts(1, 64, 1000);
    cr_assert_leq(held(64), 2 * XS_MAGAZINE, "%u", held(64));
    check_heap();
    bursts(100, 64, 1000);
    cr_assert_gt(held(64), 900, "%u", held(64));
    check_heap();
}

Test(deep, not_where_memory_runs_short)
{
    begin();
    xs_span_hurry(XS_HURRY_SOON, UINT64_MAX);
    bursts(100, 64, 1000);
    cr_assert_leq(held(64), XS_MAGAZINE, "%u", held(64));
}

/* One tag's missing bits are what its heap's magazines refuse: each other tag has one of them, and
 * so has whatever is no object. */
Test(deep, tags_exclude_each_other)
{
    uint32_t tag[XS_HEAP_TAGS];

    for (uint32_t i = 0; i < XS_HEAP_TAGS; i++) {
        tag[i] = xs_heap_tag(i + 1);
        cr_assert_eq(tag[i] & ~XS_ENTRY_TAG_MASK, 0);
        cr_assert_eq(XS_PAGE_MAP_OWNER(tag[i]), XS_OWNER_BFC);
        for (uint32_t k = 0; k < i; k++)
            cr_assert((tag[i] & ~tag[k]) != 0 && (tag[k] & ~tag[i]) != 0, "%u %u", k, i);
        for (unsigned c = XS_CLASS_SLABS; c < XS_CLASS_COUNT; c++)
            cr_assert_neq(XS_ENTRY_TAG(xs_entry_of_chunk(c, 1, 1)), tag[i]);
        cr_assert_neq(XS_ENTRY_TAG(xs_entry_of_chunk(XS_CLASS_DEAD, 1, 1)), tag[i]);
    }
    cr_assert_eq(xs_heap_tag(XS_HEAP_TAGS + 1), tag[XS_HEAP_TAGS - 1]);
    _Alignas(XS_NO_SHARE) struct xs_slab s[2];
    uint64_t entry = xs_entry_of_object(tag[1], XS_CLASS_SLABS - 1, &s[1]);
    cr_assert_eq(XS_ENTRY_TAG(entry), tag[1]);
    cr_assert_eq(XS_ENTRY_CLASS(entry), XS_CLASS_SLABS - 1);
}
