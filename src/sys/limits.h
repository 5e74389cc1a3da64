/* sys/limits.h - how much memory the process may still get: its memory cgroup's limit, version 1 or
 * 2, and what the machine has free.
 * Units:   bytes; stalls in 1/100 of a per cent, as the kernel averages them over ten seconds.
 * Owns:    the paths of the process's cgroup, found by the first look.
 * Threads: one at a time. Context: inside malloc, no lock held: reads files. errno may change.
 *          Allocates: never.
 * Errors:  what the kernel does not tell is 0.
 */
#ifndef XS_SYS_LIMITS_H
#define XS_SYS_LIMITS_H

#include "base/compiler.h"

struct xs_limits {
    uint64_t limit_bytes;
    uint64_t used_bytes; /* without what the kernel would drop: files that nobody has used lately */
    bool is_cgroup;      /* of the cgroup, else of the machine */
    unsigned stalled; /* processes waited for memory so long; 10000 is all the time; 0: unknown */
};

/* The one of the two that has less left. False: neither is known. */
bool xs_limits_look(struct xs_limits *out);

/* There is a cgroup with a limit, as of the first look. */
bool xs_limits_has_cgroup(void);

/* In front of every path, for tests: "" but there. */
extern XS_HIDDEN const char *xs_limits_root;

/* The process may have moved. */
void xs_limits_fork_child(void);

#endif
