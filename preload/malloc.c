/* The malloc family as programs call it: corner cases are settled here as glibc settles them, the
 * rest is a jump through xs_hot.entry. */
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "backend/entry.h"
#include "backend/hardened.h"
#include "backend/sampled.h"
#include "base/align.h"
#include "preload/exports.h"
#include "report/report.h"
#include "sys/elf.h"
#include "sys/io.h"
#include "sys/mem.h"

XS_EXPORT XS_HOT void *malloc(size_t size)
{
    return xs_entry_malloc(size);
}

XS_EXPORT XS_HOT void free(void *p)
{
    xs_entry_free(p);
}

XS_EXPORT void cfree(void *p)
{
    xs_hot.entry.free(p);
}

static void free_checked(void *p, size_t size, uintptr_t pc)
{
    xs_sampled_forget(p);
    xs_hardened_free(p, XS_BLOCK_MALLOC, size, pc);
}

XS_EXPORT void free_sized(void *p, size_t size)
{
    if (XS_UNLIKELY(xs_hardened_is_on()))
        free_checked(p, size, (uintptr_t)__builtin_return_address(0));
    else
        xs_entry_free(p);
}

XS_EXPORT void free_aligned_sized(void *p, size_t align, size_t size)
{
    (void)align;
    if (XS_UNLIKELY(xs_hardened_is_on()))
        free_checked(p, size, (uintptr_t)__builtin_return_address(0));
    else
        xs_entry_free(p);
}

XS_COLD static void *out_of_memory(void)
{
    errno = ENOMEM;
    return NULL;
}

XS_EXPORT void *calloc(size_t count, size_t size)
{
    size_t bytes;

    if (XS_UNLIKELY(!xs_mul(count, size, &bytes)))
        return out_of_memory();
    return xs_hot.entry.zalloc(bytes);
}

void *xs_realloc(void *p, size_t size)
{
    if (XS_UNLIKELY(p == NULL))
        return xs_hot.entry.malloc(size);
    if (XS_UNLIKELY(size == 0)) {
        xs_hot.entry.free(p);
        return NULL;
    }
    return xs_hot.entry.realloc(p, size);
}

XS_EXPORT XS_LINE void *realloc(void *p, size_t size)
{
    return xs_realloc(p, size);
}

/* The one that the program has, as the C library's does: a program or a library with a malloc of
 * its own seldom has this one too, and its blocks come here. */
extern void *program_realloc(void *p, size_t size) __asm__("realloc");

XS_EXPORT void *reallocarray(void *p, size_t count, size_t size)
{
    size_t bytes;

    if (XS_UNLIKELY(!xs_mul(count, size, &bytes)))
        return out_of_memory();
    return program_realloc(p, bytes);
}

XS_COLD static void *from_system(size_t align, size_t size)
{
    xs_system_begin();
    return xs_backend_system.calls(xs_hot.counting)->memalign(align, size);
}

/* `align` is a power of two. */
static void *allocate_aligned(size_t align, size_t size)
{
    if (align <= 16)
        return xs_hot.entry.malloc(size);
    if (XS_UNLIKELY(size > XS_SIZE_MAX_REQUEST || align > XS_SIZE_MAX_REQUEST - size))
        return out_of_memory();
    if (XS_UNLIKELY(align > XS_ALIGN_OTHERS_MAX))
        return from_system(align, size);
    return xs_hot.entry.memalign(align, size);
}

void *xs_memalign(size_t align, size_t size)
{
    if (XS_UNLIKELY(align > SIZE_MAX / 2 + 1)) {
        errno = EINVAL;
        return NULL;
    }
    return allocate_aligned(xs_pow2_up(align), size);
}

XS_EXPORT void *memalign(size_t align, size_t size)
{
    return xs_memalign(align, size);
}

/* In glibc 2.36 another name of memalign, odd alignments included. */
XS_EXPORT void *aligned_alloc(size_t align, size_t size)
{
    return xs_memalign(align, size);
}

XS_EXPORT int posix_memalign(void **out, size_t align, size_t size)
{
    int saved = errno;

    if (align % sizeof(void *) != 0 || !xs_is_pow2(align))
        return EINVAL;
    void *p = allocate_aligned(align, size);
    if (p == NULL)
        return errno = ENOMEM; /* glibc leaves it there, too, and programs look */
    errno = saved;
    *out = p;
    return 0;
}

XS_EXPORT void *valloc(size_t size)
{
    return allocate_aligned(xs_mem_page(), size);
}

XS_EXPORT void *pvalloc(size_t size)
{
    size_t page = xs_mem_page();

    if (size > XS_SIZE_MAX_REQUEST - page)
        return out_of_memory();
    return allocate_aligned(page, xs_align_up(size, page));
}

XS_EXPORT size_t malloc_usable_size(void *p)
{
    return xs_any_usable_size(p);
}

int xs_trim(size_t pad)
{
    int saved = errno;
    bool any = false;

    xs_system_begin();
    for (unsigned i = 0; i < XS_OWNER_COUNT; i++)
        if (xs_backend_is_open((enum xs_owner)i) && xs_backends[i]->trim(pad))
            any = true;
    errno = saved;
    return any;
}

XS_EXPORT int malloc_trim(size_t pad)
{
    return xs_trim(pad);
}

/* ---- what only glibc knows about -------------------------------------------------------- */

/* Tuning of glibc's malloc still matters: it serves early calls, and all under `system`. */
XS_EXPORT int mallopt(int param, int value)
{
    int (*next)(int, int) = (int (*)(int, int))(uintptr_t)xs_elf_libc("mallopt");

    xs_system_begin();
    return next != NULL ? next(param, value) : 0;
}

static bool only_system(void)
{
    for (unsigned i = 0; i < XS_OWNER_COUNT; i++)
        if (i != XS_OWNER_SYSTEM && xs_backend_is_open((enum xs_owner)i))
            return false;
    return true;
}

XS_EXPORT struct mallinfo2 mallinfo2(void)
{
    struct mallinfo2 (*next)(void) = (struct mallinfo2(*)(void))(uintptr_t)xs_elf_libc("mallinfo2");
    struct mallinfo2 sum = {0};
    int cancel;

    xs_system_begin();
    if (next != NULL)
        sum = next();
    /* What mimalloc and oneTBB hold is known, not what is in use of it, and programs that print the
     * growth of that as a leak are not to print this. Some look into /proc, and this call is no
     * point of cancellation. */
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
    for (unsigned i = 0; i < XS_OWNER_COUNT; i++) {
        struct xs_backend_memory m;
        if (i == XS_OWNER_SYSTEM || !xs_backend_is_open((enum xs_owner)i))
            continue;
        xs_backends[i]->memory(&m, true);
        if (m.reserved_bytes == XS_UNKNOWN)
            continue;
        sum.arena += m.reserved_bytes;
        if (m.in_use_bytes == XS_UNKNOWN || m.in_use_bytes > m.reserved_bytes)
            continue;
        sum.uordblks += m.in_use_bytes;
        sum.fordblks += m.reserved_bytes - m.in_use_bytes;
    }
    pthread_setcancelstate(cancel, NULL);
    return sum;
}

static int clamp_int(size_t n)
{
    return n > INT32_MAX ? INT32_MAX : (int)n;
}

XS_EXPORT struct mallinfo mallinfo(void)
{
    struct mallinfo2 m = mallinfo2();

    return (struct mallinfo){
        .arena = clamp_int(m.arena),
        .ordblks = clamp_int(m.ordblks),
        .smblks = clamp_int(m.smblks),
        .hblks = clamp_int(m.hblks),
        .hblkhd = clamp_int(m.hblkhd),
        .usmblks = clamp_int(m.usmblks),
        .fsmblks = clamp_int(m.fsmblks),
        .uordblks = clamp_int(m.uordblks),
        .fordblks = clamp_int(m.fordblks),
        .keepcost = clamp_int(m.keepcost),
    };
}

static void to_stderr(const char *text, size_t len, void *arg)
{
    (void)arg;
    (void)xs_io_write(2, text, len);
}

XS_EXPORT void malloc_stats(void)
{
    void (*next)(void) = (void (*)(void))(uintptr_t)xs_elf_libc("malloc_stats");
    static const char rest[] = "the C library's own part:\n";
    struct xs_report r;
    int cancel;

    if (!only_system()) {
        /* glibc's is no cancellation point. */
        pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
        xs_report_collect(&r, true);
        r.how = "malloc_stats";
        xs_report_text(&r, false, to_stderr, NULL);
        to_stderr(rest, next != NULL ? sizeof(rest) - 1 : 0, NULL);
        pthread_setcancelstate(cancel, NULL);
    }
    if (next != NULL)
        next();
}

XS_EXPORT int malloc_info(int options, FILE *stream)
{
    int (*next)(int, FILE *) = (int (*)(int, FILE *))(uintptr_t)xs_elf_libc("malloc_info");
    struct mallinfo2 m;

    if (options != 0)
        return EINVAL;
    xs_system_begin();
    if (only_system() && next != NULL)
        return next(options, stream);
    m = mallinfo2();
    /* The stream is the program's, and so is the wait for it. */
    fprintf(stream,
            "<malloc version=\"1\">\n<total type=\"rest\" count=\"0\" size=\"%zu\"/>\n"
            "<total type=\"mmap\" count=\"%zu\" size=\"%zu\"/>\n"
            "<system type=\"current\" size=\"%zu\"/>\n</malloc>\n",
            m.fordblks, m.hblks, m.hblkhd, m.arena + m.hblkhd);
    return 0;
}
