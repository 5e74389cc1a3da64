/* tool/json.h - a JSON text as a tree, for reports that were written to files. The text may be
 * anything: what is not JSON is refused, and deep nesting too.
 * Owns:    the nodes, until xs_json_free; strings lie in the caller's text, which is changed.
 * Context: the command. Errors: NULL with the place and the reason.
 */
#ifndef XS_TOOL_JSON_H
#define XS_TOOL_JSON_H

#include "report/report.h"

enum xs_json_type {
    XS_JSON_NULL,
    XS_JSON_FALSE,
    XS_JSON_TRUE,
    XS_JSON_NUMBER, /* text as it stands */
    XS_JSON_STRING, /* text without escapes */
    XS_JSON_ARRAY,
    XS_JSON_OBJECT
};

struct xs_json {
    enum xs_json_type type;
    const char *key;  /* of a member of an object */
    const char *text; /* of a number or string */
    uint32_t first;   /* of an array or object: index of a node, 0: none */
    uint32_t next;    /* beside it */
    uint32_t count;
};

struct xs_json_tree {
    struct xs_json *node; /* node[0] is the outermost value */
    uint32_t count;
    uint32_t room;
    size_t error_at;
    const char *error; /* NULL: all went well */
};

/* `text` ends with a NUL at text[len]. False: t->error says why; free it all the same. */
bool xs_json_parse(struct xs_json_tree *t, char *text, size_t len);
void xs_json_free(struct xs_json_tree *t);

/* All of these take NULL for a value that is not there. */
const struct xs_json *xs_json_get(const struct xs_json_tree *t, const struct xs_json *object,
                                  const char *key);
const struct xs_json *xs_json_first(const struct xs_json_tree *t, const struct xs_json *list);
const struct xs_json *xs_json_next(const struct xs_json_tree *t, const struct xs_json *v);

/* A whole number from 0; `otherwise` if it is none. */
uint64_t xs_json_u64(const struct xs_json *v, uint64_t otherwise);
const char *xs_json_string(const struct xs_json *v, const char *otherwise);
bool xs_json_is_true(const struct xs_json *v);

/* `v` and all that is in it, as text. */
void xs_json_print(const struct xs_json_tree *t, const struct xs_json *v, xs_sink *sink, void *arg);

#endif
