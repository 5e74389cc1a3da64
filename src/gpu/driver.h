/* gpu/driver.h - the real CUDA driver, as pointers that are found at run time.
 *
 * Units:   none.
 * Owns:    nothing. libcuda is kept loaded once it was found.
 * Threads: written once, before `xs_cu.ready` is set; read by all that have seen it set.
 * Context: found inside the program's first look-up of a driver symbol. Allocates: never itself.
 * Errors:  a call that this driver lacks is NULL: only those below XS_CU_OPTIONAL may be.
 */
#ifndef XS_GPU_DRIVER_H
#define XS_GPU_DRIVER_H

#include <stdatomic.h>

#include "base/compiler.h"
#include "sys/cuda_abi.h"

/* What we call ourselves: X(symbol). */
#define XS_CU_NEEDED(X)                                                                            \
    X(cuInit)                                                                                      \
    X(cuDevicePrimaryCtxRetain)                                                                    \
    X(cuDevicePrimaryCtxRelease_v2)                                                                \
    X(cuDevicePrimaryCtxGetState)                                                                  \
    X(cuMemAlloc_v2)                                                                               \
    X(cuMemFree_v2)                                                                                \
    X(cuMemGetInfo_v2)                                                                             \
    X(cuMemGetAddressRange_v2)                                                                     \
    X(cuMemAllocHost_v2)                                                                           \
    X(cuMemHostAlloc)                                                                              \
    X(cuMemFreeHost)                                                                               \
    X(cuMemAllocManaged)                                                                           \
    X(cuMemAllocPitch_v2)                                                                          \
    X(cuPointerGetAttribute)                                                                       \
    X(cuDeviceGetAttribute)                                                                        \
    X(cuDeviceGetCount)                                                                            \
    X(cuDriverGetVersion)                                                                          \
    X(cuCtxGetCurrent)                                                                             \
    X(cuCtxGetDevice)                                                                              \
    X(cuCtxPushCurrent_v2)                                                                         \
    X(cuCtxPopCurrent_v2)                                                                          \
    X(cuCtxSynchronize)                                                                            \
    X(cuEventCreate)                                                                               \
    X(cuEventRecord)                                                                               \
    X(cuEventQuery)                                                                                \
    X(cuEventDestroy_v2)                                                                           \
    X(cuStreamSynchronize)                                                                         \
    X(cuStreamQuery)                                                                               \
    X(cuStreamGetCtx)
/* What older drivers do not have: NULL there. */
#define XS_CU_OPTIONAL(X)                                                                          \
    X(cuCtxRecordEvent)                                                                            \
    X(cuMemPrefetchAsync)                                                                          \
    X(cuMemPrefetchAsync_v2)                                                                       \
    X(cuMemFreeAsync)                                                                              \
    X(cuMemFreeAsync_ptsz)                                                                         \
    X(cuMemAllocAsync)                                                                             \
    X(cuStreamIsCapturing)                                                                         \
    X(cuStreamIsCapturing_ptsz)                                                                    \
    X(cuEventRecord_ptsz)

struct xs_cu_table {
    _Atomic bool ready;        /* release after the rest was written; acquire before it is read */
    int version;               /* of the driver: 13000 is 13.0 */
    const char *_Atomic lacks; /* the first that is needed and that it does not have; NULL: none */
    /* A debugger of device code writes 1 here before it attaches; NULL: this driver has no such. */
    const _Atomic uint8_t *debugged;
#define X(symbol) __typeof__(&symbol) symbol;
    XS_CU_NEEDED(X)
    XS_CU_OPTIONAL(X)
#undef X
};

extern XS_HIDDEN struct xs_cu_table xs_cu;

XS_INLINE bool xs_cu_ready(void)
{
    return atomic_load_explicit(&xs_cu.ready, memory_order_acquire);
}

/* Fills xs_cu by `look_up`, which gives the driver's own function of an exported name or NULL.
 * Calls nothing of the driver but cuDriverGetVersion. False: something needed is missing; the shim
 * must pass everything through then. Idempotent, any thread. */
bool xs_cu_find(void *(*look_up)(void *arg, const char *symbol), void *arg);
/* In the child of a fork, where another thread may have been at it: it can be done again. */
void xs_cu_forked(void);

#endif
