/* preload/lifecycle.h - what the constructor has settled.
 * Threads: any. Context: anywhere.
 */
#ifndef XS_PRELOAD_LIFECYCLE_H
#define XS_PRELOAD_LIFECYCLE_H

#include "base/compiler.h"

/* From now on dlopen drops RTLD_DEEPBIND. */
void xs_dlopen_strip_deepbind(void);

/* The library stands aside: disabled, privileged, or the program has its own malloc. */
bool xs_is_bypassed(void);

/* The program is about to make a thread. */
void xs_before_thread(void);

#endif
