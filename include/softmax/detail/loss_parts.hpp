// What the kernels of losses share: the rule that all rows of a batch have in common, the rows, and arithmetic on the
// sum of one. Leans on dispatch.hpp.
#ifndef SMX_DETAIL_LOSS_PARTS_HPP
#define SMX_DETAIL_LOSS_PARTS_HPP

#include "dispatch.hpp"

namespace smx::inline SMX_ABI::detail {

inline constexpr std::size_t ignored_row = static_cast<std::size_t>(-1);

// What is the same for all rows of a batch. Class c of a row weighs v = (kept target + smoothed) class_weights[c].
template <class Real>
struct loss_rule {
    base2_scale<Real> scale;
    std::size_t classes;
    const Real* class_weights; // null: 1 each
    double kept, smoothed;
    double z_loss;
    double divisor; // of the gradient: T times that of the mean
};

// Rows of neighbouring logits with their targets, and where the results go.
template <class Real>
struct loss_rows {
    std::size_t count;
    const Real* logits;
    Real* gradient;             // null: none; may be logits or probabilities
    const Real* probabilities;  // null: class indices
    const std::size_t* targets; // < classes, or ignored_row: loss 0, gradient 0
    double* losses;
    double* logsumexps;
    bool has_more = false; // whether more rows of the batch follow: they are fetched meanwhile

    // See term_pass.
    SMX_INLINE std::size_t ahead_of(std::size_t row, std::size_t n) const {
        return row + 1 < count || has_more ? n : 0;
    }
};

// Some of the rows, of n logits each, from one on.
template <class Real>
SMX_INLINE loss_rows<Real> part_of(const loss_rows<Real>& rows, std::size_t first, std::size_t count,
                                   std::size_t n) {
    return {count,
            rows.logits + first * n,
            advanced(rows.gradient, first * n),
            advanced(rows.probabilities, first * n),
            advanced(rows.targets, first),
            rows.losses + first,
            rows.logsumexps + first,
            first + count < rows.count || rows.has_more};
}

// The terms of a row once more: K vectors of logits to terms over the reference that sum() took.
template <class M>
struct row_terms {
    using P = typename M::vector;
    using Real = typename M::real;
    row_reference<P> reference;
    P shrink, centre, stretch;

    SMX_INLINE row_terms(const base2_scale<Real>& c, Real maximum)
        : shrink(splat<P>(c.shrink)),
          centre(P{}),
          stretch(splat<P>(c.stretch)) {
        Real scaled = c.scaled ? maximum * c.shrink * c.stretch : maximum;
        if (!(magnitude(scaled) <= c.template largest<P>())) {
            centre = splat<P>(maximum * c.shrink);
            scaled = 0;
        }
        refer(c, splat<P>(scaled), reference);
    }
    template <int K>
    SMX_INLINE void of(P (&v)[K]) const {
        SMX_UNROLL for (int k = 0; k < K; ++k) v[k] = opaque(v[k] * shrink - centre) * stretch;
        exponentials(v, &reference);
    }
    SMX_INLINE Real of(Real logit) const {
        P v[1] = {splat<P>(logit)};
        of(v);
        return v[0].v[0];
    }
};

// The sum of all terms.
template <class Real>
SMX_INLINE double total_of(const row_sum<Real>& s) {
    return s.rest.hi + (product(s.top, s.tops) + s.rest.lo);
}

// The sum of all terms but one of this size, which is that of a maximum or not.
template <class Real>
SMX_INLINE double others_of(const row_sum<Real>& s, double term, bool is_maximum) {
    if (is_maximum) {
        return s.rest.hi + product(s.tops - 1, s.top) + s.rest.lo;
    }
    const double_word<double> others = exact_sum(product(s.top, s.tops), s.rest.hi - term);
    return others.hi + (others.lo + s.rest.lo);
}

// As many Reals as lanes of D, as doubles.
template <class D, class Real>
SMX_INLINE D load_wide(const Real* from) {
    if constexpr (sizeof(Real) == sizeof(double)) {
        return load<D>(from);
    } else {
        return convert<double>(load<pack<Real, D::width>>(from));
    }
}

// max / T + log(sum), log_sum given; a row in each lane.
template <class Real, class D>
SMX_INLINE D logsumexps_of(const D& maximum, double temperature, const D& log_sum) {
    if (sizeof(Real) == sizeof(float) && temperature == 1) {
        return maximum + log_sum;
    }
    const D t = splat<D>(temperature), high = maximum / t;
    if constexpr (sizeof(Real) == sizeof(float)) {
        return high + log_sum;
    } else {
        D lost;
        const D sum = exact_sum(high, log_sum, lost), low = remainder_of(maximum, high, t) / t;
        const D both = sum + (lost + low);
        const D largest = splat<D>((std::numeric_limits<double>::max)()), positive = larger(high, D{} - high);
        return where_less(largest, positive, high + log_sum, both); // infinite
    }
}
template <class M>
SMX_INLINE double logsumexp_of(typename M::real maximum, double temperature, double log_sum) {
    using P = typename M::wide;
    return logsumexps_of<typename M::real>(splat<P>(static_cast<double>(maximum)), temperature,
                                           splat<P>(log_sum))
        .v[0];
}

template <class Real>
SMX_INLINE void fill(Real* to, std::size_t n, Real value) {
    for (std::size_t i = 0; i < n; ++i) {
        to[i] = value;
    }
}

} // namespace smx::inline SMX_ABI::detail

#endif
