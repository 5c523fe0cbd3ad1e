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

// Some rows, whose scalars are computed in lanes: w (lse - x_target / T) + z lse^2, and how the gradient comes from the
// terms: each times factor / sum, given as hi + lo, but at the target.
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
        const double t = rule.scale.temperature,
                     half = t > 1 ? 0.5 : 1; // logits apart by more than the range of Real
        const D zero = D{}, halved_t = splat<D>(t * half), h = splat<D>(half), z = splat<D>(rule.z_loss);
        for (std::size_t k = 0; k < count; k += D::width) {
            const D max = load<D>(maximum + k), l = load<D>(log_sum + k), w = load<D>(weight + k);
            const D far = (opaque(max * h) - opaque(load<D>(logit + k) * h)) / halved_t;
            const D lse = logsumexps_of<Real>(max, t, l), z_lse = opaque(z * lse);
            store(logsumexp + k, lse);
            store(loss + k, multiply_add(w, where_equal(w, zero, zero, far) + l, opaque(z_lse * lse)));
            if constexpr (Gradient) {
                compute_gradient(rule, k, w, z_lse + z_lse);
            }
        }
    }

    // at_target where the other terms are known from elsewhere.
    SMX_INLINE void correct(std::size_t k, const loss_rule<Real>& rule, const row_sum<Real>& s) {
        const double_word<double> others = quotient<M>(others_of(s, s.top, true), s);
        const double drift =
            product(product(2 * rule.z_loss, logsumexp[k]) / rule.divisor, quotient<M>(s.top, s).hi);
        at_target[k] = static_cast<Real>(drift - product(weight[k] / rule.divisor, others.hi + others.lo));
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

private:
    // drift: 2 z lse.
    SMX_INLINE void compute_gradient(const loss_rule<Real>& rule, std::size_t k, const D& w, const D& drift) {
        const D total = load<D>(sum + k), e = load<D>(error + k), of = load<D>(of_target + k);
        const D divisor = splat<D>(rule.divisor), f = (w + drift) / divisor;
        D lost, rest;
        const D without = exact_sum(total, D{} - of, lost), others = without + (lost + e);
        const D share = divide<Real>(of, total, e, rest), other = divide<Real>(others, total, e, rest) + rest;
        const D at = opaque(drift / divisor * share) - opaque(w / divisor * other);
        const D q = divide<Real>(f, total, e, rest);
        const auto high = convert<Real>(q);
        store(factor + k, f);
        store(at_target + k, convert<Real>(at));
        store(hi + k, high);
        store(lo + k, convert<Real>((q - convert<double>(high)) + rest));
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
                losses.correct(k, rule, sum_precisely<M>(rows.logits + k * n, n, maximum, rule.scale));
            }
        }
        for (std::size_t k = 0; Gradient && k < rows.count; ++k) {
            losses.write(k, rule, rows.targets[k], rows.logits + k * n, term + k * n, rows.gradient + k * n);
        }
    }
};

} // namespace smx::inline SMX_ABI::detail

#endif
