/* XSIGMA_CPU_HARDENED=full: freed blocks are filled and wait in a queue; when they leave it they
 * must still be as they were, and at the end of the process. Blocks come zeroed, so that nothing
 * shows what another one held. */
#include <string.h>

#include "backend/guard.h"
#include "backend/hardened_block.h"
#include "backend/stacks.h"
#include "sys/lock.h"
#include "sys/mem.h"

/* No address of any program, and no number that one counts with. */
#define FILL UINT64_C(0xDBDBDBDBDBDBDBDB)

/* Larger blocks have pages of their own, and fault at once. */
#define GUARDED_FROM ((size_t)32 << 10)

#define QUEUE        65536u

struct waiting {
    void *p;
    size_t bytes;
};

XS_UNLIKELY_DATA static struct {
    struct xs_lock lock;
    struct waiting *queue;
    uint32_t first;
    uint32_t n;
    size_t bytes;
    size_t most_bytes;
    bool fork_took_lock;
} full;

bool xs_full_open(uint64_t quarantine_bytes)
{
    full.queue = xs_mem_map(QUEUE * sizeof(struct waiting), 1);
    full.most_bytes = quarantine_bytes;
    return full.queue != NULL;
}

static void fill(uint64_t *word, size_t bytes)
{
    for (size_t i = 0; i < bytes / sizeof(uint64_t); i++)
        word[i] = FILL;
}

static bool is_filled(const uint64_t *word, size_t bytes)
{
    for (size_t i = 0; i < bytes / sizeof(uint64_t); i++)
        if (word[i] != FILL)
            return false;
    return true;
}

static size_t filled_bytes(size_t bytes)
{
    return bytes - sizeof(struct xs_seal);
}

static bool is_as_left(const struct waiting *w)
{
    return (xs_seal_open(xs_seal_at(w->p, w->bytes), w->p) & ~XS_SEAL_LOW) == XS_SEAL_DEAD &&
           is_filled(w->p, filled_bytes(w->bytes));
}

static void leave(const struct waiting *w)
{
    if (!is_as_left(w))
        xs_hardened_accuse_late(w->p, xs_seal_at(w->p, w->bytes));
    (void)xs_heap_free(w->p);
}

/* The oldest, while more than `most` bytes wait or there is no place for another. */
static bool take_oldest(struct waiting *w, size_t most)
{
    bool take;

    xs_lock_take(&full.lock);
    take = full.n > 0 && (full.bytes > most || full.n == QUEUE);
    if (take) {
        *w = full.queue[full.first];
        full.first = (full.first + 1) % QUEUE;
        full.n--;
        full.bytes -= w->bytes;
    }
    xs_lock_give(&full.lock);
    return take;
}

static bool put(const struct waiting *w)
{
    bool has_room;

    xs_lock_take(&full.lock);
    has_room = full.n < QUEUE;
    if (has_room) {
        full.queue[(full.first + full.n++) % QUEUE] = *w;
        full.bytes += w->bytes;
    }
    xs_lock_give(&full.lock);
    return has_room;
}

/* Its seal was right just now; `bytes` to the end of it. */
void xs_full_retire(void *p, size_t bytes, uintptr_t pc)
{
    struct waiting w = {p, bytes};
    struct waiting old;
    struct xs_seal *seal = xs_seal_at(p, bytes);

    seal->word = xs_seal_word(p, XS_SEAL_DEAD | xs_stacks_here(pc));
    fill(p, filled_bytes(bytes));
    /* No lock is held while the core is called. */
    while (!put(&w))
        if (take_oldest(&old, 0))
            leave(&old);
    while (take_oldest(&old, full.most_bytes))
        leave(&old);
}

uint64_t xs_full_waiting(void)
{
    return __atomic_load_n(&full.n, __ATOMIC_RELAXED);
}

uint64_t xs_full_waiting_bytes(void)
{
    return __atomic_load_n(&full.bytes, __ATOMIC_RELAXED);
}

void xs_full_flush(void)
{
    struct waiting old;

    while (take_oldest(&old, 0))
        leave(&old);
}

void xs_full_look(void)
{
    struct waiting changed = {0};

    if (xs_lock_is_mine(&full.lock)) /* exit was called in a signal's handler */
        return;
    xs_lock_take(&full.lock);
    for (uint32_t i = 0; i < full.n && changed.p == NULL; i++) {
        const struct waiting *w = &full.queue[(full.first + i) % QUEUE];
        if (!is_as_left(w))
            changed = *w;
    }
    xs_lock_give(&full.lock);
    if (changed.p != NULL)
        xs_hardened_accuse_late(changed.p, xs_seal_at(changed.p, changed.bytes));
}

static void *get(size_t size, size_t align)
{
    size_t total = xs_with_seal(size);

    return align > 16 ? xs_heap_memalign(align, total) : xs_heap_malloc(total);
}

void *xs_full_alloc(size_t size, size_t align, uintptr_t pc)
{
    uint32_t place = xs_stacks_here(pc);
    void *p;

    if (size >= GUARDED_FROM) {
        p = xs_guard_alloc(size, align, XS_GUARD_BEHIND, place);
        if (p != NULL)
            return p;
    }
    p = get(size, align);
    if (p == NULL) {
        xs_full_flush();
        xs_guard_flush();
        p = get(size, align);
        if (p != NULL)
            xs_heap_forgive(xs_with_seal(size));
    }
    if (p == NULL)
        return NULL;
    return xs_seal(memset(p, 0, size), xs_sealed_bytes(p, xs_page_map_get(p)), size,
                   XS_BLOCK_MALLOC, place);
}

void xs_full_fork_prepare(void)
{
    full.fork_took_lock = !xs_lock_is_mine(&full.lock);
    if (full.fork_took_lock)
        xs_lock_take(&full.lock);
}

void xs_full_fork_parent(void)
{
    if (full.fork_took_lock)
        xs_lock_give(&full.lock);
}

void xs_full_fork_child(void)
{
    xs_lock_reset(&full.lock);
}
