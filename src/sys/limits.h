/* sys/limits.h - how much memory the process may still get: the limits of its memory cgroup and of
 * those above it, version 1 or 2, and what the machine has free, or those nodes of it that the
 * process gets memory from.
 * Units:   bytes; stalls in 1/100 of a per cent, as the kernel averages them over ten seconds.
 * Owns:    the paths of the process's cgroup, found by a look now and then.
 * Threads: one at a time. Context: inside malloc, no lock held: reads files. errno may change.
 *          Allocates: never.
 * Errors:  what the kernel does not tell is 0.
 */
#ifndef XS_SYS_LIMITS_H
#define XS_SYS_LIMITS_H

#include "base/compiler.h"

/* A cpuset, numactl or XSIGMA_CPU_NUMA=bind may leave some nodes of the machine only. */
enum xs_limits_of { XS_LIMITS_MACHINE, XS_LIMITS_CGROUP, XS_LIMITS_NODES };

struct xs_limits {
    uint64_t limit_bytes;
    uint64_t used_bytes; /* without what the kernel would drop: files that nobody has mapped */
    enum xs_limits_of of;
    unsigned stalled; /* processes waited for memory so long; 10000 is all the time; 0: unknown */
};

XS_INLINE uint64_t xs_limits_left(const struct xs_limits *l)
{
    return l->limit_bytes > l->used_bytes ? l->limit_bytes - l->used_bytes : 0;
}

/* Each one that there is, of the cgroups that the process is in, from its own up, and at last of
 * the machine or its nodes. How many; 0: none is known. */
#define XS_LIMITS_MOST 8
unsigned xs_limits_look(struct xs_limits out[XS_LIMITS_MOST]);

/* The least limit of those cgroups, UINT64_MAX without one. At start: no page is kept of it. */
uint64_t xs_limits_cgroup(void);

/* There is a cgroup with a limit, or not all nodes may be used, as of the last look. */
bool xs_limits_is_confined(void);

/* In front of every path, for tests: "" but there. */
extern XS_HIDDEN const char *xs_limits_root;

/* The process may have moved: the next look finds out, as others do once a second. */
void xs_limits_fork_child(void);

#endif
