// Losses of class indices over short rows, with or without their gradients: the sums and logarithms of short_logs.hpp, of
// many rows at once. Leans on single_losses.hpp.
#ifndef SMX_DETAIL_SHORT_LOSSES_HPP
#define SMX_DETAIL_SHORT_LOSSES_HPP

#include "single_losses.hpp"

namespace smx::inline SMX_ABI::detail {

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
        } else {
            write_products<M>(term, gradient, n, high, low);
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
                if (rule->scale.scaled ||
                    !row.run(one.logits, n, rule->scale, short_loss_range<Real>::sums)) {
                    run_apart<M, General>(rule, &one);
                } else if (!finish_one<M>(*rule, one, row)) {
                    short_losses<M, Gradient> losses(1);
                    losses.add(0, *rule, *one.targets, one.logits, row.term, row.maximum, row.sum,
                               row.log_sum);
                    finish<M>(
                        *rule, one, losses, [&](std::size_t) SMX_LAMBDA_INLINE { return row.is_dominated; },
                        row.term);
                }
            }
        }
    }

private:
    // A row alone, sooner than in lanes (1x100 with the gradient 95 ns instead of 119, Zen 4). False if it is not for this.
    template <class M, class Real = typename M::real>
    SMX_INLINE static bool finish_one(const loss_rule<Real>& rule, const loss_rows<Real>& one,
                                      const short_log_row<M>& row) {
        using V = typename M::vector;
        const std::size_t target = *one.targets;
        if (target == ignored_row || row.is_dominated) [[unlikely]] {
            return false;
        }
        const single_loss<M, Gradient> s(rule, target, row, one.logits[target], row.term[target]);
        if (!s.is_usual()) [[unlikely]] {
            return false;
        }
        if constexpr (Gradient) {
            const auto& g = s.gradient;
            write_products<M>(row.term, one.gradient, rule.classes, splat<V>(g.hi.v[0]), splat<V>(g.lo.v[0]));
            one.gradient[target] = static_cast<Real>(g.at_target.v[0]);
        }
        s.store_loss(one);
        return true;
    }

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

} // namespace smx::inline SMX_ABI::detail

#endif
