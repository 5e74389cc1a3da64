/* Timed calls of malloc and free (stats/latency.h), without anything on the fast paths: a look at
 * the clock now and then takes the thread's heap away and leaves xs_heap_none in its place, whose
 * every call is a slow one. The slow path finds the heap here and puts it back, and what it then
 * does in full between two readings of the clock is the call as it would have been. */
#include "core/thread_heap.h"
#include "stats/latency.h"

/* Bytes from one timed call to the next: few at first, so that short runs have some, then twice as
 * many after each so many samples. Each makes up to sixteen calls slow: all of them must be fewer
 * than the slowest in a thousand, or the program is slower for being looked at. */
#define GAP_LEAST     ((int64_t)16 << 10)
#define GAP_DOUBLINGS 8u
#define GAP_SAMPLES   64u

/* Where blocks are large it is so many doublings more after the first of these, so that between two
 * timed requests there are about as many others as where they are small. */
#define GAP_WIDER    8u
#define GAP_REQUESTS ((uint64_t)64)

/* Large requests are not counted down, but one in so many is followed by a timed call: at first, as
 * above. */
#define LARGE_A_SAMPLE  64u
#define LARGE_DOUBLINGS 6u
#define LARGE_SAMPLES   32u

XS_TLS struct xs_heap *xs_heap_away;

/* After so many frees of which none was timed one is asked for. */
#define FREES_A_SAMPLE 8192u

static uint32_t next_random(struct xs_heap *h)
{
    h->time_random = h->time_random * 1664525u + 1013904223u;
    return h->time_random;
}

static void take_away(struct xs_heap *h)
{
    if (!xs_latency_is_in_core)
        return;
    bool begun = xs_heap_begin(h);
    if (h == xs_heap_mine) {
        xs_heap_away = h;
        xs_heap_mine = &xs_heap_none;
    }
    xs_heap_end(h, begun);
}

bool xs_heap_back(void)
{
    struct xs_heap *h = xs_heap_away;

    if (XS_LIKELY(h == NULL))
        return false;
    bool begun = xs_heap_begin(h);
    xs_heap_mine = h;
    xs_heap_away = NULL;
    xs_heap_end(h, begun);
    return true;
}

/* Which of the next sixteen calls it is, so that what always follows a large block is not all that
 * is ever seen, and where several blocks are got and then freed, frees are not all. */
void xs_heap_time_next(struct xs_heap *h)
{
    h->time_skip = next_random(h) >> 28;
    take_away(h);
}

/* In a child of fork the counts began anew. */
static bool is_free_due(struct xs_heap *h)
{
    uint64_t frees = h->counts.frees;

    if (frees < h->timed_near)
        h->timed_near = h->settled_frees = frees;
    return frees - h->timed_near >= FREES_A_SAMPLE && xs_latency_is_in_core;
}

/* One of the next 32, which is how many go into a chain. */
void xs_heap_time_freed(struct xs_heap *h)
{
    if (!is_free_due(h))
        return;
    h->timed_near = h->counts.frees;
    h->time_skip = next_random(h) >> 27;
    take_away(h);
}

static unsigned doublings(uint32_t times, unsigned samples, unsigned most)
{
    return times / samples < most ? times / samples : most;
}

bool xs_heap_time_is_due(struct xs_heap *h, int64_t over)
{
    h->time_left += over;
    if (h->time_left >= 0)
        return false;
    h->time_left = GAP_LEAST << doublings(h->times++, GAP_SAMPLES, GAP_DOUBLINGS) << h->time_wider;
    return true;
}

void xs_heap_time_large(struct xs_heap *h, uint32_t n)
{
    h->time_large += n;
    if (h->time_large < LARGE_A_SAMPLE << doublings(h->times_large, LARGE_SAMPLES, LARGE_DOUBLINGS))
        return;
    h->time_large = 0;
    h->times_large++;
    xs_heap_time_next(h);
}

/* Requests of the heap so far that were no reallocations. */
static uint64_t requests(const struct xs_heap *h)
{
    uint64_t n = 0 - h->counts.reallocs;

    for (unsigned c = 0; c < XS_CLASS_COUNT; c++)
        n += h->counts.taken[c];
    for (unsigned b = 0; b < XS_SIZE_BINS; b++)
        n += h->counts.odd_taken[b];
    return n;
}

/* The heap is back; true: this is the call to be timed. */
static bool is_turn(struct xs_heap **h)
{
    struct xs_heap *away = xs_heap_away;
    bool is_visited = away == NULL || atomic_load_explicit(&away->is_visited, memory_order_acquire);

    (void)xs_heap_back();
    *h = xs_heap_mine;
    /* It was away for a visitor, or is so no longer. */
    if (is_visited)
        return false;
    if (away->time_skip == 0)
        return xs_latency_is_in_core;
    away->time_skip--;
    return false;
}

static uint64_t since(uint64_t *last, uint64_t now)
{
    uint64_t n = now > *last ? now - *last : 1;

    *last = now;
    return n;
}

/* There were `n` requests since the last one that was timed. */
static void note_malloc(struct xs_heap *h, uint64_t from, uint64_t to, uint64_t n)
{
    uint64_t wanted = GAP_REQUESTS << doublings(h->times, GAP_SAMPLES, GAP_DOUBLINGS);

    if (h->times >= GAP_SAMPLES && n < wanted / 2 && h->time_wider < GAP_WIDER)
        h->time_wider++;
    else if (n > wanted * 8 && h->time_wider > 0)
        h->time_wider--;
    xs_latency_note(XS_LATENCY_MALLOC, from, to, n);
}

static void note_free(struct xs_heap *h, uint64_t from)
{
    uint64_t to = xs_latency_now();

    xs_latency_note(XS_LATENCY_FREE, from, to, since(&h->timed_frees, h->counts.frees));
    h->timed_near = h->timed_frees;
}

/* Slabs are settled some hundreds of frees apart, never soon after another: of all frees since the
 * last such one each has the same chance. */
void xs_heap_settle_freed(struct xs_slab *s, struct xs_heap *h)
{
    bool is_due = is_free_due(h);
    uint64_t frees = h->counts.frees - h->settled_frees;
    bool is_timed = is_due && next_random(h) * frees >> 32 == 0;
    uint64_t from = is_timed ? xs_latency_now() : 0;

    h->settled_frees = h->counts.frees;
    xs_heap_settle(h, s);
    if (is_timed)
        note_free(h, from);
    else
        xs_heap_time_freed(h);
}

void *xs_heap_malloc_timed(size_t size)
{
    struct xs_heap *h;
    bool is_timed = is_turn(&h);
    uint64_t from = is_timed ? xs_latency_now() : 0;
    void *p = xs_heap_malloc_inline(size);

    if (!is_timed) {
        take_away(h);
        return p;
    }
    uint64_t to = xs_latency_now();
    if (p != NULL)
        note_malloc(h, from, to, since(&h->timed_requests, requests(h)));
    return p;
}

void xs_heap_free_timed(void *p, uint64_t entry)
{
    struct xs_heap *h;

    if (!is_turn(&h)) {
        (void)xs_heap_free_at(p, entry);
        take_away(h);
        return;
    }
    h->timed_near = h->counts.frees; /* it asks for no other */
    uint64_t from = xs_latency_now();
    (void)xs_heap_free_at(p, xs_page_map_get(p));
    note_free(h, from);
}
