#include "base/text.h"

#include <errno.h>
#include <string.h>

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

bool xs_text_same(const char *a, const char *b, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (lower(a[i]) != lower(b[i]))
            return false;
    return true;
}

int xs_text_count(const char *text, size_t len, uint64_t *out)
{
    uint64_t v = 0;

    if (len == 0)
        return EINVAL;
    for (size_t i = 0; i < len; i++) {
        if (text[i] < '0' || text[i] > '9')
            return EINVAL;
        if (__builtin_mul_overflow(v, (uint64_t)10, &v) ||
            __builtin_add_overflow(v, (uint64_t)(text[i] - '0'), &v))
            return ERANGE;
    }
    *out = v;
    return 0;
}

/* The shift that a unit stands for, or -1. */
static int unit_shift(const char *unit, size_t len)
{
    static const char letters[] = "bkmgtp";

    if (len == 0)
        return 0;
    const char *at = strchr(letters, lower(unit[0]));
    if (at == NULL || *at == '\0')
        return -1;
    if (at == letters)
        return len == 1 ? 0 : -1;
    if (len == 1 || (len == 2 && lower(unit[1]) == 'b') ||
        (len == 3 && lower(unit[1]) == 'i' && lower(unit[2]) == 'b'))
        return (int)(at - letters) * 10;
    return -1;
}

int xs_text_size(const char *text, size_t len, uint64_t *out)
{
    size_t whole_len = strspn(text, "0123456789");
    size_t frac_len = 0;
    uint64_t whole;
    uint64_t frac = 0;
    uint64_t scale = 1;

    if (whole_len > len)
        whole_len = len;
    size_t at = whole_len;
    if (at < len && text[at] == '.') {
        frac_len = strspn(text + at + 1, "0123456789");
        if (frac_len == 0 || frac_len > 6)
            return EINVAL;
        at += 1 + frac_len;
    }
    while (at < len && text[at] == ' ')
        at++;
    int shift = at <= len ? unit_shift(text + at, len - at) : -1;
    if (shift < 0 || (frac_len > 0 && shift == 0))
        return EINVAL;
    int rc = xs_text_count(text, whole_len, &whole);
    if (rc != 0)
        return rc;
    if (whole >> (63 - shift) != 0)
        return ERANGE;
    if (frac_len > 0) {
        (void)xs_text_count(text + whole_len + 1, frac_len, &frac);
        for (size_t i = 0; i < frac_len; i++)
            scale *= 10;
        /* frac < 10^6 < 2^20, and a petabyte is 2^50: split the shift to stay in 64 bits. */
        int high = shift > 40 ? shift - 40 : 0;
        frac = ((frac << (shift - high)) / scale) << high;
    }
    *out = (whole << shift) + frac;
    return 0;
}

int xs_text_time(const char *text, size_t len, uint64_t *out)
{
    static const struct {
        char name[8];
        uint64_t ns;
    } units[] = {{"ns", 1},          {"us", 1000},          {"ms", 1000000},
                 {"s", 1000000000u}, {"min", 60000000000u}, {"h", 3600000000000u}};
    size_t digits = strspn(text, "0123456789");
    uint64_t n;

    if (digits > len)
        digits = len;
    int rc = xs_text_count(text, digits, &n);
    if (rc != 0)
        return rc;
    if (digits == len && n == 0) {
        *out = 0;
        return 0;
    }
    for (size_t i = 0; i < XS_COUNT_OF(units); i++) {
        if (strlen(units[i].name) != len - digits ||
            !xs_text_same(units[i].name, text + digits, len - digits))
            continue;
        return __builtin_mul_overflow(n, units[i].ns, out) ? ERANGE : 0;
    }
    return EINVAL;
}

int xs_text_factor(const char *text, size_t len, uint64_t *out)
{
    const char *point = memchr(text, '.', len);
    size_t whole_len = point != NULL ? (size_t)(point - text) : len;
    size_t places = point != NULL ? len - whole_len - 1 : 0;
    uint64_t whole;
    uint64_t rest = 0;

    int rc = xs_text_count(text, whole_len, &whole);
    if (rc == 0 && point != NULL)
        rc = places <= 3 ? xs_text_count(point + 1, places, &rest) : EINVAL;
    if (rc != 0)
        return rc;
    for (; places < 3; places++)
        rest *= 10;
    if (whole > (UINT64_MAX - rest) / 1000)
        return ERANGE;
    *out = whole * 1000 + rest;
    return 0;
}

int xs_text_bool(const char *text, bool *out)
{
    int i = xs_text_choice("0|1|off|on|false|true|no|yes", text, strlen(text));

    if (i < 0)
        return EINVAL;
    *out = i % 2 == 1;
    return 0;
}

int xs_text_choice(const char *choices, const char *word, size_t len)
{
    int index = 0;

    for (const char *c = choices; c != NULL; index++) {
        size_t n = strcspn(c, "|");
        if (n == len && xs_text_same(c, word, len))
            return index;
        c = c[n] == '|' ? c + n + 1 : NULL;
    }
    return -1;
}

#define DISTANCE_MAX 3
#define WORD_MAX     48

unsigned xs_text_distance(const char *a, const char *b)
{
    size_t la = strlen(a);
    size_t lb = strlen(b);
    unsigned rows[3][WORD_MAX + 1];

    if (la > WORD_MAX || lb > WORD_MAX)
        return DISTANCE_MAX;
    for (size_t j = 0; j <= lb; j++)
        rows[0][j] = (unsigned)j;
    for (size_t i = 1; i <= la; i++) {
        unsigned *now = rows[i % 3];
        const unsigned *above = rows[(i - 1) % 3];
        const unsigned *two_above = rows[(i + 1) % 3];
        now[0] = (unsigned)i;
        for (size_t j = 1; j <= lb; j++) {
            unsigned best = above[j - 1] + (lower(a[i - 1]) != lower(b[j - 1]));
            if (above[j] + 1 < best)
                best = above[j] + 1;
            if (now[j - 1] + 1 < best)
                best = now[j - 1] + 1;
            if (i > 1 && j > 1 && lower(a[i - 1]) == lower(b[j - 2]) &&
                lower(a[i - 2]) == lower(b[j - 1]) && two_above[j - 2] + 1 < best)
                best = two_above[j - 2] + 1;
            now[j] = best;
        }
    }
    unsigned d = rows[la % 3][lb];
    return d < DISTANCE_MAX ? d : DISTANCE_MAX;
}
