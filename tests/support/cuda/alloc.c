/* alloc.c - the calls that give and take device, managed and pinned memory. */
#include "state.h"

#include <string.h>

static CUdevice here(void)
{
    return fk_current()->device;
}

CUresult cuMemGetInfo_v2(size_t *free_bytes, size_t *total)
{
    ENTER(NEEDS_CONTEXT);
    CHECK(free_bytes != NULL && total != NULL, CUDA_ERROR_INVALID_VALUE);
    *free_bytes = fake.bytes_each - fake.device[here()].used;
    *total = fake.bytes_each;
    LEAVE(CUDA_SUCCESS);
}

CUresult cuMemAlloc_v2(CUdeviceptr *out, size_t bytes)
{
    ENTER(NEEDS_CONTEXT | UNSAFE);
    struct area *a;
    CHECK(out != NULL, CUDA_ERROR_INVALID_VALUE);
    CUresult r = fk_area_new(AREA_DEVICE, here(), bytes, &a);
    if (r == CUDA_SUCCESS)
        *out = a->lo;
    LEAVE(r);
}

CUresult cuMemAllocPitch_v2(CUdeviceptr *out, size_t *pitch, size_t width, size_t height,
                            unsigned int element)
{
    ENTER(NEEDS_CONTEXT | UNSAFE);
    struct area *a;
    CHECK(out != NULL && pitch != NULL && width != 0 && height != 0, CUDA_ERROR_INVALID_VALUE);
    CHECK(element == 4 || element == 8 || element == 16, CUDA_ERROR_INVALID_VALUE);
    size_t row = (width + 511) & ~(size_t)511, bytes;
    CHECK(!__builtin_mul_overflow(row, height, &bytes), CUDA_ERROR_OUT_OF_MEMORY);
    CUresult r = fk_area_new(AREA_DEVICE, here(), bytes, &a);
    if (r == CUDA_SUCCESS) {
        *out = a->lo;
        *pitch = row;
    }
    LEAVE(r);
}

CUresult cuMemAllocManaged(CUdeviceptr *out, size_t bytes, unsigned int flags)
{
    ENTER(NEEDS_CONTEXT | UNSAFE);
    struct area *a;
    CHECK(out != NULL && (flags == CU_MEM_ATTACH_GLOBAL || flags == CU_MEM_ATTACH_HOST),
          CUDA_ERROR_INVALID_VALUE);
    CUresult r = fk_area_new(AREA_MANAGED, here(), bytes, &a);
    if (r == CUDA_SUCCESS) {
        a->flags = flags;
        *out = a->lo;
    }
    LEAVE(r);
}

/* Waits as the driver does, or refuses to help a caller that should have waited. */
static CUresult give_back(uint64_t base, const char *who)
{
    CUresult r = CUDA_SUCCESS;
    if (fake.free_way == FAKE_FREE_WAITS)
        r = fk_wait_context(fk_current(), who);
    struct area *a = fk_area_at(base); /* again: a host function may have run meanwhile */
    if (a == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    fk_check_driver_free(a);
    fk_area_drop(a);
    return r;
}

CUresult cuMemFree_v2(CUdeviceptr p)
{
    ENTER(NEEDS_CONTEXT | UNSAFE);
    if (p == 0)
        LEAVE(CUDA_SUCCESS);
    struct area *a = fk_area_at(p);
    CHECK(a != NULL && !a->freeing, CUDA_ERROR_INVALID_VALUE);
    CHECK(a->kind == AREA_DEVICE || a->kind == AREA_MANAGED || a->kind == AREA_ASYNC,
          CUDA_ERROR_INVALID_VALUE);
    LEAVE(give_back(p, __func__));
}

static CUresult host_new(void **out, size_t bytes, unsigned int flags)
{
    struct area *a;
    if (out == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    CUresult r = fk_area_new(AREA_HOST, here(), bytes, &a);
    if (r == CUDA_SUCCESS) {
        a->flags = flags;
        *out = (void *)(uintptr_t)a->lo;
    }
    return r;
}

CUresult cuMemAllocHost_v2(void **out, size_t bytes)
{
    ENTER(NEEDS_CONTEXT | UNSAFE);
    LEAVE(host_new(out, bytes, 0));
}

CUresult cuMemHostAlloc(void **out, size_t bytes, unsigned int flags)
{
    ENTER(NEEDS_CONTEXT | UNSAFE);
    CHECK(flags < 8, CUDA_ERROR_INVALID_VALUE);
    LEAVE(host_new(out, bytes, flags));
}

CUresult cuMemFreeHost(void *p)
{
    ENTER(NEEDS_CONTEXT | UNSAFE);
    struct area *a = fk_area_at((uint64_t)(uintptr_t)p);
    CHECK(a != NULL && a->kind == AREA_HOST, CUDA_ERROR_INVALID_VALUE);
    LEAVE(give_back(a->lo, __func__));
}

CUresult cuMemHostGetDevicePointer_v2(CUdeviceptr *out, void *p, unsigned int flags)
{
    ENTER(NEEDS_CONTEXT);
    struct area *a = fk_area((uint64_t)(uintptr_t)p);
    CHECK(out != NULL && flags == 0 && a != NULL && fk_host_visible(a), CUDA_ERROR_INVALID_VALUE);
    *out = (CUdeviceptr)(uintptr_t)p;
    LEAVE(CUDA_SUCCESS);
}

CUresult cuMemHostGetFlags(unsigned int *flags, void *p)
{
    ENTER(NEEDS_CONTEXT);
    struct area *a = fk_area((uint64_t)(uintptr_t)p);
    CHECK(flags != NULL && a != NULL && a->kind == AREA_HOST, CUDA_ERROR_INVALID_VALUE);
    *flags = a->flags;
    LEAVE(CUDA_SUCCESS);
}

/* ---- arrays: accounted, never looked into ---- */

static CUresult array_new(void *out, const void *descriptor)
{
    struct area *a;
    if (out == NULL || descriptor == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    CUresult r = fk_area_new(AREA_ARRAY, here(), 64 << 10, &a);
    if (r == CUDA_SUCCESS)
        memcpy(out, &a->lo, sizeof a->lo);
    return r;
}

static CUresult array_drop(const void *array, const char *who)
{
    struct area *a = fk_area_at((uint64_t)(uintptr_t)array);
    if (a == NULL || a->kind != AREA_ARRAY)
        return CUDA_ERROR_INVALID_HANDLE;
    return give_back(a->lo, who);
}

CUresult cuArrayCreate_v2(CUarray *out, const CUDA_ARRAY_DESCRIPTOR *d)
{
    ENTER(NEEDS_CONTEXT | UNSAFE);
    LEAVE(array_new(out, d));
}
CUresult cuArray3DCreate_v2(CUarray *out, const CUDA_ARRAY3D_DESCRIPTOR *d)
{
    ENTER(NEEDS_CONTEXT | UNSAFE);
    LEAVE(array_new(out, d));
}
CUresult cuMipmappedArrayCreate(CUmipmappedArray *out, const CUDA_ARRAY3D_DESCRIPTOR *d,
                                unsigned int levels)
{
    ENTER(NEEDS_CONTEXT | UNSAFE);
    (void)levels;
    LEAVE(array_new(out, d));
}
CUresult cuArrayDestroy(CUarray array)
{
    ENTER(NEEDS_CONTEXT | UNSAFE);
    LEAVE(array_drop(array, __func__));
}
CUresult cuMipmappedArrayDestroy(CUmipmappedArray array)
{
    ENTER(NEEDS_CONTEXT | UNSAFE);
    LEAVE(array_drop(array, __func__));
}

/* ---- questions about pointers ---- */

CUresult cuMemGetAddressRange_v2(CUdeviceptr *base, size_t *bytes, CUdeviceptr p)
{
    ENTER(NEEDS_CONTEXT);
    struct area *a = fk_area(p);
    CHECK(a != NULL, CUDA_ERROR_NOT_FOUND);
    if (base != NULL)
        *base = a->lo;
    if (bytes != NULL)
        *bytes = a->hi - a->lo;
    LEAVE(CUDA_SUCCESS);
}

static CUresult attribute(void *out, CUpointer_attribute what, CUdeviceptr p)
{
    struct area *a = fk_area(p);
    if (out == NULL || a == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    switch (what) {
    case CU_POINTER_ATTRIBUTE_CONTEXT:
        *(CUcontext *)out = a->kind == AREA_VMM || a->kind == AREA_ASYNC ? NULL : a->ctx;
        break;
    case CU_POINTER_ATTRIBUTE_MEMORY_TYPE:
        *(CUmemorytype *)out = a->kind == AREA_HOST || a->kind == AREA_REGISTERED
                                   ? (CUmemorytype)CU_MEMORYTYPE_HOST
                                   : (CUmemorytype)CU_MEMORYTYPE_DEVICE;
        break;
    case CU_POINTER_ATTRIBUTE_DEVICE_POINTER:
        *(CUdeviceptr *)out = p;
        break;
    case CU_POINTER_ATTRIBUTE_HOST_POINTER:
        if (!fk_host_visible(a))
            return CUDA_ERROR_INVALID_VALUE;
        *(void **)out = (void *)(uintptr_t)p;
        break;
    case CU_POINTER_ATTRIBUTE_SYNC_MEMOPS:
        *(unsigned *)out = a->sync_memops;
        break;
    case CU_POINTER_ATTRIBUTE_BUFFER_ID:
        *(unsigned long long *)out = a->id;
        break;
    case CU_POINTER_ATTRIBUTE_IS_MANAGED:
        *(unsigned *)out = a->kind == AREA_MANAGED;
        break;
    case CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL:
        *(int *)out = a->device;
        break;
    case CU_POINTER_ATTRIBUTE_IS_LEGACY_CUDA_IPC_CAPABLE:
        *(unsigned *)out = a->kind == AREA_DEVICE;
        break;
    case CU_POINTER_ATTRIBUTE_RANGE_START_ADDR:
        *(CUdeviceptr *)out = a->lo;
        break;
    case CU_POINTER_ATTRIBUTE_RANGE_SIZE:
        *(size_t *)out = a->hi - a->lo;
        break;
    case CU_POINTER_ATTRIBUTE_MAPPED:
        *(unsigned *)out = 1;
        break;
    case CU_POINTER_ATTRIBUTE_MEMPOOL_HANDLE:
        *(CUmemoryPool *)out = a->pool;
        break;
    default:
        return CUDA_ERROR_INVALID_VALUE;
    }
    return CUDA_SUCCESS;
}

CUresult cuPointerGetAttribute(void *out, CUpointer_attribute what, CUdeviceptr p)
{
    ENTER(NEEDS_CONTEXT);
    LEAVE(attribute(out, what, p));
}

/* Unknown pointers give zeros here and success, not an error. */
CUresult cuPointerGetAttributes(unsigned int n, CUpointer_attribute *what, void **out,
                                CUdeviceptr p)
{
    ENTER(NEEDS_CONTEXT);
    CHECK(what != NULL && out != NULL, CUDA_ERROR_INVALID_VALUE);
    for (unsigned i = 0; i < n; i++)
        if (attribute(out[i], what[i], p) != CUDA_SUCCESS && out[i] != NULL)
            memset(out[i], 0, sizeof(unsigned));
    LEAVE(CUDA_SUCCESS);
}

CUresult cuPointerSetAttribute(const void *in, CUpointer_attribute what, CUdeviceptr p)
{
    ENTER(NEEDS_CONTEXT);
    struct area *a = fk_area(p);
    CHECK(in != NULL && a != NULL && what == CU_POINTER_ATTRIBUTE_SYNC_MEMOPS,
          CUDA_ERROR_INVALID_VALUE);
    a->sync_memops = *(const unsigned *)in != 0;
    LEAVE(CUDA_SUCCESS);
}

/* ---- advice about managed memory: nothing moves, the range is work ---- */

/* To a device's number, or -1: the host. */
static CUresult prefetch(CUdeviceptr p, size_t bytes, int to, CUstream stream, bool per_thread)
{
    struct area *a = fk_area(p);
    CUstream s = fk_stream(stream, per_thread);
    if (a == NULL || a->kind != AREA_MANAGED || bytes == 0 || p + bytes > a->hi)
        return CUDA_ERROR_INVALID_VALUE;
    if (s == NULL)
        return CUDA_ERROR_INVALID_HANDLE;
    if (to < -1 || to >= fake.devices)
        return CUDA_ERROR_INVALID_DEVICE;
    a->is_moved = true;
    a->moved_to = to;
    struct op op = {.what = "a prefetch", .nranges = 1, .range = {{p, p + bytes, 0}}, .hint = true};
    return fk_submit(s, &op);
}

static CUresult prefetch_to(CUdeviceptr p, size_t bytes, CUmemLocation to, unsigned int flags,
                            CUstream s, bool per_thread)
{
    if (flags != 0 || to.type == CU_MEM_LOCATION_TYPE_INVALID)
        return CUDA_ERROR_INVALID_VALUE;
    return prefetch(p, bytes, to.type == CU_MEM_LOCATION_TYPE_DEVICE ? to.id : -1, s, per_thread);
}

int fake_where(const void *p)
{
    pthread_mutex_lock(&fake.lock);
    const struct area *a = fk_area((uint64_t)(uintptr_t)p);
    int where = a != NULL && a->is_moved ? a->moved_to : -2;
    pthread_mutex_unlock(&fake.lock);
    return where;
}

CUresult cuMemPrefetchAsync(CUdeviceptr p, size_t bytes, CUdevice d, CUstream s)
{
    ENTER(NEEDS_CONTEXT);
    LEAVE(prefetch(p, bytes, d, s, false));
}
CUresult cuMemPrefetchAsync_ptsz(CUdeviceptr p, size_t bytes, CUdevice d, CUstream s)
{
    ENTER(NEEDS_CONTEXT);
    LEAVE(prefetch(p, bytes, d, s, true));
}
CUresult cuMemPrefetchAsync_v2(CUdeviceptr p, size_t bytes, CUmemLocation to, unsigned int flags,
                               CUstream s)
{
    ENTER(NEEDS_CONTEXT);
    LEAVE(prefetch_to(p, bytes, to, flags, s, false));
}
CUresult cuMemPrefetchAsync_v2_ptsz(CUdeviceptr p, size_t bytes, CUmemLocation to,
                                    unsigned int flags, CUstream s)
{
    ENTER(NEEDS_CONTEXT);
    LEAVE(prefetch_to(p, bytes, to, flags, s, true));
}

static CUresult advise(CUdeviceptr p)
{
    struct area *a = fk_area(p);
    return a != NULL && a->kind == AREA_MANAGED ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult cuMemAdvise(CUdeviceptr p, size_t bytes, CUmem_advise what, CUdevice d)
{
    ENTER(NEEDS_CONTEXT);
    (void)bytes;
    (void)what;
    (void)d;
    LEAVE(advise(p));
}
CUresult cuMemAdvise_v2(CUdeviceptr p, size_t bytes, CUmem_advise what, CUmemLocation where)
{
    ENTER(NEEDS_CONTEXT);
    (void)bytes;
    (void)what;
    (void)where;
    LEAVE(advise(p));
}

CUresult cuStreamAttachMemAsync(CUstream s, CUdeviceptr p, size_t bytes, unsigned int flags)
{
    ENTER(NEEDS_CONTEXT);
    (void)s;
    (void)bytes;
    (void)flags;
    LEAVE(advise(p));
}
CUresult cuStreamAttachMemAsync_ptsz(CUstream s, CUdeviceptr p, size_t bytes, unsigned int flags)
{
    ENTER(NEEDS_CONTEXT);
    (void)s;
    (void)bytes;
    (void)flags;
    LEAVE(advise(p));
}
