/* Visits to the heaps of threads that sleep, which cannot give back what they keep.
 *
 * What slow paths touch stands between xs_heap_begin and xs_heap_end, and so may be taken where the
 * owner is not in between. Fast paths have no such marks, for the rest of what a thread keeps, its
 * magazines and current slabs: to take those the visitor lets the thread's next call find no heap,
 * so that it comes by a slow path and waits, and then makes sure that the thread is in none: it
 * waits in the kernel, called by no code of ours, as its stack shows, with no signal handler under
 * way. A visitor leaves the owner's mark alone: a thread that wakes meanwhile and found it set
 * would take it for one of its own and go on. */
#include <errno.h>
#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/keeper.h"
#include "core/thread_heap.h"
#include "sys/asleep.h"

#define PAUSE_NS 20000

/* A thread that is never found in a state to be visited is let alone, until it has done something.
 */
#define TRIES_ALL 4u

void xs_heap_wait_visit(struct xs_heap *h, uint32_t turn)
{
    int saved = errno; /* free keeps it */

    if (xs_span_is_giver()) /* the visitor himself */
        return;
    atomic_store_explicit(&h->is_waiting, true, memory_order_relaxed);
    do {
        atomic_store_explicit(&h->turn, turn, memory_order_release);
        while (atomic_load_explicit(&h->is_visited, memory_order_acquire))
            xs_pause_ns(PAUSE_NS);
        /* Rare enough for a whole fence. */
        (void)atomic_exchange_explicit(&h->turn, turn + 1, memory_order_seq_cst);
    } while (atomic_load_explicit(&h->is_visited, memory_order_seq_cst));
    atomic_store_explicit(&h->is_waiting, false, memory_order_relaxed);
    errno = saved;
}

/* Every thread of the process passes a fence: who stored before it is seen, who did not sees us. */
static bool fence_everywhere(void)
{
    return syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0) == 0;
}

void xs_heap_owned(struct xs_heap *h)
{
    h->owner_mine = &xs_heap_mine;
    h->owner_away = &xs_heap_away;
    h->owner_top = xs_asleep_stack_top();
    /* Not where a filter of system calls might kill for it. */
    atomic_store_explicit(&h->owner, xs_keeper_may_visit() ? gettid() : 0, memory_order_release);
}

/* ---- what slow paths touch -------------------------------------------------------------- */

/* Racy reads: whoever changes these now will be seen again at the next visit. */
__attribute__((no_sanitize("thread"))) static uint64_t keeps(const struct xs_heap *h)
{
    return h->kept_bytes + h->chunk_bytes + h->leaving_bytes + (h->kept_room != 0 ? 1 : 0);
}

static void take_from(struct xs_heap *h)
{
    xs_large_empty_hot(h);
    xs_large_drop_room(h);
    xs_heap_release_kept(h);
    h->chunk_least = 0;
    h->kept_least = 0;
}

/* ---- all ---------------------------------------------------------------------------------- */

/* Nothing was done with the heap since the last visit; what is seen is noted. */
__attribute__((no_sanitize("thread"))) static bool is_unused(struct xs_heap *h)
{
    uint64_t frees = h->counts.frees;
    int64_t left = h->counts.until_tick;
    bool same = frees == h->seen_frees && left == h->seen_left;

    h->seen_frees = frees;
    h->seen_left = left;
    return same;
}

/* Nothing to tell a thread of another's stores to its own variables by. */
#ifdef __SANITIZE_THREAD__
#define MAY_TAKE_ALL false
#else
#define MAY_TAKE_ALL true
#endif

/* Of a heap that is visited, and whose owner is not in a slow path. */
static void take_all(struct xs_heap *h)
{
    struct xs_heap *mine = __atomic_load_n(h->owner_mine, __ATOMIC_RELAXED);
    struct xs_heap *away = __atomic_load_n(h->owner_away, __ATOMIC_RELAXED);

    /* Who finds no heap finds this. */
    __atomic_store_n(h->owner_away, h, __ATOMIC_RELAXED);
    bool done = fence_everywhere();
    __atomic_store_n(h->owner_mine, &xs_heap_none, __ATOMIC_SEQ_CST);
    atomic_thread_fence(memory_order_seq_cst);
    if (done && xs_asleep(atomic_load_explicit(&h->owner, memory_order_relaxed), h->owner_top) &&
        !atomic_load_explicit(&h->is_waiting, memory_order_relaxed)) {
        xs_heap_flush_objects(h);
        xs_heap_release_alone(h);
        h->is_all_taken = true;
    }
    /* In this order: see xs_heap_enter_slow. */
    __atomic_store_n(h->owner_mine, mine, __ATOMIC_RELEASE);
    __atomic_store_n(h->owner_away, away, __ATOMIC_RELEASE);
}

/* Under xs_heaps_lock. True: it keeps something. */
static bool visit(struct xs_heap *h)
{
    uint32_t turn = atomic_load_explicit(&h->turn, memory_order_relaxed);
    bool rests = turn == h->seen_turn && turn % 2 == 0;
    bool is_unused_now = is_unused(h);
    bool keeps_something = keeps(h) != 0;

    h->seen_turn = turn;
    if (!is_unused_now)
        h->is_all_taken = false;
    if (h->is_lost || atomic_load_explicit(&h->is_idle, memory_order_relaxed))
        return false;
    bool wants_all = MAY_TAKE_ALL && !h->is_all_taken && h->tries_all < TRIES_ALL &&
                     atomic_load_explicit(&h->owner, memory_order_acquire) != 0;
    if (!is_unused_now)
        h->tries_all = 0;
    if (!keeps_something && !wants_all)
        return false;
    if (!rests)
        return true;
    atomic_store_explicit(&h->is_visited, true, memory_order_seq_cst);
    /* Acquire pairs with xs_heap_end. */
    if (fence_everywhere() && atomic_load_explicit(&h->turn, memory_order_seq_cst) % 2 == 0) {
        take_from(h);
        if (wants_all && is_unused_now &&
            atomic_load_explicit(&h->owner, memory_order_relaxed) != 0) {
            h->tries_all++;
            take_all(h);
        }
    }
    h->seen_turn = atomic_load_explicit(&h->turn, memory_order_relaxed);
    atomic_store_explicit(&h->is_visited, false, memory_order_release);
    return true;
}

bool xs_heap_visit(void)
{
    bool any = false;

    xs_heap_age_idle();
    /* A fork must not find a visit half done. */
    xs_lock_take(&xs_heaps_lock);
    for (struct xs_heap *h = xs_heap_all(); h != NULL; h = h->next)
        any |= visit(h);
    xs_lock_give(&xs_heaps_lock);
    return any;
}
