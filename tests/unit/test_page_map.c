#include <criterion/criterion.h>
#include <errno.h>
#include <stdint.h>

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
