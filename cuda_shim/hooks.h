/* cuda_shim/hooks.h - the one list of driver calls that the shim puts itself in front of.
 *
 * XS_HOOK_CALLS: X(name, version, per_thread, symbol): replaced by a function of calls*.c.
 * XS_HOOK_STREAMS: X(name, version, symbol, where): passed on after a look at the stream, which is
 *   argument number `where`. Its _ptsz form belongs to it.
 * XS_HOOK_STREAMS_ALONE: the same without a _ptsz form.
 * XS_HOOK_THREADS: X(name, version, symbol): only the _ptds form, which uses the thread's stream.
 * Names and versions as in sys/cuda_calls.h. cuda_shim/exports.list names the same symbols.
 * Source:  the prototypes and version lists of CUDA's public headers, 11 to 13; names and versions
 *          also NVIDIA's drivers 450 to 595 themselves, which integration/long-real-driver asks.
 */
#ifndef XS_CUDA_SHIM_HOOKS_H
#define XS_CUDA_SHIM_HOOKS_H

#include "sys/cuda_abi.h"

/* Calls that nobody else in the tree speaks of; the oldest forms of some have these signatures. */
CUresult cuCtxCreate(CUcontext *, unsigned int, CUdevice);
CUresult cuCtxDestroy(CUcontext);
CUresult cuCtxDetach(CUcontext);
CUresult cuStreamDestroy(CUstream);
CUresult cuCtxFromGreenCtx(CUcontext *, CUgreenCtx);
CUresult cuGreenCtxDestroy(CUgreenCtx);
CUresult cuGreenCtxStreamCreate(CUstream *, CUgreenCtx, unsigned int, int);
CUresult cuModuleLoad(CUmodule *, const char *);
CUresult cuModuleLoadData(CUmodule *, const void *);
CUresult cuModuleLoadDataEx(CUmodule *, const void *, unsigned int, CUjit_option *, void **);
CUresult cuModuleLoadFatBinary(CUmodule *, const void *);
CUresult cuLibraryLoadData(CUlibrary *, const void *, CUjit_option *, void **, unsigned int,
                           CUlibraryOption *, void **, unsigned int);
CUresult cuLibraryLoadFromFile(CUlibrary *, const char *, CUjit_option *, void **, unsigned int,
                               CUlibraryOption *, void **, unsigned int);
CUresult cuGraphExecUpdate(CUgraphExec, CUgraph, CUgraphNode *, CUgraphExecUpdateResult *);
CUresult cuGraphExecUpdate_v2(CUgraphExec, CUgraph, CUgraphExecUpdateResultInfo *);
CUresult cuGreenCtxCreate(CUgreenCtx *, CUdevResourceDesc, CUdevice, unsigned int);
CUresult cuGraphInstantiateWithParams(CUgraphExec *, CUgraph, CUDA_GRAPH_INSTANTIATE_PARAMS *);
CUresult cuGraphInstantiateWithParams_ptsz(CUgraphExec *, CUgraph, CUDA_GRAPH_INSTANTIATE_PARAMS *);
CUresult cuCtxSetLimit(CUlimit, size_t);
CUresult cuModuleGetFunction(CUfunction *, CUmodule, const char *);
CUresult cuModuleGetGlobal_v2(CUdeviceptr *, size_t *, CUmodule, const char *);
CUresult cuLibraryGetModule(CUmodule *, CUlibrary);
CUresult cuLibraryGetGlobal(CUdeviceptr *, size_t *, CUlibrary, const char *);
CUresult cuKernelGetFunction(CUfunction *, CUkernel);
CUresult cuFuncLoad(CUfunction);
CUresult cuLaunchCooperativeKernel(CUfunction, unsigned int, unsigned int, unsigned int,
                                   unsigned int, unsigned int, unsigned int, unsigned int, CUstream,
                                   void **);
CUresult cuLaunchCooperativeKernel_ptsz(CUfunction, unsigned int, unsigned int, unsigned int,
                                        unsigned int, unsigned int, unsigned int, unsigned int,
                                        CUstream, void **);
CUresult cuGraphUpload(CUgraphExec, CUstream);
CUresult cuGraphUpload_ptsz(CUgraphExec, CUstream);
/* Of CUDA 1 and 2, and still there. */
CUresult cuLaunch(CUfunction);
CUresult cuLaunchGrid(CUfunction, int, int);
CUresult cuLaunchGridAsync(CUfunction, int, int, CUstream);
CUresult cuMemcpy3D_v2(const CUDA_MEMCPY3D *);
CUresult cuMemcpyAtoHAsync_v2(void *, CUarray, size_t, size_t, CUstream);
CUresult cuMemcpyAtoHAsync_v2_ptsz(void *, CUarray, size_t, size_t, CUstream);
CUresult cuMemcpy3DAsync_v2(const CUDA_MEMCPY3D *, CUstream);
CUresult cuMemcpy3DAsync_v2_ptsz(const CUDA_MEMCPY3D *, CUstream);
CUresult cuMemcpyHtoAAsync_v2(CUarray, size_t, const void *, size_t, CUstream);
CUresult cuMemcpyHtoAAsync_v2_ptsz(CUarray, size_t, const void *, size_t, CUstream);
CUresult cuMemcpyAtoD_v2(CUdeviceptr, CUarray, size_t, size_t);
CUresult cuMemcpy3DPeer(const CUDA_MEMCPY3D_PEER *);
CUresult cuMemcpy3DPeerAsync(const CUDA_MEMCPY3D_PEER *, CUstream);
CUresult cuMemcpy3DPeerAsync_ptsz(const CUDA_MEMCPY3D_PEER *, CUstream);
CUresult cuMemBatchDecompressAsync(CUmemDecompressParams *, size_t, unsigned int, size_t *,
                                   CUstream);
CUresult cuMemBatchDecompressAsync_ptsz(CUmemDecompressParams *, size_t, unsigned int, size_t *,
                                        CUstream);
CUresult cuStreamWriteValue32(CUstream, CUdeviceptr, uint32_t, unsigned int);
CUresult cuStreamWriteValue32_ptsz(CUstream, CUdeviceptr, uint32_t, unsigned int);
CUresult cuStreamWriteValue32_v2(CUstream, CUdeviceptr, uint32_t, unsigned int);
CUresult cuStreamWriteValue32_v2_ptsz(CUstream, CUdeviceptr, uint32_t, unsigned int);
CUresult cuStreamWriteValue64(CUstream, CUdeviceptr, uint64_t, unsigned int);
CUresult cuStreamWriteValue64_ptsz(CUstream, CUdeviceptr, uint64_t, unsigned int);
CUresult cuStreamWriteValue64_v2(CUstream, CUdeviceptr, uint64_t, unsigned int);
CUresult cuStreamWriteValue64_v2_ptsz(CUstream, CUdeviceptr, uint64_t, unsigned int);
CUresult cuStreamBatchMemOp(CUstream, unsigned int, CUstreamBatchMemOpParams *, unsigned int);
CUresult cuStreamBatchMemOp_ptsz(CUstream, unsigned int, CUstreamBatchMemOpParams *, unsigned int);
CUresult cuStreamBatchMemOp_v2(CUstream, unsigned int, CUstreamBatchMemOpParams *, unsigned int);
CUresult cuStreamBatchMemOp_v2_ptsz(CUstream, unsigned int, CUstreamBatchMemOpParams *,
                                    unsigned int);
CUresult cuMemsetD2D16Async(CUdeviceptr, size_t, unsigned short, size_t, size_t, CUstream);
CUresult cuMemsetD2D16Async_ptsz(CUdeviceptr, size_t, unsigned short, size_t, size_t, CUstream);
CUresult cuMemsetD2D32Async(CUdeviceptr, size_t, unsigned int, size_t, size_t, CUstream);
CUresult cuMemsetD2D32Async_ptsz(CUdeviceptr, size_t, unsigned int, size_t, size_t, CUstream);
/* Younger than 13.0, or for graphics: abi_check compares all but these. */
CUresult cuLaunchHostFunc_v2(CUstream, CUhostFn, void *, unsigned int);
CUresult cuLaunchHostFunc_v2_ptsz(CUstream, CUhostFn, void *, unsigned int);
CUresult cuMemcpyWithAttributesAsync(CUdeviceptr, CUdeviceptr, size_t, void *, CUstream);
CUresult cuMemcpyWithAttributesAsync_ptsz(CUdeviceptr, CUdeviceptr, size_t, void *, CUstream);
CUresult cuMemcpy3DWithAttributesAsync(void *, unsigned long long, CUstream);
CUresult cuMemcpy3DWithAttributesAsync_ptsz(void *, unsigned long long, CUstream);
CUresult cuStreamBeginCaptureToCig(CUstream, void *);
CUresult cuStreamBeginCaptureToCig_ptsz(CUstream, void *);
CUresult cuStreamEndCaptureToCig(CUstream);
CUresult cuStreamEndCaptureToCig_ptsz(CUstream);
CUresult cuStreamBeginRecaptureToGraph(CUstream, CUstreamCaptureMode, CUgraph, void (*)(void),
                                       void *);
CUresult cuStreamBeginRecaptureToGraph_ptsz(CUstream, CUstreamCaptureMode, CUgraph, void (*)(void),
                                            void *);
CUresult cuGLCtxCreate(CUcontext *, unsigned int, CUdevice);
CUresult cuGLCtxCreate_v2(CUcontext *, unsigned int, CUdevice);
CUresult cuVDPAUCtxCreate(CUcontext *, unsigned int, CUdevice, uint32_t, void (*)(void));
CUresult cuVDPAUCtxCreate_v2(CUcontext *, unsigned int, CUdevice, uint32_t, void (*)(void));
typedef struct {
    CUdeviceptr plane[3];
    unsigned int width, height, depth, pitch, plane_count, channels;
    unsigned int type, color, format;
} CUeglFrame;
enum { CU_EGL_FRAME_TYPE_PITCH = 1 }; /* else its planes are arrays */
_Static_assert(sizeof(CUeglFrame) == 64, "passed by value");
CUresult cuEGLStreamConsumerAcquireFrame(void *, void **, CUstream *, unsigned int);
CUresult cuEGLStreamConsumerReleaseFrame(void *, void *, CUstream *);
CUresult cuEGLStreamProducerPresentFrame(void *, CUeglFrame, CUstream *);
CUresult cuEGLStreamProducerReturnFrame(void *, CUeglFrame *, CUstream *);

/* clang-format off */
#define XS_HOOK_CALLS(X) \
  X(cuGetProcAddress, 11030, 0, cuGetProcAddress) \
  X(cuGetProcAddress, 12000, 0, cuGetProcAddress_v2) \
  X(cuMemAlloc, 3020, 0, cuMemAlloc_v2) \
  X(cuMemAllocPitch, 3020, 0, cuMemAllocPitch_v2) \
  X(cuMemAllocManaged, 6000, 0, cuMemAllocManaged) \
  X(cuMemFree, 3020, 0, cuMemFree_v2) \
  X(cuMemAllocHost, 3020, 0, cuMemAllocHost_v2) \
  X(cuMemHostAlloc, 2020, 0, cuMemHostAlloc) \
  X(cuMemFreeHost, 2000, 0, cuMemFreeHost) \
  X(cuMemHostRegister, 4000, 0, cuMemHostRegister) \
  X(cuMemHostRegister, 6050, 0, cuMemHostRegister_v2) \
  X(cuMemGetInfo, 3020, 0, cuMemGetInfo_v2) \
  X(cuMemGetAddressRange, 3020, 0, cuMemGetAddressRange_v2) \
  X(cuMemAllocAsync, 11020, 0, cuMemAllocAsync) \
  X(cuMemAllocAsync, 11020, 1, cuMemAllocAsync_ptsz) \
  X(cuMemAllocFromPoolAsync, 11020, 0, cuMemAllocFromPoolAsync) \
  X(cuMemAllocFromPoolAsync, 11020, 1, cuMemAllocFromPoolAsync_ptsz) \
  X(cuMemFreeAsync, 11020, 0, cuMemFreeAsync) \
  X(cuMemFreeAsync, 11020, 1, cuMemFreeAsync_ptsz) \
  X(cuMemCreate, 10020, 0, cuMemCreate) \
  X(cuMemRelease, 10020, 0, cuMemRelease) \
  X(cuArrayCreate, 3020, 0, cuArrayCreate_v2) \
  X(cuArray3DCreate, 3020, 0, cuArray3DCreate_v2) \
  X(cuMipmappedArrayCreate, 5000, 0, cuMipmappedArrayCreate) \
  X(cuModuleLoad, 2000, 0, cuModuleLoad) \
  X(cuModuleLoadData, 2000, 0, cuModuleLoadData) \
  X(cuModuleLoadDataEx, 2010, 0, cuModuleLoadDataEx) \
  X(cuModuleLoadFatBinary, 2000, 0, cuModuleLoadFatBinary) \
  X(cuLibraryLoadData, 12000, 0, cuLibraryLoadData) \
  X(cuLibraryLoadFromFile, 12000, 0, cuLibraryLoadFromFile) \
  X(cuGraphInstantiate, 10000, 0, cuGraphInstantiate) \
  X(cuGraphInstantiate, 11000, 0, cuGraphInstantiate_v2) \
  X(cuGraphInstantiateWithFlags, 11040, 0, cuGraphInstantiateWithFlags) \
  X(cuGraphInstantiateWithParams, 12000, 0, cuGraphInstantiateWithParams) \
  X(cuGraphInstantiateWithParams, 12000, 1, cuGraphInstantiateWithParams_ptsz) \
  X(cuGraphExecUpdate, 10020, 0, cuGraphExecUpdate) \
  X(cuGraphExecUpdate, 12000, 0, cuGraphExecUpdate_v2) \
  X(cuGraphAddMemAllocNode, 11040, 0, cuGraphAddMemAllocNode) \
  X(cuGraphAddNode, 12020, 0, cuGraphAddNode) \
  X(cuGraphAddNode, 12030, 0, cuGraphAddNode_v2) \
  X(cuCtxSetLimit, 3010, 0, cuCtxSetLimit) \
  X(cuCtxEnablePeerAccess, 4000, 0, cuCtxEnablePeerAccess) \
  X(cuMemMap, 10020, 0, cuMemMap) \
  X(cuMemUnmap, 10020, 0, cuMemUnmap) \
  X(cuMemRetainAllocationHandle, 11000, 0, cuMemRetainAllocationHandle) \
  X(cuMemSetAccess, 10020, 0, cuMemSetAccess) \
  X(cuIpcOpenMemHandle, 4010, 0, cuIpcOpenMemHandle) \
  X(cuIpcOpenMemHandle, 11000, 0, cuIpcOpenMemHandle_v2) \
  X(cuModuleGetFunction, 2000, 0, cuModuleGetFunction) \
  X(cuModuleGetGlobal, 3020, 0, cuModuleGetGlobal_v2) \
  X(cuLibraryGetModule, 12000, 0, cuLibraryGetModule) \
  X(cuLibraryGetGlobal, 12000, 0, cuLibraryGetGlobal) \
  X(cuKernelGetFunction, 12000, 0, cuKernelGetFunction) \
  X(cuFuncLoad, 12040, 0, cuFuncLoad) \
  X(cuLaunchKernel, 4000, 0, cuLaunchKernel) \
  X(cuLaunchKernel, 7000, 1, cuLaunchKernel_ptsz) \
  X(cuLaunchKernelEx, 11060, 0, cuLaunchKernelEx) \
  X(cuLaunchKernelEx, 11060, 1, cuLaunchKernelEx_ptsz) \
  X(cuLaunchCooperativeKernel, 9000, 0, cuLaunchCooperativeKernel) \
  X(cuLaunchCooperativeKernel, 9000, 1, cuLaunchCooperativeKernel_ptsz) \
  X(cuGraphLaunch, 10000, 0, cuGraphLaunch) \
  X(cuGraphLaunch, 10000, 1, cuGraphLaunch_ptsz) \
  X(cuGraphUpload, 11010, 0, cuGraphUpload) \
  X(cuGraphUpload, 11010, 1, cuGraphUpload_ptsz) \
  X(cuLaunch, 2000, 0, cuLaunch) \
  X(cuLaunchGrid, 2000, 0, cuLaunchGrid) \
  X(cuLaunchGridAsync, 2000, 0, cuLaunchGridAsync) \
  X(cuLaunchHostFunc, 10000, 0, cuLaunchHostFunc) \
  X(cuLaunchHostFunc, 10000, 1, cuLaunchHostFunc_ptsz) \
  X(cuLaunchHostFunc, 13010, 0, cuLaunchHostFunc_v2) \
  X(cuLaunchHostFunc, 13010, 1, cuLaunchHostFunc_v2_ptsz) \
  X(cuStreamAddCallback, 5000, 0, cuStreamAddCallback) \
  X(cuStreamAddCallback, 7000, 1, cuStreamAddCallback_ptsz) \
  X(cuMemcpy, 4000, 0, cuMemcpy) \
  X(cuMemcpyDtoD, 3020, 0, cuMemcpyDtoD_v2) \
  X(cuMemcpy2D, 3020, 0, cuMemcpy2D_v2) \
  X(cuMemcpy2DUnaligned, 3020, 0, cuMemcpy2DUnaligned_v2) \
  X(cuMemcpy3D, 3020, 0, cuMemcpy3D_v2) \
  X(cuMemcpyPeer, 4000, 0, cuMemcpyPeer) \
  X(cuMemcpy3DPeer, 4000, 0, cuMemcpy3DPeer) \
  X(cuMemcpyAtoD, 3020, 0, cuMemcpyAtoD_v2) \
  X(cuMemcpyAsync, 4000, 0, cuMemcpyAsync) \
  X(cuMemcpyAsync, 7000, 1, cuMemcpyAsync_ptsz) \
  X(cuMemcpyHtoDAsync, 3020, 0, cuMemcpyHtoDAsync_v2) \
  X(cuMemcpyHtoDAsync, 7000, 1, cuMemcpyHtoDAsync_v2_ptsz) \
  X(cuMemcpyDtoHAsync, 3020, 0, cuMemcpyDtoHAsync_v2) \
  X(cuMemcpyDtoHAsync, 7000, 1, cuMemcpyDtoHAsync_v2_ptsz) \
  X(cuMemcpyDtoDAsync, 3020, 0, cuMemcpyDtoDAsync_v2) \
  X(cuMemcpyDtoDAsync, 7000, 1, cuMemcpyDtoDAsync_v2_ptsz) \
  X(cuMemcpyAtoHAsync, 3020, 0, cuMemcpyAtoHAsync_v2) \
  X(cuMemcpyAtoHAsync, 7000, 1, cuMemcpyAtoHAsync_v2_ptsz) \
  X(cuMemcpy2DAsync, 3020, 0, cuMemcpy2DAsync_v2) \
  X(cuMemcpy2DAsync, 7000, 1, cuMemcpy2DAsync_v2_ptsz) \
  X(cuMemcpy3DAsync, 3020, 0, cuMemcpy3DAsync_v2) \
  X(cuMemcpy3DAsync, 7000, 1, cuMemcpy3DAsync_v2_ptsz) \
  X(cuMemcpyHtoAAsync, 3020, 0, cuMemcpyHtoAAsync_v2) \
  X(cuMemcpyHtoAAsync, 7000, 1, cuMemcpyHtoAAsync_v2_ptsz) \
  X(cuMemcpyPeerAsync, 4000, 0, cuMemcpyPeerAsync) \
  X(cuMemcpyPeerAsync, 7000, 1, cuMemcpyPeerAsync_ptsz) \
  X(cuMemcpy3DPeerAsync, 4000, 0, cuMemcpy3DPeerAsync) \
  X(cuMemcpy3DPeerAsync, 7000, 1, cuMemcpy3DPeerAsync_ptsz) \
  X(cuMemcpyWithAttributesAsync, 13020, 0, cuMemcpyWithAttributesAsync) \
  X(cuMemcpyWithAttributesAsync, 13020, 1, cuMemcpyWithAttributesAsync_ptsz) \
  X(cuMemcpy3DWithAttributesAsync, 13020, 0, cuMemcpy3DWithAttributesAsync) \
  X(cuMemcpy3DWithAttributesAsync, 13020, 1, cuMemcpy3DWithAttributesAsync_ptsz) \
  X(cuMemBatchDecompressAsync, 12060, 0, cuMemBatchDecompressAsync) \
  X(cuMemBatchDecompressAsync, 12060, 1, cuMemBatchDecompressAsync_ptsz) \
  X(cuStreamWriteValue32, 8000, 0, cuStreamWriteValue32) \
  X(cuStreamWriteValue32, 8000, 1, cuStreamWriteValue32_ptsz) \
  X(cuStreamWriteValue32, 11070, 0, cuStreamWriteValue32_v2) \
  X(cuStreamWriteValue32, 11070, 1, cuStreamWriteValue32_v2_ptsz) \
  X(cuStreamWriteValue64, 9000, 0, cuStreamWriteValue64) \
  X(cuStreamWriteValue64, 9000, 1, cuStreamWriteValue64_ptsz) \
  X(cuStreamWriteValue64, 11070, 0, cuStreamWriteValue64_v2) \
  X(cuStreamWriteValue64, 11070, 1, cuStreamWriteValue64_v2_ptsz) \
  X(cuStreamBatchMemOp, 8000, 0, cuStreamBatchMemOp) \
  X(cuStreamBatchMemOp, 8000, 1, cuStreamBatchMemOp_ptsz) \
  X(cuStreamBatchMemOp, 11070, 0, cuStreamBatchMemOp_v2) \
  X(cuStreamBatchMemOp, 11070, 1, cuStreamBatchMemOp_v2_ptsz) \
  X(cuMemsetD8Async, 3020, 0, cuMemsetD8Async) \
  X(cuMemsetD8Async, 7000, 1, cuMemsetD8Async_ptsz) \
  X(cuMemsetD16Async, 3020, 0, cuMemsetD16Async) \
  X(cuMemsetD16Async, 7000, 1, cuMemsetD16Async_ptsz) \
  X(cuMemsetD32Async, 3020, 0, cuMemsetD32Async) \
  X(cuMemsetD32Async, 7000, 1, cuMemsetD32Async_ptsz) \
  X(cuMemsetD2D8Async, 3020, 0, cuMemsetD2D8Async) \
  X(cuMemsetD2D8Async, 7000, 1, cuMemsetD2D8Async_ptsz) \
  X(cuMemsetD2D16Async, 3020, 0, cuMemsetD2D16Async) \
  X(cuMemsetD2D16Async, 7000, 1, cuMemsetD2D16Async_ptsz) \
  X(cuMemsetD2D32Async, 3020, 0, cuMemsetD2D32Async) \
  X(cuMemsetD2D32Async, 7000, 1, cuMemsetD2D32Async_ptsz) \
  X(cuIpcGetMemHandle, 4010, 0, cuIpcGetMemHandle) \
  X(cuMemGetHandleForAddressRange, 11070, 0, cuMemGetHandleForAddressRange) \
  X(cuPointerGetAttribute, 4000, 0, cuPointerGetAttribute) \
  X(cuPointerGetAttributes, 7000, 0, cuPointerGetAttributes) \
  X(cuPointerSetAttribute, 6000, 0, cuPointerSetAttribute) \
  X(cuMemAdvise, 8000, 0, cuMemAdvise) \
  X(cuMemAdvise, 12020, 0, cuMemAdvise_v2) \
  X(cuStreamAttachMemAsync, 6000, 0, cuStreamAttachMemAsync) \
  X(cuStreamAttachMemAsync, 7000, 1, cuStreamAttachMemAsync_ptsz) \
  X(cuCtxCreate, 2000, 0, cuCtxCreate) \
  X(cuCtxCreate, 3020, 0, cuCtxCreate_v2) \
  X(cuCtxCreate, 11040, 0, cuCtxCreate_v3) \
  X(cuCtxCreate, 12050, 0, cuCtxCreate_v4) \
  X(cuGLCtxCreate, 2000, 0, cuGLCtxCreate) \
  X(cuGLCtxCreate, 3020, 0, cuGLCtxCreate_v2) \
  X(cuVDPAUCtxCreate, 3010, 0, cuVDPAUCtxCreate) \
  X(cuVDPAUCtxCreate, 3020, 0, cuVDPAUCtxCreate_v2) \
  X(cuCtxDestroy, 2000, 0, cuCtxDestroy) \
  X(cuCtxDestroy, 4000, 0, cuCtxDestroy_v2) \
  X(cuCtxDetach, 2000, 0, cuCtxDetach) \
  X(cuCtxSynchronize, 2000, 0, cuCtxSynchronize) \
  X(cuCtxSynchronize, 13000, 0, cuCtxSynchronize_v2) \
  X(cuDevicePrimaryCtxRetain, 7000, 0, cuDevicePrimaryCtxRetain) \
  X(cuDevicePrimaryCtxRelease, 7000, 0, cuDevicePrimaryCtxRelease) \
  X(cuDevicePrimaryCtxRelease, 11000, 0, cuDevicePrimaryCtxRelease_v2) \
  X(cuDevicePrimaryCtxReset, 7000, 0, cuDevicePrimaryCtxReset) \
  X(cuDevicePrimaryCtxReset, 11000, 0, cuDevicePrimaryCtxReset_v2) \
  X(cuGreenCtxCreate, 12040, 0, cuGreenCtxCreate) \
  X(cuCtxFromGreenCtx, 12040, 0, cuCtxFromGreenCtx) \
  X(cuGreenCtxDestroy, 12040, 0, cuGreenCtxDestroy) \
  X(cuGreenCtxStreamCreate, 12050, 0, cuGreenCtxStreamCreate) \
  X(cuStreamCreate, 2000, 0, cuStreamCreate) \
  X(cuStreamCreateWithPriority, 5050, 0, cuStreamCreateWithPriority) \
  X(cuStreamDestroy, 2000, 0, cuStreamDestroy) \
  X(cuStreamDestroy, 4000, 0, cuStreamDestroy_v2) \
  X(cuStreamBeginCapture, 10000, 0, cuStreamBeginCapture) \
  X(cuStreamBeginCapture, 10000, 1, cuStreamBeginCapture_ptsz) \
  X(cuStreamBeginCapture, 10010, 0, cuStreamBeginCapture_v2) \
  X(cuStreamBeginCapture, 10010, 1, cuStreamBeginCapture_v2_ptsz) \
  X(cuStreamBeginCaptureToGraph, 12030, 0, cuStreamBeginCaptureToGraph) \
  X(cuStreamBeginCaptureToGraph, 12030, 1, cuStreamBeginCaptureToGraph_ptsz) \
  X(cuStreamBeginRecaptureToGraph, 13030, 0, cuStreamBeginRecaptureToGraph) \
  X(cuStreamBeginRecaptureToGraph, 13030, 1, cuStreamBeginRecaptureToGraph_ptsz) \
  X(cuStreamBeginCaptureToCig, 13010, 0, cuStreamBeginCaptureToCig) \
  X(cuStreamBeginCaptureToCig, 13010, 1, cuStreamBeginCaptureToCig_ptsz) \
  X(cuStreamEndCapture, 10000, 0, cuStreamEndCapture) \
  X(cuStreamEndCapture, 10000, 1, cuStreamEndCapture_ptsz) \
  X(cuStreamEndCaptureToCig, 13010, 0, cuStreamEndCaptureToCig) \
  X(cuStreamEndCaptureToCig, 13010, 1, cuStreamEndCaptureToCig_ptsz) \
  X(cuEGLStreamConsumerAcquireFrame, 7000, 0, cuEGLStreamConsumerAcquireFrame) \
  X(cuEGLStreamConsumerReleaseFrame, 7000, 0, cuEGLStreamConsumerReleaseFrame) \
  X(cuEGLStreamProducerPresentFrame, 7000, 0, cuEGLStreamProducerPresentFrame) \
  X(cuEGLStreamProducerReturnFrame, 7000, 0, cuEGLStreamProducerReturnFrame)

#define XS_HOOK_STREAMS(X) \
  X(cuEventRecord, 2000, cuEventRecord, 1) \
  X(cuEventRecordWithFlags, 11010, cuEventRecordWithFlags, 1) \
  X(cuStreamWaitEvent, 3020, cuStreamWaitEvent, 0) \
  X(cuStreamWaitValue32, 8000, cuStreamWaitValue32, 0) \
  X(cuStreamWaitValue32, 11070, cuStreamWaitValue32_v2, 0) \
  X(cuStreamWaitValue64, 9000, cuStreamWaitValue64, 0) \
  X(cuStreamWaitValue64, 11070, cuStreamWaitValue64_v2, 0) \
  X(cuMemcpyBatchAsync, 12080, cuMemcpyBatchAsync, 8) \
  X(cuMemcpyBatchAsync, 13000, cuMemcpyBatchAsync_v2, 7) \
  X(cuMemcpy3DBatchAsync, 12080, cuMemcpy3DBatchAsync, 4) \
  X(cuMemcpy3DBatchAsync, 13000, cuMemcpy3DBatchAsync_v2, 3) \
  X(cuMemPrefetchAsync, 8000, cuMemPrefetchAsync, 3) \
  X(cuMemPrefetchAsync, 12020, cuMemPrefetchAsync_v2, 4) \
  X(cuMemPrefetchBatchAsync, 13000, cuMemPrefetchBatchAsync, 7) \
  X(cuMemDiscardBatchAsync, 13000, cuMemDiscardBatchAsync, 4) \
  X(cuMemDiscardAndPrefetchBatchAsync, 13000, cuMemDiscardAndPrefetchBatchAsync, 7) \
  X(cuMemMapArrayAsync, 11010, cuMemMapArrayAsync, 2) \
  X(cuSignalExternalSemaphoresAsync, 10000, cuSignalExternalSemaphoresAsync, 3) \
  X(cuWaitExternalSemaphoresAsync, 10000, cuWaitExternalSemaphoresAsync, 3) \
  X(cuGraphicsMapResources, 3000, cuGraphicsMapResources, 2) \
  X(cuGraphicsUnmapResources, 3000, cuGraphicsUnmapResources, 2) \
  X(cuGLMapBufferObjectAsync, 3020, cuGLMapBufferObjectAsync_v2, 3)

#define XS_HOOK_STREAMS_ALONE(X) \
  X(cuGLUnmapBufferObjectAsync, 2030, cuGLUnmapBufferObjectAsync, 1)

#define XS_HOOK_THREADS(X) \
  X(cuMemcpy, 7000, cuMemcpy) \
  X(cuMemcpyPeer, 7000, cuMemcpyPeer) \
  X(cuMemcpyHtoD, 7000, cuMemcpyHtoD_v2) \
  X(cuMemcpyDtoH, 7000, cuMemcpyDtoH_v2) \
  X(cuMemcpyDtoD, 7000, cuMemcpyDtoD_v2) \
  X(cuMemcpyDtoA, 7000, cuMemcpyDtoA_v2) \
  X(cuMemcpyAtoD, 7000, cuMemcpyAtoD_v2) \
  X(cuMemcpyHtoA, 7000, cuMemcpyHtoA_v2) \
  X(cuMemcpyAtoH, 7000, cuMemcpyAtoH_v2) \
  X(cuMemcpyAtoA, 7000, cuMemcpyAtoA_v2) \
  X(cuMemcpy2D, 7000, cuMemcpy2D_v2) \
  X(cuMemcpy2DUnaligned, 7000, cuMemcpy2DUnaligned_v2) \
  X(cuMemcpy3D, 7000, cuMemcpy3D_v2) \
  X(cuMemcpy3DPeer, 7000, cuMemcpy3DPeer) \
  X(cuMemsetD8, 7000, cuMemsetD8_v2) \
  X(cuMemsetD16, 7000, cuMemsetD16_v2) \
  X(cuMemsetD32, 7000, cuMemsetD32_v2) \
  X(cuMemsetD2D8, 7000, cuMemsetD2D8_v2) \
  X(cuMemsetD2D16, 7000, cuMemsetD2D16_v2) \
  X(cuMemsetD2D32, 7000, cuMemsetD2D32_v2) \
  X(cuGLMapBufferObject, 7000, cuGLMapBufferObject_v2)
/* clang-format on */

/* CUDA 7.0 brought the per-thread forms of what was there before. */
#define XS_HOOK_THREAD_VERSION(v) ((v) < 7000 ? 7000 : (v))

/* Their numbers, in the order of the lists. */
enum xs_hook {
#define X(name, version, per_thread, symbol) XS_HOOK_##symbol,
    XS_HOOK_CALLS(X)
#undef X
#define X(name, version, symbol, where) XS_HOOK_##symbol, XS_HOOK_##symbol##_ptsz,
        XS_HOOK_STREAMS(X)
#undef X
#define X(name, version, symbol, where) XS_HOOK_##symbol,
            XS_HOOK_STREAMS_ALONE(X)
#undef X
#define X(name, version, symbol) XS_HOOK_##symbol##_ptds,
                XS_HOOK_THREADS(X)
#undef X
                    XS_HOOK_COUNT
};

#endif
