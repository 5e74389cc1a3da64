#include "cuda_shim/table.h"

#include <stdatomic.h>
#include <string.h>

XS_UNLIKELY_DATA void *xs_shim_real[XS_HOOK_COUNT];

/* ---- the rows, without a pointer: a process without CUDA relocates nothing for them -----------
 */

static const struct {
#define X(name, version, per_thread, symbol) char name_##symbol[sizeof(#name)];
    XS_HOOK_CALLS(X)
#undef X
#define X(name, version, symbol, where)                                                            \
    char name_##symbol[sizeof(#name)];                                                             \
    char name_##symbol##_ptsz[sizeof(#name)];
    XS_HOOK_STREAMS(X)
#undef X
#define X(name, version, symbol, where) char name_##symbol[sizeof(#name)];
    XS_HOOK_STREAMS_ALONE(X)
#undef X
#define X(name, version, symbol) char name_##symbol##_ptds[sizeof(#name)];
    XS_HOOK_THREADS(X)
#undef X
#define X(name, version, per_thread, symbol) char symbol_##symbol[sizeof(#symbol)];
    XS_HOOK_CALLS(X)
#undef X
#define X(name, version, symbol, where)                                                            \
    char symbol_##symbol[sizeof(#symbol)];                                                         \
    char symbol_##symbol##_ptsz[sizeof(#symbol "_ptsz")];
    XS_HOOK_STREAMS(X)
#undef X
#define X(name, version, symbol, where) char symbol_##symbol[sizeof(#symbol)];
    XS_HOOK_STREAMS_ALONE(X)
#undef X
#define X(name, version, symbol) char symbol_##symbol##_ptds[sizeof(#symbol "_ptds")];
    XS_HOOK_THREADS(X)
#undef X
} text = {
#define X(name, version, per_thread, symbol) .name_##symbol = #name, .symbol_##symbol = #symbol,
    XS_HOOK_CALLS(X)
#undef X
#define X(name, version, symbol, where)                                                            \
    .name_##symbol = #name, .symbol_##symbol = #symbol, .name_##symbol##_ptsz = #name,             \
    .symbol_##symbol##_ptsz = #symbol "_ptsz",
        XS_HOOK_STREAMS(X)
#undef X
#define X(name, version, symbol, where) .name_##symbol = #name, .symbol_##symbol = #symbol,
            XS_HOOK_STREAMS_ALONE(X)
#undef X
#define X(name, version, symbol)                                                                   \
    .name_##symbol##_ptds = #name, .symbol_##symbol##_ptds = #symbol "_ptds",
                XS_HOOK_THREADS(X)
#undef X
};

struct row {
    uint16_t name, symbol; /* where in `text` */
    uint16_t version;
    uint16_t per_thread;
};
#define ROW(id, version, per_thread)                                                               \
    {offsetof(__typeof__(text), name_##id), offsetof(__typeof__(text), symbol_##id), version,      \
     per_thread},
static const struct row row[] = {
#define X(name, version, per_thread, symbol) ROW(symbol, version, per_thread)
    XS_HOOK_CALLS(X)
#undef X
#define X(name, version, symbol, where)                                                            \
    ROW(symbol, version, 0)                                                                        \
    ROW(symbol##_ptsz, XS_HOOK_THREAD_VERSION(version), 1)
        XS_HOOK_STREAMS(X)
#undef X
#define X(name, version, symbol, where) ROW(symbol, version, 0)
            XS_HOOK_STREAMS_ALONE(X)
#undef X
#define X(name, version, symbol) ROW(symbol##_ptds, version, 1)
                XS_HOOK_THREADS(X)
#undef X
};
_Static_assert(XS_COUNT_OF(row) == XS_HOOK_COUNT, "one row a hook");
_Static_assert(sizeof(text) <= UINT16_MAX, "offsets fit");

static const char *at(uint16_t offset)
{
    return (const char *)&text + offset;
}

const char *xs_hook_symbol(enum xs_hook hook)
{
    return at(row[hook].symbol);
}

/* ---- by name: two hash tables, filled when the first name of CUDA's is looked for -------------
 */

enum { SLOTS = 1024 };
_Static_assert(SLOTS >= 4 * XS_HOOK_COUNT, "short chains");

XS_UNLIKELY_DATA static struct {
    _Atomic bool ready; /* release: the rest is written */
    struct slots {
        uint16_t by_symbol[SLOTS]; /* hook + 1; 0: empty */
        uint16_t by_name[SLOTS];   /* all hooks of a name follow each other */
    } at;
} table;

static unsigned hash(const char *s)
{
    uint32_t h = 2166136261u;

    for (; *s != '\0'; s++)
        h = (h ^ (unsigned char)*s) * 16777619u;
    return (h ^ h >> 16) % SLOTS;
}

static void enter(uint16_t slots[], const char *key, unsigned hook)
{
    unsigned i = hash(key);

    while (slots[i] != 0)
        i = (i + 1) % SLOTS;
    slots[i] = (uint16_t)(hook + 1);
}

/* Threads that do this at the same time write the same, so it needs no lock, which a fork could
 * leave held in the child. */
static void fill(void)
{
    struct slots all = {0};

    for (unsigned i = 0; i < XS_HOOK_COUNT; i++) {
        enter(all.by_symbol, at(row[i].symbol), i);
        enter(all.by_name, at(row[i].name), i);
    }
    for (unsigned i = 0; i < SLOTS; i++) {
        __atomic_store_n(&table.at.by_symbol[i], all.by_symbol[i], __ATOMIC_RELAXED);
        __atomic_store_n(&table.at.by_name[i], all.by_name[i], __ATOMIC_RELAXED);
    }
    atomic_store_explicit(&table.ready, true, memory_order_release);
}

static void need_table(void)
{
    if (!atomic_load_explicit(&table.ready, memory_order_acquire))
        fill();
}

enum xs_hook xs_hook_find(const char *symbol)
{
    need_table();
    for (unsigned i = hash(symbol); table.at.by_symbol[i] != 0; i = (i + 1) % SLOTS)
        if (strcmp(at(row[table.at.by_symbol[i] - 1].symbol), symbol) == 0)
            return (enum xs_hook)(table.at.by_symbol[i] - 1);
    return XS_HOOK_COUNT;
}

/* Of two forms the driver means the per-thread one if it may, then the younger one. */
static bool is_better(unsigned a, unsigned b)
{
    if (b == XS_HOOK_COUNT || row[a].per_thread != row[b].per_thread)
        return b == XS_HOOK_COUNT || row[a].per_thread > row[b].per_thread;
    return row[a].version > row[b].version;
}

/* What CUDA's headers call so from 12 on is another call, of another name and other arguments. */
static bool is_ambiguous(unsigned hook)
{
    return hook == XS_HOOK_cuGraphInstantiate || hook == XS_HOOK_cuGraphInstantiate_v2;
}

enum xs_hook xs_hook_answered(const char *name, const void *address, int version, uint64_t flags,
                              bool *by_version)
{
    unsigned per_thread = (flags & CU_GET_PROC_ADDRESS_PER_THREAD_DEFAULT_STREAM) != 0;
    unsigned best = XS_HOOK_COUNT;

    *by_version = false;
    need_table();
    for (unsigned i = hash(name); table.at.by_name[i] != 0; i = (i + 1) % SLOTS) {
        unsigned hook = table.at.by_name[i] - 1u;
        if (strcmp(at(row[hook].name), name) != 0)
            continue;
        if (xs_shim_real[hook] == address)
            return (enum xs_hook)hook;
        if (row[hook].version <= version && row[hook].per_thread <= per_thread &&
            !is_ambiguous(hook) && is_better(hook, best))
            best = hook;
    }
    if (best == XS_HOOK_COUNT) { /* asked by the symbol's own name */
        best = xs_hook_find(name);
        return best < XS_HOOK_COUNT && xs_shim_real[best] == address ? (enum xs_hook)best
                                                                     : XS_HOOK_COUNT;
    }
    *by_version = true;
    return (enum xs_hook)best;
}
