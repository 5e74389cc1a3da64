/* sys/numa.h - nodes of memory, by system calls: on which one a range lies, a thread runs.
 * Units:   bytes. Nodes are those that the process may use memory of, up to number 63; a *part* is
 *          an index from 0 into them where each has an arena of its own.
 * Threads: any, after xs_numa_open. Context: inside malloc; errno may change. Allocates: never.
 * Errors:  what the kernel refuses is not done; memory then comes from where it likes.
 */
#ifndef XS_SYS_NUMA_H
#define XS_SYS_NUMA_H

#include "base/compiler.h"

#define XS_NUMA_NODES 64

enum xs_numa {
    XS_NUMA_OFF,
    XS_NUMA_LOCAL,      /* a part for each node, its memory from there while there is some */
    XS_NUMA_INTERLEAVE, /* page by page over all nodes */
    XS_NUMA_BIND,       /* from these nodes only */
    XS_NUMA_PREFERRED   /* from this node while it has some */
};

/* Once, before the first range. On a machine of one node there is one part, and nothing else is
 * ever done. `nodes`: a bit for each, of bind and preferred. ENODEV: none of them is there. */
int xs_numa_open(enum xs_numa how, uint64_t nodes);

/* How many nodes the process may use memory of. */
unsigned xs_numa_count(void);

unsigned xs_numa_parts(void);

/* Page by page over several nodes. */
bool xs_numa_interleaves(void);

/* The nodes that memory comes from and no others, by XSIGMA_CPU_NUMA or as whoever started the
 * process will have it (numactl); 0: there is no such policy. */
uint64_t xs_numa_bound(void);

/* The part of the calling thread's node. */
unsigned xs_numa_here(void);

/* The pages of a fresh range will come from where the policy says; `part` counts for local, and is
 * XS_NUMA_ANY for who has no parts. */
#define XS_NUMA_ANY UINT32_MAX
void xs_numa_place(void *p, size_t size, unsigned part);

/* The calling thread, and those that it will make, run on these nodes; 0 or errno. */
int xs_numa_run(uint64_t nodes);

/* "0-1,3" as bits; false if it is no such list. */
bool xs_numa_parse(const char *list, uint64_t *nodes);

/* The system calls, for tests to put theirs in place. */
struct xs_numa_calls {
    long (*get_mempolicy)(int *mode, unsigned long *mask, unsigned long bits, void *at, int flags);
    long (*mbind)(void *p, unsigned long size, int mode, const unsigned long *mask,
                  unsigned long bits, unsigned flags);
    int (*getcpu)(unsigned *cpu, unsigned *node);
};
extern XS_HIDDEN struct xs_numa_calls xs_numa_calls;

#endif
