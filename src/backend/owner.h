/* backend/owner.h - whose block is it, and the calls that go by that.
 * Threads: any. Context: inside malloc. Allocates: never by itself.
 * Errors:  as backend/backend.h.
 * Cost:    a range test for mimalloc's reservation, else three loads of the page map.
 */
#ifndef XS_BACKEND_OWNER_H
#define XS_BACKEND_OWNER_H

#include "backend/hot.h"
#include "core/page_map.h"

XS_INLINE bool xs_in_mimalloc_range(const void *p)
{
    return (uintptr_t)p - xs_hot.mimalloc.base < xs_hot.mimalloc.size;
}

/* Of a live block; whatever nobody owns is the C library's, which checks it itself. */
XS_INLINE enum xs_owner xs_owner_of(const void *p)
{
    if (xs_in_mimalloc_range(p))
        return XS_OWNER_MIMALLOC;
    return (enum xs_owner)XS_PAGE_MAP_OWNER(xs_page_map_get(p));
}

/* The step of the policy that a size belongs to. */
XS_INLINE const struct xs_step *xs_step_for(size_t size)
{
    const struct xs_step *s = xs_hot.step;

    while (size > s->last)
        s++;
    return s;
}

/* Any pointer, NULL too; counting or not as the policy says. */
void xs_any_free(void *p);
size_t xs_any_usable_size(void *p);

/* xs_hot.inner.free with errno put back afterwards. */
void xs_errno_keeping_free(void *p);

/* In place when the policy would put `size` where p is already, else by moving it there. */
void *xs_any_realloc(void *p, size_t size);

/* Allocation by size through xs_hot.step. */
extern const struct xs_calls xs_routed_calls;

#endif
