/* gpu/hooks.h - what higher layers lend to the GPU core, as pointers that are NULL without them.
 *
 * Units:   none. Owns: nothing.
 * Threads: written once, before the first CUDA call of the program; read by any.
 * Context: see each. Errors: none.
 */
#ifndef XS_GPU_HOOKS_H
#define XS_GPU_HOOKS_H

#include <stdatomic.h>

#include "base/compiler.h"

/* Finds libcuda, opening it if the program has not, and fills in xs_cu: true once xs_cu_ready().
 * For the C interface, which may be the first to want a device. cuda_shim/ defines it with its own
 * function as initial value; NULL in programs without the shim. */
extern XS_HIDDEN bool (*xs_cu_loader)(void);

/* In the child of a fork: the shim's locks may be held by threads that are not there, and what they
 * guard half written. NULL in programs without the shim. */
extern XS_HIDDEN void (*xs_cu_shim_forked)(void);

/* Says once, in a line, why nothing is kept any more. No lock is held. NULL in programs without the
 * shim. */
extern XS_HIDDEN void (*xs_gpu_says_off)(const char *why);

/* A look at the word that `xsigma gpu` writes. The core calls it where it is slow anyway (misses,
 * flushes) and at every 64th free, with no lock held and no shard half changed: it may call
 * xs_gpu_clear and its like, whose own slow paths may call it again. */
extern XS_HIDDEN void (*_Atomic xs_gpu_control)(void);

XS_INLINE void xs_gpu_poll_control(void)
{
    void (*look)(void) = atomic_load_explicit(&xs_gpu_control, memory_order_relaxed);

    if (look != NULL)
        look();
}

#endif
