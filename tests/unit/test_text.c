#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "base/text.h"

static int size_of(const char *text, uint64_t *out)
{
    return xs_text_size(text, strlen(text), out);
}

Test(text, sizes)
{
    static const struct {
        const char *text;
        uint64_t value;
    } good[] = {
        {"0", 0},
        {"1000", 1000},
        {"64K", 65536},
        {"64k", 65536},
        {"4gb", UINT64_C(4) << 30},
        {"512MiB", UINT64_C(512) << 20},
        {"1.5G", UINT64_C(3) << 29},
        {"0.25K", 256},
        {"7B", 7},
        {"2P", UINT64_C(2) << 50},
        {"1.5 MiB", UINT64_C(3) << 19},
    };
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        uint64_t v = 12345;
        int rc = size_of(good[i].text, &v);
        cr_assert_eq(rc, 0, "%s", good[i].text);
        cr_assert_eq(v, good[i].value, "%s gave %lu", good[i].text, (unsigned long)v);
    }
}

Test(text, sizes_refused)
{
    static const char *const bad[] = {"",    "4Gi", "-1",   "+1",  "1.5",    "K",      "1X", "1KK",
                                      "1.K", "1 2", "0x10", "1e3", "64Kbit", "1.2.3K", " 1"};
    uint64_t v = 7;

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        cr_assert_eq(size_of(bad[i], &v), EINVAL, "%s", bad[i]);
        cr_assert_eq(v, 7u);
    }
    cr_assert_eq(size_of("99999999999999999999", &v), ERANGE);
    cr_assert_eq(size_of("9000000P", &v), ERANGE);
    cr_assert_eq(v, 7u);
}

Test(text, booleans)
{
    static const char *const yes[] = {"1", "on", "TRUE", "Yes"};
    static const char *const no[] = {"0", "off", "False", "NO"};
    bool b;

    for (size_t i = 0; i < 4; i++) {
        cr_assert(xs_text_bool(yes[i], &b) == 0 && b);
        cr_assert(xs_text_bool(no[i], &b) == 0 && !b);
    }
    cr_assert_eq(xs_text_bool("2", &b), EINVAL);
    cr_assert_eq(xs_text_bool("", &b), EINVAL);
}

Test(text, choices)
{
    cr_assert_eq(xs_text_choice("auto|0|1", "auto", 4), 0);
    cr_assert_eq(xs_text_choice("auto|0|1", "1", 1), 2);
    cr_assert_eq(xs_text_choice("auto|0|1", "AUTO", 4), 0);
    cr_assert_eq(xs_text_choice("auto|0|1", "aut", 3), -1);
    cr_assert_eq(xs_text_choice("auto|0|1", "", 0), -1);
}

Test(text, distance)
{
    cr_assert_eq(xs_text_distance("mimalloc", "mimalloc"), 0);
    cr_assert_eq(xs_text_distance("mimaloc", "mimalloc"), 1);
    cr_assert_eq(xs_text_distance("mimlaloc", "mimalloc"), 1);
    cr_assert_eq(xs_text_distance("tbb", "TBB"), 0);
    cr_assert_eq(xs_text_distance("XSIGMA_STAT", "XSIGMA_STATS"), 1);
    cr_assert_eq(xs_text_distance("abc", "xyz"), 3);
    cr_assert_eq(xs_text_distance("", "ab"), 2);
}

Test(text, times)
{
    static const struct {
        const char *text;
        uint64_t ns;
    } good[] = {{"0", 0},
                {"7ns", 7},
                {"30us", 30000},
                {"500ms", 500000000},
                {"2s", 2000000000},
                {"1MIN", 60000000000},
                {"2h", 7200000000000}};
    static const char *const bad[] = {"", "5", "ms", "1.5s", "2 s", "2sec", "-1s", "1d"};
    uint64_t ns = 1;

    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        cr_assert(xs_text_time(good[i].text, strlen(good[i].text), &ns) == 0 && ns == good[i].ns,
                  "%s", good[i].text);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        ns = 1;
        cr_assert(xs_text_time(bad[i], strlen(bad[i]), &ns) == EINVAL && ns == 1, "%s", bad[i]);
    }
    cr_assert_eq(xs_text_time("999999999999s", 13, &ns), ERANGE);
}
