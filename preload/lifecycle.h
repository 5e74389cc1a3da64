/* preload/lifecycle.h - start, fork and the ways out of the process.
 * Threads: start in the constructor; finish from any thread, the first one does the work.
 * Context: finish: exit handlers, abort, signal handlers. Allocates: never.
 */
#ifndef XS_PRELOAD_LIFECYCLE_H
#define XS_PRELOAD_LIFECYCLE_H

#include "base/compiler.h"

/* Writes the report, once, in the process that is to report. `status` is -1 if unknown; `may_lock`
 * as in backend/backend.h. */
void xs_finish(const char *how, int status, bool may_lock);

/* From now on dlopen drops RTLD_DEEPBIND. */
void xs_dlopen_strip_deepbind(void);

/* The library stands aside: disabled, privileged, or the program has its own malloc. */
bool xs_is_bypassed(void);

#endif
