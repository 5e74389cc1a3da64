/* Memory of which only a part is resident reads as zero, and what has none is left without. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sys/mem.h"

enum { MIB = 1 << 20, SIZE = 9 * MIB };

static enum how { TELLS, CANNOT, IN_SWAP } kernel;
static bool is_filtered;

/* As under a filter of a container or of systemd. Others than we ask, too. */
int prctl(int what, ...)
{
    va_list more;

    if (what == PR_GET_SECCOMP)
        return is_filtered ? 2 : 0;
    va_start(more, what);
    unsigned long value = va_arg(more, unsigned long);
    va_end(more);
    return (int)syscall(SYS_prctl, what, value, 0, 0, 0);
}

/* In swap: all of it is. */
int mincore(void *p, size_t size, unsigned char *pages)
{
    cr_assert_not(is_filtered, "the filter kills for it");
    if (kernel == CANNOT) {
        errno = EAGAIN;
        return -1;
    }
    int rc = (int)syscall(SYS_mincore, p, size, pages);
    if (kernel == IN_SWAP)
        memset(pages, 0, size / xs_mem_page());
    return rc;
}

static bool is_all(const char *p, size_t size, char value)
{
    return size == 0 || (p[0] == value && memcmp(p, p + 1, size - 1) == 0);
}

static unsigned resident(char *p)
{
    unsigned n = 0;

    kernel = TELLS;
    for (size_t at = 0; at < SIZE; at += MIB)
        n += xs_mem_resident(p + at, MIB);
    return n;
}

/* Clears all but the ends of a block of which some parts have memory. The number of pages that
 * came to have it is returned. */
static unsigned clear(enum how how, size_t head, size_t tail)
{
    char *p = xs_mem_map(SIZE, XS_MEM_HUGE);
    size_t page = xs_mem_page();

    cr_assert_not_null(p);
    xs_mem_want_small(p, SIZE);
    memset(p, 1, 5 * page);
    memset(p + MIB, 2, MIB / 2);
    for (size_t i = 0; i < 40; i++) /* single pages, with gaps of one page and of more and more */
        memset(p + 3 * (size_t)MIB + i * (i + 1) / 2 * page, 3, page);
    memset(p + SIZE - 3 * page, 4, 3 * page);
    unsigned before = resident(p);
    kernel = how;
    xs_mem_clear(p + head, SIZE - head - tail);
    unsigned after = resident(p);
    cr_assert(is_all(p, head, 1));
    cr_assert(is_all(p + head, SIZE - head - tail, 0));
    cr_assert(is_all(p + SIZE - tail, tail, 4));
    cr_assert_eq(xs_mem_unmap(p, SIZE), 0);
    return after > before ? after - before : 0;
}

Test(clear, what_has_no_memory_stays_without)
{
    static const size_t ends[] = {0, 1, 17, 4095, 4096, 4097};

    for (unsigned i = 0; i < sizeof(ends) / sizeof(ends[0]); i++)
        for (unsigned j = 0; j < sizeof(ends) / sizeof(ends[0]); j++)
            /* The gaps of less than 64 KiB, from 0 to 15 pages, are filled. */
            cr_assert_leq(clear(TELLS, ends[i], ends[j]), 15 * 16 / 2);
}

/* What is there is known from a file then, if that tells the truth (in an emulator it does not). */
Test(clear, where_the_kernel_may_not_be_asked)
{
    size_t page = xs_mem_page();

    is_filtered = true;
    unsigned more = clear(TELLS, 17, 4097);
    cr_assert(more <= 15 * 16 / 2 || more > SIZE / page / 2, "%u pages more", more);
    char *p = xs_mem_map(MIB, MIB);
    xs_mem_want_small(p, MIB);
    p[5 * page] = 1;
    p[7 * page] = 1;
    unsigned there = xs_mem_resident(p, MIB);
    cr_assert(there == 2 || there == MIB / page, "%u pages", there);
    bool is_told = there == 2;
    /* A few are asked for first, but not just those that a program touches in even steps. */
    p = xs_mem_map(XS_MEM_HUGE, XS_MEM_HUGE);
    xs_mem_want_small(p, XS_MEM_HUGE);
    for (size_t at = 0; at < XS_MEM_HUGE; at += XS_MEM_HUGE / 8)
        p[at] = 1;
    xs_mem_clear(p, XS_MEM_HUGE);
    there = xs_mem_resident(p, XS_MEM_HUGE);
    cr_assert(there == 8 || !is_told, "%u pages", there);
}

Test(clear, pages_in_swap_are_zero_too)
{
    (void)clear(IN_SWAP, 100, 200);
}

Test(clear, where_the_kernel_does_not_tell)
{
    cr_assert_geq(clear(CANNOT, 100, 200), SIZE / xs_mem_page() / 2);
}

Test(clear, locked_memory)
{
    char *p = xs_mem_map(SIZE, XS_MEM_HUGE);

    if (xs_mem_lock(p, MIB) != 0)
        return;
    memset(p, 1, SIZE);
    kernel = IN_SWAP; /* so that a purge is tried, which the kernel refuses */
    xs_mem_clear(p, SIZE);
    cr_assert(is_all(p, SIZE, 0));
}

Test(clear, less_than_a_page)
{
    char *p = xs_mem_map(MIB, MIB);

    memset(p, 1, MIB);
    xs_mem_clear(p + 100, 50);
    xs_mem_clear(p + 5000, 4000);
    xs_mem_clear(p + 100000, 0);
    for (size_t i = 0; i < MIB; i++)
        cr_assert_eq(p[i], !((i >= 100 && i < 150) || (i >= 5000 && i < 9000)), "at %zu", i);
}
