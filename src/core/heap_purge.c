/* Memory behind free objects of slabs of which something is in use: nobody else can have it, but it
 * need not be there. */
#include "base/align.h"
#include "core/supply.h"
#include "core/thread_heap.h"
#include "sys/mem.h"

/* Of smaller ones little more lies between the words that the lists need. */
#define FROM_BYTES ((size_t)8 << 10)

/* A third word of a free object says that there is nothing behind it. A program that leaves the
 * word as it was, or writes it, has the object passed over once it is free again. That is all:
 * nobody else goes by the word, no block is taken for zero because of it, and lists have the first
 * two. */
static void purge_object(void *p, size_t size)
{
    uintptr_t *word = p;
    uintptr_t page = xs_mem_page();
    uintptr_t from = xs_align_up((uintptr_t)&word[3], page);
    uintptr_t to = xs_align_down((uintptr_t)p + size, page);

    if (word[2] == xs_heap_secret() || from >= to)
        return;
    word[2] = xs_heap_secret();
    (void)xs_supply_purge((void *)from, to - from); // NOLINT(performance-no-int-to-ptr)
}

static void purge_slab(const struct xs_slab *s)
{
    uint32_t most = (uint32_t)(xs_slab_span_bytes(s->kind) / s->size);

    for (void **p = s->free; p != NULL && most > 0; p = p[0], most--)
        purge_object(p, s->size);
}

void xs_heap_purge(struct xs_heap *h)
{
    for (unsigned c = xs_class_of(FROM_BYTES + 1); c < XS_CLASS_SLABS; c++) {
        const struct xs_slab *s = h->hot.current[XS_MAGAZINE_OF(c)];
        if (s != NULL && s != &xs_slab_none)
            purge_slab(s);
        for (s = h->partial[c].first; s != NULL; s = s->next)
            purge_slab(s);
    }
}
