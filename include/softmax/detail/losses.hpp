// Cross-entropy of rows between its checks and its arithmetic: what the options make of a target, and where the gradient
// goes. Rows go to loss_rows.hpp where they can, else to generic_rows.hpp.
#ifndef SMX_DETAIL_LOSSES_HPP
#define SMX_DETAIL_LOSSES_HPP

#include "../options.hpp"
#include "contract.hpp"
#include "elements.hpp"
#include "generic_rows.hpp"
#include "loss_rows.hpp"
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

// A class index: any integer whose values std::intmax_t or std::uintmax_t holds (of __int128, not all).
template <class T>
concept class_index = std::integral<T> && sizeof(T) <= sizeof(std::uintmax_t);

template <class R>
concept class_index_row = index_row<R> && class_index<element_of<R>>;

// The options of a call after their checks, in the type of the arithmetic.
template <class Work, class Real>
class loss_terms {
public:
    loss_formula<Work> formula;
    std::size_t classes;
    std::int64_t ignore_index;

    constexpr loss_terms(const cross_entropy_options<Real>& options, std::size_t class_count,
                         std::size_t rows)
        : formula{checked_temperature<Work>("cross_entropy", options.temperature, temperature_rule::positive),
                  Work(options.z_loss), soft_cap<Work>(Work(options.softcap))},
          classes(class_count),
          ignore_index(options.ignore_index),
          kept_(Work(1.0) - Work(options.label_smoothing)),
          smoothed_(Work(options.label_smoothing) / from_size<Work>(class_count == 0 ? 1 : class_count)),
          class_weights_(options.class_weights),
          logsumexps_(options.logsumexps) {
        if (classes == 0) {
            violate_empty("cross_entropy", "a row of logits");
        }
        const Work smoothing(options.label_smoothing); // 1 - smoothing would round
        if (!(smoothing >= Work(0.0) && smoothing <= Work(1.0))) {
            violate_value("cross_entropy", "label_smoothing", options.label_smoothing, "in [0, 1]");
        }
        if (!(formula.z_loss >= Work(0.0))) {
            violate_value("cross_entropy", "z_loss", options.z_loss, "at least 0");
        }
        if (!(Work(options.softcap) >= Work(0.0))) {
            violate_value("cross_entropy", "softcap", options.softcap, "at least 0");
        }
        if (!class_weights_.empty()) {
            require_size("cross_entropy", "class_weights", class_weights_.size(), "a row of logits", classes);
        }
        for (const Real& weight : class_weights_) {
            if (!(weight >= Real(0.0))) {
                violate_value("cross_entropy", "class_weights has an element that", weight, "at least 0");
            }
        }
        if (!logsumexps_.empty()) {
            require_size("cross_entropy", "logsumexps", logsumexps_.size(), "the batch of rows", rows);
        }
    }

    constexpr bool has_class_weights() const { return !class_weights_.empty(); }
    constexpr Work class_weight(std::size_t c) const {
        return class_weights_.empty() ? Work(1.0) : Work(class_weights_[c]);
    }

    // q_c w_c
    constexpr Work weight(std::size_t c, const Work& target) const {
        return (kept_ * target + smoothed_) * class_weight(c);
    }

    constexpr bool keeps_logsumexps() const { return !logsumexps_.empty(); }
    constexpr void keep_logsumexp(std::size_t row, const Work& value) const {
        if (!logsumexps_.empty()) {
            logsumexps_[row] = static_cast<Real>(value);
        }
    }

    // Whether the kernels do it: neither limits of T nor a cap, whose tanh costs the digits of a double.
    constexpr bool suits_kernels() const { return is_divisor(formula.temperature) && !formula.cap.is_on(); }

    loss_rule<Real> rule(const Work& divisor) const {
        base2_scale<Real> own;
        return {base2_scale_of<Real>(formula.temperature, own),
                classes,
                class_weights_.empty() ? nullptr : class_weights_.data(),
                kept_,
                smoothed_,
                formula.z_loss,
                formula.temperature * divisor};
    }

private:
    Work kept_;     // 1 - a
    Work smoothed_; // a / classes
    std::span<const Real> class_weights_;
    std::span<Real> logsumexps_;
};

// The weights q_c w_c of a row, class after class, for a class index ...
template <class Terms>
constexpr auto weights_of_index(const Terms& terms, std::size_t target) {
    return [&terms, target, c = std::size_t{0}]() mutable {
        using work = decltype(terms.formula.temperature);
        const work weight = terms.weight(c, c == target ? work(1.0) : work(0.0));
        ++c;
        return weight;
    };
}

// ... and for probabilities.
template <class Terms, class I>
constexpr auto weights_of_probabilities(const Terms& terms, I target) {
    return [&terms, target, c = std::size_t{0}]() mutable {
        using work = decltype(terms.formula.temperature);
        const work weight = terms.weight(c, static_cast<work>(*target));
        ++c;
        ++target;
        return weight;
    };
}

// (One comparison: as an unsigned number a negative index is beyond all classes.)
template <class Index>
constexpr bool is_class(const Index& target, std::size_t classes) {
    return static_cast<std::uintmax_t>(target) < classes;
}
template <class Index>
constexpr std::size_t checked_target(const Index& target, std::size_t classes) {
    if (!is_class(target, classes)) {
        violate_target("cross_entropy", target, classes);
    }
    return static_cast<std::size_t>(target);
}

// The index of a type that is to be ignored, if there is one.
template <class Index>
class ignored_index {
public:
    constexpr explicit ignored_index(std::int64_t index)
        : index_(static_cast<Index>(index)),
          // A negative index and the unsigned number of the same bits are two.
          exists_(index != no_index && static_cast<std::int64_t>(index_) == index &&
                  (index_ < Index{0}) == (index < 0)) {}

    constexpr bool is(const Index& target) const { return exists_ & (target == index_); }

private:
    Index index_;
    bool exists_;
};

// Where a gradient goes: nowhere, in calls for the loss alone ...
struct no_gradient {
    static constexpr bool exists = false;
    template <class I>
    static constexpr bool takes_kernel = true;

    constexpr no_gradient of(const auto&) const { return {}; }

    template <class Work>
    constexpr void write(const auto&, auto, const row_loss<Work>&, const loss_formula<Work>&,
                         const Work&) const {}
    constexpr void write_zeros(const auto&) const {}
    constexpr std::nullptr_t data() const { return nullptr; }
};

// ... or to an output that starts at first.
template <class Value, class O>
struct gradient_to {
    using value = Value;
    static constexpr bool exists = true;
    // A kernel reads and writes one type, in rows of neighbours.
    template <class I>
    static constexpr bool takes_kernel = kernel_rows<I, O> && neighbours<I> && neighbours<O>;

    O first;

    template <class Elements>
    constexpr auto of(const Elements& elements) const {
        const auto row = elements.of(first).first;
        return gradient_to<Value, std::remove_const_t<decltype(row)>>{row};
    }

    template <class Work>
    constexpr void write(const auto& logits, auto weights, const row_loss<Work>& result,
                         const loss_formula<Work>& formula, const Work& divisor) const {
        cross_entropy_gradient_row<Value>(logits.first, logits.last, first, weights, result, formula,
                                          divisor);
    }

    constexpr void write_zeros(const auto& logits) const {
        O out = first;
        for (auto it = logits.first; it != logits.last; ++it, static_cast<void>(++out)) {
            *out = static_cast<Value>(0.0);
        }
    }

    constexpr O data() const { return first; }
};

template <class Out>
constexpr auto gradient_of(Out& gradient) {
    const auto out = row_of(gradient);
    return gradient_to<element_of<Out>, decltype(out.first)>{out.first};
}

// The loss of a single row.
template <class Real>
struct one_loss {
    Real value{0.0};

    constexpr void operator()(const work_t<Real>& loss) { value = static_cast<Real>(loss); }
};

// Rows on their way through the kernels or the generic code, in order; take(loss) gets each loss.
template <class Work, class Real, class Take>
class loss_call {
public:
    constexpr loss_call(const loss_terms<Work, Real>& terms, const Work& divisor, Take& take,
                        std::size_t first_row = 0)
        : terms_(terms),
          divisor_(divisor),
          take_(take),
          row_(first_row) {}

    constexpr const loss_terms<Work, Real>& terms() const { return terms_; }

    loss_rule<Real> rule() const { return terms_.rule(divisor_); }

    // The next row by the generic code.
    constexpr void generic(const auto& logits, auto weights, const auto& gradient) {
        const auto result = cross_entropy_row(logits.first, logits.last, weights, terms_.formula);
        gradient.write(logits, weights, result, terms_.formula, divisor_);
        done(result.loss, result.logsumexp);
    }

    // The gradient that no kernel writes (a list, another type) of a row whose loss a kernel has given.
    constexpr void gradient_only(const auto& logits, auto weights, const auto& gradient) const {
        const auto result = cross_entropy_row(logits.first, logits.last, weights, terms_.formula);
        gradient.write(logits, weights, result, terms_.formula, divisor_);
    }

    constexpr void ignored(const auto& logits, const auto& gradient) {
        gradient.write_zeros(logits);
        done(Work(0.0), Work(0.0));
    }

    // The next rows, of neighbouring logits, by the kernels; target is moved past theirs. gradient: or null. has_more: see loss_rows.
    template <class Target>
    void kernel(const loss_rule<Real>& rule, const Real* logits, Real* gradient, std::size_t rows,
                Target& target, bool has_more = false) {
        std::size_t targets[rows_at_a_time];
        in_chunks(rule, rows, has_more, [&](std::size_t first, std::size_t count) {
            read_targets(targets, count, target);
            return loss_rows<Real>{count, logits + first, at(gradient, first), nullptr, targets, {}, {}};
        });
    }
    // The same of rows side by side, in a number that column_rows divides.
    template <class Target>
    void columns(const loss_rule<Real>& rule, const loss_columns<Real>& columns, Target& target) {
        std::size_t targets[column_rows];
        double losses[column_rows], logsumexps[column_rows];
        for (std::size_t r = 0; r < columns.count; r += column_rows) {
            read_targets(targets, column_rows, target);
            loss_columns<Real> some = columns.from(r, column_rows);
            some.targets = targets;
            some.losses = losses;
            some.logsumexps = logsumexps;
            run_column_losses(rule, some);
            take(losses, logsumexps, column_rows);
        }
        if (columns.streams) {
            flush_streams();
        }
    }
    void kernel_of_probabilities(const loss_rule<Real>& rule, const Real* logits, const Real* probabilities,
                                 Real* gradient, std::size_t rows, bool has_more = false) {
        in_chunks(rule, rows, has_more, [&](std::size_t first, std::size_t count) {
            return loss_rows<Real>{
                count, logits + first, at(gradient, first), probabilities + first, nullptr, {}, {}};
        });
    }

private:
    // Enough to spread the cost of a call, few enough for the stack.
    static constexpr std::size_t rows_at_a_time = 64;

    static Real* at(Real* gradient, std::size_t first) {
        return gradient == nullptr ? nullptr : gradient + first;
    }

    // rows_from(first, count) describes `count` rows whose elements begin at `first`.
    void in_chunks(const loss_rule<Real>& rule, std::size_t rows, bool has_more, auto rows_from) {
        double losses[rows_at_a_time], logsumexps[rows_at_a_time];
        for (std::size_t r = 0; r < rows; r += rows_at_a_time) {
            const std::size_t count = rows - r < rows_at_a_time ? rows - r : rows_at_a_time;
            loss_rows<Real> chunk = rows_from(r * terms_.classes, count);
            chunk.losses = losses;
            chunk.logsumexps = logsumexps;
            chunk.has_more = r + count < rows || has_more;
            run_losses(rule, chunk);
            take(losses, logsumexps, count);
        }
    }

    template <class Target>
    void read_targets(std::size_t* targets, std::size_t count, Target& target) const {
        using index = std::iter_value_t<Target>;
        const ignored_index<index> ignored(terms_.ignore_index);
        for (std::size_t r = 0; r < count; ++r, static_cast<void>(++target)) {
            const index c = *target;
            targets[r] = ignored.is(c) ? ignored_row : static_cast<std::size_t>(c);
        }
    }
    void take(const double* losses, const double* logsumexps, std::size_t count) {
        Take copy = take_; // it stays in registers: 256 x 10 with the gradient 19.6 to 15.6 ns a row
        for (std::size_t k = 0; k < count; ++k) {
            copy(losses[k]);
        }
        take_ = copy;
        for (std::size_t k = 0; terms_.keeps_logsumexps() && k < count; ++k) {
            terms_.keep_logsumexp(row_ + k, logsumexps[k]);
        }
        row_ += count;
    }

    constexpr void done(const Work& loss, const Work& logsumexp) {
        terms_.keep_logsumexp(row_++, logsumexp);
        take_(loss);
    }

    const loss_terms<Work, Real>& terms_;
    Work divisor_;
    Take& take_;
    std::size_t row_;
};

template <class Gradient, class I>
inline constexpr bool is_fused_with = std::remove_cvref_t<Gradient>::template takes_kernel<I>;

// Where the kernels write, if they do.
template <class Real, class I>
constexpr Real* kernel_gradient(const auto& gradient) {
    if constexpr (is_fused_with<decltype(gradient), I>) {
        return gradient.data();
    } else {
        return nullptr;
    }
}

template <class Real, class I, class... Targets>
inline constexpr bool have_kernels =
    kernel_rows<I, Targets...> && neighbours<I> && std::same_as<typename pointee<I>::type, Real>;

template <class Real>
constexpr Real loss_of_index(const auto& logits, const auto& target, const auto& gradient,
                             const cross_entropy_options<Real>& options) {
    using work = work_t<Real>;
    using iterator = std::remove_cvref_t<decltype(logits.first)>;
    const loss_terms<work, Real> terms(options, size_of(logits), 1);
    one_loss<Real> take;
    loss_call call(terms, work(1.0), take);
    if (ignored_index<std::remove_cvref_t<decltype(target)>>(terms.ignore_index).is(target)) {
        call.ignored(logits, gradient);
        return take.value;
    }
    const std::size_t checked = checked_target(target, terms.classes);
    if constexpr (have_kernels<Real, iterator>) {
        if (!std::is_constant_evaluated() && terms.suits_kernels()) {
            const std::size_t* one = &checked;
            call.kernel(call.rule(), logits.first, kernel_gradient<Real, iterator>(gradient), 1, one);
            if constexpr (!is_fused_with<decltype(gradient), iterator>) {
                call.gradient_only(logits, weights_of_index(terms, checked), gradient);
            }
            return take.value;
        }
    }
    call.generic(logits, weights_of_index(terms, checked), gradient);
    return take.value;
}

template <class Real>
constexpr Real loss_of_probabilities(const auto& logits, const auto& target, const auto& gradient,
                                     const cross_entropy_options<Real>& options) {
    using work = work_t<Real>;
    using iterator = std::remove_cvref_t<decltype(logits.first)>;
    const loss_terms<work, Real> terms(options, size_of(logits), 1);
    require_size("cross_entropy", "target probabilities", size_of(target), "logits", terms.classes);
    one_loss<Real> take;
    loss_call call(terms, work(1.0), take);
    const auto weights = weights_of_probabilities(terms, target.first);
    if constexpr (have_kernels<Real, iterator, std::remove_cvref_t<decltype(target.first)>>) {
        if (!std::is_constant_evaluated() && terms.suits_kernels()) {
            call.kernel_of_probabilities(call.rule(), logits.first, target.first,
                                         kernel_gradient<Real, iterator>(gradient), 1);
            if constexpr (!is_fused_with<decltype(gradient), iterator>) {
                call.gradient_only(logits, weights, gradient);
            }
            return take.value;
        }
    }
    call.generic(logits, weights, gradient);
    return take.value;
}

} // namespace smx::inline SMX_ABI::detail

#endif
