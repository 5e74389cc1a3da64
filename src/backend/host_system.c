/* The malloc that the program has without us: the C library's own, but for programs that call
 * another one by names that only it has. It serves every call until the policy is known, so its
 * functions are found by the first call, wherever that comes from, and not by a constructor. */
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "backend/counted.h"
#include "base/align.h"
#include "sys/elf.h"

/* Weak, and only used where the link map does not show libc.so.6: another preload may define them
 * too, but then both sides of a pair are found in the same place. */
extern void *__libc_malloc(size_t size) __attribute__((weak));
extern void *__libc_calloc(size_t count, size_t size) __attribute__((weak));
extern void *__libc_realloc(void *p, size_t size) __attribute__((weak));
extern void *__libc_memalign(size_t align, size_t size) __attribute__((weak));
extern void __libc_free(void *p) __attribute__((weak));

enum { system_counts_failures = false };

static XS_BUSY struct mallinfo2 (*libc_mallinfo2)(void);
static XS_BUSY int (*libc_malloc_trim)(size_t pad);
static XS_BUSY int (*libc_mallopt)(int parameter, int value);

static size_t no_usable_size(void *p)
{
    (void)p;
    return 0;
}

/* Calls of jemalloc that take malloc's blocks, and whose blocks free takes: who makes them means
 * that library by malloc, too. */
static const void *find_other(const char **object)
{
    return xs_elf_imported("mallocx\0rallocx\0xallocx\0sallocx\0dallocx\0sdallocx\0", object);
}

/* A sanitizer's runtime in a library behind us: it has to see every block, or it finds nothing, and
 * takes for a race what another thread had in a block before. */
static const void *find_runtime(const char **object)
{
    return xs_elf_defining("__asan_init\0__tsan_init\0__lsan_init\0__hwasan_init\0", "san", object);
}

/* All objects are looked through for it, so once; threads that race here find the same. */
const void *xs_system_other(const char **object)
{
    static XS_BUSY struct {
        const void *map;
        const char *object;
        bool is_known;
    } other;

    if (!__atomic_load_n(&other.is_known, __ATOMIC_ACQUIRE)) {
        const char *path = NULL;
        const void *map = find_other(&path);
        if (map == NULL)
            map = find_runtime(&path);
        __atomic_store_n(&other.object, path, __ATOMIC_RELAXED);
        __atomic_store_n(&other.map, map, __ATOMIC_RELAXED);
        __atomic_store_n(&other.is_known, true, __ATOMIC_RELEASE);
    }
    if (other.map != NULL)
        *object = other.object;
    return other.map;
}

/* Idempotent, so threads that race here do no harm. A function of another type cannot be stored
 * through a void pointer portably, but POSIX lets dlsym's callers do just that. */
static void find_libc(struct xs_libc_calls *to)
{
    const char *object = NULL;
    const void *other = xs_system_other(&object);
    void *at;

#define FIND(field, name, libc_name, fallback)                                                     \
    at = other != NULL ? xs_elf_in(other, name) : xs_elf_libc(libc_name);                          \
    to->field = at != NULL ? (__typeof__(to->field))(uintptr_t)at : (fallback)
    FIND(usable_size, "malloc_usable_size", "malloc_usable_size", no_usable_size);
    FIND(calloc, "calloc", "__libc_calloc", __libc_calloc);
    FIND(realloc, "realloc", "__libc_realloc", __libc_realloc);
    FIND(memalign, "memalign", "__libc_memalign", __libc_memalign);
    FIND(free, "free", "__libc_free", __libc_free);
    FIND(malloc, "malloc", "__libc_malloc", __libc_malloc);
#undef FIND
    libc_mallinfo2 = (__typeof__(libc_mallinfo2))(uintptr_t)xs_elf_libc("mallinfo2");
    libc_malloc_trim = (__typeof__(libc_malloc_trim))(uintptr_t)xs_elf_libc("malloc_trim");
    libc_mallopt = (__typeof__(libc_mallopt))(uintptr_t)xs_elf_libc("mallopt");
}

void xs_system_begin(void)
{
    static _Atomic bool has_begun;
    int saved = errno;
    int cancel;

    if (libc_mallopt == NULL || atomic_load_explicit(&has_begun, memory_order_relaxed))
        return;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
    (void)libc_mallopt(0, 0); /* no parameter; the least that makes itself ready */
    pthread_setcancelstate(cancel, NULL);
    atomic_store_explicit(&has_begun, true, memory_order_relaxed);
    errno = saved;
}

/* Calls before our constructor, when the hot page cannot be written to. `malloc` is found last. */
static XS_BUSY struct xs_libc_calls early;

static const struct xs_libc_calls *find_early(void)
{
    if (early.malloc == NULL)
        find_libc(&early);
    return &early;
}

static void *first_malloc(size_t size)
{
    return find_early()->malloc(size);
}

static void *first_calloc(size_t count, size_t size)
{
    return find_early()->calloc(count, size);
}

static void *first_realloc(void *p, size_t size)
{
    return find_early()->realloc(p, size);
}

static void *first_memalign(size_t align, size_t size)
{
    return find_early()->memalign(align, size);
}

static void first_free(void *p)
{
    find_early()->free(p);
}

static size_t first_usable_size(void *p)
{
    return find_early()->usable_size(p);
}

/* In a process of glibc alone every pointer is glibc's; policy/select.c puts xs_any_free in front
 * as soon as there is another owner. */
XS_INLINE bool system_owns(const void *p)
{
    return p != NULL;
}

XS_INLINE void *system_do_malloc(size_t size)
{
    return xs_hot.libc.malloc(size);
}

XS_INLINE void *system_do_zalloc(size_t size)
{
    return xs_hot.libc.calloc(1, size);
}

XS_INLINE void *system_do_realloc(void *p, size_t size)
{
    return xs_hot.libc.realloc(p, size);
}

XS_INLINE void *system_do_memalign(size_t align, size_t size)
{
    return xs_hot.libc.memalign(align, size);
}

XS_INLINE void system_do_free(void *p)
{
    xs_hot.libc.free(p);
}

XS_COUNTED_CALLS(system, XS_OWNER_SYSTEM)

/* Before our constructor runs everything is glibc's, and counted: no start-up order can matter. */
XS_HOT_PLACE union xs_hot_page xs_hot_page = {
    .hot = {
        .entry = {system_counted_malloc, system_counted_zalloc, system_counted_realloc,
                  system_counted_memalign, system_counted_free},
        /* Not all: a free of the loader's finds out that its block is far from a heap that is not
         * open, and does not take a branch that none will take later. */
        .short_below = XS_PAGE_MAP_LEAF_BYTES,
        .short_from = UINTPTR_MAX,
        .counting = true,
        .step_count = 1,
        .step = {{SIZE_MAX, &system_calls_by_kind[true], XS_OWNER_SYSTEM}},
        .backend = {[XS_OWNER_SYSTEM] = &xs_backend_system,
                    [XS_OWNER_MIMALLOC] = &xs_backend_mimalloc,
                    [XS_OWNER_TBB] = &xs_backend_tbb,
                    [XS_OWNER_BFC] = &xs_backend_bfc},
        .free_own = {system_counted_free_own},
        .realloc_own = {system_counted_realloc_own},
        .libc = {first_malloc, first_calloc, first_realloc, first_memalign, first_free,
                 first_usable_size},
    }};

static int system_open(const struct xs_backend_options *options, struct xs_buf *why)
{
    (void)options;
    if (xs_hot.libc.malloc == first_malloc)
        find_libc(&xs_hot.libc);
    /* No function of ours in between: nothing is counted, and every pointer is glibc's. */
    xs_hot.libc_plain = system_calls_by_kind[false];
    xs_hot.libc_plain.malloc = xs_hot.libc.malloc;
    xs_hot.libc_plain.realloc = xs_hot.libc.realloc;
    xs_hot.libc_plain.memalign = xs_hot.libc.memalign;
    xs_hot.libc_plain.free = xs_hot.libc.free;
    if (xs_hot.libc.malloc != NULL)
        return 0;
    xs_put_str(why, "the C library's malloc was not found");
    return ENOENT;
}

static const struct xs_calls *calls(bool counted)
{
    return counted ? system_calls(true) : &xs_hot.libc_plain;
}

XS_ALONE_CALLS(system, XS_OWNER_SYSTEM)

static void *system_alone_malloc(size_t size)
{
    xs_count_into(&XS_SLOT_ALONE.by_owner[XS_OWNER_SYSTEM], size);
    return xs_count_result(XS_OWNER_SYSTEM, size, xs_hot.libc.malloc(size));
}

/* Every block is glibc's; NULL is not counted. */
static void shortcuts(struct xs_shortcuts *s, enum xs_counting counting)
{
    s->from = counting != XS_COUNTING_OFF;
    s->below = UINTPTR_MAX;
    s->last = SIZE_MAX;
    switch (counting) {
    case XS_COUNTING_OFF:
        s->free = xs_hot.libc.free;
        break;
    case XS_COUNTING_EACH:
        s->free = system_counted_free_own;
        break;
    case XS_COUNTING_ALONE:
        s->free = system_alone_free_own;
        s->malloc = system_alone_malloc;
        s->zalloc = system_alone_zalloc;
        break;
    }
}

static size_t system_usable_size(void *p)
{
    return xs_hot.libc.usable_size(p);
}

static bool system_trim(size_t pad)
{
    return libc_malloc_trim != NULL && libc_malloc_trim(pad) != 0;
}

static void system_memory(struct xs_backend_memory *m, bool may_lock)
{
    *m = (struct xs_backend_memory){XS_UNKNOWN, XS_UNKNOWN, XS_UNKNOWN, "mallinfo2"};
    if (libc_mallinfo2 == NULL || !may_lock)
        return;
    struct mallinfo2 info = libc_mallinfo2();
    m->in_use_bytes = info.uordblks + info.hblkhd;
    m->reserved_bytes = info.arena + info.hblkhd;
}

static bool system_survives_fork(bool was_threaded)
{
    (void)was_threaded;
    return true;
}

const struct xs_backend xs_backend_system = {
    .name = "system",
    .owner = XS_OWNER_SYSTEM,
    .open = system_open,
    .calls = calls,
    .shortcuts = shortcuts,
    .free_own = system_free_own,
    .free_own_counted = system_counted_free_own,
    .realloc_own = system_realloc_own,
    .realloc_own_counted = system_counted_realloc_own,
    .usable_size = system_usable_size,
    .trim = system_trim,
    .memory = system_memory,
    .survives_fork = system_survives_fork,
};
