/* core/span.h - the process's BFC over pages of the host: spans for slabs and large blocks.
 * Units:   bytes; spans are whole pages of 4 KiB.
 * Owns:    the BFC instances for host memory, each with its lock: one for each NUMA node where
 *          memory is kept local, and further ones where threads wait for each other
 *          (core/arena.c). Page map: the leaves under a span exist; when its memory leaves the
 *          process, its entries are 0.
 * Threads: any. Context: inside malloc; keeps errno. Allocates: by mmap.
 * Errors:  false = exhausted, at the limit or by the system; a span that is none = the process dies
 *          with a message.
 * Cost:    of core/bfc.h, under one lock. mmap, munmap and madvise are called with no lock held, so
 *          that a hook of them may allocate; but see who calls with which lock.
 */
#ifndef XS_CORE_SPAN_H
#define XS_CORE_SPAN_H

#include <stdatomic.h>

#include "core/bfc.h"
#include "core/supply.h"
#include "sys/numa.h"

#define XS_SPAN_PAGE ((size_t)4096)

struct xs_span_options {
    uint64_t initial_bytes;
    uint64_t limit_bytes; /* 0: none */
    bool allow_growth;
    bool garbage_collection;
    bool coalesce_on_free;
    unsigned fragmentation_permille;
    uint64_t decay_ns;           /* free memory goes back to the system after this time */
    bool is_limited;             /* there is another limit besides */
    bool is_barred;              /* nothing is got from the system */
    unsigned arenas_max;         /* that threads may be spread over; 0: as many as there are CPUs */
    uint64_t reserve_huge_bytes; /* of explicit huge pages, got at once and kept */
    uint64_t prefault_bytes;     /* got at once with the memory behind them, and kept */
    bool prefault_lock;
};

struct xs_span {
    void *p;
    xs_chunk chunk;
    bool is_zero; /* its memory is known to be zeroed */
    /* Of a large heap: the last bytes of it, with which memory that was never touched begins that
     * could be a huge page; 0: none do. For core/span.c. */
    size_t fresh_bytes;
    bool is_of_large; /* then: of a heap that may have huge pages */
};

int xs_span_open(const struct xs_span_options *options);

bool xs_span_take(size_t size, size_t align, struct xs_span *out);

/* The same, but false where that would be memory for the most part that was never touched, or is
 * no longer there. */
bool xs_span_take_used(size_t size, size_t align, struct xs_span *out);

/* Many at once. `p` is what the program freed, for the message if that is no chunk in use; NULL
 * where it freed none of them just now. No system call. */
void xs_span_give(const xs_chunk chunks[], unsigned n, const void *p);

/* Both: what is given is free when it is taken. */
bool xs_span_exchange(const xs_chunk chunks[], unsigned n, size_t size, size_t align,
                      struct xs_span *out);

void *xs_span_address(xs_chunk chunk);    /* of one in use */
size_t xs_span_used(xs_chunk chunk);      /* so much of it had memory when it was taken */
size_t xs_span_requested(xs_chunk chunk); /* what was asked for it last */

/* In place, to hold `size`; false leaves it as it was. */
bool xs_span_resize(xs_chunk chunk, size_t size);

/* The numbers of chunks are below this. */
#define XS_SPAN_CHUNKS_LOG2 27

/* Of a chunk's number: the arena, whose lowest bits are the part. Written once. */
extern XS_HIDDEN unsigned xs_span_arena_shift;
extern XS_HIDDEN unsigned xs_span_part_mask;

/* The part of the process's memory that the calling thread is served from, by its node: 0 but with
 * numa local. */
unsigned xs_span_part(void);
unsigned xs_span_parts(void);
XS_INLINE unsigned xs_span_part_of(xs_chunk chunk)
{
    return chunk >> xs_span_arena_shift & xs_span_part_mask;
}

/* The calling thread takes nothing any more: where it was served from, which is where who comes
 * after it finds what it left. */
unsigned xs_arena_leave(void);
void xs_arena_follow(unsigned arena);

/* Looks after memory that has been free for the decay time, if it is time to look again; true if a
 * look was due. Cheap enough to be called often. The caller holds no lock, as the next one's. */
bool xs_span_tick(void);

/* All free memory goes back now; the bytes. */
size_t xs_span_trim(void);

/* Free memory that has not gone back yet. */
uint64_t xs_span_dirty_bytes(void);

/* The same without what was never touched of a chunk that is partly dirty. */
uint64_t xs_span_touched_bytes(void);

/* Free memory without those: there is nothing behind it. */
uint64_t xs_span_untouched_bytes(void);

/* One thread at a time gives memory back; false: another one is at it. Meanwhile no look is due, so
 * no system call is made for what is given to us. */
bool xs_span_begin(void);
void xs_span_end(void);
bool xs_span_is_giver(void); /* the calling thread is: a hook of munmap may allocate */

uint64_t xs_span_decay_ns(void);

/* When free memory goes back. */
enum xs_hurry {
    XS_HURRY_NONE, /* after the decay time */
    XS_HURRY_SOON, /* after some ms; at the next look, however young, while it is too much */
    XS_HURRY_NOW   /* at the next look, however young */
};

extern XS_HIDDEN _Atomic uint8_t xs_span_hurries;

/* `most`: so many free bytes are not too much. */
void xs_span_hurry(enum xs_hurry hurry, uint64_t most);

XS_INLINE enum xs_hurry xs_span_hurry_is(void)
{
    return (enum xs_hurry)atomic_load_explicit(&xs_span_hurries, memory_order_relaxed);
}

/* Heaps keep nothing. */
XS_INLINE bool xs_span_in_hurry(void)
{
    return xs_span_hurry_is() != XS_HURRY_NONE;
}

void xs_span_stats(struct xs_bfc_stats *out);

/* How long it took to get the regions that there were so far. */
uint64_t xs_span_growth_ns(void);

/* The same without waiting for the lock: for a caller that may have interrupted its holder. */
bool xs_span_stats_try(struct xs_bfc_stats *out);

/* What is free in all arenas, by size: see xs_bfc_free_by_size. Waits for their locks. */
void xs_span_free_by_size(uint64_t bytes[XS_BFC_FREE_SIZES]);

/* Everything in order? For tests. */
bool xs_span_check(struct xs_buf *why);

/* As it was opened: then there is no span. */
bool xs_span_is_barred(void);

/* There is a limit on all memory: nothing should be set aside that may not be needed. */
bool xs_span_is_limited(void);

/* The calling thread, which was interrupted then, holds a lock of these. */
bool xs_span_is_mine(void);

/* Around fork: the child finds the locks free, and the chunks whole unless it was forked by a
 * signal handler that interrupted a change. */
void xs_span_fork_prepare(void);
void xs_span_fork_parent(void);
void xs_span_fork_child(void);

#endif
