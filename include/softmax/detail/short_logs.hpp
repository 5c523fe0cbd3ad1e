// The logarithms of short rows: log_softmax and logsumexp. They need the maximum of a row in any case, so each
// row has its own reference; what comes once a row, the term of the maximum and the logarithm above all, is
// computed for many rows at once. The sums are those of short_rows.hpp without the maxima, which are counted:
// log1p gets its argument, and a dominant class costs the others no digit. Leans on short_rows.hpp.
#ifndef SMX_DETAIL_SHORT_LOGS_HPP
#define SMX_DETAIL_SHORT_LOGS_HPP

#include "short_rows.hpp"

namespace smx::inline SMX_ABI::detail {

// Beyond, with the maximum of each row to find, long rows are no slower: at 500 floats 0.44 as short, 0.43 as long ones.
inline constexpr std::size_t longest_short_log_row = 256;

// The sum of the terms without those of the maximum, and how many these are.
template <class R, class Real = typename R::real, class V = typename R::vector>
SMX_INLINE double_word<double> sum_below_maximum(const Real* x, std::size_t n, const row_reference<V>& q,
                                                 const V& maximum, double& tops) {
    const V one = splat<V>(1);
    tally<R> sum;
    V found = V{};
    for_each_chunk<R>(x, n, [&](const chunk& c, const V(&logit)[R::parts]) SMX_LAMBDA_INLINE {
        V v[R::parts], is_top[R::parts];
        SMX_UNROLL for (int h = 0; h < R::parts; ++h) {
            is_top[h] = where_equal(logit[h], maximum, one, V{});
            v[h] = logit[h];
        }
        exponentials(v, &q);
        SMX_UNROLL for (int h = 0; h < R::parts; ++h) {
            found = found + (c.last ? own_lanes<R>(c, h, is_top[h]) : is_top[h]);
            v[h] = v[h] * (one - is_top[h]); // exact
        }
        add_chunk<R>(sum, c, v);
    });
    tops = static_cast<double>(sum_of_lanes(found));
    return sum.total();
}

// log1p of all terms but one maximum, over that maximum; a row in each lane.
template <class Real, class D>
SMX_INLINE D log_of_sums(const D& rest, const D& error, const D& tops, const D& top) {
    const D more = opaque((tops - splat<D>(1)) * top);
    if constexpr (sizeof(Real) == sizeof(float)) {
        return log_of_one_plus((rest + more) / top, D{});
    } else {
        D lost;
        const D sum = exact_sum(rest, more, lost), u = sum / top;
        return log_of_one_plus(u, (remainder_of(sum, u, top) + (lost + error)) / top);
    }
}

// y = (x - maximum) / T - log_sum. y may be x: the last chunk is read before the one before it is written.
template <class R, class Real = typename R::real>
SMX_INLINE void write_logs(const Real* x, Real* y, std::size_t n, Real maximum, double log_sum,
                           Real inverse_temperature) {
    using V = typename R::vector;
    constexpr std::size_t lanes = R::lanes;
    const V m = splat<V>(maximum), inverse = splat<V>(inverse_temperature),
            minus = splat<V>(static_cast<Real>(-log_sum));
    const auto result = [&](const V& v)
                            SMX_LAMBDA_INLINE { return multiply_add(opaque(v - m), inverse, minus); };
    V last[R::parts];
    Real padded[lanes];
    pad_row<R>(x, n, padded);
    load_chunk<R>(n < lanes ? padded : x + n - lanes, last);
    for (std::size_t i = 0; i + lanes < n; i += R::width) {
        store(y + i, result(load<V>(x + i)));
    }
    SMX_UNROLL for (int h = 0; h < R::parts; ++h) {
        store((n < lanes ? padded : y + n - lanes) + h * R::width, result(last[h]));
    }
    for (std::size_t i = 0; n < lanes && i < n; ++i) {
        y[i] = padded[i];
    }
}

// The maxima of up to `rows` rows, and log(sum of exp((x - max) / T)).
template <class M>
struct short_log_group {
    using P = typename M::vector;
    using Real = typename M::real;
    using D = typename M::wide;
    static constexpr std::size_t rows = 16, w = M::width;
    alignas(64) Real maximum[rows], magic[rows], lowest[rows], top[rows];
    alignas(64) double rest[rows], error[rows], tops[rows], log_sum[rows];

    // False if a maximum is out of the range of references.
    template <class R>
    SMX_INLINE bool run(const Real* x, std::size_t count, std::size_t n, const base2_scale<Real>& c) {
        bool usual = true;
        for (std::size_t r = 0; r < rows; ++r) {
            maximum[r] = r < count ? maximum_of_chunks<R>(x + r * n, n) : Real(0);
            usual = usual && magnitude(maximum[r]) <= c.template largest<P>();
        }
        if (usual) {
            refer_rows(c);
            add_terms<R>(x, count, n, c);
            take_logarithms();
        }
        return usual;
    }

private:
    SMX_INLINE void refer_rows(const base2_scale<Real>& c) {
        SMX_UNROLL for (std::size_t r = 0; r < rows; r += w) {
            P t[1] = {load<P>(maximum + r)};
            row_reference<P> q;
            refer(c, t[0], q);
            exponentials(t, &q);
            store(magic + r, q.magic);
            store(lowest + r, q.lowest);
            store(top + r, t[0]);
        }
    }

    template <class R>
    SMX_INLINE void add_terms(const Real* x, std::size_t count, std::size_t n, const base2_scale<Real>& c) {
        using V = typename R::vector;
        row_reference<V> q;
        q.hi = splat<V>(c.hi);
        q.lo = splat<V>(c.lo);
        q.upper = splat<V>(c.upper);
        q.lower = splat<V>(c.lower);
        for (std::size_t r = 0; r < rows; ++r) {
            rest[r] = error[r] = tops[r] = 1;
            if (r < count) {
                q.magic = splat<V>(magic[r]);
                q.lowest = splat<V>(lowest[r]);
                const auto s = sum_below_maximum<R>(x + r * n, n, q, splat<V>(maximum[r]), tops[r]);
                rest[r] = s.hi;
                error[r] = s.lo;
            }
        }
    }

    SMX_INLINE void take_logarithms() {
        SMX_UNROLL for (std::size_t r = 0; r < rows; r += D::width) {
            const D t = convert<double>(load<pack<Real, D::width>>(top + r));
            store(log_sum + r,
                  log_of_sums<Real>(load<D>(rest + r), load<D>(error + r), load<D>(tops + r), t));
        }
    }
};

// The same for one row, whose numbers need no arrays: loads that wait for narrower stores cost as much as the
// arithmetic.
template <class R, class Real = typename R::real>
SMX_INLINE bool short_log_row(const Real* x, std::size_t n, const base2_scale<Real>& c, Real& maximum,
                              double& log_sum) {
    using V = typename R::vector;
    using D = typename R::wide;
    maximum = maximum_of_chunks<R>(x, n);
    if (!(magnitude(maximum) <= c.template largest<V>())) {
        return false;
    }
    V top[1] = {splat<V>(maximum)};
    row_reference<V> q;
    refer(c, top[0], q);
    double tops;
    const double_word<double> s = sum_below_maximum<R>(x, n, q, top[0], tops);
    exponentials(top, &q);
    log_sum = log_of_sums<Real>(splat<D>(s.hi), splat<D>(s.lo), splat<D>(tops),
                                splat<D>(static_cast<double>(top[0].v[0])))
                  .v[0];
    return true;
}

// finish(machine, row, maximum, log_sum) for each row that fits, general(row) for each other.
template <class M, class Finish, class General, class Real = typename M::real>
SMX_INLINE void for_each_short_log(const Real* x, std::size_t rows, std::size_t n, const base2_scale<Real>& c,
                                   Finish finish, General general) {
    const auto run = [&](auto machine) SMX_LAMBDA_INLINE {
        using R = decltype(machine);
        std::size_t alone = c.scaled || rows < 3 ? rows : 0; // rows to be done one by one
        for (std::size_t r = 0; r < rows;) {
            if (alone == 0) {
                constexpr std::size_t most = short_log_group<M>::rows;
                const std::size_t count = rows - r < most ? rows - r : most;
                short_log_group<M> group;
                if (!group.template run<R>(x + r * n, count, n, c)) [[unlikely]] {
                    alone = count;
                    continue;
                }
                for (std::size_t k = 0; k < count; ++k, ++r) {
                    finish(machine, r, group.maximum[k], group.log_sum[k]);
                }
                continue;
            }
            Real maximum;
            double log_sum;
            if (!c.scaled && short_log_row<R>(x + r * n, n, c, maximum, log_sum)) {
                finish(machine, r, maximum, log_sum);
            } else {
                general(r);
            }
            --alone;
            ++r;
        }
    };
    n < M::lanes ? run(half_machine<M>{}) : run(M{});
}

struct map_short_logs {
    template <class M, class Real>
    SMX_INLINE static void run(const Real* x, Real* y, std::size_t rows, std::size_t n,
                               const base2_scale<Real>* c) {
        for_each_short_log<M>(
            x, rows, n, *c,
            [&](auto machine, std::size_t r, Real maximum, double log_sum) SMX_LAMBDA_INLINE {
                write_logs<decltype(machine)>(x + r * n, y + r * n, n, maximum, log_sum, c->inverse);
            },
            [&](std::size_t r) SMX_LAMBDA_INLINE {
                run_apart<M, map_rows<log_softmax_operation>>(x + r * n, y + r * n, std::size_t{1}, n, c);
            });
    }
};
struct reduce_short_rows {
    template <class M, class Real>
    SMX_INLINE static void run(const Real* x, Real* results, std::size_t rows, std::size_t n,
                               const base2_scale<Real>* c) {
        for_each_short_log<M>(
            x, rows, n, *c,
            [&](auto, std::size_t r, Real maximum, double log_sum)
                SMX_LAMBDA_INLINE { results[r] = logsumexp_operation::assemble<M>(maximum, log_sum, *c); },
            [&](std::size_t r) SMX_LAMBDA_INLINE {
                run_apart<M, reduce_rows>(x + r * n, results + r, std::size_t{1}, n, c);
            });
    }
};

} // namespace smx::inline SMX_ABI::detail

#endif
