/* backend/hardened.h - the own core with every block sealed, so that misuse of the heap ends the
 * process with a message instead of going on.
 *
 * In place of xs_backend_bfc. A block ends in a seal of 24 bytes: a copy of the seal's word right
 * behind what was asked for, the word itself, and where the block was allocated, at the end of the
 * block's class. The word is size and kind, exclusive-ored with the block's address and a key of
 * the process, so it is right for this block only. Freed, it becomes a mark with the place of the
 * free, which stays until the block is used again.
 *
 *     check   each free looks at the seal: double and invalid frees, a delete of what malloc gave,
 *             and overflows are found then. Places are one call each.
 *     full    besides: whole stacks; a freed block is filled, waits, and is looked at before it is
 *             used again; blocks come zeroed; large ones stand before a page that nobody may touch.
 *     Either, or neither, with a guard page for one in so many small blocks (backend/guard.h).
 *
 * Units:   bytes.
 * Threads: any. Context: inside malloc; open: the constructor's.
 * Errors:  as core/heap.h. Misuse: a message on standard error, then abort.
 * Cost:    check: some 30 instructions for a malloc and its free, and 24 bytes a block.
 * Source:  canaries after StackGuard (Cowan et al., 1998); guard pages after Electric Fence
 *          (Perens, 1987), the sampling of them after GWP-ASan.
 */
#ifndef XS_BACKEND_HARDENED_H
#define XS_BACKEND_HARDENED_H

#include "backend/hot.h"

/* In the order of the choices of XSIGMA_CPU_HARDENED. */
enum xs_hardened_mode { XS_HARDENED_OFF, XS_HARDENED_CHECK, XS_HARDENED_FULL };

/* What a block freed by the wrong call comes to, in the order of XSIGMA_CPU_MISMATCH: it is found
 * by its address alone, so nothing breaks, and some programs rely on that. */
enum xs_hardened_mismatch { XS_MISMATCH_WARN, XS_MISMATCH_END, XS_MISMATCH_OFF };

/* What a block was got by, and so how it must be freed. */
enum xs_block_kind {
    XS_BLOCK_MALLOC,
    XS_BLOCK_NEW,
    XS_BLOCK_NEW_ARRAY,
    XS_BLOCK_NEW_ALIGNED,
    XS_BLOCK_NEW_ARRAY_ALIGNED,
    XS_BLOCK_KINDS
};

extern const struct xs_backend xs_backend_hardened;

/* It is what serves the owner bfc. */
XS_INLINE bool xs_hardened_is_on(void)
{
    return xs_hot.backend[XS_OWNER_BFC] == &xs_backend_hardened;
}

/* For xs_hot.hardened.key, from the kernel's random bytes. */
uint64_t xs_hardened_key(void);

/* A block that the policy's malloc gave is one of operator new, called from `pc`. NULL allowed. */
void *xs_hardened_mark(void *p, enum xs_block_kind kind, uintptr_t pc);

/* Who called the realloc that is under way, where it does not come straight from the program. */
extern XS_HIDDEN XS_TLS uintptr_t xs_hardened_caller;

/* Any block, through operator delete or a free that tells the size; SIZE_MAX: it does not. */
void xs_hardened_free(void *p, enum xs_block_kind kind, size_t size, uintptr_t pc);

/* At the end of the process: what was freed and still waits must be as it was left. */
XS_INLINE bool xs_hardened_has_end(void)
{
    return xs_hardened_is_on() && xs_hot.hardened.mode == XS_HARDENED_FULL;
}
void xs_hardened_at_end(void);

/* Freed blocks that wait; the program has freed them, the core does not know yet. */
uint64_t xs_hardened_waiting(void);

#endif
