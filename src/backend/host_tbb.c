/* oneTBB's scalable allocator, as a memory pool whose memory comes from us.
 *
 * A pool asks its callback for memory, so every range is entered into the page map before a block
 * of it exists; scalable_malloc, the library's default pool, would map for itself, and whose a
 * pointer is could only be guessed by reading in front of it.
 */
#include <errno.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>

#include "backend/counted.h"
#include "backend/library.h"
#include "base/align.h"
#include "core/pressure.h"
#include "core/supply.h"
#include "sys/elf.h"
#include "sys/lock.h"
#include "sys/mem.h"
#include "sys/numa.h"

/* oneTBB's pool interface, from its documentation; C++ there, plain functions in the library. */
struct tbb_pool_policy {
    void *(*alloc)(intptr_t id, size_t *bytes);
    int (*free)(intptr_t id, void *p, size_t bytes);
    size_t granularity;
    int version;
    unsigned fixed_pool : 1;
    unsigned keep_all_memory : 1;
    unsigned reserved : 30;
};

static struct {
    int (*create)(intptr_t id, const struct tbb_pool_policy *policy, void **pool);
    bool want_huge;
    _Atomic size_t mapped_bytes;
    _Atomic size_t mapped_peak_bytes;
    const void *library; /* its link map, which dlopen's handle is */
    bool retired;        /* in a fork child: its locks may be held by threads that are not here */
} tbb;

/* The largest page of any kernel. */
#define MAP_GRANULE ((size_t)64 << 10)

/* Where huge pages are wanted, what it asks for, mostly 1 MiB and a little more, lies side by side
 * in areas of this size, as each by itself has room for none, or would leave half of its own
 * unused. */
#define AREA_BYTES ((size_t)64 << 20)

static struct {
    struct xs_lock lock;
    char *at; /* what follows has been given to nobody */
    char *end;
} area;

/* It has some MiB before anybody asks, and dies of nothing more; but the program would be refused
 * what it needs. */
#define LIMIT_LEAST ((uint64_t)32 << 20)

/* A thread's first call sets up oneTBB's state for it, which may call pthread_setspecific, which
 * may call calloc: that inner call is glibc's. */
static XS_TLS enum { THREAD_NEW, THREAD_STARTING, THREAD_READY } thread_state;

enum { tbb_counts_failures = false };

/* The next bytes of the area; NULL: it has too few. */
static char *next_of_area(size_t size)
{
    xs_lock_take(&area.lock);
    char *p = (size_t)(area.end - area.at) < size ? NULL : area.at;
    if (p != NULL)
        area.at += size;
    xs_lock_give(&area.lock);
    return p;
}

/* No lock is held while the kernel is asked; the rest of the area before goes back. */
static bool new_area(void)
{
    char *p = xs_mem_map(AREA_BYTES, XS_MEM_HUGE);

    if (p == NULL)
        return false;
    xs_mem_want_huge(p, AREA_BYTES);
    xs_numa_place(p, AREA_BYTES, XS_NUMA_ANY);
    xs_lock_take(&area.lock);
    char *rest = area.at;
    size_t size = (size_t)(area.end - area.at);
    area.at = p;
    area.end = p + AREA_BYTES;
    xs_lock_give(&area.lock);
    if (size != 0)
        (void)xs_mem_unmap(rest, size);
    return true;
}

static void *map_in_area(size_t size)
{
    size_t had = atomic_load_explicit(&tbb.mapped_bytes, memory_order_relaxed);
    void *p = NULL;

    /* Of the kernel's pool an area cannot give a part back. */
    if (size > AREA_BYTES / 2 || (size >= XS_MEM_HUGE && xs_supply_is_explicit()) ||
        !(tbb.want_huge || xs_supply_is_huge(had)) || !xs_supply_charge(size))
        return NULL;
    do {
        p = next_of_area(size);
    } while (p == NULL && new_area());
    if (p == NULL)
        xs_supply_uncharge(size);
    return p;
}

static void *raw_alloc(intptr_t id, size_t *bytes)
{
    int saved = errno;
    size_t size = xs_align_up(*bytes, MAP_GRANULE);

    (void)id;
    if (size < *bytes)
        return NULL;
    if (xs_pressure_is_due(size))
        xs_pressure_look(size);
    void *p = map_in_area(size);
    if (p == NULL)
        p = xs_supply_map(XS_NUMA_ANY, &size, MAP_GRANULE,
                          atomic_load_explicit(&tbb.mapped_bytes, memory_order_relaxed));
    if (p != NULL && xs_page_map_set(p, size, XS_OWNER_TBB) != 0) {
        xs_supply_unmap(p, size);
        p = NULL;
    }
    if (p != NULL) {
        if (tbb.want_huge)
            xs_mem_want_huge(p, size);
        *bytes = size;
        size_t now =
            atomic_fetch_add_explicit(&tbb.mapped_bytes, size, memory_order_relaxed) + size;
        size_t peak = atomic_load_explicit(&tbb.mapped_peak_bytes, memory_order_relaxed);
        while (now > peak &&
               !atomic_compare_exchange_weak_explicit(&tbb.mapped_peak_bytes, &peak, now,
                                                      memory_order_relaxed, memory_order_relaxed))
            ;
    }
    errno = saved;
    return p;
}

static int raw_free(intptr_t id, void *p, size_t bytes)
{
    int saved = errno;

    (void)id;
    /* Out of the map first: once unmapped, the range may be anybody's. */
    (void)xs_page_map_set(p, bytes, 0);
    int rc = xs_supply_unmap(p, bytes);
    if (rc != 0)
        (void)xs_page_map_set(p, bytes, XS_OWNER_TBB);
    else
        atomic_fetch_sub_explicit(&tbb.mapped_bytes, bytes, memory_order_relaxed);
    errno = saved;
    return rc;
}

XS_COLD static void *fail(size_t size)
{
    xs_pressure_failed(size);
    errno = ENOMEM;
    return NULL;
}

XS_COLD static void *start_thread_and_malloc(size_t size, bool zero)
{
    if (thread_state == THREAD_STARTING)
        return zero ? xs_hot.libc.calloc(1, size) : xs_hot.libc.malloc(size);
    thread_state = THREAD_STARTING;
    void *p = xs_hot.tbb.malloc(xs_hot.tbb.pool, size < 16 ? 16 : size);
    thread_state = THREAD_READY;
    if (p == NULL)
        return fail(size);
    return zero ? memset(p, 0, size) : p;
}

XS_INLINE bool tbb_owns(const void *p)
{
    return XS_PAGE_MAP_OWNER(xs_page_map_get(p)) == XS_OWNER_TBB;
}

XS_INLINE void *checked(void *p, size_t size)
{
    return XS_LIKELY(p != NULL) ? p : fail(size);
}

XS_INLINE void *tbb_do_malloc(size_t size)
{
    if (XS_UNLIKELY(thread_state != THREAD_READY))
        return start_thread_and_malloc(size, false);
    /* Below 9 bytes oneTBB aligns to 8 only. */
    return checked(xs_hot.tbb.malloc(xs_hot.tbb.pool, size < 16 ? 16 : size), size);
}

XS_INLINE void *tbb_do_zalloc(size_t size)
{
    if (XS_UNLIKELY(thread_state != THREAD_READY))
        return start_thread_and_malloc(size, true);
    void *p = checked(xs_hot.tbb.malloc(xs_hot.tbb.pool, size < 16 ? 16 : size), size);
    return p != NULL ? memset(p, 0, size) : NULL;
}

/* A large block that grows by small steps gets room, as oneTBB would copy it at each of them. Room
 * is what tbb_usable_size says is there, so it stays until the block is made much smaller. */
#define GROW_FROM ((size_t)64 << 10)

static __attribute__((noinline)) void *realloc_large(void *p, size_t size)
{
    size_t old = xs_hot.tbb.msize(xs_hot.tbb.pool, p);
    void *q = NULL;

    if (size <= old && size > old / 2)
        return p;
    if (size > old && size - old < old / 8 && size < XS_SIZE_MAX_REQUEST / 2)
        q = xs_hot.tbb.realloc(xs_hot.tbb.pool, p, size + size / 4);
    return q != NULL ? q : checked(xs_hot.tbb.realloc(xs_hot.tbb.pool, p, size), size);
}

XS_INLINE void *tbb_do_realloc(void *p, size_t size)
{
    if (size >= GROW_FROM)
        return realloc_large(p, size);
    return checked(xs_hot.tbb.realloc(xs_hot.tbb.pool, p, size < 16 ? 16 : size), size);
}

XS_INLINE void *tbb_do_memalign(size_t align, size_t size)
{
    if (XS_UNLIKELY(thread_state == THREAD_STARTING))
        return xs_hot.libc.memalign(align, size);
    return checked(xs_hot.tbb.aligned_malloc(xs_hot.tbb.pool, size < 16 ? 16 : size, align), size);
}

XS_INLINE void tbb_do_free(void *p)
{
    if (XS_UNLIKELY(tbb.retired))
        return;
    (void)xs_hot.tbb.free(xs_hot.tbb.pool, p);
}

XS_COUNTED_CALLS(tbb, XS_OWNER_TBB)

static int tbb_open(const struct xs_backend_options *o, struct xs_buf *why)
{
    const struct tbb_pool_policy policy = {
        .alloc = raw_alloc,
        .free = raw_free,
        .granularity = MAP_GRANULE,
        .version = 1,
    };
    const struct xs_symbol symbols[] = {
        {"_ZN3rml14pool_create_v1ElPKNS_13MemPoolPolicyEPPNS_10MemoryPoolE", &tbb.create, false},
        {"_ZN3rml11pool_mallocEPNS_10MemoryPoolEm", &xs_hot.tbb.malloc, false},
        {"_ZN3rml12pool_reallocEPNS_10MemoryPoolEPvm", &xs_hot.tbb.realloc, false},
        {"_ZN3rml19pool_aligned_mallocEPNS_10MemoryPoolEmm", &xs_hot.tbb.aligned_malloc, false},
        {"_ZN3rml9pool_freeEPNS_10MemoryPoolEPv", &xs_hot.tbb.free, false},
        {"_ZN3rml10pool_msizeEPNS_10MemoryPoolEPv", &xs_hot.tbb.msize, false},
    };

    if (xs_mem_limit() < LIMIT_LEAST || xs_supply_limit() < LIMIT_LEAST) {
        xs_put_str(why, "it takes 8 MiB at once, more than a fourth of the limit on memory here "
                        "(ulimit -v, -d, XSIGMA_MEMORY_LIMIT)");
        return ENOMEM;
    }
    void *library = xs_library_open(o->tbb_library, why);
    if (library == NULL)
        return ENOENT;
    tbb.library = library;
    int rc = xs_library_symbols(library, o->tbb_library, symbols, XS_COUNT_OF(symbols), why);
    if (rc != 0)
        return rc;
    tbb.want_huge = o->tbb_huge_pages;
    rc = tbb.create(0, &policy, &xs_hot.tbb.pool);
    if (rc != 0 || xs_hot.tbb.pool == NULL) {
        xs_fmt(why, "its memory pool was not created (error %d)", rc);
        return ENOMEM;
    }
    return 0;
}

static size_t tbb_usable_size(void *p)
{
    return xs_hot.tbb.msize(xs_hot.tbb.pool, p);
}

static bool tbb_trim(size_t pad)
{
    (void)pad;
    return false; /* a pool gives its memory back by itself only */
}

static void tbb_memory(struct xs_backend_memory *m, bool may_lock)
{
    (void)may_lock;
    m->in_use_bytes = XS_UNKNOWN;
    m->reserved_bytes = atomic_load_explicit(&tbb.mapped_bytes, memory_order_relaxed);
    m->reserved_peak_bytes = atomic_load_explicit(&tbb.mapped_peak_bytes, memory_order_relaxed);
    m->source = "mapped bytes";
}

/* When the child exits, the library's destructors want its locks too. Who waits for one of them
 * waits for ever, and yields now and then: from there it is taken out. */
XS_UNLIKELY_DATA static struct {
    void *place[5]; /* of __builtin_setjmp */
    void *dso;
    bool is_on;
} ending;

static int yield_or_leave(void)
{
    if (ending.is_on)
        __builtin_longjmp(ending.place, 1);
    return sched_yield();
}

extern void __cxa_finalize(void *dso);

/* A destructor that has been begun counts as done, so each turn has fewer. */
static void finalize(void *dso)
{
    ending.dso = dso;
    ending.is_on = true;
    while (__builtin_setjmp(ending.place) != 0)
        ;
    __cxa_finalize(ending.dso);
    ending.is_on = false;
}

/* It has no fork handlers: after a fork from a threaded process its locks may stay locked. */
static bool tbb_survives_fork(bool was_threaded)
{
    if (was_threaded && !tbb.retired) {
        tbb.retired = true;
        (void)(xs_elf_redirect(tbb.library, "sched_yield", (void *)(uintptr_t)yield_or_leave) &&
               xs_elf_redirect(tbb.library, "__cxa_finalize", (void *)(uintptr_t)finalize));
    }
    return !tbb.retired;
}

const struct xs_backend xs_backend_tbb = {
    .name = "tbb",
    .owner = XS_OWNER_TBB,
    .open = tbb_open,
    .calls = tbb_calls,
    .free_own = tbb_free_own,
    .free_own_counted = tbb_counted_free_own,
    .realloc_own = tbb_realloc_own,
    .realloc_own_counted = tbb_counted_realloc_own,
    .usable_size = tbb_usable_size,
    .trim = tbb_trim,
    .memory = tbb_memory,
    .survives_fork = tbb_survives_fork,
};
