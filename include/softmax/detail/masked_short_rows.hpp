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

// x + b T as s + e: s is for its magnitude what a logit is, e what rounding it leaves over. So a bias of 0 changes no bit, and
// x / T + b is never rounded. b T is exact where T is a power of two, else Rounded: then it is not known well enough where it is
// huge and x makes up for it; there `largest` is above `most`.
template <class P, bool Rounded>
struct biased_reference {
    using Real = typename P::real;
    zero_reference<P> zero;
    P temperature, temperature_rest, none;
    Real most;

    SMX_INLINE explicit biased_reference(const base2_scale<Real>& c)
        : zero(c),
          temperature(splat<P>(static_cast<Real>(c.temperature))),
          temperature_rest(splat<P>(
              static_cast<Real>(c.temperature - static_cast<double>(static_cast<Real>(c.temperature))))),
          none(splat<P>(no_logit<Real>)),
          most((sizeof(Real) == sizeof(float) ? Real(0x1p17) : Real(0x1p45)) * c.inverse_hi) {}

    // (Tried, AVX-512, one bias for all rows, by the time of softmax, 1.36 as it is: where b is -inf x replaced, and both clamped,
    // in front, 1.6; without the comparison of b 1.33, but then NaN in excluded places leads to the slow route; big and small
    // by vrangeps, for two subtractions less, 1.34.)
    //
    // x <- s, and the rest of it. Where a term is 0 in any case, nothing of this needs to be a number.
    template <int K, class Maximum>
    SMX_INLINE void add_up(P (&x)[K], const P (&b)[K], corrected_terms<K, P>& terms, Maximum& largest) const {
        P u[K], s[K], back[K];
        SMX_UNROLL for (int k = 0; k < K; ++k) u[k] = opaque(b[k] * temperature);
        SMX_UNROLL for (int k = 0; k < K; ++k) s[k] = opaque(x[k] + u[k]);
        SMX_UNROLL for (int k = 0; k < K; ++k) back[k] = opaque(s[k] - x[k]);
        SMX_UNROLL for (int k = 0; k < K; ++k) find_lanes(s[k], zero.row.lowest, b[k], none, terms.lanes[k]);
        if constexpr (Rounded) {
            SMX_UNROLL for (int k = 0; k < K; ++k) largest.see(terms.lanes[k].only(larger(x[k], u[k])));
        }
        SMX_UNROLL for (int k = 0; k < K; ++k) x[k] = opaque(x[k] - opaque(s[k] - back[k]));
        SMX_UNROLL for (int k = 0; k < K; ++k) terms.e[k] = x[k] + opaque(u[k] - back[k]);
        if constexpr (Rounded) {
            SMX_UNROLL for (int k = 0; k < K; ++k) terms.e[k] = terms.e[k] + product_rest(b[k], u[k]);
        }
        SMX_UNROLL for (int k = 0; k < K; ++k) x[k] = s[k];
    }

private:
    // b T - u.
    SMX_INLINE P product_rest(const P& b, const P& u) const {
        const P more = product_error(b, temperature, u);
        if constexpr (sizeof(Real) == sizeof(float)) {
            return multiply_add(b, temperature_rest, more);
        } else {
            return more;
        }
    }
};

template <int K, class P, bool Rounded, class Maximum>
SMX_INLINE void biased_terms_of(P (&v)[K], const P (&b)[K], const biased_reference<P, Rounded>& q,
                                Maximum& largest) {
    corrected_terms<K, P> terms;
    q.add_up(v, b, terms, largest);
    short_terms(v, q.zero, terms);
}
template <int K, class P, bool Rounded, class Maximum>
SMX_INLINE void terms_from(const biased_logits<typename P::real>& x, P (&v)[K],
                           const biased_reference<P, Rounded>& q, Maximum& largest) {
    P b[K];
    if (x.step !=
        0) { // 512 x 2048 floats 0.20 ns an element instead of 0.21 to 0.33; of what is in L1 it costs 3 %
        SMX_UNROLL for (int k = 0; k < K; ++k) prefetch_beyond(x.mask + k * P::width, 4096);
    }
    SMX_UNROLL for (int k = 0; k < K; ++k) v[k] = load_once<P>(x.x + k * P::width);
    SMX_UNROLL for (int k = 0; k < K; ++k) b[k] = load_once<P>(x.mask + k * P::width);
    biased_terms_of(v, b, q, largest);
}
template <class M, int K, class P, bool Rounded, class Maximum>
SMX_INLINE void terms_of_chunk(const biased_logits<typename P::real>& x, const chunk& c, P (&v)[K],
                               const biased_reference<P, Rounded>& q, Maximum& largest) {
    P b[K];
    load_logits<M>(x.x, c, v);
    load_logits<M>(x.mask, c, b); // beyond the row, -inf
    biased_terms_of(v, b, q, largest);
}

// What rows of a kind are loaded from, what their terms refer to, what sees their logits, and whether that is too large.
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
    template <class Reference>
    SMX_INLINE static bool is_known(const Reference&, const no_maximum&) {
        return true;
    }
};
struct selected_rows : sunk_rows {
    template <class Real>
    SMX_INLINE static selected_logits<Real> of(const Real* x, const unsigned char* mask, std::size_t step) {
        return {x, mask, step};
    }
};
template <bool Rounded>
struct biased_rows : sunk_rows {
    template <class Real>
    SMX_INLINE static biased_logits<Real> of(const Real* x, const Real* mask, std::size_t step) {
        return {x, mask, step};
    }
    template <class P>
    using reference = biased_reference<P, Rounded>;
    template <class P>
    using maximum = std::conditional_t<Rounded, running_maximum<P>, no_maximum>;
    template <class P>
    SMX_INLINE static bool is_known(const reference<P>& q, const running_maximum<P>& largest) {
        return largest_lane(largest.lanes) <= q.most;
    }
    using sunk_rows::is_known;
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
        typename Kind::template maximum<P> largest;
        const auto x = row_at(Kind::of(job.x, job.mask, job.step), r, job.n);
        Real* const y = job.y + r * job.n;
        for (std::size_t k = count; k < rows; ++k) {
            sum[k] = 1;
            error[k] = 0;
        }
        this->sum_all(x, y, count, job.n, q, largest);
        if (job.sinks != nullptr) {
            add_sinks(job.sinks + r, count);
        }
        unsigned left = 0;
        for (std::size_t k = 0; k < count; ++k) {
            left |= (usual_sums<Real>.has(sum[k]) ? 0U : 1U) << k;
        }
        // (Shorter rows run over into the next one.)
        if (!Kind::is_known(q, largest) || (left != 0 && job.n < lanes && count > 1)) {
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
        std::size_t at_once = job->count;
        for (std::size_t r = 0; r < job->count;) {
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
