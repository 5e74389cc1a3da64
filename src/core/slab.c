#include "core/slab.h"

#include "core/size_class.h"
#include "sys/die.h"
#include "sys/mem.h"

/* The first ones are among what every process writes to: a small one has no others, and touches no
 * page of the table. In the first block their places stay empty. */
#define FEW 8u
XS_BUSY _Alignas(XS_NO_SHARE) static struct xs_slab few[FEW];
static _Atomic(struct xs_slab_block *) first_block;
XS_SELDOM static _Atomic(struct xs_slab_block *) blocks[XS_SLABS_MAX / XS_SLABS_PER_BLOCK];
static _Atomic uint32_t count;
struct xs_slab xs_slab_none;

_Static_assert(sizeof(struct xs_slab) == XS_NO_SHARE, "two lines a record");

static _Atomic(struct xs_slab_block *) *block_of(uint32_t index)
{
    uint32_t block = index / XS_SLABS_PER_BLOCK;

    return block == 0 ? &first_block : &blocks[block];
}

struct xs_slab *xs_slab_at(uint32_t index)
{
    if (index < FEW)
        return &few[index];
    struct xs_slab_block *block = atomic_load_explicit(block_of(index), memory_order_acquire);

    return &block->slab[index % XS_SLABS_PER_BLOCK];
}

static bool have_block(uint32_t index)
{
    _Atomic(struct xs_slab_block *) *at = block_of(index);
    struct xs_slab_block *none = NULL;

    if (atomic_load_explicit(at, memory_order_acquire) != NULL)
        return true;
    struct xs_slab_block *fresh = xs_mem_map(sizeof(*fresh), 1);
    if (fresh == NULL)
        return index < FEW; /* those that it has not are tried again */
    /* Release: whoever loads the pointer sees the zeroed block. */
    if (!atomic_compare_exchange_strong_explicit(at, &none, fresh, memory_order_acq_rel,
                                                 memory_order_acquire))
        (void)xs_mem_unmap(fresh, sizeof(*fresh));
    return true;
}

bool xs_slab_records(unsigned n, uint32_t *first)
{
    *first = atomic_load_explicit(&count, memory_order_relaxed);
    do {
        if (*first + n > XS_SLABS_MAX || !have_block(*first) || !have_block(*first + n - 1))
            return false;
    } while (!atomic_compare_exchange_weak_explicit(&count, first, *first + n, memory_order_acq_rel,
                                                    memory_order_relaxed));
    return true;
}

uint32_t xs_slab_count(void)
{
    return atomic_load_explicit(&count, memory_order_acquire);
}

unsigned xs_slab_span_kind(unsigned class, bool is_few)
{
    size_t bytes = xs_class_bytes(class);

    if (is_few && bytes <= XS_SLAB_FEW_BYTES)
        return XS_SLAB_FEW;
    return bytes <= (size_t)4 << 10 ? XS_SLAB_SMALL : bytes <= (size_t)32 << 10 ? 2 : 3;
}

size_t xs_slab_span_bytes(unsigned kind)
{
    static const size_t bytes[XS_SLAB_SPAN_KINDS] = {(size_t)16 << 10, (size_t)64 << 10,
                                                     (size_t)256 << 10, XS_SLAB_SPAN};

    return bytes[kind];
}

/* The next larger number with as many bits. */
static uint32_t next_tag(uint32_t tag)
{
    uint32_t low = tag & (0 - tag);
    uint32_t high = tag + low;

    return high | (tag ^ high) / low >> 2;
}

uint32_t xs_heap_tag(uint32_t heap)
{
    uint32_t tag = XS_TAG_FIRST;

    for (uint32_t i = 1; i < heap && i < XS_HEAP_TAGS; i++)
        tag = next_tag(tag);
    return XS_OWNER_BFC | (tag << XS_OWNER_BITS & 0xFF) | tag >> (8 - XS_OWNER_BITS) << 16;
}

bool xs_slab_push_remote(struct xs_slab *s, void **head, uint32_t n)
{
    uint64_t new;

    xs_prefetch_write(&s->remote);
    uint64_t old = atomic_load_explicit(&s->remote, memory_order_relaxed);

    do {
        xs_chain_link(head, XS_REMOTE_LIST(old));
        new = (uint64_t)(uintptr_t)head | (uint64_t)(XS_REMOTE_COUNT(old) + n) << 48;
        /* Release pairs with the heap's acquire: it sees the links. */
    } while (!atomic_compare_exchange_weak_explicit(&s->remote, &old, new, memory_order_release,
                                                    memory_order_relaxed));
    return old == 0;
}

void xs_slab_die(const void *p)
{
    xs_die("corrupted free list", p);
}

bool xs_slab_use_chain(struct xs_slab *s)
{
    void **chain = s->chains;

    if (chain == NULL)
        return false;
    if (!xs_slab_contains(s, chain))
        xs_slab_die(chain);
    s->chains = xs_chain_next(chain);
    ((uintptr_t *)chain)[1] = XS_FREE_MARK;
    s->free = chain;
    return true;
}

bool xs_slab_take_remote(struct xs_slab *s)
{
    /* Mostly there is nothing, and an exchange would wait for all stores before it. */
    if (atomic_load_explicit(&s->remote, memory_order_relaxed) == 0)
        return false;
    /* Acquire pairs with xs_slab_push_remote. */
    uint64_t r = atomic_exchange_explicit(&s->remote, 0, memory_order_acquire);
    void **first = XS_REMOTE_LIST(r);
    uint32_t n = XS_REMOTE_COUNT(r);

    if (n > xs_slab_used(s))
        xs_die("double free", first);
    if (s->chains != NULL) {
        void **last = first;
        for (void **next; (next = xs_chain_next(last)) != NULL; last = next)
            if (!xs_slab_contains(s, next))
                xs_slab_die(last);
        xs_chain_link(last, s->chains);
    }
    s->chains = first;
    s->held -= n;
    return true;
}
