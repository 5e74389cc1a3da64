#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/bfc_record.h"
#include "tests/support/bfc_purge.h"

/* A supplier of addresses without memory behind them: what the core manages it must never touch. */
static struct {
    uintptr_t next;
    uint64_t mapped;
    unsigned maps;
    unsigned unmaps;
    unsigned fail_map; /* the Nth call fails, 0: none */
    unsigned fail_records;
    unsigned record_maps;
    size_t largest_map; /* larger ones fail, 0: none does */
    uint64_t purged;
} mem;

static void *map(void *ctx, size_t size, size_t align)
{
    (void)ctx;
    if (++mem.maps == mem.fail_map || (mem.largest_map != 0 && size > mem.largest_map))
        return NULL;
    mem.next = (mem.next + align - 1) & ~(align - 1);
    uintptr_t p = mem.next;
    mem.next += size + 4096; /* regions never touch each other */
    mem.mapped += size;
    return (void *)p;
}

static void unmap(void *ctx, void *p, size_t size)
{
    (void)ctx;
    (void)p;
    mem.unmaps++;
    mem.mapped -= size;
}

static bool to_system(void *p, size_t size)
{
    (void)p;
    mem.purged += size;
    return true;
}

static void *map_records(void *ctx, size_t size)
{
    (void)ctx;
    return ++mem.record_maps == mem.fail_records ? NULL : calloc(1, size);
}

static void unmap_records(void *ctx, void *p, size_t size)
{
    (void)ctx;
    (void)size;
    free(p);
}

static const struct xs_bfc_ops ops = {map, unmap, map_records, unmap_records, NULL};
static struct xs_bfc b;

static struct xs_bfc_options defaults(void)
{
    return (struct xs_bfc_options){.unit = 256,
                                   .initial_bytes = 1 << 20,
                                   .region_max_bytes = (size_t)1 << 40,
                                   .allow_growth = true,
                                   .garbage_collection = true,
                                   .coalesce_on_free = true};
}

static void start(struct xs_bfc_options o)
{
    memset(&mem, 0, sizeof(mem));
    memset(&b, 0, sizeof(b));
    mem.next = (uintptr_t)1 << 32;
    cr_assert_eq(xs_bfc_open(&b, &o, &ops), 0);
}

static void stop(void)
{
    xs_bfc_close(&b);
    cr_assert_eq(mem.mapped, 0u);
}

static void check(void)
{
    char text[200];
    struct xs_buf why;

    xs_buf_init(&why, text, sizeof(text));
    cr_assert(xs_bfc_check(&b, &why), "%s", text);
}

static struct xs_bfc_stats stats(void)
{
    struct xs_bfc_stats s;

    xs_bfc_stats_get(&b, &s);
    return s;
}

static size_t purge(uint64_t until)
{
    return bfc_purge(&b, until, until, to_system);
}

static xs_chunk alloc_used(size_t size, size_t align)
{
    struct xs_bfc_taken taken;

    if (!xs_bfc_take(&b, size, align, XS_BFC_USED, &taken))
        return 0;
    cr_assert_eq(taken.p, xs_bfc_address(&b, taken.chunk));
    return taken.chunk;
}

static uint64_t seed;
static uint64_t rnd(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

Test(bfc, refuses_wrong_options)
{
    struct xs_bfc_options o = defaults();

    o.unit = 100;
    cr_assert_eq(xs_bfc_open(&b, &o, &ops), EINVAL);
    o = defaults();
    o.initial_bytes = 0;
    cr_assert_eq(xs_bfc_open(&b, &o, &ops), EINVAL);
    memset(&mem, 0, sizeof(mem));
    mem.fail_records = 1;
    o = defaults();
    cr_assert_eq(xs_bfc_open(&b, &o, &ops), ENOMEM);
}

Test(bfc, one_chunk)
{
    start(defaults());
    xs_chunk c = xs_bfc_alloc(&b, 1000, 0);
    cr_assert(c != 0);
    cr_assert_eq(xs_bfc_size(&b, c), 1024u);
    cr_assert_eq((uintptr_t)xs_bfc_address(&b, c) % 256, 0u);
    struct xs_bfc_stats s = stats();
    cr_assert_eq(s.in_use_bytes, 1024u);
    cr_assert_eq(s.requested_bytes, 1000u);
    cr_assert_eq(s.reserved_bytes, 1u << 20);
    cr_assert_eq(s.largest_free_bytes, (1u << 20) - 1024);
    cr_assert_eq(s.fragmentation, 0.0);
    check();
    cr_assert_eq(xs_bfc_free(&b, c, 1), 0);
    cr_assert_eq(stats().in_use_bytes, 0u);
    cr_assert_eq(stats().chunks_free, 1u);
    check();
    stop();
}

Test(bfc, double_and_foreign_frees_are_refused)
{
    start(defaults());
    xs_chunk c = xs_bfc_alloc(&b, 1000, 0);
    cr_assert_eq(xs_bfc_free(&b, c, 1), 0);
    cr_assert_eq(xs_bfc_free(&b, c, 1), EINVAL);
    cr_assert_eq(xs_bfc_free(&b, 0, 1), EINVAL);
    cr_assert_eq(xs_bfc_free(&b, 4000, 1), EINVAL);
    cr_assert_eq(xs_bfc_free(&b, UINT32_MAX, 1), EINVAL);
    check();
    stop();
}

Test(bfc, nothing_and_too_much)
{
    start(defaults());
    cr_assert_eq(xs_bfc_alloc(&b, 0, 0), 0u);
    cr_assert_eq(xs_bfc_alloc(&b, SIZE_MAX, 0), 0u);
    cr_assert_eq(xs_bfc_alloc(&b, PTRDIFF_MAX, 0), 0u);
    cr_assert_eq(stats().failures, 3u);
    check();
    stop();
}

Test(bfc, best_fit_takes_the_smallest_that_fits)
{
    struct xs_bfc_options o = defaults();
    xs_chunk hole[3];
    /* All in one bin. */
    static const size_t sizes[] = {131 * 256, 129 * 256, 130 * 256};

    o.region_max_bytes = 1 << 20;
    start(o);
    for (int i = 0; i < 3; i++) {
        hole[i] = xs_bfc_alloc(&b, sizes[i], 0);
        xs_bfc_alloc(&b, 256, 0); /* a wall */
    }
    for (int i = 0; i < 3; i++)
        cr_assert_eq(xs_bfc_free(&b, hole[i], 0), 0);
    void *best = xs_bfc_address(&b, hole[1]);
    xs_chunk c = xs_bfc_alloc(&b, 129 * 256, 0);
    cr_assert_eq(xs_bfc_address(&b, c), best);
    check();
    stop();
}

Test(bfc, neighbours_merge_in_every_order)
{
    static const int orders[6][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2},
                                     {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};

    for (int o = 0; o < 6; o++) {
        start(defaults());
        xs_chunk c[3];
        for (int i = 0; i < 3; i++)
            c[i] = xs_bfc_alloc(&b, 5000, 0);
        for (int i = 0; i < 3; i++) {
            cr_assert_eq(xs_bfc_free(&b, c[orders[o][i]], 0), 0);
            check();
        }
        cr_assert_eq(stats().chunks_free, 1u);
        cr_assert_eq(stats().largest_free_bytes, 1u << 20);
        stop();
    }
}

Test(bfc, deferred_merging_happens_when_needed)
{
    struct xs_bfc_options o = defaults();
    xs_chunk c[4];

    o.coalesce_on_free = false;
    o.limit_bytes = 1 << 20;
    o.garbage_collection = false;
    start(o);
    for (int i = 0; i < 4; i++)
        c[i] = xs_bfc_alloc(&b, 1 << 18, 0);
    for (int i = 0; i < 4; i++)
        cr_assert_eq(xs_bfc_free(&b, c[i], 0), 0);
    cr_assert_eq(stats().chunks_free, 4u);
    check();
    xs_chunk whole = xs_bfc_alloc(&b, 1 << 20, 0);
    cr_assert(whole != 0);
    check();
    stop();
}

Test(bfc, alignment)
{
    start(defaults());
    xs_bfc_alloc(&b, 256, 0);
    for (size_t align = 1; align <= (size_t)1 << 28; align *= 2) {
        xs_chunk c = xs_bfc_alloc(&b, 300, align);
        cr_assert(c != 0);
        cr_assert_eq((uintptr_t)xs_bfc_address(&b, c) % align, 0u);
        cr_assert_eq(xs_bfc_size(&b, c), 512u, "%zu", xs_bfc_size(&b, c));
        check();
    }
    stop();
}

Test(bfc, regions_double)
{
    start(defaults());
    for (int i = 0; i < 16; i++)
        cr_assert(xs_bfc_alloc(&b, 1 << 20, 0) != 0);
    struct xs_bfc_stats s = stats();
    cr_assert_eq(s.growth_steps, 5u); /* 1 + 2 + 4 + 8 + 16 MiB */
    cr_assert_eq(s.reserved_bytes, 31u << 20);
    check();
    stop();
}

Test(bfc, without_growth_there_is_one_region)
{
    struct xs_bfc_options o = defaults();

    o.allow_growth = false;
    o.limit_bytes = 3 << 20;
    start(o);
    cr_assert(xs_bfc_alloc(&b, 3 << 20, 0) != 0);
    cr_assert_eq(xs_bfc_alloc(&b, 256, 0), 0u);
    cr_assert_eq(stats().regions, 1u);
    stop();
}

Test(bfc, without_growth_what_is_kept_comes_on_top)
{
    static _Alignas(4096) char kept[1 << 20];
    struct xs_bfc_options o = defaults();

    o.allow_growth = false;
    start(o);
    cr_assert(xs_bfc_add_kept(&b, kept, sizeof(kept)));
    cr_assert(xs_bfc_alloc(&b, sizeof(kept), 0) != 0);
    cr_assert(xs_bfc_alloc(&b, o.initial_bytes, 0) != 0);
    cr_assert_eq(xs_bfc_alloc(&b, 256, 0), 0u);
    cr_assert_eq(stats().regions, 2u);
}

Test(bfc, limit)
{
    struct xs_bfc_options o = defaults();

    o.limit_bytes = 5 << 20;
    start(o);
    unsigned n = 0;
    while (xs_bfc_alloc(&b, 1 << 18, 0) != 0)
        n++;
    cr_assert_eq(n, 20u);
    cr_assert(stats().reserved_bytes <= 5u << 20);
    cr_assert_eq(stats().failures, 1u);
    check();
    stop();
}

Test(bfc, collection_makes_room_for_a_larger_request)
{
    struct xs_bfc_options o = defaults();
    xs_chunk c[2];

    o.limit_bytes = 4 << 20;
    o.region_max_bytes = 1 << 20;
    for (int gc = 0; gc < 2; gc++) {
        o.garbage_collection = gc == 1;
        start(o);
        for (int i = 0; i < 2; i++)
            c[i] = xs_bfc_alloc(&b, 1 << 20, 0);
        for (int i = 0; i < 2; i++)
            cr_assert_eq(xs_bfc_free(&b, c[i], 0), 0);
        xs_chunk large = xs_bfc_alloc(&b, 3 << 20, 0);
        cr_assert_eq(large != 0, gc == 1);
        cr_assert_eq(stats().collected, gc == 1 ? 2u : 0u);
        check();
        stop();
    }
}

Test(bfc, regions_go_back_by_age)
{
    struct xs_bfc_options o = defaults();
    xs_chunk c[3];

    o.region_max_bytes = 1 << 20;
    start(o);
    for (int i = 0; i < 3; i++)
        c[i] = xs_bfc_alloc(&b, 1 << 20, 0);
    for (int i = 0; i < 3; i++)
        cr_assert_eq(xs_bfc_free(&b, c[i], (uint64_t)(10 * i)), 0);
    cr_assert_eq(xs_bfc_collect(&b, 9), 1u << 20);
    check();
    cr_assert_eq(xs_bfc_collect(&b, 9), 0u);
    cr_assert_eq(xs_bfc_collect(&b, 20), 2u << 20);
    cr_assert_eq(stats().reserved_bytes, 0u);
    cr_assert(xs_bfc_alloc(&b, 1, 0) != 0);
    check();
    stop();
}

/* A neighbour that was freed just now makes memory young again only if it is a fair part of it. */
Test(bfc, the_date_of_joined_chunks_is_that_of_most_of_it)
{
    for (size_t unit = 1; unit <= 32; unit *= 32) {
        start(defaults());
        xs_chunk old = xs_bfc_alloc(&b, 128 << 10, 0);
        xs_chunk young = xs_bfc_alloc(&b, unit << 10, 0);
        xs_chunk wall = xs_bfc_alloc(&b, 1 << 10, 0);
        cr_assert(wall != 0);
        cr_assert_eq(xs_bfc_free(&b, old, 10), 0);
        cr_assert_eq(xs_bfc_free(&b, young, 20), 0);
        cr_assert_eq(purge(19), unit == 1 ? 129u << 10 : 0u);
        cr_assert_eq(purge(20), unit == 1 ? 0u : 160u << 10);
        check();
        /* What is purged has no date: what is beside it keeps its own. */
        xs_chunk next = xs_bfc_alloc(&b, 4 << 10, 0);
        cr_assert_eq(xs_bfc_free(&b, next, 40), 0);
        cr_assert_eq(purge(39), 0u);
        check();
        stop();
    }
}

Test(bfc, purging_counts_each_byte_once)
{
    start(defaults());
    xs_chunk c = xs_bfc_alloc(&b, 1 << 19, 0);
    cr_assert_eq(purge(UINT64_MAX), 0u); /* the rest was never touched */
    cr_assert_eq(xs_bfc_free(&b, c, 5), 0);
    check();
    cr_assert_eq(purge(4), 0u);
    size_t n = purge(5);
    cr_assert(n >= 1u << 19);
    cr_assert_eq(mem.purged, n);
    cr_assert_eq(purge(5), 0u);
    check();
    stop();
}

Test(bfc, used_memory_or_none)
{
    start(defaults());
    cr_assert_eq(alloc_used(4096, 0), 0u, "there is no region");
    xs_chunk c = xs_bfc_alloc(&b, 4096, 0);
    cr_assert_eq(alloc_used(4096, 0), 0u, "what is left was never used");
    cr_assert_eq(xs_bfc_free(&b, c, 1), 0);
    cr_assert_eq(alloc_used(16384, 0), 0u, "a quarter was");
    c = alloc_used(8192, 0);
    cr_assert(bfc_in_use(&b, c), "half was");
    cr_assert_eq(xs_bfc_free(&b, c, 2), 0);
    check();
    cr_assert_eq(purge(2), 1u << 20);
    cr_assert_eq(alloc_used(4096, 0), 0u, "it has gone back");
    cr_assert_eq(stats().failures, 0u);
    check();
    stop();
}

Test(bfc, a_short_system_gets_smaller_requests)
{
    start(defaults());
    mem.largest_map = 700000;
    xs_chunk c = xs_bfc_alloc(&b, 1000, 0);
    cr_assert(c != 0);
    cr_assert(stats().reserved_bytes <= 700000 && stats().reserved_bytes > 600000);
    cr_assert_eq(xs_bfc_alloc(&b, 800000, 0), 0u);
    check();
    stop();
}

Test(bfc, resize_in_place)
{
    start(defaults());
    xs_chunk c = xs_bfc_alloc(&b, 1000, 0);
    cr_assert(xs_bfc_resize(&b, c, 100000, 1));
    cr_assert(xs_bfc_size(&b, c) >= 100000);
    check();
    xs_chunk wall = xs_bfc_alloc(&b, 256, 0);
    cr_assert(!xs_bfc_resize(&b, c, 200000, 1));
    check();
    cr_assert(xs_bfc_resize(&b, c, 300, 1));
    cr_assert_eq(xs_bfc_size(&b, c), 512u);
    check();
    cr_assert_eq(xs_bfc_free(&b, wall, 2), 0);
    cr_assert_eq(xs_bfc_free(&b, c, 2), 0);
    cr_assert_eq(stats().chunks_free, 1u);
    stop();
}

/* TensorFlow's rule keeps small remainders inside. */
Test(bfc, fragmentation_rule)
{
    struct xs_bfc_options o = defaults();

    o.limit_bytes = 1 << 20;
    o.fragmentation_permille = 1000;
    start(o);
    xs_chunk c = xs_bfc_alloc(&b, 600 << 10, 0);
    cr_assert_eq(xs_bfc_size(&b, c), 1u << 20);
    cr_assert_eq(xs_bfc_free(&b, c, 0), 0);
    c = xs_bfc_alloc(&b, 500 << 10, 0);
    cr_assert_eq(xs_bfc_size(&b, c), 500u << 10);
    check();
    stop();
}

#define SLOTS 400

/* A random program against a table of what should be there. */
static void random_program(uint64_t s, struct xs_bfc_options o)
{
    struct {
        xs_chunk c;
        uintptr_t at;
        size_t size;
    } slot[SLOTS] = {0};

    start(o);
    seed = s * 2654435761u + 1;
    for (unsigned step = 0; step < 4000; step++) {
        unsigned i = (unsigned)(rnd() % SLOTS);
        unsigned what = (unsigned)(rnd() % 16);
        if (slot[i].c == 0) {
            size_t size = (rnd() % 4096) << (rnd() % 9);
            size_t align = (size_t)1 << (rnd() % 14);
            slot[i].c = xs_bfc_alloc(&b, size + 1, align);
            if (slot[i].c == 0)
                continue;
            slot[i].at = (uintptr_t)xs_bfc_address(&b, slot[i].c);
            slot[i].size = xs_bfc_size(&b, slot[i].c);
            cr_assert(slot[i].size > size);
            cr_assert_eq(slot[i].at % align, 0u);
            for (unsigned j = 0; j < SLOTS; j++)
                cr_assert(j == i || slot[j].c == 0 || slot[j].at + slot[j].size <= slot[i].at ||
                              slot[i].at + slot[i].size <= slot[j].at,
                          "chunks overlap");
        } else if (what < 12) {
            cr_assert_eq(xs_bfc_free(&b, slot[i].c, step), 0);
            slot[i].c = 0;
        } else if (what < 14) {
            if (xs_bfc_resize(&b, slot[i].c, rnd() % 200000 + 1, step))
                slot[i].size = xs_bfc_size(&b, slot[i].c);
        } else if (what == 14) {
            purge(step > 100 ? step - 100 : 0);
        } else {
            xs_bfc_collect(&b, step > 300 ? step - 300 : 0);
        }
        if (step % 64 == 0)
            check();
    }
    for (unsigned i = 0; i < SLOTS; i++)
        if (slot[i].c != 0)
            cr_assert_eq(xs_bfc_free(&b, slot[i].c, 0), 0);
    check();
    cr_assert_eq(stats().in_use_bytes, 0u);
    cr_assert_eq(stats().requested_bytes, 0u);
    xs_bfc_collect(&b, UINT64_MAX);
    cr_assert_eq(stats().reserved_bytes, 0u);
    stop();
}

Test(bfc, random_programs, .timeout = 60)
{
    for (uint64_t s = 1; s <= 60; s++) {
        struct xs_bfc_options o = defaults();
        o.coalesce_on_free = s % 3 != 0;
        o.limit_bytes = s % 4 == 0 ? 48 << 20 : 0;
        o.fragmentation_permille = s % 5 == 0 ? 500 : 0;
        o.region_max_bytes = s % 7 == 0 ? 4 << 20 : (size_t)1 << 40;
        random_program(s, o);
    }
}

/* The same calls give the same addresses. */
Test(bfc, deterministic)
{
    uint64_t hash[2];

    for (int run = 0; run < 2; run++) {
        xs_chunk c[100] = {0};
        start(defaults());
        seed = 77;
        hash[run] = 0;
        for (unsigned step = 0; step < 20000; step++) {
            unsigned i = (unsigned)(rnd() % 100);
            if (c[i] == 0) {
                c[i] = xs_bfc_alloc(&b, rnd() % 100000 + 1, 0);
                hash[run] = hash[run] * 31 + (uintptr_t)xs_bfc_address(&b, c[i]);
            } else {
                cr_assert_eq(xs_bfc_free(&b, c[i], 0), 0);
                c[i] = 0;
            }
        }
        stop();
    }
    cr_assert_eq(hash[0], hash[1]);
}

/* Every Nth region and every Nth block of records fails in turn: nothing is lost or half done. */
Test(bfc, failing_supplier)
{
    for (unsigned n = 1; n < 12; n++) {
        for (unsigned what = 0; what < 2; what++) {
            static xs_chunk c[9000];
            unsigned count = 0;
            start(defaults());
            mem.fail_map = what == 0 ? n : 0;
            mem.fail_records = what == 1 ? n + 1 : 0;
            for (unsigned i = 0; i < 9000; i++) {
                xs_chunk one = xs_bfc_alloc(&b, 256 + i % 4096, 0);
                if (one != 0)
                    c[count++] = one;
            }
            check();
            cr_assert(count >= 4000);
            for (unsigned i = 0; i < count; i++)
                cr_assert_eq(xs_bfc_free(&b, c[i], 0), 0);
            check();
            cr_assert_eq(stats().in_use_bytes, 0u);
            stop();
        }
    }
}

/* Steps of any one allocation or free, under sequences made to hurt. */
static uint64_t worst;
static xs_chunk counted_alloc(size_t size)
{
    uint64_t before = b.steps;
    xs_chunk c = xs_bfc_alloc(&b, size, 0);

    if (b.steps - before > worst)
        worst = b.steps - before;
    return c;
}

static void counted_free(xs_chunk c)
{
    uint64_t before = b.steps;

    cr_assert_eq(xs_bfc_free(&b, c, 0), 0);
    if (b.steps - before > worst)
        worst = b.steps - before;
}

/* Robson's adversary: blocks of 1, 2, 4, ... units; before each doubling, frees all but those that
 * keep a chosen offset occupied, so that no hole fits the next size. */
static uint64_t robson(unsigned log2_n, size_t live_units)
{
    uint64_t first = UINT64_MAX;
    uint64_t end = 0;
    static struct {
        xs_chunk c;
        uint64_t at;
        uint64_t size;
    } block[1 << 17];
    size_t count = 0;
    uint64_t live = 0;
    uint64_t offset = 0;

    for (unsigned i = 0; i <= log2_n; i++) {
        uint64_t size = (uint64_t)1 << i;
        if (i > 0) {
            /* Of the two offsets modulo the new size, keep the one that more blocks lie across. */
            uint64_t half = size / 2;
            uint64_t kept[2] = {0, 0};
            for (unsigned k = 0; k < 2; k++)
                for (size_t j = 0; j < count; j++) {
                    uint64_t f = (offset + k * half - block[j].at) & (size - 1);
                    kept[k] += f < block[j].size ? size - block[j].size : 0;
                }
            offset += kept[1] > kept[0] ? half : 0;
            size_t out = 0;
            for (size_t j = 0; j < count; j++) {
                if (((offset - block[j].at) & (size - 1)) < block[j].size) {
                    block[out++] = block[j];
                } else {
                    counted_free(block[j].c);
                    live -= block[j].size;
                }
            }
            count = out;
        }
        while (live + size <= live_units && count < (1 << 17)) {
            xs_chunk c = counted_alloc(size * 256);
            cr_assert(c != 0);
            block[count].c = c;
            block[count].at = (uintptr_t)xs_bfc_address(&b, c) / 256;
            block[count].size = size;
            if (block[count].at < first)
                first = block[count].at;
            if (block[count].at + size > end)
                end = block[count].at + size;
            count++;
            live += size;
        }
    }
    return end - first;
}

Test(bfc, worst_case_steps, .timeout = 60)
{
    struct xs_bfc_options o = defaults();

    o.initial_bytes = (size_t)1 << 28;
    start(o);
    worst = 0;
    uint64_t footprint = robson(10, 1 << 14);
    check();
    /* M(log2(n)/2 + 1) - n + 1, which no allocator that cannot move blocks stays below. */
    cr_assert(footprint <= (1 << 14) * 6 - (1 << 10) + 1, "%lu units", (unsigned long)footprint);
    cr_assert(footprint >= (1 << 14) * 2, "the adversary is too kind: %lu units",
              (unsigned long)footprint);
    cr_assert(worst <= 2 * XS_BFC_PROBES + 2 + 2, "%lu steps", (unsigned long)worst);
    stop();

    /* Sizes one unit above a bin: the whole bin is filled with chunks that do not fit. */
    start(o);
    static xs_chunk small[5000];
    worst = 0;
    for (unsigned i = 0; i < 5000; i++) {
        small[i] = counted_alloc((size_t)(2048 + i % 60) * 256);
        counted_alloc(256);
    }
    for (unsigned i = 0; i < 5000; i++)
        counted_free(small[i]);
    for (unsigned i = 0; i < 2000; i++)
        counted_alloc((size_t)(2048 + 63) * 256);
    check();
    cr_assert(worst <= 2 * XS_BFC_PROBES + 2 + 2, "%lu steps", (unsigned long)worst);
    stop();
}

Test(bfc, free_by_size)
{
    uint64_t bytes[XS_BFC_FREE_SIZES] = {0};
    uint64_t sum = 0;
    xs_chunk c[3];

    start(defaults());
    /* Each ends before one that stays, so that nothing is joined. */
    c[0] = xs_bfc_alloc(&b, 8192 - 256, 0);
    xs_bfc_alloc(&b, 256, 0);
    c[1] = xs_bfc_alloc(&b, 8192, 0);
    xs_bfc_alloc(&b, 256, 0);
    c[2] = xs_bfc_alloc(&b, 16384 - 256, 0);
    xs_bfc_alloc(&b, 256, 0);
    for (unsigned i = 0; i < 3; i++)
        cr_assert_eq(xs_bfc_free(&b, c[i], 0), 0);
    uint64_t rest = stats().free_bytes - (8192 - 256) - 8192 - (16384 - 256);
    xs_bfc_free_by_size(&b, bytes);
    for (unsigned i = 0; i < XS_BFC_FREE_SIZES; i++)
        sum += bytes[i];
    cr_assert_eq(sum, stats().free_bytes);
    cr_assert_geq(rest, 16384u);
    cr_assert_eq(bytes[0], 8192u - 256);
    cr_assert_eq(bytes[1], 8192u + 16384 - 256);
    stop();
}

Test(bfc, a_region_that_the_caller_got)
{
    start(defaults());
    cr_assert(!xs_bfc_add(&b, (void *)(uintptr_t)0x10000100, 0));
    cr_assert(!xs_bfc_add(&b, (void *)(uintptr_t)0x10000080, 4096), "begins inside a unit");
    cr_assert(!xs_bfc_add(&b, (void *)(uintptr_t)0x10000100, 4000), "ends inside a unit");
    cr_assert(xs_bfc_add(&b, (void *)(uintptr_t)0x10000100, 4096));
    xs_chunk c = xs_bfc_alloc(&b, 4096, 0);
    cr_assert_eq(xs_bfc_address(&b, c), (void *)(uintptr_t)0x10000100);
    cr_assert_eq(mem.maps, 0u);
    cr_assert_eq(stats().reserved_bytes, 4096u);
    check();
    cr_assert_eq(xs_bfc_free(&b, c, 0), 0);
    mem.mapped += 4096; /* as unmap will take it off */
    cr_assert_eq(xs_bfc_collect(&b, UINT64_MAX), 4096u);
    stop();
}
