/* backend/stacks.h - call stacks, each kept once and known by a number.
 * Units:   frames; numbers are 32 bits, 0 for "not known".
 * Owns:    its memory, never given back.
 * Threads: any. fork_*: around fork. Context: inside malloc, with no lock held. Allocates: by mmap,
 *          once.
 * Errors:  0 when there is no room for more different stacks.
 * Cost:    some 60 instructions a frame by sample/walk.h, a thousand where that cannot go and the
 *          compiler's unwinder is asked; a lock for a stack that is new.
 */
#ifndef XS_BACKEND_STACKS_H
#define XS_BACKEND_STACKS_H

#include "base/compiler.h"

#define XS_STACK_FRAMES 16

bool xs_stacks_open(void);

/* The stack of the caller, or of `pc` alone where none can be had. */
uint32_t xs_stacks_here(uintptr_t pc);

unsigned xs_stacks_get(uint32_t id, uintptr_t pc[XS_STACK_FRAMES]);

void xs_stacks_fork_prepare(void);
void xs_stacks_fork_parent(void);
void xs_stacks_fork_child(void);

#endif
