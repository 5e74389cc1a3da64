/* gpu/sub.h: the pool's own ways, records that cannot be had, which block is where, and runs. */
#include <sys/mman.h>
#include <sys/resource.h>

#include "tests/support/sub_model.h"

/* ---- the pool's ways -------------------------------------------------------------------- */

Test(sub_pool, pool_does_not_look_behind_a_slab)
{
    struct xs_sub_pool_options o = pool_options();
    struct xs_sub_block a;
    struct xs_sub_block b;

    o.limit_bytes = 5 << 20; /* 2 MiB, then what is left: 3 MiB */
    o.class_blocks = 0;
    begin_pool(&o);
    cr_assert(take(1 << 20, &a));
    cr_assert(take(1 << 20, &b));
    cr_assert(take(2 << 20, &b));
    give(block_from(a.address));
    /* 1 MiB is free in each slab, at the end of the one and at the beginning of the other. */
    cr_assert(!take(3 << 19, &b));
    check();
    end();
}

Test(sub_pool, pool_merges_what_it_keeps_before_it_grows)
{
    struct xs_sub_pool_options o = pool_options();
    struct xs_sub_block b;

    o.limit_bytes = 2 << 20;
    begin_pool(&o);
    for (unsigned i = 0; i < 8; i++)
        cr_assert(take(1 << 18, &b));
    while (m.blocks > 1)
        give(1);
    cr_assert(take(1 << 20, &b));
    check();
    end();
}

Test(sub_pool, pool_keeps_small_blocks_whole)
{
    struct xs_sub_pool_options o = pool_options();
    struct xs_sub_block b;
    struct xs_sub_block found;
    bool in_use;

    begin_pool(&o);
    cr_assert(take(5000, &b));
    give(0);
    cr_assert(xs_sub_find(m.s, b.address, &found, &in_use) && !in_use);
    cr_assert_eq(found.size, b.size, "kept for its class");
    cr_assert_eq(stats().largest_free_bytes, 2u << 20, "but free for all");
    cr_assert_eq(stats().stuck_bytes, 0u);
    cr_assert(take(2 << 20, &b));
    cr_assert_eq(m.ranges, 1u);
    give(0);
    cr_assert(take((1 << 20) + 1, &b));
    give(0);
    cr_assert(xs_sub_find(m.s, b.address, &found, &in_use) && !in_use);
    cr_assert_eq(found.size, 2u << 20, "large ones are merged");
    end();
}

/* What is kept of one class serves no other: not the next larger one, for which it is too small,
 * and not the next smaller one either. Each block has another behind it that stays in use. */
Test(sub_pool, pool_keeps_classes_apart)
{
    struct xs_sub_pool_options o = pool_options();
    struct xs_sub_block a;
    struct xs_sub_block b;
    struct xs_sub_block behind;

    for (size_t size = o.min_block; size < o.max_block / 64; size = a.size) {
        for (unsigned larger = 0; larger < 2; larger++) {
            size_t next = xs_sub_pool_rounded(o.min_block, size + 1);
            begin_pool(&o);
            cr_assert(take(larger != 0 ? size : next, &a));
            cr_assert(take(o.min_block, &behind));
            give(block_from(a.address));
            cr_assert(
                take(larger != 0 ? next : size, &b)); /* that they do not overlap is seen here */
            cr_assert(b.address != a.address, "%zu served by what was kept of %zu", b.size, a.size);
            check();
            cr_assert(take(a.size, &b));
            cr_assert_eq(b.address, a.address, "%zu was kept", a.size);
            end();
            a.size = next;
        }
    }
}

Test(sub_pool, pool_keeps_slabs_with_kept_blocks)
{
    struct xs_sub_pool_options o = pool_options();
    struct xs_sub_block b;

    /* Only ever one of two slabs is needed, so the smaller may go, but not with a block in it that
     * is kept for its class; the third, which nobody needs, goes beside it. */
    o.max_block = (size_t)1 << 30;
    begin_pool(&o);
    cr_assert(take(3 << 19, &b));
    cr_assert(take(3 << 20, &b));
    cr_assert(take(20 << 20, &b));
    cr_assert_eq(m.ranges, 3u);
    while (m.blocks > 0)
        give(0);
    /* Eight operations before the loop of four: so the window ends at its end, and what is kept is
     * never merged just before a look for what can go. */
    cr_assert(take(3 << 19, &b));
    give(0);
    for (unsigned i = 0; i < 20000; i++) {
        cr_assert(take(3 << 19, &b));
        give(0);
        if (spare(false, 64) > 0)
            check();
        cr_assert(take(3 << 20, &b));
        give(0);
    }
    check();
    cr_assert_eq(m.ranges, 2u);
    for (unsigned i = 0; i < 20000; i++) {
        cr_assert(take(3 << 20, &b));
        give(0);
        (void)spare(false, 64);
    }
    cr_assert_eq(m.ranges, 1u);
    end();
}

/* ---- no memory for records -------------------------------------------------------------- */

static void allow_mappings(bool allowed)
{
    struct rlimit r;

    getrlimit(RLIMIT_AS, &r);
    r.rlim_cur = allowed ? r.rlim_max : 1;
    cr_assert_eq(setrlimit(RLIMIT_AS, &r), 0);
}

Test(sub_pool, without_records)
{
    for (unsigned pool = 0; pool < 2; pool++) {
        struct xs_sub_pool_options o = pool_options();
        struct xs_sub_bfc_options f = {.unit = 512};
        struct xs_sub_block b;
        allow_mappings(false);
        void *any = mmap(NULL, 1, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (any != MAP_FAILED) {
            allow_mappings(true);
            return; /* an emulator that does not keep the limit */
        }
        cr_assert_null(pool == 1 ? xs_sub_pool_open(&o) : xs_sub_bfc_open(&f));
        allow_mappings(true);
        if (pool == 1)
            begin_pool(&o);
        else
            begin_bfc(512, 0, (uint64_t)256 << 20);
        cr_assert(take(1000, &b));
        allow_mappings(false);
        /* Until the records are all used; then no, and no ranges without end. */
        while (m.blocks < 11000 && take(m.blocks % 2 != 0 ? 1000 : 2000, &b))
            ;
        cr_assert(m.blocks > 1000 && m.blocks < 11000, "%u", m.blocks);
        cr_assert(m.reserved < 64 << 20);
        check();
        for (unsigned i = 0; i < 40; i++)
            give(0); /* neighbours, which become one */
        cr_assert(take(1000, &b), "records are free again");
        allow_mappings(true);
        for (unsigned i = 0; i < 1000; i++)
            cr_assert(take(1000, &b));
        end();
    }
}

/* ---- which block is around an address --------------------------------------------------- */

static void look_everywhere(void)
{
    check();
    for (unsigned i = 0; i < 2000; i++)
        look(m.range[0].address + rnd() % m.range[0].size);
}

/* Small blocks in one large range, most of them freed again: neither what is known of where blocks
 * begin nor what is forgotten may mislead; nor where nothing is known for want of memory. */
Test(sub_pool, finds_among_many)
{
    for (unsigned may_map = 0; may_map < 2; may_map++) {
        struct xs_sub_block b;

        begin_bfc(512, (uint64_t)128 << 20, 0);
        allow_mappings(may_map != 0);
        cr_assert(take(512, &b));
        allow_mappings(true);
        while (m.blocks < 3000)
            cr_assert(take(512 * (1 + rnd() % 60), &b));
        cr_assert_eq(m.ranges, 1u);
        look_everywhere();
        while (m.blocks > 20) {
            give(rnd() % m.blocks);
            if (m.blocks % 500 == 20)
                look_everywhere();
        }
        end();
    }
}

/* ---- runs ------------------------------------------------------------------------------- */

/* What is free among blocks of a run is one piece with what is free beside it, whichever run that
 * was in; and blocks whose run is no more are freed as any. */
Test(sub_pool, runs_are_merged)
{
    struct xs_sub_block b;

    begin_bfc(512, 1 << 20, 1 << 20);
    for (unsigned round = 0; round < 6; round++) {
        while (m.blocks < 8) {
            cr_assert(take(128 << 10, &b));
            if (round >= 3)
                (void)take_more(128 << 10, 8 - m.blocks, round - 3);
        }
        cr_assert_not(take(512, &b));
        for (unsigned i = 0; i < 4; i++)
            give(2);
        look(m.range[0].address + (300 << 10));
        cr_assert(take(512 << 10, &b));
        check();
        cr_assert_not(take(512, &b));
        while (m.blocks > 0)
            give(rnd() % m.blocks);
        cr_assert_eq(stats().largest_free_bytes, 1u << 20);
    }
    end();
}

/* As many as the last run had, before there are any; and only the last ones can be taken back. */
Test(sub_pool, more_of_the_same)
{
    for (unsigned pool = 0; pool < 2; pool++) {
        struct xs_sub_pool_options o = pool_options();
        struct xs_sub_block b;

        o.class_blocks = 0;
        if (pool != 0)
            begin_pool(&o);
        else
            begin_bfc(512, 1 << 20, (uint64_t)256 << 20);
        cr_assert(take(8192, &b));
        cr_assert_eq(take_more(8192, 31, 0), 0u, "it may be the only one");
        cr_assert(take(8192, &b));
        cr_assert_eq(take_more(8192, 31, 0), 1u);
        cr_assert(take(8192, &b));
        cr_assert_eq(take_more(8192, 31, 0), 3u, "as many as there are");
        cr_assert_eq(take_more(8192, 31, 1), 5u);
        cr_assert_not(xs_sub_take_back(m.s, m.block[m.blocks - 3].handle, 2), "not the last");
        cr_assert_eq(take_more(16384, 31, 0), 0u, "another size's");
        unsigned run = m.blocks - 1;
        while (m.blocks > 0)
            give(0);
        for (unsigned i = 0; i < 2; i++)
            cr_assert(take(16384, &b));
        cr_assert_eq(take_more(16384, 31, 0), run - 1, "as many as the last time");
        cr_assert(take(512, &b));
        cr_assert_eq(take_more(16384, 31, 0), 0u, "it is closed");
        check();
        end();
    }
}
