#include "backend/aligned.h"

#include <string.h>

#include "backend/owner.h"

static void *aligned_malloc(size_t size)
{
    return xs_hot.inner.memalign(xs_hot.align, size);
}

static void *aligned_zalloc(size_t size)
{
    void *p = xs_hot.inner.memalign(xs_hot.align, size);

    return p != NULL ? memset(p, 0, size) : NULL;
}

static void *aligned_memalign(size_t align, size_t size)
{
    return xs_hot.inner.memalign(align > xs_hot.align ? align : xs_hot.align, size);
}

/* No back end promises more than 16 bytes from realloc: what comes back askew moves once more. The
 * second move is ours and not counted. */
static void *aligned_realloc(void *p, size_t size)
{
    void *q = xs_hot.inner.realloc(p, size);

    if (q == NULL || ((uintptr_t)q & (xs_hot.align - 1)) == 0)
        return q;
    const struct xs_backend *b = xs_backends[xs_owner_of(q)];
    void *straight = b->calls(false)->memalign(xs_hot.align, size);
    if (straight == NULL) {
        if (b->uncount_failure != NULL)
            b->uncount_failure(size);
        return q; /* memory is out; the block is too precious to lose for its alignment */
    }
    memcpy(straight, q, size);
    b->free_own(q);
    if (b->uncount_move != NULL)
        b->uncount_move(size);
    return straight;
}

static void aligned_free(void *p)
{
    xs_hot.inner.free(p);
}

struct xs_calls xs_aligned_calls(void)
{
    return (struct xs_calls){
        .malloc = aligned_malloc,
        .zalloc = aligned_zalloc,
        .realloc = aligned_realloc,
        .memalign = aligned_memalign,
        .free = aligned_free,
    };
}
