/* backend/entry.h - malloc and free as the exported functions begin them.
 *
 * Everything goes through xs_hot.entry. Where that is the own core, which it is by default, its
 * fast paths stand right here instead: a jump that is always taken costs as much as five
 * instructions.
 *
 * Threads: any. Context: inside malloc. Errors: as the back end's.
 */
#ifndef XS_BACKEND_ENTRY_H
#define XS_BACKEND_ENTRY_H

#include "backend/owner.h"
#include "core/thread_heap.h"

/* Any pointer, NULL too, in another leaf of the page map than the last one. */
void xs_bfc_free_far(void *p);

XS_INLINE void *xs_entry_malloc(size_t size)
{
    if (XS_LIKELY(size < xs_hot.core_below))
        return xs_heap_malloc_small(size);
    return xs_hot.entry.malloc(size);
}

XS_INLINE void xs_entry_free(void *p)
{
    if (XS_UNLIKELY((uintptr_t)p < xs_hot.short_below)) {
        if ((uintptr_t)p >= xs_hot.short_from)
            xs_hot.short_free(p);
        else
            xs_hot.entry.free(p);
        return;
    }
    struct xs_heap *h = xs_heap_mine;
    uint64_t entry;
    if (XS_UNLIKELY(!xs_heap_near(h, p, &entry))) {
        xs_bfc_free_far(p);
        return;
    }
    if (XS_LIKELY(xs_heap_free_inline(h, p, entry)))
        return;
    __asm__("" : "+r"(entry)); /* else the compiler has its lower half ready from the start */
    if (XS_LIKELY(XS_PAGE_MAP_OWNER(entry) == XS_OWNER_BFC))
        xs_heap_free_slow(p, entry);
    else
        xs_any_free(p);
}

#endif
