// From the terms of short rows and the logarithms of their sums to losses of class indices and gradients, a row in each lane.
// Leans on loss_parts.hpp.
#ifndef SMX_DETAIL_LOSS_FORMULAS_HPP
#define SMX_DETAIL_LOSS_FORMULAS_HPP

#include "loss_parts.hpp"

namespace smx::inline SMX_ABI::detail {

// Which factors over which sums are usual: the quotient and what it is rounded by are normal numbers, and where a product of it
// and a term is one, so is the term. What a gradient is does not depend on the reference then. Other factors are taken
// term by term, in double.
template <class Real>
struct short_loss_range;
template <>
struct short_loss_range<float> {
    static constexpr sum_range sums{0x1p20, 0x1p60};
    static constexpr double least_factor = 0x1p-36, most_factor = 0x1p20;
};
template <>
struct short_loss_range<double> {
    static constexpr sum_range sums{0x1p60, 0x1p300};
    static constexpr double least_factor = 0x1p-400, most_factor = 0x1p60;
};
template <class Real>
SMX_INLINE bool is_usual_short_factor(double f) {
    using R = short_loss_range<Real>;
    return f == 0 || (f >= R::least_factor && f <= R::most_factor);
}

// v * (hi + lo) as normal_times, not bounded by 1.
template <class P>
SMX_INLINE P normal_product(const P& v, const P& hi, const P& lo) {
    const P p = times(v, hi, lo), least = splat<P>((std::numeric_limits<typename P::real>::min)());
    return where_less(p, least, P{}, p);
}

// numerator / (hi + lo); rest: what the quotient lacks, which is some ulp of it where lo is as much of hi.
template <class Real, class D>
SMX_INLINE D divide(const D& numerator, const D& hi, const D& lo, D& rest) {
    const D q = numerator / hi;
    if constexpr (sizeof(Real) == sizeof(float)) {
        rest = D{};
    } else {
        rest = multiply_add(D{} - q, lo, remainder_of(numerator, q, hi)) / hi;
    }
    return q;
}

// What the loss of a row depends on, a row in each lane: its maximum, the sum of its terms and log(sum of exp((x - max) / T)), and
// the weight, the logit and the term of its target.
template <class D>
struct loss_scalars {
    D maximum, sum, error, log_sum, weight, logit, of_target;
};

// w (lse - x_target / T) + z lse^2.
template <class Real, class D>
SMX_INLINE D losses_of(const loss_rule<Real>& rule, const loss_scalars<D>& s, D& logsumexp) {
    const double t = rule.scale.temperature,
                 half = t > 1 ? 0.5 : 1; // logits apart by more than the range of Real
    const D zero = D{}, h = splat<D>(half);
    D far = opaque(s.maximum * h) - opaque(s.logit * h);
    if (t != 1) {
        far = far / splat<D>(t * half);
    }
    logsumexp = logsumexps_of<Real>(s.maximum, t, s.log_sum);
    const D z_lse = opaque(splat<D>(rule.z_loss) * logsumexp);
    return multiply_add(s.weight, opaque(where_equal(s.weight, zero, zero, far)) + s.log_sum,
                        opaque(z_lse * logsumexp));
}

// How the gradient comes from the terms: each times factor / sum, as hi + lo, but at the target.
template <class Real, class D>
struct gradient_scalars {
    D factor, at_target;
    pack<Real, D::width> hi, lo;
};
template <class Real, class D>
SMX_INLINE gradient_scalars<Real, D> gradients_of(const loss_rule<Real>& rule, const loss_scalars<D>& s,
                                                  const D& logsumexp) {
    D lost, rest;
    const D without = exact_sum(s.sum, D{} - s.of_target, lost), others = without + (lost + s.error);
    const D other = divide<Real>(others, s.sum, s.error, rest) + rest;
    D f, at;
    if (rule.class_weights == nullptr && rule.z_loss == 0) { // weights of 1 and 0: half of the divisions
        f = s.weight * splat<D>(1 / rule.divisor);
        at = D{} - opaque(f * other);
    } else {
        const D z_lse = opaque(splat<D>(rule.z_loss) * logsumexp), drift = z_lse + z_lse;
        const D q = divide<Real>(s.of_target, s.sum, s.error, rest), share = q + rest;
        const D divisor = splat<D>(rule.divisor);
        f = (s.weight + drift) / divisor;
        at = opaque(drift / divisor * share) - opaque(s.weight / divisor * other);
    }
    const D q = divide<Real>(f, s.sum, s.error, rest);
    const auto high = convert<Real>(q);
    return {f, at, high, convert<Real>((q - convert<double>(high)) + rest)};
}

// numerator / (rest + tops * top), as quotient().
template <class Real, class D>
SMX_INLINE D quotients(const D& numerator, const sum_lanes<D>& s, D& rest) {
    const D p = opaque(s.top * s.tops);
    if constexpr (sizeof(Real) == sizeof(float)) {
        rest = D{};
        return numerator / (s.rest + p);
    } else {
        D lost;
        const D hi = exact_sum(p, s.rest, lost), lo = lost + s.error + product_error(s.top, s.tops, p);
        return divide<Real>(numerator, hi, lo, rest);
    }
}
// The gradient at targets that are maxima, where the other terms are known from elsewhere.
template <class Real, class D>
SMX_INLINE D precise_at_targets(const loss_rule<Real>& rule, const sum_lanes<D>& s, const D& weight,
                                const D& logsumexp) {
    const D divisor = splat<D>(rule.divisor), one = splat<D>(1);
    D rest;
    const D others = quotients<Real>(s.rest + opaque((s.tops - one) * s.top) + s.error, s, rest) + rest;
    const D drift = opaque(splat<D>(2 * rule.z_loss) * logsumexp) / divisor;
    const D share = quotients<Real>(s.top, s, rest);
    return opaque(drift * (share + rest)) - opaque(weight / divisor * others);
}

// y = term * (hi + lo), of any length.
template <class M, class Real = typename M::real, class V = typename M::vector>
SMX_INLINE void write_products(const Real* term, Real* y, std::size_t n, const V& hi, const V& lo) {
    constexpr std::size_t w = M::width;
    if (n < w) {
        store_below(y, n, normal_product(load_below(term, n, V{}), hi, lo));
        return;
    }
    const V last = normal_product(load<V>(term + n - w), hi, lo);
    std::size_t i = 0;
    for (; i + 4 * w <= n; i += 4 * w) {
        SMX_UNROLL for (std::size_t j = 0; j < 4; ++j)
            store(y + i + j * w, normal_product(load_once<V>(term + i + j * w), hi, lo));
    }
    for (; i + w <= n; i += w) {
        store(y + i, normal_product(load_once<V>(term + i), hi, lo));
    }
    store(y + n - w, last);
}

} // namespace smx::inline SMX_ABI::detail

#endif
