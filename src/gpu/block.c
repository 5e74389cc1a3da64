#include "gpu/block.h"

#include "base/align.h"
#include "gpu/cache.h"
#include "sys/lock.h"
#include "sys/mem.h"

#define CHUNK_BYTES   ((size_t)256 << 10)
#define FIRST_ENTRIES ((size_t)4096)

/* So many threads may claim an entry at once. */
#define AT_ONCE 256u

/* Of an entry's key, beside addresses and 0. */
#define GONE 1u
#define BUSY 2u /* some thread's, for some instructions */

/* ---- memory that stays ---- */

static struct {
    struct xs_lock lock;
    char *at, *end;
} store = {.lock.kind = XS_LOCK_GPU};

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
} records = {.lock.kind = XS_LOCK_GPU};

static struct xs_gpu_block *last_of(struct xs_gpu_block *list)
{
    while (list->older != NULL)
        list = list->older;
    return list;
}

/* Under the lock. */
static struct xs_gpu_block *one_more(void)
{
    struct chunk *c = atomic_load_explicit(&records.chunks, memory_order_relaxed);
    struct xs_gpu_block *b = records.free;

    if (b != NULL) {
        records.free = b->older;
        return b;
    }
    if (c == NULL || records.used == RECORDS_PER_CHUNK) {
        struct chunk *fresh = xs_mem_map(sizeof(*fresh), 1);
        if (fresh == NULL)
            return NULL;
        fresh->next = c;
        atomic_store_explicit(&records.chunks, fresh, memory_order_release);
        records.used = 0;
        c = fresh;
    }
    return &c->block[records.used++];
}

/* The shard, if there is one, gets some more than the one that is returned. */
XS_COLD static struct xs_gpu_block *from_all(struct xs_gpu_shard *s)
{
    struct xs_gpu_block *list = NULL, *b;
    unsigned n = 0;

    xs_lock_take(&records.lock);
    b = one_more();
    for (struct xs_gpu_block *x; s != NULL && b != NULL && n < XS_GPU_SPARE_RECORDS; n++) {
        if ((x = one_more()) == NULL)
            break;
        x->older = list;
        list = x;
    }
    xs_lock_give(&records.lock);
    if (list != NULL) {
        struct xs_gpu_block *last = last_of(list);
        xs_gpu_shard_take(s);
        last->older = s->spare;
        s->spare = list;
        s->spare_count += n;
        xs_gpu_shard_give(s);
    }
    return b;
}

struct xs_gpu_block *xs_gpu_block_new(void)
{
    struct xs_gpu_shard *s = xs_gpu_shard();
    struct xs_gpu_block *b = NULL;

    if (s != NULL) {
        xs_gpu_shard_take(s);
        b = s->spare;
        if (b != NULL) {
            s->spare = b->older;
            s->spare_count--;
        }
        xs_gpu_shard_give(s);
    }
    if (b == NULL)
        b = from_all(s);
    if (b != NULL) {
        atomic_store_explicit(&b->marks, 0, memory_order_relaxed);
        b->newer = b->older = NULL;
        xs_gpu_block_set_home(b, NULL);
        b->stream = NULL;
        b->range = NULL;
        b->handle = 0;
        b->freed_ns = 0;
    }
    return b;
}

static void to_all(struct xs_gpu_block *list)
{
    struct xs_gpu_block *last = last_of(list);

    xs_lock_take(&records.lock);
    last->older = records.free;
    records.free = list;
    xs_lock_give(&records.lock);
}

void xs_gpu_block_drop(struct xs_gpu_block *b)
{
    struct xs_gpu_shard *s = xs_gpu_shard();
    struct xs_gpu_block *surplus = NULL;

    atomic_store_explicit(&b->address, 0, memory_order_relaxed);
    b->older = NULL;
    if (s == NULL) {
        to_all(b);
        return;
    }
    xs_gpu_shard_take(s);
    if (s->spare_count >= 2 * XS_GPU_SPARE_RECORDS) {
        surplus = s->spare;
        s->spare = NULL;
        s->spare_count = 0;
    }
    b->older = s->spare;
    s->spare = b;
    s->spare_count++;
    xs_gpu_shard_give(s);
    if (surplus != NULL)
        to_all(surplus);
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
 * Open addressing. Entries are made and removed under the lock of the thread's own shard, which
 * nobody else wants: a free entry is claimed by an exchange, and one that is full is changed by who
 * has its block. A table that is full of entries, or of marks of what was removed, is replaced by a
 * new one: who does that closes it, then takes each shard's lock once, after which nobody is at it.
 * Readers of the old one still find all that was in it. An old table of the right size is used
 * again: who finds nothing then looks whether that may be why. */

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
    struct xs_lock lock;    /* of who replaces it */
    _Atomic bool is_closed; /* it is being replaced */
    _Atomic size_t used;    /* entries, with a block or not */
    struct xs_gpu_entry *spare;
    _Atomic uint64_t replaced;
} table = {.lock.kind = XS_LOCK_GPU};

/* An entry whose record is another address's by now, or nobody's, is as good as none; it waits
 * there for the next block of that address. */
static bool is_at(const struct xs_gpu_block *b, uint64_t address)
{
    return b != NULL && xs_gpu_block_base(b) == address;
}

struct xs_gpu_block *xs_gpu_block_find(uint64_t address)
{
    for (;;) {
        uint64_t replaced = atomic_load_explicit(&table.replaced, memory_order_acquire);
        struct xs_gpu_entry *t = atomic_load_explicit(&xs_gpu_entries, memory_order_acquire);
        struct xs_gpu_block *b;
        if (address <= BUSY)
            return NULL;
        for (size_t i = xs_gpu_table_start(t, address);; i = (i + 1) & header(t)->mask) {
            uint64_t key = atomic_load_explicit(&t[i].key, memory_order_acquire);
            if (key == address &&
                (b = atomic_load_explicit(&t[i].block, memory_order_relaxed), is_at(b, address)))
                return b;
            if (key == 0 || key == address)
                break;
        }
        atomic_thread_fence(memory_order_acquire);
        if (replaced == atomic_load_explicit(&table.replaced, memory_order_relaxed))
            return NULL;
    }
}

/* The calling thread's shard, its lock taken, while nobody replaces the table. */
static struct xs_gpu_shard *enter(void)
{
    struct xs_gpu_shard *s = xs_gpu_shard();

    if (s == NULL)
        s = &xs_gpu_shard_none;
    for (;;) {
        xs_gpu_shard_take(s);
        /* Acquire: the table that was put into place before it was opened again. */
        if (XS_LIKELY(!atomic_load_explicit(&table.is_closed, memory_order_acquire)))
            return s;
        xs_gpu_shard_give(s);
        xs_lock_take(&table.lock);
        xs_lock_give(&table.lock);
    }
}

/* Under the table's lock. When it returns, nobody is between enter and the end of what he does
 * there, nor gets there. A new shard: see where it is made. */
static void close_table(void)
{
    atomic_store_explicit(&table.is_closed, true, memory_order_seq_cst);
    atomic_thread_fence(memory_order_seq_cst);
    xs_gpu_shard_take(&xs_gpu_shard_none);
    xs_gpu_shard_give(&xs_gpu_shard_none);
    for (struct xs_gpu_shard *s = xs_gpu_shards(); s != NULL; s = s->next) {
        xs_gpu_shard_take(s);
        xs_gpu_shard_give(s);
    }
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

/* Nobody else is at either of them. */
static size_t copy(struct xs_gpu_entry *to, struct xs_gpu_entry *from)
{
    size_t n = 0;

    for (size_t at = 0; at <= header(from)->mask; at++) {
        uint64_t key = atomic_load_explicit(&from[at].key, memory_order_relaxed);
        struct xs_gpu_block *b = atomic_load_explicit(&from[at].block, memory_order_relaxed);
        if (key <= BUSY || !is_at(b, key))
            continue;
        size_t i = xs_gpu_table_start(to, key);
        while (atomic_load_explicit(&to[i].key, memory_order_relaxed) != 0)
            i = (i + 1) & header(to)->mask;
        atomic_store_explicit(&to[i].block, b, memory_order_relaxed);
        atomic_store_explicit(&to[i].key, key, memory_order_relaxed);
        n++;
    }
    return n;
}

static size_t count_live(struct xs_gpu_entry *t)
{
    size_t n = 0;

    for (size_t at = 0; at <= header(t)->mask; at++) {
        uint64_t key = atomic_load_explicit(&t[at].key, memory_order_acquire);
        n += key > BUSY && is_at(atomic_load_explicit(&t[at].block, memory_order_relaxed), key);
    }
    return n;
}

/* Half of it. Without memory for another one, but for so many that look-ups find an end. */
static bool is_full(struct xs_gpu_entry *t, bool is_last)
{
    size_t entries = header(t)->mask + 1;
    size_t used = atomic_load_explicit(&table.used, memory_order_relaxed);

    return entries < FIRST_ENTRIES || used >= (is_last ? entries - AT_ONCE : entries / 2);
}

/* False: no memory. */
XS_COLD static bool replace(void)
{
    xs_lock_take(&table.lock);
    struct xs_gpu_entry *old = atomic_load_explicit(&xs_gpu_entries, memory_order_relaxed),
                        *t = old;

    if (is_full(old, false)) { /* not by another thread meanwhile */
        size_t entries = header(old)->mask + 1;
        size_t wanted = 4 * count_live(old) > entries ? 2 * entries : entries;
        t = new_table(wanted < FIRST_ENTRIES ? FIRST_ENTRIES : wanted);
    }
    if (t != NULL && t != old) {
        close_table();
        size_t n = copy(t, old);
        atomic_store_explicit(&table.used, n, memory_order_relaxed);
        /* Release: who sees the table sees what is in it. */
        atomic_store_explicit(&xs_gpu_entries, t, memory_order_release);
        atomic_fetch_add_explicit(&table.replaced, 1, memory_order_release);
        table.spare = old;
        atomic_store_explicit(&table.is_closed, false, memory_order_release);
    }
    xs_lock_give(&table.lock);
    return t != NULL;
}

/* The block that was there before gives way. NULL: it is on its way out. */
static bool exchange(struct xs_gpu_entry *e, uint64_t address, struct xs_gpu_block *b,
                     struct xs_gpu_block **stale)
{
    *stale = atomic_load_explicit(&e->block, memory_order_relaxed);
    if (*stale == NULL || !atomic_compare_exchange_strong_explicit(
                              &e->block, stale, b, memory_order_release, memory_order_relaxed))
        return false;
    if (*stale == b || !is_at(*stale, address))
        *stale = NULL;
    return true;
}

/* A free entry becomes the address's; false: another thread was quicker. */
static bool claim(struct xs_gpu_entry *e, uint64_t was, uint64_t address, struct xs_gpu_block *b)
{
    if (!atomic_compare_exchange_strong_explicit(&e->key, &was, BUSY, memory_order_relaxed,
                                                 memory_order_relaxed))
        return false;
    if (was == 0)
        atomic_fetch_add_explicit(&table.used, 1, memory_order_relaxed);
    atomic_store_explicit(&e->block, b, memory_order_relaxed);
    /* Release: who sees the key sees the record, and the table's. */
    atomic_store_explicit(&e->key, address, memory_order_release);
    return true;
}

/* Inside. No two threads enter the same address at a time: each has got its memory. */
static void put(struct xs_gpu_entry *t, uint64_t address, struct xs_gpu_block *b,
                struct xs_gpu_block **stale)
{
    for (;;) {
        struct xs_gpu_entry *hole = NULL, *e;
        uint64_t key;

        for (size_t i = xs_gpu_table_start(t, address);; i = (i + 1) & header(t)->mask) {
            e = &t[i];
            key = atomic_load_explicit(&e->key, memory_order_acquire);
            if (key == 0 || key == address)
                break;
            if (key == GONE && hole == NULL)
                hole = e;
        }
        if (key == address) {
            if (exchange(e, address, b, stale))
                return;
            *stale = NULL;
        } else if (claim(hole != NULL ? hole : e, hole != NULL ? GONE : 0, address, b)) {
            return;
        }
    }
}

bool xs_gpu_block_insert(struct xs_gpu_block *b, uint64_t address, struct xs_gpu_block **stale)
{
    *stale = NULL;
    if (address <= BUSY)
        return false;
    atomic_store_explicit(&b->address, address, memory_order_release);
    for (bool is_last = false;; is_last = !replace()) {
        struct xs_gpu_shard *s = enter();
        struct xs_gpu_entry *t = atomic_load_explicit(&xs_gpu_entries, memory_order_relaxed);
        bool is_room = !is_full(t, is_last);
        if (is_room)
            put(t, address, b, stale);
        xs_gpu_shard_give(s);
        if (is_room || is_last)
            return is_room;
    }
}

bool xs_gpu_block_insert_again(struct xs_gpu_shard *s, struct xs_gpu_block *b, uint64_t address)
{
    bool ok = false;

    if (XS_UNLIKELY(!xs_gpu_shard_try(s)))
        return false;
    /* Before the table is looked for, as in enter: else it may be one that was replaced just now.
     */
    if (XS_LIKELY(!atomic_load_explicit(&table.is_closed, memory_order_acquire))) {
        struct xs_gpu_entry *t = atomic_load_explicit(&xs_gpu_entries, memory_order_relaxed);
        struct xs_gpu_entry *e = &t[xs_gpu_table_start(t, address)];
        struct xs_gpu_block *old = atomic_load_explicit(&e->block, memory_order_relaxed);
        /* The entry is the address's, which nobody else has now. */
        if (atomic_load_explicit(&e->key, memory_order_acquire) == address && old != NULL &&
            (old == b || !is_at(old, address))) {
            atomic_store_explicit(&b->address, address, memory_order_release);
            ok = atomic_compare_exchange_strong_explicit(&e->block, &old, b, memory_order_release,
                                                         memory_order_relaxed);
        }
    }
    xs_gpu_shard_give(s);
    return ok;
}

unsigned xs_gpu_block_insert_kept(struct xs_gpu_block *const row[], unsigned n, uint64_t address,
                                  struct xs_gpu_block **stale)
{
    unsigned i = 0;

    *stale = NULL;
    if (XS_UNLIKELY(atomic_load_explicit(&table.is_closed, memory_order_acquire)))
        return 0;
    struct xs_gpu_entry *t = atomic_load_explicit(&xs_gpu_entries, memory_order_relaxed);
    for (; i < n && *stale == NULL; i++, address += row[0]->size) {
        struct xs_gpu_entry *e = &t[xs_gpu_table_start(t, address)];
        struct xs_gpu_block *old = atomic_load_explicit(&e->block, memory_order_relaxed);
        bool is_left = atomic_load_explicit(&e->key, memory_order_acquire) == address &&
                       old != NULL && !is_at(old, address);
        if (XS_UNLIKELY(!is_left) && is_full(t, false))
            break;
        atomic_store_explicit(&row[i]->address, address + XS_BLOCK_KEPT, memory_order_release);
        if (XS_UNLIKELY(!is_left) ||
            XS_UNLIKELY(!atomic_compare_exchange_strong_explicit(
                &e->block, &old, row[i], memory_order_release, memory_order_relaxed)))
            put(t, address, row[i], stale);
    }
    return i;
}

void xs_gpu_block_remove(struct xs_gpu_block *b)
{
    uint64_t address = xs_gpu_block_base(b), key;
    struct xs_gpu_shard *s = enter();
    struct xs_gpu_entry *t = atomic_load_explicit(&xs_gpu_entries, memory_order_relaxed), *e;
    struct xs_gpu_block *mine = b;
    size_t i = xs_gpu_table_start(t, address);

    do {
        e = &t[i];
        key = atomic_load_explicit(&e->key, memory_order_acquire);
        i = (i + 1) & header(t)->mask;
    } while (key != address && key != 0);
    /* It may be a younger block's by now. Then no block, so that nobody takes it over. */
    if (key == address && atomic_compare_exchange_strong_explicit(
                              &e->block, &mine, NULL, memory_order_relaxed, memory_order_relaxed))
        atomic_store_explicit(&e->key, GONE, memory_order_release);
    xs_gpu_shard_give(s);
}
