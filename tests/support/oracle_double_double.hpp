// The oracle of double without Boost, for programs that have to compile fast, on any machine: a number is the unevaluated
// sum of two doubles, about 104 bits (T. J. Dekker, "A floating-point technique for extending the available precision",
// 1971). Not beside oracle_multiprecision.hpp: a program has one oracle of double.
#ifndef SMX_TESTS_SUPPORT_ORACLE_DOUBLE_DOUBLE_HPP
#define SMX_TESTS_SUPPORT_ORACLE_DOUBLE_DOUBLE_HPP

#include "support/oracle.hpp"

#include <cmath>
#include <concepts>
#include <limits>

namespace oracle {

struct double_double {
    double hi = 0, lo = 0;

    double_double() = default;
    template <class Number>
        requires std::integral<Number> || std::same_as<Number, float> || std::same_as<Number, double>
    double_double(Number x) : hi(static_cast<double>(x)) {} // implicit, as conversions to a wider type are
    double_double(double high, double low) : hi(high), lo(low) {}
    template <std::floating_point Real>
    explicit operator Real() const {
        return static_cast<Real>(hi + lo);
    }

    static double_double sum(double a, double b) {
        const double s = a + b, part = s - a;
        return {s, (a - (s - part)) + (b - part)};
    }
    // |a| >= |b|, or nearly so.
    static double_double ordered_sum(double a, double b) {
        const double s = a + b;
        return {s, b - (s - a)};
    }
    static double_double product(double a, double b) {
        const double p = a * b;
        return {p, std::fma(a, b, -p)};
    }

    double_double operator-() const { return {-hi, -lo}; }
    // What is infinite, or out of range, has no lower part.
    friend double_double operator+(const double_double& a, const double_double& b) {
        if (!std::isfinite(a.hi + b.hi)) {
            return a.hi + b.hi;
        }
        const double_double s = sum(a.hi, b.hi), t = sum(a.lo, b.lo), u = ordered_sum(s.hi, s.lo + t.hi);
        return ordered_sum(u.hi, u.lo + t.lo);
    }
    friend double_double operator-(const double_double& a, const double_double& b) { return a + -b; }
    friend double_double operator*(const double_double& a, const double_double& b) {
        if (!std::isfinite(a.hi * b.hi)) {
            return a.hi * b.hi;
        }
        const double_double p = product(a.hi, b.hi);
        return ordered_sum(p.hi, p.lo + std::fma(a.hi, b.lo, a.lo * b.hi));
    }
    friend double_double operator/(const double_double& a, const double_double& b) {
        const double q = a.hi / b.hi;
        const double_double r = a - b * double_double(q);
        const double q2 = r.hi / b.hi;
        const double_double rest = r - b * double_double(q2);
        return ordered_sum(q, q2) + double_double(rest.hi / b.hi);
    }
    double_double& operator+=(const double_double& b) { return *this = *this + b; }
    double_double& operator-=(const double_double& b) { return *this = *this - b; }

    friend bool operator==(const double_double& a, const double_double& b) {
        return a.hi == b.hi && a.lo == b.lo;
    }
    friend bool operator<(const double_double& a, const double_double& b) {
        return a.hi < b.hi || (a.hi == b.hi && a.lo < b.lo);
    }
    friend bool operator>(const double_double& a, const double_double& b) { return b < a; }
    friend bool operator>=(const double_double& a, const double_double& b) { return b < a || a == b; }

    friend double_double abs(const double_double& a) { return a.hi < 0 ? -a : a; }
    friend double_double ldexp(const double_double& a, int e) {
        return {std::ldexp(a.hi, e), std::ldexp(a.lo, e)};
    }
    friend double_double frexp(const double_double& a, int* e) {
        std::frexp(a.hi, e);
        // A power of two less something lies below it.
        if (std::frexp(std::abs(a.hi), e) == 0.5 && (a.hi < 0 ? a.lo > 0 : a.lo < 0)) {
            --*e;
        }
        return ldexp(a, -*e);
    }

    // 2^k (1 + r + r^2 / 2 + ...)^256, |r| <= log(2) / 512. Below the range of double: its last place is not judged there.
    friend double_double exp(const double_double& x) {
        if (x.hi < -745) {
            return 0;
        }
        const double_double log_2(0x1.62e42fefa39efp-1, 0x1.abc9e3b39803fp-56);
        const int k = static_cast<int>(std::floor(x.hi / log_2.hi + 0.5));
        const double_double r = ldexp(x - log_2 * double_double(k), -8);
        double_double s = 0; // (e^r - 1), kept apart from the 1 through the squares
        for (int n = 9; n > 0; --n) {
            s = r * (double_double(1) + s) / double_double(n);
        }
        for (int n = 0; n < 8; ++n) {
            s = s + s + s * s;
        }
        return ldexp(double_double(1) + s, k);
    }
    // One step of Newton from the logarithm of double, on log(x) = y + log(1 + (x e^-y - 1)).
    friend double_double log(const double_double& x) {
        const double y = std::log(x.hi);
        const double_double u = x * exp(double_double(-y)) - double_double(1);
        return double_double(y) + (u - u * u * double_double(0.5));
    }
};

template <>
struct wide_for<double> {
    using type = double_double;
};

} // namespace oracle

template <>
class std::numeric_limits<oracle::double_double> : public std::numeric_limits<double> {
public:
    static constexpr int digits = 104;
};

#endif
