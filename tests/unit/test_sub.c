/* gpu/sub.h, both kinds: limits, refusals, wrong frees, giving back, and any sequence of calls,
 * against the model. */
#include "tests/support/sub_model.h"

/* ---- options ---------------------------------------------------------------------------- */

Test(sub, wrong_options)
{
    struct xs_sub_pool_options p = pool_options();
    struct xs_sub_bfc_options b = {.unit = 3};

    cr_assert_null(xs_sub_bfc_open(&b));
    b.unit = 0;
    cr_assert_null(xs_sub_bfc_open(&b));
    p.min_block = 1000;
    cr_assert_null(xs_sub_pool_open(&p));
    p = pool_options();
    p.align = 0;
    cr_assert_null(xs_sub_pool_open(&p));
    p = pool_options();
    p.max_block = 0;
    cr_assert_null(xs_sub_pool_open(&p));
}

/* ---- sizes at the edges ----------------------------------------------------------------- */

static void edges(size_t largest)
{
    static const size_t around[] = {1,     2,     255,     256,     257,     1023,    1024,
                                    1025,  8191,  8192,    8193,    9216,    9217,    65535,
                                    65536, 65537, 1 << 20, 3 << 20, 5 << 20, 33 << 20};
    struct xs_sub_block b;

    for (unsigned i = 0; i < sizeof(around) / sizeof(around[0]); i++) {
        cr_assert(take(around[i], &b), "%zu", around[i]);
        check();
    }
    cr_assert(take(largest, &b));
    cr_assert(!take(0, &b));
    cr_assert(!take(SIZE_MAX, &b));
    cr_assert(!take(SIZE_MAX / 2, &b));
    check();
}

Test(sub, pool_edges)
{
    struct xs_sub_pool_options o = pool_options();

    begin_pool(&o);
    edges(o.max_block);
    struct xs_sub_block b;
    uint64_t reserved = stats().reserved_bytes;
    cr_assert(!take(o.max_block + 1, &b));
    cr_assert_eq(stats().reserved_bytes, reserved, "nothing is got for what is not served");
    end();
}

Test(sub, bfc_edges)
{
    begin_bfc(512, 0, 0);
    edges((size_t)10 << 30);
    end();
}

/* ---- the limit -------------------------------------------------------------------------- */

Test(sub, limits_below_a_slab)
{
    static const uint64_t limits[] = {0,    1,     255,   1024,    1025,   4096,
                                      5000, 40960, 65537, 1000000, 3 << 20};

    for (unsigned i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
        for (unsigned pool = 0; pool < 2; pool++) {
            struct xs_sub_pool_options o = pool_options();
            struct xs_sub_block b;
            unsigned n = 0;
            o.limit_bytes = limits[i];
            if (pool == 0 && limits[i] == 0)
                continue; /* none, for the bfc */
            if (pool == 1)
                begin_pool(&o);
            else
                begin_bfc(512, 0, limits[i]);
            while (take(1000, &b))
                n++;
            /* Every whole block that the limit has room for. */
            cr_assert_eq(n, limits[i] / 1024, "limit %lu: %u blocks", limits[i], n);
            check();
            end();
        }
    }
}

Test(sub, the_whole_limit_as_one_block)
{
    /* 40 units are no power of two, yet one block. */
    struct xs_sub_pool_options o = pool_options();
    struct xs_sub_block b;

    o.limit_bytes = 40 << 20;
    begin_pool(&o);
    cr_assert(take(40 << 20, &b));
    check();
    cr_assert(!take(1, &b));
    end();
    begin_bfc(256, 0, 40 << 20);
    cr_assert(take(40 << 20, &b));
    cr_assert(!take(1, &b));
    end();
}

Test(sub, ranges_in_the_way_of_the_limit_leave)
{
    for (unsigned pool = 0; pool < 2; pool++) {
        struct xs_sub_pool_options o = pool_options();
        struct xs_sub_block b;
        o.limit_bytes = 32 << 20;
        if (pool == 1)
            begin_pool(&o);
        else
            begin_bfc(512, 0, 32 << 20);
        for (unsigned i = 0; i < 32; i++)
            cr_assert(take(1 << 20, &b));
        cr_assert(m.ranges > 1);
        while (m.blocks > 0)
            give(0);
        /* No slab has room for it, all of them together leave it. */
        cr_assert(take(32 << 20, &b));
        check();
        end();
    }
}

Test(sub, two_threads_had_asked)
{
    struct xs_sub_pool_options o = pool_options();
    struct xs_sub_block b;
    size_t first;
    size_t second;

    o.limit_bytes = 3 << 20;
    begin_pool(&o);
    cr_assert_eq(xs_sub_alloc(m.s, 1000, &b, &first), XS_SUB_NEED);
    cr_assert_eq(xs_sub_alloc(m.s, 1000, &b, &second), XS_SUB_NEED);
    uint64_t address = driver_range(first);
    cr_assert(xs_sub_add(m.s, address, first));
    held(address, first);
    cr_assert(!xs_sub_add(m.s, driver_range(second), second), "above the limit");
    cr_assert(!xs_sub_add(m.s, address, 512), "held already");
    cr_assert(!xs_sub_add(m.s, address - 512, 1024), "overlaps");
    check();
    cr_assert(take(1000, &b));
    end();
}

/* ---- refusals by the driver ------------------------------------------------------------- */

Test(sub, the_driver_has_less)
{
    for (unsigned pool = 0; pool < 2; pool++) {
        struct xs_sub_pool_options o = pool_options();
        struct xs_sub_block b;
        if (pool == 1)
            begin_pool(&o);
        else
            begin_bfc(512, (uint64_t)64 << 20, 0);
        m.driver_most = 5000 * 512;
        cr_assert(take(100000, &b));
        cr_assert(take((size_t)4999 * 512, &b) || pool == 1);
        cr_assert(m.refusals > 0 || pool == 1);
        cr_assert(!take(m.driver_most + 1, &b));
        m.driver_most = SIZE_MAX;
        cr_assert(take((size_t)5001 * 512, &b), "a refusal is not for ever");
        check();
        end();
    }
}

Test(sub, a_driver_that_aligns_less)
{
    for (unsigned pool = 0; pool < 2; pool++) {
        struct xs_sub_pool_options o = pool_options();
        struct xs_sub_block b;
        o.align = 1 << 20;
        o.growth = 1.0;
        if (pool == 1)
            begin_pool(&o);
        else
            begin_bfc(1 << 20, 0, (uint64_t)256 << 20);
        m.next += 512;
        cr_assert(take((size_t)8 << 20, &b)); /* just what is asked for would not do */
        for (unsigned i = 0; i < 30; i++) {
            cr_assert(take((size_t)(i + 1) << 17, &b));
            m.next += 512;
        }
        cr_assert(take((size_t)8 << 20, &b));
        check();
        end();
    }
}

/* ---- wrong frees ------------------------------------------------------------------------ */

static void wrong_frees(void)
{
    struct xs_sub_block b[20];
    struct xs_sub_block c;

    for (unsigned i = 0; i < 20; i++)
        cr_assert(take(5000, &b[i]));
    for (unsigned bit = 0; bit < 32; bit++) {
        uint32_t wrong = b[7].handle ^ (uint32_t)1 << bit;
        bool is_live = false;
        for (unsigned i = 0; i < 20; i++)
            is_live = is_live || b[i].handle == wrong;
        if (!is_live)
            cr_assert_eq(xs_sub_free(m.s, wrong, b[7].address), EINVAL, "handle %u", wrong);
    }
    for (unsigned i = 0; i < 100000; i++) {
        uint32_t wrong = (uint32_t)rnd();
        bool is_live = false;
        for (unsigned k = 0; k < 20; k++)
            is_live = is_live || b[k].handle == wrong;
        if (!is_live)
            cr_assert_eq(xs_sub_free(m.s, wrong, b[7].address), EINVAL);
    }
    for (unsigned i = 0; i < 20; i++)
        cr_assert_eq(xs_sub_free(m.s, b[i].handle, b[i].address + 256), EINVAL);
    cr_assert_eq(xs_sub_free(m.s, 0, b[7].address), EINVAL);
    cr_assert_eq(xs_sub_free(m.s, UINT32_MAX, 0), EINVAL);
    check();
    /* Of a range that is gone. */
    while (m.blocks > 0)
        give(0);
    while (spare(true, 64) > 0)
        ;
    for (unsigned i = 0; i < 20; i++)
        cr_assert_eq(xs_sub_free(m.s, b[i].handle, b[i].address), EINVAL);
    cr_assert(take(1, &c));
    check();
    end();
}

Test(sub, pool_wrong_frees)
{
    struct xs_sub_pool_options o = pool_options();

    begin_pool(&o);
    wrong_frees();
}

Test(sub, bfc_wrong_frees)
{
    begin_bfc(512, 0, 0);
    wrong_frees();
}

/* ---- giving back ------------------------------------------------------------------------ */

static void burst(void)
{
    struct xs_sub_block b;

    for (unsigned round = 0; round < 5; round++) {
        for (unsigned i = 0; i < 2000; i++)
            cr_assert(take(100000, &b));
        uint64_t reserved = m.reserved;
        unsigned added = stats().ranges_added;
        while (m.blocks > 0) {
            give(m.blocks / 2);
            cr_assert_eq(spare(false, 64), 0u, "needed a moment ago");
        }
        cr_assert_eq(m.reserved, reserved);
        cr_assert(round == 0 || stats().ranges_added == added, "got again what was given back");
        check();
    }
    /* Nobody needs it any more. */
    uint64_t reserved = m.reserved;
    for (unsigned i = 0; i < 40000; i++) {
        cr_assert(take(3000, &b));
        give(0);
        (void)spare(false, 64);
    }
    cr_assert(m.reserved < reserved / 4, "%lu of %lu still held", m.reserved, reserved);
    end();
}

Test(sub, pool_burst)
{
    struct xs_sub_pool_options o = pool_options();

    begin_pool(&o);
    burst();
}

Test(sub, bfc_burst)
{
    begin_bfc(512, 0, 0);
    burst();
}

Test(sub, what_cannot_move_is_stuck)
{
    for (unsigned pool = 0; pool < 2; pool++) {
        struct xs_sub_pool_options o = pool_options();
        struct xs_sub_block b;
        if (pool == 1)
            begin_pool(&o);
        else
            begin_bfc(512, 0, (uint64_t)256 << 20);
        for (unsigned i = 0; i < 1500; i++)
            cr_assert(take(50000, &b));
        /* One block of each fiftieth stays. */
        for (unsigned i = m.blocks; i-- > 0;)
            if (i % 50 != 0)
                give(i);
        struct xs_sub_stats t = stats();
        uint64_t can_go = idle();
        cr_assert_eq(t.stuck_bytes, t.free_bytes - can_go);
        uint64_t before = m.reserved;
        while (spare(true, 64) > 0)
            ;
        cr_assert_eq(before - m.reserved, can_go, "as much as was said");
        cr_assert_eq(stats().stuck_bytes, stats().free_bytes);
        check();
        end();
    }
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Doubling, but never much beside what is there. */
static void growth(size_t doubled)
{
    struct xs_sub_block b;
    uint64_t before = 0;

    for (unsigned i = 0; i < 900; i++)
        cr_assert(take(1 << 20, &b));
    for (unsigned i = 0; i < m.ranges; i++) {
        size_t size = least(doubled, before / 8 / (2 << 20) * (2 << 20));
        size = size > 2 << 20 ? size : 2 << 20;
        /* Whole blocks of the size that was wanted: a granule less, maybe. */
        cr_assert(m.range[i].size <= size + (2 << 20) && m.range[i].size + (2 << 20) >= size,
                  "range %u has %zu", i, m.range[i].size);
        before += m.range[i].size;
        doubled = least(doubled * 2, 64 << 20);
    }
    cr_assert(m.ranges > 20 && m.ranges < 60, "%u ranges", m.ranges);
    end();
}

Test(sub, pool_growth)
{
    struct xs_sub_pool_options o = pool_options();

    o.limit_bytes = (uint64_t)1 << 30;
    begin_pool(&o);
    growth(2 << 20);
}

Test(sub, pool_without_growth)
{
    struct xs_sub_pool_options o = pool_options();
    struct xs_sub_block b;

    o.growth = 1.0;
    begin_pool(&o);
    for (unsigned i = 0; i < 200; i++)
        cr_assert(take(1 << 20, &b));
    for (unsigned i = 0; i < m.ranges; i++)
        cr_assert_eq(m.range[i].size, 2u << 20);
    end();
}

Test(sub, bfc_growth)
{
    begin_bfc(512, 0, 0);
    growth(2 << 20);
}

Test(sub, bfc_initial)
{
    struct xs_sub_block b;

    begin_bfc(512, (uint64_t)100 << 20, 0);
    cr_assert(take(1, &b));
    cr_assert_eq(m.range[0].size, 100u << 20);
    cr_assert(take(100 << 20, &b));
    cr_assert_eq(m.range[1].size, 100u << 20);
    cr_assert(take(100 << 20, &b));
    cr_assert(take(1 << 20, &b));
    for (unsigned i = 0; i < 100; i++)
        cr_assert(take(1 << 20, &b));
    cr_assert_eq(m.ranges, 4u);
    cr_assert_eq(m.range[3].size, 38u << 20, "an eighth of 300 MiB, in granules");
    end();
}

/* A range for large blocks is made of several if one would leave much of it over. */
Test(sub, ranges_fit_what_is_wanted)
{
    struct xs_sub_block b;

    begin_bfc(512, 0, 0);
    for (unsigned i = 0; i < 60; i++) {
        cr_assert(take(2911 << 10, &b));
        cr_assert(m.reserved <= m.in_use + m.in_use / 4 + (8 << 20), "%lu for %lu", m.reserved,
                  m.in_use);
    }
    cr_assert(m.reserved <= m.in_use * 115 / 100, "%lu for %lu", m.reserved, m.in_use);
    end();
}

/* The first range for a large block has room for one that is a little larger; those after it, for
 * more of the same, have not. */
Test(sub, a_range_for_sizes_close_to_it)
{
    struct xs_sub_block b;
    size_t need = ((size_t)64 << 20) + (256 << 10);

    begin_bfc(512, 0, 0);
    for (unsigned i = 0; i < 8; i++) {
        cr_assert(take(need + i * ((size_t)200 << 10), &b));
        give(0);
    }
    cr_assert_eq(m.ranges, 1u);
    cr_assert_eq(m.range[0].size, (size_t)68 << 20);
    need = ((size_t)90 << 20) + (1 << 10);
    for (unsigned i = 0; i < 3; i++)
        cr_assert(take(need, &b));
    cr_assert_eq(m.range[1].size, (size_t)94 << 20);
    for (unsigned i = 2; i < 4; i++)
        cr_assert_eq(m.range[i].size, ((size_t)90 << 20) + (64 << 10));
    end();
}

/* ---- ranges that come back as one ------------------------------------------------------- */

static void begin_any(bool pool)
{
    struct xs_sub_pool_options o = pool_options();

    o.growth = 1.0;
    if (pool)
        begin_pool(&o);
    else
        begin_bfc(512, 0, (uint64_t)256 << 20);
}

static void fill_and_empty(unsigned blocks)
{
    struct xs_sub_block b;

    for (unsigned i = 0; i < blocks; i++)
        cr_assert(take(1 << 20, &b));
    while (m.blocks > 0)
        give(m.blocks - 1);
}

Test(sub, small_ranges_come_back_as_one)
{
    for (unsigned pool = 0; pool < 2; pool++) {
        struct xs_sub_block b;
        begin_any(pool != 0);
        cr_assert(!xs_sub_merge_due(m.s));
        fill_and_empty(1);
        cr_assert(!xs_sub_merge_due(m.s), "one range is one already");
        cr_assert_eq(merge(64), 0u);
        fill_and_empty(16);
        uint64_t before = m.reserved;
        cr_assert_eq(m.ranges, 8u);
        cr_assert(xs_sub_merge_due(m.s));
        cr_assert(!xs_sub_merge_due(m.s), "said once");
        cr_assert_eq(merge(5), 5u);
        cr_assert_eq(merge(5), 3u);
        cr_assert_eq(m.reserved, 0u);
        check();
        cr_assert(take(1 << 20, &b));
        cr_assert_eq(m.ranges, 1u);
        cr_assert_eq(m.reserved, before);
        check();
        for (unsigned i = 0; i < 15; i++)
            cr_assert(take(1 << 20, &b));
        cr_assert_eq(m.ranges, 1u);
        cr_assert(take(1 << 20, &b));
        cr_assert(m.reserved < before + before / 4, "asked for once only");
        end();
    }
}

Test(sub, no_merge_while_most_is_in_use)
{
    struct xs_sub_block b;

    begin_any(false);
    for (unsigned i = 0; i < 16; i++)
        cr_assert(take(1 << 20, &b));
    /* Two blocks in each of eight ranges: at every second free one more is without. */
    for (unsigned i = 1; i <= 16; i++) {
        give(m.blocks - 1);
        cr_assert_eq(xs_sub_merge_due(m.s), i >= 8 && i % 2 == 0, "after %u frees", i);
    }
    end();
}

Test(sub, what_is_in_use_stays_at_a_merge)
{
    for (unsigned pool = 0; pool < 2; pool++) {
        struct xs_sub_block b;
        begin_any(pool != 0);
        for (unsigned i = 0; i < 40; i++)
            cr_assert(take(1 << 20, &b));
        for (unsigned i = m.blocks; i-- > 3;)
            give(i);
        uint64_t before = m.reserved;
        cr_assert(merge(64) > 1);
        check();
        cr_assert(take((size_t)20 << 20, &b), "one piece now");
        cr_assert_eq(m.reserved, before);
        check();
        end();
    }
}

/* What was not needed of late does not come back. */
Test(sub, a_merge_keeps_no_more_than_is_needed)
{
    struct xs_sub_block b;

    begin_any(false);
    fill_and_empty(64);
    for (unsigned i = 0; i < 20000; i++) {
        cr_assert(take(1 << 20, &b));
        give(0);
    }
    uint64_t before = m.reserved;
    for (unsigned i = 0; i < 20000; i++) {
        cr_assert(take(1 << 20, &b));
        give(0);
    }
    (void)merge(64);
    cr_assert_eq(m.ranges, 0u);
    cr_assert(take(1, &b));
    cr_assert(m.reserved < before / 4, "%lu of %lu came back", m.reserved, before);
    end();
}

Test(sub, a_merge_within_the_limit)
{
    struct xs_sub_block b;

    begin_any(false);
    fill_and_empty(64);
    (void)merge(64);
    m.s->limit_bytes = m.limit = 10 << 20;
    cr_assert(take(1 << 20, &b));
    cr_assert_eq(m.reserved, 10u << 20);
    check();
    end();
}

Test(sub, a_merge_that_the_driver_refuses)
{
    struct xs_sub_block b;

    begin_any(false);
    fill_and_empty(64);
    (void)merge(64);
    m.driver_most = 4 << 20;
    cr_assert(take(3 << 20, &b), "only the whole was too much");
    cr_assert_eq(m.refusals, 1u);
    cr_assert(m.reserved <= 4u << 20);
    m.driver_most = SIZE_MAX;
    cr_assert(take(3 << 20, &b));
    cr_assert(m.reserved <= 8 << 20, "it is not asked for again");
    check();
    end();
}

Test(sub, what_was_given_back_on_request_is_not_owed)
{
    struct xs_sub_block b;

    begin_any(false);
    fill_and_empty(64);
    cr_assert_eq(merge(3), 3u);
    while (spare(true, 64) > 0)
        ;
    cr_assert(take(1 << 20, &b));
    cr_assert_eq(m.reserved, 2u << 20);
    end();
}

/* As in Robson's sequence: every other block is freed, then blocks of twice the size are wanted. */
Test(sub, halving)
{
    for (unsigned pool = 0; pool < 2; pool++) {
        struct xs_sub_pool_options o = pool_options();
        struct xs_sub_block b;
        if (pool == 1)
            begin_pool(&o);
        else
            begin_bfc(1024, 0, (uint64_t)256 << 20);
        uint64_t live_max = 0;
        for (size_t size = 1024; size <= 1 << 20; size *= 2) {
            while (m.in_use + size <= 16 << 20 && m.blocks < 3900)
                cr_assert(take(size, &b));
            live_max = m.in_use > live_max ? m.in_use : live_max;
            for (unsigned i = m.blocks; i-- > 0;)
                if (i % 2 != 0)
                    give(i);
            check();
        }
        /* Robson's bound for sizes from 1 to 1024, and twice that as ranges double. */
        cr_assert(m.reserved_peak <= 12 * live_max, "%lu for %lu", m.reserved_peak, live_max);
        end();
    }
}

/* ---- any sequence ----------------------------------------------------------------------- */

static size_t random_size(unsigned way)
{
    switch (way) {
    case 0:
        return 1 + rnd() % 4096;
    case 1:
        return 1 + (rnd() % (1 << 20) >> rnd() % 20);
    case 2:
        return (size_t)1 << rnd() % 22;
    default:
        return ((size_t)1 << rnd() % 22) + (rnd() % 3 - 1) + 1;
    }
}

static void random_program(unsigned operations)
{
    unsigned way = (unsigned)(rnd() % 4);
    unsigned most = 1 + (unsigned)(rnd() % 600);
    bool grows = true, repeats = rnd() % 2 != 0;
    size_t size = random_size(way);
    struct xs_sub_block b;

    for (unsigned i = 0; i < operations; i++) {
        unsigned what = (unsigned)(rnd() % 100);
        if (m.blocks >= most)
            grows = false;
        if (m.blocks == 0)
            grows = true;
        m.driver_most = rnd() % 30 == 0 ? rnd() % (8 << 20) : SIZE_MAX;
        if (what < (grows ? 65 : 30)) {
            size = repeats && rnd() % 8 != 0 ? size : random_size(way);
            uint64_t others = m.reserved - idle();
            if (!take(size, &b) && m.driver_most == SIZE_MAX && size < 1 << 20) {
                /* Two more units: rounding, and a range that begins between them. */
                size_t need = size + size / 8 + m.unit + 2 * m.align;
                cr_assert(m.limit < need || others > m.limit - need || m.ranges == RANGES,
                          "%zu bytes were refused with %lu of %lu used", size, others, m.limit);
            }
            if (rnd() % 4 == 0)
                (void)take_more(size, (unsigned)(rnd() % 20), (unsigned)(rnd() % 10));
        } else if (what < 95 && m.blocks > 40 && rnd() % 8 == 0) {
            give_some((unsigned)(rnd() % (m.blocks - 40)), 1 + (unsigned)(rnd() % 40));
        } else if (what < 95 && m.blocks > 0) {
            give((unsigned)(rnd() % m.blocks));
            if (rnd() % 4 == 0)
                (void)spare(false, 1 + rnd() % 64);
        } else if (what == 95) {
            (void)spare(true, 1 + rnd() % 64);
        } else if (what == 97) {
            if (xs_sub_merge_due(m.s) || rnd() % 4 == 0)
                (void)merge(1 + rnd() % 64);
        } else if (what == 96 && m.limit < UINT64_MAX) {
            m.limit = m.reserved + rnd() % (4 << 20);
            m.s->limit_bytes = m.limit;
        }
        if (m.blocks > 0) {
            const struct block *c = &m.block[rnd() % m.blocks];
            look(c->address);
            look(c->address + c->size - 1);
            look(c->address + c->size);
            look(c->address - 1);
        }
        if (m.ranges > 0)
            look(m.range[rnd() % m.ranges].address + rnd() % (4 << 20));
        if (i % 8 == 0 || operations < 100)
            check();
    }
}

static unsigned seeds(void)
{
    const char *text = getenv("XS_SUB_SEEDS");

    return text != NULL ? (unsigned)atoi(text) : 40;
}

Test(sub, pool_random, .timeout = 600)
{
    for (unsigned i = 1; i <= seeds(); i++) {
        struct xs_sub_pool_options o = pool_options();
        seed = i * 0x9E3779B97F4A7C15u;
        o.min_block = (size_t)256 << rnd() % 5;
        o.align = (size_t)256 << rnd() % 3;
        o.max_block = (size_t)1 << (20 + rnd() % 4);
        o.growth = 1.0 + (double)(rnd() % 30) / 10.0;
        o.limit_bytes = rnd() % 2 != 0 ? (uint64_t)1 << 40 : 1 + rnd() % (32 << 20);
        o.class_blocks = (unsigned)(rnd() % 20);
        begin_pool(&o);
        random_program(600);
        end();
    }
}

Test(sub, bfc_random, .timeout = 600)
{
    for (unsigned i = 1; i <= seeds(); i++) {
        seed = i * 0xD1B54A32D192ED03u;
        uint64_t limit = rnd() % 2 != 0 ? 0 : 1 + rnd() % (32 << 20);
        begin_bfc((size_t)256 << rnd() % 6, rnd() % 2 != 0 ? 0 : 1 + rnd() % (8 << 20), limit);
        random_program(600);
        end();
    }
}

/* Both were told to get a range before either had it: the limit holds all the same. */
Test(sub, two_share_a_limit)
{
    struct xs_sub_bfc_options o = {512, 0, 4 << 20};
    struct xs_sub *a = xs_sub_bfc_open(&o), *b = xs_sub_bfc_open(&o);
    _Atomic uint64_t held = 0;
    struct xs_sub_block block;
    uint64_t address, from = (uint64_t)1 << 40;
    size_t want, other, bytes;

    xs_sub_share_limit(a, &held);
    xs_sub_share_limit(b, &held);
    cr_assert_eq(xs_sub_alloc(a, 3 << 20, &block, &want), XS_SUB_NEED);
    cr_assert_eq(xs_sub_alloc(b, 3 << 20, &block, &other), XS_SUB_NEED);
    cr_assert(xs_sub_add(a, from, want));
    cr_assert_not(xs_sub_add(b, from + (64 << 20), other));
    cr_assert_eq(held, want);
    cr_assert_eq(xs_sub_alloc(b, 3 << 20, &block, &other), XS_SUB_NONE);
    cr_assert_eq(xs_sub_alloc(a, 3 << 20, &block, &want), XS_SUB_OK);
    cr_assert_not(xs_sub_move_idle(a, 3 << 20, &address, &bytes), "it is in use");
    cr_assert_eq(xs_sub_free(a, block.handle, block.address), 0);
    cr_assert_not(xs_sub_move_idle(a, 5 << 20, &address, &bytes), "there is no room for it");
    cr_assert(xs_sub_move_idle(a, 3 << 20, &address, &bytes));
    cr_assert_eq(address, from);
    cr_assert_eq(held, bytes, "it is on its way");
    cr_assert(xs_sub_add_moved(b, address, bytes));
    cr_assert_eq(xs_sub_alloc(b, 3 << 20, &block, &want), XS_SUB_OK);
    cr_assert_eq(block.address, from);
    xs_sub_close(a);
    cr_assert_eq(held, bytes);
    xs_sub_close(b);
    cr_assert_eq(held, 0u);
}
