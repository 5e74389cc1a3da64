/* What misuse is told as. All of it runs once in a process. */
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "backend/hardened_block.h"
#include "backend/stacks.h"
#include "sample/sample.h"
#include "sample/walk.h"
#include "sys/backtrace.h"
#include "sys/io.h"

const char xs_free_names[XS_BLOCK_KINDS][XS_FREE_NAME_MOST] = {
    "free", "delete", "delete[]", "aligned delete", "aligned delete[]"};
static const char made_by[XS_BLOCK_KINDS][16] = {"malloc", "new", "new[]", "aligned new",
                                                 "aligned new[]"};

static void put_frames(struct xs_buf *b, const char *label, const uintptr_t pc[], unsigned n)
{
    if (n == 0)
        return;
    xs_fmt(b, "xsigma:   %s by\n", label);
    for (unsigned i = 0; i < n; i++) {
        xs_fmt(b, "xsigma:     #%u ", i);
        xs_backtrace_name(b, pc[i]);
        xs_put_char(b, '\n');
    }
}

static void put_place(struct xs_buf *b, const char *label, uint64_t place, bool is_stack)
{
    uintptr_t pc[XS_STACK_FRAMES] = {(uintptr_t)place};

    put_frames(b, label, pc, is_stack ? xs_stacks_get((uint32_t)place, pc) : place != 0);
}

void xs_hardened_tell(const char *what, const void *p, const struct xs_story *s,
                      const uintptr_t found[], unsigned n)
{
    XS_UNLIKELY_DATA static char text[8192]; /* a handler's stack may be small */
    struct xs_buf b;

    xs_buf_init(&b, text, sizeof(text));
    xs_fmt(&b, "xsigma: %s: 0x%lx\n", what, (unsigned long)(uintptr_t)p);
    if (s->size != XS_UNKNOWN)
        xs_fmt(&b, "xsigma:   a block of %lu bytes from %s\n", (unsigned long)s->size,
               made_by[s->kind]);
    put_frames(&b, "found in a call", found, n);
    put_place(&b, "allocated", s->allocated, s->has_stacks);
    put_place(&b, "freed", s->freed, s->has_stacks);
    int fd = xs_io_stderr();
    if (fd >= 0)
        (void)xs_io_write(fd, b.at, b.len);
}

void xs_hardened_die(const char *what, const void *p, const struct xs_story *s, uintptr_t pc)
{
    uintptr_t found[XS_STACK_FRAMES] = {pc};
    unsigned n = pc != 0;

    if (pc != 0) {
        xs_sample_stack_open();
        n = xs_sample_stack(found, XS_STACK_FRAMES);
        if (n == 0 && xs_backtrace_open(false))
            n = xs_backtrace(found, XS_STACK_FRAMES);
        if (n == 0)
            found[n++] = pc;
    }
    xs_hardened_tell(what, p, s, found, n);
    abort();
}

/* The whole in one line. */
static void warn(const char *what, const void *p, const struct xs_story *s, uintptr_t pc)
{
    uintptr_t made[XS_STACK_FRAMES] = {(uintptr_t)s->allocated};
    unsigned n = s->has_stacks ? xs_stacks_get((uint32_t)s->allocated, made) : s->allocated != 0;
    XS_BUF(b, 560);

    xs_fmt(&b, "%s: 0x%lx, %lu bytes", what, (unsigned long)(uintptr_t)p, (unsigned long)s->size);
    if (n != 0) {
        xs_put_str(&b, ", allocated by ");
        xs_backtrace_name(&b, made[0]);
    }
    if (pc != 0) {
        xs_put_str(&b, ", found in a call by ");
        xs_backtrace_name(&b, pc);
    }
    xs_put_str(&b, "; going on (XSIGMA_CPU_MISMATCH)");
    xs_hot.hardened.warn(b.at);
}

static void mismatch(const char *what, const void *p, const struct xs_story *s, uintptr_t pc)
{
    static atomic_bool said;

    if (xs_hot.hardened.mismatch == XS_MISMATCH_END)
        xs_hardened_die(what, p, s, pc);
    if (xs_hot.hardened.mismatch == XS_MISMATCH_WARN && xs_hot.hardened.warn != NULL &&
        !atomic_exchange_explicit(&said, true, memory_order_relaxed))
        warn(what, p, s, pc);
}

void xs_hardened_accuse_kind(const void *p, const struct xs_story *s, enum xs_block_kind kind,
                             uintptr_t pc)
{
    XS_BUF(what, 80);

    xs_fmt(&what, "%s of a block from %s", xs_free_names[kind], made_by[s->kind]);
    mismatch(what.at, p, s, pc);
}

void xs_hardened_accuse_size(const void *p, const struct xs_story *s, uintptr_t pc)
{
    mismatch("delete with a wrong size", p, s, pc);
}

/* The block that `p` points into, by its entry: `p` itself if it is one. */
static char *base_of(char *p, uint64_t entry)
{
    if (!xs_entry_is_object(entry))
        return (char *)((uintptr_t)p & ~(XS_SPAN_PAGE - 1)); // NOLINT(performance-no-int-to-ptr)
    const struct xs_slab *s = XS_ENTRY_SLAB(entry);
    return s->base + (size_t)(p - s->base) / s->size * s->size;
}

static bool seals_have_stacks(void)
{
    return xs_hot.hardened.mode == XS_HARDENED_FULL;
}

/* What the seal of a block says, live or freed: false if it says nothing. */
static bool read_seal(char *p, uint64_t entry, struct xs_story *s)
{
    size_t bytes = xs_sealed_bytes(p, entry);
    const struct xs_seal *seal = xs_seal_at(p, bytes);
    uint64_t value = xs_seal_open(seal, p);

    *s = (struct xs_story){.size = XS_UNKNOWN, .has_stacks = seals_have_stacks()};
    if ((value & ~XS_SEAL_LOW) == XS_SEAL_DEAD) {
        s->allocated = seal->place;
        s->freed = value & XS_SEAL_LOW;
        return true;
    }
    if (value >> XS_SEAL_SHIFT >= XS_BLOCK_KINDS || (value & XS_SEAL_LOW) > bytes - XS_SEAL_BYTES)
        return false;
    s->size = value & XS_SEAL_LOW;
    s->kind = (enum xs_block_kind)(value >> XS_SEAL_SHIFT);
    s->allocated = seal->place;
    return true;
}

static bool is_whole(char *p, uint64_t entry, size_t size)
{
    const struct xs_seal *seal = xs_seal_at(p, xs_sealed_bytes(p, entry));

    return memcmp(p + size, &seal->word, sizeof(seal->word)) == 0;
}

size_t xs_hardened_accuse(void *p, uint64_t entry, enum xs_block_kind kind, uintptr_t pc)
{
    char *base = base_of(p, entry);
    struct xs_story s;
    XS_BUF(what, 80);
    bool known = read_seal(base, entry, &s);

    if (base != p) {
        xs_fmt(&what, "%s of a pointer inside a block", xs_free_names[kind]);
        xs_hardened_die(what.at, p, &s, pc);
    }
    if (s.freed != 0 || xs_block_class(entry) == XS_CLASS_DEAD ||
        (!known && ((uintptr_t *)p)[1] == XS_FREE_MARK))
        xs_hardened_die("double free", p, &s, pc);
    if (known && s.kind != kind && is_whole(p, entry, s.size)) {
        xs_hardened_accuse_kind(p, &s, kind, pc);
        return s.size;
    }
    xs_hardened_die("write beyond the end of a block", p, &s, pc);
}

void xs_hardened_accuse_late(void *p, const struct xs_seal *seal)
{
    struct xs_story s = {
        .size = XS_UNKNOWN, .allocated = seal->place, .has_stacks = seals_have_stacks()};
    uint64_t value = xs_seal_open(seal, p);

    if ((value & ~XS_SEAL_LOW) == XS_SEAL_DEAD)
        s.freed = value & XS_SEAL_LOW;
    xs_hardened_die("write to a freed block", p, &s, 0);
}

/* ---- pointers that are nobody's --------------------------------------------------------- */

/* No block of the C library's begins in the program's data, nor on a stack. */
static bool is_on_stack(const void *p)
{
    uintptr_t here = (uintptr_t)__builtin_frame_address(0);

    return (uintptr_t)p - here < ((size_t)64 << 10);
}

/* Of a chunk, only the page where it begins is in the page map. */
static char *chunk_around(char *p)
{
    char *page = (char *)((uintptr_t)p & ~(XS_SPAN_PAGE - 1)); // NOLINT(performance-no-int-to-ptr)

    for (unsigned i = 1; i <= 65536; i++) {
        char *at = page - i * XS_SPAN_PAGE;
        uint64_t entry = xs_page_map_get(at);
        if (entry == 0)
            continue;
        unsigned class = xs_block_class(entry);
        bool is_chunk = XS_PAGE_MAP_OWNER(entry) == XS_OWNER_BFC && class >= XS_CLASS_SLABS &&
                        class != XS_CLASS_DEAD && class != XS_CLASS_GUARD;
        return is_chunk && (size_t)(p - at) < xs_heap_usable_size(at) ? at : NULL;
    }
    return NULL;
}

void xs_hardened_suspect(void *p, uintptr_t pc)
{
    int saved = errno;
    struct xs_story s = {.size = XS_UNKNOWN};
    const char *name;
    uintptr_t base;

    /* The C library looks at the word before the block. */
    if ((uintptr_t)p % 16 != 0 || !xs_walk_can_read((uintptr_t)p - sizeof(size_t)))
        xs_hardened_die("free of a pointer that is no block", p, &s, pc);
    if (is_on_stack(p))
        xs_hardened_die("free of a pointer to the stack", p, &s, pc);
    char *chunk = chunk_around(p);
    if (chunk != NULL) {
        (void)read_seal(chunk, xs_page_map_get(chunk), &s);
        xs_hardened_die("free of a pointer inside a block", p, &s, pc);
    }
    if (xs_backtrace_object((uintptr_t)p, &name, &base))
        xs_hardened_die("free of a pointer to static data", p, &s, pc);
    errno = saved;
}
