#include "sys/own_pages.h"

#include <sys/auxv.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/align.h"
#include "sys/direct.h"
#include "sys/mem.h"
#include "sys/pagemap.h"

/* scripts/make-link-script; without it there are none. */
extern char xs_kept_end[] __attribute__((weak)) XS_HIDDEN;
extern char xs_kept_counting_end[] __attribute__((weak)) XS_HIDDEN;
extern char xs_constants_end[] __attribute__((weak)) XS_HIDDEN;

/* Nothing looks at it in the process itself. */
XS_SELDOM_READ static const char mark[4096] __attribute__((aligned(4096), used));

void xs_own_pages_mark(void)
{
    if (xs_mem_page() == sizeof(mark))
        // NOLINTNEXTLINE(performance-no-int-to-ptr)
        (void)xs_mem_forbid((void *)(uintptr_t)mark, sizeof(mark));
}

static bool are_as_in_file(int pagemap, uintptr_t from, uintptr_t to)
{
    uint64_t pages[128];
    size_t page = xs_mem_page();

    while (from < to) {
        size_t left = (to - from) / page;
        size_t n = left < XS_COUNT_OF(pages) ? left : XS_COUNT_OF(pages);
        if (!xs_pagemap_read(pagemap, from, n, pages))
            return false;
        for (size_t i = 0; i < n; i++)
            if ((pages[i] & (XS_PAGE_THERE | XS_PAGE_SWAPPED)) != 0 &&
                (pages[i] & XS_PAGE_OF_FILE) == 0)
                return false;
        from += n * page;
    }
    return true;
}

void xs_own_pages_give_back(bool counts)
{
    uintptr_t end = (uintptr_t)(counts ? xs_kept_counting_end : xs_kept_end);
    uintptr_t from = xs_align_up(end, xs_mem_page());
    uintptr_t to = xs_align_up((uintptr_t)xs_constants_end, xs_mem_page());

    if (end == 0 || from >= to)
        return;
    int pagemap = xs_pagemap_open();
    if (pagemap < 0)
        return;
    bool are_clean = are_as_in_file(pagemap, from, to);
    (void)close(pagemap);
    if (are_clean)
        // NOLINTNEXTLINE(performance-no-int-to-ptr)
        (void)xs_direct_madvise((void *)from, to - from, MADV_DONTNEED);
}

/* So far the dynamic linker goes down, as a rule. The kernel begins a process with more of a stack
 * than that, and keeps what is below it free. */
#define STACK_USED ((size_t)32 << 10)

/* What is called from here may need so much below its caller's frame. */
#define STACK_LEFT 256u

__attribute__((noinline)) void xs_own_stack_give_back(void)
{
    uintptr_t here = (uintptr_t)__builtin_frame_address(0);
    /* The kernel has put these bytes above the first frame of the first thread's stack. */
    uintptr_t top = getauxval(AT_RANDOM);

    if (here >= top || top - here > STACK_USED)
        return;
    uintptr_t to = xs_align_down(here - STACK_LEFT, xs_mem_page());
    uintptr_t from = xs_align_down(to - STACK_USED, xs_mem_page());
    // NOLINTNEXTLINE(performance-no-int-to-ptr)
    (void)xs_direct_madvise((void *)from, to - from, MADV_DONTNEED);
}
