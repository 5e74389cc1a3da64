/* backend/hardened_block.h - sealed blocks, for the files that make up backend/hardened.h.
 * Everything as there.
 */
#ifndef XS_BACKEND_HARDENED_BLOCK_H
#define XS_BACKEND_HARDENED_BLOCK_H

#include "backend/hardened.h"
#include "core/thread_heap.h"

/* The word comes last, so that what is written before the start of the next block is seen too. */
struct xs_seal {
    uint64_t place; /* of the allocation: a return address, under full the number of a stack */
    uint64_t word;
};

/* With the copy of the word. */
#define XS_SEAL_BYTES (sizeof(struct xs_seal) + sizeof(uint64_t))

/* A word less address and key: the kind above 48 bits of size, or this above the place of the free.
 */
#define XS_SEAL_SHIFT 48
#define XS_SEAL_LOW   (((uint64_t)1 << XS_SEAL_SHIFT) - 1)
#define XS_SEAL_DEAD  ((uint64_t)0xDEAD << XS_SEAL_SHIFT)

/* Instead of a class in the page map's entry: one of backend/guard.h. */
#define XS_CLASS_GUARD 0xFCu

#define XS_PC          ((uintptr_t)__builtin_return_address(0))

/* What a message tells of a block. */
struct xs_story {
    uint64_t size; /* XS_UNKNOWN */
    enum xs_block_kind kind;
    uint64_t allocated; /* places; 0: unknown */
    uint64_t freed;
    bool has_stacks; /* places are numbers of backend/stacks.h, else return addresses */
};

/* One line, "xsigma: WHAT: 0xADDRESS", then where this and the block's life took place, then abort.
 */
XS_COLD XS_NORETURN void xs_hardened_die(const char *what, const void *p, const struct xs_story *s,
                                         uintptr_t pc);

/* The same without the abort, found in these calls. */
void xs_hardened_tell(const char *what, const void *p, const struct xs_story *s,
                      const uintptr_t found[], unsigned n);

/* The block's seal is not that of a live block of this kind. Its size, where it is one of another
 * kind and that is let pass. */
XS_COLD size_t xs_hardened_accuse(void *p, uint64_t entry, enum xs_block_kind kind, uintptr_t pc);

/* A live block, but of another kind, or of another size than `delete` says; these return where
 * XSIGMA_CPU_MISMATCH lets it pass. */
XS_COLD void xs_hardened_accuse_kind(const void *p, const struct xs_story *s,
                                     enum xs_block_kind kind, uintptr_t pc);
XS_COLD void xs_hardened_accuse_size(const void *p, const struct xs_story *s, uintptr_t pc);

/* A freed block was written to. */
XS_COLD XS_NORETURN void xs_hardened_accuse_late(void *p, const struct xs_seal *seal);

/* A pointer that no page map knows: returns if it may be the C library's. */
XS_COLD void xs_hardened_suspect(void *p, uintptr_t pc);

/* "free", "delete[]", ... and "malloc", "new[]", ... */
#define XS_FREE_NAME_MOST 20
extern const char xs_free_names[XS_BLOCK_KINDS][XS_FREE_NAME_MOST];

/* Of an entry of the core's: the class of an object or a chunk, or what stands instead. */
XS_INLINE unsigned xs_block_class(uint64_t entry)
{
    return xs_entry_is_object(entry) ? XS_ENTRY_CLASS(entry) : XS_ENTRY_CHUNK_CLASS(entry);
}

/* What a sealed block takes of the core; more than it ever has stays more. */
XS_INLINE size_t xs_with_seal(size_t size)
{
    return size <= XS_SIZE_MAX_REQUEST - XS_SEAL_BYTES ? size + XS_SEAL_BYTES : SIZE_MAX;
}

/* Bytes of a block with this entry, to the end of its seal. */
XS_INLINE size_t xs_sealed_bytes(const void *p, uint64_t entry)
{
    unsigned class = xs_block_class(entry);

    return XS_LIKELY(class < XS_CLASS_COUNT) ? xs_class_bytes(class) : xs_heap_usable_size(p);
}

XS_INLINE struct xs_seal *xs_seal_at(void *p, size_t bytes)
{
    return (struct xs_seal *)(void *)((char *)p + bytes - sizeof(struct xs_seal));
}

XS_INLINE uint64_t xs_seal_open(const struct xs_seal *s, const void *p)
{
    return s->word ^ (uintptr_t)p ^ xs_hot.hardened.key;
}

XS_INLINE uint64_t xs_seal_word(const void *p, uint64_t value)
{
    return value ^ (uintptr_t)p ^ xs_hot.hardened.key;
}

/* `size` + XS_SEAL_BYTES <= `bytes`. */
XS_INLINE void *xs_seal(void *p, size_t bytes, size_t size, enum xs_block_kind kind, uint64_t place)
{
    struct xs_seal *s = xs_seal_at(p, bytes);
    uint64_t word = xs_seal_word(p, size | (uint64_t)kind << XS_SEAL_SHIFT);

    __builtin_memcpy((char *)p + size, &word, sizeof(word));
    s->word = word;
    s->place = place;
    return p;
}

XS_INLINE uint64_t xs_seal_size(void *p, size_t bytes, enum xs_block_kind kind)
{
    return xs_seal_open(xs_seal_at(p, bytes), p) ^ (uint64_t)kind << XS_SEAL_SHIFT;
}

/* It is that of a live block of this kind, and nothing was written to what is behind the block. */
XS_INLINE bool xs_seal_holds(void *p, size_t bytes, enum xs_block_kind kind)
{
    uint64_t size = xs_seal_size(p, bytes, kind);
    uint64_t copy;

    if (XS_UNLIKELY(size > bytes - XS_SEAL_BYTES))
        return false;
    __builtin_memcpy(&copy, (char *)p + size, sizeof(copy));
    return copy == xs_seal_at(p, bytes)->word;
}

/* The size of a live block; what is wrong with it ends the process, or is let pass. */
XS_INLINE size_t xs_seal_check(void *p, uint64_t entry, size_t bytes, enum xs_block_kind kind,
                               uintptr_t pc)
{
    if (XS_UNLIKELY(!xs_seal_holds(p, bytes, kind)))
        return xs_hardened_accuse(p, entry, kind, pc);
    return xs_seal_size(p, bytes, kind);
}

/* ---- hardened_full.c: what `full` does besides ---- */

bool xs_full_open(uint64_t quarantine_bytes);
void *xs_full_alloc(size_t size, size_t align, uintptr_t pc);
void xs_full_retire(void *p, size_t bytes, uintptr_t pc);
uint64_t xs_full_waiting(void);       /* blocks that were freed */
uint64_t xs_full_waiting_bytes(void); /* of the core, with what is around them */
void xs_full_flush(void);
void xs_full_look(void); /* at all of them, which stay */
void xs_full_fork_prepare(void);
void xs_full_fork_parent(void);
void xs_full_fork_child(void);

#endif
