// Numbers held as an unevaluated sum of two: what the scalar kernels keep their rounding errors in.
// Error-free transforms after Knuth (two_sum), Dekker (fast_two_sum, the constexpr product); see Joldes, Muller,
// Popescu, "Tight and rigorous error bounds for basic building blocks of double-word arithmetic", 2017.
#ifndef SMX_DETAIL_DOUBLE_WORD_HPP
#define SMX_DETAIL_DOUBLE_WORD_HPP

#include "standard.hpp"

#include <concepts>
#include <limits>
#include <type_traits>

namespace smx::inline SMX_ABI::detail {

// |lo| is at most half an ulp of hi. For types that are not built in, lo stays 0: their digits are the caller's choice
// and the transforms below may not hold for them.
template <class Real>
struct double_word {
    Real hi;
    Real lo;
};

template <class Real>
constexpr double_word<Real> two_sum(const Real& a, const Real& b) {
    const Real sum = a + b;
    if constexpr (std::floating_point<Real>) {
        const Real b_part = sum - a;
        const Real a_part = sum - b_part;
        return {sum, (a - a_part) + (b - b_part)};
    } else {
        return {sum, Real(0.0)};
    }
}

// Needs |a| >= |b| or a = 0.
template <std::floating_point Real>
constexpr double_word<Real> fast_two_sum(Real a, Real b) {
    const Real sum = a + b;
    return {sum, b - (sum - a)};
}

template <std::floating_point Real>
constexpr double_word<Real> veltkamp_split(Real a) {
    constexpr Real factor = static_cast<Real>((1LL << ((std::numeric_limits<Real>::digits + 1) / 2)) + 1);
    const Real scaled = factor * a;
    const Real difference = scaled - a;
    const Real hi = scaled - difference;
    return {hi, a - hi};
}

template <std::floating_point Real>
constexpr double_word<Real> two_product(Real a, Real b) {
    const Real product = a * b;
    if (!std::is_constant_evaluated()) {
        return {product, standard::fma(a, b, -product)};
    }
    const auto [a_hi, a_lo] = veltkamp_split(a);
    const auto [b_hi, b_lo] = veltkamp_split(b);
    return {product, a_lo * b_lo - (((product - a_hi * b_hi) - a_lo * b_hi) - a_hi * b_lo)};
}

template <std::floating_point Real>
constexpr double_word<Real> operator+(const double_word<Real>& a, const double_word<Real>& b) {
    const auto sum = two_sum(a.hi, b.hi);
    return fast_two_sum(sum.hi, sum.lo + (a.lo + b.lo));
}

template <std::floating_point Real>
constexpr double_word<Real> operator-(const double_word<Real>& a, const double_word<Real>& b) {
    return a + double_word<Real>{-b.hi, -b.lo};
}

template <std::floating_point Real>
constexpr double_word<Real> operator*(const double_word<Real>& a, const double_word<Real>& b) {
    const auto product = two_product(a.hi, b.hi);
    return fast_two_sum(product.hi, product.lo + (a.hi * b.lo + a.lo * b.hi));
}

template <std::floating_point Real>
constexpr double_word<Real> operator/(const double_word<Real>& a, const double_word<Real>& b) {
    const Real first = a.hi / b.hi;
    const auto remainder = a - b * double_word<Real>{first, 0};
    return fast_two_sum(first, remainder.hi / b.hi);
}

// A running sum whose error does not grow with its length. An infinite or NaN term makes the sum what plain addition
// makes it.
template <class Real>
class compensated_sum {
public:
    constexpr compensated_sum& operator+=(const Real& term) {
        if constexpr (std::floating_point<Real>) {
            const Real plain = sum_.hi + term;
            if (!(plain >= std::numeric_limits<Real>::lowest() &&
                  plain <= (std::numeric_limits<Real>::max)())) {
                sum_ = {plain, 0}; // its rounding error would be infinity - infinity
                return *this;
            }
        }
        const auto next = two_sum(sum_.hi, term);
        sum_.hi = next.hi;
        sum_.lo = sum_.lo + next.lo;
        return *this;
    }

    constexpr double_word<Real> value() const {
        if constexpr (std::floating_point<Real>) {
            return sum_.lo == 0 ? sum_ : fast_two_sum(sum_.hi, sum_.lo);
        } else {
            return sum_;
        }
    }

private:
    double_word<Real> sum_{Real(0.0), Real(0.0)};
};

} // namespace smx::inline SMX_ABI::detail

#endif
