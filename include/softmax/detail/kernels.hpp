// Kernels compiled once for a whole program: with SMX_EXTERN_KERNELS they are declared, with SMX_INSTANTIATE_KERNELS they
// are defined here, all of them for float and double. One that is missing in this list costs compile time only.
#ifndef SMX_DETAIL_KERNELS_HPP
#define SMX_DETAIL_KERNELS_HPP

#if defined(SMX_INSTANTIATE_KERNELS)
#define SMX_KERNELS template
#elif defined(SMX_EXTERN_KERNELS)
#define SMX_KERNELS extern template
#endif

#if defined(SMX_KERNELS)

#include "backward_routes.hpp"
#include "biased_rows.hpp"
#include "dispatch.hpp"
#include "divergence_rows.hpp"
#include "loss_rows.hpp"
#include "masked_rows.hpp"
#include "masked_short_rows.hpp"
#include "online_rows.hpp"
#include "shared_rows.hpp"
#include "transposition.hpp"

namespace smx::inline SMX_ABI::detail {

// SMX_KERNEL(result, Real, (arguments), body)
#if SMX_X86 && !defined(SMX_INSTRUCTION_SET)
#define SMX_KERNEL(Result, Real, Arguments, ...)                                                             \
    SMX_KERNELS Result run_baseline<__VA_ARGS__, Real> Arguments noexcept;                                   \
    SMX_KERNELS Result run_avx2<__VA_ARGS__, Real> Arguments noexcept;                                       \
    SMX_KERNELS Result run_avx512<__VA_ARGS__, Real> Arguments noexcept;
#else
#if !SMX_X86 || SMX_INSTRUCTION_SET == 0
#define SMX_RUN run_baseline
#elif SMX_INSTRUCTION_SET == 1
#define SMX_RUN run_avx2
#else
#define SMX_RUN run_avx512
#endif
#define SMX_KERNEL(Result, Real, Arguments, ...)                                                             \
    SMX_KERNELS Result SMX_RUN<__VA_ARGS__, Real> Arguments noexcept;
#endif

#define SMX_MAP(Real, ...)                                                                                   \
    SMX_KERNEL(void, Real, (const Real*, Real*, std::size_t, std::size_t, const base2_scale<Real>*),         \
               __VA_ARGS__)
#define SMX_ALONE(Real, ...)                                                                                 \
    SMX_KERNEL(void, Real, (const Real*, Real*, std::size_t, const base2_scale<Real>*), __VA_ARGS__)
#define SMX_LOSS(Real, ...)                                                                                  \
    SMX_KERNEL(void, Real, (const loss_rule<Real>*, const loss_rows<Real>*), __VA_ARGS__)
#define SMX_PART(Real, ...)                                                                                  \
    SMX_KERNEL(void, Real,                                                                                   \
               (const Real*, Real*, std::size_t, const base2_scale<Real>*, const row_sum<Real>*),            \
               __VA_ARGS__)

#define SMX_SHORT_MASKED(Real, Element, ...)                                                                 \
    SMX_KERNEL(unsigned, Real, (const masked_job<Real, Element>*), masked_short_rows<__VA_ARGS__>)

#define SMX_KERNELS_OF(Real)                                                                                 \
    SMX_MAP(Real, map_rows<softmax_operation>)                                                               \
    SMX_MAP(Real, map_rows<log_softmax_operation>)                                                           \
    SMX_MAP(Real, map_grouped_rows)                                                                          \
    SMX_MAP(Real, map_single_rows)                                                                           \
    SMX_MAP(Real, map_short_logs)                                                                            \
    SMX_MAP(Real, reduce_rows)                                                                               \
    SMX_MAP(Real, reduce_short_rows)                                                                         \
    SMX_ALONE(Real, map_in_registers<1>)                                                                     \
    SMX_ALONE(Real, map_in_registers<2>)                                                                     \
    SMX_ALONE(Real, map_logs_in_registers<1>)                                                                \
    SMX_ALONE(Real, map_logs_in_registers<2>)                                                                \
    SMX_ALONE(Real, reduce_in_registers<1>)                                                                  \
    SMX_ALONE(Real, reduce_in_registers<2>)                                                                  \
    SMX_LOSS(Real, index_losses<true>)                                                                       \
    SMX_LOSS(Real, index_losses<false>)                                                                      \
    SMX_LOSS(Real, short_index_losses<true, index_losses<true>>)                                             \
    SMX_LOSS(Real, short_index_losses<false, index_losses<false>>)                                           \
    SMX_LOSS(Real, loss_in_registers<1, true, short_rows_of_losses<true>>)                                   \
    SMX_LOSS(Real, loss_in_registers<2, true, short_rows_of_losses<true>>)                                   \
    SMX_LOSS(Real, loss_in_registers<1, false, short_rows_of_losses<false>>)                                 \
    SMX_LOSS(Real, loss_in_registers<2, false, short_rows_of_losses<false>>)                                 \
    SMX_LOSS(Real, mixed_losses<true, true>)                                                                 \
    SMX_LOSS(Real, mixed_losses<true, false>)                                                                \
    SMX_LOSS(Real, mixed_losses<false, true>)                                                                \
    SMX_LOSS(Real, mixed_losses<false, false>)                                                               \
    SMX_KERNEL(void, Real, (const backward_batch<Real>*), backward_rows<softmax_backward_formula>)           \
    SMX_KERNEL(void, Real, (const backward_batch<Real>*), backward_rows<log_softmax_backward_formula>)       \
    SMX_KERNEL(void, Real, (const divergence_rule<Real>*, const divergence_pairs<Real>*), divergences)       \
    SMX_KERNEL(void, Real, (const transposed_area<Real>*), transposition)                                    \
    SMX_KERNEL(void, Real, (const row_chunks<Real>*, std::size_t, std::size_t, chunk_sum<Real>*),            \
               chunk_maxima)                                                                                 \
    SMX_KERNEL(bool, Real, (const chunk_sum<Real>*, std::size_t, Real, const base2_scale<Real>*),            \
               chunk_check)                                                                                  \
    SMX_KERNEL(void, Real,                                                                                   \
               (const row_chunks<Real>*, std::size_t, std::size_t, chunk_sum<Real>*, Real,                   \
                const base2_scale<Real>*),                                                                   \
               chunk_sums)                                                                                   \
    SMX_KERNEL(void, Real, (const chunk_sum<Real>*, std::size_t, row_sum<Real>*, const base2_scale<Real>*),  \
               chunk_addition)                                                                               \
    SMX_KERNEL(bool, Real,                                                                                   \
               (partial_sum<Real>*, const Real*, std::size_t, const base2_scale<Real>*, partial_sum<Real>*), \
               push_row)                                                                                     \
    SMX_KERNEL(bool, Real,                                                                                   \
               (const partial_sum<Real>*, const Real*, Real*, std::size_t, const base2_scale<Real>*),        \
               normalize_row)                                                                                \
    SMX_KERNEL(void, Real, (const backward_batch<Real>*),                                                    \
               backward_rows<masked_log_softmax_backward_formula>)                                           \
    SMX_KERNEL(bool, Real, (const Real*, Real*, std::size_t, const base2_scale<Real>*, double),              \
               map_with_sink<false>)                                                                         \
    SMX_KERNEL(bool, Real, (const Real*, Real*, std::size_t, const base2_scale<Real>*, double),              \
               map_with_sink<true>)                                                                          \
    SMX_SHORT_MASKED(Real, unsigned char, sunk_rows)                                                         \
    SMX_SHORT_MASKED(Real, unsigned char, selected_rows)                                                     \
    SMX_SHORT_MASKED(Real, Real, selected_rows)                                                              \
    SMX_SHORT_MASKED(Real, Real, biased_rows<false, false>)                                                  \
    SMX_SHORT_MASKED(Real, Real, biased_rows<false, true>)                                                   \
    SMX_SHORT_MASKED(Real, Real, biased_rows<true, false>)                                                   \
    SMX_SHORT_MASKED(Real, Real, biased_rows<true, true>)                                                    \
    SMX_KERNEL(bool, Real,                                                                                   \
               (const Real*, const Real*, Real*, std::size_t, const base2_scale<Real>*, const double*),      \
               biased_softmax)                                                                               \
    SMX_KERNEL(bool, Real,                                                                                   \
               (const Real*, const Real*, Real*, std::size_t, const base2_scale<Real>*, const double*),      \
               biased_log_softmax)                                                                           \
    SMX_PART(Real, part_of_softmax)                                                                          \
    SMX_PART(Real, part_of_log_softmax)                                                                      \
    SMX_KERNEL(Real, Real, (const base2_scale<Real>*, const row_sum<Real>*), shared_logsumexp)

SMX_KERNELS_OF(float)
SMX_KERNELS_OF(double)
SMX_LOSS(float, turned_losses<short_rows_of_losses>)
SMX_KERNEL(void, float, (const loss_rule<float>*, const loss_columns<float>*),
           column_losses<short_rows_of_losses>)

#undef SMX_KERNELS_OF
#undef SMX_SHORT_MASKED
#undef SMX_PART
#undef SMX_LOSS
#undef SMX_ALONE
#undef SMX_MAP
#undef SMX_KERNEL
#undef SMX_RUN
#undef SMX_KERNELS

} // namespace smx::inline SMX_ABI::detail

#endif
#endif
