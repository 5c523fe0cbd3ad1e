// Sums of the terms of short rows. Nothing is taken out before the exponential: one reference, 0, makes every term of
// usual logits a number of moderate size, and what it is changes no bit of a result. So no row waits for its maximum, and
// the terms of many rows are computed as one run. Where it does not fit, each row has its own. Leans on chunks.hpp.
//
// The terms are added in wide lanes, chunk after chunk, then in halves. No maximum needs to stay out of so short a sum.
#ifndef SMX_DETAIL_SHORT_SUMS_HPP
#define SMX_DETAIL_SHORT_SUMS_HPP

#include "chunks.hpp"

namespace smx::inline SMX_ABI::detail {

// ns an element of a batch, as short rows / as long ones: floats at 2048 0.14 / 0.15 (Zen 5, AVX-512) and 0.24 / 0.27 (AVX2),
// doubles, whose lanes are added with compensation, at 1000 0.71 / 0.80 (Zen 4, AVX-512). The terms of two such rows fit in L1.
template <class Real>
inline constexpr std::size_t longest_short_row = sizeof(Real) == sizeof(float) ? 2048 : 1024;

// By the reference 0 terms are 2^lift e^(x / T). Logits `above` binary orders over it, or more, are lowered to that, which
// their sum shows. Usual sums lie in [least, most]: there every probability that is a normal number comes from terms
// that are, and the reciprocal has all its digits.
template <class Real>
struct short_range;
template <>
struct short_range<float> {
    static constexpr float above = 60;
    static constexpr double least = 1, most = 0x1p90;
};
template <>
struct short_range<double> {
    static constexpr double above = 420, least = 1, most = 0x1p500;
};
struct sum_range {
    double least, most;
    SMX_INLINE bool has(double sum) const { return sum >= least && sum <= most; }
};
template <class Real>
inline constexpr sum_range usual_sums{short_range<Real>::least, short_range<Real>::most};

template <class P>
struct zero_reference {
    row_reference<P> row;
    P highest;

    SMX_INLINE explicit zero_reference(const base2_scale<typename P::real>& c)
        : highest(splat<P>(c.highest)) {
        using Real = typename P::real;
        share_scale(c, row);
        // Odd in both cases, so that a half goes to the same integer.
        constexpr Real bias = has_scaling<P> ? 1 : format<Real>::bias + term_range<Real>::lift;
        row.magic = splat<P>(term_range<Real>::magic + bias);
        row.lowest = splat<P>(has_scaling<P> ? c.far_lower : c.lowest);
    }
};

// What powers_of() does, by the instruction that scales by 2^n.
template <int K, class P, class Kind>
SMX_INLINE void powers_by_scaling(P (&x)[K], const P (&r)[K], const P (&n)[K], const Kind& kind) {
    using Real = typename P::real;
    constexpr int degree = sizeof(exp2_coefficients<Real>::of) / sizeof(Real);
    constexpr Real one = std::bit_cast<Real>(
        static_cast<typename P::bits>(format<Real>::bias + term_range<Real>::lift) << format<Real>::mantissa);
    P p[K];
    SMX_UNROLL for (int k = 0; k < K; ++k) p[k] = splat<P>(exp2_coefficients<Real>::of[0] * one);
    SMX_UNROLL for (int c = 1; c < degree; ++c) {
        const P next = splat<P>(exp2_coefficients<Real>::of[c] * one);
        SMX_UNROLL for (int k = 0; k < K; ++k) p[k] = fma(p[k], r[k], next);
    }
    SMX_UNROLL for (int k = 0; k < K; ++k) p[k] = fma(p[k], r[k], splat<P>(one));
    SMX_UNROLL for (int k = 0; k < K; ++k) x[k] = kind.scaled(p[k], n[k], k);
}

// The terms by that instruction: it needs no clamp from above, since what is too large becomes infinite or NaN
// and is seen in the sum, and no shift. The bits are those of exponentials().
template <int K, class P, class Kind>
SMX_INLINE void terms_by_scaling(P (&x)[K], const row_reference<P>& q, const Kind& kind) {
    P n[K], r[K];
    SMX_UNROLL for (int k = 0; k < K; ++k) x[k] = larger(q.lowest, x[k]);
    SMX_UNROLL for (int k = 0; k < K; ++k) n[k] = opaque(fma(x[k], q.hi, q.magic));
    SMX_UNROLL for (int k = 0; k < K; ++k) n[k] = opaque(n[k] - q.magic);
    SMX_UNROLL for (int k = 0; k < K; ++k) r[k] = fma(x[k], q.hi, P{-n[k].v});
    SMX_UNROLL for (int k = 0; k < K; ++k) r[k] = fma(x[k], q.lo, r[k]);
    powers_by_scaling(x, r, n, kind);
}

// v <- terms, by the reference 0 or by one that is at least the maximum of the row.
template <int K, class P, class Kind = plain_terms>
SMX_INLINE void short_terms(P (&v)[K], const zero_reference<P>& q, const Kind& kind = {}) {
    if constexpr (has_scaling<P>) {
        terms_by_scaling(v, q.row, kind);
    } else {
        SMX_UNROLL for (int k = 0; k < K; ++k) v[k] = smaller(q.highest, v[k]);
        exponentials(v, &q.row, kind);
    }
}
template <int K, class P>
SMX_INLINE void short_terms(P (&v)[K], const row_reference<P>& q) {
    exponentials(v, &q);
}

// What a pass over a row may find out beside its sum: nothing, or the largest logit, for which there is room between the
// multiplications too.
struct no_maximum {
    template <class P>
    SMX_INLINE void see(const P&) {}
};
template <class P>
struct running_maximum {
    P lanes;
    SMX_INLINE running_maximum() : lanes(splat<P>(no_logit<typename P::real>)) {}
    SMX_INLINE void see(const P& v) { lanes = larger(v, lanes); }
};

// v <- the terms of K vectors of logits from x on, or of a chunk of them. Masked rows have these functions, and row_at(), for
// themselves: for what they have in place of a pointer.
template <int K, class P, class Reference, class Maximum, class Real>
SMX_INLINE void terms_from(const Real* x, P (&v)[K], const Reference& q, Maximum& maximum) {
    SMX_UNROLL for (int k = 0; k < K; ++k) v[k] = load<P>(x + std::size_t(k) * P::width);
    SMX_UNROLL for (int k = 0; k < K; ++k) maximum.see(v[k]);
    short_terms(v, q);
}
template <class M, int K, class P, class Reference, class Maximum, class Real>
SMX_INLINE void terms_of_chunk(const Real* x, const chunk& c, P (&v)[K], const Reference& q,
                               Maximum& maximum) {
    load_logits<M>(x, c, v);
    SMX_UNROLL for (int k = 0; k < K; ++k) maximum.see(v[k]);
    short_terms(v, q);
}

// Row r of rows of n that begin at x.
template <class Real>
SMX_INLINE const Real* row_at(const Real* x, std::size_t r, std::size_t n) {
    return x + r * n;
}

// 4 vectors of logits at x to terms at y.
template <class M, class X, class Reference, class Maximum, class Real = typename M::real>
SMX_INLINE void store_terms(const X& x, Real* y, const Reference& q, Maximum& maximum) {
    constexpr std::size_t w = M::width;
    typename M::vector v[4];
    terms_from(x, v, q, maximum);
    SMX_UNROLL for (std::size_t k = 0; k < 4; ++k) store(y + k * w, v[k]);
}

// The sum of the terms of a row, which are left at `term`, those of the last chunk in `last` alone. 4 vectors at a time: the
// additions, in the order of the chunks, fit between their multiplications. y: what will be written.
template <class M, class X, class Reference, class Maximum, class Real = typename M::real,
          class V = typename M::vector>
SMX_INLINE double_word<double> sum_short_terms(const X& x, std::size_t n, const Reference& q, Real* term,
                                               V (&last)[M::parts], const Real* y, Maximum& maximum) {
    constexpr std::size_t lanes = M::lanes, w = M::width, line = 64 / sizeof(Real);
    tally<M> sum;
    std::size_t i = 0;
    const auto add_4 = [&](const Real* from) SMX_LAMBDA_INLINE {
        SMX_UNROLL for (std::size_t k = 0; k < 4; ++k) sum.add(load<V>(from + k * w), int(k) % M::parts);
    };
    const auto compute_4 = [&]() SMX_LAMBDA_INLINE {
        SMX_UNROLL for (std::size_t k = 0; k < 4 * w; k += line) SMX_PREFETCH_TO_WRITE(y + i + k);
        store_terms<M>(x + i, term + i, q, maximum);
    };
    constexpr std::size_t step = 4 * w, lag = 4 * step;
    for (; i + step < n && i < lag; i += step) {
        compute_4();
    }
    std::size_t added = 0;
    for (; i + step < n; i += step, added += step) {
        add_4(term + added);
        compute_4();
    }
    for (; i + lanes < n; i += lanes) {
        terms_from(x + i, last, q, maximum);
        SMX_UNROLL for (std::size_t h = 0; h < M::parts; ++h) store(term + i + h * w, last[h]);
        if (M::parts > 1 && i == 0) { // no more than 2 chunks: 32 floats 18 ns instead of 24 (AVX2)
            SMX_UNROLL for (std::size_t h = 0; h < M::parts; ++h) sum.add(last[h], int(h));
            added = lanes;
        }
    }
    const chunk c = chunk_at<M>(i, n);
    terms_of_chunk<M>(x, c, last, q, maximum);
    for (; added + step <= i; added += step) {
        add_4(term + added);
    }
    for (; added < i; added += lanes) {
        SMX_UNROLL for (std::size_t h = 0; h < M::parts; ++h) sum.add(load<V>(term + added + h * w), int(h));
    }
    add_chunk<M>(sum, c, last);
    return sum.total();
}

// A group has room for two of the longest rows, or for more shorter ones.
template <class Real>
inline constexpr std::size_t room_of_group = 2 * longest_short_row<Real>;
inline constexpr std::size_t rows_of_group = 16;
// Shorter rows are computed as one run, without regard to where a row ends. ns an element, as a run / by itself, Zen 5:
// 64 floats 0.18 / 0.27, 100 0.19 / 0.26, 1000 0.20 / 0.15.
inline constexpr std::size_t shortest_row_by_itself = 128;

// Some rows, `room` logits at most, and their sums.
template <class M>
struct short_group {
    using P = typename M::vector;
    using Real = typename M::real;
    static constexpr std::size_t rows = rows_of_group, w = M::width, lanes = M::lanes,
                                 room = room_of_group<Real>;
    alignas(64) Real term[room + lanes];
    alignas(64) double sum[rows], error[rows];
    alignas(64) Real maximum[rows], top[rows], magic[rows], lowest[rows];
    sum_range usual;

    // False, with nothing but the members written, if there are rows for which neither kind of reference will do. tries: how
    // often 0 is to be tried. y: what will be written. With_maxima: leaves the maxima, and their terms in top.
    template <bool With_maxima>
    SMX_INLINE bool add_up(const Real* x, const Real* y, std::size_t count, std::size_t n,
                           const base2_scale<Real>& c, int& tries,
                           const sum_range& usual_ones = usual_sums<Real>) {
        usual = usual_ones;
        for (std::size_t r = count; r < rows; ++r) {
            sum[r] = 1;
            error[r] = 0;
            maximum[r] = 0;
        }
        if (tries == 0 || !sum_by_zero<With_maxima>(x, y, count, n, c)) [[unlikely]] {
            tries -= tries != 0;
            find_maxima(x, count, n);
            return sum_by_maximum(x, y, count, n, c);
        }
        return true;
    }

    SMX_INLINE void load_terms(std::size_t r, std::size_t n, const chunk& c, P (&v)[M::parts]) const {
        SMX_UNROLL for (std::size_t h = 0; h < M::parts; ++h) v[h] = load<P>(term + r * n + c.at + h * w);
    }

protected:
    // The terms of all rows by one reference, and their sums: false if one of these is unusual. `largest` sees all logits.
    template <class X, class Reference, class Maximum>
    SMX_INLINE bool sum_all(const X& x, const Real* y, std::size_t count, std::size_t n, const Reference& q,
                            Maximum& largest) {
        if (n < shortest_row_by_itself && count * n >= 4 * w) {
            compute_terms(x, count * n, q, largest);
            return add_terms(count, n);
        }
        bool fits = true;
        for (std::size_t r = 0; r < count; ++r) {
            fits = sum_row(row_at(x, r, n), y, r, n, q, largest) && fits;
        }
        return fits;
    }

private:
    SMX_INLINE void find_maxima(const Real* x, std::size_t count, std::size_t n) {
        for (std::size_t r = 0; r < count; ++r) {
            maximum[r] = maximum_of_chunks<M>(x + r * n, n, (count - r) * n);
        }
    }

    template <bool With_maxima>
    SMX_INLINE bool sum_by_zero(const Real* x, const Real* y, std::size_t count, std::size_t n,
                                const base2_scale<Real>& c) {
        const zero_reference<P> q(c);
        no_maximum none;
        if constexpr (!With_maxima) {
            return sum_all(x, y, count, n, q, none);
        }
        bool fits = true;
        if (n < shortest_row_by_itself) {
            find_maxima(x, count, n);
            fits = sum_all(x, y, count, n, q, none);
        } else {
            for (std::size_t r = 0; r < count; ++r) {
                running_maximum<P> top_of_row;
                fits = sum_row(x + r * n, y, r, n, q, top_of_row) && fits;
                maximum[r] = largest_lane(top_of_row.lanes);
            }
        }
        for (std::size_t r = 0; r < count; r += w) {
            P t[1] = {load<P>(maximum + r)};
            short_terms(t, q);
            store(top + r, t[0]);
        }
        return fits;
    }
    SMX_INLINE bool sum_by_maximum(const Real* x, const Real* y, std::size_t count, std::size_t n,
                                   const base2_scale<Real>& c) {
        bool fits = true;
        for (std::size_t r = 0; r < count; ++r) {
            fits = fits && magnitude(maximum[r]) <= c.template largest<P>();
        }
        if (!fits) {
            return false;
        }
        row_reference<P> q;
        for (std::size_t r = 0; r < count; r += w) {
            P t[1] = {load<P>(maximum + r)};
            refer(c, t[0], q);
            exponentials(t, &q);
            store(magic + r, q.magic);
            store(lowest + r, q.lowest);
            store(top + r, t[0]);
        }
        for (std::size_t r = 0; r < count; ++r) {
            q.magic = splat<P>(magic[r]);
            q.lowest = splat<P>(lowest[r]);
            no_maximum none;
            fits = sum_row(x + r * n, y, r, n, q, none) && fits;
        }
        return fits;
    }

    template <class X, class Reference, class Maximum>
    SMX_INLINE void compute_terms(const X& x, std::size_t size, const Reference& q, Maximum& largest) {
        for (std::size_t i = 0; i < size; i += 4 * w) {
            const std::size_t at = i + 4 * w <= size ? i : size - 4 * w;
            store_terms<M>(x + at, term + at, q, largest);
        }
    }
    // False if one of them is unusual. (Tried: the lanes of as many rows as there are lanes, and their maxima, added up at once by
    // shuffles of pairs: 5 % of the time of softmax and log_softmax at 10 columns, 1 % at 64, for 90 lines.)
    SMX_INLINE bool add_terms(std::size_t count, std::size_t n) {
        bool fits = true;
        if (n <= lanes) {
            const first_lanes<P> low(lanes_in_part<M>(n, 0)), high(lanes_in_part<M>(n, M::parts - 1));
            for (std::size_t r = 0; r < count; ++r) {
                tally<M> t;
                SMX_UNROLL for (std::size_t h = 0; h < M::parts; ++h) {
                    const P v = load<P>(term + r * n + h * w);
                    if constexpr (M::parts <= 2) {
                        t.start(h == 0 ? low.of(v) : high.of(v), int(h));
                    } else {
                        t.start(lanes_below(lanes_in_part<M>(n, h), v, P{}), int(h));
                    }
                }
                fits = take_sum(r, t.total()) && fits;
            }
            return fits;
        }
        for (std::size_t r = 0; r < count; ++r) {
            tally<M> t;
            chunk c{};
            for (std::size_t i = 0; !c.is_last; i += lanes) {
                P v[M::parts];
                c = chunk_at<M>(i, n);
                load_terms(r, n, c, v);
                add_chunk<M>(t, c, v);
            }
            fits = take_sum(r, t.total()) && fits;
        }
        return fits;
    }
    // x: row r.
    template <class X, class Reference, class Maximum>
    SMX_INLINE bool sum_row(const X& x, const Real* y, std::size_t r, std::size_t n, const Reference& q,
                            Maximum& top_of_row) {
        P last[M::parts];
        const auto s = sum_short_terms<M>(x, n, q, term + r * n, last, y + r * n, top_of_row);
        store_results<M>(term + r * n, n, last);
        return take_sum(r, s);
    }
    SMX_INLINE bool take_sum(std::size_t r, const double_word<double>& s) {
        sum[r] = s.hi;
        error[r] = s.lo;
        return usual.has(s.hi);
    }
};

} // namespace smx::inline SMX_ABI::detail

#endif
