/* Memory that the driver gives out by itself: stream-ordered, by handles, in arrays and graphs. All
 * of it is counted; of the first two we know what is in use, by an entry for each block until it is
 * freed, whatever call frees it.
 *
 * Memory of cuMemCreate is there as long as it has a handle or is mapped: its entry counts both,
 * and each mapping has an entry of its own. */
#include "gpu/passed.h"

#include "gpu/cache.h"
#include "gpu/core.h"
#include "sys/lock.h"

enum { MAPPING = XS_GPU_PASSES }; /* besides the kinds of gpu_stats.h */
enum { FIRST_BUCKETS = 256, ENTRIES_AT_ONCE = 64 };

struct entry {
    struct entry *next; /* in its bucket, or of those that are to be had */
    uint64_t key;       /* an address or a handle */
    size_t size;
    struct entry *of; /* a mapping: the memory */
    unsigned held;    /* memory of a handle: by handles and mappings */
    uint8_t kind, device, context;
};

static struct xs_lock lock = {.kind = XS_LOCK_GPU};
XS_UNLIKELY_DATA static struct {
    struct entry **bucket;
    size_t buckets; /* a power of two, or 0 */
    _Atomic size_t count;
    struct entry *free;
} passed;

static size_t bucket_of(uint64_t key, size_t buckets)
{
    return (size_t)((key * 0x9e3779b97f4a7c15u) >> 32) & (buckets - 1);
}

static struct xs_gpu_level *level_of(const struct entry *e)
{
    struct xs_gpu_device *d = &xs_gpu_devices[e->device];

    return e->kind == XS_GPU_PASS_ASYNC ? &d->async_in_use_bytes : &d->vmm_in_use_bytes;
}

/* ---- under the lock ---- */

static struct entry **place_of(unsigned kind, uint64_t key)
{
    struct entry **at = &passed.bucket[bucket_of(key, passed.buckets)];

    while (*at != NULL && ((*at)->key != key || (*at)->kind != kind))
        at = &(*at)->next;
    return at;
}

static struct entry *find(unsigned kind, uint64_t key)
{
    return passed.buckets != 0 ? *place_of(kind, key) : NULL;
}

static bool grow(void)
{
    size_t more = passed.buckets != 0 ? 2 * passed.buckets : FIRST_BUCKETS;
    struct entry **bucket = xs_gpu_store(more * sizeof(struct entry *));

    for (size_t i = 0; bucket != NULL && i < passed.buckets; i++)
        for (struct entry *e = passed.bucket[i], *next; e != NULL; e = next) {
            size_t to = bucket_of(e->key, more);
            next = e->next;
            e->next = bucket[to];
            bucket[to] = e;
        }
    if (bucket != NULL) {
        passed.bucket = bucket;
        passed.buckets = more;
    }
    return passed.buckets != 0; /* longer chains will do */
}

static struct entry *fresh(void)
{
    struct entry *e = passed.free;

    if (e == NULL && (e = xs_gpu_store(ENTRIES_AT_ONCE * sizeof(*e))) != NULL)
        for (unsigned i = 1; i < ENTRIES_AT_ONCE; i++)
            e[i - 1].next = &e[i];
    if (e != NULL)
        passed.free = e->next;
    return e;
}

/* NULL: no memory; then it is not known of. */
static struct entry *insert(const struct xs_gpu_passed *what)
{
    size_t count = atomic_load_explicit(&passed.count, memory_order_relaxed);
    struct entry *e;

    if ((count >= passed.buckets && !grow()) || (e = fresh()) == NULL)
        return NULL;
    size_t to = bucket_of(what->key, passed.buckets);
    *e = (struct entry){.next = passed.bucket[to],
                        .key = what->key,
                        .size = what->size,
                        .held = 1,
                        .kind = (uint8_t)what->kind,
                        .device = (uint8_t)what->device,
                        .context = (uint8_t)what->context};
    passed.bucket[to] = e;
    atomic_fetch_add_explicit(&passed.count, 1, memory_order_relaxed);
    if (e->kind != MAPPING)
        xs_gpu_level_add(level_of(e), e->size);
    return e;
}

static void let_go(struct entry *e)
{
    while (e != NULL && --e->held == 0) {
        struct entry **at = place_of(e->kind, e->key), *of = e->of;
        if (e->kind != MAPPING)
            xs_gpu_level_sub(level_of(e), e->size);
        *at = e->next;
        e->next = passed.free;
        passed.free = e;
        atomic_fetch_sub_explicit(&passed.count, 1, memory_order_relaxed);
        e = of; /* what was mapped there */
    }
}

/* Each that the caller's question is true of; what it lets go of may be in any bucket. */
static void let_go_of_all(bool (*is_it)(const struct entry *e, uint64_t a, uint64_t b), uint64_t a,
                          uint64_t b)
{
    for (size_t i = 0; i < passed.buckets; i++)
        for (struct entry **at = &passed.bucket[i]; *at != NULL;) {
            struct entry *e = *at;
            if (!is_it(e, a, b)) {
                at = &e->next;
                continue;
            }
            let_go(e);
            at = &passed.bucket[i]; /* the chain has changed */
        }
}

/* ---- what the shim sees ---- */

/* False: nothing is known of any, or this is the child of a fork, whose lock may be held for ever.
 */
static bool take_lock(void)
{
    if (atomic_load_explicit(&passed.count, memory_order_relaxed) == 0 || xs_gpu_is_child())
        return false;
    xs_lock_take(&lock);
    return true;
}

static void begins(const struct xs_gpu_passed *what)
{
    xs_lock_take(&lock);
    struct entry *old = find(what->kind, what->key);
    if (old != NULL) { /* its end was not to be seen */
        old->held = 1;
        let_go(old);
    }
    (void)insert(what);
    xs_lock_give(&lock);
}

void xs_gpu_passed_through(enum xs_gpu_pass kind, int device, uint64_t key, size_t size)
{
    struct xs_gpu_shard *s = xs_gpu_shard();
    struct xs_gpu_context *c = xs_gpu_here(s);
    struct xs_gpu_device *d = c != NULL ? c->device : NULL;

    if (device >= 0)
        d = s != NULL && xs_gpu_is_on() ? xs_gpu_device((unsigned)device) : NULL;
    if (d == NULL)
        return;
    struct xs_gpu_passed what = {kind, d->number, c != NULL ? c->index : 0, key, size};
    switch (kind) {
    case XS_GPU_PASS_ASYNC:
        XS_GPU_COUNT(s, d, async_allocations, 1);
        XS_GPU_COUNT(s, d, async_bytes, size);
        begins(&what);
        break;
    case XS_GPU_PASS_VMM:
        XS_GPU_COUNT(s, d, vmm_allocations, 1);
        XS_GPU_COUNT(s, d, vmm_bytes, size);
        begins(&what);
        break;
    case XS_GPU_PASS_GRAPH:
        XS_GPU_COUNT(s, d, graph_allocations, 1);
        XS_GPU_COUNT(s, d, graph_bytes, size);
        break;
    default:
        XS_GPU_COUNT(s, d, array_allocations, 1);
        break;
    }
}

bool xs_gpu_is_captured(CUstream stream, bool per_thread)
{
    __typeof__(&cuStreamIsCapturing) ask =
        per_thread ? xs_cu.cuStreamIsCapturing_ptsz : xs_cu.cuStreamIsCapturing;
    CUstreamCaptureStatus status = CU_STREAM_CAPTURE_STATUS_NONE;

    return xs_gpu_is_capturing() && ask != NULL && ask(stream, &status) == CUDA_SUCCESS &&
           status != CU_STREAM_CAPTURE_STATUS_NONE;
}

bool xs_gpu_passed_ends(enum xs_gpu_pass kind, uint64_t key, struct xs_gpu_passed *was)
{
    struct entry *e = NULL;

    if (!take_lock())
        return false;
    if ((e = find(kind, key)) != NULL) {
        *was = (struct xs_gpu_passed){kind, e->device, e->context, e->key, e->size};
        let_go(e);
    }
    xs_lock_give(&lock);
    return e != NULL;
}

void xs_gpu_passed_stays(const struct xs_gpu_passed *was)
{
    xs_lock_take(&lock);
    struct entry *e = find(was->kind, was->key);
    if (e != NULL)
        e->held++;
    else
        (void)insert(was);
    xs_lock_give(&lock);
}

void xs_gpu_passed_again(CUmemGenericAllocationHandle h)
{
    if (!take_lock())
        return;
    struct entry *e = find(XS_GPU_PASS_VMM, h);
    if (e != NULL)
        e->held++;
    xs_lock_give(&lock);
}

void xs_gpu_passed_mapped(CUdeviceptr p, size_t size, CUmemGenericAllocationHandle h)
{
    if (!take_lock())
        return;
    struct entry *of = find(XS_GPU_PASS_VMM, h);
    const struct xs_gpu_passed what = {MAPPING, 0, 0, p, size};
    struct entry *e = of != NULL ? insert(&what) : NULL;
    if (e != NULL) {
        e->of = of;
        of->held++;
    }
    xs_lock_give(&lock);
}

static bool lies_in(const struct entry *e, uint64_t first, uint64_t size)
{
    return e->kind == MAPPING && e->key - first < size;
}

void xs_gpu_passed_unmapped(CUdeviceptr p, size_t size)
{
    if (!take_lock())
        return;
    struct entry *e = find(MAPPING, p);
    if (e != NULL && e->size == size)
        let_go(e);
    else /* several, side by side */
        let_go_of_all(lies_in, p, size);
    xs_lock_give(&lock);
}

static bool is_ordered_in(const struct entry *e, uint64_t context, uint64_t unused)
{
    (void)unused;
    return e->kind == XS_GPU_PASS_ASYNC && e->context == context;
}

void xs_gpu_passed_forget(const struct xs_gpu_context *c)
{
    if (!take_lock())
        return;
    let_go_of_all(is_ordered_in, c->index, 0);
    xs_lock_give(&lock);
}
