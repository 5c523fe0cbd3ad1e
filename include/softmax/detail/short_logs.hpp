// The logarithms of short rows: log_softmax and logsumexp. The sum less one term of the maximum is the argument of log1p;
// where that cancels, the maxima stay out of the sum. Leans on short_sums.hpp and operations.hpp.
#ifndef SMX_DETAIL_SHORT_LOGS_HPP
#define SMX_DETAIL_SHORT_LOGS_HPP

#include "operations.hpp"
#include "short_sums.hpp"

namespace smx::inline SMX_ABI::detail {

// Long rows need their maximum in any case: ns an element of a batch, as short rows / as long ones, Zen 5: floats at 1000 0.18 /
// 0.22, at 2048 0.18 / 0.16.
template <class Real>
inline constexpr std::size_t longest_short_log_row = longest_short_row<Real> / 2;

// log(sum of exp((x - max) / T)), top the term of one maximum; a row in each lane. What the others add is exact to 2^-100 of the
// sum for doubles, 2^-46 for floats: where that does not do, and their sum has to come from elsewhere, `excess` is below 0.
// (Where top is not the term that is in the sum, in each row.)
template <class Real>
inline constexpr double least_by_difference = !terms_are_steady               ? 0x1p200
                                              : sizeof(Real) == sizeof(float) ? 0x1p-16
                                                                              : 0x1p-40;
template <class Real, class D>
SMX_INLINE D log_of_sums(const D& sum, const D& error, const D& top, D& excess) {
    const D least = opaque(top * splat<D>(least_by_difference<Real>));
    if constexpr (sizeof(Real) == sizeof(float)) {
        excess = opaque(sum - top) - least;
        return log_of_quotient(sum, top);
    } else {
        D lost;
        const D rest = exact_sum(sum, D{} - top, lost), u = rest / top;
        excess = rest - least;
        return log_of_one_plus(u, (remainder_of(rest, u, top) + (lost + error)) / top);
    }
}

// The sum of the terms of a row without those of the maximum, and how many these are.
template <class M, class Real = typename M::real, class V = typename M::vector>
SMX_INLINE double_word<double> sum_below_maximum(const Real* x, std::size_t n, const row_reference<V>& q,
                                                 const V& maximum, double& tops) {
    const V one = splat<V>(1);
    tally<M> sum;
    V found = V{};
    chunk c{};
    for (std::size_t i = 0; !c.is_last; i += M::lanes) {
        V v[M::parts], term[M::parts];
        c = chunk_at<M>(i, n);
        load_own_logits<M>(x, c, v);
        SMX_UNROLL for (int h = 0; h < M::parts; ++h) term[h] = v[h];
        exponentials(term, &q);
        SMX_UNROLL for (int h = 0; h < M::parts; ++h) {
            sum.add(where_equal(v[h], maximum, V{}, term[h]), h);
            found = found + where_equal(v[h], maximum, one, V{});
        }
    }
    tops = static_cast<double>(sum_of_lanes(found));
    return sum.total();
}

// The sum of one row, where the difference does not do.
struct precise_sum {
    template <class M, class Real>
    SMX_INLINE static void run(const Real* x, std::size_t n, Real maximum, const base2_scale<Real>* c,
                               row_sum<Real>* s) {
        using V = typename M::vector;
        V top[1] = {splat<V>(maximum)};
        row_reference<V> q;
        refer(*c, top[0], q);
        s->maximum = maximum;
        s->rest = sum_below_maximum<M>(x, n, q, top[0], s->tops);
        exponentials(top, &q);
        s->top = static_cast<double>(top[0].v[0]);
    }
};
template <class M, class Real = typename M::real>
SMX_INLINE row_sum<Real> sum_precisely(const Real* x, std::size_t n, Real maximum,
                                       const base2_scale<Real>& c) {
    row_sum<Real> s;
    run_apart<M, precise_sum>(x, n, maximum, &c, &s);
    return s;
}

// The same for a row of any length.
template <class M, class Real = typename M::real>
SMX_INLINE void write_short_logs(const Real* x, Real* y, std::size_t n, const log_line<M>& line) {
    if (n >= M::width) {
        write_logs<M>(x, y, n, line);
        return;
    }
    using V = typename M::vector;
    V v[M::parts];
    load_logits<M>(x, chunk_at<M>(0, n), v);
    SMX_UNROLL for (int h = 0; h < M::parts; ++h) v[h] = line(v[h]);
    store_results<M>(y, n, v);
}

// The maxima of up to `rows` rows, and log(sum of exp((x - max) / T)).
template <class M>
struct short_log_group : short_group<M> {
    using typename short_group<M>::P;
    using typename short_group<M>::Real;
    using D = typename M::wide;
    using short_group<M>::rows, short_group<M>::sum, short_group<M>::error, short_group<M>::top;
    alignas(64) double log_sum[rows];

    // False if there are rows for which no reference will do. y: what will be written.
    SMX_INLINE bool run(const Real* x, const Real* y, std::size_t count, std::size_t n,
                        const base2_scale<Real>& c, int& tries,
                        const sum_range& usual_ones = usual_sums<Real>) {
        if (!this->template add_up<true>(x, y, count, n, c, tries, usual_ones)) {
            return false;
        }
        for (std::size_t r = 0; r < count; r += D::width) {
            const D t = convert<double>(load<pack<Real, D::width>>(top + r));
            D more;
            store(log_sum + r, log_of_sums<Real>(load<D>(sum + r), load<D>(error + r), t, more));
            store(excess + r, more);
        }
        for (std::size_t r = 0; r < count; ++r) {
            if (is_dominated(r)) [[unlikely]] {
                log_sum[r] = log_of_sum<M>(sum_precisely<M>(x + r * n, n, this->maximum[r], c));
            }
        }
        return true;
    }
    // Whether the terms beside one maximum are known from elsewhere.
    SMX_INLINE bool is_dominated(std::size_t r) const { return excess[r] < 0; }

private:
    alignas(64) double excess[rows];
};

// A pack for what is needed in one lane: no wider than the machine's, nor than 32 bytes, with the same arithmetic.
template <class P>
using single_lane = std::conditional_t<sizeof(P) == 64, pack<typename P::real, P::width / 2>, P>;

// log_of_sums of one row. is_dominated: whether that does not do.
template <class M, class Real = typename M::real>
SMX_INLINE double log_of_one_sum(const double_word<double>& sum, Real top, bool& is_dominated) {
    using D = single_lane<typename M::wide>;
    D excess;
    const D log_sum =
        log_of_sums<Real>(splat<D>(sum.hi), splat<D>(sum.lo), splat<D>(static_cast<double>(top)), excess);
    is_dominated = excess.v[0] < 0;
    return log_sum.v[0];
}

// What is known of one row. term: all of its terms.
template <class M>
struct short_log_row {
    using V = typename M::vector;
    using Real = typename M::real;
    alignas(64) Real term[longest_short_row<Real>];
    double_word<double> sum;
    Real maximum;
    double log_sum;
    bool is_dominated;

    // False if there is no reference for it, or no number to be found.
    SMX_INLINE bool run(const Real* x, std::size_t n, const base2_scale<Real>& c,
                        const sum_range& usual = usual_sums<Real>) {
        maximum = maximum_of_chunks<M>(x, n, n);
        V top[1] = {splat<V>(maximum)};
        if (!add_up(x, n, zero_reference<V>(c), top, usual)) [[unlikely]] {
            if (!(magnitude(maximum) <= c.template largest<V>())) {
                return false;
            }
            row_reference<V> q;
            top[0] = splat<V>(maximum);
            refer(c, top[0], q);
            if (!add_up(x, n, q, top, usual)) {
                return false;
            }
        }
        log_sum = log_of_one_sum<M>(sum, top[0].v[0], is_dominated);
        if (is_dominated) [[unlikely]] {
            log_sum = log_of_sum<M>(sum_precisely<M>(x, n, maximum, c));
        }
        return true;
    }

private:
    template <class Reference>
    SMX_INLINE bool add_up(const Real* x, std::size_t n, const Reference& q, V (&top)[1],
                           const sum_range& usual) {
        V last[M::parts];
        no_maximum known;
        short_terms(top, q);
        sum = sum_short_terms<M>(x, n, q, term, last, term, known);
        store_results<M>(term, n, last);
        return usual.has(sum.hi);
    }
};

// What is known of a row of a chunk or two alone.
template <class M, int Chunks>
struct logs_in_registers {
    using V = typename M::vector;
    using Real = typename M::real;
    row_in_registers<M, Chunks> logits, terms;
    double_word<double> sum;
    Real maximum;
    double log_sum;

    // False if the reference 0 does not do, or one class dominates: short_log_row knows more.
    SMX_INLINE bool run(const Real* x, std::size_t n, const base2_scale<Real>& c,
                        const sum_range& usual = usual_sums<Real>) {
        using T = single_lane<V>;
        logits.load_logits_of(x, n);
        SMX_UNROLL for (int k = 0; k < terms.vectors; ++k) terms.v[k] = logits.v[k];
        short_terms(terms.v, zero_reference<V>(c));
        maximum = largest_lane(logits.largest());
        T top[1] = {splat<T>(maximum)};
        short_terms(top, zero_reference<T>(c));
        sum = terms.sum(n);
        if (!usual.has(sum.hi)) [[unlikely]] { // NaN too
            return false;
        }
        bool is_dominated;
        log_sum = log_of_one_sum<M>(sum, top[0].v[0], is_dominated);
        return !is_dominated;
    }
};

// What becomes of the maxima and the logarithms of sums: the logarithms of all probabilities ...
struct map_short_logs_operation {
    using general = map_rows<log_softmax_operation>;
    static constexpr std::size_t results_of(std::size_t n) { return n; }

    template <class M, class Real = typename M::real>
    SMX_INLINE static void finish(const Real* x, Real* y, std::size_t n, Real maximum, double log_sum,
                                  const base2_scale<Real>& c) {
        write_short_logs<M>(x, y, n, {maximum, log_sum, c});
    }
    template <class M, int Chunks, class Real = typename M::real>
    SMX_INLINE static void finish_one(logs_in_registers<M, Chunks>& row, Real* y, std::size_t n,
                                      const base2_scale<Real>& c) {
        const log_line<M> line(row.maximum, row.log_sum, c);
        auto& all = row.logits;
        SMX_UNROLL for (int k = 0; k < all.vectors; ++k) all.v[k] = line(all.v[k]);
        all.store_to(y, n);
    }
    // Rows shorter than a chunk run over into the next one, which is done after them: in the group's own room, since y may
    // be x.
    template <class M, class Real = typename M::real>
    SMX_INLINE static void finish_group(short_log_group<M>& group, const Real* x, Real* y, std::size_t count,
                                        std::size_t n, const base2_scale<Real>& c) {
        using V = typename M::vector;
        constexpr std::size_t lanes = M::lanes, w = M::width;
        const std::size_t size = count * n;
        for (std::size_t r = 0; r < count; ++r) {
            const log_line<M> line(group.maximum[r], group.log_sum[r], c);
            const std::size_t at = r * n;
            if (n >= lanes) {
                write_logs<M>(x + at, y + at, n, line);
            } else if (at + lanes <= size) {
                for (std::size_t i = 0; i < n; i += w) {
                    store(group.term + at + i, line(load<V>(x + at + i)));
                }
            } else {
                write_short_logs<M>(x + at, group.term + at, n, line);
            }
        }
        for (std::size_t i = 0; n < lanes && i < size; i += w) {
            const std::size_t at = i + w <= size ? i : size - w;
            store(y + at, load<V>(group.term + at));
        }
    }
};
// ... or one logsumexp a row.
struct reduce_short_logs_operation {
    using general = reduce_rows;
    static constexpr std::size_t results_of(std::size_t) { return 1; }

    template <class M, class Real = typename M::real>
    SMX_INLINE static void finish(const Real*, Real* results, std::size_t, Real maximum, double log_sum,
                                  const base2_scale<Real>& c) {
        *results = logsumexp_operation::assemble<M>(maximum, log_sum, c);
    }
    template <class M, int Chunks, class Real = typename M::real>
    SMX_INLINE static void finish_one(const logs_in_registers<M, Chunks>& row, Real* result, std::size_t,
                                      const base2_scale<Real>& c) {
        *result = logsumexp_operation::assemble<M>(row.maximum, row.log_sum, c);
    }
    template <class M, class Real = typename M::real>
    SMX_INLINE static void finish_group(short_log_group<M>& group, const Real*, Real* results,
                                        std::size_t count, std::size_t, const base2_scale<Real>& c) {
        for (std::size_t r = 0; r < count; ++r) {
            results[r] = logsumexp_operation::assemble<M>(group.maximum[r], group.log_sum[r], c);
        }
    }
};

template <class Operation>
struct short_logs {
    template <class M, class Real>
    SMX_INLINE static void run(const Real* x, Real* y, std::size_t rows, std::size_t n,
                               const base2_scale<Real>* c) {
        using group_of = short_log_group<M>;
        const std::size_t fit = group_of::room / n, most = fit < group_of::rows ? fit : group_of::rows;
        const std::size_t results = Operation::results_of(n);
        int tries = 3;
        for (std::size_t count; rows != 0; rows -= count, x += count * n, y += count * results) {
            count = rows < most ? rows : most;
            group_of group;
            if (!c->scaled && count > 1 && count * n >= 4 * std::size_t(M::width) &&
                group.run(x, results == n ? y : group.term, count, n, *c, tries)) [[likely]] {
                Operation::template finish_group<M>(group, x, y, count, n, *c);
                continue;
            }
            for (std::size_t r = 0; r < count; ++r) {
                const Real* const from = x + r * n;
                Real* const to = y + r * results;
                short_log_row<M> row;
                if (!c->scaled && row.run(from, n, *c)) {
                    Operation::template finish<M>(from, to, n, row.maximum, row.log_sum, *c);
                } else {
                    run_apart<M, typename Operation::general>(from, to, std::size_t{1}, n, c);
                }
            }
        }
    }
};
using map_short_logs = short_logs<map_short_logs_operation>;
using reduce_short_rows = short_logs<reduce_short_logs_operation>;

// One row of a chunk or two: 16 floats 19 ns instead of 30, 16 doubles 39 instead of 60 (Zen 4, AVX-512).
template <class Operation, int Chunks>
struct short_log_in_registers {
    template <class M, class Real>
    SMX_INLINE static void run(const Real* x, Real* y, std::size_t n, const base2_scale<Real>* c) {
        logs_in_registers<M, Chunks> row;
        if (c->scaled || !row.run(x, n, *c)) [[unlikely]] {
            run_apart<M, short_logs<Operation>>(x, y, std::size_t{1}, n, c);
        } else {
            Operation::finish_one(row, y, n, *c);
        }
    }
};
template <int Chunks>
using map_logs_in_registers = short_log_in_registers<map_short_logs_operation, Chunks>;
template <int Chunks>
using reduce_in_registers = short_log_in_registers<reduce_short_logs_operation, Chunks>;

} // namespace smx::inline SMX_ABI::detail

#endif
