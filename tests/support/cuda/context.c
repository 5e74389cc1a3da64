/* context.c - start, devices, contexts. */
#include "state.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { DEPTH = 16 };
/* Few bytes: also a library that comes late finds room for them in the static block. */
static __thread __attribute__((tls_model("initial-exec"))) struct {
    CUcontext at[DEPTH];
    unsigned n;
    uint64_t epoch;
    unsigned long known_at; /* the generation in which `known` was the current context */
    CUcontext known;
} stack;
static uint64_t epoch = 1; /* a reset empties every thread's stack */

static void stack_fresh(void)
{
    stack.known_at = 0;
    if (stack.epoch != epoch) {
        stack.n = 0;
        stack.epoch = epoch;
    }
}

bool fk_context_ok(CUcontext ctx)
{
    for (int i = 0; i < fake.devices; i++)
        if (ctx == &fake.device[i].primary)
            return ctx->used;
    for (int i = 0; i < FAKE_CONTEXTS; i++)
        if (ctx == &fake.contexts[i])
            return ctx->used;
    return false;
}

CUcontext fk_current(void)
{
    if (stack.epoch != epoch)
        stack_fresh();
    CUcontext ctx = stack.n > 0 ? stack.at[stack.n - 1] : NULL;
    return ctx != NULL && fk_context_ok(ctx) ? ctx : NULL;
}

static CUresult open_context(CUcontext ctx, CUdevice device, unsigned flags)
{
    ctx->used = true;
    ctx->device = device;
    ctx->flags = flags;
    ctx->id = ++fake.next_id;
    ctx->sticky = CUDA_SUCCESS;
    fk_changed();
    return fk_stream_new(ctx, CU_STREAM_DEFAULT, 0, 0, &ctx->legacy);
}

/* Its work comes to an end, its streams and memory are gone. */
static CUresult close_context(CUcontext ctx, const char *who)
{
    fk_captures_of_context_spoil(ctx);
    CUresult r = fk_wait_context(ctx, who);
    for (unsigned i = 0; i < fake.nslots; i++)
        if (fake.slot[i].stream != NULL && fake.slot[i].stream->ctx == ctx)
            fk_stream_end(fake.slot[i].stream);
    fk_areas_of_context_drop(ctx);
    ctx->used = false;
    ctx->legacy = NULL;
    fk_changed();
    return r;
}

void fk_contexts_reset(void)
{
    epoch++;
    memset(fake.device, 0, sizeof fake.device);
    memset(fake.contexts, 0, sizeof fake.contexts);
}

static bool device_ok(CUdevice d)
{
    return d >= 0 && d < fake.devices;
}

CUresult cuInit(unsigned int flags)
{
    ENTER(ANY_TIME);
    CHECK(flags == 0, CUDA_ERROR_INVALID_VALUE);
    CHECK(fake.devices > 0, CUDA_ERROR_NO_DEVICE);
    CHECK(!fake.started || fake.pid == getpid(), CUDA_ERROR_NOT_INITIALIZED);
    if (!fake.started) {
        CUresult r = fk_memory_start();
        CHECK(r == CUDA_SUCCESS, r);
        fake.started = true;
        fake.pid = getpid();
    }
    LEAVE(CUDA_SUCCESS);
}

CUresult cuDriverGetVersion(int *version)
{
    ENTER(ANY_TIME);
    CHECK(version != NULL, CUDA_ERROR_INVALID_VALUE);
    *version = fake.version;
    LEAVE(CUDA_SUCCESS);
}

CUresult cuGetErrorName(CUresult error, const char **text)
{
    ENTER(ANY_TIME);
    CHECK(text != NULL, CUDA_ERROR_INVALID_VALUE);
    *text = error == CUDA_SUCCESS               ? "CUDA_SUCCESS"
            : error == CUDA_ERROR_OUT_OF_MEMORY ? "CUDA_ERROR_OUT_OF_MEMORY"
                                                : "CUDA_ERROR";
    LEAVE(CUDA_SUCCESS);
}

CUresult cuGetErrorString(CUresult error, const char **text)
{
    ENTER(ANY_TIME);
    CHECK(text != NULL, CUDA_ERROR_INVALID_VALUE);
    *text = error == CUDA_SUCCESS               ? "no error"
            : error == CUDA_ERROR_OUT_OF_MEMORY ? "out of memory"
                                                : "an error of the fake driver";
    LEAVE(CUDA_SUCCESS);
}

/* ---- devices ---- */

CUresult cuDeviceGetCount(int *count)
{
    ENTER(0);
    CHECK(count != NULL, CUDA_ERROR_INVALID_VALUE);
    *count = fake.devices;
    LEAVE(CUDA_SUCCESS);
}

CUresult cuDeviceGet(CUdevice *device, int ordinal)
{
    ENTER(0);
    CHECK(device != NULL, CUDA_ERROR_INVALID_VALUE);
    CHECK(device_ok(ordinal), CUDA_ERROR_INVALID_DEVICE);
    *device = ordinal;
    LEAVE(CUDA_SUCCESS);
}

CUresult cuDeviceGetName(char *name, int size, CUdevice d)
{
    ENTER(0);
    CHECK(name != NULL && size > 0, CUDA_ERROR_INVALID_VALUE);
    CHECK(device_ok(d), CUDA_ERROR_INVALID_DEVICE);
    snprintf(name, (size_t)size, "fake %d", d);
    LEAVE(CUDA_SUCCESS);
}

static CUresult uuid(CUuuid *id, CUdevice d)
{
    if (id == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    if (!device_ok(d))
        return CUDA_ERROR_INVALID_DEVICE;
    *id = (CUuuid){.bytes = {'f', 'a', 'k', 'e', (char)d}};
    return CUDA_SUCCESS;
}

CUresult cuDeviceGetUuid(CUuuid *id, CUdevice d)
{
    ENTER(0);
    LEAVE(uuid(id, d));
}

CUresult cuDeviceGetUuid_v2(CUuuid *id, CUdevice d)
{
    ENTER(0);
    LEAVE(uuid(id, d));
}

CUresult cuDeviceTotalMem_v2(size_t *bytes, CUdevice d)
{
    ENTER(0);
    CHECK(bytes != NULL, CUDA_ERROR_INVALID_VALUE);
    CHECK(device_ok(d), CUDA_ERROR_INVALID_DEVICE);
    *bytes = fake.bytes_each;
    LEAVE(CUDA_SUCCESS);
}

CUresult cuDeviceGetAttribute(int *value, CUdevice_attribute what, CUdevice d)
{
    ENTER(0);
    CHECK(value != NULL, CUDA_ERROR_INVALID_VALUE);
    CHECK(device_ok(d), CUDA_ERROR_INVALID_DEVICE);
    switch (what) {
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR:
        *value = 9;
        break;
    case CU_DEVICE_ATTRIBUTE_UNIFIED_ADDRESSING:
    case CU_DEVICE_ATTRIBUTE_MANAGED_MEMORY:
    case CU_DEVICE_ATTRIBUTE_CONCURRENT_MANAGED_ACCESS:
    case CU_DEVICE_ATTRIBUTE_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED:
    case CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED:
        *value = 1;
        break;
    default:
        *value = 0;
    }
    LEAVE(CUDA_SUCCESS);
}

CUresult cuDeviceGetPCIBusId(char *name, int size, CUdevice d)
{
    ENTER(0);
    CHECK(name != NULL && size > 0, CUDA_ERROR_INVALID_VALUE);
    CHECK(device_ok(d), CUDA_ERROR_INVALID_DEVICE);
    snprintf(name, (size_t)size, "0000:%02x:00.0", d + 1);
    LEAVE(CUDA_SUCCESS);
}

CUresult cuDeviceGetByPCIBusId(CUdevice *d, const char *name)
{
    ENTER(0);
    unsigned bus;
    CHECK(d != NULL && name != NULL && sscanf(name, "0000:%x:", &bus) == 1,
          CUDA_ERROR_INVALID_VALUE);
    CHECK(device_ok((int)bus - 1), CUDA_ERROR_INVALID_DEVICE);
    *d = (int)bus - 1;
    LEAVE(CUDA_SUCCESS);
}

CUresult cuDeviceCanAccessPeer(int *can, CUdevice a, CUdevice b)
{
    ENTER(0);
    CHECK(can != NULL, CUDA_ERROR_INVALID_VALUE);
    CHECK(device_ok(a) && device_ok(b), CUDA_ERROR_INVALID_DEVICE);
    *can = a != b;
    LEAVE(CUDA_SUCCESS);
}

static CUresult pool_of(CUmemoryPool *pool, CUdevice d, bool current)
{
    if (pool == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    if (!device_ok(d))
        return CUDA_ERROR_INVALID_DEVICE;
    *pool = current ? fake.device[d].current_pool : &fake.device[d].pool;
    return CUDA_SUCCESS;
}

CUresult cuDeviceGetDefaultMemPool(CUmemoryPool *pool, CUdevice d)
{
    ENTER(0);
    LEAVE(pool_of(pool, d, false));
}

CUresult cuDeviceGetMemPool(CUmemoryPool *pool, CUdevice d)
{
    ENTER(0);
    LEAVE(pool_of(pool, d, true));
}

CUresult cuDeviceSetMemPool(CUdevice d, CUmemoryPool pool)
{
    ENTER(0);
    CHECK(device_ok(d), CUDA_ERROR_INVALID_DEVICE);
    CHECK(pool != NULL, CUDA_ERROR_INVALID_VALUE);
    fake.device[d].current_pool = pool;
    LEAVE(CUDA_SUCCESS);
}

/* ---- primary contexts ---- */

CUresult cuDevicePrimaryCtxRetain(CUcontext *out, CUdevice d)
{
    ENTER(0);
    CHECK(out != NULL, CUDA_ERROR_INVALID_VALUE);
    CHECK(device_ok(d), CUDA_ERROR_INVALID_DEVICE);
    CUcontext ctx = &fake.device[d].primary;
    if (!ctx->used) {
        ctx->primary = true;
        CUresult r = open_context(ctx, d, ctx->flags);
        CHECK(r == CUDA_SUCCESS, r);
    }
    ctx->references++;
    *out = ctx;
    LEAVE(CUDA_SUCCESS);
}

static CUresult primary_release(CUdevice d)
{
    if (!device_ok(d))
        return CUDA_ERROR_INVALID_DEVICE;
    CUcontext ctx = &fake.device[d].primary;
    if (ctx->references == 0)
        return CUDA_ERROR_INVALID_CONTEXT;
    return --ctx->references == 0 ? close_context(ctx, "cuDevicePrimaryCtxRelease") : CUDA_SUCCESS;
}

/* The holders keep their references: the next retain opens it anew. */
static CUresult primary_reset(CUdevice d)
{
    if (!device_ok(d))
        return CUDA_ERROR_INVALID_DEVICE;
    CUcontext ctx = &fake.device[d].primary;
    return ctx->used ? close_context(ctx, "cuDevicePrimaryCtxReset") : CUDA_SUCCESS;
}

static CUresult primary_set_flags(CUdevice d, unsigned int flags)
{
    if (!device_ok(d))
        return CUDA_ERROR_INVALID_DEVICE;
    fake.device[d].primary.flags = flags;
    return CUDA_SUCCESS;
}

CUresult cuDevicePrimaryCtxRelease(CUdevice d)
{
    ENTER(0);
    LEAVE(primary_release(d));
}
CUresult cuDevicePrimaryCtxRelease_v2(CUdevice d)
{
    ENTER(0);
    LEAVE(primary_release(d));
}
CUresult cuDevicePrimaryCtxReset(CUdevice d)
{
    ENTER(0);
    LEAVE(primary_reset(d));
}
CUresult cuDevicePrimaryCtxReset_v2(CUdevice d)
{
    ENTER(0);
    LEAVE(primary_reset(d));
}
CUresult cuDevicePrimaryCtxSetFlags(CUdevice d, unsigned int flags)
{
    ENTER(0);
    LEAVE(primary_set_flags(d, flags));
}
CUresult cuDevicePrimaryCtxSetFlags_v2(CUdevice d, unsigned int flags)
{
    ENTER(0);
    LEAVE(primary_set_flags(d, flags));
}

CUresult cuDevicePrimaryCtxGetState(CUdevice d, unsigned int *flags, int *active)
{
    ENTER(0);
    CHECK(device_ok(d), CUDA_ERROR_INVALID_DEVICE);
    CHECK(flags != NULL && active != NULL, CUDA_ERROR_INVALID_VALUE);
    *flags = fake.device[d].primary.flags;
    *active = fake.device[d].primary.used;
    LEAVE(CUDA_SUCCESS);
}

/* ---- contexts ---- */

static CUresult push(CUcontext ctx)
{
    stack_fresh();
    if (stack.n == DEPTH)
        return CUDA_ERROR_UNKNOWN;
    stack.at[stack.n++] = ctx;
    return CUDA_SUCCESS;
}

static CUresult create(CUcontext *out, unsigned int flags, CUdevice d)
{
    if (out == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    if (!device_ok(d))
        return CUDA_ERROR_INVALID_DEVICE;
    for (int i = 0; i < FAKE_CONTEXTS; i++) {
        CUcontext ctx = &fake.contexts[i];
        if (ctx->used)
            continue;
        CUresult r = open_context(ctx, d, flags);
        if (r != CUDA_SUCCESS)
            return r;
        *out = ctx;
        return push(ctx);
    }
    return CUDA_ERROR_OUT_OF_MEMORY;
}

CUresult cuCtxCreate_v2(CUcontext *out, unsigned int flags, CUdevice d)
{
    ENTER(0);
    LEAVE(create(out, flags, d));
}
CUresult cuCtxCreate_v3(CUcontext *out, CUexecAffinityParam *p, int n, unsigned int flags,
                        CUdevice d)
{
    ENTER(0);
    (void)p;
    (void)n;
    LEAVE(create(out, flags, d));
}
CUresult cuCtxCreate_v4(CUcontext *out, CUctxCreateParams *p, unsigned int flags, CUdevice d)
{
    ENTER(0);
    (void)p;
    LEAVE(create(out, flags, d));
}

CUresult cuCtxDestroy_v2(CUcontext ctx)
{
    ENTER(0);
    CHECK(ctx != NULL && fk_context_ok(ctx) && !ctx->primary, CUDA_ERROR_INVALID_CONTEXT);
    if (fk_current() == ctx)
        stack.n--;
    stack.known_at = 0;
    LEAVE(close_context(ctx, "cuCtxDestroy"));
}

CUresult cuCtxSetCurrent(CUcontext ctx)
{
    ENTER(0);
    CHECK(ctx == NULL || fk_context_ok(ctx), CUDA_ERROR_INVALID_CONTEXT);
    stack_fresh();
    if (stack.n > 0)
        stack.n--;
    LEAVE(ctx != NULL ? push(ctx) : CUDA_SUCCESS);
}

static CUresult get_current(CUcontext *out)
{
    if (out == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    *out = fk_current();
    if (fk_quick_allowed() && fake.pid == getpid()) {
        stack.known = *out;
        stack.known_at = atomic_load_explicit(&fk_generation, memory_order_relaxed);
    }
    return CUDA_SUCCESS;
}

static __attribute__((noinline)) CUresult get_current_slowly(CUcontext *out)
{
    static int number = -1;
    CUresult r = fk_enter("cuCtxGetCurrent", &number, 0);
    return r == CUDA_SUCCESS ? fk_leave(get_current(out)) : r;
}

/* As cheap as the driver's own: an allocator asks it at every call. */
CUresult cuCtxGetCurrent(CUcontext *out)
{
    if (out == NULL || stack.known_at != atomic_load_explicit(&fk_generation, memory_order_relaxed))
        return get_current_slowly(out);
    atomic_fetch_add_explicit(&fk_quick_calls, 1, memory_order_relaxed);
    *out = stack.known;
    return CUDA_SUCCESS;
}

CUresult cuCtxPushCurrent_v2(CUcontext ctx)
{
    ENTER(0);
    CHECK(ctx != NULL && fk_context_ok(ctx), CUDA_ERROR_INVALID_CONTEXT);
    LEAVE(push(ctx));
}

CUresult cuCtxPopCurrent_v2(CUcontext *out)
{
    ENTER(0);
    stack_fresh();
    CHECK(stack.n > 0, CUDA_ERROR_INVALID_CONTEXT);
    stack.n--;
    if (out != NULL)
        *out = stack.at[stack.n];
    LEAVE(CUDA_SUCCESS);
}

CUresult cuCtxGetDevice(CUdevice *d)
{
    ENTER(NEEDS_CONTEXT);
    CHECK(d != NULL, CUDA_ERROR_INVALID_VALUE);
    *d = fk_current()->device;
    LEAVE(CUDA_SUCCESS);
}

CUresult cuCtxGetDevice_v2(CUdevice *d, CUcontext ctx)
{
    ENTER(0);
    ctx = ctx != NULL ? ctx : fk_current();
    CHECK(d != NULL, CUDA_ERROR_INVALID_VALUE);
    CHECK(ctx != NULL && fk_context_ok(ctx), CUDA_ERROR_INVALID_CONTEXT);
    *d = ctx->device;
    LEAVE(CUDA_SUCCESS);
}

CUresult cuCtxGetFlags(unsigned int *flags)
{
    ENTER(NEEDS_CONTEXT);
    CHECK(flags != NULL, CUDA_ERROR_INVALID_VALUE);
    *flags = fk_current()->flags;
    LEAVE(CUDA_SUCCESS);
}

CUresult cuCtxGetApiVersion(CUcontext ctx, unsigned int *version)
{
    ENTER(0);
    CHECK(version != NULL, CUDA_ERROR_INVALID_VALUE);
    CHECK(ctx == NULL || fk_context_ok(ctx), CUDA_ERROR_INVALID_CONTEXT);
    *version = 3020;
    LEAVE(CUDA_SUCCESS);
}

CUresult cuCtxGetId(CUcontext ctx, unsigned long long *id)
{
    ENTER(0);
    ctx = ctx != NULL ? ctx : fk_current();
    CHECK(id != NULL, CUDA_ERROR_INVALID_VALUE);
    CHECK(ctx != NULL && fk_context_ok(ctx), CUDA_ERROR_INVALID_CONTEXT);
    *id = ctx->id;
    LEAVE(CUDA_SUCCESS);
}

CUresult cuCtxGetStreamPriorityRange(int *least, int *greatest)
{
    ENTER(NEEDS_CONTEXT);
    if (least != NULL)
        *least = 0;
    if (greatest != NULL)
        *greatest = -5;
    LEAVE(CUDA_SUCCESS);
}

CUresult cuCtxEnablePeerAccess(CUcontext ctx, unsigned int flags)
{
    ENTER(NEEDS_CONTEXT);
    (void)flags;
    LEAVE(ctx != NULL && fk_context_ok(ctx) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_CONTEXT);
}

CUresult cuCtxDisablePeerAccess(CUcontext ctx)
{
    ENTER(NEEDS_CONTEXT);
    LEAVE(ctx != NULL && fk_context_ok(ctx) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_CONTEXT);
}

static CUresult synchronize(CUcontext ctx, const char *who)
{
    if (fk_context_captures(ctx)) {
        fk_captures_of_context_spoil(ctx);
        return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    }
    return fk_wait_context(ctx, who);
}

CUresult cuCtxSynchronize(void)
{
    ENTER(NEEDS_CONTEXT | UNSAFE);
    LEAVE(synchronize(fk_current(), __func__));
}

CUresult cuCtxSynchronize_v2(CUcontext ctx)
{
    ENTER(UNSAFE);
    ctx = ctx != NULL ? ctx : fk_current();
    CHECK(ctx != NULL && fk_context_ok(ctx), CUDA_ERROR_INVALID_CONTEXT);
    LEAVE(synchronize(ctx, __func__));
}
