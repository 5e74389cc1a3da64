/* gpu/piece.h against the fake driver: when ranges leave to come back as one, and that no malloc
 * and no deferred free waits for it. Each test is a process of its own. */
#include "tests/support/gpu_test.h"

enum { BLOCKS = 16 };

static CUdeviceptr block[BLOCKS];

static void start_bfc(enum xs_gpu_free free_way)
{
    options.step[0].backend = XS_GPU_BFC;
    options.free_way = free_way;
    start();
}

/* A violation of what the fake's oracle watches over aborts. */
TestSuite(gpu_piece, .timeout = 20);

static void get_all(size_t size)
{
    for (unsigned i = 0; i < BLOCKS; i++)
        block[i] = get(size);
}

static void give_all(void)
{
    for (unsigned i = 0; i < BLOCKS; i++)
        give(block[i]);
}

static uint64_t reserved(void)
{
    cr_assert_eq(stats().reserved_bytes, fake_used(0));
    return stats().reserved_bytes;
}

Test(gpu_piece, ranges_come_back_as_one)
{
    start_bfc(XS_GPU_STRICT);
    /* The second size fits into no range of the first. */
    get_all(2 * MIB);
    give_all();
    get_all(3 * MIB);
    give_all();
    get_all(3 * MIB);
    cr_assert_leq(fake_blocks(), 2);
    uint64_t after = reserved();
    cr_assert_leq(after, BLOCKS * 3 * MIB * 115 / 100, "%lu bytes", (unsigned long)after);
    give_all();
    unsigned long calls = fake_calls("cuMemAlloc_v2");
    for (int i = 0; i < 20; i++) {
        get_all((size_t)(1 + i % 3) * MIB);
        give_all();
    }
    cr_assert_leq(fake_calls("cuMemAlloc_v2"), calls + 2);
    cr_assert_leq(reserved(), after);
}

/* A kernel that never ends: a free that waited for it would abort. */
Test(gpu_piece, no_deferred_free_waits_for_a_merge)
{
    start_bfc(XS_GPU_DEFERRED);
    get_all(2 * MIB);
    fake_hold(NULL);
    for (int i = 0; i < 100; i++) {
        give_all();
        get_all(2 * MIB);
    }
    give_all();
    cr_assert_eq(fake_calls("cuMemFree_v2"), 0);
    /* Not at each chance, as it was in vain a moment ago. */
    cr_assert_leq(fake_calls("cuStreamQuery"), 60, "%lu", fake_calls("cuStreamQuery"));
    cr_assert_gt(fake_calls("cuStreamQuery"), 2);
    fake_release(NULL);
    fake_advance(FAKE_ALL, 99);
    for (int i = 0; i < 40; i++) {
        get_all(2 * MIB);
        give_all();
    }
    cr_assert_gt(fake_calls("cuMemFree_v2"), 0);
    get_all(2 * MIB);
    cr_assert_leq(fake_blocks(), 2);
}

Test(gpu_piece, no_free_in_a_stream_waits_for_a_merge)
{
    start_bfc(XS_GPU_STRICT);
    get_all(2 * MIB);
    fake_hold(NULL);
    for (unsigned i = 0; i < BLOCKS; i++) {
        fake_life_end(P(block[i]));
        OK(xs_gpu_free_async(block[i], NULL, cuMemFreeAsync));
    }
    cr_assert_eq(fake_calls("cuMemFree_v2"), 0);
    fake_release(NULL);
}

Test(gpu_piece, no_merge_during_a_capture)
{
    CUgraph graph;

    start_bfc(XS_GPU_STRICT);
    get_all(2 * MIB);
    CUstream s = stream(CU_STREAM_NON_BLOCKING);
    xs_gpu_capture_begun();
    OK(cuStreamBeginCapture_v2(s, CU_STREAM_CAPTURE_MODE_GLOBAL));
    give_all();
    cr_assert_eq(fake_calls("cuMemFree_v2"), 0);
    OK(cuStreamEndCapture(s, &graph));
    xs_gpu_capture_ended();
}

/* Somebody else has taken what was given back: less is asked for, and nothing flushed or waited
 * for. */
Test(gpu_piece, memory_that_somebody_else_took)
{
    CUdeviceptr theirs;

    start_bfc(XS_GPU_STRICT);
    (void)get(MIB);
    get_all(200 * MIB);
    give_all();
    cr_assert_leq(reserved(), 300 * MIB);
    OK(cuMemAlloc_v2(&theirs, (size_t)4096 * MIB - fake_used(0) - 300 * MIB));
    fake_hold(NULL);
    (void)get(250 * MIB);
    cr_assert_eq(stats().flushes, 0);
    cr_assert_geq(stats().slabs, 2, "served from a range");
    fake_release(NULL);
}
