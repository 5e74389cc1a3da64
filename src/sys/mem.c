#include "sys/mem.h"

#include <errno.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "base/align.h"
#include "sys/filter.h"
#include "sys/io.h"
#include "sys/pagemap.h"

#ifndef MAP_HUGE_SHIFT
#define MAP_HUGE_SHIFT 26
#endif
#ifndef MADV_POPULATE_WRITE /* Linux 5.14 */
#define MADV_POPULATE_WRITE 23
#endif

size_t xs_mem_page(void)
{
    static XS_BUSY size_t page; /* idempotent, so a race is harmless */

    if (page == 0)
        page = (size_t)getauxval(AT_PAGESZ); /* not sysconf, whose jump table lies far away */
    return page;
}

/* Maps `size` at a multiple of `align`: ask for both, cut what sticks out. */
static void *map_aligned(size_t size, size_t align, int prot, int flags)
{
    size_t page = xs_mem_page();

    size = xs_align_up(size, page);
    if (align <= page) {
        void *p = mmap(NULL, size, prot, flags, -1, 0);
        return p == MAP_FAILED ? NULL : p;
    }
    size_t total = size + align - page;
    if (total < size)
        return NULL;
    /* The kernel often continues an aligned mapping by itself. */
    char *p = mmap(NULL, size, prot, flags, -1, 0);
    if (p == MAP_FAILED)
        return NULL;
    if (((uintptr_t)p & (align - 1)) == 0)
        return p;
    munmap(p, size);
    p = mmap(NULL, total, prot, flags, -1, 0);
    if (p == MAP_FAILED)
        return NULL;
    char *start = (char *)xs_align_up((uintptr_t)p, align);
    if (start > p)
        munmap(p, (size_t)(start - p));
    if (start + size < p + total)
        munmap(start + size, (size_t)(p + total - (start + size)));
    return start;
}

void *xs_mem_map(size_t size, size_t align)
{
    return map_aligned(size, align, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS);
}

int xs_mem_unmap(void *p, size_t size)
{
    return munmap(p, xs_align_up(size, xs_mem_page())) == 0 ? 0 : errno;
}

int xs_mem_purge(void *p, size_t size)
{
    if (XS_UNLIKELY(xs_is_filtered())) { /* other pages in their place: the C library's way */
        int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;
        return mmap(p, size, PROT_READ | PROT_WRITE, flags, -1, 0) != MAP_FAILED ? 0 : errno;
    }
    return madvise(p, size, MADV_DONTNEED) == 0 ? 0 : errno;
}

bool xs_mem_wipe_in_copies(void *p, size_t size)
{
    return !xs_is_filtered() && madvise(p, size, MADV_WIPEONFORK) == 0;
}

void *xs_mem_reserve(size_t size, size_t align)
{
    return map_aligned(size, align, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE);
}

int xs_mem_writable(void *p, size_t size)
{
    return mprotect(p, size, PROT_READ | PROT_WRITE) == 0 ? 0 : errno;
}

int xs_mem_readonly(void *p, size_t size)
{
    return mprotect(p, size, PROT_READ) == 0 ? 0 : errno;
}

int xs_mem_forbid(void *p, size_t size)
{
    return mprotect(p, size, PROT_NONE) == 0 ? 0 : errno;
}

int xs_mem_move(void *p, size_t size, void *to, size_t to_size)
{
    int flags = MREMAP_MAYMOVE | MREMAP_FIXED;

    return mremap(p, size, to_size, flags, to) != MAP_FAILED ? 0 : errno;
}

bool xs_mem_reserve_at(void *p, size_t size)
{
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE;
    void *got = mmap(p, size, PROT_NONE, flags, -1, 0);

    if (got == p)
        return true;
    /* Kernels before 4.17 take the place for a wish. */
    if (got != MAP_FAILED)
        (void)munmap(got, size);
    return false;
}

void xs_mem_want_huge(void *p, size_t size)
{
    if (!xs_is_filtered())
        (void)madvise(p, size, MADV_HUGEPAGE);
}

void xs_mem_want_small(void *p, size_t size)
{
    if (!xs_is_filtered())
        (void)madvise(p, size, MADV_NOHUGEPAGE);
}

/* The kernel takes some 40 ns for each page that it tells of, so for what is likely to be there a
 * few are asked for first. */
#define PROBES 8u

static bool are_probes_there(int fd, uintptr_t p, unsigned pages)
{
    uint64_t entry;

    for (unsigned i = 0; i < PROBES; i++) {
        size_t at = (size_t)i * pages / PROBES;
        if (pages >= PROBES) /* not in equal steps, which programs take as well */
            at += i * 37 % (pages / PROBES);
        if (!xs_pagemap_read(fd, p + at * xs_mem_page(), 1, &entry) || (entry & XS_PAGE_THERE) == 0)
            return false;
    }
    return true;
}

static bool look_into_pagemap(char *p, unsigned pages, unsigned char *in_core, bool roughly)
{
    uint64_t entries[64];
    size_t page = xs_mem_page();
    int saved = errno;
    int fd = xs_pagemap_open();
    bool is_told = fd >= 0;

    if (roughly && is_told && are_probes_there(fd, (uintptr_t)p, pages)) {
        memset(in_core, 1, pages);
        pages = 0; /* no more to be told */
    }
    for (unsigned at = 0, n; is_told && at < pages; at += n) {
        n = pages - at < XS_COUNT_OF(entries) ? pages - at : XS_COUNT_OF(entries);
        is_told = xs_pagemap_read(fd, (uintptr_t)p + at * page, n, entries);
        for (unsigned i = 0; is_told && i < n; i++)
            in_core[at + i] = (entries[i] & XS_PAGE_THERE) != 0;
    }
    if (fd >= 0)
        (void)close(fd);
    errno = saved;
    return is_told;
}

/* Not so in an emulator of user programs, whose addresses are others than the kernel's. */
static bool is_pagemap_true(void)
{
    char here = 0;
    unsigned char is_there = 0;

    return look_into_pagemap(&here, 1, &is_there, false) && is_there;
}

/* Which of these whole pages have memory; what lies in swap has none. Roughly: where samples have,
 * all are told of as if they had. False: nobody tells. A filter that was there before us may kill
 * for mincore: the one that systemd puts over most services does. To open and to read a file is
 * what the loader did under it. */
static bool look(char *p, size_t size, unsigned char *in_core, bool roughly)
{
    enum { UNKNOWN, MINCORE, PAGEMAP, NONE };
    XS_UNLIKELY_DATA static _Atomic char way; /* every thread finds the same */
    char by = atomic_load_explicit(&way, memory_order_relaxed);

    if (by == UNKNOWN) {
        by = !xs_filter_was_before() ? MINCORE : is_pagemap_true() ? PAGEMAP : NONE;
        atomic_store_explicit(&way, by, memory_order_relaxed);
    }
    if (by == PAGEMAP)
        return look_into_pagemap(p, (unsigned)(size / xs_mem_page()), in_core, roughly);
    return by == MINCORE && mincore(p, size, in_core) == 0;
}

unsigned xs_mem_resident(void *p, size_t size)
{
    unsigned char in_core[XS_MEM_HUGE >> 12];
    unsigned pages = (unsigned)(size / xs_mem_page());
    unsigned n = 0;

    if (pages > sizeof(in_core) || !look(p, size, in_core, false))
        return pages;
    for (unsigned i = 0; i < pages; i++)
        n += in_core[i] & 1;
    return n;
}

/* Shorter parts without memory are written to like the rest: a call for each would take longer. */
#define GAP_LEAST ((size_t)64 << 10)

/* Whole pages without memory that lie behind one another. They may be in swap, which does not
 * count, so they are not zero for having none: a purge drops that too. */
static void clear_gap(char *from, char *to)
{
    size_t size = (size_t)(to - from);

    if (size < GAP_LEAST || xs_mem_purge(from, size) != 0)
        memset(from, 0, size);
}

void xs_mem_clear(void *p, size_t size)
{
    unsigned char in_core[XS_MEM_HUGE >> 12];
    size_t page = xs_mem_page();
    char *at = p, *end = at + size;
    char *last = (char *)((uintptr_t)end & ~(page - 1)); // NOLINT(performance-no-int-to-ptr)
    char *pages = (char *)xs_align_up((uintptr_t)p, page);

    if (pages >= last || xs_is_filtered()) {
        memset(p, 0, size);
        return;
    }
    memset(at, 0, (size_t)(pages - at));
    at = pages; /* all before it is done */
    bool is_gap = false;
    while (pages < last) {
        size_t left = (size_t)(last - pages);
        size_t bytes = left < XS_MEM_HUGE ? left : XS_MEM_HUGE;
        if (!look(pages, bytes, in_core, true))
            memset(in_core, 1, sizeof(in_core));
        for (size_t i = 0; i < bytes / page; i++, pages += page) {
            if (is_gap != (in_core[i] & 1))
                continue;
            if (is_gap)
                clear_gap(at, pages);
            else
                memset(at, 0, (size_t)(pages - at));
            is_gap = !is_gap;
            at = pages;
        }
    }
    if (is_gap) {
        clear_gap(at, last);
        at = last;
    }
    memset(at, 0, (size_t)(end - at));
}

static int huge_flags(size_t page)
{
    return MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB |
           __builtin_ctzll((unsigned long long)page) << MAP_HUGE_SHIFT;
}

void *xs_mem_map_huge(size_t size, size_t page)
{
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, huge_flags(page), -1, 0);

    return p == MAP_FAILED ? NULL : p;
}

void xs_mem_populate(void *p, size_t size)
{
    size_t page = xs_mem_page();

    if (!xs_is_filtered() && madvise(p, size, MADV_POPULATE_WRITE) == 0)
        return;
    for (size_t i = 0; i < size; i += page)
        ((volatile char *)p)[i] = 0;
}

bool xs_mem_fill(void *p, size_t size)
{
    return xs_is_filtered() || madvise(p, size, MADV_POPULATE_WRITE) == 0 || errno == EINVAL;
}

int xs_mem_lock(void *p, size_t size)
{
    return mlock(p, size) == 0 ? 0 : errno;
}

int xs_mem_map_huge_at(void *p, size_t size, size_t page)
{
    int flags = huge_flags(page) | MAP_FIXED;

    if (mmap(p, size, PROT_READ | PROT_WRITE, flags, -1, 0) != MAP_FAILED)
        return 0;
    int rc = errno;
    /* The kernel may have taken away what was there before it came to know that it has no such
     * pages. */
    (void)xs_mem_reserve_at(p, size);
    return rc;
}

static uint64_t limit_of(__rlimit_resource_t what)
{
    struct rlimit limit;

    return getrlimit(what, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY ? limit.rlim_cur
                                                                           : UINT64_MAX;
}

bool xs_mem_space_is_free(void)
{
    return limit_of(RLIMIT_AS) == UINT64_MAX;
}

uint64_t xs_mem_limit(void)
{
    uint64_t space = limit_of(RLIMIT_AS);
    uint64_t data = limit_of(RLIMIT_DATA);

    return space < data ? space : data;
}

bool xs_mem_reserves_nothing(void)
{
    char text[8];

    return limit_of(RLIMIT_DATA) != UINT64_MAX ||
           (xs_io_read_file("/proc/sys/vm/overcommit_memory", text, sizeof(text)) > 0 &&
            text[0] == '2');
}
