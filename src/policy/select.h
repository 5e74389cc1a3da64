/* policy/select.h - from the configuration to the functions that serve malloc.
 * Owns:    the contents of xs_hot.
 * Threads: start: the constructor's. counting: any, one at a time. fork_child: the child's only.
 * Context: start loads libraries; the others are callable anywhere outside malloc.
 * Errors:  a back end that cannot be opened leaves a warning and is replaced by system.
 */
#ifndef XS_POLICY_SELECT_H
#define XS_POLICY_SELECT_H

#include "base/compiler.h"

/* `warn` gets what is to be said of misuse that is let pass, without an end of line; NULL: nobody.
 */
void xs_policy_start(void (*warn)(const char *text));

/* Everything goes to the C library, uncounted: disabled, privileged, or the program's own malloc.
 */
void xs_policy_bypass(void);

/* Begins to sample, if that is wanted: blocks of devices, and with `host` those of malloc. In the
 * constructor, after xs_policy_start. */
void xs_policy_sample(bool host);

/* Switches the counters of the whole process on or off. Nothing happens where the hot page cannot
 * be written any more (mprotect forbidden). */
void xs_policy_count(bool on);

/* The process is about to have a second thread: what is counted goes by threads from now on. In the
 * only one. */
void xs_policy_threads(void);

/* From now on free saves and restores errno: on locked memory (mlockall) the back ends' own
 * attempts to give pages back fail, and say so there. */
void xs_policy_keep_errno(void);

/* For how long, since the start, counters were off. */
uint64_t xs_policy_not_counting_ns(void);

/* Around a fork of a process with threads. */
void xs_policy_fork_prepare(void);
void xs_policy_fork_parent(void);
void xs_policy_fork_child(bool was_threaded);

#endif
