#include "gpu/block.h"

#include "base/align.h"
#include "sys/lock.h"
#include "sys/mem.h"

#define CHUNK_BYTES   ((size_t)256 << 10)
#define FIRST_ENTRIES ((size_t)4096)
#define GONE          1u

/* ---- memory that stays ---- */

static struct {
    struct xs_lock lock;
    char *at, *end;
} store;

void *xs_gpu_store(size_t size)
{
    char *p = NULL;

    size = xs_align_up(size, XS_NO_SHARE);
    if (size >= CHUNK_BYTES / 4)
        return xs_mem_map(size, 1);
    xs_lock_take(&store.lock);
    if ((size_t)(store.end - store.at) < size) {
        char *fresh = xs_mem_map(CHUNK_BYTES, 1);
        if (fresh != NULL) {
            store.at = fresh;
            store.end = fresh + CHUNK_BYTES;
        }
    }
    if ((size_t)(store.end - store.at) >= size) {
        p = store.at;
        store.at += size;
    }
    xs_lock_give(&store.lock);
    return p;
}

/* ---- records ---- */

enum { RECORDS_PER_CHUNK = 512 };

struct chunk {
    struct chunk *next;
    struct xs_gpu_block block[RECORDS_PER_CHUNK];
};

static struct {
    struct xs_lock lock;
    struct xs_gpu_block *free; /* through `older` */
    _Atomic(struct chunk *) chunks;
    unsigned used; /* of the newest */
} records;

struct xs_gpu_block *xs_gpu_block_new(void)
{
    struct chunk *c;
    struct xs_gpu_block *b;

    xs_lock_take(&records.lock);
    c = atomic_load_explicit(&records.chunks, memory_order_relaxed);
    b = records.free;
    if (b != NULL) {
        records.free = b->older;
    } else {
        if (c == NULL || records.used == RECORDS_PER_CHUNK) {
            struct chunk *fresh = xs_mem_map(sizeof(*fresh), 1);
            if (fresh != NULL) {
                fresh->next = c;
                atomic_store_explicit(&records.chunks, fresh, memory_order_release);
                records.used = 0;
            }
            c = fresh;
        }
        if (c != NULL)
            b = &c->block[records.used++];
    }
    xs_lock_give(&records.lock);
    if (b != NULL) {
        atomic_store_explicit(&b->marks, 0, memory_order_relaxed);
        b->newer = b->older = NULL;
        b->home = NULL;
        b->stream = NULL;
        b->range = NULL;
        b->handle = 0;
        b->freed_ns = 0;
    }
    return b;
}

void xs_gpu_block_drop(struct xs_gpu_block *b)
{
    atomic_store_explicit(&b->address, 0, memory_order_relaxed);
    xs_lock_take(&records.lock);
    b->older = records.free;
    records.free = b;
    xs_lock_give(&records.lock);
}

void xs_gpu_block_each(void (*call)(struct xs_gpu_block *b, void *arg), void *arg)
{
    struct chunk *c = atomic_load_explicit(&records.chunks, memory_order_acquire);

    for (; c != NULL; c = c->next)
        for (unsigned i = 0; i < RECORDS_PER_CHUNK; i++)
            call(&c->block[i], arg);
}

/* ---- the table ----
 *
 * Open addressing. A table that is full of entries, or of marks of what was removed, is replaced by
 * a new one; readers of the old one still find all that was in it. An old table of the right size
 * is used again: who finds nothing then looks whether that may be why. */

static struct {
    struct xs_gpu_table table;
    struct xs_gpu_entry entry[2];
} first = {.table = {.shift = 31, .mask = 1}};

_Atomic(struct xs_gpu_entry *) xs_gpu_entries = first.entry;

static struct xs_gpu_table *header(struct xs_gpu_entry *entries)
{
    return (struct xs_gpu_table *)(void *)entries - 1;
}

static struct {
    struct xs_lock lock;
    size_t live, used; /* used: also the marks */
    struct xs_gpu_entry *spare;
    _Atomic uint64_t replaced;
} table;

struct xs_gpu_block *xs_gpu_block_find(uint64_t address)
{
    for (;;) {
        uint64_t replaced = atomic_load_explicit(&table.replaced, memory_order_acquire);
        struct xs_gpu_entry *t = atomic_load_explicit(&xs_gpu_entries, memory_order_acquire);
        if (address <= GONE)
            return NULL;
        for (size_t i = xs_gpu_table_start(t, address);; i = (i + 1) & header(t)->mask) {
            uint64_t key = atomic_load_explicit(&t[i].key, memory_order_acquire);
            if (key == address)
                return atomic_load_explicit(&t[i].block, memory_order_relaxed);
            if (key == 0)
                break;
        }
        atomic_thread_fence(memory_order_acquire);
        if (replaced == atomic_load_explicit(&table.replaced, memory_order_relaxed))
            return NULL;
    }
}

static void put(struct xs_gpu_entry *t, uint64_t address, struct xs_gpu_block *b)
{
    size_t i = xs_gpu_table_start(t, address);

    while (atomic_load_explicit(&t[i].key, memory_order_relaxed) > GONE)
        i = (i + 1) & header(t)->mask;
    if (atomic_load_explicit(&t[i].key, memory_order_relaxed) == 0)
        table.used++;
    table.live++;
    atomic_store_explicit(&t[i].block, b, memory_order_relaxed);
    /* Release: who sees the key sees the record, and the table's. */
    atomic_store_explicit(&t[i].key, address, memory_order_release);
}

static struct xs_gpu_entry *new_table(size_t entries)
{
    struct xs_gpu_entry *t = table.spare;

    if (t != NULL && header(t)->mask + 1 == entries) {
        table.spare = NULL;
        atomic_fetch_add_explicit(&table.replaced, 1, memory_order_release);
        atomic_thread_fence(memory_order_release);
        for (size_t i = 0; i < entries; i++) {
            atomic_store_explicit(&t[i].key, 0, memory_order_relaxed);
            atomic_store_explicit(&t[i].block, NULL, memory_order_relaxed);
        }
        return t;
    }
    struct xs_gpu_table *h = xs_mem_map(sizeof(*h) + entries * sizeof(*t), 1);
    if (h == NULL)
        return NULL;
    h->mask = entries - 1;
    h->shift = 32u - (unsigned)__builtin_ctzll(entries);
    return (struct xs_gpu_entry *)(void *)(h + 1);
}

/* Room for one more. */
static bool make_room(void)
{
    struct xs_gpu_entry *old = atomic_load_explicit(&xs_gpu_entries, memory_order_relaxed);
    size_t entries = header(old)->mask + 1,
           wanted = 4 * table.live > entries ? 2 * entries : entries;

    if (2 * (table.used + 1) <= entries)
        return true;
    struct xs_gpu_entry *t = new_table(wanted < FIRST_ENTRIES ? FIRST_ENTRIES : wanted);
    if (t == NULL)
        return table.used + 2 <= entries; /* one must stay empty, for look-ups to end */
    table.live = table.used = 0;
    for (size_t i = 0; i < entries; i++) {
        uint64_t key = atomic_load_explicit(&old[i].key, memory_order_relaxed);
        if (key > GONE)
            put(t, key, atomic_load_explicit(&old[i].block, memory_order_relaxed));
    }
    atomic_store_explicit(&xs_gpu_entries, t, memory_order_release);
    atomic_fetch_add_explicit(&table.replaced, 1, memory_order_release);
    table.spare = old;
    return true;
}

static struct xs_gpu_entry *entry_of(uint64_t address)
{
    struct xs_gpu_entry *t = atomic_load_explicit(&xs_gpu_entries, memory_order_relaxed);

    for (size_t i = xs_gpu_table_start(t, address);; i = (i + 1) & header(t)->mask) {
        uint64_t key = atomic_load_explicit(&t[i].key, memory_order_relaxed);
        if (key == address)
            return &t[i];
        if (key == 0)
            return NULL;
    }
}

bool xs_gpu_block_insert(struct xs_gpu_block *b, uint64_t address, struct xs_gpu_block **stale)
{
    bool ok = false;

    *stale = NULL;
    if (address <= GONE)
        return false;
    atomic_store_explicit(&b->address, address, memory_order_release);
    xs_lock_take(&table.lock);
    struct xs_gpu_entry *there = entry_of(address);
    if (there != NULL) {
        *stale = atomic_load_explicit(&there->block, memory_order_relaxed);
        atomic_store_explicit(&there->block, b, memory_order_release);
        ok = true;
    } else if (make_room()) {
        put(atomic_load_explicit(&xs_gpu_entries, memory_order_relaxed), address, b);
        ok = true;
    }
    xs_lock_give(&table.lock);
    return ok;
}

void xs_gpu_block_remove(struct xs_gpu_block *b)
{
    xs_lock_take(&table.lock);
    struct xs_gpu_entry *e = entry_of(xs_gpu_block_base(b));
    if (e != NULL && atomic_load_explicit(&e->block, memory_order_relaxed) == b) {
        atomic_store_explicit(&e->key, GONE, memory_order_release);
        table.live--;
    }
    xs_lock_give(&table.lock);
}
