#include "gpu/epoch.h"

#include <sched.h>

#include "gpu/passed.h"
#include "gpu/piece.h"
#include "sys/lock.h"

/* A capture that begins waits no longer for what we have under way in the driver. */
#define GATE_WAIT_NS 1000000000u
#define POLL_NS      50000

struct xs_gpu_epochs xs_gpu_epochs = {.open = 1, .single = true};
XS_UNLIKELY_DATA struct xs_gpu_context xs_gpu_contexts[XS_GPU_CONTEXTS];
static _Atomic unsigned contexts_used; /* no context has, or had, so high an index */

static struct xs_lock lock = {.kind = XS_LOCK_GPU}; /* of contexts, events, `done` */
static uint64_t recorded; /* the last epoch that has its events, in all contexts */
/* While single: what xs_gpu_cache_ordered was in an epoch; once that is done, it is proven. */
static uint64_t ordered, ordered_epoch;
static struct {
    struct xs_lock
        lock; /* held while the legacy stream is waited for: others must wait for the same */
    _Atomic bool is_over;
} leaving = {.lock.kind = XS_LOCK_GPU};
static _Atomic uint32_t under_way; /* calls that a capture must not meet */

void xs_gpu_turn_off(void)
{
    if (xs_gpu_is_child())
        return;
    atomic_store_explicit(&xs_gpu_epochs.mode, XS_GPU_OFF, memory_order_seq_cst);
    atomic_thread_fence(memory_order_seq_cst);
    xs_gpu_cache_slow_down(true);
}

/* Where no error of the driver's tells the program, we do. */
void xs_gpu_turn_off_for(const char *why)
{
    bool is_first = xs_gpu_is_on();

    xs_gpu_turn_off();
    if (is_first && xs_gpu_says_off != NULL)
        xs_gpu_says_off(why);
}

/* ---- captures ---- */

bool xs_gpu_gate_open(void)
{
    /* One of the two sees the other: both are sequentially consistent. */
    atomic_fetch_add_explicit(&under_way, 1, memory_order_seq_cst);
    if (XS_LIKELY(atomic_load_explicit(&xs_gpu_epochs.captures, memory_order_seq_cst) == 0))
        return true;
    xs_gpu_gate_close();
    return false;
}

void xs_gpu_gate_close(void)
{
    atomic_fetch_sub_explicit(&under_way, 1, memory_order_release);
}

void xs_gpu_capture_begun(void)
{
    uint64_t until = 0;

    xs_gpu_used();
    if (xs_gpu_is_child()) /* what was under way never ends here */
        return;
    atomic_fetch_add_explicit(&xs_gpu_epochs.captures, 1, memory_order_seq_cst);
    /* Not for ever: what is under way may wait for a kernel that waits for us. */
    while (atomic_load_explicit(&under_way, memory_order_seq_cst) != 0) {
        if (until == 0)
            until = xs_gpu_now() + GATE_WAIT_NS;
        else if (xs_gpu_now() > until)
            break;
        sched_yield();
    }
}

void xs_gpu_capture_ended(void)
{
    uint32_t n = atomic_load_explicit(&xs_gpu_epochs.captures, memory_order_relaxed);

    while (n != 0 &&
           !atomic_compare_exchange_weak_explicit(&xs_gpu_epochs.captures, &n, n - 1,
                                                  memory_order_seq_cst, memory_order_relaxed))
        ;
}

/* ---- contexts ---- */

static struct xs_gpu_context *find_context(CUcontext handle)
{
    unsigned used = atomic_load_explicit(&contexts_used, memory_order_relaxed);

    if (handle != NULL)
        for (unsigned i = 0; i < used; i++)
            if (atomic_load_explicit(&xs_gpu_contexts[i].handle, memory_order_acquire) == handle)
                return &xs_gpu_contexts[i];
    return NULL;
}

static unsigned live_contexts(void)
{
    unsigned n = 0, used = atomic_load_explicit(&contexts_used, memory_order_relaxed);

    for (unsigned i = 0; i < used; i++)
        n += atomic_load_explicit(&xs_gpu_contexts[i].handle, memory_order_acquire) != NULL;
    return n;
}

/* Under the lock. */
static void publish_done(void)
{
    uint64_t least = UINT64_MAX;
    unsigned used = atomic_load_explicit(&contexts_used, memory_order_relaxed);

    for (unsigned i = 0; i < used; i++) {
        struct xs_gpu_context *c = &xs_gpu_contexts[i];
        if (atomic_load_explicit(&c->handle, memory_order_relaxed) == NULL)
            continue;
        uint64_t done = atomic_load_explicit(&c->done, memory_order_relaxed);
        least = done < least ? done : least;
    }
    if (least != UINT64_MAX)
        atomic_store_explicit(&xs_gpu_epochs.done, least, memory_order_release);
}

static void done_up_to(struct xs_gpu_context *c, uint64_t epoch)
{
    if (atomic_load_explicit(&c->done, memory_order_relaxed) < epoch)
        atomic_store_explicit(&c->done, epoch, memory_order_relaxed);
    publish_done();
}

void xs_gpu_pop(void)
{
    CUcontext popped;

    if (xs_cu.cuCtxPopCurrent_v2(&popped) != CUDA_SUCCESS)
        (void)xs_cu.cuCtxPopCurrent_v2(&popped);
}

static CUresult device_of(CUcontext handle, CUdevice *device)
{
    CUcontext now = NULL;
    CUresult r = xs_cu.cuCtxGetCurrent(&now);

    if (r == CUDA_SUCCESS && now == handle)
        return xs_cu.cuCtxGetDevice(device);
    r = xs_cu.cuCtxPushCurrent_v2(handle);
    if (r != CUDA_SUCCESS)
        return r;
    r = xs_cu.cuCtxGetDevice(device);
    xs_gpu_pop();
    return r;
}

/* Asked when it is first seen: at a reset there may be nobody left to ask. */
static bool may_be_primary(CUcontext handle, CUdevice device)
{
    CUcontext primary = NULL;
    unsigned flags;
    int active;

    if (xs_cu.cuDevicePrimaryCtxGetState(device, &flags, &active) != CUDA_SUCCESS)
        return true;
    if (!active)
        return false;
    if (xs_cu.cuDevicePrimaryCtxRetain(&primary, device) != CUDA_SUCCESS)
        return true;
    xs_cu.cuDevicePrimaryCtxRelease_v2(device);
    return primary == handle;
}

/* Under the lock. */
static struct xs_gpu_context *free_context(void)
{
    for (unsigned i = 0; i < XS_GPU_CONTEXTS; i++) {
        struct xs_gpu_context *c = &xs_gpu_contexts[i];
        c->index = (uint8_t)i;
        if (atomic_load_explicit(&c->handle, memory_order_relaxed) == NULL &&
            atomic_load_explicit(&c->users, memory_order_acquire) == 0)
            return c;
    }
    return NULL;
}

static struct xs_gpu_context *add_context(CUcontext handle, struct xs_gpu_device *device,
                                          bool is_primary)
{
    struct xs_gpu_context *c;

    xs_lock_take(&lock);
    c = find_context(handle); /* by another thread, meanwhile */
    if (c == NULL && (c = free_context()) != NULL) {
        uint64_t open = atomic_load_explicit(&xs_gpu_epochs.open, memory_order_seq_cst);
        c->device = device;
        c->is_primary = is_primary;
        c->pending_count = c->spare_count = 0;
        atomic_fetch_add_explicit(&c->generation, 1, memory_order_relaxed);
        atomic_store_explicit(&c->done, open - 1, memory_order_relaxed);
        if (c->index >= atomic_load_explicit(&contexts_used, memory_order_relaxed))
            atomic_store_explicit(&contexts_used, c->index + 1u, memory_order_relaxed);
        atomic_store_explicit(&c->handle, handle, memory_order_release);
        publish_done();
    }
    xs_lock_give(&lock);
    return c;
}

struct xs_gpu_context *xs_gpu_context_of(CUcontext handle)
{
    struct xs_gpu_context *c = find_context(handle);
    struct xs_gpu_device *device;
    CUdevice number;

    if (c != NULL || handle == NULL || !xs_gpu_is_on())
        return c;
    xs_gpu_used();
    if (device_of(handle, &number) != CUDA_SUCCESS)
        return NULL;
    device = number >= 0 ? xs_gpu_device((unsigned)number) : NULL;
    /* Before it is counted: until then no second one is. */
    if (live_contexts() != 0)
        xs_gpu_leave_single();
    c = device != NULL ? add_context(handle, device, may_be_primary(handle, number)) : NULL;
    if (c == NULL)
        xs_gpu_turn_off_for(device != NULL
                                ? "too many CUDA contexts at once"
                                : "too many devices"); /* its work could not be waited for */
    else if (live_contexts() > 1)
        xs_gpu_leave_single(); /* two at once */
    return c;
}

bool xs_gpu_context_hold(struct xs_gpu_context *c, uint32_t generation)
{
    /* Before the look at the handle, as xs_gpu_context_gone clears it before it looks for users. */
    atomic_fetch_add_explicit(&c->users, 1, memory_order_seq_cst);
    if (atomic_load_explicit(&c->handle, memory_order_seq_cst) != NULL &&
        atomic_load_explicit(&c->generation, memory_order_relaxed) == generation)
        return true;
    xs_gpu_context_let_go(c);
    return false;
}

void xs_gpu_context_let_go(struct xs_gpu_context *c)
{
    xs_gpu_context_let_go_of(c, 1);
}

void xs_gpu_context_hold_more(struct xs_gpu_context *c, unsigned n)
{
    atomic_fetch_add_explicit(&c->users, n, memory_order_relaxed);
}

void xs_gpu_context_let_go_of(struct xs_gpu_context *c, unsigned n)
{
    atomic_fetch_sub_explicit(&c->users, n, memory_order_release);
}

CUresult xs_gpu_context_enter(struct xs_gpu_context *c, bool *pushed)
{
    CUcontext handle = atomic_load_explicit(&c->handle, memory_order_relaxed), now = NULL;
    CUresult r = xs_cu.cuCtxGetCurrent(&now);

    *pushed = false;
    if (r != CUDA_SUCCESS || now == handle)
        return r;
    if (handle == NULL) /* it is being destroyed, and waits for us */
        return CUDA_ERROR_CONTEXT_IS_DESTROYED;
    r = xs_cu.cuCtxPushCurrent_v2(handle);
    *pushed = r == CUDA_SUCCESS;
    return r;
}

void xs_gpu_context_leave(bool pushed)
{

    if (pushed)
        xs_gpu_pop();
}

void xs_gpu_after_context(CUcontext handle)
{
    (void)xs_gpu_context_of(handle);
}

/* What was cached of it goes with it, whether we are switched off or not. */
static void forget(struct xs_gpu_context *c)
{
    /* Its work may be on other contexts' memory, and goes on until the real call has waited. */
    if (live_contexts() > 1 && xs_gpu_is_on() &&
        xs_gpu_context_wait(c, atomic_load(&c->generation)) == CUDA_ERROR_NOT_PERMITTED)
        xs_gpu_turn_off();
    xs_gpu_streams_go();
    xs_lock_take(&lock);
    atomic_store_explicit(&c->handle, NULL, memory_order_seq_cst);
    c->pending_count = c->spare_count = 0; /* the events go with it */
    xs_gpu_streams_forget(c);
    publish_done();
    xs_lock_give(&lock);
    while (atomic_load_explicit(&c->users, memory_order_seq_cst) != 0)
        sched_yield();
    xs_gpu_pieces_forget(c);
    xs_gpu_cache_forget(c);
    xs_gpu_passed_forget(c);
}

void xs_gpu_context_gone(CUcontext handle)
{
    struct xs_gpu_context *c = find_context(handle);

    if (c != NULL && !xs_gpu_is_child())
        forget(c);
}

void xs_gpu_device_reset(CUdevice device)
{
    for (unsigned i = 0; i < XS_GPU_CONTEXTS && !xs_gpu_is_child(); i++) {
        struct xs_gpu_context *c = &xs_gpu_contexts[i];
        if (atomic_load_explicit(&c->handle, memory_order_acquire) != NULL && c->is_primary &&
            c->device->number == (unsigned)device)
            forget(c);
    }
}

/* ---- epochs ---- */

void xs_gpu_epoch_lock(void)
{
    xs_lock_take(&lock);
}

void xs_gpu_epoch_unlock(void)
{
    xs_lock_give(&lock);
}

/* Under the lock: what has completed since. False: an event failed. */
static bool query(struct xs_gpu_context *c)
{
    uint64_t done = 0;
    unsigned n = 0;
    CUresult r = CUDA_SUCCESS;

    while (n < c->pending_count && (r = xs_gpu_query(c, &c->pending[n])) == CUDA_SUCCESS) {
        const struct xs_gpu_proof *p = &c->pending[n++];
        if (p->event != NULL)
            c->spare[c->spare_count++] = p->event;
        if (p->is_last)
            done = p->epoch;
    }
    if (n != 0) {
        for (unsigned i = n; i < c->pending_count; i++)
            c->pending[i - n] = c->pending[i];
        c->pending_count -= n;
        done_up_to(c, done);
    }
    return r == CUDA_SUCCESS || r == CUDA_ERROR_NOT_READY;
}

/* Under the lock. Closes the open epoch, if all contexts can have their events. */
static bool close_epoch(uint64_t *events)
{
    bool all = true;
    uint64_t e = atomic_fetch_add_explicit(&xs_gpu_epochs.open, 1, memory_order_seq_cst);

    for (unsigned i = 0; i < XS_GPU_CONTEXTS; i++) {
        struct xs_gpu_context *c = &xs_gpu_contexts[i];
        CUcontext handle = atomic_load_explicit(&c->handle, memory_order_relaxed);
        if (handle == NULL)
            continue;
        CUresult r = xs_gpu_record(c, handle, e, events);
        if (r != CUDA_SUCCESS && r != CUDA_ERROR_NOT_READY)
            return false;
        all &= r == CUDA_SUCCESS;
    }
    if (all)
        recorded = e;
    return true;
}

static bool query_all(void)
{
    for (unsigned i = 0; i < XS_GPU_CONTEXTS; i++)
        if (xs_gpu_contexts[i].pending_count != 0 && !query(&xs_gpu_contexts[i]))
            return false;
    return true;
}

/* With one stream in use it is enough that this has nothing to do. The only look at `single` comes
 * after the increment, so that a test sees it missing. */
static bool query_single(void)
{
    struct xs_gpu_proof legacy = {.event = NULL};
    uint64_t e = atomic_fetch_add_explicit(&xs_gpu_epochs.open, 1, memory_order_seq_cst);
    CUresult r = CUDA_SUCCESS;

    /* After the increment: whoever used another stream before a free of this epoch had ended it. */
    if (!atomic_load_explicit(&xs_gpu_epochs.single, memory_order_seq_cst))
        return true;
    for (unsigned i = 0; i < XS_GPU_CONTEXTS; i++) {
        struct xs_gpu_context *c = &xs_gpu_contexts[i];
        if (atomic_load_explicit(&c->handle, memory_order_relaxed) == NULL)
            continue;
        r = xs_gpu_query(c, &legacy);
        if (r == CUDA_SUCCESS)
            done_up_to(c, e);
    }
    return r == CUDA_SUCCESS || r == CUDA_ERROR_NOT_READY;
}

bool xs_gpu_prove(uint64_t stamp, uint64_t youngest, uint64_t *events)
{
    bool ok = true;

    if (xs_gpu_done() >= stamp)
        return true;
    if (!xs_gpu_is_on() || !xs_gpu_gate_open())
        return false;
    if (xs_lock_try(&lock)) {
        ok = query_all();
        if (ok && xs_gpu_done() < stamp)
            ok = query_single();
        if (ok && xs_gpu_done() < stamp && youngest > recorded)
            ok = close_epoch(events) && query_all();
        xs_lock_give(&lock);
    }
    xs_gpu_gate_close();
    if (!ok)
        xs_gpu_turn_off();
    return xs_gpu_done() >= stamp;
}

bool xs_gpu_prove_within(uint64_t stamp, uint64_t ns, uint64_t *events)
{
    uint64_t start = xs_gpu_now();

    while (!xs_gpu_prove(stamp, stamp, events)) {
        if (!xs_gpu_is_on() || xs_gpu_is_capturing() || xs_gpu_now() - start >= ns)
            return false;
        xs_pause_ns(POLL_NS);
    }
    return true;
}

/* ---- waits ---- */

static void note_ordered(void)
{
    uint64_t now = xs_gpu_cache_ordered();

    xs_lock_take(&lock);
    ordered = now;
    ordered_epoch = atomic_load_explicit(&xs_gpu_epochs.open, memory_order_seq_cst);
    xs_lock_give(&lock);
}

/* The youngest stamp of what was reused without proof; 0: nothing. */
static uint64_t unproven(void)
{
    uint64_t cached = xs_gpu_cache_unproven(), pieces = xs_gpu_pieces_unproven();
    uint64_t now = xs_gpu_cache_ordered(), youngest = pieces > cached ? pieces : cached;

    xs_lock_take(&lock);
    if (now != (xs_gpu_done() >= ordered_epoch ? ordered : 0))
        youngest = atomic_load_explicit(&xs_gpu_epochs.open, memory_order_seq_cst);
    xs_lock_give(&lock);
    return youngest;
}

/* What it did may be on its way to the eyes of the CPU until then. */
static void is_given(uint32_t what)
{
    uint32_t lacks = ~atomic_load_explicit(&xs_gpu_epochs.given, memory_order_relaxed) & what;

    if (XS_LIKELY(lacks == 0) || !xs_gpu_is_single() || !xs_gpu_is_on())
        return;
    atomic_fetch_or_explicit(&xs_gpu_epochs.given, what, memory_order_relaxed);
    xs_gpu_given_changed();
}

void xs_gpu_after_launch(void)
{
    is_given(XS_GPU_GIVEN_KERNEL);
}

void xs_gpu_after_copy(void)
{
    is_given(XS_GPU_GIVEN_COPY);
}

void xs_gpu_after_host_call(void)
{
    is_given(XS_GPU_GIVEN_CALL);
}

void xs_gpu_after_register(void)
{
    xs_gpu_used();
    atomic_store_explicit(&xs_gpu_epochs.registered, true, memory_order_relaxed);
    xs_gpu_given_changed();
}

uint64_t xs_gpu_before_sync(void)
{
    xs_gpu_used();
    if (atomic_load_explicit(&xs_gpu_epochs.given, memory_order_relaxed) != 0) {
        atomic_store_explicit(&xs_gpu_epochs.given, 0, memory_order_relaxed);
        xs_gpu_given_changed();
    }
    if (xs_gpu_is_single() && xs_gpu_is_on())
        note_ordered();
    return atomic_fetch_add_explicit(&xs_gpu_epochs.open, 1, memory_order_seq_cst);
}

void xs_gpu_after_sync(CUcontext handle, uint64_t e)
{
    struct xs_gpu_context *c;

    if (!xs_gpu_is_on())
        return;
    xs_lock_take(&lock);
    c = find_context(handle);
    if (c != NULL)
        done_up_to(c, e);
    xs_lock_give(&lock);
}

void xs_gpu_sync_failed(void)
{
    is_given(XS_GPU_GIVEN_KERNEL | XS_GPU_GIVEN_COPY | XS_GPU_GIVEN_CALL);
}

static CUresult wait_held(struct xs_gpu_context *c)
{
    bool pushed;
    CUresult r = xs_gpu_context_enter(c, &pushed);

    if (r != CUDA_SUCCESS)
        return r;
    uint64_t e = xs_gpu_before_sync();
    r = xs_cu.cuCtxSynchronize();
    if (r == CUDA_SUCCESS)
        xs_gpu_after_sync(atomic_load_explicit(&c->handle, memory_order_relaxed), e);
    else
        xs_gpu_sync_failed();
    xs_gpu_context_leave(pushed);
    return r;
}

CUresult xs_gpu_context_wait(struct xs_gpu_context *c, uint32_t generation)
{
    CUresult r = CUDA_ERROR_CONTEXT_IS_DESTROYED;

    if (!xs_gpu_gate_open())
        return CUDA_ERROR_NOT_PERMITTED;
    if (xs_gpu_context_hold(c, generation)) {
        r = wait_held(c);
        xs_gpu_context_let_go(c);
    }
    xs_gpu_gate_close();
    return r;
}

/* ---- the end of the single stream ---- */

void xs_gpu_wait_all(void)
{
    for (unsigned i = 0; i < XS_GPU_CONTEXTS && xs_gpu_is_on(); i++) {
        struct xs_gpu_context *c = &xs_gpu_contexts[i];
        if (atomic_load_explicit(&c->handle, memory_order_acquire) == NULL)
            continue;
        CUresult r = CUDA_ERROR_UNKNOWN;
        /* An error that passes must not let the caller go on too early: being off helps nothing
         * where the block is the program's already. */
        for (unsigned tries = 0; tries < 3 && r != CUDA_SUCCESS && r != CUDA_ERROR_NOT_PERMITTED;
             tries++)
            r = xs_gpu_context_wait(c, atomic_load(&c->generation));
        if (r != CUDA_SUCCESS && r != CUDA_ERROR_NOT_PERMITTED)
            xs_gpu_turn_off();
    }
}

void xs_gpu_leave_single(void)
{
    xs_gpu_used();
    if (atomic_load_explicit(&leaving.is_over, memory_order_acquire))
        return;
    xs_lock_take(&leaving.lock);
    if (!atomic_load_explicit(&leaving.is_over, memory_order_relaxed)) {
        atomic_store_explicit(&xs_gpu_epochs.single, false, memory_order_seq_cst);
        atomic_thread_fence(memory_order_seq_cst); /* pairs with a new shard's */
        xs_gpu_cache_slow_down(false);
        uint64_t stamp = unproven();
        if (stamp > xs_gpu_done() && xs_gpu_is_on())
            xs_gpu_wait_all();
        atomic_store_explicit(&leaving.is_over, true, memory_order_release);
    }
    xs_lock_give(&leaving.lock);
}

void xs_gpu_before_overlap(void)
{
    if (!xs_gpu_is_child())
        xs_gpu_leave_single();
}

void xs_gpu_fork_child(void)
{
    /* Who was the first to use CUDA here may yet be the child, as a worker that was forked for it.
     */
    if (atomic_load_explicit(&xs_gpu_epochs.is_used, memory_order_seq_cst)) {
        /* Locks may be held by threads that are not here; the one that is forgets its shard. */
        xs_gpu_shard_mine = &xs_gpu_shard_none;
        atomic_store_explicit(&xs_gpu_epochs.mode, XS_GPU_CHILD, memory_order_relaxed);
        xs_gpu_devices_forget();
    }
    xs_cu_forked();
    if (xs_cu_shim_forked != NULL)
        xs_cu_shim_forked();
}
