// The batch functions on the caller's threads: the library starts none. exec is any function object with
//
//     exec(tasks, f)
//
// that calls f(0), f(1) .. f(tasks - 1), each once, in any order, on any threads, and returns when all are done: a loop, an
// OpenMP loop, a parallel algorithm, a thread pool. f takes a std::size_t, may be copied, and may be called by many threads at
// once; it must not be called after exec has returned. Three adapters are in the README.
//
// Shared by all functions here
//   results        bit for bit those of the same call without exec, whatever exec does
//   tasks          depend on the batch alone: rows in parts of about 2^15 logits, at most 256. A batch of fewer than 2^16
//                  logits is not worth a thread: it is done in the calling one, without a call of exec. Fewer than 16 rows
//                  of float or double, with neighbouring elements, of more than 2^19 bytes (softmax: 2^23) are cut
//                  themselves, one after the other, with a few calls of exec each; rows of the masked functions are not
//   arguments      are read by several threads at once, which has to be safe, as it is of the standard library's ranges
//                  (a mask may be a std::vector<bool>)
//   errors         are found before the first call of exec. What exec throws passes through; the output is then
//                  unspecified, and exec must not leave a task running
//   does not       start threads, take locks, or allocate (20 KiB of stack more than the same call without exec)
//   all else       as in the function without exec: forward.hpp, backward.hpp, cross_entropy.hpp, masked.hpp (which
//                  has no views), views.hpp
#ifndef SMX_EXEC_HPP
#define SMX_EXEC_HPP

#include "cross_entropy.hpp"
#include "detail/backward_batches.hpp"
#include "detail/divergences.hpp"
#include "detail/forward_batches.hpp"
#include "detail/loss_batches.hpp"
#include "detail/masked_batches.hpp"
#include "detail/tasks.hpp"
#include "detail/views.hpp"
#include "masked.hpp"
#include "options.hpp"
#include "shape.hpp"

namespace smx::inline SMX_ABI {

// A function object to be called as exec(tasks, f), for any f that takes a std::size_t.
template <class Exec>
concept executor = detail::runs_tasks<Exec> && !detail::forward_row<Exec> && !strided_view<Exec>;

// softmax of each row of a batch: of a shape, and of views along an axis.
template <executor Exec, class In, class Out, class T = int>
    requires detail::number_row<In> && detail::contiguous_row<In> && detail::writable_row<Out> &&
             detail::contiguous_row<Out> && temperatures_for<T, detail::real_of<In, Out>>
void softmax(Exec&& exec, In&& logits, Out&& probabilities, shape batch, T&& temperature = 1) {
    detail::map_shape<detail::softmax_route>(exec, logits, probabilities, batch, temperature);
}
template <executor Exec, detail::number_view In, detail::writable_view_like<In> Out,
          detail::axis_index Axis = int, class T = int>
    requires detail::temperatures_for_view<T, detail::view_real_of<In, Out>, In>
void softmax(Exec&& exec, In&& logits, Out&& probabilities, Axis axis = -1, T&& temperature = 1) {
    detail::map_view<detail::softmax_route>(exec, logits, probabilities, axis, temperature);
}

// log_softmax of each row.
template <executor Exec, class In, class Out, class T = int>
    requires detail::number_row<In> && detail::contiguous_row<In> && detail::writable_row<Out> &&
             detail::contiguous_row<Out> && temperatures_for<T, detail::real_of<In, Out>>
void log_softmax(Exec&& exec, In&& logits, Out&& log_probabilities, shape batch, T&& temperature = 1) {
    detail::map_shape<detail::log_softmax_route>(exec, logits, log_probabilities, batch, temperature);
}
template <executor Exec, detail::number_view In, detail::writable_view_like<In> Out,
          detail::axis_index Axis = int, class T = int>
    requires detail::temperatures_for_view<T, detail::view_real_of<In, Out>, In>
void log_softmax(Exec&& exec, In&& logits, Out&& log_probabilities, Axis axis = -1, T&& temperature = 1) {
    detail::map_view<detail::log_softmax_route>(exec, logits, log_probabilities, axis, temperature);
}

// logsumexp of each row: one result per row.
template <executor Exec, class In, class Out, class T = int>
    requires detail::number_row<In> && detail::contiguous_row<In> && detail::writable_row<Out> &&
             temperatures_for<T, detail::real_of<In, Out>>
void logsumexp(Exec&& exec, In&& logits, Out&& results, shape batch, T&& temperature = 1) {
    detail::reduce_shape(exec, logits, results, batch, temperature);
}
template <executor Exec, detail::number_view In, detail::writable_per_row_of<In> Out,
          detail::axis_index Axis = int, class T = int>
    requires detail::temperatures_for_view<T, detail::view_real_of<In>, In>
void logsumexp(Exec&& exec, In&& logits, Out&& results, Axis axis = -1, T&& temperature = 1) {
    detail::reduce_view(exec, logits, results, axis, temperature);
}

// The loss of all rows, without and with its gradient. The losses of parts of the batch are added in order. Targets are checked, and
// the weights of a mean added, in the calling thread.
template <executor Exec, class In, class Targets>
    requires detail::batch_targets_for<In, Targets>
detail::loss_real_of<In, Targets>
cross_entropy(Exec&& exec, In&& logits, Targets&& targets, shape batch,
              cross_entropy_options<detail::loss_real_of<In, Targets>> options = {}) {
    return detail::loss_of_shape(exec, detail::row_of(logits), targets, detail::no_gradient{}, batch,
                                 options);
}
template <executor Exec, class In, class Targets, class Out>
    requires detail::batch_targets_for<In, Targets> && detail::writable_row<Out> &&
             detail::contiguous_row<Out>
detail::loss_real_of<In, Targets>
cross_entropy(Exec&& exec, In&& logits, Targets&& targets, Out&& gradient, shape batch,
              cross_entropy_options<detail::loss_real_of<In, Targets>> options = {}) {
    detail::require_size("cross_entropy", "gradient", detail::size_of(detail::row_of(gradient)), "the shape",
                         detail::element_count("cross_entropy", batch));
    return detail::loss_of_shape(exec, detail::row_of(logits), targets, detail::gradient_of(gradient), batch,
                                 options);
}
template <executor Exec, detail::number_view In, detail::targets_for_view<In> Targets,
          detail::axis_index Axis = int>
detail::view_loss_real_of<In, Targets>
cross_entropy(Exec&& exec, In&& logits, Targets&& targets, Axis axis = -1,
              cross_entropy_options<detail::view_loss_real_of<In, Targets>> options = {}) {
    return detail::loss_of_view(exec, logits, targets, detail::no_gradient{}, axis, options);
}
template <executor Exec, detail::number_view In, detail::targets_for_view<In> Targets,
          detail::writable_view_like<In> Out, detail::axis_index Axis = int>
detail::view_loss_real_of<In, Targets>
cross_entropy(Exec&& exec, In&& logits, Targets&& targets, Out&& gradient, Axis axis = -1,
              cross_entropy_options<detail::view_loss_real_of<In, Targets>> options = {}) {
    return detail::loss_of_view(exec, logits, targets, gradient, axis, options);
}

// One loss per row, without and with the gradient of their sum.
template <executor Exec, class In, class Targets, class Losses>
    requires detail::batch_targets_for<In, Targets> && detail::writable_row<Losses>
void cross_entropy_per_row(Exec&& exec, In&& logits, Targets&& targets, Losses&& losses, shape batch,
                           cross_entropy_options<detail::loss_real_of<In, Targets>> options = {}) {
    detail::losses_of_shape(exec, detail::row_of(logits), targets, detail::row_of(losses),
                            detail::no_gradient{}, batch, options);
}
template <executor Exec, class In, class Targets, class Losses, class Out>
    requires detail::batch_targets_for<In, Targets> && detail::writable_row<Losses> &&
             detail::writable_row<Out> && detail::contiguous_row<Out>
void cross_entropy_per_row(Exec&& exec, In&& logits, Targets&& targets, Losses&& losses, Out&& gradient,
                           shape batch,
                           cross_entropy_options<detail::loss_real_of<In, Targets>> options = {}) {
    detail::require_size("cross_entropy_per_row", "gradient", detail::size_of(detail::row_of(gradient)),
                         "the shape", detail::element_count("cross_entropy_per_row", batch));
    detail::losses_of_shape(exec, detail::row_of(logits), targets, detail::row_of(losses),
                            detail::gradient_of(gradient), batch, options);
}
template <executor Exec, detail::number_view In, detail::targets_for_view<In> Targets,
          detail::writable_per_row_of<In> Losses, detail::axis_index Axis = int>
void cross_entropy_per_row(Exec&& exec, In&& logits, Targets&& targets, Losses&& losses, Axis axis = -1,
                           cross_entropy_options<detail::view_loss_real_of<In, Targets>> options = {}) {
    detail::losses_of_view(exec, logits, targets, losses, detail::no_gradient{}, axis, options);
}
template <executor Exec, detail::number_view In, detail::targets_for_view<In> Targets,
          detail::writable_per_row_of<In> Losses, detail::writable_view_like<In> Out,
          detail::axis_index Axis = int>
void cross_entropy_per_row(Exec&& exec, In&& logits, Targets&& targets, Losses&& losses, Out&& gradient,
                           Axis axis = -1,
                           cross_entropy_options<detail::view_loss_real_of<In, Targets>> options = {}) {
    detail::losses_of_view(exec, logits, targets, losses, gradient, axis, options);
}

// The gradient of softmax by the logits of each row.
template <executor Exec, class P, class U, class G, class T = int>
    requires detail::backward_batches_for<P, U, G> && temperatures_for<T, detail::real_of<P, U, G>>
void softmax_backward(Exec&& exec, P&& probabilities, U&& upstream, G&& gradient, shape batch,
                      T&& temperature = 1) {
    detail::backward_shape<detail::softmax_backward_route>(exec, probabilities, upstream, gradient, batch,
                                                           temperature);
}
template <executor Exec, detail::number_view P, detail::number_view_like<P> U,
          detail::writable_view_like<P> G, detail::axis_index Axis = int, class T = int>
    requires detail::temperatures_for_view<T, detail::view_real_of<P, U, G>, P>
void softmax_backward(Exec&& exec, P&& probabilities, U&& upstream, G&& gradient, Axis axis = -1,
                      T&& temperature = 1) {
    detail::backward_view<detail::softmax_backward_route>(exec, probabilities, upstream, gradient, axis,
                                                          temperature);
}
// The gradient of log_softmax by the logits of each row.
template <executor Exec, class P, class U, class G, class T = int>
    requires detail::backward_batches_for<P, U, G> && temperatures_for<T, detail::real_of<P, U, G>>
void log_softmax_backward(Exec&& exec, P&& log_probabilities, U&& upstream, G&& gradient, shape batch,
                          T&& temperature = 1) {
    detail::backward_shape<detail::log_softmax_backward_route>(exec, log_probabilities, upstream, gradient,
                                                               batch, temperature);
}
template <executor Exec, detail::number_view P, detail::number_view_like<P> U,
          detail::writable_view_like<P> G, detail::axis_index Axis = int, class T = int>
    requires detail::temperatures_for_view<T, detail::view_real_of<P, U, G>, P>
void log_softmax_backward(Exec&& exec, P&& log_probabilities, U&& upstream, G&& gradient, Axis axis = -1,
                          T&& temperature = 1) {
    detail::backward_view<detail::log_softmax_backward_route>(exec, log_probabilities, upstream, gradient,
                                                              axis, temperature);
}

// The divergence of all rows, without and with its gradient by the student's logits; added as the losses of cross_entropy are.
template <executor Exec, class In, class Teacher>
    requires detail::divergence_batches_for<In, Teacher>
detail::real_of<In, Teacher> kl_divergence(Exec&& exec, In&& student_logits, Teacher&& teacher_logits,
                                           shape batch,
                                           distillation_options<detail::real_of<In, Teacher>> options = {}) {
    return detail::divergence_of_shape(exec, detail::row_of(student_logits), detail::row_of(teacher_logits),
                                       detail::no_gradient{}, batch, options);
}
template <executor Exec, class In, class Teacher, class Out>
    requires detail::divergence_batches_for<In, Teacher> && detail::writable_row<Out> &&
             detail::contiguous_row<Out>
detail::real_of<In, Teacher> kl_divergence(Exec&& exec, In&& student_logits, Teacher&& teacher_logits,
                                           Out&& gradient, shape batch,
                                           distillation_options<detail::real_of<In, Teacher>> options = {}) {
    detail::require_size("kl_divergence", "gradient", detail::size_of(detail::row_of(gradient)), "the shape",
                         detail::element_count("kl_divergence", batch));
    return detail::divergence_of_shape(exec, detail::row_of(student_logits), detail::row_of(teacher_logits),
                                       detail::gradient_of(gradient), batch, options);
}
template <executor Exec, detail::number_view In, detail::number_view_like<In> Teacher,
          detail::axis_index Axis = int>
detail::view_real_of<In, Teacher>
kl_divergence(Exec&& exec, In&& student_logits, Teacher&& teacher_logits, Axis axis = -1,
              distillation_options<detail::view_real_of<In, Teacher>> options = {}) {
    return detail::divergence_of_view(exec, student_logits, teacher_logits, detail::no_gradient{}, axis,
                                      options);
}
template <executor Exec, detail::number_view In, detail::number_view_like<In> Teacher,
          detail::writable_view_like<In> Out, detail::axis_index Axis = int>
detail::view_real_of<In, Teacher>
kl_divergence(Exec&& exec, In&& student_logits, Teacher&& teacher_logits, Out&& gradient, Axis axis = -1,
              distillation_options<detail::view_real_of<In, Teacher>> options = {}) {
    return detail::divergence_of_view(exec, student_logits, teacher_logits, gradient, axis, options);
}

// masked_softmax of each row.
template <executor Exec, class In, class Mask, class Out>
    requires detail::number_row<In> && detail::writable_row<Out> && detail::contiguous_rows<In, Out> &&
             detail::masks_for<Mask, detail::real_of<In, Out>>
void masked_softmax(Exec&& exec, In&& logits, Mask&& mask, Out&& probabilities, shape batch,
                    masked_options<detail::real_of<In, Out>> options = {}) {
    detail::masked_shape<detail::masked_softmax_route>(exec, logits, mask, probabilities, batch, options);
}
// masked_log_softmax of each row.
template <executor Exec, class In, class Mask, class Out>
    requires detail::number_row<In> && detail::writable_row<Out> && detail::contiguous_rows<In, Out> &&
             detail::masks_for<Mask, detail::real_of<In, Out>>
void masked_log_softmax(Exec&& exec, In&& logits, Mask&& mask, Out&& log_probabilities, shape batch,
                        masked_options<detail::real_of<In, Out>> options = {}) {
    detail::masked_shape<detail::masked_log_softmax_route>(exec, logits, mask, log_probabilities, batch,
                                                           options);
}

// The gradient of masked_softmax by the logits of each row.
template <executor Exec, class In, class Mask, class P, class U, class G>
    requires detail::number_row<In> && detail::contiguous_row<In> && detail::backward_batches_for<P, U, G> &&
             detail::masks_for<Mask, detail::real_of<P, U, G>>
void masked_softmax_backward(Exec&& exec, In&& logits, Mask&& mask, P&& probabilities, U&& upstream,
                             G&& gradient, shape batch,
                             masked_options<detail::real_of<P, U, G>> options = {}) {
    detail::masked_backward_shape<detail::masked_softmax_route>(exec, logits, mask, probabilities, upstream,
                                                                gradient, batch, options);
}
// The gradient of masked_log_softmax by the logits of each row.
template <executor Exec, class In, class Mask, class L, class U, class G>
    requires detail::number_row<In> && detail::contiguous_row<In> && detail::backward_batches_for<L, U, G> &&
             detail::masks_for<Mask, detail::real_of<L, U, G>>
void masked_log_softmax_backward(Exec&& exec, In&& logits, Mask&& mask, L&& log_probabilities, U&& upstream,
                                 G&& gradient, shape batch,
                                 masked_options<detail::real_of<L, U, G>> options = {}) {
    detail::masked_backward_shape<detail::masked_log_softmax_route>(exec, logits, mask, log_probabilities,
                                                                    upstream, gradient, batch, options);
}

} // namespace smx::inline SMX_ABI

#endif
