/* All spans that a test took go back: the core is in order, has nothing in use, and gives to the
 * system what it has. */
#ifndef XS_TESTS_SPANS_BACK_H
#define XS_TESTS_SPANS_BACK_H

#include <criterion/criterion.h>

#include "base/fmt.h"
#include "core/span.h"

static void all_spans_go_back(const xs_chunk chunks[], unsigned n)
{
    struct xs_bfc_stats s;
    XS_BUF(why, 200);

    xs_span_give(chunks, n, NULL);
    cr_assert(xs_span_check(&why), "%s", why.at);
    xs_span_stats(&s);
    cr_assert_eq(s.in_use_bytes, 0u);
    cr_assert_gt(xs_span_trim(), 0u);
    xs_span_stats(&s);
    cr_assert_eq(s.free_bytes, s.purged_bytes);
}

#endif
