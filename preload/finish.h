/* preload/finish.h - the end of a process: who reports, where to, once.
 * Threads: plan in the constructor; finish from any thread, the first one does the work.
 * Context: finish: exit handlers, abort, signal handlers on their own stack. Allocates: never.
 * Errors:  a report that cannot be written costs one line.
 */
#ifndef XS_PRELOAD_FINISH_H
#define XS_PRELOAD_FINISH_H

#include "base/compiler.h"

/* Decides by policy whether this process will report; `malloc_owner` is the object that brings its
 * own malloc, or NULL. */
bool xs_finish_plan(bool is_root, const char *malloc_owner);

/* Writes the report if this process is to. `status` is -1 if unknown; `may_lock` as in
 * backend/backend.h. */
void xs_finish(const char *how, int status, bool may_lock);

void xs_finish_fork_child(void);

/* This process will report. */
bool xs_finish_reports(void);

/* A report while it runs, if XSIGMA_STATS_INTERVAL has passed. Inside malloc. */
void xs_finish_interval(void);

/* No report any more: the process has bound itself to fewer system calls than that takes. */
void xs_keep_silent(void);

#endif
