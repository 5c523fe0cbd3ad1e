// Passes over one row: its maximum, the sum of its terms, the write of the result. Leans on exponential.hpp.
//
// The sum has one rule on every machine: 16 logical lanes of float (8 of double) whatever the width of a
// vector, added to wider lanes by fours (see block_sum), these in halves, in blocks of 16 vectors. The
// maxima stay out of the tree and are added last: a dominant class then costs the others no digit, and log1p
// gets its argument.
#ifndef SMX_DETAIL_ROWS_HPP
#define SMX_DETAIL_ROWS_HPP

#include "double_word.hpp"
#include "exponential.hpp"
#include "instruction_set.hpp"

#include <limits>

namespace smx::inline SMX_ABI::detail {

template <class Real>
SMX_INLINE bool is_infinite(Real x) {
    using bits = typename format<Real>::bits; // on the bits: -ffast-math assumes that there is no such number
    return (std::bit_cast<bits>(x) & (std::numeric_limits<bits>::max)()) == format<Real>::infinity;
}
template <class Real>
SMX_INLINE Real magnitude(Real x) {
    return x < 0 ? -x : x;
}

// a * b, never fused with a sum that follows: compilers would, on machines that can.
SMX_INLINE double product(double a, double b) { return opaque(a * b); }

// a + b and its rounding error, as two_sum, but also under -ffast-math, which takes that error for 0.
SMX_INLINE double_word<double> exact_sum(double a, double b) {
    const double s = opaque(a + b), back = opaque(s - a);
    return {s, opaque(a - opaque(s - back)) + opaque(b - back)};
}

template <class Real, int W>
SMX_INLINE pack<Real, W> exact_sum(const pack<Real, W>& a, const pack<Real, W>& b, pack<Real, W>& error) {
    const auto s = opaque(a + b), back = opaque(s - a);
    error = opaque(a - opaque(s - back)) + opaque(b - back);
    return s;
}
// The sum of the lanes of s, whose rounding errors so far are e; halves first, as for a single pack.
template <int W>
SMX_INLINE double_word<double> sum_of_lanes(const pack<double, W>& s, const pack<double, W>& e) {
    if constexpr (W > 2) {
        const auto h = halved(s), f = halved(e);
        pack<double, W / 2> rest;
        const auto t = exact_sum(h.low, h.high, rest);
        return sum_of_lanes(t, rest + (f.low + f.high));
    } else {
        const double_word<double> t = exact_sum(s.v[0], s.v[1]);
        return {t.hi, t.lo + (e.v[0] + e.v[1])};
    }
}

// Wide sums of the logical lanes. Float: one double a lane. Double: a double and its rounding errors.
template <class M, class Real = typename M::real>
struct tally;
template <class M>
struct tally<M, float> {
    typename M::wide part[2 * M::parts] = {};
    SMX_INLINE void add(const typename M::vector& v, int h) {
        const auto half = halved(v);
        part[2 * h] = part[2 * h] + convert<double>(half.low);
        part[2 * h + 1] = part[2 * h + 1] + convert<double>(half.high);
    }
    // The same before anything was added.
    SMX_INLINE void start(const typename M::vector& v, int h) {
        const auto half = halved(v);
        part[2 * h] = convert<double>(half.low);
        part[2 * h + 1] = convert<double>(half.high);
    }
    SMX_INLINE double_word<double> total() {
        SMX_UNROLL for (int n = M::parts; n > 0; n /= 2) {
            SMX_UNROLL for (int k = 0; k < n; ++k) part[k] = part[k] + part[k + n];
        }
        return {sum_of_lanes(part[0]), 0};
    }
};
template <class M>
struct tally<M, double> {
    typename M::vector part[M::parts] = {}, error[M::parts] = {};
    SMX_INLINE void add(const typename M::vector& v, int h) {
        typename M::vector rest;
        part[h] = exact_sum(part[h], v, rest);
        error[h] = error[h] + rest;
    }
    SMX_INLINE void start(const typename M::vector& v, int h) { part[h] = v; }
    SMX_INLINE double_word<double> total() {
        SMX_UNROLL for (int n = M::parts / 2; n > 0; n /= 2) {
            SMX_UNROLL for (int k = 0; k < n; ++k) {
                const auto more = error[k] + error[k + n];
                part[k] = exact_sum(part[k], part[k + n], error[k]);
                error[k] = error[k] + more;
            }
        }
        return sum_of_lanes(part[0], error[0]);
    }
};

// The largest of x[0, n), n >= lanes, and the first block that holds it (as its first index). NaN is passed
// over; without any number the result is -inf. Maxima of 8 blocks at a time: the place then costs a search
// only where a new one is found.
template <class M>
SMX_INLINE typename M::real largest(const typename M::real* x, std::size_t n, std::size_t& place) {
    using P = typename M::vector;
    constexpr std::size_t w = M::width, group = 8;
    typename M::real m = no_logit<typename M::real>;
    const P none = splat<P>(m);
    place = 0;
    for (std::size_t begin = 0; begin < n; begin += group * M::block) {
        P found[group], all = none;
        std::size_t blocks = 0, i = begin;
        for (; blocks < group && i < n; ++blocks) {
            const std::size_t end = n - i > M::block ? i + M::block : n;
            P a[4] = {none, none, none, none};
            for (; i + 4 * w <= end; i += 4 * w) {
                SMX_UNROLL for (std::size_t k = 0; k < 4; ++k) a[k] = larger(load<P>(x + i + k * w), a[k]);
            }
            for (; i + w <= end; i += w) {
                a[0] = larger(load<P>(x + i), a[0]);
            }
            if (i < end) {
                a[1] = larger(load<P>(x + end - w), a[1]); // looks back: what is there was seen before
            }
            i = end;
            found[blocks] = larger(larger(a[0], a[1]), larger(a[2], a[3]));
            all = larger(found[blocks], all);
        }
        const typename M::real top = largest_lane(all);
        if (top > m) {
            m = top;
            std::size_t b = 0;
            while (b + 1 < blocks && largest_lane(found[b]) != m) {
                ++b;
            }
            place = begin + b * M::block;
        }
    }
    return m;
}

// What a pass over the terms of a row is told, and what it counts.
template <class M>
struct term_pass {
    using P = typename M::vector;
    row_reference<P> reference;
    P maximum;                 // of the logits as given
    P shrink, centre, stretch; // see base2_scale
    P tops;                    // how many terms were left out of the sum as equal to the maximum
    // How far from a logit the one stands that is fetched meanwhile: the next row's, or the next chunk's. A sum has time
    // for that, the search for a maximum has none. ns an element without / with: 512x2048 0.178 / 0.152, 64x50257 0.25 / 0.19.
    std::size_t ahead;
};

// y + by; without output y is null, to which nothing may be added.
template <class Real>
SMX_INLINE Real* advanced(Real* y, std::size_t by) {
    return y == nullptr ? y : y + by;
}

// How a block adds terms of 4 vectors to part h of a tally. (In a tree of 16 vectors, terms of one size could all be rounded in one
// direction: probabilities of 3.5 ulp, of double 4.7.) Of floats in fours. Of doubles, of which fours were 3.2 ulp, one by one to
// what is larger than any term: 3 more additions then know what is lost.
template <class M, class Real = typename M::real>
struct block_sum {
    tally<M>& sums;
    int part;

    SMX_INLINE block_sum(tally<M>& to, int h) : sums(to), part(h) {}
    SMX_INLINE void add(const typename M::vector (&v)[4]) { sums.add((v[0] + v[1]) + (v[2] + v[3]), part); }
    SMX_INLINE void flush() const {}
};
template <class M>
struct block_sum<M, double> {
    using P = typename M::vector;
    static constexpr double base = 0x1p102;
    static_assert(term_range<double>::lift + 2 == 102);
    tally<M>& sums;
    int part;
    P sum, lost;

    SMX_INLINE block_sum(tally<M>& to, int h) : sums(to), part(h), lost(P{}) { sum = splat<P>(base) + P{}; }
    SMX_INLINE void add(const P (&v)[4]) {
        SMX_UNROLL for (int k = 0; k < 4; ++k) {
            const P next = opaque(sum + v[k]);
            lost = lost + (v[k] - opaque(next - sum));
            sum = next;
        }
    }
    SMX_INLINE void flush() {
        sums.add(sum - splat<P>(base), part); // exact
        sums.add(lost, part);                 // where all terms are small they are most of it
    }
};

// Terms of 4 vectors `lanes` apart, stored unless Store is false, and added to sum. Top: without the maxima, which are counted.
template <class M, bool Store, bool Top>
SMX_INLINE void add_step(const typename M::real* x, typename M::real* y, term_pass<M>& pass,
                         block_sum<M>& sum) {
    using P = typename M::vector;
    const P one = splat<P>(1), zero = P{};
    P v[4], top[4];
    SMX_UNROLL for (int k = 0; k < 4; ++k) SMX_PREFETCH(x + pass.ahead + k * M::lanes);
    if (!Store && y != nullptr) { // will be written: 64x50257 0.20 without, 0.16 with
        SMX_UNROLL for (int k = 0; k < 4; ++k) SMX_PREFETCH_TO_WRITE(y + k * M::lanes);
    }
    SMX_UNROLL for (int k = 0; k < 4; ++k) v[k] = load<P>(x + k * M::lanes);
    if constexpr (Top) {
        SMX_UNROLL for (int k = 0; k < 4; ++k) top[k] = where_equal(v[k], pass.maximum, one, zero);
    }
    exponentials(v, &pass.reference);
    if constexpr (Store) {
        SMX_UNROLL for (int k = 0; k < 4; ++k) store(y + k * M::lanes, v[k]);
    }
    if constexpr (Top) {
        SMX_UNROLL for (int k = 0; k < 4; ++k) {
            v[k] = v[k] * (one - top[k]); // exact
        }
        pass.tops = pass.tops + ((top[0] + top[1]) + (top[2] + top[3]));
    }
    sum.add(v);
}

// The same with care: logits are centred; maxima are left out of the sum and counted; vectors that would pass
// the end of the row are moved back to it, read from `last`, and lanes seen before are left out. (x, y: the
// row at lane `first`.)
template <class M, bool Store>
SMX_INLINE void add_step_with_care(const typename M::real* x, typename M::real* y, std::size_t n,
                                   std::size_t i, const typename M::real* last, std::size_t first,
                                   term_pass<M>& pass, block_sum<M>& sum) {
    using P = typename M::vector;
    const P one = splat<P>(1), zero = P{};
    P v[4], top[4];
    std::size_t at[4], skip[4];
    SMX_UNROLL for (std::size_t k = 0; k < 4; ++k) {
        const std::size_t wanted = i + k * M::lanes, back = wanted + M::lanes > n ? wanted + M::lanes - n : 0;
        at[k] = back != 0 ? n - M::lanes : wanted;
        skip[k] = back < M::lanes ? back : M::lanes;
        v[k] = load<P>(back != 0 ? last : x + wanted);
        top[k] = lanes_from(skip[k], first, where_equal(v[k], pass.maximum, one, zero));
        v[k] = opaque(v[k] * pass.shrink - pass.centre) * pass.stretch;
    }
    exponentials(v, &pass.reference);
    if constexpr (Store) {
        SMX_UNROLL for (std::size_t k = 0; k < 4; ++k) store(y + at[k], v[k]);
    }
    SMX_UNROLL for (int k = 0; k < 4; ++k) {
        pass.tops = pass.tops + top[k];
        v[k] = lanes_from(skip[k], first, v[k] * (one - top[k])); // exact
    }
    sum.add(v);
}

// The terms of x[0, n), n >= lanes, to y (which may be x); the sum without the maxima in the block at
// `place`.
template <class M, bool Store, class Real = typename M::real>
SMX_INLINE double_word<double> sum_of_terms(const Real* x, Real* y, std::size_t n, std::size_t place,
                                            bool with_care, term_pass<M>& pass, double& tops) {
    using P = typename M::vector;
    constexpr std::size_t lanes = M::lanes;
    tally<M> sums;
    Real last[M::lanes]; // the last vector, before a store reaches it
    for (std::size_t o = 0; o < lanes; o += M::width) {
        store(last + o, load<P>(x + n - lanes + o));
    }
    tops = 0;
    for (std::size_t i = 0; i < n; i += M::block) {
        const std::size_t end = n - i > M::block ? i + M::block : n, whole = end - (end - i) % M::step;
        const bool top = i == place || with_care;
        pass.tops = P{};
        for (int h = M::parts;
             h-- > 0;) { // down: in place, a vector moved back may not reach what is yet to be read
            const std::size_t o = static_cast<std::size_t>(h * M::width);
            block_sum<M> sum(sums, h);
            std::size_t j = i;
            if (!top) {
                for (; j < whole; j += M::step) {
                    add_step<M, Store, false>(x + j + o, advanced(y, j + o), pass, sum);
                }
            } else if (!with_care) {
                for (; j < whole; j += M::step) {
                    add_step<M, Store, true>(x + j + o, advanced(y, j + o), pass, sum);
                }
            }
            for (; j < end; j += M::step) {
                add_step_with_care<M, Store>(x + o, advanced(y, o), n, j, last + o, o, pass, sum);
            }
            sum.flush();
        }
        if (top || whole < end) {
            tops += static_cast<double>(sum_of_lanes(pass.tops));
        }
    }
    return sums.total();
}

// v * (hi + lo), rounded once.
template <class P>
SMX_INLINE P times(const P& v, const P& hi, const P& lo) {
    if constexpr (is_fused<P>) {
        return fma(v, hi, v * lo);
    } else {
        using Real = typename P::real; // 2^60 and back: the parts of a tiny product are no subnormal numbers
        const P h = hi * splat<P>(Real(0x1p60)), p = opaque(v * h);
        return (p + (product_error(v, h, p) + v * (lo * splat<P>(Real(0x1p60))))) * splat<P>(Real(0x1p-60));
    }
}

// The same for a probability: where there are more roundings than one, they must not make it larger than 1.
template <class P>
SMX_INLINE P times_at_most(const P& v, const P& hi, const P& lo, const P& most) {
    if constexpr (is_fused<P>) {
        return times(v, hi, lo);
    } else {
        return smaller(most, times(v, hi, lo));
    }
}

// How far behind y vectors are aligned, less than one vector: stores across cache lines cost twice as much.
template <class P, class Real = typename P::real>
SMX_INLINE std::size_t from_aligned(const Real* y) {
    const std::size_t past = std::bit_cast<std::uintptr_t>(y) % sizeof(P) / sizeof(Real);
    return past == 0 ? 0 : P::width - past;
}

// y[0, n) *= factor, n >= width; no result is above `most`.
template <class M>
SMX_INLINE void scale(typename M::real* y, std::size_t n, double_word<double> factor, typename M::real most) {
    using P = typename M::vector;
    using Real = typename M::real;
    constexpr std::size_t w = M::width;
    const Real h = static_cast<Real>(factor.hi);
    const P hi = splat<P>(h),
            lo = splat<P>(static_cast<Real>((factor.hi - static_cast<double>(h)) + factor.lo));
    const P bound = splat<P>(most), first = load<P>(y), last = load<P>(y + n - w);
    std::size_t i = from_aligned<P>(y);
    for (; i + 4 * w <= n; i += 4 * w) {
        SMX_UNROLL for (std::size_t k = 0; k < 4; ++k)
            store(y + i + k * w, times_at_most(load_once<P>(y + i + k * w), hi, lo, bound));
    }
    for (; i + w <= n; i += w) {
        store(y + i, times_at_most(load_once<P>(y + i), hi, lo, bound));
    }
    store(y + n - w, times_at_most(last, hi, lo, bound));
    store(y, times_at_most(first, hi, lo, bound));
}

// What is known of a row when its terms are summed: sum = rest + tops * top.
template <class Real>
struct row_sum {
    Real maximum;
    double top, tops;
    double_word<double> rest;
};

// numerator / total, as hi + lo.
template <class M>
SMX_INLINE double_word<double> divided(double numerator, const double_word<double>& total) {
    using P = typename M::wide;
    if constexpr (sizeof(typename M::real) == sizeof(float)) {
        return {numerator / total.hi, 0};
    } else {
        const P hi = splat<P>(total.hi), n = splat<P>(numerator), q = n / hi;
        const P left = multiply_add(P{} - q, splat<P>(total.lo), remainder_of(n, q, hi));
        return {q.v[0], (left / hi).v[0]};
    }
}

// numerator / (rest + tops * top).
template <class M>
SMX_INLINE double_word<double> quotient(double numerator, const row_sum<typename M::real>& s) {
    using P = typename M::wide;
    const double p = product(s.top, s.tops);
    if constexpr (sizeof(typename M::real) == sizeof(float)) {
        return {numerator / (s.rest.hi + p), 0};
    } else {
        const double_word<double> t = exact_sum(p, s.rest.hi);
        const P lost = product_error(splat<P>(s.top), splat<P>(s.tops), splat<P>(p));
        return divided<M>(numerator, {t.hi, t.lo + s.rest.lo + lost.v[0]});
    }
}

// The sum of a row of n >= lanes logits, its terms stored at y if Store. An infinite maximum: NaN for the
// rest, and for y.
template <class M, bool Store, class Real = typename M::real>
SMX_INLINE row_sum<Real> sum_row(const Real* x, Real* y, std::size_t n, const base2_scale<Real>& c,
                                 std::size_t ahead) {
    using P = typename M::vector;
    std::size_t place;
    row_sum<Real> s;
    s.maximum = largest<M>(x, n, place);
    if (is_infinite(s.maximum)) [[unlikely]] {
        s.top = s.tops = s.rest.hi = s.rest.lo = std::numeric_limits<double>::quiet_NaN();
        for (std::size_t i = 0; Store && i < n; ++i) {
            y[i] = std::numeric_limits<Real>::quiet_NaN();
        }
        return s;
    }
    const Real scaled = c.scaled ? s.maximum * c.shrink * c.stretch : s.maximum;
    const bool centred = !(magnitude(scaled) <= c.template largest<P>());
    const Real reference = centred ? Real(0) : scaled;
    P top[1] = {splat<P>(reference)};
    term_pass<M> pass;
    refer(c, top[0], pass.reference);
    pass.maximum = splat<P>(s.maximum);
    pass.shrink = splat<P>(c.shrink);
    pass.centre = splat<P>(centred ? s.maximum * c.shrink : Real(0));
    pass.stretch = splat<P>(c.stretch);
    pass.ahead = ahead;
    exponentials(top, &pass.reference);
    s.rest = sum_of_terms<M, Store>(x, y, n, place, centred || c.scaled, pass, s.tops);
    s.top = static_cast<double>(top[0].v[0]);
    return s;
}

} // namespace smx::inline SMX_ABI::detail

#endif
