// softmax_backward and log_softmax_backward: from the gradient of a loss by the outputs of softmax or log_softmax, called
// upstream, to the gradient by the logits. One row, as ranges or iterators, or a batch of rows.
//
// Shared by all functions here
//   outputs        what softmax or log_softmax wrote at the same temperature; used as given. Elements as in forward.hpp
//   temperature    greater than 0; 1 where it is left out; at infinity, where no logit moves the outputs, the gradient is 0
//   special rows   as the formula gives them: a row of NaN gives NaN. So does an infinite upstream, in its own place; the
//                  others become infinite
//   in place       the gradient may be the outputs or the upstream; any other overlap is outside the contract
//   errors         std::invalid_argument for a size that does not fit and for T <= 0 or NaN, before anything is written;
//                  without exceptions SMX_VIOLATION_HANDLER(message), then std::abort
//   bits           those of contiguous rows of float and double are the same everywhere for T between 1e-20 and 1e20
//   does not       allocate (batches with inner > 1 take 128 KiB of stack), print, or keep state
#ifndef SMX_BACKWARD_HPP
#define SMX_BACKWARD_HPP

#include "detail/backward_batches.hpp"
#include "detail/backward_routes.hpp"
#include "detail/contract.hpp"
#include "detail/elements.hpp"
#include "detail/tasks.hpp"
#include "options.hpp"
#include "shape.hpp"

#include <concepts>
#include <cstddef>
#include <type_traits>

namespace smx::inline SMX_ABI {

namespace detail {

template <class Route, class P, class U, class G, class T>
constexpr void backward_range(P& outputs, U& upstream, G& gradient, const T& temperature) {
    using work = work_t<real_of<P, U, G>>;
    const auto in = row_of(outputs);
    const auto from = row_of(upstream);
    const auto out = row_of(gradient);
    const auto checked = checked_temperature<work>(Route::function, temperature, temperature_rule::positive);
    require_size(Route::function, "upstream", size_of(from), Route::input, size_of(in));
    require_size(Route::function, "gradient", size_of(out), Route::input, size_of(in));
    gradient_row<Route, element_of<G>>(in.first, in.last, from.first, out.first, checked);
}

// An iterator as row_of leaves that of a range.
template <class I>
constexpr auto unwrapped(I it) {
    if constexpr (std::contiguous_iterator<I>) {
        return std::to_address(it);
    } else {
        return it;
    }
}

template <class Route, class I, class S, class U, class O, class T>
constexpr O backward_iterators(I first, S last, U upstream, O out, const T& temperature) {
    using real = real_t<std::iter_value_t<I>, std::iter_value_t<U>>;
    using value = value_written_t<O, real>;
    using work = work_t<real_t<real, value>>;
    const auto in = row_between(first, last);
    const auto checked = checked_temperature<work>(Route::function, temperature, temperature_rule::positive);
    const auto begin = unwrapped(out);
    const auto end = gradient_row<Route, value>(in.first, in.last, unwrapped(upstream), begin, checked);
    if constexpr (std::contiguous_iterator<O>) {
        return out + (end - begin);
    } else {
        return end;
    }
}

} // namespace detail

// gradient[c] = p[c] (upstream[c] - sum_j p[j] upstream[j]) / T, p the probabilities. A class of probability 0 takes no part:
// its gradient is 0 and it adds nothing to the sum, whatever its upstream, NaN too.
//
// float, double and long double: within 3 ulp of p[c] max(|upstream[c]|, |sum|, epsilon sum_j |p[j] upstream[j]|) / T where that is
// a normal number and upstream / T no larger than a quarter of the largest.
template <class P, class U, class G, class T = int>
    requires detail::backward_rows_for<P, U, G> && temperature_for<T, detail::real_of<P, U, G>>
constexpr void softmax_backward(P&& probabilities, U&& upstream, G&& gradient, T temperature = 1) {
    detail::backward_range<detail::softmax_backward_route>(probabilities, upstream, gradient, temperature);
}

// The same for iterators: returns the end of the output, which like upstream has no size to check.
template <std::forward_iterator I, std::sentinel_for<I> S, std::forward_iterator U, class O, class T = int>
    requires detail::number<std::iter_value_t<I>> && detail::number<std::iter_value_t<U>> &&
             detail::output_for<O, detail::real_t<std::iter_value_t<I>, std::iter_value_t<U>>> &&
             temperature_for<T, detail::real_t<std::iter_value_t<I>, std::iter_value_t<U>>>
constexpr O softmax_backward(I first, S last, U upstream, O gradient, T temperature = 1) {
    return detail::backward_iterators<detail::softmax_backward_route>(first, last, upstream, gradient,
                                                                      temperature);
}

// Arrays are rows, not iterators: four of them are a slip.
template <class E, std::size_t N, class F, std::size_t M, detail::array_or_pointer U,
          detail::array_or_pointer O, class T = int>
void softmax_backward(E (&)[N], F (&)[M], U&&, O&&, T = 1) = delete;

// The same for each row of a batch in contiguous buffers, bit for bit what the row gives alone. temperature is one value, or
// a range of one per row.
template <class P, class U, class G, class T = int>
    requires detail::backward_batches_for<P, U, G> && temperatures_for<T, detail::real_of<P, U, G>>
constexpr void softmax_backward(P&& probabilities, U&& upstream, G&& gradient, shape batch,
                                T&& temperature = 1) {
    detail::backward_shape<detail::softmax_backward_route>(detail::calling_thread{}, probabilities, upstream,
                                                           gradient, batch, temperature);
}

// gradient[c] = (upstream[c] - exp(l[c]) sum_j upstream[j]) / T, l the log_probabilities; where l[c] is -inf, upstream[c] / T.
//
// float, double and long double: within 4 ulp of max(|upstream[c]|, p max(|sum|, epsilon sum_j |upstream[j]|)) / T, p = exp(l[c])
// a normal number or 0, under the same condition as above.
template <class L, class U, class G, class T = int>
    requires detail::backward_rows_for<L, U, G> && temperature_for<T, detail::real_of<L, U, G>>
constexpr void log_softmax_backward(L&& log_probabilities, U&& upstream, G&& gradient, T temperature = 1) {
    detail::backward_range<detail::log_softmax_backward_route>(log_probabilities, upstream, gradient,
                                                               temperature);
}

// The same for iterators: returns the end of the output.
template <std::forward_iterator I, std::sentinel_for<I> S, std::forward_iterator U, class O, class T = int>
    requires detail::number<std::iter_value_t<I>> && detail::number<std::iter_value_t<U>> &&
             detail::output_for<O, detail::real_t<std::iter_value_t<I>, std::iter_value_t<U>>> &&
             temperature_for<T, detail::real_t<std::iter_value_t<I>, std::iter_value_t<U>>>
constexpr O log_softmax_backward(I first, S last, U upstream, O gradient, T temperature = 1) {
    return detail::backward_iterators<detail::log_softmax_backward_route>(first, last, upstream, gradient,
                                                                          temperature);
}

template <class E, std::size_t N, class F, std::size_t M, detail::array_or_pointer U,
          detail::array_or_pointer O, class T = int>
void log_softmax_backward(E (&)[N], F (&)[M], U&&, O&&, T = 1) = delete;

// The same for each row of a batch. temperature is one value, or a range of one per row.
template <class L, class U, class G, class T = int>
    requires detail::backward_batches_for<L, U, G> && temperatures_for<T, detail::real_of<L, U, G>>
constexpr void log_softmax_backward(L&& log_probabilities, U&& upstream, G&& gradient, shape batch,
                                    T&& temperature = 1) {
    detail::backward_shape<detail::log_softmax_backward_route>(detail::calling_thread{}, log_probabilities,
                                                               upstream, gradient, batch, temperature);
}

} // namespace smx::inline SMX_ABI

#endif
