#include "backend/hardened.h"

#include <errno.h>
#include <string.h>
#include <sys/auxv.h>

#include "backend/counted.h"
#include "backend/guard.h"
#include "backend/hardened_block.h"
#include "backend/stacks.h"
#include "sys/backtrace.h"

/* Bytes of the class that a size belongs to, by (size + 15) / 16. */
XS_UNLIKELY_DATA static uint16_t rounded[XS_CLASS_TABLE_MAX / 16 + 1];

/* Sampled blocks are at most so large. */
#define SAMPLE_MOST ((size_t)64 << 10)

/* Blocks that realloc has to move, being large, get so much more. */
#define GROW_FROM ((size_t)64 << 10)

static bool is_sealed(void)
{
    return xs_hot.hardened.mode != XS_HARDENED_OFF;
}

static bool is_full(void)
{
    return xs_hot.hardened.mode == XS_HARDENED_FULL;
}

/* ---- allocation ------------------------------------------------------------------------- */

static void *seal_new(void *p, size_t size, uintptr_t pc)
{
    if (p == NULL)
        return NULL;
    return xs_seal(p, xs_sealed_bytes(p, xs_page_map_get(p)), size, XS_BLOCK_MALLOC, pc);
}

/* Any size, in any mode but full. */
static void *allocate(size_t size, size_t align, bool zeroed, uintptr_t pc)
{
    size_t total = is_sealed() ? xs_with_seal(size) : size;
    void *p;

    if (align > 16)
        p = xs_heap_memalign(align, total);
    else
        p = zeroed ? xs_heap_zalloc(total) : xs_heap_malloc(total);
    return is_sealed() ? seal_new(p, size, pc) : p;
}

static __attribute__((noinline)) void *sampled(size_t size, size_t align, uintptr_t pc)
{
    if (size > SAMPLE_MOST || !xs_guard_is_due())
        return NULL;
    return xs_guard_alloc(size, align, xs_guard_side(), xs_stacks_here(pc));
}

XS_INLINE bool wants_guard(void)
{
    return XS_UNLIKELY(--xs_guard_countdown < 0);
}

static __attribute__((noinline)) void *check_malloc_other(size_t size)
{
    return allocate(size, 0, false, XS_PC);
}

static void *check_malloc(size_t size)
{
    if (XS_UNLIKELY(size > XS_CLASS_TABLE_MAX - XS_SEAL_BYTES))
        return check_malloc_other(size);
    void *p = xs_heap_malloc_inline(size + XS_SEAL_BYTES);
    if (XS_UNLIKELY(p == NULL))
        return NULL;
    return xs_seal(p, rounded[(size + XS_SEAL_BYTES + 15) / 16], size, XS_BLOCK_MALLOC, XS_PC);
}

static void *check_zalloc(size_t size)
{
    return allocate(size, 0, true, XS_PC);
}

static void *check_memalign(size_t align, size_t size)
{
    return allocate(size, align, false, XS_PC);
}

static void *full_malloc(size_t size)
{
    return xs_full_alloc(size, 0, XS_PC);
}

static void *full_memalign(size_t align, size_t size)
{
    return xs_full_alloc(size, align, XS_PC);
}

/* With sampled guards. */
static void *guard_get(size_t size, size_t align, bool zeroed, uintptr_t pc)
{
    void *p = wants_guard() ? sampled(size, align, pc) : NULL;

    if (p != NULL)
        return p;
    return is_full() ? xs_full_alloc(size, align, pc) : allocate(size, align, zeroed, pc);
}

static void *guard_malloc(size_t size)
{
    if (XS_LIKELY(!is_sealed() && !wants_guard()))
        return xs_heap_malloc_inline(size);
    return guard_get(size, 0, false, XS_PC);
}

static void *guard_zalloc(size_t size)
{
    return guard_get(size, 0, true, XS_PC);
}

static void *guard_memalign(size_t align, size_t size)
{
    return guard_get(size, align, false, XS_PC);
}

/* ---- free ------------------------------------------------------------------------------- */

void xs_hardened_free(void *p, enum xs_block_kind kind, size_t size, uintptr_t pc)
{
    if (p == NULL)
        return;
    enum xs_owner owner = xs_owner_of(p);
    uint64_t entry = xs_page_map_get(p);
    if (owner != XS_OWNER_BFC) {
        if (owner == XS_OWNER_SYSTEM && is_sealed())
            xs_hardened_suspect(p, pc);
        xs_hot.free_own[owner](p);
        return;
    }
    if (xs_block_class(entry) == XS_CLASS_GUARD) {
        xs_guard_free(p, entry, kind, size, pc);
        return;
    }
    if (!is_sealed()) {
        (void)xs_heap_free_at(p, entry);
        return;
    }
    if (xs_block_class(entry) == XS_CLASS_DEAD)
        (void)xs_hardened_accuse(p, entry, kind, pc);
    size_t bytes = xs_sealed_bytes(p, entry);
    size_t had = xs_seal_check(p, entry, bytes, kind, pc);
    if (size != SIZE_MAX && size != had) {
        struct xs_story s = {had, kind, xs_seal_at(p, bytes)->place, 0, is_full()};
        xs_hardened_accuse_size(p, &s, pc);
    }
    if (is_full()) {
        int saved = errno;
        xs_full_retire(p, bytes, pc);
        errno = saved;
    } else {
        xs_seal_at(p, bytes)->word = xs_seal_word(p, XS_SEAL_DEAD | pc);
        (void)xs_heap_free_at(p, entry);
    }
}

static __attribute__((noinline)) void any_free(void *p)
{
    xs_hardened_free(p, XS_BLOCK_MALLOC, SIZE_MAX, XS_PC);
}

/* In another leaf of the page map than the thread's last free. */
static __attribute__((noinline)) void any_free_far(void *p)
{
    xs_heap_note_leaf(xs_heap_mine, p);
    xs_hardened_free(p, XS_BLOCK_MALLOC, SIZE_MAX, XS_PC);
}

/* A live object of malloc's; all else is for any_free to find out. No call here returns, so the
 * compiler saves no registers: a fourth of the instructions. */
static void check_free(void *p)
{
    struct xs_heap *h = xs_heap_mine;
    uint64_t entry;

    if (XS_UNLIKELY(!xs_heap_near(h, p, &entry))) {
        any_free_far(p);
        return;
    }
    if (XS_UNLIKELY(XS_PAGE_MAP_OWNER(entry) != XS_OWNER_BFC || !xs_entry_is_object(entry))) {
        any_free(p);
        return;
    }
    size_t bytes = xs_class_bytes(XS_ENTRY_CLASS(entry));
    if (XS_UNLIKELY(!xs_seal_holds(p, bytes, XS_BLOCK_MALLOC))) {
        any_free(p);
        return;
    }
    xs_seal_at(p, bytes)->word = xs_seal_word(p, XS_SEAL_DEAD | XS_PC);
    if (XS_UNLIKELY(!xs_heap_free_inline(h, p, entry)))
        xs_heap_free_slow(p, entry);
}

static void guard_free(void *p)
{
    struct xs_heap *h = xs_heap_mine;
    uint64_t entry;

    if (XS_UNLIKELY(!xs_heap_near(h, p, &entry))) {
        any_free_far(p);
        return;
    }
    if (XS_UNLIKELY(XS_PAGE_MAP_OWNER(entry) != XS_OWNER_BFC ||
                    xs_block_class(entry) == XS_CLASS_GUARD))
        any_free(p);
    else if (XS_UNLIKELY(!xs_heap_free_inline(h, p, entry)))
        xs_heap_free_slow(p, entry);
}

/* ---- realloc ---------------------------------------------------------------------------- */

/* In realloc, of a block that is sealed or guarded. */
static size_t size_of(void *p, uint64_t entry, uintptr_t pc)
{
    if (xs_block_class(entry) == XS_CLASS_GUARD)
        return xs_guard_size(p, entry, pc);
    if (xs_block_class(entry) == XS_CLASS_DEAD)
        (void)xs_hardened_accuse(p, entry, XS_BLOCK_MALLOC, pc);
    return xs_seal_check(p, entry, xs_sealed_bytes(p, entry), XS_BLOCK_MALLOC, pc);
}

/* True if it stays, sealed anew: where that wastes no more than half. */
static bool stays(void *p, uint64_t entry, size_t size, uintptr_t pc)
{
    size_t bytes;

    if (is_full() || xs_block_class(entry) == XS_CLASS_GUARD)
        return false;
    bytes = xs_sealed_bytes(p, entry);
    if (xs_with_seal(size) > bytes || xs_with_seal(size) <= bytes / 2)
        return false;
    (void)xs_seal(p, bytes, size, XS_BLOCK_MALLOC, pc);
    xs_heap_count_request(xs_heap_mine, size);
    return true;
}

/* A block on its way up gets some room, so that the bytes it is copied do not add up. */
static void *larger(size_t old, size_t size, uintptr_t pc)
{
    void *p = NULL;

    if (is_full())
        return xs_full_alloc(size, 0, pc);
    if (size > old && size > GROW_FROM && size < XS_SIZE_MAX_REQUEST / 2) {
        p = xs_heap_malloc(xs_with_seal(size + size / 4));
        if (p == NULL)
            xs_heap_forgive(xs_with_seal(size + size / 4));
        else
            (void)seal_new(p, size, pc);
    }
    return p != NULL ? p : allocate(size, 0, false, pc);
}

static void *realloc_own(void *p, size_t size, uintptr_t pc)
{
    uint64_t entry = xs_page_map_get(p);
    void *q = NULL;

    if (!is_sealed() && xs_block_class(entry) != XS_CLASS_GUARD)
        return xs_heap_realloc_at(p, entry, size);
    size_t old = size_of(p, entry, pc);
    if (is_full() && xs_block_class(entry) == XS_CLASS_GUARD)
        q = xs_guard_grow(entry, size, pc);
    if (q == NULL && stays(p, entry, size, pc))
        q = p;
    if (q == NULL) {
        q = larger(old, size, pc);
        if (q == NULL)
            return NULL;
        memcpy(q, p, old < size ? old : size);
        xs_hardened_free(p, XS_BLOCK_MALLOC, SIZE_MAX, pc);
        xs_heap_count_frees(xs_heap_mine, -1); /* no free of the program's */
    }
    xs_heap_count_realloc(xs_heap_mine);
    return q;
}

XS_TLS uintptr_t xs_hardened_caller;

static uintptr_t caller_of_realloc(uintptr_t pc)
{
    return xs_hardened_caller != 0 ? xs_hardened_caller : pc;
}

static void *hardened_realloc_own(void *p, size_t size)
{
    return realloc_own(p, size, caller_of_realloc(XS_PC));
}

static void *hardened_realloc(void *p, size_t size)
{
    uintptr_t pc = caller_of_realloc(XS_PC);

    if (XS_LIKELY(XS_PAGE_MAP_OWNER(xs_page_map_get(p)) == XS_OWNER_BFC))
        return realloc_own(p, size, pc);
    if (is_sealed() && xs_owner_of(p) == XS_OWNER_SYSTEM)
        xs_hardened_suspect(p, pc);
    return xs_any_realloc(p, size);
}

static size_t hardened_usable_size(void *p)
{
    uint64_t entry = xs_page_map_get(p);
    enum xs_block_kind kind = XS_BLOCK_MALLOC;

    if (xs_block_class(entry) == XS_CLASS_GUARD)
        return xs_guard_size(p, entry, XS_PC);
    if (!is_sealed())
        return xs_heap_usable_size(p);
    if (xs_block_class(entry) == XS_CLASS_DEAD)
        (void)xs_hardened_accuse(p, entry, kind, XS_PC);
    /* Whoever asks need not know what made it. */
    size_t bytes = xs_sealed_bytes(p, entry);
    uint64_t said = xs_seal_open(xs_seal_at(p, bytes), p) >> XS_SEAL_SHIFT;
    if (said < XS_BLOCK_KINDS)
        kind = (enum xs_block_kind)said;
    return xs_seal_check(p, entry, bytes, kind, XS_PC);
}

/* ---- operators -------------------------------------------------------------------------- */

void *xs_hardened_mark(void *p, enum xs_block_kind kind, uintptr_t pc)
{
    if (p == NULL || xs_owner_of(p) != XS_OWNER_BFC)
        return p;
    uint64_t entry = xs_page_map_get(p);
    if (xs_block_class(entry) == XS_CLASS_GUARD) {
        xs_guard_mark(entry, kind);
    } else if (is_sealed()) {
        size_t bytes = xs_sealed_bytes(p, entry);
        struct xs_seal *seal = xs_seal_at(p, bytes);
        (void)xs_seal(p, bytes, xs_seal_open(seal, p), kind, is_full() ? seal->place : pc);
    }
    return p;
}

/* ---- the back end ----------------------------------------------------------------------- */

static const struct xs_calls *hardened_calls(bool counted)
{
    static const struct xs_calls check = {check_malloc, check_zalloc, hardened_realloc,
                                          check_memalign, check_free};
    static const struct xs_calls full = {full_malloc, full_malloc, hardened_realloc, full_memalign,
                                         any_free};
    static const struct xs_calls guarded = {guard_malloc, guard_zalloc, hardened_realloc,
                                            guard_memalign, guard_free};
    static const struct xs_calls guarded_too = {guard_malloc, guard_zalloc, hardened_realloc,
                                                guard_memalign, any_free};
    static const struct xs_calls guarded_check = {guard_malloc, guard_zalloc, hardened_realloc,
                                                  guard_memalign, check_free};

    (void)counted;
    if (xs_hot.hardened.guard_every == 0)
        return is_full() ? &full : &check;
    if (is_full())
        return &guarded_too;
    return is_sealed() ? &guarded_check : &guarded;
}

uint64_t xs_hardened_key(void)
{
    const void *random = (const void *)getauxval(AT_RANDOM); // NOLINT(performance-no-int-to-ptr)
    uint64_t word[2] = {(uintptr_t)&word, (uintptr_t)rounded};

    if (random != NULL)
        memcpy(word, random, sizeof(word));
    /* Other parts of the process use these bytes too: what is made of them must not tell them. */
    word[0] = (word[0] ^ word[1] >> 29) * UINT64_C(0xBF58476D1CE4E5B9);
    word[1] = (word[1] ^ word[0] >> 31) * UINT64_C(0x94D049BB133111EB);
    return word[0] ^ word[1] >> 30;
}

static int hardened_open(const struct xs_backend_options *o, struct xs_buf *why)
{
    struct xs_backend_options exact = *o;

    /* Where a seal lies is worked out from the size. */
    exact.bfc.exact_classes = true;
    int rc = xs_backend_bfc.open(&exact, why);

    if (rc != 0)
        return rc;
    for (size_t i = 0; i < XS_COUNT_OF(rounded); i++)
        rounded[i] = (uint16_t)xs_class_bytes(xs_class_of(16 * i));
    if (!is_full() && xs_hot.hardened.guard_every == 0)
        return 0;
    if (!xs_guard_open() || (is_full() && !xs_full_open(o->quarantine_bytes))) {
        xs_put_str(why, "no memory for its records");
        return ENOMEM;
    }
    /* Without stacks the rest holds. */
    (void)xs_stacks_open();
    if (!xs_backtrace_open(is_full()) && is_full())
        xs_put_str(why, "no libgcc_s.so.1, so of some stacks one call is known");
    return 0;
}

static bool hardened_trim(size_t pad)
{
    if (is_full())
        xs_full_flush();
    xs_guard_flush();
    return xs_backend_bfc.trim(pad);
}

static void hardened_memory(struct xs_backend_memory *m, bool may_lock)
{
    xs_backend_bfc.memory(m, may_lock);
    uint64_t waiting = is_full() ? xs_full_waiting_bytes() : 0;
    if (m->in_use_bytes != XS_UNKNOWN)
        m->in_use_bytes -= waiting < m->in_use_bytes ? waiting : m->in_use_bytes;
}

void xs_hardened_at_end(void)
{
    xs_full_look();
}

uint64_t xs_hardened_waiting(void)
{
    return is_full() ? xs_full_waiting() : 0;
}

static void hardened_fork_prepare(void)
{
    xs_stacks_fork_prepare();
    xs_full_fork_prepare();
    xs_guard_fork_prepare();
    xs_backend_bfc.fork_prepare();
}

static void hardened_fork_parent(void)
{
    xs_backend_bfc.fork_parent();
    xs_guard_fork_parent();
    xs_full_fork_parent();
    xs_stacks_fork_parent();
}

static bool hardened_survives_fork(bool was_threaded)
{
    xs_stacks_fork_child();
    xs_full_fork_child();
    xs_guard_fork_child();
    return xs_backend_bfc.survives_fork(was_threaded);
}

const struct xs_backend xs_backend_hardened = {
    .name = "bfc",
    .owner = XS_OWNER_BFC,
    .uncount_move = xs_heap_uncount_move,
    .uncount_failure = xs_heap_forgive,
    .open = hardened_open,
    .calls = hardened_calls,
    .free_own = any_free,
    .free_own_counted = any_free,
    .realloc_own = hardened_realloc_own,
    .realloc_own_counted = hardened_realloc_own,
    .usable_size = hardened_usable_size,
    .trim = hardened_trim,
    .memory = hardened_memory,
    .fork_prepare = hardened_fork_prepare,
    .fork_parent = hardened_fork_parent,
    .survives_fork = hardened_survives_fork,
};
