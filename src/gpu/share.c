/* Questions about blocks, what others do with them, and control. */
#include "gpu/piece.h"

/* Is it an address of a range of ours? *live: of a piece that the program holds. */
static bool piece_around(CUdeviceptr p, struct xs_sub_block *piece, bool *live)
{
    bool in_use;

    if (!xs_gpu_piece_around(p, piece, &in_use))
        return false;
    const struct xs_gpu_block *b = in_use ? xs_gpu_block_find(piece->address) : NULL;
    *live = b != NULL && !xs_gpu_block_is_kept(b);
    return true;
}

/* The block around an address that the program may have derived from its base. */
static struct xs_gpu_block *block_around(CUdeviceptr p)
{
    struct xs_gpu_block *b = xs_gpu_block_find(p);
    struct xs_sub_block piece;
    CUdeviceptr base = 0;
    size_t size;
    bool live;

    if (b != NULL)
        return b;
    if (piece_around(p, &piece, &live))
        return live ? xs_gpu_block_find(piece.address) : NULL;
    if (xs_cu.cuMemGetAddressRange_v2(&base, &size, p) == CUDA_SUCCESS)
        b = xs_gpu_block_find(base);
    return b;
}

bool xs_gpu_exporting(CUdeviceptr p, CUresult *result)
{
    struct xs_sub_block piece;
    bool live;

    if (piece_around(p, &piece, &live)) {
        *result = live ? CUDA_ERROR_NOT_SUPPORTED : CUDA_ERROR_INVALID_VALUE;
        return true;
    }
    xs_gpu_never_reuse(p);
    return false;
}

void xs_gpu_never_reuse(CUdeviceptr p)
{
    struct xs_gpu_block *b = block_around(p);

    if (b != NULL)
        xs_gpu_block_mark(b, XS_BLOCK_NEVER);
}

bool xs_gpu_block_range(CUdeviceptr p, CUdeviceptr *base, size_t *size)
{
    struct xs_sub_block piece;
    bool live;

    if (!piece_around(p, &piece, &live) || !live)
        return false;
    if (base != NULL)
        *base = piece.address;
    if (size != NULL)
        *size = piece.size;
    return true;
}

/* True: the block at the base has been freed, as far as the program is concerned. */
static bool is_kept(CUdeviceptr base)
{
    const struct xs_gpu_block *b = xs_gpu_block_find(base);

    return b != NULL && xs_gpu_block_is_kept(b);
}

/* Any memory of the kinds that are kept by whole blocks. */
static bool keeps_any(void)
{
    for (unsigned i = 0; i < xs_gpu_device_count(); i++)
        if (xs_gpu_level_now(&xs_gpu_devices[i].cached_bytes) != 0 ||
            xs_gpu_level_now(&xs_gpu_devices[i].pinned_cached_bytes) != 0)
            return true;
    return false;
}

bool xs_gpu_is_freed(CUdeviceptr p)
{
    struct xs_sub_block piece;
    bool live;

    return is_kept(p) || (piece_around(p, &piece, &live) && !live);
}

bool xs_gpu_is_freed_within(CUdeviceptr p)
{
    struct xs_sub_block piece;
    CUdeviceptr base = 0;
    bool live;

    return keeps_any() && xs_gpu_block_find(p) == NULL && !piece_around(p, &piece, &live) &&
           xs_cu.cuPointerGetAttribute(&base, CU_POINTER_ATTRIBUTE_RANGE_START_ADDR, p) ==
               CUDA_SUCCESS &&
           is_kept(base);
}

CUresult xs_gpu_address_range(CUdeviceptr *base, size_t *size, CUdeviceptr p)
{
    struct xs_sub_block piece;
    CUdeviceptr at = 0;
    bool live;
    CUresult r;

    if (xs_gpu_block_range(p, base, size))
        return CUDA_SUCCESS;
    if (piece_around(p, &piece, &live))
        return CUDA_ERROR_NOT_FOUND;
    r = xs_cu.cuMemGetAddressRange_v2(base != NULL ? base : &at, size, p);
    return r == CUDA_SUCCESS && is_kept(base != NULL ? *base : at) ? (CUresult)CUDA_ERROR_NOT_FOUND
                                                                   : r;
}

CUresult xs_gpu_mem_info(size_t *left, size_t *total)
{
    struct xs_gpu_shard *s = xs_gpu_shard();
    struct xs_gpu_context *c = xs_gpu_here(s);
    CUresult r = xs_cu.cuMemGetInfo_v2(left, total);

    if (c != NULL && r == CUDA_SUCCESS) {
        struct xs_gpu_device *d = c->device;
        uint64_t pieces, idle;
        xs_gpu_pieces_idle(s, d, &pieces, &idle);
        uint64_t cached = xs_gpu_level_now(&d->cached_bytes);
        uint64_t others = pieces + atomic_load_explicit(&d->managed_cached, memory_order_relaxed);
        uint64_t kept = idle + (cached > others ? cached - others : 0);
        *left = *left + kept < *total ? *left + kept : *total;
    }
    return r;
}

/* One that was used, if it is the one that is meant. */
static struct xs_gpu_device *chosen(unsigned i, int device)
{
    struct xs_gpu_device *d = &xs_gpu_devices[i];
    bool is_it = (device < 0 || (unsigned)device == i) &&
                 atomic_load_explicit(&d->is_open, memory_order_acquire);

    return is_it ? d : NULL;
}

bool xs_gpu_flush_here(void)
{
    struct xs_gpu_shard *s = xs_gpu_shard();
    struct xs_gpu_context *c = xs_gpu_here(s);
    enum xs_gpu_effort effort = XS_GPU_AT_ONCE;

    return c != NULL && xs_gpu_flush(s, c->device, &effort);
}

bool xs_gpu_flush_of(CUdevice device)
{
    struct xs_gpu_shard *s = xs_gpu_is_on() ? xs_gpu_shard() : NULL;
    bool is_known = s != NULL && device >= 0 && device < XS_GPU_DEVICES_MAX;
    struct xs_gpu_device *d = is_known ? chosen((unsigned)device, device) : NULL;
    enum xs_gpu_effort effort = XS_GPU_AT_ONCE;

    return d != NULL && xs_gpu_flush(s, d, &effort);
}

bool xs_gpu_flush_any(void)
{
    bool any = xs_gpu_flush_here();

    for (unsigned i = 0; i < xs_gpu_device_count() && !any; i++)
        any = xs_gpu_flush_of((CUdevice)i);
    return any;
}

/* ---- control ---- */

void xs_gpu_clear(int device)
{
    struct xs_gpu_shard *s = xs_gpu_shard();
    struct xs_gpu_device *d;
    uint64_t events = 0;

    if (s == NULL || !xs_cu_ready())
        return;
    xs_gpu_unqueue(s, true);
    uint64_t open = atomic_load_explicit(&xs_gpu_epochs.open, memory_order_seq_cst);
    (void)xs_gpu_prove(open, open, &events);
    for (unsigned i = 0; i < XS_GPU_DEVICES_MAX; i++) {
        if ((d = chosen(i, device)) == NULL)
            continue;
        XS_GPU_COUNT(s, d, events, events);
        events = 0;
        /* Switched off, nothing is ever proven; the driver waits by itself. */
        struct xs_gpu_victims v = {
            .device = d, .pinned = -1, .ready = xs_gpu_is_on(), .bytes = UINT64_MAX};
        (void)xs_gpu_evict(s, &v, false);
        (void)xs_gpu_pieces_spare(s, d, !xs_gpu_is_on());
    }
}

void xs_gpu_set_cache_max(int device, uint64_t bytes)
{
    struct xs_gpu_shard *s = xs_gpu_shard();
    struct xs_gpu_device *d;

    for (unsigned i = 0; s != NULL && i < XS_GPU_DEVICES_MAX; i++) {
        if ((d = chosen(i, device)) == NULL)
            continue;
        xs_gpu_cache_max_set(d, bytes);
        /* What is ready, what gets ready by a wait, and all if nothing can be proven any more. */
        for (int step = 0; step < 3; step++) {
            uint64_t now = xs_gpu_level_now(&d->cached_bytes);
            struct xs_gpu_victims v = {.device = d, .ready = step < 2, .bytes = now - bytes};
            if (now <= bytes)
                break;
            if (step == 1)
                xs_gpu_wait_all();
            (void)xs_gpu_evict(s, &v, true);
        }
    }
}

size_t xs_gpu_defragment(int device)
{
    struct xs_gpu_shard *s = xs_gpu_shard();
    struct xs_gpu_device *d;
    uint64_t events = 0;
    size_t bytes = 0;

    if (s == NULL || !xs_cu_ready())
        return 0;
    uint64_t open = atomic_load_explicit(&xs_gpu_epochs.open, memory_order_seq_cst);
    (void)xs_gpu_prove(open, open, &events);
    for (unsigned i = 0; i < XS_GPU_DEVICES_MAX; i++)
        if ((d = chosen(i, device)) != NULL)
            bytes += xs_gpu_pieces_spare(s, d, !xs_gpu_is_on());
    return bytes;
}
