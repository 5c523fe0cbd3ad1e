// The exponential of the kernels, 2^(x log2(e) / T - N) with an integer N per row, and the logarithm of a
// sum. Polynomials and split constants come from tools/polynomials.py. Leans on lanes.hpp.
#ifndef SMX_DETAIL_EXPONENTIAL_HPP
#define SMX_DETAIL_EXPONENTIAL_HPP

#include "lanes.hpp"

namespace smx::inline SMX_ABI::detail {

// Terms are biased: the largest of a row becomes 2^lift times a number in [0.49, 2.1]. So no term whose
// quotient is a normal number is flushed on the way. Logits whose term would be below 2^(1 - bias) are raised
// to one of 0.
template <class Real>
struct term_range;
template <>
struct term_range<float> {
    static constexpr int lift = 40;
    static constexpr float magic = 0x1.8p23f;
    // |x c| must leave room for magic, and keep what follows the two parts of c below 2^-30; without fma,
    // what follows the products of halves. Above twice the range of terms x - max is exact wherever it
    // counts: there rows are centred.
    static constexpr double limit = 0x1p20, limit_without_fma = 0x1p9;
};
template <>
struct term_range<double> {
    static constexpr int lift = 100;
    static constexpr double magic = 0x1.8p52;
    static constexpr double limit = 0x1p45, limit_without_fma = 0x1p12;
};
// c = log2(e) / T, as hi + lo; upper + lower = hi, in halves whose products are exact, for machines without
// fma. Where T is extreme, x stands for x shrink stretch; where x c is too large, for (x - max) shrink
// stretch, which is exact wherever it counts.
template <class Real>
struct base2_scale {
    Real hi, lo, upper, lower;
    Real inverse_hi; // 1 / c
    Real usual;      // a row needs no centring up to |max shrink stretch| = usual
    Real shrink, stretch;
    bool scaled;  // shrink and stretch are not 1
    Real inverse; // 1 / T
    Real lowest, far_lower,
        highest; // by the reference 0: where terms become 0 (for certain), and where they are too large
    double temperature;
    template <class P>
    SMX_INLINE Real largest() const {
        return is_fused<P>
                   ? usual
                   : usual * static_cast<Real>(term_range<Real>::limit_without_fma / term_range<Real>::limit);
    }
};

// What one row adds: the reference N within magic, and the lowest logit whose term is above 0. N is even: where
// x c lies halfway between two integers it then goes to the same one whatever the reference.
template <class P>
struct row_reference {
    P hi, lo, upper, lower, magic, lowest;
};
template <class P>
SMX_INLINE void share_scale(const base2_scale<typename P::real>& c, row_reference<P>& q) {
    q.hi = splat<P>(c.hi);
    q.lo = splat<P>(c.lo);
    q.upper = splat<P>(c.upper);
    q.lower = splat<P>(c.lower);
}
// (Written in place: GCC 12 copies a struct's vectors in two halves, and the load that follows waits for both.)
template <class P>
SMX_INLINE void refer_by(const base2_scale<typename P::real>& c, const P& n, row_reference<P>& q) {
    using R = term_range<typename P::real>;
    constexpr typename P::real bias = format<typename P::real>::bias + R::lift;
    share_scale(c, q);
    q.magic = opaque(splat<P>(R::magic + bias) - n);
    q.lowest = (n - splat<P>(bias)) * splat<P>(c.inverse_hi);
}
template <class P>
SMX_INLINE void refer(const base2_scale<typename P::real>& c, const P& maximum, row_reference<P>& q) {
    using R = term_range<typename P::real>;
    const P magic = splat<P>(R::magic), hi = splat<P>(c.hi * typename P::real(0.5));
    P z;
    if constexpr (is_fused<P>) {
        z = fma(maximum, hi, magic);
    } else {
        z = opaque(maximum * hi + magic);
    }
    const P half = opaque(z - magic);
    refer_by(c, half + half, q);
}
// N of a reference.
template <class P>
SMX_INLINE typename P::real number_of(const row_reference<P>& q) {
    using R = term_range<typename P::real>;
    return (R::magic + (format<typename P::real>::bias + R::lift)) - q.magic.v[0];
}

// The reference of e^x itself: neither biased nor tied to a row. Above `highest` e^x is no number of the type.
template <class P>
struct plain_reference {
    row_reference<P> row;
    P highest;
};
template <class P>
SMX_INLINE void refer_plainly(const base2_scale<typename P::real>& one, plain_reference<P>& q) {
    using Real = typename P::real;
    constexpr Real bias = format<Real>::bias;
    q.row.hi = splat<P>(one.hi);
    q.row.lo = splat<P>(one.lo);
    q.row.upper = splat<P>(one.upper);
    q.row.lower = splat<P>(one.lower);
    q.row.magic = splat<P>(term_range<Real>::magic + bias);
    q.row.lowest = splat<P>(-bias * one.inverse_hi);
    q.highest = splat<P>((bias + Real(0.25)) * one.inverse_hi);
}

// a b - p, exactly, for p the rounded product.
template <class P>
SMX_INLINE P product_error(const P& a, const P& b, const P& p) {
    if constexpr (is_fused<P>) {
        return fma(a, b, P{} - p);
    } else {
        const P au = upper_digits(a), al = a - au, bu = upper_digits(b), bl = b - bu;
        return opaque(opaque(opaque(au * bu - p) + au * bl) + al * bu) + al * bl;
    }
}

// a b + n, where next to nothing is left of it.
template <class P>
SMX_INLINE P product_less(const P& a, const P& b, const P& n) {
    if constexpr (is_fused<P>) {
        return fma(a, b, n);
    } else {
        const P p = opaque(a * b);
        return opaque(p + n) + product_error(a, b, p);
    }
}

// n - q d for q the rounded quotient, exactly.
template <class P>
SMX_INLINE P remainder_of(const P& n, const P& q, const P& d) {
    return product_less(P{} - q, d, n);
}

template <class Real>
struct exp2_coefficients;
// 2^r = 1 + r p(r) on [-1/2, 1/2] with a relative error below 2^-28.3.
template <>
struct exp2_coefficients<float> {
    static constexpr float of[] = {0x1.4177e6p-13f, 0x1.5f0950p-10f, 0x1.3b2dd4p-7f,
                                   0x1.c6af7ap-5f,  0x1.ebfbdcp-3f,  0x1.62e430p-1f};
};
// Likewise with a relative error below 2^-57.7.
template <>
struct exp2_coefficients<double> {
    static constexpr double of[] = {0x1.e824ae4cdebf3p-32, 0x1.e61267b23653ep-28, 0x1.b525fd001ca77p-24,
                                    0x1.62bfcd5bc22e0p-20, 0x1.ffcbfc022564fp-17, 0x1.4309130c3fdbcp-13,
                                    0x1.5d87fe78b16e0p-10, 0x1.3b2ab6fba1053p-7,  0x1.c6b08d704a0e1p-5,
                                    0x1.ebfbdff82c59dp-3,  0x1.62e42fefa39efp-1};
};

// x hi + s lo + r, where next to nothing is left of it, without fma.
template <class P>
SMX_INLINE P add_product(const P& x, const P& s, const P& r, const row_reference<P>& q) {
    const P u = upper_digits(x), l = x - u, exact = opaque(u * q.upper + r);
    return opaque(exact + u * q.lower) + opaque(l * q.hi + s * q.lo);
}

// How terms may differ from those of logits alone: in some lanes they are 0.
struct plain_terms {
    template <class P>
    SMX_INLINE P of(const P& term, int) const {
        return term;
    }
#if SMX_GCC_X86
    template <class P>
    SMX_INLINE P scaled(const P& p, const P& n, int) const {
        return scaled_by_power(p, n);
    }
#endif
};
template <int K, class P>
struct selected_terms : plain_terms {
    lane_set<P> lanes[K];

    SMX_INLINE P of(const P& term, int k) const { return lanes[k].only(term); }
#if SMX_GCC_X86
    SMX_INLINE P scaled(const P& p, const P& n, int k) const { return scaled_by_power(p, n, lanes[k]); }
#endif
};
// x[k] <- 2^r[k] times the power of two that z[k] stands for.
template <int K, class P, class Kind>
SMX_INLINE void powers_of(P (&x)[K], P (&r)[K], P (&z)[K], const Kind& kind) {
    using Real = typename P::real;
    constexpr int degree = sizeof(exp2_coefficients<Real>::of) / sizeof(Real);
    P p[K];
    SMX_UNROLL for (int k = 0; k < K; ++k) p[k] = splat<P>(exp2_coefficients<Real>::of[0]);
    SMX_UNROLL for (int c = 1; c < degree; ++c) {
        const P next = splat<P>(exp2_coefficients<Real>::of[c]);
        SMX_UNROLL for (int k = 0; k < K; ++k) p[k] = multiply_add(p[k], r[k], next);
    }
    SMX_UNROLL for (int k = 0; k < K; ++k) z[k] = power_of_field(z[k]);
    SMX_UNROLL for (int k = 0; k < K; ++k) r[k] = r[k] * z[k];
    SMX_UNROLL for (int k = 0; k < K; ++k) x[k] =
        kind.of(multiply_add(r[k], p[k], z[k]), k); // one step shorter than (1 + r p) 2^k
}

// x[k] <- 2^(x[k] c - N + lift), of K vectors step by step: GCC leaves the chains of whole vectors one after
// another. Error: below 1.9 ulp (polynomial step 1/2, r 2^k just below 1/2, reduction 0.35). Any x up to the
// row's maximum, also -inf, gives a finite term; NaN gives NaN. The clamp is on x, in front: one operation,
// and r is never infinite. Each vector has its own row if Stride is 1, all have q[0] if it is 0.
template <int Stride = 0, int K, class P, class Kind = plain_terms>
SMX_INLINE void exponentials(P (&x)[K], const row_reference<P>* q, const Kind& kind = {}) {
    P z[K], r[K];
    SMX_UNROLL for (int k = 0; k < K; ++k) x[k] = larger(q[k * Stride].lowest, x[k]);
    SMX_UNROLL for (int k = 0; k < K; ++k) z[k] = opaque(multiply_add(x[k], q->hi, q[k * Stride].magic));
    SMX_UNROLL for (int k = 0; k < K; ++k) r[k] = opaque(q[k * Stride].magic - z[k]);
    if constexpr (is_fused<P>) {
        SMX_UNROLL for (int k = 0; k < K; ++k) r[k] = fma(x[k], q->hi, r[k]);
        SMX_UNROLL for (int k = 0; k < K; ++k) r[k] = fma(x[k], q->lo, r[k]);
    } else {
        SMX_UNROLL for (int k = 0; k < K; ++k) r[k] = add_product(x[k], x[k], r[k], *q);
    }
    powers_of(x, r, z, kind);
}

// Whether a term has the same digits wherever it is computed: not with the excess digits of x87, nor where -ffast-math
// allows algebra.
inline constexpr bool terms_are_steady =
#if defined(__FAST_MATH__) || (defined(__FLT_EVAL_METHOD__) && __FLT_EVAL_METHOD__ == 2)
    false;
#else
    true;
#endif

// log(1 + u + v) for u >= 0, v below an ulp of u, as k * upper_ln2 + rest; NaN gives NaN. The logarithm of 1 + u
// is k ln(2) + log(f), f in [0.7, 1.42], log(f) = 2 atanh(s) with s = (f - 1) / (f + 1); what 1 + u rounds
// off is put back.
inline constexpr double upper_ln2 = 0x1.62e42ffp-1; // its products with exponents are exact
template <int W>
SMX_INLINE pack<double, W> log_of_one_plus(const pack<double, W>& u, const pack<double, W>& v,
                                           pack<double, W>& k) {
    using P = pack<double, W>;
    constexpr double of[] = {0x1.2f115fe80a422p-3, 0x1.39a09821373d2p-3, 0x1.7466499ac9612p-3,
                             0x1.c71c51d81e2e1p-3, 0x1.2492494229fedp-2, 0x1.999999997f9fbp-2,
                             0x1.5555555555593p-1};
    const P one = splat<P>(1.0), h = opaque(one + u), back = opaque(h - one);
    const P lost = opaque(one - opaque(h - back)) + opaque(u - back) + v;
    const P r = mantissa_and_exponent(h, k) - one;
    const P s = r / (splat<P>(2.0) + r), z = s * s, half = splat<P>(0.5) * r;
    P p = splat<P>(of[0]);
    SMX_UNROLL for (int c = 1; c < 7; ++c) p = multiply_add(p, z, splat<P>(of[c]));
    p = multiply_add(p, z, half * r);
    p = multiply_add(s, p, multiply_add(k, splat<P>(-0x1.718432a1b0e26p-35), lost / h));
    return r + multiply_add(P{} - half, r, p);
}
// The same as one number: error below 0.8 ulp.
template <int W>
SMX_INLINE pack<double, W> log_of_one_plus(const pack<double, W>& u, const pack<double, W>& v) {
    pack<double, W> k;
    const auto rest = log_of_one_plus(u, v, k);
    return multiply_add(k, splat<pack<double, W>>(upper_ln2), rest);
}

// log(a / b) of sums of floats, a >= b > 0: relative error below 2^-35. As above with f = a / (b 2^k), where k comes from the
// bits of a and b, nearly their logarithms, so that f is in [0.66, 1.51] and one division does it all: s = (a - b 2^k) / (a + b 2^k).
template <int W>
SMX_INLINE pack<double, W> log_of_quotient(const pack<double, W>& a, const pack<double, W>& b) {
    using P = pack<double, W>;
    constexpr double of[] = {0x1.edb487bc9f91cp-3, 0x1.23e8483608217p-2, 0x1.999be2a1a8cc8p-2,
                             0x1.5555541d68cecp-1};
    constexpr double magic = 0x1.8p52; // see mantissa_and_exponent
    P k, c;
    SMX_UNROLL for (int l = 0; l < W; ++l) {
        const auto top = std::bit_cast<std::uint64_t>(static_cast<double>(b.v[l])),
                   bits = std::bit_cast<std::uint64_t>(static_cast<double>(a.v[l]));
        const std::uint64_t e = (bits - top + (std::uint64_t{1} << 51)) >> 52;
        c.v[l] = std::bit_cast<double>(top + (e << 52));
        k.v[l] = std::bit_cast<double>(std::bit_cast<std::uint64_t>(magic) + e);
    }
    k = opaque(opaque(k) - splat<P>(magic));
    const P s = opaque(a - c) / (a + c), z = s * s;
    P p = splat<P>(of[0]);
    SMX_UNROLL for (int i = 1; i < 4; ++i) p = multiply_add(p, z, splat<P>(of[i]));
    p = multiply_add(p, z, splat<P>(2.0));
    return multiply_add(k, splat<P>(0x1.62e42fefa39efp-1), opaque(s * p));
}

} // namespace smx::inline SMX_ABI::detail

#endif
