// Softmax of short rows. Nothing is taken out before the exponential: one reference makes every term of usual
// logits a number of moderate size, and what it is changes no bit of the result. So no row waits for its
// maximum, and the terms of many rows are computed as one run, without regard to where a row ends. Where the
// reference turns out not to fit, another one is tried. Leans on operations.hpp.
//
// A row is read in chunks of a logical vector or half of one, the last one moved back to the end of the row
// and masked where it was seen before; the terms are added in wide lanes, chunk after chunk, then in halves.
// No maximum needs to stay out of so short a sum.
#ifndef SMX_DETAIL_SHORT_ROWS_HPP
#define SMX_DETAIL_SHORT_ROWS_HPP

#include "operations.hpp"

namespace smx::inline SMX_ABI::detail {

// Measured, ns an element of a batch, as short rows / as long ones: floats at 1000 0.32 / 0.35 (AVX-512) and 0.34 /
// 0.43 (AVX2), at 2048 0.32 / 0.31; doubles, whose lanes are added with compensation, at 256 0.99 / 1.09, at 500 1.01 / 0.92.
template <class Real>
inline constexpr std::size_t longest_short_row = sizeof(Real) == sizeof(float) ? 1024 : 256;
// Up to here a row alone is faster chunk by chunk; above, as a run like that of many rows.
inline constexpr std::size_t longest_single_row = 256;

// Terms are 2^lift at the reference; logits `above` binary orders over it, or more, are lowered to that, which
// their sum shows. Usual sums lie in [1, most]: there every probability that is a normal number comes from
// terms that are, and the reciprocal has all its digits.
template <class Real>
struct short_range;
template <>
struct short_range<float> {
    static constexpr float above = 60;
    static constexpr double most = 0x1p90;
};
template <>
struct short_range<double> {
    static constexpr double above = 420, most = 0x1p500;
};

template <class P>
struct short_reference {
    row_reference<P> row;
    P highest;
};
template <class P, class Real = typename P::real>
SMX_INLINE void refer_short(const base2_scale<Real>& c, Real reference, short_reference<P>& q) {
    constexpr Real orders = short_range<Real>::above + format<Real>::bias + term_range<Real>::lift;
    refer(c, splat<P>(reference), q.row);
    q.highest = q.row.lowest + splat<P>(orders * c.inverse_hi);
}
// By the reference 0 nothing depends on the row.
template <class P, class Real = typename P::real>
SMX_INLINE void refer_short(const base2_scale<Real>& c, short_reference<P>& q) {
    constexpr Real bias = format<Real>::bias + term_range<Real>::lift;
    q.row.hi = splat<P>(c.hi);
    q.row.lo = splat<P>(c.lo);
    q.row.upper = splat<P>(c.upper);
    q.row.lower = splat<P>(c.lower);
    q.row.magic = splat<P>(term_range<Real>::magic + bias);
    q.row.lowest = splat<P>(-bias * c.inverse_hi);
    q.highest = splat<P>(short_range<Real>::above * c.inverse_hi);
}
template <int K, class P>
SMX_INLINE void short_terms(P (&v)[K], const short_reference<P>& q) {
    SMX_UNROLL for (int k = 0; k < K; ++k) v[k] = smaller(q.highest, v[k]);
    exponentials(v, &q.row);
}

// The chunk of a row of n >= lanes that starts at i: its place, and how many of its lanes were seen before. Of
// a shorter row, one chunk with `inside` lanes of its own.
struct chunk {
    std::size_t at, seen, inside;
    bool last;
};
template <class R>
SMX_INLINE chunk chunk_at(std::size_t i, std::size_t n) {
    constexpr std::size_t lanes = R::lanes;
    if (n < lanes) {
        return {0, 0, n, true};
    }
    const bool last = i + lanes >= n;
    return {last ? n - lanes : i, last ? i + lanes - n : 0, lanes, last};
}
// Part h of a chunk of terms: what is not its own is 0.
template <class R>
SMX_INLINE typename R::vector own_lanes(const chunk& c, int h, const typename R::vector& v) {
    const std::size_t first = static_cast<std::size_t>(h * R::width), w = R::width;
    if (c.inside < R::lanes) {
        const std::size_t count = c.inside > first ? c.inside - first : 0;
        return lanes_below(count < w ? count : w, v, typename R::vector{});
    }
    return lanes_from(c.seen, first, v);
}
template <class R>
SMX_INLINE void add_chunk(tally<R>& sum, const chunk& c, const typename R::vector (&v)[R::parts]) {
    SMX_UNROLL for (int h = 0; h < R::parts; ++h) sum.add(c.last ? own_lanes<R>(c, h, v[h]) : v[h], h);
}
template <class R, class Real = typename R::real>
SMX_INLINE void load_chunk(const Real* x, typename R::vector (&v)[R::parts]) {
    SMX_UNROLL for (int h = 0; h < R::parts; ++h) v[h] = load<typename R::vector>(x + h * R::width);
}

// For rows shorter than the logical vector.
template <class M>
using half_machine =
    machine<typename M::real, (M::width < M::lanes / 2 ? M::width : M::lanes / 2), M::lanes / 2>;

// A row shorter than a chunk, extended by -inf, whose terms are 0.
template <class R, class Real = typename R::real>
SMX_INLINE void pad_row(const Real* x, std::size_t n, Real (&padded)[R::lanes]) {
    if (n < R::lanes) {
        SMX_UNROLL for (int h = 0; h < R::parts; ++h) {
            store(padded + h * R::width, splat<typename R::vector>(-std::numeric_limits<Real>::infinity()));
        }
        for (std::size_t i = 0; i < n; ++i) {
            padded[i] = x[i];
        }
    }
}
template <class R, class F, class Real = typename R::real>
SMX_INLINE void for_each_chunk(const Real* x, std::size_t n, F f) {
    Real padded[R::lanes];
    pad_row<R>(x, n, padded);
    typename R::vector v[R::parts];
    for (std::size_t i = 0;; i += R::lanes) {
        const chunk c = chunk_at<R>(i, n);
        load_chunk<R>(n < R::lanes ? padded : x + c.at, v);
        f(c, v);
        if (c.last) {
            return;
        }
    }
}

template <class R, class Real = typename R::real>
SMX_INLINE Real maximum_of_chunks(const Real* x, std::size_t n) {
    using V = typename R::vector;
    V m = splat<V>(-std::numeric_limits<Real>::infinity());
    for_each_chunk<R>(x, n, [&](const chunk&, const V(&v)[R::parts]) SMX_LAMBDA_INLINE {
        SMX_UNROLL for (int h = 0; h < R::parts; ++h) m = larger(v[h], m);
    });
    return largest_lane(m);
}

// v * (hi + lo); what comes out below the smallest normal number would depend on the reference: 0, then.
template <class P>
SMX_INLINE P normal_times(const P& v, const P& hi, const P& lo) {
    const P p = times(v, hi, lo), least = splat<P>((std::numeric_limits<typename P::real>::min)());
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
    lo = multiply_add(pack<double, W>{} - hi, error, remainder_of(one, hi, sum)) / sum;
}

// The reference that the last groups of a batch shared, until that has failed too often to be tried again.
template <class Real>
struct shared_reference {
    Real value = 0;
    int fails = 0;
};

// Some rows, 4 vectors of logits at least and `room` logits at most; all are read before the first write.
template <class M>
struct softmax_group {
    using P = typename M::vector;
    using Real = typename M::real;
    static constexpr std::size_t rows = 16, w = M::width, room = 4096;
    alignas(64) Real term[room + std::size_t(M::lanes)];
    alignas(64) double sum[rows], error[rows];
    alignas(64) Real hi[rows], lo[rows];
    alignas(64) Real maximum[rows], magic[rows], lowest[rows];

    SMX_INLINE void compute_terms(const Real* x, std::size_t size, const short_reference<P>& q) {
        for (std::size_t i = 0; i < size; i += 4 * w) {
            const std::size_t at = i + 4 * w <= size ? i : size - 4 * w;
            P v[4];
            SMX_UNROLL for (std::size_t k = 0; k < 4; ++k) v[k] = load<P>(x + at + k * w);
            short_terms(v, q);
            SMX_UNROLL for (std::size_t k = 0; k < 4; ++k) store(term + at + k * w, v[k]);
        }
    }

    // False if one of them is unusual.
    template <class R>
    SMX_INLINE bool add_terms(std::size_t count, std::size_t n) {
        bool usual = true;
        for (std::size_t r = 0; r < count; ++r) {
            tally<R> t;
            chunk c{};
            for (std::size_t i = 0; !c.last; i += R::lanes) {
                typename R::vector v[R::parts];
                c = chunk_at<R>(i, n);
                load_chunk<R>(term + r * n + c.at, v);
                add_chunk<R>(t, c, v);
            }
            const double_word<double> s = t.total();
            sum[r] = s.hi;
            error[r] = s.lo;
            usual = usual && s.hi >= 1 && s.hi <= short_range<Real>::most;
        }
        return usual;
    }

    SMX_INLINE void invert_sums() {
        using D = typename M::wide;
        SMX_UNROLL for (std::size_t r = 0; r < rows; r += D::width) {
            pack<Real, D::width> h, l;
            invert(load<D>(sum + r), load<D>(error + r), h, l);
            store(hi + r, h);
            store(lo + r, l);
        }
    }

    // A row shorter than a chunk runs over into the next one, which is written after it.
    template <class R>
    SMX_INLINE void write(Real* y, std::size_t count, std::size_t n) {
        using V = typename R::vector;
        for (std::size_t r = 0; r < count; ++r) {
            const V h = splat<V>(hi[r]), l = splat<V>(lo[r]);
            const bool over = r * n + std::size_t(R::lanes) > count * n && n < R::lanes;
            Real* const to = over ? term + r * n : y + r * n;
            chunk c{};
            for (std::size_t i = 0; !c.last; i += R::lanes) {
                typename R::vector v[R::parts];
                c = chunk_at<R>(i, n);
                load_chunk<R>(term + r * n + c.at, v);
                SMX_UNROLL for (int k = 0; k < R::parts; ++k) {
                    store(to + c.at + k * R::width, normal_times(v[k], h, l));
                }
            }
            for (std::size_t i = 0; over && i < n; ++i) {
                y[r * n + i] = to[i];
            }
        }
    }

    // The terms of each row by its own maximum. False if one is out of the range of references.
    template <class R>
    SMX_INLINE bool compute_terms_by_row(const Real* x, std::size_t count, std::size_t n,
                                         const base2_scale<Real>& c) {
        using V = typename R::vector;
        bool usual = true;
        for (std::size_t r = 0; r < rows; ++r) {
            maximum[r] = r < count ? maximum_of_chunks<R>(x + r * n, n) : Real(0);
            usual = usual && magnitude(maximum[r]) <= c.template largest<P>();
        }
        row_reference<P> each;
        SMX_UNROLL for (std::size_t r = 0; r < rows; r += w) {
            refer(c, load<P>(maximum + r), each);
            store(magic + r, each.magic);
            store(lowest + r, each.lowest);
        }
        row_reference<V> q;
        q.hi = splat<V>(c.hi);
        q.lo = splat<V>(c.lo);
        q.upper = splat<V>(c.upper);
        q.lower = splat<V>(c.lower);
        for (std::size_t r = 0; usual && r < count; ++r) {
            q.magic = splat<V>(magic[r]);
            q.lowest = splat<V>(lowest[r]);
            for_each_chunk<R>(x + r * n, n, [&](const chunk& p, const V(&logit)[R::parts]) SMX_LAMBDA_INLINE {
                V v[R::parts];
                SMX_UNROLL for (int h = 0; h < R::parts; ++h) v[h] = logit[h];
                exponentials(v, &q);
                SMX_UNROLL for (int h = 0; h < R::parts; ++h) store(term + r * n + p.at + h * R::width, v[h]);
            });
        }
        return usual;
    }

    // False, with nothing written, if there are rows for which neither kind of reference will do.
    template <class R>
    SMX_INLINE bool run(const Real* x, Real* y, std::size_t count, std::size_t n, const base2_scale<Real>& c,
                        shared_reference<Real>& shared) {
        for (std::size_t r = count; r < rows; ++r) {
            sum[r] = 1;
            error[r] = 0;
        }
        bool done = false;
        if (shared.fails < 3) {
            short_reference<P> q;
            refer_short(c, shared.value, q);
            compute_terms(x, count * n, q);
            done = add_terms<R>(count, n);
        }
        if (!done) [[unlikely]] {
            if (!compute_terms_by_row<R>(x, count, n, c) || !add_terms<R>(count, n)) {
                return false;
            }
            shared.value = maximum[0];
            ++shared.fails;
        }
        invert_sums();
        write<R>(y, count, n);
        return true;
    }
};

// One row, in chunks of R. False, with nothing written, if it is unusual at this reference.
template <class R, class Real = typename R::real>
SMX_INLINE bool softmax_short_row(const Real* x, Real* y, std::size_t n,
                                  const short_reference<typename R::vector>& q) {
    using V = typename R::vector;
    using D = typename R::wide;
    constexpr std::size_t lanes = R::lanes, w = R::width;
    Real term[longest_short_row<Real>], padded[lanes];
    if (n < lanes) {
        pad_row<R>(x, n, padded);
        x = padded;
    }
    tally<R> sum;
    V v[R::parts]; // in the end the last chunk
    chunk c;
    for (std::size_t i = 0;; i += lanes) {
        c = chunk_at<R>(i, n);
        load_chunk<R>(x + c.at, v);
        short_terms(v, q);
        add_chunk<R>(sum, c, v);
        if (c.last) {
            break;
        }
        SMX_UNROLL for (int h = 0; h < R::parts; ++h) store(term + i + h * R::width, v[h]);
    }
    const double_word<double> s = sum.total();
    if (!(s.hi >= 1 && s.hi <= short_range<Real>::most)) [[unlikely]] {
        return false;
    }
    pack<Real, D::width> inverse, rest;
    if constexpr (sizeof(Real) == sizeof(float)) { // in the registers' lowest lane: the same digits, sooner
        const double quotient = 1 / s.hi;
        inverse.v[0] = static_cast<float>(quotient);
        rest.v[0] = static_cast<float>(quotient - static_cast<double>(inverse.v[0]));
    } else {
        invert(splat<D>(s.hi), splat<D>(s.lo), inverse, rest);
    }
    const V hi = splat<V>(inverse.v[0]), lo = splat<V>(rest.v[0]);
    for (std::size_t i = 0; i < c.at; i += w) {
        store(y + i, normal_times(load<V>(term + i), hi, lo));
    }
    SMX_UNROLL for (int h = 0; h < R::parts; ++h) {
        store((n < lanes ? padded : y + c.at) + h * R::width, normal_times(v[h], hi, lo));
    }
    for (std::size_t i = 0; n < lanes && i < n; ++i) {
        y[i] = padded[i];
    }
    return true;
}

template <class M, class Real = typename M::real, class... Reference>
SMX_INLINE bool softmax_at(const Real* x, Real* y, std::size_t n, const base2_scale<Real>& c,
                           Reference... reference) {
    const auto run = [&](auto machine) SMX_LAMBDA_INLINE {
        using R = decltype(machine);
        short_reference<typename R::vector> q;
        refer_short(c, reference..., q);
        return softmax_short_row<R>(x, y, n, q);
    };
    return n < M::lanes ? run(half_machine<M>{}) : run(M{});
}
// The row that did not take the reference 0: by its own, or as long rows are done.
struct unusual_short_row {
    template <class M, class Real>
    SMX_INLINE static void run(const Real* x, Real* y, std::size_t n, const base2_scale<Real>* c) {
        const Real m = n < M::lanes ? maximum_of_chunks<half_machine<M>>(x, n) : maximum_of_chunks<M>(x, n);
        if (c->scaled || !(magnitude(m) <= c->template largest<typename M::vector>()) ||
            !softmax_at<M>(x, y, n, *c, m)) {
            run_apart<M, map_rows<softmax_operation>>(x, y, std::size_t{1}, n, c);
        }
    }
};
struct map_single_rows {
    template <class M, class Real>
    SMX_INLINE static void run(const Real* x, Real* y, std::size_t rows, std::size_t n,
                               const base2_scale<Real>* c) {
        for (std::size_t r = 0; r < rows; ++r, x += n, y += n) {
            if (c->scaled || !softmax_at<M>(x, y, n, *c)) [[unlikely]] {
                run_apart<M, unusual_short_row>(x, y, n, c);
            }
        }
    }
};
struct map_grouped_rows {
    template <class M, class Real>
    SMX_INLINE static void run(const Real* x, Real* y, std::size_t rows, std::size_t n,
                               const base2_scale<Real>* c) {
        const std::size_t fit = softmax_group<M>::room / n;
        const std::size_t most = fit < softmax_group<M>::rows ? fit : softmax_group<M>::rows;
        shared_reference<Real> shared;
        for (std::size_t count; rows != 0; rows -= count, x += count * n, y += count * n) {
            count = rows < most ? rows : most;
            softmax_group<M> group;
            const auto run = [&](auto machine) SMX_LAMBDA_INLINE {
                return group.template run<decltype(machine)>(x, y, count, n, *c, shared);
            };
            if (c->scaled || count * n < 4 * std::size_t(M::width) ||
                !(n < M::lanes ? run(half_machine<M>{}) : run(M{}))) [[unlikely]] {
                run_apart<M, map_single_rows>(x, y, count, n, c);
            }
        }
    }
};

} // namespace smx::inline SMX_ABI::detail

#endif
