/* sys/backtrace.h - where a call came from, and how to say so.
 *
 * By the unwinder of the compiler's own run-time library, libgcc_s, which reads what every object
 * carries for C++ exceptions and needs no frame pointers. Found at run time: without it a stack is
 * unknown.
 * Threads: any. xs_backtrace_open: the constructor's.
 * Context: inside malloc, with no lock held. Allocates: never; xs_backtrace_open: dlopen does.
 * Errors:  0 frames.
 */
#ifndef XS_SYS_BACKTRACE_H
#define XS_SYS_BACKTRACE_H

#include "base/fmt.h"

/* Finds the unwinder among what is loaded, or if it `may_load`, loads it. False: there is none. */
bool xs_backtrace_open(bool may_load);

/* Return addresses of the callers, innermost first, from the first one that is not in this library
 * on; how many. */
unsigned xs_backtrace(uintptr_t pc[], unsigned most);

/* "OBJECT+0xOFFSET" of the call that returns to `pc`, as `addr2line -e OBJECT 0xOFFSET` wants it.
 * Takes the loader's lock. */
void xs_backtrace_name(struct xs_buf *b, uintptr_t pc);

/* The loaded object that an address lies in: false if in none. "" for the program. */
bool xs_backtrace_object(uintptr_t at, const char **name, uintptr_t *base);

#endif
