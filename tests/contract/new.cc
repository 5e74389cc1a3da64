// new.cc - the contract of the C++ operators: all twenty by explicit call, new_handler, bad_alloc,
// sized and aligned forms, a class with its own operators. glibc and libstdc++ define the truth.
//
// new          runs every case
// new --list   prints their names
// new CASE     runs one
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <string>
#include <thread>
#include <vector>

#include <malloc.h>

namespace
{

int failures;
const char *case_name = "new";
std::size_t least_align = 16;

void check(bool ok, int line, const char *what, std::size_t n)
{
    if (ok)
        return;
    std::fprintf(stderr, "%s:%d: %s: %s (%zu)\n", __FILE__, line, case_name, what, n);
    if (++failures > 10)
        std::_Exit(1);
}
#define CHECK2(ok, n) check((ok), __LINE__, #ok, (n))
#define CHECK(ok)     CHECK2(ok, 0)

void *opaque(void *p)
{
    __asm__ volatile("" : "+r"(p) : : "memory");
    return p;
}

std::size_t hide(std::size_t n)
{
    __asm__ volatile("" : "+r"(n));
    return n;
}

bool good(void *p, std::size_t n, std::size_t align)
{
    p = opaque(p);
    if (align < least_align)
        align = least_align;
    if (p == nullptr || reinterpret_cast<std::uintptr_t>(p) % align != 0 ||
        malloc_usable_size(p) < n)
        return false;
    std::memset(p, 0x5a, n);
    return true;
}

const std::size_t sizes[] = {0,     1,     7,      8,      9,         15,       16,
                             17,    64,    100,    1000,   1024,      1025,     4096,
                             65536, 65537, 262144, 262145, 1U << 20U, 3U << 20U};

void explicit_calls()
{
    for (std::size_t n : sizes) {
        void *p = ::operator new(hide(n));
        void *q = ::operator new[](hide(n));
        void *r = ::operator new(hide(n), std::nothrow);
        void *s = ::operator new[](hide(n), std::nothrow);
        CHECK2(good(p, n, 16) && good(q, n, 16) && good(r, n, 16) && good(s, n, 16), n);
        CHECK2(p != q && p != r && p != s && q != r && q != s && r != s, n);
        ::operator delete(p);
        ::operator delete[](q);
        ::operator delete(r, std::nothrow);
        ::operator delete[](s, std::nothrow);
        p = ::operator new(hide(n));
        q = ::operator new[](hide(n));
        CHECK2(good(p, n, 16) && good(q, n, 16), n);
        ::operator delete(p, n);
        ::operator delete[](q, n);
        for (std::size_t a = 1; a <= 65536; a *= 4) {
            auto align = static_cast<std::align_val_t>(a);
            p = ::operator new(hide(n), align);
            q = ::operator new[](hide(n), align);
            r = ::operator new(hide(n), align, std::nothrow);
            s = ::operator new[](hide(n), align, std::nothrow);
            CHECK2(good(p, n, a) && good(q, n, a) && good(r, n, a) && good(s, n, a), n + a);
            ::operator delete(p, align);
            ::operator delete[](q, align);
            ::operator delete(r, align, std::nothrow);
            ::operator delete[](s, align, std::nothrow);
            p = ::operator new(hide(n), align);
            q = ::operator new[](hide(n), align);
            CHECK2(good(p, n, a) && good(q, n, a), n + a);
            ::operator delete(p, n, align);
            ::operator delete[](q, n, align);
        }
    }
}

void delete_null()
{
    auto align = static_cast<std::align_val_t>(64);
    ::operator delete(opaque(nullptr));
    ::operator delete[](opaque(nullptr));
    ::operator delete(opaque(nullptr), std::nothrow);
    ::operator delete[](opaque(nullptr), std::nothrow);
    ::operator delete(opaque(nullptr), std::size_t(8));
    ::operator delete[](opaque(nullptr), std::size_t(8));
    ::operator delete(opaque(nullptr), align);
    ::operator delete[](opaque(nullptr), align);
    ::operator delete(opaque(nullptr), align, std::nothrow);
    ::operator delete[](opaque(nullptr), align, std::nothrow);
    ::operator delete(opaque(nullptr), std::size_t(8), align);
    ::operator delete[](opaque(nullptr), std::size_t(8), align);
}

template <typename F> bool throws_bad_alloc(F call)
{
    try {
        opaque(call());
        return false;
    } catch (const std::bad_alloc &) {
        return true;
    }
}

void bad_alloc()
{
    auto align = static_cast<std::align_val_t>(64);
    for (std::size_t n : {SIZE_MAX, SIZE_MAX - 4096, static_cast<std::size_t>(PTRDIFF_MAX) + 1,
                          static_cast<std::size_t>(PTRDIFF_MAX)}) {
        n = hide(n);
        CHECK2(throws_bad_alloc([&] { return ::operator new(n); }), n);
        CHECK2(throws_bad_alloc([&] { return ::operator new[](n); }), n);
        CHECK2(opaque(::operator new(n, std::nothrow)) == nullptr, n);
        CHECK2(opaque(::operator new[](n, std::nothrow)) == nullptr, n);
        // libstdc++ before 13 rounds the size up to the alignment and wraps.
        if (n > SIZE_MAX - 64)
            continue;
        CHECK2(throws_bad_alloc([&] { return ::operator new(n, align); }), n);
        CHECK2(throws_bad_alloc([&] { return ::operator new[](n, align); }), n);
        CHECK2(opaque(::operator new(n, align, std::nothrow)) == nullptr, n);
        CHECK2(opaque(::operator new[](n, align, std::nothrow)) == nullptr, n);
    }
    CHECK(throws_bad_alloc([] { return new std::string(hide(PTRDIFF_MAX / 2), 'x'); }));
}

int handler_calls;
struct thrown_by_handler : std::bad_alloc {
};

void handler_gives_up()
{
    if (++handler_calls == 3)
        std::set_new_handler(nullptr);
}

void handler_throws()
{
    ++handler_calls;
    throw thrown_by_handler();
}

void new_handler()
{
    auto align = static_cast<std::align_val_t>(64);
    const std::size_t n = hide(PTRDIFF_MAX);
    const auto with_handler = [&](std::new_handler handler, auto call) {
        handler_calls = 0;
        std::set_new_handler(handler);
        bool threw = throws_bad_alloc(call);
        std::set_new_handler(nullptr);
        return threw;
    };
    CHECK(with_handler(handler_gives_up, [&] { return ::operator new(n); }));
    CHECK2(handler_calls == 3, handler_calls);
    CHECK(with_handler(handler_gives_up, [&] { return ::operator new[](n); }));
    CHECK2(handler_calls == 3, handler_calls);
    CHECK(with_handler(handler_gives_up, [&] { return ::operator new(n, align); }));
    CHECK2(handler_calls == 3, handler_calls);
    CHECK(with_handler(handler_gives_up, [&] { return ::operator new[](n, align); }));
    CHECK2(handler_calls == 3, handler_calls);
    CHECK(!with_handler(handler_gives_up, [&] { return ::operator new(n, std::nothrow); }));
    CHECK2(handler_calls == 3, handler_calls);
    CHECK(!with_handler(handler_gives_up, [&] { return ::operator new(n, align, std::nothrow); }));
    CHECK2(handler_calls == 3, handler_calls);
    CHECK(with_handler(handler_throws, [&] { return ::operator new(n); }));
    CHECK2(handler_calls == 1, handler_calls);
    // The nothrow forms catch what the handler throws.
    CHECK(!with_handler(handler_throws, [&] { return ::operator new(n, std::nothrow); }));
    CHECK2(handler_calls == 1, handler_calls);
    CHECK(!with_handler(handler_throws, [&] { return ::operator new[](n, std::nothrow); }));
    CHECK2(handler_calls == 1, handler_calls);
}

struct own_operators {
    static int news, deletes;
    static void *operator new(std::size_t n)
    {
        ++news;
        return std::malloc(n);
    }
    static void operator delete(void *p)
    {
        ++deletes;
        std::free(p);
    }
    int payload[10];
};
int own_operators::news;
int own_operators::deletes;

void class_operators()
{
    auto *p = new own_operators();
    CHECK(opaque(p) != nullptr && own_operators::news == 1);
    delete p;
    CHECK(own_operators::deletes == 1);
    auto *q = ::new own_operators();
    CHECK(own_operators::news == 1);
    ::delete q;
    CHECK(own_operators::deletes == 1);
}

struct alignas(128) wide {
    wide()
    {
        CHECK(reinterpret_cast<std::uintptr_t>(opaque(this)) % 128 == 0);
    }
    ~wide()
    {
        bytes[0] = 0;
    }
    char bytes[300];
};

struct with_destructor {
    ~with_destructor()
    {
        payload[0] = 0;
    }
    char payload[24];
};

void expressions()
{
    for (int i = 0; i < 100; i++) {
        delete new wide();
        delete[] new wide[7];
        delete[] new with_destructor[1000];
        delete new char('x');
        auto shared = std::make_shared<wide>();
        auto other = shared;
        std::vector<std::string> words(100, std::string(50, 'w'));
        words.resize(1000);
        CHECK(words[99].size() == 50);
    }
}

// Blocks of new may be freed by free, and of malloc by delete, as they are with libstdc++; a
// hardened heap does not have it.
void mixed_with_malloc()
{
    const char *hardened = std::getenv("XSIGMA_CPU_HARDENED");
    if (hardened != nullptr && std::strcmp(hardened, "off") != 0)
        return;
    for (std::size_t n : sizes) {
        std::free(opaque(::operator new(n)));
        ::operator delete(opaque(std::malloc(n)));
        void *p = opaque(::operator new(n + 8));
        std::memcpy(p, "contents", 8);
        p = std::realloc(p, 3 * n + 8);
        CHECK2(p != nullptr && std::memcmp(p, "contents", 8) == 0, n);
        ::operator delete(opaque(p));
    }
}

void across_threads()
{
    std::vector<std::unique_ptr<wide>> blocks[4];
    std::vector<std::thread> threads;
    for (auto &list : blocks)
        threads.emplace_back([&list] {
            for (int i = 0; i < 500; i++)
                list.push_back(std::make_unique<wide>());
        });
    for (auto &t : threads)
        t.join();
    threads.clear();
    for (int i = 0; i < 4; i++)
        threads.emplace_back([&list = blocks[(i + 1) % 4]] { list.clear(); });
    for (auto &t : threads)
        t.join();
}

const struct {
    const char *name;
    void (*run)();
} cases[] = {
    {"explicit-calls", explicit_calls},
    {"delete-null", delete_null},
    {"bad-alloc", bad_alloc},
    {"new-handler", new_handler},
    {"class-operators", class_operators},
    {"expressions", expressions},
    {"mixed-with-malloc", mixed_with_malloc},
    {"across-threads", across_threads},
};

} // namespace

int main(int argc, char **argv)
{
    const char *align = std::getenv("XSIGMA_CPU_ALIGN");
    if (align != nullptr && std::atoi(align) > 16)
        least_align = static_cast<std::size_t>(std::atoi(align));
    const char *only = argc > 1 ? argv[1] : nullptr;
    bool found = only == nullptr;
    for (const auto &c : cases) {
        if (only != nullptr && std::strcmp(only, "--list") == 0) {
            std::puts(c.name);
            found = true;
        } else if (only == nullptr || std::strcmp(only, c.name) == 0) {
            case_name = c.name;
            c.run();
            found = true;
        }
    }
    if (!found)
        std::fprintf(stderr, "new: no case named %s\n", only);
    return !found ? 2 : failures != 0;
}
