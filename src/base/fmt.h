/* base/fmt.h - text into a caller's buffer; a printf that never allocates.
 * Units:   sizes in bytes.
 * Owns:    nothing; the buffer belongs to the caller and is always NUL-terminated.
 * Threads: one buffer, one thread.
 * Context: inside malloc, before main, in a signal handler. Allocates: never. No locale.
 * Errors:  what does not fit is dropped and `truncated` is set.
 */
#ifndef XS_BASE_FMT_H
#define XS_BASE_FMT_H

#include <stdarg.h>

#include "base/compiler.h"

struct xs_buf {
    char *at;
    size_t cap; /* of `at`, the final NUL included; at least 1 */
    size_t len; /* without the NUL */
    bool truncated;
};

/* A buffer on the stack: XS_BUF(line, 256); */
#define XS_BUF(name, size)                                                                         \
    char name##_mem[size];                                                                         \
    struct xs_buf name;                                                                            \
    xs_buf_init(&name, name##_mem, sizeof(name##_mem))

void xs_buf_init(struct xs_buf *b, char *mem, size_t cap);
void xs_buf_clear(struct xs_buf *b);

void xs_put_char(struct xs_buf *b, char c);
void xs_put_str(struct xs_buf *b, const char *s);
void xs_put_mem(struct xs_buf *b, const char *s, size_t len);

/* Spaces up to column `col` of the current line, counted in UTF-8 characters. */
void xs_put_pad(struct xs_buf *b, size_t col);

/* 1024-based and short: "0 B", "72.7 KiB", "3.41 GiB". */
void xs_put_bytes(struct xs_buf *b, uint64_t bytes);

/* 1000-based and short: "812", "1.26 M", "6.31 G". */
void xs_put_count(struct xs_buf *b, uint64_t n);

/* A size as XSIGMA_* variables write it, exact: "64K", "1G", "1000". */
void xs_put_size(struct xs_buf *b, uint64_t bytes);

/* A JSON string with its quotes; bytes that are not valid UTF-8 become U+FFFD. */
void xs_put_json(struct xs_buf *b, const char *s);

/* printf's subset: flags '-' and '0', width, '*', precision, hh h l ll z j, and d i u x c s p %
 * f (fixed point, up to 9 decimals). Anything else is copied as it stands. */
void xs_fmt(struct xs_buf *b, const char *format, ...) XS_FORMAT(2, 3);
void xs_vfmt(struct xs_buf *b, const char *format, va_list ap) XS_FORMAT(2, 0);

#endif
