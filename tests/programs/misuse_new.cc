// misuse_new CASE - frees what new gave in a way that C++ does not allow; prints "survived" if
// nothing stops it.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>
#include <string>
#include <vector>

namespace
{

template <typename T> T *opaque(T *p)
{
    __asm__ volatile("" : "+r"(p) : : "memory");
    return p;
}

struct alignas(64) wide {
    char bytes[64];
};

__attribute__((noinline)) void *allocate_here()
{
    return opaque(::operator new(100));
}

void none()
{
    std::vector<std::string> v(1000, std::string(100, 'x'));
    delete opaque(new wide);
    delete[] opaque(new wide[3]);
    delete[] opaque(new std::string[10]);
    ::operator delete (allocate_here(), std::size_t{100});
    ::operator delete(opaque(::operator new(100, std::nothrow)), std::nothrow);
}

} // namespace

int main(int argc, char **argv)
{
    const std::string name = argc > 1 ? argv[1] : "";

    if (name == "none")
        none();
    else if (name == "free-of-new")
        std::free(allocate_here());
    else if (name == "realloc-of-new")
        std::free(std::realloc(allocate_here(), 200));
    else if (name == "delete-of-malloc")
        ::operator delete(opaque(std::malloc(100)));
    else if (name == "delete-of-new-array")
        ::operator delete(opaque(::operator new[](100)));
    else if (name == "delete-array-of-new")
        ::operator delete[](allocate_here());
    else if (name == "delete-of-aligned-new")
        ::operator delete(opaque(::operator new (100, std::align_val_t{64})));
    else if (name == "aligned-delete-of-new")
        ::operator delete (allocate_here(), std::align_val_t{64});
    else if (name == "wrong-size")
        ::operator delete (allocate_here(), std::size_t{99});
    else if (name == "many")
        for (int i = 0; i < 3; i++) {
            std::free(allocate_here());
            ::operator delete (allocate_here(), std::size_t{99});
        }
    else if (name == "overflow-of-new") {
        auto *p = static_cast<char *>(allocate_here());
        p[100] = static_cast<char>(p[100] + 1);
        std::free(opaque(p));
    } else if (name == "double-delete") {
        void *p = allocate_here();
        ::operator delete(opaque(p));
        __asm__ volatile("" : "+r"(p));
        ::operator delete(p);
    } else {
        return 2;
    }
    std::puts("survived");
    return 0;
}
