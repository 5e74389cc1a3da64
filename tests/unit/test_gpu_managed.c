/* The GPU core against the fake driver: managed memory in the place of the device's. */
#include "gpu/core.h"
#include "tests/support/gpu_test.h"

TestSuite(gpu_managed, .timeout = 20);

Test(gpu_managed, managed_memory_in_the_place_of_device_memory)
{
    options.step[0].backend = XS_GPU_MANAGED;
    options.prefetch = true;
    be_deferred();
    start();
    CUdeviceptr p;
    OK(xs_gpu_malloc(&p, 4096));
    cr_assert_eq(fake_calls("cuMemAllocManaged"), 1);
    cr_assert_eq(fake_calls("cuMemPrefetchAsync_v2"), 1);
    OK(xs_gpu_free(p));
    CUdeviceptr q;
    OK(xs_gpu_malloc(&q, 4096)); /* the prefetch is not done */
    cr_assert_neq(q, p);
    fake_advance(FAKE_ALL, 9);
    OK(xs_gpu_malloc(&q, 4096));
    cr_assert_eq(q, p);
}

/* As every 256th free does, a second after the last time. */
static void look(void)
{
    atomic_store(&xs_gpu_devices[0].asked_ns, 0);
    for (unsigned i = 0; i < 4; i++)
        xs_gpu_look(xs_gpu_shard());
}

/* When the device is short, the oldest that is in use goes to the host, as much as is lacking, each
 * block once; not what was freed, nor what the driver would move with its neighbours. */
Test(gpu_managed, managed_memory_goes_back_when_the_device_is_short)
{
    options.step[0].backend = XS_GPU_MANAGED;
    options.prefetch = options.prefetch_back = true;
    options.cache_max_bytes = 0;
    start();
    CUdeviceptr freed = get(MIB), p = get(MIB), small = get(4096), q = get(MIB), r = get(2 * MIB);
    give(freed);
    cr_assert(fake_where(P(p)) == 0 && fake_where(P(r)) == 0);
    xs_gpu_devices[0].o.low_free_bytes = 1; /* enough is free */
    look();
    cr_assert_eq(fake_where(P(p)), 0);
    size_t left, total;
    OK(cuMemGetInfo_v2(&left, &total));
    xs_gpu_devices[0].o.low_free_bytes = left + MIB + MIB / 2;
    look();
    cr_assert(fake_where(P(p)) == -1 && fake_where(P(q)) == -1 && fake_where(P(r)) == 0);
    cr_assert_eq(fake_where(P(small)), 0);
    cr_assert_eq(stats().managed_moved_back_bytes, 2 * MIB);
    unsigned long before = fake_calls("cuMemPrefetchAsync_v2");
    for (unsigned i = 0; i < 3; i++)
        look();
    cr_assert_eq(fake_calls("cuMemPrefetchAsync_v2"), before + 1);
    cr_assert_eq(fake_where(P(r)), -1);
}

Test(gpu_managed, managed_memory_stays_unless_asked_to_go_back)
{
    options.step[0].backend = XS_GPU_MANAGED;
    options.prefetch = true;
    options.low_free_bytes = (uint64_t)1 << 40;
    start();
    CUdeviceptr p = get(MIB);
    look();
    cr_assert_eq(fake_where(P(p)), 0);
    cr_assert_eq(stats().managed_moved_back_bytes, 0);
}
