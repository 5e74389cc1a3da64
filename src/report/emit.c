#include "report/emit.h"

#include <string.h>

/* A string is escaped so many bytes at a time; each may become six. */
#define STRING_CHUNK 60

void xs_emit_open(struct xs_emit *e, bool utf8, xs_sink *sink, void *arg)
{
    e->sink = sink;
    e->arg = arg;
    e->utf8 = utf8;
    e->indent = 2;
    e->depth = 0;
    e->has_member[0] = false;
    e->one_line[0] = false;
    xs_buf_init(&e->out, e->out_mem, sizeof(e->out_mem));
    xs_buf_init(&e->line, e->line_mem, sizeof(e->line_mem));
}

static void flush(struct xs_emit *e)
{
    if (e->out.len > 0)
        e->sink(e->out.at, e->out.len, e->arg);
    xs_buf_clear(&e->out);
}

static void put(struct xs_emit *e, const char *text, size_t len)
{
    while (len > 0) {
        size_t room = e->out.cap - 1 - e->out.len;
        size_t n = len < room ? len : room;

        xs_put_mem(&e->out, text, n);
        text += n;
        len -= n;
        if (e->out.len == e->out.cap - 1)
            flush(e);
    }
}

void xs_emit_close(struct xs_emit *e)
{
    if (e->line.len > 0)
        xs_emit_line(e);
    while (e->depth > 0)
        xs_emit_end(e);
    flush(e);
}

/* --- text --- */

/* Length of the printable UTF-8 character at s, 0 if there is none. */
static size_t printable_len(const unsigned char *s, bool utf8)
{
    uint32_t code;
    size_t len;

    if (s[0] >= 0x20 && s[0] < 0x7F)
        return 1;
    if (!utf8 || s[0] < 0xC2 || s[0] > 0xF4)
        return 0;
    len = s[0] < 0xE0 ? 2 : s[0] < 0xF0 ? 3 : 4;
    code = s[0] & (0xFFu >> (len + 1));
    for (size_t i = 1; i < len; i++) {
        if ((s[i] & 0xC0u) != 0x80)
            return 0;
        code = code << 6 | (s[i] & 0x3Fu);
    }
    if (code < 0xA0) /* C1 controls drive terminals as escapes do */
        return 0;
    if ((len == 3 && code < 0x800) || (len == 4 && (code < 0x10000 || code > 0x10FFFF)))
        return 0;
    if ((code >= 0xD800 && code < 0xE000) || (code >= 0x202A && code <= 0x202E) ||
        (code >= 0x2066 && code <= 0x2069) || code == 0x2028 || code == 0x2029)
        return 0; /* surrogates, and what turns or breaks the line */
    return len;
}

void xs_emit_clean(const struct xs_emit *e, struct xs_buf *b, const char *text, size_t max_columns)
{
    const unsigned char *s = (const unsigned char *)text;
    size_t columns = 0;
    size_t keep = b->len; /* the end of what still leaves room for the dots */

    while (*s != '\0') {
        size_t len = printable_len(s, e->utf8);

        if (columns == max_columns) {
            b->len = keep;
            xs_put_str(b, "...");
            return;
        }
        if (columns + 3 <= max_columns)
            keep = b->len;
        if (len == 0)
            xs_put_char(b, '?');
        else
            xs_put_mem(b, (const char *)s, len);
        s += len == 0 ? 1 : len;
        columns++;
    }
}

static size_t columns_of(const char *s, size_t len)
{
    size_t n = 0;

    for (size_t i = 0; i < len; i++)
        n += ((unsigned char)s[i] & 0xC0u) != 0x80u;
    return n;
}

void xs_emit_right(struct xs_emit *e, size_t end, const char *cell)
{
    if (cell == NULL)
        return;
    size_t width = columns_of(cell, strlen(cell));

    if (e->line.len > 0)
        xs_put_char(&e->line, ' ');
    if (end > width)
        xs_put_pad(&e->line, end - width);
    xs_put_str(&e->line, cell);
}

void xs_emit_left(struct xs_emit *e, size_t start, const char *cell)
{
    if (cell == NULL)
        return;
    xs_put_pad(&e->line, start);
    xs_put_str(&e->line, cell);
}

static void put_item(struct xs_emit *e, size_t gap, const char *item, size_t len)
{
    size_t at = columns_of(e->line.at, e->line.len);
    bool is_first = at == 0 || e->line.at[e->line.len - 1] == ' ';

    if (!is_first && at + gap + columns_of(item, len) > XS_EMIT_COLUMNS) {
        xs_emit_line(e);
        xs_put_pad(&e->line, e->indent);
    } else if (!is_first) {
        xs_put_pad(&e->line, at + gap);
    }
    xs_put_mem(&e->line, item, len);
}

void xs_emit_item(struct xs_emit *e, size_t gap, const char *item)
{
    put_item(e, gap, item, strlen(item));
}

void xs_emit_words(struct xs_emit *e, const char *text)
{
    while (*text != '\0') {
        size_t len = strcspn(text, " ");

        if (len > 0)
            put_item(e, 1, text, len);
        text += len;
        text += strspn(text, " ");
    }
}

void xs_emit_bar(struct xs_emit *e, size_t cells, uint64_t part, uint64_t whole)
{
    static const char eighths[8][4] = {"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
    size_t fill;

    if (whole == 0 || part == 0)
        return;
    fill = (size_t)((double)part / (double)whole * (double)cells * 8.0 + 0.5);
    if (fill == 0)
        fill = 1; /* something is not nothing */
    if (!e->utf8)
        fill = (fill + 4) / 8 * 8;
    for (size_t i = 0; i < fill / 8 && i < cells; i++)
        xs_put_str(&e->line, e->utf8 ? "█" : "#");
    xs_put_str(&e->line, eighths[fill % 8]);
}

void xs_emit_line(struct xs_emit *e)
{
    while (e->line.len > 0 && e->line.at[e->line.len - 1] == ' ')
        e->line.len--;
    put(e, e->line.at, e->line.len);
    put(e, "\n", 1);
    xs_buf_clear(&e->line);
}

/* --- JSON --- */

static void put_json(struct xs_emit *e, const char *text)
{
    char chunk[STRING_CHUNK + 1];
    XS_BUF(escaped, 6 * STRING_CHUNK + 3);

    put(e, "\"", 1);
    while (*text != '\0') {
        size_t len = strnlen(text, STRING_CHUNK);

        /* Do not cut a character: go back to before its first byte. */
        if (text[len] != '\0')
            for (size_t back = 0; back < 4; back++)
                if (((unsigned char)text[len - back] & 0xC0u) != 0x80u) {
                    len -= back;
                    break;
                }
        memcpy(chunk, text, len);
        chunk[len] = '\0';
        xs_buf_clear(&escaped);
        xs_put_json(&escaped, chunk);
        put(e, escaped.at + 1, escaped.len - 2);
        text += len;
    }
    put(e, "\"", 1);
}

static void new_line(struct xs_emit *e)
{
    put(e, "\n", 1);
    for (unsigned i = 0; i < e->depth; i++)
        put(e, "  ", 2);
}

/* All that stands before a value: the comma, the place, the key. */
static void begin_value(struct xs_emit *e, const char *key)
{
    if (e->depth > 0) {
        bool one_line = e->one_line[e->depth - 1];
        bool first = !e->has_member[e->depth - 1];

        if (!first)
            put(e, one_line ? ", " : ",", one_line ? 2 : 1);
        if (!one_line)
            new_line(e);
        e->has_member[e->depth - 1] = true;
    }
    if (key != NULL) {
        put_json(e, key);
        put(e, ": ", 2);
    }
}

static void open_nested(struct xs_emit *e, const char *key, char opener, char closer, bool one_line)
{
    begin_value(e, key);
    put(e, &opener, 1);
    if (e->depth == XS_EMIT_DEPTH)
        __builtin_trap(); /* the renderers' nesting is fixed and shallower */
    e->closer[e->depth] = closer;
    e->has_member[e->depth] = false;
    e->one_line[e->depth] = one_line || (e->depth > 0 && e->one_line[e->depth - 1]);
    e->depth++;
}

void xs_emit_object(struct xs_emit *e, const char *key)
{
    open_nested(e, key, '{', '}', false);
}

void xs_emit_array(struct xs_emit *e, const char *key, bool one_line)
{
    open_nested(e, key, '[', ']', one_line);
}

void xs_emit_end(struct xs_emit *e)
{
    e->depth--;
    if (e->has_member[e->depth] && !e->one_line[e->depth])
        new_line(e);
    put(e, &e->closer[e->depth], 1);
    if (e->depth == 0)
        put(e, "\n", 1);
}

static void put_str(struct xs_emit *e, const char *text)
{
    put(e, text, strlen(text));
}

void xs_emit_u64(struct xs_emit *e, const char *key, uint64_t v)
{
    XS_BUF(number, 24);

    begin_value(e, key);
    xs_fmt(&number, "%lu", (unsigned long)v);
    put_str(e, number.at);
}

static void emit_null(struct xs_emit *e, const char *key)
{
    begin_value(e, key);
    put_str(e, "null");
}

void xs_emit_known(struct xs_emit *e, const char *key, uint64_t v)
{
    if (v == XS_UNKNOWN)
        emit_null(e, key);
    else
        xs_emit_u64(e, key, v);
}

void xs_emit_natural(struct xs_emit *e, const char *key, int64_t v)
{
    if (v < 0)
        emit_null(e, key);
    else
        xs_emit_u64(e, key, (uint64_t)v);
}

void xs_emit_bool(struct xs_emit *e, const char *key, bool v)
{
    begin_value(e, key);
    put_str(e, v ? "true" : "false");
}

void xs_emit_string(struct xs_emit *e, const char *key, const char *v)
{
    if (v == NULL) {
        emit_null(e, key);
        return;
    }
    begin_value(e, key);
    put_json(e, v);
}
