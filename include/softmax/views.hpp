// Batches in views with strides: std::mdspan, that of Kokkos, or any type of the same interface (strided_view in shape.hpp), of
// any rank from 1 on: padded rows, transposed matrices, images with the channel first or last.
//
// Shared by all functions here
//   axis           the one that a row runs along: 0 is the leftmost, -1 the rightmost; an integer of any type. A number with a
//                  fraction is no axis: a temperature needs an axis before it
//   rows           are numbered by the other indices, the rightmost fastest. What there is one of per row (temperatures,
//                  targets, results, losses) is a range in that order, or a view without the axis
//   views          of one call have the same extents; strides may differ, be 0 in what is only read, or negative. The
//                  elements of an output stand in places of their own
//   in place       the output may be the same view as an input; any other overlap is outside the contract
//   results        special values, bits and errors: as in batches of a shape, forward.hpp, backward.hpp and
//                  cross_entropy.hpp
//   errors         besides: std::out_of_range for an axis outside [-rank, rank); std::invalid_argument for extents that
//                  differ and for a layout without strides (is_strided() is false); before anything is written
//   does not       allocate (64 KiB of stack where the elements of a row are no neighbours or short rows are padded, twice
//                  that where two views are read)
#ifndef SMX_VIEWS_HPP
#define SMX_VIEWS_HPP

#include "detail/tasks.hpp"
#include "detail/views.hpp"
#include "options.hpp"
#include "shape.hpp"

#include <type_traits>

namespace smx::inline SMX_ABI {

// softmax of each row. temperature is one value, or one per row.
template <detail::number_view In, detail::writable_view_like<In> Out, detail::axis_index Axis = int,
          class T = int>
    requires detail::temperatures_for_view<T, detail::view_real_of<In, Out>, In>
constexpr void softmax(In&& logits, Out&& probabilities, Axis axis = -1, T&& temperature = 1) {
    detail::map_view<detail::softmax_route>(detail::calling_thread{}, logits, probabilities, axis,
                                            temperature);
}

// log_softmax of each row.
template <detail::number_view In, detail::writable_view_like<In> Out, detail::axis_index Axis = int,
          class T = int>
    requires detail::temperatures_for_view<T, detail::view_real_of<In, Out>, In>
constexpr void log_softmax(In&& logits, Out&& log_probabilities, Axis axis = -1, T&& temperature = 1) {
    detail::map_view<detail::log_softmax_route>(detail::calling_thread{}, logits, log_probabilities, axis,
                                                temperature);
}

// logsumexp of each row: one result per row.
template <detail::number_view In, detail::writable_per_row_of<In> Out, detail::axis_index Axis = int,
          class T = int>
    requires detail::temperatures_for_view<T, detail::view_real_of<In>, In>
constexpr void logsumexp(In&& logits, Out&& results, Axis axis = -1, T&& temperature = 1) {
    detail::reduce_view(detail::calling_thread{}, logits, results, axis, temperature);
}

// The loss of all rows. targets: one class index per row, or a view of a probability per logit.
template <detail::number_view In, detail::targets_for_view<In> Targets, detail::axis_index Axis = int>
constexpr detail::view_loss_real_of<In, Targets>
cross_entropy(In&& logits, Targets&& targets, Axis axis = -1,
              cross_entropy_options<detail::view_loss_real_of<In, Targets>> options = {}) {
    return detail::loss_of_view(detail::calling_thread{}, logits, targets, detail::no_gradient{}, axis,
                                options);
}

// The same with its gradient; bit for bit the same loss.
template <detail::number_view In, detail::targets_for_view<In> Targets, detail::writable_view_like<In> Out,
          detail::axis_index Axis = int>
constexpr detail::view_loss_real_of<In, Targets>
cross_entropy(In&& logits, Targets&& targets, Out&& gradient, Axis axis = -1,
              cross_entropy_options<detail::view_loss_real_of<In, Targets>> options = {}) {
    return detail::loss_of_view(detail::calling_thread{}, logits, targets, gradient, axis, options);
}

// One loss per row.
template <detail::number_view In, detail::targets_for_view<In> Targets,
          detail::writable_per_row_of<In> Losses, detail::axis_index Axis = int>
constexpr void
cross_entropy_per_row(In&& logits, Targets&& targets, Losses&& losses, Axis axis = -1,
                      cross_entropy_options<detail::view_loss_real_of<In, Targets>> options = {}) {
    detail::losses_of_view(detail::calling_thread{}, logits, targets, losses, detail::no_gradient{}, axis,
                           options);
}

// The same with the gradient of their sum.
template <detail::number_view In, detail::targets_for_view<In> Targets,
          detail::writable_per_row_of<In> Losses, detail::writable_view_like<In> Out,
          detail::axis_index Axis = int>
constexpr void
cross_entropy_per_row(In&& logits, Targets&& targets, Losses&& losses, Out&& gradient, Axis axis = -1,
                      cross_entropy_options<detail::view_loss_real_of<In, Targets>> options = {}) {
    detail::losses_of_view(detail::calling_thread{}, logits, targets, losses, gradient, axis, options);
}

// The gradient of softmax by the logits of each row. temperature is one value, or one per row.
template <detail::number_view P, detail::number_view_like<P> U, detail::writable_view_like<P> G,
          detail::axis_index Axis = int, class T = int>
    requires detail::temperatures_for_view<T, detail::view_real_of<P, U, G>, P>
constexpr void softmax_backward(P&& probabilities, U&& upstream, G&& gradient, Axis axis = -1,
                                T&& temperature = 1) {
    detail::backward_view<detail::softmax_backward_route>(detail::calling_thread{}, probabilities, upstream,
                                                          gradient, axis, temperature);
}
// The gradient of log_softmax by the logits of each row.
template <detail::number_view L, detail::number_view_like<L> U, detail::writable_view_like<L> G,
          detail::axis_index Axis = int, class T = int>
    requires detail::temperatures_for_view<T, detail::view_real_of<L, U, G>, L>
constexpr void log_softmax_backward(L&& log_probabilities, U&& upstream, G&& gradient, Axis axis = -1,
                                    T&& temperature = 1) {
    detail::backward_view<detail::log_softmax_backward_route>(detail::calling_thread{}, log_probabilities,
                                                              upstream, gradient, axis, temperature);
}

// The divergence of all rows, without and with its gradient by the student's logits.
template <detail::number_view In, detail::number_view_like<In> Teacher, detail::axis_index Axis = int>
constexpr detail::view_real_of<In, Teacher>
kl_divergence(In&& student_logits, Teacher&& teacher_logits, Axis axis = -1,
              distillation_options<detail::view_real_of<In, Teacher>> options = {}) {
    return detail::divergence_of_view(detail::calling_thread{}, student_logits, teacher_logits,
                                      detail::no_gradient{}, axis, options);
}
template <detail::number_view In, detail::number_view_like<In> Teacher, detail::writable_view_like<In> Out,
          detail::axis_index Axis = int>
constexpr detail::view_real_of<In, Teacher>
kl_divergence(In&& student_logits, Teacher&& teacher_logits, Out&& gradient, Axis axis = -1,
              distillation_options<detail::view_real_of<In, Teacher>> options = {}) {
    return detail::divergence_of_view(detail::calling_thread{}, student_logits, teacher_logits, gradient,
                                      axis, options);
}

} // namespace smx::inline SMX_ABI

#endif
