// aligned_new.cc - a C++ program whose classes are over-aligned, deleted by size, and in
// containers.
//
// Prints sums of what it computed and whether every address had its alignment.
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <deque>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <memory_resource>
#include <new>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

namespace
{

unsigned misaligned;

void check(const void *p, std::size_t alignment)
{
    if (reinterpret_cast<std::uintptr_t>(p) % alignment != 0)
        misaligned++;
}

template <std::size_t A> struct alignas(A) over_aligned {
    double value[A / 8];

    explicit over_aligned(double v)
    {
        check(this, A);
        for (double &x : value)
            x = v;
    }
    over_aligned() : over_aligned(0)
    {
    }
};

struct shape {
    virtual ~shape() = default;
    virtual double area() const = 0;
};
struct square : shape {
    double side;
    explicit square(double s) : side(s)
    {
    }
    double area() const override
    {
        return side * side;
    }
};
struct alignas(128) grid : shape {
    double cell[64];
    explicit grid(double v)
    {
        check(this, 128);
        for (double &c : cell)
            c = v;
    }
    double area() const override
    {
        double sum = 0;
        for (double c : cell)
            sum += c;
        return sum;
    }
};

template <std::size_t A> double churn()
{
    std::vector<std::unique_ptr<over_aligned<A>>> kept;
    std::vector<over_aligned<A>> row;
    double sum = 0;

    for (int i = 0; i < 2000; i++) {
        kept.push_back(std::make_unique<over_aligned<A>>(i));
        if (i % 3 == 0)
            kept[static_cast<std::size_t>(i) / 2].reset();
    }
    for (int i = 0; i < 500; i++)
        row.emplace_back(i * 0.5);
    auto *array = new over_aligned<A>[17];
    check(array, A);
    delete[] array;
    for (const auto &p : kept)
        sum += p ? p->value[A / 8 - 1] : 0;
    for (const auto &r : row)
        sum += r.value[0];
    return sum;
}

// The operators by name, each with the delete that belongs to it.
void every_form()
{
    for (std::size_t size : {1u, 7u, 24u, 100u, 4096u, 70000u, 3000000u}) {
        void *p = ::operator new(size);
        std::memset(p, 1, size);
        ::operator delete(p, size);
        p = ::operator new[](size);
        std::memset(p, 2, size);
        ::operator delete[](p);
        p = ::operator new(size, std::nothrow);
        std::memset(p, 3, size);
        ::operator delete(p, std::nothrow);
        for (std::size_t a : {16u, 32u, 64u, 512u, 4096u, 65536u}) {
            const std::align_val_t alignment{a};
            p = ::operator new(size, alignment);
            check(p, a);
            std::memset(p, 4, size);
            ::operator delete(p, size, alignment);
            p = ::operator new[](size, alignment, std::nothrow);
            check(p, a);
            std::memset(p, 5, size);
            ::operator delete[](p, alignment);
        }
    }
}

void failures()
{
    volatile std::size_t huge = SIZE_MAX / 2 - 4096;
    try {
        ::operator delete(::operator new(huge));
        std::puts("huge new gave memory");
    } catch (const std::bad_alloc &) {
        std::puts("huge new threw bad_alloc");
    }
    try {
        ::operator delete (::operator new (huge, std::align_val_t{256}), std::align_val_t{256});
        std::puts("huge aligned new gave memory");
    } catch (const std::bad_alloc &) {
        std::puts("huge aligned new threw bad_alloc");
    }
    std::printf("huge nothrow new: %s\n",
                ::operator new(huge, std::nothrow) == nullptr ? "null" : "memory");

    static int called;
    std::set_new_handler([] {
        called++;
        std::set_new_handler(nullptr);
    });
    try {
        ::operator delete(::operator new(huge));
    } catch (const std::bad_alloc &) {
        std::printf("new_handler called %d time(s)\n", called);
    }
}

double containers(unsigned seed)
{
    std::map<std::string, std::vector<int>> by_name;
    std::unordered_map<int, std::string> by_number;
    std::deque<std::shared_ptr<shape>> shapes;
    std::list<std::function<double()>> later;
    std::pmr::monotonic_buffer_resource buffer;
    std::pmr::vector<std::pmr::string> words(&buffer);
    double sum = 0;
    std::uint32_t random = seed;

    for (int i = 0; i < 20000; i++) {
        random = random * 1664525u + 1013904223u;
        const int r = static_cast<int>(random >> 16);
        by_name["key number " + std::to_string(r % 500)].push_back(r);
        by_number[r % 3000] = std::string(static_cast<std::size_t>(r % 300), 'x');
        if (r % 4 == 0)
            shapes.push_back(r % 8 == 0 ? std::shared_ptr<shape>(std::make_shared<grid>(r % 10))
                                        : std::make_shared<square>(r % 100));
        if (r % 5 == 0 && !shapes.empty())
            shapes.pop_front();
        if (r % 16 == 0)
            later.push_back([r, text = std::to_string(r)] { return r + double(text.size()); });
        if (r % 32 == 0)
            words.emplace_back("a word that is too long for the small buffer of a string");
    }
    for (const auto &[key, values] : by_name)
        sum += double(key.size()) + double(values.size()) * values.front();
    for (const auto &s : shapes)
        sum += s->area();
    for (const auto &f : later)
        sum += f();
    for (int i = 0; i < 3000; i++) {
        auto it = by_number.find(i);
        sum += it == by_number.end() ? 0 : double(it->second.size());
    }
    return sum + double(words.size());
}

} // namespace

int main()
{
    every_form();
    std::printf("aligned %.1f %.1f %.1f %.1f\n", churn<32>(), churn<64>(), churn<256>(),
                churn<4096>());
    failures();
    double part[4];
    std::vector<std::thread> threads;
    for (unsigned t = 0; t < 4; t++)
        threads.emplace_back([t, &part] { part[t] = containers(t + 1); });
    for (auto &t : threads)
        t.join();
    std::printf("containers %.1f %.1f %.1f %.1f\n", part[0], part[1], part[2], part[3]);
    std::printf("misaligned %u\n", misaligned);
    return misaligned != 0;
}
