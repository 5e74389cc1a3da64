/* A tree back as text. */
#include <string.h>

#include "tool/json.h"

static void put(xs_sink *sink, void *arg, const char *text)
{
    sink(text, strlen(text), arg);
}

static void put_string(xs_sink *sink, void *arg, const char *text)
{
    static const char hex[] = "0123456789abcdef";

    put(sink, arg, "\"");
    for (const char *c = text; *c != '\0'; c++) {
        char escape[] = {'\\', 'u', '0', '0', hex[*c >> 4 & 0xF], hex[*c & 0xF]};
        if (*c == '"' || *c == '\\') {
            sink("\\", 1, arg);
            sink(c, 1, arg);
        } else if ((unsigned char)*c < 0x20) {
            sink(escape, sizeof(escape), arg);
        } else {
            sink(c, 1, arg);
        }
    }
    put(sink, arg, "\"");
}

/* Nesting is no deeper than the parser lets it be. NOLINTNEXTLINE(misc-no-recursion) */
void xs_json_print(const struct xs_json_tree *t, const struct xs_json *v, xs_sink *sink, void *arg)
{
    static const char *const words[] = {
        [XS_JSON_NULL] = "null", [XS_JSON_FALSE] = "false", [XS_JSON_TRUE] = "true"};
    bool is_object = v->type == XS_JSON_OBJECT;
    const char *between = "";

    if (v->type == XS_JSON_NUMBER) {
        put(sink, arg, v->text);
    } else if (v->type == XS_JSON_STRING) {
        put_string(sink, arg, v->text);
    } else if (v->type != XS_JSON_ARRAY && !is_object) {
        put(sink, arg, words[v->type]);
    } else {
        put(sink, arg, is_object ? "{" : "[");
        for (const struct xs_json *m = xs_json_first(t, v); m != NULL; m = xs_json_next(t, m)) {
            put(sink, arg, between);
            between = ",\n";
            if (is_object) {
                put_string(sink, arg, m->key);
                put(sink, arg, ":");
            }
            xs_json_print(t, m, sink, arg);
        }
        put(sink, arg, is_object ? "}" : "]");
    }
}
