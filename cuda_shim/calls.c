/* The calls about memory that are replaced: the core's, or the driver's own once more after room
 * was made. */
#include "cuda_shim/shim.h"
#include "gpu/gpu.h"
#include "gpu/passed.h"
#include "gpu/sites.h"

/* ---- blocks ----------------------------------------------------------------------------- */

CUresult xs_do_cuMemAlloc_v2(CUdeviceptr *out, size_t size)
{
    return xs_gpu_malloc(out, size);
}

CUresult xs_do_cuMemAllocPitch_v2(CUdeviceptr *out, size_t *pitch, size_t width, size_t height,
                                  unsigned int element)
{
    return xs_gpu_malloc_pitch(out, pitch, width, height, element);
}

CUresult xs_do_cuMemAllocManaged(CUdeviceptr *out, size_t size, unsigned int flags)
{
    return xs_gpu_note(xs_gpu_malloc_managed(out, size, flags), out, size);
}

CUresult xs_do_cuMemFree_v2(CUdeviceptr p)
{
    return xs_gpu_free(p);
}

CUresult xs_do_cuMemAllocHost_v2(void **out, size_t size)
{
    return xs_gpu_note_host(xs_gpu_host_malloc(out, size), out, size);
}

CUresult xs_do_cuMemHostAlloc(void **out, size_t size, unsigned int flags)
{
    return xs_gpu_note_host(xs_gpu_host_alloc(out, size, flags), out, size);
}

CUresult xs_do_cuMemFreeHost(void *p)
{
    xs_gpu_note_free((CUdeviceptr)(uintptr_t)p);
    return xs_gpu_host_free(p);
}

CUresult xs_do_cuMemGetInfo_v2(size_t *free_bytes, size_t *total)
{
    return xs_gpu_mem_info(free_bytes, total);
}

CUresult xs_do_cuMemGetAddressRange_v2(CUdeviceptr *base, size_t *size, CUdeviceptr p)
{
    return xs_gpu_address_range(base, size, p);
}

/* ---- the driver's own allocations ------------------------------------------------------- */

static CUresult counted_array(CUresult r)
{
    if (r == CUDA_SUCCESS)
        xs_gpu_passed_through(XS_GPU_PASS_ARRAY, -1, 0, 0);
    return r;
}

/* While the stream is captured it is a node of a graph that comes of it, whose address is the
 * graph's. */
static CUresult ordered(CUresult r, const CUdeviceptr *out, size_t size, CUstream stream,
                        bool per_thread)
{
    if (r == CUDA_SUCCESS && xs_gpu_is_captured(stream, per_thread))
        xs_gpu_passed_through(XS_GPU_PASS_GRAPH, -1, 0, size);
    else if (r == CUDA_SUCCESS)
        xs_gpu_passed_through(XS_GPU_PASS_ASYNC, -1, *out, size);
    return xs_gpu_note(r, out, size);
}

CUresult xs_do_cuMemAllocAsync(CUdeviceptr *out, size_t size, CUstream stream)
{
    xs_shim_look_at(stream);
    XS_SHIM_RETRY(r, XS_REAL(cuMemAllocAsync)(out, size, stream));
    return ordered(r, out, size, stream, false);
}

CUresult xs_do_cuMemAllocAsync_ptsz(CUdeviceptr *out, size_t size, CUstream stream)
{
    xs_shim_stream_seen();
    XS_SHIM_RETRY(r, XS_REAL(cuMemAllocAsync_ptsz)(out, size, stream));
    return ordered(r, out, size, stream, true);
}

CUresult xs_do_cuMemAllocFromPoolAsync(CUdeviceptr *out, size_t size, CUmemoryPool pool,
                                       CUstream stream)
{
    xs_shim_look_at(stream);
    XS_SHIM_RETRY_ANY(r, XS_REAL(cuMemAllocFromPoolAsync)(out, size, pool, stream));
    return ordered(r, out, size, stream, false);
}

CUresult xs_do_cuMemAllocFromPoolAsync_ptsz(CUdeviceptr *out, size_t size, CUmemoryPool pool,
                                            CUstream stream)
{
    xs_shim_stream_seen();
    XS_SHIM_RETRY_ANY(r, XS_REAL(cuMemAllocFromPoolAsync_ptsz)(out, size, pool, stream));
    return ordered(r, out, size, stream, true);
}

CUresult xs_do_cuMemFreeAsync(CUdeviceptr p, CUstream stream)
{
    xs_shim_look_at(stream);
    xs_gpu_note_free(p);
    return xs_gpu_free_async(p, stream, XS_REAL(cuMemFreeAsync));
}

CUresult xs_do_cuMemFreeAsync_ptsz(CUdeviceptr p, CUstream stream)
{
    xs_shim_stream_seen();
    xs_gpu_note_free(p);
    return xs_gpu_free_async(p, stream, XS_REAL(cuMemFreeAsync_ptsz));
}

CUresult xs_do_cuMemCreate(CUmemGenericAllocationHandle *out, size_t size,
                           const CUmemAllocationProp *prop, unsigned long long flags)
{
    /* Its device is named, and need not be the present context's; nor need there be one. */
    bool is_named = prop != NULL && prop->location.type == CU_MEM_LOCATION_TYPE_DEVICE;
    XS_SHIM_RETRY_AFTER(is_named ? xs_gpu_flush_of(prop->location.id) : xs_gpu_flush_here(), r,
                        XS_REAL(cuMemCreate)(out, size, prop, flags));
    if (r == CUDA_SUCCESS)
        xs_gpu_passed_through(XS_GPU_PASS_VMM, is_named ? prop->location.id : -1, *out, size);
    return xs_gpu_note_created(r, out, size, prop);
}

CUresult xs_do_cuMemRelease(CUmemGenericAllocationHandle handle)
{
    struct xs_gpu_passed was;
    bool is_known = xs_gpu_passed_ends(XS_GPU_PASS_VMM, handle, &was);

    xs_gpu_note_released(handle);
    return xs_gpu_passed_ended(is_known, &was, XS_REAL(cuMemRelease)(handle));
}

CUresult xs_do_cuMemRetainAllocationHandle(CUmemGenericAllocationHandle *out, void *p)
{
    CUresult r = XS_REAL(cuMemRetainAllocationHandle)(out, p);

    if (r == CUDA_SUCCESS)
        xs_gpu_passed_again(*out);
    return r;
}

/* The memory is there already, but the device's tables of pages for it are not. */
CUresult xs_do_cuMemMap(CUdeviceptr p, size_t size, size_t at, CUmemGenericAllocationHandle handle,
                        unsigned long long flags)
{
    XS_SHIM_RETRY_ANY(r, XS_REAL(cuMemMap)(p, size, at, handle, flags));
    if (r == CUDA_SUCCESS)
        xs_gpu_passed_mapped(p, size, handle);
    return r;
}

CUresult xs_do_cuMemUnmap(CUdeviceptr p, size_t size)
{
    CUresult r = XS_REAL(cuMemUnmap)(p, size);

    if (r == CUDA_SUCCESS)
        xs_gpu_passed_unmapped(p, size);
    return r;
}

/* ---- graphs ------------------------------------------------------------------------------- */

static CUresult counted_node(CUresult r, const CUDA_MEM_ALLOC_NODE_PARAMS *what)
{
    bool is_named = what != NULL && what->poolProps.location.type == CU_MEM_LOCATION_TYPE_DEVICE;

    if (r == CUDA_SUCCESS && what != NULL)
        xs_gpu_passed_through(XS_GPU_PASS_GRAPH, is_named ? what->poolProps.location.id : -1, 0,
                              what->bytesize);
    return r;
}

CUresult xs_do_cuGraphAddMemAllocNode(CUgraphNode *out, CUgraph graph, const CUgraphNode *after,
                                      size_t n, CUDA_MEM_ALLOC_NODE_PARAMS *what)
{
    XS_SHIM_RETRY(r, XS_REAL(cuGraphAddMemAllocNode)(out, graph, after, n, what));
    return counted_node(r, what);
}

static CUresult counted_any_node(CUresult r, const CUgraphNodeParams *what)
{
    bool is_memory = what != NULL && what->type == CU_GRAPH_NODE_TYPE_MEM_ALLOC;

    return is_memory ? counted_node(r, &what->alloc) : r;
}

CUresult xs_do_cuGraphAddNode(CUgraphNode *out, CUgraph graph, const CUgraphNode *after, size_t n,
                              CUgraphNodeParams *what)
{
    XS_SHIM_RETRY(r, XS_REAL(cuGraphAddNode)(out, graph, after, n, what));
    return counted_any_node(r, what);
}

CUresult xs_do_cuGraphAddNode_v2(CUgraphNode *out, CUgraph graph, const CUgraphNode *after,
                                 const CUgraphEdgeData *edges, size_t n, CUgraphNodeParams *what)
{
    XS_SHIM_RETRY(r, XS_REAL(cuGraphAddNode_v2)(out, graph, after, edges, n, what));
    return counted_any_node(r, what);
}

/* ---- arrays, and the host's ---------------------------------------------------------------- */

CUresult xs_do_cuArrayCreate_v2(CUarray *out, const CUDA_ARRAY_DESCRIPTOR *what)
{
    XS_SHIM_RETRY(r, XS_REAL(cuArrayCreate_v2)(out, what));
    return counted_array(r);
}

CUresult xs_do_cuArray3DCreate_v2(CUarray *out, const CUDA_ARRAY3D_DESCRIPTOR *what)
{
    XS_SHIM_RETRY(r, XS_REAL(cuArray3DCreate_v2)(out, what));
    return counted_array(r);
}

CUresult xs_do_cuMipmappedArrayCreate(CUmipmappedArray *out, const CUDA_ARRAY3D_DESCRIPTOR *what,
                                      unsigned int levels)
{
    XS_SHIM_RETRY(r, XS_REAL(cuMipmappedArrayCreate)(out, what, levels));
    return counted_array(r);
}

static CUresult registered(CUresult r)
{
    if (r == CUDA_SUCCESS)
        xs_gpu_after_register();
    return r;
}

CUresult xs_do_cuMemHostRegister(void *p, size_t size, unsigned int flags)
{
    XS_SHIM_RETRY(r, XS_REAL(cuMemHostRegister)(p, size, flags));
    return registered(r);
}

CUresult xs_do_cuMemHostRegister_v2(void *p, size_t size, unsigned int flags)
{
    XS_SHIM_RETRY(r, XS_REAL(cuMemHostRegister_v2)(p, size, flags));
    return registered(r);
}

/* ---- blocks that are shared or changed for good ----------------------------------------- */

CUresult xs_do_cuIpcGetMemHandle(CUipcMemHandle *out, CUdeviceptr p)
{
    CUresult r;

    return xs_gpu_exporting(p, &r) ? r : XS_REAL(cuIpcGetMemHandle)(out, p);
}

CUresult xs_do_cuMemGetHandleForAddressRange(void *handle, CUdeviceptr p, size_t size,
                                             CUmemRangeHandleType type, unsigned long long flags)
{
    CUresult r;

    if (xs_gpu_exporting(p, &r))
        return r;
    return XS_REAL(cuMemGetHandleForAddressRange)(handle, p, size, type, flags);
}

CUresult xs_do_cuPointerSetAttribute(const void *value, CUpointer_attribute attribute,
                                     CUdeviceptr p)
{
    if (attribute == CU_POINTER_ATTRIBUTE_SYNC_MEMOPS)
        xs_gpu_never_reuse(p);
    return XS_REAL(cuPointerSetAttribute)(value, attribute, p);
}

static void before_attribute(CUpointer_attribute attribute, CUdeviceptr p)
{
    if (attribute == CU_POINTER_ATTRIBUTE_P2P_TOKENS)
        xs_gpu_never_reuse(p);
}

/* A block within a larger one of ours: the driver knows only the larger one. */
static void correct(CUpointer_attribute attribute, void *value, CUdeviceptr p)
{
    CUdeviceptr base;
    size_t size;

    if (value == NULL ||
        (attribute != CU_POINTER_ATTRIBUTE_RANGE_START_ADDR &&
         attribute != CU_POINTER_ATTRIBUTE_RANGE_SIZE &&
         attribute != CU_POINTER_ATTRIBUTE_IS_LEGACY_CUDA_IPC_CAPABLE) ||
        !xs_gpu_block_range(p, &base, &size))
        return;
    if (attribute == CU_POINTER_ATTRIBUTE_RANGE_START_ADDR)
        *(CUdeviceptr *)value = base;
    else if (attribute == CU_POINTER_ATTRIBUTE_RANGE_SIZE)
        *(size_t *)value = size;
    else
        *(bool *)value = false;
}

/* What the driver says of it, it says of no memory: the page at 0 is nobody's. */
#define NOWHERE ((CUdeviceptr)1)

CUresult xs_do_cuPointerGetAttribute(void *value, CUpointer_attribute attribute, CUdeviceptr p)
{
    if (xs_gpu_is_freed(p))
        return XS_REAL(cuPointerGetAttribute)(value, attribute, NOWHERE);
    before_attribute(attribute, p);
    CUresult r = XS_REAL(cuPointerGetAttribute)(value, attribute, p);
    if (r != CUDA_SUCCESS)
        return r;
    if (xs_gpu_is_freed_within(p))
        return XS_REAL(cuPointerGetAttribute)(value, attribute, NOWHERE);
    correct(attribute, value, p);
    return r;
}

/* The driver answers with a type where there is memory, and else with zeros and success. */
static bool is_of_none(unsigned int count, const CUpointer_attribute *attributes, void **values)
{
    for (unsigned int i = 0; i < count; i++)
        if (attributes[i] == CU_POINTER_ATTRIBUTE_MEMORY_TYPE && values[i] != NULL)
            return *(const CUmemorytype *)values[i] == 0;
    return false;
}

CUresult xs_do_cuPointerGetAttributes(unsigned int count, CUpointer_attribute *attributes,
                                      void **values, CUdeviceptr p)
{
    if (xs_gpu_is_freed(p))
        return XS_REAL(cuPointerGetAttributes)(count, attributes, values, NOWHERE);
    for (unsigned int i = 0; attributes != NULL && i < count; i++)
        before_attribute(attributes[i], p);
    CUresult r = XS_REAL(cuPointerGetAttributes)(count, attributes, values, p);
    if (r != CUDA_SUCCESS || attributes == NULL || values == NULL ||
        is_of_none(count, attributes, values))
        return r;
    if (xs_gpu_is_freed_within(p))
        return XS_REAL(cuPointerGetAttributes)(count, attributes, values, NOWHERE);
    for (unsigned int i = 0; i < count; i++)
        correct(attributes[i], values[i], p);
    return r;
}

CUresult xs_do_cuMemAdvise(CUdeviceptr p, size_t size, CUmem_advise advice, CUdevice device)
{
    xs_gpu_never_reuse(p);
    return XS_REAL(cuMemAdvise)(p, size, advice, device);
}

CUresult xs_do_cuMemAdvise_v2(CUdeviceptr p, size_t size, CUmem_advise advice,
                              CUmemLocation location)
{
    xs_gpu_never_reuse(p);
    return XS_REAL(cuMemAdvise_v2)(p, size, advice, location);
}

CUresult xs_do_cuStreamAttachMemAsync(CUstream stream, CUdeviceptr p, size_t size,
                                      unsigned int flags)
{
    xs_shim_look_at(stream);
    xs_gpu_never_reuse(p);
    return XS_REAL(cuStreamAttachMemAsync)(stream, p, size, flags);
}

CUresult xs_do_cuStreamAttachMemAsync_ptsz(CUstream stream, CUdeviceptr p, size_t size,
                                           unsigned int flags)
{
    xs_shim_stream_seen();
    xs_gpu_never_reuse(p);
    return XS_REAL(cuStreamAttachMemAsync_ptsz)(stream, p, size, flags);
}

/* ---- frames to and from EGL --------------------------------------------------------------- */

/* The stream is behind a pointer, and made by the program before; so it is new to us only if it is
 * the thread's own. Connections make neither streams nor contexts, and registered images are no
 * memory of ours. */
static void look_behind(const CUstream *stream)
{
    if (stream != NULL)
        xs_shim_look_at(*stream);
}

CUresult xs_do_cuEGLStreamConsumerAcquireFrame(void *connection, void **resource, CUstream *stream,
                                               unsigned int timeout)
{
    look_behind(stream);
    return XS_REAL(cuEGLStreamConsumerAcquireFrame)(connection, resource, stream, timeout);
}

CUresult xs_do_cuEGLStreamConsumerReleaseFrame(void *connection, void *resource, CUstream *stream)
{
    look_behind(stream);
    return XS_REAL(cuEGLStreamConsumerReleaseFrame)(connection, resource, stream);
}

/* Whoever consumes it may be another process, which no event of ours waits for. */
CUresult xs_do_cuEGLStreamProducerPresentFrame(void *connection, CUeglFrame frame, CUstream *stream)
{
    look_behind(stream);
    for (unsigned i = 0; frame.type == CU_EGL_FRAME_TYPE_PITCH && i < frame.plane_count &&
                         i < XS_COUNT_OF(frame.plane);
         i++)
        xs_gpu_never_reuse(frame.plane[i]);
    return XS_REAL(cuEGLStreamProducerPresentFrame)(connection, frame, stream);
}

CUresult xs_do_cuEGLStreamProducerReturnFrame(void *connection, CUeglFrame *frame, CUstream *stream)
{
    look_behind(stream);
    return XS_REAL(cuEGLStreamProducerReturnFrame)(connection, frame, stream);
}
