// Rows too long for a cache: two passes over memory instead of three and a half. The first takes a chunk at a
// time, its maximum and its sum while it is in L1; the second computes the terms again, which costs less than
// to store and load them. References are integers, so that a sum is carried to a larger maximum without
// rounding. Leans on partial_sums.hpp.
#ifndef SMX_DETAIL_LONG_ROWS_HPP
#define SMX_DETAIL_LONG_ROWS_HPP

#include "partial_sums.hpp"

namespace smx::inline SMX_ABI::detail {

// Up to here the terms of a softmax are stored and scaled; beyond, computed twice. Floats, ns an element, three
// passes / two: 2^20 0.30 / 0.43 on Zen 4 (1 MiB of L2), 0.55 / 0.50 on Intel (2 MiB); 2^21 0.32 / 0.44 on Zen
// 4; 2^24 3.5 / 2.0 on Intel. It is part of the rule of the sum, so it is one value for every machine.
template <class Real>
inline constexpr std::size_t longest_stored_row = (std::size_t{1} << 23) / sizeof(Real);
// Up to here a sum alone reads the row twice, for the maximum first.
template <class Real>
inline constexpr std::size_t longest_row_read_twice = (std::size_t{1} << 19) / sizeof(Real);
// Up to here the output of a row whose sum alone is wanted first is fetched meanwhile: beside its logits it has room in L2.
template <class Real>
inline constexpr std::size_t longest_fetched_row = (std::size_t{1} << 18) / sizeof(Real);
// From here on results go past the caches, unless in place: they would not be there when they are read.
template <class Real>
inline constexpr std::size_t longest_cached_row = (std::size_t{1} << 25) / sizeof(Real);

// As sum_row without Store. False if some maximum is beyond the fast range.
template <class M, class Real = typename M::real>
SMX_INLINE bool sum_long_row(const Real* x, std::size_t n, const base2_scale<Real>& c, row_sum<Real>& s) {
    using P = typename M::vector;
    constexpr std::size_t chunk = 32 * M::block; // 16: 0.135 ns an element of 2^24, 32: 0.117, 64: 0.118
    const P one = splat<P>(1), zero = P{};
    term_pass<M> pass{{}, zero, one, zero, one, zero, chunk};
    s = {no_logit<Real>, 0, 0, {0, 0}};
    for (std::size_t i = 0; i < n;) {
        const std::size_t size = n - i < 2 * chunk ? n - i : chunk; // no chunk below one vector
        std::size_t place;
        const Real m = largest<M>(x + i, size, place);
        if (m > s.maximum) {
            if (c.scaled || !(magnitude(m) <= c.template largest<P>())) {
                return false;
            }
            const double magic = static_cast<double>(pass.reference.magic.v[0]);
            const double top = refer_to(m, c, pass.reference);
            // the magic numbers differ by the step of N
            raise_maximum(s, m, top, static_cast<double>(pass.reference.magic.v[0]) - magic);
            pass.maximum = splat<P>(m);
        } else if (i == 0) {
            return false; // nothing but -inf or NaN
        }
        double tops;
        Real* const nowhere = nullptr;
        const double_word<double> part =
            sum_of_terms<M, false>(x + i, nowhere, size, m == s.maximum ? place : n, false, pass, tops);
        add_part(s, part, tops);
        i += size;
    }
    return true;
}

// y = terms of x times factor, none above `most`. False, with nothing written, if the maximum is beyond the fast range.
template <class M, class Real = typename M::real>
SMX_INLINE bool write_scaled_terms(const Real* x, Real* y, std::size_t n, const base2_scale<Real>& c,
                                   Real maximum, double_word<double> factor, Real most) {
    using P = typename M::vector;
    constexpr std::size_t w = M::width;
    if (c.scaled || !(magnitude(maximum) <= c.template largest<P>())) {
        return false;
    }
    row_reference<P> q;
    refer_to(maximum, c, q);
    const Real h = static_cast<Real>(factor.hi);
    const P hi = splat<P>(h),
            lo = splat<P>(static_cast<Real>((factor.hi - static_cast<double>(h)) + factor.lo));
    const P bound = splat<P>(most);
    P first[1] = {load<P>(x)}, last[1] = {load<P>(x + n - w)};
    exponentials(first, &q);
    exponentials(last, &q);
    const bool streams =
        n > longest_cached_row<Real> && x != y && std::bit_cast<std::uintptr_t>(y) % sizeof(Real) == 0;
    std::size_t i = 0;
    if (streams) {
        store(y, times_at_most(first[0], hi, lo, bound));
        i = from_aligned<P>(y);
    }
    for (; i + 4 * w <= n; i += 4 * w) {
        P v[4];
        SMX_UNROLL for (std::size_t k = 0; k < 4; ++k) v[k] = load<P>(x + i + k * w);
        exponentials(v, &q);
        SMX_UNROLL for (std::size_t k = 0; k < 4; ++k) v[k] = times_at_most(v[k], hi, lo, bound);
        if (streams) {
            SMX_UNROLL for (std::size_t k = 0; k < 4; ++k) stream(y + i + k * w, v[k]);
        } else {
            SMX_UNROLL for (std::size_t k = 0; k < 4; ++k) store(y + i + k * w, v[k]);
        }
    }
    for (; i + w <= n; i += w) {
        P v[1] = {load<P>(x + i)};
        exponentials(v, &q);
        store(y + i, times_at_most(v[0], hi, lo, bound));
    }
    if (i < n) {
        store(y + n - w, times_at_most(last[0], hi, lo, bound));
    }
    if (streams) {
        flush_streams();
    }
    return true;
}

} // namespace smx::inline SMX_ABI::detail

#endif
