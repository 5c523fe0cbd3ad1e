// Cross-entropy of batches: which way rows go, wherever they stand; how their losses become one; tasks for the caller's
// threads. Leans on losses.hpp, tiles.hpp and tasks.hpp.
#ifndef SMX_DETAIL_LOSS_BATCHES_HPP
#define SMX_DETAIL_LOSS_BATCHES_HPP

#include "../options.hpp"
#include "../shape.hpp"
#include "contract.hpp"
#include "elements.hpp"
#include "layout.hpp"
#include "losses.hpp"
#include "tasks.hpp"
#include "tiles.hpp"

#include <concepts>
#include <cstddef>
#include <type_traits>

namespace smx::inline SMX_ABI::detail {

// Checks every target; returns the sum of the weights of those that count. Nothing branches while all is well.
template <class Work, class Real>
constexpr Work checked_weight_of_targets(const auto& targets, const loss_terms<Work, Real>& terms) {
    using index = std::iter_value_t<std::remove_cvref_t<decltype(targets.first)>>;
    const ignored_index<index> ignored(terms.ignore_index);
    std::size_t counted = 0;
    bool fit = true;
    for (auto it = targets.first; it != targets.last; ++it) {
        const index target = *it;
        const bool counts = !ignored.is(target);
        fit &= !counts | is_class(target, terms.classes);
        counted += counts ? 1 : 0;
    }
    if (fit && !terms.has_class_weights()) {
        return from_size<Work>(counted);
    }
    compensated_sum<Work> weight;
    for (auto it = targets.first; it != targets.last; ++it) {
        const index target = *it;
        if (!ignored.is(target)) {
            weight += terms.class_weight(checked_target(target, terms.classes));
        }
    }
    return weight.value().hi;
}

// Rows with class indices, after all checks. rows: where they stand in the logits and the gradient.
template <class Real, class X, class I, class Gradient, std::size_t D>
struct index_batch {
    using work = work_t<Real>;

    const layout<D, 2>& rows;
    const X* logits;
    I targets;
    Gradient gradient;
    loss_terms<work, Real> terms;
    work divisor; // of the losses and the gradient; 0 where nothing counts

    // take(loss) gets the loss of each of the rows [begin, end) in order.
    constexpr void run(std::size_t begin, std::size_t end, auto& take) const {
        loss_call call(terms, divisor, take, begin);
        if (divisor == work(0.0)) {
            losses(call, begin, end, no_gradient{});
            rows.for_each_row(begin, end, [&](std::size_t, const auto& at) {
                gradient.of(at[1]).write_zeros(at[0].of(logits));
            });
        } else {
            losses(call, begin, end, gradient);
        }
    }

private:
    constexpr void losses(auto& call, std::size_t begin, std::size_t end, const auto& to) const {
        if constexpr (have_kernels<Real, const X*>) {
            if (!std::is_constant_evaluated() && terms.suits_kernels() && fits_tiles<Real>(rows)) {
                by_kernels(call, begin, end, kernel_gradient<Real, const X*>(to));
                if constexpr (!is_fused_with<decltype(to), const X*>) {
                    each_row(
                        begin, end, to,
                        [&](auto row, auto weights, auto out) { call.gradient_only(row, weights, out); },
                        [&](auto row, auto out) { out.write_zeros(row); });
                }
                return;
            }
        }
        each_row(
            begin, end, to, [&](auto row, auto weights, auto out) { call.generic(row, weights, out); },
            [&](auto row, auto out) { call.ignored(row, out); });
    }

    void by_kernels(auto& call, std::size_t begin, std::size_t end, Real* to) const {
        const loss_rule<Real> rule = call.rule();
        I target = advanced_by(targets, begin);
        rows.for_each_run(begin, end, [&](const detail::run<2>& some) {
            std::size_t done = 0;
            if constexpr (std::same_as<Real, float>) {
                if (rule.smoothed == 0 && stand_in_columns(some, to != nullptr)) {
                    done = some.count / column_rows * column_rows;
                    call.columns(rule, columns_of(some, done, to), target);
                }
            }
            for_each_packed(buffers<Real, 1>{{logits}, to}, rows, some.first + done, some.first + some.count,
                            [&](const buffers<Real, 1>& packed, std::size_t first, std::size_t count) {
                                call.kernel(rule, packed.in[0], packed.out, count, target,
                                            first + count < rows.rows());
                            });
        });
    }

    bool stand_in_columns(const detail::run<2>& some, bool with_gradient) const {
        return some.stride[0] == 1 && (!with_gradient || some.stride[1] == 1) && rows.classes() > 1 &&
               rows.classes() <= longest_column;
    }
    loss_columns<Real> columns_of(const detail::run<2>& some, std::size_t count, Real* to) const {
        const std::size_t size = rows.classes() * rows.rows();
        constexpr std::ptrdiff_t line = 64 / sizeof(Real);
        Real* const out = to == nullptr ? nullptr : to + some.offset[1];
        return {count,
                logits + some.offset[0],
                rows.element(0),
                out,
                rows.element(1),
                nullptr,
                nullptr,
                nullptr,
                size > longest_cached_row<Real> && to != logits && rows.element(1) % line == 0 &&
                    std::bit_cast<std::uintptr_t>(out) % 64 == 0};
    }

    // visit(logits, weights, gradient) for the rows that count, skip(logits, gradient) for the others
    constexpr void each_row(std::size_t begin, std::size_t end, const auto& to, auto visit, auto skip) const {
        I target = advanced_by(targets, begin);
        const ignored_index<std::iter_value_t<I>> ignored(terms.ignore_index);
        rows.for_each_row(begin, end, [&](std::size_t, const auto& at) {
            const std::iter_value_t<I> c = *target;
            ++target;
            if (ignored.is(c)) {
                skip(at[0].of(logits), to.of(at[1]));
            } else {
                visit(at[0].of(logits), weights_of_index(terms, static_cast<std::size_t>(c)), to.of(at[1]));
            }
        });
    }
};

// Rows with probabilities, after all checks. rows: where they stand in the logits, the probabilities and the gradient.
template <class Real, class X, class Q, class Gradient, std::size_t D>
struct probability_batch {
    using work = work_t<Real>;

    const layout<D, 3>& rows;
    const X* logits;
    const Q* probabilities;
    Gradient gradient;
    loss_terms<work, Real> terms;
    work divisor;

    constexpr void run(std::size_t begin, std::size_t end, auto& take) const {
        loss_call call(terms, divisor, take, begin);
        if constexpr (have_kernels<Real, const X*, const Q*>) {
            if (!std::is_constant_evaluated() && terms.suits_kernels() && fits_tiles<Real>(rows)) {
                by_kernels(call, begin, end, kernel_gradient<Real, const X*>(gradient));
                if constexpr (!is_fused_with<Gradient, const X*>) {
                    each_row(begin, end, [&](auto row, auto weights, auto out) {
                        call.gradient_only(row, weights, out);
                    });
                }
                return;
            }
        }
        each_row(begin, end, [&](auto row, auto weights, auto out) { call.generic(row, weights, out); });
    }

private:
    void by_kernels(auto& call, std::size_t begin, std::size_t end, Real* to) const {
        const loss_rule<Real> rule = call.rule();
        for_each_packed(buffers<Real, 2>{{logits, probabilities}, to}, rows, begin, end,
                        [&](const buffers<Real, 2>& packed, std::size_t first, std::size_t count) {
                            call.kernel_of_probabilities(rule, packed.in[0], packed.in[1], packed.out, count,
                                                         first + count < rows.rows());
                        });
    }

    constexpr void each_row(std::size_t begin, std::size_t end, auto visit) const {
        rows.for_each_row(begin, end, [&](std::size_t, const auto& at) {
            visit(at[0].of(logits), weights_of_probabilities(terms, at[1].of(probabilities).first),
                  gradient.of(at[2]));
        });
    }
};

// A batch of losses from buffers whose sizes have been checked; checks the targets and the options. targets: a row of one
// class index per row ...
template <class Real, class X, class I, class S, class Gradient, std::size_t D>
constexpr index_batch<Real, X, I, Gradient, D>
batch_of_losses(const layout<D, 2>& rows, const X* logits, const row<I, S>& targets, const Gradient& gradient,
                const cross_entropy_options<Real>& options, reduction reduce) {
    using work = work_t<Real>;
    require_size("cross_entropy", "targets", size_of(targets), "the batch of rows", rows.rows());
    const loss_terms<work, Real> terms(options, rows.classes(), rows.rows());
    const work weight = checked_weight_of_targets(targets, terms);
    return {rows, logits, targets.first, gradient, terms, reduce == reduction::mean ? weight : work(1.0)};
}
// ... or a probability for each logit.
template <class Real, class X, class Q, class Gradient, std::size_t D>
constexpr probability_batch<Real, X, Q, Gradient, D>
batch_of_losses(const layout<D, 3>& rows, const X* logits, const Q* probabilities, const Gradient& gradient,
                const cross_entropy_options<Real>& options, reduction reduce) {
    using work = work_t<Real>;
    return {rows,
            logits,
            probabilities,
            gradient,
            loss_terms<work, Real>(options, rows.classes(), rows.rows()),
            reduce == reduction::mean ? from_size<work>(rows.rows()) : work(1.0)};
}

// The sum of the losses of many rows. Losses near the end of the range are added apart, scaled down, so that a mean that
// is a number does not overflow on the way. Of float rows the digits of double are enough: 2^-33 of 2^20 losses, for 1.5 ns a
// row less.
template <class Work, class Real>
class loss_sum {
public:
    constexpr void operator+=(const Work& loss) {
        if constexpr (std::floating_point<Work>) {
            // 2^128: more than there can be rows
            if (loss > (std::numeric_limits<Work>::max)() * Work(0x1p-128)) {
                large_ += loss * Work(0x1p-128);
                return;
            }
        }
        sum_ += loss;
    }
    constexpr void operator+=(const loss_sum& other) {
        add(sum_, value(other.sum_));
        add(large_, value(other.large_));
    }
    constexpr Work over(const Work& divisor) const {
        const Work usual = value(sum_).hi / divisor;
        if constexpr (std::floating_point<Work>) {
            const Work scaled = value(large_).hi;
            return scaled == 0 ? usual : usual + scaled / divisor * Work(0x1p128);
        } else {
            return usual;
        }
    }

private:
    static constexpr bool has_spare_digits = std::same_as<Work, double> && sizeof(Real) == sizeof(float);
    using sum = std::conditional_t<has_spare_digits, Work, compensated_sum<Work>>;

    static constexpr double_word<Work> value(const sum& of) {
        if constexpr (has_spare_digits) {
            return {of, 0};
        } else {
            return of.value();
        }
    }
    static constexpr void add(sum& to, const double_word<Work>& part) {
        to += part.hi;
        to += part.lo;
    }

    sum sum_{}, large_{};
};

// What batches do with the losses of their rows.
template <class Work, class Real>
struct loss_adder {
    loss_sum<Work, Real> sum;

    constexpr void operator()(const Work& loss) { sum += loss; }
};
template <class O>
struct loss_writer {
    O out;

    constexpr void operator()(const auto& loss) {
        *out = static_cast<std::iter_value_t<O>>(loss);
        ++out;
    }
};

// The loss of a batch: of its parts in order, so that it does not depend on exec, nor on whether there is one.
template <class Real>
constexpr Real reduced_loss(auto&& exec, const auto& batch) {
    using work = work_t<Real>;
    const auto total = sum_over_rows<loss_sum<work, Real>>(exec, batch.rows.rows(), batch.rows.classes(),
                                                           [&](std::size_t begin, std::size_t end) {
                                                               loss_adder<work, Real> take;
                                                               batch.run(begin, end, take);
                                                               return take.sum;
                                                           });
    // Where nothing counts the mean is 0, not 0 / 0.
    return batch.divisor == work(0.0) ? Real(0.0) : static_cast<Real>(total.over(batch.divisor));
}

// The losses of a batch one by one, to an output of as many elements.
template <class Real, class O>
constexpr void losses_per_row(auto&& exec, const auto& batch, O losses) {
    for_parts_of_rows(exec, batch.rows.rows(), batch.rows.classes(), [&](std::size_t begin, std::size_t end) {
        loss_writer<O> take{advanced_by(losses, begin)};
        batch.run(begin, end, take);
    });
}

// visit(batch) for buffers of a shape.
template <class Real, class Targets>
constexpr auto with_losses_of_shape(const char* function, const auto& logits, Targets& targets,
                                    const auto& gradient, const shape& batch,
                                    const cross_entropy_options<Real>& options, reduction reduce,
                                    auto visit) {
    const std::size_t size = element_count(function, batch);
    require_size(function, "logits", size_of(logits), "the shape", size);
    const auto target = row_of(targets);
    if constexpr (index_row<Targets>) {
        const auto rows = layout_of<2>(batch);
        return visit(batch_of_losses<Real>(rows, logits.first, target, gradient, options, reduce));
    } else {
        require_size(function, "target probabilities", size_of(target), "logits", size);
        const auto rows = layout_of<3>(batch);
        return visit(batch_of_losses<Real>(rows, logits.first, target.first, gradient, options, reduce));
    }
}

template <class Real, class Targets>
constexpr Real loss_of_shape(auto&& exec, const auto& logits, Targets& targets, const auto& gradient,
                             const shape& batch, const cross_entropy_options<Real>& options) {
    return with_losses_of_shape("cross_entropy", logits, targets, gradient, batch, options, options.reduce,
                                [&](const auto& losses) { return reduced_loss<Real>(exec, losses); });
}

template <class Real, class Targets>
constexpr void losses_of_shape(auto&& exec, const auto& logits, Targets& targets, const auto& losses,
                               const auto& gradient, const shape& batch,
                               const cross_entropy_options<Real>& options) {
    constexpr const char* function = "cross_entropy_per_row";
    require_size(function, "losses", size_of(losses), "the batch of rows", row_count(function, batch));
    with_losses_of_shape(function, logits, targets, gradient, batch, options, reduction::sum,
                         [&](const auto& all) { losses_per_row<Real>(exec, all, losses.first); });
}

} // namespace smx::inline SMX_ABI::detail

#endif
