// Device memory through xsigma.h, in a program that never looked for a driver itself.
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>

#include "xsigma.hpp"

static int failures;
#define CHECK(what)                                                                                \
    do {                                                                                           \
        if (!(what)) {                                                                             \
            std::printf("%s:%d: %s\n", __FILE__, __LINE__, #what);                                 \
            failures++;                                                                            \
        }                                                                                          \
    } while (0)

static struct xsigma_gpu_stats stats(int device = 0)
{
    struct xsigma_gpu_stats s;
    s.stats_size = sizeof(s);
    CHECK(xsigma_gpu_stats_snapshot(device, &s) == 0);
    return s;
}

static xsigma_attr on(int device)
{
    xsigma_attr attr = XSIGMA_ATTR_INIT;
    attr.device = device;
    return attr;
}

// Every call says ENOTSUP where there is no driver, and host memory is as ever.
static int without_driver()
{
    xsigma_attr attr = on(0);
    void *p = &p;
    std::uint64_t bytes = 1;
    struct xsigma_gpu_stats s;

    s.stats_size = sizeof(s);
    CHECK(xsigma_alloc(&p, 100, &attr) == ENOTSUP && p == nullptr);
    CHECK(xsigma_gpu_clear(XSIGMA_ALL_DEVICES) == ENOTSUP);
    CHECK(xsigma_gpu_set_cache_max(0, 1) == ENOTSUP);
    CHECK(xsigma_gpu_defragment(0, &bytes) == ENOTSUP && bytes == 0);
    CHECK(xsigma_gpu_prefetch(&p, 1, 0, nullptr) == ENOTSUP);
    CHECK(xsigma_gpu_free(&p, nullptr) == ENOTSUP);
    CHECK(xsigma_gpu_stats_snapshot(0, &s) == ENOENT);
    CHECK(xsigma_alloc(&p, 100, nullptr) == 0);
    xsigma_free(p);
    return failures;
}

// libcuda is the toolkit's stub: it can be loaded and does nothing.
static int with_stub()
{
    xsigma_attr attr = on(0);
    void *p = &p;

    CHECK(xsigma_alloc(&p, 100, &attr) == ENOTSUP && p == nullptr);
    return failures;
}

// With XSIGMA_GPU_BACKEND=managed: the CPU may touch it, and it can be moved.
static int managed()
{
    xsigma_attr attr = on(0);
    void *p = nullptr;
    int here = 0;

    CHECK(xsigma_alloc(&p, 1 << 20, &attr) == 0);
    std::memset(p, 7, 1 << 20);
    CHECK(xsigma_gpu_prefetch(p, 1 << 20, 0, nullptr) == 0);
    CHECK(xsigma_gpu_prefetch(p, 1 << 20, 1, nullptr) == 0);
    CHECK(xsigma_gpu_prefetch(p, 1 << 20, XSIGMA_HOST, nullptr) == 0);
    std::thread([&] { CHECK(xsigma_gpu_prefetch(p, 4096, XSIGMA_HOST, nullptr) == 0); }).join();
    CHECK(static_cast<char *>(p)[99] == 7);
    CHECK(xsigma_gpu_prefetch(&here, sizeof(here), 0, nullptr) == EINVAL);
    xsigma_free(p);
    CHECK(std::strcmp(stats().backend, "managed") == 0);
    return failures;
}

static void wrong_arguments()
{
    xsigma_attr attr = on(0);
    void *p = &p;
    struct xsigma_gpu_stats s;

    attr.alignment = 24;
    CHECK(xsigma_alloc(&p, 100, &attr) == EINVAL && p == nullptr);
    attr = on(64);
    CHECK(xsigma_alloc(&p, 100, &attr) == EINVAL);
    attr = on(7); // the driver has two
    CHECK(xsigma_alloc(&p, 100, &attr) == EINVAL);
    attr = on(0);
    attr.alignment = 1 << 20;
    CHECK(xsigma_alloc(&p, 100, &attr) == ENOTSUP);
    attr = on(0);
    attr.backend = "bfc";
    CHECK(xsigma_alloc(&p, 100, &attr) == ENOTSUP);
    CHECK(xsigma_gpu_clear(-2) == EINVAL);
    CHECK(xsigma_gpu_prefetch(&p, 1, -2, nullptr) == EINVAL);
    s.stats_size = sizeof(s) - 8;
    CHECK(xsigma_gpu_stats_snapshot(0, &s) == EINVAL);
    s.stats_size = sizeof(s);
    CHECK(xsigma_gpu_stats_snapshot(-1, &s) == EINVAL);
    CHECK(xsigma_gpu_stats_snapshot(64, &s) == EINVAL);
}

static void blocks()
{
    xsigma_attr attr = on(0);
    void *p = nullptr;
    void *q = nullptr;

    attr.alignment = 512;
    CHECK(xsigma_alloc(&p, 1 << 20, &attr) == 0 && p != nullptr);
    CHECK(reinterpret_cast<std::uintptr_t>(p) % 512 == 0);
    auto s = stats();
    CHECK(s.allocations == 1 && s.in_use_bytes >= 1 << 20 && s.requested_bytes == 1 << 20);
    CHECK(std::strcmp(s.backend, "caching") == 0);
    CHECK(xsigma_realloc(&p, 100, nullptr) == ENOTSUP);
    xsigma_free(p);
    s = stats();
    CHECK(s.frees == 1 && s.in_use_bytes == 0 && s.cached_bytes >= 1 << 20);
    CHECK(s.in_use_bytes_peak >= 1 << 20 && s.driver_mallocs == 1);
    CHECK(xsigma_alloc(&q, 1 << 20, &attr) == 0 && q == p);
    s = stats();
    CHECK(s.hits == 1 && s.hit_rate > 0.49 && s.hit_rate < 0.51);
    CHECK(xsigma_gpu_free(q, nullptr) == 0);
    CHECK(xsigma_gpu_free(q, nullptr) == EINVAL); // twice
    CHECK(xsigma_gpu_free(nullptr, nullptr) == 0);
    // Host blocks among them.
    CHECK(xsigma_gpu_free(&attr, nullptr) == EINVAL);
    void *host = nullptr;
    CHECK(xsigma_alloc(&host, 100, nullptr) == 0);
    xsigma_free(host);
    void *many[10];
    CHECK(xsigma_alloc_batch(many, 10, 5000, &attr) == 0);
    xsigma_free_batch(many, 10);
    CHECK(xsigma_alloc(&p, 0, &attr) == 0 && p != nullptr);
    xsigma_free(p);
    errno = 1234;
    CHECK(xsigma_alloc(&p, SIZE_MAX / 4, &attr) == ENOMEM && p == nullptr && errno == 1234);
    CHECK(stats().ooms == 1);
}

static void control()
{
    xsigma_attr attr = on(0);
    void *p = nullptr;
    std::uint64_t bytes = 1;

    CHECK(xsigma_alloc(&p, 3 << 20, &attr) == 0);
    xsigma_free(p);
    CHECK(stats().cached_bytes >= 3 << 20);
    CHECK(xsigma_gpu_clear(XSIGMA_ALL_DEVICES) == 0);
    CHECK(stats().cached_bytes == 0);
    CHECK(xsigma_gpu_set_cache_max(0, 1 << 20) == 0);
    CHECK(stats().cache_max_bytes == 1 << 20);
    CHECK(xsigma_alloc(&p, 3 << 20, &attr) == 0);
    xsigma_free(p);
    CHECK(stats().cached_bytes <= 1 << 20);
    CHECK(xsigma_gpu_defragment(XSIGMA_ALL_DEVICES, &bytes) == 0);
    // For a device that is used only later.
    CHECK(xsigma_gpu_set_cache_max(XSIGMA_ALL_DEVICES, 2 << 20) == 0);
    attr.device = 1;
    CHECK(xsigma_alloc(&p, 1 << 20, &attr) == 0);
    CHECK(stats(1).cache_max_bytes == 2 << 20 && stats(1).allocations == 1);
    CHECK(stats(0).cache_max_bytes == 2 << 20);
    xsigma_free(p);
    CHECK(stats(1).frees == 1);
}

// A thread without any context frees what others made.
static void threads()
{
    xsigma_attr attr = on(1);
    void *p = nullptr;
    void *q = nullptr;

    CHECK(xsigma_alloc(&p, 100, &attr) == 0);
    CHECK(xsigma_alloc(&q, 100, &attr) == 0);
    std::thread([&] { xsigma_free(p); }).join();
    std::thread([&] { CHECK(xsigma_gpu_free(q, nullptr) == 0); }).join();
    CHECK(stats(1).in_use_bytes == 0);
}

static void owner()
{
    {
        xsigma::device_block a(1000);
        CHECK(a.get() != nullptr);
        xsigma::device_block b(std::move(a));
        CHECK(a.get() == nullptr && b.get() != nullptr);
        a = std::move(b);
        CHECK(a.get() != nullptr && b.get() == nullptr);
    }
    CHECK(stats().in_use_bytes == 0);
    bool thrown = false;
    try {
        xsigma::device_block c(SIZE_MAX / 4);
    } catch (const std::bad_alloc &) {
        thrown = true;
    }
    CHECK(thrown);
}

int main(int argc, char **argv)
{
    if (argc > 1 && std::strcmp(argv[1], "none") == 0)
        return without_driver();
    if (argc > 1 && std::strcmp(argv[1], "stub") == 0)
        return with_stub();
    if (argc > 1 && std::strcmp(argv[1], "managed") == 0)
        return managed();
    wrong_arguments();
    blocks();
    control();
    threads();
    owner();
    return failures;
}
