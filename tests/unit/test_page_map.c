#include <criterion/criterion.h>
#include <errno.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/page_map.h"

#define G XS_PAGE_MAP_GRANULE

static const char *at(uintptr_t address)
{
    return (const char *)address;
}

Test(page_map, unknown_addresses_are_nobodys)
{
    int local;

    cr_assert_eq(xs_page_map_get(NULL), 0u);
    cr_assert_eq(xs_page_map_get(&local), 0u);
    cr_assert_eq(xs_page_map_get(at(UINTPTR_MAX)), 0u);
    cr_assert_eq(xs_page_map_get(at((uintptr_t)XS_PAGE_MAP_BYTES)), 0u);
}

Test(page_map, edges_of_a_range)
{
    uintptr_t base = (uintptr_t)5 << 30;

    cr_assert_eq(xs_page_map_set(at(base), 3 * G, 0x1234502), 0);
    cr_assert_eq(xs_page_map_get(at(base - 1)), 0u);
    cr_assert_eq(xs_page_map_get(at(base)), 0x1234502u);
    cr_assert_eq(xs_page_map_get(at(base + 3 * G - 1)), 0x1234502u);
    cr_assert_eq(xs_page_map_get(at(base + 3 * G)), 0u);
    cr_assert_eq(xs_page_map_set(at(base + G), G, 0), 0);
    cr_assert_eq(xs_page_map_get(at(base + G)), 0u);
    cr_assert_eq(xs_page_map_get(at(base + 2 * G)), 0x1234502u);
}

Test(page_map, a_range_over_several_leaves)
{
    uintptr_t base = ((uintptr_t)7 << 30) - 2 * G;
    size_t size = ((size_t)2 << 30) + 4 * G;

    cr_assert_eq(xs_page_map_set(at(base), size, 1), 0);
    for (uintptr_t a = base; a < base + size; a += G)
        cr_assert_eq(xs_page_map_get(at(a)), 1u);
    cr_assert_eq(xs_page_map_get(at(base - 1)), 0u);
    cr_assert_eq(xs_page_map_get(at(base + size)), 0u);
}

Test(page_map, the_end_of_the_address_space)
{
    uintptr_t last = ((uintptr_t)XS_PAGE_MAP_BYTES) - G;

    cr_assert_eq(xs_page_map_set(at(last), G, 2), 0);
    cr_assert_eq(xs_page_map_get(at(last + G - 1)), 2u);
    cr_assert_eq(xs_page_map_set(at(last), 2 * G, 2), ENOMEM);
    cr_assert_eq(xs_page_map_set(at(UINTPTR_MAX - G + 1), 2 * G, 2), ENOMEM);
}

/* In a process that has no leaf yet; false: not beside its leaf, or of another size than it should
 * have, or not what the map takes it for, or not at the end of its GiB. */
static bool region_is_good(bool *is_beside)
{
    const unsigned area_log2 = 21;
    size_t size = 0;
    char *p = xs_page_map_region(&size);
    const struct xs_page_map_leaf *leaf = p != NULL ? xs_page_map_leaf_at(p) : NULL;
    uintptr_t distance = (uintptr_t)p - xs_page_map_leaf_start(p);
    uintptr_t entry = (uintptr_t)leaf + (distance >> XS_PAGE_MAP_GRANULE_LOG2) * sizeof(uint64_t);

    *is_beside = leaf != NULL;
    if (p == NULL || size < (size_t)1 << 20 || size > (size_t)2 << 20)
        return false;
    /* What the kernel maps next lies below; above in an emulator of user programs. */
    bool is_downwards = (uintptr_t)p >> (XS_PAGE_MAP_LOG2 - 1) != 0;
    size_t much = (size_t)900 << 20;
    if (xs_page_map_leaf_start(is_downwards ? p - much : p) !=
        xs_page_map_leaf_start(is_downwards ? p + size : p + much))
        return false;
    if (*is_beside && entry >> area_log2 != (uintptr_t)p >> area_log2)
        return false;
    p[0] = p[size - 1] = 1;
    return xs_page_map_set(p, size, 7) == 0 && xs_page_map_get(p) == 7u &&
           xs_page_map_get(p + size - G) == 7u && xs_page_map_get(p + size) == 0 &&
           munmap(p, size) == 0;
}

Test(page_map, a_first_region_and_its_leaf_share_a_page_of_the_kernels_table)
{
    const size_t places = 256;
    int beside = 0;

    if (sysconf(_SC_PAGESIZE) != (long)G)
        return; /* there is none then */
    for (size_t i = 0; i < places; i++) {
        int status = 0;
        pid_t child = fork();
        if (child == 0) {
            bool is_beside = false;
            /* Elsewhere in its GiB each time. */
            (void)mmap(NULL, (i + 1) << 22, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
            _exit(!region_is_good(&is_beside) ? 2 : is_beside);
        }
        cr_assert_eq(waitpid(child, &status, 0), child);
        cr_assert(WIFEXITED(status) && WEXITSTATUS(status) < 2, "%zu: %d", i, status);
        beside += WEXITSTATUS(status);
    }
    /* Not where the one is the last of its GiB. */
    cr_assert_geq(beside, (int)places - 1);
}
