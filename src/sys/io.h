/* sys/io.h - files and the stderr that the process started with.
 *
 * Programs close stderr before they end (sort, ls) and reuse its number, so a duplicate is kept on
 * a high descriptor, and device and inode are compared before each use.
 * Units:   bytes. Owns: the duplicate; closed on exec and in fork children.
 * Threads: any, after xs_io_note_stderr. Context: exit, abort, signal handlers. Allocates: never.
 * Errors:  errno as the return value; never SIGPIPE, never SIGXFSZ. A write waits 2 s for room,
 * with signals blocked; callers give up after the first that fails.
 */
#ifndef XS_SYS_IO_H
#define XS_SYS_IO_H

#include "base/fmt.h"

/* Notes which file stderr is; all below goes by that. */
void xs_io_note_stderr(void);

/* Keeps it open. Whoever reads from a pipe waits for us then, so only where a report needs it. */
void xs_io_keep_stderr(void);
void xs_io_drop_stderr(void);

/* The descriptor of the stderr that the process started with, or -1 if it is gone. */
int xs_io_stderr(void);

/* Somebody may wait for its end. */
bool xs_io_stderr_is_pipe(void);

/* What the process started with: stderr and stdout are one file, and it is no terminal. */
bool xs_io_stderr_is_stdout(void);

int xs_io_write(int fd, const char *text, size_t len);

/* Creates or empties a file; the descriptor, or -1 with errno set. In a directory that everybody
 * may write to, and if it `is_private`, what is there already must be this user's own plain file
 * without another name: EPERM for a symlink, or a file of somebody else. */
int xs_io_create(const char *path, bool is_private);
int xs_io_open_append(const char *path);
void xs_io_close(int fd);

/* Of a regular file, reads at most cap - 1 bytes and ends them with NUL: the length, or -1. */
long xs_io_read_file(const char *path, char *mem, size_t cap);

/* The working directory and a slash, where the path is relative to it; nothing if its own name is
 * very long. */
void xs_io_put_here(struct xs_buf *out, const char *path);

/* Replaces %p pid, %h host, %e program, %t start time (s), %j job, %r rank, %% in a pattern. */
void xs_io_expand(struct xs_buf *out, const char *pattern);

#endif
