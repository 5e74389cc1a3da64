// new_replaced.cc - a program that replaces two pairs of operators, plain and aligned, by pools.
// The forms it does not replace (array, nothrow, sized) must still reach its own, as the C++
// standard has it: a library that answers them itself would hand the pools foreign blocks.
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>

// The sized forms stay the library's: that they come back here is what is tested.
#pragma GCC diagnostic ignored "-Wsized-deallocation"

namespace
{

alignas(4096) unsigned char plain_pool[1 << 20];
alignas(4096) unsigned char aligned_pool[1 << 20];
std::size_t plain_used, aligned_used;
int plain_news, plain_deletes, aligned_news, aligned_deletes;
int failures;

bool inside(const void *p, const unsigned char *pool, std::size_t size)
{
    auto at = reinterpret_cast<std::uintptr_t>(p);
    auto base = reinterpret_cast<std::uintptr_t>(pool);
    return at >= base && at < base + size;
}

void check(bool ok, int line, const char *what)
{
    if (ok)
        return;
    std::fprintf(stderr, "%s:%d: new_replaced: %s\n", __FILE__, line, what);
    failures++;
}
#define CHECK(ok) check((ok), __LINE__, #ok)

void *opaque(void *p)
{
    __asm__ volatile("" : "+r"(p) : : "memory");
    return p;
}

} // namespace

void *operator new(std::size_t n)
{
    plain_news++;
    void *p = plain_pool + plain_used;
    plain_used += (n + 31) / 16 * 16;
    if (plain_used > sizeof(plain_pool))
        throw std::bad_alloc();
    return p;
}

void operator delete(void *p) noexcept
{
    plain_deletes++;
    if (p != nullptr)
        CHECK(inside(p, plain_pool, sizeof(plain_pool)));
}

void *operator new(std::size_t n, std::align_val_t align)
{
    auto a = static_cast<std::size_t>(align);
    aligned_news++;
    aligned_used = (aligned_used + a - 1) / a * a;
    void *p = aligned_pool + aligned_used;
    aligned_used += n + 1;
    if (aligned_used > sizeof(aligned_pool))
        throw std::bad_alloc();
    return p;
}

void operator delete(void *p, std::align_val_t) noexcept
{
    aligned_deletes++;
    if (p != nullptr)
        CHECK(inside(p, aligned_pool, sizeof(aligned_pool)));
}

int main(int argc, char **argv)
{
    if (argc > 1) {
        if (std::strcmp(argv[1], "--list") != 0)
            return 2;
        std::puts("new-replaced");
        return 0;
    }
    const auto plain = [](void *p) { return inside(opaque(p), plain_pool, sizeof(plain_pool)); };
    const auto aligned = [](void *p) {
        return inside(opaque(p), aligned_pool, sizeof(aligned_pool));
    };
    int news = plain_news;
    int deletes = plain_deletes;
    void *p = ::operator new(10);
    void *q = ::operator new[](10);
    void *r = ::operator new(10, std::nothrow);
    void *s = ::operator new[](10, std::nothrow);
    CHECK(plain(p) && plain(q) && plain(r) && plain(s));
    CHECK(plain_news == news + 4);
    ::operator delete(p, std::size_t(10));
    ::operator delete[](q);
    ::operator delete(r, std::nothrow);
    ::operator delete[](s, std::nothrow);
    p = ::operator new[](10);
    ::operator delete[](p, std::size_t(10));
    CHECK(plain_deletes == deletes + 5);

    auto a = static_cast<std::align_val_t>(256);
    p = ::operator new(10, a);
    q = ::operator new[](10, a);
    r = ::operator new(10, a, std::nothrow);
    s = ::operator new[](10, a, std::nothrow);
    CHECK(aligned(p) && aligned(q) && aligned(r) && aligned(s));
    CHECK(aligned_news == 4);
    ::operator delete(p, std::size_t(10), a);
    ::operator delete[](q, a);
    ::operator delete(r, a, std::nothrow);
    ::operator delete[](s, a, std::nothrow);
    p = ::operator new[](10, a);
    ::operator delete[](p, std::size_t(10), a);
    CHECK(aligned_deletes == 5);
    return failures != 0;
}
