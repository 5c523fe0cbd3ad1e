// Losses of class indices over short rows, with or without their gradients: the sums and logarithms of short_logs.hpp, of
// many rows at once. Leans on short_logs.hpp and loss_rows.hpp.
#ifndef SMX_DETAIL_SHORT_LOSSES_HPP
#define SMX_DETAIL_SHORT_LOSSES_HPP

#include "loss_parts.hpp"
#include "short_logs.hpp"

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

// numerator / (hi + lo); rest: what the quotient lacks.
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
        const D divisor = splat<D>(rule.divisor), share = divide<Real>(s.of_target, s.sum, s.error, rest);
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
    return opaque(drift * quotients<Real>(s.top, s, rest)) - opaque(weight / divisor * others);
}

// Some rows, whose scalars are computed in lanes.
template <class M, bool Gradient>
struct short_losses {
    using Real = typename M::real;
    using D = typename M::wide;
    static constexpr std::size_t rows = short_group<M>::rows;
    alignas(64) double maximum[rows], sum[rows], error[rows], log_sum[rows], weight[rows], logit[rows],
        of_target[rows];
    alignas(64) double loss[rows], logsumexp[rows], factor[rows];
    alignas(64) Real hi[rows], lo[rows], at_target[rows];

    // What has no effect, in the lanes from count on.
    SMX_INLINE explicit short_losses(std::size_t count) {
        for (std::size_t k = count; k < (count + D::width - 1) / D::width * D::width; ++k) {
            maximum[k] = error[k] = log_sum[k] = weight[k] = logit[k] = of_target[k] = 0;
            sum[k] = 1;
        }
    }

    // The k-th row; term: those of the row.
    SMX_INLINE void add(std::size_t k, const loss_rule<Real>& rule, std::size_t target, const Real* x,
                        const Real* term, Real max, const double_word<double>& total, double logarithm) {
        const bool counts = target != ignored_row;
        maximum[k] = static_cast<double>(max);
        sum[k] = total.hi;
        error[k] = total.lo;
        log_sum[k] = logarithm;
        weight[k] = !counts                         ? 0
                    : rule.class_weights != nullptr ? static_cast<double>(rule.class_weights[target])
                                                    : 1;
        logit[k] = static_cast<double>(counts ? x[target] : max);
        of_target[k] = static_cast<double>(counts ? term[target] : Real(0));
    }

    SMX_INLINE void compute(const loss_rule<Real>& rule, std::size_t count) {
        for (std::size_t k = 0; k < count; k += D::width) {
            const loss_scalars<D> s{load<D>(maximum + k),  load<D>(sum + k),    load<D>(error + k),
                                    load<D>(log_sum + k),  load<D>(weight + k), load<D>(logit + k),
                                    load<D>(of_target + k)};
            D lse;
            store(loss + k, losses_of(rule, s, lse));
            store(logsumexp + k, lse);
            if constexpr (Gradient) {
                const auto g = gradients_of(rule, s, lse);
                store(factor + k, g.factor);
                store(at_target + k, convert<Real>(g.at_target));
                store(hi + k, g.hi);
                store(lo + k, g.lo);
            }
        }
    }

    // gradient may be x.
    SMX_INLINE void write(std::size_t k, const loss_rule<Real>& rule, std::size_t target, const Real* x,
                          const Real* term, Real* gradient) const {
        using V = typename M::vector;
        constexpr std::size_t w = M::width;
        const std::size_t n = rule.classes;
        if (target == ignored_row) {
            fill(gradient, n, Real(0));
            return;
        }
        const V high = splat<V>(hi[k]), low = splat<V>(lo[k]);
        if (!is_usual_short_factor<Real>(factor[k])) [[unlikely]] {
            const Real max = static_cast<Real>(maximum[k]);
            const double total = total_of(sum_precisely<M>(x, n, max, rule.scale));
            const row_terms<M> terms(rule.scale, max);
            for (std::size_t i = 0; i < n; ++i) {
                gradient[i] = static_cast<Real>(static_cast<double>(terms.of(x[i])) / total * factor[k]);
            }
        } else if (n < w) {
            store_below(gradient, n, normal_product(load_below(term, n, V{}), high, low));
        } else {
            const V last = normal_product(load<V>(term + n - w), high, low);
            std::size_t i = 0;
            for (; i + 4 * w <= n; i += 4 * w) {
                SMX_UNROLL for (std::size_t j = 0; j < 4; ++j)
                    store(gradient + i + j * w, normal_product(load_once<V>(term + i + j * w), high, low));
            }
            for (; i + w <= n; i += w) {
                store(gradient + i, normal_product(load_once<V>(term + i), high, low));
            }
            store(gradient + n - w, last);
        }
        gradient[target] = at_target[k];
    }
};

// Rows of at most longest_short_row logits; general, of the same arguments, does what has no reference.
template <bool Gradient, class General>
struct short_index_losses {
    template <class M, class Real>
    SMX_INLINE static void run(const loss_rule<Real>* rule, const loss_rows<Real>* rows) {
        using group_of = short_log_group<M>;
        const std::size_t n = rule->classes, fit = group_of::room / n;
        const std::size_t most = fit < group_of::rows ? fit : group_of::rows;
        int tries = 3;
        for (std::size_t r = 0, count; r < rows->count; r += count) {
            count = rows->count - r < most ? rows->count - r : most;
            const loss_rows<Real> some = part_of(*rows, r, count, n);
            group_of group;
            if (!rule->scale.scaled && count > 1 && count * n >= 4 * std::size_t(M::width) &&
                group.run(some.logits, Gradient ? some.gradient : group.term, count, n, rule->scale, tries,
                          short_loss_range<Real>::sums)) [[likely]] {
                // All scalars before all vectors: a row that is written does not wait for its own.
                short_losses<M, Gradient> losses(count);
                for (std::size_t k = 0; k < count; ++k) {
                    losses.add(k, *rule, some.targets[k], some.logits + k * n, group.term + k * n,
                               group.maximum[k], {group.sum[k], group.error[k]}, group.log_sum[k]);
                }
                finish<M>(
                    *rule, some, losses,
                    [&](std::size_t k) SMX_LAMBDA_INLINE { return group.is_dominated(k); }, group.term);
                continue;
            }
            for (std::size_t k = 0; k < count; ++k) {
                const loss_rows<Real> one = part_of(some, k, 1, n);
                short_log_row<M> row;
                if (!rule->scale.scaled &&
                    row.run(one.logits, n, rule->scale, short_loss_range<Real>::sums)) {
                    short_losses<M, Gradient> losses(1);
                    losses.add(0, *rule, *one.targets, one.logits, row.term, row.maximum, row.sum,
                               row.log_sum);
                    finish<M>(
                        *rule, one, losses, [&](std::size_t) SMX_LAMBDA_INLINE { return row.is_dominated; },
                        row.term);
                } else {
                    run_apart<M, General>(rule, &one);
                }
            }
        }
    }

private:
    template <class M, class IsDominated, class Real = typename M::real>
    SMX_INLINE static void finish(const loss_rule<Real>& rule, const loss_rows<Real>& rows,
                                  short_losses<M, Gradient>& losses, IsDominated is_dominated,
                                  const Real* term) {
        const std::size_t n = rule.classes;
        losses.compute(rule, rows.count);
        for (std::size_t k = 0; k < rows.count; ++k) {
            const std::size_t target = rows.targets[k];
            const bool counts = target != ignored_row;
            rows.losses[k] = counts ? losses.loss[k] : 0;
            rows.logsumexps[k] = counts ? losses.logsumexp[k] : 0;
            if (Gradient && counts && is_dominated(k) && losses.logit[k] == losses.maximum[k]) [[unlikely]] {
                const Real maximum = static_cast<Real>(losses.maximum[k]);
                const row_sum<Real> s = sum_precisely<M>(rows.logits + k * n, n, maximum, rule.scale);
                using D = typename M::wide;
                const D at = precise_at_targets(rule, lanes_of_sum<D>(s), splat<D>(losses.weight[k]),
                                                splat<D>(losses.logsumexp[k]));
                losses.at_target[k] = static_cast<Real>(at.v[0]);
            }
        }
        for (std::size_t k = 0; Gradient && k < rows.count; ++k) {
            losses.write(k, rule, rows.targets[k], rows.logits + k * n, term + k * n, rows.gradient + k * n);
        }
    }
};

// One row of a chunk or two, with a target.
template <int Chunks, bool Gradient, class General>
struct loss_in_registers {
    template <class M, class Real>
    SMX_INLINE static void run(const loss_rule<Real>* rule, const loss_rows<Real>* row) {
        logs_in_registers<M, Chunks> logs;
        if (rule->scale.scaled || *row->targets == ignored_row ||
            !logs.run(row->logits, rule->classes, rule->scale, short_loss_range<Real>::sums) ||
            !finish(*rule, *row, logs)) [[unlikely]] {
            run_apart<M, General>(rule, row);
        }
    }

private:
    template <class M, class Real = typename M::real>
    SMX_INLINE static bool finish(const loss_rule<Real>& rule, const loss_rows<Real>& row,
                                  logs_in_registers<M, Chunks>& logs) {
        using V = typename M::vector;
        using D = single_lane<typename M::wide>;
        const std::size_t target = *row.targets;
        alignas(64) Real term[Chunks * M::lanes];
        logs.terms.store_to(term, Chunks == 1 ? std::size_t(M::lanes) : rule.classes);
        const double weight =
            rule.class_weights == nullptr ? 1 : static_cast<double>(rule.class_weights[target]);
        const loss_scalars<D> s{splat<D>(static_cast<double>(logs.maximum)),
                                splat<D>(logs.sum.hi),
                                splat<D>(logs.sum.lo),
                                splat<D>(logs.log_sum),
                                splat<D>(weight),
                                splat<D>(static_cast<double>(row.logits[target])),
                                splat<D>(static_cast<double>(term[target]))};
        D lse;
        const D loss = losses_of(rule, s, lse);
        if constexpr (Gradient) {
            const auto g = gradients_of(rule, s, lse);
            if (!is_usual_short_factor<Real>(g.factor.v[0])) [[unlikely]] {
                return false;
            }
            const V hi = splat<V>(g.hi.v[0]), lo = splat<V>(g.lo.v[0]);
            auto& all = logs.terms;
            SMX_UNROLL for (int k = 0; k < all.vectors; ++k) all.v[k] = normal_product(all.v[k], hi, lo);
            all.store_to(row.gradient, rule.classes);
            row.gradient[target] = static_cast<Real>(g.at_target.v[0]);
        }
        *row.losses = loss.v[0];
        *row.logsumexps = lse.v[0];
        return true;
    }
};

} // namespace smx::inline SMX_ABI::detail

#endif
