// Kernels of rows of float or double that have a bias, one row at a time. A kernel that returns false has written nothing: the row
// is for the generic code. Leans on masked_rows.hpp.
#ifndef SMX_DETAIL_BIASED_ROWS_HPP
#define SMX_DETAIL_BIASED_ROWS_HPP

#include "masked_rows.hpp"

namespace smx::inline SMX_ABI::detail {

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

// Some elements of a row beside their bias, filled up to a whole step with what takes no part.
template <class M>
struct biased_step {
    using Real = typename M::real;
    static constexpr std::size_t size = 4 * M::lanes;
    Real logit[size], bias[size];

    SMX_INLINE biased_step(const Real* x, const Real* b, std::size_t n) {
        using P = typename M::vector;
        constexpr std::size_t w = M::width;
        for (std::size_t i = 0; i < size; i += w) {
            const bool is_whole = i + w <= n;
            store(logit + i, is_whole ? load<P>(x + i) : P{});
            store(bias + i, is_whole ? load<P>(b + i) : splat<P>(no_logit<Real>));
        }
        for (std::size_t i = n - n % w; i < n; ++i) {
            logit[i] = x[i];
            bias[i] = b[i];
        }
    }
};

// The passes over a row with a bias, by whole steps. Every vector of terms goes to the wide sums: what a tree of them would round,
// and which term is the largest, need not be known.
template <class M>
struct biased_row {
    using P = typename M::vector;
    using Real = typename M::real;
    static constexpr std::size_t w = M::width, step = biased_step<M>::size;
    const biased_terms<P> terms;
    const P none = splat<P>(no_logit<Real>);
    P top = none, top_logit = none, top_bias = none;
    tally<M> sums;

    SMX_INLINE explicit biased_row(const base2_scale<Real>& c) : terms(c) {}

    // x c + b log2(e), rounded, of what exclude() leaves.
    SMX_INLINE P rounded(const P& x, const P& b) const {
        return multiply_add(x, terms.hi, opaque(b * terms.one_hi));
    }
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
            top = larger(larger(rounded(v[0], u[0]), rounded(v[1], u[1])), top);
        }
    }
    // Where in a step the top stands, which has been seen there.
    SMX_INLINE std::size_t place_of_top(const biased_step<M>& of) const {
        Real s[step];
        for (std::size_t i = 0; i < step; i += w) {
            P v = load<P>(of.logit + i), u = load<P>(of.bias + i);
            terms.exclude(v, u);
            store(s + i, rounded(v, u));
        }
        const Real wanted = largest_lane(top);
        std::size_t place = 0;
        while (place + 1 < step && s[place] != wanted) {
            ++place;
        }
        return place;
    }
    // Whether a row that was looked at can be done. (NaN shows in the sum.)
    SMX_INLINE bool is_usual(const base2_scale<Real>& c) const {
        using T = biased_terms<P>;
        return !c.scaled && largest_lane(top) >= -T::most &&
               largest_lane(top_logit) <= T::most * c.inverse_hi &&
               largest_lane(top_bias) <= T::most * scale_of_one<Real>.inverse_hi;
    }
    SMX_INLINE void refer(const base2_scale<Real>& c, row_reference<P>& q) const {
        const P magic = splat<P>(term_range<Real>::magic), half = splat<P>(largest_lane(top) * Real(0.5));
        const P n_half = opaque(opaque(half + magic) - magic);
        refer_by(c, n_half + n_half, q);
    }
    // Terms to the sums, and to y if Store.
    template <bool Store>
    SMX_INLINE void add(const Real* x, const Real* b, Real* y, std::size_t n, const P& magic) {
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
                    if constexpr (Store) {
                        store(y + i + k * M::lanes + h * w, v[k]);
                    }
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
        constexpr std::size_t step = biased_row<M>::step;
        const std::size_t whole = n - n % step;
        biased_step<M> last(x + whole, b + whole, n - whole);
        biased_row<M> row(*c);
        row.look(x, b, whole);
        row.look(last.logit, last.bias, step);
        if (!row.is_usual(*c)) {
            return false;
        }
        row_reference<typename M::vector> q;
        row.refer(*c, q);
        double term = 0;
        if (sink != nullptr && !term_of_sink<M>(*sink, q, term)) {
            return false;
        }
        row.template add<true>(x, b, y, whole, q.magic);
        row.template add<true>(last.logit, last.bias, last.logit, whole < n ? step : 0, q.magic);
        const double_word<double> rest = row.sums.total(), sum = exact_sum(rest.hi, term);
        const double_word<double> factor = divided<M>(1.0, {sum.hi, sum.lo + rest.lo});
        if (whole != 0) {
            scale<M>(y, whole, factor, Real(1));
        }
        if (whole < n) {
            scale<M>(last.logit, step, factor, Real(1));
            for (std::size_t i = whole; i < n; ++i) {
                y[i] = last.logit[i - whole];
            }
        }
        return true;
    }
};

// x / T + b less that of the top less log_sum, the logarithm of the sum over the term of the top: both parts have one sign, or the
// result is far from 0. x / T + b is in two words, whose difference to those of the top is 0 at the top itself.
template <class M>
struct biased_log_line {
    using P = typename M::vector;
    using Real = typename M::real;
    P inverse, inverse_rest, none, top, top_rest, log_of_all;

    SMX_INLINE biased_log_line(const base2_scale<Real>& c, Real x, Real b, double log_sum)
        : inverse(splat<P>(c.inverse)),
          none(splat<P>(no_logit<Real>)),
          log_of_all(splat<P>(static_cast<Real>(log_sum))) {
        using D = typename M::wide;
        const D t = splat<D>(c.temperature), first = splat<D>(static_cast<double>(c.inverse));
        inverse_rest = splat<P>(static_cast<Real>((remainder_of(splat<D>(1), first, t) / t).v[0]));
        top = biased(splat<P>(x), splat<P>(b), top_rest);
    }
    SMX_INLINE P operator()(const P& x, const P& b) const {
        P rest;
        const P s = where_equal(b, none, none, biased(x, b, rest));
        const P down = opaque(s - top) + opaque(opaque(rest - top_rest) - log_of_all);
        return where_equal(s, none, none, down); // (also of a logit of -inf, whose rest is NaN)
    }

private:
    SMX_INLINE P biased(const P& x, const P& b, P& rest) const {
        const P scaled = opaque(x * inverse);
        const P s = exact_sum(scaled, b, rest);
        rest = opaque(opaque(rest) + multiply_add(x, inverse_rest, product_error(x, inverse, scaled)));
        return s;
    }
};

// log_softmax of a row with a bias. The top stays out of the sum: see log_of_sum().
struct biased_log_softmax {
    template <class M, class Real>
    SMX_INLINE static bool run(const Real* x, const Real* b, Real* y, std::size_t n,
                               const base2_scale<Real>* c, const double* sink) {
        using P = typename M::vector;
        constexpr std::size_t step = biased_row<M>::step;
        const std::size_t whole = n - n % step;
        biased_step<M> last(x + whole, b + whole, n - whole);
        biased_row<M> row(*c);
        const std::size_t begin = look<M>(row, x, b, whole, n, last);
        if (!row.is_usual(*c)) {
            return false;
        }
        biased_step<M> own(x + begin, b + begin, n - begin < step ? n - begin : step);
        const std::size_t place = row.place_of_top(own);
        const Real top_logit = own.logit[place], top_bias = own.bias[place];
        own.bias[place] = no_logit<Real>;

        row_reference<P> q;
        row.refer(*c, q);
        double term = 0;
        if (sink != nullptr && !term_of_sink<M>(*sink, q, term)) {
            return false;
        }
        add_others<M>(row, x, b, whole, n, begin, own, last, q.magic);
        P top[1] = {splat<P>(top_logit)};
        const P bias[1] = {splat<P>(top_bias)};
        row.terms.exponentials(top, bias, q.magic);
        row_sum<Real> s{top_logit, static_cast<double>(top[0].v[0]), 1, row.sums.total()};
        if (s.rest.hi != s.rest.hi) { // NaN takes part
            return false;
        }
        add_part(s, {term, 0}, 0);
        write<M>({*c, top_logit, top_bias, log_of_sum<M>(s)}, x, b, y, whole, n, last);
        return true;
    }

private:
    // Looks at a row; returns where a step begins that holds the top.
    template <class M, class Real = typename M::real>
    SMX_INLINE static std::size_t look(biased_row<M>& row, const Real* x, const Real* b, std::size_t whole,
                                       std::size_t n, const biased_step<M>& last) {
        constexpr std::size_t step = biased_row<M>::step;
        std::size_t begin = 0;
        Real top = no_logit<Real>;
        for (std::size_t i = 0; i < n; i += step) {
            row.look(i < whole ? x + i : last.logit, i < whole ? b + i : last.bias, step);
            if (const Real raised = largest_lane(row.top); raised > top) {
                top = raised;
                begin = i;
            }
        }
        return begin;
    }
    // own: the step at `begin`, without the top.
    template <class M, class Real = typename M::real>
    SMX_INLINE static void add_others(biased_row<M>& row, const Real* x, const Real* b, std::size_t whole,
                                      std::size_t n, std::size_t begin, const biased_step<M>& own,
                                      const biased_step<M>& last, const typename M::vector& magic) {
        constexpr std::size_t step = biased_row<M>::step;
        Real* const nowhere = nullptr;
        row.template add<false>(x, b, nowhere, begin, magic);
        row.template add<false>(own.logit, own.bias, nowhere, step, magic);
        if (begin < whole) {
            const std::size_t after = begin + step;
            row.template add<false>(x + after, b + after, nowhere, whole - after, magic);
            row.template add<false>(last.logit, last.bias, nowhere, whole < n ? step : 0, magic);
        }
    }
    // y may be x.
    template <class M, class Real = typename M::real>
    SMX_INLINE static void write(const biased_log_line<M>& line, const Real* x, const Real* b, Real* y,
                                 std::size_t whole, std::size_t n, biased_step<M>& last) {
        using P = typename M::vector;
        constexpr std::size_t w = M::width;
        for (std::size_t i = 0; i < whole; i += 4 * w) {
            P v[4];
            SMX_UNROLL for (std::size_t k = 0; k < 4; ++k) v[k] =
                line(load<P>(x + i + k * w), load<P>(b + i + k * w));
            SMX_UNROLL for (std::size_t k = 0; k < 4; ++k) store(y + i + k * w, v[k]);
        }
        for (std::size_t i = 0; i < n - whole; i += w) {
            store(last.logit + i, line(load<P>(last.logit + i), load<P>(last.bias + i)));
        }
        for (std::size_t i = whole; i < n; ++i) {
            y[i] = last.logit[i - whole];
        }
    }
};

} // namespace smx::inline SMX_ABI::detail

#endif
