// Cross-entropy between its checks and its arithmetic: what the options make of a target, where the gradient goes, and
// how the losses of rows become that of a batch. Leans on generic_rows.hpp for the rows.
#ifndef SMX_DETAIL_LOSSES_HPP
#define SMX_DETAIL_LOSSES_HPP

#include "../options.hpp"
#include "../shape.hpp"
#include "contract.hpp"
#include "elements.hpp"
#include "generic_rows.hpp"
#include "routes.hpp"

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>

namespace smx::inline SMX_ABI::detail {

template <class Work>
constexpr Work from_size(std::size_t size) {
    return static_cast<Work>(static_cast<double>(size));
}

// The options of a call after their checks, in the type of the arithmetic.
template <class Work, class Real>
class loss_terms {
public:
    Work temperature;
    Work z_loss;
    std::size_t classes;
    std::int64_t ignore_index;

    constexpr loss_terms(const cross_entropy_options<Real>& options, std::size_t class_count)
        : temperature(
              checked_temperature<Work>("cross_entropy", options.temperature, temperature_rule::positive)),
          z_loss(options.z_loss),
          classes(class_count),
          ignore_index(options.ignore_index),
          kept_(Work(1.0) - Work(options.label_smoothing)),
          smoothed_(Work(options.label_smoothing) / from_size<Work>(class_count == 0 ? 1 : class_count)),
          class_weights_(options.class_weights) {
        if (classes == 0) {
            violate_empty("cross_entropy", "a row of logits");
        }
        const Work smoothing(options.label_smoothing); // 1 - smoothing would round
        if (!(smoothing >= Work(0.0) && smoothing <= Work(1.0))) {
            violate_value("cross_entropy", "label_smoothing", options.label_smoothing, "in [0, 1]");
        }
        if (!(z_loss >= Work(0.0))) {
            violate_value("cross_entropy", "z_loss", options.z_loss, "at least 0");
        }
        if (!class_weights_.empty()) {
            require_size("cross_entropy", "class_weights", class_weights_.size(), "a row of logits", classes);
        }
        for (const Real& weight : class_weights_) {
            if (!(weight >= Real(0.0))) {
                violate_value("cross_entropy", "class_weights has an element that", weight, "at least 0");
            }
        }
    }

    constexpr Work class_weight(std::size_t c) const {
        return class_weights_.empty() ? Work(1.0) : Work(class_weights_[c]);
    }

    // Whether a class index leaves but one term: w (lse - x_target / T).
    constexpr bool is_one_hot() const { return kept_ == Work(1.0) && z_loss == Work(0.0); }

    // q_c w_c
    constexpr Work weight(std::size_t c, const Work& target) const {
        return (kept_ * target + smoothed_) * class_weight(c);
    }

private:
    Work kept_;     // 1 - a
    Work smoothed_; // a / classes
    std::span<const Real> class_weights_;
};

// The weights q_c w_c of a row, class after class, for a class index ...
template <class Terms>
constexpr auto weights_of_index(const Terms& terms, std::size_t target) {
    return [&terms, target, c = std::size_t{0}]() mutable {
        using work = decltype(terms.temperature);
        const work weight = terms.weight(c, c == target ? work(1.0) : work(0.0));
        ++c;
        return weight;
    };
}

// ... and for probabilities.
template <class Terms, class I>
constexpr auto weights_of_probabilities(const Terms& terms, I target) {
    return [&terms, target, c = std::size_t{0}]() mutable {
        using work = decltype(terms.temperature);
        const work weight = terms.weight(c, static_cast<work>(*target));
        ++c;
        ++target;
        return weight;
    };
}

template <class Index>
constexpr std::size_t checked_target(const Index& target, std::size_t classes) {
    if (target < Index{0} || static_cast<std::uintmax_t>(target) >= classes) {
        violate_target("cross_entropy", target, classes);
    }
    return static_cast<std::size_t>(target);
}

template <class Index>
constexpr bool is_ignored(const Index& target, std::int64_t ignore_index) {
    // A negative index and the unsigned number of the same bits are two.
    if ((target < Index{0}) != (ignore_index < 0)) {
        return false;
    }
    return ignore_index != cross_entropy_options<double>::none &&
           static_cast<std::int64_t>(target) == ignore_index;
}

// Where a gradient goes: nowhere, in calls for the loss alone ...
struct no_gradient {
    static constexpr bool exists = false;
    template <class I>
    static constexpr bool takes_kernel = true;

    constexpr no_gradient of(const auto&) const { return {}; }

    template <class Work>
    constexpr void write(const auto&, auto, const row_loss<Work>&, const Work&, const Work&,
                         const Work&) const {}
    constexpr void write_zeros(const auto&) const {}
    constexpr std::nullptr_t data() const { return nullptr; }
    constexpr void write_row(const auto&) const {}
};

// ... or to an output that starts at first.
template <class Value, class O>
struct gradient_to {
    static constexpr bool exists = true;
    // A kernel reads and writes one type, and rows that are both neighbours or both not.
    template <class I>
    static constexpr bool takes_kernel = kernel_rows<I, O> && neighbours<I> == neighbours<O>;

    O first;

    template <class Elements>
    constexpr auto of(const Elements& elements) const {
        const auto row = elements.of(first).first;
        return gradient_to<Value, std::remove_const_t<decltype(row)>>{row};
    }

    template <class Work>
    constexpr void write(const auto& logits, auto weights, const row_loss<Work>& result,
                         const Work& temperature, const Work& z_loss, const Work& divisor) const {
        cross_entropy_gradient_row<Value>(logits.first, logits.last, first, weights, result, temperature,
                                          z_loss, divisor);
    }

    constexpr void write_zeros(const auto& logits) const {
        O out = first;
        for (auto it = logits.first; it != logits.last; ++it, static_cast<void>(++out)) {
            *out = static_cast<Value>(0.0);
        }
    }

    constexpr O data() const { return first; }
    void write_row(const auto& gathered) const { gathered.copy_to(first); }
};

template <class Out>
constexpr auto gradient_of(Out& gradient) {
    const auto out = row_of(gradient);
    return gradient_to<element_of<Out>, decltype(out.first)>{out.first};
}

// The loss of one row; its gradient is divided by divisor.
template <class Work, class Real>
constexpr Work loss_of_row(const auto& logits, auto weights, const loss_terms<Work, Real>& terms,
                           const auto& gradient, const Work& divisor) {
    const auto result =
        cross_entropy_row(logits.first, logits.last, weights, terms.temperature, terms.z_loss);
    gradient.write(logits, weights, result, terms.temperature, terms.z_loss, divisor);
    return result.loss;
}

// What the kernels can do of loss_of_row: one class index, nothing added. False, with nothing done, for the rest: factors
// beyond the range of float among it, which the generic code applies to each probability in double.
template <class Work, class Real, class I, class S>
bool kernel_loss_of_row(const row<I, S>& logits, std::size_t target, const loss_terms<Work, Real>& terms,
                        const auto& gradient, const Work& divisor, Work& loss) {
    const Work weight = terms.class_weight(target);
    const Work factor = weight / (terms.temperature * divisor);
    if (!terms.is_one_hot() || !(factor > Work(1e-20) && factor < Work(1e20))) {
        return false;
    }
    const auto scale = base2_scale_of<Real>(terms.temperature);
    const auto run = [&](const Real* x, Real* out) {
        loss = weight * static_cast<Work>(cross_entropy_row(x, out, terms.classes, scale, target, factor));
    };
    if constexpr (neighbours<I>) {
        run(logits.first, gradient.data());
        return true;
    } else if (terms.classes <= gathered_row<Real>::longest) {
        gathered_row<Real> gathered(logits.first, logits.last);
        run(gathered.data(), std::remove_cvref_t<decltype(gradient)>::exists ? gathered.data() : nullptr);
        gradient.write_row(gathered);
        return true;
    } else {
        return false;
    }
}

// The same for one class index. A gradient that no kernel writes (a list, another type) does not change the loss.
template <class Work, class Real, class I, class S>
constexpr Work loss_of_row_with_index(const row<I, S>& logits, std::size_t target,
                                      const loss_terms<Work, Real>& terms, const auto& gradient,
                                      const Work& divisor) {
    const auto generic = [&] {
        return loss_of_row(logits, weights_of_index(terms, target), terms, gradient, divisor);
    };
    if constexpr (kernel_rows<I>) {
        Work loss{};
        if (std::is_constant_evaluated()) {
            return generic();
        }
        if constexpr (std::remove_cvref_t<decltype(gradient)>::template takes_kernel<I>) {
            if (kernel_loss_of_row(logits, target, terms, gradient, divisor, loss)) {
                return loss;
            }
        } else if (kernel_loss_of_row(logits, target, terms, no_gradient{}, divisor, loss)) {
            generic();
            return loss;
        }
    }
    return generic();
}

template <class Real>
constexpr Real loss_of_index(const auto& logits, const auto& target, const auto& gradient,
                             const cross_entropy_options<Real>& options) {
    using work = work_t<Real>;
    const loss_terms<work, Real> terms(options, size_of(logits));
    if (is_ignored(target, terms.ignore_index)) {
        gradient.write_zeros(logits);
        return Real(0.0);
    }
    const std::size_t checked = checked_target(target, terms.classes);
    return static_cast<Real>(loss_of_row_with_index(logits, checked, terms, gradient, work(1.0)));
}

template <class Real>
constexpr Real loss_of_probabilities(const auto& logits, const auto& target, const auto& gradient,
                                     const cross_entropy_options<Real>& options) {
    using work = work_t<Real>;
    const loss_terms<work, Real> terms(options, size_of(logits));
    require_size("cross_entropy", "target probabilities", size_of(target), "logits", terms.classes);
    const auto weights = weights_of_probabilities(terms, target.first);
    return static_cast<Real>(loss_of_row(logits, weights, terms, gradient, work(1.0)));
}

// Checks every target; returns the sum of the weights of those that count.
template <class Work, class Real>
constexpr Work checked_weight_of_targets(const auto& targets, const loss_terms<Work, Real>& terms) {
    compensated_sum<Work> weight;
    for (auto it = targets.first; it != targets.last; ++it) {
        const std::iter_value_t<decltype(it)> target = *it;
        if (!is_ignored(target, terms.ignore_index)) {
            weight += terms.class_weight(checked_target(target, terms.classes));
        }
    }
    return weight.value().hi;
}

// Where nothing counts the mean is 0, not 0 / 0.
template <class Real, class Work>
constexpr Real reduced(const compensated_sum<Work>& total, const Work& divisor) {
    if (divisor == Work(0.0)) {
        return Real(0.0);
    }
    const Work quotient = total.value().hi / divisor;
    return static_cast<Real>(quotient);
}

template <class Real>
constexpr Real loss_of_index_batch(const auto& logits, const auto& targets, const auto& gradient,
                                   const shape& batch, const cross_entropy_options<Real>& options) {
    using work = work_t<Real>;
    require_size("cross_entropy", "targets", size_of(targets), "the batch of rows",
                 row_count("cross_entropy", batch));
    const loss_terms<work, Real> terms(options, batch.classes);
    const work weight = checked_weight_of_targets(targets, terms);
    const work divisor = options.reduce == reduction::mean ? weight : work(1.0);
    compensated_sum<work> total;
    auto target = targets.first;
    for_each_row(batch, [&](auto elements) {
        const auto row = elements.of(logits.first);
        const std::iter_value_t<decltype(target)> index = *target;
        ++target;
        if (divisor == work(0.0) || is_ignored(index, terms.ignore_index)) {
            gradient.of(elements).write_zeros(row);
        } else {
            total += loss_of_row_with_index(row, static_cast<std::size_t>(index), terms,
                                            gradient.of(elements), divisor);
        }
    });
    return reduced<Real>(total, divisor);
}

template <class Real>
constexpr Real loss_of_probability_batch(const auto& logits, const auto& targets, const auto& gradient,
                                         const shape& batch, const cross_entropy_options<Real>& options) {
    using work = work_t<Real>;
    require_size("cross_entropy", "target probabilities", size_of(targets), "logits", size_of(logits));
    const loss_terms<work, Real> terms(options, batch.classes);
    const work divisor =
        options.reduce == reduction::mean ? from_size<work>(row_count("cross_entropy", batch)) : work(1.0);
    compensated_sum<work> total;
    for_each_row(batch, [&](auto elements) {
        const auto weights = weights_of_probabilities(terms, elements.of(targets.first).first);
        total += loss_of_row(elements.of(logits.first), weights, terms, gradient.of(elements), divisor);
    });
    return reduced<Real>(total, divisor);
}

template <class Real, class Targets>
constexpr Real loss_of_batch(const auto& logits, Targets& targets, const auto& gradient, const shape& batch,
                             const cross_entropy_options<Real>& options) {
    require_size("cross_entropy", "logits", size_of(logits), "the shape",
                 element_count("cross_entropy", batch));
    if constexpr (index_row<Targets>) {
        return loss_of_index_batch(logits, row_of(targets), gradient, batch, options);
    } else {
        return loss_of_probability_batch(logits, row_of(targets), gradient, batch, options);
    }
}

} // namespace smx::inline SMX_ABI::detail

#endif
