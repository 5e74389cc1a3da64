/* A report's two forms, kept for who looks at them. */
#ifndef XS_TESTS_KEPT_REPORT_H
#define XS_TESTS_KEPT_REPORT_H

#include <criterion/criterion.h>
#include <string.h>

#include "report/report.h"

struct kept {
    char text[1 << 17];
    size_t len;
    size_t largest_piece;
};

static struct kept kept;

static inline void keep(const char *text, size_t len, void *arg)
{
    struct kept *k = arg;

    cr_assert(len > 0, "an empty piece");
    cr_assert(k->len + len < sizeof(k->text));
    memcpy(k->text + k->len, text, len);
    k->len += len;
    k->text[k->len] = '\0';
    if (len > k->largest_piece)
        k->largest_piece = len;
}

static inline const char *text_of(const struct xs_report *r, bool utf8)
{
    kept.len = 0;
    xs_report_text(r, utf8, keep, &kept);
    return kept.text;
}

static inline const char *json_of(const struct xs_report *r)
{
    kept.len = 0;
    xs_report_json(r, keep, &kept);
    return kept.text;
}

#endif
