// The operations on one row, each a few passes of rows.hpp: softmax, log_softmax, logsumexp, cross-entropy.
// Rows that hold NaN or infinities come out as the table of special values says. NaN costs nothing to find:
// it passes through the sum into every result. Infinite maxima and logits beyond the range of 2^(x c) leave
// the fast route here.
#ifndef SMX_DETAIL_OPERATIONS_HPP
#define SMX_DETAIL_OPERATIONS_HPP

#include "long_rows.hpp"

namespace smx::inline SMX_ABI::detail {

template <class Real>
inline bool has_nan(const Real* x, std::size_t n) {
    using bits = typename format<Real>::bits;
    for (std::size_t i = 0; i < n; ++i) {
        if ((std::bit_cast<bits>(x[i]) & (std::numeric_limits<bits>::max)()) >
            std::bit_cast<bits>(std::numeric_limits<Real>::infinity())) {
            return true;
        }
    }
    return false;
}
// A row as the operations want it, with at least one logical vector: a shorter one is extended by -inf, which
// adds nothing.
template <class M>
struct padded_row {
    using Real = typename M::real;
    Real logit[M::lanes], result[M::lanes];
    SMX_INLINE padded_row(const Real* x, std::size_t n) {
        const auto none = splat<typename M::vector>(-std::numeric_limits<Real>::infinity());
        for (int h = 0; h < M::parts; ++h) {
            store(logit + h * M::width, none);
        }
        for (std::size_t i = 0; i < n; ++i) {
            logit[i] = x[i];
        }
    }
    SMX_INLINE void write(Real* y, std::size_t n) const {
        for (std::size_t i = 0; i < n; ++i) {
            y[i] = result[i];
        }
    }
};

template <bool Store, class M, class Real = typename M::real>
SMX_INLINE row_sum<Real> sum_any_row(const Real* x, Real* y, std::size_t n, const base2_scale<Real>& c) {
    row_sum<Real> s;
    if constexpr (!Store) {
        if (n > longest_stored_row<Real> && sum_long_row<M>(x, n, c, s)) {
            return s;
        }
    }
    return sum_row<M, Store>(x, y, n, c);
}

// sum_row, once per instruction set: it is most of the code, and every operation needs it.
template <bool Store, class Real>
SMX_NOINLINE void sum_baseline(const Real* x, Real* y, std::size_t n, const base2_scale<Real>& c,
                               row_sum<Real>& s) {
    s = sum_any_row<Store, machine<Real, 16 / int(sizeof(Real))>>(x, y, n, c);
}
#if SMX_X86
template <bool Store, class Real>
SMX_AVX2 void sum_avx2(const Real* x, Real* y, std::size_t n, const base2_scale<Real>& c, row_sum<Real>& s) {
    s = sum_any_row<Store, machine<Real, 32 / int(sizeof(Real))>>(x, y, n, c);
}
template <bool Store, class Real>
SMX_AVX512 void sum_avx512(const Real* x, Real* y, std::size_t n, const base2_scale<Real>& c,
                           row_sum<Real>& s) {
    s = sum_any_row<Store, machine<Real, 64 / int(sizeof(Real))>>(x, y, n, c);
}
#endif
template <class M, bool Store, class Real = typename M::real>
SMX_INLINE row_sum<Real> sum(const Real* x, Real* y, std::size_t n, const base2_scale<Real>& c) {
    row_sum<Real> s;
#if SMX_X86
    if constexpr (sizeof(typename M::vector) == 64) {
        sum_avx512<Store>(x, y, n, c, s);
    } else if constexpr (sizeof(typename M::vector) == 32) {
        sum_avx2<Store>(x, y, n, c, s);
    } else
#endif
    {
        sum_baseline<Store>(x, y, n, c, s);
    }
    return s;
}

// The sum of all terms but one maximum, over that maximum.
template <class M>
SMX_INLINE double_word<double> others_over_top(const row_sum<typename M::real>& s) {
    const double_word<double> more = exact_sum(s.rest.hi, product(s.tops - 1, s.top));
    using P = typename M::wide;
    const P hi = splat<P>(more.hi), top = splat<P>(s.top), q = hi / top;
    const P left = remainder_of(hi, q, top) + splat<P>(more.lo + s.rest.lo);
    return {q.v[0], (left / top).v[0]};
}

// log(sum of exp((x - max) / T)): log1p of the others.
template <class M>
SMX_INLINE double log_of_sum(const row_sum<typename M::real>& s) {
    using P = typename M::wide;
    const double_word<double> u = others_over_top<M>(s);
    return log_of_one_plus(splat<P>(u.hi), splat<P>(u.lo)).v[0];
}

// (x - y) / T in double, also where x - y overflows.
template <class Real>
SMX_INLINE double distance(Real x, Real y, double temperature) {
    const double half = temperature > 1 ? 0.5 : 1;
    return (product(static_cast<double>(x), half) - product(static_cast<double>(y), half)) /
           (temperature * half);
}

struct softmax_operation {
    template <class M>
    SMX_INLINE static void row(const typename M::real* x, typename M::real* y, std::size_t n,
                               const base2_scale<typename M::real>& c) {
        if (n > longest_stored_row<typename M::real>) {
            const row_sum<typename M::real> s = sum<M, false>(x, y, n, c);
            if (write_scaled_terms<M>(x, y, n, c, s.maximum, quotient<M>(1.0, s))) {
                return;
            }
        }
        scale<M>(y, n, quotient<M>(1.0, sum<M, true>(x, y, n, c)));
    }
};

// (x - max) / T - log(sum): both parts have one sign, so nothing cancels.
struct log_softmax_operation {
    template <class M>
    SMX_INLINE static void row(const typename M::real* x, typename M::real* y, std::size_t n,
                               const base2_scale<typename M::real>& c) {
        using P = typename M::vector;
        using Real = typename M::real;
        const row_sum<Real> s = sum<M, false>(x, y, n, c);
        const double log_sum = is_infinite(s.maximum) ? s.top : log_of_sum<M>(s);
        if (c.scaled || !(magnitude(s.maximum) <= c.usual)) {
            for (std::size_t i = 0; i < n; ++i) {
                y[i] = static_cast<Real>(distance(x[i], s.maximum, c.temperature) - log_sum);
            }
            return;
        }
        const P m = splat<P>(s.maximum), inverse = splat<P>(c.inverse),
                minus = splat<P>(static_cast<Real>(-log_sum));
        const auto result = [&](const Real* from) SMX_LAMBDA_INLINE {
            return multiply_add(opaque(load<P>(from) - m), inverse, minus);
        };
        constexpr std::size_t w = M::width;
        const P last = result(x + n - w);
        std::size_t i = 0;
        for (; i + 4 * w <= n; i += 4 * w) {
            SMX_UNROLL for (std::size_t k = 0; k < 4; ++k) store(y + i + k * w, result(x + i + k * w));
        }
        for (; i + w <= n; i += w) {
            store(y + i, result(x + i));
        }
        if (i < n) {
            store(y + n - w, last);
        }
    }
};

// max / T + log(sum).
struct logsumexp_operation {
    template <class M>
    SMX_INLINE static typename M::real row(const typename M::real* x, std::size_t n,
                                           const base2_scale<typename M::real>& c) {
        using Real = typename M::real;
        using P = typename M::wide;
        Real* const nowhere = nullptr;
        const row_sum<Real> s = sum<M, false>(x, nowhere, n, c);
        if (is_infinite(s.maximum)) {
            return has_nan(x, n) ? std::numeric_limits<Real>::quiet_NaN() : s.maximum;
        }
        const double high = static_cast<double>(s.maximum) / c.temperature, log_sum = log_of_sum<M>(s);
        if (sizeof(Real) == sizeof(float) || is_infinite(high)) {
            return static_cast<Real>(high + log_sum);
        }
        const P m = splat<P>(static_cast<double>(s.maximum)), t = splat<P>(c.temperature);
        const double low = (remainder_of(m, splat<P>(high), t) / t).v[0];
        const double_word<double> both = exact_sum(high, log_sum);
        return static_cast<Real>(both.hi + (both.lo + low));
    }
};

// The loss of a row whose class is `target`: (max - x[target]) / T + log1p(others). With Gradient also
// gradient[i] = factor (p[i] - (i == target)), where the target's entry is -factor times the sum of the
// others.
template <bool Gradient>
struct cross_entropy_operation {
    template <class M>
    SMX_INLINE static typename M::real row(const typename M::real* x, typename M::real* gradient,
                                           std::size_t n, const base2_scale<typename M::real>& c,
                                           std::size_t target, double factor) {
        using Real = typename M::real;
        const Real logit = x[target];
        const row_sum<Real> s = sum<M, Gradient>(x, gradient, n, c);
        const double nan = std::numeric_limits<double>::quiet_NaN();
        const bool special = is_infinite(s.maximum);
        const double loss = special ? nan : distance(s.maximum, logit, c.temperature) + log_of_sum<M>(s);
        if constexpr (Gradient) {
            if (!special) {
                double_word<double> others = s.rest;
                if (logit == s.maximum) {
                    others.hi = others.hi + product(s.tops - 1, s.top);
                } else {
                    others =
                        exact_sum(product(s.top, s.tops), others.hi - static_cast<double>(gradient[target]));
                    others.lo = others.lo + s.rest.lo;
                }
                const double_word<double> part = quotient<M>(others.hi + others.lo, s);
                scale<M>(gradient, n, quotient<M>(factor, s));
                gradient[target] = static_cast<Real>(-factor * (part.hi + part.lo));
            }
        }
        return static_cast<Real>(loss);
    }
};

} // namespace smx::inline SMX_ABI::detail

#endif
