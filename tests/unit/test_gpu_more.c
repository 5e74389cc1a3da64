/* The GPU core against the fake driver: sub-allocators, threads, errors, options. */
#include "gpu/core.h"
#include "gpu/passed.h"
#include "gpu/range.h"
#include "tests/support/gpu_test.h"

/* A violation of what the fake's oracle watches over aborts. */
TestSuite(gpu_more, .timeout = 20);

/* ---- blocks that must not come back ---- */

Test(gpu_more, exported_blocks_are_never_reused)
{
    start();
    CUdeviceptr p = get(MIB), q = get(MIB);
    CUresult r;
    cr_assert_not(xs_gpu_exporting(p + 512, &r));
    xs_gpu_never_reuse(q);
    unsigned before = fake_blocks();
    give(p);
    give(q);
    cr_assert_eq(fake_blocks(), before - 2);
    cr_assert_eq(stats().cached_bytes, 0);
}

/* Not by the short way either, on which a block is that was cached before. */
Test(gpu_more, a_cached_block_that_is_exported_is_never_reused)
{
    CUipcMemHandle handle;
    CUresult r;

    start();
    CUdeviceptr p = get(4096);
    give(p);
    cr_assert_eq(get(4096), p);
    cr_assert_not(xs_gpu_exporting(p, &r));
    OK(cuIpcGetMemHandle(&handle, p));
    give(p);
    cr_assert_eq(stats().cached_bytes, 0);
    cr_assert_neq(get(4096), 0);
    cr_assert_eq(fake_calls("cuMemAlloc_v2"), 2);
}

Test(gpu_more, a_block_of_a_destroyed_context_is_forgotten)
{
    CUcontext other;
    start();
    OK(cuCtxCreate_v2(&other, 0, 0));
    xs_gpu_after_context(other);
    CUdeviceptr p = get(4096), q = get(4096);
    give(p);
    fake_life_end(P(q));
    xs_gpu_context_gone(other);
    OK(cuCtxDestroy_v2(other));
    OK(cuCtxSetCurrent(ctx));
    cr_assert_eq(stats().cached_bytes + stats().in_use_bytes + stats().reserved_bytes, 0);
    GIVES(CUDA_ERROR_INVALID_VALUE, xs_gpu_free(q));
    give(get(4096));
}

Test(gpu_more, a_reset_device_starts_afresh)
{
    start();
    give(get(4096));
    (void)get_host(4096, 0);
    xs_gpu_device_reset(0);
    OK(cuDevicePrimaryCtxReset_v2(0));
    OK(cuDevicePrimaryCtxRetain(&ctx, 0));
    OK(cuCtxSetCurrent(ctx));
    xs_gpu_after_context(ctx);
    CUdeviceptr p;
    OK(xs_gpu_malloc(&p, 4096));
    cr_assert_eq(fake_calls("cuMemAlloc_v2"), 2);
    cr_assert_eq(stats().reserved_bytes, 4096);
}

/* ---- pool and bfc ---- */

static void pieces(enum xs_gpu_backend backend)
{
    CUdeviceptr p[8];
    CUresult r = CUDA_SUCCESS;
    size_t size;

    options.step[0].backend = backend;
    be_deferred();
    start();
    for (int i = 0; i < 8; i++) {
        p[i] = get(10000);
        cr_assert_eq(p[i] % 512, 0);
    }
    cr_assert_eq(fake_calls("cuMemAlloc_v2"), 1);
    OK(xs_gpu_address_range(&p[0], &size, p[0] + 600));
    cr_assert_geq(size, 10000);
    cr_assert_lt(size, 20000);
    cr_assert(xs_gpu_exporting(p[1], &r));
    cr_assert_eq(r, CUDA_ERROR_NOT_SUPPORTED);
    CUdeviceptr lowest = p[0];
    for (int i = 0; i < 8; i++) {
        lowest = p[i] < lowest ? p[i] : lowest;
        OK(fake_touch(NULL, P(p[i]), 10000));
        give(p[i]);
    }
    for (int i = 0; i < 8; i++)
        GIVES(CUDA_ERROR_INVALID_VALUE, xs_gpu_free(p[i]));
    GIVES(CUDA_ERROR_INVALID_VALUE, xs_gpu_free(lowest)); /* the range's own address */
    cr_assert_eq(fake_blocks(), 1);
    /* By order as long as there is one stream, then when it is proven. */
    CUdeviceptr q = get(10000);
    CUstream s = stream(CU_STREAM_NON_BLOCKING);
    OK(fake_touch(s, P(q), 10000));
    give(q);
    for (int i = 0; i < 100; i++)
        cr_assert_neq(get(10000), q);
    fake_advance(FAKE_ALL, 99);
    (void)get(10000);
}

Test(gpu_more, pool_pieces)
{
    pieces(XS_GPU_POOL);
}

Test(gpu_more, bfc_pieces)
{
    pieces(XS_GPU_BFC);
}

Test(gpu_more, pool_gives_back_when_memory_is_out)
{
    options.step[0].backend = XS_GPU_POOL;
    options.pool_limit_bytes = (uint64_t)8 << 30;
    start();
    CUdeviceptr p[100];
    for (int i = 0; i < 50; i++)
        p[i] = get(60 * MIB);
    for (int i = 0; i < 50; i++)
        give(p[i]);
    OK(xs_gpu_malloc(&p[0], (size_t)3800 * MIB));
    OK(xs_gpu_free(p[0]));
    xs_gpu_clear(-1);
    cr_assert_eq(fake_used(0), 0);
    cr_assert_eq(stats().reserved_bytes, 0);
}

/* ---- threads ---- */

struct other {
    void (*does)(void *);
    void *arg;
};

static void *thread_body(void *arg)
{
    struct other *o = arg;
    OK(cuCtxSetCurrent(ctx));
    o->does(o->arg);
    return NULL;
}

static void in_thread(void (*does)(void *), void *arg)
{
    struct other o = {does, arg};
    pthread_t t;
    cr_assert_eq(pthread_create(&t, NULL, thread_body, &o), 0);
    pthread_join(t, NULL);
}

static void give_it(void *p)
{
    give(*(CUdeviceptr *)p);
}

Test(gpu_more, what_another_thread_freed_is_found)
{
    start();
    CUdeviceptr p = get(4096);
    in_thread(give_it, &p);
    cr_assert_eq(get(4096), p);
}

Test(gpu_more, what_another_thread_freed_must_be_ready_too)
{
    CUstream s;
    CUdeviceptr p = get_busy(4096, &s);
    in_thread(give_it, &p);
    CUdeviceptr q = get(4096);
    cr_assert_neq(q, p);
    OK(fake_touch(NULL, P(q), 4096));
    fake_advance(FAKE_ALL, 9);
    cr_assert_eq(get(4096), p);
}

static void churn(void *arg)
{
    unsigned seed = (unsigned)(uintptr_t)arg;
    CUdeviceptr p[16] = {0};

    for (int i = 0; i < 3000; i++) {
        unsigned k = (unsigned)rand_r(&seed) % 16;
        if (p[k] != 0)
            give(p[k]);
        p[k] = get(512u << ((unsigned)rand_r(&seed) % 8));
        if (i % 16 == 0)
            OK(fake_touch(i % 32 == 0 ? NULL : CU_STREAM_PER_THREAD, P(p[k]), 512));
        if (i % 64 == 0)
            fake_advance(FAKE_ALL, 40);
        cr_assert_leq(stats().cached_bytes, options.cache_max_bytes);
    }
    for (int k = 0; k < 16; k++)
        if (p[k] != 0)
            give(p[k]);
}

static void churn_in_threads(void)
{
    struct other o[4];
    pthread_t t[4];

    start();
    for (int i = 0; i < 4; i++) {
        o[i] = (struct other){churn, (void *)(uintptr_t)(i + 1)};
        cr_assert_eq(pthread_create(&t[i], NULL, thread_body, &o[i]), 0);
        if (i == 1)
            xs_gpu_before_stream();
    }
    for (int i = 0; i < 4; i++)
        pthread_join(t[i], NULL);
    struct xs_gpu_stats s = stats();
    cr_assert_eq(s.in_use_bytes, 0);
    cr_assert_eq(s.allocations, 4 * 3000);
    cr_assert_eq(s.frees, 4 * 3000);
    cr_assert_eq(s.hits + s.misses_cold + s.misses_evicted + s.misses_size + s.misses_stream,
                 s.allocations);
    cr_assert_leq(s.cached_bytes_peak, options.cache_max_bytes);
    fake_advance(FAKE_ALL, 1u << 30);
    xs_gpu_clear(-1);
    cr_assert_eq(fake_used(0), 0);
}

Test(gpu_more, threads_in_strict)
{
    options.cache_max_bytes = 200000;
    xs_gpu_before_stream();
    churn_in_threads();
}

Test(gpu_more, threads_in_deferred)
{
    be_deferred();
    options.cache_max_bytes = 200000;
    xs_gpu_before_stream();
    churn_in_threads();
}

/* ---- errors of the driver ---- */

static void small_program(void)
{
    CUdeviceptr p[6] = {0};
    CUstream s = NULL;

    if (cuStreamCreate(&s, CU_STREAM_NON_BLOCKING) != CUDA_SUCCESS)
        s = NULL;
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 6; i++) {
            p[i] = 0;
            if (xs_gpu_malloc(&p[i], 4096u << (i % 3)) != CUDA_SUCCESS)
                continue;
            fake_life_begin(P(p[i]), 4096);
            (void)fake_touch(s, P(p[i]), 4096);
        }
        for (int i = 0; i < 6; i++) {
            if (p[i] == 0)
                continue;
            fake_life_end(P(p[i]));
            if (xs_gpu_free(p[i]) != CUDA_SUCCESS)
                fake_life_begin(P(p[i]), 4096); /* it is the program's still */
        }
        fake_advance(FAKE_ALL, 4);
    }
}

static void fail_each(const char *symbol, CUresult code)
{
    be_deferred();
    options.cache_max_bytes = 20000;
    start();
    xs_gpu_before_stream();
    for (unsigned n = 1; n < 12; n++) {
        fake_fail(symbol, n, code);
        small_program();
        fake_fail(symbol, 0, 0);
    }
}

Test(gpu_more, each_failing_alloc)
{
    fail_each("cuMemAlloc_v2", CUDA_ERROR_OUT_OF_MEMORY);
}
Test(gpu_more, each_failing_free)
{
    fail_each("cuMemFree_v2", CUDA_ERROR_UNKNOWN);
}
Test(gpu_more, each_failing_query)
{
    fail_each("cuEventQuery", CUDA_ERROR_LAUNCH_FAILED);
}
Test(gpu_more, each_failing_record)
{
    fail_each("cuCtxRecordEvent", CUDA_ERROR_UNKNOWN);
}
Test(gpu_more, each_failing_event)
{
    fail_each("cuEventCreate", CUDA_ERROR_OUT_OF_MEMORY);
}

/* ---- the rest ---- */

Test(gpu_more, free_memory_counts_what_is_kept)
{
    size_t before, left, total;
    start();
    OK(xs_gpu_mem_info(&before, &total));
    CUdeviceptr p = get(MIB);
    OK(xs_gpu_mem_info(&left, &total));
    cr_assert_eq(left, before - MIB);
    give(p);
    OK(xs_gpu_mem_info(&left, &total));
    cr_assert_eq(left, before);
}

Test(gpu_more, too_little_free_memory_makes_the_cache_give_way)
{
    options.low_free_bytes = (uint64_t)4 << 30;
    start();
    CUdeviceptr p = get(MIB), q = get(2 * MIB);
    give(p);
    give(q);
    usleep(120000);
    CUdeviceptr r = get(4 * MIB); /* 3 MiB are lacking */
    give(r);
    cr_assert_eq(stats().cached_bytes, 4 * MIB);
}

Test(gpu_more, old_blocks_go_back)
{
    options.cache_age_ns = 20000000;
    start();
    CUdeviceptr p = get(MIB), q = get(512);
    give(p);
    usleep(60000);
    for (int i = 0; i < 70; i++) {
        give(q);
        q = get(512);
    }
    cr_assert_eq(stats().cached_bytes, 0);
    cr_assert_eq(fake_used(0), 512);
}

Test(gpu_more, beyond_the_headroom_old_blocks_go_first)
{
    options.headroom_percent = 50;
    options.waste_percent = 0;
    start();
    CUdeviceptr p = get(8 * MIB);
    give(p);
    p = get(6 * MIB); /* 14 MiB of 12 */
    cr_assert_eq(stats().cached_bytes, 0);
    cr_assert_eq(fake_used(0), 6 * MIB);
    fake_hold(NULL); /* now nobody can tell when */
    give(p);
    (void)get(7 * MIB);
    cr_assert_eq(fake_used(0), 13 * MIB);
    fake_release(NULL);
}

Test(gpu_more, sizes_are_rounded_by_choice)
{
    options.round = XS_GPU_ROUND_QUARTER;
    options.waste_percent = 0;
    start();
    CUdeviceptr p = get(9 * MIB);
    give(p);
    cr_assert_eq(stats().cached_bytes, 10 * MIB);
    cr_assert_eq(get(9 * MIB + 5), p);
}

Test(gpu_more, waste_is_bounded)
{
    start();
    CUdeviceptr p = get(112 * 512);
    (void)get(MIB);
    give(p);
    cr_assert_neq(get(99 * 512), p);
    cr_assert_eq(get(100 * 512), p);
}

Test(gpu_more, while_more_is_kept_than_in_use_more_may_be_wasted)
{
    start();
    CUdeviceptr p = get(112 * 512), q = get(300 * 512);
    give(p);
    give(q);
    cr_assert_eq(get(56 * 512), p);
    cr_assert_eq(get(150 * 512), q, "300 are kept, 112 in use");
    give(p);
    cr_assert_neq(get(57 * 512), p, "112 are kept, 300 in use");
    give(q);
    cr_assert_neq(get(149 * 512), q, "more than half would be wasted");
}

Test(gpu_more, no_waste_is_none_however_much_is_kept)
{
    options.waste_percent = 0;
    start();
    CUdeviceptr p = get(112 * 512);
    give(p);
    cr_assert_neq(get(111 * 512), p);
}

/* What was quick in larger blocks is so no longer. */
Test(gpu_more, waste_is_bounded_again_once_more_is_in_use)
{
    enum { N = 70 };
    CUdeviceptr p[N];
    start();
    for (unsigned i = 0; i < N; i++)
        p[i] = get(100 * 512);
    for (unsigned i = 0; i < N; i++)
        give(p[i]);
    CUdeviceptr one = get(60 * 512), many = get(10 * MIB);
    unsigned blocks = fake_blocks();
    give(one);
    cr_assert_eq(get(60 * 512), one, "quick");
    for (unsigned i = 0; i < 128; i++) /* a look or two */
        give(get(100 * 512));
    cr_assert_eq(fake_blocks(), blocks);
    (void)get(60 * 512);
    cr_assert_eq(fake_blocks(), blocks + 1, "the driver's, of its own size");
    give(many);
    for (unsigned i = 0; i < 3; i++)
        (void)get(60 * 512);
    cr_assert_eq(fake_blocks(), blocks + 1, "kept ones once more");
}

Test(gpu_more, a_route_by_size)
{
    options.step_count = 2;
    options.step[0] = (struct xs_gpu_step){65536, XS_GPU_CACHING};
    options.step[1] = (struct xs_gpu_step){SIZE_MAX, XS_GPU_DIRECT};
    start();
    give(get(65536));
    cr_assert_eq(fake_blocks(), 1);
    give(get(65537));
    cr_assert_eq(fake_blocks(), 1);
    cr_assert_str_eq(stats().backend, "caching,direct");
}

/* Sizes that come to the same block take the same short way, but not across a rule's end. */
Test(gpu_more, a_rule_of_the_route_may_end_anywhere)
{
    options.step_count = 2;
    options.step[0] = (struct xs_gpu_step){1000, XS_GPU_CACHING};
    options.step[1] = (struct xs_gpu_step){SIZE_MAX, XS_GPU_DIRECT};
    start();
    CUdeviceptr p = get(1000);
    give(p);
    cr_assert_neq(get(1001), p);
    cr_assert_eq(get(999), p);
    give(p);
    cr_assert_neq(get(1024), p);
}

Test(gpu_more, a_larger_block_is_found_at_once_the_next_time)
{
    start();
    CUdeviceptr p = get(112 * 512);
    give(p);
    for (unsigned i = 0; i < 3; i++) {
        cr_assert_eq(get(100 * 512), p);
        give(p);
    }
    CUdeviceptr q = get(112 * 512);
    cr_assert_eq(q, p);
    cr_assert_neq(get(100 * 512), p); /* it is in use */
}

/* Of two blocks of a size the newer one may be at work still. */
Test(gpu_more, an_older_block_that_is_ready_is_taken)
{
    be_deferred();
    start();
    CUstream s = stream(CU_STREAM_NON_BLOCKING);
    CUdeviceptr busy = get(4096), ready = get(4096);
    give(ready);
    give(get(4096)); /* the size is known; by now its block is proven */
    OK(cuCtxSynchronize());
    xs_gpu_after_sync(ctx, xs_gpu_before_sync());
    OK(fake_touch(s, P(busy), 4096));
    give(busy);
    cr_assert_eq(get(4096), ready);
    cr_assert_neq(get(4096), busy);
    fake_advance(s, 1);
    cr_assert_eq(get(4096), busy);
}

Test(gpu_more, an_async_free_waits_for_nothing)
{
    start();
    CUstream s = stream(CU_STREAM_NON_BLOCKING);
    CUdeviceptr p = get(4096);
    OK(fake_touch(s, P(p), 4096));
    fake_life_end(P(p));
    OK(xs_gpu_free_async(p, s, xs_cu.cuMemFreeAsync));
    cr_assert_eq(fake_pending(s), 1);
    cr_assert_neq(get(4096), p);
    fake_advance(s, 1);
    cr_assert_eq(get(4096), p);
}

/* When the driver takes the block back, whenever that is, it waits for the block's context only. */
Test(gpu_more, an_async_free_on_a_stream_of_another_context)
{
    CUcontext other;

    be_deferred();
    start();
    CUdeviceptr p = get(4096);
    OK(cuCtxCreate_v2(&other, 0, 0));
    xs_gpu_after_context(other);
    CUstream t = stream(CU_STREAM_NON_BLOCKING);
    OK(fake_touch(t, P(p), 4096));
    fake_life_end(P(p));
    OK(xs_gpu_free_async(p, t, cuMemFreeAsync));
    cr_assert_eq(fake_pending(t), 0);
}

/* Memory of ours went back to the driver, who knows how, and comes to us again. */
Test(gpu_more, a_cached_block_that_the_driver_took)
{
    start();
    CUdeviceptr p = get(MIB), q = get(4 * MIB);
    give(p);
    OK(cuMemFree_v2(p));
    p = get(MIB / 2); /* the same address */
    cr_assert_eq(stats().cached_bytes, 0);
    cr_assert_neq(get(MIB), p);
    fake_life_end(P(p)); /* and one that the program holds */
    OK(cuMemFree_v2(p));
    cr_assert_eq(get(MIB / 4), p);
    cr_assert_eq(stats().in_use_bytes, 4 * MIB + MIB + MIB / 4);
    give(p);
    give(q);
}

/* Where all is found in what is kept, the driver is never asked for memory. */
Test(gpu_more, what_is_kept_gives_way_to_others_though_all_are_hits)
{
    start();
    CUdeviceptr p = get(MIB), q = get(4096);
    give(p);
    give(q);
    xs_gpu_devices[0].o.low_free_bytes = (uint64_t)1 << 40; /* somebody else has taken it */
    unsigned long before = fake_calls("cuMemAlloc_v2");
    for (unsigned i = 0; i < 256 && stats().cached_bytes > 4096; i++)
        give(get(4096));
    cr_assert_leq(stats().cached_bytes, 4096);
    cr_assert_geq(stats().evictions, 1);
    cr_assert_leq(fake_calls("cuMemAlloc_v2"), before + 1);
}

static void *give_many(void *blocks)
{
    OK(cuCtxSetCurrent(ctx));
    for (unsigned i = 0; i < 300; i++)
        give(((const CUdeviceptr *)blocks)[i]);
    return NULL;
}

Test(gpu_more, a_thread_that_only_frees_looks_too)
{
    CUdeviceptr blocks[300];
    pthread_t thread;

    options.low_free_bytes = MIB;
    start();
    for (unsigned i = 0; i < 300; i++)
        blocks[i] = get(4096);
    pthread_create(&thread, NULL, give_many, blocks);
    pthread_join(thread, NULL);
    cr_assert_eq(stats().frees, 300);
}

/* Memory whose device the call names, or nobody knows. */
Test(gpu_more, what_other_calls_lack_may_be_kept_of_another_device)
{
    CUcontext second;
    struct xs_gpu_stats s;

    fake_set_devices(2, 64 * MIB);
    start();
    OK(cuDevicePrimaryCtxRetain(&second, 1));
    xs_gpu_after_context(second);
    OK(cuCtxSetCurrent(second));
    give(get(MIB));
    OK(cuCtxSetCurrent(ctx));
    cr_assert(xs_gpu_stats_get(1, &s, true) && s.cached_bytes == MIB);
    cr_assert_not(xs_gpu_flush_here());
    cr_assert(xs_gpu_flush_any());
    cr_assert(xs_gpu_stats_get(1, &s, true) && s.cached_bytes == 0);
    cr_assert_not(xs_gpu_flush_any());
    xs_gpu_passed_through(XS_GPU_PASS_VMM, 1, 1, 7);
    xs_gpu_passed_through(XS_GPU_PASS_VMM, -1, 2, 9);
    xs_gpu_passed_through(XS_GPU_PASS_VMM, 9999, 3, 11); /* none that we know */
    cr_assert(xs_gpu_stats_get(1, &s, true) && s.vmm_allocations == 1 && s.vmm_bytes == 7);
    cr_assert(stats().vmm_allocations == 1 && stats().vmm_bytes == 9);
}

Test(gpu_more, a_child_of_a_fork_asks_the_driver)
{
    start();
    CUdeviceptr p = get(4096);
    give(p);
    xs_gpu_fork_child();
    GIVES(CUDA_SUCCESS, xs_gpu_malloc(&p, 4096));
    cr_assert_eq(fake_calls("cuMemAlloc_v2"), 2);
    cr_assert_eq(xs_gpu_device_count(), 0);
}

Test(gpu_more, a_child_of_a_fork_may_be_the_first)
{
    find_driver();
    xs_gpu_open(options_of);
    xs_gpu_fork_child();
    start();
    CUdeviceptr p = get(4096);
    give(p);
    cr_assert_eq(get(4096), p);
    cr_assert_eq(fake_calls("cuMemAlloc_v2"), 1);
    cr_assert_eq(xs_gpu_device_count(), 1);
}

/* Some thread of the parent's was at it; and what was under way never ends. */
Test(gpu_more, a_child_of_a_fork_waits_for_no_lock, .timeout = 20)
{
    CUdeviceptr base = 0;
    size_t size = 0;
    CUresult r;

    options.step[0].backend = XS_GPU_BFC;
    start();
    CUdeviceptr p = get(4096);
    for (struct xs_gpu_range *of = xs_gpu_range_next(NULL); of != NULL; of = xs_gpu_range_next(of))
        xs_lock_take(&of->lock);
    cr_assert(xs_gpu_gate_open());
    xs_gpu_fork_child();
    OK(xs_gpu_address_range(&base, &size, p));
    cr_assert_not(xs_gpu_exporting(p, &r));
    xs_gpu_never_reuse(p + 5);
    xs_gpu_capture_begun();
    cr_assert_eq(atomic_load(&xs_gpu_epochs.captures), 0u);
    xs_gpu_capture_ended();
}

Test(gpu_more, the_address_of_a_misaligned_range_is_never_forwarded)
{
    options.step[0].backend = XS_GPU_POOL;
    options.align = 4096;
    start();
    CUdeviceptr spoil, p = 0;
    OK(cuMemAlloc_v2(&spoil, 512)); /* what comes after it is less aligned */
    p = get(10000);
    cr_assert_neq(p, spoil + 512);
    GIVES(CUDA_ERROR_INVALID_VALUE, xs_gpu_free(spoil + 512));
    cr_assert_eq(fake_blocks(), 2);
}

/* ---- blocks that are freed and asked for on a stream ---- */

static CUdeviceptr get_on(CUstream s)
{
    CUdeviceptr p = 0;
    OK(xs_gpu_malloc_on(&p, 4096, s));
    fake_life_begin(P(p), 4096);
    return p;
}

static void give_on(CUdeviceptr p, CUstream s)
{
    fake_life_end(P(p));
    OK(xs_gpu_free_async(p, s, cuMemFreeAsync));
}

Test(gpu_more, what_was_freed_on_a_stream_comes_back_on_it_at_once)
{
    start();
    CUstream s = stream(CU_STREAM_NON_BLOCKING), t = stream(CU_STREAM_NON_BLOCKING);
    CUdeviceptr p = get_on(s);
    OK(fake_touch(s, P(p), 4096));
    give_on(p, s);
    cr_assert_neq(get(4096), p);
    cr_assert_neq(get_on(t), p);
    cr_assert_neq(get_on(CU_STREAM_PER_THREAD), p);
    cr_assert_eq(stats().reuse_stream, 0);
    cr_assert_eq(get_on(s), p);
    cr_assert_eq(stats().reuse_stream, 1);
    OK(fake_touch(s, P(p), 4096)); /* the oracle aborts on work that is not in order */
    cr_assert_eq(fake_pending(s), 2);
}

Test(gpu_more, a_later_free_forgets_the_stream)
{
    be_deferred();
    start();
    CUstream s = stream(CU_STREAM_NON_BLOCKING), t = stream(CU_STREAM_NON_BLOCKING);
    CUdeviceptr p = get_on(s);
    give_on(p, s);
    cr_assert_eq(get(4096), p); /* nothing is pending: proven */
    OK(fake_touch(t, P(p), 4096));
    give(p);
    cr_assert_neq(get_on(s), p);
}

Test(gpu_more, a_stream_that_is_gone_orders_nothing)
{
    start();
    CUstream s = stream(CU_STREAM_NON_BLOCKING), t = stream(CU_STREAM_NON_BLOCKING);
    CUdeviceptr p = get_on(s);
    OK(fake_touch(s, P(p), 4096));
    give_on(p, s);
    xs_gpu_stream_gone(t);
    OK(cuStreamDestroy_v2(t));
    cr_assert_neq(get_on(s), p);
}

Test(gpu_more, a_capture_is_outside_the_order_of_its_stream)
{
    start();
    CUstream s = stream(CU_STREAM_NON_BLOCKING), t = stream(CU_STREAM_NON_BLOCKING);
    CUdeviceptr p = get_on(s), q = 0;
    CUgraph graph;
    OK(fake_touch(s, P(p), 4096));
    give_on(p, s);
    xs_gpu_capture_begun();
    OK(cuStreamBeginCapture_v2(t, CU_STREAM_CAPTURE_MODE_RELAXED));
    OK(xs_gpu_malloc_on(&q, 4096, s));
    cr_assert_neq(q, p);
    OK(cuStreamEndCapture(t, &graph));
    xs_gpu_capture_ended();
    cr_assert_eq(get_on(s), p);
}
