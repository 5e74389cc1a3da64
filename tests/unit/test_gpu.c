/* The GPU core against the fake driver and its oracle: one rule of gpu/epoch.h after the other.
 * Each test is a process of its own. */
#include <sched.h>

#include "gpu/epoch.h"
#include "tests/support/gpu_test.h"

/* A violation of what the fake's oracle watches over aborts. */
TestSuite(gpu, .timeout = 20);

/* ---- the single stream ---- */

Test(gpu, single_reuses_at_once_without_events)
{
    start();
    CUdeviceptr p = get(4096);
    OK(fake_touch(NULL, P(p), 4096));
    give(p);
    cr_assert_eq(get(4096), p);
    OK(fake_touch(NULL, P(p), 4096));
    cr_assert_eq(fake_calls("cuMemAlloc_v2"), 1);
    cr_assert_eq(fake_calls("cuCtxRecordEvent") + fake_calls("cuEventQuery") +
                     fake_calls("cuCtxSynchronize") + fake_calls("cuStreamSynchronize"),
                 0);
    cr_assert_eq(stats().reuse_ordered, 1);
    cr_assert_eq(fake_pending(FAKE_ALL), 2);
}

Test(gpu, single_ends_with_a_wait_for_what_was_reused)
{
    start();
    CUdeviceptr p = get(4096);
    OK(fake_touch(NULL, P(p), 4096));
    give(p);
    cr_assert_eq(get(4096), p);
    CUstream s = stream(CU_STREAM_NON_BLOCKING);
    OK(fake_touch(s, P(p), 4096));
}

/* What a kernel prints, or leaves in memory of the host, is there after the last cudaFree. */
Test(gpu, the_last_free_waits_for_kernels)
{
    start();
    CUdeviceptr p = get(4096), q = get(8192);
    give(q);
    give(p);
    cr_assert_eq(fake_calls("cuCtxSynchronize"), 0);
    for (unsigned i = 1; i < 4; i++) {
        p = get(4096), q = get(8192);
        OK(fake_touch(NULL, P(p), 4096));
        xs_gpu_after_launch();
        give(q);
        cr_assert_eq(fake_pending(FAKE_ALL), 1);
        give(p);
        cr_assert_eq(fake_pending(FAKE_ALL), 0);
        give(get(4096)); /* nothing was launched since */
        cr_assert_eq(fake_calls("cuCtxSynchronize"), i);
    }
    cr_assert_eq(fake_calls("cuMemAlloc_v2"), 2);
}

/* What they leave where the CPU sees it may be looked at after any. */
Test(gpu, a_free_waits_for_kernels_if_the_cpu_sees_memory)
{
    start();
    CUdeviceptr p = get(4096), q = get(4096), managed = 0;
    void *pinned = NULL;
    for (unsigned i = 0; i < 4; i++) {
        OK(fake_touch(NULL, P(p), 4096));
        xs_gpu_after_launch();
        if (i == 1)
            pinned = get_host(4096, 0);
        if (i == 2)
            give_host(pinned);
        if (i == 3)
            OK(xs_gpu_malloc_managed(&managed, 4096, CU_MEM_ATTACH_GLOBAL));
        OK(fake_touch(NULL, P(p), 4096));
        xs_gpu_after_launch();
        give(q);
        cr_assert_eq(fake_pending(FAKE_ALL) == 0, i % 2 == 1, "%u", i);
        q = get(4096);
    }
    unsigned long before = fake_calls("cuCtxSynchronize");
    give(q); /* nothing was launched since */
    cr_assert_eq(fake_calls("cuCtxSynchronize"), before);
}

/* As that of a thread that has no context. */
Test(gpu, a_free_waits_though_a_wait_failed)
{
    start();
    (void)get_host(4096, 0);
    CUdeviceptr p = get(4096), q = get(4096);
    OK(fake_touch(NULL, P(p), 4096));
    xs_gpu_after_launch();
    (void)xs_gpu_before_sync();
    xs_gpu_sync_failed();
    give(q);
    cr_assert_eq(fake_pending(FAKE_ALL), 0);
}

/* What copies leave there, and functions of the host anywhere; what only the device sees is not
 * waited for. Memory that was registered counts from then on. */
Test(gpu, a_free_waits_for_copies_if_the_cpu_sees_memory)
{
    start();
    CUdeviceptr p = get(4096), q = get(4096);
    OK(fake_touch(NULL, P(p), 4096));
    xs_gpu_after_copy();
    give(q);
    give(p); /* nor the last one */
    cr_assert_eq(fake_pending(FAKE_ALL), 1);
    p = get(4096), q = get(4096);
    xs_gpu_after_host_call();
    give(q);
    cr_assert_eq(fake_pending(FAKE_ALL), 0);
    void *pinned = get_host(4096, 0);
    q = get(4096);
    OK(fake_touch(NULL, P(p), 4096));
    xs_gpu_after_copy();
    give(q);
    cr_assert_eq(fake_pending(FAKE_ALL), 0);
    give_host(pinned);
    q = get(4096);
    OK(fake_touch(NULL, P(p), 4096));
    xs_gpu_after_copy();
    xs_gpu_after_register();
    give(q);
    cr_assert_eq(fake_pending(FAKE_ALL), 0);
    unsigned long before = fake_calls("cuCtxSynchronize");
    give(get(4096)); /* nothing was given since */
    cr_assert_eq(fake_calls("cuCtxSynchronize"), before);
}

Test(gpu, the_last_free_waits_for_nothing_by_choice)
{
    be_deferred();
    start();
    CUdeviceptr p = get(4096);
    OK(fake_touch(NULL, P(p), 4096));
    xs_gpu_after_launch();
    give(p);
    cr_assert_eq(fake_pending(FAKE_ALL), 1);
}

/* A kernel that may begin while the one before it in the stream runs. */
static void launch_early(CUdeviceptr p, size_t size)
{
    CUlaunchAttribute attribute = {.id = CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION,
                                   .value.programmaticStreamSerializationAllowed = 1};
    CUlaunchConfig config = {.attrs = &attribute, .numAttrs = 1};
    void *params[] = {&p, &size};
    xs_gpu_before_overlap();
    OK(cuLaunchKernelEx(&config, (CUfunction)(void *)&fake_touch_kernel, params, NULL));
}

Test(gpu, single_ends_with_a_launch_that_overlaps)
{
    be_deferred();
    start();
    CUdeviceptr p = get(4096), q;
    OK(fake_touch(NULL, P(p), 4096));
    give(p);
    cr_assert_eq(get(4096), p);
    launch_early(p, 4096); /* before it the stream is waited for */
    OK(fake_touch(NULL, P(p), 4096));
    give(p);
    q = get(4096); /* from then on each block is proven */
    launch_early(q, 4096);
    cr_assert_neq(q, p);
}

Test(gpu, single_ends_without_a_wait_where_nothing_was_reused)
{
    start();
    CUdeviceptr p = get(4096);
    OK(fake_touch(NULL, P(p), 4096));
    give(p);
    fake_hold(NULL);
    CUstream s = stream(CU_STREAM_NON_BLOCKING);
    OK(fake_touch(s, P(get(4096)), 4096));
    cr_assert_neq(get(4096), p);
    fake_release(NULL);
}

Test(gpu, single_ends_with_a_second_context)
{
    start();
    CUdeviceptr p = get(4096);
    CUcontext other;
    OK(fake_touch(NULL, P(p), 4096));
    give(p);
    cr_assert_eq(get(4096), p);
    OK(cuCtxCreate_v2(&other, 0, 0));
    xs_gpu_after_context(other);
    cr_assert_eq(fake_pending(FAKE_ALL), 0);
    OK(fake_touch(NULL, P(p), 4096));
}

Test(gpu, single_survives_a_context_that_is_retained_again)
{
    start();
    CUcontext again;
    OK(cuDevicePrimaryCtxRetain(&again, 0));
    xs_gpu_after_context(again);
    CUdeviceptr p = get(4096);
    OK(fake_touch(NULL, P(p), 4096));
    give(p);
    cr_assert_eq(get(4096), p);
}

Test(gpu, host_memory_is_never_reused_by_order)
{
    options.free_way = XS_GPU_DEFERRED;
    start();
    void *p = get_host(4096, 0);
    OK(fake_touch(NULL, p, 4096));
    give_host(p);
    void *q = get_host(4096, 0);
    cr_assert_neq(q, p);
    fake_advance(FAKE_ALL, 9);
    cr_assert_eq(get_host(4096, 0), p);
    cr_assert_eq(stats().pinned_hits, 1);
}

Test(gpu, host_memory_in_strict_is_waited_for)
{
    start();
    void *p = get_host(4096, 0);
    OK(fake_touch(NULL, p, 4096));
    give_host(p);
    cr_assert_eq(fake_pending(FAKE_ALL), 0);
    cr_assert_eq(get_host(4096, 0), p);
    cr_assert_neq(get_host(4096, 1), p);
}

/* ---- events ---- */

/* Memory of other flags is other memory, and a block that was freed is none that the program has.
 */
Test(gpu, kept_memory_is_of_its_kind)
{
    start();
    CUdeviceptr p = get(4096), managed, other, base;
    size_t size;
    void *host = get_host(4096, 0);
    OK(xs_gpu_malloc_managed(&managed, 4096, CU_MEM_ATTACH_GLOBAL));
    OK(xs_gpu_address_range(&base, &size, p + 5));
    give_host(host);
    OK(xs_gpu_free(managed));
    give(p);
    xs_gpu_after_sync(ctx, xs_gpu_before_sync());
    cr_assert_eq(xs_gpu_address_range(&base, &size, p + 5), CUDA_ERROR_NOT_FOUND);
    cr_assert_neq(get_host(4096, 4), host);
    cr_assert_eq(get_host(4096, 0), host);
    OK(xs_gpu_malloc_managed(&other, 4096, CU_MEM_ATTACH_HOST));
    cr_assert_neq(other, managed);
    OK(xs_gpu_malloc_managed(&other, 4096, CU_MEM_ATTACH_GLOBAL));
    cr_assert_eq(other, managed);
}

Test(gpu, deferred_waits_for_the_event)
{
    CUstream s;
    CUdeviceptr p = get_busy(4096, &s);
    give(p);
    cr_assert_eq(fake_pending(FAKE_ALL), 1);
    CUdeviceptr q = get(4096);
    cr_assert_neq(q, p);
    cr_assert_eq(fake_calls("cuCtxRecordEvent"), 1);
    cr_assert_eq(stats().misses_stream, 1);
    fake_advance(s, 1);
    cr_assert_eq(get(4096), p);
    cr_assert_eq(fake_calls("cuCtxRecordEvent"), 1);
    cr_assert_eq(fake_calls("cuCtxSynchronize"), 0);
    cr_assert_eq(stats().reuse_waited, 1);
}

/* Another thread's work, and its free, at a moment of our choice. */
static struct {
    CUstream stream;
    CUdeviceptr p;
    void *host;
    volatile bool is_over;
} late;

static void *come_late(void *arg)
{
    (void)arg;
    OK(cuCtxSetCurrent(ctx));
    if (late.host != NULL) {
        OK(fake_touch(late.stream, late.host, 4096));
        give_host(late.host);
    } else {
        OK(fake_touch(late.stream, P(late.p), 4096));
        give(late.p);
    }
    return NULL;
}

static void let_it_come(void *(*what)(void *))
{
    pthread_t t;

    cr_assert_eq(pthread_create(&t, NULL, what, NULL), 0);
    pthread_join(t, NULL);
}

static CUresult record_too_early(CUcontext c, CUevent e)
{
    CUresult r = cuCtxRecordEvent(c, e);

    let_it_come(come_late);
    return r;
}

/* The event says nothing of it, so it must be of the next epoch. */
Test(gpu, a_free_just_after_the_event)
{
    be_deferred();
    start();
    CUdeviceptr p = get(4096);
    late.p = get(4096);
    late.stream = stream(CU_STREAM_NON_BLOCKING);
    OK(fake_touch(late.stream, P(p), 4096));
    give(p);
    xs_cu.cuCtxRecordEvent = record_too_early;
    cr_assert_neq(get(4096), p);
    xs_cu.cuCtxRecordEvent = cuCtxRecordEvent;
    fake_advance(late.stream, 1);
    cr_assert_eq(get(4096), p);
    cr_assert_neq(get(4096), late.p);
    cr_assert_eq(fake_pending(late.stream), 1);
}

static CUresult query_too_early(CUstream s)
{
    CUresult r = cuStreamQuery(s);

    let_it_come(come_late);
    return r;
}

Test(gpu, a_free_just_after_the_question)
{
    be_deferred();
    start();
    void *h = get_host(4096, 0);
    late.host = get_host(4096, 0);
    give_host(h);
    xs_cu.cuStreamQuery = query_too_early;
    cr_assert_eq(get_host(4096, 0), h);
    xs_cu.cuStreamQuery = cuStreamQuery;
    cr_assert_neq(get_host(4096, 0), late.host);
    cr_assert_eq(fake_pending(FAKE_ALL), 1);
}

static void *begin_capture(void *arg)
{
    xs_gpu_capture_begun();
    late.is_over = true;
    return arg;
}

static pthread_t capturing;

static CUresult record_and_capture(CUcontext c, CUevent e)
{
    cr_assert_eq(pthread_create(&capturing, NULL, begin_capture, NULL), 0);
    while (!xs_gpu_is_capturing())
        sched_yield();
    for (int i = 0; i < 200; i++)
        sched_yield();
    cr_assert_not(late.is_over, "it did not wait for what is under way");
    return cuCtxRecordEvent(c, e);
}

Test(gpu, a_capture_waits_for_what_is_under_way)
{
    CUstream s;
    CUdeviceptr p = get_busy(4096, &s);
    give(p);
    xs_cu.cuCtxRecordEvent = record_and_capture;
    (void)get(4096);
    pthread_join(capturing, NULL);
    cr_assert(late.is_over);
    xs_gpu_capture_ended();
}

Test(gpu, deferred_takes_what_is_done_at_once)
{
    CUstream s;
    CUdeviceptr p = get_busy(4096, &s);
    OK(cuStreamSynchronize(s));
    give(p);
    cr_assert_eq(get(4096), p);
}

Test(gpu, work_of_another_context_counts)
{
    be_deferred();
    start();
    CUcontext other;
    OK(cuCtxCreate_v2(&other, 0, 0));
    xs_gpu_after_context(other);
    CUstream s = stream(CU_STREAM_NON_BLOCKING);
    OK(cuCtxSetCurrent(ctx));
    CUdeviceptr p = get(4096);
    OK(cuCtxPushCurrent_v2(other));
    OK(fake_touch(s, P(p), 4096));
    OK(cuCtxPopCurrent_v2(NULL));
    give(p);
    cr_assert_neq(get(4096), p);
    OK(cuCtxSynchronize()); /* of the wrong one */
    xs_gpu_after_sync(ctx, xs_gpu_before_sync());
    cr_assert_neq(get(4096), p);
    fake_advance(FAKE_ALL, 99);
    cr_assert_eq(get(4096), p);
}

Test(gpu, a_wait_of_the_programs_promotes)
{
    be_deferred();
    start();
    CUstream s = stream(CU_STREAM_NON_BLOCKING);
    CUdeviceptr p = get(4096), q = get(4096);
    OK(fake_touch(s, P(p), 4096));
    give(p);
    uint64_t e = xs_gpu_before_sync();
    OK(cuCtxSynchronize());
    OK(fake_touch(s, P(q), 4096));
    give(q); /* after the wait began */
    xs_gpu_after_sync(ctx, e);
    cr_assert_eq(get(4096), p);
    cr_assert_eq(fake_calls("cuCtxRecordEvent"), 0);
    cr_assert_neq(get(4096), q);
}

Test(gpu, strict_waits_in_the_free)
{
    start();
    CUstream s = stream(CU_STREAM_NON_BLOCKING);
    CUdeviceptr p = get(4096);
    OK(fake_touch(s, P(p), 4096));
    give(p);
    cr_assert_eq(fake_pending(FAKE_ALL), 0);
    cr_assert_eq(get(4096), p);
    cr_assert_eq(stats().syncs, 1);
    cr_assert_eq(fake_calls("cuCtxRecordEvent"), 0);
}

Test(gpu, allocation_never_waits)
{
    be_deferred();
    start();
    CUstream s = stream(CU_STREAM_NON_BLOCKING);
    for (int i = 0; i < 50; i++) {
        CUdeviceptr p = get(4096);
        OK(fake_touch(s, P(p), 4096));
        give(p);
        if (i == 5)
            fake_hold(s);
    }
    cr_assert_gt(fake_pending(s), 0);
    fake_release(s);
}

/* ---- frees that are none ---- */

Test(gpu, bad_frees_are_refused)
{
    start();
    CUdeviceptr p = get(4096);
    GIVES(CUDA_ERROR_INVALID_VALUE, xs_gpu_free(p + 512));
    give(p);
    GIVES(CUDA_ERROR_INVALID_VALUE, xs_gpu_free(p));
    GIVES(CUDA_ERROR_INVALID_VALUE, xs_gpu_free(p + 512));
    GIVES(CUDA_ERROR_INVALID_VALUE, xs_gpu_free(12345));
    OK(xs_gpu_free(0));
    void *h = get_host(4096, 0);
    GIVES(CUDA_ERROR_INVALID_VALUE, xs_gpu_free((CUdeviceptr)(uintptr_t)h));
    give_host(h);
    GIVES(CUDA_ERROR_INVALID_VALUE, xs_gpu_host_free(h));
    cr_assert_eq(stats().frees, 1);
    GIVES(CUDA_ERROR_INVALID_VALUE, xs_gpu_malloc(&p, 0));
}

/* ---- the limit ---- */

Test(gpu, the_limit_holds_to_the_byte)
{
    options.cache_max_bytes = 8192;
    options.waste_percent = 0;
    start();
    CUdeviceptr p[4];
    for (int i = 0; i < 4; i++)
        p[i] = get(3072);
    for (int i = 0; i < 4; i++) {
        give(p[i]);
        cr_assert_leq(stats().cached_bytes_peak, 8192);
    }
    cr_assert_eq(stats().cached_bytes, 6144);
    cr_assert_eq(stats().evictions, 2);
    CUdeviceptr q = get(2048); /* exactly what is left */
    give(q);
    cr_assert_eq(stats().cached_bytes, 8192);
    cr_assert_eq(stats().evictions, 2);
    cr_assert_eq(get(3072), p[3]);
    cr_assert_eq(get(3072), p[2]);
    (void)get(3072);
    cr_assert_eq(stats().misses_evicted, 1);
}

Test(gpu, a_byte_too_many_is_too_many)
{
    options.cache_max_bytes = 8191;
    start();
    CUdeviceptr p = get(4096), q = get(4096);
    give(p);
    give(q);
    cr_assert_eq(stats().cached_bytes, 4096);
    p = get(4096);
    q = get(4096);
    give(q); /* the short way */
    give(p);
    cr_assert_eq(stats().cached_bytes_peak, 4096);
    cr_assert_eq(fake_used(0), 4096);
}

Test(gpu, without_a_cache_all_goes_back)
{
    options.cache_max_bytes = 0;
    start();
    give(get(4096));
    cr_assert_eq(fake_used(0), 0);
    cr_assert_eq(stats().reserved_bytes, 0);
}

Test(gpu, a_lower_limit_takes_effect)
{
    start();
    CUdeviceptr p = get(MIB), q = get(MIB);
    give(p);
    give(q);
    xs_gpu_set_cache_max(-1, MIB);
    cr_assert_eq(stats().cached_bytes, MIB);
    cr_assert_eq(fake_used(0), MIB);
    xs_gpu_clear(0);
    cr_assert_eq(fake_used(0), 0);
}

/* ---- captures ---- */

Test(gpu, a_capture_is_left_alone)
{
    options.cache_max_bytes = 4096;
    start();
    CUgraph graph;
    CUstream s = stream(CU_STREAM_NON_BLOCKING);
    CUdeviceptr p = get(4096), q = get(4096), r = get(2048);
    give(r);
    OK(fake_touch(s, P(p), 4096));
    xs_gpu_capture_begun();
    OK(cuStreamBeginCapture_v2(s, CU_STREAM_CAPTURE_MODE_GLOBAL));
    unsigned long before = fake_calls_all();
    give(p);
    give(q);
    cr_assert_eq(get(2048), r); /* a ready hit */
    cr_assert_eq(fake_calls_all() - before, fake_calls("cuCtxGetCurrent") * 0 + 1);
    OK(cuStreamEndCapture(s, &graph));
    xs_gpu_capture_ended();
    cr_assert_eq(stats().cached_bytes, 0);
    give(r);
    cr_assert_leq(stats().cached_bytes, 4096);
    cr_assert_eq(fake_used(0), stats().cached_bytes, "%zu %zu", fake_used(0),
                 (size_t)stats().cached_bytes);
}

/* ---- memory is out ---- */

Test(gpu, a_full_cache_gives_way)
{
    start();
    CUdeviceptr p[3];
    for (int i = 0; i < 3; i++)
        p[i] = get((size_t)1 << 30);
    xs_gpu_set_cache_max(0, (uint64_t)16 << 30);
    for (int i = 0; i < 3; i++)
        give(p[i]);
    cr_assert_eq(stats().cached_bytes, (uint64_t)3 << 30);
    (void)get((size_t)3 << 30);
    cr_assert_eq(stats().flushes, 1);
    cr_assert_eq(stats().cached_bytes, 0);
    CUdeviceptr q;
    GIVES(CUDA_ERROR_OUT_OF_MEMORY, xs_gpu_malloc(&q, (size_t)2 << 30));
    cr_assert_eq(stats().ooms, 1);
    cr_assert_eq(stats().last_oom_bytes, (uint64_t)2 << 30);
}

/* Rather the block itself. The driver of this test waits for nothing and counts on us. */
Test(gpu, the_limit_takes_no_block_whose_work_runs)
{
    options.cache_max_bytes = 2 * MIB;
    be_deferred();
    fake_set_free(FAKE_FREE_CHECKS);
    start();
    CUstream s = stream(CU_STREAM_NON_BLOCKING);
    CUdeviceptr p = get(MIB), q = get(2 * MIB);
    OK(fake_touch(s, P(p), MIB));
    give(p);
    give(q);
    cr_assert_eq(stats().cached_bytes, MIB);
    cr_assert_eq(fake_pending(s), 1);
}

Test(gpu, blocks_whose_work_runs_go_last)
{
    be_deferred();
    start();
    CUstream s = stream(CU_STREAM_NON_BLOCKING);
    CUdeviceptr p = get((size_t)3 << 30);
    OK(fake_touch(s, P(p), 4096));
    xs_gpu_set_cache_max(0, (uint64_t)16 << 30);
    give(p);
    (void)get((size_t)2 << 30); /* the driver waits for it, as it would have in the free */
    cr_assert_eq(fake_pending(s), 0);
}
