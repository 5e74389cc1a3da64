/* tool/scratch.h - a directory for what a verb leaves only to itself: the reports of programs that
 * it runs, their output.
 *
 * It lies in TMPDIR if that is an absolute path without a per cent sign (a report's file name may
 * be a pattern) that fits, else in /tmp; mode 0700, as mkdtemp makes it.
 * Context: the command, one thread.
 * Errors:  errno as the return value.
 */
#ifndef XS_TOOL_SCRATCH_H
#define XS_TOOL_SCRATCH_H

#include <stdbool.h>
#include <stddef.h>

/* Its path goes to `path`; `cap` is 64 at least. */
int xs_scratch_make(char *path, size_t cap);

bool xs_scratch_is_empty(const char *path);

/* The files in it, which has no directories, go. */
void xs_scratch_clear(const char *path);

/* Then it goes itself. */
int xs_scratch_remove(const char *path);

#endif
