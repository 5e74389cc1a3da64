/* Heaps: malloc and free of objects in slabs, and the calls of core/heap.h. */
#include <errno.h>
#include <string.h>

#include "base/align.h"
#include "core/pressure.h"
#include "core/thread_heap.h"
#include "sys/die.h"
#include "sys/mem.h"

/* A chain of freed objects is handed over when it has so many, or so many bytes. Of the smallest,
 * of which no magazine takes any (XS_CLASS_MIXED), more. */
#define SEND_OBJECTS 32u
#define SEND_SMALL   256u
#define SEND_BYTES   ((size_t)8 << 10)

/* Frees are counted in such chains: in one of so many, who frees others' objects looks at the
 * clock. */
#define CHAINS_A_LOOK 8

/* ---- allocation ------------------------------------------------------------------------- */

/* Objects up to this size are cleared in place: a call of memset would take as long as all else. */
#define CLEAR_MAX 128u

/* Chunks that are handed out between two looks: some MiB, as of small blocks, since to read the
 * clock takes as long as all else. And frees, of which one that puts a chunk into a magazine looks:
 * fewer than one in a thousand, or these would be the slowest. */
#define CHUNKS_A_LOOK 64
#define KEPT_A_LOOK   2048

/* After a block of this size it is always looked. */
#define LOOK_BYTES ((size_t)1 << 20)

/* Such arrays are asked for by what the largest case needs, and programs may use little of them:
 * what of it has no memory is to stay without. Looking takes 3 to 8 % of the time of writing to
 * all. */
#define SPARSE_FROM ((size_t)4 << 20)

void (*_Atomic xs_heap_look)(void);

static void look(void)
{
    void (*f)(void) = atomic_load_explicit(&xs_heap_look, memory_order_relaxed);

    if (f != NULL)
        f();
}

static void look_for_unneeded(struct xs_heap *h)
{
    xs_pressure_poll();
    xs_heap_age_idle();
    if (xs_span_in_hurry())
        xs_heap_flush(h);
    bool begun = xs_heap_begin(h);
    xs_heap_rest_deep(h);
    xs_heap_keep_current(h);
    /* What was never needed since the last look will not be missed. */
    if (h->kept_least > 0 || xs_span_in_hurry())
        xs_heap_release_kept(h);
    if (h->chunk_least > 0 || xs_span_in_hurry())
        xs_large_empty_hot(h);
    xs_large_give_leaving(h);
    if (h->kept_room_is_old)
        xs_large_drop_room(h);
    h->kept_room_is_old = h->kept_room != 0;
    h->kept_least = h->kept_bytes;
    h->chunk_least = h->chunk_bytes;
    xs_heap_end(h, begun);
    if (xs_span_hurry_is() == XS_HURRY_NOW)
        xs_heap_purge_own(h);
}

bool xs_heap_tick_over(struct xs_heap *h)
{
    bool is_sampled;
    bool is_timed;
    bool is_look = xs_heap_window_is_over(h, &is_sampled, &is_timed);
    bool is_late = is_look && xs_span_tick();
    bool is_near = is_look && xs_pressure_is_near();

    enum xs_hurry hurry = xs_span_hurry_is();

    if (is_late || is_near || (is_look && hurry != XS_HURRY_NONE))
        h->look_bytes = XS_HEAP_TICK_LEAST_BYTES;
    else if (is_look && h->look_bytes < XS_HEAP_TICK_MOST_BYTES)
        h->look_bytes = h->look_bytes == 0 ? XS_HEAP_TICK_LEAST_BYTES : h->look_bytes * 2;
    int64_t window = xs_heap_next_window(h, is_look ? h->look_bytes : 0);

    uint32_t ticks = atomic_load_explicit(&h->counts.ticks, memory_order_relaxed);
    atomic_store_explicit(&h->counts.ticks, ticks + 1, memory_order_relaxed);
    atomic_thread_fence(memory_order_release);
    h->counts.requested += window - h->counts.until_tick;
    h->counts.until_tick = window;
    atomic_store_explicit(&h->counts.ticks, ticks + 2, memory_order_release);
    if (is_look)
        look();
    if (is_near)
        xs_pressure_poll();
    if (is_late || (is_look && hurry == XS_HURRY_NOW))
        look_for_unneeded(h);
    /* Not both at once: for the sampled block the heap is needed. */
    if (is_timed && !is_sampled)
        xs_heap_time_next(h);
    return is_sampled;
}

void *xs_heap_tick(size_t size, void *p, struct xs_heap *h)
{
    int saved = errno;

    if (xs_heap_tick_over(h))
        p = xs_heap_sampled(p, size);
    errno = saved;
    return p;
}

/* From a slab that becomes the class's current one; NULL: no memory. */
XS_INLINE void *take_from_next(struct xs_heap *h, unsigned class)
{
    bool begun = xs_heap_begin(h);
    struct xs_slab *s = xs_heap_next_slab(h, class);
    xs_heap_end(h, begun);
    void *p = s != NULL ? xs_slab_take(s) : NULL;

    if (p != NULL)
        xs_heap_count_taken(h, XS_MAGAZINE_OF(class));
    return p;
}

XS_COLD static void *refill_slow(size_t size)
{
    if (xs_heap_away != NULL)
        return xs_heap_malloc_timed(size);
    struct xs_heap *h = xs_heap_enter();
    if (h == NULL)
        return xs_heap_fail(size, 0);
    xs_heap_want_end();
    unsigned class = xs_heap_open_class(h, size);
    size_t place = XS_MAGAZINE_OF(class);
    /* A heap on loan, or adopted, may have something. */
    void *p = xs_magazine_pop(h, place);
    if (p != NULL)
        xs_heap_count_taken(h, place);
    if (p == NULL && h->hot.current[place] == &xs_slab_none)
        p = xs_heap_borrow(h, class);
    if (p == NULL)
        p = take_from_next(h, class);
    bool is_due = p != NULL && (h->counts.until_tick -= (int64_t)size) < 0 && h == xs_heap_mine;
    xs_heap_leave(h);
    if (p == NULL)
        return xs_heap_fail(size, 0);
    return is_due ? xs_heap_tick(size, p, h) : p;
}

static __attribute__((noinline)) void *reuse(size_t size, size_t place, struct xs_heap *h)
{
    struct xs_slab *s = h->hot.current[place];

    (void)xs_slab_take_remote(s);
    (void)xs_slab_use_chain(s);
    void *p = xs_slab_take(s);
    if (p == NULL)
        return refill_slow(size);
    xs_heap_count_taken(h, place);
    return (h->counts.until_tick -= (int64_t)size) >= 0 ? p : xs_heap_tick(size, p, h);
}

/* The current slab is used up. */
static __attribute__((noinline)) void *refill_next(size_t size, size_t place, struct xs_heap *h)
{
    void *p = take_from_next(h, (unsigned)place - 1);

    if (p == NULL)
        return xs_heap_fail(size, 0);
    return (h->counts.until_tick -= (int64_t)size) >= 0 ? p : xs_heap_tick(size, p, h);
}

/* Straight from the slab: to fill the magazine first would cost more than it saves, and what is in
 * it keeps slabs from getting empty. All calls are jumps, so no register need be saved. */
XS_LINE void *xs_heap_refill(size_t size, size_t place, struct xs_heap *h)
{
    struct xs_slab *s = h->hot.current[place];

    if (XS_UNLIKELY(s == &xs_slab_none))
        return refill_slow(size);
    /* What others freed is used again before memory that was never used. */
    if (s->free == NULL &&
        XS_UNLIKELY(s->chains != NULL || atomic_load_explicit(&s->remote, memory_order_relaxed)))
        return reuse(size, place, h);
    void *p = xs_slab_take(s);
    if (XS_UNLIKELY(p == NULL))
        return refill_next(size, place, h);
    xs_heap_count_taken(h, place);
    if (XS_UNLIKELY((h->counts.until_tick -= (int64_t)size) < 0))
        return xs_heap_tick(size, p, h);
    return p;
}

XS_COLD static void *large_malloc(size_t size, size_t align, bool *is_zero)
{
    struct xs_heap *h = xs_heap_enter();
    void *p = xs_large_malloc(h, size, align, is_zero);
    bool is_turn = xs_heap_is_none(h) || ++h->chunks_out % CHUNKS_A_LOOK == 0;

    if (p != NULL)
        xs_heap_count_request(h, size);
    if (h != NULL)
        xs_heap_leave(h);
    if (p != NULL && xs_heap_sample_due(size))
        (void)xs_sample_take(p, size);
    if (is_turn || size >= LOOK_BYTES)
        look();
    if (p == NULL)
        return xs_heap_fail(size, align);
    if (is_turn && h == xs_heap_mine)
        xs_heap_time_large(h, CHUNKS_A_LOOK);
    return p;
}

/* A chunk from a magazine, or NULL. */
XS_INLINE void *pop_chunk(struct xs_heap *h, size_t size)
{
    unsigned class = xs_class_of_upper(size);
    unsigned from = class;

    if (xs_magazine_is_empty(&h->hot, XS_MAGAZINE_OF(from))) {
        /* One of the next class will do, too. */
        if (!h->takes_next || ++from == XS_CLASS_COUNT ||
            xs_magazine_is_empty(&h->hot, XS_MAGAZINE_OF(from)))
            return NULL;
    }
    bool begun = xs_heap_begin(h);
    void *p = xs_magazine_pop(h, XS_MAGAZINE_OF(from));
    if (XS_LIKELY(p != NULL)) {
        XS_COUNT(h->counts.requested, (int64_t)size);
        XS_COUNT(h->counts.taken[class], 1);
        h->chunk_bytes -= xs_class_bytes_upper(from);
        if (h->chunk_bytes < h->chunk_least)
            h->chunk_least = h->chunk_bytes;
        h->chunks_out++;
        /* Who got his block at once has the time. */
        if (h->chunk_bytes > h->chunk_enough)
            xs_large_make_room(h);
    }
    xs_heap_end(h, begun);
    return p;
}

/* What is to be seen to after some, or all, of those. */
static bool is_pop_due(const struct xs_heap *h)
{
    return h->chunks_out % CHUNKS_A_LOOK == 0 || xs_sample_is_in_core;
}

static __attribute__((noinline)) void *see_to_popped(struct xs_heap *h, void *p, size_t size)
{
    bool is_look = h->chunks_out % CHUNKS_A_LOOK == 0;

    if (is_look)
        look();
    if (xs_heap_sample_due(size))
        (void)xs_sample_take(p, size);
    if (is_look)
        xs_heap_time_large(h, CHUNKS_A_LOOK);
    return p;
}

static __attribute__((noinline)) void *malloc_chunk_slow(size_t size)
{
    bool is_zero;

    return xs_heap_away != NULL ? xs_heap_malloc_timed(size) : large_malloc(size, 0, &is_zero);
}

XS_LINE static __attribute__((noinline)) void *malloc_chunk(size_t size, struct xs_heap *h)
{
    void *p = size <= XS_CLASS_MAX_BYTES ? pop_chunk(h, size) : NULL;

    if (XS_UNLIKELY(p == NULL))
        return malloc_chunk_slow(size);
    return XS_UNLIKELY(is_pop_due(h)) ? see_to_popped(h, p, size) : p;
}

XS_LINE void *xs_heap_malloc_above(size_t size)
{
    struct xs_heap *h = xs_heap_mine;

    if (size > XS_SLAB_MAX_BYTES)
        return malloc_chunk(size, h);
    size_t place = XS_MAGAZINE_OF((size_t)xs_class_of_upper(size));
    void *p = xs_magazine_pop(h, place);
    if (p == NULL) {
        /* Not open, as all of xs_heap_none's. */
        if (XS_UNLIKELY(h->hot.current[place] == NULL))
            return refill_slow(size);
        return xs_heap_refill(size, place, h);
    }
    xs_heap_count_taken(h, place);
    return (h->counts.until_tick -= (int64_t)size) >= 0 ? p : xs_heap_tick(size, p, h);
}

void *xs_heap_malloc(size_t size)
{
    return xs_heap_malloc_inline(size);
}

static __attribute__((noinline)) void *zalloc_chunk(size_t size)
{
    struct xs_heap *h = xs_heap_here();
    void *p = size <= XS_CLASS_MAX_BYTES ? pop_chunk(h, size) : NULL;
    bool is_zero = false;

    if (p == NULL)
        p = large_malloc(size, 0, &is_zero);
    else if (is_pop_due(h))
        (void)see_to_popped(h, p, size);
    if (p == NULL || is_zero)
        return p;
    if (size < SPARSE_FROM)
        return memset(p, 0, size);
    xs_mem_clear(p, size);
    return p;
}

/* An object has whole 16 bytes. */
XS_INLINE void *clear_object(void *p, size_t size)
{
    typedef long long two __attribute__((vector_size(16), may_alias));

    if (size > CLEAR_MAX)
        return memset(p, 0, size);
    two *at = p;
    two *end = at + (size + 15) / 16;
    for (; end - at >= 4; at += 4) {
        at[0] = at[1] = at[2] = at[3] = (two){0, 0};
        __asm__("" : "+r"(at)); /* else the compiler calls memset after all */
    }
    for (; at != end; at++) {
        *at = (two){0, 0};
        __asm__("" : "+r"(at));
    }
    return p;
}

XS_LINE void *xs_heap_zalloc(size_t size)
{
    if (XS_UNLIKELY(size > XS_SLAB_MAX_BYTES))
        return zalloc_chunk(size);
    void *p = xs_heap_malloc_inline(size);
    return XS_UNLIKELY(p == NULL) ? p : clear_object(p, size);
}

/* An object of `bytes`, for a request of `size`: that is what is counted. */
static void *aligned_object(size_t bytes, size_t align, size_t size)
{
    void *p = xs_heap_malloc_inline(bytes);

    if (p == NULL) {
        xs_heap_forgive(bytes);
        return xs_heap_fail(size, align);
    }
    if (xs_heap_has_lent() && !xs_heap_owns(p)) {
        p = xs_heap_lend(p, align, size);
        return p != NULL ? p : xs_heap_fail(size, align);
    }
    xs_heap_uncount_request(bytes);
    xs_heap_count_request(xs_heap_mine, size);
    return p;
}

void *xs_heap_memalign(size_t align, size_t size)
{
    bool is_zero;

    if (align <= 16)
        return xs_heap_malloc_inline(size);
    if (size <= XS_SLAB_MAX_BYTES && align <= XS_SPAN_PAGE) {
        /* Slabs begin on a page, so every object of a size that is a multiple is aligned. */
        size_t bytes = xs_class_bytes(xs_class_of(size > align ? size : align));
        while (bytes <= XS_SLAB_MAX_BYTES && bytes % align != 0)
            bytes = xs_class_bytes(xs_class_of(bytes + 1));
        if (bytes <= XS_SLAB_MAX_BYTES)
            return aligned_object(bytes, align, size);
    }
    if (size > XS_SIZE_MAX_REQUEST || align > XS_SIZE_MAX_REQUEST - size)
        return xs_heap_fail(size, 0);
    return large_malloc(size, align, &is_zero);
}

/* ---- free ------------------------------------------------------------------------------- */

/* Where free objects of a slab lie. Its heap's thread, and others, may be at them meanwhile, so
 * each step has to lead to one that bears the mark; `left` bounds them all. */
__attribute__((no_sanitize("thread"))) static bool
in_list(const struct xs_slab *s, void *const *list, const void *p, uint32_t *left)
{
    for (; *left > 0 && xs_slab_contains(s, list) && (uintptr_t)list % 16 == 0 &&
           xs_may_be_marked(list, XS_FREE_MARK);
         list = __atomic_load_n(list, __ATOMIC_RELAXED), --*left)
        if (list == p)
            return true;
    return false;
}

__attribute__((no_sanitize("thread"))) static bool in_chains(const struct xs_slab *s, void **chain,
                                                             const void *p, uint32_t *left)
{
    for (; *left > 0 && xs_slab_contains(s, chain); chain = xs_chain_next(chain))
        if (in_list(s, (void *const *)chain, p, left))
            return true;
    return false;
}

/* Chains in being. */
__attribute__((no_sanitize("thread"))) static bool in_sends(const struct xs_slab *s, const void *p,
                                                            uint32_t *left)
{
    for (struct xs_heap *h = xs_heap_all(); h != NULL; h = h->next) {
        const struct xs_send *c = xs_heap_send_of(h, s);
        if (c->room != 0 && c->slab == s && in_list(s, (void *const *)c->head, p, left))
            return true;
    }
    return false;
}

__attribute__((no_sanitize("thread"))) XS_COLD void xs_heap_die_if_free(const void *p,
                                                                        uint64_t entry)
{
    const struct xs_slab *s = XS_ENTRY_SLAB(entry);
    uint32_t left = (uint32_t)(xs_slab_span_bytes(s->kind) / s->size);
    uint64_t remote = atomic_load_explicit(&s->remote, memory_order_acquire);

    /* Where nothing was handed out since the slab was last empty, everything is free. */
    if ((const char *)p >= s->bump || xs_heap_any_holds(p, XS_ENTRY_CLASS(entry)) ||
        in_list(s, (void *const *)s->free, p, &left) || in_chains(s, s->chains, p, &left) ||
        in_chains(s, XS_REMOTE_LIST(remote), p, &left) || in_sends(s, p, &left))
        xs_die("double free", p);
}

XS_COLD static void put_marked(struct xs_heap *h, void *p, uint64_t entry)
{
    xs_heap_die_if_free(p, entry);
    /* The program wrote the mark itself, by copying from a free block. */
    xs_heap_put_object(h, p, entry);
}

/* Of the last slab where this came to pass the record is in the cache, but blocks that are freed in
 * no order lie in many: then it would be waited for. */
XS_LINE void xs_heap_put_late(void *p, struct xs_heap *h, struct xs_slab *s)
{
    struct xs_slab *last = h->late_slab;
    void *late = h->late;

    xs_prefetch_write(s);
    h->late = p;
    h->late_slab = s;
    ((uintptr_t *)p)[1] = XS_FREE_MARK;
    if (XS_LIKELY(late != NULL) && xs_heap_put_back(late, last))
        xs_heap_settle_freed(last, h);
}

/* As xs_heap_free_inline, where the tag does not tell whose it is; counted already. */
static void put_own(struct xs_heap *h, void *p, uint64_t entry)
{
    uintptr_t *word = p;

    if (xs_may_be_marked(p, XS_FREE_MARK)) {
        put_marked(h, p, entry);
        return;
    }
    size_t place = XS_ENTRY_MAGAZINE(entry);
    if (xs_magazine_has_room(&h->hot, place)) {
        xs_magazine_push(&h->hot, place, p);
        word[1] = XS_FREE_MARK;
    } else {
        xs_heap_put_object(h, p, entry);
    }
}

static void send_chain(struct xs_send *c)
{
    struct xs_slab *s = c->slab;
    uint32_t n = c->most - c->room;

    c->room = 0; /* first: what follows may wait, and be visited */
    if (xs_slab_push_remote(s, c->head, n))
        xs_heap_notify(s);
}

void xs_heap_send_all(struct xs_heap *h)
{
    for (unsigned i = 0; i < XS_SENDS; i++)
        if (h->send[i].room != 0)
            send_chain(&h->send[i]);
}

/* An object of another heap's slab that xs_heap_send_inline did not take. */
static void send_object(struct xs_heap *h, void *p, uint64_t entry)
{
    struct xs_slab *s = XS_ENTRY_SLAB(entry);
    struct xs_send *c = xs_heap_send_of(h, s);
    uintptr_t *word = p;

    if (XS_UNLIKELY(xs_may_be_marked(p, XS_FREE_MARK)))
        xs_heap_die_if_free(p, entry);
    if (c->room != 0 && (c->slab != s || c->room == 1))
        send_chain(c);
    if (c->room == 0) {
        unsigned class = XS_ENTRY_CLASS(entry);
        size_t most = SEND_BYTES / xs_class_bytes(class);
        size_t bound = class < XS_CLASS_MIXED ? SEND_SMALL : SEND_OBJECTS;
        if (most > bound)
            most = bound;
        c->slab = s;
        xs_prefetch_write(&s->remote); /* for when it is handed over */
        /* One more than is ever used, so that a chain in being is told from none. */
        c->most = (uint32_t)(most == 0 ? 1 : most) + 1;
        c->room = c->most;
        c->head = NULL;
    }
    *(void **)p = c->head;
    word[1] = XS_FREE_MARK;
    c->head = p;
    /* A full chain goes with the first object of the next one, as to begin that is slow anyway; a
     * large object at once. */
    if (--c->room == 1 && c->most == 2)
        send_chain(c);
}

static __attribute__((noinline)) void free_slower(void *p, uint64_t entry)
{
    int saved = errno;
    struct xs_sampled was;
    bool is_due = true;

    if (xs_heap_away != NULL) {
        xs_heap_free_timed(p, entry);
        return;
    }
    struct xs_heap *h = xs_heap_enter();
    xs_heap_count_frees(h, 1);
    if (!xs_entry_is_object(entry)) {
        (void)xs_sample_forget(p, &was);
        bool begun = h != NULL && xs_heap_begin(h);
        bool is_kept = xs_large_free(h, p, entry);
        if (h != NULL) {
            xs_heap_end(h, begun);
            /* What it keeps for its next request makes nothing old: then not every time. */
            is_due = !is_kept || h->counts.frees % KEPT_A_LOOK == 0;
        }
    } else if (h == NULL) {
        struct xs_slab *s = XS_ENTRY_SLAB(entry);
        *(void **)p = NULL;
        if (xs_slab_push_remote(s, p, 1))
            xs_heap_notify(s);
    } else if (xs_heap_has(h, entry)) {
        put_own(h, p, entry);
    } else {
        send_object(h, p, entry);
        is_due = h->counts.frees / SEND_OBJECTS % CHAINS_A_LOOK == 0;
    }
    if (h != NULL)
        xs_heap_leave(h);
    if (is_due)
        xs_heap_look_for_old();
    if (h == xs_heap_mine)
        xs_heap_time_freed(h);
    errno = saved;
}

XS_COLD void xs_heap_free_marked(void *p, struct xs_heap *h, uint64_t entry)
{
    if (XS_ENTRY_TAG(entry) != h->tag) {
        free_slower(p, entry);
        return;
    }
    XS_COUNT(h->counts.frees, 1);
    put_marked(h, p, entry);
}

/* After a chunk went into a magazine. */
static __attribute__((noinline)) void see_to_kept(struct xs_heap *h)
{
    int saved = errno;

    xs_heap_look_for_old();
    xs_heap_time_freed(h);
    errno = saved;
}

XS_LINE static __attribute__((noinline)) void free_chunk(void *p, uint64_t entry)
{
    struct xs_heap *h = xs_heap_mine;

    if (XS_UNLIKELY(xs_table_may_hold(0, p) || !xs_large_keep(h, p, entry))) {
        free_slower(p, entry);
        return;
    }
    XS_COUNT(h->counts.frees, 1);
    /* What it keeps for its next request makes nothing old: then not every time. */
    if (XS_UNLIKELY(h->counts.frees % KEPT_A_LOOK == 0))
        see_to_kept(h);
}

/* A block that xs_heap_free_inline did not take. xs_heap_none takes nothing. */
XS_LINE void xs_heap_free_slow(void *p, uint64_t entry)
{
    struct xs_heap *h = xs_heap_mine;

    if (!xs_entry_is_object(entry))
        free_chunk(p, entry);
    else if (XS_LIKELY(XS_ENTRY_TAG(entry) != h->entry_tag && xs_heap_send_inline(h, p, entry)))
        XS_COUNT(h->counts.frees, 1);
    else
        free_slower(p, entry);
}

bool xs_heap_free(void *p)
{
    return xs_heap_free_at(p, xs_page_map_get(p));
}

void xs_heap_empty_magazine(struct xs_heap *h, size_t place)
{
    for (void *p; (p = xs_magazine_take(&h->hot, place)) != NULL;) {
        uint64_t entry = xs_page_map_get(p);
        if (!xs_heap_has(h, entry)) {
            ((uintptr_t *)p)[1] = 0; /* marked it would be looked for everywhere */
            send_object(h, p, entry);
        } else if (xs_heap_put_back(p, XS_ENTRY_SLAB(entry)))
            (void)xs_heap_settle_alone(h, XS_ENTRY_SLAB(entry));
    }
}

void xs_heap_flush_objects(struct xs_heap *h)
{
    if (h->late != NULL && xs_heap_put_back(h->late, h->late_slab))
        (void)xs_heap_settle_alone(h, h->late_slab);
    h->late = NULL;
    h->late_slab = NULL;
    for (unsigned c = 0; c < XS_CLASS_SLABS; c++)
        xs_heap_empty_magazine(h, XS_MAGAZINE_OF(c));
    xs_heap_send_all(h);
}

void xs_heap_flush(struct xs_heap *h)
{
    bool begun = xs_heap_begin(h);

    xs_heap_flush_objects(h);
    xs_large_empty_hot(h);
    xs_large_give_room(h);
    xs_large_drop_room(h);
    xs_heap_end(h, begun);
}

void xs_heap_release_alone(struct xs_heap *h)
{
    xs_heap_drain(h);
    xs_heap_keep_current(h);
    xs_heap_release_kept(h);
}

void xs_heap_release(struct xs_heap *h)
{
    bool begun = xs_heap_begin(h);

    xs_heap_release_alone(h);
    xs_heap_end(h, begun);
}

size_t xs_heap_usable_size(const void *p)
{
    uint64_t entry = xs_page_map_get(p);

    return xs_entry_is_object(entry) ? xs_class_bytes(XS_ENTRY_CLASS(entry))
                                     : xs_large_usable(p, entry);
}

bool xs_heap_owns(const void *p)
{
    return XS_PAGE_MAP_OWNER(xs_page_map_get(p)) == XS_OWNER_BFC;
}
