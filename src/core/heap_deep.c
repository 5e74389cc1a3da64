/* Deep magazines. A thread that frees more blocks of a class in a row than its magazine holds, and
 * then gets as many again, has each of them go to its slab and come back. Where that is seen the
 * magazine gets room for more: only there, since each block in it keeps a slab from getting empty,
 * within a bound for the thread, and what is in it goes back at each look at the clock. */
#include <errno.h>

#include "core/thread_heap.h"
#include "sys/mem.h"

/* A magazine usually holds at most so many bytes of a slab's objects, or one object. */
#define USUAL_BYTES ((size_t)16 << 10)

/* After so many frees that found a magazine full it is asked whether there were as many requests
 * meanwhile. Who frees more in a row than the deepest could hold twice has no use for it. */
#define PATIENCE   64u
#define BURST_MOST (2u * XS_MAGAZINE_DEEP)

/* So many times the usual, where they are a few of all frees, so that hardly one is slow; and where
 * they are more than one in so many. */
#define DEEP    4u
#define DEEPEST 32u
#define OFTEN   4u

/* All deep ones of a heap together: such a part of what it may keep of chunks; and until when they
 * get as deep as that. */
#define PART         2u
#define DEEPEST_PART 4u

/* Each class may have places twice, with a floor below. Before them are some that stay empty: what
 * lies below a stack may be looked at (xs_heap_any_holds). */
#define PLACES                                                                                     \
    (XS_MAGAZINE_DEEP + (size_t)XS_CLASS_SLABS * (XS_MAGAZINE_DEEP + DEEP * XS_MAGAZINE + 2))

uint32_t xs_magazine_usual(const struct xs_heap *h, unsigned class)
{
    size_t bytes = xs_class_bytes(class);

    if (bytes > USUAL_BYTES)
        return bytes <= h->cache_bytes;
    return bytes * XS_MAGAZINE <= USUAL_BYTES ? XS_MAGAZINE : (uint32_t)(USUAL_BYTES / bytes);
}

/* Requests of the class since it was asked last. */
static uint32_t taken_since(const struct xs_heap *h, unsigned class, uint32_t *last)
{
    uint32_t taken = (uint32_t)h->counts.taken[class];
    uint32_t since = taken - *last;

    *last = taken;
    return since;
}

/* How many blocks it should be able to hold; 0: as many as now. */
static uint32_t wanted(struct xs_heap *h, unsigned class)
{
    uint32_t full = (h->deep_misses[class] + 1u) * PATIENCE;
    uint32_t taken = taken_since(h, class, &h->deep_taken[class]);

    if (taken < PATIENCE) {
        if (h->deep_misses[class] < UINT8_MAX)
            h->deep_misses[class]++;
        return 0;
    }
    h->deep_misses[class] = 0;
    if (full > BURST_MOST)
        return 0;
    uint32_t most = xs_magazine_usual(h, class) * (full >= taken / OFTEN ? DEEPEST : DEEP);
    return most < XS_MAGAZINE_DEEP ? most : XS_MAGAZINE_DEEP;
}

static bool have_places(struct xs_heap *h)
{
    if (h->deep == NULL) {
        int saved = errno;
        void **deep = xs_mem_map(PLACES * sizeof(void *), 1);
        /* Programs hook mmap, and free there. */
        if (h->deep == NULL) {
            h->deep = deep;
            h->deep_used = XS_MAGAZINE_DEEP;
        } else if (deep != NULL) {
            (void)xs_mem_unmap(deep, PLACES * sizeof(void *));
        }
        errno = saved;
    }
    return h->deep != NULL;
}

/* To new places, so many. The old ones are nobody's from here on. */
static void move_stack(struct xs_heap *h, size_t place, uint32_t room)
{
    struct xs_magazines *m = &h->hot;
    void **to = h->deep + h->deep_used + 1; /* behind its floor */
    uint32_t n = xs_magazine_count(m, place);
    uint32_t most = xs_magazine_capacity(m, place);
    size_t least = xs_magazine_slot_at(m, to);

    h->deep_used += room + 1;
    for (uint32_t i = 0; i < n; i++)
        to[i] = xs_magazine_at(m, place, i);
    m->at[place] = least + n * sizeof(void *);
    m->least[place] = (uint32_t)least;
    m->most[place] = m->least[place] + most * (uint32_t)sizeof(void *);
}

/* Twice what it may hold now, if that is not too much. */
static void make_deeper(struct xs_heap *h, unsigned class, uint32_t most)
{
    size_t place = XS_MAGAZINE_OF(class);
    size_t size = xs_class_bytes(class);
    bool is_deepest = most > xs_magazine_usual(h, class) * DEEP;
    size_t bound = h->cache_bytes / (is_deepest ? DEEPEST_PART : PART);
    size_t left = h->deep_bytes < bound ? (bound - h->deep_bytes) / size : 0;
    uint32_t now = xs_magazine_capacity(&h->hot, place);

    if (now >= most || left == 0 || xs_span_in_hurry() || !have_places(h))
        return;
    uint32_t more = most - now < now ? most - now : now;
    if (more > left)
        more = (uint32_t)left;
    bool begun = xs_heap_begin(h);
    if (now + more > h->deep_room[class]) {
        h->deep_room[class] = (uint16_t)most;
        move_stack(h, place, most);
    }
    h->hot.most[place] += more * (uint32_t)sizeof(void *);
    h->deep_bytes += more * size;
    xs_heap_end(h, begun);
}

void xs_heap_put_deep(void *p, struct xs_heap *h, struct xs_slab *s)
{
    size_t place = XS_MAGAZINE_OF(s->class);
    uint32_t most = wanted(h, s->class);

    h->hot.patience[place] = PATIENCE - 1;
    if (most != 0)
        make_deeper(h, s->class, most);
    if (xs_magazine_has_room(&h->hot, place)) {
        xs_magazine_push(&h->hot, place, p);
        ((uintptr_t *)p)[1] = XS_FREE_MARK;
    } else if (s != h->late_slab) {
        xs_heap_put_late(p, h, s);
    } else if (xs_heap_put_back(p, s)) {
        xs_heap_settle_freed(s, h);
    }
}

void xs_heap_rest_deep(struct xs_heap *h)
{
    if (h->deep_bytes == 0)
        return;
    for (unsigned c = 0; c < XS_CLASS_SLABS; c++) {
        struct xs_magazines *m = &h->hot;
        size_t place = XS_MAGAZINE_OF(c);
        uint32_t usual = xs_magazine_usual(h, c);
        if (h->deep_room[c] == 0 || xs_magazine_capacity(m, place) <= usual)
            continue;
        xs_heap_empty_magazine(h, place);
        if (taken_since(h, c, &h->deep_seen[c]) >= PATIENCE)
            continue;
        h->deep_bytes -= (xs_magazine_capacity(m, place) - usual) * xs_class_bytes(c);
        m->most[place] = m->least[place] + usual * (uint32_t)sizeof(void *);
    }
}
