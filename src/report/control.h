/* report/control.h - the process's record: when it is made, what becomes of it, and what `xsigma`
 * asks through it, which is answered here.
 *
 * The word that a command writes is looked at where the allocator is slow anyway: one load when
 * nobody asks. No signal, no thread.
 *
 * Units:   bytes.
 * Owns:    the process's record (sys/record.h).
 * Threads: any; one of them answers, the others go on.
 * Context: look: inside malloc, cudaMalloc and their kin. stop: exit handlers, _exit. Allocates:
 * pages. Errors:  without a file there is no control; one line says why.
 */
#ifndef XS_REPORT_CONTROL_H
#define XS_REPORT_CONTROL_H

#include "report/report.h"

struct xs_control_hooks {
    void (*interval)(void); /* called at each look, if it is not NULL */
    void (*copied)(void);   /* at the first look in a child of which no fork handler knew */
};

/* The constructor's. `passive_owner` is the object that brings its own malloc, or NULL. */
void xs_control_start(const char *passive_owner, struct xs_control_hooks on);

void xs_control_begin(void); /* makes the record, if that has not been done or ruled out */

/* The process ends. `report` is its last snapshot, or NULL if it has none. The file goes, unless
 * the report was not told anybody, or it is to be kept under another name. */
void xs_control_stop(const struct xs_report *report, bool told, bool keep);

void xs_control_fork_child(void);
/* A filter of system calls is about to be set: nothing more is opened or removed. */
void xs_control_keep_off(void);

#endif
