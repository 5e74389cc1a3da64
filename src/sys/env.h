/* sys/env.h - the environment, readable before the C library has set `environ`.
 * Owns:    nothing; texts live in the process's initial stack or wherever setenv put them.
 * Threads: any, as long as nobody changes the environment at the same time.
 * Context: inside malloc, before constructors. Allocates: never.
 */
#ifndef XS_SYS_ENV_H
#define XS_SYS_ENV_H

#include "base/compiler.h"

char **xs_env_all(void); /* NULL-terminated; never NULL itself */
const char *xs_env_get(const char *name);
bool xs_env_has(const char *prefix); /* a variable whose name begins so */

/* The kernel marked this program as privileged: nothing in the environment may be believed. */
bool xs_env_secure(void);

/* While hidden, no variable that begins with `prefix` is found; used around a library's start. */
void xs_env_hide(const char *prefix);
void xs_env_unhide(const char *prefix);

#endif
