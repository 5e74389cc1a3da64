/* The fake driver itself: what the GPU tests rest on must fail when it should. */
#include <criterion/criterion.h>
#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fake.h"

#define OK(call)          cr_assert_eq((call), CUDA_SUCCESS, "%s", #call)
#define GIVES(code, call) cr_assert_eq((call), (code), "%s", #call)
#define P(d)              ((void *)(uintptr_t)(d))

static CUcontext ctx;

static void start(void)
{
    fake_on_violation(FAKE_COUNT);
    OK(cuInit(0));
    OK(cuDevicePrimaryCtxRetain(&ctx, 0));
    OK(cuCtxSetCurrent(ctx));
}

static CUstream stream(unsigned flags)
{
    CUstream s;
    OK(cuStreamCreate(&s, flags));
    return s;
}

static CUevent event(void)
{
    CUevent e;
    OK(cuEventCreate(&e, CU_EVENT_DISABLE_TIMING));
    return e;
}

static CUdeviceptr block(size_t bytes)
{
    CUdeviceptr p;
    OK(cuMemAlloc_v2(&p, bytes));
    return p;
}

TestSuite(cuda_fake, .init = start, .timeout = 20);
TestSuite(cuda_fake_unstarted, .timeout = 20);

/* ---- order ---- */

Test(cuda_fake, nothing_completes_by_itself)
{
    CUstream s = stream(0);
    CUdeviceptr p = block(4096);
    OK(fake_touch(s, P(p), 4096));
    OK(fake_touch(s, P(p), 4096));
    GIVES(CUDA_ERROR_NOT_READY, cuStreamQuery(s));
    GIVES(CUDA_ERROR_NOT_READY, cuStreamQuery(s));
    cr_assert_eq(fake_advance(s, 1), 1);
    cr_assert_eq(fake_pending(s), 1);
    GIVES(CUDA_ERROR_NOT_READY, cuStreamQuery(s));
    cr_assert_eq(fake_advance(FAKE_ALL, 9), 1);
    OK(cuStreamQuery(s));
}

Test(cuda_fake, an_event_orders_two_streams)
{
    CUstream a = stream(CU_STREAM_NON_BLOCKING), b = stream(CU_STREAM_NON_BLOCKING);
    CUevent e = event();
    CUdeviceptr p = block(4096);
    OK(cuEventQuery(e)); /* never recorded */
    OK(fake_touch(a, P(p), 4096));
    OK(cuEventRecord(e, a));
    OK(fake_touch(a, P(p), 4096));
    OK(cuStreamWaitEvent(b, e, 0));
    OK(fake_touch(b, P(p), 4096));
    cr_assert_eq(fake_advance(b, 1), 0);
    GIVES(CUDA_ERROR_NOT_READY, cuEventQuery(e));
    cr_assert_eq(fake_advance(a, 1), 1);
    OK(cuEventQuery(e));
    cr_assert_eq(fake_advance(b, 1), 1);
    cr_assert_eq(fake_pending(a), 1);
}

Test(cuda_fake, a_wait_completes_no_more_than_it_must)
{
    CUstream a = stream(CU_STREAM_NON_BLOCKING), b = stream(CU_STREAM_NON_BLOCKING);
    CUevent e = event();
    CUdeviceptr p = block(4096);
    OK(fake_touch(a, P(p), 8));
    OK(cuEventRecord(e, a));
    OK(fake_touch(a, P(p), 8));
    OK(cuStreamWaitEvent(b, e, 0));
    OK(fake_touch(b, P(p), 8));
    OK(cuStreamSynchronize(b));
    cr_assert_eq(fake_pending(b), 0);
    cr_assert_eq(fake_pending(a), 1);
    OK(cuCtxSynchronize());
    cr_assert_eq(fake_pending(FAKE_ALL), 0);
}

Test(cuda_fake, the_legacy_stream_and_blocking_streams_take_turns)
{
    CUstream blocking = stream(0), free_running = stream(CU_STREAM_NON_BLOCKING);
    CUdeviceptr p = block(4096);
    OK(fake_touch(blocking, P(p), 8));
    OK(fake_touch(NULL, P(p), 8));
    OK(fake_touch(blocking, P(p), 8));
    OK(fake_touch(free_running, P(p), 8));
    cr_assert_eq(fake_advance(NULL, 1), 0);
    cr_assert_eq(fake_advance(blocking, 9), 1);
    cr_assert_eq(fake_advance(free_running, 1), 1);
    cr_assert_eq(fake_advance(NULL, 1), 1);
    cr_assert_eq(fake_advance(blocking, 9), 1);
}

static void *touch_own_stream(void *p)
{
    OK(cuCtxSetCurrent(ctx));
    OK(cuStreamQuery_ptsz(NULL)); /* nobody else's */
    size_t bytes = 8;
    CUdeviceptr at = (CUdeviceptr)(uintptr_t)p;
    void *params[] = {&at, &bytes};
    OK(cuLaunchKernel_ptsz((CUfunction)(void *)&fake_touch_kernel, 1, 1, 1, 1, 1, 1, 0, NULL,
                           params, NULL));
    GIVES(CUDA_ERROR_NOT_READY, cuStreamQuery_ptsz(NULL));
    GIVES(CUDA_ERROR_NOT_READY, cuStreamQuery(CU_STREAM_PER_THREAD));
    OK(cuStreamQuery(NULL)); /* the legacy stream has had nothing */
    return NULL;
}

Test(cuda_fake, each_thread_has_its_own_default_stream)
{
    CUdeviceptr p = block(4096);
    pthread_t t;
    OK(fake_touch(CU_STREAM_PER_THREAD, P(p), 8));
    cr_assert_eq(pthread_create(&t, NULL, touch_own_stream, P(p)), 0);
    pthread_join(t, NULL);
    cr_assert_eq(fake_pending(CU_STREAM_PER_THREAD), 1);
    OK(fake_touch(NULL, P(p), 8));
    cr_assert_eq(fake_advance(NULL, 1), 0, "per-thread streams are blocking streams");
}

Test(cuda_fake, default_streams_end_with_their_threads)
{
    CUdeviceptr p = block(4096);
    for (int i = 0; i < 600; i++) { /* more than there can be at once */
        pthread_t t;
        cr_assert_eq(pthread_create(&t, NULL, touch_own_stream, P(p)), 0);
        pthread_join(t, NULL);
        cr_assert_eq(fake_pending(FAKE_ALL), 1);
        OK(cuCtxSynchronize());
        cr_assert_eq(fake_pending(FAKE_ALL), 0);
    }
}

static void count(void *n)
{
    ++*(int *)n;
    int devices;
    OK(cuDeviceGetCount(&devices)); /* the lock is free */
}

Test(cuda_fake, host_functions_take_their_turn)
{
    CUstream s = stream(0);
    int n = 0;
    OK(fake_touch(s, P(block(8)), 8));
    OK(cuLaunchHostFunc(s, count, &n));
    fake_advance(s, 1);
    cr_assert_eq(n, 0);
    fake_advance(s, 1);
    cr_assert_eq(n, 1);
}

Test(cuda_fake, a_wait_without_end_is_a_violation)
{
    CUstream a = stream(CU_STREAM_NON_BLOCKING), b = stream(CU_STREAM_NON_BLOCKING);
    fake_hold(a);
    OK(fake_touch(b, P(block(8)), 8));
    OK(cuStreamSynchronize(b));
    cr_assert_eq(fake_violations(), 0);
    cr_assert_neq(cuStreamSynchronize(a), CUDA_SUCCESS);
    cr_assert_eq(fake_violations(), 1);
    fake_release(a);
    OK(cuStreamSynchronize(a));
}

/* ---- the oracle ---- */

/* A block with pending work in stream a, given to its next life. */
static CUdeviceptr reused(CUstream a)
{
    CUdeviceptr p = block(4096);
    fake_life_begin(P(p), 4096);
    OK(fake_touch(a, P(p), 4096));
    fake_life_end(P(p));
    fake_life_begin(P(p), 1024);
    return p;
}

Test(cuda_fake, reuse_in_another_stream_is_caught)
{
    CUstream a = stream(CU_STREAM_NON_BLOCKING), b = stream(CU_STREAM_NON_BLOCKING);
    CUdeviceptr p = reused(a);
    cr_assert_eq(fake_violations(), 0);
    OK(fake_touch(b, P(p + 512), 8));
    cr_assert_eq(fake_violations(), 1);
    cr_assert(strstr(fake_last_violation(), "earlier life") != NULL);
}

Test(cuda_fake, a_violation_aborts_if_not_told_otherwise, .signal = SIGABRT)
{
    CUstream a = stream(CU_STREAM_NON_BLOCKING), b = stream(CU_STREAM_NON_BLOCKING);
    CUdeviceptr p = reused(a);
    fake_on_violation(FAKE_ABORT);
    fake_touch(b, P(p), 8);
}

Test(cuda_fake, reuse_in_the_same_stream_is_fine)
{
    CUstream a = stream(CU_STREAM_NON_BLOCKING);
    CUdeviceptr p = reused(a);
    OK(fake_touch(a, P(p), 8));
    cr_assert_eq(fake_violations(), 0);
}

Test(cuda_fake, reuse_after_an_event_is_fine_and_without_the_wait_is_not)
{
    CUstream a = stream(CU_STREAM_NON_BLOCKING), b = stream(CU_STREAM_NON_BLOCKING);
    CUstream c = stream(CU_STREAM_NON_BLOCKING);
    CUevent early = event(), late = event();
    OK(cuEventRecord(early, a));
    CUdeviceptr p = reused(a);
    OK(cuEventRecord(late, a));
    OK(cuStreamWaitEvent(b, late, 0));
    OK(fake_touch(b, P(p), 8));
    cr_assert_eq(fake_violations(), 0);
    OK(cuStreamWaitEvent(c, early, 0));
    OK(fake_touch(c, P(p), 8));
    cr_assert_eq(fake_violations(), 1);
}

Test(cuda_fake, an_event_of_the_context_covers_all_streams)
{
    CUstream a = stream(CU_STREAM_NON_BLOCKING), b = stream(CU_STREAM_NON_BLOCKING);
    CUevent e = event();
    CUdeviceptr p = reused(a);
    OK(cuStreamDestroy_v2(a)); /* its work goes on */
    OK(cuCtxRecordEvent(ctx, e));
    GIVES(CUDA_ERROR_NOT_READY, cuEventQuery(e));
    OK(cuStreamWaitEvent(b, e, 0));
    OK(fake_touch(b, P(p), 8));
    cr_assert_eq(fake_violations(), 0);
    fake_advance(FAKE_ALL, 9);
    OK(cuEventQuery(e));
}

Test(cuda_fake, reuse_after_completion_is_fine)
{
    CUstream a = stream(CU_STREAM_NON_BLOCKING), b = stream(CU_STREAM_NON_BLOCKING);
    CUdeviceptr p = reused(a);
    OK(cuStreamSynchronize(a));
    OK(fake_touch(b, P(p), 8));
    cr_assert_eq(fake_violations(), 0);
}

Test(cuda_fake, the_legacy_stream_orders_blocking_streams_only)
{
    CUstream blocking = stream(0), loose = stream(CU_STREAM_NON_BLOCKING);
    CUdeviceptr p = reused(blocking);
    OK(fake_touch(NULL, P(p), 8));
    cr_assert_eq(fake_violations(), 0);
    p = reused(loose);
    OK(fake_touch(NULL, P(p), 8));
    cr_assert_eq(fake_violations(), 1);
    CUstream gone = stream(0);
    p = reused(gone);
    OK(cuStreamDestroy_v2(gone));
    OK(fake_touch(NULL, P(p), 8));
    cr_assert_eq(fake_violations(), 1);
    p = reused(NULL);
    OK(fake_touch(blocking, P(p), 8));
    cr_assert_eq(fake_violations(), 1);
}

Test(cuda_fake, copies_and_memsets_are_work_too)
{
    CUstream a = stream(CU_STREAM_NON_BLOCKING), b = stream(CU_STREAM_NON_BLOCKING);
    CUdeviceptr p = block(4096), q = block(4096);
    fake_life_begin(P(p), 4096);
    OK(cuMemsetD8Async(p, 1, 4096, a));
    fake_life_end(P(p));
    fake_life_begin(P(p), 4096);
    OK(cuMemcpyDtoDAsync_v2(q, p, 16, b)); /* reads it */
    cr_assert_eq(fake_violations(), 1);
}

Test(cuda_fake, what_the_cpu_sees_must_be_idle_when_it_is_handed_out)
{
    CUstream a = stream(CU_STREAM_NON_BLOCKING);
    void *p;
    OK(cuMemHostAlloc(&p, 4096, 0));
    fake_life_begin(p, 4096);
    OK(fake_touch(a, p, 4096));
    fake_life_end(p);
    fake_life_begin(p, 4096);
    cr_assert_eq(fake_violations(), 1);
    fake_life_end(p);
    fake_advance(FAKE_ALL, 9);
    fake_life_begin(p, 4096);
    cr_assert_eq(fake_violations(), 1);
}

Test(cuda_fake, memory_is_handed_out_once_and_only_the_drivers)
{
    CUdeviceptr p = block(4096);
    fake_life_begin(P(p), 2048);
    fake_life_begin(P(p + 2048), 2048);
    cr_assert_eq(fake_violations(), 0);
    fake_life_begin(P(p + 1024), 16);
    cr_assert_eq(fake_violations(), 1);
    fake_life_begin(P(p + 8192), 16);
    cr_assert_eq(fake_violations(), 2);
    OK(cuMemFree_v2(p)); /* two lives are on it */
    cr_assert_eq(fake_violations(), 3);
}

Test(cuda_fake, a_free_to_the_driver_waits_or_is_checked)
{
    CUstream a = stream(CU_STREAM_NON_BLOCKING);
    CUdeviceptr p = block(4096), q = block(4096);
    OK(fake_touch(a, P(p), 8));
    OK(cuMemFree_v2(p));
    cr_assert_eq(fake_pending(a), 0);
    fake_set_free(FAKE_FREE_CHECKS);
    OK(fake_touch(a, P(q), 8));
    OK(cuMemFree_v2(q));
    cr_assert_eq(fake_pending(a), 1);
    cr_assert_eq(fake_violations(), 1);
}

/* Threads that order each reuse, in one of the ways there are, while time passes. */
static uint64_t draw(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return *seed >> 33;
}

static void *order_each_reuse(void *seed_of_thread)
{
    enum { BYTES = 512, STEPS = 1500 };
    uint64_t seed = (uint64_t)(uintptr_t)seed_of_thread, time = seed;
    OK(cuCtxSetCurrent(ctx));
    CUstream a = stream(CU_STREAM_NON_BLOCKING), b = stream(CU_STREAM_NON_BLOCKING);
    CUevent e = event();
    CUdeviceptr p = block(BYTES);
    for (int i = 0; i < STEPS; i++) {
        fake_life_begin(P(p), BYTES);
        for (uint64_t n = draw(&seed) % 3; n > 0; n--)
            OK(fake_touch(a, P(p), BYTES));
        fake_life_end(P(p));
        switch (draw(&seed) % 5) {
        case 0:
            break; /* the next life stays in this stream */
        case 1:
            OK(cuEventRecord(e, a));
            OK(cuStreamWaitEvent(b, e, 0));
            break;
        case 2:
            OK(cuCtxRecordEvent(ctx, e));
            OK(cuStreamWaitEvent(b, e, 0));
            break;
        case 3:
            OK(cuStreamSynchronize(a));
            break;
        case 4:
            OK(cuMemFree_v2(p));
            p = block(BYTES);
        }
        CUstream next = draw(&seed) % 2 ? a : b;
        if (next == b) { /* in case 0 nothing orders it yet */
            OK(cuEventRecord(e, a));
            OK(cuStreamWaitEvent(b, e, 0));
        }
        b = next == b ? a : b;
        a = next;
        fake_advance_random(&time, (unsigned)(draw(&seed) % 4));
    }
    return NULL;
}

Test(cuda_fake, ordered_reuse_is_fine_in_many_threads)
{
    pthread_t t[4];
    for (uintptr_t i = 0; i < 4; i++)
        cr_assert_eq(pthread_create(&t[i], NULL, order_each_reuse, (void *)(i + 1)), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(t[i], NULL);
    cr_assert_eq(fake_violations(), 0);
    OK(cuCtxSynchronize());
    cr_assert_eq(fake_pending(FAKE_ALL), 0);
}

/* ---- captures ---- */

static CUstreamCaptureStatus status_of(CUstream s)
{
    CUstreamCaptureStatus status;
    OK(cuStreamIsCapturing(s, &status));
    return status;
}

Test(cuda_fake, a_graph_is_work_when_it_is_launched)
{
    CUstream a = stream(CU_STREAM_NON_BLOCKING), b = stream(CU_STREAM_NON_BLOCKING);
    CUstream fork = stream(CU_STREAM_NON_BLOCKING);
    CUdeviceptr p = block(4096);
    CUevent e = event();
    CUgraph g;
    CUgraphExec exec;
    OK(cuStreamBeginCapture_v2(a, CU_STREAM_CAPTURE_MODE_GLOBAL));
    OK(fake_touch(a, P(p), 8));
    OK(cuEventRecord(e, a));
    GIVES(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, cuEventQuery(event()));
    cr_assert_eq(status_of(a), CU_STREAM_CAPTURE_STATUS_INVALIDATED);
    GIVES(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED, fake_touch(a, P(p), 8));
    GIVES(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED, cuStreamEndCapture(a, &g));

    OK(cuStreamBeginCapture_v2(a, CU_STREAM_CAPTURE_MODE_GLOBAL));
    OK(fake_touch(a, P(p), 8));
    OK(cuEventRecord(e, a));
    OK(cuStreamWaitEvent(fork, e, 0));
    cr_assert_eq(status_of(fork), CU_STREAM_CAPTURE_STATUS_ACTIVE);
    OK(fake_touch(fork, P(p), 8));
    cr_assert_eq(fake_pending(FAKE_ALL), 0);
    OK(cuStreamEndCapture(a, &g));
    cr_assert_eq(status_of(fork), CU_STREAM_CAPTURE_STATUS_NONE);
    OK(cuGraphInstantiateWithFlags(&exec, g, 0));
    OK(cuGraphDestroy(g));
    OK(cuGraphLaunch(exec, b));
    cr_assert_eq(fake_pending(b), 2);
    GIVES(CUDA_ERROR_CAPTURED_EVENT, cuEventQuery(e));
}

static void *alloc_elsewhere(void *result)
{
    CUdeviceptr p;
    OK(cuCtxSetCurrent(ctx));
    *(CUresult *)result = cuMemAlloc_v2(&p, 64);
    return NULL;
}

static CUresult in_another_thread(void)
{
    pthread_t t;
    CUresult r;
    cr_assert_eq(pthread_create(&t, NULL, alloc_elsewhere, &r), 0);
    pthread_join(t, NULL);
    return r;
}

Test(cuda_fake, an_allocation_spoils_a_capture_by_its_mode)
{
    CUstream s = stream(CU_STREAM_NON_BLOCKING);
    CUdeviceptr p;
    CUgraph g;
    OK(cuStreamBeginCapture_v2(s, CU_STREAM_CAPTURE_MODE_GLOBAL));
    GIVES(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, in_another_thread());
    GIVES(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED, cuStreamEndCapture(s, &g));
    OK(cuStreamBeginCapture_v2(s, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL));
    OK(in_another_thread());
    cr_assert_eq(status_of(s), CU_STREAM_CAPTURE_STATUS_ACTIVE);
    GIVES(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, cuMemAlloc_v2(&p, 64));
    GIVES(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED, cuStreamEndCapture(s, &g));
    OK(cuStreamBeginCapture_v2(s, CU_STREAM_CAPTURE_MODE_RELAXED));
    OK(cuMemAlloc_v2(&p, 64));
    OK(cuStreamEndCapture(s, &g));
    CUstreamCaptureMode mode = CU_STREAM_CAPTURE_MODE_RELAXED;
    OK(cuThreadExchangeStreamCaptureMode(&mode));
    cr_assert_eq(mode, CU_STREAM_CAPTURE_MODE_GLOBAL);
    OK(cuStreamBeginCapture_v2(s, CU_STREAM_CAPTURE_MODE_GLOBAL));
    OK(cuMemFree_v2(p));
    OK(cuStreamEndCapture(s, &g));
}

Test(cuda_fake, the_legacy_stream_and_context_events_spoil_captures)
{
    CUstream s = stream(0), loose = stream(CU_STREAM_NON_BLOCKING);
    CUdeviceptr p = block(64);
    CUevent e = event();
    CUgraph g;
    OK(cuStreamBeginCapture_v2(s, CU_STREAM_CAPTURE_MODE_RELAXED));
    GIVES(CUDA_ERROR_STREAM_CAPTURE_IMPLICIT, fake_touch(NULL, P(p), 8));
    GIVES(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED, cuStreamEndCapture(s, &g));
    OK(cuStreamBeginCapture_v2(loose, CU_STREAM_CAPTURE_MODE_RELAXED));
    OK(fake_touch(NULL, P(p), 8));
    OK(fake_touch(loose, P(p), 8));
    GIVES(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, cuCtxRecordEvent(ctx, e));
    GIVES(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED, cuStreamEndCapture(loose, &g));
    GIVES(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED,
          cuStreamBeginCapture_v2(NULL, CU_STREAM_CAPTURE_MODE_RELAXED));
}

/* ---- memory ---- */

Test(cuda_fake_unstarted, memory_has_a_limit_to_the_byte)
{
    fake_set_devices(1, 1 << 20);
    start();
    CUdeviceptr p = block((1 << 20) - 512), q;
    GIVES(CUDA_ERROR_OUT_OF_MEMORY, cuMemAlloc_v2(&q, 513));
    OK(cuMemAlloc_v2(&q, 1)); /* accounted as 512 */
    cr_assert_eq(fake_used(0), 1 << 20);
    size_t free_bytes, total;
    OK(cuMemGetInfo_v2(&free_bytes, &total));
    cr_assert_eq(free_bytes, 0);
    cr_assert_eq(total, 1 << 20);
    OK(cuMemFree_v2(q));
    OK(cuMemFree_v2(p));
    GIVES(CUDA_ERROR_INVALID_VALUE, cuMemFree_v2(p));
    cr_assert_eq(fake_used(0), 0);
    p = block(4096);
    GIVES(CUDA_ERROR_INVALID_VALUE, cuMemFree_v2(p + 512));
    GIVES(CUDA_ERROR_INVALID_VALUE, cuMemAlloc_v2(&q, 0));
}

Test(cuda_fake, the_cpu_cannot_touch_device_memory, .signal = SIGSEGV)
{
    *(volatile char *)P(block(4096)) = 1;
}

Test(cuda_fake, data_moves_when_its_work_completes)
{
    CUstream s = stream(0);
    CUdeviceptr p = block(4096), q = block(4096);
    char *pinned, pageable[16] = "from pageable", back[16] = "";
    OK(cuMemAllocHost_v2((void **)&pinned, 4096));
    OK(cuMemcpyHtoDAsync_v2(p, pageable, 16, s));
    memset(pageable, 'x', sizeof pageable); /* it has been taken already */
    OK(cuMemcpyDtoDAsync_v2(q, p, 16, s));
    OK(cuMemcpyDtoHAsync_v2(pinned, q, 16, s));
    cr_assert_eq(pinned[0], 0);
    fake_advance(s, 9);
    cr_assert_str_eq(pinned, "from pageable");
    OK(cuMemsetD32Async(q, 0x44434241, 2, s));
    OK(cuMemcpyDtoH_v2(back, q, 16)); /* the legacy stream waits for s, the host for it */
    cr_assert_eq(memcmp(back, "ABCDABCD", 8), 0);
    cr_assert_str_eq(back + 8, "eable");
    CUDA_MEMCPY2D c = {.srcMemoryType = CU_MEMORYTYPE_DEVICE,
                       .srcDevice = q,
                       .srcPitch = 4,
                       .dstMemoryType = CU_MEMORYTYPE_HOST,
                       .dstHost = back,
                       .dstPitch = 2,
                       .WidthInBytes = 2,
                       .Height = 2};
    OK(cuMemcpy2D_v2(&c));
    cr_assert_eq(memcmp(back, "ABAB", 4), 0);
}

Test(cuda_fake, pointers_are_known)
{
    CUdeviceptr p = block(4096), base, m;
    size_t bytes;
    unsigned value = 1;
    CUmemorytype type;
    void *h;
    OK(cuMemGetAddressRange_v2(&base, &bytes, p + 100));
    cr_assert(base == p && bytes == 4096);
    GIVES(CUDA_ERROR_NOT_FOUND, cuMemGetAddressRange_v2(&base, &bytes, p + 4096));
    OK(cuMemAllocManaged(&m, 64, CU_MEM_ATTACH_GLOBAL));
    *(char *)P(m) = 1;
    OK(cuPointerGetAttribute(&value, CU_POINTER_ATTRIBUTE_IS_MANAGED, m));
    cr_assert_eq(value, 1);
    OK(cuMemHostAlloc(&h, 64, 0));
    OK(cuPointerGetAttribute(&type, CU_POINTER_ATTRIBUTE_MEMORY_TYPE, (CUdeviceptr)(uintptr_t)h));
    cr_assert_eq(type, CU_MEMORYTYPE_HOST);
    GIVES(CUDA_ERROR_INVALID_VALUE, cuMemFree_v2((CUdeviceptr)(uintptr_t)h));
    OK(cuMemFree_v2(m));
    OK(cuMemFreeHost(h));
}

Test(cuda_fake, pools_mappings_and_ipc)
{
    CUstream s = stream(0);
    CUdeviceptr p, q = block(4096), r;
    OK(cuMemAllocAsync(&p, 1000, s));
    OK(cuMemFreeAsync(p, s));
    cr_assert_eq(fake_used(0), 1024 + 4096);
    GIVES(CUDA_ERROR_INVALID_VALUE, cuMemFreeAsync(p, s));
    OK(cuStreamSynchronize(s));
    cr_assert_eq(fake_used(0), 4096);

    CUmemAllocationProp props = {.type = CU_MEM_ALLOCATION_TYPE_PINNED,
                                 .location = {CU_MEM_LOCATION_TYPE_DEVICE, 0}};
    CUmemGenericAllocationHandle handle;
    OK(cuMemCreate(&handle, 2 << 20, &props, 0));
    OK(cuMemAddressReserve(&r, 2 << 20, 0, 0, 0));
    OK(cuMemMap(r, 2 << 20, 0, handle, 0));
    OK(cuMemRelease(handle));
    cr_assert_eq(fake_used(0), 4096 + (2 << 20));
    GIVES(CUDA_ERROR_INVALID_VALUE, cuMemFree_v2(r));
    OK(cuMemUnmap(r, 2 << 20));
    OK(cuMemAddressFree(r, 2 << 20));
    cr_assert_eq(fake_used(0), 4096);

    CUipcMemHandle ipc;
    char back[4] = "";
    OK(cuMemsetD8_v2(q, 'q', 4));
    OK(cuIpcGetMemHandle(&ipc, q + 512)); /* names the base all the same */
    OK(cuIpcOpenMemHandle_v2(&r, ipc, 1));
    OK(cuMemcpyDtoH_v2(back, r, 3));
    cr_assert_str_eq(back, "qqq");
    OK(cuIpcCloseMemHandle(r));
    OK(cuMemFree_v2(q));
    cr_assert_eq(block(4096), q, "another block at the address that the handle names");
    GIVES(CUDA_ERROR_INVALID_HANDLE, cuIpcOpenMemHandle_v2(&r, ipc, 1));
}

/* ---- errors, contexts, processes ---- */

Test(cuda_fake, errors_come_when_asked_for)
{
    CUdeviceptr p;
    fake_fail("cuMemAlloc_v2", 2, CUDA_ERROR_OUT_OF_MEMORY);
    OK(cuMemAlloc_v2(&p, 64));
    GIVES(CUDA_ERROR_OUT_OF_MEMORY, cuMemAlloc_v2(&p, 64));
    OK(cuMemAlloc_v2(&p, 64));
    cr_assert_eq(fake_calls("cuMemAlloc_v2"), 3);
    cr_assert_eq(fake_blocks(), 2);
    fake_fail_every("cuEventQuery", 2, CUDA_ERROR_LAUNCH_FAILED);
    CUevent e = event();
    for (int i = 1; i <= 6; i++)
        GIVES(i % 2 ? CUDA_SUCCESS : CUDA_ERROR_LAUNCH_FAILED, cuEventQuery(e));
    fake_poison(CUDA_ERROR_ILLEGAL_ADDRESS);
    GIVES(CUDA_ERROR_ILLEGAL_ADDRESS, cuMemFree_v2(p));
    GIVES(CUDA_ERROR_ILLEGAL_ADDRESS, cuCtxRecordEvent(NULL, e));
    OK(cuDevicePrimaryCtxReset_v2(0));
    OK(cuDevicePrimaryCtxRetain(&ctx, 0));
    OK(cuMemAlloc_v2(&p, 64));
}

Test(cuda_fake, errors_of_any_call_and_a_test_that_is_spared)
{
    CUdeviceptr p;
    CUcontext now;
    fake_fail_any(3, CUDA_ERROR_UNKNOWN);
    fake_spare(true);
    OK(cuMemAlloc_v2(&p, 64));
    OK(cuMemFree_v2(p));
    fake_spare(false);
    OK(cuCtxGetCurrent(&now));
    OK(cuMemAlloc_v2(&p, 64));
    GIVES(CUDA_ERROR_UNKNOWN, cuMemFree_v2(p));
    OK(cuMemFree_v2(p));
    fake_fail("cuCtxGetCurrent", 1, CUDA_ERROR_UNKNOWN);
    GIVES(CUDA_ERROR_UNKNOWN, cuCtxGetCurrent(&now));
    OK(cuCtxGetCurrent(&now));
}

Test(cuda_fake, the_current_context_is_known_without_the_lock_and_never_wrongly)
{
    CUcontext other, now;
    unsigned long before = fake_calls("cuCtxGetCurrent");
    for (int i = 0; i < 3; i++)
        OK(cuCtxGetCurrent(&now));
    cr_assert_eq(now, ctx);
    cr_assert_eq(fake_calls("cuCtxGetCurrent"), before + 3);
    OK(cuCtxCreate_v2(&other, 0, 0));
    OK(cuCtxGetCurrent(&now));
    cr_assert_eq(now, other);
    OK(cuCtxGetCurrent(&now));
    OK(cuCtxPushCurrent_v2(ctx));
    OK(cuCtxGetCurrent(&now));
    cr_assert_eq(now, ctx);
    OK(cuCtxPopCurrent_v2(NULL));
    OK(cuCtxGetCurrent(&now));
    cr_assert_eq(now, other);
    OK(cuCtxDestroy_v2(other));
    OK(cuCtxGetCurrent(&now));
    cr_assert_eq(now, ctx);
    OK(cuDevicePrimaryCtxReset(0));
    OK(cuCtxGetCurrent(&now));
    cr_assert_null(now);
    OK(cuCtxSetCurrent(NULL));
    pid_t child = fork();
    if (child == 0)
        _exit(cuCtxGetCurrent(&now) == CUDA_ERROR_NOT_INITIALIZED ? 0 : 1);
    int status;
    waitpid(child, &status, 0);
    cr_assert_eq(status, 0);
}

Test(cuda_fake, contexts_end_with_what_they_hold)
{
    CUcontext other, was;
    CUdeviceptr p;
    OK(cuCtxCreate_v2(&other, 0, 0));
    p = block(64);
    CUstream s = stream(0);
    OK(fake_touch(s, P(p), 8));
    OK(cuCtxDestroy_v2(other));
    cr_assert_eq(fake_pending(FAKE_ALL), 0);
    cr_assert_eq(fake_used(0), 0);
    OK(cuCtxGetCurrent(&was));
    cr_assert_eq(was, ctx);
    GIVES(CUDA_ERROR_INVALID_HANDLE, cuStreamQuery(s));
    OK(cuCtxSetCurrent(NULL));
    GIVES(CUDA_ERROR_INVALID_CONTEXT, cuMemAlloc_v2(&p, 64));
}

Test(cuda_fake, a_forked_child_has_no_driver)
{
    pid_t child = fork();
    if (child == 0) {
        CUdeviceptr p;
        _exit(cuMemAlloc_v2(&p, 64) == CUDA_ERROR_NOT_INITIALIZED ? 0 : 1);
    }
    int status;
    waitpid(child, &status, 0);
    cr_assert_eq(status, 0);
}

Test(cuda_fake, reset_makes_it_new)
{
    block(64);
    fake_hold(NULL);
    fake_reset();
    GIVES(CUDA_ERROR_NOT_INITIALIZED, cuCtxSynchronize());
    start();
    cr_assert_eq(fake_used(0), 0);
    OK(cuCtxSynchronize());
    cr_assert_eq(fake_calls("cuInit"), 1);
}
