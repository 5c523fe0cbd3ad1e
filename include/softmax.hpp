// smx: scores to probabilities. Softmax, log-softmax, logsumexp, their gradients, cross-entropy and distillation fused with
// theirs; aware of temperature; generic over element types, ranges, iterators and batches. Header-only, C++20, nothing but the standard
// library. This is the file to include; the contract of each function stands above its declaration in the parts.
//
// SYNOPSIS
//
//   namespace smx {
//
//   // softmax/forward.hpp: one row, as ranges, iterators, or by value
//   void softmax    (In&& logits, Out&& probabilities, T temperature = 1);
//   void log_softmax(In&& logits, Out&& log_probabilities, T temperature = 1);
//   O    softmax    (I first, S last, O out, T temperature = 1);           // returns the end of the output
//   O    log_softmax(I first, S last, O out, T temperature = 1);
//   auto softmax    (In&& logits, T temperature = 1);                      // std::array for arrays and braces,
//   auto log_softmax(In&& logits, T temperature = 1);                      // std::vector for other ranges
//   Real logsumexp  (In&& logits, T temperature = 1);
//   Real logsumexp  (I first, S last, T temperature = 1);
//
//   // softmax/shape.hpp: many rows in one buffer; element (o, c, i) stands at (o * classes + c) * inner + i
//   struct shape { std::size_t outer = 1, classes = 0, inner = 1; };
//   void softmax    (In&& logits, Out&& probabilities, shape, T temperature = 1);   // T: one, or a range of one per row
//   void log_softmax(In&& logits, Out&& log_probabilities, shape, T temperature = 1);
//   void logsumexp  (In&& logits, Out&& results, shape, T temperature = 1);         // one result per row
//
//   // softmax/backward.hpp: from upstream, dL/d(output), to the gradient by the logits; rows, iterators, batches
//   void softmax_backward    (P&& probabilities,     U&& upstream, G&& gradient, T temperature = 1);
//   void log_softmax_backward(L&& log_probabilities, U&& upstream, G&& gradient, T temperature = 1);
//   O    softmax_backward    (I first, S last, U upstream, O gradient, T temperature = 1);   // likewise log_softmax_backward
//   void softmax_backward    (P&&, U&&, G&&, shape, T temperature = 1);                      // likewise log_softmax_backward
//
//   // softmax/cross_entropy.hpp: the loss; with `gradient`, dL/d(logits) is written in the same call
//   Real cross_entropy(In&& logits, integral target,        [Out&& gradient,] cross_entropy_options<Real> = {});
//   Real cross_entropy(I first, S last, integral target,    [O gradient,]     cross_entropy_options<Real> = {});
//   Real cross_entropy(In&& logits, Target&& probabilities, [Out&& gradient,] cross_entropy_options<Real> = {});
//   Real cross_entropy(In&& logits, Targets&& targets, [Out&& gradient,] shape, cross_entropy_options<Real> = {});
//   void cross_entropy_per_row(In&& logits, Targets&& targets, Losses&&, [Out&& gradient,] shape, cross_entropy_options<Real> = {});
//   Real kl_divergence(In&& student_logits, Teacher&& teacher_logits, [Out&& gradient,] [shape,] distillation_options<Real> = {});
//
//   // softmax/views.hpp: rows of views with strides, std::mdspan and its like; axis: 0 is the leftmost, -1 the rightmost. What
//   // there is one of per row (T, results, targets, losses) is a range or a view without the axis
//   void softmax    (View&& logits, View&& probabilities, int axis = -1, T temperature = 1);
//   void log_softmax(View&& logits, View&& log_probabilities, int axis = -1, T temperature = 1);
//   void logsumexp  (View&& logits, Results&& results, int axis = -1, T temperature = 1);
//   Real cross_entropy(View&& logits, Targets&& targets, [View&& gradient,] int axis = -1, cross_entropy_options<Real> = {});
//   void cross_entropy_per_row(View&& logits, Targets&& targets, Losses&&, [View&& gradient,] int axis = -1,
//                              cross_entropy_options<Real> = {});
//   void softmax_backward(View&& probabilities, View&& upstream, View&& gradient, int axis = -1, T temperature = 1);
//   void log_softmax_backward(View&& log_probabilities, View&& upstream, View&& gradient, int axis = -1, T temperature = 1);
//   Real kl_divergence(View&& student, View&& teacher, [View&& gradient,] int axis = -1, distillation_options<Real> = {});
//
//   // softmax/exec.hpp: every function of a shape or of views, on the caller's threads: exec(tasks, f) runs f(0) .. f(tasks - 1) in
//   // any order and returns when all are done
//   void softmax    (Exec&& exec, In&& logits, Out&& probabilities, shape, T temperature = 1);      // and so on
//
//   // softmax/masked.hpp: attention rows; mask: truth values, a bias that is added (-inf excludes), valid_lengths(range) or
//   // causal(offset). Excluded places get 0, or -inf
//   void masked_softmax    (In&& logits, Mask&& mask, Out&& probabilities, [shape,] masked_options<Real> = {});
//   void masked_log_softmax(In&& logits, Mask&& mask, Out&& log_probabilities, [shape,] masked_options<Real> = {});
//   void masked_softmax_backward    (In&& logits, Mask&& mask, P&& probabilities, U&& upstream, G&& gradient, [shape,]
//                                    masked_options<Real> = {});                               // likewise masked_log_softmax_backward
//   template <class Real> struct masked_options {
//       double temperature = 1; double softcap = 0; double sink = -inf; std::span<const Real> sinks = {}; };
//   auto valid_lengths(R&& lengths);
//   struct causal { explicit causal(std::ptrdiff_t offset = 0, std::size_t period = 0); };
//
//   // softmax/online.hpp: the denominator of a row that arrives in pieces
//   template <class Real> class online_normalizer {
//       explicit online_normalizer(double temperature = 1);
//       void push(Real logit); void push(In&& logits); void merge(const online_normalizer& other);
//       Real logsumexp() const; Real probability(Real logit) const; Real probability(const online_normalizer& part) const;
//       void normalize(In&& logits, Out&& probabilities) const; };
//
//   // softmax/options.hpp
//   template <class Real> struct cross_entropy_options {
//       double temperature = 1; double label_smoothing = 0; std::span<const Real> class_weights = {};
//       std::int64_t ignore_index = none; double z_loss = 0; double softcap = 0; reduction reduce = reduction::mean;
//       std::span<Real> logsumexps = {}; };
//   template <class Real> struct distillation_options { double temperature = 1; reduction reduce = reduction::mean; };
//   enum class reduction { mean, sum };
//
//   }
//
// In and Out are forward ranges (vector, array, span, valarray, list, C array, views), contiguous ones for batches. The
// arithmetic type is the wider of the element types, of which a gradient's is none; integers are computed in double; user
// types bring exp and log by ADL, + - * /, comparisons and construction from double.
// The one-row functions work in constant expressions.
//
// SPECIAL VALUES
//
//   row                        softmax                 log_softmax    logsumexp          cross_entropy
//   empty                      writes nothing          writes nothing -inf               std::invalid_argument
//   an entry -inf, others not  0 there                 -inf there     ignores it         +inf if it is the target
//   all -inf                   all NaN                 all NaN        -inf               NaN
//   any +inf                   all NaN                 all NaN        +inf               NaN
//   any NaN                    all NaN                 all NaN        NaN                NaN
//   target probability 0                                                                 adds 0 whatever its logit
//   smoothing, an entry -inf                                                             +inf, as the formula says
//   every row ignored, mean                                                              0, gradient 0
//   T = 0                      1/k on the k maxima     log of that    invalid_argument   invalid_argument
//   T = +inf                   uniform above -inf      log of that    log(count)         log(count)
//   T < 0 or NaN               std::invalid_argument, before anything is written
//
//   gradients and distillation
//   probability 0              softmax_backward: gradient 0, and nothing in the sum, whatever the upstream
//   log-probability -inf       log_softmax_backward: upstream / T
//   T = +inf                   of both: gradient 0; T = 0: std::invalid_argument
//   an entry -inf              kl_divergence: in the teacher's row adds 0; in the student's alone +inf
//   T = 0, T = +inf            kl_divergence: std::invalid_argument
//
//   masks
//   excluded                   0 there (logarithm: -inf), whatever stands there; nothing left: all 0; gradients 0
//   NaN, +inf that takes part  NaN where the mask lets it take part, likewise nothing but -inf there without a sink
//
// Where several rows of the table apply: a temperature that is an error comes first, then NaN, then +inf, then all -inf,
// then the rules for T.
//
// BITS
//
// Contiguous rows of float and double have the same bits on every machine with fused multiply-add, with every compiler,
// optimization level and alignment, alone and in any batch, whatever its layout, and on any threads. The instruction set is chosen
// on first use, at run time. (Rows whose elements are no neighbours, of more than 16384 floats or 8192 doubles, are not done by the
// kernels: within the same bounds, with their own bits.)
//
// SWITCHES, defined before the include
//
//   SMX_VIOLATION_HANDLER   without exceptions: the full name, as ::name, of a function void(const char* message), declared
//                           before the include, that is called where an exception would be thrown; std::abort follows if
//                           it returns. One for the whole program.
//   SMX_INSTRUCTION_SET     pins the kernels instead of choosing at run time: 0 what the compiler flags allow, 1 AVX2 and
//                           FMA, 2 AVX-512
//   SMX_STRICT_BITS         the bits of machines with fused multiply-add also where there is none: std::fma, an order of
//                           magnitude slower (without it: the same bounds, other bits)
//   SMX_EXTERN_KERNELS      for programs of many units: the kernels are not compiled here, but in the one unit that defines
//                           SMX_INSTANTIATE_KERNELS in its place. Same flags there, or the linker finds no kernel.
//   SMX_NO_VECTOR_EXTENSIONS  arrays and loops instead of the vector types of GCC and Clang: what other compilers get
#ifndef SMX_SOFTMAX_HPP
#define SMX_SOFTMAX_HPP

#include "softmax/backward.hpp"
#include "softmax/cross_entropy.hpp"
#include "softmax/exec.hpp"
#include "softmax/forward.hpp"
#include "softmax/masked.hpp"
#include "softmax/online.hpp"
#include "softmax/options.hpp"
#include "softmax/shape.hpp"
#include "softmax/views.hpp"

#include "softmax/detail/kernels.hpp" // last: what it names has been defined

#undef SMX_ABI
#undef SMX_ARITHMETIC
#undef SMX_AVX2
#undef SMX_AVX512
#undef SMX_BASELINE
#undef SMX_BIT_MANIPULATION
#undef SMX_CLANG_VECTORS
#undef SMX_EMULATES_FMA
#undef SMX_ERRORS
#undef SMX_EXPAND_AND_JOIN
#undef SMX_GCC_X86
#undef SMX_HIDE
#undef SMX_HIDE_VECTOR
#undef SMX_INLINE
#undef SMX_JOIN
#undef SMX_LAMBDA_INLINE
#undef SMX_LANES
#undef SMX_NOINLINE
#undef SMX_PIN
#undef SMX_PREFETCH
#undef SMX_PREFETCH_TO_WRITE
#undef SMX_STRICTNESS
#undef SMX_UNROLL
#undef SMX_VECTORS
#undef SMX_X86
#if defined(SMX_DEFAULT_VIOLATION_HANDLER)
#undef SMX_DEFAULT_VIOLATION_HANDLER
#undef SMX_VIOLATION_HANDLER
#endif

#endif
