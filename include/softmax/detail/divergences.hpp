// kl_divergence between its checks and its arithmetic: pairs of rows go to divergence_rows.hpp where they can, else to
// generic_divergence.hpp, and their losses become that of a batch.
#ifndef SMX_DETAIL_DIVERGENCES_HPP
#define SMX_DETAIL_DIVERGENCES_HPP

#include "../options.hpp"
#include "../shape.hpp"
#include "contract.hpp"
#include "divergence_rows.hpp"
#include "elements.hpp"
#include "generic_divergence.hpp"
#include "layout.hpp"
#include "loss_batches.hpp"
#include "losses.hpp"
#include "routes.hpp"
#include "tiles.hpp"

#include <concepts>
#include <cstddef>
#include <limits>
#include <type_traits>

namespace smx::inline SMX_ABI::detail {

// What all pairs of a call have in common; take(loss) gets each loss in order.
template <class Work, class Real, class Take>
class divergence_call {
public:
    constexpr divergence_call(const Work& temperature, const Work& divisor, Take& take)
        : temperature_(temperature),
          divisor_(divisor),
          take_(take) {}

    // Whether the kernels take the temperature, and the factor that it makes of a gradient.
    constexpr bool suits_kernels() const {
        const double factor = temperature_ / divisor_;
        return temperature_ > 0x1p-60 && temperature_ < 0x1p60 && factor > 1e-20 && factor < 1e20;
    }

    // The next pair by the generic code.
    constexpr void generic(const auto& student, const auto& teacher, const auto& gradient) const {
        take_(by_generic_code(student, teacher, gradient));
    }

    // The gradients that no kernel writes (a list, another type), of pairs whose losses kernels have given.
    constexpr void gradient_only(const auto& student, const auto& teacher, const auto& gradient) const {
        static_cast<void>(by_generic_code(student, teacher, gradient));
    }

    // The next pairs, of neighbouring logits, by the kernels. gradient: or null.
    void kernel(const Real* student, const Real* teacher, Real* gradient, std::size_t rows,
                std::size_t classes) const {
        constexpr std::size_t at_a_time = 64; // enough to spread the cost of a call, few enough for the stack
        base2_scale<Real> own;
        const divergence_rule<Real> rule{base2_scale_of<Real>(temperature_, own), classes,
                                         temperature_ / divisor_};
        double losses[at_a_time];
        bool done[at_a_time];
        for (std::size_t r = 0; r < rows; r += at_a_time) {
            const std::size_t count = rows - r < at_a_time ? rows - r : at_a_time, first = r * classes;
            Real* const out = gradient == nullptr ? nullptr : gradient + first;
            const divergence_pairs<Real> pairs{count, student + first, teacher + first, out, losses, done};
            dispatch<divergences, Real>(&rule, &pairs);
            for (std::size_t k = 0; k < count; ++k) {
                const std::size_t at = k * classes;
                take_(done[k] ? losses[k]
                              : unusual(pairs.student + at, pairs.teacher + at,
                                        out == nullptr ? nullptr : out + at, classes));
            }
        }
    }

private:
    template <class Gradient>
    constexpr Work by_generic_code(const auto& student, const auto& teacher, const Gradient& gradient) const {
        compared_rows<Work> rows(distribution_of_row(student.first, student.last, temperature_),
                                 distribution_of_row(teacher.first, teacher.last, temperature_));
        const Work loss = divergence_of_rows(student.first, student.last, teacher.first, temperature_, rows);
        if constexpr (Gradient::exists) {
            divergence_gradient_row<typename Gradient::value>(student.first, student.last, teacher.first,
                                                              gradient.first, temperature_, divisor_, rows);
        }
        return loss;
    }

    Work unusual(const Real* student, const Real* teacher, Real* gradient, std::size_t classes) const {
        const row<const Real*, const Real*> from{student, student + classes}, to{teacher, teacher + classes};
        return gradient == nullptr ? by_generic_code(from, to, no_gradient{})
                                   : by_generic_code(from, to, gradient_to<Real, Real*>{gradient});
    }

    Work temperature_;
    Work divisor_;
    Take& take_;
};

template <class Work>
constexpr Work checked_distillation_temperature(const auto& temperature) {
    const Work checked = checked_temperature<Work>("kl_divergence", temperature, temperature_rule::positive);
    if (!(checked < infinity<Work>())) {
        violate_value("kl_divergence", "temperature", temperature, "finite");
    }
    return checked;
}

template <class Real>
constexpr Real divergence_of_row(const auto& student, const auto& teacher, const auto& gradient,
                                 const distillation_options<Real>& options) {
    using work = work_t<Real>;
    using iterator = std::remove_cvref_t<decltype(student.first)>;
    const std::size_t classes = size_of(student);
    require_size("kl_divergence", "teacher_logits", size_of(teacher), "student_logits", classes);
    if (classes == 0) {
        violate_empty("kl_divergence", "a row of logits");
    }
    one_loss<Real> take;
    const divergence_call<work, Real, one_loss<Real>> call(
        checked_distillation_temperature<work>(options.temperature), work(1.0), take);
    if constexpr (have_kernels<Real, iterator, std::remove_cvref_t<decltype(teacher.first)>>) {
        if constexpr (neighbours<std::remove_cvref_t<decltype(teacher.first)>>) {
            if (!std::is_constant_evaluated() && call.suits_kernels()) {
                call.kernel(student.first, teacher.first, kernel_gradient<Real, iterator>(gradient), 1,
                            classes);
                if constexpr (!is_fused_with<decltype(gradient), iterator>) {
                    call.gradient_only(student, teacher, gradient);
                }
                return take.value;
            }
        }
    }
    call.generic(student, teacher, gradient);
    return take.value;
}

// Pairs of rows after all checks. rows: where they stand in both logits and the gradient.
template <class Real, class X, class Y, class Gradient, std::size_t D>
struct divergence_batch {
    using work = work_t<Real>;

    const layout<D, 3>& rows;
    const X* student;
    const Y* teacher;
    Gradient gradient;
    work temperature;
    work divisor; // of the losses and the gradient

    // take(loss) gets the loss of each of the rows [begin, end) in order.
    constexpr void run(std::size_t begin, std::size_t end, auto& take) const {
        const divergence_call<work, Real, std::remove_reference_t<decltype(take)>> call(temperature, divisor,
                                                                                        take);
        if constexpr (have_kernels<Real, const X*, const Y*>) {
            if (!std::is_constant_evaluated() && call.suits_kernels() && fits_tiles<Real>(rows)) {
                Real* const out = kernel_gradient<Real, const X*>(gradient);
                for_each_packed(buffers<Real, 2>{{student, teacher}, out}, rows, begin, end,
                                [&](const buffers<Real, 2>& packed, std::size_t, std::size_t count) {
                                    call.kernel(packed.in[0], packed.in[1], packed.out, count,
                                                rows.classes());
                                });
                if constexpr (!is_fused_with<Gradient, const X*>) {
                    each_row(begin, end, [&](auto x, auto y, auto to) { call.gradient_only(x, y, to); });
                }
                return;
            }
        }
        each_row(begin, end, [&](auto x, auto y, auto to) { call.generic(x, y, to); });
    }

private:
    constexpr void each_row(std::size_t begin, std::size_t end, auto visit) const {
        rows.for_each_row(begin, end, [&](std::size_t, const auto& at) {
            visit(at[0].of(student), at[1].of(teacher), gradient.of(at[2]));
        });
    }
};

// Checks the options.
template <class Real, class X, class Y, class Gradient, std::size_t D>
constexpr divergence_batch<Real, X, Y, Gradient, D>
batch_of_divergences(const layout<D, 3>& rows, const X* student, const Y* teacher, const Gradient& gradient,
                     const distillation_options<Real>& options) {
    using work = work_t<Real>;
    if (rows.classes() == 0) {
        violate_empty("kl_divergence", "a row of logits");
    }
    const bool divides = options.reduce == reduction::mean && rows.rows() != 0;
    return {rows,
            student,
            teacher,
            gradient,
            checked_distillation_temperature<work>(options.temperature),
            divides ? from_size<work>(rows.rows()) : work(1.0)};
}

template <class Real>
constexpr Real divergence_of_shape(auto&& exec, const auto& student, const auto& teacher,
                                   const auto& gradient, const shape& batch,
                                   const distillation_options<Real>& options) {
    const std::size_t size = element_count("kl_divergence", batch);
    require_size("kl_divergence", "student_logits", size_of(student), "the shape", size);
    require_size("kl_divergence", "teacher_logits", size_of(teacher), "the shape", size);
    const auto rows = layout_of<3>(batch);
    return reduced_loss<Real>(
        exec, batch_of_divergences<Real>(rows, student.first, teacher.first, gradient, options));
}

} // namespace smx::inline SMX_ABI::detail

#endif
