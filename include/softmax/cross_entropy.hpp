// cross_entropy: the loss of classifiers and language models, alone or fused with its gradient; class indices or
// probabilities as targets; one row or a batch. kl_divergence: the loss of a student that learns from a teacher.
//
// The loss of one row, lse = logsumexp(logits / T):
//     L = sum_c q_c w_c (lse - logits_c / T) + z lse^2
//     q = (1 - a) target + a / classes      a: label_smoothing; target: one-hot, or the given probabilities
//     w: class_weights, 1 if none           z: z_loss
// A class with q_c w_c = 0 adds 0 whatever its logit. The gradient is dL/d(logits), of what is returned: 1 / T, the
// weights and the divisor of a mean included.
//
// Precision: float, double and long double losses of one class index are within 3 ulp, down to the smallest normal
// number: where the target dominates, the loss and the target's gradient come from the sum of the other terms and do not cancel.
// What z_loss adds is within 10 ulp of z times the square of the larger part of logsumexp: a square has twice the error.
//
// Shared by all functions here
//   special rows   the table in softmax.hpp
//   in place       the gradient may overwrite the logits, the target probabilities, or the teacher's logits
//   errors         std::invalid_argument: an empty row, a size that does not fit, T <= 0 or NaN, label_smoothing outside
//                  [0, 1], a negative weight or z_loss, an infinite T of kl_divergence; std::out_of_range: a target outside
//                  [0, classes) that is not ignore_index; before anything is written
//   does not       allocate (batches with inner > 1 take 64 KiB of stack, 128 with a second row of logits or
//                  probabilities), print, or keep state
#ifndef SMX_CROSS_ENTROPY_HPP
#define SMX_CROSS_ENTROPY_HPP

#include "detail/contract.hpp"
#include "detail/divergences.hpp"
#include "detail/elements.hpp"
#include "detail/loss_batches.hpp"
#include "detail/losses.hpp"
#include "detail/tasks.hpp"
#include "options.hpp"
#include "shape.hpp"

#include <concepts>
#include <cstddef>
#include <initializer_list>
#include <type_traits>

namespace smx::inline SMX_ABI {

namespace detail {

template <class In, class Target>
concept probabilities_for = number_row<In> && real_row<Target>;

template <class In, class Targets>
concept batch_targets_for = number_row<In> && contiguous_row<In> &&
                            (class_index_row<Targets> || (real_row<Targets> && contiguous_row<Targets>));

template <class In, class Teacher>
concept divergence_batches_for =
    number_row<In> && contiguous_row<In> && number_row<Teacher> && contiguous_row<Teacher>;

template <class N>
constexpr void refuse_bare_braces() {
    static_assert(sizeof(N) == 0, "after target probabilities {a, b} could mean a shape or options: "
                                  "write smx::shape{a, b}, or name the option as in {.temperature = 2}");
}

// Class indices do not take part in the type of the results, probabilities do. (Without a type for what is no row: Clang looks
// at the types of a function before its constraints.)
template <class In, class Targets>
consteval auto loss_real() {
    if constexpr (!number_row<In>) {
        return no_type{};
    } else if constexpr (real_row<Targets>) {
        return std::type_identity<real_of<In, Targets>>{};
    } else {
        return std::type_identity<real_of<In>>{};
    }
}
template <class In, class Targets>
using loss_real_of = typename decltype(loss_real<In, Targets>())::type;

} // namespace detail

// The loss of one row whose class is `target`.
template <class In, detail::class_index Target>
    requires detail::number_row<In> && (!std::is_array_v<std::remove_reference_t<In>>)
constexpr detail::real_of<In> cross_entropy(In&& logits, Target target,
                                            cross_entropy_options<detail::real_of<In>> options = {}) {
    return detail::loss_of_index(detail::row_of(logits), target, detail::no_gradient{}, options);
}

// The same for arrays and braces, also in constant expressions.
template <detail::number E, std::size_t N, detail::class_index Target>
constexpr detail::real_t<E> cross_entropy(const E (&logits)[N], Target target,
                                          cross_entropy_options<detail::real_t<E>> options = {}) {
    return detail::loss_of_index(detail::row_of(logits), target, detail::no_gradient{}, options);
}

// The same with its gradient, bit for bit the same loss.
template <class In, detail::class_index Target, class Out>
    requires detail::number_row<In> && detail::writable_row<Out>
constexpr detail::real_of<In> cross_entropy(In&& logits, Target target, Out&& gradient,
                                            cross_entropy_options<detail::real_of<In>> options = {}) {
    const auto in = detail::row_of(logits);
    detail::require_size("cross_entropy", "gradient", detail::size_of(detail::row_of(gradient)), "logits",
                         detail::size_of(in));
    return detail::loss_of_index(in, target, detail::gradient_of(gradient), options);
}

// The same for iterators, without and with the gradient. (Target probabilities are taken as ranges only: three pointers
// would fit logits, target, gradient as arrays and first, last, target alike.)
template <std::forward_iterator I, std::sentinel_for<I> S, detail::class_index Target>
    requires detail::number<std::iter_value_t<I>>
constexpr detail::real_t<std::iter_value_t<I>>
cross_entropy(I first, S last, Target target,
              cross_entropy_options<detail::real_t<std::iter_value_t<I>>> options = {}) {
    return detail::loss_of_index(detail::row_between(first, last), target, detail::no_gradient{}, options);
}

template <std::forward_iterator I, std::sentinel_for<I> S, detail::class_index Target, class O>
    requires detail::number<std::iter_value_t<I>> &&
             detail::output_for<O, detail::real_t<std::iter_value_t<I>>>
constexpr detail::real_t<std::iter_value_t<I>>
cross_entropy(I first, S last, Target target, O gradient,
              cross_entropy_options<detail::real_t<std::iter_value_t<I>>> options = {}) {
    using value = detail::value_written_t<O, detail::real_t<std::iter_value_t<I>>>;
    return detail::loss_of_index(detail::row_between(first, last), target,
                                 detail::gradient_to<value, O>{gradient}, options);
}

// Arrays are rows, not iterators.
template <class E, std::size_t N, class F, std::size_t M, detail::class_index Target, class... Rest>
void cross_entropy(E (&)[N], F (&)[M], Target, Rest&&...) = delete;

// The loss of one row whose target is a distribution: one probability per class. They are used as given; a sum other
// than 1 is the caller's.
template <class In, class Target>
    requires detail::probabilities_for<In, Target>
constexpr detail::real_of<In, Target>
cross_entropy(In&& logits, Target&& probabilities,
              cross_entropy_options<detail::real_of<In, Target>> options = {}) {
    return detail::loss_of_probabilities(detail::row_of(logits), detail::row_of(probabilities),
                                         detail::no_gradient{}, options);
}

// The same with its gradient, bit for bit the same loss.
template <class In, class Target, class Out>
    requires detail::probabilities_for<In, Target> && detail::writable_row<Out>
constexpr detail::real_of<In, Target>
cross_entropy(In&& logits, Target&& probabilities, Out&& gradient,
              cross_entropy_options<detail::real_of<In, Target>> options = {}) {
    const auto in = detail::row_of(logits);
    detail::require_size("cross_entropy", "gradient", detail::size_of(detail::row_of(gradient)), "logits",
                         detail::size_of(in));
    return detail::loss_of_probabilities(in, detail::row_of(probabilities), detail::gradient_of(gradient),
                                         options);
}

// Braces without names after target probabilities fit a shape and options alike.
template <class In, class Target, class N = int>
    requires detail::probabilities_for<In, Target>
constexpr void cross_entropy(In&&, Target&&, std::initializer_list<N>) {
    detail::refuse_bare_braces<N>();
}
template <class In, class Target, class Out, class N = int>
    requires detail::probabilities_for<In, Target> && detail::writable_row<Out>
constexpr void cross_entropy(In&&, Target&&, Out&&, std::initializer_list<N>) {
    detail::refuse_bare_braces<N>();
}

// The loss of the rows of a batch in one contiguous buffer. targets holds one class index per row (a range of integers), or
// one probability per logit, laid out like the logits. options.reduce: the mean is over the rows that count, divided by
// the sum of the weights w[target] (class indices) or by the number of rows (probabilities); where nothing counts, all
// rows ignored or of weight 0, it is 0 and so is the gradient.
template <class In, class Targets>
    requires detail::batch_targets_for<In, Targets>
constexpr detail::loss_real_of<In, Targets>
cross_entropy(In&& logits, Targets&& targets, shape batch,
              cross_entropy_options<detail::loss_real_of<In, Targets>> options = {}) {
    return detail::loss_of_shape(detail::calling_thread{}, detail::row_of(logits), targets,
                                 detail::no_gradient{}, batch, options);
}

// The same with its gradient, laid out like the logits; bit for bit the same loss.
template <class In, class Targets, class Out>
    requires detail::batch_targets_for<In, Targets> && detail::writable_row<Out> &&
             detail::contiguous_row<Out>
constexpr detail::loss_real_of<In, Targets>
cross_entropy(In&& logits, Targets&& targets, Out&& gradient, shape batch,
              cross_entropy_options<detail::loss_real_of<In, Targets>> options = {}) {
    detail::require_size("cross_entropy", "gradient", detail::size_of(detail::row_of(gradient)), "the shape",
                         detail::element_count("cross_entropy", batch));
    return detail::loss_of_shape(detail::calling_thread{}, detail::row_of(logits), targets,
                                 detail::gradient_of(gradient), batch, options);
}

// One loss per row: losses[o * inner + i] is that of row (o, i), class weights included, 0 for an ignored row; any range of
// a real type. options.reduce has no say.
template <class In, class Targets, class Losses>
    requires detail::batch_targets_for<In, Targets> && detail::writable_row<Losses>
constexpr void cross_entropy_per_row(In&& logits, Targets&& targets, Losses&& losses, shape batch,
                                     cross_entropy_options<detail::loss_real_of<In, Targets>> options = {}) {
    detail::losses_of_shape(detail::calling_thread{}, detail::row_of(logits), targets, detail::row_of(losses),
                            detail::no_gradient{}, batch, options);
}

// The same with the gradient of the sum of the losses, laid out like the logits: each row's is that of its own loss.
template <class In, class Targets, class Losses, class Out>
    requires detail::batch_targets_for<In, Targets> && detail::writable_row<Losses> &&
             detail::writable_row<Out> && detail::contiguous_row<Out>
constexpr void cross_entropy_per_row(In&& logits, Targets&& targets, Losses&& losses, Out&& gradient,
                                     shape batch,
                                     cross_entropy_options<detail::loss_real_of<In, Targets>> options = {}) {
    detail::require_size("cross_entropy_per_row", "gradient", detail::size_of(detail::row_of(gradient)),
                         "the shape", detail::element_count("cross_entropy_per_row", batch));
    detail::losses_of_shape(detail::calling_thread{}, detail::row_of(logits), targets, detail::row_of(losses),
                            detail::gradient_of(gradient), batch, options);
}

// Distillation: how far the student's distribution is from the teacher's, T^2 sum_c t_c log(t_c / s_c), with t and s the softmax
// of the rows at options.temperature. The factor T^2 keeps the gradient of the size that it has at T = 1 (Hinton, Vinyals,
// Dean, "Distilling the Knowledge in a Neural Network", 2015, section 2.1).
//
// Never negative, 0 for equal rows. A class that the teacher excludes by -inf adds 0, whatever the student's logit; one that only
// the student excludes makes the loss +inf. NaN where either row has no softmax.
//
// float, double and long double: within 6 ulp of max(loss, (4 epsilon T)^2), also where the rows nearly agree and where one class
// dominates. Rows of float or double with logits beyond 2^19 T or 2^44 T, and such whose loss is infinite, take the generic code:
// the same bounds, with the bits of the machine's exp and log.
template <class In, class Teacher>
    requires detail::number_row<In> && detail::number_row<Teacher>
constexpr detail::real_of<In, Teacher>
kl_divergence(In&& student_logits, Teacher&& teacher_logits,
              distillation_options<detail::real_of<In, Teacher>> options = {}) {
    return detail::divergence_of_row(detail::row_of(student_logits), detail::row_of(teacher_logits),
                                     detail::no_gradient{}, options);
}

// The same with its gradient by the student's logits, T (s_c - t_c); bit for bit the same loss. The gradient may overwrite
// either row of logits. Within 8 ulp of T max(s_c, t_c) min(1, d + 16 epsilon max(1, a / 256)), d the largest |log(t_j / s_j)|, a
// the distance of the largest logits of the two rows over T: where the rows nearly agree the error is one of their difference.
template <class In, class Teacher, class Out>
    requires detail::number_row<In> && detail::number_row<Teacher> && detail::writable_row<Out>
constexpr detail::real_of<In, Teacher>
kl_divergence(In&& student_logits, Teacher&& teacher_logits, Out&& gradient,
              distillation_options<detail::real_of<In, Teacher>> options = {}) {
    const auto in = detail::row_of(student_logits);
    detail::require_size("kl_divergence", "gradient", detail::size_of(detail::row_of(gradient)),
                         "student_logits", detail::size_of(in));
    return detail::divergence_of_row(in, detail::row_of(teacher_logits), detail::gradient_of(gradient),
                                     options);
}

// Braces without names fit a shape and options alike.
template <class In, class Teacher, class N = int>
    requires detail::number_row<In> && detail::number_row<Teacher>
constexpr void kl_divergence(In&&, Teacher&&, std::initializer_list<N>) {
    detail::refuse_bare_braces<N>();
}
template <class In, class Teacher, class Out, class N = int>
    requires detail::number_row<In> && detail::number_row<Teacher> && detail::writable_row<Out>
constexpr void kl_divergence(In&&, Teacher&&, Out&&, std::initializer_list<N>) {
    detail::refuse_bare_braces<N>();
}

// The divergences of the rows of a batch in contiguous buffers: their mean, or their sum, as options.reduce says; the mean of no
// rows is 0.
template <class In, class Teacher>
    requires detail::divergence_batches_for<In, Teacher>
constexpr detail::real_of<In, Teacher>
kl_divergence(In&& student_logits, Teacher&& teacher_logits, shape batch,
              distillation_options<detail::real_of<In, Teacher>> options = {}) {
    return detail::divergence_of_shape(detail::calling_thread{}, detail::row_of(student_logits),
                                       detail::row_of(teacher_logits), detail::no_gradient{}, batch, options);
}

// The same with its gradient, laid out like the logits; bit for bit the same loss.
template <class In, class Teacher, class Out>
    requires detail::divergence_batches_for<In, Teacher> && detail::writable_row<Out> &&
             detail::contiguous_row<Out>
constexpr detail::real_of<In, Teacher>
kl_divergence(In&& student_logits, Teacher&& teacher_logits, Out&& gradient, shape batch,
              distillation_options<detail::real_of<In, Teacher>> options = {}) {
    detail::require_size("kl_divergence", "gradient", detail::size_of(detail::row_of(gradient)), "the shape",
                         detail::element_count("kl_divergence", batch));
    return detail::divergence_of_shape(detail::calling_thread{}, detail::row_of(student_logits),
                                       detail::row_of(teacher_logits), detail::gradient_of(gradient), batch,
                                       options);
}

} // namespace smx::inline SMX_ABI

#endif
