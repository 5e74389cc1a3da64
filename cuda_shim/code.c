/* Code and graphs: what they need of the device's memory is not the program's to ask for, but may
 * be what we keep. The driver takes it when code is loaded, which may be as late as at the launch,
 * or when a launch needs more stack than any before. */
#include "cuda_shim/shim.h"

#define RETRIED_BY(retry, symbol, parameters, arguments)                                           \
    CUresult xs_do_##symbol parameters                                                             \
    {                                                                                              \
        retry(r, XS_REAL(symbol) arguments);                                                       \
        return r;                                                                                  \
    }
#define RETRIED(symbol, parameters, arguments)                                                     \
    RETRIED_BY(XS_SHIM_RETRY, symbol, parameters, arguments)
RETRIED(cuModuleLoad, (CUmodule * out, const char *path), (out, path))
RETRIED(cuModuleLoadData, (CUmodule * out, const void *image), (out, image))
RETRIED(cuModuleLoadDataEx,
        (CUmodule * out, const void *image, unsigned int n, CUjit_option *options, void **values),
        (out, image, n, options, values))
RETRIED(cuModuleLoadFatBinary, (CUmodule * out, const void *image), (out, image))
RETRIED(cuLibraryLoadData,
        (CUlibrary * out, const void *code, CUjit_option *jit, void **jit_values,
         unsigned int jit_count, CUlibraryOption *options, void **values, unsigned int count),
        (out, code, jit, jit_values, jit_count, options, values, count))
RETRIED(cuLibraryLoadFromFile,
        (CUlibrary * out, const char *path, CUjit_option *jit, void **jit_values,
         unsigned int jit_count, CUlibraryOption *options, void **values, unsigned int count),
        (out, path, jit, jit_values, jit_count, options, values, count))
RETRIED(cuModuleGetFunction, (CUfunction * out, CUmodule module, const char *name),
        (out, module, name))
RETRIED(cuModuleGetGlobal_v2, (CUdeviceptr * out, size_t *size, CUmodule module, const char *name),
        (out, size, module, name))
RETRIED(cuLibraryGetModule, (CUmodule * out, CUlibrary library), (out, library))
RETRIED(cuLibraryGetGlobal, (CUdeviceptr * out, size_t *size, CUlibrary library, const char *name),
        (out, size, library, name))
RETRIED(cuKernelGetFunction, (CUfunction * out, CUkernel kernel), (out, kernel))
RETRIED(cuFuncLoad, (CUfunction function), (function))
RETRIED(cuGraphInstantiate,
        (CUgraphExec * out, CUgraph graph, CUgraphNode *wrong, char *log, size_t size),
        (out, graph, wrong, log, size))
RETRIED(cuGraphInstantiate_v2,
        (CUgraphExec * out, CUgraph graph, CUgraphNode *wrong, char *log, size_t size),
        (out, graph, wrong, log, size))
RETRIED(cuGraphInstantiateWithFlags, (CUgraphExec * out, CUgraph graph, unsigned long long flags),
        (out, graph, flags))
RETRIED(cuGraphInstantiateWithParams,
        (CUgraphExec * out, CUgraph graph, CUDA_GRAPH_INSTANTIATE_PARAMS *how), (out, graph, how))
RETRIED(cuGraphInstantiateWithParams_ptsz,
        (CUgraphExec * out, CUgraph graph, CUDA_GRAPH_INSTANTIATE_PARAMS *how), (out, graph, how))
RETRIED(cuGraphExecUpdate,
        (CUgraphExec graph, CUgraph from, CUgraphNode *wrong, CUgraphExecUpdateResult *why),
        (graph, from, wrong, why))
RETRIED(cuGraphExecUpdate_v2, (CUgraphExec graph, CUgraph from, CUgraphExecUpdateResultInfo *why),
        (graph, from, why))
RETRIED(cuCtxSetLimit, (CUlimit limit, size_t value), (limit, value))
/* Memory that is there already, but the device's tables of pages for it are not. */
RETRIED(cuCtxEnablePeerAccess, (CUcontext peer, unsigned int flags), (peer, flags))
RETRIED_BY(XS_SHIM_RETRY_ANY, cuMemSetAccess,
           (CUdeviceptr p, size_t size, const CUmemAccessDesc *who, size_t n), (p, size, who, n))
RETRIED(cuIpcOpenMemHandle, (CUdeviceptr * out, CUipcMemHandle handle, unsigned int flags),
        (out, handle, flags))
RETRIED(cuIpcOpenMemHandle_v2, (CUdeviceptr * out, CUipcMemHandle handle, unsigned int flags),
        (out, handle, flags))

/* ---- launches --------------------------------------------------------------------------- */

static CUresult then(CUresult r, void (*tell)(void))
{
    if (r == CUDA_SUCCESS)
        tell();
    return r;
}

/* Both forms of a call on a stream. */
#define GIVEN(tell, symbol, parameters, arguments, stream)                                         \
    CUresult xs_do_##symbol parameters                                                             \
    {                                                                                              \
        xs_shim_look_at(stream);                                                                   \
        XS_SHIM_RETRY(r, XS_REAL(symbol) arguments);                                               \
        return then(r, tell);                                                                      \
    }                                                                                              \
    CUresult xs_do_##symbol##_ptsz parameters                                                      \
    {                                                                                              \
        xs_shim_stream_seen();                                                                     \
        XS_SHIM_RETRY(r, XS_REAL(symbol##_ptsz) arguments);                                        \
        return then(r, tell);                                                                      \
    }
#define LAUNCHED(symbol, parameters, arguments, stream)                                            \
    GIVEN(xs_gpu_after_launch, symbol, parameters, arguments, stream)
LAUNCHED(cuLaunchKernel,
         (CUfunction f, unsigned int gx, unsigned int gy, unsigned int gz, unsigned int bx,
          unsigned int by, unsigned int bz, unsigned int shared, CUstream stream, void **params,
          void **extra),
         (f, gx, gy, gz, bx, by, bz, shared, stream, params, extra), stream)
/* The oldest forms, on the legacy stream or any. */
CUresult xs_do_cuLaunch(CUfunction f)
{
    XS_SHIM_RETRY(r, XS_REAL(cuLaunch)(f));
    return then(r, xs_gpu_after_launch);
}

CUresult xs_do_cuLaunchGrid(CUfunction f, int gx, int gy)
{
    XS_SHIM_RETRY(r, XS_REAL(cuLaunchGrid)(f, gx, gy));
    return then(r, xs_gpu_after_launch);
}

CUresult xs_do_cuLaunchGridAsync(CUfunction f, int gx, int gy, CUstream stream)
{
    xs_shim_look_at(stream);
    XS_SHIM_RETRY(r, XS_REAL(cuLaunchGridAsync)(f, gx, gy, stream));
    return then(r, xs_gpu_after_launch);
}

LAUNCHED(cuLaunchCooperativeKernel,
         (CUfunction f, unsigned int gx, unsigned int gy, unsigned int gz, unsigned int bx,
          unsigned int by, unsigned int bz, unsigned int shared, CUstream stream, void **params),
         (f, gx, gy, gz, bx, by, bz, shared, stream, params), stream)
LAUNCHED(cuGraphLaunch, (CUgraphExec graph, CUstream stream), (graph, stream), stream)
LAUNCHED(cuGraphUpload, (CUgraphExec graph, CUstream stream), (graph, stream), stream)
/* Copies and functions of the host: what they write may be looked for after a free, too. */
#define COPIED(symbol, parameters, arguments, stream)                                              \
    GIVEN(xs_gpu_after_copy, symbol, parameters, arguments, stream)
#define CALLED(symbol, parameters, arguments, stream)                                              \
    GIVEN(xs_gpu_after_host_call, symbol, parameters, arguments, stream)
COPIED(cuMemcpyAsync, (CUdeviceptr to, CUdeviceptr from, size_t size, CUstream stream),
       (to, from, size, stream), stream)
COPIED(cuMemcpyHtoDAsync_v2, (CUdeviceptr to, const void *from, size_t size, CUstream stream),
       (to, from, size, stream), stream)
COPIED(cuMemcpyDtoHAsync_v2, (void *to, CUdeviceptr from, size_t size, CUstream stream),
       (to, from, size, stream), stream)
COPIED(cuMemcpyDtoDAsync_v2, (CUdeviceptr to, CUdeviceptr from, size_t size, CUstream stream),
       (to, from, size, stream), stream)
COPIED(cuMemcpyAtoHAsync_v2, (void *to, CUarray from, size_t at, size_t size, CUstream stream),
       (to, from, at, size, stream), stream)
COPIED(cuMemcpyHtoAAsync_v2,
       (CUarray to, size_t at, const void *from, size_t size, CUstream stream),
       (to, at, from, size, stream), stream)
COPIED(cuMemcpyPeerAsync,
       (CUdeviceptr to, CUcontext of, CUdeviceptr from, CUcontext its, size_t size,
        CUstream stream),
       (to, of, from, its, size, stream), stream)
COPIED(cuMemcpy3DPeerAsync, (const CUDA_MEMCPY3D_PEER *what, CUstream stream), (what, stream),
       stream)
COPIED(cuMemcpyWithAttributesAsync,
       (CUdeviceptr to, CUdeviceptr from, size_t size, void *attributes, CUstream stream),
       (to, from, size, attributes, stream), stream)
COPIED(cuMemcpy3DWithAttributesAsync, (void *what, unsigned long long flags, CUstream stream),
       (what, flags, stream), stream)
COPIED(cuMemBatchDecompressAsync,
       (CUmemDecompressParams * what, size_t n, unsigned int flags, size_t *wrong, CUstream stream),
       (what, n, flags, wrong, stream), stream)
COPIED(cuMemcpy2DAsync_v2, (const CUDA_MEMCPY2D *what, CUstream stream), (what, stream), stream)
COPIED(cuMemcpy3DAsync_v2, (const CUDA_MEMCPY3D *what, CUstream stream), (what, stream), stream)
COPIED(cuMemsetD8Async, (CUdeviceptr to, unsigned char value, size_t n, CUstream stream),
       (to, value, n, stream), stream)
COPIED(cuMemsetD16Async, (CUdeviceptr to, unsigned short value, size_t n, CUstream stream),
       (to, value, n, stream), stream)
COPIED(cuMemsetD32Async, (CUdeviceptr to, unsigned int value, size_t n, CUstream stream),
       (to, value, n, stream), stream)
/* Words that the stream writes when it comes to them. */
#define WRITES(symbol, type)                                                                       \
    COPIED(symbol, (CUstream stream, CUdeviceptr to, type value, unsigned int flags),              \
           (stream, to, value, flags), stream)
WRITES(cuStreamWriteValue32, uint32_t)
WRITES(cuStreamWriteValue32_v2, uint32_t)
WRITES(cuStreamWriteValue64, uint64_t)
WRITES(cuStreamWriteValue64_v2, uint64_t)
#define WRITES_SEVERAL(symbol)                                                                     \
    COPIED(symbol,                                                                                 \
           (CUstream stream, unsigned int n, CUstreamBatchMemOpParams *what, unsigned int flags),  \
           (stream, n, what, flags), stream)
WRITES_SEVERAL(cuStreamBatchMemOp)
WRITES_SEVERAL(cuStreamBatchMemOp_v2)
/* Within the device, where managed memory is, these go on by themselves too. Those between the host
 * and the device wait, and so do sets of memory that the CPU sees. */
#define COPIED_WITHIN(symbol, parameters, arguments)                                               \
    CUresult xs_do_##symbol parameters                                                             \
    {                                                                                              \
        return then(XS_REAL(symbol) arguments, xs_gpu_after_copy);                                 \
    }
COPIED_WITHIN(cuMemcpy, (CUdeviceptr to, CUdeviceptr from, size_t size), (to, from, size))
COPIED_WITHIN(cuMemcpyDtoD_v2, (CUdeviceptr to, CUdeviceptr from, size_t size), (to, from, size))
COPIED_WITHIN(cuMemcpy2D_v2, (const CUDA_MEMCPY2D *what), (what))
COPIED_WITHIN(cuMemcpy2DUnaligned_v2, (const CUDA_MEMCPY2D *what), (what))
COPIED_WITHIN(cuMemcpy3D_v2, (const CUDA_MEMCPY3D *what), (what))
COPIED_WITHIN(cuMemcpyPeer,
              (CUdeviceptr to, CUcontext of, CUdeviceptr from, CUcontext its, size_t size),
              (to, of, from, its, size))
COPIED_WITHIN(cuMemcpy3DPeer, (const CUDA_MEMCPY3D_PEER *what), (what))
COPIED_WITHIN(cuMemcpyAtoD_v2, (CUdeviceptr to, CUarray from, size_t at, size_t size),
              (to, from, at, size))
#define COPIED_2D(symbol, type)                                                                    \
    COPIED(                                                                                        \
        symbol,                                                                                    \
        (CUdeviceptr to, size_t pitch, type value, size_t width, size_t height, CUstream stream),  \
        (to, pitch, value, width, height, stream), stream)
COPIED_2D(cuMemsetD2D8Async, unsigned char)
COPIED_2D(cuMemsetD2D16Async, unsigned short)
COPIED_2D(cuMemsetD2D32Async, unsigned int)
CALLED(cuLaunchHostFunc, (CUstream stream, CUhostFn f, void *data), (stream, f, data), stream)
CALLED(cuLaunchHostFunc_v2, (CUstream stream, CUhostFn f, void *data, unsigned int mode),
       (stream, f, data, mode), stream)
CALLED(cuStreamAddCallback, (CUstream stream, CUstreamCallback f, void *data, unsigned int flags),
       (stream, f, data, flags), stream)

/* It may begin before what precedes it in its stream has ended. */
static bool overlaps(const CUlaunchConfig *how)
{
    for (unsigned i = 0; how->attrs != NULL && i < how->numAttrs; i++)
        if (how->attrs[i].id == CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION &&
            how->attrs[i].value.programmaticStreamSerializationAllowed != 0)
            return true;
    return false;
}

static void look_at_launch(const CUlaunchConfig *how)
{
    if (how != NULL && overlaps(how))
        xs_gpu_before_overlap();
}

CUresult xs_do_cuLaunchKernelEx(const CUlaunchConfig *how, CUfunction f, void **params,
                                void **extra)
{
    look_at_launch(how);
    xs_shim_look_at(how != NULL ? how->hStream : NULL);
    XS_SHIM_RETRY(r, XS_REAL(cuLaunchKernelEx)(how, f, params, extra));
    return then(r, xs_gpu_after_launch);
}

CUresult xs_do_cuLaunchKernelEx_ptsz(const CUlaunchConfig *how, CUfunction f, void **params,
                                     void **extra)
{
    look_at_launch(how);
    xs_shim_stream_seen();
    XS_SHIM_RETRY(r, XS_REAL(cuLaunchKernelEx_ptsz)(how, f, params, extra));
    return then(r, xs_gpu_after_launch);
}
