/* backend/guard.h - blocks that end where a page begins that nobody may touch, or begin where one
 * ends, and that nobody may touch once they are freed.
 *
 * Each has pages of its own. What is read or written on that side of it, or after its free, is a
 * fault at that very instruction, what is written on the other side is seen at its free. A handler
 * of SIGSEGV says which block it was, and lets the signal go its way. A program that sets its own
 * handler gets the signal without the message.
 *
 * Units:   bytes.
 * Owns:    the pages, until so many others have been freed since.
 * Threads: any. Context: inside malloc, with no lock held. Allocates: by mmap.
 * Errors:  NULL = none to be had: the caller takes an ordinary block. Misuse: as hardened.h.
 * Cost:    three system calls for a block, two for its free.
 */
#ifndef XS_BACKEND_GUARD_H
#define XS_BACKEND_GUARD_H

#include "backend/hardened.h"

/* False: no memory for its records. */
bool xs_guard_open(void);

/* Where that page is. */
enum xs_guard_side { XS_GUARD_BEHIND, XS_GUARD_BEFORE };

/* Zeroed; `align` at most a page. `stack`: who asks for it, of backend/stacks.h. */
void *xs_guard_alloc(size_t size, size_t align, enum xs_guard_side side, uint32_t stack);

/* For the thread's next sampled block: each time the other one. */
enum xs_guard_side xs_guard_side(void);

/* With the page map's entry of a block that is one. */
void xs_guard_free(void *p, uint64_t entry, enum xs_block_kind kind, size_t size, uintptr_t pc);

/* The same block, or another one in its stead, made larger by a small step: what grows so gets
 * room, and then it is seldom moved and not copied at all. NULL, and nothing has changed: the step
 * is not small, or memory is out. */
void *xs_guard_grow(uint64_t entry, size_t size, uintptr_t pc);
size_t xs_guard_size(void *p, uint64_t entry, uintptr_t pc);
void xs_guard_mark(uint64_t entry, enum xs_block_kind kind);

/* The pages of all freed ones go. */
void xs_guard_flush(void);

void xs_guard_fork_prepare(void);
void xs_guard_fork_parent(void);
void xs_guard_fork_child(void);

/* Blocks of the thread until the next one that is guarded, about one in
 * xs_hot.hardened.guard_every. */
extern XS_HIDDEN XS_TLS int32_t xs_guard_countdown;

/* The countdown is over: sets the next. False: it had not begun yet. */
bool xs_guard_is_due(void);

#endif
