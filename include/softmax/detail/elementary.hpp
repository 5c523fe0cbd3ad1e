// exp, log, log1p and tanh for every element type: those of the standard library at run time, twins for constant expressions,
// ADL for user types. The engine calls them by one name each: exponential, logarithm, logarithm_of_one_plus,
// hyperbolic_tangent.
#ifndef SMX_DETAIL_ELEMENTARY_HPP
#define SMX_DETAIL_ELEMENTARY_HPP

#include "double_word.hpp"
#include "standard.hpp"

#include <concepts>
#include <limits>
#include <type_traits>

namespace smx::inline SMX_ABI::detail {

namespace constant {

template <std::floating_point Real>
constexpr Real absolute(Real x) {
    return x < 0 ? -x : x;
}

// 2 atanh(s) = log((1 + s) / (1 - s)), |s| <= 1/2, to about twice the digits of Real.
template <std::floating_point Real>
constexpr double_word<Real> twice_atanh(const double_word<Real>& s) {
    constexpr Real reach = std::numeric_limits<Real>::epsilon() * std::numeric_limits<Real>::epsilon();
    const auto square = s * s;
    double_word<Real> power = s;
    double_word<Real> sum = s;
    for (int k = 3;; k += 2) {
        power = power * square;
        const auto term = power / double_word<Real>{static_cast<Real>(k), 0};
        if (absolute(term.hi) <= absolute(sum.hi) * reach) {
            return {2 * sum.hi, 2 * sum.lo};
        }
        sum = sum + term;
    }
}

// log(2) = 2 atanh(1/3): derived here, so that no constant has to be kept for each width of long double.
template <std::floating_point Real>
inline constexpr double_word<Real> log_of_two =
    twice_atanh(double_word<Real>{1, 0} / double_word<Real>{3, 0});

// x * 2^power in two steps: neither passes the range of Real where the result does not.
template <std::floating_point Real>
constexpr Real scale_by_power_of_two(Real x, int power) {
    const int halves[] = {power / 2, power - power / 2};
    for (const int half : halves) {
        Real factor = half < 0 ? Real(0.5) : Real(2);
        for (int bits = half < 0 ? -half : half; bits != 0; bits /= 2) {
            x = bits % 2 != 0 ? x * factor : x;
            factor = bits > 1 ? factor * factor : factor;
        }
    }
    return x;
}

// e^x / 2^power, power the nearest integer to x / log(2), to a relative error of about `reach`.
template <std::floating_point Real>
constexpr double_word<Real> exp_mantissa(const double_word<Real>& x, Real reach, int& power) {
    constexpr auto log2 = log_of_two<Real>;
    power = static_cast<int>(x.hi / log2.hi + (x.hi < 0 ? Real(-0.5) : Real(0.5)));
    const auto shift = log2 * double_word<Real>{static_cast<Real>(power), 0};
    const auto r = x - shift;
    double_word<Real> term{1, 0};
    double_word<Real> sum{1, 0};
    for (int k = 1; absolute(term.hi) > reach; ++k) {
        term = term * r / double_word<Real>{static_cast<Real>(k), 0};
        sum = sum + term;
    }
    return sum;
}

// Within 1 ulp (double rounding where the result is subnormal).
template <std::floating_point Real>
constexpr Real exp(Real x) {
    using limits = std::numeric_limits<Real>;
    constexpr auto log2 = log_of_two<Real>;
    if (x != x) {
        return x;
    }
    if (x > limits::max_exponent * log2.hi) {
        return limits::infinity();
    }
    if (x < (limits::min_exponent - limits::digits - 2) * log2.hi) {
        return 0;
    }
    int power = 0;
    const auto mantissa = exp_mantissa(double_word<Real>{x, 0}, limits::epsilon() / 1024, power);
    // 2^max_exponent itself is not a number of Real: one factor of 2 is kept back for the largest results.
    return power == limits::max_exponent ? 2 * scale_by_power_of_two(mantissa.hi, power - 1)
                                         : scale_by_power_of_two(mantissa.hi, power);
}

// e^x for x <= 0 to about twice the digits of Real, as far as these are normal numbers.
template <std::floating_point Real>
constexpr double_word<Real> exp(const double_word<Real>& x) {
    using limits = std::numeric_limits<Real>;
    if (x.hi < (limits::min_exponent - limits::digits - 2) * log_of_two<Real>.hi) {
        return {0, 0};
    }
    int power = 0;
    const auto mantissa = exp_mantissa(x, limits::epsilon() * limits::epsilon() / 4, power);
    return {scale_by_power_of_two(mantissa.hi, power), scale_by_power_of_two(mantissa.lo, power)};
}

// log of a positive finite double word, to about twice the digits of Real.
template <std::floating_point Real>
constexpr double_word<Real> log(double_word<Real> x) {
    int power = 0;
    const auto move = [&](int by) {
        x = {scale_by_power_of_two(x.hi, -by), scale_by_power_of_two(x.lo, -by)};
        power += by;
    };
    for (int step = std::numeric_limits<Real>::max_exponent / 2; step > 0; step /= 2) {
        while (x.hi >= scale_by_power_of_two(Real(1), step)) {
            move(step);
        }
        while (x.hi < scale_by_power_of_two(Real(1), -step)) {
            move(-step);
        }
    }
    // x is in [1/2, 2), on the side of 1 where both terms have the same sign.
    const double_word<Real> one{1, 0};
    const auto shift = log_of_two<Real> * double_word<Real>{static_cast<Real>(power), 0};
    return shift + twice_atanh((x - one) / (x + one));
}

// Within 1 ulp.
template <std::floating_point Real>
constexpr Real log(Real x) {
    using limits = std::numeric_limits<Real>;
    if (x != x || x < 0) {
        return limits::quiet_NaN();
    }
    if (x == 0 || x > (limits::max)()) {
        return x == 0 ? -limits::infinity() : x;
    }
    return log(double_word<Real>{x, 0}).hi;
}

// Within 1 ulp, x >= 0.
template <std::floating_point Real>
constexpr Real log1p(Real x) {
    if (x != x || x > (std::numeric_limits<Real>::max)()) {
        return x;
    }
    return x < 1 ? twice_atanh(double_word<Real>{x, 0} / two_sum(Real(2), x)).hi
                 : log(two_sum(x, Real(1))).hi;
}

// Within 2 ulp.
template <std::floating_point Real>
constexpr Real tanh(Real x) {
    if (x != x || x == 0) {
        return x;
    }
    const Real size = absolute(x);
    if (size > Real(0.5)) {
        const Real e = exp(-2 * size);
        const Real result = (two_sum(Real(1), -e) / two_sum(Real(1), e)).hi;
        return x < 0 ? -result : result;
    }
    // sinh / cosh by their series
    const auto square = two_product(x, x);
    double_word<Real> term{1, 0}, odd{1, 0}, even{1, 0};
    for (int k = 1; term.hi > std::numeric_limits<Real>::epsilon() / 1024; k += 2) {
        term = term * square / double_word<Real>{static_cast<Real>(k * (k + 1)), 0};
        even = even + term;
        odd = odd + term / double_word<Real>{static_cast<Real>(k + 2), 0};
    }
    return x * (odd / even).hi;
}

} // namespace constant

template <class Real>
constexpr Real exponential(const Real& x) {
    if constexpr (!std::floating_point<Real>) {
        return exp(x);
    } else if (std::is_constant_evaluated()) {
        return constant::exp(x);
    } else {
        return standard::exp(x);
    }
}

template <class Real>
constexpr Real logarithm(const Real& x) {
    if constexpr (!std::floating_point<Real>) {
        return log(x);
    } else if (std::is_constant_evaluated()) {
        return constant::log(x);
    } else {
        return standard::log(x);
    }
}

// log(1 + x) for a user type, x >= 0. Below 1/2 the series of 2 atanh(x / (2 + x)): the usual correction of log(1 + x)
// by x / ((1 + x) - 1) has the right value but, for dual numbers, a derivative made of rounding errors.
template <class Real>
Real series_of_log1p(const Real& x) {
    const Real one(1.0);
    if (!(x < Real(0.5))) {
        return log(Real(one + x));
    }
    const Real s = x / (one + one + x);
    const Real square = s * s;
    Real power = s;
    Real sum = s;
    for (int k = 3;; k += 2) {
        power = power * square;
        const Real next = sum + power / Real(static_cast<double>(k));
        if (!(sum < next)) {
            return sum + sum;
        }
        sum = next;
    }
}

// x >= 0.
template <class Real>
constexpr Real logarithm_of_one_plus(const Real& x) {
    if constexpr (!std::floating_point<Real>) {
        return series_of_log1p(x);
    } else if (std::is_constant_evaluated()) {
        return constant::log1p(x);
    } else {
        return standard::log1p(x);
    }
}

template <class Real>
concept has_tanh = requires(const Real& x) {
    { tanh(x) } -> std::convertible_to<Real>;
};

// A user type without tanh gets it from exp, with an error of a few epsilon rather than ulp.
template <class Real>
constexpr Real hyperbolic_tangent(const Real& x) {
    if constexpr (has_tanh<Real> && !std::floating_point<Real>) {
        return tanh(x);
    } else if constexpr (!std::floating_point<Real>) {
        const Real zero(0.0), one(1.0);
        const bool negative = x < zero;
        const Real size = negative ? Real(zero - x) : x;
        const Real e = exp(Real(zero - (size + size)));
        const Real result = (one - e) / (one + e);
        return negative ? Real(zero - result) : result;
    } else if (std::is_constant_evaluated()) {
        return constant::tanh(x);
    } else {
        return standard::tanh(x);
    }
}

} // namespace smx::inline SMX_ABI::detail

#endif
