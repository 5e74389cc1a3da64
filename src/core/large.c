/* Large blocks: chunks of the BFC, and the room that growing ones get. */
#include <string.h>

#include "base/align.h"
#include "core/keeper.h"
#include "core/thread_heap.h"
#include "sys/die.h"

/* Room for a block on its way: so many times what it holds now, within bounds. Untouched memory
 * costs nothing, and only one block of a thread has room. */
#define ROOM_FACTOR ((size_t)16)
#define ROOM_LEAST  ((size_t)256 << 10)
#define ROOM_MOST   ((size_t)64 << 20)

/* What a block leaves of its room is kept for the next one from so much on. */
#define REST_LEAST ((size_t)64 << 10)

/* What a block has grown in its room is told of in such steps. */
#define MIND_STEP ((size_t)256 << 10)

/* A chunk with room is kept up to so many times what other large blocks may be, as empty slabs. */
#define ROOM_KEPT_PER_CACHE 4

static uint64_t chunk_entry(unsigned class, xs_chunk chunk)
{
    return xs_entry_of_chunk(class, 0, chunk);
}

static uint64_t roomy_entry(const struct xs_heap *h, xs_chunk chunk)
{
    return xs_entry_of_chunk(XS_CLASS_ROOMY, (uint16_t)h->id, chunk);
}

/* An entry of the page map can name every chunk. NOLINTNEXTLINE(misc-redundant-expression) */
_Static_assert(((uint64_t)1 << XS_SPAN_CHUNKS_LOG2) <= XS_ENTRY_CHUNKS,
               "an entry of the page map can name every chunk");

static void give(const void *p, uint64_t entry)
{
    xs_chunk chunk = XS_ENTRY_CHUNK(entry);

    xs_page_map_put(p, chunk_entry(XS_CLASS_DEAD, chunk));
    xs_span_give(&chunk, 1, p);
}

void *xs_large_malloc(struct xs_heap *h, size_t size, size_t align, bool *is_zero)
{
    unsigned class = XS_CLASS_ODD;
    size_t bytes;
    struct xs_span span;

    /* Such are asked for to see them fail: no cache need be emptied for them, nor the kernel asked.
     */
    if (size > XS_PAGE_MAP_BYTES || align > XS_PAGE_MAP_BYTES)
        return NULL;
    if (size > XS_SLAB_MAX_BYTES && size <= XS_CLASS_MAX_BYTES) {
        class = xs_class_of(size);
        bytes = xs_class_bytes(class);
    } else {
        bytes = xs_align_up(size + (size == 0), XS_SPAN_PAGE);
    }
    if (!xs_heap_span(h, bytes, align, h != NULL, &span))
        return NULL;
    *is_zero = span.is_zero;
    xs_page_map_put(span.p, chunk_entry(class, span.chunk));
    return span.p;
}

/* ---- blocks with room ------------------------------------------------------------------- */

static bool is_my_roomy(const struct xs_heap *h, const void *p, uint64_t entry)
{
    return p == h->roomy && entry == h->roomy_entry;
}

static size_t with_room(size_t size)
{
    size_t want = size * ROOM_FACTOR;

    if (xs_span_is_limited())
        return xs_align_up(size, XS_SPAN_PAGE);
    if (size > ROOM_MOST / ROOM_FACTOR)
        want = size + ROOM_MOST;
    return xs_align_up(want < ROOM_LEAST ? ROOM_LEAST : want, XS_SPAN_PAGE);
}

/* The block loses its special place: the room stays with it, as part of what may be used. True if
 * it had one. */
static bool settle_room(const void *p, uint64_t entry)
{
    bool had;

    xs_lock_take(&xs_heaps_lock);
    had = xs_page_map_get(p) == entry;
    if (had)
        xs_page_map_put(p, chunk_entry(XS_CLASS_ODD, XS_ENTRY_CHUNK(entry)));
    xs_lock_give(&xs_heaps_lock);
    return had;
}

static void keep_as_room(struct xs_heap *h, xs_chunk chunk)
{
    h->kept_room = chunk;
    h->kept_room_bytes = xs_span_requested(chunk);
    h->kept_room_is_old = false;
}

/* What was just cut off is the room of the next one, so that blocks that stay lie side by side. */
static void keep_rest(struct xs_heap *h)
{
    size_t rest = h->room_bytes - xs_align_up(h->roomy_size, XS_SPAN_PAGE);
    struct xs_span span;

    if (h->kept_room != 0 || rest < REST_LEAST || rest > ROOM_KEPT_PER_CACHE * h->cache_bytes ||
        !xs_span_take(rest, 0, &span))
        return;
    if (h->kept_room == 0)
        keep_as_room(h, span.chunk);
    else /* a hook of mmap has left some */
        xs_span_give(&span.chunk, 1, NULL);
}

/* Under the lock from the look at the entry on: another thread may just free the block, or ask how
 * much of it may be used. */
void xs_large_give_room(struct xs_heap *h)
{
    if (h->roomy == NULL)
        return;
    bool begun = xs_heap_begin(h);
    bool is_cut = false;
    xs_lock_take(&xs_heaps_lock);
    if (xs_page_map_get(h->roomy) == h->roomy_entry) {
        xs_chunk chunk = XS_ENTRY_CHUNK(h->roomy_entry);
        is_cut = xs_span_resize(chunk, h->roomy_size);
        xs_page_map_put(h->roomy, chunk_entry(XS_CLASS_ODD, chunk));
    }
    xs_lock_give(&xs_heaps_lock);
    h->roomy = NULL;
    h->roomy_entry = 0;
    /* Not under the lock: where another thread was faster, it may be got from the system, and
     * programs hook mmap. */
    if (is_cut)
        keep_rest(h);
    xs_heap_end(h, begun);
}

void xs_large_drop_room(struct xs_heap *h)
{
    if (h->kept_room != 0)
        xs_span_give(&h->kept_room, 1, NULL);
    h->kept_room = 0;
    h->kept_room_bytes = 0;
}

/* Keeps the chunk of a block with room that was just freed, or as much of it as may be kept: false
 * if it is not the heap's own. */
static bool keep_room(struct xs_heap *h, void *p, uint64_t entry)
{
    size_t most = ROOM_KEPT_PER_CACHE * h->cache_bytes;
    xs_chunk chunk = XS_ENTRY_CHUNK(entry);
    bool is_mine;

    if (!is_my_roomy(h, p, entry) || most == 0)
        return false;
    xs_lock_take(&xs_heaps_lock);
    is_mine = xs_page_map_get(p) == entry;
    if (is_mine)
        xs_page_map_put(p, chunk_entry(XS_CLASS_DEAD, chunk));
    xs_lock_give(&xs_heaps_lock);
    if (!is_mine)
        return false;
    h->roomy = NULL;
    h->roomy_entry = 0;
    xs_large_drop_room(h);
    if (h->room_bytes > most)
        (void)xs_span_resize(chunk, most);
    keep_as_room(h, chunk);
    return true;
}

static void have_room(struct xs_heap *h, void *p, xs_chunk chunk, size_t size)
{
    xs_large_give_room(h);
    h->roomy = p;
    h->roomy_entry = roomy_entry(h, chunk);
    h->roomy_size = size;
    h->minded_size = size + MIND_STEP;
    h->room_bytes = xs_span_requested(chunk);
    xs_page_map_put(p, h->roomy_entry);
}

void xs_large_mind(struct xs_heap *h, size_t size)
{
    size_t more = size - h->minded_size + MIND_STEP;

    h->minded_size = size + MIND_STEP;
    xs_heap_mind(more);
}

static void *roomy(struct xs_heap *h, size_t size)
{
    struct xs_span span;

    xs_large_give_room(h); /* what it leaves may do */
    if (h->kept_room != 0 && h->kept_room_bytes >= size) {
        span.chunk = h->kept_room;
        span.p = xs_span_address(span.chunk);
        h->kept_room = 0;
        h->kept_room_bytes = 0;
        have_room(h, span.p, span.chunk, size);
        return span.p;
    }
    if (size > XS_PAGE_MAP_BYTES)
        return NULL;
    xs_heap_mind(size);
    if (!xs_span_take(with_room(size), 0, &span))
        return NULL;
    have_room(h, span.p, span.chunk, size);
    return span.p;
}

void *xs_large_roomy(struct xs_heap *h, size_t size)
{
    bool begun = xs_heap_begin(h);
    void *p = roomy(h, size);

    xs_heap_end(h, begun);
    return p;
}

size_t xs_large_usable(const void *p, uint64_t entry)
{
    unsigned class = XS_ENTRY_CHUNK_CLASS(entry);
    xs_chunk chunk = XS_ENTRY_CHUNK(entry);

    if (class < XS_CLASS_COUNT)
        return xs_class_bytes(class);
    if (class == XS_CLASS_ROOMY) {
        /* What was promised must stay. One's own gives its room away first; what another thread's
         * needs is not known here, so all of it is promised. */
        if (is_my_roomy(xs_heap_here(), p, entry))
            xs_large_give_room(xs_heap_mine);
        else
            (void)settle_room(p, entry);
    }
    return class == XS_CLASS_DEAD ? 0 : xs_align_up(xs_span_requested(chunk), XS_SPAN_PAGE);
}

/* ---- free ------------------------------------------------------------------------------- */

/* A block leaves the magazines: its chunk, to be given back. */
static xs_chunk leave(struct xs_heap *h, void *p, unsigned class)
{
    xs_chunk chunk = XS_ENTRY_CHUNK(xs_page_map_get(p));

    xs_page_map_put(p, chunk_entry(XS_CLASS_DEAD, chunk));
    ((uintptr_t *)p)[1] = 0; /* no mark is left for who gets this memory */
    h->chunk_bytes -= xs_class_bytes_upper(class);
    return chunk;
}

static xs_chunk leave_oldest(struct xs_heap *h, unsigned class)
{
    size_t place = XS_MAGAZINE_OF(class);
    void **oldest = xs_magazine_oldest(&h->hot, place);
    void *p = *oldest;

    h->hot.at[place] -= sizeof(void *);
    memmove(oldest, oldest + 1, xs_magazine_count(&h->hot, place) * sizeof(void *));
    return leave(h, p, class);
}

void xs_large_give_leaving(struct xs_heap *h)
{
    if (h->leaving != 0)
        xs_span_give(h->leaves, h->leaving, NULL);
    h->leaving = 0;
    h->leaving_bytes = 0;
}

/* It goes back with the next take, under the same lock, or when there are many. In a process of one
 * thread at once: that take would only be the longer. */
static void let_go(struct xs_heap *h, xs_chunk chunk, size_t bytes)
{
    h->leaves[h->leaving++] = chunk;
    h->leaving_bytes += bytes;
    if (h->leaving == XS_LEAVES || __libc_single_threaded || xs_span_in_hurry())
        xs_large_give_leaving(h);
}

/* The next one of these, after the last. */
static unsigned next_class(struct xs_heap *h, uint64_t classes)
{
    uint64_t later = classes & ~(uint64_t)0 << h->chunk_turn;
    unsigned at = (unsigned)__builtin_ctzll(later != 0 ? later : classes);

    h->chunk_turn = (at + 1) % 64;
    return at;
}

/* The oldest of a class that has several, each of these in turn; where none has, of any: so that
 * what is kept is of as many sizes as may be, and the next request finds its own. */
void xs_large_make_room(struct xs_heap *h)
{
    for (uint64_t *some = &h->chunk_several; h->chunk_classes != 0;) {
        if (*some == 0)
            some = &h->chunk_classes;
        unsigned at = next_class(h, *some);
        unsigned class = XS_CLASS_SLABS + at;
        if (XS_LIKELY(xs_magazine_count(&h->hot, XS_MAGAZINE_OF(class)) >
                      (some == &h->chunk_several))) {
            let_go(h, leave_oldest(h, class), xs_class_bytes_upper(class));
            return;
        }
        *some &= ~((uint64_t)1 << at);
    }
}

void xs_large_empty_hot(struct xs_heap *h)
{
    xs_chunk chunks[XS_MAGAZINE_CHUNKS];

    for (; h->chunk_classes != 0; h->chunk_classes &= h->chunk_classes - 1) {
        unsigned class = XS_CLASS_SLABS + (unsigned)__builtin_ctzll(h->chunk_classes);
        unsigned n = 0;
        for (void *p; (p = xs_magazine_take(&h->hot, XS_MAGAZINE_OF(class))) != NULL;)
            chunks[n++] = leave(h, p, class);
        if (n != 0)
            xs_span_give(chunks, n, NULL);
    }
    xs_large_give_leaving(h);
}

static void push(struct xs_heap *h, void *p, unsigned class)
{
    uintptr_t *word = p;
    size_t place = XS_MAGAZINE_OF(class);

    word[1] = XS_FREE_MARK;
    xs_magazine_push(&h->hot, place, p);
    h->chunk_bytes += xs_class_bytes_upper(class);
    h->chunk_classes |= (uint64_t)1 << (class - XS_CLASS_SLABS);
    h->chunk_several |= (uint64_t)(xs_magazine_count(&h->hot, place) > 1)
                        << (class - XS_CLASS_SLABS);
    xs_keeper_poke();
}

XS_LINE bool xs_large_keep(struct xs_heap *h, void *p, uint64_t entry)
{
    unsigned class = XS_ENTRY_CHUNK_CLASS(entry);
    const uintptr_t *word = p;

    if (class >= XS_CLASS_COUNT || !xs_magazine_has_room(&h->hot, XS_MAGAZINE_OF(class)) ||
        word[1] == XS_FREE_MARK || h->chunk_bytes + xs_class_bytes_upper(class) > h->chunk_most ||
        xs_span_in_hurry() || xs_span_part_of(XS_ENTRY_CHUNK(entry)) != h->part)
        return false;
    /* A visitor who came in between has only made more room. */
    bool begun = xs_heap_begin(h);
    push(h, p, class);
    xs_heap_end(h, begun);
    return true;
}

/* The same where room has to be made, or the mark may be there by chance: false if it may not. */
static bool keep(struct xs_heap *h, void *p, unsigned class, xs_chunk chunk)
{
    size_t place = XS_MAGAZINE_OF(class);
    size_t bytes = xs_class_bytes(class);
    uintptr_t *word = p;

    if (h->hot.current[place] == NULL)
        xs_heap_open_magazine(h, class);
    if (xs_magazine_capacity(&h->hot, place) == 0 || xs_span_in_hurry() ||
        xs_span_part_of(chunk) != h->part)
        return false;
    if (word[1] == XS_FREE_MARK && xs_heap_any_holds(p, class))
        xs_die("double free", p);
    if (!xs_magazine_has_room(&h->hot, place)) {
        xs_chunk oldest = leave_oldest(h, class);
        xs_span_give(&oldest, 1, NULL);
    }
    while (h->chunk_bytes != 0 && h->chunk_bytes + bytes > h->chunk_most)
        xs_large_make_room(h);
    push(h, p, class);
    return true;
}

bool xs_large_free(struct xs_heap *h, void *p, uint64_t entry)
{
    unsigned class = XS_ENTRY_CHUNK_CLASS(entry);

    if (class < XS_CLASS_COUNT) {
        bool is_kept = h != NULL && keep(h, p, class, XS_ENTRY_CHUNK(entry));
        if (!is_kept)
            give(p, entry);
        return is_kept;
    }
    if (class == XS_CLASS_ROOMY) {
        if (h != NULL && keep_room(h, p, entry))
            return true;
        if (h != NULL && h->roomy == p)
            h->roomy = NULL;
        if (!settle_room(p, entry))
            entry = xs_page_map_get(p);
    }
    if (XS_ENTRY_CHUNK_CLASS(entry) == XS_CLASS_DEAD)
        xs_die("double free", p);
    give(p, entry);
    return false;
}

/* ---- realloc ---------------------------------------------------------------------------- */

/* `old_size` bytes of it are to be kept; `h` may be another heap than the one that gave it room.
 * *counted: the request was, by malloc. */
static void *grow(struct xs_heap *h, void *p, uint64_t entry, size_t old_size, size_t size,
                  bool *counted)
{
    xs_chunk chunk = XS_ENTRY_CHUNK(entry);
    bool on_its_way = h != NULL && (p == h->grown || p == h->roomy);
    void *q = NULL;

    if (XS_ENTRY_CHUNK_CLASS(entry) == XS_CLASS_ROOMY) {
        (void)settle_room(p, entry);
        if (h != NULL && p == h->roomy)
            h->roomy = NULL;
    }
    if (h != NULL)
        h->grown = p;
    xs_heap_mind(size - old_size);
    if (on_its_way && xs_span_resize(chunk, with_room(size))) {
        have_room(h, p, chunk, size);
        return p;
    }
    if (xs_span_resize(chunk, size)) {
        xs_page_map_put(p, chunk_entry(XS_CLASS_ODD, chunk));
        return p;
    }
    if (on_its_way)
        q = xs_large_roomy(h, size);
    if (q == NULL) {
        /* What a magazine has is there already. */
        q = xs_heap_malloc(size);
        *counted = q != NULL;
    }
    if (q == NULL) {
        xs_heap_forgive(size);
        return NULL;
    }
    memcpy(q, p, old_size);
    xs_heap_free_moved(p, xs_page_map_get(p));
    if (h != NULL)
        h->grown = q;
    return q;
}

/* As grow. */
static void *resize(struct xs_heap *h, void *p, uint64_t entry, size_t size, bool *counted)
{
    bool is_mine = h != NULL && is_my_roomy(h, p, entry);
    xs_chunk chunk = XS_ENTRY_CHUNK(entry);
    size_t usable;

    unsigned class = XS_ENTRY_CHUNK_CLASS(entry);
    bool is_marked = class < XS_CLASS_COUNT && ((const uintptr_t *)p)[1] == XS_FREE_MARK;

    if (class == XS_CLASS_DEAD || (XS_UNLIKELY(is_marked) && xs_heap_any_holds(p, class)))
        xs_die("realloc of a freed block", p);
    if (size > XS_SIZE_MAX_REQUEST - XS_SPAN_PAGE)
        return NULL;
    usable = is_mine ? h->room_bytes : xs_large_usable(p, entry);
    if (size > usable)
        return is_mine ? grow(h, p, entry, h->roomy_size, size, counted)
                       : grow(h, p, xs_page_map_get(p), usable, size, counted);
    if (is_mine && size > h->roomy_size / 2) {
        h->roomy_size = size > h->roomy_size ? size : h->roomy_size;
        if (size >= h->minded_size)
            xs_large_mind(h, size);
        return p;
    }
    if (size > usable / 2)
        return p;
    if (size <= XS_SLAB_MAX_BYTES / 2) {
        void *q = xs_heap_malloc(size);
        if (q != NULL) {
            memcpy(q, p, size);
            xs_heap_free_moved(p, xs_page_map_get(p));
            *counted = true;
            return q;
        }
        xs_heap_forgive(size);
    }
    /* What is cut off goes back at once. */
    if (is_mine) {
        (void)settle_room(p, entry);
        h->roomy = NULL;
    }
    if (xs_span_resize(chunk, size))
        xs_page_map_put(p, chunk_entry(XS_CLASS_ODD, chunk));
    return p;
}

void *xs_large_realloc(struct xs_heap *h, void *p, uint64_t entry, size_t size)
{
    bool counted = false;
    bool begun = h != NULL && xs_heap_begin(h);
    void *q = resize(h, p, entry, size, &counted);

    if (h != NULL)
        xs_heap_end(h, begun);

    if (q != NULL && !counted)
        xs_heap_count_realloc_request(h, size);
    return q;
}
