// own_malloc_new.cc - a C++ program with a malloc of its own and no operator new: libstdc++'s calls
// the program's malloc, and whoever puts another operator new in between must keep it so.
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <new>

alignas(16) static unsigned char pool[8 << 20];
static std::size_t used;
static unsigned long mallocs;
static unsigned long frees;
static unsigned long strangers;

static bool is_ours(const void *p)
{
    auto *c = static_cast<const unsigned char *>(p);
    return c >= pool && c < pool + sizeof(pool);
}

extern "C" void *malloc(std::size_t n)
{
    std::size_t whole = (n + 31) / 16 * 16;
    mallocs++;
    if (n > sizeof(pool) || used + whole > sizeof(pool))
        return nullptr;
    void *p = pool + used;
    used += whole;
    return p;
}

extern "C" void free(void *p)
{
    frees++;
    if (p != nullptr && !is_ours(p))
        strangers++;
}

extern "C" void *calloc(std::size_t a, std::size_t b)
{
    return malloc(a * b); // the pool is never used twice
}

extern "C" void *realloc(void *p, std::size_t n)
{
    void *q = malloc(n);
    if (p != nullptr && q != nullptr)
        std::memmove(q, p, n);
    return q;
}

// Calls through a pointer are not optimised away.
static void *hide(void *p)
{
    __asm__ volatile("" : "+r"(p));
    return p;
}

static void check(const char *form, void *p, unsigned long malloc_calls)
{
    std::printf("%s: %s, %lu calls of malloc\n", form, is_ours(p) ? "own" : "somebody else's",
                malloc_calls);
}

int main()
{
    std::setvbuf(stdout, nullptr, _IONBF, 0); // its buffer would be one call more
    unsigned long before = mallocs;
    void *p = hide(::operator new(40));
    check("new", p, mallocs - before);
    before = mallocs;
    void *q = hide(::operator new[](40));
    check("new[]", q, mallocs - before);
    before = mallocs;
    void *r = hide(::operator new(40, std::nothrow));
    check("new nothrow", r, mallocs - before);
    before = mallocs;
    void *s = hide(::operator new[](40, std::nothrow));
    check("new[] nothrow", s, mallocs - before);
    before = frees;
    ::operator delete(p);
    ::operator delete[](q);
    ::operator delete (r, std::size_t{40});
    ::operator delete[](s, std::nothrow);
    std::printf("delete: %lu calls of free, %lu strangers\n", frees - before, strangers);
    return 0;
}
