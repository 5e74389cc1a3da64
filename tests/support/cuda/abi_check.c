/* abi_check.c - compares sys/cuda_abi.h with the toolkit's own headers; compiling it is the check.
 *
 * Twice: as it is, for the values of enumerations and the layout of structures, ours under other
 * names. And with XS_CUDA_ABI_CALLS_ONLY, where our prototypes repeat the toolkit's under the same
 * names with the toolkit's types, so that the compiler refuses any that differ. */
#define __CUDA_API_VERSION_INTERNAL 1
#include <cuda.h>
#include <cudaTypedefs.h>
#include <cuda_runtime_api.h>

#ifdef XS_CUDA_ABI_CALLS_ONLY
#include "cuda_shim/hooks.h"
#else

/* Each call exists, and has the version and the type that the toolkit's list gives it. The versions
 * of the per-thread forms are not compared. */
#define VERSION_0(name, version, symbol)                                                           \
    _Static_assert(__builtin_types_compatible_p(PFN_##name##_v##version, __typeof__(&symbol)),     \
                   #symbol);
#define VERSION_1(name, version, symbol) _Static_assert(sizeof(&symbol) != 0, #symbol);
#define XS_CUDA_CALL(name, version, per_thread, symbol, parameters)                                \
    VERSION_##per_thread(name, version, symbol)
#include "sys/cuda_calls.h"

#define SAME_VALUE(name, value) _Static_assert((unsigned long)(name) == (value), #name);
#include "abi_values.h"
_Static_assert((unsigned long)CU_STREAM_LEGACY == 1, "the legacy stream's handle");
_Static_assert((unsigned long)CU_STREAM_PER_THREAD == 2, "the per-thread stream's handle");

/* The sizes of the toolkit's types, before their names are taken. */
#define SIZE_OF(type)          enum { size_of_##type = sizeof(type) };
#define OFFSET_OF(type, field) enum { offset_of_##type##_##field = offsetof(type, field) };
#define TYPES(X)                                                                                   \
    X(CUresult)                                                                                    \
    X(CUdevice)                                                                                    \
    X(CUdeviceptr)                                                                                 \
    X(CUmemGenericAllocationHandle)                                                                \
    X(CUstreamCaptureMode)                                                                         \
    X(CUstreamCaptureStatus)                                                                       \
    X(CUdriverProcAddressQueryResult)                                                              \
    X(CUdevice_attribute)                                                                          \
    X(CUpointer_attribute)                                                                         \
    X(CUmemorytype)                                                                                \
    X(CUmem_advise)                                                                                \
    X(CUmemRangeHandleType)                                                                        \
    X(CUmemPool_attribute)                                                                         \
    X(CUmemAllocationGranularity_flags)                                                            \
    X(CUmemLocation)                                                                               \
    X(CUmemAccessDesc)                                                                             \
    X(CUmemAllocationProp)                                                                         \
    X(CUmemPoolProps)                                                                              \
    X(CUDA_MEM_ALLOC_NODE_PARAMS)                                                                  \
    X(CUgraphNodeParams)                                                                           \
    X(CUgraphNodeType)                                                                             \
    X(CUuuid)                                                                                      \
    X(CUipcMemHandle)                                                                              \
    X(CUipcEventHandle)                                                                            \
    X(CUDA_MEMCPY2D)                                                                               \
    X(CUlaunchAttribute)                                                                           \
    X(CUlaunchConfig)                                                                              \
    X(cudaError_t)                                                                                 \
    X(dim3)
#define FIELDS(X)                                                                                  \
    X(CUmemLocation, id)                                                                           \
    X(CUmemAccessDesc, flags)                                                                      \
    X(CUmemAllocationProp, requestedHandleTypes)                                                   \
    X(CUmemAllocationProp, location)                                                               \
    X(CUmemAllocationProp, win32HandleMetaData)                                                    \
    X(CUmemAllocationProp, allocFlags)                                                             \
    X(CUmemPoolProps, handleTypes)                                                                 \
    X(CUmemPoolProps, location)                                                                    \
    X(CUmemPoolProps, win32SecurityAttributes)                                                     \
    X(CUmemPoolProps, maxSize)                                                                     \
    X(CUmemPoolProps, usage)                                                                       \
    X(CUDA_MEM_ALLOC_NODE_PARAMS, bytesize)                                                        \
    X(CUDA_MEM_ALLOC_NODE_PARAMS, dptr)                                                            \
    X(CUgraphNodeParams, alloc)                                                                    \
    X(CUDA_MEMCPY2D, srcY)                                                                         \
    X(CUDA_MEMCPY2D, srcMemoryType)                                                                \
    X(CUDA_MEMCPY2D, srcHost)                                                                      \
    X(CUDA_MEMCPY2D, srcDevice)                                                                    \
    X(CUDA_MEMCPY2D, srcPitch)                                                                     \
    X(CUDA_MEMCPY2D, dstXInBytes)                                                                  \
    X(CUDA_MEMCPY2D, dstMemoryType)                                                                \
    X(CUDA_MEMCPY2D, dstHost)                                                                      \
    X(CUDA_MEMCPY2D, dstDevice)                                                                    \
    X(CUDA_MEMCPY2D, dstPitch)                                                                     \
    X(CUDA_MEMCPY2D, WidthInBytes)                                                                 \
    X(CUDA_MEMCPY2D, Height)                                                                       \
    X(CUlaunchConfig, sharedMemBytes)                                                              \
    X(CUlaunchConfig, hStream)                                                                     \
    X(CUlaunchConfig, attrs)                                                                       \
    X(CUlaunchConfig, numAttrs)                                                                    \
    X(dim3, z)
TYPES(SIZE_OF)
FIELDS(OFFSET_OF)

#include "abi_wrap.h"
#undef CU_STREAM_LEGACY
#undef CU_STREAM_PER_THREAD
#define XS_CUDA_ABI_TYPES_ONLY
#include "sys/cuda_abi.h"

#include "abi_unwrap.h"
#define SAME_SIZE(type)                                                                            \
    _Static_assert((size_t)size_of_##type == sizeof(xs_##type), "size of " #type);
#define SAME_OFFSET(type, field)                                                                   \
    _Static_assert((size_t)offset_of_##type##_##field == offsetof(xs_##type, field),               \
                   #type "." #field);
TYPES(SAME_SIZE)
FIELDS(SAME_OFFSET)
#endif
