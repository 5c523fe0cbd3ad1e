// Kernels of the gradients of softmax and log_softmax for contiguous rows of float or double: many rows a call, each with
// the bits that it has alone. Two passes over a row: its sum, then what is written. The sum is that of exact products, in
// double for floats, with its rounding errors for doubles, since it may cancel. Leans on dispatch.hpp.
#ifndef SMX_DETAIL_BACKWARD_ROWS_HPP
#define SMX_DETAIL_BACKWARD_ROWS_HPP

#include "dispatch.hpp"

namespace smx::inline SMX_ABI::detail {

// Rows of neighbouring outputs of the forward function with their upstream gradients, and where the results go: may be
// either of them.
template <class Real>
struct backward_batch {
    const Real* outputs;
    const Real* upstream;
    Real* gradient;
    std::size_t rows, classes;
    double temperature; // 1 / T is a usual number of Real
};

// 1 / T, the same for all rows, and sum / T of one row, each as hi + lo.
template <class P>
struct backward_factors {
    P inverse_hi, inverse_lo, sum_hi, sum_lo;
};

template <class M>
struct backward_divisor {
    using Real = typename M::real;
    using D = typename M::wide;
    double inverse, rest; // 1 / T

    SMX_INLINE explicit backward_divisor(double temperature) : inverse(1 / temperature) {
        const D t = splat<D>(temperature);
        rest = (remainder_of(splat<D>(1), splat<D>(inverse), t) / t).v[0];
    }
    // Infinite sums stay what they are: their errors would be NaN.
    template <class P>
    SMX_INLINE backward_factors<P> of(const double_word<double>& sum) const {
        const double hi = product(sum.hi, inverse);
        double lo = product_error(splat<D>(sum.hi), splat<D>(inverse), splat<D>(hi)).v[0];
        lo += product(sum.hi, rest) + product(sum.lo, inverse);
        lo = magnitude(hi) <= (std::numeric_limits<double>::max)() ? lo : 0;
        return {splat<P>(upper(inverse)), splat<P>(lower(inverse, rest)), splat<P>(upper(hi)),
                splat<P>(lower(hi, lo))};
    }

private:
    SMX_INLINE static Real upper(double hi) { return static_cast<Real>(hi); }
    SMX_INLINE static Real lower(double hi, double lo) {
        const double rounded = static_cast<double>(upper(hi));
        return is_infinite(rounded) ? Real(0) : static_cast<Real>((hi - rounded) + lo);
    }
};

// p (u - sum(p u)) / T. A class of probability 0 takes no part, whatever its upstream.
template <class P>
struct softmax_backward_formula {
    static constexpr bool sums_both = true;

    template <class M>
    SMX_INLINE static void add(tally<M>& sum, const P& p, const P& upstream, int h) {
        const P u = where_equal(p, P{}, P{}, upstream);
        if constexpr (sizeof(typename M::real) == sizeof(float)) { // whose products are exact in double
            const auto a = halved(p), b = halved(u);
            sum.part[2 * h] = multiply_add(convert<double>(a.low), convert<double>(b.low), sum.part[2 * h]);
            sum.part[2 * h + 1] =
                multiply_add(convert<double>(a.high), convert<double>(b.high), sum.part[2 * h + 1]);
        } else {
            const P v = opaque(p * u);
            sum.add(v, h);
            sum.error[h] = sum.error[h] + product_error(p, u, v);
        }
    }

    template <int K>
    SMX_INLINE void results(P (&p)[K], const P (&u)[K], const backward_factors<P>& f) const {
        P g[K];
        SMX_UNROLL for (int k = 0; k < K; ++k) {
            if constexpr (is_fused<P>) {
                const P far = fma(u[k], f.inverse_hi, P{} - f.sum_hi);
                g[k] = fma(p[k], far, p[k] * fma(u[k], f.inverse_lo, P{} - f.sum_lo));
            } else {
                const P q = opaque(u[k] * f.inverse_hi), far = q - f.sum_hi, v = opaque(p[k] * far);
                const P lost = product_error(u[k], f.inverse_hi, q) + (u[k] * f.inverse_lo - f.sum_lo);
                g[k] = v + (product_error(p[k], far, v) + p[k] * lost);
            }
        }
        SMX_UNROLL for (int k = 0; k < K; ++k) p[k] = where_equal(p[k], P{}, P{}, g[k]);
    }
};

// (u - exp(l) sum(u)) / T.
template <class P>
struct log_softmax_backward_formula {
    static constexpr bool sums_both = false;
    plain_reference<P> reference;
    P infinity = splat<P>(-no_logit<typename P::real>);

    SMX_INLINE log_softmax_backward_formula() { refer_plainly(scale_of_one<typename P::real>, reference); }

    template <class M>
    SMX_INLINE static void add(tally<M>& sum, const P&, const P& upstream, int h) {
        sum.add(upstream, h);
    }

    template <int K>
    SMX_INLINE void results(P (&l)[K], const P (&u)[K], const backward_factors<P>& f) const {
        P e[K];
        SMX_UNROLL for (int k = 0; k < K; ++k) e[k] = smaller(reference.highest, l[k]);
        exponentials(e, &reference.row);
        SMX_UNROLL for (int k = 0; k < K; ++k) {
            e[k] = where_less(reference.highest, l[k], infinity, e[k]);
            const P away = multiply_add(e[k], f.sum_hi, e[k] * f.sum_lo);
            if constexpr (is_fused<P>) {
                l[k] = fma(u[k], f.inverse_hi, fma(u[k], f.inverse_lo, P{} - away));
            } else {
                const P q = opaque(u[k] * f.inverse_hi);
                l[k] = (q - away) + (product_error(u[k], f.inverse_hi, q) + u[k] * f.inverse_lo);
            }
        }
    }
};

// One row of at least a logical vector.
template <class M, template <class> class Formula, class Real = typename M::real>
SMX_INLINE void backward_row(const Real* y, const Real* u, Real* g, std::size_t n,
                             const Formula<typename M::vector>& formula, const backward_divisor<M>& divisor) {
    using P = typename M::vector;
    constexpr std::size_t w = M::width, lanes = M::lanes;
    tally<M> sum;
    std::size_t i = 0;
    for (; i + lanes <= n; i += lanes) {
        // Zen 5 does not see two streams at full width coming: 64 x 50257 floats 0.59 ns an element without, 0.39 with.
        if constexpr (Formula<P>::sums_both && M::parts == 1) {
            SMX_PREFETCH(y + i + 16 * lanes);
            SMX_PREFETCH(u + i + 16 * lanes);
        }
        SMX_UNROLL for (int h = 0; h < M::parts; ++h) {
            const std::size_t at = i + static_cast<std::size_t>(h) * w;
            formula.add(sum, load<P>(y + at), load<P>(u + at), h);
        }
    }
    if (i < n) {
        SMX_UNROLL for (int h = 0; h < M::parts; ++h) {
            const std::size_t o = static_cast<std::size_t>(h) * w, at = n - lanes + o, seen = i + lanes - n;
            formula.add(sum, lanes_from(seen, o, load<P>(y + at)), lanes_from(seen, o, load<P>(u + at)), h);
        }
    }
    const auto factors = divisor.template of<P>(sum.total());
    P last[1] = {load<P>(y + n - w)}; // before a store reaches it
    const P last_upstream[1] = {load<P>(u + n - w)};
    formula.results(last, last_upstream, factors);
    for (i = 0; i + 4 * w <= n; i += 4 * w) {
        P v[4], up[4];
        SMX_UNROLL for (std::size_t k = 0; k < 4; ++k) {
            v[k] = load<P>(y + i + k * w);
            up[k] = load<P>(u + i + k * w);
        }
        formula.results(v, up, factors);
        SMX_UNROLL for (std::size_t k = 0; k < 4; ++k) store(g + i + k * w, v[k]);
    }
    for (; i + w <= n; i += w) {
        P v[1] = {load<P>(y + i)};
        const P up[1] = {load<P>(u + i)};
        formula.results(v, up, factors);
        store(g + i, v[0]);
    }
    if (i < n) {
        store(g + n - w, last[0]);
    }
}

// Rows shorter than a logical vector, read as one where the batch goes on behind them.
template <class R, template <class> class Formula, class Real = typename R::real>
SMX_INLINE void backward_short_rows(const backward_batch<Real>& b) {
    using P = typename R::vector;
    constexpr std::size_t lanes = R::lanes, w = R::width;
    const std::size_t n = b.classes, size = b.rows * n;
    const Formula<P> formula;
    const backward_divisor<R> divisor(b.temperature);
    Real outputs[lanes] = {}, upstream[lanes] = {};
    for (std::size_t at = 0; at < size; at += n) {
        const Real *y = b.outputs + at, *u = b.upstream + at;
        if (at + lanes > size) {
            for (std::size_t i = 0; i < n; ++i) {
                outputs[i] = y[i];
                upstream[i] = u[i];
            }
            y = outputs;
            u = upstream;
        }
        tally<R> sum;
        P v[R::parts], up[R::parts];
        SMX_UNROLL for (std::size_t h = 0; h < R::parts; ++h) {
            const first_lanes<P> own(lanes_in_part<R>(n, h));
            v[h] = own.of(load<P>(y + h * w));
            up[h] = own.of(load<P>(u + h * w));
            formula.add(sum, v[h], up[h], static_cast<int>(h));
        }
        formula.results(v, up, divisor.template of<P>(sum.total()));
        SMX_UNROLL for (std::size_t h = 0; h < R::parts; ++h) {
            store_below(b.gradient + at + h * w, lanes_in_part<R>(n, h), v[h]);
        }
    }
}

template <template <class> class Formula>
struct backward_rows {
    template <class M, class Real>
    SMX_INLINE static void run(const backward_batch<Real>* b) {
        const std::size_t n = b->classes;
        constexpr int half = M::lanes / 2;
        if (n <= half) {
            backward_short_rows<machine<Real, (M::width < half ? M::width : half), half>, Formula>(*b);
        } else if (n < M::lanes) {
            backward_short_rows<M, Formula>(*b);
        } else {
            const Formula<typename M::vector> formula;
            const backward_divisor<M> divisor(b->temperature);
            for (std::size_t at = 0; at < b->rows * n; at += n) {
                backward_row<M, Formula>(b->outputs + at, b->upstream + at, b->gradient + at, n, formula,
                                         divisor);
            }
        }
    }
};

} // namespace smx::inline SMX_ABI::detail

#endif
