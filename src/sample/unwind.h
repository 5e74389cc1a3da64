/* sample/unwind.h - who called malloc: by libunwind, or by frame pointers.
 *
 * What sample/walk.h can walk is not asked of libunwind. That runs on a stack of our own, so that
 * it needs next to nothing of the program's, which may be a signal handler's or a coroutine's. What
 * it would ask the loader it asks our list of modules; whether it may read an address it asks us,
 * instead of descriptors that it keeps open and that the program might close and use again. Both by
 * its table of imports, so that the program's own use of it stays as it is. What it remembers is
 * dropped whenever an object may have been unloaded. Frame pointers are only followed within the
 * stack that the thread was made with.
 * Units:   addresses that are returned to, less 1, the caller of malloc first.
 * Owns:    that stack.
 * Threads: one at a time.
 * Context: a sample; all signals are blocked. open: our constructor.
 * Errors:  0 = no frame.
 */
#ifndef XS_SAMPLE_UNWIND_H
#define XS_SAMPLE_UNWIND_H

#include "base/fmt.h"
#include "sample/sites.h"
#include "sample/walk.h"

/* Opens libunwind if it is wanted; what is used in the end, and why it is not what was wanted. */
enum xs_unwinder xs_unwind_open(enum xs_unwinder wanted, struct xs_buf *why);

uint32_t xs_unwind(uint64_t frame[XS_SITE_FRAMES]);

/* As xs_walk_addresses, which this is; it need not be opened. */
uint32_t xs_unwind_addresses(const struct xs_registers *from, uintptr_t pc[], uint32_t most);

#endif
