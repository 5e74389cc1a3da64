/* The slabs of a heap: where they come from, which lists they are in, when they leave. */
#include "core/keeper.h"
#include "core/thread_heap.h"
#include "sys/die.h"

#define RECORDS_AT_ONCE 8u

/* Empty slabs may be so many times what large blocks may be: one that was just emptied is still in
 * the processor's cache, the next one that the BFC gives is not. */
#define KEPT_PER_CACHE 2u

/* Slabs that get empty between two looks at the clock: as long as one takes, each of these frees
 * would be among the slowest. */
#define EMPTIED_A_LOOK 8u

/* One heap may keep so many times more, as long as all that heaps keep beyond their bound is not
 * more than so many caches: few busy threads go without the BFC, many idle ones cost no more. */
#define KEPT_ALONE  4u
#define KEPT_BEYOND 16u

/* At the end: until its turn comes, more of it is freed, and the slow way is gone the less often.
 * Records of others, which may lie far away, are written to but not read. */
static void link_partial(struct xs_heap *h, struct xs_slab *s)
{
    struct xs_slab_list *list = &h->partial[s->class];

    s->state = XS_SLAB_PARTIAL;
    s->next = NULL;
    s->prev = list->last;
    if (list->first == NULL)
        list->first = s;
    else
        list->last->next = s;
    list->last = s;
}

static void unlink_partial(struct xs_heap *h, struct xs_slab *s)
{
    struct xs_slab_list *list = &h->partial[s->class];

    if (s == list->first) {
        list->first = s->next;
        return;
    }
    s->prev->next = s->next;
    if (s->next != NULL)
        s->next->prev = s->prev;
    else
        list->last = s->prev;
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
    size_t span_bytes = xs_slab_span_bytes(s->kind);

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

/* All that is handed out of the class's current slab, and of no other, is in its magazine. */
static bool is_at_rest(const struct xs_heap *h, unsigned class)
{
    size_t place = XS_MAGAZINE_OF(class);
    const struct xs_slab *s = h->hot.current[place];
    uint32_t n = xs_magazine_count(&h->hot, place);

    if (s == NULL || s == &xs_slab_none || xs_slab_used(s) != n)
        return false;
    for (uint32_t i = 0; i < n; i++)
        if (!xs_slab_contains(s, xs_magazine_at(&h->hot, place, i)))
            return false;
    return true;
}

static struct xs_slab *take_spare(struct xs_heap *h, unsigned kind)
{
    struct xs_slab *s = h->spare[kind];

    if (s != NULL) {
        h->spare[kind] = s->next;
        use_kept(h, xs_slab_span_bytes(kind));
    }
    return s;
}

/* The class's slab when nothing of it is in use: the kept one, or the current one. */
static struct xs_slab *take_resting(struct xs_heap *h, unsigned class)
{
    size_t place = XS_MAGAZINE_OF(class);
    struct xs_slab *s = h->empty[class];

    if (s != NULL) {
        h->empty[class] = NULL;
        use_kept(h, xs_slab_span_bytes(s->kind));
        return s;
    }
    if (!is_at_rest(h, class))
        return NULL;
    s = h->hot.current[place];
    h->hot.at[place] -= xs_magazine_count(&h->hot, place) * sizeof(void *);
    h->hot.current[place] = &xs_slab_none;
    s->held = XS_SLAB_HOLDS_NONE;
    return s;
}

/* The same if it is of the kind. Most classes have none. */
XS_INLINE struct xs_slab *take_resting_of(struct xs_heap *h, unsigned class, unsigned kind)
{
    const struct xs_slab *s = h->empty[class];

    if (s == NULL)
        s = h->hot.current[XS_MAGAZINE_OF(class)];
    return s != NULL && s != &xs_slab_none && s->kind == kind ? take_resting(h, class) : NULL;
}

/* What another class does not need now: else a program that asks for each size in turn, as a block
 * does that grows, leaves memory behind in each. Small ones only when memory runs short: there is
 * little to win, and their turn comes again soon. */
static struct xs_slab *take_from_another(struct xs_heap *h, unsigned kind)
{
    struct xs_slab *s = NULL;
    uint64_t lower = kind <= XS_SLAB_SMALL ? ~xs_class_above_page : xs_class_above_page;

    for (; lower != 0 && s == NULL; lower &= lower - 1)
        s = take_resting_of(h, (unsigned)__builtin_ctzll(lower), kind);
    for (unsigned c = kind <= XS_SLAB_SMALL ? XS_CLASS_SLABS : XS_CLASS_UPPER;
         c < XS_CLASS_SLABS && s == NULL; c++)
        s = take_resting_of(h, c, kind);
    return s;
}

/* Chunks for so many bytes leave their magazines. */
static void make_room(struct xs_heap *h, size_t bytes)
{
    uint64_t rest = h->chunk_bytes - bytes;

    while (h->chunk_bytes > rest)
        xs_large_make_room(h);
    xs_large_give_leaving(h);
    if (h->chunk_bytes < h->chunk_least)
        h->chunk_least = h->chunk_bytes;
}

/* Chunks in magazines are such, too: to take some apart costs less than the pages of a fresh one.
 * Not while others are on their way back, as these may be what the next take gets. */
bool xs_heap_span_used(struct xs_heap *h, size_t bytes, size_t align, struct xs_span *out)
{
    bool begun = xs_heap_begin(h);
    bool may_go = h->leaving == 0 && h->chunk_bytes >= bytes;
    bool is_kept = h->kept_bytes >= bytes || may_go;
    bool done = is_kept && xs_span_take_used(bytes, align, out);

    if (is_kept && !done) {
        if (h->kept_bytes >= bytes)
            xs_heap_release_kept(h);
        else
            make_room(h, bytes);
    }
    xs_heap_end(h, begun);
    return done;
}

/* Nothing of the class is in use but for what its magazine holds, as far as its slabs are known. */
static bool rests(const struct xs_heap *h, unsigned class)
{
    size_t place = XS_MAGAZINE_OF(class);
    uint32_t used = 0;

    if (xs_magazine_is_empty(&h->hot, place))
        return false;
    if (h->hot.current[place] != &xs_slab_none)
        used = xs_slab_used(h->hot.current[place]);
    for (const struct xs_slab *s = h->partial[class].first; s != NULL; s = s->next)
        used += xs_slab_used(s);
    return used <= xs_magazine_count(&h->hot, place);
}

/* Of a heap that has little: what another class has left behind, if need be in its magazine. */
static struct xs_slab *take_left(struct xs_heap *h, unsigned class)
{
    struct xs_slab *s = NULL;

    for (uint64_t lower = ~xs_class_above_page; lower != 0 && s == NULL; lower &= lower - 1) {
        unsigned c = (unsigned)__builtin_ctzll(lower);
        if (c == class || h->hot.current[XS_MAGAZINE_OF(c)] == NULL)
            continue;
        if (rests(h, c))
            xs_heap_empty_magazine(h, XS_MAGAZINE_OF(c));
        s = take_spare(h, XS_SLAB_FEW);
        if (s == NULL)
            s = take_resting_of(h, c, XS_SLAB_FEW);
    }
    return s;
}

/* `is_next`: the class has used up one just now. Of a first one little may be wanted, so it is
 * better one that was never touched than one that is there. */
static struct xs_slab *new_slab(struct xs_heap *h, unsigned class, bool is_next)
{
    /* Where there are other heaps, their threads free what lies here in chains, one for each slab:
     * of short ones there would be four times as many. */
    bool is_few = h->few != 0 && xs_heap_all()->next == NULL;
    unsigned kind = xs_slab_span_kind(class, is_few);
    size_t span_bytes = xs_slab_span_bytes(kind);
    struct xs_slab *s = take_spare(h, kind);
    struct xs_span span;

    if (kind == XS_SLAB_FEW)
        h->few--;
    if (s == NULL && kind == XS_SLAB_FEW && is_next)
        s = take_left(h, class);
    else if (s == NULL && ((is_next && kind > XS_SLAB_SMALL) || xs_span_in_hurry()))
        s = take_from_another(h, kind);
    if (s != NULL) {
        if (s->class != class)
            cut(h, s, class);
    } else {
        if (!xs_heap_span(h, span_bytes, 0, is_next, &span))
            return NULL;
        s = take_record(h);
        if (s == NULL) {
            xs_span_give(&span.chunk, 1, NULL);
            return NULL;
        }
        s->base = s->bump = span.p;
        s->kind = (uint8_t)kind;
        /* Larger objects leave no marks behind (forget), and a small one's that is left is no
         * more than a slow free. */
        s->marked = span.is_zero || kind > XS_SLAB_SMALL ? 0 : (int32_t)span_bytes;
        s->chunk = span.chunk;
        s->held = XS_SLAB_HOLDS_NONE;
        cut(h, s, class);
        /* So that in most processes no free ever takes the branch to where it is looked for: of one
         * that was taken once the processor predicts anew each time whether it is. */
        if (h->leaf == NULL)
            xs_heap_note_leaf(h, s->base);
    }
    if (xs_heap_is_young(h, class))
        s->end = s->base + XS_YOUNG_BYTES;
    xs_slab_reset(s);
    return s;
}

/* The slab's span goes back, and was reset. Larger objects take their marks with them, so that who
 * gets the memory need not write to it; instead the page map knows that they were freed. */
static void forget(struct xs_slab *s)
{
    uint64_t dead = xs_entry_of_chunk(XS_CLASS_DEAD, 0, s->chunk);

    if (s->kind <= XS_SLAB_SMALL)
        return;
    for (char *p = s->base; p < s->base + s->marked; p += s->size) {
        ((uintptr_t *)(void *)p)[1] = 0;
        xs_page_map_put(p, dead);
    }
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
        forget(s);
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
    size_t span_bytes = xs_slab_span_bytes(s->kind);

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
        s->state = XS_SLAB_SPARE;
        s->next = h->spare[s->kind];
        h->spare[s->kind] = s;
    }
}

bool xs_heap_settle_alone(struct xs_heap *h, struct xs_slab *s)
{
    if (s->state == XS_SLAB_FULL) {
        s->held += XS_SLAB_IS_FULL;
        link_partial(h, s);
    }
    if ((int32_t)s->held >= 0)
        return false;
    if (s->held != XS_SLAB_HOLDS_NONE)
        xs_die("invalid or double free", s->base);
    if (s->state == XS_SLAB_CURRENT) {
        /* A small one stays until the next look at the clock. */
        xs_slab_reset(s);
        if (s->kind <= XS_SLAB_SMALL)
            return false;
        h->hot.current[XS_MAGAZINE_OF(s->class)] = &xs_slab_none;
    } else if (s->state == XS_SLAB_PARTIAL) {
        unlink_partial(h, s);
    } else {
        return false;
    }
    keep_or_release(h, s);
    return true;
}

void xs_heap_settle(struct xs_heap *h, struct xs_slab *s)
{
    bool begun = xs_heap_begin(h);

    bool is_empty = xs_heap_settle_alone(h, s);
    xs_heap_end(h, begun);
    /* Without this, who only frees would keep all. */
    if (is_empty && ++h->emptied % EMPTIED_A_LOOK == 0)
        xs_heap_look_for_old();
}

void xs_heap_drain(struct xs_heap *h)
{
    struct xs_slab *s = atomic_exchange_explicit(&h->pending, NULL, memory_order_seq_cst);

    while (s != NULL) {
        xs_prefetch_write(&s->remote);
        struct xs_slab *next = s->pending_next;
        if (next != NULL)
            xs_prefetch_write(&next->remote);
        /* From here on a push tells again; what came before is seen below. Pairs with
         * xs_heap_notify. */
        (void)atomic_exchange_explicit(&s->is_pending, false, memory_order_acq_rel);
        if (xs_slab_take_remote(s))
            (void)xs_heap_settle_alone(h, s);
        s = next;
    }
}

void xs_heap_notify(struct xs_slab *s)
{
    struct xs_heap *h = s->heap;
    struct xs_slab *top;

    if (atomic_exchange_explicit(&s->is_pending, true, memory_order_acq_rel))
        return;
    xs_prefetch_write(&h->pending);
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

static void set_used_up(struct xs_heap *h, struct xs_slab *s)
{
    s->state = XS_SLAB_FULL;
    s->held += XS_SLAB_IS_FULL;
    h->hot.current[XS_MAGAZINE_OF(s->class)] = &xs_slab_none;
}

/* Programs hook mmap, and allocate there: the class has got a current slab meanwhile, which goes
 * where it is found again. */
XS_COLD static void set_aside(struct xs_heap *h, struct xs_slab *s)
{
    if (s->free == NULL && s->bump == s->end && s->chains == NULL) {
        set_used_up(h, s);
        return;
    }
    h->hot.current[XS_MAGAZINE_OF(s->class)] = &xs_slab_none;
    if (xs_slab_used(s) == 0)
        keep_or_release(h, s);
    else
        link_partial(h, s);
}

struct xs_slab *xs_heap_next_slab(struct xs_heap *h, unsigned class)
{
    struct xs_slab *s;

    /* First: it may take the current slab away. */
    if (atomic_load_explicit(&h->pending, memory_order_relaxed) != NULL)
        xs_heap_drain(h);
    s = h->hot.current[XS_MAGAZINE_OF(class)];
    bool is_next = s != &xs_slab_none;
    if (is_next) {
        (void)xs_slab_take_remote(s);
        if (s->free != NULL || s->bump != s->end || xs_slab_use_chain(s) || xs_heap_grow_up(h, s))
            return s;
        set_used_up(h, s);
    }
    s = h->partial[class].first;
    if (s == NULL && h->empty[class] == NULL) {
        s = new_slab(h, class, is_next);
        if (XS_UNLIKELY(h->hot.current[XS_MAGAZINE_OF(class)] != &xs_slab_none))
            set_aside(h, h->hot.current[XS_MAGAZINE_OF(class)]);
        /* To make room for it others may have been given back, or filled up. */
        if (s == NULL)
            s = h->partial[class].first;
    }
    if (s == NULL) {
        s = h->empty[class];
        if (s == NULL)
            return NULL;
        h->empty[class] = NULL;
        use_kept(h, xs_slab_span_bytes(s->kind));
    } else if (s->state == XS_SLAB_PARTIAL) {
        unlink_partial(h, s);
        if (s->free == NULL && s->bump == s->end)
            (void)xs_slab_use_chain(s);
    }
    s->state = XS_SLAB_CURRENT;
    h->hot.current[XS_MAGAZINE_OF(class)] = s;
    return s;
}

void xs_heap_keep_current(struct xs_heap *h)
{
    for (unsigned c = 0; c < XS_CLASS_SLABS; c++) {
        struct xs_slab *s = h->hot.current[XS_MAGAZINE_OF(c)];
        if (s != NULL && s != &xs_slab_none && xs_slab_used(s) == 0) {
            h->hot.current[XS_MAGAZINE_OF(c)] = &xs_slab_none;
            keep_or_release(h, s);
        }
    }
}
