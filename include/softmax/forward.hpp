// softmax, log_softmax and logsumexp: one row as a range, a pair of iterators or an array, or a batch of rows.
//
// Shared by all functions here
//   logits         forward range or iterators of numbers: floating point, integers (computed in double), or a user type
//                  with +, -, *, /, comparisons, construction from double, and exp and log found by ADL
//   temperature    at least 0; any arithmetic type or the element type itself; 1 where it is left out
//   special rows   the table in softmax.hpp: -inf entries, NaN, +inf, empty rows, T = 0, T = +inf
//   batches        each row has the bits that it has alone, in any shape; but for rows of more than 16384 floats or 8192
//                  doubles whose elements are no neighbours (inner > 1): those keep the bounds, not the bits, and are slow
//   in place       the output may be the input; any other overlap is outside the contract
//   errors         std::invalid_argument for a size that does not fit and for T < 0 or NaN, before anything is written;
//                  without exceptions SMX_VIOLATION_HANDLER(message), then std::abort
//   does not       allocate (but where a std::vector is returned; batches with inner > 1 take 64 KiB of stack), print, or
//                  keep state: any thread may call anything
#ifndef SMX_FORWARD_HPP
#define SMX_FORWARD_HPP

#include "detail/contract.hpp"
#include "detail/elements.hpp"
#include "detail/forward_batches.hpp"
#include "detail/routes.hpp"
#include "detail/tasks.hpp"
#include "options.hpp"
#include "shape.hpp"

#include <array>
#include <concepts>
#include <cstddef>
#include <type_traits>
#include <vector>

namespace smx::inline SMX_ABI {

namespace detail {

template <class Route, class In, class Out, class T>
constexpr void range_to_range(In& logits, Out& results, const T& temperature) {
    using work = work_t<real_of<In, Out>>;
    const auto in = row_of(logits);
    const auto out = row_of(results);
    const auto checked =
        checked_temperature<work>(Route::function, temperature, temperature_rule::zero_allowed);
    require_size(Route::function, Route::output, size_of(out), "logits", size_of(in));
    map_row<Route, element_of<Out>>(in.first, in.last, out.first, checked);
}

template <class Route, class I, class S, class O, class T>
constexpr O iterators_to_iterator(I first, S last, O out, const T& temperature) {
    using value = value_written_t<O, real_t<std::iter_value_t<I>>>;
    using work = work_t<real_t<std::iter_value_t<I>, value>>;
    const auto in = row_between(first, last);
    const auto checked =
        checked_temperature<work>(Route::function, temperature, temperature_rule::zero_allowed);
    if constexpr (std::contiguous_iterator<O>) {
        const auto begin = std::to_address(out);
        return out + (map_row<Route, value>(in.first, in.last, begin, checked) - begin);
    } else {
        return map_row<Route, value>(in.first, in.last, out, checked);
    }
}

template <class Route, class In, class T>
constexpr auto range_to_value(In& logits, const T& temperature) {
    if constexpr (array_size<std::remove_cvref_t<In>> != std::dynamic_extent) {
        std::array<real_of<In>, array_size<std::remove_cvref_t<In>>> results{};
        range_to_range<Route>(logits, results, temperature);
        return results;
    } else {
        std::vector<real_of<In>> results(size_of(row_of(logits)));
        range_to_range<Route>(logits, results, temperature);
        return results;
    }
}

template <class Route, class E, std::size_t N, class T>
constexpr std::array<real_t<E>, N> array_to_value(const E (&logits)[N], const T& temperature) {
    std::array<real_t<E>, N> results{};
    range_to_range<Route>(logits, results, temperature);
    return results;
}

template <class Real, class I, class S, class T>
constexpr Real logsumexp_of(const row<I, S>& logits, const T& temperature) {
    const auto checked =
        checked_temperature<work_t<Real>>("logsumexp", temperature, temperature_rule::positive);
    return static_cast<Real>(reduce_row(logits.first, logits.last, checked));
}

} // namespace detail

// probabilities[i] = exp(logits[i] / T) / sum_j exp(logits[j] / T).
//
// Every probability lies in [0, 1]; equal logits give equal bits; a single logit gives exactly 1. float, double and
// long double: within 3 ulp of the exact softmax of the given logits where that is a normal number, at any length.
template <class In, class Out, class T = int>
    requires detail::number_row<In> && detail::writable_row<Out> &&
             temperature_for<T, detail::real_of<In, Out>>
constexpr void softmax(In&& logits, Out&& probabilities, T temperature = 1) {
    detail::range_to_range<detail::softmax_route>(logits, probabilities, temperature);
}

// The same for iterators, as in std::transform: returns the end of the output, which has no size to check.
template <std::forward_iterator I, std::sentinel_for<I> S, class O, class T = int>
    requires detail::number<std::iter_value_t<I>> &&
             detail::output_for<O, detail::real_t<std::iter_value_t<I>>> &&
             temperature_for<T, detail::real_t<std::iter_value_t<I>>>
constexpr O softmax(I first, S last, O out, T temperature = 1) {
    return detail::iterators_to_iterator<detail::softmax_route>(first, last, out, temperature);
}

// Arrays are rows, not iterators: three of them are a slip.
template <class E, std::size_t N, class F, std::size_t M, detail::array_or_pointer O, class T = int>
void softmax(E (&)[N], F (&)[M], O&&, T = 1) = delete;

// The same by value: a std::array for a std::array, a std::vector for any other range.
template <class In, class T = int>
    requires detail::number_row<In> &&
             (!std::is_array_v<std::remove_reference_t<In>>) && temperature_for<T, detail::real_of<In>>
constexpr auto softmax(In&& logits, T temperature = 1) {
    return detail::range_to_value<detail::softmax_route>(logits, temperature);
}

// The same for arrays and braces: softmax({1.0, 2.0, 3.0}), also in constant expressions.
template <detail::number E, std::size_t N, temperature_for<detail::real_t<E>> T = int>
constexpr std::array<detail::real_t<E>, N> softmax(const E (&logits)[N], T temperature = 1) {
    return detail::array_to_value<detail::softmax_route>(logits, temperature);
}

// The same for each row of a batch in one contiguous buffer. temperature is one value, or a range of one per row.
template <class In, class Out, class T = int>
    requires detail::number_row<In> && detail::contiguous_row<In> && detail::writable_row<Out> &&
             detail::contiguous_row<Out> && temperatures_for<T, detail::real_of<In, Out>>
constexpr void softmax(In&& logits, Out&& probabilities, shape batch, T&& temperature = 1) {
    detail::map_shape<detail::softmax_route>(detail::calling_thread{}, logits, probabilities, batch,
                                             temperature);
}

// log_probabilities[i] = logits[i] / T - log(sum_j exp(logits[j] / T)).
//
// Never above 0. float, double and long double: within 3 ulp where that is a normal number, also where one logit dominates: the
// first of {80, 0, 0} is -2 exp(-80), not 0.
template <class In, class Out, class T = int>
    requires detail::number_row<In> && detail::writable_row<Out> &&
             temperature_for<T, detail::real_of<In, Out>>
constexpr void log_softmax(In&& logits, Out&& log_probabilities, T temperature = 1) {
    detail::range_to_range<detail::log_softmax_route>(logits, log_probabilities, temperature);
}

// The same for iterators: returns the end of the output.
template <std::forward_iterator I, std::sentinel_for<I> S, class O, class T = int>
    requires detail::number<std::iter_value_t<I>> &&
             detail::output_for<O, detail::real_t<std::iter_value_t<I>>> &&
             temperature_for<T, detail::real_t<std::iter_value_t<I>>>
constexpr O log_softmax(I first, S last, O out, T temperature = 1) {
    return detail::iterators_to_iterator<detail::log_softmax_route>(first, last, out, temperature);
}

template <class E, std::size_t N, class F, std::size_t M, detail::array_or_pointer O, class T = int>
void log_softmax(E (&)[N], F (&)[M], O&&, T = 1) = delete;

// The same by value: a std::array for a std::array, a std::vector for any other range.
template <class In, class T = int>
    requires detail::number_row<In> &&
             (!std::is_array_v<std::remove_reference_t<In>>) && temperature_for<T, detail::real_of<In>>
constexpr auto log_softmax(In&& logits, T temperature = 1) {
    return detail::range_to_value<detail::log_softmax_route>(logits, temperature);
}

// The same for arrays and braces, also in constant expressions.
template <detail::number E, std::size_t N, temperature_for<detail::real_t<E>> T = int>
constexpr std::array<detail::real_t<E>, N> log_softmax(const E (&logits)[N], T temperature = 1) {
    return detail::array_to_value<detail::log_softmax_route>(logits, temperature);
}

// The same for each row of a batch. temperature is one value, or a range of one per row.
template <class In, class Out, class T = int>
    requires detail::number_row<In> && detail::contiguous_row<In> && detail::writable_row<Out> &&
             detail::contiguous_row<Out> && temperatures_for<T, detail::real_of<In, Out>>
constexpr void log_softmax(In&& logits, Out&& log_probabilities, shape batch, T&& temperature = 1) {
    detail::map_shape<detail::log_softmax_route>(detail::calling_thread{}, logits, log_probabilities, batch,
                                                 temperature);
}

// log(sum_i exp(logits[i] / T)), T > 0; -inf for an empty row.
//
// float, double and long double: within 3 ulp of the larger of |max / T| and log(sum_i exp((logits[i] - max) / T)): the
// result is their sum, in which they can cancel.
template <class In, class T = int>
    requires detail::number_row<In> &&
             (!std::is_array_v<std::remove_reference_t<In>>) && temperature_for<T, detail::real_of<In>>
constexpr detail::real_of<In> logsumexp(In&& logits, T temperature = 1) {
    const auto in = detail::row_of(logits);
    return detail::logsumexp_of<detail::real_of<In>>(in, temperature);
}

// The same for iterators.
template <std::forward_iterator I, std::sentinel_for<I> S, class T = int>
    requires detail::number<std::iter_value_t<I>> && temperature_for<T, detail::real_t<std::iter_value_t<I>>>
constexpr detail::real_t<std::iter_value_t<I>> logsumexp(I first, S last, T temperature = 1) {
    return detail::logsumexp_of<detail::real_t<std::iter_value_t<I>>>(detail::row_between(first, last),
                                                                      temperature);
}

template <class E, std::size_t N, class F, std::size_t M, class T = int>
void logsumexp(E (&)[N], F (&)[M], T = 1) = delete;

// The same for arrays and braces, also in constant expressions.
template <detail::number E, std::size_t N, temperature_for<detail::real_t<E>> T = int>
constexpr detail::real_t<E> logsumexp(const E (&logits)[N], T temperature = 1) {
    return detail::logsumexp_of<detail::real_t<E>>(detail::row_of(logits), temperature);
}

// The same for each row of a batch: one result per row, that of (o, i) at o * inner + i. temperature is one value, or a
// range of one per row.
template <class In, class Out, class T = int>
    requires detail::number_row<In> && detail::contiguous_row<In> && detail::writable_row<Out> &&
             temperatures_for<T, detail::real_of<In, Out>>
constexpr void logsumexp(In&& logits, Out&& results, shape batch, T&& temperature = 1) {
    detail::reduce_shape(detail::calling_thread{}, logits, results, batch, temperature);
}

} // namespace smx::inline SMX_ABI

#endif
