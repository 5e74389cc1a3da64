/* core/thread_heap.h - the heap of a thread, for the files that make up core/heap.h.
 *
 * Threads: a heap is used by one thread at a time: the one it belongs to, or who has taken it from
 *          the idle ones, or for a moment who hands something to an idle one (under
 *          xs_heaps_lock).
 * Everything else as core/heap.h.
 */
#ifndef XS_CORE_THREAD_HEAP_H
#define XS_CORE_THREAD_HEAP_H

#include "core/heap.h"
#include "core/heap_counts.h"
#include "core/magazine.h"
#include "core/slab.h"
#include "sample/sample.h"
#include "stats/stats.h"
#include "sys/lock.h"

/* So many blocks all magazines can hold together: no more are asked for. */
#define XS_MAGAZINES_MOST 3200

/* Frees of other heaps' objects, gathered before they are handed over: chains, each at the place
 * that the address of its slab's record gives. */
#define XS_SENDS 128

/* Objects of other heaps' slabs go into a magazine too, to be used again here, from this class on:
 * of smaller ones several share a cache line, of these at most two at its ends. */
#define XS_CLASS_MIXED 3u

struct xs_send {
    _Alignas(32) struct xs_slab *slab; /* so that none lies in two lines */
    uint32_t room; /* for one object less than this; 1: the chain is full, 0: it is empty */
    uint32_t most; /* of a full chain */
    void **head;
};

/* Chunks that have left their magazines and wait for the next take of the thread's: each by itself
 * would have the lock, and the lines of what it guards, once more. */
#define XS_LEAVES 4u

/* By `next` and `prev`. The first one's `prev` means nothing, nor does `last` of an empty list. */
struct xs_slab_list {
    struct xs_slab *first;
    struct xs_slab *last;
};

struct xs_heap {
    struct xs_heap_counts counts;
    uint64_t chunk_bytes;   /* chunks in the magazines of the upper classes, */
    uint64_t chunk_enough;  /* beyond which some go back with requests that cost little, */
    uint64_t chunk_most;    /* and their bound, which frees see to */
    uint64_t chunk_classes; /* a bit for each upper class that may have some, */
    uint64_t chunk_several; /* and more than one */
    uint64_t leaving_bytes; /* of chunks that go back with the next take */
    uint32_t leaving;
    xs_chunk leaves[XS_LEAVES];
    unsigned chunk_turn;  /* the class whose turn it is to give one back */
    bool takes_next;      /* a block of the next class serves as well */
    uint64_t kept_bytes;  /* spans of empty and spare slabs */
    uint64_t chunk_least; /* the least of either since the last look at the clock */
    uint64_t kept_least;
    uint32_t chunks_out;   /* chunks handed out */
    uint32_t emptied;      /* slabs that got empty */
    uint32_t reached;      /* how far the last blocks grew: core/heap_realloc.c */
    uint32_t stacks_used;  /* places in `stacks` that are some magazine's */
    _Atomic uint32_t turn; /* odd while its owner is at what a visitor would take: below */
    atomic_bool is_visited;
    atomic_bool is_waiting; /* the owner, for the visit to end */
    unsigned mixed_from;    /* XS_CLASS_MIXED; no class where memory is to stay on its node */
    int64_t sample_left;    /* bytes from where until_tick ends to the next sample, */
    int64_t look_left;      /* to the next look at the clock, */
    int64_t look_bytes;     /* of so many that there were from the last one to it, */
    int64_t time_left;      /* and to the next call that is timed */
    /* Of core/heap_time.c: how many there were, and which of the next calls it is; large requests
     * since one was timed, and how often that was; and the counts at the last one. */
    uint32_t times;
    uint32_t time_skip;
    uint32_t time_large;
    uint32_t times_large;
    uint32_t time_wider; /* doublings of the gap between two */
    uint32_t time_random;
    uint64_t timed_requests;
    uint64_t timed_frees;
    uint64_t timed_near; /* frees when one was last timed, or asked for; when a slab was settled */
    uint64_t settled_frees;
    uint64_t cache_bytes; /* of chunk_bytes, about; of kept_bytes the most is KEPT_PER_CACHE times
                             that */

    /* The block that realloc returned last, being larger than before: when it grows again it is on
     * its way, and gets room that no other block may have, until another block is on its way. Only
     * one has such room, so that the room of all that ever grew does not add up. */
    void *grown;
    void *roomy;
    uint64_t roomy_entry;
    size_t roomy_size;
    size_t room_bytes;
    size_t minded_size; /* its growth beyond this is told of: xs_heap_mind */
    /* The chunk of the last such block after it was freed, for the next one. */
    xs_chunk kept_room;
    bool kept_room_is_old;
    size_t kept_room_bytes;

    uint8_t place[XS_CLASS_TABLE_MAX / 16 + 1]; /* of the magazine for a size: core/heap_young.c */
    /* Doublings of which little was asked, by their largest sizes, all in one word. */
    uint32_t young;
    uint32_t borrows; /* objects of larger classes that may still serve */
    uint32_t few;     /* slabs that are still XS_SLAB_FEW */

    /* What every free looks at does not lie, page for page, where the counts of small classes do: a
     * load waits for a store before it whose address ends in the same 12 bits. */
    _Alignas(64) uintptr_t leaf_start; /* of the page map's leaf last looked into; page_map.h */
    const struct xs_page_map_leaf *leaf;
    /* Of the page map's entries of its slabs; or what nothing has if these do not tell. */
    uint32_t tag;
    uint32_t entry_tag; /* what they bear */
    uint32_t id;
    /* One of its objects on its way back into its slab, whose record is being fetched meanwhile; or
     * NULL, both. */
    void *late;
    struct xs_slab *late_slab;

    struct xs_slab *spare[XS_SLAB_SPAN_KINDS];
    struct xs_slab *records; /* free ones */

    _Alignas(XS_NO_SHARE) _Atomic(struct xs_slab *) pending; /* stack */
    atomic_bool is_idle;                                     /* changed under xs_heaps_lock */
    struct xs_heap *next_idle;
    uint32_t idle_looks; /* looks at the clock since it is idle; at the second it is emptied */
    unsigned part;       /* of core/span.h: where its thread last took something, */
    unsigned arena;      /* and where that was served from when it ended */
    /* Of core/heap_visit.c: the thread whose heap it is, 0 if none is known, and its variables. */
    _Atomic pid_t owner;
    uintptr_t owner_top; /* of its stack */
    struct xs_heap **owner_mine;
    struct xs_heap **owner_away;
    uint32_t seen_turn; /* at the last visit, as all of these */
    uint32_t tries_all;
    uint64_t seen_frees;
    int64_t seen_left;
    bool is_all_taken;
    bool is_lost;         /* its thread is not in this process, a child of fork */
    struct xs_heap *next; /* of all there are; never changed */

    /* The rest is not touched, page by page, before there is something for it. */
    _Alignas(XS_NO_SHARE) struct xs_magazines hot;
    void *stacks[XS_MAGAZINES_MOST]; /* in the order in which the magazines were opened */
    struct xs_slab_list partial[XS_CLASS_SLABS];
    struct xs_slab *empty[XS_CLASS_SLABS];
    struct xs_send send[XS_SENDS];

    /* Of core/heap_deep.c: where the stacks of deep magazines lie, or NULL, and how many places of
     * it are some magazine's; what these may hold beyond the usual; and of each class the places it
     * has there, the requests at the last look at the clock and when it was last asked why its
     * magazine is full, and how often in a row since then there were hardly any. */
    void **deep;
    uint32_t deep_used;
    uint64_t deep_bytes;
    uint16_t deep_room[XS_CLASS_SLABS];
    uint32_t deep_seen[XS_CLASS_SLABS];
    uint32_t deep_taken[XS_CLASS_SLABS];
    uint8_t deep_misses[XS_CLASS_SLABS];
};

/* Guards the list of idle heaps, idle heaps themselves, and blocks with room. Taken before the
 * lock of core/span.c. */
extern XS_HIDDEN struct xs_lock xs_heaps_lock;

/* Stands for the heap of a thread that has none yet: it owns nothing and has nothing. */
extern XS_HIDDEN struct xs_heap xs_heap_none;

/* Never NULL. */
extern XS_HIDDEN XS_TLS struct xs_heap *xs_heap_mine;

/* The calling thread's own heap, or after its end one on loan, which must be given back: a call
 * that finds xs_heap_none goes through these two. NULL: no memory. */
struct xs_heap *xs_heap_enter_slow(void);
void xs_heap_leave_slow(struct xs_heap *h);

XS_INLINE struct xs_heap *xs_heap_enter(void)
{
    struct xs_heap *h = xs_heap_mine;

    return XS_LIKELY(h != &xs_heap_none) ? h : xs_heap_enter_slow();
}

XS_INLINE void xs_heap_leave(struct xs_heap *h)
{
    if (XS_UNLIKELY(h != xs_heap_mine))
        xs_heap_leave_slow(h);
}

/* The object lies in a slab of the heap, which the tag need not tell. */
XS_INLINE bool xs_heap_has(const struct xs_heap *h, uint64_t entry)
{
    // NOLINTNEXTLINE(clang-analyzer-core.NullDereference): an object's entry has a slab
    return XS_ENTRY_TAG(entry) == h->entry_tag && XS_ENTRY_SLAB(entry)->heap == h;
}

/* Notes the page map's leaf that `p` lies in for the next frees. */
XS_INLINE void xs_heap_note_leaf(struct xs_heap *h, const void *p)
{
    const struct xs_page_map_leaf *leaf = xs_page_map_leaf_at(p);

    if (leaf != NULL && h != &xs_heap_none) {
        h->leaf_start = xs_page_map_leaf_start(p);
        h->leaf = leaf;
    }
}

/* True, and what the page map says of `p`, if that lies in this leaf. */
XS_INLINE bool xs_heap_near(const struct xs_heap *h, const void *p, uint64_t *entry)
{
    uintptr_t distance = (uintptr_t)p - h->leaf_start;

    if (XS_UNLIKELY(distance >= XS_PAGE_MAP_LEAF_BYTES))
        return false;
    *entry = xs_page_map_get_near(h->leaf, distance);
    return true;
}

/* ---- heap_time.c: calls that are timed (stats/latency.h) ---- */

/* The calling thread's heap, while xs_heap_none stands for it so that the next call is a slow one;
 * else NULL. It is back before anything is done with it. */
extern XS_HIDDEN XS_TLS struct xs_heap *xs_heap_away;

/* What changes these two stands between xs_heap_begin and xs_heap_end: a visitor changes them, too.
 * True: it was away. */
bool xs_heap_back(void);

/* For who does not enter: the thread's own, or xs_heap_none where it has none. */
XS_INLINE struct xs_heap *xs_heap_here(void)
{
    if (XS_UNLIKELY(xs_heap_mine == &xs_heap_none))
        (void)xs_heap_back();
    return xs_heap_mine;
}

/* One of the next calls is timed. Last of all, as the heap is away then. */
void xs_heap_time_next(struct xs_heap *h);
void xs_heap_time_large(struct xs_heap *h, uint32_t n); /* now and then, after `n` large requests */
/* The same for who frees for long and asks for nothing meanwhile: after a free that was slow. */
void xs_heap_time_freed(struct xs_heap *h);

/* A window is over by so many bytes; true: one of the next calls is to be timed. */
bool xs_heap_time_is_due(struct xs_heap *h, int64_t over);

/* xs_heap_settle, the last of a free, which may be the call that is timed. */
void xs_heap_settle_freed(struct xs_slab *s, struct xs_heap *h);

/* The heap is away. */
void *xs_heap_malloc_timed(size_t size);
void xs_heap_free_timed(void *p, uint64_t entry);

/* ---- visits ---- */

/* What a sleeping thread keeps, empty slabs and chunks in magazines, another one may take: whoever
 * touches it on his way does so between these two. They nest; a visitor sees that somebody is
 * there, or that somebody sees him (heap_visit.c), which costs the owner no fence. Only the owner
 * calls them: to him a visitor's mark would look like one of his own, further out. */
void xs_heap_wait_visit(struct xs_heap *h, uint32_t turn);

XS_INLINE bool xs_heap_begin(struct xs_heap *h)
{
    uint32_t turn = atomic_load_explicit(&h->turn, memory_order_relaxed);

    if (turn % 2 != 0)
        return false;
#ifdef __SANITIZE_THREAD__
    (void)atomic_exchange_explicit(&h->turn, turn + 1, memory_order_seq_cst);
#else
    atomic_store_explicit(&h->turn, turn + 1, memory_order_relaxed);
    atomic_signal_fence(memory_order_seq_cst); /* the visitor has the processor do its part */
#endif
    if (XS_UNLIKELY(atomic_load_explicit(&h->is_visited, memory_order_acquire)))
        xs_heap_wait_visit(h, turn);
    return true;
}

XS_INLINE void xs_heap_end(struct xs_heap *h, bool begun)
{
    if (begun)
        atomic_store_explicit(&h->turn, atomic_load_explicit(&h->turn, memory_order_relaxed) + 1,
                              memory_order_release);
}

/* The heap is the calling thread's from here on. */
void xs_heap_owned(struct xs_heap *h);

/* Takes what the threads keep that did nothing since the last visit; true if any keeps something.
 * The caller is the giver of core/span.h. */
bool xs_heap_visit(void);

/* ---- heap_slabs.c: the slabs of a heap ---- */

/* A slab with something to give becomes the class's current one; NULL: no memory. */
struct xs_slab *xs_heap_next_slab(struct xs_heap *h, unsigned class);

/* After objects came back into the slab. */
void xs_heap_settle(struct xs_heap *h, struct xs_slab *s);

/* The same, and the next one, where no visitor can be: between xs_heap_begin and xs_heap_end, under
 * xs_heaps_lock, or he himself. True: the slab has become an empty one that is kept, or none. */
bool xs_heap_settle_alone(struct xs_heap *h, struct xs_slab *s);

/* Takes back what others freed. */
void xs_heap_drain(struct xs_heap *h);

/* The slab's heap is to take back what others freed; [any]. */
void xs_heap_notify(struct xs_slab *s);

/* Empty slabs that are current become ones that are kept, which have a bound. */
void xs_heap_keep_current(struct xs_heap *h);

/* Every empty slab of a heap that is kept goes back. */
void xs_heap_release_kept(struct xs_heap *h);

/* A span of memory that is there, where the heap keeps as much as that. False: there is none, and
 * what was kept has gone back to be taken: pages that are there cost less than others. */
bool xs_heap_span_used(struct xs_heap *h, size_t bytes, size_t align, struct xs_span *out);

/* ---- heap.c: objects ---- */

/* What the fast paths cannot do: for the empty magazine of this place, perhaps of xs_heap_none.
 * `size` is what was asked. */
void *xs_heap_refill(size_t size, size_t place, struct xs_heap *h);
void *xs_heap_malloc_above(size_t size);
void xs_heap_free_slow(void *p, uint64_t entry);

/* An object for which its magazine has no room: back into its slab, `s`, with the next such one. */
void xs_heap_put_late(void *p, struct xs_heap *h, struct xs_slab *s);

/* The same when the magazine's patience is at its end: it may get room. */
void xs_heap_put_deep(void *p, struct xs_heap *h, struct xs_slab *s);

/* The second word says that the block is free already; so it may be by chance. */
void xs_heap_free_marked(void *p, struct xs_heap *h, uint64_t entry);

/* An object that bears it, whosever it is: does it lie where free ones do? */
void xs_heap_die_if_free(const void *p, uint64_t entry);

void *xs_heap_realloc_at(void *p, uint64_t entry, size_t size);

/* xs_heap_free of a block that realloc has moved. */
void xs_heap_free_moved(void *p, uint64_t entry);

/* How much is allocated between two looks at the clock: little after one that came late, then twice
 * as much each time, up to the most. */
#define XS_HEAP_TICK_LEAST_BYTES ((int64_t)64 << 10)
#define XS_HEAP_TICK_MOST_BYTES  ((int64_t)4 << 20)

/* Looks at the clock, and gives back what was not needed for long. Returns `p`, or the sampled
 * block that takes its place, so that malloc can end in a jump. Not XS_COLD: the compiler would
 * take what leads to it for cold too. */
__attribute__((noinline)) void *xs_heap_tick(size_t size, void *p, struct xs_heap *h);

/* The same: true if the last block is to be sampled. */
bool xs_heap_tick_over(struct xs_heap *h);

/* Hands over what was freed of others. */
void xs_heap_send_all(struct xs_heap *h);

/* Empties a magazine of slabs, where no visitor can be. */
void xs_heap_empty_magazine(struct xs_heap *h, size_t place);

/* Empties magazines and chains, gives room back; then every empty slab. In between other heaps may
 * hand over what they held of it. */
void xs_heap_flush(struct xs_heap *h);
void xs_heap_release(struct xs_heap *h);

/* Both where no visitor can be: magazines of slabs and chains; empty slabs. */
void xs_heap_flush_objects(struct xs_heap *h);
void xs_heap_release_alone(struct xs_heap *h);

/* Asks the last resort; if that has nothing either, notes that an allocation failed and sets errno;
 * NULL. */
XS_COLD void *xs_heap_fail(size_t size, size_t align);
/* A block of the last resort, in the place of `p` if that is one, or NULL. */
XS_COLD void *xs_heap_lend(void *p, size_t align, size_t size);
/* The same where it is no allocation's. */
XS_COLD void xs_heap_note_failure(size_t size);
/* The allocation that failed was our own attempt. */
XS_COLD void xs_heap_forgive(size_t size);
void xs_heap_failures_get(struct xs_heap_stats *out);

/* ---- heap_count.c: what is counted where the fast paths do not ---- */

/* In a thread without a heap, or past its end. */
void xs_heap_count_request_late(size_t size);
void xs_heap_count_realloc_late(void);
void xs_heap_count_frees_late(int n);

XS_INLINE bool xs_heap_is_none(const struct xs_heap *h)
{
    return XS_UNLIKELY(h == NULL || h == &xs_heap_none);
}

/* ---- heap_sample.c: blocks that are sampled (sample/sample.h) ---- */

/* Bytes are counted down to whichever comes first, a sample, a look at the clock or a timed call.
 * The last block has passed the bound: what is due, and how many bytes there are to the next. */
bool xs_heap_window_is_over(struct xs_heap *h, bool *is_sampled, bool *is_timed);
int64_t xs_heap_next_window(struct xs_heap *h, int64_t to_look);

/* An object becomes a chunk of its own, so that its free is not a fast one. */
void *xs_heap_sampled(void *p, size_t size);

/* A request that was not counted down to a look at the clock; true: its block is to be sampled. */
XS_INLINE bool xs_heap_sample_due(size_t size)
{
    return XS_UNLIKELY(xs_sample_is_in_core) && xs_sample_due(size);
}

void *xs_heap_realloc_plainly(void *p, uint64_t entry, size_t size);
void *xs_heap_realloc_sampled(void *p, uint64_t entry, size_t size);

/* `n` is -1 where a request that was counted was not the program's. */
XS_INLINE void xs_heap_count_size(struct xs_heap *h, size_t size, int n)
{
    if (size <= XS_CLASS_MAX_BYTES)
        XS_COUNT(h->counts.taken[xs_class_of(size)], (uint64_t)n);
    else
        XS_COUNT(h->counts.odd_taken[xs_size_bin(size)], (uint64_t)n);
}

/* A request that went past malloc. `h` may be NULL. */
XS_INLINE void xs_heap_count_request(struct xs_heap *h, size_t size)
{
    if (xs_heap_is_none(h)) {
        xs_heap_count_request_late(size);
        return;
    }
    XS_COUNT(h->counts.requested, (int64_t)size); /* no look at the clock is due for it */
    xs_heap_count_size(h, size, 1);
}

/* Of a realloc, which is counted down; xs_heap_realloc_at sees to what is due. Not of
 * xs_heap_none. */
XS_INLINE void xs_heap_count_down(struct xs_heap *h, size_t size)
{
    h->counts.until_tick -= (int64_t)size;
    xs_heap_count_size(h, size, 1);
}

/* The same of any. */
XS_INLINE void xs_heap_count_realloc_request(struct xs_heap *h, size_t size)
{
    if (xs_heap_is_none(h)) {
        xs_heap_count_request_late(size);
        return;
    }
    xs_heap_count_down(h, size);
}

XS_INLINE void xs_heap_count_realloc(struct xs_heap *h)
{
    if (xs_heap_is_none(h))
        xs_heap_count_realloc_late();
    else
        XS_COUNT(h->counts.reallocs, 1);
}

/* `n` is -1 where a block was freed that only moved. */
XS_INLINE void xs_heap_count_frees(struct xs_heap *h, int n)
{
    if (xs_heap_is_none(h))
        xs_heap_count_frees_late(n);
    else
        XS_COUNT(h->counts.frees, (uint64_t)n);
}

/* A failure that was noted was none. */
void xs_heap_forgive_failure(void);

/* A request of the calling thread's was not the program's. */
void xs_heap_uncount_request(size_t size);

/* ---- heap_purge.c ---- */

/* What is behind free objects goes back where they are large. It calls what programs hook, so it
 * must not be the heap that the calling thread would then use. */
void xs_heap_purge(struct xs_heap *h);

/* ---- heap_young.c: a heap of which little was asked ---- */

/* Sizes up to 4 KiB find the class of the largest size of their doubling, until some pages of that
 * are used up: so a small process touches a page or two for each doubling, not for each class. */
void xs_heap_begin_young(struct xs_heap *h);

/* These pages. */
#define XS_YOUNG_BYTES (2 * XS_SPAN_PAGE)

/* The class of a size that slabs serve, open from here on. */
unsigned xs_heap_open_class(struct xs_heap *h, size_t size);

/* A new slab of the class ends after its first pages. */
bool xs_heap_is_young(const struct xs_heap *h, unsigned class);

/* While little was asked: an object of a class up to four times as large, counted as one of this,
 * which has none; or NULL. So a class that few objects are asked of has no page. */
void *xs_heap_borrow(struct xs_heap *h, unsigned class);

/* True: the slab, used up, had but these pages, and has all of its span now. */
bool xs_heap_grow_up(struct xs_heap *h, struct xs_slab *s);

/* ---- heap_deep.c: magazines that hold more ---- */

/* How many blocks a magazine of slabs usually holds. */
uint32_t xs_magazine_usual(const struct xs_heap *h, unsigned class);

/* Where no visitor can be: empties the deep ones; such of which nothing was asked for long are deep
 * no more. */
void xs_heap_rest_deep(struct xs_heap *h);

/* ---- heap_life.c: heaps and threads ---- */

/* Makes the magazine of a class ready, when the first block of it is asked for, or a chunk comes.
 */
void xs_heap_open_magazine(struct xs_heap *h, unsigned class);

/* All heaps that ever were, by their `next`. */
extern XS_HIDDEN _Atomic(struct xs_heap *) xs_heap_newest;

XS_INLINE struct xs_heap *xs_heap_all(void)
{
    return atomic_load_explicit(&xs_heap_newest, memory_order_acquire);
}

/* A span, if need be after giving back what can be given: false = none. `is_kept_first`: what
 * xs_heap_span_used finds is preferred. `h` may be NULL, and then that is false. */
bool xs_heap_span(struct xs_heap *h, size_t size, size_t align, bool is_kept_first,
                  struct xs_span *out);

/* A number of this process's that nobody can guess. */
uintptr_t xs_heap_secret(void);

/* Sees to it that the heap will be handed on when the thread ends, if that could not be arranged.
 */
void xs_heap_want_end(void);

/* A free block is in some heap's magazine. Other threads may be using theirs, so this is for a
 * block that bears the mark of a free one. */
bool xs_heap_any_holds(const void *p, unsigned class);

/* Looks at the clock, where no block was handed out: not with a lock of the core's. */
void xs_heap_look_for_old(void);

/* So much memory is about to be used: it may be time to see how much there is. The same holds. */
void xs_heap_mind(size_t size);

/* xs_heap_purge for a heap that is, or is not, the calling thread's. */
void xs_heap_purge_own(struct xs_heap *h);

/* Empties the heaps that have been idle since the last look at the clock. */
void xs_heap_age_idle(void);

/* An idle heap has something pending: the caller sees to it. */
void xs_heap_help(struct xs_heap *h);

/* ---- large.c: chunks of the BFC as blocks; `h` may be NULL ---- */

/* Instead of a class in the page map's entry of a chunk. */
#define XS_CLASS_ODD   0xFFu /* its size is no class's */
#define XS_CLASS_ROOMY 0xFEu /* the same, and it has room; the entry bears the heap's number */
#define XS_CLASS_DEAD  0xFDu /* it was freed */

void *xs_large_malloc(struct xs_heap *h, size_t size, size_t align, bool *is_zero);
/* True: the heap keeps the chunk of a class for a later request. False: it has no room, may not, or
 * the block bears the mark of a free one, and nothing is done. */
bool xs_large_keep(struct xs_heap *h, void *p, uint64_t entry);

/* True: the heap keeps it; there is a heap then. */
bool xs_large_free(struct xs_heap *h, void *p, uint64_t entry);
void *xs_large_realloc(struct xs_heap *h, void *p, uint64_t entry, size_t size);
size_t xs_large_usable(const void *p, uint64_t entry);

/* A block that holds `size` with room to grow; NULL, with nothing noted, if there is none. */
void *xs_large_roomy(struct xs_heap *h, size_t size);

/* The block with room is `size` now. It may lose its room. */
void xs_large_mind(struct xs_heap *h, size_t size);

/* One of the chunks in magazines goes back. */
void xs_large_make_room(struct xs_heap *h);
void xs_large_empty_hot(struct xs_heap *h);
void xs_large_give_leaving(struct xs_heap *h); /* what has left its magazine */
void xs_large_drop_room(struct xs_heap *h);    /* the kept one */
void xs_large_give_room(struct xs_heap *h);

/* ---- the fast paths ---- */

/* One more request of the class whose magazine has this place. */
XS_INLINE void xs_heap_count_taken(struct xs_heap *h, size_t place)
{
    XS_COUNT(h->counts.taken[place - 1], 1);
}

/* A block for a request, which is no longer marked as free, uncounted; NULL: there is none. */
XS_INLINE void *xs_magazine_pop(struct xs_heap *h, size_t place)
{
    void **p = xs_magazine_take(&h->hot, place);

    if (XS_LIKELY(p != NULL))
        p[1] = NULL;
    return p;
}

XS_INLINE void *xs_heap_malloc_stepwise(size_t size, size_t place, struct xs_heap *h,
                                        void *(*refill)(size_t, size_t, struct xs_heap *))
{
    void *p = xs_magazine_pop(h, place);

    if (XS_UNLIKELY(p == NULL)) {
        struct xs_slab *s = h->hot.current[place];
        if (XS_UNLIKELY(s->free == NULL))
            return refill(size, place, h);
        p = xs_slab_take(s);
    }
    xs_heap_count_taken(h, place);
    if (XS_LIKELY((h->counts.until_tick -= (int64_t)size) >= 0))
        return p;
    __asm__("" : "+r"(p)); /* else the compiler has it where this call wants it from the start */
    return xs_heap_tick(size, p, h);
}

/* `size` <= XS_CLASS_TABLE_MAX. `refill` is xs_heap_refill, or who looks at what that returns.
 * Whether there is a block, and whether the next look at the clock is still to come, is one branch:
 * of one that was taken once the processor predicts anew at each call whether it is, which costs a
 * cycle where calls are bounded by that; a conditional move costs none. */
XS_INLINE void *xs_heap_malloc_small_or(size_t size,
                                        void *(*refill)(size_t, size_t, struct xs_heap *))
{
    struct xs_heap *h = xs_heap_mine;
    size_t place = h->place[(size + 15) / 16];
#if XS_HAS_CMOV
    size_t at = h->hot.at[place] - sizeof(void *);
    void **p = *xs_magazine_slot(&h->hot, at);
    int64_t left = h->counts.until_tick;

    /* That of place 0 is always 0. */
    __asm__("sub %[size], %[left]\n\t"
            "cmovs %[null], %[p]"
            : [left] "+r"(left), [p] "+r"(p)
            : [size] "r"(size), [null] "m"(h->hot.at[0])
            : "cc");
    if (XS_LIKELY(p != NULL)) {
        h->hot.at[place] = at;
        h->counts.until_tick = left;
        p[1] = NULL;
        xs_heap_count_taken(h, place);
        return p;
    }
    /* Else the compiler keeps for the rest what it has computed so far. */
    __asm__("" : "+r"(h), "+r"(place));
#endif
    return xs_heap_malloc_stepwise(size, place, h, refill);
}

XS_INLINE void *xs_heap_malloc_small(size_t size)
{
    return xs_heap_malloc_small_or(size, xs_heap_refill);
}

XS_INLINE void *xs_heap_malloc_inline(size_t size)
{
    if (XS_UNLIKELY(size > XS_CLASS_TABLE_MAX))
        return xs_heap_malloc_above(size);
    return xs_heap_malloc_small(size);
}

/* The block bears the mark of a free one, or by chance its lower half, which is all that is looked
 * at: where the program has just written a part of the second word, a load of the whole of it waits
 * until that has left the processor's queue of stores. */
XS_INLINE bool xs_may_be_marked(const void *p, uintptr_t mark)
{
    uint32_t half;

    __builtin_memcpy(&half, (const char *)p + sizeof(uintptr_t), sizeof(half));
    return half == (uint32_t)mark;
}

/* Back into its slab, of which true says that it must be settled. */
XS_INLINE bool xs_heap_put_back(void *p, struct xs_slab *s)
{
    void **block = p;

    // NOLINTNEXTLINE(clang-analyzer-core.NullDereference): an object's entry has a slab
    block[0] = s->free;
    ((uintptr_t *)p)[1] = xs_free_mark();
    s->free = block;
    return XS_UNLIKELY((int32_t)--s->held < 0);
}

XS_INLINE void xs_heap_put_object(struct xs_heap *h, void *p, uint64_t entry)
{
    struct xs_slab *s = XS_ENTRY_SLAB(entry);

    if (xs_heap_put_back(p, s))
        xs_heap_settle(h, s);
}

XS_INLINE struct xs_send *xs_heap_send_of(struct xs_heap *h, const struct xs_slab *s)
{
    return &h->send[(uintptr_t)s / sizeof(*s) % XS_SENDS];
}

/* Of an object in another heap's slab: true if a chain took it. */
XS_INLINE bool xs_heap_send_inline(struct xs_heap *h, void *p, uint64_t entry)
{
    struct xs_slab *s = XS_ENTRY_SLAB(entry);
    struct xs_send *c = xs_heap_send_of(h, s);
    uintptr_t *word = p;

    if (XS_UNLIKELY(c->slab != s || c->room <= 1 || xs_may_be_marked(p, XS_FREE_MARK)))
        return false;
    *(void **)p = c->head;
    word[1] = XS_FREE_MARK;
    c->head = p;
    c->room--;
    return true;
}

/* A block with this entry, of the core or not: false, and nothing done, if this way is not for it.
 * While there is room the magazine says what it takes; then only one's own has a slab to go to. */
XS_INLINE bool xs_heap_free_inline(struct xs_heap *h, void *p, uint64_t entry)
{
    size_t place = XS_ENTRY_MAGAZINE(entry);
    uintptr_t *word = p;
    uintptr_t mark = xs_free_mark();

    if (XS_LIKELY(xs_magazine_has_room(&h->hot, place))) {
        if (XS_UNLIKELY(((uint32_t)entry & h->hot.refuses[place]) != 0))
            return false;
        if (XS_UNLIKELY(xs_may_be_marked(p, mark))) {
            xs_heap_free_marked(p, h, entry);
            return true;
        }
        XS_COUNT(h->counts.frees, 1);
        xs_magazine_push(&h->hot, place, p);
        word[1] = mark;
        return true;
    }
    if (XS_UNLIKELY(XS_ENTRY_TAG(entry) != h->tag))
        return false;
    if (XS_UNLIKELY(xs_may_be_marked(p, mark))) {
        xs_heap_free_marked(p, h, entry);
        return true;
    }
    XS_COUNT(h->counts.frees, 1);
    struct xs_slab *s = XS_ENTRY_SLAB(entry);
    if (XS_UNLIKELY(--h->hot.patience[place] < 0))
        xs_heap_put_deep(p, h, s);
    else if (s != h->late_slab)
        xs_heap_put_late(p, h, s);
    else if (xs_heap_put_back(p, s))
        xs_heap_settle_freed(s, h);
    return true;
}

/* A block with this entry; false, and nothing done, if it is not the core's. */
XS_INLINE bool xs_heap_free_at(void *p, uint64_t entry)
{
    if (XS_LIKELY(xs_heap_free_inline(xs_heap_mine, p, entry)))
        return true;
    if (XS_PAGE_MAP_OWNER(entry) != XS_OWNER_BFC)
        return false;
    xs_heap_free_slow(p, entry);
    return true;
}

#endif
