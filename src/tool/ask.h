/* tool/ask.h - one request to a running process, through the slot of its record.
 * Context: the command. Errors: as enum xs_ask_result.
 */
#ifndef XS_TOOL_ASK_H
#define XS_TOOL_ASK_H

#include "sys/record.h"

enum xs_ask_result {
    XS_ASK_DONE,    /* r->text has the answer, r->result is 0 */
    XS_ASK_REFUSED, /* r->result says why */
    XS_ASK_BUSY,    /* with an earlier request; nothing was done */
    XS_ASK_UNHEARD, /* nobody took it in that time; it was withdrawn */
    XS_ASK_AT_IT    /* taken, but not done in that time */
};

struct xs_ask {
    enum xs_record_command command;
    int device; /* -1: all */
    uint64_t argument;
    uint64_t patience_ns;
};

enum xs_ask_result xs_ask(const struct xs_ask *ask, struct xs_record *r);

#endif
