/* Pinned host memory and managed memory: what the CPU sees. */
#include "gpu/core.h"

/* ---- managed ---- */

void xs_gpu_prefetch(struct xs_gpu_context *c, CUdeviceptr p, size_t size)
{
    if (!xs_gpu_gate_open())
        return;
    if (xs_cu.cuMemPrefetchAsync_v2 != NULL) {
        CUmemLocation to = {CU_MEM_LOCATION_TYPE_DEVICE, (int)c->device->number};
        (void)xs_cu.cuMemPrefetchAsync_v2(p, size, to, 0, CU_STREAM_LEGACY);
    } else if (xs_cu.cuMemPrefetchAsync != NULL) {
        (void)xs_cu.cuMemPrefetchAsync(p, size, (CUdevice)c->device->number, CU_STREAM_LEGACY);
    }
    xs_gpu_gate_close();
}

CUresult xs_gpu_malloc_managed(CUdeviceptr *out, size_t size, unsigned flags)
{
    struct xs_gpu_shard *s = xs_gpu_shard();
    struct xs_gpu_context *c = xs_gpu_here(s);
    bool hit;
    CUresult r;

    if (c == NULL || out == NULL || size == 0 || size > XS_GPU_SIZE_MAX ||
        (flags != CU_MEM_ATTACH_GLOBAL && flags != CU_MEM_ATTACH_HOST))
        return xs_cu.cuMemAllocManaged(out, size, flags);
    XS_GPU_COUNT(s, c->device, managed_allocations, 1);
    XS_GPU_COUNT(s, c->device, managed_requested_bytes, size);
    r = xs_gpu_get(s, c,
                   flags == CU_MEM_ATTACH_GLOBAL ? XS_KIND_MANAGED_GLOBAL : XS_KIND_MANAGED_HOST,
                   size, out, &hit);
    if (r != CUDA_SUCCESS)
        xs_gpu_count_failure(s, c->device, r, size);
    return r;
}

/* ---- pinned ---- */

CUresult xs_gpu_host_alloc(void **out, size_t size, unsigned flags)
{
    struct xs_gpu_shard *s = xs_gpu_shard();
    struct xs_gpu_context *c = xs_gpu_here(s);
    CUdeviceptr p = 0;
    bool hit;
    CUresult r;

    if (c == NULL || out == NULL || size == 0 || size > XS_GPU_SIZE_MAX || flags > 7)
        return xs_cu.cuMemHostAlloc(out, size, flags);
    XS_GPU_COUNT(s, c->device, pinned_allocations, 1);
    XS_GPU_COUNT(s, c->device, pinned_requested_bytes, size);
    r = xs_gpu_get(s, c, XS_KIND_PINNED + flags, size, &p, &hit);
    if (r != CUDA_SUCCESS) {
        xs_gpu_count_failure(s, c->device, r, size);
        return r;
    }
    if (hit)
        XS_GPU_COUNT(s, c->device, pinned_hits, 1);
    *out = (void *)(uintptr_t)p; // NOLINT(performance-no-int-to-ptr)
    return r;
}

/* cuMemAllocHost is cuMemHostAlloc without flags. */
CUresult xs_gpu_host_malloc(void **out, size_t size)
{
    if (!xs_gpu_is_on() || out == NULL || size == 0)
        return xs_cu.cuMemAllocHost_v2(out, size);
    return xs_gpu_host_alloc(out, size, 0);
}

CUresult xs_gpu_host_free(void *p)
{
    struct xs_gpu_shard *s = xs_gpu_shard();
    uint64_t address = (uint64_t)(uintptr_t)p;
    struct xs_gpu_block *b = xs_gpu_block_find(address);

    if (s == NULL || b == NULL)
        return xs_cu.cuMemFreeHost(p);
    if (!xs_gpu_kind_is_pinned(b->kind) || !xs_gpu_block_claim(b, address))
        return xs_gpu_count_bad_free(s, b);
    CUresult r = xs_gpu_put(s, b, NULL);
    if (s->until_look <= 1)
        xs_gpu_look(s);
    return r;
}
