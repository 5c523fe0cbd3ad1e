// Losses of short rows one by one, with or without their gradients. Leans on loss_formulas.hpp and short_logs.hpp.
#ifndef SMX_DETAIL_SINGLE_LOSSES_HPP
#define SMX_DETAIL_SINGLE_LOSSES_HPP

#include "loss_formulas.hpp"
#include "short_logs.hpp"

namespace smx::inline SMX_ABI::detail {

// The scalars of one row, with a target, that no class dominates.
template <class M, bool Gradient>
struct single_loss {
    using Real = typename M::real;
    using D = single_lane<typename M::wide>;
    D loss, logsumexp;
    gradient_scalars<Real, D> gradient;

    // log_row: short_log_row or logs_in_registers.
    template <class Row>
    SMX_INLINE single_loss(const loss_rule<Real>& rule, std::size_t target, const Row& log_row, Real logit,
                           Real term) {
        const double weight =
            rule.class_weights == nullptr ? 1 : static_cast<double>(rule.class_weights[target]);
        const loss_scalars<D> s{splat<D>(static_cast<double>(log_row.maximum)),
                                splat<D>(log_row.sum.hi),
                                splat<D>(log_row.sum.lo),
                                splat<D>(log_row.log_sum),
                                splat<D>(weight),
                                splat<D>(static_cast<double>(logit)),
                                splat<D>(static_cast<double>(term))};
        loss = losses_of(rule, s, logsumexp);
        if constexpr (Gradient) {
            gradient = gradients_of(rule, s, logsumexp);
        }
    }
    SMX_INLINE bool is_usual() const {
        return !Gradient || is_usual_short_factor<Real>(gradient.factor.v[0]);
    }
    SMX_INLINE void store_loss(const loss_rows<Real>& row) const {
        *row.losses = loss.v[0];
        *row.logsumexps = logsumexp.v[0];
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
        const std::size_t target = *row.targets;
        alignas(64) Real term[Chunks * M::lanes];
        logs.terms.store_to(term, Chunks == 1 ? std::size_t(M::lanes) : rule.classes);
        const single_loss<M, Gradient> s(rule, target, logs, row.logits[target], term[target]);
        if (!s.is_usual()) [[unlikely]] {
            return false;
        }
        if constexpr (Gradient) {
            const auto& g = s.gradient;
            const V hi = splat<V>(g.hi.v[0]), lo = splat<V>(g.lo.v[0]);
            auto& all = logs.terms;
            SMX_UNROLL for (int k = 0; k < all.vectors; ++k) all.v[k] = normal_product(all.v[k], hi, lo);
            all.store_to(row.gradient, rule.classes);
            row.gradient[target] = static_cast<Real>(g.at_target.v[0]);
        }
        s.store_loss(row);
        return true;
    }
};

} // namespace smx::inline SMX_ABI::detail

#endif
