// Losses of class indices of short rows of floats that stand side by side, or are turned to stand so. Leans on columns.hpp and
// short_losses.hpp.
#ifndef SMX_DETAIL_COLUMN_LOSSES_HPP
#define SMX_DETAIL_COLUMN_LOSSES_HPP

#include "columns.hpp"
#include "short_losses.hpp"

namespace smx::inline SMX_ABI::detail {

// Rows side by side: class c of row r at logits[c element + r], and its gradient at gradient[c gradient_element + r].
template <class Real>
struct loss_columns {
    std::size_t count;
    const Real* logits;
    std::ptrdiff_t element;
    Real* gradient; // null: none; may be logits
    std::ptrdiff_t gradient_element;
    const std::size_t* targets; // see loss_rows
    double* losses;
    double* logsumexps;
    bool streams; // whether the gradient goes past the caches: it is aligned

    loss_columns from(std::size_t r, std::size_t rows) const {
        return {rows,
                logits + r,
                element,
                advanced(gradient, r),
                gradient_element,
                advanced(targets, r),
                advanced(losses, r),
                advanced(logsumexps, r),
                streams};
    }
};

// Some vectors of rows.
template <class M, int Vectors>
struct loss_block {
    using Real = typename M::real;
    using V = typename M::vector;
    using D = typename M::wide;
    using wide = wide_vector<M>;
    using references = own_references<V, Vectors>;
    static constexpr std::size_t w = M::width, rows_of_block = Vectors * w;
    alignas(64) Real term[longest_column * rows_of_block];

    // False, with nothing written but losses, if one of the rows is unusual. tries: how often the reference 0 is to be tried.
    SMX_INLINE bool run(const loss_rule<Real>& rule, const zero_reference<V>& zero, int& tries,
                        const loss_columns<Real>& rows) {
        SMX_UNROLL for (int k = 0; k < Vectors; ++k) target[k] =
            lanes_of_targets(rows.targets + std::size_t(k) * w);
        if (tries == 0 || !add_up(rule, zero, rows)) [[unlikely]] {
            if (tries == 0) {
                find_maxima(rule, rows);
            }
            tries -= tries != 0;
            references own;
            if (!own.refer_to(block.maximum, rule.scale) || !add_up(rule, own, rows)) {
                return false;
            }
        }
        if (find_logarithms()) [[unlikely]] {
            find_precise_sums(rule, rows);
        }
        for (int k = 0; k < Vectors; ++k) {
            find_losses(rule, rows, k);
        }
        if (rows.gradient != nullptr) {
            if (any_lane(unusual)) [[unlikely]] {
                return false;
            }
            write(rule.classes, rows);
        }
        return true;
    }

private:
    column_block<M, Vectors> block;
    V target[Vectors], logit[Vectors], top[Vectors], of_target[Vectors];
    V factor_hi[Vectors], factor_lo[Vectors], at_target[Vectors];
    wide log_sum[Vectors], excess[Vectors]; // see log_of_sums
    sum_lanes<D> precise[Vectors][2];       // where a row is dominated
    bool is_dominated[Vectors];
    D unusual = D{};

    SMX_INLINE static V lanes_of_targets(const std::size_t* targets) {
        alignas(64) Real lane[w];
        for (std::size_t k = 0; k < w; ++k) {
            lane[k] = static_cast<Real>(static_cast<std::ptrdiff_t>(targets[k])); // ignored_row: -1
        }
        return load<V>(lane);
    }
    SMX_INLINE static D weights(const loss_rule<Real>& rule, const std::size_t* targets) {
        alignas(64) double weight[D::width];
        for (int k = 0; k < D::width; ++k) {
            weight[k] = targets[k] == ignored_row ? 0 : static_cast<double>(rule.class_weights[targets[k]]);
        }
        return load<D>(weight);
    }

    SMX_INLINE void find_maxima(const loss_rule<Real>& rule, const loss_columns<Real>& rows) {
        SMX_UNROLL for (int k = 0; k < Vectors; ++k) {
            const Real* x = rows.logits + std::size_t(k) * w;
            V m = splat<V>(no_logit<Real>);
            for (std::size_t c = 0; c < rule.classes; ++c, x += rows.element) {
                m = larger(load<V>(x), m);
            }
            block.maximum[k] = m;
        }
    }

    // The terms, their sums, and what the targets have of them.
    template <class Reference>
    SMX_INLINE bool add_up(const loss_rule<Real>& rule, const Reference& q, const loss_columns<Real>& rows) {
        V at[Vectors];
        SMX_UNROLL for (int k = 0; k < Vectors; ++k) at[k] = V{};
        if (!block.add_up(rows.logits, rows.element, rule.classes, q, short_loss_range<Real>::sums, term,
                          [&](int k, const V& index, const V& x)
                              SMX_LAMBDA_INLINE { at[k] = where_equal(target[k], index, x, at[k]); })) {
            return false;
        }
        SMX_UNROLL for (int k = 0; k < Vectors; ++k) {
            logit[k] = of_target[k] = at[k];
            top[k] = block.maximum[k];
        }
        column_terms(top, q);
        column_terms(of_target, q);
        return true;
    }

    // True if the terms beside a maximum have to come from elsewhere in some row: see log_of_sums.
    SMX_INLINE bool find_logarithms() {
        const D one = splat<D>(1);
        bool any = false;
        for (int k = 0; k < Vectors; ++k) {
            const wide t(top[k]);
            const wide& s = block.sums[k];
            D less = D{};
            SMX_UNROLL for (int p = 0; p < 2; ++p) {
                D& more = excess[k].part[p];
                log_sum[k].part[p] = log_of_sums<Real>(s.part[p], D{}, t.part[p], more);
                less = less + opaque(where_less(more, D{}, one, D{}));
            }
            is_dominated[k] = any_lane(less);
            any = any || is_dominated[k];
        }
        return any;
    }
    SMX_INLINE void find_precise_sums(const loss_rule<Real>& rule, const loss_columns<Real>& rows) {
        for (int k = 0; k < Vectors; ++k) {
            if (is_dominated[k]) {
                const precise_columns<M> sums(rows.logits + std::size_t(k) * w, rows.element, rule.classes,
                                              block.maximum[k], rule.scale);
                SMX_UNROLL for (int p = 0; p < 2; ++p) {
                    precise[k][p] = sums.part(p);
                    D& l = log_sum[k].part[p];
                    l = where_less(excess[k].part[p], D{}, log_of_sum(precise[k][p]), l);
                }
            }
        }
    }

    SMX_INLINE void find_losses(const loss_rule<Real>& rule, const loss_columns<Real>& rows, int k) {
        const wide m(block.maximum[k]), x(logit[k]), of(of_target[k]), index(target[k]);
        loss_scalars<D> s[2];
        D lse[2];
        SMX_UNROLL for (int p = 0; p < 2; ++p) {
            const std::size_t at = std::size_t(k) * w + std::size_t(p) * D::width;
            // (opaque: conditions that depend on each other GCC 12 takes apart, lane by lane)
            const D counts = opaque(where_less(index.part[p], D{}, D{}, splat<D>(1)));
            const D weight = rule.class_weights == nullptr ? counts : weights(rule, rows.targets + at);
            s[p] = {m.part[p], block.sums[k].part[p], D{}, log_sum[k].part[p], weight, x.part[p], of.part[p]};
            const D loss = losses_of(rule, s[p], lse[p]);
            lse[p] = multiply_add(lse[p], counts, D{}); // the sum makes no -0
            store(rows.losses + at, multiply_add(loss, counts, D{}));
            store(rows.logsumexps + at, lse[p]);
        }
        if (rows.gradient != nullptr) {
            find_gradients(rule, s, lse, k);
        }
    }
    SMX_INLINE void find_gradients(const loss_rule<Real>& rule, const loss_scalars<D> (&s)[2],
                                   const D (&lse)[2], int k) {
        gradient_scalars<Real, D> g[2];
        SMX_UNROLL for (int p = 0; p < 2; ++p) {
            g[p] = gradients_of(rule, s[p], lse[p]);
            unusual = unusual + unusual_factors(g[p].factor);
            if (is_dominated[k]) [[unlikely]] {
                const D other = precise_at_targets(rule, precise[k][p], s[p].weight, lse[p]);
                const D at_maximum = opaque(where_equal(s[p].logit, s[p].maximum, other, g[p].at_target));
                g[p].at_target = where_less(excess[k].part[p], D{}, at_maximum, g[p].at_target);
            }
        }
        factor_hi[k] = joined(g[0].hi, g[1].hi);
        factor_lo[k] = joined(g[0].lo, g[1].lo);
        at_target[k] = joined(convert<Real>(g[0].at_target), convert<Real>(g[1].at_target));
    }
    // 1 where a factor is not usual, see short_loss_range.
    SMX_INLINE static D unusual_factors(const D& f) {
        using R = short_loss_range<Real>;
        const D usual = opaque(larger(splat<D>(R::least_factor), smaller(splat<D>(R::most_factor), f)));
        const D is_other = opaque(where_equal(f, D{}, D{}, splat<D>(1)));
        return opaque(where_equal(usual, f, D{}, is_other));
    }

    SMX_INLINE void write(std::size_t n, const loss_columns<Real>& rows) const {
        const V one = splat<V>(1);
        V index = V{};
        Real* to = rows.gradient;
        for (std::size_t c = 0; c < n; ++c) {
            V g[Vectors];
            SMX_UNROLL for (int k = 0; k < Vectors; ++k) g[k] = normal_product(
                load_once<V>(term + c * rows_of_block + std::size_t(k) * w), factor_hi[k], factor_lo[k]);
            SMX_UNROLL for (int k = 0; k < Vectors; ++k) g[k] =
                where_equal(target[k], index, at_target[k], g[k]);
            if (rows.streams) {
                SMX_UNROLL for (int k = 0; k < Vectors; ++k) stream(to + std::size_t(k) * w, g[k]);
            } else {
                SMX_UNROLL for (int k = 0; k < Vectors; ++k) store(to + std::size_t(k) * w, g[k]);
            }
            index = index + one;
            to += rows.gradient_element;
        }
    }
};

// Packed: what does packed rows, with a gradient or without, if they are unusual.
template <template <bool> class Packed, class M, class Real>
SMX_INLINE void run_packed(const loss_rule<Real>& rule, const loss_rows<Real>& rows) {
    rows.gradient != nullptr ? run_apart<M, Packed<true>>(&rule, &rows)
                             : run_apart<M, Packed<false>>(&rule, &rows);
}

// Whole blocks only: their number of rows divides column_rows on every machine. (64 rows of 21 classes in blocks of 4 vectors 0.39
// ns an element, of 2 0.41; in an image beyond the caches 0.52 and 0.56.)
inline constexpr std::size_t column_rows = 64;
template <template <bool> class Packed>
struct column_losses {
    template <class M, class Real>
    SMX_INLINE static void run(const loss_rule<Real>* rule, const loss_columns<Real>* columns) {
        using block_of = loss_block<M, 4>;
        constexpr std::size_t most = block_of::rows_of_block;
        static_assert(column_rows % most == 0);
        const zero_reference<typename M::vector> q(rule->scale);
        int tries = 3;
        for (std::size_t r = 0; r < columns->count; r += most) {
            const loss_columns<Real> rows = columns->from(r, most);
            block_of block;
            if (rule->scale.scaled || !block.run(*rule, q, tries, rows)) [[unlikely]] {
                run_as_rows<M>(rule, rows);
            }
        }
    }

private:
    template <class M, class Real>
    SMX_INLINE static void run_as_rows(const loss_rule<Real>* rule, const loss_columns<Real>& rows) {
        const std::size_t n = rule->classes;
        alignas(64) Real tile[longest_column * loss_block<M, 4>::rows_of_block];
        for (std::size_t r = 0; r < rows.count; ++r) {
            for (std::size_t c = 0; c < n; ++c) {
                tile[r * n + c] =
                    rows.logits[static_cast<std::ptrdiff_t>(c) * rows.element + std::ptrdiff_t(r)];
            }
        }
        const bool has_gradient = rows.gradient != nullptr;
        const loss_rows<Real> packed{rows.count,     tile,         has_gradient ? tile : nullptr,
                                     nullptr,        rows.targets, rows.losses,
                                     rows.logsumexps};
        run_packed<Packed, M>(*rule, packed);
        for (std::size_t r = 0; has_gradient && r < rows.count; ++r) {
            for (std::size_t c = 0; c < n; ++c) {
                rows.gradient[static_cast<std::ptrdiff_t>(c) * rows.gradient_element + std::ptrdiff_t(r)] =
                    tile[r * n + c];
            }
        }
    }
};

// What there is of a block that is not full: targets of rows to be ignored, and room for what becomes of them.
template <std::size_t Rows>
struct filled_block {
    double losses[Rows], logsumexps[Rows];
    std::size_t targets[Rows];

    SMX_INLINE filled_block(const std::size_t* from, std::size_t count) {
        for (std::size_t r = 0; r < Rows; ++r) {
            targets[r] = r < count ? from[r] : ignored_row;
        }
    }
    SMX_INLINE void copy(double* to_losses, double* to_logsumexps, std::size_t count) const {
        for (std::size_t r = 0; r < count; ++r) {
            to_losses[r] = losses[r];
            to_logsumexps[r] = logsumexps[r];
        }
    }
};

// Packed rows, turned to columns and back. A block has to be full enough, by the time of rows by themselves: 10 classes, 8 of 32 rows
// 1.2, 16 rows 0.9, 32 rows 0.6; 30 classes, 16 rows 1.2, 32 rows 0.75.
inline constexpr std::size_t longest_turned_row = 32;

template <template <bool> class Packed>
struct turned_losses {
    template <class M, class Real>
    SMX_INLINE static void run(const loss_rule<Real>* rule, const loss_rows<Real>* rows) {
        constexpr std::size_t most = loss_block<M, vectors>::rows_of_block;
        const std::size_t n = rule->classes;
        const zero_reference<typename M::vector> q(rule->scale);
        int tries = 3;
        for (std::size_t r = 0; r < rows->count; r += most) {
            const std::size_t left = rows->count - r, count = left < most ? left : most;
            const loss_rows<Real> some = part_of(*rows, r, count, n);
            const bool suits =
                !rule->scale.scaled && count >= (n <= std::size_t(M::lanes) ? most / 2 : most / 4 * 3);
            if (!suits || !run_block<M>(*rule, q, tries, some)) {
                run_packed<Packed, M>(*rule, some);
            }
        }
    }

private:
    static constexpr int vectors = 2;

    template <class M, class Real>
    SMX_INLINE static bool run_block(const loss_rule<Real>& rule, const zero_reference<typename M::vector>& q,
                                     int& tries, const loss_rows<Real>& rows) {
        constexpr std::size_t w = M::width, most = vectors * w;
        const std::size_t n = rule.classes;
        alignas(64) Real column[longest_turned_row * most];
        for (std::size_t k = 0; k < vectors; ++k) {
            const std::size_t first = k * w, count = rows.count > first ? rows.count - first : 0;
            rows_to_columns<M, most>(rows.logits + (count == 0 ? 0 : first * n), n, count < w ? count : w,
                                     column + first);
        }
        loss_block<M, vectors> block;
        Real* const gradient = rows.gradient != nullptr ? column : nullptr;
        loss_columns<Real> columns{most,        column,          most, gradient, most, rows.targets,
                                   rows.losses, rows.logsumexps, false};
        if (rows.count == most) {
            if (!block.run(rule, q, tries, columns)) {
                return false;
            }
        } else {
            filled_block<most> filled(rows.targets, rows.count);
            columns.targets = filled.targets;
            columns.losses = filled.losses;
            columns.logsumexps = filled.logsumexps;
            if (!block.run(rule, q, tries, columns)) {
                return false;
            }
            filled.copy(rows.losses, rows.logsumexps, rows.count);
        }
        for (std::size_t k = 0; gradient != nullptr && k * w < rows.count; ++k) {
            const std::size_t first = k * w, count = rows.count - first;
            columns_to_rows<M, most>(column + first, n, count < w ? count : w, rows.gradient + first * n);
        }
        return true;
    }
};

} // namespace smx::inline SMX_ABI::detail

#endif
