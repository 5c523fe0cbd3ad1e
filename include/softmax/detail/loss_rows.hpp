// Kernels of the losses of contiguous rows of float or double, with or without their gradients: many rows a call, each
// with the bits that it has alone. Losses stay in double; who calls adds them up. Leans on dispatch.hpp.
#ifndef SMX_DETAIL_LOSS_ROWS_HPP
#define SMX_DETAIL_LOSS_ROWS_HPP

#include "column_losses.hpp"
#include "loss_parts.hpp"

namespace smx::inline SMX_ABI::detail {

// Factors with which a product of a term and 1 / sum stays normal in float.
SMX_INLINE bool is_usual_factor(double f) { return magnitude(f) > 1e-20 && magnitude(f) < 1e20; }

// Class indices: w (lse - x_target / T) + z lse^2, lse = max / T + log(sum). The gradient is
// (w (p - onehot) + 2 z lse p) / divisor, where the target's p - 1 is -(sum of the other terms) / sum.
//
// Rows are done in groups while their terms stay in L1: the logarithms of a group are those of one vector, and the
// divisions do not wait for each other.
template <class M, bool Gradient>
struct index_group {
    using Real = typename M::real;
    using D = typename M::wide;
    static constexpr std::size_t most = 8, lanes = M::lanes;

    const loss_rule<Real>& rule;
    std::size_t n;
    row_sum<Real> sum_of[most];
    Real logit[most];
    double term[most]; // of the target
    alignas(64) double rest[most], error[most], tops[most], top[most], log_sum[most];
    Real padded[most * lanes]; // terms of rows shorter than a logical vector

    SMX_INLINE explicit index_group(const loss_rule<Real>& r) : rule(r), n(r.classes) {
        SMX_UNROLL for (std::size_t k = 0; k < most; ++k) {
            rest[k] = error[k] = tops[k] = 0;
            top[k] = 1;
        }
    }

    // The same sum with a gradient and without.
    static constexpr bool stored(std::size_t n) { return n <= longest_row_read_twice<Real>; }

    SMX_INLINE Real* terms_of(std::size_t k, Real* gradient) {
        return n < lanes ? padded + k * lanes : gradient;
    }

    SMX_INLINE void add(std::size_t k, const Real* x, Real* gradient, std::size_t target, std::size_t ahead) {
        logit[k] = x[target];
        row_sum<Real>& s = sum_of[k];
        const base2_scale<Real>& c = rule.scale;
        Real* const terms = terms_of(k, gradient);
        if (n < lanes) {
            const padded_row<M> p(x, n);
            s = sum<M, Gradient>(p.logit, terms, lanes, c, 0);
        } else if (Gradient && stored(n)) {
            s = sum<M, Gradient>(x, terms, n, c, ahead);
        } else {
            s = sum<M, false>(x, terms, n, c, ahead);
        }
        if constexpr (Gradient) {
            term[k] = static_cast<double>(logit[k] == s.maximum ? Real(s.top)
                                          : stored(n)           ? terms[target]
                                                                : row_terms<M>(c, s.maximum).of(logit[k]));
        }
        rest[k] = s.rest.hi;
        error[k] = s.rest.lo;
        top[k] = s.top;
        tops[k] = product(s.tops - 1, s.top);
    }

    // log(sum / top) of all rows: log1p of the others.
    SMX_INLINE void logarithms(std::size_t count) {
        for (std::size_t k = 0; k < count; k += D::width) {
            const D a = load<D>(rest + k), b = load<D>(tops + k), t = load<D>(top + k);
            const D hi = opaque(a + b), back = opaque(hi - a);
            const D lo = opaque(a - opaque(hi - back)) + opaque(b - back);
            const D q = hi / t;
            const D left = remainder_of(hi, q, t) + (lo + load<D>(error + k));
            store(log_sum + k, log_of_one_plus(q, left / t));
        }
    }

    SMX_INLINE void finish(std::size_t k, const Real* x, Real* gradient, std::size_t target, double& loss,
                           double& logsumexp) {
        const row_sum<Real>& s = sum_of[k];
        const double weight =
            rule.class_weights != nullptr ? static_cast<double>(rule.class_weights[target]) : 1;
        const double t = rule.scale.temperature;
        if (is_infinite(s.maximum)) [[unlikely]] {
            loss = logsumexp = std::numeric_limits<double>::quiet_NaN();
            fill(gradient, Gradient ? n : 0, std::numeric_limits<Real>::quiet_NaN());
            return;
        }
        logsumexp = logsumexp_of<M>(s.maximum, t, log_sum[k]);
        const double away = weight == 0 ? 0 : distance(s.maximum, logit[k], t);
        loss = product(weight, away + log_sum[k]) + product(rule.z_loss * logsumexp, logsumexp);
        if constexpr (Gradient) {
            const double drift = product(2 * rule.z_loss, logsumexp);
            const double part = others_of(s, term[k], logit[k] == s.maximum);
            write(k, x, gradient, (weight + drift) / rule.divisor);
            const double_word<double> share = quotient<M>(term[k], s), other = quotient<M>(part, s);
            gradient[target] = static_cast<Real>(product(drift / rule.divisor, share.hi + share.lo) -
                                                 product(weight / rule.divisor, other.hi + other.lo));
        }
    }

    // gradient = factor p
    SMX_INLINE void write(std::size_t k, const Real* x, Real* gradient, double factor) {
        const row_sum<Real>& s = sum_of[k];
        constexpr Real unbounded = (std::numeric_limits<Real>::max)();
        Real* const terms = terms_of(k, gradient);
        const bool usual = is_usual_factor(factor) || factor == 0;
        if (!stored(n)) {
            if (usual && write_scaled_terms<M>(x, gradient, n, rule.scale, s.maximum, quotient<M>(factor, s),
                                               unbounded)) {
                return;
            }
            sum<M, true>(x, gradient, n, rule.scale, 0);
        }
        if (usual) [[likely]] {
            scale<M>(terms, n < lanes ? lanes : n, quotient<M>(factor, s), unbounded);
        } else {
            const double total = total_of(s);
            for (std::size_t i = 0; i < n; ++i) {
                terms[i] = static_cast<Real>(static_cast<double>(terms[i]) / total * factor);
            }
        }
        for (std::size_t i = 0; n < lanes && i < n; ++i) {
            gradient[i] = terms[i];
        }
    }
};

template <bool Gradient>
struct index_losses {
    template <class M, class Real>
    SMX_INLINE static void run(const loss_rule<Real>* rule, const loss_rows<Real>* rows) {
        using group_of = index_group<M, Gradient>;
        const std::size_t n = rule->classes, most = n * sizeof(Real) <= 2048 ? group_of::most : 1;
        const std::size_t* const targets = rows->targets;
        for (std::size_t r = 0; r < rows->count; r += most) {
            group_of group(*rule);
            const std::size_t count = rows->count - r < most ? rows->count - r : most;
            for (std::size_t k = 0; k < count; ++k) {
                if (targets[r + k] != ignored_row) {
                    const std::size_t at = (r + k) * n;
                    group.add(k, rows->logits + at, advanced(rows->gradient, at), targets[r + k],
                              rows->ahead_of(r + k, n));
                }
            }
            group.logarithms(count);
            for (std::size_t k = 0; k < count; ++k) {
                const std::size_t at = (r + k) * n;
                Real* const gradient = advanced(rows->gradient, at);
                if (targets[r + k] != ignored_row) {
                    group.finish(k, rows->logits + at, gradient, targets[r + k], rows->losses[r + k],
                                 rows->logsumexps[r + k]);
                } else {
                    rows->losses[r + k] = rows->logsumexps[r + k] = 0;
                    fill(gradient, Gradient ? n : 0, Real(0));
                }
            }
        }
    }
};

// Sums over 8 logical lanes of double: float rows have digits to spare, double rows keep the rounding errors.
template <class M>
struct wide_tally {
    using D = typename M::wide;
    static constexpr int parts = 8 / D::width;
    tally<machine<double, D::width>> exact;
    D plain[parts] = {};

    SMX_INLINE void add(const D& v, int h) {
        if constexpr (sizeof(typename M::real) == sizeof(float)) {
            plain[h] = plain[h] + v;
        } else {
            exact.add(v, h);
        }
    }
    SMX_INLINE double_word<double> total() {
        if constexpr (sizeof(typename M::real) == sizeof(float)) {
            SMX_UNROLL for (int n = parts / 2; n > 0; n /= 2) {
                SMX_UNROLL for (int k = 0; k < n; ++k) plain[k] = plain[k] + plain[k + n];
            }
            return {sum_of_lanes(plain[0]), 0};
        } else {
            return exact.total();
        }
    }
};

// Targets with a share in every class: smoothing, probabilities, both with class weights or without. One pass more: the
// shares v_c and the distances v_c (max - x_c), before the terms are computed again for the gradient.
// Given: probabilities, else a class index. Weighted: class weights.
template <class M, bool Given, bool Weighted>
struct mixed_row {
    using Real = typename M::real;
    using P = typename M::vector;
    using D = typename M::wide;

    const loss_rule<Real>& rule;
    const Real* x;
    const Real* given;
    const Real* weights;
    std::size_t n;     // at least a logical vector
    std::size_t ahead; // see term_pass
    row_sum<Real> s{};
    double weight = 0, top_weight = 0; // of all classes, and of the maximum where it is one
    bool alone = true;                 // whether it is: s.tops counts the maxima of one block
    double away = 0;                   // the sum of v_c (max - x_c) / T

    // v_c of the classes from i on; a product that could be contracted with a sum is a fused one with 0
    template <class V>
    SMX_INLINE V shares(std::size_t i, const V& kept, const V& smoothed) const {
        V v = smoothed;
        if constexpr (Given) {
            v = multiply_add(wider<V>(given + i), kept, smoothed);
        }
        if constexpr (Weighted) {
            v = multiply_add(v, wider<V>(weights + i), V{});
        }
        return v;
    }
    template <class V>
    SMX_INLINE static V wider(const Real* from) {
        if constexpr (sizeof(typename V::real) == sizeof(Real)) {
            return load<V>(from);
        } else {
            return load_wide<V>(from);
        }
    }

    SMX_INLINE void weigh() {
        const D kept = splat<D>(rule.kept), smoothed = splat<D>(rule.smoothed), zero = D{};
        const D one = splat<D>(1.0), maximum = splat<D>(static_cast<double>(s.maximum)),
                half = splat<D>(-0.5);
        const D start = splat<D>(0.5 * static_cast<double>(s.maximum));
        wide_tally<M> distances, all;
        D top = zero, tops = zero;
        for (std::size_t i = 0; i < n; i += 8) {
            const std::size_t at = n - i < 8 ? n - 8 : i, skip = i - at;
            SMX_UNROLL for (int h = 0; h < wide_tally<M>::parts; ++h) {
                const std::size_t o = static_cast<std::size_t>(h * D::width);
                const D logit = load_wide<D>(x + at + o);
                D v = shares<D>(at + o, kept, smoothed);
                // One comparison for both: GCC 12 at -O2 fails on the second (do_store_flag).
                D is_top = opaque(where_equal(logit, maximum, one, zero));
                D far = where_equal(v, zero, zero, multiply_add(v, multiply_add(logit, half, start), zero));
                if (skip != 0) [[unlikely]] {
                    v = lanes_from(skip, o, v);
                    far = lanes_from(skip, o, far);
                    is_top = lanes_from(skip, o, is_top);
                }
                distances.add(far, h);
                if constexpr (Given || Weighted) {
                    all.add(v, h);
                    top = top + where_equal(is_top, one, v, zero);
                    tops = tops + is_top;
                }
            }
        }
        const double_word<double> sum = distances.total();
        away = (sum.hi + sum.lo) / rule.scale.temperature * 2;
        weight = product(rule.smoothed, static_cast<double>(n));
        top_weight = rule.smoothed;
        if constexpr (Given || Weighted) {
            const double_word<double> t = all.total();
            weight = t.hi + t.lo;
            top_weight = sum_of_lanes(top);
            alone = sum_of_lanes(tops) == 1;
        }
        if (!(magnitude(away) <= (std::numeric_limits<double>::max)())) [[unlikely]] {
            away = sum_of_distances();
        }
    }

    double share(std::size_t i) const {
        double v = rule.smoothed;
        if constexpr (Given) {
            v += product(rule.kept, static_cast<double>(given[i]));
        }
        return Weighted ? product(v, static_cast<double>(weights[i])) : v;
    }

    // Where something on the way to `away` was infinite, NaN, or too large for the time being.
    double sum_of_distances() const {
        double sum = 0;
        for (std::size_t i = 0; i < n; ++i) {
            const double v = share(i);
            sum += v == 0 ? 0 : product(v, distance(s.maximum, x[i], rule.scale.temperature));
        }
        return sum;
    }

    // ((V + drift) p - v) / divisor of one class, with the digits that V p - v would lose where p is almost 1.
    SMX_INLINE double derivative(double term, double v, double drift, bool is_maximum) const {
        const double others = others_of(s, term, is_maximum);
        return (product(weight - v + drift, term) - product(v, others)) / total_of(s) / rule.divisor;
    }

    SMX_INLINE void write(Real* out, double drift) const {
        const row_terms<M> terms(rule.scale, s.maximum);
        const double factor = (weight + drift) / rule.divisor;
        // One maximum is the only class that p - v could cancel at more than it has to. (Without probabilities and class
        // weights all maxima have one v, and one derivative.)
        const double at_top = alone ? derivative(s.top, top_weight, drift, true) : 0;
        if (!is_usual_factor(factor) || !is_usual_factor(1 / rule.divisor)) [[unlikely]] {
            const double total = total_of(s);
            for (std::size_t i = 0; i < n; ++i) {
                const double v = share(i) / rule.divisor, p = static_cast<double>(terms.of(x[i])) / total;
                out[i] = static_cast<Real>(alone && x[i] == s.maximum ? at_top : product(p, factor) - v);
            }
            return;
        }
        const double_word<double> f = quotient<M>(factor, s);
        const Real h = static_cast<Real>(f.hi);
        const P hi = splat<P>(h), lo = splat<P>(static_cast<Real>((f.hi - static_cast<double>(h)) + f.lo));
        const P kept = splat<P>(static_cast<Real>(rule.kept / rule.divisor)),
                smoothed = splat<P>(static_cast<Real>(rule.smoothed / rule.divisor));
        const P maximum = splat<P>(alone ? s.maximum : -no_logit<Real>),
                top = splat<P>(static_cast<Real>(at_top));
        constexpr std::size_t w = M::width;
        const auto results = [&]<int K>(std::size_t i, P(&g)[K]) SMX_LAMBDA_INLINE {
            P logit[K];
            SMX_UNROLL for (int k = 0; k < K; ++k) g[k] = logit[k] =
                load<P>(x + i + static_cast<std::size_t>(k) * w);
            terms.of(g);
            SMX_UNROLL for (int k = 0; k < K; ++k) {
                const P v = shares<P>(i + static_cast<std::size_t>(k) * w, kept, smoothed);
                if constexpr (is_fused<P>) {
                    g[k] = fma(g[k], hi, fma(g[k], lo, P{} - v));
                } else {
                    g[k] = times(g[k], hi, lo) - v;
                }
                g[k] = where_equal(logit[k], maximum, top, g[k]);
            }
        };
        P last[1];
        results(n - w, last);
        std::size_t i = 0;
        for (; i + 4 * w <= n; i += 4 * w) {
            P g[4];
            results(i, g);
            SMX_UNROLL for (std::size_t k = 0; k < 4; ++k) store(out + i + k * w, g[k]);
        }
        for (; i + w <= n; i += w) {
            P g[1];
            results(i, g);
            store(out + i, g[0]);
        }
        if (i < n) {
            store(out + n - w, last[0]);
        }
    }

    // The row's loss; its gradient to out unless that is null. target: without Given.
    SMX_INLINE double run(Real* out, std::size_t target, double& logsumexp) {
        const double t = rule.scale.temperature;
        Real* const nowhere = nullptr;
        s = sum<M, false>(x, nowhere, n, rule.scale, ahead);
        if (is_infinite(s.maximum)) [[unlikely]] {
            fill(out, out != nullptr ? n : 0, std::numeric_limits<Real>::quiet_NaN());
            return logsumexp = std::numeric_limits<double>::quiet_NaN();
        }
        weigh();
        const double log_sum = log_of_sum<M>(s);
        logsumexp = logsumexp_of<M>(s.maximum, t, log_sum);
        const Real logit = x[Given ? 0 : target];
        const double of_target = Given ? 0 : Weighted ? static_cast<double>(weights[target]) : 1;
        if (const double v = product(rule.kept, of_target); v != 0) {
            away += product(v, distance(s.maximum, logit, t));
            weight += v;
        }
        if (out != nullptr) {
            const double drift = product(2 * rule.z_loss, logsumexp);
            const double term = static_cast<double>(row_terms<M>(rule.scale, s.maximum).of(logit));
            write(out, drift);
            if constexpr (!Given) {
                const double v = product(rule.kept + rule.smoothed, of_target);
                out[target] = static_cast<Real>(derivative(term, v, drift, logit == s.maximum));
            }
        }
        return away + product(weight, log_sum) + product(rule.z_loss * logsumexp, logsumexp);
    }
};

// Rows shorter than a logical vector are extended by logits of -inf with shares of 0.
template <bool Given, bool Weighted>
struct mixed_losses {
    template <class M, class Real>
    SMX_INLINE static void run(const loss_rule<Real>* rule, const loss_rows<Real>* rows) {
        constexpr std::size_t lanes = M::lanes;
        const std::size_t n = rule->classes;
        Real weights[lanes] = {};
        for (std::size_t i = 0; n < lanes && i < n; ++i) {
            weights[i] = rule->class_weights != nullptr ? rule->class_weights[i] : Real(1);
        }
        for (std::size_t r = 0; r < rows->count; ++r) {
            const Real* const x = rows->logits + r * n;
            const Real* const given = Given ? rows->probabilities + r * n : nullptr;
            Real* const gradient = rows->gradient != nullptr ? rows->gradient + r * n : nullptr;
            const std::size_t target = Given ? 0 : rows->targets[r];
            if (!Given && target == ignored_row) {
                rows->losses[r] = rows->logsumexps[r] = 0;
                fill(gradient, gradient != nullptr ? n : 0, Real(0));
            } else if (n >= lanes) {
                mixed_row<M, Given, Weighted> row{
                    *rule, x, given, rule->class_weights, n, rows->ahead_of(r, n)};
                rows->losses[r] = row.run(gradient, target, rows->logsumexps[r]);
            } else if constexpr (Weighted) {
                padded_row<M> p(x, n);
                Real shares[lanes] = {};
                for (std::size_t i = 0; Given && i < n; ++i) {
                    shares[i] = given[i];
                }
                mixed_row<M, Given, true> row{*rule, p.logit, shares, weights, lanes, 0};
                rows->losses[r] =
                    row.run(gradient != nullptr ? p.result : nullptr, target, rows->logsumexps[r]);
                p.write(gradient, gradient != nullptr ? n : 0);
            }
        }
    }
};

template <bool Gradient>
using short_rows_of_losses = short_index_losses<Gradient, index_losses<Gradient>>;

template <bool Gradient>
struct single_rows_of_losses {
    template <int Chunks>
    using in_registers = loss_in_registers<Chunks, Gradient, short_rows_of_losses<Gradient>>;
};

template <bool Gradient, class Real>
inline void run_index_losses(const loss_rule<Real>& rule, const loss_rows<Real>& rows) noexcept {
    if (rows.count == 1 && rule.classes <= most_in_registers<Real>) {
        return dispatch_in_registers<single_rows_of_losses<Gradient>::template in_registers, Real>(
            rule.classes, &rule, &rows);
    }
    if constexpr (sizeof(Real) == sizeof(float)) {
        if (rule.classes <= longest_turned_row && rows.count > 1) {
            return dispatch<turned_losses<short_rows_of_losses>, Real>(&rule, &rows);
        }
    }
    if (rule.classes <= longest_short_row<Real>) {
        dispatch<short_rows_of_losses<Gradient>, Real>(&rule, &rows);
    } else {
        dispatch<index_losses<Gradient>, Real>(&rule, &rows);
    }
}

// The losses of rows of float side by side, of class indices without smoothing. (A template, or including the header would
// instantiate its kernels: a third of the time that takes.)
template <class Real>
inline void run_column_losses(const loss_rule<Real>& rule, const loss_columns<Real>& rows) noexcept {
    dispatch<column_losses<short_rows_of_losses>, Real>(&rule, &rows);
}

// The losses of the rows, and their gradients where one is wanted: the same losses either way.
template <class Real>
inline void run_losses(const loss_rule<Real>& rule, const loss_rows<Real>& rows) noexcept {
    const bool weighted = rule.class_weights != nullptr || rule.classes < std::size_t(format<Real>::lanes);
    if (rows.probabilities != nullptr) {
        return weighted ? dispatch<mixed_losses<true, true>, Real>(&rule, &rows)
                        : dispatch<mixed_losses<true, false>, Real>(&rule, &rows);
    }
    if (rule.smoothed != 0) {
        return weighted ? dispatch<mixed_losses<false, true>, Real>(&rule, &rows)
                        : dispatch<mixed_losses<false, false>, Real>(&rule, &rows);
    }
    return rows.gradient != nullptr ? run_index_losses<true>(rule, rows)
                                    : run_index_losses<false>(rule, rows);
}

} // namespace smx::inline SMX_ABI::detail

#endif
