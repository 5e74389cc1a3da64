/* sys/asleep.h - is another thread of this process waiting in the kernel, outside any code of ours?
 * Units:   bytes.
 * Threads: any. Context: no lock that the other thread may hold. Allocates: never.
 * Errors:  false where it is not known, which is always so on processors but x86-64 and aarch64.
 */
#ifndef XS_SYS_ASLEEP_H
#define XS_SYS_ASLEEP_H

#include <sys/types.h>

#include "base/compiler.h"

/* Of the calling thread, for xs_asleep: where its stack begins, 0 if it runs on none of its own. */
uintptr_t xs_asleep_stack_top(void);

/* The thread was found waiting in a system call of those that wait for somebody else, and no signal
 * handler had interrupted it before: whatever it does next, it does from between two calls of its
 * own. It may wake at any time. */
bool xs_asleep(pid_t tid, uintptr_t stack_top);

#endif
