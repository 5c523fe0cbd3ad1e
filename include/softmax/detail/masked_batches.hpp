// Masked softmax and log_softmax and their gradients between their checks and the rows: which way a row goes. Leans on
// masked_rows.hpp, generic_masked.hpp and the routes of whole rows.
#ifndef SMX_DETAIL_MASKED_BATCHES_HPP
#define SMX_DETAIL_MASKED_BATCHES_HPP

#include "../shape.hpp"
#include "backward_batches.hpp"
#include "biased_rows.hpp"
#include "contract.hpp"
#include "elements.hpp"
#include "forward_batches.hpp"
#include "generic_masked.hpp"
#include "mask_rows.hpp"
#include "masked_rows.hpp"
#include "masked_short_rows.hpp"
#include "masks.hpp"
#include "tasks.hpp"

#include <concepts>
#include <cstddef>
#include <span>
#include <type_traits>

namespace smx::inline SMX_ABI::detail {

struct masked_softmax_route {
    static constexpr const char* function = "masked_softmax";
    static constexpr const char* backward_function = "masked_softmax_backward";
    static constexpr const char* output = "probabilities";
    static constexpr bool is_log = false;
    using whole_rows = softmax_route;
    using operation = softmax_operation;
    using biased_row = biased_softmax;
    using backward = softmax_backward_route;
};

// (What softmax_backward does with probabilities of 0 this does with -inf.)
struct masked_log_softmax_backward_route {
    template <class Real>
    static void run(const backward_batch<Real>& batch) {
        dispatch<backward_rows<masked_log_softmax_backward_formula>, Real>(&batch);
    }
    template <class Value, class Work, class I, class S, class U, class O>
    static constexpr O run_generic(I first, S last, U upstream, O out, const Work& temperature) {
        return masked_gradient_row<true, Value>(first, first, last, upstream, out,
                                                masked_rule<Work>{temperature, soft_cap<Work>(Work(0.0))});
    }
};

struct masked_log_softmax_route {
    static constexpr const char* function = "masked_log_softmax";
    static constexpr const char* backward_function = "masked_log_softmax_backward";
    static constexpr const char* output = "log_probabilities";
    static constexpr bool is_log = true;
    using whole_rows = log_softmax_route;
    using operation = log_softmax_operation;
    using biased_row = biased_log_softmax;
    using backward = masked_log_softmax_backward_route;
};

// What an excluded place holds.
template <class Route, class Value>
constexpr Value excluded_output() {
    return Route::is_log ? negative_infinity<Value>() : Value(0.0);
}

// The options of a call after their checks; sink_of(row).
template <class Work, class Real>
struct masked_call {
    masked_rule<Work> rule;
    Work sink;
    std::span<const Real> sinks;

    constexpr Work sink_of(std::size_t row) const {
        return sinks.empty() ? sink : static_cast<Work>(sinks[row]);
    }
    constexpr bool has_sink() const { return !sinks.empty() || !(sink == negative_infinity<Work>()); }
};

// A row by the generic code.
template <class Route, class Value, class Work, class Real, class I, class S, class O, class Cursor>
constexpr void masked_row_of_any(I first, S last, const Cursor& mask, O out,
                                 const masked_call<Work, Real>& call, std::size_t row) {
    masked_row<Route::is_log, Value>(first, last, mask, out, call.rule, call.sink_of(row));
}

template <class Value, class O>
constexpr void write_copies(O out, std::size_t count, const Value& value) {
    for (; count != 0; --count, static_cast<void>(++out)) {
        *out = value;
    }
}

// The rows of one call by the kernels, packed one after the other.
template <class Route, class Real, class Mask>
class masked_kernels {
public:
    masked_kernels(const Mask& mask, const masked_call<double, Real>& call)
        : mask_(mask),
          call_(call),
          scale_(base2_scale_of<Real>(call.rule.temperature, own_)) {}
    masked_kernels(const masked_kernels&) = delete;
    masked_kernels& operator=(const masked_kernels&) = delete;

    void operator()(const Real* x, Real* y, std::size_t first, std::size_t count, std::size_t n) const {
        if constexpr (Mask::is_prefix) {
            for (std::size_t r = 0; r != count; ++r) {
                const std::size_t length = mask_.of(first + r);
                run_prefix(x + r * n, y + r * n, length, first + r);
                write_copies(y + r * n + length, n - length, none);
            }
        } else if (is_short(n)) {
            run_short(x, y, first, count, n);
        } else {
            run_with_care(x, y, first, count, n);
        }
    }

private:
    using element = kernel_element<Mask, Real>;
    static constexpr Real none = excluded_output<Route, Real>();
    static constexpr std::size_t longest_buffered_row = longest_tiled_row<Real> / sizeof(Real);

    bool is_short(std::size_t n) const {
        return !Route::is_log && n <= longest_short_row<Real> && !scale_.scaled;
    }

    void run_prefix(const Real* x, Real* y, std::size_t n, std::size_t row) const {
        if (!call_.has_sink()) {
            Route::whole_rows::run(x, y, 1, n, scale_);
        } else if (n != 0 && !(is_short(n) && run_short_with_sink(x, y, n, row))) {
            run_with_sink(x, y, n, everything{}, row);
        }
    }
    template <class Cursor>
    void run_with_sink(const Real* x, Real* y, std::size_t n, const Cursor& mask, std::size_t row) const {
        const double sink = call_.sink_of(row);
        if (!dispatch<map_with_sink<Route::is_log>, Real>(x, y, n, &scale_, sink)) {
            masked_row_of_any<Route, Real>(x, x + n, mask, y, call_, row);
        }
    }
    bool run_short_with_sink(const Real* x, Real* y, std::size_t n, std::size_t row) const {
        const double sink = call_.sink_of(row);
        const masked_job<Real, unsigned char> job{x, nullptr, 0, y, 1, n, &scale_, &sink};
        return dispatch<masked_short_rows<sunk_rows>, Real>(&job) == 0;
    }

    void run_short(const Real* x, Real* y, std::size_t first, std::size_t count, std::size_t n) const {
        mask_rows<Real, Mask> masks(mask_, n);
        const std::size_t fit = room_of_group<Real> / n, most = fit < rows_of_group ? fit : rows_of_group;
        double sinks[rows_of_group];
        biases found = biases::any;
        for (std::size_t r = 0; r != count;) {
            const auto part = masks.of(first + r, count - r < most ? count - r : most);
            for (std::size_t k = 0; k != part.count; ++k) {
                sinks[k] = call_.sink_of(first + r + k);
            }
            if (Mask::is_bias && mask_.count == 1 && r == 0 && part.count < count) {
                found = look_at(part.first, n);
            }
            const masked_job<Real, element> job{
                x + r * n,  part.first, part.step, y + r * n,
                part.count, n,          &scale_,   call_.has_sink() ? sinks : nullptr};
            unsigned left = run_job(job, found);
            for (std::size_t k = 0; left != 0; ++k, left >>= 1) {
                if ((left & 1) != 0) {
                    run_unusual(job, k, first + r + k);
                }
            }
            r += part.count;
        }
    }
    // What is known in front of a bias that several parts have. (Where each row has its own, a look at it costs what it saves: 512 x
    // 2048 biases of 0 and -inf, AVX-512, 1.8 by the time of softmax instead of 1.65.)
    enum class biases { any, near, selecting };
    static biases look_at(const element* mask, std::size_t n) {
        if constexpr (Mask::is_bias) {
            if (dispatch<is_selection, Real>(mask, n)) {
                return biases::selecting;
            }
            return dispatch<has_far_biases, Real>(mask, n) ? biases::any : biases::near;
        } else {
            return biases::any;
        }
    }
    unsigned run_job(const masked_job<Real, element>& job, biases found) const {
        if constexpr (Mask::is_bias) {
            if (found != biases::selecting) {
                return scale_.temperature == 1 ? run_biased_job<false>(job, found)
                                               : run_biased_job<true>(job, found);
            }
        }
        return dispatch<masked_short_rows<selected_rows>, Real>(&job);
    }
    template <bool Scaled>
    unsigned run_biased_job(const masked_job<Real, element>& job, biases found) const {
        return found == biases::near ? dispatch<masked_short_rows<biased_rows<Scaled, false>>, Real>(&job)
                                     : dispatch<masked_short_rows<biased_rows<Scaled, true>>, Real>(&job);
    }
    // A row of a job: with nothing left, or for the other routes.
    void run_unusual(const masked_job<Real, element>& job, std::size_t k, std::size_t row) const {
        const element* const mask = job.mask + k * job.step;
        bool any = false;
        for (std::size_t i = 0; i != job.n && !any; ++i) {
            any = takes_part<Real>(mask[i]);
        }
        if (any) {
            run_with_care(job.x + k * job.n, job.y + k * job.n, row, 1, job.n);
        } else {
            write_copies(job.y + k * job.n, job.n, none);
        }
    }

    void run_with_care(const Real* x, Real* y, std::size_t first, std::size_t count, std::size_t n) const {
        if constexpr (Mask::is_bias) {
            for (std::size_t r = 0; r != count; ++r) {
                run_biased(x + r * n, y + r * n, n, first + r);
            }
        } else {
            run_selected(x, y, first, count, n);
        }
    }
    // What is excluded becomes -inf, and 0 (or -inf) again where the row has no distribution.
    void run_selected(const Real* x, Real* y, std::size_t first, std::size_t count, std::size_t n) const {
        if (!call_.has_sink() && n <= longest_buffered_row) {
            run_through_buffer(x, y, first, count, n);
        } else {
            for (std::size_t r = 0; r != count; ++r) {
                Real* const row = y + r * n;
                select(x + r * n, row, n, first + r, no_logit<Real>);
                if (call_.has_sink()) {
                    run_with_sink(row, row, n, mask_.of(first + r), first + r);
                } else {
                    Route::whole_rows::run(static_cast<const Real*>(row), row, 1, n, scale_);
                }
            }
        }
        for (std::size_t r = 0; r != count; ++r) {
            if (y[r * n] != y[r * n]) {
                select(y + r * n, y + r * n, n, first + r, none);
            }
        }
    }
    // Rows go through a buffer that stays in the cache, many at a time. 512 x 2048 floats, one mask row, ns an element: written
    // into the output 0.225, by 2 rows in a buffer 0.215, by 8 0.205; unmasked 0.16.
    void run_through_buffer(const Real* x, Real* y, std::size_t first, std::size_t count,
                            std::size_t n) const {
        alignas(64) Real buffer[longest_buffered_row];
        const std::size_t at_once = longest_buffered_row / n;
        for (std::size_t r = 0; r < count; r += at_once) {
            const std::size_t rows = count - r < at_once ? count - r : at_once;
            for (std::size_t k = 0; k != rows; ++k) {
                select(x + (r + k) * n, buffer + k * n, n, first + r + k, no_logit<Real>);
            }
            Route::whole_rows::run(static_cast<const Real*>(buffer), y + r * n, rows, n, scale_);
        }
    }
    // y = x where it takes part, else `excluded`.
    void select(const Real* x, Real* y, std::size_t n, std::size_t row, Real excluded) const {
        if (const element* const mask = mask_pointer<Real>(mask_, row); mask != nullptr) {
            return dispatch<select_logits, Real>(x, mask, y, n, excluded);
        }
        constexpr std::size_t most = 1024;
        element read[most + 64];
        auto mask = mask_.of(row);
        for (std::size_t i = 0; i < n; i += most) {
            const std::size_t size = n - i < most ? n - i : most;
            read_mask(mask, size, read);
            dispatch<select_logits, Real>(x + i, static_cast<const element*>(read), y + i, size, excluded);
        }
    }

    void run_biased(const Real* x, Real* y, std::size_t n, std::size_t row) const {
        if (is_selection_at(row, n)) { // the bits of a mask of truth values, and of no mask
            return run_selected(x, y, row, 1, n);
        }
        const element* const bias = mask_pointer<Real>(mask_, row);
        if (bias != nullptr ? run_biased_kernel(x, bias, y, n, row)
                            : n <= longest_tiled_row<Real> && run_gathered(x, y, n, row)) {
            return;
        }
        masked_row_of_any<Route, Real>(x, x + n, mask_.of(row), y, call_, row);
    }
    bool run_biased_kernel(const Real* x, const Real* bias, Real* y, std::size_t n, std::size_t row) const {
        const double sink = call_.sink_of(row);
        if (!dispatch<typename Route::biased_row, Real>(x, bias, y, n, &scale_,
                                                        call_.has_sink() ? &sink : nullptr)) {
            return false;
        }
        if (y[0] != y[0]) {
            select(y, y, n, row, none);
        }
        return true;
    }
    SMX_NOINLINE bool run_gathered(const Real* x, Real* y, std::size_t n, std::size_t row) const {
        alignas(64) Real bias[longest_tiled_row<Real>];
        auto mask = mask_.of(row);
        read_mask(mask, n, bias);
        return run_biased_kernel(x, bias, y, n, row);
    }
    bool is_selection_at(std::size_t row, std::size_t n) const {
        if (const element* const bias = mask_pointer<Real>(mask_, row); bias != nullptr) {
            return dispatch<is_selection, Real>(bias, n);
        }
        auto mask = mask_.of(row);
        std::size_t i = 0;
        for (; i != n && (!mask.takes_part() || bias_at<double>(mask) == 0); ++i) {
            ++mask;
        }
        return i == n;
    }

    const Mask& mask_;
    const masked_call<double, Real>& call_;
    base2_scale<Real> own_;
    const base2_scale<Real>& scale_;
};

// Where the first `length` elements of a row end.
template <class I, class S>
constexpr auto end_of_first(const row<I, S>& all, std::size_t length) {
    if constexpr (std::same_as<S, std::size_t>) { // see strided_iterator
        return length;
    } else {
        return advanced_by(all.first, length);
    }
}

// A row by the generic code, of any mask.
template <class Route, class Value, class Work, class Real, class I, class S, class O, class Mask>
constexpr void masked_row_by(I first, S last, const Mask& mask, O out, const masked_call<Work, Real>& call,
                             std::size_t row) {
    if constexpr (Mask::is_prefix) {
        const smx::detail::row<I, S> all{first, last};
        const std::size_t length = mask.of(row), rest = size_of(all) - length;
        masked_row_of_any<Route, Value>(first, end_of_first(all, length), everything{}, out, call, row);
        write_copies(advanced_by(out, length), rest, excluded_output<Route, Value>());
    } else {
        masked_row_of_any<Route, Value>(first, last, mask.of(row), out, call, row);
    }
}

template <class Route, class Real, class Mask>
void masked_by_kernels(const Real* x, Real* y, const layout<2, 2>& rows, std::size_t begin, std::size_t end,
                       const Mask& mask, const masked_call<double, Real>& call) {
    const masked_kernels<Route, Real, Mask> kernels(mask, call);
    for_each_packed(buffers<Real, 1>{{x}, y}, rows, begin, end,
                    [&](const buffers<Real, 1>& packed, std::size_t first, std::size_t count) {
                        kernels(packed.in[0], packed.out, first, count, rows.classes());
                    });
}

// Rows [begin, end) of a batch. (With a cap there are no kernels: tanh is most of the time.)
template <class Route, class X, class Y, class Mask, class Work, class Real>
constexpr void masked_rows_from(const X* x, Y* y, const shape& batch, std::size_t begin, std::size_t end,
                                const Mask& mask, const masked_call<Work, Real>& call) {
    if constexpr (kernel_rows<const X*, Y*>) {
        const layout<2, 2> rows = layout_of<2>(batch);
        if (!std::is_constant_evaluated() && is_divisor(call.rule.temperature) && !call.rule.cap.is_on() &&
            fits_tiles<Y>(rows)) {
            return masked_by_kernels<Route>(x, y, rows, begin, end, mask, call);
        }
    }
    const layout<2, 1> rows = layout_of<1>(batch);
    rows.for_each_row(begin, end, [&](std::size_t row, const auto& at) {
        const auto in = at[0].of(x);
        masked_row_by<Route, Y>(in.first, in.last, mask, at[0].of(y).first, call, row);
    });
}

// All rows of a batch in buffers that have been checked. (Tasks hold equal numbers of rows: of a causal mask some have twice the
// work of the mean, which the caller's schedule evens out.)
template <class Route, class X, class Y, class Mask, class Work, class Real>
constexpr void masked_batch(auto&& exec, const X* x, Y* y, const shape& batch, const Mask& mask,
                            const masked_call<Work, Real>& call) {
    if (batch.classes == 0) {
        return; // of rows without elements there may be more than there is time for
    }
    for_parts_of_rows(exec, batch.outer * batch.inner, batch.classes,
                      [&](std::size_t begin, std::size_t end) {
                          masked_rows_from<Route>(x, y, batch, begin, end, mask, call);
                      });
}

// How many of the outputs of a row may be other than 0, or -inf.
template <class Mask>
constexpr std::size_t length_of(const Mask& mask, std::size_t row, std::size_t classes) {
    if constexpr (Mask::is_prefix) {
        return mask.of(row);
    } else {
        return classes;
    }
}

// The gradient of one row: without a cap by the kernels of whole rows, or as those do it. (`row`: its number.)
template <class Route, class Value, class Work, class L, class I, class S, class U, class O>
constexpr void masked_gradient(L logits, I first, S last, U upstream, O out, const masked_rule<Work>& rule,
                               std::size_t length) {
    const row<I, S> all{first, last};
    const auto end = end_of_first(all, length);
    const std::size_t rest = size_of(all) - length;
    if (rule.cap.is_on()) {
        masked_gradient_row<Route::is_log, Value>(logits, first, end, upstream, out, rule);
    } else {
        gradient_row<typename Route::backward, Value>(first, end, upstream, out, rule.temperature);
    }
    write_copies(advanced_by(out, length), rest, Value(0.0));
}

template <class Route, class X, class Y, class U, class G, class Mask, class Work, class Real>
constexpr void masked_backward_rows_from(const X* logits, const Y* outputs, const U* upstream, G* gradient,
                                         const shape& batch, std::size_t begin, std::size_t end,
                                         const Mask& mask, const masked_call<Work, Real>& call) {
    const bool has_cap = call.rule.cap.is_on();
    if constexpr (kernel_rows<const Y*, const U*, G*>) {
        const layout<2, 3> rows = layout_of<3>(batch);
        if (!std::is_constant_evaluated() && !has_cap && is_kernel_temperature(call.rule.temperature) &&
            fits_tiles<G>(rows)) {
            for_each_packed(buffers<G, 2>{{outputs, upstream}, gradient}, rows, begin, end,
                            [&](const buffers<G, 2>& packed, std::size_t first, std::size_t count) {
                                const std::size_t n = batch.classes;
                                if constexpr (!Mask::is_prefix) {
                                    Route::backward::template run<G>({packed.in[0], packed.in[1], packed.out,
                                                                      count, n, call.rule.temperature});
                                    return;
                                }
                                for (std::size_t r = 0; r != count; ++r) {
                                    const G* const y = packed.in[0] + r * n;
                                    masked_gradient<Route, G>(y, y, y + n, packed.in[1] + r * n,
                                                              packed.out + r * n, call.rule,
                                                              length_of(mask, first + r, n));
                                }
                            });
            return;
        }
    }
    const layout<2, 1> rows = layout_of<1>(batch);
    rows.for_each_row(begin, end, [&](std::size_t row, const auto& at) {
        const auto y = at[0].of(outputs);
        masked_gradient<Route, G>(at[0].of(logits).first, y.first, y.last, at[0].of(upstream).first,
                                  at[0].of(gradient).first, call.rule, length_of(mask, row, batch.classes));
    });
}

template <class Route, class X, class Y, class U, class G, class Mask, class Work, class Real>
constexpr void masked_backward_batch(auto&& exec, const X* logits, const Y* outputs, const U* upstream,
                                     G* gradient, const shape& batch, const Mask& mask,
                                     const masked_call<Work, Real>& call) {
    if (batch.classes == 0) {
        return;
    }
    for_parts_of_rows(exec, batch.outer * batch.inner, batch.classes,
                      [&](std::size_t begin, std::size_t end) {
                          masked_backward_rows_from<Route>(logits, outputs, upstream, gradient, batch, begin,
                                                           end, mask, call);
                      });
}

} // namespace smx::inline SMX_ABI::detail

#endif
