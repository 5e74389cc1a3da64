#include "base/fmt.h"

#include <string.h>

void xs_buf_init(struct xs_buf *b, char *mem, size_t cap)
{
    b->at = mem;
    b->cap = cap;
    xs_buf_clear(b);
}

void xs_buf_clear(struct xs_buf *b)
{
    b->len = 0;
    b->truncated = false;
    b->at[0] = '\0';
}

void xs_put_mem(struct xs_buf *b, const char *s, size_t len)
{
    size_t room = b->cap - 1 - b->len;

    if (len > room) {
        len = room;
        b->truncated = true;
    }
    memcpy(b->at + b->len, s, len);
    b->len += len;
    b->at[b->len] = '\0';
}

void xs_put_char(struct xs_buf *b, char c)
{
    xs_put_mem(b, &c, 1);
}

void xs_put_str(struct xs_buf *b, const char *s)
{
    xs_put_mem(b, s, strlen(s));
}

void xs_put_pad(struct xs_buf *b, size_t col)
{
    size_t start = b->len;
    size_t width = 0;

    while (start > 0 && b->at[start - 1] != '\n')
        start--;
    for (size_t i = start; i < b->len; i++)
        width += ((unsigned char)b->at[i] & 0xC0u) != 0x80u;
    while (width++ < col)
        xs_put_char(b, ' ');
}

/* Writes v's digits at the end of `mem` and returns their start. */
static char *digits(char *end, uint64_t v, unsigned base)
{
    do {
        *--end = "0123456789abcdef"[v % base];
        v /= base;
    } while (v != 0);
    return end;
}

static void put_u64(struct xs_buf *b, uint64_t v)
{
    char mem[24];
    char *start = digits(mem + sizeof(mem), v, 10);

    xs_put_mem(b, start, (size_t)(mem + sizeof(mem) - start));
}

/* value/scale with three significant digits: 3.41, 72.7, 812. */
static void put_scaled(struct xs_buf *b, uint64_t value, uint64_t scale)
{
    uint64_t whole = value / scale;
    unsigned decimals = whole < 10 ? 2 : whole < 100 ? 1 : 0;
    double v = (double)value / (double)scale;

    /* 9.996 must not print as 10.00. */
    if (decimals == 2 && v >= 9.995)
        decimals = 1;
    if (decimals == 1 && v >= 99.95)
        decimals = 0;
    xs_fmt(b, "%.*f", (int)decimals, v);
}

#define UNIT_MOST 4 /* with its NUL */

static void put_with_unit(struct xs_buf *b, uint64_t n, uint64_t step,
                          const char (*units)[UNIT_MOST], size_t unit_count)
{
    uint64_t scale = 1;
    size_t u = 0;

    while (u + 1 < unit_count && n / scale >= step) {
        scale *= step;
        u++;
    }
    /* 1023.7 KiB rounds to 1024: say 1.00 MiB instead. */
    if (u > 0 && u + 1 < unit_count && (double)n / (double)scale >= (double)step - 0.5) {
        scale *= step;
        u++;
    }
    if (u == 0)
        put_u64(b, n);
    else
        put_scaled(b, n, scale);
    if (units[u][0] != '\0')
        xs_fmt(b, " %s", units[u]);
}

void xs_put_bytes(struct xs_buf *b, uint64_t bytes)
{
    static const char units[][UNIT_MOST] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};

    put_with_unit(b, bytes, 1024, units, XS_COUNT_OF(units));
}

void xs_put_count(struct xs_buf *b, uint64_t n)
{
    static const char units[][UNIT_MOST] = {"", "k", "M", "G", "T", "P", "E"};

    put_with_unit(b, n, 1000, units, XS_COUNT_OF(units));
}

void xs_put_size(struct xs_buf *b, uint64_t bytes)
{
    static const char suffix[] = "KMGT";
    unsigned u = 0;

    while (u < 4 && bytes != 0 && bytes % 1024 == 0) {
        bytes /= 1024;
        u++;
    }
    put_u64(b, bytes);
    if (u > 0)
        xs_put_char(b, suffix[u - 1]);
}

/* Length of the valid UTF-8 sequence at s, or 0. */
static size_t utf8_len(const unsigned char *s)
{
    size_t n;

    if (s[0] < 0x80)
        return 1;
    if (s[0] >= 0xC2 && s[0] <= 0xDF)
        n = 2;
    else if ((s[0] & 0xF0u) == 0xE0)
        n = 3;
    else if (s[0] >= 0xF0 && s[0] <= 0xF4)
        n = 4;
    else
        return 0;
    for (size_t i = 1; i < n; i++)
        if ((s[i] & 0xC0u) != 0x80)
            return 0;
    if ((s[0] == 0xE0 && s[1] < 0xA0) || (s[0] == 0xED && s[1] > 0x9F) ||
        (s[0] == 0xF0 && s[1] < 0x90) || (s[0] == 0xF4 && s[1] > 0x8F))
        return 0; /* overlong, surrogate, beyond U+10FFFF */
    return n;
}

void xs_put_json(struct xs_buf *b, const char *s)
{
    xs_put_char(b, '"');
    while (*s != '\0') {
        unsigned char c = (unsigned char)*s;
        size_t n = utf8_len((const unsigned char *)s);

        if (c == '"' || c == '\\') {
            xs_put_char(b, '\\');
            xs_put_char(b, *s++);
        } else if (c < 0x20 || c == 0x7F) {
            xs_fmt(b, "\\u%04x", c);
            s++;
        } else if (n == 0) {
            xs_put_str(b, "\\ufffd");
            s++;
        } else {
            xs_put_mem(b, s, n);
            s += n;
        }
    }
    xs_put_char(b, '"');
}

struct spec {
    bool left;
    bool zero;
    int width;
    int precision; /* -1: none */
    int size;      /* in bytes of the integer argument */
};

static void put_field(struct xs_buf *b, const struct spec *s, const char *sign, const char *text,
                      size_t len)
{
    size_t sign_len = strlen(sign);
    size_t width = s->width > 0 ? (size_t)s->width : 0;
    size_t pad = width > len + sign_len ? width - len - sign_len : 0;

    if (!s->left && !s->zero)
        while (pad > 0 && pad--)
            xs_put_char(b, ' ');
    xs_put_mem(b, sign, sign_len);
    if (!s->left && s->zero)
        while (pad > 0 && pad--)
            xs_put_char(b, '0');
    xs_put_mem(b, text, len);
    while (s->left && pad > 0 && pad--)
        xs_put_char(b, ' ');
}

static void put_double(struct xs_buf *b, const struct spec *s, double v)
{
    char mem[48];
    char *end = mem + sizeof(mem);
    char *start = end;
    int decimals = s->precision < 0 ? 6 : s->precision > 9 ? 9 : s->precision;
    uint64_t scale = 1;
    bool negative = v < 0;

    if (negative)
        v = -v;
    if (!(v < 1e18)) { /* NaN too */
        put_field(b, s, negative ? "-" : "", v != v ? "nan" : ">1e18", v != v ? 3 : 5);
        return;
    }
    for (int i = 0; i < decimals; i++)
        scale *= 10;
    uint64_t whole = (uint64_t)v;
    uint64_t part = (uint64_t)((v - (double)whole) * (double)scale + 0.5);
    if (part >= scale) {
        part -= scale;
        whole++;
    }
    for (int i = 0; i < decimals; i++) {
        *--start = (char)('0' + part % 10);
        part /= 10;
    }
    if (decimals > 0)
        *--start = '.';
    start = digits(start, whole, 10);
    put_field(b, s, negative ? "-" : "", start, (size_t)(end - start));
}

static uint64_t take_unsigned(va_list *ap, int size)
{
    return size == 8 ? va_arg(*ap, uint64_t) : va_arg(*ap, unsigned);
}

static int64_t take_signed(va_list *ap, int size)
{
    return size == 8 ? va_arg(*ap, int64_t) : va_arg(*ap, int);
}

static const char *parse_spec(const char *f, struct spec *s, va_list *ap)
{
    *s = (struct spec){.precision = -1, .size = 4};
    for (; *f == '-' || *f == '0'; f++) {
        s->left |= *f == '-';
        s->zero |= *f == '0';
    }
    if (*f == '*') {
        s->width = va_arg(*ap, int);
        f++;
    }
    while (*f >= '0' && *f <= '9')
        s->width = s->width * 10 + (*f++ - '0');
    if (*f == '.') {
        s->precision = 0;
        f++;
        if (*f == '*') {
            s->precision = va_arg(*ap, int);
            f++;
        }
        while (*f >= '0' && *f <= '9')
            s->precision = s->precision * 10 + (*f++ - '0');
    }
    for (; *f == 'l' || *f == 'z' || *f == 'j' || *f == 'h'; f++)
        if (*f != 'h')
            s->size = 8;
    return f;
}

void xs_vfmt(struct xs_buf *b, const char *f, va_list args)
{
    char mem[24];
    char *end = mem + sizeof(mem);
    char *start;
    struct spec s;
    va_list ap;

    va_copy(ap, args);
    while (*f != '\0') {
        if (*f != '%') {
            size_t run = strcspn(f, "%");
            xs_put_mem(b, f, run);
            f += run;
            continue;
        }
        f = parse_spec(f + 1, &s, &ap);
        switch (*f) {
        case 'd':
        case 'i': {
            int64_t v = take_signed(&ap, s.size);
            start = digits(end, v < 0 ? 0 - (uint64_t)v : (uint64_t)v, 10);
            put_field(b, &s, v < 0 ? "-" : "", start, (size_t)(end - start));
            break;
        }
        case 'u':
        case 'x':
            start = digits(end, take_unsigned(&ap, s.size), *f == 'u' ? 10 : 16);
            put_field(b, &s, "", start, (size_t)(end - start));
            break;
        case 'p':
            start = digits(end, (uintptr_t)va_arg(ap, void *), 16);
            put_field(b, &s, "0x", start, (size_t)(end - start));
            break;
        case 'c':
            mem[0] = (char)va_arg(ap, int);
            put_field(b, &s, "", mem, 1);
            break;
        case 's': {
            const char *text = va_arg(ap, const char *);
            if (text == NULL)
                text = "(null)";
            size_t len = s.precision >= 0 ? strnlen(text, (size_t)s.precision) : strlen(text);
            put_field(b, &s, "", text, len);
            break;
        }
        case 'f':
            put_double(b, &s, va_arg(ap, double));
            break;
        case '%':
            xs_put_char(b, '%');
            break;
        case '\0':
            va_end(ap);
            return;
        default:
            xs_put_char(b, '%');
            xs_put_char(b, *f);
            break;
        }
        f++;
    }
    va_end(ap);
}

void xs_fmt(struct xs_buf *b, const char *format, ...)
{
    va_list ap;

    va_start(ap, format);
    xs_vfmt(b, format, ap);
    va_end(ap);
}
