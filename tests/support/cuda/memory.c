/* memory.c - what the driver has given out: device addresses, host memory, what it accounts. */
#include "state.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static struct area *areas; /* by address */
static unsigned nareas, room;

static unsigned first_above(uint64_t p)
{
    unsigned lo = 0, hi = nareas;
    while (lo < hi) {
        unsigned mid = (lo + hi) / 2;
        if (areas[mid].hi > p)
            hi = mid;
        else
            lo = mid + 1;
    }
    return lo;
}

struct area *fk_area(uint64_t p)
{
    unsigned k = first_above(p);
    return k < nareas && areas[k].lo <= p ? &areas[k] : NULL;
}

struct area *fk_area_at(uint64_t base)
{
    struct area *a = fk_area(base);
    return a != NULL && a->lo == base ? a : NULL;
}

static struct area *insert(const struct area *a)
{
    if (nareas == room) {
        room = room != 0 ? 2 * room : 256;
        areas = realloc(areas, room * sizeof *areas);
        if (areas == NULL)
            abort();
    }
    unsigned k = first_above(a->lo);
    memmove(areas + k + 1, areas + k, (nareas - k) * sizeof *areas);
    areas[k] = *a;
    areas[k].id = ++fake.next_id;
    nareas++;
    return &areas[k];
}

static size_t window(void)
{
    size_t bytes = 4 * fake.bytes_each; /* room for fragmentation and for reserved addresses */
    return bytes + (1u << 30);
}

CUresult fk_memory_start(void)
{
    for (int i = 0; i < fake.devices; i++) {
        struct device *d = &fake.device[i];
        int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
        void *seen = mmap(NULL, window(), PROT_NONE, flags, -1, 0);
        void *hidden = mmap(NULL, window(), PROT_READ | PROT_WRITE, flags, -1, 0);
        if (seen == MAP_FAILED || hidden == MAP_FAILED)
            return CUDA_ERROR_OUT_OF_MEMORY;
        d->seen = seen;
        d->seen_bytes = window();
        d->base = ((uint64_t)(uintptr_t)seen + (2u << 20) - 1) & ~(uint64_t)((2u << 20) - 1);
        d->end = (uint64_t)(uintptr_t)seen + window();
        d->shadow = (uint64_t)(uintptr_t)hidden;
        d->pool.device = i;
        d->current_pool = &d->pool;
    }
    return CUDA_SUCCESS;
}

static bool mapped_by_us(const struct area *a)
{
    return a->kind == AREA_MANAGED || a->kind == AREA_HOST;
}

static size_t page_up(size_t n)
{
    return (n + 4095) & ~(size_t)4095;
}

void fk_memory_reset(void)
{
    for (unsigned i = 0; i < nareas; i++)
        if (mapped_by_us(&areas[i]))
            munmap((void *)(uintptr_t)areas[i].lo, page_up(areas[i].hi - areas[i].lo));
    nareas = 0;
    for (int i = 0; i < FAKE_DEVICES; i++) {
        struct device *d = &fake.device[i];
        if (d->base == 0)
            continue;
        munmap(d->seen, d->seen_bytes);
        munmap((void *)(uintptr_t)d->shadow, d->seen_bytes);
    }
}

bool fk_host_visible(const struct area *a)
{
    return mapped_by_us(a) || a->kind == AREA_REGISTERED;
}

void *fk_memory(uint64_t p)
{
    for (int i = 0; i < fake.devices; i++) {
        const struct device *d = &fake.device[i];
        if (p >= d->base && p < d->end) {
            const struct area *a = fk_area(p);
            if (a != NULL && a->shadow != 0)
                p = a->shadow + (p - a->lo);
            return a != NULL ? (void *)(uintptr_t)(d->shadow + (p - d->base)) : NULL;
        }
    }
    return (void *)(uintptr_t)p;
}

void *fake_shadow(const void *p)
{
    pthread_mutex_lock(&fake.lock);
    void *m = fk_memory((uint64_t)(uintptr_t)p);
    pthread_mutex_unlock(&fake.lock);
    return m;
}

/* The lowest gap of a device's addresses that holds the size. */
static uint64_t find_gap(const struct device *d, uint64_t bytes, uint64_t align)
{
    uint64_t at = d->base;
    for (unsigned k = first_above(d->base); k < nareas && areas[k].lo < d->end; k++) {
        if (areas[k].lo - at >= bytes)
            return at;
        at = (areas[k].hi + align - 1) & ~(align - 1);
        if (at < areas[k].hi || at >= d->end)
            return 0;
    }
    return d->end - at >= bytes ? at : 0;
}

CUresult fk_area_new(enum area_kind kind, CUdevice device, size_t bytes, struct area **out)
{
    struct device *d = &fake.device[device];
    struct area a = {.kind = kind, .ctx = fk_current(), .device = device};
    if (bytes == 0)
        return CUDA_ERROR_INVALID_VALUE;
    if (bytes > SIZE_MAX / 2)
        return CUDA_ERROR_OUT_OF_MEMORY;
    if (kind == AREA_MANAGED || kind == AREA_HOST) {
        void *p =
            mmap(NULL, page_up(bytes), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (p == MAP_FAILED)
            return CUDA_ERROR_OUT_OF_MEMORY;
        a.lo = (uint64_t)(uintptr_t)p;
    } else {
        if (kind != AREA_VMM && kind != AREA_IPC)
            a.accounted = (bytes + fake.granule - 1) / fake.granule * fake.granule;
        if (a.accounted > fake.bytes_each - d->used)
            return CUDA_ERROR_OUT_OF_MEMORY;
        a.lo = find_gap(d, bytes, kind == AREA_VMM ? 2u << 20 : 512);
        if (a.lo == 0)
            return CUDA_ERROR_OUT_OF_MEMORY;
    }
    a.hi = a.lo + bytes;
    d->used += a.accounted;
    *out = insert(&a);
    return CUDA_SUCCESS;
}

void fk_area_drop(struct area *a)
{
    fake.device[a->device].used -= a->accounted;
    if (a->pool != NULL)
        a->pool->used -= a->hi - a->lo;
    if (mapped_by_us(a))
        munmap((void *)(uintptr_t)a->lo, page_up(a->hi - a->lo));
    unsigned k = (unsigned)(a - areas);
    nareas--;
    memmove(areas + k, areas + k + 1, (nareas - k) * sizeof *areas);
}

void fk_areas_of_context_drop(CUcontext ctx)
{
    for (unsigned i = nareas; i-- > 0;)
        if (areas[i].ctx == ctx && areas[i].kind != AREA_VMM && areas[i].kind != AREA_REGISTERED)
            fk_area_drop(&areas[i]);
}

void fk_areas_of_graph_drop(CUgraph g)
{
    for (unsigned i = nareas; i-- > 0;)
        if (areas[i].kind == AREA_GRAPH && areas[i].graph == g)
            fk_area_drop(&areas[i]);
}

size_t fake_used(CUdevice device)
{
    pthread_mutex_lock(&fake.lock);
    size_t n = fake.device[device].used;
    pthread_mutex_unlock(&fake.lock);
    return n;
}

unsigned fake_blocks(void)
{
    pthread_mutex_lock(&fake.lock);
    unsigned n = nareas;
    pthread_mutex_unlock(&fake.lock);
    return n;
}

CUresult cuMemHostRegister_v2(void *p, size_t bytes, unsigned int flags)
{
    ENTER(NEEDS_CONTEXT | UNSAFE);
    uint64_t lo = (uint64_t)(uintptr_t)p;
    if (p == NULL || bytes == 0)
        LEAVE(CUDA_ERROR_INVALID_VALUE);
    unsigned k = first_above(lo);
    if (k < nareas && areas[k].lo < lo + bytes)
        LEAVE(CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED);
    struct area a = {.kind = AREA_REGISTERED,
                     .lo = lo,
                     .hi = lo + bytes,
                     .flags = flags,
                     .ctx = fk_current(),
                     .device = fk_current()->device};
    insert(&a);
    LEAVE(CUDA_SUCCESS);
}

CUresult cuMemHostRegister(void *p, size_t bytes, unsigned int flags)
{
    return cuMemHostRegister_v2(p, bytes, flags);
}

CUresult cuMemHostUnregister(void *p)
{
    ENTER(NEEDS_CONTEXT | UNSAFE);
    struct area *a = fk_area_at((uint64_t)(uintptr_t)p);
    if (a == NULL || a->kind != AREA_REGISTERED)
        LEAVE(CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED);
    CUresult r = fk_wait_context(fk_current(), __func__);
    a = fk_area_at((uint64_t)(uintptr_t)p);
    if (a != NULL)
        fk_area_drop(a);
    LEAVE(r);
}
