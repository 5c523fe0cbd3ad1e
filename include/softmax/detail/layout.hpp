// Where the rows of a batch stand, in the one form that the engine knows: a shape and views with strides both become it.
#ifndef SMX_DETAIL_LAYOUT_HPP
#define SMX_DETAIL_LAYOUT_HPP

#include "config.hpp"
#include "elements.hpp"

#include <cstddef>

namespace smx::inline SMX_ABI::detail {

// Walks one row of a batch whose elements are not neighbours. Keeps an offset, not a pointer: the end of a row may lie
// further beyond the buffer than a pointer may point.
template <class T>
class strided_iterator {
public:
    constexpr strided_iterator(T* data, std::ptrdiff_t offset, std::ptrdiff_t stride)
        : data_(data),
          offset_(offset),
          stride_(stride) {}

    constexpr T& operator*() const { return data_[offset_]; }
    constexpr strided_iterator& operator++() {
        offset_ += stride_;
        ++position_;
        return *this;
    }
    // Of positions: a stride may be 0.
    friend constexpr bool operator==(const strided_iterator& a, std::size_t end) {
        return a.position_ == end;
    }

private:
    T* data_;
    std::ptrdiff_t offset_;
    std::ptrdiff_t stride_;
    std::size_t position_ = 0;
};

// One row in one of the buffers: of(data) is that row.
struct neighbouring_elements {
    std::ptrdiff_t offset;
    std::size_t classes;

    template <class T>
    constexpr row<T*, T*> of(T* data) const {
        return {data + offset, data + offset + classes};
    }
};
struct strided_elements {
    std::ptrdiff_t offset;
    std::size_t classes;
    std::ptrdiff_t stride;

    template <class T>
    constexpr row<strided_iterator<T>, std::size_t> of(T* data) const {
        return {{data, offset, stride}, classes};
    }
};

// Rows in sequence, equally far from each other in each of N buffers.
template <std::size_t N>
struct run {
    std::size_t first;
    std::size_t count;
    std::ptrdiff_t offset[N]; // of the first row
    std::ptrdiff_t stride[N]; // from row to row
};

// The rows of a batch in N buffers. They are numbered with the last of their indices fastest; D: how many indices there
// can be.
template <std::size_t D, std::size_t N>
class layout {
public:
    // element: from one element of a row to the next in each buffer.
    constexpr layout(std::size_t classes, const std::ptrdiff_t (&element)[N]) : classes_(classes) {
        for (std::size_t k = 0; k != N; ++k) {
            element_[k] = element[k];
        }
    }

    // One more index of rows, faster than those before, and its strides. Indices that can be counted as one are.
    constexpr void add_index(std::size_t extent, const std::ptrdiff_t (&stride)[N]) {
        rows_ *= extent;
        if (extent == 1) {
            return;
        }
        bool continues = size_ != 0;
        for (std::size_t k = 0; continues && k != N; ++k) {
            continues = index_[size_ - 1].stride[k] == static_cast<std::ptrdiff_t>(extent) * stride[k];
        }
        index& last = index_[continues ? size_ - 1 : size_];
        last.extent = continues ? last.extent * extent : extent;
        for (std::size_t k = 0; k != N; ++k) {
            last.stride[k] = stride[k];
        }
        size_ += continues ? 0U : 1U;
    }

    constexpr std::size_t classes() const { return classes_; }
    constexpr std::size_t rows() const { return rows_; }
    constexpr std::ptrdiff_t element(std::size_t k) const { return element_[k]; }

    // Whether all rows consist of neighbouring elements.
    constexpr bool has_neighbours() const {
        bool all = true;
        for (const std::ptrdiff_t stride : element_) {
            all = all && (stride == 1 || classes_ == 1);
        }
        return all;
    }

    // Where a row begins in buffer k.
    constexpr std::ptrdiff_t offset(std::size_t row, std::size_t k) const {
        std::ptrdiff_t sum = 0;
        for (std::size_t d = size_; d-- != 0;) {
            sum += static_cast<std::ptrdiff_t>(remainder(row, index_[d].extent)) * index_[d].stride[k];
            row = d == 0 ? 0 : row / index_[d].extent;
        }
        return sum;
    }

    // visit(run) for the rows [first, last) in order.
    template <class Visit>
    constexpr void for_each_run(std::size_t first, std::size_t last, Visit visit) const {
        const index one{1, {}};
        const index& fastest = size_ == 0 ? one : index_[size_ - 1];
        while (first < last) {
            const std::size_t left = fastest.extent - remainder(first, fastest.extent);
            run<N> rows{first, last - first < left ? last - first : left, {}, {}};
            for (std::size_t k = 0; k != N; ++k) {
                rows.offset[k] = offset(first, k);
                rows.stride[k] = fastest.stride[k];
            }
            visit(rows);
            first += rows.count;
        }
    }

    // visit(row, at) for the rows [first, last) in order: at[k] is where that row stands in buffer k.
    template <class Visit>
    constexpr void for_each_row(std::size_t first, std::size_t last, Visit visit) const {
        for_each_run(first, last, [&](const run<N>& rows) {
            for (std::size_t r = 0; r != rows.count; ++r) {
                visit_row(rows, r, visit);
            }
        });
    }

private:
    template <class Visit>
    constexpr void visit_row(const run<N>& rows, std::size_t r, Visit& visit) const {
        if (has_neighbours()) {
            neighbouring_elements at[N]{};
            for (std::size_t k = 0; k != N; ++k) {
                at[k] = {rows.offset[k] + static_cast<std::ptrdiff_t>(r) * rows.stride[k], classes_};
            }
            visit(rows.first + r, at);
        } else {
            strided_elements at[N]{};
            for (std::size_t k = 0; k != N; ++k) {
                at[k] = {rows.offset[k] + static_cast<std::ptrdiff_t>(r) * rows.stride[k], classes_,
                         element_[k]};
            }
            visit(rows.first + r, at);
        }
    }

    // Without a division for the slowest index, which often is the only one.
    static constexpr std::size_t remainder(std::size_t a, std::size_t b) { return a < b ? a : a % b; }

    struct index {
        std::size_t extent;
        std::ptrdiff_t stride[N];
    };

    std::size_t classes_;
    std::size_t rows_ = 1;
    std::ptrdiff_t element_[N] = {};
    std::size_t size_ = 0;
    index index_[D] = {};
};

} // namespace smx::inline SMX_ABI::detail

#endif
