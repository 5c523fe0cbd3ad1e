// The operations on one row, each a few passes of rows.hpp: softmax, log_softmax, logsumexp.
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
        if ((std::bit_cast<bits>(x[i]) & (std::numeric_limits<bits>::max)()) > format<Real>::infinity) {
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
        const auto none = splat<typename M::vector>(no_logit<Real>);
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
SMX_INLINE row_sum<Real> sum_any_row(const Real* x, Real* y, std::size_t n, const base2_scale<Real>& c,
                                     std::size_t ahead) {
    row_sum<Real> s;
    if constexpr (!Store) {
        if (n > longest_row_read_twice<Real> && sum_long_row<M>(x, n, c, s)) {
            return s;
        }
    }
    if (!Store && n > longest_fetched_row<Real>) {
        y = nullptr;
    }
    return sum_row<M, Store>(x, y, n, c, ahead);
}

// sum_row in a function of its own: it is most of the code, and every operation needs it. ahead: where the next row
// stands, see term_pass; 0 if there is none.
template <bool Store>
struct sum_body {
    template <class M, class Real>
    SMX_INLINE static void run(const Real* x, Real* y, std::size_t n, const base2_scale<Real>* c,
                               std::size_t ahead, row_sum<Real>* s) {
        *s = sum_any_row<Store, M>(x, y, n, *c, ahead);
    }
};
template <class M, bool Store, class Real = typename M::real>
SMX_INLINE row_sum<Real> sum(const Real* x, Real* y, std::size_t n, const base2_scale<Real>& c,
                             std::size_t ahead) {
    row_sum<Real> s;
    run_apart<M, sum_body<Store>>(x, y, n, &c, ahead, &s);
    return s;
}

// row_sum in lanes, a row in each.
template <class D>
struct sum_lanes {
    D top, tops, rest, error;
};
template <class D, class Real>
SMX_INLINE sum_lanes<D> lanes_of_sum(const row_sum<Real>& s) {
    return {splat<D>(s.top), splat<D>(s.tops), splat<D>(s.rest.hi), splat<D>(s.rest.lo)};
}

// The sum of all terms but one maximum, over that maximum; rest: what the quotient lacks.
template <class D>
SMX_INLINE D others_over_top(const sum_lanes<D>& s, D& rest) {
    D lost;
    const D hi = exact_sum(s.rest, opaque((s.tops - splat<D>(1)) * s.top), lost), q = hi / s.top;
    rest = (remainder_of(hi, q, s.top) + (lost + s.error)) / s.top;
    return q;
}
template <class M>
SMX_INLINE double_word<double> others_over_top(const row_sum<typename M::real>& s) {
    typename M::wide rest;
    const auto q = others_over_top(lanes_of_sum<typename M::wide>(s), rest);
    return {q.v[0], rest.v[0]};
}

// log(sum of exp((x - max) / T)): log1p of the others.
template <class D>
SMX_INLINE D log_of_sum(const sum_lanes<D>& s) {
    D rest;
    const D u = others_over_top(s, rest);
    return log_of_one_plus(u, rest);
}
template <class M>
SMX_INLINE double log_of_sum(const row_sum<typename M::real>& s) {
    return log_of_sum(lanes_of_sum<typename M::wide>(s)).v[0];
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
                               const base2_scale<typename M::real>& c, std::size_t ahead) {
        constexpr typename M::real one = 1;
        if (n > longest_stored_row<typename M::real>) {
            const row_sum<typename M::real> s = sum<M, false>(x, y, n, c, ahead);
            if (write_scaled_terms<M>(x, y, n, c, s.maximum, quotient<M>(1.0, s), one)) {
                return;
            }
        }
        scale<M>(y, n, quotient<M>(1.0, sum<M, true>(x, y, n, c, ahead)), one);
    }
};

// (x - max) / T - log(sum): both parts have one sign, so nothing cancels.
template <class M>
struct log_line {
    using P = typename M::vector;
    using Real = typename M::real;
    P maximum, inverse, minus;

    SMX_INLINE log_line(Real max, double log_sum, const base2_scale<Real>& c)
        : maximum(splat<P>(max)),
          inverse(splat<P>(c.inverse)),
          minus(splat<P>(static_cast<Real>(-log_sum))) {}
    SMX_INLINE P operator()(const P& x) const { return multiply_add(opaque(x - maximum), inverse, minus); }
};
// Of a row of n >= width; y may be x.
template <class M, class Real = typename M::real>
SMX_INLINE void write_logs(const Real* x, Real* y, std::size_t n, const log_line<M>& line) {
    using P = typename M::vector;
    constexpr std::size_t w = M::width;
    const P first = line(load<P>(x)), last = line(load<P>(x + n - w));
    std::size_t i = from_aligned<P>(y);
    for (; i + 4 * w <= n; i += 4 * w) {
        P v[4];
        SMX_UNROLL for (std::size_t k = 0; k < 4; ++k) v[k] = line(load<P>(x + i + k * w));
        SMX_UNROLL for (std::size_t k = 0; k < 4; ++k) store(y + i + k * w, v[k]);
    }
    for (; i + w <= n; i += w) {
        store(y + i, line(load<P>(x + i)));
    }
    store(y + n - w, last);
    store(y, first);
}

struct log_softmax_operation {
    template <class M>
    SMX_INLINE static void row(const typename M::real* x, typename M::real* y, std::size_t n,
                               const base2_scale<typename M::real>& c, std::size_t ahead) {
        using Real = typename M::real;
        const row_sum<Real> s = sum<M, false>(x, y, n, c, ahead);
        const double log_sum = is_infinite(s.maximum) ? s.top : log_of_sum<M>(s);
        if (c.scaled || !(magnitude(s.maximum) <= c.usual)) {
            for (std::size_t i = 0; i < n; ++i) {
                y[i] = static_cast<Real>(distance(x[i], s.maximum, c.temperature) - log_sum);
            }
            return;
        }
        write_logs<M>(x, y, n, {s.maximum, log_sum, c});
    }
};

// max / T + log(sum).
struct logsumexp_operation {
    template <class M>
    SMX_INLINE static typename M::real row(const typename M::real* x, std::size_t n,
                                           const base2_scale<typename M::real>& c, std::size_t ahead) {
        using Real = typename M::real;
        Real* const nowhere = nullptr;
        const row_sum<Real> s = sum<M, false>(x, nowhere, n, c, ahead);
        if (is_infinite(s.maximum)) {
            return has_nan(x, n) ? std::numeric_limits<Real>::quiet_NaN() : s.maximum;
        }
        return assemble<M>(s.maximum, log_of_sum<M>(s), c);
    }

    template <class M, class Real = typename M::real>
    SMX_INLINE static Real assemble(Real maximum, double log_sum, const base2_scale<Real>& c) {
        using P = typename M::wide;
        const double top = static_cast<double>(maximum),
                     high = c.temperature == 1 ? top : top / c.temperature;
        if (sizeof(Real) == sizeof(float) || is_infinite(high)) {
            return static_cast<Real>(high + log_sum);
        }
        const P m = splat<P>(top), t = splat<P>(c.temperature);
        const double low = (remainder_of(m, splat<P>(high), t) / t).v[0];
        const double_word<double> both = exact_sum(high, log_sum);
        return static_cast<Real>(both.hi + (both.lo + low));
    }
};

// Row by row.
template <class Operation>
struct map_rows {
    template <class M, class Real>
    SMX_INLINE static void run(const Real* x, Real* y, std::size_t rows, std::size_t n,
                               const base2_scale<Real>* c) {
        const bool padded = n < std::size_t(M::lanes);
        for (std::size_t r = 0; r < rows; ++r, x += n, y += n) {
            padded_row<M> p(x, padded ? n : 0);
            Operation::template row<M>(padded ? p.logit : x, padded ? p.result : y, padded ? M::lanes : n, *c,
                                       r + 1 < rows ? n : 0);
            p.write(y, padded ? n : 0);
        }
    }
};
struct reduce_rows {
    template <class M, class Real>
    SMX_INLINE static void run(const Real* x, Real* results, std::size_t rows, std::size_t n,
                               const base2_scale<Real>* c) {
        const bool padded = n < std::size_t(M::lanes);
        for (std::size_t r = 0; r < rows; ++r, x += n) {
            const padded_row<M> p(x, padded ? n : 0);
            results[r] = logsumexp_operation::row<M>(padded ? p.logit : x, padded ? M::lanes : n, *c,
                                                     r + 1 < rows ? n : 0);
        }
    }
};
} // namespace smx::inline SMX_ABI::detail

#endif
