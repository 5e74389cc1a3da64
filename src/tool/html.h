/* tool/html.h - a report as one page of HTML that needs nothing else.
 *
 * The page is src/tool/html/ with the report's JSON in the middle; it draws itself in the reader's
 * browser. Whatever the JSON's strings hold, they stay text: no '<' of theirs gets into the page.
 * Context: an ordinary program. Errors: errno as the return value.
 */
#ifndef XS_TOOL_HTML_H
#define XS_TOOL_HTML_H

#include <stdio.h>

#include "tool/input.h"

/* `json` is one JSON value of `len` bytes. */
int xs_html_write(const char *json, size_t len, FILE *out);

/* The sum of the inputs as a page in a file, which is replaced once it is whole, or in a device or
 * pipe. "-": standard output. Of a single JSON report all is kept, also what this version does not
 * know, unless its sites got names. */
int xs_html_save(struct xs_inputs *in, const char *path);

/* 0: it could be saved there now. */
int xs_html_may_save(const char *path);

/* The page before and after its data, made by scripts/make-html. */
extern const char xs_html_before[];
extern const char xs_html_after[];

#endif
