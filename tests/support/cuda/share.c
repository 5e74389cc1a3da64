/* share.c - memory that comes other ways: stream-ordered pools, physical handles, IPC. */
#include "state.h"

#include <stdlib.h>
#include <string.h>

/* ---- pools: no memory is kept, a free takes its turn in the stream ---- */

static CUresult alloc_async(CUdeviceptr *out, size_t bytes, CUmemoryPool pool, CUstream stream,
                            bool per_thread)
{
    CUstream s = fk_stream(stream, per_thread);
    struct area *a;
    if (out == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    if (s == NULL)
        return CUDA_ERROR_INVALID_HANDLE;
    if (pool == NULL)
        pool = fake.device[fk_current()->device].current_pool;
    if (s->capture != NULL)
        return s->capture->status == CU_STREAM_CAPTURE_STATUS_INVALIDATED
                   ? (CUresult)CUDA_ERROR_STREAM_CAPTURE_INVALIDATED
                   : fk_graph_memory(s->capture->graph, pool->device, bytes, out);
    CUresult r = fk_area_new(AREA_ASYNC, pool->device, bytes, &a);
    if (r != CUDA_SUCCESS)
        return r;
    a->pool = pool;
    pool->used += bytes;
    if (pool->high < pool->used)
        pool->high = pool->used;
    *out = a->lo;
    return CUDA_SUCCESS;
}

static CUresult free_async(CUdeviceptr p, CUstream stream, bool per_thread)
{
    CUstream s = fk_stream(stream, per_thread);
    struct area *a = fk_area_at(p);
    if (s == NULL)
        return CUDA_ERROR_INVALID_HANDLE;
    if (s->capture != NULL) /* a node that frees, which does nothing here */
        return a != NULL && a->kind == AREA_GRAPH && a->graph == s->capture->graph
                   ? CUDA_SUCCESS
                   : (CUresult)CUDA_ERROR_INVALID_VALUE;
    if (a == NULL || a->kind != AREA_ASYNC || a->freeing)
        return CUDA_ERROR_INVALID_VALUE;
    struct op op = {.kind = OP_FREE, .what = "cuMemFreeAsync", .u.free_base = p};
    CUresult r = fk_submit(s, &op);
    if (r == CUDA_SUCCESS)
        a->freeing = true;
    return r;
}

CUresult cuMemAllocAsync(CUdeviceptr *out, size_t bytes, CUstream s)
{
    ENTER(NEEDS_CONTEXT);
    LEAVE(alloc_async(out, bytes, NULL, s, false));
}
CUresult cuMemAllocAsync_ptsz(CUdeviceptr *out, size_t bytes, CUstream s)
{
    ENTER(NEEDS_CONTEXT);
    LEAVE(alloc_async(out, bytes, NULL, s, true));
}
CUresult cuMemAllocFromPoolAsync(CUdeviceptr *out, size_t bytes, CUmemoryPool pool, CUstream s)
{
    ENTER(NEEDS_CONTEXT);
    LEAVE(alloc_async(out, bytes, pool, s, false));
}
CUresult cuMemAllocFromPoolAsync_ptsz(CUdeviceptr *out, size_t bytes, CUmemoryPool pool, CUstream s)
{
    ENTER(NEEDS_CONTEXT);
    LEAVE(alloc_async(out, bytes, pool, s, true));
}
CUresult cuMemFreeAsync(CUdeviceptr p, CUstream s)
{
    ENTER(NEEDS_CONTEXT);
    LEAVE(free_async(p, s, false));
}
CUresult cuMemFreeAsync_ptsz(CUdeviceptr p, CUstream s)
{
    ENTER(NEEDS_CONTEXT);
    LEAVE(free_async(p, s, true));
}

CUresult cuMemPoolCreate(CUmemoryPool *out, const CUmemPoolProps *props)
{
    ENTER(0);
    CHECK(out != NULL && props != NULL && props->location.id >= 0 &&
              props->location.id < fake.devices,
          CUDA_ERROR_INVALID_VALUE);
    *out = calloc(1, sizeof **out);
    CHECK(*out != NULL, CUDA_ERROR_OUT_OF_MEMORY);
    (*out)->device = props->location.id;
    LEAVE(CUDA_SUCCESS);
}

CUresult cuMemPoolDestroy(CUmemoryPool pool)
{
    ENTER(0);
    CHECK(pool != NULL && pool->used == 0, CUDA_ERROR_INVALID_VALUE);
    CHECK(pool != &fake.device[pool->device].pool, CUDA_ERROR_INVALID_VALUE);
    if (fake.device[pool->device].current_pool == pool)
        fake.device[pool->device].current_pool = &fake.device[pool->device].pool;
    free(pool);
    LEAVE(CUDA_SUCCESS);
}

CUresult cuMemPoolSetAttribute(CUmemoryPool pool, CUmemPool_attribute what, void *value)
{
    ENTER(0);
    CHECK(pool != NULL && value != NULL, CUDA_ERROR_INVALID_VALUE);
    if (what == CU_MEMPOOL_ATTR_RELEASE_THRESHOLD)
        pool->threshold = *(uint64_t *)value;
    else if (what == CU_MEMPOOL_ATTR_USED_MEM_HIGH || what == CU_MEMPOOL_ATTR_RESERVED_MEM_HIGH)
        pool->high = pool->used;
    LEAVE(CUDA_SUCCESS);
}

CUresult cuMemPoolGetAttribute(CUmemoryPool pool, CUmemPool_attribute what, void *value)
{
    ENTER(0);
    CHECK(pool != NULL && value != NULL, CUDA_ERROR_INVALID_VALUE);
    switch (what) {
    case CU_MEMPOOL_ATTR_RELEASE_THRESHOLD:
        *(uint64_t *)value = pool->threshold;
        break;
    case CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT:
    case CU_MEMPOOL_ATTR_USED_MEM_CURRENT:
        *(uint64_t *)value = pool->used;
        break;
    case CU_MEMPOOL_ATTR_RESERVED_MEM_HIGH:
    case CU_MEMPOOL_ATTR_USED_MEM_HIGH:
        *(uint64_t *)value = pool->high;
        break;
    default:
        *(int *)value = 1;
    }
    LEAVE(CUDA_SUCCESS);
}

CUresult cuMemPoolTrimTo(CUmemoryPool pool, size_t keep)
{
    ENTER(0);
    (void)keep;
    LEAVE(pool != NULL ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE);
}

CUresult cuMemPoolSetAccess(CUmemoryPool pool, const CUmemAccessDesc *access, size_t n)
{
    ENTER(0);
    (void)n;
    LEAVE(pool != NULL && access != NULL ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE);
}

/* ---- physical memory: the handle is accounted, a mapping is an area inside a reservation ---- */

enum { GRANULARITY = 2 << 20 };
struct physical {
    size_t bytes;
    CUdevice device;
    unsigned references; /* the handle's own, and one for each mapping */
};

CUresult cuMemGetAllocationGranularity(size_t *out, const CUmemAllocationProp *props,
                                       CUmemAllocationGranularity_flags what)
{
    ENTER(0);
    (void)what;
    CHECK(out != NULL && props != NULL, CUDA_ERROR_INVALID_VALUE);
    *out = GRANULARITY;
    LEAVE(CUDA_SUCCESS);
}

CUresult cuMemCreate(CUmemGenericAllocationHandle *out, size_t bytes,
                     const CUmemAllocationProp *props, unsigned long long flags)
{
    ENTER(UNSAFE);
    CHECK(out != NULL && props != NULL && flags == 0 && bytes != 0 && bytes % GRANULARITY == 0,
          CUDA_ERROR_INVALID_VALUE);
    CHECK(props->location.id >= 0 && props->location.id < fake.devices, CUDA_ERROR_INVALID_DEVICE);
    struct device *d = &fake.device[props->location.id];
    CHECK(bytes <= fake.bytes_each - d->used, CUDA_ERROR_OUT_OF_MEMORY);
    struct physical *p = malloc(sizeof *p);
    CHECK(p != NULL, CUDA_ERROR_OUT_OF_MEMORY);
    *p = (struct physical){bytes, props->location.id, 1};
    d->used += bytes;
    *out = (CUmemGenericAllocationHandle)(uintptr_t)p;
    LEAVE(CUDA_SUCCESS);
}

static void physical_drop(CUmemGenericAllocationHandle handle)
{
    struct physical *p = (struct physical *)(uintptr_t)handle;
    if (--p->references == 0) {
        fake.device[p->device].used -= p->bytes;
        free(p);
    }
}

CUresult cuMemRelease(CUmemGenericAllocationHandle handle)
{
    ENTER(UNSAFE);
    CHECK(handle != 0, CUDA_ERROR_INVALID_VALUE);
    physical_drop(handle);
    LEAVE(CUDA_SUCCESS);
}

CUresult cuMemRetainAllocationHandle(CUmemGenericAllocationHandle *out, void *p)
{
    ENTER(UNSAFE);
    struct area *a = fk_area((uint64_t)(uintptr_t)p);
    CHECK(out != NULL && a != NULL && a->handle != 0, CUDA_ERROR_INVALID_VALUE);
    ((struct physical *)(uintptr_t)a->handle)->references++;
    *out = a->handle;
    LEAVE(CUDA_SUCCESS);
}

CUresult cuMemAddressReserve(CUdeviceptr *out, size_t bytes, size_t align, CUdeviceptr wish,
                             unsigned long long flags)
{
    ENTER(NEEDS_CONTEXT | UNSAFE);
    (void)wish;
    struct area *a;
    CHECK(out != NULL && flags == 0 && bytes % GRANULARITY == 0 && align <= GRANULARITY,
          CUDA_ERROR_INVALID_VALUE);
    CUresult r = fk_area_new(AREA_VMM, fk_current()->device, bytes, &a);
    if (r == CUDA_SUCCESS)
        *out = a->lo;
    LEAVE(r);
}

CUresult cuMemAddressFree(CUdeviceptr p, size_t bytes)
{
    ENTER(UNSAFE);
    struct area *a = fk_area_at(p);
    CHECK(a != NULL && a->kind == AREA_VMM && a->hi - a->lo == bytes && a->handle == 0,
          CUDA_ERROR_INVALID_VALUE);
    fk_check_driver_free(a);
    fk_area_drop(a);
    LEAVE(CUDA_SUCCESS);
}

/* One mapping a reservation, and all of it. */
CUresult cuMemMap(CUdeviceptr p, size_t bytes, size_t offset, CUmemGenericAllocationHandle handle,
                  unsigned long long flags)
{
    ENTER(UNSAFE);
    struct area *a = fk_area_at(p);
    struct physical *mem = (struct physical *)(uintptr_t)handle;
    CHECK(a != NULL && a->kind == AREA_VMM && a->handle == 0 && mem != NULL && flags == 0,
          CUDA_ERROR_INVALID_VALUE);
    CHECK(a->hi - a->lo == bytes && offset + bytes <= mem->bytes, CUDA_ERROR_INVALID_VALUE);
    a->handle = handle;
    mem->references++;
    LEAVE(CUDA_SUCCESS);
}

CUresult cuMemUnmap(CUdeviceptr p, size_t bytes)
{
    ENTER(UNSAFE);
    struct area *a = fk_area_at(p);
    CHECK(a != NULL && a->kind == AREA_VMM && a->handle != 0 && a->hi - a->lo == bytes,
          CUDA_ERROR_INVALID_VALUE);
    fk_check_driver_free(a);
    physical_drop(a->handle);
    a->handle = 0;
    LEAVE(CUDA_SUCCESS);
}

CUresult cuMemSetAccess(CUdeviceptr p, size_t bytes, const CUmemAccessDesc *access, size_t n)
{
    ENTER(0);
    struct area *a = fk_area(p);
    CHECK(a != NULL && a->kind == AREA_VMM && access != NULL && n != 0 && p + bytes <= a->hi,
          CUDA_ERROR_INVALID_VALUE);
    LEAVE(CUDA_SUCCESS);
}

CUresult cuMemGetHandleForAddressRange(void *out, CUdeviceptr p, size_t bytes,
                                       CUmemRangeHandleType type, unsigned long long flags)
{
    ENTER(NEEDS_CONTEXT);
    (void)type;
    (void)flags;
    struct area *a = fk_area(p);
    CHECK(out != NULL && a != NULL && p + bytes <= a->hi, CUDA_ERROR_INVALID_VALUE);
    *(int *)out = -1; /* no descriptor stands behind it */
    LEAVE(CUDA_SUCCESS);
}

/* ---- IPC, within one process: a handle names the block's base, whatever pointer made it ---- */

struct ipc {
    char tag[8];
    uint64_t base, id, bytes;
    int device;
};

CUresult cuIpcGetMemHandle(CUipcMemHandle *out, CUdeviceptr p)
{
    ENTER(NEEDS_CONTEXT);
    struct area *a = fk_area(p);
    CHECK(out != NULL && a != NULL && a->kind == AREA_DEVICE, CUDA_ERROR_INVALID_VALUE);
    struct ipc ipc = {"fakeipc", a->lo, a->id, a->hi - a->lo, a->device};
    memset(out, 0, sizeof *out);
    memcpy(out, &ipc, sizeof ipc);
    LEAVE(CUDA_SUCCESS);
}

static CUresult ipc_open(CUdeviceptr *out, const CUipcMemHandle *handle)
{
    struct ipc ipc;
    memcpy(&ipc, handle, sizeof ipc);
    struct area *a = fk_area_at(ipc.base);
    if (out == NULL || memcmp(ipc.tag, "fakeipc", 8) != 0)
        return CUDA_ERROR_INVALID_VALUE;
    if (a == NULL || a->id != ipc.id)
        return CUDA_ERROR_INVALID_HANDLE;
    CUresult r = fk_area_new(AREA_IPC, ipc.device, ipc.bytes, &a);
    if (r == CUDA_SUCCESS) {
        a->shadow = ipc.base;
        *out = a->lo;
    }
    return r;
}

CUresult cuIpcOpenMemHandle(CUdeviceptr *out, CUipcMemHandle handle, unsigned int flags)
{
    ENTER(NEEDS_CONTEXT | UNSAFE);
    (void)flags;
    LEAVE(ipc_open(out, &handle));
}
CUresult cuIpcOpenMemHandle_v2(CUdeviceptr *out, CUipcMemHandle handle, unsigned int flags)
{
    ENTER(NEEDS_CONTEXT | UNSAFE);
    (void)flags;
    LEAVE(ipc_open(out, &handle));
}

CUresult cuIpcCloseMemHandle(CUdeviceptr p)
{
    ENTER(NEEDS_CONTEXT | UNSAFE);
    struct area *a = fk_area_at(p);
    CHECK(a != NULL && a->kind == AREA_IPC, CUDA_ERROR_INVALID_VALUE);
    fk_area_drop(a);
    LEAVE(CUDA_SUCCESS);
}

CUresult cuIpcGetEventHandle(CUipcEventHandle *out, CUevent event)
{
    ENTER(NEEDS_CONTEXT);
    CHECK(out != NULL && event != NULL && (event->flags & CU_EVENT_INTERPROCESS) != 0,
          CUDA_ERROR_INVALID_VALUE);
    memset(out, 0, sizeof *out);
    memcpy(out, &event, sizeof event);
    LEAVE(CUDA_SUCCESS);
}
