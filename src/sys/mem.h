/* sys/mem.h - pages from the kernel, through libc's own functions.
 *
 * libc's, not raw system calls: UCX and Open MPI hook munmap and madvise to drop registrations of
 * memory with a network card, and must see ours.
 * Units:   bytes; sizes are rounded up to whole pages.
 * Threads: any. Context: inside malloc. Allocates: only pages.
 * Errors:  NULL, or errno as the return value. errno itself may change.
 */
#ifndef XS_SYS_MEM_H
#define XS_SYS_MEM_H

#include "base/compiler.h"

size_t xs_mem_page(void);

/* Readable and writable, zeroed, aligned to `align` (a power of two). Returned to the system by
 * xs_mem_unmap with the same size. */
void *xs_mem_map(size_t size, size_t align);
int xs_mem_unmap(void *p, size_t size);

/* The memory behind whole pages goes back to the system; they read as zero from then on. */
int xs_mem_purge(void *p, size_t size);

/* Has private memory read as zero: what has memory is written to, longer parts that have none are
 * left without, so that a large block of which little is used takes little. */
void xs_mem_clear(void *p, size_t size);

/* Whole pages of private memory that read as zero in every process that is made by copying this
 * one, however that is done. False: the kernel cannot, or pages are larger. */
bool xs_mem_wipe_in_copies(void *p, size_t size);

/* Address space without memory behind it; nothing is charged until it is made writable. */
void *xs_mem_reserve(size_t size, size_t align);

int xs_mem_writable(void *p, size_t size);
int xs_mem_readonly(void *p, size_t size);
int xs_mem_forbid(void *p, size_t size); /* to read and write */

/* The memory behind whole pages of one mapping goes to `to`, in place of what is mapped there, with
 * zeroed memory behind it to `to_size`. Where it was there is nothing. If it fails there may be
 * nothing at `to` either. */
int xs_mem_move(void *p, size_t size, void *to, size_t to_size);

/* As xs_mem_reserve, there and nowhere else. False: something else is there. */
bool xs_mem_reserve_at(void *p, size_t size);
void xs_mem_want_huge(void *p, size_t size); /* transparent huge pages, if the kernel likes */

void xs_mem_want_small(void *p, size_t size); /* no huge ones, even where the system gives all */

#define XS_MEM_HUGE  ((size_t)2 << 20)
#define XS_MEM_GIANT ((size_t)1 << 30)

/* Pages that have memory, of XS_MEM_HUGE bytes at most; all, where the kernel does not tell. */
unsigned xs_mem_resident(void *p, size_t size);

/* From the kernel's pool of huge pages, of size `page`; NULL if that has none left. */
void *xs_mem_map_huge(size_t size, size_t page);

/* Has memory put behind the whole range now; the kernel may lack some of it. */
void xs_mem_populate(void *p, size_t size);

/* The same, which fails where the kernel lacks it; kernels before 5.14 do not tell beforehand. */
bool xs_mem_fill(void *p, size_t size);
int xs_mem_lock(void *p, size_t size);

/* Replaces a reserved range by explicit huge pages (`page` is 1 GiB or 2 MiB); errno, and it stays
 * reserved, if there are none. */
int xs_mem_map_huge_at(void *p, size_t size, size_t page);

/* No limit on address space is set, so that a reservation takes nothing from the program. */
bool xs_mem_space_is_free(void);

/* The lower one of the limits on address space and on private memory that may be written to
 * (RLIMIT_AS, RLIMIT_DATA), which stacks of threads count to as well; UINT64_MAX: there is none. */
uint64_t xs_mem_limit(void);

/* What was only reserved can be refused when it is made writable: private memory is limited
 * (RLIMIT_DATA), or the kernel promises no more than it has (vm.overcommit_memory=2). */
bool xs_mem_reserves_nothing(void);

#endif
