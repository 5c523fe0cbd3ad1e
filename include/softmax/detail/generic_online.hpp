// What has been seen of a row that arrives in pieces, and the code for it that serves every element type, every temperature
// and constant expressions. Kernels for float and double: online_rows.hpp.
#ifndef SMX_DETAIL_GENERIC_ONLINE_HPP
#define SMX_DETAIL_GENERIC_ONLINE_HPP

#include "double_word.hpp"
#include "elementary.hpp"
#include "elements.hpp"
#include "generic_rows.hpp"

#include <concepts>
#include <cstdint>
#include <limits>
#include <type_traits>

namespace smx::inline SMX_ABI::detail {

// The maximum and the sum of all other terms: by an integer reference N as 2^(x c - N + lift), see exponential.hpp, or by
// none as e^((x - maximum) / T). N is kept although it follows from the maximum: machines may differ where it lies halfway.
template <class Real>
struct partial_sum {
    using work = work_t<Real>;
    // Doubles hold the sum of floats with digits to spare.
    using stored_sum = std::conditional_t<std::same_as<Real, float>, double, double_word<work>>;
    using number = std::conditional_t<std::same_as<Real, float>, std::int32_t, std::int64_t>;
    static constexpr number none = (std::numeric_limits<number>::min)();

    stored_sum rest{};
    Real top_logit; // -inf: nothing above it so far; +inf and NaN: what follows is decided
    number reference = none;

    constexpr explicit partial_sum(const Real& only = negative_infinity<Real>()) : top_logit(only) {}
};

template <class Real>
constexpr double_word<work_t<Real>> rest_of(const partial_sum<Real>& s) {
    if constexpr (std::same_as<Real, float>) {
        return {s.rest, 0};
    } else {
        return s.rest;
    }
}
template <class Real>
constexpr void set_rest(partial_sum<Real>& s, const double_word<work_t<Real>>& rest) {
    if constexpr (std::same_as<Real, float>) {
        s.rest = rest.hi + rest.lo;
    } else {
        s.rest = rest;
    }
}

// Adds part where one of the two holds no number; false, with nothing done, if both do.
template <class Real>
constexpr bool settle(partial_sum<Real>& s, const partial_sum<Real>& part) {
    if (is_number(s.top_logit) && is_number(part.top_logit)) {
        return false;
    }
    if (s.top_logit != s.top_logit || part.top_logit == negative_infinity<Real>()) {
        return true;
    }
    if (s.top_logit == negative_infinity<Real>() || part.top_logit != part.top_logit) {
        s = part;
    } else {
        s = partial_sum<Real>(infinity<Real>());
    }
    return true;
}

// The digits of user types are the caller's choice: plain arithmetic.
template <class Work>
constexpr double_word<Work> plus(const double_word<Work>& a, const double_word<Work>& b) {
    if constexpr (std::floating_point<Work>) {
        return a + b;
    } else {
        return {a.hi + b.hi, Work(0.0)};
    }
}

// a e^exponent, exponent <= 0, to twice the digits: a sum may be carried to a larger maximum any number of times.
template <class Work>
constexpr double_word<Work> scaled_by_exponential(const double_word<Work>& a,
                                                  const double_word<Work>& exponent) {
    if constexpr (std::floating_point<Work>) {
        return a * constant::exp(exponent);
    } else {
        return {a.hi * exponential(exponent.hi), Work(0.0)};
    }
}

// All terms of s by a maximum that is at least its own.
template <class Real, class Work = work_t<Real>>
constexpr double_word<Work> total_by(const Real& maximum, const partial_sum<Real>& s,
                                     const Work& temperature) {
    const boltzmann_factor<Work> factor(static_cast<Work>(maximum), temperature);
    const Work own = static_cast<Work>(s.top_logit);
    const auto rest = rest_of(s);
    if (rest.hi == Work(0.0)) { // a single term needs no more digits than any
        return {factor(own), Work(0.0)};
    }
    return scaled_by_exponential(plus(rest, {Work(1.0), Work(0.0)}), factor.exponent(own));
}

// Both hold a number, and neither has a reference.
template <class Real, class Work = work_t<Real>>
constexpr void add_partial_sum(partial_sum<Real>& s, const partial_sum<Real>& part, const Work& temperature) {
    const bool raises = s.top_logit < part.top_logit;
    const auto& upper = raises ? part : s;
    const auto& lower = raises ? s : part;
    const auto rest = plus(rest_of(upper), total_by(upper.top_logit, lower, temperature));
    s.top_logit = upper.top_logit;
    set_rest(s, rest);
}

template <class Real, class Work = work_t<Real>>
constexpr Work logsumexp_of(const partial_sum<Real>& s, const Work& temperature) {
    const Work top = static_cast<Work>(s.top_logit);
    return is_number(s.top_logit) ? Work(top / temperature + partition<Work>(rest_of(s)).log_total) : top;
}

// e^(x / T) over the sum of all terms.
template <class Real, class Work = work_t<Real>>
constexpr Work probability_of(const partial_sum<Real>& s, const Real& x, const Work& temperature) {
    if (!is_number(s.top_logit) || x != x) {
        return not_a_number<Work>();
    }
    if (!is_number(x)) {
        return x < s.top_logit ? Work(0.0) : infinity<Work>();
    }
    if (s.top_logit < x) { // was not pushed
        return Work(1.0) / total_by(x, s, temperature).hi;
    }
    const boltzmann_factor<Work> factor(static_cast<Work>(s.top_logit), temperature);
    const partition<Work> terms(rest_of(s));
    auto exponent = factor.exponent(static_cast<Work>(x));
    exponent.lo = exponent.lo - terms.total.lo / terms.total.hi;
    return factor.value(exponent) / terms.total.hi;
}

// The sum of the terms of part over that of s.
template <class Real, class Work = work_t<Real>>
constexpr Work probability_of(const partial_sum<Real>& s, const partial_sum<Real>& part,
                              const Work& temperature) {
    if (!is_number(s.top_logit) || !is_number(part.top_logit)) {
        const bool none = is_number(s.top_logit) && part.top_logit == negative_infinity<Real>();
        return none ? Work(0.0) : not_a_number<Work>();
    }
    const Real& top = s.top_logit < part.top_logit ? part.top_logit : s.top_logit;
    const auto own = total_by(top, part, temperature), all = total_by(top, s, temperature);
    if constexpr (std::floating_point<Work>) {
        return all.hi == 0 ? infinity<Work>() : (own / all).hi;
    } else {
        return own.hi / all.hi;
    }
}

} // namespace smx::inline SMX_ABI::detail

#endif
