/* Pinned host memory and managed memory: what the CPU sees. */
#include "gpu/core.h"
#include "sys/lock.h"

/* ---- managed ---- */

#define HOST (-1)

/* Moves no data that anybody sees, whosever memory it is by now. What fails is no loss. */
static bool move(CUdeviceptr p, size_t size, int to)
{
    CUmemLocation where = {to == HOST ? CU_MEM_LOCATION_TYPE_HOST : CU_MEM_LOCATION_TYPE_DEVICE,
                           to == HOST ? 0 : to};
    CUresult r = CUDA_ERROR_NOT_SUPPORTED;

    if (!xs_gpu_gate_open())
        return false;
    if (xs_cu.cuMemPrefetchAsync_v2 != NULL)
        r = xs_cu.cuMemPrefetchAsync_v2(p, size, where, 0, CU_STREAM_LEGACY);
    else if (xs_cu.cuMemPrefetchAsync != NULL)
        r = xs_cu.cuMemPrefetchAsync(p, size, to, CU_STREAM_LEGACY);
    xs_gpu_gate_close();
    return r == CUDA_SUCCESS;
}

/* Blocks in the place of device memory, as they were handed out, the oldest first: what the device
 * may have of them is to go back when it is short. What was freed since stays until it is looked
 * at, and the oldest make room for the newest. Blocks of less than the driver moves at a time are
 * left out. */
enum { PLACES = 512, LEAST_MOVED = 64 << 10 };
static struct xs_lock there_lock = {.kind = XS_LOCK_GPU};
XS_UNLIKELY_DATA static struct {
    unsigned first, count;
    struct place {
        CUdeviceptr p;
        size_t size;
        const struct xs_gpu_device *device;
    } at[PLACES];
} there;

static struct place *place(unsigned i)
{
    return &there.at[(there.first + i) % PLACES];
}

static void note_there(const struct xs_gpu_device *d, CUdeviceptr p, size_t size)
{
    if (size < LEAST_MOVED)
        return;
    xs_lock_take(&there_lock);
    if (there.count == PLACES)
        there.first = (there.first + 1) % PLACES;
    else
        there.count++;
    *place(there.count - 1) = (struct place){p, size, d};
    xs_lock_give(&there_lock);
}

/* The program has it no more, or it was handed out again since. Under there_lock. */
static bool is_old(unsigned i)
{
    const struct xs_gpu_block *b = xs_gpu_block_find(place(i)->p);
    bool found = b == NULL || xs_gpu_block_is_kept(b);

    for (unsigned j = i + 1; j < there.count && !found; j++)
        found = place(j)->p == place(i)->p;
    return found;
}

/* The oldest of the device's that the program still holds, taken out; those before it that it does
 * not are taken out too. */
static bool next_back(const struct xs_gpu_device *d, struct place *out)
{
    bool found = false;
    unsigned kept = 0;

    xs_lock_take(&there_lock);
    for (unsigned i = 0; i < there.count; i++) {
        struct place e = *place(i);
        if (!found && is_old(i))
            continue;
        if (!found && e.device == d) {
            found = true;
            *out = e;
        } else {
            *place(kept++) = e;
        }
    }
    there.count = kept;
    xs_lock_give(&there_lock);
    return found;
}

void xs_gpu_move_there(struct xs_gpu_context *c, CUdeviceptr p, size_t size)
{
    if (c->device->o.prefetch)
        (void)move(p, size, (int)c->device->number);
    if (c->device->o.prefetch_back)
        note_there(c->device, p, size);
}

void xs_gpu_move_back(struct xs_gpu_shard *s, struct xs_gpu_device *d, uint64_t bytes)
{
    struct place e = {0};

    while (bytes != 0 && next_back(d, &e)) {
        if (!move(e.p, e.size, HOST))
            continue;
        XS_GPU_COUNT(s, d, managed_moved_back_bytes, e.size);
        bytes -= e.size < bytes ? e.size : bytes;
    }
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
