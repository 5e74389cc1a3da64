#include <criterion/criterion.h>
#include <errno.h>
#include <stdint.h>

#include "policy/route.h"

#define CHOICES "system|mimalloc|tbb"

static struct xs_route route;

static int parse(const char *text)
{
    char mem[200];
    struct xs_buf why;

    xs_buf_init(&why, mem, sizeof(mem));
    int rc = xs_route_parse(text, CHOICES, 0, &route, &why);
    /* A refusal says why, a success nothing. */
    cr_assert_eq(rc == 0, why.len == 0, "%s: %s", text, why.at);
    return rc;
}

Test(route, several)
{
    cr_assert_eq(parse("<=64K:mimalloc,<1M:tbb,*:system"), 0);
    cr_assert_eq(route.count, 3u);
    cr_assert_eq(route.step[0].last, 65536u);
    cr_assert_eq(route.step[0].choice, 1);
    cr_assert_eq(route.step[1].last, (1u << 20) - 1);
    cr_assert_eq(route.step[1].choice, 2);
    cr_assert_eq(route.step[2].last, SIZE_MAX);
    cr_assert_eq(route.step[2].choice, 0);
}

Test(route, the_rest_goes_to_the_default)
{
    cr_assert_eq(parse("<=100:tbb"), 0);
    cr_assert_eq(route.count, 2u);
    cr_assert_eq(route.step[1].last, SIZE_MAX);
    cr_assert_eq(route.step[1].choice, 0);
    cr_assert_eq(parse("*:mimalloc"), 0);
    cr_assert_eq(route.count, 1u);
    cr_assert_eq(route.step[0].choice, 1);
}

Test(route, zero)
{
    cr_assert_eq(parse("<=0:tbb,*:system"), 0);
    cr_assert_eq(route.step[0].last, 0u);
    cr_assert_eq(parse("<0:tbb,*:system"), EINVAL);
}

Test(route, refused)
{
    static const char *const bad[] = {
        "<=x",
        "<=64K",
        "<=64K:",
        "<=64K:mimaloc",
        "64K:tbb",
        ">64K:tbb",
        "<=1M:tbb,<=64K:mimalloc",
        "<=1K:tbb,<=1K:system",
        "*:tbb,<=64K:system",
        "*:tbb,*:tbb",
        "<=64K:tbb,",
        ",",
        "<=:tbb",
        "<=-1:tbb",
        "<1:tbb,<2:tbb,<3:tbb,<4:tbb,<5:tbb,<6:tbb,<7:tbb,<8:tbb,<9:tbb",
    };
    route.count = 77;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        cr_assert_eq(parse(bad[i]), EINVAL, "%s was taken", bad[i]);
        cr_assert_eq(route.count, 77u);
    }
}
