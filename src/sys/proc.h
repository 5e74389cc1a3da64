/* sys/proc.h - what the kernel says of this process.
 * Units:   bytes, nanoseconds, seconds where the name says _s.
 * Threads: any, after xs_proc_start. Context: exit, abort, signal handlers. Allocates: never.
 * Errors:  0 or "" where the kernel does not tell.
 */
#ifndef XS_SYS_PROC_H
#define XS_SYS_PROC_H

#include "base/compiler.h"

/* Notes start time, host, job and rank while the environment is untouched. */
void xs_proc_start(void);
void xs_proc_fork_child(void); /* time and CPU time count from the fork on */

/* A child in its parent's memory, as vfork makes them. False too if the kernel does not tell. May
 * change errno. */
bool xs_proc_is_in_parent(void);

/* Base name of the executable. Looked up when first asked for: what the kernel keeps of each name
 * that it was asked for below /proc weighs as much as a fifth of a page. */
const char *xs_proc_program(void);
const char *xs_proc_host(void);
const char *xs_proc_job(void);       /* id of the Slurm, PBS or LSF job, or "0" */
int xs_proc_rank(void);              /* in an MPI or Slurm job, or -1 */
uint64_t xs_proc_start_time_s(void); /* since the epoch */

uint64_t xs_proc_now_ns(void);  /* monotonic */
uint64_t xs_proc_wall_ns(void); /* since xs_proc_start */
void xs_proc_cpu_ns(uint64_t *user, uint64_t *sys);
void xs_proc_rss(uint64_t *now_bytes, uint64_t *peak_bytes);
uint64_t xs_proc_rss_now(void); /* the quick way, to a few pages */

/* Threads that the kernel counts. */
unsigned xs_proc_threads(void);

/* Resident bytes of those mappings for whose start address `mine` is true; UINT64_MAX if the kernel
 * does not tell. Walks the page tables of the whole process: not for hot paths. */
uint64_t xs_proc_resident(bool (*mine)(uintptr_t start));

/* Resident bytes, and those of them in huge pages; 0 if the kernel does not tell. Walks too. */
void xs_proc_huge(uint64_t *resident_bytes, uint64_t *huge_bytes);

/* Resident bytes on each node of memory below 64. Walks too. */
void xs_proc_nodes(uint64_t bytes[64]);

/* The parent has a file mapped in whose path this stands (of at most 64 bytes): it runs under us,
 * so this process is not the root of the tree. Its environment would say less: programs write over
 * it, and static ones only pass it on. *is_marked: a page of the file there is neither to be read
 * nor written (sys/own_pages.h). */
bool xs_proc_parent_maps(const char *library, bool *is_marked);

/* A debugger whose name begins so traces this process. */
bool xs_proc_is_traced_by(const char *name);

/* Not on its own kernel: an emulator of user programs (qemu-user), which writes /proc/self/stat
 * itself and leaves the size of the address space out. */
bool xs_proc_is_emulated(void);

/* Whoever started this process is gone: the parent is of another session. */
bool xs_proc_is_orphan(void);

#endif
