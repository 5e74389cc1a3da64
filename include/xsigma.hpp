// xsigma.hpp - an allocator for C++ containers with XSigma's attributes, and an owner of device
// memory. Header only, C++17.
//
// Units:   elements. Owns: nothing but a copy of the attributes.
// Threads: as xsigma.h. Errors: std::bad_alloc; std::bad_array_new_length on overflow.
#ifndef XSIGMA_HPP
#define XSIGMA_HPP

#include <cerrno>
#include <cstddef>
#include <limits>
#include <new>
#include <type_traits>
#include <utility>

#include "xsigma.h"

namespace xsigma
{

// std::vector<double, xsigma::allocator_typed<double>> v(n, attr);
template <class T> class allocator_typed
{
  public:
    using value_type = T;
    using propagate_on_container_copy_assignment = std::true_type;
    using propagate_on_container_move_assignment = std::true_type;
    using propagate_on_container_swap = std::true_type;
    // Any block can be freed by any instance.
    using is_always_equal = std::true_type;

    allocator_typed() noexcept = default;
    explicit allocator_typed(const xsigma_attr &attr) noexcept : attr_(attr)
    {
    }
    template <class U>
    allocator_typed(const allocator_typed<U> &other) noexcept : attr_(other.attributes())
    {
    }

    [[nodiscard]] T *allocate(std::size_t count)
    {
        if (count > std::numeric_limits<std::size_t>::max() / sizeof(T))
            throw std::bad_array_new_length();
        xsigma_attr attr = attr_;
        if (attr.alignment < alignof(T))
            attr.alignment = alignof(T);
        void *p = nullptr;
        if (xsigma_alloc(&p, count * sizeof(T), &attr) != 0)
            throw std::bad_alloc();
        return static_cast<T *>(p);
    }
    void deallocate(T *p, std::size_t) noexcept
    {
        xsigma_free(p);
    }

    const xsigma_attr &attributes() const noexcept
    {
        return attr_;
    }

    template <class U> friend bool operator==(const allocator_typed &, const allocator_typed<U> &)
    {
        return true;
    }
    template <class U> friend bool operator!=(const allocator_typed &, const allocator_typed<U> &)
    {
        return false;
    }

  private:
    xsigma_attr attr_ = XSIGMA_ATTR_INIT;
};

// Device memory that goes with its owner; `stream` is the one that used it last.
//
// xsigma::device_block b(bytes, 0, stream);  kernel<<<..., stream>>>(b.get());
class device_block
{
  public:
    device_block() noexcept = default;
    explicit device_block(std::size_t size, int device = 0, void *stream = nullptr)
        : stream_(stream)
    {
        xsigma_attr attr = XSIGMA_ATTR_INIT;
        attr.device = device;
        attr.stream = stream;
        if (xsigma_alloc(&block_, size, &attr) != 0)
            throw std::bad_alloc();
    }
    device_block(device_block &&other) noexcept
        : block_(std::exchange(other.block_, nullptr)), stream_(other.stream_)
    {
    }
    device_block &operator=(device_block &&other) noexcept
    {
        std::swap(block_, other.block_);
        std::swap(stream_, other.stream_);
        return *this;
    }
    ~device_block()
    {
        if (block_ != nullptr)
            (void)xsigma_gpu_free(block_, stream_);
    }

    [[nodiscard]] void *get() const noexcept
    {
        return block_;
    }
    void used_on(void *stream) noexcept
    {
        stream_ = stream;
    }

  private:
    void *block_ = nullptr;
    void *stream_ = nullptr;
};

} // namespace xsigma

#endif
