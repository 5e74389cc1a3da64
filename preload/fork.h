/* preload/fork.h - what happens around fork.
 * Threads: any. Context: outside malloc.
 */
#ifndef XS_PRELOAD_FORK_H
#define XS_PRELOAD_FORK_H

#include "base/compiler.h"

/* Registers our handlers, once. */
void xs_fork_watch(void);

/* Around a call that makes a process and runs no handlers: what ours do. False: nothing is to be
 * done, neither before nor after it. */
bool xs_fork_begin(void);
void xs_fork_end_parent(void);
void xs_fork_end_child(void);

/* This process is a copy that was made in a way that we did not see. Inside malloc, with no lock.
 */
void xs_fork_noticed(void);

#endif
