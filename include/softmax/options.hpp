// The rules that all functions share: what a temperature may be, and the options of the losses.
#ifndef SMX_OPTIONS_HPP
#define SMX_OPTIONS_HPP

#include "detail/contract.hpp"
#include "detail/elements.hpp"

#include <concepts>
#include <cstdint>
#include <limits>
#include <span>
#include <type_traits>

namespace smx::inline SMX_ABI {

// A temperature divides the logits: p_i = exp(x_i / T) / sum_j exp(x_j / T). It is any arithmetic type, or the element
// type itself (a 50-digit temperature keeps its digits, a dual number its derivative). It has to be at least 0; 0 and
// infinity are the limits that the table in softmax.hpp states. For rows of double it is rounded to double.
template <class T, class Real>
concept temperature_for = detail::number<T> && std::constructible_from<Real, T>;

// One temperature for all rows of a batch, or a range of one per row.
template <class T, class Real>
concept temperatures_for = temperature_for<std::remove_cvref_t<T>, Real> ||
                           (detail::number_row<T> && temperature_for<detail::element_of<T>, Real>);

// How cross_entropy and kl_divergence put the losses of many rows together.
enum class reduction {
    mean, // divided by the sum of the weights of the targets (class indices) or the number of rows (probabilities)
    sum,
};

namespace detail {

inline constexpr std::int64_t no_index = (std::numeric_limits<std::int64_t>::min)();

} // namespace detail

// Options of cross_entropy, each with a default, so that designated initializers read well:
// `cross_entropy(logits, target, {.temperature = 2, .label_smoothing = 0.1})`.
template <class Real>
struct cross_entropy_options {
    // double for float and double, the element type itself for wider ones.
    using parameter = std::conditional_t<std::same_as<Real, float>, double, Real>;

    // The ignore_index that ignores no row.
    static constexpr std::int64_t none = detail::no_index;

    // Greater than 0.
    parameter temperature{1.0};

    // a in [0, 1]: the target becomes (1 - a) target + a / classes.
    parameter label_smoothing{0.0};

    // One weight per class, at least 0 each, or empty: all 1. Of the type of the results; not copied: has to live as long
    // as the call.
    std::span<const Real> class_weights = {};

    // Rows whose class index is this number have loss 0 and gradient 0 and do not count in the mean. -1 is not the
    // unsigned number of the same bits. The smallest std::int64_t means that no index is ignored.
    std::int64_t ignore_index = none;

    // z, at least 0: adds z * logsumexp(x / T)^2, which keeps the logits of language models from drifting
    // (Chowdhery et al., "PaLM", 2022, section 5).
    parameter z_loss{0.0};

    // At least 0: the logits are first replaced by softcap * tanh(logit / softcap), which keeps them in (-softcap, softcap)
    // (Gemma Team, "Gemma 2", 2024, section 2). 0, or infinity, leaves them as they are.
    parameter softcap{0.0};

    // Of the batch forms; a single row is never divided.
    reduction reduce = reduction::mean;

    // Where the logsumexp of each row, of the capped logits over T, is left for reuse: one element per row, or empty: not
    // wanted. An option and not an argument: every form of the call has it, and none gets more overloads. A row that is
    // ignored leaves 0, a row whose loss is NaN by its logits NaN. Must not overlap the logits, the targets or the gradient.
    std::span<Real> logsumexps = {};
};

// Options of kl_divergence.
template <class Real>
struct distillation_options {
    // As in cross_entropy_options.
    using parameter = typename cross_entropy_options<Real>::parameter;

    // Greater than 0 and finite; of both rows.
    parameter temperature{1.0};

    // Of the batch form: the mean is over all rows. A single row is never divided.
    reduction reduce = reduction::mean;
};

namespace detail {

// T = 0 is a limit that probabilities have; logsumexp and losses do not.
enum class temperature_rule { zero_allowed, positive };

template <class Work, class T>
constexpr Work checked_temperature(const char* function, const T& temperature, temperature_rule rule) {
    const Work work = static_cast<Work>(temperature);
    bool negative = false;
    if constexpr (std::floating_point<T>) {
        negative = temperature < 0; // also where it rounds to -0
    }
    if (negative || !(work >= Work(0.0))) {
        violate_value(function, "temperature", temperature, "at least 0");
    }
    if (rule == temperature_rule::positive && work == Work(0.0)) {
        violate_value(function, "temperature", temperature, "greater than 0");
    }
    return work;
}

} // namespace detail

} // namespace smx::inline SMX_ABI

#endif
