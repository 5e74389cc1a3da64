/* tests/fuzz/bfc_fuzz.c - core/bfc.h over addresses without memory behind them, as a device's are,
 * under any options and any sequence of calls, against a map of what each address is.
 */
#include <errno.h>
#include <string.h>

#include "base/align.h"
#include "core/bfc_record.h"
#include "tests/fuzz/fuzz.h"
#include "tests/support/bfc_purge.h"

const char fuzz_name[] = "bfc";
const unsigned fuzz_profiles = 1;
const unsigned fuzz_random_inputs = 4000;

#define SLOTS          8192u /* more than a block of records describes */
#define OPERATIONS_MAX 3000u
#define SPACE_START    ((uintptr_t)1 << 32)
#define SPACE_END      ((uintptr_t)1 << 46)
#define MAP_MAX_BYTES  ((size_t)1 << 44) /* the fake system has no more at once */
#define REGIONS        4096u
#define RANGES         (8 * SLOTS)

/* ---- what each address is ----------------------------------------------------------------- */

#define LIVE UINT64_MAX /* else the date when it was freed */

/* Disjoint, rising. What lies in none was never used, or was purged since. */
static struct range {
    uintptr_t start;
    uintptr_t end;
    uint64_t state;
} range[RANGES];
static unsigned ranges;

/* The first that ends behind `at`. */
static unsigned range_at(uintptr_t at)
{
    unsigned low = 0;
    unsigned high = ranges;

    while (low < high) {
        unsigned middle = (low + high) / 2;
        if (range[middle].end <= at)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void range_insert(unsigned i, struct range r)
{
    FUZZ_CHECK(ranges < RANGES, "the model is full");
    memmove(&range[i + 1], &range[i], (ranges - i) * sizeof(range[0]));
    range[i] = r;
    ranges++;
}

/* Nothing is known of the addresses any more: as fresh. */
static void range_forget(uintptr_t start, uintptr_t end)
{
    unsigned i = range_at(start);

    if (i < ranges && range[i].start < start) {
        struct range head = {range[i].start, start, range[i].state};
        range[i].start = start;
        range_insert(i++, head);
    }
    unsigned last = i;
    while (last < ranges && range[last].end <= end)
        last++;
    memmove(&range[i], &range[last], (ranges - last) * sizeof(range[0]));
    ranges -= last - i;
    if (i < ranges && range[i].start < end)
        range[i].start = end;
}

static void range_set(uintptr_t start, uintptr_t end, uint64_t state)
{
    range_forget(start, end);
    range_insert(range_at(start), (struct range){start, end, state});
}

/* No address of the range is live. Its date is no business of this: joined chunks share one
 * (tests/unit/test_bfc.c knows the rule). */
static void range_is_free(uintptr_t start, uintptr_t end, const char *what)
{
    for (unsigned i = range_at(start); i < ranges && range[i].start < end; i++) {
        FUZZ_CHECK(range[i].state != LIVE, "%s from 0x%lx to 0x%lx hits a live chunk at 0x%lx",
                   what, (unsigned long)start, (unsigned long)end, (unsigned long)range[i].start);
    }
}

/* ---- the supplier ------------------------------------------------------------------------- */

static struct {
    struct {
        uintptr_t start;
        uintptr_t end;
    } region[REGIONS]; /* rising; those that are there */
    unsigned regions;
    uintptr_t next;
    size_t gap; /* between regions; 0: they touch */
    uint64_t mapped;
    unsigned record_maps;
    unsigned map_calls;
    unsigned fail_maps; /* so many calls in a row give nothing */
    unsigned fail_records;
    bool failed; /* one did, in the call that goes on */
    uint64_t until;
    bool is_closing;
    bool keeps_memory; /* locked memory does not go */
} system_;

static struct xs_bfc b;

static void *map(void *ctx, size_t size, size_t align)
{
    FUZZ_CHECK(ctx == &system_, "the context is lost");
    FUZZ_CHECK(size > 0 && size % b.options.unit == 0, "map(%zu)", size);
    FUZZ_CHECK(xs_is_pow2(align) && align >= b.options.unit, "map at %zu", align);
    FUZZ_CHECK(b.options.limit_bytes == 0 || system_.mapped + size <= b.options.limit_bytes,
               "map(%zu) beside %lu breaks the limit of %lu", size, (unsigned long)system_.mapped,
               (unsigned long)b.options.limit_bytes);
    if (!b.options.allow_growth) {
        size_t all = xs_align_down(b.options.limit_bytes, b.options.unit);
        FUZZ_CHECK(system_.regions == 0, "grown although told not to");
        FUZZ_CHECK(system_.failed || b.options.limit_bytes == 0 || size == all,
                   "one region of %zu instead of the limit of %zu", size, all);
    }
    system_.map_calls++;
    if (system_.fail_maps > 0) {
        system_.fail_maps--;
        system_.failed = true;
        return NULL;
    }
    if (size > MAP_MAX_BYTES || align > MAP_MAX_BYTES || system_.regions == REGIONS) {
        system_.failed = true;
        return NULL;
    }
    uintptr_t p = xs_align_up(system_.next, align);
    if (p + size > SPACE_END) {
        system_.failed = true;
        return NULL;
    }
    system_.next = p + size + system_.gap;
    system_.mapped += size;
    system_.region[system_.regions].start = p;
    system_.region[system_.regions].end = p + size;
    system_.regions++;
    return (void *)p;
}

static void unmap(void *ctx, void *p, size_t size)
{
    uintptr_t start = (uintptr_t)p;
    unsigned i = 0;

    FUZZ_CHECK(ctx == &system_, "the context is lost");
    while (i < system_.regions && system_.region[i].start != start)
        i++;
    FUZZ_CHECK(i < system_.regions && system_.region[i].end == start + size,
               "unmap(0x%lx, %zu) is no region", (unsigned long)start, size);
    memmove(&system_.region[i], &system_.region[i + 1],
            (system_.regions - i - 1) * sizeof(system_.region[0]));
    system_.regions--;
    system_.mapped -= size;
    if (!system_.is_closing)
        range_is_free(start, start + size, "unmap");
    range_forget(start, start + size);
    /* The last region's addresses are used again. */
    if (system_.next == start + size + system_.gap)
        system_.next = start;
}

/* Index of the region that holds the range. */
static unsigned region_of(uintptr_t start, uintptr_t end, const char *what)
{
    for (unsigned i = 0; i < system_.regions; i++)
        if (start >= system_.region[i].start && start < system_.region[i].end) {
            FUZZ_CHECK(end <= system_.region[i].end, "%s reaches over the end of a region", what);
            return i;
        }
    FUZZ_FAIL("%s at 0x%lx lies in no region", what, (unsigned long)start);
}

static uint64_t purged;

static bool purge(void *p, size_t size)
{
    uintptr_t start = (uintptr_t)p;

    (void)region_of(start, start + size, "purge");
    range_is_free(start, start + size, "purge");
    if (system_.keeps_memory)
        return false;
    range_forget(start, start + size);
    purged += size;
    return true;
}

static void *map_records(void *ctx, size_t size)
{
    FUZZ_CHECK(ctx == &system_, "the context is lost");
    if (system_.fail_records > 0) {
        system_.fail_records--;
        system_.failed = true;
        return NULL;
    }
    system_.record_maps++;
    return calloc(1, size);
}

static void unmap_records(void *ctx, void *p, size_t size)
{
    FUZZ_CHECK(ctx == &system_, "the context is lost");
    (void)size;
    system_.record_maps--;
    free(p);
}

/* ---- the chunks --------------------------------------------------------------------------- */

static struct slot {
    xs_chunk c;
    uintptr_t at;
    size_t size;
    size_t requested;
} slot[SLOTS];

static uint64_t operations;
static uint64_t now;
static uint64_t failures;
static uint64_t in_use_bytes;
static uint64_t requested_bytes;
static unsigned chunks;
static xs_chunk stale; /* freed some time ago, perhaps in use again */

uint64_t fuzz_operations(void)
{
    return operations;
}

const char *fuzz_profile_name(unsigned profile)
{
    (void)profile;
    return "options of the input";
}

void fuzz_set_profile(unsigned profile)
{
    (void)profile;
}

static size_t any_size(struct fuzz_input *in)
{
    unsigned kind = fuzz_byte(in) % 32;
    size_t v = fuzz_two(in);

    if (kind < 8)
        return v;
    if (kind < 14)
        return (v % 64 + 1) * b.options.unit - v / 64 % 3;
    if (kind < 20)
        return (v + 1) << 8;
    if (kind < 24)
        return (v + 1) << 12;
    if (kind < 27)
        return ((size_t)1 << v % 32) + v / 32 % 3 - 1;
    if (kind < 29) {
        /* Exactly what there is, or one less or more. */
        struct xs_bfc_stats s;
        xs_bfc_stats_get(&b, &s);
        return (size_t)s.largest_free_bytes + v % 3 - 1;
    }
    if (kind == 29)
        return (v + 1) << 24;
    if (kind == 30)
        return ((size_t)1 << (32 + v % 32)) - v / 32 % 3;
    return v % 2 != 0 ? (size_t)PTRDIFF_MAX - v : SIZE_MAX - v;
}

static size_t any_align(struct fuzz_input *in)
{
    unsigned v = fuzz_byte(in);

    if (v < 96)
        return 0;
    return (size_t)1 << (v < 250 ? v % 25 : v % 64);
}

struct gaps {
    uint64_t free;
    uint64_t largest;
};

/* What is free, from the map of live addresses. */
static struct gaps find_gaps(void)
{
    struct gaps g = {0, 0};

    for (unsigned r = 0; r < system_.regions; r++) {
        uintptr_t at = system_.region[r].start;
        uintptr_t end = system_.region[r].end;
        for (unsigned i = range_at(at); at < end; i++) {
            if (i < ranges && range[i].start < end && range[i].state != LIVE)
                continue;
            uintptr_t stop = i < ranges && range[i].start < end ? range[i].start : end;
            g.free += stop - at;
            if (stop - at > g.largest)
                g.largest = stop - at;
            at = stop < end ? range[i].end : end;
        }
    }
    return g;
}

/* A request for which a hole, or room for a region, is certainly there must not fail. */
static void check_refusal(size_t size, size_t align)
{
    size_t unit = b.options.unit;
    struct gaps g = find_gaps();

    failures++;
    if (system_.failed || size == 0 || size > MAP_MAX_BYTES || align > MAP_MAX_BYTES)
        return;
    if (align < unit)
        align = unit;
    uint64_t need = xs_align_up(size, unit) + align - unit;
    /* From the next bin on every chunk fits. */
    FUZZ_CHECK(g.largest < need + need / 16 + 2 * unit,
               "alloc(%zu, %zu) failed beside a hole of %lu", size, align,
               (unsigned long)g.largest);
    if (!b.options.allow_growth && system_.regions > 0)
        return;
    /* Without growth and limit the one region is of the initial size. */
    if (!b.options.allow_growth && b.options.limit_bytes == 0 &&
        xs_align_up(size, unit) > xs_align_up(b.options.initial_bytes, unit))
        return;
    uint64_t limit = b.options.limit_bytes / unit * unit;
    FUZZ_CHECK(b.options.limit_bytes != 0 && system_.mapped + need > limit,
               "alloc(%zu, %zu) failed with room for a region", size, align);
}

static void alloc(struct slot *s, size_t size, size_t align)
{
    uint64_t steps = b.steps;

    system_.failed = false;
    system_.until = UINT64_MAX; /* collection under pressure takes all */
    struct xs_bfc_taken taken = {0};
    xs_chunk c = xs_bfc_take(&b, size, align, XS_BFC_ANY, &taken) ? taken.chunk : 0;
    /* The whole of a bin is searched only when no region can be had. */
    bool may_search =
        system_.failed || !b.options.allow_growth || b.options.limit_bytes != 0 || c == 0;
    if (b.options.coalesce_on_free && !may_search)
        FUZZ_CHECK(b.steps - steps <= 2 * XS_BFC_PROBES + 2, "alloc took %lu steps",
                   (unsigned long)(b.steps - steps));
    if (c == 0) {
        check_refusal(size, align);
        return;
    }
    *s = (struct slot){c, (uintptr_t)xs_bfc_address(&b, c), xs_bfc_size(&b, c), size};
    FUZZ_CHECK(bfc_in_use(&b, c) && taken.p == xs_bfc_address(&b, c),
               "a fresh chunk is not in use, or elsewhere");
    FUZZ_CHECK(s->size >= size && s->size % b.options.unit == 0, "alloc(%zu) got %zu", size,
               s->size);
    FUZZ_CHECK(b.options.fragmentation_permille != 0 ||
                   s->size == xs_align_up(size, b.options.unit),
               "alloc(%zu) got %zu, more than it needs", size, s->size);
    FUZZ_CHECK(s->at % b.options.unit == 0 && (align == 0 || s->at % align == 0),
               "0x%lx is not aligned to %zu", (unsigned long)s->at, align);
    (void)region_of(s->at, s->at + s->size, "chunk");
    range_is_free(s->at, s->at + s->size, "alloc");
    unsigned dirty = range_at(s->at);
    FUZZ_CHECK(!taken.is_zero || dirty == ranges || range[dirty].start >= s->at + s->size,
               "a chunk at 0x%lx is called zeroed, but was used", (unsigned long)s->at);
    range_set(s->at, s->at + s->size, LIVE);
    in_use_bytes += s->size;
    requested_bytes += size;
    chunks++;
}

static void release(struct slot *s)
{
    uint64_t steps = b.steps;
    int rc = xs_bfc_free(&b, s->c, now);

    FUZZ_CHECK(rc == 0, "free of a live chunk: %d", rc);
    FUZZ_CHECK(b.steps - steps <= 2, "free took %lu steps", (unsigned long)(b.steps - steps));
    range_set(s->at, s->at + s->size, now);
    in_use_bytes -= s->size;
    requested_bytes -= s->requested;
    chunks--;
    stale = s->c;
    s->c = 0;
}

static void resize(struct slot *s, size_t size)
{
    bool done = xs_bfc_resize(&b, s->c, size, now);
    size_t got = xs_bfc_size(&b, s->c);

    FUZZ_CHECK((uintptr_t)xs_bfc_address(&b, s->c) == s->at, "resize moved a chunk");
    if (!done) {
        FUZZ_CHECK(got == s->size, "a resize that failed changed the size");
        FUZZ_CHECK(size == 0 || size > s->size || system_.fail_records > 0 || system_.failed,
                   "resize from %zu to %zu failed", s->size, size);
        return;
    }
    FUZZ_CHECK(got >= size && got % b.options.unit == 0, "resize to %zu got %zu", size, got);
    (void)region_of(s->at, s->at + got, "resized chunk");
    if (got > s->size)
        range_is_free(s->at + s->size, s->at + got, "resize");
    range_set(s->at, s->at + s->size, now); /* a tail that it lost */
    range_set(s->at, s->at + got, LIVE);
    in_use_bytes += got - s->size;
    requested_bytes += size - s->requested;
    s->size = got;
    s->requested = size;
}

/* A number that is no live chunk's is refused and changes nothing. */
static void wrong_chunk(xs_chunk c)
{
    for (unsigned i = 0; i < SLOTS; i++)
        if (slot[i].c == c && c != 0)
            return;
    FUZZ_CHECK(!bfc_in_use(&b, c), "chunk %u is in use", c);
    int rc = xs_bfc_free(&b, c, now);
    FUZZ_CHECK(rc == EINVAL, "free of chunk %u, which is none: %d", c, rc);
    FUZZ_CHECK(!xs_bfc_resize(&b, c, 1, now), "resize of chunk %u, which is none", c);
}

static void check(void)
{
    struct xs_bfc_stats s;
    uint64_t by_size[XS_BFC_FREE_SIZES] = {0};
    uint64_t sum = 0;
    struct gaps g = find_gaps();
    XS_BUF(why, 256);

    FUZZ_CHECK(xs_bfc_check(&b, &why), "bfc check: %s", why.at);
    xs_bfc_stats_get(&b, &s);
    FUZZ_CHECK(s.in_use_bytes == in_use_bytes && s.chunks_in_use == chunks &&
                   s.requested_bytes == requested_bytes,
               "statistics of what is in use are wrong");
    FUZZ_CHECK(s.reserved_bytes == system_.mapped && s.regions == system_.regions,
               "statistics of the regions are wrong");
    FUZZ_CHECK(s.free_bytes == g.free, "%lu bytes free by the statistics, %lu in fact",
               (unsigned long)s.free_bytes, (unsigned long)g.free);
    FUZZ_CHECK(b.options.coalesce_on_free ? s.largest_free_bytes == g.largest
                                          : s.largest_free_bytes <= g.largest,
               "largest free chunk %lu by the statistics, %lu in fact",
               (unsigned long)s.largest_free_bytes, (unsigned long)g.largest);
    FUZZ_CHECK(s.failures == failures && s.allocations - s.frees == chunks,
               "statistics of the calls are wrong");
    FUZZ_CHECK(s.purged_bytes <= s.free_bytes && s.in_use_peak_bytes >= s.in_use_bytes &&
                   s.fragmentation >= 0 && s.fragmentation < 1,
               "statistics contradict each other");
    xs_bfc_free_by_size(&b, by_size);
    for (unsigned i = 0; i < XS_BFC_FREE_SIZES; i++)
        sum += by_size[i];
    FUZZ_CHECK(sum == s.free_bytes, "the bins do not add up");
}

static void step(struct fuzz_input *in)
{
    unsigned code = fuzz_byte(in);
    struct slot *s;

    now += code / 64;
    switch (code % 16) {
    default: /* 0 to 5 */
        s = &slot[fuzz_byte(in) * 8];
        if (s->c != 0)
            release(s);
        size_t size = any_size(in);
        alloc(s, size, any_align(in));
        break;
    case 6:
    case 7:
    case 8:
        s = &slot[fuzz_byte(in) * 8];
        if (s->c != 0)
            release(s);
        break;
    case 9:
    case 10:
        s = &slot[fuzz_byte(in) * 8];
        system_.failed = false;
        if (s->c != 0)
            resize(s, any_size(in));
        break;
    case 11: { /* many of one size, and a hole in each so many */
        unsigned first = fuzz_byte(in);
        unsigned count = fuzz_byte(in);
        unsigned keep = fuzz_byte(in) % 8;
        size_t each = any_size(in);
        count = count < 240 ? count % 128 : (count - 238) * 128;
        for (unsigned k = 0; k < count; k++) {
            s = &slot[(first * 32 + k) % SLOTS];
            if (s->c == 0)
                alloc(s, each, 0);
        }
        for (unsigned k = 0; k < count && keep != 0; k++) {
            s = &slot[(first * 32 + k) % SLOTS];
            if (s->c != 0 && k % keep == 0)
                release(s);
        }
        break;
    }
    case 12: {
        uint64_t age = fuzz_byte(in);
        purged = 0;
        system_.until = now > age ? now - age : 0;
        size_t bytes = bfc_purge(&b, system_.until, now + 1, purge);
        FUZZ_CHECK(bytes == purged, "purge says %zu, was %lu", bytes, (unsigned long)purged);
        break;
    }
    case 13: {
        uint64_t age = fuzz_byte(in);
        uint64_t before = system_.mapped;
        system_.until = now > age ? now - age : 0;
        size_t bytes = xs_bfc_collect(&b, system_.until);
        FUZZ_CHECK(bytes == before - system_.mapped, "collect says %zu, was %lu", bytes,
                   (unsigned long)(before - system_.mapped));
        break;
    }
    case 14:
        wrong_chunk(stale);
        wrong_chunk(fuzz_two(in));
        wrong_chunk(UINT32_MAX - fuzz_byte(in));
        break;
    case 15: {
        unsigned what = fuzz_byte(in);
        if (what % 8 < 4)
            system_.fail_maps = what / 8 % 4;
        else
            system_.fail_records = what / 8 % 4;
        break;
    }
    }
}

static struct xs_bfc_options any_options(struct fuzz_input *in)
{
    unsigned flags = fuzz_byte(in);
    unsigned limit = fuzz_byte(in);

    return (struct xs_bfc_options){
        .unit = (size_t)1 << fuzz_byte(in) % 17,
        .initial_bytes = (size_t)1 << fuzz_byte(in) % 27,
        .region_max_bytes = (size_t)1 << fuzz_byte(in) % 41,
        .limit_bytes = limit < 128 ? 0 : ((uint64_t)limit << 16) + limit,
        .allow_growth = (flags & 7) != 0,
        .garbage_collection = (flags & 8) != 0,
        .coalesce_on_free = (flags & 48) != 0,
        .fragmentation_permille = flags & 64 ? fuzz_byte(in) * 4u : 0,
    };
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input in = {data, size};
    unsigned first = fuzz_byte(&in);
    unsigned check_every = 1u << first % 4;
    struct xs_bfc_ops ops = {map, unmap, map_records, unmap_records, &system_};
    struct xs_bfc_options o = any_options(&in);

    memset(&system_, 0, sizeof(system_));
    memset(&b, 0, sizeof(b));
    memset(slot, 0, sizeof(slot));
    ranges = 0;
    failures = in_use_bytes = requested_bytes = 0;
    chunks = 0;
    now = 0;
    stale = 0;
    system_.next = SPACE_START;
    system_.gap = first & 16 ? 0 : (size_t)1 << 20;
    system_.keeps_memory = (first & 32) != 0;
    /* What makes no sense is refused, and nothing is left of it. */
    struct xs_bfc_options wrong = o;
    wrong.unit = o.unit * 3;
    FUZZ_CHECK(xs_bfc_open(&b, &wrong, &ops) == EINVAL, "a unit of %zu was taken", wrong.unit);
    FUZZ_CHECK(o.fragmentation_permille <= 1000 || xs_bfc_open(&b, &o, &ops) == EINVAL,
               "%u permille were taken", o.fragmentation_permille);
    if (o.fragmentation_permille > 1000)
        o.fragmentation_permille = 1000;
    FUZZ_CHECK(xs_bfc_open(&b, &o, &ops) == 0, "xs_bfc_open failed");

    for (unsigned n = 0; in.left > 0 && n < OPERATIONS_MAX; n++) {
        step(&in);
        operations++;
        if (n % check_every == 0)
            check();
    }
    check();
    for (unsigned i = 0; i < SLOTS; i++)
        if (slot[i].c != 0 && (first & 64) != 0)
            release(&slot[i]);
    check();
    if (first & 64) {
        system_.until = UINT64_MAX;
        (void)xs_bfc_collect(&b, UINT64_MAX);
        FUZZ_CHECK(system_.regions == 0, "all is free, but %u regions stay", system_.regions);
        check();
    }
    system_.is_closing = true;
    xs_bfc_close(&b);
    FUZZ_CHECK(system_.regions == 0 && system_.record_maps == 0, "close leaves something behind");
    return 0;
}
