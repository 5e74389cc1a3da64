#include "tests/fuzz/model.h"

#include <errno.h>
#include <string.h>

/* An errno that no call sets. */
#define ERRNO_MARK    4242

#define WHOLE_BYTES   ((size_t)8192) /* smaller blocks carry the pattern everywhere */
#define END_BYTES     ((size_t)256)
#define SAMPLE_BYTES  ((size_t)16)
#define SMALL_STEP    ((size_t)16384)
#define LARGE_STEP    ((size_t)65536)
#define LARGE_BYTES   ((size_t)1 << 20) /* from here on samples lie LARGE_STEP apart */
#define TOO_BIG_BYTES ((size_t)1 << 30) /* not kept: address space only */

/* ---- the pattern ------------------------------------------------------------------------- */

static uint64_t word_at(uint64_t seed, size_t index)
{
    return (seed + index) * 0x9e3779b97f4a7c15u | 1; /* never zero */
}

static void fill(unsigned char *p, size_t from, size_t to, uint64_t seed)
{
    for (size_t o = from; o < to;) {
        uint64_t word = word_at(seed, o / 8);
        if (o % 8 == 0 && to - o >= 8) {
            memcpy(p + o, &word, 8);
            o += 8;
        } else {
            p[o] = (unsigned char)(word >> o % 8 * 8);
            o++;
        }
    }
}

static size_t first_wrong(const unsigned char *p, size_t from, size_t to, uint64_t seed)
{
    for (size_t o = from; o < to;) {
        uint64_t word = word_at(seed, o / 8);
        if (o % 8 == 0 && to - o >= 8 && memcmp(p + o, &word, 8) == 0) {
            o += 8;
            continue;
        }
        if (p[o] != (unsigned char)(word >> o % 8 * 8))
            return o;
        o++;
    }
    return to;
}

static size_t first_not_zero(const unsigned char *p, size_t from, size_t to)
{
    for (size_t o = from; o < to; o++)
        if (p[o] != 0)
            return o;
    return to;
}

static size_t step_of(size_t usable)
{
    return usable < LARGE_BYTES ? SMALL_STEP : LARGE_STEP;
}

/* The parts of a block that carry the pattern, one after the other from `*n` = 0 on. Samples lie at
 * multiples of the step in memory, so that later blocks look at the same bytes. */
static bool next_part(size_t usable, size_t phase, size_t *n, size_t *from, size_t *to)
{
    size_t i = (*n)++;

    if (usable <= WHOLE_BYTES) {
        *from = 0;
        *to = usable;
        return i == 0;
    }
    if (i < 2) {
        *from = i == 0 ? 0 : usable - END_BYTES;
        *to = *from + END_BYTES;
        return true;
    }
    *from = phase + (i - 2) * step_of(usable);
    if (*from >= usable)
        return false;
    *to = usable - *from < SAMPLE_BYTES ? usable : *from + SAMPLE_BYTES;
    return true;
}

static void write_pattern(const struct model_block *b)
{
    size_t from;
    size_t to;

    for (size_t n = 0; next_part(b->usable, b->phase, &n, &from, &to);)
        fill(b->p, from, to, b->seed);
}

/* Of the block that `b` tells of, its first `kept` bytes, which now lie at `p`. */
static void check_pattern(const struct model_block *b, const unsigned char *p, size_t kept,
                          const char *when)
{
    size_t from;
    size_t to;

    for (size_t n = 0; next_part(b->usable, b->phase, &n, &from, &to);) {
        if (from >= kept)
            continue;
        to = to < kept ? to : kept;
        size_t wrong = first_wrong(p, from, to, b->seed);
        FUZZ_CHECK(wrong == to, "%s: byte %zu of a block of %zu (%zu) at %p has changed", when,
                   wrong, b->size, b->usable, (const void *)p);
    }
}

static void check_zero(const struct model_block *b)
{
    size_t from;
    size_t to;

    for (size_t n = 0; next_part(b->usable, b->phase, &n, &from, &to);) {
        if (from >= b->size)
            continue;
        to = to < b->size ? to : b->size;
        size_t wrong = first_not_zero(b->p, from, to);
        FUZZ_CHECK(wrong == to, "zalloc(%zu): byte %zu at %p is not zero", b->size, wrong,
                   (void *)b->p);
    }
}

/* ---- the live ranges --------------------------------------------------------------------- */

/* The first range that ends behind `at`. */
static unsigned find_range(const struct model *m, uintptr_t at)
{
    unsigned low = 0;
    unsigned high = m->live;

    while (low < high) {
        unsigned middle = (low + high) / 2;
        if (m->order[middle].end <= at)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void add_range(struct model *m, const unsigned char *p, size_t size)
{
    uintptr_t start = (uintptr_t)p;
    unsigned i = find_range(m, start);

    FUZZ_CHECK(i == m->live || start + size <= m->order[i].start,
               "a block of %zu at %p overlaps a live one from 0x%lx to 0x%lx", size,
               (const void *)p, (unsigned long)m->order[i].start, (unsigned long)m->order[i].end);
    memmove(&m->order[i + 1], &m->order[i], (m->live - i) * sizeof(m->order[0]));
    m->order[i] = (struct model_range){start, start + size};
    m->live++;
    m->live_bytes += size;
}

static void drop_range(struct model *m, const unsigned char *p, size_t size)
{
    unsigned i = find_range(m, (uintptr_t)p);

    FUZZ_CHECK(i < m->live && m->order[i].start == (uintptr_t)p, "the model has lost a block");
    memmove(&m->order[i], &m->order[i + 1], (m->live - i - 1) * sizeof(m->order[0]));
    m->live--;
    m->live_bytes -= size;
}

/* ---- the calls --------------------------------------------------------------------------- */

static void check_refusal(struct model *m, const char *call, size_t size, size_t align)
{
    int e = errno;
    struct xs_heap_stats s;

    m->refused++;
    FUZZ_CHECK(xs_heap_stats_get(&s, true), "no statistics");
    FUZZ_CHECK(s.failures > 0 && s.last_failure_bytes >= size && s.largest_failure_bytes >= size,
               "%s(%zu): a failure that is not counted", call, size);
    FUZZ_CHECK(e == ENOMEM, "%s(%zu): NULL with errno %d", call, size, e);
    FUZZ_CHECK(
        size > XS_SIZE_MAX_REQUEST || m->may_fail(m, size, align),
        "%s(%zu) aligned to %zu: NULL beside %u live blocks of %lu bytes; of %lu bytes reserved "
        "%lu are free, the largest %lu",
        call, size, align, m->live, (unsigned long)m->live_bytes,
        (unsigned long)s.bfc.reserved_bytes, (unsigned long)s.bfc.free_bytes,
        (unsigned long)s.bfc.largest_free_bytes);
}

/* What holds for every block that a call returned; false: it is too large to keep, and gone. */
static bool take(struct model *m, unsigned i, void *p, size_t size, size_t align, const char *call)
{
    struct model_block *b = &m->block[i];
    uint64_t seed = fuzz_mix(++m->seeds);
    bool asked = (seed & 256) != 0;
    size_t usable = asked ? xs_heap_usable_size(p) : size + (size == 0);

    if (align < 16)
        align = 16;
    FUZZ_CHECK(size <= XS_SIZE_MAX_REQUEST, "%s(%zu) returned a block", call, size);
    FUZZ_CHECK(((uintptr_t)p & (align - 1)) == 0, "%s(%zu): %p is not aligned to %zu", call, size,
               p, align);
    FUZZ_CHECK(usable >= size && usable > 0, "%s(%zu): usable size %zu", call, size, usable);
    FUZZ_CHECK(xs_heap_owns(p), "%s(%zu): %p is not owned", call, size, p);
    *b = (struct model_block){.p = p,
                              .size = size,
                              .usable = usable,
                              .asked = asked,
                              .seed = seed,
                              .phase = -(uintptr_t)p & (step_of(usable) - 1)};
    add_range(m, p, usable);
    if (usable < TOO_BIG_BYTES)
        return true;
    b->p[0] = 1;
    b->p[size - 1] = 1;
    drop_range(m, p, usable);
    b->p = NULL;
    FUZZ_CHECK(xs_heap_free(p), "free(%p) of %zu bytes refused", p, size);
    return false;
}

static bool too_much(const struct model *m, size_t size, size_t align)
{
    return size < TOO_BIG_BYTES && align < TOO_BIG_BYTES &&
           m->live_bytes + size + align > m->live_max_bytes;
}

bool model_memalign(struct model *m, unsigned i, size_t align, size_t size)
{
    model_free(m, i);
    if (too_much(m, size, align))
        return false;
    m->calls++;
    errno = ERRNO_MARK;
    void *p = xs_heap_memalign(align, size);
    if (p == NULL) {
        check_refusal(m, "memalign", size, align);
        return false;
    }
    if (!take(m, i, p, size, align, "memalign"))
        return false;
    write_pattern(&m->block[i]);
    return true;
}

bool model_malloc(struct model *m, unsigned i, size_t size)
{
    model_free(m, i);
    if (too_much(m, size, 0))
        return false;
    m->calls++;
    errno = ERRNO_MARK;
    void *p = xs_heap_malloc(size);
    if (p == NULL) {
        check_refusal(m, "malloc", size, 0);
        return false;
    }
    if (!take(m, i, p, size, 0, "malloc"))
        return false;
    write_pattern(&m->block[i]);
    return true;
}

bool model_zalloc(struct model *m, unsigned i, size_t size)
{
    model_free(m, i);
    if (too_much(m, size, 0))
        return false;
    m->calls++;
    errno = ERRNO_MARK;
    void *p = xs_heap_zalloc(size);
    if (p == NULL) {
        check_refusal(m, "zalloc", size, 0);
        return false;
    }
    if (!take(m, i, p, size, 0, "zalloc"))
        return false;
    check_zero(&m->block[i]);
    write_pattern(&m->block[i]);
    return true;
}

bool model_realloc(struct model *m, unsigned i, size_t size)
{
    struct model_block old = m->block[i];

    if (old.p == NULL)
        return model_malloc(m, i, size);
    if (size == 0)
        size = 1; /* the caller's to settle */
    if (too_much(m, size, 0))
        return false;
    check_pattern(&old, old.p, old.usable, "before realloc");
    m->calls++;
    errno = ERRNO_MARK;
    void *p = xs_heap_realloc(old.p, size);
    if (p == NULL) {
        check_refusal(m, "realloc", size, 0);
        check_pattern(&old, old.p, old.usable, "after a realloc that failed");
        FUZZ_CHECK(!old.asked || xs_heap_usable_size(old.p) == old.usable,
                   "a realloc that failed changed %p", (void *)old.p);
        return false;
    }
    drop_range(m, old.p, old.usable);
    check_pattern(&old, p, old.usable < size ? old.usable : size, "after realloc");
    if (!take(m, i, p, size, 0, "realloc"))
        return false;
    write_pattern(&m->block[i]);
    return true;
}

static size_t ask_usable(const struct model_block *b)
{
    size_t usable = xs_heap_usable_size(b->p);

    FUZZ_CHECK(b->asked ? usable == b->usable : usable >= b->usable,
               "usable size of %p was %zu, is %zu", (void *)b->p, b->usable, usable);
    return usable;
}

static void look(const struct model_block *b)
{
    if (b->asked)
        (void)ask_usable(b);
    FUZZ_CHECK(xs_heap_owns(b->p), "%p is not owned any more", (void *)b->p);
    check_pattern(b, b->p, b->usable, "while live");
}

void model_look(struct model *m, unsigned i)
{
    if (m->block[i].p == NULL)
        return;
    look(&m->block[i]);
    (void)ask_usable(&m->block[i]);
}

void model_free(struct model *m, unsigned i)
{
    struct model_block *b = &m->block[i];

    if (b->p == NULL)
        return;
    look(b);
    m->calls++;
    errno = ERRNO_MARK;
    bool known = xs_heap_free(b->p);
    int e = errno;
    FUZZ_CHECK(known, "free(%p) of %zu bytes refused", (void *)b->p, b->size);
    FUZZ_CHECK(e == ERRNO_MARK, "free changed errno to %d", e);
    drop_range(m, b->p, b->usable);
    b->p = NULL;
}

unsigned model_filled(const struct model *m, unsigned i)
{
    if (m->live == 0)
        return MODEL_BLOCKS;
    i %= MODEL_BLOCKS;
    while (m->block[i].p == NULL)
        i = (i + 1) % MODEL_BLOCKS;
    return i;
}

static void refuse(const void *p)
{
    errno = ERRNO_MARK;
    FUZZ_CHECK(!xs_heap_owns(p), "foreign pointer %p is owned", p);
    FUZZ_CHECK(!xs_heap_free((void *)p), "free of the foreign pointer %p was taken", p);
    FUZZ_CHECK(errno == ERRNO_MARK, "free of a foreign pointer changed errno");
}

void model_foreign(uint64_t seed)
{
    static char fixed[64];
    static char *gone; /* glibc's, kept so that the address stays foreign */
    char here[64];

    if (gone == NULL)
        gone = malloc(5000);
    refuse(NULL);
    refuse(fixed + seed % 64);
    refuse(here + seed % 64);
    refuse(gone + seed % 5000);
    refuse((const void *)&model_foreign);
    refuse((const void *)(uintptr_t)(seed % 65536));                  /* the zero page */
    refuse((const void *)(uintptr_t)(seed | (uint64_t)1 << 63));      /* the kernel's */
    refuse((const void *)(uintptr_t)((seed | 1) << 48 | seed >> 17)); /* nobody's */
    refuse((const void *)UINTPTR_MAX);
}

void model_check(void)
{
    XS_BUF(why, 256);

    FUZZ_CHECK(xs_heap_check(&why), "heap check: %s", why.at);
}

void model_stats(const struct model *m, uint64_t limit_bytes, bool exact)
{
    struct xs_heap_stats s;
    uint64_t usable = 0;

    for (unsigned i = 0; i < MODEL_BLOCKS; i++)
        if (m->block[i].p != NULL)
            usable += ask_usable(&m->block[i]);
    FUZZ_CHECK(xs_heap_stats_get(&s, true), "no statistics");
    FUZZ_CHECK(s.in_use_bytes == usable || (!exact && s.in_use_bytes > usable),
               "%lu bytes in use by the statistics, %lu in fact", (unsigned long)s.in_use_bytes,
               (unsigned long)usable);
    FUZZ_CHECK(limit_bytes == 0 || s.bfc.reserved_peak_bytes <= limit_bytes,
               "%lu bytes reserved over the limit of %lu", (unsigned long)s.bfc.reserved_peak_bytes,
               (unsigned long)limit_bytes);
    FUZZ_CHECK(s.bfc.reserved_bytes == s.bfc.in_use_bytes + s.bfc.free_bytes,
               "reserved bytes are not those in use and free");
    FUZZ_CHECK(s.in_use_bytes <= s.bfc.in_use_bytes, "more in use than taken from the BFC");
    FUZZ_CHECK(s.failures == 0 || s.largest_failure_bytes >= s.last_failure_bytes,
               "the last failure is larger than the largest");
}
