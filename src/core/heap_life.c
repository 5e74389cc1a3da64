/* Heaps come and go: threads, forks, memory given back, statistics over all of them. */
#include <errno.h>
#include <string.h>
#include <sys/auxv.h>
#include <time.h>
#include <unistd.h>

#include "base/align.h"
#include "core/pressure.h"
#include "core/thread_heap.h"
#include "sys/mem.h"
#include "sys/proc.h"
#include "sys/thread_end.h"

/* A larger block is refused to everybody. */
#define LEND_MOST ((size_t)16 << 20)

/* Before the first thread no more goes back than this: who has so much free may want it soon. */
#define TRIM_MOST     ((size_t)32 << 20)

#define POLL_NS       1000000L
#define POLLS_A_FLUSH 8

/* Of all its pages one is written to, by xs_heap_open; until then the hot page leads past the core.
 */
XS_SELDOM struct xs_heap xs_heap_none;
XS_TLS_FIRST XS_TLS struct xs_heap *xs_heap_mine = &xs_heap_none;
static XS_TLS bool is_past_end;
static XS_TLS struct xs_heap *own; /* the thread's, wherever it may be at the moment */

XS_BY_HEAD struct xs_lock xs_heaps_lock;
XS_BY_HEAD _Atomic(struct xs_heap *) xs_heap_newest;

XS_BY_HEAD static struct {
    struct xs_heap *idle; /* stack, under xs_heaps_lock */
    _Atomic uint32_t count;
    uintptr_t secret;
    uint64_t cache_bytes;
    uint64_t retry_ns;
    bool exact_classes;
    void (*count_failure)(size_t size, int n);
    void *(*last_resort)(void *p, size_t align, size_t size);
    bool fork_took_lock;
} heaps;

int xs_heap_open(const struct xs_heap_options *o)
{
    /* Not as they are: libc guards the stack and its own pointers with these bytes. */
    const void *at = (const void *)getauxval(AT_RANDOM); // NOLINT(performance-no-int-to-ptr)
    uint64_t random[2] = {(uintptr_t)&heaps, (uintptr_t)&at};
    if (at != NULL)
        memcpy(random, at, sizeof(random));
    uint64_t secret = random[0] + random[1];
    int rc = xs_span_open(&o->span);

    /* A tag and a leaf that nothing has, not even an address that nobody owns. No size has a
     * magazine of its own, and no magazine has room. */
    xs_heap_none.tag = xs_heap_none.entry_tag = UINT32_MAX;
    xs_heap_none.leaf_start = XS_PAGE_MAP_NOWHERE;
    xs_heap_none.hot.current[0] = &xs_slab_none;
    secret = (secret ^ secret >> 32) * 0x9e3779b97f4a7c15u;
    heaps.secret = secret ^ secret >> 29;
    heaps.cache_bytes = o->cache_bytes;
    heaps.retry_ns = o->retry_ns;
    heaps.exact_classes = o->exact_classes;
    heaps.count_failure = o->count_failure;
    heaps.last_resort = o->last_resort;
    return rc;
}

uintptr_t xs_heap_secret(void)
{
    return heaps.secret;
}

_Atomic uint64_t xs_heap_lent;

void *xs_heap_lend(void *p, size_t align, size_t size)
{
    if (heaps.last_resort == NULL || size > LEND_MOST || align > LEND_MOST)
        return NULL;
    void *q = heaps.last_resort(p, align, xs_align_up(size + (size == 0), 16));
    if (q != NULL && p == NULL)
        atomic_fetch_add_explicit(&xs_heap_lent, 1, memory_order_relaxed);
    return q;
}

void *xs_heap_fail(size_t size, size_t align)
{
    void *p = xs_heap_lend(NULL, align, size);

    if (p != NULL)
        return p;
    xs_heap_note_failure(size);
    if (heaps.count_failure != NULL)
        heaps.count_failure(size, 1);
    xs_pressure_failed(size);
    errno = ENOMEM;
    return NULL;
}

void xs_heap_forgive(size_t size)
{
    xs_heap_forgive_failure();
    if (heaps.count_failure != NULL)
        heaps.count_failure(size, -1);
}

/* ---- one heap a thread ------------------------------------------------------------------ */

void xs_heap_open_magazine(struct xs_heap *h, unsigned class)
{
    bool is_slabs = class < XS_CLASS_SLABS;
    size_t n = is_slabs ? xs_magazine_usual(h, class) : h->cache_bytes / xs_class_bytes(class);
    bool is_mixed = class >= h->mixed_from && is_slabs;
    struct xs_magazines *m = &h->hot;
    size_t place = XS_MAGAZINE_OF(class);
    size_t left = XS_MAGAZINES_MOST - h->stacks_used;

    if (!is_slabs && n > XS_MAGAZINE_CHUNKS)
        n = XS_MAGAZINE_CHUNKS;
    m->current[place] = &xs_slab_none;
    m->refuses[place] = is_mixed ? 0 : ~h->tag & XS_ENTRY_TAG_MASK;
    /* With a floor below; else it has no room. */
    if (left < 2)
        return;
    if (n >= left)
        n = left - 1;
    m->at[place] = xs_magazine_slot_at(m, &h->stacks[h->stacks_used + 1]);
    m->least[place] = (uint32_t)m->at[place];
    m->most[place] = m->least[place] + (uint32_t)(n * sizeof(h->stacks[0]));
    h->stacks_used += (uint32_t)n + 1;
}

static void set_up(struct xs_heap *h, uint32_t id)
{
    h->id = id;
    h->entry_tag = xs_heap_tag(id);
    h->tag = id < XS_HEAP_TAGS ? h->entry_tag : XS_NO_TAG;
    h->leaf_start = XS_PAGE_MAP_NOWHERE;
    h->hot.current[0] = &xs_slab_none;
    if (!heaps.exact_classes)
        xs_heap_begin_young(h);
    h->cache_bytes = heaps.cache_bytes;
    h->chunk_enough = heaps.cache_bytes / 2;
    h->chunk_most = heaps.cache_bytes + heaps.cache_bytes / 2;
    h->takes_next = !heaps.exact_classes;
    h->mixed_from = xs_span_parts() > 1 ? XS_CLASS_SLABS : XS_CLASS_MIXED;
    h->sample_left = xs_sample_gap();
    h->time_random = (uint32_t)(heaps.secret >> 32) ^ id;
}

static struct xs_heap *make_heap(unsigned part)
{
    /* Near what else every process writes to, so that one page of the kernel's table maps both. */
    XS_SELDOM static struct xs_heap first;
    static atomic_bool is_taken;
    struct xs_heap *h = &first;

    if (atomic_exchange_explicit(&is_taken, true, memory_order_relaxed))
        h = xs_mem_map(sizeof(*h), 1);
    if (h == NULL)
        return NULL;
    uint32_t id = atomic_fetch_add_explicit(&heaps.count, 1, memory_order_relaxed) + 1;
    set_up(h, id);
    h->part = part;
    /* If there are too many, what this one counts is seen by this process alone. */
    (void)xs_record_area(XS_RECORD_HEAPS, &h->counts, sizeof(h->counts));
    h->next = atomic_load_explicit(&xs_heap_newest, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(&xs_heap_newest, &h->next, h,
                                                  memory_order_release, memory_order_relaxed))
        ;
    return h;
}

static struct xs_heap *adopt_or_make(void)
{
    unsigned part = xs_span_part();
    struct xs_heap *h;

    xs_lock_take(&xs_heaps_lock);
    struct xs_heap **link = &heaps.idle;
    /* One whose memory is where the thread runs. */
    while (*link != NULL && (*link)->part != part)
        link = &(*link)->next_idle;
    h = *link;
    if (h != NULL) {
        *link = h->next_idle;
        h->idle_looks = 0;
        atomic_store_explicit(&h->is_idle, false, memory_order_relaxed);
    }
    xs_lock_give(&xs_heaps_lock);
    return h != NULL ? h : make_heap(part);
}

static void put_idle(struct xs_heap *h)
{
    xs_heap_send_all(h);
    xs_lock_take(&xs_heaps_lock);
    /* Who hands something over after this helps out; what was handed over before is taken now. */
    atomic_store_explicit(&h->is_idle, true, memory_order_seq_cst);
    xs_heap_drain(h);
    h->is_lost = false;
    h->next_idle = heaps.idle;
    heaps.idle = h;
    xs_lock_give(&xs_heaps_lock);
}

static void thread_ends(void)
{
    struct xs_heap *h = xs_heap_here();

    /* libc frees a few blocks after this: those go through a heap on loan. */
    is_past_end = true;
    if (h == &xs_heap_none)
        return;
    bool begun = xs_heap_begin(h);
    atomic_store_explicit(&h->owner, 0, memory_order_relaxed);
    xs_heap_mine = &xs_heap_none;
    xs_heap_away = own = NULL;
    xs_large_empty_hot(h);
    xs_large_give_room(h);
    xs_large_drop_room(h);
    xs_heap_end(h, begun);
    h->arena = xs_arena_leave();
    h->grown = NULL;
    put_idle(h);
}

static XS_TLS bool has_end;

void xs_heap_want_end(void)
{
    if (!has_end && !is_past_end)
        has_end = xs_thread_end(thread_ends);
}

struct xs_heap *xs_heap_enter_slow(void)
{
    /* One visit may have ended, and another one begun, between the look at the one place and at the
     * other. */
    while (own != NULL && !is_past_end)
        if (xs_heap_back() || __atomic_load_n(&xs_heap_mine, __ATOMIC_ACQUIRE) != &xs_heap_none)
            return own;
    int saved = errno;
    struct xs_heap *h = adopt_or_make();
    if (own != NULL && !is_past_end) {
        /* The thread has got one meanwhile: programs hook mmap, and allocate there. */
        if (h != NULL)
            put_idle(h);
        h = xs_heap_enter_slow();
    } else if (h != NULL && !is_past_end) {
        xs_heap_mine = own = h;
        xs_heap_owned(h);
        xs_arena_follow(h->arena);
        xs_heap_want_end();
        (void)xs_stats_attach(); /* the thread counts among those that allocate */
    }
    errno = saved;
    return h;
}

void xs_heap_leave_slow(struct xs_heap *h)
{
    /* Or it was taken away meanwhile, to be back with the next call. */
    if (is_past_end)
        put_idle(h);
}

void xs_heap_help(struct xs_heap *h)
{
    /* A visitor has it already. */
    bool take = !xs_lock_is_mine(&xs_heaps_lock);

    if (take)
        xs_lock_take(&xs_heaps_lock);
    if (atomic_load_explicit(&h->is_idle, memory_order_relaxed))
        xs_heap_drain(h);
    if (take)
        xs_lock_give(&xs_heaps_lock);
}

static bool may_look(void)
{
    return !xs_lock_is_mine(&xs_heaps_lock) && !xs_span_is_giver();
}

void xs_heap_look_for_old(void)
{
    if (may_look())
        (void)xs_span_tick();
}

void xs_heap_mind(size_t size)
{
    if (xs_pressure_is_due(size) && may_look())
        xs_pressure_look(size);
}

/* Meanwhile what the program's hooks allocate comes from another heap, as after the thread's end.
 */
void xs_heap_purge_own(struct xs_heap *h)
{
    bool begun = xs_heap_begin(h);
    bool was_past_end = is_past_end;
    bool is_mine = h == xs_heap_mine;

    is_past_end = true;
    if (is_mine)
        xs_heap_mine = &xs_heap_none;
    xs_heap_purge(h);
    if (is_mine)
        xs_heap_mine = h;
    is_past_end = was_past_end;
    xs_heap_end(h, begun);
}

/* ---- giving back ------------------------------------------------------------------------ */

/* Heaps taken off the idle ones, and the caller's, or NULL. All are flushed first: what they held
 * of each other's can be released then. Never called with xs_heaps_lock held. */
static void give_these(struct xs_heap *h, struct xs_heap *idle)
{
    if (h != NULL)
        xs_heap_flush(h);
    for (struct xs_heap *i = idle; i != NULL; i = i->next_idle)
        xs_heap_flush(i);
    if (h != NULL) {
        xs_heap_release(h);
        xs_heap_purge_own(h);
    }
    while (idle != NULL) {
        struct xs_heap *next = idle->next_idle;
        xs_heap_release(idle);
        xs_heap_purge(idle);
        put_idle(idle);
        idle = next;
    }
}

/* The caller's heap and all idle ones. */
static void give_all(struct xs_heap *h)
{
    xs_lock_take(&xs_heaps_lock);
    struct xs_heap *idle = heaps.idle;
    heaps.idle = NULL;
    for (struct xs_heap *i = idle; i != NULL; i = i->next_idle)
        atomic_store_explicit(&i->is_idle, false, memory_order_relaxed);
    xs_lock_give(&xs_heaps_lock);
    give_these(h, idle);
}

void xs_heap_age_idle(void)
{
    struct xs_heap *old = NULL;

    xs_lock_take(&xs_heaps_lock);
    for (struct xs_heap **link = &heaps.idle; *link != NULL;) {
        struct xs_heap *i = *link;
        if (i->idle_looks == 1) {
            *link = i->next_idle;
            i->next_idle = old;
            old = i;
            atomic_store_explicit(&i->is_idle, false, memory_order_relaxed);
        } else {
            link = &i->next_idle;
        }
        if (i->idle_looks < 2)
            i->idle_looks++;
    }
    xs_lock_give(&xs_heaps_lock);
    give_these(NULL, old);
}

size_t xs_heap_trim(void)
{
    struct xs_heap *h = xs_heap_enter();

    give_all(h);
    if (h != NULL)
        xs_heap_leave(h);
    return xs_span_trim();
}

void xs_heap_before_threads(void)
{
    struct xs_heap *h = xs_heap_mine;

    if (h == &xs_heap_none)
        return;
    bool begun = xs_heap_begin(h);
    xs_large_empty_hot(h);
    xs_heap_release_kept(h);
    h->chunk_least = h->kept_least = 0;
    xs_heap_end(h, begun);
    if (xs_span_touched_bytes() <= TRIM_MOST)
        (void)xs_span_trim();
}

/* What the heap lets go is free by then. */
static bool take_span(struct xs_heap *h, size_t size, size_t align, struct xs_span *out)
{
    if (h == NULL || h->leaving == 0)
        return xs_span_take(size, align, out);
    bool begun = xs_heap_begin(h);
    uint32_t n = h->leaving; /* a visitor may have been there */
    h->leaving = 0;
    h->leaving_bytes = 0;
    bool done = xs_span_exchange(h->leaves, n, size, align, out);
    xs_heap_end(h, begun);
    return done;
}

bool xs_heap_span(struct xs_heap *h, size_t size, size_t align, bool is_kept_first,
                  struct xs_span *out)
{
    int saved = errno;

    xs_heap_mind(size);
    /* The thread may be on another node than when it began, as programs pin theirs after that: from
     * now on it keeps what is of this one. */
    if (h != NULL)
        XS_CHANGE_TO(h->part, xs_span_part());
    bool done =
        (is_kept_first && xs_heap_span_used(h, size, align, out)) || take_span(h, size, align, out);
    if (done && XS_UNLIKELY(xs_span_in_hurry()))
        xs_pressure_forgive(xs_span_used(out->chunk));
    if (done || xs_span_is_barred())
        return done;
    give_all(h);
    (void)xs_span_trim();
    done = xs_span_take(size, align, out);
    for (uint64_t waited = 0; !done && waited < heaps.retry_ns; waited += POLL_NS) {
        xs_pause_ns(POLL_NS);
        if (waited % (POLL_NS * POLLS_A_FLUSH) == 0)
            give_all(h);
        done = xs_span_take(size, align, out);
    }
    errno = saved;
    return done;
}

/* Its owner may be giving it room meanwhile: then what is looked at is not the stack, but there is
 * something to look at so far below any place that a stack has. */
__attribute__((no_sanitize("thread"))) static bool xs_magazine_holds(const struct xs_magazines *m,
                                                                     size_t place, const void *p)
{
    size_t at = __atomic_load_n(&m->at[place], __ATOMIC_RELAXED);
    uint32_t n = ((uint32_t)at - m->least[place]) / (uint32_t)sizeof(void *);
    void **top = xs_magazine_slot(m, at);

    for (uint32_t i = 1; i <= n && i <= XS_MAGAZINE_DEEP; i++)
        if (__atomic_load_n(top - i, __ATOMIC_RELAXED) == p)
            return true;
    return false;
}

_Static_assert(offsetof(struct xs_heap, stacks) >= XS_MAGAZINE_DEEP * sizeof(void *),
               "what is below a stack");

__attribute__((no_sanitize("thread"))) bool xs_heap_any_holds(const void *p, unsigned class)
{
    for (const struct xs_heap *h = xs_heap_all(); h != NULL; h = h->next) {
        if (h->late == p)
            return true;
        if (xs_magazine_holds(&h->hot, XS_MAGAZINE_OF(class), p))
            return true;
    }
    return false;
}

/* ---- statistics and the walker ---------------------------------------------------------- */

/* Reads what other threads may be changing; exact when they rest. */
__attribute__((no_sanitize("thread"))) static uint64_t free_in_slabs(uint32_t *slabs)
{
    uint32_t n = xs_slab_count();
    uint64_t bytes = 0;

    *slabs = 0;
    for (uint32_t i = 0; i < n; i++) {
        const struct xs_slab *s = xs_slab_at(i);
        if (s->state == XS_SLAB_NONE)
            continue;
        uint64_t remote = XS_REMOTE_COUNT(atomic_load_explicit(&s->remote, memory_order_relaxed));
        uint64_t used = xs_slab_used(s) > remote ? xs_slab_used(s) - remote : 0;
        (*slabs)++;
        bytes += xs_slab_span_bytes(s->kind) - used * s->size;
    }
    return bytes;
}

__attribute__((no_sanitize("thread"))) static uint64_t free_in_heaps(void)
{
    uint64_t bytes = 0;

    for (const struct xs_heap *h = xs_heap_all(); h != NULL; h = h->next) {
        for (unsigned c = 0; c < XS_CLASS_COUNT; c++)
            bytes += xs_magazine_count(&h->hot, XS_MAGAZINE_OF(c)) * xs_class_bytes(c);
        bytes += h->kept_room_bytes + h->leaving_bytes;
        const struct xs_slab *late = h->late_slab;
        bytes += late != NULL ? late->size : 0;
        for (unsigned i = 0; i < XS_SENDS; i++)
            if (h->send[i].room != 0)
                bytes += (h->send[i].most - h->send[i].room) * (uint64_t)h->send[i].slab->size;
    }
    return bytes;
}

bool xs_heap_stats_get(struct xs_heap_stats *out, bool may_wait)
{
    *out = (struct xs_heap_stats){0};
    xs_heap_failures_get(out);
    out->growth_ns = xs_span_growth_ns();
    out->heaps = atomic_load_explicit(&heaps.count, memory_order_relaxed);
    if (may_wait)
        xs_span_stats(&out->bfc);
    else if (!xs_span_stats_try(&out->bfc))
        return false;
    uint64_t idle = free_in_slabs(&out->slabs) + free_in_heaps();
    out->in_use_bytes = out->bfc.in_use_bytes > idle ? out->bfc.in_use_bytes - idle : 0;
    return true;
}

static bool count_list(const struct xs_slab *s, void **list, uint64_t most, uint64_t *n,
                       struct xs_buf *why)
{
    for (void **p = list; p != NULL; p = *p, (*n)++) {
        if (!xs_slab_contains(s, p) || *n > most ||
            ((uintptr_t)p - (uintptr_t)s->base) % s->size != 0 || (char *)p >= s->bump) {
            xs_fmt(why, "slab %u has a broken free list", s->index);
            return false;
        }
    }
    return true;
}

static bool check_slab(const struct xs_heap *h, const struct xs_slab *s, struct xs_buf *why)
{
    uint64_t used = xs_slab_used(s);
    uint64_t carved = (uint64_t)(s->bump - s->base) / s->size;
    uint64_t listed = 0;

    if (s->heap != h) {
        xs_put_str(why, "a slab in another heap's list");
        return false;
    }
    if (!count_list(s, s->free, carved, &listed, why))
        return false;
    for (void **chain = s->chains; chain != NULL; chain = xs_chain_next(chain))
        if (!count_list(s, chain, carved, &listed, why))
            return false;
    if (used + listed != carved) {
        xs_fmt(why, "slab %u: %lu used and %lu free of %lu", s->index, (unsigned long)used,
               (unsigned long)listed, (unsigned long)carved);
        return false;
    }
    return true;
}

static bool check_magazines(const struct xs_heap *h, struct xs_buf *why)
{
    for (unsigned c = 0; c < XS_CLASS_COUNT; c++) {
        const struct xs_magazines *m = &h->hot;
        size_t place = XS_MAGAZINE_OF(c);
        for (uint32_t i = 0; i < xs_magazine_count(m, place); i++) {
            uint64_t e = xs_page_map_get(xs_magazine_at(m, place, i));
            bool fits = c < XS_CLASS_SLABS
                            ? xs_entry_is_object(e) && xs_heap_has(XS_ENTRY_SLAB(e)->heap, e) &&
                                  XS_ENTRY_CLASS(e) == c
                            : !xs_entry_is_object(e) && XS_ENTRY_CHUNK_CLASS(e) == c;
            if (xs_magazine_count(m, place) > xs_magazine_capacity(m, place) || !fits) {
                xs_fmt(why, "magazine %u holds what does not belong there", c);
                return false;
            }
        }
    }
    return true;
}

bool xs_heap_check(struct xs_buf *why)
{
    const struct xs_heap *h = xs_heap_here();
    uint64_t kept = 0;

    if (h != &xs_heap_none) {
        if (!check_magazines(h, why))
            return false;
        for (unsigned c = 0; c < XS_CLASS_SLABS; c++) {
            const struct xs_slab *current = h->hot.current[XS_MAGAZINE_OF(c)];
            if (current != NULL && current != &xs_slab_none && !check_slab(h, current, why))
                return false;
            for (const struct xs_slab *s = h->partial[c].first; s != NULL; s = s->next)
                if (!check_slab(h, s, why))
                    return false;
            if (h->empty[c] != NULL)
                kept += xs_slab_span_bytes(h->empty[c]->kind);
        }
        for (unsigned kind = 0; kind < XS_SLAB_SPAN_KINDS; kind++)
            for (const struct xs_slab *s = h->spare[kind]; s != NULL; s = s->next)
                kept += xs_slab_span_bytes(s->kind);
        if (kept != h->kept_bytes) {
            xs_put_str(why, "the heap's sum of kept bytes is wrong");
            return false;
        }
    }
    return xs_span_check(why);
}

/* ---- fork ------------------------------------------------------------------------------- */

/* Forks no further apart than this make a storm, which is answered after so many, and whenever
 * there were twice as many. */
#define STORM_NS    1000000000u
#define STORM_FORKS 4u

void xs_heap_before_fork(void)
{
    XS_BUSY static _Atomic uint64_t last_ns;
    XS_BUSY static _Atomic uint32_t in_a_row;
    uint64_t now = xs_proc_now_ns();
    uint64_t last = atomic_exchange_explicit(&last_ns, now, memory_order_relaxed);
    uint32_t n = 0;

    if (now - last < STORM_NS)
        n = atomic_fetch_add_explicit(&in_a_row, 1, memory_order_relaxed) + 1;
    else
        atomic_store_explicit(&in_a_row, 0, memory_order_relaxed);
    /* Not the heap's own caches: a signal handler that forks may have interrupted malloc. */
    if (n >= STORM_FORKS && (n & (n - 1)) == 0 && may_look() && !xs_span_is_mine())
        (void)xs_span_trim();
}

void xs_heap_fork_prepare(void)
{
    bool take = !xs_lock_is_mine(&xs_heaps_lock);

    if (take)
        xs_lock_take(&xs_heaps_lock);
    heaps.fork_took_lock = take;
    xs_span_fork_prepare();
}

void xs_heap_fork_parent(void)
{
    xs_span_fork_parent();
    if (heaps.fork_took_lock)
        xs_lock_give(&xs_heaps_lock);
}

void xs_heap_fork_child(void)
{
    if (xs_lock_is_mine(&xs_heaps_lock) && !heaps.fork_took_lock)
        heaps.idle = NULL; /* found half way through a change */
    xs_span_fork_child();
    xs_lock_reset(&xs_heaps_lock);
    /* Who is left is known again when there is somebody to visit him. The others went on while
     * memory was copied: whether what they were at is there as a whole nobody says. */
    for (struct xs_heap *h = xs_heap_all(); h != NULL; h = h->next) {
        if (h != own && !atomic_load_explicit(&h->is_idle, memory_order_relaxed))
            h->is_lost = true;
        if (atomic_load_explicit(&h->owner, memory_order_relaxed) != 0)
            atomic_store_explicit(&h->owner, 0, memory_order_relaxed);
    }
}
