// Where the rows of a batch stand in one contiguous buffer.
#ifndef SMX_SHAPE_HPP
#define SMX_SHAPE_HPP

#include "detail/contract.hpp"
#include "detail/elements.hpp"

#include <concepts>
#include <cstddef>
#include <limits>

namespace smx::inline SMX_ABI {

// outer * inner rows of `classes` elements each: element (o, c, i) stands at (o * classes + c) * inner + i. A matrix with
// one row per sample is {samples, classes}; images of n x classes x height x width are {n, classes, height * width}.
// What there is one of per row (targets, temperatures, results) stands at o * inner + i.
struct shape {
    std::size_t outer = 1;
    std::size_t classes = 0;
    std::size_t inner = 1;

    friend constexpr bool operator==(const shape&, const shape&) = default;
};

namespace detail {

constexpr std::size_t checked_product(const char* function, std::size_t a, std::size_t b) {
    if (b != 0 && a > (std::numeric_limits<std::size_t>::max)() / b) {
        violate_extent(function, a, b);
    }
    return a * b;
}

constexpr std::size_t row_count(const char* function, const shape& batch) {
    return checked_product(function, batch.outer, batch.inner);
}

constexpr std::size_t element_count(const char* function, const shape& batch) {
    return checked_product(function, row_count(function, batch), batch.classes);
}

// Walks one row of a batch whose elements are not neighbours. Keeps an offset, not a pointer: the end of a row may lie
// further beyond the buffer than a pointer may point.
template <class T>
class strided_iterator {
public:
    constexpr strided_iterator(T* data, std::size_t offset, std::size_t stride)
        : data_(data),
          offset_(offset),
          stride_(stride) {}

    constexpr T& operator*() const { return data_[offset_]; }
    constexpr strided_iterator& operator++() {
        offset_ += stride_;
        return *this;
    }
    friend constexpr bool operator==(const strided_iterator& a, const strided_iterator& b) {
        return a.offset_ == b.offset_;
    }

private:
    T* data_;
    std::size_t offset_;
    std::size_t stride_;
};

struct neighbouring_elements {
    std::size_t offset;
    std::size_t classes;

    template <class T>
    constexpr row<T*, T*> of(T* data) const {
        return {data + offset, data + offset + classes};
    }
};

struct strided_elements {
    std::size_t offset;
    std::size_t classes;
    std::size_t stride;

    template <class T>
    constexpr row<strided_iterator<T>, strided_iterator<T>> of(T* data) const {
        return {{data, offset, stride}, {data, offset + classes * stride, stride}};
    }
};

// Calls visit(elements) for each row in order; elements.of(data) is that row of a buffer.
template <class Visit>
constexpr void for_each_row(const shape& batch, Visit visit) {
    if (batch.inner == 1) {
        for (std::size_t o = 0; o < batch.outer; ++o) {
            visit(neighbouring_elements{o * batch.classes, batch.classes});
        }
        return;
    }
    for (std::size_t o = 0; o < batch.outer; ++o) {
        for (std::size_t i = 0; i < batch.inner; ++i) {
            visit(strided_elements{o * batch.classes * batch.inner + i, batch.classes, batch.inner});
        }
    }
}

} // namespace detail

} // namespace smx::inline SMX_ABI

#endif
