/* sample/walk.h - who called malloc, by the rules of sample/cfi.h: what is remembered of a place in
 * the code costs a few dozen instructions a frame, where libunwind takes a thousand.
 * Units:   addresses that are returned to, less 1, the caller of malloc first.
 * Owns:    a table of what was found out.
 * Threads: one at a time.
 * Context: a sample; all signals are blocked. Allocates: never.
 * Errors:  0 = somewhere there is no rule, and libunwind may know more.
 */
#ifndef XS_SAMPLE_WALK_H
#define XS_SAMPLE_WALK_H

#include "sample/sites.h"

uint32_t xs_walk(uint64_t frame[XS_SITE_FRAMES]);

/* What is remembered may be of objects that are gone, or bear other numbers. */
void xs_walk_forget(void);

/* Whether the word there may be read, by asking the kernel. Changes errno. */
bool xs_walk_can_read(uintptr_t at);

#endif
