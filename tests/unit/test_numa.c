/* NUMA by a fake of the system calls: which policy each range gets, and nothing on one node. */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "core/span_arena.h"
#include "core/thread_heap.h"
#include "sys/numa.h"
#include "tests/support/fake_nodes.h"
#include "tests/support/spans_back.h"

Test(numa, lists)
{
    uint64_t n;

    cr_assert(xs_numa_parse("0-1", &n) && n == 3);
    cr_assert(xs_numa_parse("0,2-3,63", &n) && n == (13 | (uint64_t)1 << 63));
    cr_assert(xs_numa_parse("5\n", &n) && n == 32);
    cr_assert(!xs_numa_parse("", &n));
    cr_assert(!xs_numa_parse("1-0", &n));
    cr_assert(!xs_numa_parse("64", &n));
    cr_assert(!xs_numa_parse("1,", &n));
    cr_assert(!xs_numa_parse("a", &n));
}

Test(numa, one_node_is_left_alone)
{
    static char page[4096];

    for (int how = XS_NUMA_LOCAL; how <= XS_NUMA_PREFERRED; how++) {
        fake(1ul << 2); /* whatever its number */
        xs_numa_open((enum xs_numa)how, 4);
        cr_assert_eq(xs_numa_parts(), 1u);
        cr_assert_eq(xs_numa_here(), 0u);
        xs_numa_place(page, sizeof(page), 0);
        cr_assert_eq(binds, 0u);
    }
}

Test(numa, policies)
{
    static char page[4096];

    fake(0xB); /* 0, 1 and 3 */
    xs_numa_open(XS_NUMA_INTERLEAVE, 0);
    xs_numa_place(page, sizeof(page), XS_NUMA_ANY);
    cr_assert(last_mode == 3 && last_mask == 0xB && xs_numa_parts() == 1);
    xs_numa_open(XS_NUMA_BIND, 0xE); /* of which 2 is not there */
    xs_numa_place(page, sizeof(page), 0);
    cr_assert(last_mode == 2 && last_mask == 0xA);
    xs_numa_open(XS_NUMA_PREFERRED, 8);
    xs_numa_place(page, sizeof(page), 0);
    cr_assert(last_mode == 1 && last_mask == 8);
    binds = 0;
    cr_assert_eq(xs_numa_open(XS_NUMA_BIND, 4), ENODEV); /* none of them is there */
    xs_numa_place(page, sizeof(page), 0);
    cr_assert_eq(binds, 0u);
}

/* Only what is bound comes from these nodes and no others. */
Test(numa, bound)
{
    fake(0xB);
    xs_numa_open(XS_NUMA_BIND, 0xE);
    cr_assert_eq(xs_numa_bound(), 0xAu);
    xs_numa_open(XS_NUMA_PREFERRED, 8);
    cr_assert_eq(xs_numa_bound(), 0u);
}

Test(numa, parts_follow_the_thread)
{
    static char page[4096];

    fake(0xB);
    xs_numa_open(XS_NUMA_LOCAL, 0);
    cr_assert_eq(xs_numa_parts(), 3u);
    node_here = 3;
    cr_assert_eq(xs_numa_here(), 2u);
    node_here = 2; /* no memory of its own */
    cr_assert_eq(xs_numa_here(), 0u);
    xs_numa_place(page, sizeof(page), 2);
    cr_assert(last_mode == 1 && last_mask == 8);
    binds = 0;
    xs_numa_place(page, sizeof(page), XS_NUMA_ANY); /* who has no parts: first touch */
    cr_assert_eq(binds, 0u);
}

/* The core over two nodes: spans come from where the thread runs, go back where they belong, and
 * are found by their number. */
Test(numa, spans)
{
    static const struct xs_span_options o = {
        .initial_bytes = 1 << 20, .allow_growth = true, .coalesce_on_free = true};
    struct xs_span span[64];
    xs_chunk chunks[64];
    struct xs_bfc_stats s;

    fake(3);
    xs_numa_open(XS_NUMA_LOCAL, 0);
    cr_assert_eq(xs_span_open(&o), 0);
    cr_assert_eq(xs_span_parts(), 2u);
    for (unsigned i = 0; i < 64; i++) {
        node_here = i % 2;
        cr_assert(xs_span_take((size_t)(i + 1) * 4096, 0, &span[i]));
        memset(span[i].p, (int)i, (size_t)(i + 1) * 4096);
        cr_assert_eq(xs_span_part_of(span[i].chunk), i % 2);
        cr_assert_eq(xs_span_address(span[i].chunk), span[i].p);
        cr_assert_eq(xs_span_requested(span[i].chunk), (size_t)(i + 1) * 4096);
        chunks[i] = span[i].chunk;
    }
    cr_assert_eq(masks_seen, 3u);
    xs_bfc_stats_get(&xs_spans.arena[1]->bfc, &s);
    cr_assert_eq(s.chunks_in_use, 32u);
    all_spans_go_back(chunks, 64);
}

/* What another node's thread frees is not used again over there. */
Test(numa, heap)
{
    static const struct xs_heap_options o = {
        .span = {.initial_bytes = 1 << 20, .allow_growth = true, .coalesce_on_free = true},
        .cache_bytes = 2 << 20,
    };

    fake(3);
    xs_numa_open(XS_NUMA_LOCAL, 0);
    cr_assert_eq(xs_heap_open(&o), 0);
    void *small = xs_heap_malloc(1000);
    void *large = xs_heap_malloc(300000);
    void *another = xs_heap_malloc(300000);
    uint64_t entry = xs_page_map_get(large);
    cr_assert_eq(xs_span_part_of(XS_ENTRY_CHUNK(entry)), 0u);
    xs_heap_free(small);
    node_here = 1; /* the thread has moved: new memory is from there */
    void *there = xs_heap_malloc(400000);
    cr_assert_eq(xs_span_part_of(XS_ENTRY_CHUNK(xs_page_map_get(there))), 1u);
    /* What is of the old node goes back there, and what is of the new one is kept. */
    xs_heap_free(large);
    large = xs_heap_malloc(300000);
    cr_assert_eq(xs_span_part_of(XS_ENTRY_CHUNK(xs_page_map_get(large))), 1u);
    xs_heap_free(there);
    cr_assert_eq(xs_heap_malloc(400000), there);
    xs_heap_free(there);
    xs_heap_free(large);
    /* The same where there is a magazine with room for such. */
    xs_heap_free(another);
    cr_assert_eq(XS_ENTRY_CHUNK_CLASS(xs_page_map_get(another)), XS_CLASS_DEAD, "it was kept");
    cr_assert_eq(xs_heap_malloc(300000), large);
}
