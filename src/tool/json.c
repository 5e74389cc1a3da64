#include "tool/json.h"

#include <stdlib.h>
#include <string.h>

#include "base/text.h"

#define DEPTH_MAX 64

struct parser {
    struct xs_json_tree *tree;
    char *start;
    char *at;
    char *end;
    unsigned depth;
};

static bool fail(struct parser *p, const char *why)
{
    if (p->tree->error == NULL) {
        p->tree->error = why;
        p->tree->error_at = (size_t)(p->at - p->start);
    }
    return false;
}

/* The index of a new node; 0, which is the outermost value's, if there is no memory. */
static uint32_t new_node(struct parser *p)
{
    struct xs_json_tree *t = p->tree;

    if (t->count == t->room) {
        uint32_t room = t->room == 0 ? 1024 : t->room * 2;
        struct xs_json *node =
            room > t->room ? realloc(t->node, (size_t)room * sizeof(*node)) : NULL;
        if (node == NULL) {
            (void)fail(p, "out of memory");
            return 0;
        }
        t->node = node;
        t->room = room;
    }
    t->node[t->count] = (struct xs_json){.type = XS_JSON_NULL};
    return t->count++;
}

static void skip_space(struct parser *p)
{
    while (p->at < p->end && (*p->at == ' ' || *p->at == '\n' || *p->at == '\t' || *p->at == '\r'))
        p->at++;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static bool hex4(struct parser *p, unsigned *out)
{
    *out = 0;
    for (int i = 0; i < 4; i++) {
        int digit = p->at < p->end ? hex_digit(*p->at) : -1;
        if (digit < 0)
            return fail(p, "\\u needs four hexadecimal digits");
        *out = *out * 16 + (unsigned)digit;
        p->at++;
    }
    return true;
}

static char *put_utf8(char *out, unsigned c)
{
    if (c < 0x80) {
        *out++ = (char)c;
    } else if (c < 0x800) {
        *out++ = (char)(0xC0 | c >> 6);
        *out++ = (char)(0x80 | (c & 0x3F));
    } else if (c < 0x10000) {
        *out++ = (char)(0xE0 | c >> 12);
        *out++ = (char)(0x80 | (c >> 6 & 0x3F));
        *out++ = (char)(0x80 | (c & 0x3F));
    } else {
        *out++ = (char)(0xF0 | c >> 18);
        *out++ = (char)(0x80 | (c >> 12 & 0x3F));
        *out++ = (char)(0x80 | (c >> 6 & 0x3F));
        *out++ = (char)(0x80 | (c & 0x3F));
    }
    return out;
}

/* After the backslash and the u; halves of pairs become U+FFFD unless both are there. */
static bool unicode(struct parser *p, char **out)
{
    unsigned c;
    unsigned low;

    if (!hex4(p, &c))
        return false;
    if (c >= 0xD800 && c < 0xDC00 && p->end - p->at >= 6 && p->at[0] == '\\' && p->at[1] == 'u') {
        p->at += 2;
        if (!hex4(p, &low))
            return false;
        c = low >= 0xDC00 && low < 0xE000 ? 0x10000 + ((c - 0xD800) << 10) + (low - 0xDC00)
                                          : 0xFFFD;
    } else if (c >= 0xD800 && c < 0xE000) {
        c = 0xFFFD;
    }
    if (c == 0)
        c = 0xFFFD; /* it would end the text */
    *out = put_utf8(*out, c);
    return true;
}

/* At the quote. What it stands for is never longer than what is written. */
static bool string(struct parser *p, const char **text)
{
    static const char escapes[] = "\"\\/bfnrt";
    static const char meant[] = "\"\\/\b\f\n\r\t";
    char *out = ++p->at;

    *text = out;
    while (p->at < p->end && *p->at != '"') {
        char c = *p->at++;
        if ((unsigned char)c < ' ')
            return fail(p, "a control character in a string");
        if (c != '\\') {
            *out++ = c;
            continue;
        }
        if (p->at == p->end)
            break;
        c = *p->at++;
        const char *known = c != '\0' ? strchr(escapes, c) : NULL;
        if (known != NULL)
            *out++ = meant[known - escapes];
        else if (c != 'u')
            return fail(p, "an unknown escape in a string");
        else if (!unicode(p, &out))
            return false;
    }
    if (p->at == p->end)
        return fail(p, "a string without end");
    p->at++;
    *out = '\0';
    return true;
}

static bool is_number_char(char c)
{
    return (c >= '0' && c <= '9') || c == '-' || c == '+' || c == '.' || c == 'e' || c == 'E';
}

static bool value(struct parser *p, uint32_t index);

/* At the bracket. The text of a number is only ended when what follows it has been seen. */
static bool list(struct parser *p, uint32_t index, char closer)
{
    uint32_t last = 0;

    if (++p->depth > DEPTH_MAX)
        return fail(p, "nested too deeply");
    p->at++;
    skip_space(p);
    if (p->at < p->end && *p->at == closer) {
        p->at++;
        p->depth--;
        return true;
    }
    for (;;) {
        const char *key = NULL;
        skip_space(p);
        if (closer == '}') {
            if (p->at == p->end || *p->at != '"')
                return fail(p, "a name is expected");
            if (!string(p, &key))
                return false;
            skip_space(p);
            if (p->at == p->end || *p->at++ != ':')
                return fail(p, "':' is expected");
        }
        uint32_t child = new_node(p);
        if (child == 0)
            return false;
        p->tree->node[child].key = key;
        if (last == 0)
            p->tree->node[index].first = child;
        else
            p->tree->node[last].next = child;
        last = child;
        p->tree->node[index].count++;
        if (!value(p, child))
            return false;
        skip_space(p);
        char c = '\0';
        if (p->at < p->end)
            c = *p->at;
        if (p->tree->node[child].type == XS_JSON_NUMBER) {
            char *stop = p->start + (p->tree->node[child].text - p->start);
            while (is_number_char(*stop))
                stop++;
            *stop = '\0';
        }
        p->at++;
        if (c == closer)
            break;
        if (c != ',') {
            p->at--;
            return fail(p, "',' or the end of the list is expected");
        }
    }
    p->depth--;
    return true;
}

static bool word(struct parser *p, uint32_t index, const char *text, enum xs_json_type type)
{
    size_t len = strlen(text);

    if ((size_t)(p->end - p->at) < len || memcmp(p->at, text, len) != 0)
        return fail(p, "a value is expected");
    p->at += len;
    p->tree->node[index].type = type;
    return true;
}

static bool value(struct parser *p, uint32_t index)
{
    const char *text;

    skip_space(p);
    switch (p->at < p->end ? *p->at : '\0') {
    case '{':
        p->tree->node[index].type = XS_JSON_OBJECT;
        return list(p, index, '}');
    case '[':
        p->tree->node[index].type = XS_JSON_ARRAY;
        return list(p, index, ']');
    case '"':
        if (!string(p, &text))
            return false;
        p->tree->node[index].type = XS_JSON_STRING;
        p->tree->node[index].text = text;
        return true;
    case 'n':
        return word(p, index, "null", XS_JSON_NULL);
    case 't':
        return word(p, index, "true", XS_JSON_TRUE);
    case 'f':
        return word(p, index, "false", XS_JSON_FALSE);
    default:
        if (p->at == p->end || (*p->at != '-' && (*p->at < '0' || *p->at > '9')))
            return fail(p, "a value is expected");
        p->tree->node[index].type = XS_JSON_NUMBER;
        p->tree->node[index].text = p->at;
        while (p->at < p->end && is_number_char(*p->at))
            p->at++;
        return true;
    }
}

bool xs_json_parse(struct xs_json_tree *t, char *text, size_t len)
{
    struct parser p = {.tree = t, .start = text, .at = text, .end = text + len};

    *t = (struct xs_json_tree){0};
    (void)new_node(&p);
    if (t->error != NULL || !value(&p, 0))
        return false;
    skip_space(&p);
    if (p.at != p.end)
        return fail(&p, "something follows the end");
    return true;
}

void xs_json_free(struct xs_json_tree *t)
{
    free(t->node);
    *t = (struct xs_json_tree){0};
}

const struct xs_json *xs_json_first(const struct xs_json_tree *t, const struct xs_json *list)
{
    if (list == NULL || (list->type != XS_JSON_ARRAY && list->type != XS_JSON_OBJECT))
        return NULL;
    return list->first != 0 ? &t->node[list->first] : NULL;
}

const struct xs_json *xs_json_next(const struct xs_json_tree *t, const struct xs_json *v)
{
    return v != NULL && v->next != 0 ? &t->node[v->next] : NULL;
}

const struct xs_json *xs_json_get(const struct xs_json_tree *t, const struct xs_json *object,
                                  const char *key)
{
    if (object == NULL || object->type != XS_JSON_OBJECT)
        return NULL;
    const struct xs_json *v = xs_json_first(t, object);
    while (v != NULL && strcmp(v->key, key) != 0)
        v = xs_json_next(t, v);
    return v;
}

uint64_t xs_json_u64(const struct xs_json *v, uint64_t otherwise)
{
    uint64_t n;

    if (v == NULL || v->type != XS_JSON_NUMBER || xs_text_count(v->text, strlen(v->text), &n) != 0)
        return otherwise;
    return n;
}

const char *xs_json_string(const struct xs_json *v, const char *otherwise)
{
    return v != NULL && v->type == XS_JSON_STRING ? v->text : otherwise;
}

bool xs_json_is_true(const struct xs_json *v)
{
    return v != NULL && v->type == XS_JSON_TRUE;
}
