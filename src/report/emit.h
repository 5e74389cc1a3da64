/* report/emit.h - the one way out of a report: lines of text and JSON, in pieces, to a sink.
 * Units:   columns are counted in UTF-8 characters; sizes of buffers in bytes.
 * Owns:    its two buffers, which live wherever the struct does (about 2 KiB of stack).
 * Threads: one emitter, one thread.
 * Context: exit, abort, a signal handler. Allocates: never. No stdio, no locale.
 * Errors:  none; what a line cannot hold is dropped, JSON strings are never cut.
 *
 * Text goes through one line at a time: cells and items are put, xs_emit_line ends it. JSON needs
 * no line; commas and indentation come from the nesting. The two do not mix in one output.
 */
#ifndef XS_REPORT_EMIT_H
#define XS_REPORT_EMIT_H

#include "base/fmt.h"
#include "report/report.h"

#define XS_EMIT_COLUMNS 80
#define XS_EMIT_DEPTH   8

struct xs_emit {
    xs_sink *sink;
    void *arg;
    bool utf8;          /* text may use characters outside ASCII */
    struct xs_buf out;  /* waits for the sink */
    struct xs_buf line; /* the line of text in the making */
    size_t indent;      /* where a line goes on after a break */
    unsigned depth;     /* of open JSON objects and arrays */
    bool has_member[XS_EMIT_DEPTH];
    bool one_line[XS_EMIT_DEPTH];
    char closer[XS_EMIT_DEPTH];
    char out_mem[1024];
    char line_mem[4 * XS_EMIT_COLUMNS + 64];
};

void xs_emit_open(struct xs_emit *e, bool utf8, xs_sink *sink, void *arg);
void xs_emit_close(struct xs_emit *e);

/* Appends foreign text, at most `max_columns` of it: control characters, broken UTF-8, and without
 * utf8 all that is not ASCII, become '?'; "..." ends what was cut. */
void xs_emit_clean(const struct xs_emit *e, struct xs_buf *b, const char *text, size_t max_columns);

/* Text. A cell ends at column `end`, or starts at column `start`; NULL leaves it blank. */
void xs_emit_right(struct xs_emit *e, size_t end, const char *cell);
void xs_emit_left(struct xs_emit *e, size_t start, const char *cell);

/* Puts an item after `gap` spaces, or on a new line when it would pass the last column. */
void xs_emit_item(struct xs_emit *e, size_t gap, const char *item);

/* The same for each word of a text. */
void xs_emit_words(struct xs_emit *e, const char *text);

/* A bar of `cells` columns for part/whole, part <= whole. */
void xs_emit_bar(struct xs_emit *e, size_t cells, uint64_t part, uint64_t whole);

void xs_emit_line(struct xs_emit *e);

/* JSON. `key` is NULL for array elements and for the outermost value. An array may ask to stay on
 * one line with all that is in it. */
void xs_emit_object(struct xs_emit *e, const char *key);
void xs_emit_array(struct xs_emit *e, const char *key, bool one_line);
void xs_emit_end(struct xs_emit *e);

void xs_emit_u64(struct xs_emit *e, const char *key, uint64_t v);
void xs_emit_known(struct xs_emit *e, const char *key, uint64_t v);  /* XS_UNKNOWN: null */
void xs_emit_natural(struct xs_emit *e, const char *key, int64_t v); /* below 0: null */
void xs_emit_bool(struct xs_emit *e, const char *key, bool v);
void xs_emit_string(struct xs_emit *e, const char *key, const char *v); /* NULL: null */

#endif
