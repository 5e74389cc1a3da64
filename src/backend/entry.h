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

XS_INLINE void *xs_entry_malloc(size_t size)
{
    if (XS_LIKELY(xs_hot.is_core))
        return xs_heap_malloc_inline(size);
    return xs_hot.entry.malloc(size);
}

XS_INLINE void xs_entry_free(void *p)
{
    if (XS_UNLIKELY(!xs_hot.is_core))
        xs_hot.entry.free(p);
    else if (XS_UNLIKELY(!xs_heap_free_at(p, xs_page_map_get(p))))
        xs_any_free(p);
}

#endif
