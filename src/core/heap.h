/* core/heap.h - the own core as a malloc: a heap for each thread in front of the process's BFC.
 *
 * A block of up to 64 KiB is an object in a slab of its size class, one of up to 4 MiB a chunk of
 * the BFC rounded up to its class, a larger one a chunk of its own. In front of both stands a
 * magazine for each class, the last few blocks that the thread freed, reused last in first out.
 * Slabs belong to the heap that made them: another thread's frees are gathered at the freer and
 * handed over a chain at a time. The heap of a thread that ends is adopted whole by the next one.
 *
 * Units:   bytes.
 * Owns:    what core/span.h gives it; heaps and slab records, which are never unmapped.
 * Threads: any, unless it says otherwise.
 * Context: inside malloc, before main, after a thread's last destructor; not in a signal handler
 *          that interrupted itself. Allocates: by mmap; the first call of a thread calls
 *          pthread_setspecific, which may call calloc.
 * Errors:  NULL with errno ENOMEM. A double free, or a broken free list, that is noticed: the
 *          process dies with a message. free keeps errno.
 * Cost:    constant but for a new slab, which is one operation of the BFC, and a drain of what
 *          others freed.
 * Source:  magazines after Bonwick's (2001); free lists in slabs, and a heap's frees by others
 *          collected in one atomic word of the slab, after mimalloc (Leijen et al., 2019); batches
 *          of them made by the freer after snmalloc (Lietar et al., 2019).
 */
#ifndef XS_CORE_HEAP_H
#define XS_CORE_HEAP_H

#include <stdatomic.h>

#include "core/page_map.h"
#include "core/size_class.h"
#include "core/span.h"
#include "stats/stats.h"

struct xs_heap_options {
    struct xs_span_options span;
    uint64_t cache_bytes; /* kept by a thread for reuse, besides a few blocks of each small class */
    uint64_t retry_ns;    /* waits so long for memory before an allocation fails */
    bool exact_classes;   /* a block has always the least class that holds it */
    /* May be NULL. An allocation failed; -1: the last one of this size was not the program's. */
    void (*count_failure)(size_t size, int n);
    /* May be NULL. A block from elsewhere, where the system has none for the core, or NULL; in the
     * place of `p`, if that is one of these. Its size is a multiple of 16. */
    void *(*last_resort)(void *p, size_t align, size_t size);
};

/* Once, before the first block. */
int xs_heap_open(const struct xs_heap_options *options);

void *xs_heap_malloc(size_t size);
void *xs_heap_zalloc(size_t size);
void *xs_heap_memalign(size_t align, size_t size); /* `align` a power of two */

/* On its own blocks. xs_heap_free returns false, having done nothing, for any other pointer. */
bool xs_heap_free(void *p);
void *xs_heap_realloc(void *p, size_t size); /* `size` > 0 */
size_t xs_heap_usable_size(const void *p);
bool xs_heap_owns(const void *p);

/* NULL, or what is to be called now and then in malloc, with no lock held: after each MiB of small
 * blocks and with the larger ones. It must not allocate. Written once. */
extern XS_HIDDEN void (*_Atomic xs_heap_look)(void);

/* What the calling thread and threads that have ended keep, and free memory, goes back to the
 * system; the bytes. */
size_t xs_heap_trim(void);

struct xs_heap_stats {
    struct xs_bfc_stats bfc;
    uint64_t in_use_bytes; /* in blocks handed out, by their class; exact when threads rest */
    uint64_t growth_ns;    /* it took to get regions from the system */
    uint64_t failures;     /* requests that got no memory */
    uint64_t largest_failure_bytes;
    uint64_t last_failure_bytes;
    uint64_t lent; /* requests that were served by the last resort */
    uint32_t slabs;
    uint32_t heaps;
};

/* False: the lock is held, by the caller's own thread perhaps, and `may_wait` is false. */
bool xs_heap_stats_get(struct xs_heap_stats *out, bool may_wait);

/* Adds what was done since the start: bins by the size of the class, so that the least
 * is that of 16 bytes; no failures. Exact when the other threads rest. */
void xs_heap_counters_add(struct xs_counters *sum);

/* Requests that the last resort served. */
extern XS_HIDDEN _Atomic uint64_t xs_heap_lent;

XS_INLINE bool xs_heap_has_lent(void)
{
    return XS_UNLIKELY(atomic_load_explicit(&xs_heap_lent, memory_order_relaxed) != 0);
}

/* An allocation of `size` bytes and a free were not the program's. */
void xs_heap_uncount_move(size_t size);

/* Walks the calling thread's heap and the BFC; true if all is in order, else what is not in *why.
 * For tests. */
bool xs_heap_check(struct xs_buf *why);

/* Before any lock is taken for a fork: after several in a row, what is free goes back, as each
 * child would keep the pages that this process is about to write to. */
void xs_heap_before_fork(void);

/* Before the first thread that the calling one makes: what it keeps, and free memory, goes back to
 * the system. All that there was to prepare for the threads may be done. */
void xs_heap_before_threads(void);

/* Around fork, when the process has threads; and in the child, always. The heaps of threads that
 * are not there are left as they were found, perhaps half way through a change. */
void xs_heap_fork_prepare(void);
void xs_heap_fork_parent(void);
void xs_heap_fork_child(void);

/* From now on blocks are sampled as sample/sample.h says. In our constructor. */
void xs_heap_sample_start(void);

#endif
