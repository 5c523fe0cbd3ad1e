// online_normalizer: the denominator of a softmax whose logits arrive in pieces: value by value, in ranges, from other threads,
// ranks or devices.
#ifndef SMX_ONLINE_HPP
#define SMX_ONLINE_HPP

#include "detail/contract.hpp"
#include "detail/elements.hpp"
#include "detail/online_sums.hpp"
#include "options.hpp"

#include <concepts>
#include <type_traits>

namespace smx::inline SMX_ABI {

// What has been seen of a row at one temperature: its maximum and the sum of its terms, so that logsumexp and the
// probability of any logit are known at any time, and the states of two parts of a row give that of both (Milakov,
// Gimelshein, "Online normalizer calculation for softmax", 2018). The sum is kept by an integer power of two, so that
// carrying it to a larger maximum rounds nothing.
//
// Precision of float, double and long double, whatever the order and grouping of pushes and merges: logsumexp() within 3 ulp of the
// larger of |max / T| and log(sum(exp((x - max) / T))), probabilities within 3 ulp where they are normal numbers.
//
//   special values  -inf adds nothing, also as the first one; nothing but -inf so far: logsumexp() -inf, probabilities NaN; +inf
//                   seen: +inf, NaN; NaN seen: NaN, NaN. T = +inf: log(count), 1 / count
//   errors          std::invalid_argument for T <= 0 or NaN, for a size that does not fit, and for states of different
//                   temperatures; with nothing changed
//   bits            of float and double the same everywhere for usual logits and temperatures, also of states that were made on another
//                   machine. Those of another order or grouping may differ within the bounds
//   does not        allocate, print, or keep state elsewhere. Trivially copyable: 24 bytes of float, 40 of double
//
// Real is float, double, long double or a user type; what is pushed is converted to it, and may not be wider.
template <detail::real_number Real>
    requires std::same_as<Real, std::remove_cv_t<Real>>
class online_normalizer {
public:
    // double for float and double, the element type itself for wider ones.
    using parameter = typename cross_entropy_options<Real>::parameter;

    // At temperature 1.
    constexpr online_normalizer() : online_normalizer(parameter(1.0)) {}

    // Of an empty row at this temperature, greater than 0.
    constexpr explicit online_normalizer(const parameter& temperature)
        : temperature_(detail::checked_temperature<parameter>("online_normalizer", temperature,
                                                              detail::temperature_rule::positive)) {}

    // The temperature that it was made with.
    constexpr const parameter& temperature() const { return temperature_; }

    // One more logit.
    constexpr void push(const Real& logit) { detail::push_value(sum_, logit, temperature_); }

    // All logits of a range: contiguous ones of Real, where they are many, at the speed of logsumexp.
    template <class In>
        requires detail::number_row<In> && std::same_as<detail::real_t<detail::element_of<In>, Real>, Real>
    constexpr void push(In&& logits) {
        const auto in = detail::row_of(logits);
        detail::push_range(sum_, in.first, in.last, temperature_);
    }

    // What was pushed into the other one counts as pushed into this one. Both have one temperature.
    constexpr void merge(const online_normalizer& other) {
        detail::require_same_temperature("online_normalizer::merge", other.temperature_, temperature_);
        detail::merge_into(sum_, other.sum_, temperature_);
    }

    // log(sum_i exp(x_i / T)) of all logits so far.
    constexpr Real logsumexp() const { return detail::logsumexp_so_far(sum_, temperature_); }

    // exp(logit / T - logsumexp()): the probability of a logit that was pushed. One that was not may have any, also above 1.
    constexpr Real probability(const Real& logit) const {
        return detail::probability_so_far(sum_, logit, temperature_);
    }

    // exp(part.logsumexp() - logsumexp()): the probability of all logits of a part together. What the mean of values weighted by
    // the probabilities of the part is multiplied with to be added to that of the whole.
    constexpr Real probability(const online_normalizer& part) const {
        detail::require_same_temperature("online_normalizer::probability", part.temperature_, temperature_);
        return detail::share_so_far(sum_, part.sum_, temperature_);
    }

    // probabilities[i] = probability(logits[i]). The output may be the input.
    template <class In, class Out>
        requires detail::number_row<In> && std::same_as<detail::real_t<detail::element_of<In>, Real>, Real> &&
                 detail::writable_row<Out>
    constexpr void normalize(In&& logits, Out&& probabilities) const {
        const auto in = detail::row_of(logits);
        const auto out = detail::row_of(probabilities);
        detail::require_size("online_normalizer::normalize", "probabilities", detail::size_of(out), "logits",
                             detail::size_of(in));
        detail::normalize_range<detail::element_of<Out>>(sum_, in.first, in.last, out.first, temperature_);
    }

private:
    detail::partial_sum<Real> sum_;
    parameter temperature_;
};

} // namespace smx::inline SMX_ABI

#endif
