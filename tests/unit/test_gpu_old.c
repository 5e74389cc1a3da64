/* The GPU core against the fake driver: drivers without events of whole contexts, before 12.5. */
#include "tests/support/gpu_test.h"

/* A violation of what the fake's oracle watches over aborts. */
TestSuite(gpu_old, .timeout = 20);

static void be_old(void)
{
    options.free_way = XS_GPU_DEFERRED;
    start();
    xs_cu.cuCtxRecordEvent = NULL;
}

Test(gpu_old, have_an_event_for_each_stream)
{
    be_old();
    CUstream s = stream(CU_STREAM_NON_BLOCKING), t = stream(CU_STREAM_NON_BLOCKING);
    CUdeviceptr p = get(4096);
    OK(fake_touch(t, P(p), 4096));
    give(p);
    CUdeviceptr q = get(4096);
    cr_assert_neq(q, p);
    cr_assert_eq(stats().events, 2);
    fake_advance(s, 9);
    cr_assert_neq(get(4096), p);
    fake_advance(t, 9);
    cr_assert_eq(get(4096), p);
}

Test(gpu_old, the_legacy_stream_counts)
{
    be_old();
    (void)stream(CU_STREAM_NON_BLOCKING);
    CUdeviceptr p = get(4096);
    OK(fake_touch(NULL, P(p), 4096));
    give(p);
    cr_assert_neq(get(4096), p);
    fake_advance(NULL, 9);
    cr_assert_eq(get(4096), p);
}

Test(gpu_old, a_busy_legacy_stream_gets_its_event)
{
    be_old();
    (void)stream(CU_STREAM_NON_BLOCKING);
    CUdeviceptr q = get(512);
    for (int i = 0; i < 40; i++) {
        CUdeviceptr p = get(4096);
        OK(fake_touch(NULL, P(p), 4096));
        OK(fake_touch(NULL, P(q), 512));
        give(p);
        fake_advance(NULL, 1); /* it is never idle */
    }
    cr_assert_gt(stats().reuse_waited, 0);
    cr_assert_lt(fake_calls("cuMemAlloc_v2"), 38);
}

Test(gpu_old, remember_streams_that_are_gone)
{
    be_old();
    CUstream s = stream(CU_STREAM_NON_BLOCKING);
    CUdeviceptr p = get(4096);
    OK(fake_touch(s, P(p), 4096));
    xs_gpu_stream_gone(s);
    OK(cuStreamDestroy_v2(s));
    give(p);
    cr_assert_neq(get(4096), p);
    fake_advance(FAKE_ALL, 9);
    cr_assert_eq(get(4096), p);
}

Test(gpu_old, prove_nothing_of_other_threads_streams)
{
    be_old();
    xs_gpu_before_stream();
    CUdeviceptr p = get(4096);
    OK(fake_touch(CU_STREAM_PER_THREAD, P(p), 4096));
    give(p);
    fake_advance(FAKE_ALL, 9);
    cr_assert_neq(get(4096), p);
    uint64_t e = xs_gpu_before_sync();
    OK(cuCtxSynchronize());
    xs_gpu_after_sync(ctx, e);
    cr_assert_eq(get(4096), p);
}

Test(gpu_old, forget_a_stream_that_could_not_be_made)
{
    be_old();
    CUstream s = stream(CU_STREAM_NON_BLOCKING);
    CUdeviceptr p = get(4096);
    OK(fake_touch(s, P(p), 4096));
    xs_gpu_before_stream();
    xs_gpu_no_stream();
    give(p);
    cr_assert_neq(get(4096), p);
    fake_advance(s, 9);
    cr_assert_eq(get(4096), p);
}
