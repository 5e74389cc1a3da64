/* Memory that the driver gives out by itself: what of it is in use, whatever call frees it. And
 * what is said of addresses in blocks that were freed and are kept. */
#include "gpu/passed.h"
#include "tests/support/gpu_test.h"

TestSuite(gpu_passed, .timeout = 20);

static CUdeviceptr get_ordered(size_t size)
{
    CUdeviceptr p = 0;

    OK(cuMemAllocAsync(&p, size, NULL));
    xs_gpu_passed_through(XS_GPU_PASS_ASYNC, -1, p, size);
    return p;
}

static void expect_ordered(uint64_t now, uint64_t peak)
{
    struct xs_gpu_stats s = stats();
    cr_assert_eq(s.async_in_use_bytes, now, "%lu", (unsigned long)s.async_in_use_bytes);
    cr_assert_eq(s.async_in_use_bytes_peak, peak, "%lu", (unsigned long)s.async_in_use_bytes_peak);
}

Test(gpu_passed, stream_ordered_blocks_until_they_are_freed)
{
    start();
    CUdeviceptr p = get_ordered(3 * MIB), q = get_ordered(MIB);
    expect_ordered(4 * MIB, 4 * MIB);
    OK(xs_gpu_free_async(p, NULL, cuMemFreeAsync));
    expect_ordered(MIB, 4 * MIB);
    OK(xs_gpu_free(q)); /* cudaFree takes them too */
    expect_ordered(0, 4 * MIB);
    GIVES(CUDA_ERROR_INVALID_VALUE, xs_gpu_free(q));
    GIVES(CUDA_ERROR_INVALID_VALUE, xs_gpu_free_async(q, NULL, cuMemFreeAsync));
    expect_ordered(0, 4 * MIB);
    cr_assert(stats().async_allocations == 2 && stats().async_bytes == 4 * MIB);
}

Test(gpu_passed, a_free_that_the_driver_refuses)
{
    start();
    CUdeviceptr p = get_ordered(MIB);
    fake_fail("cuMemFreeAsync", 1, CUDA_ERROR_INVALID_HANDLE);
    GIVES(CUDA_ERROR_INVALID_HANDLE, xs_gpu_free_async(p, NULL, cuMemFreeAsync));
    expect_ordered(MIB, MIB);
    fake_fail("cuMemFree_v2", 1, CUDA_ERROR_INVALID_HANDLE);
    GIVES(CUDA_ERROR_INVALID_HANDLE, xs_gpu_free(p));
    expect_ordered(MIB, MIB);
    OK(xs_gpu_free(p));
    expect_ordered(0, MIB);
}

/* More than there are buckets for at first, and freed in another order. */
Test(gpu_passed, many_blocks)
{
    static CUdeviceptr p[3000];
    enum { MANY = sizeof(p) / sizeof(p[0]) };

    start();
    for (unsigned i = 0; i < MANY; i++)
        p[i] = get_ordered(512);
    expect_ordered(MANY * 512, MANY * 512);
    for (unsigned i = 0; i < MANY; i += 2)
        OK(xs_gpu_free_async(p[i], NULL, cuMemFreeAsync));
    expect_ordered(MANY / 2 * 512, MANY * 512);
    for (unsigned i = MANY; i-- > 0;)
        if (i % 2 != 0)
            OK(xs_gpu_free(p[i]));
    expect_ordered(0, MANY * 512);
}

/* Its end was not seen, and its address comes again. */
Test(gpu_passed, an_address_that_comes_twice)
{
    start();
    xs_gpu_passed_through(XS_GPU_PASS_ASYNC, -1, 0x7000, MIB);
    xs_gpu_passed_through(XS_GPU_PASS_ASYNC, -1, 0x7000, 2 * MIB);
    expect_ordered(2 * MIB, 2 * MIB);
}

Test(gpu_passed, blocks_go_with_the_primary_context)
{
    start();
    (void)get_ordered(MIB);
    xs_gpu_passed_through(XS_GPU_PASS_VMM, 0, 0x7000, 2 * MIB);
    CUcontext other;
    CUdeviceptr p;
    OK(cuCtxCreate_v2(&other, 0, 0));
    xs_gpu_after_context(other);
    OK(cuMemAllocAsync(&p, 512, NULL));
    xs_gpu_passed_through(XS_GPU_PASS_ASYNC, -1, p, 512);
    xs_gpu_device_reset(0);
    expect_ordered(512, MIB + 512);                  /* another context's */
    cr_assert_eq(stats().vmm_in_use_bytes, 2 * MIB); /* that has a handle still */
}

Test(gpu_passed, a_child_of_a_fork_leaves_them_alone)
{
    struct xs_gpu_passed was;

    start();
    CUdeviceptr p = get_ordered(MIB);
    xs_gpu_fork_child();
    cr_assert_not(xs_gpu_passed_ends(XS_GPU_PASS_ASYNC, p, &was));
    xs_gpu_passed_unmapped(p, MIB);
}

/* ---- physical memory ---- */

static void expect_physical(uint64_t now)
{
    cr_assert_eq(stats().vmm_in_use_bytes, now, "%lu", (unsigned long)stats().vmm_in_use_bytes);
}

static void release(CUmemGenericAllocationHandle h)
{
    struct xs_gpu_passed was;
    (void)xs_gpu_passed_ends(XS_GPU_PASS_VMM, h, &was);
}

Test(gpu_passed, memory_with_a_handle_or_mapped)
{
    start();
    xs_gpu_passed_through(XS_GPU_PASS_VMM, 0, 7, 2 * MIB);
    expect_physical(2 * MIB);
    release(7);
    expect_physical(0);

    xs_gpu_passed_through(XS_GPU_PASS_VMM, 0, 8, 2 * MIB);
    xs_gpu_passed_mapped(64 * MIB, 2 * MIB, 8);
    release(8); /* as most do, once it is mapped */
    expect_physical(2 * MIB);
    xs_gpu_passed_again(8); /* cuMemRetainAllocationHandle */
    xs_gpu_passed_unmapped(64 * MIB, 2 * MIB);
    expect_physical(2 * MIB);
    release(8);
    expect_physical(0);
    release(8);
    xs_gpu_passed_again(8);
    xs_gpu_passed_unmapped(64 * MIB, 2 * MIB);
    expect_physical(0);
    cr_assert_eq(stats().vmm_in_use_bytes_peak, 2 * MIB);
}

Test(gpu_passed, mappings_side_by_side_are_unmapped_at_once)
{
    start();
    for (unsigned i = 1; i <= 100; i++) {
        xs_gpu_passed_through(XS_GPU_PASS_VMM, 0, i, 2 * MIB);
        xs_gpu_passed_mapped(i * 2 * MIB, 2 * MIB, i);
        release(i);
    }
    xs_gpu_passed_mapped(512 * MIB, MIB, 999); /* another process's: not counted */
    expect_physical(200 * MIB);
    xs_gpu_passed_unmapped(2 * 2 * MIB, 50 * 2 * MIB);
    expect_physical(100 * MIB);
    xs_gpu_passed_unmapped(512 * MIB, MIB);
    xs_gpu_passed_unmapped(0, 512 * MIB);
    expect_physical(0);
}

Test(gpu_passed, a_release_that_the_driver_refuses)
{
    struct xs_gpu_passed was;

    start();
    xs_gpu_passed_through(XS_GPU_PASS_VMM, 0, 7, 2 * MIB);
    cr_assert(xs_gpu_passed_ends(XS_GPU_PASS_VMM, 7, &was));
    xs_gpu_passed_stays(&was);
    expect_physical(2 * MIB);
    xs_gpu_passed_mapped(64 * MIB, 2 * MIB, 7);
    cr_assert(xs_gpu_passed_ends(XS_GPU_PASS_VMM, 7, &was));
    xs_gpu_passed_stays(&was);
    xs_gpu_passed_unmapped(64 * MIB, 2 * MIB);
    expect_physical(2 * MIB);
    release(7);
    expect_physical(0);
}

/* ---- graphs ---- */

Test(gpu_passed, a_captured_stream)
{
    CUdeviceptr p;
    CUgraph graph;

    start();
    CUstream s = stream(CU_STREAM_NON_BLOCKING), t = stream(CU_STREAM_NON_BLOCKING);
    cr_assert_not(xs_gpu_is_captured(s, false));
    xs_gpu_capture_begun();
    OK(cuStreamBeginCapture_v2(s, CU_STREAM_CAPTURE_MODE_RELAXED));
    cr_assert(xs_gpu_is_captured(s, false) && xs_gpu_is_captured(s, true));
    cr_assert_not(xs_gpu_is_captured(t, false));
    cr_assert_not(xs_gpu_is_captured(NULL, false));
    OK(cuMemAllocAsync(&p, MIB, s));
    xs_gpu_passed_through(XS_GPU_PASS_GRAPH, -1, 0, MIB);
    OK(cuStreamEndCapture(s, &graph));
    xs_gpu_capture_ended();
    cr_assert_not(xs_gpu_is_captured(s, false));
    cr_assert(stats().graph_allocations == 1 && stats().graph_bytes == MIB);
    expect_ordered(0, 0);
    OK(cuGraphDestroy(graph));
}

/* ---- what is said of freed blocks ---- */

Test(gpu_passed, blocks_that_were_freed_are_none)
{
    int on_stack;

    start();
    CUdeviceptr p = get(MIB), q = get(MIB);
    void *h = get_host(8192, 0);
    CUdeviceptr host = (CUdeviceptr)(uintptr_t)h;
    cr_assert_not(xs_gpu_is_freed(p) || xs_gpu_is_freed_within(p + 512));
    cr_assert_not(xs_gpu_is_freed(host));
    give(p);
    give_host(h);
    cr_assert(xs_gpu_is_freed(p) && xs_gpu_is_freed_within(p + 512));
    cr_assert(xs_gpu_is_freed(host) && xs_gpu_is_freed_within(host + 8));
    cr_assert_not(xs_gpu_is_freed(q) || xs_gpu_is_freed_within(q) || xs_gpu_is_freed_within(q + 8));
    cr_assert_not(xs_gpu_is_freed_within((CUdeviceptr)(uintptr_t)&on_stack));
    cr_assert_eq(get(MIB), p);
    cr_assert_not(xs_gpu_is_freed(p) || xs_gpu_is_freed_within(p + 512));
}

Test(gpu_passed, pieces_that_were_freed_are_none)
{
    options.step[0].backend = XS_GPU_BFC;
    start();
    CUdeviceptr p = get(4096), q = get(4096);
    cr_assert_not(xs_gpu_is_freed(p) || xs_gpu_is_freed(p + 8) || xs_gpu_is_freed(q));
    give(p);
    cr_assert(xs_gpu_is_freed(p) && xs_gpu_is_freed(p + 8));
    cr_assert_not(xs_gpu_is_freed(q) || xs_gpu_is_freed(q + 4095));
    cr_assert_not(xs_gpu_is_freed_within(q + 8)); /* though where the driver says it begins is */
    cr_assert_eq(get(4096), p);
    cr_assert_not(xs_gpu_is_freed(p) || xs_gpu_is_freed(p + 8));
}

/* ---- a debugger ---- */

Test(gpu_passed, nothing_is_kept_once_a_debugger_has_attached)
{
    static _Atomic uint8_t flag;

    start();
    xs_cu.debugged = &flag;
    give(get(MIB));
    cr_assert_eq(stats().cached_bytes, MIB);
    flag = 1;
    for (unsigned i = 0; i < 64; i++)
        give(get(4096));
    cr_assert_eq(stats().cached_bytes, 0);
    cr_assert_eq(fake_blocks(), 0);
    unsigned long before = fake_calls("cuMemFree_v2");
    give(get(MIB));
    cr_assert_eq(fake_calls("cuMemFree_v2"), before + 1);
}
