/* sys/cuda_calls.h - the one list of driver calls that the shim and its tests speak of.
 *
 * XS_CUDA_CALL(name, version, per_thread, symbol, parameters), defined before each inclusion.
 * name, version: what cuGetProcAddress is asked for, and the CUDA version (major * 1000 +
 * minor * 10) that brought this form of it. per_thread: 1 where a null stream means the calling
 * thread's own stream. symbol: the exported name. All return CUresult.
 * The forms from before CUDA 3.2, with 32-bit device pointers, are left out. */
// clang-format off

XS_CUDA_CALL(cuInit, 2000, 0, cuInit, (unsigned int))
XS_CUDA_CALL(cuDriverGetVersion, 2020, 0, cuDriverGetVersion, (int *))
XS_CUDA_CALL(cuGetErrorString, 6000, 0, cuGetErrorString, (CUresult, const char **))
XS_CUDA_CALL(cuGetErrorName, 6000, 0, cuGetErrorName, (CUresult, const char **))
XS_CUDA_CALL(cuGetProcAddress, 11030, 0, cuGetProcAddress, (const char *, void **, int, uint64_t))
XS_CUDA_CALL(cuGetProcAddress, 12000, 0, cuGetProcAddress_v2, (const char *, void **, int, uint64_t,
    CUdriverProcAddressQueryResult *))
XS_CUDA_CALL(cuGetExportTable, 3000, 0, cuGetExportTable, (const void **, const CUuuid *))
XS_CUDA_CALL(cuDeviceGet, 2000, 0, cuDeviceGet, (CUdevice *, int))
XS_CUDA_CALL(cuDeviceGetCount, 2000, 0, cuDeviceGetCount, (int *))
XS_CUDA_CALL(cuDeviceGetName, 2000, 0, cuDeviceGetName, (char *, int, CUdevice))
XS_CUDA_CALL(cuDeviceGetUuid, 9020, 0, cuDeviceGetUuid, (CUuuid *, CUdevice))
XS_CUDA_CALL(cuDeviceGetUuid, 11040, 0, cuDeviceGetUuid_v2, (CUuuid *, CUdevice))
XS_CUDA_CALL(cuDeviceTotalMem, 3020, 0, cuDeviceTotalMem_v2, (size_t *, CUdevice))
XS_CUDA_CALL(cuDeviceGetAttribute, 2000, 0, cuDeviceGetAttribute, (int *, CUdevice_attribute,
    CUdevice))
XS_CUDA_CALL(cuDeviceGetPCIBusId, 4010, 0, cuDeviceGetPCIBusId, (char *, int, CUdevice))
XS_CUDA_CALL(cuDeviceGetByPCIBusId, 4010, 0, cuDeviceGetByPCIBusId, (CUdevice *, const char *))
XS_CUDA_CALL(cuDeviceCanAccessPeer, 4000, 0, cuDeviceCanAccessPeer, (int *, CUdevice, CUdevice))
XS_CUDA_CALL(cuDeviceGetDefaultMemPool, 11020, 0, cuDeviceGetDefaultMemPool, (CUmemoryPool *,
    CUdevice))
XS_CUDA_CALL(cuDeviceGetMemPool, 11020, 0, cuDeviceGetMemPool, (CUmemoryPool *, CUdevice))
XS_CUDA_CALL(cuDeviceSetMemPool, 11020, 0, cuDeviceSetMemPool, (CUdevice, CUmemoryPool))
XS_CUDA_CALL(cuDevicePrimaryCtxRetain, 7000, 0, cuDevicePrimaryCtxRetain, (CUcontext *, CUdevice))
XS_CUDA_CALL(cuDevicePrimaryCtxRelease, 7000, 0, cuDevicePrimaryCtxRelease, (CUdevice))
XS_CUDA_CALL(cuDevicePrimaryCtxRelease, 11000, 0, cuDevicePrimaryCtxRelease_v2, (CUdevice))
XS_CUDA_CALL(cuDevicePrimaryCtxSetFlags, 7000, 0, cuDevicePrimaryCtxSetFlags, (CUdevice, unsigned
    int))
XS_CUDA_CALL(cuDevicePrimaryCtxSetFlags, 11000, 0, cuDevicePrimaryCtxSetFlags_v2, (CUdevice,
    unsigned int))
XS_CUDA_CALL(cuDevicePrimaryCtxGetState, 7000, 0, cuDevicePrimaryCtxGetState, (CUdevice, unsigned
    int *, int *))
XS_CUDA_CALL(cuDevicePrimaryCtxReset, 7000, 0, cuDevicePrimaryCtxReset, (CUdevice))
XS_CUDA_CALL(cuDevicePrimaryCtxReset, 11000, 0, cuDevicePrimaryCtxReset_v2, (CUdevice))
XS_CUDA_CALL(cuCtxCreate, 3020, 0, cuCtxCreate_v2, (CUcontext *, unsigned int, CUdevice))
XS_CUDA_CALL(cuCtxCreate, 11040, 0, cuCtxCreate_v3, (CUcontext *, CUexecAffinityParam *, int,
    unsigned int, CUdevice))
XS_CUDA_CALL(cuCtxCreate, 12050, 0, cuCtxCreate_v4, (CUcontext *, CUctxCreateParams *, unsigned int,
    CUdevice))
XS_CUDA_CALL(cuCtxDestroy, 4000, 0, cuCtxDestroy_v2, (CUcontext))
XS_CUDA_CALL(cuCtxSetCurrent, 4000, 0, cuCtxSetCurrent, (CUcontext))
XS_CUDA_CALL(cuCtxGetCurrent, 4000, 0, cuCtxGetCurrent, (CUcontext *))
XS_CUDA_CALL(cuCtxPushCurrent, 4000, 0, cuCtxPushCurrent_v2, (CUcontext))
XS_CUDA_CALL(cuCtxPopCurrent, 4000, 0, cuCtxPopCurrent_v2, (CUcontext *))
XS_CUDA_CALL(cuCtxGetDevice, 2000, 0, cuCtxGetDevice, (CUdevice *))
XS_CUDA_CALL(cuCtxGetDevice, 13000, 0, cuCtxGetDevice_v2, (CUdevice *, CUcontext))
XS_CUDA_CALL(cuCtxGetFlags, 7000, 0, cuCtxGetFlags, (unsigned int *))
XS_CUDA_CALL(cuCtxSynchronize, 2000, 0, cuCtxSynchronize, (void))
XS_CUDA_CALL(cuCtxSynchronize, 13000, 0, cuCtxSynchronize_v2, (CUcontext))
XS_CUDA_CALL(cuCtxGetApiVersion, 3020, 0, cuCtxGetApiVersion, (CUcontext, unsigned int *))
XS_CUDA_CALL(cuCtxGetStreamPriorityRange, 5050, 0, cuCtxGetStreamPriorityRange, (int *, int *))
XS_CUDA_CALL(cuCtxRecordEvent, 12050, 0, cuCtxRecordEvent, (CUcontext, CUevent))
XS_CUDA_CALL(cuCtxWaitEvent, 12050, 0, cuCtxWaitEvent, (CUcontext, CUevent))
XS_CUDA_CALL(cuCtxGetId, 12000, 0, cuCtxGetId, (CUcontext, unsigned long long *))
XS_CUDA_CALL(cuCtxEnablePeerAccess, 4000, 0, cuCtxEnablePeerAccess, (CUcontext, unsigned int))
XS_CUDA_CALL(cuCtxDisablePeerAccess, 4000, 0, cuCtxDisablePeerAccess, (CUcontext))
XS_CUDA_CALL(cuMemGetInfo, 3020, 0, cuMemGetInfo_v2, (size_t *, size_t *))
XS_CUDA_CALL(cuMemAlloc, 3020, 0, cuMemAlloc_v2, (CUdeviceptr *, size_t))
XS_CUDA_CALL(cuMemAllocPitch, 3020, 0, cuMemAllocPitch_v2, (CUdeviceptr *, size_t *, size_t, size_t,
    unsigned int))
XS_CUDA_CALL(cuMemFree, 3020, 0, cuMemFree_v2, (CUdeviceptr))
XS_CUDA_CALL(cuMemGetAddressRange, 3020, 0, cuMemGetAddressRange_v2, (CUdeviceptr *, size_t *,
    CUdeviceptr))
XS_CUDA_CALL(cuMemAllocHost, 3020, 0, cuMemAllocHost_v2, (void **, size_t))
XS_CUDA_CALL(cuMemFreeHost, 2000, 0, cuMemFreeHost, (void *))
XS_CUDA_CALL(cuMemHostAlloc, 2020, 0, cuMemHostAlloc, (void **, size_t, unsigned int))
XS_CUDA_CALL(cuMemHostGetDevicePointer, 3020, 0, cuMemHostGetDevicePointer_v2, (CUdeviceptr *, void
    *, unsigned int))
XS_CUDA_CALL(cuMemHostGetFlags, 2030, 0, cuMemHostGetFlags, (unsigned int *, void *))
XS_CUDA_CALL(cuMemAllocManaged, 6000, 0, cuMemAllocManaged, (CUdeviceptr *, size_t, unsigned int))
XS_CUDA_CALL(cuMemHostRegister, 4000, 0, cuMemHostRegister, (void *, size_t, unsigned int))
XS_CUDA_CALL(cuMemHostRegister, 6050, 0, cuMemHostRegister_v2, (void *, size_t, unsigned int))
XS_CUDA_CALL(cuMemHostUnregister, 4000, 0, cuMemHostUnregister, (void *))
XS_CUDA_CALL(cuPointerGetAttribute, 4000, 0, cuPointerGetAttribute, (void *, CUpointer_attribute,
    CUdeviceptr))
XS_CUDA_CALL(cuPointerGetAttributes, 7000, 0, cuPointerGetAttributes, (unsigned int,
    CUpointer_attribute *, void **, CUdeviceptr))
XS_CUDA_CALL(cuPointerSetAttribute, 6000, 0, cuPointerSetAttribute, (const void *,
    CUpointer_attribute, CUdeviceptr))
XS_CUDA_CALL(cuMemPrefetchAsync, 8000, 0, cuMemPrefetchAsync, (CUdeviceptr, size_t, CUdevice,
    CUstream))
XS_CUDA_CALL(cuMemPrefetchAsync, 12020, 0, cuMemPrefetchAsync_v2, (CUdeviceptr, size_t,
    CUmemLocation, unsigned int, CUstream))
XS_CUDA_CALL(cuMemPrefetchAsync, 8000, 1, cuMemPrefetchAsync_ptsz, (CUdeviceptr, size_t, CUdevice,
    CUstream))
XS_CUDA_CALL(cuMemPrefetchAsync, 12020, 1, cuMemPrefetchAsync_v2_ptsz, (CUdeviceptr, size_t,
    CUmemLocation, unsigned int, CUstream))
XS_CUDA_CALL(cuMemAdvise, 8000, 0, cuMemAdvise, (CUdeviceptr, size_t, CUmem_advise, CUdevice))
XS_CUDA_CALL(cuMemAdvise, 12020, 0, cuMemAdvise_v2, (CUdeviceptr, size_t, CUmem_advise,
    CUmemLocation))
XS_CUDA_CALL(cuIpcGetMemHandle, 4010, 0, cuIpcGetMemHandle, (CUipcMemHandle *, CUdeviceptr))
XS_CUDA_CALL(cuIpcOpenMemHandle, 4010, 0, cuIpcOpenMemHandle, (CUdeviceptr *, CUipcMemHandle,
    unsigned int))
XS_CUDA_CALL(cuIpcOpenMemHandle, 11000, 0, cuIpcOpenMemHandle_v2, (CUdeviceptr *, CUipcMemHandle,
    unsigned int))
XS_CUDA_CALL(cuIpcCloseMemHandle, 4010, 0, cuIpcCloseMemHandle, (CUdeviceptr))
XS_CUDA_CALL(cuIpcGetEventHandle, 4010, 0, cuIpcGetEventHandle, (CUipcEventHandle *, CUevent))
XS_CUDA_CALL(cuMemGetHandleForAddressRange, 11070, 0, cuMemGetHandleForAddressRange, (void *,
    CUdeviceptr, size_t, CUmemRangeHandleType, unsigned long long))
XS_CUDA_CALL(cuArrayCreate, 3020, 0, cuArrayCreate_v2, (CUarray *, const CUDA_ARRAY_DESCRIPTOR *))
XS_CUDA_CALL(cuArray3DCreate, 3020, 0, cuArray3DCreate_v2, (CUarray *, const CUDA_ARRAY3D_DESCRIPTOR
    *))
XS_CUDA_CALL(cuArrayDestroy, 2000, 0, cuArrayDestroy, (CUarray))
XS_CUDA_CALL(cuMipmappedArrayCreate, 5000, 0, cuMipmappedArrayCreate, (CUmipmappedArray *, const
    CUDA_ARRAY3D_DESCRIPTOR *, unsigned int))
XS_CUDA_CALL(cuMipmappedArrayDestroy, 5000, 0, cuMipmappedArrayDestroy, (CUmipmappedArray))
XS_CUDA_CALL(cuMemAllocAsync, 11020, 0, cuMemAllocAsync, (CUdeviceptr *, size_t, CUstream))
XS_CUDA_CALL(cuMemAllocAsync, 11020, 1, cuMemAllocAsync_ptsz, (CUdeviceptr *, size_t, CUstream))
XS_CUDA_CALL(cuMemFreeAsync, 11020, 0, cuMemFreeAsync, (CUdeviceptr, CUstream))
XS_CUDA_CALL(cuMemFreeAsync, 11020, 1, cuMemFreeAsync_ptsz, (CUdeviceptr, CUstream))
XS_CUDA_CALL(cuMemPoolCreate, 11020, 0, cuMemPoolCreate, (CUmemoryPool *, const CUmemPoolProps *))
XS_CUDA_CALL(cuMemPoolDestroy, 11020, 0, cuMemPoolDestroy, (CUmemoryPool))
XS_CUDA_CALL(cuMemPoolSetAttribute, 11020, 0, cuMemPoolSetAttribute, (CUmemoryPool,
    CUmemPool_attribute, void *))
XS_CUDA_CALL(cuMemPoolGetAttribute, 11020, 0, cuMemPoolGetAttribute, (CUmemoryPool,
    CUmemPool_attribute, void *))
XS_CUDA_CALL(cuMemPoolTrimTo, 11020, 0, cuMemPoolTrimTo, (CUmemoryPool, size_t))
XS_CUDA_CALL(cuMemPoolSetAccess, 11020, 0, cuMemPoolSetAccess, (CUmemoryPool, const CUmemAccessDesc
    *, size_t))
XS_CUDA_CALL(cuMemAllocFromPoolAsync, 11020, 0, cuMemAllocFromPoolAsync, (CUdeviceptr *, size_t,
    CUmemoryPool, CUstream))
XS_CUDA_CALL(cuMemAllocFromPoolAsync, 11020, 1, cuMemAllocFromPoolAsync_ptsz, (CUdeviceptr *,
    size_t, CUmemoryPool, CUstream))
XS_CUDA_CALL(cuMemAddressReserve, 10020, 0, cuMemAddressReserve, (CUdeviceptr *, size_t, size_t,
    CUdeviceptr, unsigned long long))
XS_CUDA_CALL(cuMemAddressFree, 10020, 0, cuMemAddressFree, (CUdeviceptr, size_t))
XS_CUDA_CALL(cuMemCreate, 10020, 0, cuMemCreate, (CUmemGenericAllocationHandle *, size_t, const
    CUmemAllocationProp *, unsigned long long))
XS_CUDA_CALL(cuMemRelease, 10020, 0, cuMemRelease, (CUmemGenericAllocationHandle))
XS_CUDA_CALL(cuMemRetainAllocationHandle, 11000, 0, cuMemRetainAllocationHandle,
    (CUmemGenericAllocationHandle *, void *))
XS_CUDA_CALL(cuMemMap, 10020, 0, cuMemMap, (CUdeviceptr, size_t, size_t,
    CUmemGenericAllocationHandle, unsigned long long))
XS_CUDA_CALL(cuMemUnmap, 10020, 0, cuMemUnmap, (CUdeviceptr, size_t))
XS_CUDA_CALL(cuMemSetAccess, 10020, 0, cuMemSetAccess, (CUdeviceptr, size_t, const CUmemAccessDesc
    *, size_t))
XS_CUDA_CALL(cuMemGetAllocationGranularity, 10020, 0, cuMemGetAllocationGranularity, (size_t *,
    const CUmemAllocationProp *, CUmemAllocationGranularity_flags))
XS_CUDA_CALL(cuMemcpy, 4000, 0, cuMemcpy, (CUdeviceptr, CUdeviceptr, size_t))
XS_CUDA_CALL(cuMemcpy, 7000, 1, cuMemcpy_ptds, (CUdeviceptr, CUdeviceptr, size_t))
XS_CUDA_CALL(cuMemcpyAsync, 4000, 0, cuMemcpyAsync, (CUdeviceptr, CUdeviceptr, size_t, CUstream))
XS_CUDA_CALL(cuMemcpyAsync, 7000, 1, cuMemcpyAsync_ptsz, (CUdeviceptr, CUdeviceptr, size_t,
    CUstream))
XS_CUDA_CALL(cuMemcpyHtoD, 3020, 0, cuMemcpyHtoD_v2, (CUdeviceptr, const void *, size_t))
XS_CUDA_CALL(cuMemcpyHtoD, 7000, 1, cuMemcpyHtoD_v2_ptds, (CUdeviceptr, const void *, size_t))
XS_CUDA_CALL(cuMemcpyDtoH, 3020, 0, cuMemcpyDtoH_v2, (void *, CUdeviceptr, size_t))
XS_CUDA_CALL(cuMemcpyDtoH, 7000, 1, cuMemcpyDtoH_v2_ptds, (void *, CUdeviceptr, size_t))
XS_CUDA_CALL(cuMemcpyDtoD, 3020, 0, cuMemcpyDtoD_v2, (CUdeviceptr, CUdeviceptr, size_t))
XS_CUDA_CALL(cuMemcpyDtoD, 7000, 1, cuMemcpyDtoD_v2_ptds, (CUdeviceptr, CUdeviceptr, size_t))
XS_CUDA_CALL(cuMemcpyHtoDAsync, 3020, 0, cuMemcpyHtoDAsync_v2, (CUdeviceptr, const void *, size_t,
    CUstream))
XS_CUDA_CALL(cuMemcpyHtoDAsync, 7000, 1, cuMemcpyHtoDAsync_v2_ptsz, (CUdeviceptr, const void *,
    size_t, CUstream))
XS_CUDA_CALL(cuMemcpyDtoHAsync, 3020, 0, cuMemcpyDtoHAsync_v2, (void *, CUdeviceptr, size_t,
    CUstream))
XS_CUDA_CALL(cuMemcpyDtoHAsync, 7000, 1, cuMemcpyDtoHAsync_v2_ptsz, (void *, CUdeviceptr, size_t,
    CUstream))
XS_CUDA_CALL(cuMemcpyDtoDAsync, 3020, 0, cuMemcpyDtoDAsync_v2, (CUdeviceptr, CUdeviceptr, size_t,
    CUstream))
XS_CUDA_CALL(cuMemcpyDtoDAsync, 7000, 1, cuMemcpyDtoDAsync_v2_ptsz, (CUdeviceptr, CUdeviceptr,
    size_t, CUstream))
XS_CUDA_CALL(cuMemcpy2D, 3020, 0, cuMemcpy2D_v2, (const CUDA_MEMCPY2D *))
XS_CUDA_CALL(cuMemcpy2D, 7000, 1, cuMemcpy2D_v2_ptds, (const CUDA_MEMCPY2D *))
XS_CUDA_CALL(cuMemcpy2DAsync, 3020, 0, cuMemcpy2DAsync_v2, (const CUDA_MEMCPY2D *, CUstream))
XS_CUDA_CALL(cuMemcpy2DAsync, 7000, 1, cuMemcpy2DAsync_v2_ptsz, (const CUDA_MEMCPY2D *, CUstream))
XS_CUDA_CALL(cuMemcpy2DUnaligned, 3020, 0, cuMemcpy2DUnaligned_v2, (const CUDA_MEMCPY2D *))
XS_CUDA_CALL(cuMemcpy2DUnaligned, 7000, 1, cuMemcpy2DUnaligned_v2_ptds, (const CUDA_MEMCPY2D *))
XS_CUDA_CALL(cuMemcpyPeer, 4000, 0, cuMemcpyPeer, (CUdeviceptr, CUcontext, CUdeviceptr, CUcontext,
    size_t))
XS_CUDA_CALL(cuMemcpyPeer, 7000, 1, cuMemcpyPeer_ptds, (CUdeviceptr, CUcontext, CUdeviceptr,
    CUcontext, size_t))
XS_CUDA_CALL(cuMemcpyPeerAsync, 4000, 0, cuMemcpyPeerAsync, (CUdeviceptr, CUcontext, CUdeviceptr,
    CUcontext, size_t, CUstream))
XS_CUDA_CALL(cuMemcpyPeerAsync, 7000, 1, cuMemcpyPeerAsync_ptsz, (CUdeviceptr, CUcontext,
    CUdeviceptr, CUcontext, size_t, CUstream))
XS_CUDA_CALL(cuMemsetD8, 3020, 0, cuMemsetD8_v2, (CUdeviceptr, unsigned char, size_t))
XS_CUDA_CALL(cuMemsetD8, 7000, 1, cuMemsetD8_v2_ptds, (CUdeviceptr, unsigned char, size_t))
XS_CUDA_CALL(cuMemsetD16, 3020, 0, cuMemsetD16_v2, (CUdeviceptr, unsigned short, size_t))
XS_CUDA_CALL(cuMemsetD16, 7000, 1, cuMemsetD16_v2_ptds, (CUdeviceptr, unsigned short, size_t))
XS_CUDA_CALL(cuMemsetD32, 3020, 0, cuMemsetD32_v2, (CUdeviceptr, unsigned int, size_t))
XS_CUDA_CALL(cuMemsetD32, 7000, 1, cuMemsetD32_v2_ptds, (CUdeviceptr, unsigned int, size_t))
XS_CUDA_CALL(cuMemsetD8Async, 3020, 0, cuMemsetD8Async, (CUdeviceptr, unsigned char, size_t,
    CUstream))
XS_CUDA_CALL(cuMemsetD8Async, 7000, 1, cuMemsetD8Async_ptsz, (CUdeviceptr, unsigned char, size_t,
    CUstream))
XS_CUDA_CALL(cuMemsetD16Async, 3020, 0, cuMemsetD16Async, (CUdeviceptr, unsigned short, size_t,
    CUstream))
XS_CUDA_CALL(cuMemsetD16Async, 7000, 1, cuMemsetD16Async_ptsz, (CUdeviceptr, unsigned short, size_t,
    CUstream))
XS_CUDA_CALL(cuMemsetD32Async, 3020, 0, cuMemsetD32Async, (CUdeviceptr, unsigned int, size_t,
    CUstream))
XS_CUDA_CALL(cuMemsetD32Async, 7000, 1, cuMemsetD32Async_ptsz, (CUdeviceptr, unsigned int, size_t,
    CUstream))
XS_CUDA_CALL(cuMemsetD2D8, 3020, 0, cuMemsetD2D8_v2, (CUdeviceptr, size_t, unsigned char, size_t,
    size_t))
XS_CUDA_CALL(cuMemsetD2D8, 7000, 1, cuMemsetD2D8_v2_ptds, (CUdeviceptr, size_t, unsigned char,
    size_t, size_t))
XS_CUDA_CALL(cuMemsetD2D8Async, 3020, 0, cuMemsetD2D8Async, (CUdeviceptr, size_t, unsigned char,
    size_t, size_t, CUstream))
XS_CUDA_CALL(cuMemsetD2D8Async, 7000, 1, cuMemsetD2D8Async_ptsz, (CUdeviceptr, size_t, unsigned
    char, size_t, size_t, CUstream))
XS_CUDA_CALL(cuStreamCreate, 2000, 0, cuStreamCreate, (CUstream *, unsigned int))
XS_CUDA_CALL(cuStreamCreateWithPriority, 5050, 0, cuStreamCreateWithPriority, (CUstream *, unsigned
    int, int))
XS_CUDA_CALL(cuStreamDestroy, 4000, 0, cuStreamDestroy_v2, (CUstream))
XS_CUDA_CALL(cuStreamSynchronize, 2000, 0, cuStreamSynchronize, (CUstream))
XS_CUDA_CALL(cuStreamSynchronize, 7000, 1, cuStreamSynchronize_ptsz, (CUstream))
XS_CUDA_CALL(cuStreamQuery, 2000, 0, cuStreamQuery, (CUstream))
XS_CUDA_CALL(cuStreamQuery, 7000, 1, cuStreamQuery_ptsz, (CUstream))
XS_CUDA_CALL(cuStreamWaitEvent, 3020, 0, cuStreamWaitEvent, (CUstream, CUevent, unsigned int))
XS_CUDA_CALL(cuStreamWaitEvent, 7000, 1, cuStreamWaitEvent_ptsz, (CUstream, CUevent, unsigned int))
XS_CUDA_CALL(cuStreamGetCtx, 9020, 0, cuStreamGetCtx, (CUstream, CUcontext *))
XS_CUDA_CALL(cuStreamGetCtx, 12050, 0, cuStreamGetCtx_v2, (CUstream, CUcontext *, CUgreenCtx *))
XS_CUDA_CALL(cuStreamGetCtx, 9020, 1, cuStreamGetCtx_ptsz, (CUstream, CUcontext *))
XS_CUDA_CALL(cuStreamGetCtx, 12050, 1, cuStreamGetCtx_v2_ptsz, (CUstream, CUcontext *, CUgreenCtx
    *))
XS_CUDA_CALL(cuStreamGetFlags, 5050, 0, cuStreamGetFlags, (CUstream, unsigned int *))
XS_CUDA_CALL(cuStreamGetFlags, 7000, 1, cuStreamGetFlags_ptsz, (CUstream, unsigned int *))
XS_CUDA_CALL(cuStreamGetId, 12000, 0, cuStreamGetId, (CUstream, unsigned long long *))
XS_CUDA_CALL(cuStreamGetId, 12000, 1, cuStreamGetId_ptsz, (CUstream, unsigned long long *))
XS_CUDA_CALL(cuStreamAddCallback, 5000, 0, cuStreamAddCallback, (CUstream, CUstreamCallback, void *,
    unsigned int))
XS_CUDA_CALL(cuStreamAddCallback, 7000, 1, cuStreamAddCallback_ptsz, (CUstream, CUstreamCallback,
    void *, unsigned int))
XS_CUDA_CALL(cuStreamIsCapturing, 10000, 0, cuStreamIsCapturing, (CUstream, CUstreamCaptureStatus
    *))
XS_CUDA_CALL(cuStreamIsCapturing, 10000, 1, cuStreamIsCapturing_ptsz, (CUstream,
    CUstreamCaptureStatus *))
XS_CUDA_CALL(cuStreamBeginCapture, 10000, 0, cuStreamBeginCapture, (CUstream))
XS_CUDA_CALL(cuStreamBeginCapture, 10010, 0, cuStreamBeginCapture_v2, (CUstream,
    CUstreamCaptureMode))
XS_CUDA_CALL(cuStreamBeginCapture, 10000, 1, cuStreamBeginCapture_ptsz, (CUstream))
XS_CUDA_CALL(cuStreamBeginCapture, 10010, 1, cuStreamBeginCapture_v2_ptsz, (CUstream,
    CUstreamCaptureMode))
XS_CUDA_CALL(cuStreamBeginCaptureToGraph, 12030, 0, cuStreamBeginCaptureToGraph, (CUstream, CUgraph,
    const CUgraphNode *, const CUgraphEdgeData *, size_t, CUstreamCaptureMode))
XS_CUDA_CALL(cuStreamBeginCaptureToGraph, 12030, 1, cuStreamBeginCaptureToGraph_ptsz, (CUstream,
    CUgraph, const CUgraphNode *, const CUgraphEdgeData *, size_t, CUstreamCaptureMode))
XS_CUDA_CALL(cuStreamEndCapture, 10000, 0, cuStreamEndCapture, (CUstream, CUgraph *))
XS_CUDA_CALL(cuStreamEndCapture, 10000, 1, cuStreamEndCapture_ptsz, (CUstream, CUgraph *))
XS_CUDA_CALL(cuStreamGetCaptureInfo, 10010, 0, cuStreamGetCaptureInfo, (CUstream,
    CUstreamCaptureStatus *, uint64_t *))
XS_CUDA_CALL(cuStreamGetCaptureInfo, 11030, 0, cuStreamGetCaptureInfo_v2, (CUstream,
    CUstreamCaptureStatus *, uint64_t *, CUgraph *, const CUgraphNode **, size_t *))
XS_CUDA_CALL(cuStreamGetCaptureInfo, 12030, 0, cuStreamGetCaptureInfo_v3, (CUstream,
    CUstreamCaptureStatus *, uint64_t *, CUgraph *, const CUgraphNode **, const CUgraphEdgeData **,
    size_t *))
XS_CUDA_CALL(cuStreamGetCaptureInfo, 10010, 1, cuStreamGetCaptureInfo_ptsz, (CUstream,
    CUstreamCaptureStatus *, uint64_t *))
XS_CUDA_CALL(cuStreamGetCaptureInfo, 11030, 1, cuStreamGetCaptureInfo_v2_ptsz, (CUstream,
    CUstreamCaptureStatus *, uint64_t *, CUgraph *, const CUgraphNode **, size_t *))
XS_CUDA_CALL(cuStreamGetCaptureInfo, 12030, 1, cuStreamGetCaptureInfo_v3_ptsz, (CUstream,
    CUstreamCaptureStatus *, uint64_t *, CUgraph *, const CUgraphNode **, const CUgraphEdgeData **,
    size_t *))
XS_CUDA_CALL(cuThreadExchangeStreamCaptureMode, 10010, 0, cuThreadExchangeStreamCaptureMode,
    (CUstreamCaptureMode *))
XS_CUDA_CALL(cuStreamAttachMemAsync, 6000, 0, cuStreamAttachMemAsync, (CUstream, CUdeviceptr,
    size_t, unsigned int))
XS_CUDA_CALL(cuStreamAttachMemAsync, 7000, 1, cuStreamAttachMemAsync_ptsz, (CUstream, CUdeviceptr,
    size_t, unsigned int))
XS_CUDA_CALL(cuEventCreate, 2000, 0, cuEventCreate, (CUevent *, unsigned int))
XS_CUDA_CALL(cuEventRecord, 2000, 0, cuEventRecord, (CUevent, CUstream))
XS_CUDA_CALL(cuEventRecord, 7000, 1, cuEventRecord_ptsz, (CUevent, CUstream))
XS_CUDA_CALL(cuEventRecordWithFlags, 11010, 0, cuEventRecordWithFlags, (CUevent, CUstream, unsigned
    int))
XS_CUDA_CALL(cuEventRecordWithFlags, 11010, 1, cuEventRecordWithFlags_ptsz, (CUevent, CUstream,
    unsigned int))
XS_CUDA_CALL(cuEventQuery, 2000, 0, cuEventQuery, (CUevent))
XS_CUDA_CALL(cuEventSynchronize, 2000, 0, cuEventSynchronize, (CUevent))
XS_CUDA_CALL(cuEventDestroy, 4000, 0, cuEventDestroy_v2, (CUevent))
XS_CUDA_CALL(cuEventElapsedTime, 2000, 0, cuEventElapsedTime, (float *, CUevent, CUevent))
XS_CUDA_CALL(cuEventElapsedTime, 12080, 0, cuEventElapsedTime_v2, (float *, CUevent, CUevent))
XS_CUDA_CALL(cuLaunchKernel, 4000, 0, cuLaunchKernel, (CUfunction, unsigned int, unsigned int,
    unsigned int, unsigned int, unsigned int, unsigned int, unsigned int, CUstream, void **, void
    **))
XS_CUDA_CALL(cuLaunchKernel, 7000, 1, cuLaunchKernel_ptsz, (CUfunction, unsigned int, unsigned int,
    unsigned int, unsigned int, unsigned int, unsigned int, unsigned int, CUstream, void **, void
    **))
XS_CUDA_CALL(cuLaunchKernelEx, 11060, 0, cuLaunchKernelEx, (const CUlaunchConfig *, CUfunction, void
    **, void **))
XS_CUDA_CALL(cuLaunchKernelEx, 11060, 1, cuLaunchKernelEx_ptsz, (const CUlaunchConfig *, CUfunction,
    void **, void **))
XS_CUDA_CALL(cuLaunchHostFunc, 10000, 0, cuLaunchHostFunc, (CUstream, CUhostFn, void *))
XS_CUDA_CALL(cuLaunchHostFunc, 10000, 1, cuLaunchHostFunc_ptsz, (CUstream, CUhostFn, void *))
XS_CUDA_CALL(cuGraphCreate, 10000, 0, cuGraphCreate, (CUgraph *, unsigned int))
XS_CUDA_CALL(cuGraphAddMemAllocNode, 11040, 0, cuGraphAddMemAllocNode, (CUgraphNode *, CUgraph, const
    CUgraphNode *, size_t, CUDA_MEM_ALLOC_NODE_PARAMS *))
XS_CUDA_CALL(cuGraphAddNode, 12020, 0, cuGraphAddNode, (CUgraphNode *, CUgraph, const CUgraphNode *,
    size_t, CUgraphNodeParams *))
XS_CUDA_CALL(cuGraphAddNode, 12030, 0, cuGraphAddNode_v2, (CUgraphNode *, CUgraph, const CUgraphNode
    *, const CUgraphEdgeData *, size_t, CUgraphNodeParams *))
XS_CUDA_CALL(cuGraphInstantiate, 10000, 0, cuGraphInstantiate, (CUgraphExec *, CUgraph, CUgraphNode
    *, char *, size_t))
XS_CUDA_CALL(cuGraphInstantiate, 11000, 0, cuGraphInstantiate_v2, (CUgraphExec *, CUgraph,
    CUgraphNode *, char *, size_t))
XS_CUDA_CALL(cuGraphInstantiateWithFlags, 11040, 0, cuGraphInstantiateWithFlags, (CUgraphExec *,
    CUgraph, unsigned long long))
XS_CUDA_CALL(cuGraphLaunch, 10000, 0, cuGraphLaunch, (CUgraphExec, CUstream))
XS_CUDA_CALL(cuGraphLaunch, 10000, 1, cuGraphLaunch_ptsz, (CUgraphExec, CUstream))
XS_CUDA_CALL(cuGraphDestroy, 10000, 0, cuGraphDestroy, (CUgraph))
XS_CUDA_CALL(cuGraphExecDestroy, 10000, 0, cuGraphExecDestroy, (CUgraphExec))

#undef XS_CUDA_CALL
