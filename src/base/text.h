/* base/text.h - reading what people write: sizes, words, near misses.
 * Units:   bytes. Owns: nothing. Threads: any. Context: anywhere. Allocates: never.
 * Errors:  errno as the return value, *out untouched.
 */
#ifndef XS_BASE_TEXT_H
#define XS_BASE_TEXT_H

#include "base/compiler.h"

/* "64K", "1.5G", "512MiB", "4gb", "1000": 1024-based, the whole text. EINVAL, ERANGE. */
int xs_text_size(const char *text, size_t len, uint64_t *out);

/* Decimal digits only. */
int xs_text_count(const char *text, size_t len, uint64_t *out);

/* "500ms", "2s", "1h", "30us", "0": nanoseconds. EINVAL, ERANGE. */
int xs_text_time(const char *text, size_t len, uint64_t *out);

/* "2", "1.5", "1.125": thousandths, at most three places. EINVAL, ERANGE. */
int xs_text_factor(const char *text, size_t len, uint64_t *out);

/* 1 0 on off true false yes no, in any case. */
int xs_text_bool(const char *text, bool *out);

/* The index of `word` among the '|'-separated choices, in any case; -1 if it is none of them. */
int xs_text_choice(const char *choices, const char *word, size_t len);

/* Insertions, deletions, replacements and swaps of neighbours that lead from one to the other, in
 * any case; at most 3 is told apart. */
unsigned xs_text_distance(const char *a, const char *b);

/* True if the two are equal but for case. */
bool xs_text_same(const char *a, const char *b, size_t len);

#endif
