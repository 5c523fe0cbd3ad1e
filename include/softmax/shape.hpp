// Where the rows of a batch stand: in one contiguous buffer, described by a shape, or in views with strides.
#ifndef SMX_SHAPE_HPP
#define SMX_SHAPE_HPP

#include "detail/contract.hpp"
#include "detail/elements.hpp"
#include "detail/layout.hpp"

#include <concepts>
#include <cstddef>
#include <limits>
#include <type_traits>
#include <utility>

namespace smx::inline SMX_ABI {

// outer * inner rows of `classes` elements each: element (o, c, i) stands at (o * classes + c) * inner + i. A matrix with
// one row per sample is {samples, classes}; images of n x classes x height x width are {n, classes, height * width}.
// What there is one of per row (targets, temperatures, results) stands at o * inner + i.
struct shape {
    // Rows, or what stands to the left of the class axis: samples.
    std::size_t outer = 1;

    // Elements in a row.
    std::size_t classes = 0;

    // Rows side by side, or what stands to the right of the class axis: pixels.
    std::size_t inner = 1;

    // Member by member.
    friend constexpr bool operator==(const shape&, const shape&) = default;
};

namespace detail {

template <class V>
using view_handle = std::remove_cvref_t<decltype(std::declval<const V&>().data_handle())>;

// What an access yields is the element itself, not a proxy for it.
template <class V>
concept plain_access = std::is_pointer_v<view_handle<V>> &&
                       (!requires { typename V::reference; } || requires {
                           requires std::same_as<typename V::reference, std::remove_pointer_t<view_handle<V>>&>;
                       });

template <class V>
concept mdspan_like = requires(const V& view, std::size_t r) {
    typename std::integral_constant<std::size_t, V::rank()>;
    { view.extent(r) } -> std::integral;
    { view.stride(r) } -> std::integral;
    view.data_handle();
} && plain_access<V>;

} // namespace detail

// std::mdspan, that of Kokkos, or any type with their rank(), extent(r), stride(r) and data_handle(): element (i, j, ...) is
// data_handle()[i * stride(0) + j * stride(1) + ...]. A range is taken as a range.
template <class V>
concept strided_view = detail::mdspan_like<std::remove_cvref_t<V>> && !detail::forward_row<V>;

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

// The rows of a batch in N buffers of the same shape.
template <std::size_t N>
constexpr layout<2, N> layout_of(const shape& batch) {
    std::ptrdiff_t element[N]{}, outer[N]{}, inner[N]{};
    for (std::size_t k = 0; k != N; ++k) {
        element[k] = static_cast<std::ptrdiff_t>(batch.inner);
        outer[k] = static_cast<std::ptrdiff_t>(batch.classes * batch.inner);
        inner[k] = 1;
    }
    layout<2, N> rows(batch.classes, element);
    rows.add_index(batch.outer, outer);
    rows.add_index(batch.inner, inner);
    return rows;
}

} // namespace detail

} // namespace smx::inline SMX_ABI

#endif
