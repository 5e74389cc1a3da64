/* preload/fork.h - what happens around fork.
 * Threads: any. Context: outside malloc.
 */
#ifndef XS_PRELOAD_FORK_H
#define XS_PRELOAD_FORK_H

/* Registers our handlers, once. */
void xs_fork_watch(void);

#endif
