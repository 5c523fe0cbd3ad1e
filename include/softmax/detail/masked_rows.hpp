// Kernels of masked rows of float or double. Truth values become logits of -inf, for the kernels of whole rows; a sink is one more
// term of a row's sum. A kernel that returns false has written nothing: the row is for the generic code. Leans on online_rows.hpp and
// backward_rows.hpp.
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
