// Sums of parts of a row put together: a long row in chunks, one shared by threads, one that arrives in pieces. References are
// integers, so that a sum is carried from one to another without rounding. Leans on rows.hpp.
#ifndef SMX_DETAIL_PARTIAL_SUMS_HPP
#define SMX_DETAIL_PARTIAL_SUMS_HPP

#include "rows.hpp"

namespace smx::inline SMX_ABI::detail {

// 2^e for an integer e below 1024.
SMX_INLINE double power_of_two(double e) {
    return e < -1022 ? 0 : std::bit_cast<double>(std::int64_t{1023 + static_cast<int>(e)} << 52);
}

// The term of the maximum, by the reference that it makes.
template <class P, class Real = typename P::real>
SMX_INLINE double refer_to(Real maximum, const base2_scale<Real>& c, row_reference<P>& q) {
    P t[1] = {splat<P>(maximum)};
    refer(c, t[0], q);
    exponentials(t, &q);
    return static_cast<double>(t[0].v[0]);
}

// The sum by a larger maximum, whose term is top; step: the old reference less the new one. The terms of the old maximum are
// in the rest from now on.
template <class Real>
SMX_INLINE void raise_maximum(row_sum<Real>& s, Real maximum, double top, double step) {
    if (s.maximum != no_logit<Real>) {
        const double down = power_of_two(step);
        const double_word<double> old = exact_sum(product(s.top, s.tops), s.rest.hi);
        s.rest = {product(old.hi, down), product(old.lo + s.rest.lo, down)};
    }
    s.maximum = maximum;
    s.top = top;
    s.tops = 0;
}

// Adds the sum of other terms, and of others that are equal to the maximum.
template <class Real>
SMX_INLINE void add_part(row_sum<Real>& s, const double_word<double>& rest, double tops) {
    const double_word<double> sum = exact_sum(s.rest.hi, rest.hi);
    s.rest = {sum.hi, sum.lo + (s.rest.lo + rest.lo)};
    s.tops += tops;
}

} // namespace smx::inline SMX_ABI::detail

#endif
