/* Visits to the heaps of threads that sleep, which cannot give back what they keep. */
#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/thread_heap.h"

#define PAUSE_NS 20000

void xs_heap_wait_visit(struct xs_heap *h, uint32_t turn)
{
    do {
        atomic_store_explicit(&h->turn, turn, memory_order_release);
        while (atomic_load_explicit(&h->is_visited, memory_order_acquire))
            xs_pause_ns(PAUSE_NS);
        /* Rare enough for a whole fence. */
        (void)atomic_exchange_explicit(&h->turn, turn + 1, memory_order_seq_cst);
    } while (atomic_load_explicit(&h->is_visited, memory_order_seq_cst));
}

/* Every thread of the process passes a fence: who stored before it is seen, who did not sees us. */
static bool fence_everywhere(void)
{
    return syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0) == 0;
}

/* Racy reads: whoever changes these now will be seen again at the next visit. */
__attribute__((no_sanitize("thread"))) static uint64_t keeps(const struct xs_heap *h)
{
    return h->kept_bytes + h->chunk_bytes + (h->kept_room != 0 ? 1 : 0);
}

static void take_from(struct xs_heap *h)
{
    xs_large_empty_hot(h);
    xs_large_drop_room(h);
    xs_heap_release_kept(h);
    h->chunk_least = 0;
    h->kept_least = 0;
}

bool xs_heap_visit(void)
{
    struct xs_heap *asleep[32];
    unsigned n = 0;
    bool any = false;

    xs_heap_age_idle();
    /* A fork must not find a visit half done. */
    xs_lock_take(&xs_heaps_lock);
    for (struct xs_heap *h = xs_heap_all(); h != NULL; h = h->next) {
        uint32_t turn = atomic_load_explicit(&h->turn, memory_order_relaxed);
        bool rests = turn == h->seen_turn && turn % 2 == 0;
        h->seen_turn = turn;
        if (keeps(h) == 0 || atomic_load_explicit(&h->is_idle, memory_order_relaxed))
            continue;
        any = true;
        if (!rests || n == XS_COUNT_OF(asleep))
            continue;
        atomic_store_explicit(&h->is_visited, true, memory_order_seq_cst);
        asleep[n++] = h;
    }
    bool fenced = n != 0 && fence_everywhere();
    for (unsigned i = 0; i < n; i++) {
        /* Acquire pairs with xs_heap_end. */
        if (fenced && atomic_load_explicit(&asleep[i]->turn, memory_order_seq_cst) % 2 == 0)
            take_from(asleep[i]);
        atomic_store_explicit(&asleep[i]->is_visited, false, memory_order_release);
    }
    xs_lock_give(&xs_heaps_lock);
    return any;
}
