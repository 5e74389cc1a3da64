/* tests/fuzz/hardened_fuzz.c - the hardened core's calls against a model: blocks keep what was
 * written into them to their last byte, know their size, are aligned, come zeroed where that is
 * promised, and nothing of what is right is taken for misuse (which would end the process). The
 * profile is the mode.
 */
#include <errno.h>
#include <string.h>

#include "backend/hardened.h"
#include "tests/fuzz/fuzz.h"

#define BLOCKS 64u

const char fuzz_name[] = "hardened";
const unsigned fuzz_profiles = 5;
const unsigned fuzz_random_inputs = 100;

static const struct {
    const char *name;
    enum xs_hardened_mode mode;
    uint32_t guard_every;
    uint64_t quarantine_bytes;
} profiles[] = {
    {"check", XS_HARDENED_CHECK, 0, 0},
    {"full", XS_HARDENED_FULL, 0, 1 << 20},
    {"full, little waits", XS_HARDENED_FULL, 3, 4096},
    {"check and guards", XS_HARDENED_CHECK, 3, 0},
    {"guards alone", XS_HARDENED_OFF, 3, 0},
};

static uint64_t operations;
static unsigned chosen;
static const struct xs_calls *calls;

uint64_t fuzz_operations(void)
{
    return operations;
}

const char *fuzz_profile_name(unsigned profile)
{
    return profiles[profile].name;
}

void fuzz_set_profile(unsigned profile)
{
    chosen = profile;
}

static void open_once(void)
{
    const char *asked = getenv("XS_FUZZ_PROFILE");
    char mem[256];
    struct xs_buf why;
    struct xs_backend_options o = {.bfc.span = {.initial_bytes = 1 << 20,
                                                .allow_growth = true,
                                                .garbage_collection = true,
                                                .coalesce_on_free = true,
                                                .decay_ns = 1000000},
                                   .bfc.cache_bytes = 1 << 20};

    if (calls != NULL)
        return;
    if (asked != NULL)
        chosen = (unsigned)atoi(asked) % fuzz_profiles;
    xs_buf_init(&why, mem, sizeof(mem));
    FUZZ_CHECK(xs_hot_open(), "the hot page stays read-only");
    xs_hot.backend[XS_OWNER_BFC] = &xs_backend_hardened;
    xs_hot.hardened.mode = (uint8_t)profiles[chosen].mode;
    xs_hot.hardened.guard_every = profiles[chosen].guard_every;
    xs_hot.hardened.key = xs_hardened_key();
    o.quarantine_bytes = profiles[chosen].quarantine_bytes;
    FUZZ_CHECK(xs_backend_open(XS_OWNER_BFC, &o, &why) == 0, "cannot open: %s", why.at);
    calls = xs_backend_hardened.calls(true);
    xs_hot.step[0].owner = XS_OWNER_BFC;
    xs_hot.step[0].calls = calls;
}

static struct block {
    unsigned char *p;
    size_t size;
    unsigned char seed;
    enum xs_block_kind kind;
} blocks[BLOCKS];

static void fill(struct block *b, size_t from)
{
    for (size_t i = from; i < b->size; i++)
        b->p[i] = (unsigned char)(b->seed + i);
}

static void verify(const struct block *b, size_t size)
{
    for (size_t i = 0; i < size; i++)
        FUZZ_CHECK(b->p[i] == (unsigned char)(b->seed + i), "a block of %zu changed at %zu",
                   b->size, i);
}

/* Mostly small, some in the middle, a few large. */
static size_t size_of(struct fuzz_input *in)
{
    unsigned kind = fuzz_byte(in);
    size_t n = fuzz_two(in);

    if (kind < 160)
        return n % 300;
    if (kind < 230)
        return n % 10000;
    return kind < 250 ? n * 2 : n * 20;
}

static void made(struct block *b, void *p, size_t size, size_t align, unsigned seed)
{
    FUZZ_CHECK(p != NULL, "no memory for %zu", size);
    FUZZ_CHECK((uintptr_t)p % align == 0, "%zu at %p is not aligned to %zu", size, p, align);
    *b = (struct block){p, size, (unsigned char)seed, XS_BLOCK_MALLOC};
    size_t usable = xs_backend_hardened.usable_size(p);
    FUZZ_CHECK(profiles[chosen].mode == XS_HARDENED_OFF ? usable >= size : usable == size,
               "%zu may be used of %zu", usable, size);
    fill(b, 0);
}

static void allocate(struct block *b, unsigned what, struct fuzz_input *in)
{
    size_t size = size_of(in);
    size_t align = (size_t)32 << fuzz_byte(in) % 9;
    unsigned char *p;

    switch (what) {
    case 0:
        made(b, calls->malloc(size), size, 16, size & 0xFF);
        break;
    case 1:
        p = calls->zalloc(size);
        for (size_t i = 0; p != NULL && i < size; i++)
            FUZZ_CHECK(p[i] == 0, "not zero at %zu of %zu", i, size);
        made(b, p, size, 16, size & 0xFF);
        break;
    case 2:
        made(b, calls->memalign(align, size), size, align, size & 0xFF);
        break;
    default:
        made(b, xs_hardened_mark(calls->malloc(size), XS_BLOCK_NEW, 1), size, 16, size & 0xFF);
        b->kind = XS_BLOCK_NEW;
        break;
    }
}

static void release(struct block *b, bool sized)
{
    verify(b, b->size);
    errno = 42;
    if (b->kind == XS_BLOCK_MALLOC && !sized)
        calls->free(b->p);
    else
        xs_hardened_free(b->p, b->kind, sized ? b->size : SIZE_MAX, 1);
    FUZZ_CHECK(errno == 42, "free changed errno");
    b->p = NULL;
}

static void resize(struct block *b, size_t size)
{
    size_t kept = size < b->size ? size : b->size;
    unsigned char *p = calls->realloc(b->p, size);

    FUZZ_CHECK(p != NULL, "no memory for %zu", size);
    b->p = p;
    verify(b, kept);
    b->size = size;
    fill(b, kept);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input in = {data, size};

    open_once();
    while (in.left > 0) {
        unsigned what = fuzz_byte(&in);
        struct block *b = &blocks[fuzz_byte(&in) % BLOCKS];
        operations++;
        if (what == 255)
            (void)xs_backend_hardened.trim(0);
        else if (b->p == NULL)
            allocate(b, what % 4, &in);
        else if (what < 100 && b->kind == XS_BLOCK_MALLOC)
            resize(b, size_of(&in) + 1);
        else
            release(b, what % 2 == 0);
    }
    for (unsigned i = 0; i < BLOCKS; i++)
        if (blocks[i].p != NULL)
            release(&blocks[i], i % 2 == 0);
    return 0;
}
