/* cuda_shim/shim.h - between the program and the driver: who is hooked, and when.
 *
 * Units:   none.
 * Owns:    nothing of the driver's; libcuda is kept loaded once it was seen.
 * Threads: any.
 * Context: inside the program's dlsym and CUDA calls, never inside malloc. No constructor, nothing
 *          at exit; no CUDA call but those that the program makes, and cuDriverGetVersion.
 * Errors:  whatever is amiss, the program gets the driver's own functions.
 */
#ifndef XS_CUDA_SHIM_SHIM_H
#define XS_CUDA_SHIM_SHIM_H

#include <stdatomic.h>

#include "cuda_shim/table.h"
#include "gpu/gpu.h"

/* ---- the driver ---- */

/* libcuda is loaded, whoever loaded it: its functions are known from then on. NULL, or its link
 * map.
 */
const void *xs_shim_driver(void);
/* The driver is there, it is complete, and XSIGMA_GPU is not 0: only then a hook is handed out. */
bool xs_shim_is_on(void);
/* The next dlsym after ours, called from here. */
void *xs_shim_dlsym(void *handle, const char *name, const char *version);

/* ---- what the shim tells the core ---- */

/* Set once a stream that is not the legacy one has been told of, so that nobody tells it again. */
extern XS_HIDDEN _Atomic bool xs_shim_stream_noted;
void xs_shim_stream_seen(void);

XS_INLINE void xs_shim_look_at(CUstream stream)
{
    if (stream == CU_STREAM_PER_THREAD)
        xs_shim_stream_seen();
}

/* Memory that we keep must not be what another call lacks. */
#define XS_SHIM_RETRY_AFTER(flush, result, call)                                                   \
    CUresult result = (call);                                                                      \
    while (XS_UNLIKELY(result == CUDA_ERROR_OUT_OF_MEMORY) && (flush))                             \
    result = (call)
#define XS_SHIM_RETRY(result, call) XS_SHIM_RETRY_AFTER(xs_gpu_flush_here(), result, call)
/* Of a pool, or a handle, that may be another device's. */
#define XS_SHIM_RETRY_ANY(result, call) XS_SHIM_RETRY_AFTER(xs_gpu_flush_any(), result, call)

/* In the child of a fork: what the parent has begun is nothing of the child's. */
void xs_shim_streams_forked(void);
/* The functions that take the place of the driver's, one for each of XS_HOOK_CALLS. */
#define X(name, version, per_thread, symbol) __typeof__(symbol) xs_do_##symbol;
XS_HOOK_CALLS(X)
#undef X

#endif
