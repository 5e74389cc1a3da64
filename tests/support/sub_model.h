/* tests/support/sub_model.h - a model of what lies where, for the tests of gpu/sub.h: after each
 * call every live block is aligned, inside a range that is held, and overlaps no other; the sums
 * are exact; the limit holds to the byte. Device addresses have nothing behind them here. */
#ifndef XS_TESTS_SUB_MODEL_H
#define XS_TESTS_SUB_MODEL_H

#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "gpu/sub_range.h"

enum { BLOCKS = 12000, RANGES = 4096 };

struct block {
    uint64_t address;
    size_t size;
    uint32_t handle;
};
struct range {
    uint64_t address;
    size_t size;
};

static struct model {
    struct xs_sub *s;
    bool pool;
    size_t align;
    size_t unit;
    uint64_t limit;
    struct block block[BLOCKS]; /* by address */
    unsigned blocks;
    struct range range[RANGES];
    unsigned ranges;
    uint64_t reserved, reserved_peak, in_use, in_use_peak;
    uint64_t next; /* address that the driver will give */
    size_t driver_align;
    size_t driver_most; /* larger ranges are refused */
    unsigned refusals;
} m;

static uint64_t seed = 1;
static inline uint64_t rnd(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

static inline struct xs_sub_stats stats(void)
{
    struct xs_sub_stats out;

    xs_sub_stats_get(m.s, &out);
    return out;
}

static inline void check(void)
{
    char text[200];
    struct xs_buf why;
    struct xs_sub_stats t = stats();

    xs_buf_init(&why, text, sizeof(text));
    cr_assert(xs_sub_check(m.s, &why), "%s", text);
    cr_assert_eq(t.in_use_bytes, m.in_use);
    cr_assert_eq(t.in_use_peak_bytes, m.in_use_peak);
    cr_assert_eq(t.reserved_bytes, m.reserved);
    cr_assert_eq(t.reserved_peak_bytes, m.reserved_peak);
    cr_assert_eq(t.ranges, m.ranges);
    cr_assert_eq(t.ranges_added - t.ranges_spared, m.ranges);
    cr_assert(t.largest_free_bytes <= t.free_bytes);
    cr_assert(t.stuck_bytes <= t.free_bytes);
    cr_assert(t.in_use_bytes + t.free_bytes <= t.reserved_bytes);
    cr_assert(t.fragmentation >= 0.0 && t.fragmentation <= 1.0);
    cr_assert_eq(t.largest_free_bytes == 0, t.free_bytes == 0);
}

/* The first block at or above an address. */
static inline unsigned block_from(uint64_t address)
{
    unsigned low = 0;
    unsigned high = m.blocks;

    while (low < high) {
        unsigned middle = (low + high) / 2;
        if (m.block[middle].address < address)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static inline const struct range *range_around(uint64_t address)
{
    for (unsigned i = 0; i < m.ranges; i++)
        if (address - m.range[i].address < m.range[i].size)
            return &m.range[i];
    return NULL;
}

static inline bool holds_blocks(const struct range *r)
{
    unsigned i = block_from(r->address);

    return i < m.blocks && m.block[i].address < r->address + r->size;
}

/* In ranges without a block. */
static inline uint64_t idle(void)
{
    uint64_t bytes = 0;

    for (unsigned i = 0; i < m.ranges; i++)
        bytes += holds_blocks(&m.range[i]) ? 0 : m.range[i].size;
    return bytes;
}

static inline void begins(const struct xs_sub_block *b, size_t requested)
{
    unsigned i = block_from(b->address);
    const struct range *r = range_around(b->address);

    cr_assert(b->handle != 0);
    cr_assert(b->size >= requested);
    cr_assert_eq(b->address % m.align, 0u);
    cr_assert(r != NULL && b->address + b->size <= r->address + r->size, "outside the ranges");
    cr_assert(i == m.blocks || b->address + b->size <= m.block[i].address, "overlaps the next");
    cr_assert(i == 0 || m.block[i - 1].address + m.block[i - 1].size <= b->address,
              "overlaps the last");
    if (m.pool) /* what the header of sub_pool.c promises */
        cr_assert(b->size - requested < m.unit || (b->size - requested) * 9 < b->size + 9 * m.unit,
                  "%zu for %zu", b->size, requested);
    else
        cr_assert(b->size - requested < m.unit);
    memmove(&m.block[i + 1], &m.block[i], (m.blocks - i) * sizeof(m.block[0]));
    m.block[i] = (struct block){b->address, b->size, b->handle};
    m.blocks++;
    m.in_use += b->size;
    if (m.in_use > m.in_use_peak)
        m.in_use_peak = m.in_use;
}

static inline uint64_t driver_range(size_t size)
{
    if (size > m.driver_most)
        return 0;
    m.next = (m.next + m.driver_align - 1) / m.driver_align * m.driver_align;
    uint64_t address = m.next;
    /* Sometimes ranges touch: they must not be taken for one. */
    m.next += size + (rnd() % 2 != 0 ? 0 : m.driver_align);
    return address;
}

static inline void held(uint64_t address, size_t size)
{
    cr_assert(m.ranges < RANGES);
    m.range[m.ranges++] = (struct range){address, size};
    m.reserved += size;
    if (m.reserved > m.reserved_peak)
        m.reserved_peak = m.reserved;
    cr_assert(m.reserved <= m.limit, "%lu above the limit of %lu", m.reserved, m.limit);
}

static inline void gone(uint64_t address, size_t size)
{
    unsigned at = 0;

    while (at < m.ranges && m.range[at].address != address)
        at++;
    cr_assert(at < m.ranges && m.range[at].size == size, "not a range that was added");
    cr_assert(!holds_blocks(&m.range[at]), "blocks in use were given back");
    m.range[at] = m.range[--m.ranges];
    m.reserved -= size;
}

static inline unsigned spare(bool all, unsigned capacity)
{
    uint64_t address[64];
    size_t size[64];
    unsigned n = xs_sub_spare(m.s, all, address, size, capacity);

    cr_assert(n <= capacity);
    for (unsigned i = 0; i < n; i++)
        gone(address[i], size[i]);
    return n;
}

static inline unsigned merge(unsigned capacity)
{
    uint64_t address[64];
    size_t size[64];
    unsigned n = xs_sub_merge(m.s, address, size, capacity);

    cr_assert(n <= capacity);
    for (unsigned i = 0; i < n; i++)
        gone(address[i], size[i]);
    return n;
}

static inline enum xs_sub_result alloc_once(size_t size, struct xs_sub_block *out)
{
    size_t want;

    for (unsigned tries = 0; tries < 200; tries++) {
        enum xs_sub_result r = xs_sub_alloc(m.s, size, out, &want);
        if (r == XS_SUB_OK)
            begins(out, size);
        if (r != XS_SUB_NEED)
            return r;
        cr_assert(want >= size);
        cr_assert(want <= m.limit - m.reserved, "%zu wanted above the limit", want);
        uint64_t address = driver_range(want);
        if (address == 0)
            m.refusals++;
        cr_assert(xs_sub_add(m.s, address, want));
        if (address != 0)
            held(address, want);
    }
    cr_assert(false, "%zu bytes: no end of ranges wanted", size);
    return XS_SUB_NONE;
}

/* As the real caller: what can be spared for it is. */
static inline bool take(size_t size, struct xs_sub_block *out)
{
    enum xs_sub_result r = alloc_once(size, out);

    if (r == XS_SUB_NONE && spare(false, 64) > 0)
        r = alloc_once(size, out);
    return r == XS_SUB_OK;
}

static inline void ends(unsigned i)
{
    m.in_use -= m.block[i].size;
    m.blocks--;
    memmove(&m.block[i], &m.block[i + 1], (m.blocks - i) * sizeof(m.block[0]));
}

/* More of what was just taken, of which the last ones are taken back at once. */
static inline unsigned take_more(size_t size, unsigned most, unsigned back)
{
    struct xs_sub_block b;
    unsigned n = xs_sub_alloc_more(m.s, size, most, &b);

    cr_assert(n <= most);
    for (unsigned i = 0; i < n; i++, b.address += b.size, b.handle++)
        begins(&b, size);
    back = back < n ? back : n;
    if (back == 0)
        return n;
    cr_assert(xs_sub_take_back(m.s, b.handle - back, back));
    for (unsigned i = 1; i <= back; i++)
        ends(block_from(b.address - i * b.size));
    cr_assert_not(xs_sub_take_back(m.s, b.handle - back, back), "they are gone");
    return n - back;
}

/* So many side by side, in one call. */
static inline void give_some(unsigned i, unsigned n)
{
    struct xs_sub_given given[64] = {0};

    for (unsigned k = 0; k < n; k++) {
        given[k] = (struct xs_sub_given){m.block[i].address, m.block[i].handle};
        ends(i);
    }
    xs_sub_free_all(m.s, given, n);
    for (unsigned k = 0; k < n; k++)
        cr_assert_eq(xs_sub_free(m.s, given[k].handle, given[k].address), EINVAL, "double free");
}

static inline void give(unsigned i)
{
    struct block b = m.block[i];

    cr_assert_eq(xs_sub_free(m.s, b.handle, b.address), 0);
    ends(i);
    cr_assert_eq(xs_sub_free(m.s, b.handle, b.address), EINVAL, "double free");
}

static inline void look(uint64_t address)
{
    struct xs_sub_block out;
    bool in_use;
    bool found = xs_sub_find(m.s, address, &out, &in_use);
    unsigned i = block_from(address + 1); /* the block around it is the one before */
    const struct block *b =
        i > 0 && address - m.block[i - 1].address < m.block[i - 1].size ? &m.block[i - 1] : NULL;

    if (b != NULL) {
        cr_assert(found && in_use);
        cr_assert_eq(out.address, b->address);
        cr_assert_eq(out.size, b->size);
        /* Of a run that is no more, it may be another one by now. */
        cr_assert(out.handle == b->handle || b->handle >> 31 != 0);
    } else if (found) {
        const struct range *r = range_around(address);
        cr_assert(!in_use && r != NULL);
        cr_assert(out.address >= r->address && out.address + out.size <= r->address + r->size);
        cr_assert(address - out.address < out.size);
        cr_assert(i == m.blocks || out.address + out.size <= m.block[i].address);
        cr_assert(i == 0 || m.block[i - 1].address + m.block[i - 1].size <= out.address);
    } else {
        const struct range *r = range_around(address);
        cr_assert(r == NULL || address - r->address < m.align ||
                      r->address + r->size - address <= m.unit,
                  "nothing found in a range");
    }
}

static inline void begin(struct xs_sub *s, bool pool, size_t align, size_t unit, uint64_t limit)
{
    m = (struct model){.s = s, .pool = pool, .align = align, .unit = unit};
    m.limit = limit != 0 || pool ? limit : UINT64_MAX;
    m.next = (uint64_t)0x7f << 40;
    m.driver_align = 512;
    m.driver_most = SIZE_MAX;
    cr_assert(s != NULL);
}

static inline struct xs_sub_pool_options pool_options(void)
{
    return (struct xs_sub_pool_options){.min_block = 1024,
                                        .max_block = (size_t)64 << 20,
                                        .align = 256,
                                        .growth = 2.0,
                                        .limit_bytes = (uint64_t)256 << 20,
                                        .class_blocks = 16};
}

static inline void begin_pool(const struct xs_sub_pool_options *o)
{
    size_t unit = o->min_block > o->align ? o->min_block : o->align;

    begin(xs_sub_pool_open(o), true, o->align, unit, o->limit_bytes);
}

static inline void begin_bfc(size_t unit, uint64_t initial, uint64_t limit)
{
    struct xs_sub_bfc_options o = {unit, initial, limit};

    begin(xs_sub_bfc_open(&o), false, unit, unit, limit);
}

static inline void end(void)
{
    while (m.blocks > 0)
        give(m.blocks - 1);
    check();
    cr_assert_eq(stats().stuck_bytes, 0u);
    while (spare(true, 64) > 0)
        check();
    cr_assert_eq(m.ranges, 0u);
    cr_assert_eq(stats().reserved_bytes, 0u);
    cr_assert_eq(stats().free_bytes, 0u);
    xs_sub_close(m.s);
}

#endif
