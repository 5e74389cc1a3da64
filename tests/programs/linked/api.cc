// The C interface and the C++ allocator of a program that links with the library.
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <numeric>
#include <string>
#include <vector>

#include "xsigma.hpp"

static int failures;
#define CHECK(what)                                                                                \
    do {                                                                                           \
        if (!(what)) {                                                                             \
            std::printf("%s:%d: %s\n", __FILE__, __LINE__, #what);                                 \
            failures++;                                                                            \
        }                                                                                          \
    } while (0)

static bool aligned(const void *p, std::size_t a)
{
    return reinterpret_cast<std::uintptr_t>(p) % a == 0;
}

static xsigma_backend_stats of(const xsigma_stats &s, const std::string &name)
{
    for (std::size_t i = 0; i < s.backend_count; i++)
        if (name == s.backends[i].name)
            return s.backends[i];
    return {};
}

static xsigma_stats snapshot()
{
    xsigma_stats s;
    s.stats_size = sizeof(s);
    CHECK(xsigma_stats_snapshot(&s) == 0);
    return s;
}

static void attributes()
{
    void *p = &p;
    xsigma_attr attr = XSIGMA_ATTR_INIT;

    CHECK(xsigma_alloc(&p, 1000, nullptr) == 0 && p != nullptr);
    std::memset(p, 7, 1000);
    CHECK(xsigma_realloc(&p, 100000, nullptr) == 0 && static_cast<char *>(p)[999] == 7);
    xsigma_free(p);
    for (std::size_t a = 1; a <= 1 << 20; a *= 2) {
        attr.alignment = a;
        CHECK(xsigma_alloc(&p, 100, &attr) == 0 && aligned(p, a));
        std::memset(p, 9, 100);
        CHECK(xsigma_realloc(&p, 5000, &attr) == 0 && aligned(p, a));
        CHECK(static_cast<char *>(p)[99] == 9);
        xsigma_free(p);
    }
    attr.alignment = 48;
    CHECK(xsigma_alloc(&p, 100, &attr) == EINVAL && p == nullptr);
    attr = XSIGMA_ATTR_INIT;
    attr.device = 0; // without a CUDA driver
    int rc = xsigma_alloc(&p, 100, &attr);
    CHECK(rc == 0 || (rc == ENOTSUP && p == nullptr));
    xsigma_free(p);
    attr.device = -2;
    CHECK(xsigma_alloc(&p, 100, &attr) == EINVAL && p == nullptr);
    attr = XSIGMA_ATTR_INIT;
    attr.numa_node = 0;
    CHECK(xsigma_alloc(&p, 100, &attr) == ENOTSUP);
    attr = XSIGMA_ATTR_INIT;
    attr.stream = &attr;
    CHECK(xsigma_alloc(&p, 100, &attr) == ENOTSUP);
    attr = XSIGMA_ATTR_INIT;
    attr.backend = "nobody";
    CHECK(xsigma_alloc(&p, 100, &attr) == ENOENT);
    attr.attr_size = 1;
    CHECK(xsigma_alloc(&p, 100, &attr) == EINVAL);
    errno = 1234;
    CHECK(xsigma_alloc(&p, SIZE_MAX, nullptr) == ENOMEM && p == nullptr && errno == 1234);
}

// A block of each open back end is counted there, and realloc moves it to another by name.
static void backends()
{
    xsigma_backend_info info[XSIGMA_BACKENDS_MAX];
    std::size_t n = xsigma_backends(info, XSIGMA_BACKENDS_MAX);
    unsigned active = 0;

    CHECK(n >= 3 && xsigma_backends(nullptr, 0) == n);
    for (std::size_t i = 0; i < n; i++) {
        xsigma_attr attr = XSIGMA_ATTR_INIT;
        void *p;
        attr.backend = info[i].name;
        active += info[i].is_active != 0;
        if (!info[i].is_open) {
            CHECK(xsigma_alloc(&p, 100, &attr) == ENOENT);
            continue;
        }
        auto before = of(snapshot(), info[i].name);
        CHECK(xsigma_alloc(&p, 12345, &attr) == 0);
        auto with = of(snapshot(), info[i].name);
        std::memset(p, 5, 12345);
        CHECK(with.allocations == before.allocations + 1);
        CHECK(with.requested_bytes == before.requested_bytes + 12345);
        CHECK(with.live_blocks == before.live_blocks + 1);
        for (std::size_t j = 0; j < n; j++) {
            if (!info[j].is_open)
                continue;
            attr.backend = info[j].name;
            CHECK(xsigma_realloc(&p, 12345 + j, &attr) == 0);
            CHECK(static_cast<char *>(p)[12344] == 5);
        }
        xsigma_free(p);
    }
    CHECK(active >= 1);
}

static void batches()
{
    void *p[100];
    auto count = [] {
        std::uint64_t n = 0;
        xsigma_stats s = snapshot();
        for (std::size_t i = 0; i < s.backend_count; i++)
            n += static_cast<std::uint64_t>(s.backends[i].live_blocks);
        return n;
    };
    auto before = count();

    CHECK(xsigma_alloc_batch(p, 100, 64, nullptr) == 0);
    CHECK(count() == before + 100);
    for (int i = 0; i < 100; i++)
        std::memset(p[i], i, 64);
    for (int i = 0; i < 100; i++)
        CHECK(static_cast<unsigned char *>(p[i])[63] == i);
    xsigma_free_batch(p, 100);
    CHECK(count() == before);
    CHECK(xsigma_alloc_batch(p, 100, PTRDIFF_MAX, nullptr) == ENOMEM);
    CHECK(p[0] == nullptr && p[99] == nullptr && count() == before);
}

static void switching()
{
    CHECK(snapshot().counting == 1);
    CHECK(xsigma_stats_enable(0) == 0);
    auto off = snapshot();
    void *p;
    CHECK(xsigma_alloc(&p, 77, nullptr) == 0);
    xsigma_free(p);
    auto still = snapshot();
    CHECK(off.counting == 0 && still.not_counting_ns > 0);
    for (std::size_t i = 0; i < off.backend_count; i++)
        CHECK(off.backends[i].requested_bytes == still.backends[i].requested_bytes);
    CHECK(xsigma_stats_enable(1) == 0 && snapshot().counting == 1);
    xsigma_stats wrong;
    wrong.stats_size = 1;
    CHECK(xsigma_stats_snapshot(&wrong) == EINVAL);
}

static void containers()
{
    xsigma_attr attr = XSIGMA_ATTR_INIT;
    attr.alignment = 64;
    std::vector<double, xsigma::allocator_typed<double>> v{xsigma::allocator_typed<double>(attr)};

    for (int i = 0; i < 10000; i++) {
        v.push_back(i);
        CHECK(aligned(v.data(), 64));
    }
    CHECK(std::accumulate(v.begin(), v.end(), 0.0) == 49995000.0);
    auto copy = v;
    CHECK(copy == v && aligned(copy.data(), 64));
    bool threw = false;
    try {
        v.reserve(v.max_size() / 2);
    } catch (const std::bad_alloc &) {
        threw = true;
    }
    CHECK(threw);
}

int main()
{
    CHECK(std::string(xsigma_version()) == XSIGMA_VERSION);
    attributes();
    backends();
    batches();
    switching();
    containers();
    int trimmed = xsigma_trim(0);
    CHECK(trimmed == 0 || trimmed == 1);
    std::printf("%d failures\n", failures);
    return failures != 0;
}
