// The doors of the engine: each runs one body from operations.hpp, compiled for several instruction sets, on
// the best that the machine has. Nothing here throws, allocates, or touches memory outside the ranges given;
// y may be x.
#ifndef SMX_DETAIL_DISPATCH_HPP
#define SMX_DETAIL_DISPATCH_HPP

#include "short_logs.hpp"
#include "short_rows.hpp"

namespace smx::inline SMX_ABI::detail {

// What the kernels need to know of T > 0; a batch with one T computes it once. T = 1 divides nothing.
template <class Real>
constexpr base2_scale<Real> assemble_scale(double hi, double lo, double temperature, bool usual,
                                           double shrink, double stretch) {
    using bits = typename format<Real>::bits;
    base2_scale<Real> c{};
    c.hi = static_cast<Real>(hi);
    c.lo = static_cast<Real>((hi - static_cast<double>(c.hi)) + lo);
    c.upper = std::bit_cast<Real>(std::bit_cast<bits>(c.hi) &
                                  static_cast<bits>(-1) * (bits{1} << format<Real>::split));
    c.lower = c.hi - c.upper;
    c.inverse_hi = static_cast<Real>(1 / hi);
    c.usual = static_cast<Real>(term_range<Real>::limit / hi);
    c.shrink = static_cast<Real>(shrink);
    c.stretch = static_cast<Real>(stretch);
    c.scaled = !usual;
    c.inverse = usual ? static_cast<Real>(1 / temperature) : Real(0);
    c.lowest = -(format<Real>::bias + term_range<Real>::lift) * c.inverse_hi;
    c.far_lower = c.lowest * Real(1.25);
    c.highest = short_range<Real>::above * c.inverse_hi;
    c.temperature = temperature;
    return c;
}
inline constexpr double log2e = 0x1.71547652b82fep+0, log2e_rest = 0x1.777d0ffda0d24p-56;
template <class Real>
inline constexpr base2_scale<Real> scale_of_one = assemble_scale<Real>(log2e, log2e_rest, 1, true, 1, 1);

template <class Real>
inline base2_scale<Real> base2_scale_of_any(double temperature) noexcept {
    double t = temperature, stretch = 1, shrink = 1;
    const bool usual = temperature > 0x1p-60 && temperature < 0x1p60;
    // Else c = log2(e) / t with t in [1, 2); x is scaled by t / T in two steps that neither overflow nor flush.
    if (!usual) {
        constexpr int most = format<Real>::bias - 1;
        int e = 0;
        for (; t >= 2; t *= 0.5) {
            --e;
        }
        for (; t < 1 && e < most; t *= 2) {
            ++e;
        }
        for (int k = 0; k < e; ++k) {
            stretch *= 2;
        }
        for (int k = 0; k > e && k > -most; --k) {
            shrink *= 0.5;
        }
        for (int k = -most; k > e && k > -2 * most; --k) {
            stretch *= 0.5;
        }
        t = t < 0x1p-60 ? 0x1p-60 : t;
    }
    double hi = log2e, lo = log2e_rest;
    if (t != 1) {
        hi = log2e / t;
        // the remainder of the division, exactly enough: products of halves (all but the last are exact),
        // since fma may be a slow function here
        const auto half = [](double v) {
            return std::bit_cast<double>(std::bit_cast<std::int64_t>(v) & -(std::int64_t{1} << 27));
        };
        const double p = product(hi, t), a = half(hi), b = half(t);
        const double most = opaque(opaque(product(a, b) - p) + product(a, t - b));
        const double error = opaque(most + product(hi - a, b)) + product(hi - a, t - b);
        lo = opaque(opaque(opaque(log2e - p) - opaque(error)) + log2e_rest) / t;
    }
    return assemble_scale<Real>(hi, lo, temperature, usual, shrink, stretch);
}
// T = 1 costs nothing, not even a copy; for any other, own is where the result is kept.
template <class Real>
SMX_INLINE const base2_scale<Real>& base2_scale_of(double temperature, base2_scale<Real>& own) noexcept {
    return temperature == 1 ? scale_of_one<Real> : (own = base2_scale_of_any<Real>(temperature));
}

// A row that stays in registers, of n logits in a chunk or two.
template <template <int> class Body, class Real, class... A>
SMX_INLINE void dispatch_in_registers(std::size_t n, A... a) noexcept {
    if (n > most_in_registers<Real> / 2) {
        dispatch<Body<2>, Real>(a...);
    } else {
        dispatch<Body<1>, Real>(a...);
    }
}

// rows x n logits to probabilities, or their logarithms.
template <class Real>
inline void softmax_rows(const Real* x, Real* y, std::size_t rows, std::size_t n,
                         const base2_scale<Real>& c) noexcept {
    if (n == 0) {
        return;
    }
    if (n > longest_short_row<Real>) {
        dispatch<map_rows<softmax_operation>, Real>(x, y, rows, n, &c);
    } else if (rows != 1) {
        dispatch<map_grouped_rows, Real>(x, y, rows, n, &c);
    } else if (n > most_in_registers<Real>) {
        dispatch<map_single_rows, Real>(x, y, rows, n, &c);
    } else {
        dispatch_in_registers<map_in_registers, Real>(n, x, y, n, &c);
    }
}
template <class Real>
inline void log_softmax_rows(const Real* x, Real* y, std::size_t rows, std::size_t n,
                             const base2_scale<Real>& c) noexcept {
    if (n > longest_short_log_row<Real>) {
        dispatch<map_rows<log_softmax_operation>, Real>(x, y, rows, n, &c);
    } else if (n != 0 && (rows != 1 || n > most_in_registers<Real>)) {
        dispatch<map_short_logs, Real>(x, y, rows, n, &c);
    } else if (n != 0) {
        dispatch_in_registers<map_logs_in_registers, Real>(n, x, y, n, &c);
    }
}
// One result a row.
template <class Real>
inline void logsumexp_rows(const Real* x, Real* results, std::size_t rows, std::size_t n,
                           const base2_scale<Real>& c) noexcept {
    if (n > longest_short_log_row<Real> || n == 0) {
        dispatch<reduce_rows, Real>(x, results, rows, n, &c);
    } else if (rows != 1 || n > most_in_registers<Real>) {
        dispatch<reduce_short_rows, Real>(x, results, rows, n, &c);
    } else {
        dispatch_in_registers<reduce_in_registers, Real>(n, x, results, n, &c);
    }
}
} // namespace smx::inline SMX_ABI::detail

#endif
