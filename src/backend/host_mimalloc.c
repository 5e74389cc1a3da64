/* libmimalloc, held to address ranges of ours.
 *
 * Its arenas are handed to it by mi_manage_os_memory and it is told to take no memory elsewhere,
 * so that a block is known to be mimalloc's by its address: one compare against a reservation, or
 * the page map where there is none (address space is limited, or the reservation is used up).
 * mi_is_in_heap_region, which would answer the same, is wrong above 20 TiB in 2.0.9.
 *
 * Version 3 is given the reservation piece by piece: the early ones refuse arenas above 16 GiB, the
 * later ones touch some 300 KiB for each at once. Blocks above 32 MiB (before 3.1), or aligned to
 * more than 64 KiB, it gets only from the system; the policy gives these to another back end.
 */
#include <dlfcn.h>
#include <errno.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "backend/counted.h"
#include "backend/library.h"
#include "base/align.h"
#include "core/pressure.h"
#include "core/supply.h"
#include "sys/env.h"
#include "sys/mem.h"
#include "sys/numa.h"
#include "sys/proc.h"

/* mimalloc's option numbers, the same from 2.0.9 to 3.x. */
enum {
    MI_SHOW_STATS = 1,
    MI_VERBOSE = 2,
    MI_EAGER_COMMIT = 3,
    MI_LIMIT_OS_ALLOC = 17,
    MI_ARENA_RESERVE = 23, /* another meaning before 2.1 */
};

/* mimalloc's segments are 32 MiB; what it manages starts and ends at multiples of that. */
#define SEGMENT ((size_t)32 << 20)

/* A range without a reservation is two of them at least. Where that would be more than a fourth of
 * what a limit leaves to the program, its own stacks and mappings would lack it. */
#define LIMIT_LEAST ((uint64_t)SEGMENT * 8)

/* Sizes up to 8 get 8-byte alignment from mimalloc 2.0, and failures of large sizes need more room:
 * both leave the fast path by one comparison. */
#define FAST_FIRST ((size_t)9)
#define FAST_LAST  ((size_t)1 << 20)

/* mimalloc's own bound of small sizes (MI_SMALL_SIZE_MAX), up to which it has functions that need
 * not look at the size again. */
#define SMALL_LAST ((size_t)1024)

/* 64 arenas is all that mimalloc 2.0.9 has room for, 160 in 3.x. */
#define GROWTHS_MAX   60
#define GROWTHS_MAX_3 150

/* Of version 3: a block and what lies around it must fit 32 MiB. */
#define SIZE_MAX_3  ((size_t)16 << 20)
#define ALIGN_MAX_3 ((size_t)64 << 10)
#define PIECE_MIN_3 ((size_t)1 << 30)
#define PIECE_MAX_3 ((size_t)16 << 30)

XS_UNLIKELY_DATA static struct {
    int (*version)(void);
    void (*option_set)(int option, long value);
    bool (*manage_os_memory)(void *start, size_t size, bool committed, bool large, bool zero,
                             int numa_node);
    void (*register_error)(void (*handler)(int error, void *arg), void *arg);
    void (*collect)(bool force);
    void (*register_deferred_free)(void (*f)(bool force, unsigned long long beat, void *arg),
                                   void *arg);
    bool want_huge; /* transparent huge pages */
    bool commits;   /* ranges are writable from the start: mimalloc dies of a refusal later */
    bool is_3;
    bool is_open;
    char *rest; /* of the reservation, that version 3 has not been given yet */
    size_t rest_bytes;
} mi;

static _Atomic bool growing;
static _Atomic unsigned growths;
static _Atomic size_t grown_bytes;

enum { mimalloc_counts_failures = true };

/* Blocks from here on are first asked of the kernel, which refuses what its memory can never hold;
 * a range that is only reserved would not tell. */
#define PROBE_FROM ((size_t)1 << 30)

static bool kernel_would_give(size_t size)
{
    void *p = xs_mem_map(size, 1);

    if (p == NULL)
        return false;
    (void)xs_mem_unmap(p, size);
    return true;
}

/* The next piece of the reservation, as much again as it has so far. */
static bool add_piece(void)
{
    size_t size = atomic_load_explicit(&grown_bytes, memory_order_relaxed);

    size = size < PIECE_MIN_3 ? PIECE_MIN_3 : size;
    size = size > PIECE_MAX_3 ? PIECE_MAX_3 : size;
    size = size > mi.rest_bytes ? mi.rest_bytes : size;
    if (size == 0 || !mi.manage_os_memory(mi.rest, size, false, false, true, -1))
        return false;
    mi.rest += size;
    mi.rest_bytes -= size;
    atomic_fetch_add_explicit(&grown_bytes, size, memory_order_relaxed);
    return true;
}

/* Another range for mimalloc, at least `need` bytes, known through the page map. */
static bool add_range(size_t need)
{
    size_t want = atomic_load_explicit(&grown_bytes, memory_order_relaxed);

    if (mi.is_3 && want > PIECE_MAX_3)
        want = PIECE_MAX_3;
    need = xs_align_up(need + SEGMENT, SEGMENT);
    want = xs_align_down(want < 2 * SEGMENT ? 2 * SEGMENT : want, SEGMENT);
    for (size_t size = want > need ? want : need; size >= need; size -= SEGMENT) {
        bool may = xs_supply_charge(size);
        void *p = !may         ? NULL
                  : mi.commits ? xs_mem_map(size, SEGMENT)
                               : xs_mem_reserve(size, SEGMENT);
        if (p == NULL && may)
            xs_supply_uncharge(size);
        if (p == NULL) {
            if (size / 2 > need)
                size = xs_align_up(size / 2, SEGMENT);
            continue;
        }
        if (xs_page_map_set(p, size, XS_OWNER_MIMALLOC) == 0) {
            xs_numa_place(p, size, XS_NUMA_ANY);
            if (mi.want_huge)
                xs_mem_want_huge(p, size);
            if (mi.manage_os_memory(p, size, mi.commits, false, true, -1)) {
                atomic_fetch_add_explicit(&grown_bytes, size, memory_order_relaxed);
                return true;
            }
            (void)xs_page_map_set(p, size, 0);
        }
        (void)xs_mem_unmap(p, size);
        xs_supply_uncharge(size);
        return false;
    }
    return false;
}

/* False when there is no more to be had. One thread grows, the others wait for what it brings;
 * mimalloc calls nothing of ours meanwhile. */
static bool grow(size_t size, size_t align, unsigned seen)
{
    bool done = false;

    while (atomic_exchange_explicit(&growing, true, memory_order_acquire))
        sched_yield();
    unsigned now = atomic_load_explicit(&growths, memory_order_relaxed);
    if (now != seen) {
        done = true; /* somebody else just grew: try again first */
    } else if (now < (mi.is_3 ? GROWTHS_MAX_3 : GROWTHS_MAX) &&
               (add_piece() || add_range(size + align))) {
        atomic_store_explicit(&growths, now + 1, memory_order_relaxed);
        done = true;
    }
    atomic_store_explicit(&growing, false, memory_order_release);
    return done;
}

static bool is_reserved; /* and large enough never to grow */

/* In a call that looks at what comes, and then sets errno and counts by itself. */
static XS_TLS bool asking;

/* mimalloc calls this when it gives up on an allocation: with a reservation the fast path is a jump
 * into mimalloc and does not see the result. */
static void on_error(int error, void *arg)
{
    (void)arg;
    if (asking || !is_reserved || (error != ENOMEM && error != EOVERFLOW))
        return;
    (void)grow(0, 0, atomic_load_explicit(&growths, memory_order_relaxed)); /* for the next call */
    if (xs_hot.counting && mi.is_open)
        xs_count_failure(XS_OWNER_MIMALLOC, false, 0);
    if (mi.is_open)
        xs_pressure_failed(0);
    errno = ENOMEM;
}

/* ---- pressure --------------------------------------------------------------------------- */

/* mimalloc takes memory of a reservation without a word; but whenever it has no block at hand, or
 * in version 3 each hundredth time, it calls who has registered. So much may be new then. */
#define BEAT_BYTES   ((size_t)64 << 10)
#define BEAT_BYTES_3 ((size_t)1 << 20)

/* That is not known, so looks are no nearer to each other than this; and what a heap keeps goes
 * back no oftener than that. */
#define LOOK_NS    5000000u
#define COLLECT_NS 50000000u

static _Atomic uint64_t next_look_ns;
static _Atomic uint64_t next_collect_ns;

static bool is_time(_Atomic uint64_t *next, uint64_t pause)
{
    uint64_t now = xs_proc_now_ns();

    if (now < atomic_load_explicit(next, memory_order_relaxed))
        return false;
    atomic_store_explicit(next, now + pause, memory_order_relaxed);
    return true;
}

static void mind(size_t size)
{
    if (XS_LIKELY(!xs_pressure_is_due(size)))
        return;
    if (is_time(&next_look_ns, LOOK_NS))
        xs_pressure_look(size);
    else
        xs_pressure_forgive(size);
}

static void on_beat(bool force, unsigned long long beat, void *arg)
{
    static XS_TLS uint32_t seen;

    (void)beat;
    (void)arg;
    if (force || !mi.is_open)
        return;
    mind(mi.is_3 ? BEAT_BYTES_3 : BEAT_BYTES);
    uint32_t calls = atomic_load_explicit(&xs_pressure_calls, memory_order_relaxed);
    if (XS_LIKELY(calls == seen) || !is_time(&next_collect_ns, COLLECT_NS))
        return;
    int saved = errno;
    seen = calls;
    mi.collect(true); /* what this thread keeps; nobody but it can give that back */
    errno = saved;
}

/* ---- calls ------------------------------------------------------------------------------ */

enum want { WANT_BLOCK, WANT_ZEROED, WANT_ALIGNED, WANT_REALLOC };

/* 2.0.9 takes blocks of 256, 512 and 1024 bytes to be aligned to their size, but starts the page
 * they lie in elsewhere. One byte more takes another path through it. */
static void *ask_aligned(size_t align, size_t size)
{
    void *p = xs_hot.mimalloc.malloc_aligned(size, align);

    if (XS_LIKELY(((uintptr_t)p & (align - 1)) == 0))
        return p;
    xs_hot.mimalloc.free(p);
    p = xs_hot.mimalloc.malloc_aligned(size + 1, align);
    if (((uintptr_t)p & (align - 1)) == 0)
        return p;
    xs_hot.mimalloc.free(p);
    return NULL;
}

XS_INLINE void *ask(enum want want, void *p, size_t align, size_t size)
{
    switch (want) {
    case WANT_BLOCK:
        return xs_hot.mimalloc.malloc(size);
    case WANT_ZEROED:
        return xs_hot.mimalloc.zalloc(size);
    case WANT_ALIGNED:
        return ask_aligned(align, size);
    case WANT_REALLOC:
        return xs_hot.mimalloc.realloc(p, size);
    }
    return NULL;
}

XS_COLD static void *fail(enum want want, size_t size)
{
    if (xs_hot.counting && mi.is_open && want != WANT_REALLOC)
        xs_count_failure(XS_OWNER_MIMALLOC, false, size);
    if (mi.is_open)
        xs_pressure_failed(size);
    errno = ENOMEM;
    return NULL;
}

/* Every call but the fastest: asks, makes room, asks again. */
static void *ask_firmly(enum want want, void *p, size_t align, size_t size)
{
    size_t asked = size;

    if (size < FAST_FIRST && want != WANT_ALIGNED)
        size = 16;
    if (XS_UNLIKELY(size > xs_hot.mimalloc.size_max || align > xs_hot.mimalloc.align_max))
        return fail(want, asked);
    if (XS_UNLIKELY(size >= PROBE_FROM) && (size > XS_SIZE_MAX_REQUEST || !kernel_would_give(size)))
        return fail(want, asked);
    if (XS_UNLIKELY(size > FAST_LAST) && mi.is_open)
        mind(size);
    for (;;) {
        unsigned seen = atomic_load_explicit(&growths, memory_order_relaxed);
        asking = true;
        void *q = ask(want, p, align, size);
        asking = false;
        if (XS_LIKELY(q != NULL))
            return q;
        if (!grow(size, align, seen))
            return fail(want, asked);
    }
}

static __attribute__((noinline)) void *malloc_slow(size_t size)
{
    return ask_firmly(WANT_BLOCK, NULL, 0, size);
}

XS_INLINE bool is_fast(size_t size)
{
    return size - FAST_FIRST <= FAST_LAST - FAST_FIRST;
}

XS_INLINE bool is_small(size_t size)
{
    return size - FAST_FIRST <= SMALL_LAST - FAST_FIRST;
}

XS_INLINE bool mimalloc_owns(const void *p)
{
    return xs_in_mimalloc_range(p);
}

XS_INLINE void *mimalloc_do_malloc(size_t size)
{
    if (is_small(size))
        return xs_hot.mimalloc.malloc_small(size);
    if (size < FAST_FIRST)
        return xs_hot.mimalloc.malloc_small(16);
    return size <= FAST_LAST ? xs_hot.mimalloc.malloc(size) : malloc_slow(size);
}

XS_INLINE void *mimalloc_do_zalloc(size_t size)
{
    if (XS_LIKELY(is_small(size)))
        return xs_hot.mimalloc.zalloc_small(size);
    return is_fast(size) ? xs_hot.mimalloc.zalloc(size) : ask_firmly(WANT_ZEROED, NULL, 0, size);
}

/* For calls that may ask twice: the first time without all that ask_firmly prepares. */
XS_INLINE void *ask_quickly(enum want want, void *p, size_t size)
{
    void *q = NULL;

    if (XS_LIKELY(is_fast(size))) {
        asking = true;
        q = ask(want, p, 0, size);
        asking = false;
    }
    return XS_LIKELY(q != NULL) ? q : ask_firmly(want, p, 0, size);
}

XS_INLINE void *mimalloc_do_realloc(void *p, size_t size)
{
    return ask_quickly(WANT_REALLOC, p, size);
}

XS_INLINE void *mimalloc_do_memalign(size_t align, size_t size)
{
    return ask_firmly(WANT_ALIGNED, NULL, align, size);
}

XS_INLINE void mimalloc_do_free(void *p)
{
    xs_hot.mimalloc.free(p);
}

XS_COUNTED_CALLS(mimalloc, XS_OWNER_MIMALLOC)

/* The same without a reservation that is sure to suffice: even a small block may need growth. */
XS_INLINE void *growing_do_malloc(size_t size)
{
    void *p = NULL;

    if (XS_LIKELY(is_small(size)))
        p = xs_hot.mimalloc.malloc_small(size);
    else if (is_fast(size))
        p = xs_hot.mimalloc.malloc(size);
    return XS_LIKELY(p != NULL) ? p : ask_firmly(WANT_BLOCK, NULL, 0, size);
}

XS_INLINE void *growing_do_zalloc(size_t size)
{
    void *p = NULL;

    if (XS_LIKELY(size <= FAST_LAST))
        p = xs_hot.mimalloc.zalloc(size < 16 ? 16 : size);
    return XS_LIKELY(p != NULL) ? p : ask_firmly(WANT_ZEROED, NULL, 0, size);
}

#define growing_do_realloc  mimalloc_do_realloc
#define growing_do_memalign mimalloc_do_memalign
#define growing_do_free     mimalloc_do_free
#define growing_owns        mimalloc_owns
enum { growing_counts_failures = mimalloc_counts_failures };

XS_COUNTED_CALLS(growing, XS_OWNER_MIMALLOC)

static const struct xs_calls *calls(bool counted)
{
    return is_reserved ? mimalloc_calls(counted) : growing_calls(counted);
}

XS_ALONE_CALLS(mimalloc, XS_OWNER_MIMALLOC)
XS_ALONE_CALLS(growing, XS_OWNER_MIMALLOC)

/* Below SMALL_LAST the size is all that is counted (xs_size_counts). */
XS_INLINE bool is_counted_by_size(size_t size)
{
    return size - FAST_FIRST < XS_SIZES_COUNTED - FAST_FIRST;
}

_Static_assert(XS_SIZES_COUNTED <= SMALL_LAST + 1, "all of them are small");

static void *mimalloc_alone_malloc(size_t size)
{
    if (XS_LIKELY(is_counted_by_size(size))) {
        XS_COUNT(xs_size_counts.taken[size], 1);
        return xs_hot.mimalloc.malloc_small(size);
    }
    if (size < FAST_FIRST) {
        XS_COUNT(xs_size_counts.taken[size], 1);
        return xs_hot.mimalloc.malloc_small(16);
    }
    xs_count_into(&XS_SLOT_ALONE.by_owner[XS_OWNER_MIMALLOC], size);
    return size <= FAST_LAST ? xs_hot.mimalloc.malloc(size) : malloc_slow(size);
}

/* With version 3 large sizes are another's: the way by the route is only for these. */
static void *alone_first_malloc(size_t size)
{
    void *p = NULL;

    if (XS_LIKELY(is_counted_by_size(size))) {
        XS_COUNT(xs_size_counts.taken[size], 1);
        p = xs_hot.mimalloc.malloc_small(size);
        return XS_LIKELY(p != NULL) ? p : ask_firmly(WANT_BLOCK, NULL, 0, size);
    }
    if (size > FAST_LAST)
        return xs_routed_calls.malloc(size);
    xs_count_into(&XS_SLOT_ALONE.by_owner[XS_OWNER_MIMALLOC], size);
    return growing_do_malloc(size);
}

static void *alone_first_zalloc(size_t size)
{
    return XS_LIKELY(size <= FAST_LAST) ? growing_alone_zalloc(size) : xs_routed_calls.zalloc(size);
}

static void *first_malloc(size_t size)
{
    return XS_LIKELY(is_small(size) || size <= FAST_LAST) ? growing_do_malloc(size)
                                                          : xs_routed_calls.malloc(size);
}

static void *counted_first_malloc(size_t size)
{
    return XS_LIKELY(size <= FAST_LAST) ? growing_counted_malloc(size)
                                        : xs_routed_calls.malloc(size);
}

static void shortcuts(struct xs_shortcuts *s, enum xs_counting counting)
{
    if (xs_hot.mimalloc.size == 0)
        return;
    s->from = xs_hot.mimalloc.base;
    s->below = xs_hot.mimalloc.base + xs_hot.mimalloc.size;
    s->last = FAST_LAST;
    switch (counting) {
    case XS_COUNTING_OFF:
        s->free = xs_hot.mimalloc.free;
        s->malloc = mi.is_3 ? first_malloc : NULL;
        break;
    case XS_COUNTING_EACH:
        s->free = mimalloc_counted_free_own;
        s->malloc = mi.is_3 ? counted_first_malloc : NULL;
        break;
    case XS_COUNTING_ALONE:
        xs_size_counts_begin();
        s->last = is_reserved ? SIZE_MAX : FAST_LAST;
        s->free = is_reserved ? mimalloc_alone_free_own : growing_alone_free_own;
        s->malloc = is_reserved ? mimalloc_alone_malloc : alone_first_malloc;
        s->zalloc = is_reserved ? mimalloc_alone_zalloc : alone_first_zalloc;
        break;
    }
}

/* Physical memory; 0 if unknown. */
static size_t memory_size(void)
{
    long pages = sysconf(_SC_PHYS_PAGES);

    return pages > 0 ? (size_t)pages * xs_mem_page() : 0;
}

static size_t map_huge(char *base, size_t gib, struct xs_buf *why)
{
    static const size_t pages[] = {(size_t)1 << 30, (size_t)2 << 20};
    int rc = 0;

    for (size_t i = 0; i < XS_COUNT_OF(pages); i++) {
        rc = xs_mem_map_huge_at(base, gib << 30, pages[i]);
        if (rc != 0)
            continue;
        size_t done = 0;
        size_t piece = mi.is_3 ? PIECE_MAX_3 : gib << 30;
        for (size_t size; done < gib << 30; done += size) {
            size = (gib << 30) - done < piece ? (gib << 30) - done : piece;
            if (!mi.manage_os_memory(base + done, size, true, true, true, -1))
                break;
        }
        if (done != 0)
            return gib << 30;
        rc = EINVAL;
        break;
    }
    xs_fmt(why, "no %zu GiB of huge pages (error %d; see /proc/sys/vm/nr_hugepages)", gib, rc);
    return 0;
}

/* Takes the reservation, halved as often as the address space demands. */
static void reserve(const struct xs_backend_options *o, struct xs_buf *why)
{
    size_t size = o->mimalloc_reserve_bytes;
    size_t enough = memory_size() * 2;
    char *base = NULL;

    for (; size >= 64 * SEGMENT && base == NULL; size /= 2) {
        base = xs_mem_reserve(size, SEGMENT);
        if (base != NULL)
            break;
    }
    if (base == NULL)
        return;
    size_t huge = o->mimalloc_huge_gib > 0 && o->mimalloc_huge_gib << 30 < size
                      ? map_huge(base, o->mimalloc_huge_gib, why)
                      : 0;
    if (mi.want_huge)
        xs_mem_want_huge(base + huge, size - huge);
    xs_numa_place(base + huge, size - huge, XS_NUMA_ANY);
    if (mi.is_3) {
        mi.rest = base + huge;
        mi.rest_bytes = size - huge;
    } else if (!mi.manage_os_memory(base + huge, size - huge, false, false, true, -1)) {
        (void)xs_mem_unmap(base + huge, size - huge);
        return;
    }
    xs_hot.mimalloc.base = (uintptr_t)base;
    xs_hot.mimalloc.size = size;
    if (mi.is_3)
        return;
    is_reserved = o->mimalloc_reserve_is_given ? size == o->mimalloc_reserve_bytes
                                               : enough != 0 && size >= enough;
}

/* The library must take all its blocks from what we gave it, or free would not know them. Where it
 * gets none at all (a limit, a filter of system calls) it serves nobody. 0, ENOTSUP or ENOMEM. */
static int keeps_to_ranges(void)
{
    static const size_t sizes[] = {16, 1000, 40000, 300000, 5 << 20, SIZE_MAX_3, 40 << 20};
    int rc = ENOMEM;

    for (size_t i = 0; i < XS_COUNT_OF(sizes) && sizes[i] <= xs_hot.mimalloc.size_max; i++) {
        void *p = ask_firmly(WANT_BLOCK, NULL, 0, sizes[i]);
        if (p == NULL)
            continue; /* a small address space: no proof, but no block either */
        if (rc == ENOMEM)
            rc = 0;
        if (xs_owner_of(p) != XS_OWNER_MIMALLOC)
            rc = ENOTSUP;
        xs_hot.mimalloc.free(p);
    }
    return rc;
}

/* Of 209, 3206 or 30403: each begins with it. */
static int major_of(int version)
{
    while (version >= 10)
        version /= 10;
    return version;
}

bool xs_mimalloc_suits(void *library, struct xs_buf *why)
{
    int (*ask_version)(void) = NULL;
    void *at = dlsym(library, "mi_version");
    int version = 0;

    if (at == NULL)
        return true;
    memcpy(&ask_version, &at, sizeof(at));
    version = ask_version();
    /* A page of a thread that is gone had part of its free list twice after others' frees. */
    if (version == 300 || version == 301)
        xs_put_str(why, "mimalloc 3.0.1 hands out a block twice (mended in 3.0.2)");
    else if (version < 209 || major_of(version) < 2)
        xs_fmt(why, "version %d is older than 2.0.9", version);
    else
        return true;
    return false;
}

static int mimalloc_open(const struct xs_backend_options *o, struct xs_buf *why)
{
    const struct xs_symbol symbols[] = {
        {"mi_malloc", &xs_hot.mimalloc.malloc, false},
        {"mi_zalloc", &xs_hot.mimalloc.zalloc, false},
        {"mi_malloc_small", &xs_hot.mimalloc.malloc_small, true},
        {"mi_zalloc_small", &xs_hot.mimalloc.zalloc_small, true},
        {"mi_realloc", &xs_hot.mimalloc.realloc, false},
        {"mi_malloc_aligned", &xs_hot.mimalloc.malloc_aligned, false},
        {"mi_free", &xs_hot.mimalloc.free, false},
        {"mi_usable_size", &xs_hot.mimalloc.usable_size, false},
        {"mi_version", &mi.version, false},
        {"mi_option_set", &mi.option_set, false},
        {"mi_manage_os_memory", &mi.manage_os_memory, false},
        {"mi_register_error", &mi.register_error, false},
        {"mi_collect", &mi.collect, false},
        {"mi_register_deferred_free", &mi.register_deferred_free, true},
    };

    if (xs_mem_limit() < LIMIT_LEAST || xs_supply_limit() < LIMIT_LEAST) {
        xs_put_str(why, "it takes 64 MiB at a time, more than a fourth of the limit on memory here "
                        "(ulimit -v, -d, XSIGMA_MEMORY_LIMIT)");
        return ENOMEM;
    }
    /* Where it cannot reserve any, version 3 crashes when the process ends, used or not. */
    void *probe = xs_mem_reserve(SEGMENT, SEGMENT);
    if (probe == NULL) {
        xs_put_str(why, "it gets no memory here");
        return ENOMEM;
    }
    (void)xs_mem_unmap(probe, SEGMENT);
    /* Memory that it reserves for itself while it starts would lie outside our ranges. */
    xs_env_hide("MIMALLOC_RESERVE_");
    void *library = xs_library_open(o->mimalloc_library, why);
    xs_env_unhide("MIMALLOC_RESERVE_");
    if (library == NULL)
        return ENOENT;
    int rc = xs_library_symbols(library, o->mimalloc_library, symbols, XS_COUNT_OF(symbols), why);
    if (rc != 0)
        return rc;
    if (!xs_mimalloc_suits(library, why))
        return ENOTSUP;
    mi.is_3 = major_of(mi.version()) >= 3;
    if (xs_hot.mimalloc.malloc_small == NULL)
        xs_hot.mimalloc.malloc_small = xs_hot.mimalloc.malloc;
    if (xs_hot.mimalloc.zalloc_small == NULL)
        xs_hot.mimalloc.zalloc_small = xs_hot.mimalloc.zalloc;
    xs_hot.mimalloc.size_max = mi.is_3 ? SIZE_MAX_3 : SIZE_MAX;
    xs_hot.mimalloc.align_max = mi.is_3 ? ALIGN_MAX_3 : SIZE_MAX;
    mi.option_set(MI_LIMIT_OS_ALLOC, 1);
    if (mi.version() >= 210)
        mi.option_set(MI_ARENA_RESERVE, 0);
    mi.option_set(MI_SHOW_STATS, o->mimalloc_show_stats);
    mi.option_set(MI_VERBOSE, o->mimalloc_verbose);
    mi.option_set(MI_EAGER_COMMIT, o->mimalloc_eager_commit);
    mi.register_error(on_error, NULL);
    if (mi.register_deferred_free != NULL)
        mi.register_deferred_free(on_beat, NULL);
    mi.want_huge = o->mimalloc_large_pages;
    mi.commits = xs_mem_reserves_nothing();
    if (o->mimalloc_reserve_bytes != 0 && !mi.commits)
        reserve(o, why);
    if (o->mimalloc_huge_gib > 0 && xs_hot.mimalloc.size == 0)
        xs_put_str(why, "huge pages need the address reservation (XSIGMA_RESERVE)");
    rc = keeps_to_ranges();
    if (rc == ENOTSUP)
        xs_put_str(why, "this version takes memory outside of the ranges given to it");
    else if (rc != 0)
        xs_put_str(why, "it gets no memory here");
    mi.is_open = rc == 0;
    return rc;
}

static size_t mimalloc_usable_size(void *p)
{
    return xs_hot.mimalloc.usable_size(p);
}

static bool mimalloc_trim(size_t pad)
{
    (void)pad;
    mi.collect(true);
    return true;
}

static bool is_mimallocs(uintptr_t start)
{
    return xs_owner_of((const void *)start) ==
           XS_OWNER_MIMALLOC; // NOLINT(performance-no-int-to-ptr)
}

/* Not mi_process_info: what 2.0.9 counts as committed drifts, even below zero, once it gives memory
 * of a range like ours back. The kernel knows. */
static void mimalloc_memory(struct xs_backend_memory *m, bool may_lock)
{
    (void)may_lock;
    *m = (struct xs_backend_memory){XS_UNKNOWN, XS_UNKNOWN, XS_UNKNOWN, "smaps (resident)"};
    m->reserved_bytes = xs_proc_resident(is_mimallocs);
}

static void leave_alone(void *p)
{
    (void)p;
}

/* Version 3 has locks, which a thread that is gone may have held: its free is not called either. */
static bool mimalloc_survives_fork(bool was_threaded)
{
    atomic_store_explicit(&growing, false, memory_order_relaxed);
    if (!mi.is_3 || !was_threaded)
        return true;
    if (xs_hot_unlock()) {
        xs_hot.mimalloc.free = leave_alone;
        xs_hot_lock();
    }
    return false;
}

const struct xs_backend xs_backend_mimalloc = {
    .name = "mimalloc",
    .owner = XS_OWNER_MIMALLOC,
    .open = mimalloc_open,
    .calls = calls,
    .shortcuts = shortcuts,
    .free_own = mimalloc_free_own,
    .free_own_counted = mimalloc_counted_free_own,
    .realloc_own = mimalloc_realloc_own,
    .realloc_own_counted = mimalloc_counted_realloc_own,
    .usable_size = mimalloc_usable_size,
    .trim = mimalloc_trim,
    .memory = mimalloc_memory,
    .survives_fork = mimalloc_survives_fork,
};
