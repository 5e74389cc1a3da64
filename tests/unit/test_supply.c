/* Explicit huge pages of which the kernel has none, or too few: what was asked for in vain counts
 * as nobody's, and the addresses where they were to lie stay ours. */
#include <criterion/criterion.h>
#include <errno.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/supply.h"
#include "sys/mem.h"
#include "tests/support/mapped.h"

static size_t had; /* bytes of huge pages that the kernel has */

void *mmap(void *at, size_t size, int prot, int flags, int fd, off_t offset)
{
    if ((flags & MAP_HUGETLB) != 0) {
        if (size > had) {
            if ((flags & MAP_FIXED) != 0) /* as Linux does, to 6.18 at least */
                (void)munmap(at, size);
            errno = ENOMEM;
            return MAP_FAILED;
        }
        flags &= ~(MAP_HUGETLB | MAP_HUGE_MASK << MAP_HUGE_SHIFT);
    }
    // NOLINTNEXTLINE(performance-no-int-to-ptr)
    return (void *)syscall(SYS_mmap, at, size, prot, flags, fd, offset);
}

static bool lacks_memory; /* behind huge pages that it has, as on one node, or for one group */

int madvise(void *at, size_t size, int advice)
{
    if (advice == MADV_POPULATE_WRITE && lacks_memory) {
        errno = EFAULT;
        return -1;
    }
    return (int)syscall(SYS_madvise, at, size, advice);
}

static uint64_t charged(void)
{
    struct xs_supply_stats stats;

    xs_supply_stats(&stats);
    return stats.charged_bytes;
}

Test(supply, huge_pages_that_are_not_there_are_not_charged)
{
    size_t size = XS_MEM_GIANT * 2;

    xs_supply_open(&(struct xs_supply_options){.limit_bytes = XS_MEM_GIANT * 3});
    cr_assert_null(xs_supply_reserve_huge(&size));
    cr_assert_eq(size, 0u);
    cr_assert_eq(charged(), 0u);
    cr_assert(xs_supply_charge(XS_MEM_GIANT * 3));

    struct xs_supply_stats stats;
    xs_supply_stats(&stats);
    cr_assert_eq(stats.explicit_refused_bytes, XS_MEM_GIANT * 2, "%lu bytes",
                 (unsigned long)stats.explicit_refused_bytes);
}

/* The kernel would kill at the first touch. */
Test(supply, huge_pages_without_memory_are_not_taken)
{
    size_t size = XS_MEM_HUGE * 4;
    struct xs_supply_stats stats;

    had = size;
    lacks_memory = true;
    xs_supply_open(&(struct xs_supply_options){.huge = XS_HUGE_EXPLICIT});
    cr_assert_null(xs_supply_reserve_huge(&size));
    size = XS_MEM_HUGE * 4;
    void *p = xs_supply_map(0, &size, XS_MEM_HUGE, 0);
    cr_assert_not_null(p);
    cr_assert_not(xs_supply_keeps(p));
    xs_supply_stats(&stats);
    cr_assert_eq(stats.explicit_bytes, 0u);
}

/* However many regions there are. */
Test(supply, many_regions_of_huge_pages)
{
    struct xs_supply_stats stats;

    had = XS_MEM_HUGE;
    xs_supply_open(&(struct xs_supply_options){.huge = XS_HUGE_EXPLICIT});
    for (unsigned i = 0; i < 100; i++) {
        size_t size = XS_MEM_HUGE;
        cr_assert(xs_supply_keeps(xs_supply_map(0, &size, XS_MEM_HUGE, 0)));
    }
    xs_supply_stats(&stats);
    cr_assert_eq(stats.explicit_bytes, XS_MEM_HUGE * 100);
    cr_assert_eq(stats.explicit_refused_bytes, 0u);
}

/* What is prefaulted in small pages is not taken for huge ones when it goes. */
Test(supply, prefaulted)
{
    size_t size = XS_MEM_HUGE * 2;
    struct xs_supply_stats stats;

    xs_supply_open(&(struct xs_supply_options){.limit_bytes = XS_MEM_HUGE * 2});
    void *p = xs_supply_prefault(&size, false);
    cr_assert_not_null(p);
    cr_assert(xs_supply_keeps(p) && xs_supply_keeps((char *)p + size - 1));
    cr_assert_eq(xs_supply_unmap(p, size), 0);
    xs_supply_stats(&stats);
    cr_assert_eq(stats.explicit_bytes, 0u);
    cr_assert_not(xs_supply_keeps(p));
}

Test(supply, of_fewer_huge_pages_what_was_got_is_charged)
{
    size_t size = XS_MEM_HUGE * 16;

    had = XS_MEM_HUGE * 5;
    xs_supply_open(&(struct xs_supply_options){.limit_bytes = XS_MEM_HUGE * 16});
    void *p = xs_supply_reserve_huge(&size);
    cr_assert_not_null(p);
    cr_assert_eq(size, XS_MEM_HUGE * 4);
    cr_assert_eq(charged(), size);
    cr_assert_eq(xs_supply_unmap(p, size), 0);
    cr_assert_eq(charged(), 0u);
}

Test(supply, a_range_without_huge_pages_stays_reserved)
{
    size_t size = XS_MEM_HUGE * 8;
    char *p = xs_mem_reserve(size, XS_MEM_HUGE);

    /* To mincore of QEMU's emulator what cannot be read is not there, so it cannot be asked. */
    if (!is_mapped(p))
        return;
    cr_assert_eq(xs_mem_map_huge_at(p, XS_MEM_HUGE * 4, XS_MEM_HUGE), ENOMEM);
    cr_assert(is_mapped(p));
    cr_assert(is_mapped(p + XS_MEM_HUGE * 4 - 1));
    cr_assert_not(xs_mem_reserve_at(p, size), "another one could take it");
}
