/* sys/die.h - the end of a process whose heap is broken.
 * Threads: any. Context: inside malloc; the report that abort leads to waits for no lock.
 * Allocates: never.
 */
#ifndef XS_SYS_DIE_H
#define XS_SYS_DIE_H

#include "base/compiler.h"

/* One line on standard error, "xsigma: WHAT: 0xADDRESS", then abort. */
XS_COLD XS_NORETURN void xs_die(const char *what, const void *p);

#endif
