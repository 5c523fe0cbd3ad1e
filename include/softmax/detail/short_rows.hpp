// Softmax of short rows: their terms times the reciprocals of their sums. Leans on short_sums.hpp and operations.hpp.
#ifndef SMX_DETAIL_SHORT_ROWS_HPP
#define SMX_DETAIL_SHORT_ROWS_HPP

#include "operations.hpp"
#include "short_sums.hpp"

namespace smx::inline SMX_ABI::detail {

// v * (hi + lo); what comes out below the smallest normal number would depend on the reference: 0, then.
template <class P>
SMX_INLINE P normal_times(const P& v, const P& hi, const P& lo) {
    const P p = times_at_most(v, hi, lo, splat<P>(1)),
            least = splat<P>((std::numeric_limits<typename P::real>::min)());
    return where_less(p, least, P{}, p);
}

// 1 / (sum + error) as hi + lo.
template <int W>
SMX_INLINE void invert(const pack<double, W>& sum, const pack<double, W>&, pack<float, W>& hi,
                       pack<float, W>& lo) {
    const auto q = splat<pack<double, W>>(1) / sum;
    hi = convert<float>(q);
    lo = convert<float>(q - convert<double>(hi));
}
template <int W>
SMX_INLINE void invert(const pack<double, W>& sum, const pack<double, W>& error, pack<double, W>& hi,
                       pack<double, W>& lo) {
    const auto one = splat<pack<double, W>>(1);
    hi = one / sum;
    lo = multiply_add(pack<double, W>{} - hi, error, remainder_of(one, hi, sum)) * hi;
}

// The terms of a row times hi + lo, the last chunk from `last`.
template <class M, class Real = typename M::real, class V = typename M::vector>
SMX_INLINE void write_short_row(const Real* term, const V (&last)[M::parts], Real* y, std::size_t n,
                                const V& hi, const V& lo) {
    constexpr std::size_t w = M::width, lanes = M::lanes;
    std::size_t i = 0;
    for (; i + 4 * w < n; i += 4 * w) {
        SMX_UNROLL for (std::size_t k = 0; k < 4; ++k)
            store(y + i + k * w, normal_times(load_once<V>(term + i + k * w), hi, lo));
    }
    for (; i + lanes < n; i += lanes) {
        SMX_UNROLL for (std::size_t h = 0; h < M::parts; ++h)
            store(y + i + h * w, normal_times(load_once<V>(term + i + h * w), hi, lo));
    }
    V result[M::parts];
    SMX_UNROLL for (std::size_t h = 0; h < M::parts; ++h) result[h] = normal_times(last[h], hi, lo);
    store_results<M>(y, n, result);
}

// Many rows; all are read before the first write.
template <class M>
struct softmax_group : short_group<M> {
    using typename short_group<M>::P;
    using typename short_group<M>::Real;
    using short_group<M>::rows, short_group<M>::w, short_group<M>::lanes;
    using short_group<M>::term, short_group<M>::sum, short_group<M>::error;
    alignas(64) Real hi[rows], lo[rows];

    SMX_INLINE bool run(const Real* x, Real* y, std::size_t count, std::size_t n, const base2_scale<Real>& c,
                        int& tries) {
        if (!this->template add_up<false>(x, y, count, n, c, tries)) {
            return false;
        }
        invert_sums(count);
        for (std::size_t r = 0; r < count; ++r) {
            write_row(y + r * n, r, count, n);
        }
        return true;
    }

protected:
    SMX_INLINE void invert_sums(std::size_t count) {
        using D = typename M::wide;
        for (std::size_t r = 0; r < count; r += D::width) {
            pack<Real, D::width> h, l;
            invert(load<D>(sum + r), load<D>(error + r), h, l);
            store(hi + r, h);
            store(lo + r, l);
        }
    }

    // Row r of `count`, to y. A row shorter than a chunk runs over into the next one, which is written after it.
    SMX_INLINE void write_row(Real* y, std::size_t r, std::size_t count, std::size_t n) {
        const P h = splat<P>(hi[r]), l = splat<P>(lo[r]);
        if (n >= lanes || r * n + lanes > count * n) {
            P last[M::parts];
            this->load_terms(r, n, chunk_at<M>(n - 1, n), last);
            write_short_row<M>(term + r * n, last, y, n, h, l);
            return;
        }
        for (std::size_t i = 0; i < n; i += w) {
            store(y + i, normal_times(load_once<P>(term + r * n + i), h, l));
        }
    }
};

// hi + lo = 1 / sum, in every lane.
template <class M, class V = typename M::vector>
SMX_INLINE void invert_one(const double_word<double>& sum, V& hi, V& lo) {
    using Real = typename M::real;
    using D = typename M::wide;
    if constexpr (sizeof(Real) == sizeof(float)) { // in the registers' lowest lane: the same digits, sooner
        const double quotient = 1 / sum.hi;
        const float high = static_cast<float>(quotient);
        hi = splat<V>(high);
        lo = splat<V>(static_cast<float>(quotient - static_cast<double>(high)));
    } else {
        pack<Real, D::width> inverse, rest;
        invert(splat<D>(sum.hi), splat<D>(sum.lo), inverse, rest);
        hi = splat<V>(inverse.v[0]);
        lo = splat<V>(rest.v[0]);
    }
}

// One row. False, with nothing written, if it is unusual at this reference.
template <class M, class Reference, class Real = typename M::real>
SMX_INLINE bool softmax_short_row(const Real* x, Real* y, std::size_t n, const Reference& q) {
    using V = typename M::vector;
    alignas(64) Real term[longest_short_row<Real>];
    V last[M::parts], hi, lo;
    no_maximum none;
    const double_word<double> s = sum_short_terms<M>(x, n, q, term, last, y, none);
    if (!usual_sums<Real>.has(s.hi)) [[unlikely]] {
        return false;
    }
    invert_one<M>(s, hi, lo);
    write_short_row<M>(term, last, y, n, hi, lo);
    return true;
}
// The same for a row of a chunk or two, by the reference 0.
template <class M, int Chunks, class Real = typename M::real>
SMX_INLINE bool softmax_in_registers(const Real* x, Real* y, std::size_t n, const base2_scale<Real>& scale) {
    using V = typename M::vector;
    row_in_registers<M, Chunks> row;
    row.load_logits_of(x, n);
    short_terms(row.v, zero_reference<V>(scale));
    const double_word<double> s = row.sum(n);
    if (!usual_sums<Real>.has(s.hi)) [[unlikely]] {
        return false;
    }
    V hi, lo;
    invert_one<M>(s, hi, lo);
    SMX_UNROLL for (int k = 0; k < row.vectors; ++k) row.v[k] = normal_times(row.v[k], hi, lo);
    row.store_to(y, n);
    return true;
}

// The row that did not take the reference 0: by its own, or as long rows are done.
struct unusual_short_row {
    template <class M, class Real>
    SMX_INLINE static void run(const Real* x, Real* y, std::size_t n, const base2_scale<Real>* c) {
        const Real m = maximum_of_chunks<M>(x, n, n);
        if (!c->scaled && magnitude(m) <= c->template largest<typename M::vector>()) {
            row_reference<typename M::vector> q;
            refer(*c, splat<typename M::vector>(m), q);
            if (softmax_short_row<M>(x, y, n, q)) {
                return;
            }
        }
        run_apart<M, map_rows<softmax_operation>>(x, y, std::size_t{1}, n, c);
    }
};
struct map_single_rows {
    template <class M, class Real>
    SMX_INLINE static void run(const Real* x, Real* y, std::size_t rows, std::size_t n,
                               const base2_scale<Real>* c) {
        for (std::size_t r = 0; r < rows; ++r, x += n, y += n) {
            if (c->scaled || !softmax_short_row<M>(x, y, n, zero_reference<typename M::vector>(*c)))
                [[unlikely]] {
                run_apart<M, unusual_short_row>(x, y, n, c);
            }
        }
    }
};
template <int Chunks>
struct map_in_registers {
    template <class M, class Real>
    SMX_INLINE static void run(const Real* x, Real* y, std::size_t n, const base2_scale<Real>* c) {
        if (c->scaled || !softmax_in_registers<M, Chunks>(x, y, n, *c)) [[unlikely]] {
            run_apart<M, unusual_short_row>(x, y, n, c);
        }
    }
};
struct map_grouped_rows {
    template <class M, class Real>
    SMX_INLINE static void run(const Real* x, Real* y, std::size_t rows, std::size_t n,
                               const base2_scale<Real>* c) {
        using group_of = softmax_group<M>;
        const std::size_t fit = group_of::room / n, most = fit < group_of::rows ? fit : group_of::rows;
        int tries = 3;
        for (std::size_t count; rows != 0; rows -= count, x += count * n, y += count * n) {
            count = rows < most ? rows : most;
            group_of group;
            if (c->scaled || count * n < 4 * std::size_t(M::width) || !group.run(x, y, count, n, *c, tries))
                [[unlikely]] {
                run_apart<M, map_single_rows>(x, y, count, n, c);
            }
        }
    }
};

} // namespace smx::inline SMX_ABI::detail

#endif
