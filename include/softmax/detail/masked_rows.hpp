// Kernels of masked rows of float or double. Truth values become logits of -inf, for the kernels of whole rows; a bias has terms of
// its own; a sink is one more term of a row's sum. A kernel that returns false has written nothing: the row is for the
// generic code. Leans on online_rows.hpp and backward_rows.hpp.
#ifndef SMX_DETAIL_MASKED_ROWS_HPP
#define SMX_DETAIL_MASKED_ROWS_HPP

#include "backward_rows.hpp"
#include "online_rows.hpp"

#include <type_traits>

namespace smx::inline SMX_ABI::detail {

// The logits that take part by truth values in bytes, or by a bias; lanes of `no` for the others.
template <class P>
SMX_INLINE P selected(const unsigned char* mask, const P& yes, const P& no) {
    return where_nonzero(mask, yes, no);
}
template <class P>
SMX_INLINE P selected(const typename P::real* bias, const P& yes, const P& no) {
    return where_equal(load<P>(bias), splat<P>(no_logit<typename P::real>), no, yes);
}
template <class Real>
SMX_INLINE bool takes_part(unsigned char mask) {
    return mask != 0;
}
template <class Real>
SMX_INLINE bool takes_part(Real bias) {
    return !(bias == no_logit<Real>);
}

// y = x where it takes part, else `excluded`, for n elements; y may be x.
struct select_logits {
    template <class M, class Real, class Element>
    SMX_INLINE static void run(const Real* x, const Element* mask, Real* y, std::size_t n, Real excluded) {
        using P = typename M::vector;
        constexpr std::size_t w = M::width;
        const P no = splat<P>(excluded);
        std::size_t i = 0;
        for (; i + w <= n; i += w) {
            store(y + i, selected(mask + i, load<P>(x + i), no));
        }
        for (; i < n; ++i) {
            y[i] = takes_part<Real>(mask[i]) ? x[i] : excluded;
        }
    }
};

// Whether a bias is 0 or -inf everywhere. One that is not mostly shows it soon.
struct is_selection {
    template <class M, class Real>
    SMX_INLINE static bool run(const Real* bias, std::size_t n) {
        using P = typename M::vector;
        constexpr std::size_t block = 16 * M::width;
        const P none = splat<P>(no_logit<Real>);
        std::size_t i = 0;
        for (; i + block <= n; i += block) {
            seen_bits<P> other;
            for (std::size_t k = i; k < i + block; k += M::width) {
                const P b = load_once<P>(bias + k);
                lane_set<P> some;
                find_unequal(b, none, some);
                other.see(b, Real(0), some);
            }
            if (other.any_of((std::numeric_limits<typename P::bits>::max)())) { // (-0 is 0)
                return false;
            }
        }
        bool all = true;
        for (; i < n; ++i) {
            all = all && (bias[i] == 0 || bias[i] == no_logit<Real>);
        }
        return all;
    }
};

// The term of a sink by the reference of a row. False if it is out of reach: 1 / sum has to be two normal numbers of the type.
template <class M, class Real = typename M::real>
SMX_INLINE bool term_of_sink(double sink, const row_reference<typename M::vector>& q, double& term) {
    using D = typename M::wide;
    constexpr double reach = std::is_same_v<Real, float> ? 60 : 900;
    const double n = static_cast<double>(number_of(q));
    if (!(magnitude(sink) < 2000 && sink * log2e - n < reach)) { // also NaN
        return false;
    }
    row_reference<D> own;
    refer_by(scale_of_one<double>, splat<D>(n), own);
    D t[1] = {splat<D>(sink)};
    exponentials(t, &own);
    constexpr int lifted = term_range<double>::lift - term_range<Real>::lift;
    term = product(t[0].v[0], power_of_two(-lifted));
    return true;
}

// A row and its sum with the sink, padded if it is shorter than a logical vector.
template <class M>
struct row_with_sink {
    using Real = typename M::real;
    padded_row<M> padded;
    const Real* x;
    std::size_t size;
    row_sum<Real> s;

    SMX_INLINE row_with_sink(const Real* logits, std::size_t n)
        : padded(logits, n < std::size_t(M::lanes) ? n : 0),
          x(n < std::size_t(M::lanes) ? padded.logit : logits),
          size(n < std::size_t(M::lanes) ? M::lanes : n) {}

    SMX_INLINE bool add_up(const base2_scale<Real>& c, double sink) {
        Real* const nowhere = nullptr;
        s = sum<M, false>(x, nowhere, size, c, 0);
        if (is_infinite(s.maximum) || s.rest.hi != s.rest.hi || !is_fast_maximum<M>(s.maximum, c)) {
            return false;
        }
        row_reference<typename M::vector> q;
        refer_to(s.maximum, c, q);
        double term;
        const bool is_in_reach = term_of_sink<M>(sink, q, term);
        if (is_in_reach) {
            add_part(s, {term, 0}, 0);
        }
        return is_in_reach;
    }
};

// Softmax of a row with a sink, or its logarithms.
template <bool Log>
struct map_with_sink {
    template <class M, class Real>
    SMX_INLINE static bool run(const Real* x, Real* y, std::size_t n, const base2_scale<Real>* c,
                               double sink) {
        row_with_sink<M> row(x, n);
        if (!row.add_up(*c, sink)) {
            return false;
        }
        const bool padded = row.x != x;
        Real* const to = padded ? row.padded.result : y;
        if constexpr (Log) {
            write_logs<M>(row.x, to, row.size, {row.s.maximum, log_of_sum<M>(row.s), *c});
        } else {
            write_scaled_terms<M>(row.x, to, row.size, *c, row.s.maximum, quotient<M>(1.0, row.s), Real(1));
        }
        row.padded.write(y, padded ? n : 0);
        return true;
    }
};

// x c + b log2(e) as an integer and a rest in [-1/2, 1/2], the two products exact: rounding x / T + b would cost
// |x / T + b| / 2 ulp of a probability. Logits and biases above `most` / c are not done here; those far below count as `least`,
// whose terms are 0 for certain.
template <class P>
struct biased_terms {
    using Real = typename P::real;
    static constexpr Real most = Real(0x1p16), least = Real(-0x1p18);
    P hi, lo, one_hi, one_lo, lowest_logit, lowest_bias, none;

    SMX_INLINE explicit biased_terms(const base2_scale<Real>& c)
        : hi(splat<P>(c.hi)),
          lo(splat<P>(c.lo)),
          one_hi(splat<P>(scale_of_one<Real>.hi)),
          one_lo(splat<P>(scale_of_one<Real>.lo)),
          lowest_logit(splat<P>(least * c.inverse_hi)),
          lowest_bias(splat<P>(least * scale_of_one<Real>.inverse_hi)),
          none(splat<P>(no_logit<Real>)) {}

    // Of what takes no part nothing counts.
    SMX_INLINE void exclude(P& x, P& b) const {
        x = larger(lowest_logit, where_equal(b, none, P{}, x));
        b = larger(lowest_bias, b);
    }

    // x[k] <- 2^(x[k] c + b[k] log2(e) - N + lift), of what exclude() leaves.
    template <int K>
    SMX_INLINE void exponentials(P (&x)[K], const P (&b)[K], const P& magic) const {
        using R = term_range<Real>;
        const P unit = splat<P>(R::magic);
        P r[K], z[K], p[K], q[K];
        SMX_UNROLL for (int k = 0; k < K; ++k) r[k] = opaque(b[k] * one_hi);
        SMX_UNROLL for (int k = 0; k < K; ++k) q[k] =
            multiply_add(b[k], one_lo, product_error(b[k], one_hi, r[k]));
        SMX_UNROLL for (int k = 0; k < K; ++k) z[k] = opaque(opaque(r[k] + unit) - unit);
        SMX_UNROLL for (int k = 0; k < K; ++k) r[k] = r[k] - z[k];  // exact
        SMX_UNROLL for (int k = 0; k < K; ++k) p[k] = magic + z[k]; // exact
        SMX_UNROLL for (int k = 0; k < K; ++k) {
            P n;
            if constexpr (is_fused<P>) {
                z[k] = larger(unit, opaque(p[k] + opaque(fma(x[k], hi, r[k]))));
                n = opaque(p[k] - z[k]);
                r[k] = opaque(fma(x[k], hi, n)) + r[k];
                r[k] = r[k] + fma(x[k], lo, q[k]);
            } else {
                const P v = opaque(x[k] * hi);
                z[k] = larger(unit, opaque(p[k] + opaque(v + r[k])));
                n = opaque(p[k] - z[k]);
                const P rest = product_error(x[k], hi, v) + x[k] * lo;
                r[k] = opaque(opaque(v + n) + r[k]) + (rest + q[k]);
            }
        }
        powers_of(x, r, z, plain_terms{});
    }
};

// Softmax of a row with a bias. Every vector of terms goes to the wide sums: what a tree of them would round, and which term is the
// largest, need not be known.
template <class M>
struct biased_row {
    using P = typename M::vector;
    using Real = typename M::real;
    static constexpr std::size_t w = M::width, step = 4 * M::lanes;
    const biased_terms<P> terms;
    const P none = splat<P>(no_logit<Real>);
    P top = none, top_logit = none, top_bias = none;
    tally<M> sums;

    SMX_INLINE explicit biased_row(const base2_scale<Real>& c) : terms(c) {}

    SMX_INLINE void look(const Real* x, const Real* b, std::size_t n) {
        for (std::size_t i = 0; i < n; i += 2 * w) {
            P v[2], u[2];
            SMX_UNROLL for (std::size_t k = 0; k < 2; ++k) {
                v[k] = load<P>(x + i + k * w);
                u[k] = load<P>(b + i + k * w);
                terms.exclude(v[k], u[k]);
            }
            top_logit = larger(larger(v[0], v[1]), top_logit);
            top_bias = larger(larger(u[0], u[1]), top_bias);
            SMX_UNROLL for (std::size_t k = 0; k < 2; ++k) v[k] =
                multiply_add(v[k], terms.hi, u[k] * terms.one_hi);
            top = larger(larger(v[0], v[1]), top);
        }
    }
    // Whether a row that was looked at can be done. (NaN shows in the sum.)
    SMX_INLINE bool is_usual(const base2_scale<Real>& c) const {
        using T = biased_terms<P>;
        return !c.scaled && largest_lane(top) >= -T::most &&
               largest_lane(top_logit) <= T::most * c.inverse_hi &&
               largest_lane(top_bias) <= T::most * scale_of_one<Real>.inverse_hi;
    }
    SMX_INLINE void write(const Real* x, const Real* b, Real* y, std::size_t n, const P& magic) {
        for (std::size_t i = 0; i < n; i += step) {
            SMX_UNROLL for (std::size_t h = 0; h < M::parts; ++h) {
                P v[4], u[4];
                SMX_UNROLL for (std::size_t k = 0; k < 4; ++k) {
                    const std::size_t at = i + k * M::lanes + h * w;
                    v[k] = load<P>(x + at);
                    u[k] = load<P>(b + at);
                    terms.exclude(v[k], u[k]);
                }
                terms.exponentials(v, u, magic);
                SMX_UNROLL for (std::size_t k = 0; k < 4; ++k) {
                    store(y + i + k * M::lanes + h * w, v[k]);
                    sums.add(v[k], static_cast<int>(h));
                }
            }
        }
    }
};

struct biased_softmax {
    template <class M, class Real>
    SMX_INLINE static bool run(const Real* x, const Real* b, Real* y, std::size_t n,
                               const base2_scale<Real>* c, const double* sink) {
        using P = typename M::vector;
        constexpr std::size_t step = biased_row<M>::step;
        const std::size_t whole = n - n % step;
        Real logit[step] = {}, bias[step]; // the last step, filled up with what takes no part
        for (std::size_t i = 0; i < step; ++i) {
            const bool own = whole + i < n;
            logit[i] = own ? x[whole + i] : Real(0);
            bias[i] = own ? b[whole + i] : no_logit<Real>;
        }
        biased_row<M> row(*c);
        row.look(x, b, whole);
        row.look(logit, bias, step);
        if (!row.is_usual(*c)) {
            return false;
        }
        row_reference<P> q;
        const P magic = splat<P>(term_range<Real>::magic), half = splat<P>(largest_lane(row.top) * Real(0.5));
        const P n_half = opaque(opaque(half + magic) - magic);
        refer_by(*c, n_half + n_half, q);
        double term = 0;
        if (sink != nullptr && !term_of_sink<M>(*sink, q, term)) {
            return false;
        }
        row.write(x, b, y, whole, q.magic);
        row.write(logit, bias, logit, whole < n ? step : 0, q.magic);
        const double_word<double> rest = row.sums.total(), sum = exact_sum(rest.hi, term);
        const double_word<double> factor = divided<M>(1.0, {sum.hi, sum.lo + rest.lo});
        if (whole != 0) {
            scale<M>(y, whole, factor, Real(1));
        }
        if (whole < n) {
            scale<M>(logit, step, factor, Real(1));
            for (std::size_t i = whole; i < n; ++i) {
                y[i] = logit[i - whole];
            }
        }
        return true;
    }
};

// As log_softmax_backward, but what takes no part, and has the output -inf, does not count whatever its upstream.
template <class P>
struct masked_log_softmax_backward_formula : log_softmax_backward_formula<P> {
    static constexpr bool sums_both = true;
    P none;

    SMX_INLINE masked_log_softmax_backward_formula() : none(splat<P>(no_logit<typename P::real>)) {}

    template <class M>
    SMX_INLINE void add(tally<M>& sum, const P& l, const P& upstream, int h) const {
        sum.add(where_equal(l, none, P{}, upstream), h);
    }

    template <int K>
    SMX_INLINE void results(P (&l)[K], const P (&u)[K], const backward_factors<P>& f) const {
        P g[K];
        SMX_UNROLL for (int k = 0; k < K; ++k) g[k] = l[k];
        log_softmax_backward_formula<P>::results(g, u, f);
        SMX_UNROLL for (int k = 0; k < K; ++k) l[k] = where_equal(l[k], none, P{}, g[k]);
    }
};

} // namespace smx::inline SMX_ABI::detail

#endif
