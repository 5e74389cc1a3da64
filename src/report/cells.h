/* report/cells.h - numbers as the text report prints them.
 * Units:   as each says.
 * Threads: one emitter, one thread. Context: exit, abort, a signal handler. Allocates: never.
 * Errors:  none.
 */
#ifndef XS_REPORT_CELLS_H
#define XS_REPORT_CELLS_H

#include "report/emit.h"

/* "812 us", "217.1 ms", "2.00 s", "3 h 07 min". */
void xs_put_duration(struct xs_buf *b, uint64_t ns);

/* Exact as long as it is easily read, then "1.11 M". */
void xs_put_number(struct xs_buf *b, uint64_t n);

void xs_cell_number(struct xs_emit *e, size_t end, uint64_t n);
void xs_cell_bytes(struct xs_emit *e, size_t end, uint64_t n); /* XS_UNKNOWN: "-" */

#endif
