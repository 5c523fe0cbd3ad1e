// masked_softmax and masked_log_softmax, the softmax of attention: of a part of each row, with a bias, a softcap, a sink. And their
// gradients.
//
// Of the row x with the mask m, z_c = x_c / T; with a softcap, softcap * tanh(z_c / softcap); with a bias, + m_c. Then, over the c
// that take part, and with the sink as given,
//
//     p_c = exp(z_c) / (sum_j exp(z_j) + exp(sink)),     l_c = log(p_c)
//
// and in excluded places p_c = 0, l_c = -inf.
//
// Shared by all functions here
//   mask           a range of truth values (bool, also std::vector<bool>, or integers, of which 0 is false): true takes part
//                  a range of floating-point numbers or of a user type: the bias; -inf excludes. (Attention with linear biases:
//                  Press, Smith, Lewis, "Train short, test long", 2021)
//                  valid_lengths(range): the first so many of each row; causal(offset): the first r + 1 + offset of row r
//                  A range is a mask row for all rows, or one for each, laid out as the logits are; where inner is 1 also a
//                  number of rows that divides theirs: a matrix that is used again for every so many rows
//   excluded       by length or causality: is neither read nor computed, only written. NaN or an infinity there has no effect.
//                  A row with nothing left is all 0 (-inf), its gradient all 0
//   special rows   what takes part: as in the table in softmax.hpp. A sink of +inf or NaN: NaN. T = 0 only without bias, softcap and sink
//   bits           a row whose mask excludes nothing, or is a bias of 0, has those of softmax (log_softmax); the first n of a row with
//                  the valid length n, those of a row of n. A bias of 0 and -inf has those of truth values
//   batches        each row has the bits that it has alone
//   in place       the output may be the logits, the gradient any of what is read; any other overlap is outside the contract
//   errors         std::invalid_argument for a size that does not fit and for an option out of range, std::out_of_range for a valid
//                  length above the length of a row or below 0; before anything is written
//   does not       allocate (batches with inner > 1 take 64 KiB of stack, their gradients 128), print, or keep state
#ifndef SMX_MASKED_HPP
#define SMX_MASKED_HPP

#include "detail/backward_batches.hpp"
#include "detail/contract.hpp"
#include "detail/elements.hpp"
#include "detail/masked_batches.hpp"
#include "detail/masks.hpp"
#include "detail/tasks.hpp"
#include "options.hpp"
#include "shape.hpp"

#include <concepts>
#include <cstddef>
#include <span>
#include <type_traits>
#include <utility>

namespace smx::inline SMX_ABI {

namespace detail {

struct designated {
    constexpr explicit designated() = default;
};

} // namespace detail

// Options of the functions here. Their names have to be given, as in {.temperature = 8}: {2, 3} is a shape.
template <class Real>
struct masked_options {
    // As in cross_entropy_options.
    using parameter = typename cross_entropy_options<Real>::parameter;

    // Not to be given: it keeps {2, 3} from being options.
    [[no_unique_address]] detail::designated names = detail::designated();

    // At least 0; sqrt(d) in attention over keys of d numbers. 0 needs a row without bias, softcap and sink.
    parameter temperature{1.0};

    // At least 0: x / T is replaced by softcap * tanh(x / T / softcap), before the bias. 0, or infinity, leaves it as it is.
    parameter softcap{0.0};

    // One more term of the sum, exp(sink), which gets no output: where to look when there is nothing to see (Xiao et al., "Efficient
    // streaming language models with attention sinks", 2023). -inf: none.
    parameter sink = detail::negative_infinity<parameter>();

    // The same, one per row; empty: `sink` is for all. Not copied: has to live as long as the call. Must not overlap the output.
    std::span<const Real> sinks = {};
};

// The mask by which the first so many logits of each row take part: a range of integers, one per row or one for all, which has
// to live as long as the call.
template <class R>
    requires detail::index_row<const R> && detail::number_row<const R>
constexpr auto valid_lengths(const R& lengths) {
    const auto all = detail::row_of(lengths);
    return detail::length_mask<decltype(all.first), decltype(all.last)>{all};
}
template <std::integral E, std::size_t N>
    requires detail::number<E>
constexpr auto valid_lengths(const E (&lengths)[N]) {
    return detail::length_mask<const E*, const E*>{{lengths, lengths + N}};
}

// The mask by which row r sees its first r + 1 + offset logits, none or all where that is below 0 or beyond the end. With more keys
// than queries, the newest of which belong together, offset is keys - queries. period: the rows of one matrix, where a batch
// holds several: r starts again at 0 every so many rows. 0: never.
struct causal {
    // Of the diagonal: how many logits more than r + 1.
    std::ptrdiff_t offset = 0;

    // The rows of one matrix; 0: all are of one.
    std::size_t period = 0;

    // Both, in this order.
    constexpr explicit causal(std::ptrdiff_t row_offset = 0, std::size_t rows_of_matrix = 0)
        : offset(row_offset),
          period(rows_of_matrix) {}
};

namespace detail {

template <class M>
inline constexpr bool is_length_mask = false;
template <class I, class S>
inline constexpr bool is_length_mask<length_mask<I, S>> = true;

// What can be a mask of logits whose results are of type Real: no bias of a wider type.
template <class M, class Real>
concept mask_for =
    std::same_as<std::remove_cvref_t<M>, causal> || is_length_mask<std::remove_cvref_t<M>> || truth_row<M> ||
    (bias_row<M> && std::constructible_from<work_t<Real>, element_of<M>> &&
     std::same_as<real_t<Real, element_of<M>>, Real>);

// A mask of one row may be any forward range; rows of many are found by their number.
template <class M, class Real>
concept masks_for = mask_for<M, Real> &&
                    (!forward_row<M> || requires { requires std::random_access_iterator<iterator_of<M>>; });

// A mask in the form of masks.hpp.
template <class M>
constexpr auto checked_mask(const char* function, M& mask, const shape& batch) {
    const std::size_t n = batch.classes, rows = batch.outer * batch.inner;
    if constexpr (std::same_as<std::remove_cv_t<M>, causal>) {
        return causal_mask{mask.offset, mask.period, n};
    } else if constexpr (is_length_mask<std::remove_cv_t<M>>) {
        std::remove_cv_t<M> checked = mask;
        checked.count = size_of(mask.lengths);
        if (checked.count != 1) {
            require_size(function, "valid_lengths", checked.count, "the batch of rows", rows);
        }
        for (auto it = mask.lengths.first; it != mask.lengths.last; ++it) {
            const auto length = *it;
            if (std::cmp_less(length, 0) || std::cmp_greater(length, n)) {
                violate_length(function, length, n);
            }
        }
        return checked;
    } else {
        const auto all = row_of(mask);
        const std::size_t size = size_of(all), count = n == 0 ? 1 : size / n;
        const bool is_whole = count * n == size;
        const bool repeats =
            count == 1 || count == rows || (batch.inner == 1 && count != 0 && rows % count == 0);
        if (!is_whole || !repeats) {
            violate_mask(function, size, n, rows * n);
        }
        return range_mask<M, std::remove_const_t<decltype(all.first)>>{all.first, count == 0 ? 1 : count, n,
                                                                       batch.inner};
    }
}

template <class Work, class Real>
constexpr masked_call<Work, Real> checked_options(const char* function, const masked_options<Real>& options,
                                                  std::size_t rows, bool is_bias, temperature_rule rule) {
    const masked_call<Work, Real> call{{checked_temperature<Work>(function, options.temperature, rule),
                                        soft_cap<Work>(Work(options.softcap))},
                                       static_cast<Work>(options.sink),
                                       options.sinks};
    if (!(Work(options.softcap) >= Work(0.0))) {
        violate_value(function, "softcap", options.softcap, "at least 0");
    }
    if (!options.sinks.empty()) {
        require_size(function, "sinks", options.sinks.size(), "the batch of rows", rows);
    }
    if (call.rule.temperature == Work(0.0) && (is_bias || call.rule.cap.is_on() || call.has_sink())) {
        violate_value(function, "temperature", options.temperature,
                      "greater than 0 with a bias, a softcap or a sink");
    }
    return call;
}

template <class Route, class In, class Mask, class Out, class Real>
constexpr void masked_range(In& logits, Mask& mask, Out& results, const masked_options<Real>& options) {
    using work = work_t<Real>;
    const auto in = row_of(logits);
    const auto out = row_of(results);
    const shape batch{1, size_of(in), 1};
    const auto call =
        checked_options<work>(Route::function, options, 1, bias_row<Mask>, temperature_rule::zero_allowed);
    require_size(Route::function, Route::output, size_of(out), "logits", batch.classes);
    const auto checked = checked_mask(Route::function, mask, batch);
    if constexpr (contiguous_row<In> && contiguous_row<Out>) {
        masked_batch<Route>(calling_thread{}, in.first, out.first, batch, checked, call);
    } else {
        masked_row_by<Route, element_of<Out>>(in.first, in.last, checked, out.first, call, 0);
    }
}

template <class Route, class In, class Mask, class Out, class Real>
constexpr void masked_shape(auto&& exec, In& logits, Mask& mask, Out& results, const shape& batch,
                            const masked_options<Real>& options) {
    using work = work_t<Real>;
    const auto in = row_of(logits);
    const auto out = row_of(results);
    const std::size_t size = element_count(Route::function, batch);
    const auto call = checked_options<work>(Route::function, options, batch.outer * batch.inner,
                                            bias_row<Mask>, temperature_rule::zero_allowed);
    require_size(Route::function, "logits", size_of(in), "the shape", size);
    require_size(Route::function, Route::output, size_of(out), "the shape", size);
    masked_batch<Route>(exec, in.first, out.first, batch, checked_mask(Route::function, mask, batch), call);
}

template <class Route, class In, class Mask, class Y, class U, class G, class Real>
constexpr void masked_backward_range(In& logits, Mask& mask, Y& outputs, U& upstream, G& gradient,
                                     const masked_options<Real>& options) {
    using work = work_t<Real>;
    constexpr const char* function = Route::backward_function;
    const auto in = row_of(logits);
    const auto y = row_of(outputs);
    const auto u = row_of(upstream);
    const auto g = row_of(gradient);
    const shape batch{1, size_of(in), 1};
    const auto call = checked_options<work>(function, options, 1, bias_row<Mask>, temperature_rule::positive);
    require_size(function, Route::output, size_of(y), "logits", batch.classes);
    require_size(function, "upstream", size_of(u), "logits", batch.classes);
    require_size(function, "gradient", size_of(g), "logits", batch.classes);
    const auto checked = checked_mask(function, mask, batch);
    masked_gradient<Route, element_of<G>>(in.first, y.first, y.last, u.first, g.first, call.rule,
                                          length_of(checked, 0, batch.classes));
}

template <class Route, class In, class Mask, class Y, class U, class G, class Real>
constexpr void masked_backward_shape(auto&& exec, In& logits, Mask& mask, Y& outputs, U& upstream,
                                     G& gradient, const shape& batch, const masked_options<Real>& options) {
    using work = work_t<Real>;
    constexpr const char* function = Route::backward_function;
    const std::size_t size = element_count(function, batch);
    const auto call = checked_options<work>(function, options, batch.outer * batch.inner, bias_row<Mask>,
                                            temperature_rule::positive);
    const auto in = row_of(logits);
    const auto y = row_of(outputs);
    const auto u = row_of(upstream);
    const auto g = row_of(gradient);
    require_size(function, "logits", size_of(in), "the shape", size);
    require_size(function, Route::output, size_of(y), "the shape", size);
    require_size(function, "upstream", size_of(u), "the shape", size);
    require_size(function, "gradient", size_of(g), "the shape", size);
    masked_backward_batch<Route>(exec, in.first, y.first, u.first, g.first, batch,
                                 checked_mask(function, mask, batch), call);
}

template <class... R>
concept contiguous_rows = (contiguous_row<R> && ...);

} // namespace detail

// The probabilities p of the logits that take part, 0 elsewhere.
//
// float, double and long double: within 3 ulp of the exact result of the logits, biases and sinks as given, where that is a normal
// number. (x / T + bias is never rounded to the type.) With a softcap, of float the same; of double and long double within
// 3 + 4 softcap ulp, since x / T and tanh are only as good as the type is.
template <class In, class Mask, class Out>
    requires detail::number_row<In> && detail::writable_row<Out> &&
             detail::mask_for<Mask, detail::real_of<In, Out>>
constexpr void masked_softmax(In&& logits, Mask&& mask, Out&& probabilities,
                              masked_options<detail::real_of<In, Out>> options = {}) {
    detail::masked_range<detail::masked_softmax_route>(logits, mask, probabilities, options);
}

// The same for each row of a batch in contiguous buffers.
template <class In, class Mask, class Out>
    requires detail::number_row<In> && detail::writable_row<Out> && detail::contiguous_rows<In, Out> &&
             detail::masks_for<Mask, detail::real_of<In, Out>>
constexpr void masked_softmax(In&& logits, Mask&& mask, Out&& probabilities, shape batch,
                              masked_options<detail::real_of<In, Out>> options = {}) {
    detail::masked_shape<detail::masked_softmax_route>(detail::calling_thread{}, logits, mask, probabilities,
                                                       batch, options);
}

// The logarithms l, -inf in excluded places. The same bounds, also where one logit dominates.
template <class In, class Mask, class Out>
    requires detail::number_row<In> && detail::writable_row<Out> &&
             detail::mask_for<Mask, detail::real_of<In, Out>>
constexpr void masked_log_softmax(In&& logits, Mask&& mask, Out&& log_probabilities,
                                  masked_options<detail::real_of<In, Out>> options = {}) {
    detail::masked_range<detail::masked_log_softmax_route>(logits, mask, log_probabilities, options);
}

// The same for each row of a batch.
template <class In, class Mask, class Out>
    requires detail::number_row<In> && detail::writable_row<Out> && detail::contiguous_rows<In, Out> &&
             detail::masks_for<Mask, detail::real_of<In, Out>>
constexpr void masked_log_softmax(In&& logits, Mask&& mask, Out&& log_probabilities, shape batch,
                                  masked_options<detail::real_of<In, Out>> options = {}) {
    detail::masked_shape<detail::masked_log_softmax_route>(detail::calling_thread{}, logits, mask,
                                                           log_probabilities, batch, options);
}

// The gradient by the logits, from upstream, dL/d(probabilities): p_c (upstream_c - sum_j p_j upstream_j) / T, times the slope of the
// softcap. The arguments of the forward call, its results, then what softmax_backward takes. Excluded places, and all others of
// probability 0, have the gradient 0 and add nothing to the sum, whatever their upstream. (By the bias: the same at T = 1 without
// softcap. By the sink: -q sum_j p_j upstream_j, q = 1 - sum_j p_j.)
//
// logits: read with a softcap only; without, any range of the size will do, such as the probabilities, where the forward call
// was in place. T > 0. Bounds: those of softmax_backward; with a softcap, of float 1 ulp more, of double and long double 8 more.
template <class In, class Mask, class P, class U, class G>
    requires detail::number_row<In> && detail::backward_rows_for<P, U, G> &&
             detail::mask_for<Mask, detail::real_of<P, U, G>>
constexpr void masked_softmax_backward(In&& logits, Mask&& mask, P&& probabilities, U&& upstream,
                                       G&& gradient, masked_options<detail::real_of<P, U, G>> options = {}) {
    detail::masked_backward_range<detail::masked_softmax_route>(logits, mask, probabilities, upstream,
                                                                gradient, options);
}

// The same for each row of a batch.
template <class In, class Mask, class P, class U, class G>
    requires detail::number_row<In> && detail::contiguous_row<In> && detail::backward_batches_for<P, U, G> &&
             detail::masks_for<Mask, detail::real_of<P, U, G>>
constexpr void masked_softmax_backward(In&& logits, Mask&& mask, P&& probabilities, U&& upstream,
                                       G&& gradient, shape batch,
                                       masked_options<detail::real_of<P, U, G>> options = {}) {
    detail::masked_backward_shape<detail::masked_softmax_route>(
        detail::calling_thread{}, logits, mask, probabilities, upstream, gradient, batch, options);
}

// Likewise from dL/d(log_probabilities): (upstream_c - exp(l_c) sum_j upstream_j) / T, times the slope of the softcap. Places of
// log-probability -inf have the gradient 0 and add nothing to the sum. Bounds: those of log_softmax_backward and as above.
template <class In, class Mask, class L, class U, class G>
    requires detail::number_row<In> && detail::backward_rows_for<L, U, G> &&
             detail::mask_for<Mask, detail::real_of<L, U, G>>
constexpr void masked_log_softmax_backward(In&& logits, Mask&& mask, L&& log_probabilities, U&& upstream,
                                           G&& gradient,
                                           masked_options<detail::real_of<L, U, G>> options = {}) {
    detail::masked_backward_range<detail::masked_log_softmax_route>(logits, mask, log_probabilities, upstream,
                                                                    gradient, options);
}

// The same for each row of a batch.
template <class In, class Mask, class L, class U, class G>
    requires detail::number_row<In> && detail::contiguous_row<In> && detail::backward_batches_for<L, U, G> &&
             detail::masks_for<Mask, detail::real_of<L, U, G>>
constexpr void masked_log_softmax_backward(In&& logits, Mask&& mask, L&& log_probabilities, U&& upstream,
                                           G&& gradient, shape batch,
                                           masked_options<detail::real_of<L, U, G>> options = {}) {
    detail::masked_backward_shape<detail::masked_log_softmax_route>(
        detail::calling_thread{}, logits, mask, log_probabilities, upstream, gradient, batch, options);
}

} // namespace smx::inline SMX_ABI

#endif
