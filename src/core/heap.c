/* Heaps: malloc and free of objects in slabs, and the calls of core/heap.h. */
#include <errno.h>
#include <string.h>

#include "base/align.h"
#include "core/keeper.h"
#include "core/pressure.h"
#include "core/thread_heap.h"
#include "sys/die.h"

/* A chain of freed objects is handed over when it has so many, or so many bytes. */
#define SEND_OBJECTS    32u
#define SEND_BYTES      ((size_t)8 << 10)

#define RECORDS_AT_ONCE 8u

/* Empty slabs may be so many times what large blocks may be: one that was just emptied is still in
 * the processor's cache, the next one that the BFC gives is not. */
#define KEPT_PER_CACHE 2u

/* One heap may keep so many times more, as long as all that heaps keep beyond their bound is not
 * more than so many caches: few busy threads go without the BFC, many idle ones cost no more. */
#define KEPT_ALONE  4u
#define KEPT_BEYOND 16u

/* ---- slabs of a heap -------------------------------------------------------------------- */

static void link_partial(struct xs_heap *h, struct xs_slab *s)
{
    struct xs_slab *head = h->partial[s->class];

    s->state = XS_SLAB_PARTIAL;
    s->next = head;
    s->prev = NULL;
    if (head != NULL)
        head->prev = s;
    h->partial[s->class] = s;
}

static void unlink_partial(struct xs_heap *h, struct xs_slab *s)
{
    if (s->prev != NULL)
        s->prev->next = s->next;
    else
        h->partial[s->class] = s->next;
    if (s->next != NULL)
        s->next->prev = s->prev;
}

static struct xs_slab *take_record(struct xs_heap *h)
{
    if (h->records == NULL) {
        uint32_t first;
        if (!xs_slab_records(RECORDS_AT_ONCE, &first))
            return NULL;
        for (uint32_t n = RECORDS_AT_ONCE; n > 0; n--) {
            uint32_t i = first + n - 1;
            struct xs_slab *s = xs_slab_at(i);
            s->heap = h;
            s->index = i;
            s->next = h->records;
            h->records = s;
        }
    }
    struct xs_slab *s = h->records;
    h->records = s->next;
    return s;
}

static void give_record(struct xs_heap *h, struct xs_slab *s)
{
    s->state = XS_SLAB_NONE;
    s->next = h->records;
    h->records = s;
}

static void cut(struct xs_heap *h, struct xs_slab *s, unsigned class)
{
    size_t span_bytes = xs_slab_span_bytes(class);

    s->class = (uint8_t) class;
    s->size = (uint32_t)xs_class_bytes(class);
    s->end = s->base + span_bytes / s->size * s->size;
    uint64_t entry = xs_entry_of_object(h->entry_tag, class, s);
    if (s->size < XS_PAGE_MAP_GRANULE) {
        (void)xs_page_map_set(s->base, span_bytes, entry);
    } else {
        /* Only where an object begins is it ever looked up. */
        for (char *p = s->base; p != s->end; p += s->size)
            xs_page_map_put(p, entry);
    }
}

/* What heaps keep beyond their own bound, all together. */
static _Atomic uint64_t kept_beyond;

static uint64_t beyond(const struct xs_heap *h, uint64_t kept_bytes)
{
    uint64_t bound = KEPT_PER_CACHE * h->cache_bytes;

    return kept_bytes > bound ? kept_bytes - bound : 0;
}

/* False, and nothing changed: the heap may not keep so much. */
static bool keep_bytes(struct xs_heap *h, size_t bytes)
{
    uint64_t sum = h->kept_bytes + bytes;
    uint64_t more = beyond(h, sum) - beyond(h, h->kept_bytes);

    if (xs_span_in_hurry())
        return false;
    if (more != 0) {
        if (sum > KEPT_ALONE * (KEPT_PER_CACHE * h->cache_bytes))
            return false;
        uint64_t all = atomic_fetch_add_explicit(&kept_beyond, more, memory_order_relaxed) + more;
        if (all > KEPT_BEYOND * h->cache_bytes) {
            atomic_fetch_sub_explicit(&kept_beyond, more, memory_order_relaxed);
            return false;
        }
    }
    h->kept_bytes = sum;
    return true;
}

static void use_kept(struct xs_heap *h, size_t bytes)
{
    uint64_t rest = h->kept_bytes - bytes;
    uint64_t less = beyond(h, h->kept_bytes) - beyond(h, rest);

    if (less != 0)
        atomic_fetch_sub_explicit(&kept_beyond, less, memory_order_relaxed);
    h->kept_bytes = rest;
    if (rest < h->kept_least)
        h->kept_least = rest;
}

static struct xs_slab *new_slab(struct xs_heap *h, unsigned class)
{
    size_t span_bytes = xs_slab_span_bytes(class);
    unsigned kind = xs_slab_span_kind(class);
    struct xs_slab *s = h->spare[kind];
    struct xs_span span;

    if (s != NULL) {
        h->spare[kind] = s->next;
        use_kept(h, span_bytes);
        if (s->class != class)
            cut(h, s, class);
    } else {
        if (!xs_heap_span(h, span_bytes, 0, &span))
            return NULL;
        s = take_record(h);
        if (s == NULL) {
            xs_span_give(&span.chunk, 1, NULL);
            return NULL;
        }
        s->base = span.p;
        s->chunk = span.chunk;
        s->held = XS_SLAB_HOLDS_NONE;
        cut(h, s, class);
    }
    xs_slab_reset(s);
    return s;
}

/* Every slab on a list of `next`, whose spans go back. */
static void release_list(struct xs_heap *h, struct xs_slab *list)
{
    xs_chunk chunks[32];
    unsigned n = 0;

    while (list != NULL) {
        struct xs_slab *s = list;
        list = s->next;
        chunks[n++] = s->chunk;
        give_record(h, s);
        if (n == XS_COUNT_OF(chunks) || list == NULL) {
            xs_span_give(chunks, n, NULL);
            n = 0;
        }
    }
}

void xs_heap_release_kept(struct xs_heap *h)
{
    for (unsigned kind = 0; kind < XS_SLAB_SPAN_KINDS; kind++) {
        release_list(h, h->spare[kind]);
        h->spare[kind] = NULL;
    }
    for (unsigned c = 0; c < XS_CLASS_SLABS; c++) {
        if (h->empty[c] != NULL)
            h->empty[c]->next = NULL;
        release_list(h, h->empty[c]);
        h->empty[c] = NULL;
    }
    use_kept(h, h->kept_bytes);
}

/* The slab, in no list, has no object handed out. One is kept for its class, so that a program that
 * goes back and forth over the edge of a slab does not make and drop one each time; others for any
 * class. */
static void keep_or_release(struct xs_heap *h, struct xs_slab *s)
{
    size_t span_bytes = xs_slab_span_bytes(s->class);

    xs_slab_reset(s);
    s->next = NULL;
    xs_keeper_poke();
    if (!keep_bytes(h, span_bytes)) {
        xs_heap_release_kept(h);
        if (!keep_bytes(h, span_bytes)) {
            release_list(h, s);
            return;
        }
    }
    if (h->empty[s->class] == NULL) {
        s->state = XS_SLAB_EMPTY;
        h->empty[s->class] = s;
    } else {
        unsigned kind = xs_slab_span_kind(s->class);
        s->state = XS_SLAB_SPARE;
        s->next = h->spare[kind];
        h->spare[kind] = s;
    }
}

static void settle(struct xs_heap *h, struct xs_slab *s)
{
    if (s->state == XS_SLAB_FULL) {
        s->held += XS_SLAB_IS_FULL;
        link_partial(h, s);
    }
    if ((int32_t)s->held >= 0)
        return;
    if (s->held != XS_SLAB_HOLDS_NONE)
        xs_die("invalid or double free", s->base);
    if (s->state == XS_SLAB_CURRENT) {
        /* A small one stays until the next look at the clock. */
        xs_slab_reset(s);
        if (xs_slab_span_kind(s->class) > 0) {
            h->hot[s->class].current = &xs_slab_none;
            keep_or_release(h, s);
        }
    } else if (s->state == XS_SLAB_PARTIAL) {
        unlink_partial(h, s);
        keep_or_release(h, s);
    }
}

void xs_heap_settle(struct xs_heap *h, struct xs_slab *s)
{
    bool begun = xs_heap_begin(h);

    settle(h, s);
    xs_heap_end(h, begun);
    xs_heap_look_for_old();
}

/* The next chain becomes the list, which is used up: false if there is none. */
static bool use_chain(struct xs_heap *h, struct xs_slab *s)
{
    void **chain = s->chains;

    if (chain == NULL)
        return false;
    if (!xs_slab_contains(s, chain))
        xs_slab_die(chain);
    s->chains = xs_chain_next(chain, h->key);
    ((uintptr_t *)chain)[1] = h->key;
    s->free = chain;
    return true;
}

/* Takes over the chains that others handed in: false if there are none. Only the heads are touched:
 * the rest lies in the cache of who freed it. */
static bool take_remote(struct xs_slab *s, uintptr_t key)
{
    /* Acquire pairs with xs_slab_push_remote. */
    uint64_t r = atomic_exchange_explicit(&s->remote, 0, memory_order_acquire);
    void **first = XS_REMOTE_LIST(r);
    uint32_t n = XS_REMOTE_COUNT(r);

    if (r == 0)
        return false;
    if (n > xs_slab_used(s))
        xs_die("double free", first);
    if (s->chains != NULL) {
        void **last = first;
        for (void **next; (next = xs_chain_next(last, key)) != NULL; last = next)
            if (!xs_slab_contains(s, next))
                xs_slab_die(last);
        xs_chain_link(last, s->chains, key);
    }
    s->chains = first;
    s->held -= n;
    return true;
}

void xs_heap_drain(struct xs_heap *h)
{
    bool begun = xs_heap_begin(h);
    struct xs_slab *s = atomic_exchange_explicit(&h->pending, NULL, memory_order_seq_cst);

    while (s != NULL) {
        struct xs_slab *next = s->pending_next;
        /* From here on a push tells again; what came before is seen below. Pairs with notify. */
        (void)atomic_exchange_explicit(&s->is_pending, false, memory_order_acq_rel);
        if (take_remote(s, h->key))
            settle(h, s);
        s = next;
    }
    xs_heap_end(h, begun);
}

static void notify(struct xs_slab *s)
{
    struct xs_heap *h = s->heap;
    struct xs_slab *top;

    if (atomic_exchange_explicit(&s->is_pending, true, memory_order_acq_rel))
        return;
    top = atomic_load_explicit(&h->pending, memory_order_relaxed);
    do
        s->pending_next = top;
    while (!atomic_compare_exchange_weak_explicit(&h->pending, &top, s, memory_order_seq_cst,
                                                  memory_order_relaxed));
    /* Either this sees that the heap is idle, or who made it so sees the slab: one order for the
     * four. */
    if (atomic_load_explicit(&h->is_idle, memory_order_seq_cst))
        xs_heap_help(h);
}

/* ---- allocation ------------------------------------------------------------------------- */

static struct xs_slab *next_slab(struct xs_heap *h, unsigned class)
{
    struct xs_slab *s;

    /* First: it may take the current slab away. */
    if (atomic_load_explicit(&h->pending, memory_order_relaxed) != NULL)
        xs_heap_drain(h);
    s = h->hot[class].current;
    if (s != &xs_slab_none) {
        (void)take_remote(s, h->key);
        if (s->free != NULL || s->bump != s->end || use_chain(h, s))
            return s;
        s->state = XS_SLAB_FULL;
        s->held += XS_SLAB_IS_FULL;
        h->hot[class].current = &xs_slab_none;
    }
    s = h->partial[class];
    if (s == NULL && h->empty[class] == NULL) {
        s = new_slab(h, class);
        /* To make room for it others may have been given back, or filled up. */
        if (s == NULL)
            s = h->partial[class];
    }
    if (s == NULL) {
        s = h->empty[class];
        if (s == NULL)
            return NULL;
        h->empty[class] = NULL;
        use_kept(h, xs_slab_span_bytes(class));
    } else if (s->state == XS_SLAB_PARTIAL) {
        unlink_partial(h, s);
        if (s->free == NULL && s->bump == s->end)
            (void)use_chain(h, s);
    }
    s->state = XS_SLAB_CURRENT;
    h->hot[class].current = s;
    return s;
}

/* Empty slabs that are current become ones that are kept, which have a bound. */
static void keep_current(struct xs_heap *h)
{
    for (unsigned c = 0; c < XS_CLASS_SLABS; c++) {
        struct xs_slab *s = h->hot[c].current;
        if (s != &xs_slab_none && xs_slab_used(s) == 0) {
            h->hot[c].current = &xs_slab_none;
            keep_or_release(h, s);
        }
    }
}

/* Chunks that a magazine hands out, and such that go into one, between two looks. */
#define POPS_A_LOOK 16
#define KEPT_A_LOOK 16

void (*_Atomic xs_heap_look)(void);

static void look(void)
{
    void (*f)(void) = atomic_load_explicit(&xs_heap_look, memory_order_relaxed);

    if (f != NULL)
        f();
}

void *xs_heap_tick(struct xs_heap *h, void *p, size_t size)
{
    int saved = errno;
    bool is_late = xs_span_tick();
    bool is_sampled;
    int64_t window =
        xs_heap_next_window(h, is_late ? XS_HEAP_TICK_RARE_BYTES : XS_HEAP_TICK_BYTES, &is_sampled);

    uint32_t ticks = atomic_load_explicit(&h->counts.ticks, memory_order_relaxed);
    atomic_store_explicit(&h->counts.ticks, ticks + 1, memory_order_relaxed);
    atomic_thread_fence(memory_order_release);
    h->counts.requested += window - h->counts.until_tick;
    h->counts.until_tick = window;
    atomic_store_explicit(&h->counts.ticks, ticks + 2, memory_order_release);
    if (is_sampled)
        p = xs_heap_sampled(p, size);
    look();
    if (!is_late)
        return p;
    xs_pressure_poll();
    xs_heap_age_idle();
    bool begun = xs_heap_begin(h);
    keep_current(h);
    /* What was never needed since the last look will not be missed. */
    if (h->kept_least > 0 || xs_span_in_hurry())
        xs_heap_release_kept(h);
    if (h->chunk_least > 0 || xs_span_in_hurry())
        xs_large_empty_hot(h);
    if (h->kept_room_is_old)
        xs_large_drop_room(h);
    h->kept_room_is_old = h->kept_room != 0;
    h->kept_least = h->kept_bytes;
    h->chunk_least = h->chunk_bytes;
    xs_heap_end(h, begun);
    errno = saved;
    return p;
}

XS_COLD static void *refill_slow(size_t size)
{
    unsigned class = xs_class_of(size);
    struct xs_heap *h = xs_heap_enter();
    void *p = NULL;

    if (h == NULL)
        return xs_heap_fail(size);
    xs_heap_want_end();
    /* A heap on loan, or adopted, may have something. */
    struct xs_magazine *m = &h->hot[class];
    if (m->n > 0) {
        p = xs_magazine_pop(h, m);
    } else {
        bool begun = xs_heap_begin(h);
        struct xs_slab *s = next_slab(h, class);
        xs_heap_end(h, begun);
        if (s != NULL)
            p = xs_slab_take(s);
        if (p != NULL)
            xs_heap_count_taken(h, m);
    }
    bool is_due = p != NULL && (h->counts.until_tick -= (int64_t)size) < 0 && h == xs_heap_mine;
    xs_heap_leave(h);
    if (p == NULL)
        return xs_heap_fail(size);
    return is_due ? xs_heap_tick(h, p, size) : p;
}

static __attribute__((noinline)) void *reuse(size_t size, struct xs_magazine *m, struct xs_heap *h)
{
    (void)take_remote(m->current, h->key);
    (void)use_chain(h, m->current);
    void *p = xs_slab_take(m->current);
    if (p == NULL)
        return refill_slow(size);
    xs_heap_count_taken(h, m);
    return (h->counts.until_tick -= (int64_t)size) >= 0 ? p : xs_heap_tick(h, p, size);
}

/* Straight from the slab: to fill the magazine first would cost more than it saves, and what is in
 * it keeps slabs from getting empty. All calls are jumps, so no register need be saved. */
void *xs_heap_refill(size_t size, struct xs_magazine *m, struct xs_heap *h)
{
    struct xs_slab *s = m->current;

    if (XS_UNLIKELY(s == &xs_slab_none))
        return refill_slow(size);
    /* What others freed is used again before memory that was never used. */
    if (s->free == NULL &&
        XS_UNLIKELY(s->chains != NULL || atomic_load_explicit(&s->remote, memory_order_relaxed)))
        return reuse(size, m, h);
    void *p = xs_slab_take(s);
    if (XS_UNLIKELY(p == NULL))
        return refill_slow(size);
    xs_heap_count_taken(h, m);
    if (XS_UNLIKELY((h->counts.until_tick -= (int64_t)size) < 0))
        return xs_heap_tick(h, p, size);
    return p;
}

XS_COLD static void *large_malloc(size_t size, size_t align, bool *is_zero)
{
    struct xs_heap *h = xs_heap_enter();
    void *p = xs_large_malloc(h, size, align, is_zero);

    if (p != NULL)
        xs_heap_count_request(h, size);
    if (h != NULL)
        xs_heap_leave(h);
    if (p != NULL && xs_heap_sample_due(size))
        (void)xs_sample_take(p, size);
    look();
    return p != NULL ? p : xs_heap_fail(size);
}

/* A chunk from a magazine, or NULL. */
static void *pop_chunk(struct xs_heap *h, size_t size)
{
    unsigned class = xs_class_of(size);
    struct xs_magazine *m = &h->hot[class];
    void *p = NULL;

    if (m->n == 0)
        return NULL;
    bool begun = xs_heap_begin(h);
    if (XS_LIKELY(m->n != 0)) {
        XS_COUNT(h->counts.requested, (int64_t)size);
        h->chunk_bytes -= xs_class_bytes(class);
        if (h->chunk_bytes < h->chunk_least)
            h->chunk_least = h->chunk_bytes;
        p = xs_magazine_pop(h, m);
    }
    xs_heap_end(h, begun);
    if (++h->chunk_pops % POPS_A_LOOK == 0)
        look();
    if (p != NULL && xs_heap_sample_due(size))
        (void)xs_sample_take(p, size);
    return p;
}

void *xs_heap_malloc_above(size_t size)
{
    struct xs_heap *h = xs_heap_mine;
    bool is_zero;
    void *p;

    if (size <= XS_SLAB_MAX_BYTES) {
        struct xs_magazine *m = &h->hot[xs_class_of(size)];
        if (XS_UNLIKELY(h == &xs_heap_none)) /* whose upper magazines are blank */
            return refill_slow(size);
        if (m->n == 0)
            return xs_heap_refill(size, m, h);
        p = xs_magazine_pop(h, m);
        return (h->counts.until_tick -= (int64_t)size) >= 0 ? p : xs_heap_tick(h, p, size);
    }
    if (size <= XS_CLASS_MAX_BYTES) {
        p = pop_chunk(h, size);
        if (p != NULL)
            return p;
    }
    return large_malloc(size, 0, &is_zero);
}

void *xs_heap_malloc(size_t size)
{
    return xs_heap_malloc_inline(size);
}

void *xs_heap_zalloc(size_t size)
{
    bool is_zero = false;
    void *p = NULL;

    if (size <= XS_SLAB_MAX_BYTES)
        p = xs_heap_malloc_inline(size);
    else if (size <= XS_CLASS_MAX_BYTES)
        p = pop_chunk(xs_heap_mine, size);
    if (p == NULL && size > XS_SLAB_MAX_BYTES)
        p = large_malloc(size, 0, &is_zero);
    return p == NULL || is_zero ? p : memset(p, 0, size);
}

/* An object of `bytes`, for a request of `size`: that is what is counted. */
static void *aligned_object(size_t bytes, size_t size)
{
    void *p = xs_heap_malloc_inline(bytes);

    if (p == NULL) {
        xs_heap_forgive(bytes);
        return xs_heap_fail(size);
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
        unsigned class = xs_class_of(size > align ? size : align);
        while (class < XS_CLASS_SLABS && xs_class_bytes(class) % align != 0)
            class ++;
        if (class < XS_CLASS_SLABS)
            return aligned_object(xs_class_bytes(class), size);
    }
    if (size > XS_SIZE_MAX_REQUEST || align > XS_SIZE_MAX_REQUEST - size)
        return xs_heap_fail(size);
    return large_malloc(size, align, &is_zero);
}

/* ---- free ------------------------------------------------------------------------------- */

static bool in_list(void *const *list, const void *p, uint32_t most)
{
    for (; list != NULL && most > 0; list = *list, most--)
        if (list == p)
            return true;
    return false;
}

/* An object of the heap's own that bears the mark. */
XS_COLD static void put_marked(struct xs_heap *h, void *p, uint64_t entry)
{
    struct xs_slab *s = XS_ENTRY_SLAB(entry);
    uint32_t objects = (uint32_t)(xs_slab_span_bytes(s->class) / s->size);

    bool found = xs_heap_any_holds(p, XS_ENTRY_CLASS(entry)) || in_list(s->free, p, objects);
    /* What others freed and have handed over. An empty slab would forget it. */
    bool came_back = take_remote(s, h->key);
    for (void **chain = s->chains; chain != NULL && !found; chain = xs_chain_next(chain, h->key))
        found = in_list((void *const *)chain, p, objects);
    /* Where nothing was handed out since the slab was last empty, everything is free. */
    if (found || (char *)p >= s->bump)
        xs_die("double free", p);
    if (came_back)
        xs_heap_settle(h, s);
    /* The program wrote the mark itself, by copying from a free block. */
    xs_heap_put_object(h, p, entry);
}

/* As xs_heap_free_inline, where the tag does not tell whose it is; counted already. */
static void put_own(struct xs_heap *h, void *p, uint64_t entry)
{
    uintptr_t *word = p;

    if (word[1] == h->key) {
        put_marked(h, p, entry);
        return;
    }
    if (xs_magazine_push(&h->hot[XS_ENTRY_CLASS(entry)], p))
        word[1] = h->key;
    else
        xs_heap_put_object(h, p, entry);
}

static void send_chain(struct xs_heap *h, struct xs_send *c)
{
    struct xs_slab *s = c->slab;

    if (xs_slab_push_remote(s, c->head, c->most - c->room, h->key))
        notify(s);
    c->room = 0;
}

void xs_heap_send_all(struct xs_heap *h)
{
    for (unsigned i = 0; i < XS_SENDS; i++)
        if (h->send[i].room != 0)
            send_chain(h, &h->send[i]);
}

/* An object of another heap's slab that xs_heap_send_inline did not take. */
static void send_object(struct xs_heap *h, void *p, uint64_t entry)
{
    struct xs_slab *s = XS_ENTRY_SLAB(entry);
    struct xs_send *c = xs_heap_send_of(h, s);
    uintptr_t *word = p;

    if (c->room != 0 && c->slab != s)
        send_chain(h, c);
    if (c->room == 0) {
        size_t most = SEND_BYTES / xs_class_bytes(XS_ENTRY_CLASS(entry));
        if (most > SEND_OBJECTS)
            most = SEND_OBJECTS;
        c->slab = s;
        /* One more than is ever used, so that a chain in being is told from none. */
        c->most = (uint32_t)(most == 0 ? 1 : most) + 1;
        c->room = c->most;
        c->head = NULL;
    }
    if (word[1] == h->key && (in_list((void *const *)c->head, p, c->most - c->room) ||
                              xs_heap_any_holds(p, XS_ENTRY_CLASS(entry))))
        xs_die("double free", p);
    *(void **)p = c->head;
    word[1] = h->key;
    c->head = p;
    if (--c->room == 1)
        send_chain(h, c);
}

static __attribute__((noinline)) void free_slower(void *p, uint64_t entry)
{
    int saved = errno;
    struct xs_heap *h = xs_heap_enter();
    struct xs_sampled was;
    bool is_kept = false;

    xs_heap_count_frees(h, 1);
    if (!xs_entry_is_object(entry)) {
        (void)xs_sample_forget(p, &was);
        bool begun = h != NULL && xs_heap_begin(h);
        is_kept = xs_large_free(h, p, entry);
        if (h != NULL)
            xs_heap_end(h, begun);
    } else if (h == NULL) {
        struct xs_slab *s = XS_ENTRY_SLAB(entry);
        *(void **)p = NULL;
        if (xs_slab_push_remote(s, p, 1, xs_heap_key()))
            notify(s);
    } else if (xs_heap_has(h, entry)) {
        put_own(h, p, entry);
    } else {
        send_object(h, p, entry);
    }
    /* What the thread keeps for its next request makes nothing old: then not every time. */
    bool is_due = !is_kept || h->counts.frees % KEPT_A_LOOK == 0;
    if (h != NULL)
        xs_heap_leave(h);
    if (is_due)
        xs_heap_look_for_old();
    errno = saved;
}

XS_COLD void xs_heap_free_marked(struct xs_heap *h, void *p, uint64_t entry)
{
    if ((uint16_t)entry != h->tag) {
        free_slower(p, entry);
        return;
    }
    XS_COUNT(h->counts.frees, 1);
    put_marked(h, p, entry);
}

/* A block that xs_heap_free_inline did not take. xs_heap_none takes nothing. */
void xs_heap_free_slow(void *p, uint64_t entry)
{
    struct xs_heap *h = xs_heap_mine;

    if (XS_LIKELY(xs_entry_is_object(entry) && (uint16_t)entry != h->entry_tag &&
                  xs_heap_send_inline(h, p, entry)))
        XS_COUNT(h->counts.frees, 1);
    else
        free_slower(p, entry);
}

bool xs_heap_free(void *p)
{
    return xs_heap_free_at(p, xs_page_map_get(p));
}

void xs_heap_flush(struct xs_heap *h)
{
    bool begun = xs_heap_begin(h);

    for (unsigned c = 0; c < XS_CLASS_SLABS; c++) {
        struct xs_magazine *m = &h->hot[c];
        while (m->n > 0) {
            void *p = xs_magazine_take(m);
            uint64_t entry = xs_page_map_get(p);
            if (xs_heap_has(h, entry)) {
                xs_heap_put_object(h, p, entry);
            } else {
                send_object(h, p, entry);
            }
        }
    }
    xs_heap_send_all(h);
    xs_large_empty_hot(h);
    xs_large_give_room(h);
    xs_large_drop_room(h);
    xs_heap_end(h, begun);
}

void xs_heap_release(struct xs_heap *h)
{
    bool begun = xs_heap_begin(h);

    xs_heap_drain(h);
    keep_current(h);
    xs_heap_release_kept(h);
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
