/* stats/stats.h - per-thread counters of the CPU allocator, and their sum.
 * Units:   bytes and calls; times in nanoseconds.
 * Owns:    one slot of counters for each live thread, in blocks that are never unmapped; the next
 *          thread takes a dead thread's slot over and counts on from there, so that the sum over
 *          all slots is the total of the process at any time.
 * Threads: a slot has one writer; any thread may sum. Sums are exact when writers are at rest.
 * Context: callable inside malloc, before main, after destructors. Allocates: only by mmap.
 * Errors:  with no memory for a slot, the thread counts into a shared one by atomic adds.
 */
#ifndef XS_STATS_STATS_H
#define XS_STATS_STATS_H

#include "base/compiler.h"
#include "stats/fields.h"
#include "sys/record.h"

/* Back ends that own CPU memory. The values are page-map owners and slot indices. */
enum xs_owner {
    XS_OWNER_SYSTEM = 0, /* also: any pointer that nobody else owns */
    XS_OWNER_MIMALLOC,
    XS_OWNER_TBB,
    XS_OWNER_BFC,
    XS_OWNER_COUNT
};

/* Bin k counts requests of (2^(k-1), 2^k] bytes; the last one counts requests of 0 bytes. */
#define XS_SIZE_BINS     64
#define XS_SIZE_BIN_ZERO 63

struct xs_counters {
#define X(name, unit, help) uint64_t name;
    XS_COUNTER_FIELDS(X)
#undef X
    uint64_t size_bin[XS_SIZE_BINS];
};

struct xs_slot {
    struct xs_counters by_owner[XS_OWNER_COUNT];
    _Alignas(XS_NO_SHARE) _Atomic uint32_t next_free; /* index + 1 of the next free slot */
};

/* Whole pages, as an area of the record is (sys/record.h). The first slot of the first block is the
 * one that threads share which have none of their own; the number of threads stands in that block.
 */
#define XS_SLOTS_PER_BLOCK 3
struct xs_slot_block {
    _Alignas(XS_RECORD_PAGE) struct xs_slot slot[XS_SLOTS_PER_BLOCK];
    _Atomic uint64_t threads_now;
    _Atomic uint64_t threads_peak;
    _Atomic uint64_t threads_total;
};

/* NULL until the thread counts for the first time, and again after it has ended. */
extern XS_HIDDEN XS_TLS struct xs_slot *xs_slot_mine;

/* The first block. Who counts first has its second slot, so a process of one thread can count there
 * without asking which thread it is. */
extern XS_HIDDEN struct xs_slot_block xs_slot_first;
#define XS_SLOT_ALONE (xs_slot_first.slot[1])

/* The caller, the only thread, has that slot; attaches one on first use. */
bool xs_stats_is_alone(void);

/* Where there is one thread, mimalloc's small requests by their very size: bin and bytes are one
 * count then. An area of the record. */
#define XS_SIZES_COUNTED 1024
struct xs_size_counts {
    _Alignas(XS_RECORD_PAGE) uint64_t taken[XS_SIZES_COUNTED];
};
extern XS_HIDDEN struct xs_size_counts xs_size_counts;

/* They are part of the sums and of the record from now on. One thread. */
void xs_size_counts_begin(void);
void xs_size_counts_add(struct xs_counters *sum, const struct xs_size_counts *c);

/* One writer, aligned 8-byte stores: a plain add is one instruction and readers see whole values.
 * Under TSan the same is spelled with atomics. */
#ifdef __SANITIZE_THREAD__
#define XS_COUNT(field, n)                                                                         \
    __atomic_store_n(&(field), __atomic_load_n(&(field), __ATOMIC_RELAXED) + (n), __ATOMIC_RELAXED)
#else
#define XS_COUNT(field, n) ((field) += (n))
#endif

/* The bin of a request, in two instructions. */
XS_INLINE size_t xs_size_bin(size_t n)
{
    unsigned long long doubled = 2 * (unsigned long long)n - 1;
#ifdef __x86_64__
    size_t bin;

    /* The builtin is an int, whose sign would have to be extended. 0 it cannot be: it is odd. */
    __asm__("bsrq %1, %0" : "=r"(bin) : "rm"(doubled) : "cc");
    return bin;
#else
    return (size_t)63 ^ (size_t)__builtin_clzll(doubled);
#endif
}

/* The calling thread's slot; attaches one on first use. NULL when the thread is past its end or
 * memory is out: count with xs_stats_late() then. [any] */
struct xs_slot *xs_stats_attach(void);

/* The shared slot of threads without their own; its fields take atomic adds only. [any] */
struct xs_counters *xs_stats_late(enum xs_owner owner);
#define XS_COUNT_LATE(field, n)                                                                    \
    ((void)__atomic_fetch_add(&(field), (uint64_t)(n), __ATOMIC_RELAXED))

/* What is counted becomes part of the record. Once, before it is made. */
void xs_stats_record(void);

/* From now on the numbers of threads stand in the first block, too: there is a record. */
void xs_stats_tell_threads(void);

/* *sum += what the block has. [any] */
void xs_slot_block_add(struct xs_counters sum[XS_OWNER_COUNT], const struct xs_slot_block *block);
void xs_counters_add(struct xs_counters *sum, const struct xs_counters *c);
void xs_counters_sub(struct xs_counters *sum, const struct xs_counters *c);

/* What a back end that counts always has counted while counting was off; an area of the record. */
struct xs_counted_switched {
    _Alignas(XS_RECORD_PAGE) _Atomic uint32_t changes; /* odd in the midst of one */
    uint32_t off;
    struct xs_counters then;    /* when it was switched off last */
    struct xs_counters skipped; /* between off and on, so far, and before a fork */
};

/* In the child of fork, where one thread is left: all counters start again from zero. Its record
 * has been forgotten before (sys/record.h). */
void xs_stats_fork_child(void);

/* Adds every slot of the process to *sum (one array element an owner). [any] */
void xs_stats_sum(struct xs_counters sum[XS_OWNER_COUNT]);

/* Threads that have counted so far, and the largest number of them at one time. [any] */
void xs_stats_threads(uint64_t *total, uint64_t *now, uint64_t *peak);

/* Calls that asked for new blocks (malloc, calloc, aligned forms, realloc of NULL). */
uint64_t xs_counters_allocations(const struct xs_counters *c);

/* Blocks handed out and not yet freed; negative only if counting was off for a while. */
int64_t xs_counters_live_blocks(const struct xs_counters *c);

#endif
