/* realloc: where a block may stay, and when one that keeps growing gets room. */
#include <string.h>

#include "core/thread_heap.h"

/* Above this size a block that keeps growing gets room. Below it, the page that it would have for
 * itself would be mostly waste. */
#define ROOMY_FROM ((size_t)4096)

/* If the last eight that grew past this size have all got so far, the next one most likely will:
 * it takes the room that the one before it has left behind. If it does not, a page is lost. */
#define ROOMY_AGAIN_FROM ((size_t)256)
#define ROOMY_AGAIN      0xFFu

/* The block moved: no free of the program's. */
void xs_heap_free_moved(void *p, uint64_t entry)
{
    (void)xs_heap_free_at(p, entry);
    xs_heap_count_frees(xs_heap_mine, -1);
}

/* To another place: NULL if there is none, which the program need not come to know. */
static void *move(void *p, uint64_t entry, size_t size, size_t kept)
{
    void *q = xs_heap_malloc_inline(size);

    if (q == NULL) {
        xs_heap_forgive(size);
        return NULL;
    }
    memcpy(q, p, kept);
    xs_heap_free_moved(p, entry);
    return q;
}

/* To where the core has no memory. */
XS_COLD static void *move_away(void *p, size_t size)
{
    void *q = xs_heap_lend(NULL, 0, size);

    if (q == NULL)
        return NULL;
    size_t usable = xs_heap_usable_size(p);
    /* It is a block of the core. NOLINTNEXTLINE(clang-analyzer-core.NonNullParamChecker) */
    memcpy(q, p, usable < size ? usable : size);
    xs_heap_free_moved(p, xs_page_map_get(p));
    return q;
}

static void *grow_object(void *p, uint64_t entry, size_t old_size, size_t size)
{
    struct xs_heap *h = xs_heap_mine;
    void *q = NULL;

    if (h->grown == p) {
        if (old_size <= ROOMY_AGAIN_FROM && size > ROOMY_AGAIN_FROM)
            h->reached <<= 1;
        if (size > ROOMY_FROM)
            h->reached |= 1;
        if (size > ROOMY_FROM || (size > ROOMY_AGAIN_FROM && h->kept_room != 0 &&
                                  (h->reached >> 1 & ROOMY_AGAIN) == ROOMY_AGAIN))
            q = xs_large_roomy(h, size);
    }
    if (q == NULL) {
        q = move(p, entry, size, old_size);
    } else {
        memcpy(q, p, old_size);
        xs_heap_free_moved(p, entry);
        xs_heap_count_realloc_request(h, size);
    }
    h = xs_heap_here();
    if (q != NULL && h != &xs_heap_none)
        h->grown = q;
    return q;
}

static __attribute__((noinline)) void *mind_room(struct xs_heap *h, void *p, size_t size)
{
    xs_large_mind(h, size);
    return p;
}

/* All but a block that grows in its room. */
static __attribute__((noinline)) void *realloc_elsewhere(void *p, uint64_t entry, size_t size)
{
    struct xs_heap *h = xs_heap_mine;
    void *q = NULL;

    if (xs_entry_is_object(entry)) {
        size_t old_size = xs_class_bytes(XS_ENTRY_CLASS(entry));
        if (size > old_size) {
            q = grow_object(p, entry, old_size, size);
        } else {
            /* It stays where it is until that would waste more than half. */
            if (size <= old_size / 2)
                q = move(p, entry, size, size);
            if (q == NULL) {
                if (XS_UNLIKELY(xs_may_be_marked(p, XS_FREE_MARK)))
                    xs_heap_die_if_free(p, entry);
                xs_heap_count_realloc_request(h, size);
                q = p;
            }
        }
    } else {
        h = xs_heap_enter();
        q = xs_large_realloc(h, p, entry, size);
        if (h != NULL)
            xs_heap_leave(h);
    }
    if (XS_UNLIKELY(q == NULL))
        q = move_away(p, size);
    if (q != NULL)
        xs_heap_count_realloc(xs_heap_mine);
    else
        xs_heap_note_failure(size);
    return q;
}

/* A block that grows needs no register saved while there is room for it. xs_heap_none has no room.
 */
XS_LINE void *xs_heap_realloc_plainly(void *p, uint64_t entry, size_t size)
{
    struct xs_heap *h = xs_heap_mine;

    if (entry != h->roomy_entry || p != h->roomy || size > h->room_bytes || size < h->roomy_size)
        return realloc_elsewhere(p, entry, size);
    h->roomy_size = size;
    h->reached |= size > ROOMY_FROM;
    xs_heap_count_down(h, size);
    XS_COUNT(h->counts.reallocs, 1);
    return XS_UNLIKELY(size >= h->minded_size) ? mind_room(h, p, size) : p;
}

XS_LINE void *xs_heap_realloc_at(void *p, uint64_t entry, size_t size)
{
    (void)xs_heap_here();
    return xs_sample_is_in_core ? xs_heap_realloc_sampled(p, entry, size)
                                : xs_heap_realloc_plainly(p, entry, size);
}

void *xs_heap_realloc(void *p, size_t size)
{
    return xs_heap_realloc_at(p, xs_page_map_get(p), size);
}
