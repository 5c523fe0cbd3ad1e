// Softmax of short masked rows: what the mask says is said of the logits where they are loaded, so that a masked row takes the two
// passes of any other. Leans on dispatch.hpp.
#ifndef SMX_DETAIL_MASKED_SHORT_ROWS_HPP
#define SMX_DETAIL_MASKED_SHORT_ROWS_HPP

#include "dispatch.hpp"

namespace smx::inline SMX_ABI::detail {

// Rows of logits beside rows of their mask, which are `step` elements apart (0: all have the same). Stands for a
// pointer to logits.
template <class Real, class Element>
struct masked_logits {
    const Real* x;
    const Element* mask;
    std::size_t step;

    SMX_INLINE friend masked_logits operator+(const masked_logits& from, std::size_t i) {
        return {from.x + i, from.mask + i, from.step};
    }
    SMX_INLINE friend masked_logits row_at(const masked_logits& first, std::size_t r, std::size_t n) {
        return {first.x + r * n, first.mask + r * first.step, first.step};
    }
};

// Truth values, in bytes.
template <class Real>
using selected_logits = masked_logits<Real, unsigned char>;

template <int K, class P, class Maximum>
SMX_INLINE void terms_from(const selected_logits<typename P::real>& x, P (&v)[K], const zero_reference<P>& q,
                           Maximum&) {
    selected_terms<K, P> kind;
    SMX_UNROLL for (int k = 0; k < K; ++k) v[k] = load<P>(x.x + k * P::width);
    find_nonzero(x.mask, kind.lanes);
    short_terms(v, q, kind);
}
template <class M, int K, class P, class Maximum>
SMX_INLINE void terms_of_chunk(const selected_logits<typename P::real>& x, const chunk& c, P (&v)[K],
                               const zero_reference<P>& q, Maximum& largest) {
    if (c.inside == std::size_t(M::lanes)) {
        return terms_from(x + c.at, v, q, largest);
    }
    unsigned char mask[M::lanes] = {};
    for (std::size_t l = 0; l < c.inside; ++l) {
        mask[l] = x.mask[l];
    }
    selected_terms<K, P> kind;
    load_logits<M>(x.x, c, v);
    find_nonzero(mask, kind.lanes);
    short_terms(v, q, kind);
}

// A bias.
template <class Real>
using biased_logits = masked_logits<Real, Real>;

// x / T + b: the integer that is nearest to its base 2 exponent comes of s = x + b T, rounded; what is left of x c and of
// b log2(e), each less its share of that integer, is small and exact. So a bias of 0 changes no bit, and x / T + b is never
// rounded. A far bias has no such share: where x makes up for it, `seen` has exponents.
//
// Scaled: T is not 1. Watched: there may be far biases.
//
// AVX-512 (Zen 4), of what is in L2, by the time of softmax: 1.23, watched 1.31, scaled 1.35 and 1.42; AVX2 1.5 and 1.6. Tried: what
// rounding s leaves over, by 6 additions, 1.4 (AVX2 1.7); a pass in front of every part, to watch for far biases, 1.47; one
// comparison for both, with x lowered to a number, 1.34; the sum's alone, 5 % less, but then NaN where -inf excludes it takes other
// code, and has other bits; the next vectors' biases between the steps of the polynomial,
// slower than without; 8 vectors at a time, or 2 of AVX2: up to twice the time.
template <class P, bool Scaled, bool Watched>
struct biased_reference {
    using Real = typename P::real;
    zero_reference<P> zero;
    P temperature, log2e_hi, log2e_lo, reach, none;

    SMX_INLINE explicit biased_reference(const base2_scale<Real>& c)
        : zero(c),
          temperature(splat<P>(static_cast<Real>(c.temperature))),
          log2e_hi(splat<P>(scale_of_one<Real>.hi)),
          log2e_lo(splat<P>(static_cast<Real>(static_cast<double>(scale_of_one<Real>.lo) -
                                              c.temperature * static_cast<double>(c.lo)))), // beside s c_lo
          reach(splat<P>(static_cast<Real>(term_range<Real>::limit / term_range<Real>::limit_without_fma))),
          none(splat<P>(no_logit<Real>)) {}
};

// v: logits, then terms.
template <int K, class P, bool Scaled, bool Watched, class Maximum>
SMX_INLINE void biased_terms_of(P (&v)[K], const P (&b)[K], const biased_reference<P, Scaled, Watched>& from,
                                Maximum& seen) {
    const row_reference<P>& q = from.zero.row;
    P s[K], z[K], z_of_b[K], rest[K], r[K];
    selected_terms<K, P> kind;
    SMX_UNROLL for (int k = 0; k < K; ++k) {
        if constexpr (Scaled) {
            s[k] = multiply_add(b[k], from.temperature, v[k]);
        } else {
            s[k] = v[k] + b[k];
        }
    }
    SMX_UNROLL for (int k = 0; k < K; ++k) z_of_b[k] = opaque(multiply_add(b[k], from.log2e_hi, q.magic));
    SMX_UNROLL for (int k = 0; k < K; ++k) rest[k] = opaque(q.magic - z_of_b[k]);
    SMX_UNROLL for (int k = 0; k < K; ++k) rest[k] = product_less(b[k], from.log2e_hi, rest[k]);
    if constexpr (Scaled) {
        SMX_UNROLL for (int k = 0; k < K; ++k) rest[k] = multiply_add(b[k], from.log2e_lo, rest[k]);
    }
    if constexpr (!has_scaling<P>) {
        SMX_UNROLL for (int k = 0; k < K; ++k) s[k] = smaller(from.zero.highest, s[k]);
    }
    SMX_UNROLL for (int k = 0; k < K; ++k) z[k] = opaque(multiply_add(s[k], q.hi, q.magic));
    SMX_UNROLL for (int k = 0; k < K; ++k) r[k] = opaque(z_of_b[k] - z[k]);
    if constexpr (is_fused<P>) {
        SMX_UNROLL for (int k = 0; k < K; ++k) r[k] = fma(v[k], q.hi, r[k]);
        SMX_UNROLL for (int k = 0; k < K; ++k) r[k] = r[k] + rest[k];
        SMX_UNROLL for (int k = 0; k < K; ++k) r[k] = fma(s[k], q.lo, r[k]);
    } else {
        SMX_UNROLL for (int k = 0; k < K; ++k) r[k] = add_product(v[k], s[k], r[k], q) + rest[k];
    }
    SMX_UNROLL for (int k = 0; k < K; ++k) find_lanes(s[k], q.lowest, b[k], from.none, kind.lanes[k]);
    if constexpr (Watched) {
        using Real = typename P::real;
        SMX_UNROLL for (int k = 0; k < K; ++k) {
            const P z_of_far = is_fused<P> ? z_of_b[k] : opaque(b[k] * from.reach + q.magic);
            seen.see(z_of_far, term_range<Real>::magic, kind.lanes[k]);
        }
    }
    if constexpr (has_scaling<P>) {
        SMX_UNROLL for (int k = 0; k < K; ++k) z[k] = opaque(z[k] - q.magic);
        powers_by_scaling(v, r, z, kind);
    } else {
        powers_of(v, r, z, kind);
    }
}
template <int K, class P, bool Scaled, bool Watched, class Maximum>
SMX_INLINE void terms_from(const biased_logits<typename P::real>& x, P (&v)[K],
                           const biased_reference<P, Scaled, Watched>& q, Maximum& seen) {
    P b[K];
    if (x.step !=
        0) { // 512 x 2048 floats 0.20 ns an element instead of 0.21 to 0.33; of what is in L1 it costs 3 %
        SMX_UNROLL for (int k = 0; k < K; ++k) prefetch_beyond(x.mask + k * P::width, 4096);
    }
    SMX_UNROLL for (int k = 0; k < K; ++k) v[k] = load_once<P>(x.x + k * P::width);
    SMX_UNROLL for (int k = 0; k < K; ++k) b[k] = load_once<P>(x.mask + k * P::width);
    biased_terms_of(v, b, q, seen);
}
template <class M, int K, class P, bool Scaled, bool Watched, class Maximum>
SMX_INLINE void terms_of_chunk(const biased_logits<typename P::real>& x, const chunk& c, P (&v)[K],
                               const biased_reference<P, Scaled, Watched>& q, Maximum& seen) {
    P b[K];
    load_logits<M>(x.x, c, v);
    load_logits<M>(x.mask, c, b); // beyond the row, -inf
    biased_terms_of(v, b, q, seen);
}

// A bias of 0 or -inf everywhere selects, as truth values do.
template <int K, class P, class Maximum>
SMX_INLINE void terms_from(const biased_logits<typename P::real>& x, P (&v)[K], const zero_reference<P>& q,
                           Maximum&) {
    selected_terms<K, P> kind;
    const P none = splat<P>(no_logit<typename P::real>);
    SMX_UNROLL for (int k = 0; k < K; ++k) v[k] = load<P>(x.x + k * P::width);
    SMX_UNROLL for (int k = 0; k < K; ++k) {
        const P b = load_once<P>(x.mask + k * P::width);
        find_unequal(b, none, kind.lanes[k]);
    }
    short_terms(v, q, kind);
}
template <class M, int K, class P, class Maximum>
SMX_INLINE void terms_of_chunk(const biased_logits<typename P::real>& x, const chunk& c, P (&v)[K],
                               const zero_reference<P>& q, Maximum&) {
    selected_terms<K, P> kind;
    P b[K];
    const P none = splat<P>(no_logit<typename P::real>);
    load_logits<M>(x.x, c, v);
    load_logits<M>(x.mask, c, b);
    SMX_UNROLL for (int k = 0; k < K; ++k) find_unequal(b[k], none, kind.lanes[k]);
    short_terms(v, q, kind);
}

// Whether biases may be far, of which biased_terms_of() has to be watched.
struct has_far_biases {
    template <class M, class Real>
    SMX_INLINE static bool run(const Real* bias, std::size_t n) {
        using P = typename M::vector;
        using R = term_range<Real>;
        constexpr double most = (is_fused<P> ? R::limit : R::limit_without_fma) / 2;
        const P none = splat<P>(no_logit<Real>);
        P largest{};
        const auto see = [&](const P& b) SMX_LAMBDA_INLINE {
            const P finite = where_equal(b, none, P{}, b);
            largest = larger(larger(P{} - finite, finite), largest);
        };
        std::size_t i = 0;
        for (; i + M::width <= n; i += M::width) {
            see(load<P>(bias + i));
        }
        for (; i < n; ++i) {
            see(splat<P>(bias[i]));
        }
        return largest_lane(largest) >= static_cast<Real>(most);
    }
};

// What rows of a kind are loaded from, and what their terms refer to.
struct sunk_rows {
    using element = unsigned char; // of no mask at all
    template <class Real>
    SMX_INLINE static const Real* of(const Real* x, const element*, std::size_t) {
        return x;
    }
    template <class P>
    using reference = zero_reference<P>;
    template <class P>
    using maximum = no_maximum;
    SMX_INLINE static bool is_known(const no_maximum&) { return true; }
};
struct selected_rows : sunk_rows {
    template <class Real, class Element>
    SMX_INLINE static masked_logits<Real, Element> of(const Real* x, const Element* mask, std::size_t step) {
        return {x, mask, step};
    }
};
template <bool Scaled, bool Watched>
struct biased_rows : selected_rows {
    template <class P>
    using reference = biased_reference<P, Scaled, Watched>;
    template <class P>
    using maximum = std::conditional_t<Watched, seen_bits<P>, no_maximum>;
    template <class P>
    SMX_INLINE static bool is_known(const seen_bits<P>& seen) {
        return !seen.any_of(format<typename P::real>::infinity);
    }
    using selected_rows::is_known;
};

// Rows for a kernel. sinks: null, or one per row.
template <class Real, class Element>
struct masked_job {
    const Real* x;
    const Element* mask;
    std::size_t step;
    Real* y;
    std::size_t count, n;
    const base2_scale<Real>* scale;
    const double* sinks;
};

template <class M, class Kind>
struct masked_group : softmax_group<M> {
    using typename short_group<M>::P;
    using typename short_group<M>::Real;
    using D = typename M::wide;
    using short_group<M>::rows, short_group<M>::lanes, short_group<M>::sum, short_group<M>::error;
    static constexpr unsigned all = (1U << rows) - 1;

    // `count` rows from r on. Returns a bit for each that is unusual, and not written.
    template <class Job>
    SMX_INLINE unsigned run_rows(const Job& job, std::size_t r, std::size_t count) {
        const typename Kind::template reference<P> q(*job.scale);
        typename Kind::template maximum<P> seen;
        const auto x = row_at(Kind::of(job.x, job.mask, job.step), r, job.n);
        Real* const y = job.y + r * job.n;
        for (std::size_t k = count; k < rows; ++k) {
            sum[k] = 1;
            error[k] = 0;
        }
        this->sum_all(x, y, count, job.n, q, seen);
        if (job.sinks != nullptr) {
            add_sinks(job.sinks + r, count);
        }
        unsigned left = 0;
        for (std::size_t k = 0; k < count; ++k) {
            left |= (usual_sums<Real>.has(sum[k]) ? 0U : 1U) << k;
        }
        // (Shorter rows run over into the next one.)
        if (!Kind::is_known(seen) || (left != 0 && job.n < lanes && count > 1)) {
            return all;
        }
        this->invert_sums(count);
        for (std::size_t k = 0; k < count; ++k) {
            if ((left >> k & 1) == 0) {
                this->write_row(y + k * job.n, k, count, job.n);
            }
        }
        return left;
    }

private:
    // By the reference 0. Sinks that are too large are unusual in any case.
    SMX_INLINE void add_sinks(const double* sinks, std::size_t count) {
        row_reference<D> q;
        refer_by(scale_of_one<double>, D{}, q);
        const D lift = splat<D>(power_of_two(term_range<Real>::lift - term_range<double>::lift));
        double of_row[rows] = {};
        for (std::size_t k = 0; k < count; ++k) {
            of_row[k] = sinks[k];
        }
        for (std::size_t k = 0; k < count; k += D::width) {
            D t[1] = {smaller(splat<D>(600), load<D>(of_row + k))}, rest;
            exponentials(t, &q);
            store(sum + k, exact_sum(load<D>(sum + k), opaque(t[0] * lift), rest));
            store(error + k, load<D>(error + k) + rest);
        }
    }
};

// Returns a bit for each row, of 16 at most, that is for others to do; of these nothing is written.
template <class Kind>
struct masked_short_rows {
    template <class M, class Job>
    SMX_INLINE static unsigned run(const Job* job) {
        using group_of = masked_group<M, Kind>;
        group_of group;
        unsigned left = 0;
        // No more than 16 anyway; said because GCC 12 warns at -O3 that more would be written past the arrays.
        const std::size_t count = job->count < group_of::rows ? job->count : group_of::rows;
        std::size_t at_once = count;
        for (std::size_t r = 0; r < count;) {
            const unsigned of_these = group.run_rows(*job, r, at_once);
            if (of_these == group_of::all && at_once > 1) {
                at_once = 1;
                continue;
            }
            left |= (of_these & ((1U << at_once) - 1)) << r;
            r += at_once;
        }
        return left;
    }
};

} // namespace smx::inline SMX_ABI::detail

#endif
