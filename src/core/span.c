#include "core/span.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include "base/align.h"
#include "core/huge.h"
#include "core/keeper.h"
#include "core/page_map.h"
#include "core/span_arena.h"
#include "sys/die.h"
#include "sys/mem.h"
#include "sys/proc.h"

/* Regions double up to this size: large enough that few mappings serve a large heap, small enough
 * that a whole one gets free again. */
#define REGION_MAX_BYTES ((size_t)64 << 20)

/* The first one where nothing else is asked for: xs_page_map_region. */
#define FIRST_BYTES ((size_t)2 << 20)

/* Where memory is limited by the system a region is no more than this part of the limit: what lies
 * free in it the program lacks elsewhere, for the stacks of its threads for one. */
#define REGION_PART  32
#define REGION_LEAST ((size_t)64 << 10)

/* Who finds another thread growing the core waits for what that brings, but not for ever: what it
 * waits for might be a hook of mmap, which waits for us. */
#define GROWTH_WAITS   50
#define GROWTH_WAIT_NS 20000

/* The same for memory that is just on its way to the system and could be had otherwise. */
#define GIVING_WAITS   200
#define GIVING_WAIT_NS 100000

/* Growth for a large block, of a vector that doubles for one: what lies free, too small for it,
 * goes back where it is less than the block, so that the outgrown ones do not stay beside it. No
 * more goes back than was got, so this costs less than the pages of the block. */
#define MAKE_UP_FROM ((size_t)4 << 20)

/* A take looks again so often for what others may have brought. */
#define TRIES         8
#define PATIENT_TRIES 3

unsigned xs_span_arena_shift;
unsigned xs_span_part_mask;
_Atomic uint8_t xs_span_hurries;
XS_BY_HEAD struct xs_span_state xs_spans;

static struct xs_span_arena *arena_of(xs_chunk chunk)
{
    return xs_spans.arena[chunk >> xs_span_arena_shift];
}

static xs_chunk own(xs_chunk chunk)
{
    return chunk & (((xs_chunk)1 << xs_span_arena_shift) - 1);
}

static xs_chunk everybodys(const struct xs_span_arena *s, xs_chunk own)
{
    return own | (xs_chunk)s->number << xs_span_arena_shift;
}

/* ---- start ------------------------------------------------------------------------------ */

static void raise_to(_Atomic uint64_t *peak, uint64_t bytes)
{
    uint64_t most = atomic_load_explicit(peak, memory_order_relaxed);

    while (bytes > most && !atomic_compare_exchange_weak_explicit(
                               peak, &most, bytes, memory_order_relaxed, memory_order_relaxed))
        ;
}

static void note_peak(uint64_t bytes)
{
    raise_to(&xs_spans.reserved_peak_bytes, bytes);
}

/* A region that is there from the start and stays. */
static void add_kept(void *p, size_t size)
{
    if (p == NULL)
        return;
    if (xs_page_map_prepare(p, size) != 0 || !xs_bfc_add_kept(&xs_spans.arena[0]->bfc, p, size))
        (void)xs_supply_unmap(p, size);
    else
        note_peak(size +
                  atomic_fetch_add_explicit(&xs_spans.reserved_bytes, size, memory_order_relaxed));
}

static void get_kept(const struct xs_span_options *o)
{
    size_t huge = xs_align_up(o->reserve_huge_bytes, XS_MEM_HUGE);
    size_t prefault = xs_align_up(o->prefault_bytes, XS_MEM_HUGE);

    /* In as many pieces as it takes. */
    for (size_t got = huge; huge != 0 && got != 0; huge -= got) {
        got = huge;
        void *p = xs_supply_reserve_huge(&got);
        add_kept(p, got); /* not in one: its arguments might be known before the call */
    }
    if (o->limit_bytes != 0) {
        uint64_t has = atomic_load_explicit(&xs_spans.reserved_bytes, memory_order_relaxed);
        size_t most = xs_align_down(o->limit_bytes > has ? o->limit_bytes - has : 0, XS_MEM_HUGE);
        prefault = prefault < most ? prefault : most;
    }
    if (prefault != 0) {
        void *p = xs_supply_prefault(&prefault, o->prefault_lock);
        add_kept(p, prefault);
    }
}

static size_t region_most(void)
{
    uint64_t most = xs_mem_limit() / REGION_PART;

    if (most >= REGION_MAX_BYTES)
        return REGION_MAX_BYTES;
    return most < REGION_LEAST ? REGION_LEAST : xs_align_down((size_t)most, REGION_LEAST);
}

int xs_span_open(const struct xs_span_options *o)
{
    size_t most = region_most();
    /* A first region that was asked for is not made smaller. */
    bool is_small = o->allow_growth && o->initial_bytes == FIRST_BYTES && most < FIRST_BYTES;
    struct xs_bfc_options bfc = {
        /* What is given back must be whole pages of the kernel's. */
        .unit = xs_mem_page() > XS_SPAN_PAGE ? xs_mem_page() : XS_SPAN_PAGE,
        .initial_bytes = is_small ? most : o->initial_bytes,
        .region_max_bytes = most,
        .limit_bytes = o->limit_bytes,
        .allow_growth = o->allow_growth,
        .garbage_collection = o->garbage_collection,
        .coalesce_on_free = o->coalesce_on_free,
        .fragmentation_permille = o->fragmentation_permille,
    };

    xs_spans.decay_ns = o->decay_ns;
    xs_spans.huge_from = xs_huge_open(xs_supply_is_auto());
    xs_spans.limit_bytes = o->limit_bytes;
    xs_spans.is_limited = o->limit_bytes != 0 || o->is_limited;
    xs_spans.is_barred = o->is_barred;
    int rc = xs_arenas_open(o, &bfc);
    if (rc == 0)
        get_kept(o);
    return rc;
}

unsigned xs_span_parts(void)
{
    return xs_spans.parts;
}

unsigned xs_span_part(void)
{
    return xs_numa_here();
}

/* ---- take ------------------------------------------------------------------------------- */

/* True: the caller may grow the arena. False: somebody else just did, or was at it for long. */
static bool begin_growth(struct xs_span_arena *s)
{
    if (!atomic_exchange_explicit(&s->is_growing, true, memory_order_acquire))
        return true;
    for (unsigned i = 0; i < GROWTH_WAITS; i++) {
        xs_pause_ns(GROWTH_WAIT_NS);
        if (!atomic_load_explicit(&s->is_growing, memory_order_relaxed))
            return false;
    }
    return false;
}

/* With no lock held; the region is in order but for being the core's. */
static void *map_region(struct xs_span_arena *s, size_t *size, size_t least, size_t align)
{
    unsigned node = xs_span_part_of_arena(s);

    for (;;) {
        size_t got = *size;
        uint64_t sum = atomic_load_explicit(&xs_spans.reserved_bytes, memory_order_relaxed);
        void *p = NULL;
        if (sum == 0 && got == FIRST_BYTES && least <= got / 2 && align <= XS_SPAN_PAGE &&
            s->bfc.options.allow_growth)
            p = xs_supply_map_first(node, &got);
        if (p == NULL)
            p = xs_supply_map(node, &got, align, sum);
        bool is_fine = p != NULL && xs_page_map_prepare(p, got) == 0;
        sum = is_fine
                  ? atomic_fetch_add_explicit(&xs_spans.reserved_bytes, got, memory_order_relaxed)
                  : 0;
        if (is_fine && xs_spans.limit_bytes != 0 && sum + got > xs_spans.limit_bytes) {
            atomic_fetch_sub_explicit(&xs_spans.reserved_bytes, got, memory_order_relaxed);
            is_fine = false;
        }
        if (is_fine)
            note_peak(sum + got);
        if (p != NULL && !is_fine) {
            (void)xs_supply_unmap(p, got);
            p = NULL;
        }
        if (p != NULL || *size == least) {
            *size = got;
            return p;
        }
        *size = xs_bfc_less(&s->bfc, *size, least);
    }
}

/* The arena's lock is held. One alone knows its peak; of several the sum has one of its own, which
 * is seen to after so many bytes, as threads have arenas so that they share no line. */
XS_INLINE void tell_use(struct xs_span_arena *s)
{
    if (XS_LIKELY(xs_span_arenas() == 1))
        return;
    int64_t more = (int64_t)(s->bfc.stats.in_use_bytes - s->told_bytes);
    if (more < XS_SPAN_TELL &&
        (-more < XS_SPAN_TELL ||
         (++s->untold < XS_SPAN_TELL_LATER && s->bfc.stats.in_use_bytes >= s->told_bytes / 2)))
        return;
    s->untold = 0;
    s->told_bytes += (uint64_t)more;
    uint64_t before =
        atomic_fetch_add_explicit(&xs_spans.told_bytes, (uint64_t)more, memory_order_relaxed);
    raise_to(&xs_spans.told_peak_bytes, before + (uint64_t)more);
}

/* The arena's lock is held. */
XS_INLINE void look_for_fresh(struct xs_span_arena *s, xs_chunk c, struct xs_span *out)
{
    out->fresh_bytes = 0;
    if (XS_UNLIKELY(s->bfc.stats.in_use_bytes >= xs_spans.huge_from)) {
        out->fresh_bytes = xs_bfc_fresh_bytes(&s->bfc, c, XS_MEM_HUGE);
        out->is_of_large = s->bfc.stats.in_use_bytes >= XS_HUGE_FROM;
    }
}

XS_INLINE void hand_out(struct xs_span_arena *s, const struct xs_bfc_taken *taken,
                        struct xs_span *out)
{
    out->chunk = everybodys(s, taken->chunk);
    out->p = taken->p;
    out->is_zero = taken->is_zero;
    look_for_fresh(s, taken->chunk, out);
    tell_use(s);
}

/* A large block takes what has memory before what has none. */
XS_COLD static enum xs_bfc_how prefer_used(struct xs_span_arena *s, size_t size, size_t align,
                                           enum xs_bfc_how how)
{
    return how == XS_BFC_HELD && align <= XS_SPAN_PAGE && size <= XS_SIZE_MAX_REQUEST / 4 &&
                   xs_bfc_open_used(&s->bfc, xs_align_up(size, s->bfc.options.unit))
               ? XS_BFC_OPEN
               : how;
}

XS_INLINE bool take_free(struct xs_span_arena *s, size_t size, size_t align, enum xs_bfc_how how,
                         struct xs_span *out)
{
    struct xs_bfc_taken taken;

    if (XS_UNLIKELY(size >= MAKE_UP_FROM))
        how = prefer_used(s, size, align, how);
    if (XS_UNLIKELY(!xs_bfc_take(&s->bfc, size, align, how, &taken)))
        return false;
    hand_out(s, &taken, out);
    return true;
}

/* With no lock held. */
XS_INLINE void see_to_pages(const struct xs_span *out)
{
    if (XS_UNLIKELY(out->fresh_bytes != 0))
        xs_huge_enter(out->p, out->fresh_bytes, out->is_of_large);
}

static _Atomic uint64_t growth_ns;

/* From a new region of about `size` bytes; false: there is none to be had. */
static bool take_new(struct xs_span_arena *s, size_t size, size_t least, size_t align,
                     size_t request, struct xs_span *out)
{
    bool added = false;
    bool done = false;

    uint64_t from = xs_proc_now_ns();
    void *p = map_region(s, &size, least, align);
    atomic_fetch_add_explicit(&growth_ns, xs_proc_now_ns() - from, memory_order_relaxed);
    if (p != NULL) {
        xs_lock_take(&s->lock);
        struct xs_bfc_taken taken;
        added = xs_bfc_add(&s->bfc, p, size);
        done = added && xs_bfc_take_newest(&s->bfc, request, align, &taken);
        if (done)
            hand_out(s, &taken, out);
        xs_lock_give(&s->lock);
        if (!added)
            (void)xs_span_unmap(p, size);
        if (done)
            see_to_pages(out);
    }
    atomic_store_explicit(&s->is_growing, false, memory_order_release);
    if (done && request >= MAKE_UP_FROM)
        xs_span_make_up(s, request);
    return done;
}

/* From what the arena has or may get. */
static bool take_here(struct xs_span_arena *s, size_t size, size_t align, struct xs_span *out)
{
    for (unsigned tries = 0; tries < TRIES; tries++) {
        size_t least = 0;
        size_t want = 0;
        bool collect = false;

        xs_lock_take(&s->lock);
        bool done = take_free(s, size, align, XS_BFC_HELD, out);
        bool records = xs_bfc_wants_records(&s->bfc);
        if (!done) {
            want = xs_bfc_growth(&s->bfc, size, align, &least);
            collect = want == 0 && xs_bfc_worth_collecting(&s->bfc, size);
        }
        xs_lock_give(&s->lock);
        if (XS_UNLIKELY(records) && !xs_arena_add_records(s) && !done)
            return false;
        if (XS_LIKELY(done)) {
            see_to_pages(out);
            return true;
        }
        if (want == 0) {
            if (!collect || xs_span_collect(s) == 0)
                break;
        } else if (begin_growth(s) || tries >= PATIENT_TRIES) {
            if (take_new(s, want, least, align, size, out))
                return true;
            break;
        }
    }
    /* Whatever is left, wherever it lies. */
    xs_lock_take(&s->lock);
    bool done = take_free(s, size, align, XS_BFC_ANY, out);
    xs_lock_give(&s->lock);
    return done;
}

/* What another thread is just giving back is neither free nor gone. */
static bool wait_for_giver(void)
{
    if (!atomic_load_explicit(&xs_spans.is_giving, memory_order_relaxed) || xs_span_is_giver())
        return false;
    for (unsigned i = 0; i < GIVING_WAITS; i++) {
        xs_pause_ns(GIVING_WAIT_NS);
        if (!atomic_load_explicit(&xs_spans.is_giving, memory_order_acquire))
            return true;
    }
    return false;
}

/* Better from another one, or far away, than not at all. */
static bool take_elsewhere(const struct xs_span_arena *mine, size_t size, size_t align,
                           struct xs_span *out)
{
    for (unsigned i = 0; i < xs_span_arenas(); i++) {
        struct xs_span_arena *s = xs_spans.arena[i];
        if (s != mine && xs_span_part_of_arena(s) < xs_spans.parts &&
            take_here(s, size, align, out))
            return true;
    }
    return false;
}

/* The arena has all the chunks that its numbers do for. */
static bool take_beyond(struct xs_span_arena *mine, size_t size, size_t align, struct xs_span *out)
{
    xs_lock_take(&mine->lock);
    bool is_full = xs_bfc_is_full(&mine->bfc);
    xs_lock_give(&mine->lock);
    if (!is_full || !xs_arena_move_beyond())
        return false;
    return take_here(xs_arena_here(), size, align, out);
}

static __attribute__((noinline)) bool take_slow(struct xs_span_arena *mine, size_t size,
                                                size_t align, struct xs_span *out)
{
    if (xs_spans.is_barred)
        return false;
    int saved = errno;
    bool done = take_here(mine, size, align, out) || take_beyond(mine, size, align, out) ||
                take_elsewhere(mine, size, align, out);

    if (!done && wait_for_giver())
        done = take_here(mine, size, align, out);
    errno = saved;
    return done;
}

XS_COLD static void more_records(struct xs_span_arena *s)
{
    int saved = errno;

    (void)xs_arena_add_records(s);
    errno = saved;
}

/* Back into the arena, whose they are and whose lock is held. */
XS_INLINE int free_all(struct xs_span_arena *s, const xs_chunk chunks[], unsigned n, uint64_t now)
{
    int rc = 0;

    for (unsigned i = 0; i < n && rc == 0; i++)
        rc = xs_bfc_free(&s->bfc, own(chunks[i]), now);
    return rc;
}

static void check_free(int rc, const void *p)
{
    if (rc != 0)
        xs_die(rc == EINVAL ? "double free" : "corrupted heap", p);
    xs_keeper_poke();
}

/* From what the arena has, as nearly always, after what goes back to it. */
XS_INLINE bool take_held(struct xs_span_arena *s, const xs_chunk chunks[], unsigned n, size_t size,
                         size_t align, bool is_used, struct xs_span *out)
{
    uint64_t now = n != 0 ? xs_span_now_ns() : 0;

    xs_lock_take(&s->lock);
    int rc = free_all(s, chunks, n, now);
    bool done = take_free(s, size, align, is_used ? XS_BFC_USED : XS_BFC_HELD, out);
    bool records = xs_bfc_wants_records(&s->bfc);
    uint32_t turns = xs_arena_turn(s);
    xs_lock_give(&s->lock);
    xs_arena_took(turns);
    if (n != 0)
        check_free(rc, NULL);
    if (XS_UNLIKELY(records) && done)
        more_records(s);
    if (done)
        see_to_pages(out);
    return done;
}

XS_INLINE struct xs_span_arena *arena_to_take_from(void)
{
    struct xs_span_arena *s = xs_arena_here();

    if (XS_UNLIKELY(xs_lock_is_held(&s->lock)))
        return xs_arena_crowded(s);
    xs_arena_calm();
    return s;
}

bool xs_span_take(size_t size, size_t align, struct xs_span *out)
{
    struct xs_span_arena *s = arena_to_take_from();

    return XS_LIKELY(take_held(s, NULL, 0, size, align, false, out)) ||
           take_slow(s, size, align, out);
}

bool xs_span_take_used(size_t size, size_t align, struct xs_span *out)
{
    return take_held(xs_arena_here(), NULL, 0, size, align, true, out);
}

bool xs_span_exchange(const xs_chunk chunks[], unsigned n, size_t size, size_t align,
                      struct xs_span *out)
{
    struct xs_span_arena *s = arena_to_take_from();
    int saved = errno;
    unsigned here = 0;

    while (here < n && arena_of(chunks[here]) == s)
        here++;
    if (here < n)
        xs_span_give(&chunks[here], n - here, NULL);
    bool done = take_held(s, chunks, here, size, align, false, out);
    errno = saved;
    return XS_LIKELY(done) || take_slow(s, size, align, out);
}

/* ---- give ------------------------------------------------------------------------------- */

void xs_span_give(const xs_chunk chunks[], unsigned n, const void *p)
{
    int saved = errno;
    uint64_t now = xs_span_now_ns();
    int rc = 0;

    for (unsigned i = 0; i < n && rc == 0;) {
        struct xs_span_arena *s = arena_of(chunks[i]);
        unsigned first = i;
        while (i < n && arena_of(chunks[i]) == s)
            i++;
        xs_lock_take(&s->lock);
        rc = free_all(s, &chunks[first], i - first, now);
        tell_use(s);
        xs_lock_give(&s->lock);
    }
    check_free(rc, p);
    errno = saved;
}

/* Records of chunks in use are only changed by their owner, so reading them needs no lock. */
void *xs_span_address(xs_chunk chunk)
{
    return xs_bfc_address(&arena_of(chunk)->bfc, own(chunk));
}

size_t xs_span_used(xs_chunk chunk)
{
    return xs_bfc_used(&arena_of(chunk)->bfc, own(chunk));
}

size_t xs_span_requested(xs_chunk chunk)
{
    return xs_bfc_requested(&arena_of(chunk)->bfc, own(chunk));
}

bool xs_span_resize(xs_chunk chunk, size_t size)
{
    struct xs_span_arena *s = arena_of(chunk);

    xs_lock_take(&s->lock);
    bool done = xs_bfc_resize(&s->bfc, own(chunk), size, xs_span_now_ns());
    tell_use(s);
    xs_lock_give(&s->lock);
    return done;
}

/* ---- statistics and the walker ---------------------------------------------------------- */

static void add(struct xs_bfc_stats *sum, const struct xs_bfc_stats *s)
{
    sum->allocations += s->allocations;
    sum->frees += s->frees;
    sum->failures += s->failures;
    sum->in_use_bytes += s->in_use_bytes;
    if (s->in_use_peak_bytes > sum->in_use_peak_bytes)
        sum->in_use_peak_bytes = s->in_use_peak_bytes;
    sum->requested_bytes += s->requested_bytes;
    sum->reserved_bytes += s->reserved_bytes;
    sum->reserved_peak_bytes += s->reserved_peak_bytes;
    sum->free_bytes += s->free_bytes;
    sum->purged_bytes += s->purged_bytes;
    sum->ever_purged_bytes += s->ever_purged_bytes;
    sum->refilled_bytes += s->refilled_bytes;
    sum->regions += s->regions;
    sum->growth_steps += s->growth_steps;
    sum->arenas += s->growth_steps != 0;
    sum->collected += s->collected;
    sum->chunks_in_use += s->chunks_in_use;
    sum->chunks_free += s->chunks_free;
    if (s->largest_allocation_bytes > sum->largest_allocation_bytes)
        sum->largest_allocation_bytes = s->largest_allocation_bytes;
    if (s->largest_free_bytes > sum->largest_free_bytes)
        sum->largest_free_bytes = s->largest_free_bytes;
}

/* False: a lock is held, and the caller may not wait. */
static bool add_arenas(struct xs_bfc_stats *sum, bool may_wait)
{
    for (unsigned i = 0; i < xs_span_arenas(); i++) {
        struct xs_span_arena *s = xs_spans.arena[i];
        struct xs_bfc_stats one;
        if (may_wait)
            xs_lock_take(&s->lock);
        else if (!xs_lock_try(&s->lock))
            return false;
        xs_bfc_stats_get(&s->bfc, &one);
        xs_lock_give(&s->lock);
        add(sum, &one);
    }
    return true;
}

static bool stats(struct xs_bfc_stats *sum, bool may_wait)
{
    *sum = (struct xs_bfc_stats){.limit_bytes = xs_spans.limit_bytes};
    if (!add_arenas(sum, may_wait))
        return false;
    /* Not the sums of peaks, which were at different times. */
    uint64_t told = atomic_load_explicit(&xs_spans.told_peak_bytes, memory_order_relaxed);
    if (told > sum->in_use_peak_bytes)
        sum->in_use_peak_bytes = told;
    if (sum->in_use_bytes > sum->in_use_peak_bytes)
        sum->in_use_peak_bytes = sum->in_use_bytes;
    sum->reserved_peak_bytes =
        atomic_load_explicit(&xs_spans.reserved_peak_bytes, memory_order_relaxed);
    sum->fragmentation = sum->free_bytes == 0
                             ? 0.0
                             : 1.0 - (double)sum->largest_free_bytes / (double)sum->free_bytes;
    return true;
}

uint64_t xs_span_growth_ns(void)
{
    return atomic_load_explicit(&growth_ns, memory_order_relaxed);
}

void xs_span_stats(struct xs_bfc_stats *out)
{
    (void)stats(out, true);
}

bool xs_span_stats_try(struct xs_bfc_stats *out)
{
    return stats(out, false);
}

void xs_span_free_by_size(uint64_t bytes[XS_BFC_FREE_SIZES])
{
    memset(bytes, 0, XS_BFC_FREE_SIZES * sizeof(bytes[0]));
    for (unsigned i = 0; i < xs_span_arenas(); i++) {
        xs_lock_take(&xs_spans.arena[i]->lock);
        xs_bfc_free_by_size(&xs_spans.arena[i]->bfc, bytes);
        xs_lock_give(&xs_spans.arena[i]->lock);
    }
}

bool xs_span_check(struct xs_buf *why)
{
    bool fine = true;

    for (unsigned i = 0; i < xs_span_arenas() && fine; i++) {
        xs_lock_take(&xs_spans.arena[i]->lock);
        fine = xs_bfc_check(&xs_spans.arena[i]->bfc, why);
        xs_lock_give(&xs_spans.arena[i]->lock);
    }
    return fine;
}

bool xs_span_is_barred(void)
{
    return xs_spans.is_barred;
}

bool xs_span_is_limited(void)
{
    return xs_spans.is_limited;
}
