// What counts as a number, as a row of numbers, and which type the arithmetic is done in; one conversion from any
// range to iterators, in which contiguous ranges of every kind become plain pointers.
#ifndef SMX_DETAIL_ELEMENTS_HPP
#define SMX_DETAIL_ELEMENTS_HPP

#include "config.hpp"

#include <array>
#include <concepts>
#include <cstddef>
#include <limits>
// <span> brings std::ranges::begin, the iterator concepts and std::to_address in every standard library that has
// C++20; <iterator> and <ranges> would cost twice the compile time of this whole header.
#include <span>
#include <type_traits>

namespace smx::inline SMX_ABI::detail {

// A type of the user's with arithmetic of its own: exp and log are found by ADL.
template <class T>
concept user_number = std::is_class_v<T> && std::constructible_from<T, double> && requires(const T& x) {
    { exp(x) } -> std::convertible_to<T>;
    { log(x) } -> std::convertible_to<T>;
    { x + x } -> std::convertible_to<T>;
    { x - x } -> std::convertible_to<T>;
    { x* x } -> std::convertible_to<T>;
    { x / x } -> std::convertible_to<T>;
    { x < x } -> std::convertible_to<bool>;
    { x == x } -> std::convertible_to<bool>;
};

template <class T, class... Others>
concept one_of = (std::same_as<T, Others> || ...);

// Neither truth values nor text: softmax of a std::string is a slip. (signed char and unsigned char are numbers.)
template <class T>
concept number = (std::is_arithmetic_v<T> && !one_of<T, bool, char, wchar_t, char8_t, char16_t, char32_t>) ||
                 user_number<T>;

// Results and gradients: an integer could not hold them.
template <class T>
concept real_number = number<T> && !std::integral<T>;

template <class R>
using iterator_of = decltype(std::ranges::begin(std::declval<R&>()));

template <class R>
using element_of = std::remove_cv_t<std::iter_value_t<iterator_of<R>>>;

template <class R>
concept forward_row = requires(R& row) {
    std::ranges::begin(row);
    std::ranges::end(row);
} && std::forward_iterator<iterator_of<R>>;

template <class R>
concept number_row = forward_row<R> && number<element_of<R>>;

template <class R>
concept index_row = forward_row<R> && std::integral<element_of<R>>;

template <class R>
concept real_row = number_row<R> && real_number<element_of<R>>;

template <class R>
concept writable_row = real_row<R> && std::indirectly_writable<iterator_of<R>, element_of<R>>;

template <class R>
concept contiguous_row = forward_row<R> && std::contiguous_iterator<iterator_of<R>> &&
                         requires(R& row) { std::ranges::size(row); };

// In place of a std::type_identity where there is none.
struct no_type {};

template <class T>
struct real {
    using type = T;
};
template <std::integral T>
struct real<T> {
    using type = double;
};

// The type of the results for elements of these types: double for integers, the wider one of two.
template <class... T>
using real_t = std::common_type_t<typename real<T>::type...>;

template <class... R>
using real_of = real_t<element_of<R>...>;

// The type of the arithmetic: float rows are computed in double and rounded once.
template <class Real>
using work_t = std::conditional_t<std::same_as<Real, float>, double, Real>;

// Without infinities the ends of the range stand for them: what returns one has no result at all then (Clang 19: the sink that
// there is not was any number).
template <class Real>
constexpr Real infinity() {
    if constexpr (std::floating_point<Real> && !has_infinities) {
        return (std::numeric_limits<Real>::max)();
    } else {
        return static_cast<Real>(std::numeric_limits<double>::infinity());
    }
}

template <class Real>
constexpr Real negative_infinity() {
    if constexpr (std::floating_point<Real> && !has_infinities) {
        return std::numeric_limits<Real>::lowest();
    } else {
        return static_cast<Real>(-std::numeric_limits<double>::infinity());
    }
}

// Neither infinite nor NaN.
template <class Real>
constexpr bool is_number(const Real& x) {
    return x > negative_infinity<Real>() && x < infinity<Real>();
}

template <class Real>
constexpr Real not_a_number() {
    return static_cast<Real>(std::numeric_limits<double>::quiet_NaN());
}

template <class T>
concept array_or_pointer = std::is_pointer_v<std::decay_t<T>>;

template <class I, class S>
struct row {
    I first;
    S last;
};

template <class I, class S>
constexpr auto row_between(I first, S last) {
    if constexpr (std::contiguous_iterator<I> && std::sized_sentinel_for<S, I>) {
        auto pointer = std::to_address(first);
        return row<decltype(pointer), decltype(pointer)>{pointer, pointer + (last - first)};
    } else {
        return row<I, S>{first, last};
    }
}

template <forward_row R>
constexpr auto row_of(R& range) {
    if constexpr (contiguous_row<R>) {
        auto pointer = std::to_address(std::ranges::begin(range));
        return row_between(pointer, pointer + std::ranges::size(range));
    } else {
        return row_between(std::ranges::begin(range), std::ranges::end(range));
    }
}

template <class I, class S>
constexpr std::size_t size_of(const row<I, S>& elements) {
    if constexpr (std::sized_sentinel_for<S, I>) {
        return static_cast<std::size_t>(elements.last - elements.first);
    } else {
        std::size_t size = 0;
        for (I it = elements.first; it != elements.last; ++it) {
            ++size;
        }
        return size;
    }
}

template <class I>
constexpr I advanced_by(I it, std::size_t count) {
    if constexpr (std::random_access_iterator<I>) {
        return it + static_cast<std::iter_difference_t<I>>(count);
    } else {
        for (; count != 0; --count) {
            ++it;
        }
        return it;
    }
}

// What an output iterator takes: its value type, that of its container (std::back_inserter), or else the type of the
// results.
template <class O, class Real>
struct value_written {
    using type = Real;
};
template <std::indirectly_readable O, class Real>
struct value_written<O, Real> {
    using type = std::iter_value_t<O>;
};
template <class O, class Real>
    requires requires { typename O::container_type::value_type; }
struct value_written<O, Real> {
    using type = typename O::container_type::value_type;
};
template <class O, class Real>
using value_written_t = typename value_written<O, Real>::type;

template <class O, class Real>
concept output_for = std::weakly_incrementable<O> && std::indirectly_writable<O, Real> &&
                     real_number<value_written_t<O, Real>>;

// The size of a std::array, dynamic_extent for other types.
template <class T>
inline constexpr std::size_t array_size = std::dynamic_extent;
template <class T, std::size_t N>
inline constexpr std::size_t array_size<std::array<T, N>> = N;

} // namespace smx::inline SMX_ABI::detail

#endif
