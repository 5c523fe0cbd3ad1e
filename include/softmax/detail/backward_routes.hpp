// Which way the gradients of softmax and log_softmax go: contiguous rows of float or double to the kernels, all others to the
// generic code. Leans on both.
#ifndef SMX_DETAIL_BACKWARD_ROUTES_HPP
#define SMX_DETAIL_BACKWARD_ROUTES_HPP

#include "backward_rows.hpp"
#include "generic_gradients.hpp"
#include "routes.hpp"

#include <concepts>
#include <cstddef>
#include <type_traits>

namespace smx::inline SMX_ABI::detail {

struct softmax_backward_route {
    static constexpr const char* function = "softmax_backward";
    static constexpr const char* input = "probabilities";

    template <class Real>
    static void run(const backward_batch<Real>& batch) {
        dispatch<backward_rows<softmax_backward_formula>, Real>(&batch);
    }
    template <class Value, class Work, class I, class S, class U, class O>
    static constexpr O run_generic(I first, S last, U upstream, O out, const Work& temperature) {
        return softmax_backward_row<Value>(first, last, upstream, out, temperature);
    }
};

struct log_softmax_backward_route {
    static constexpr const char* function = "log_softmax_backward";
    static constexpr const char* input = "log_probabilities";

    template <class Real>
    static void run(const backward_batch<Real>& batch) {
        dispatch<backward_rows<log_softmax_backward_formula>, Real>(&batch);
    }
    template <class Value, class Work, class I, class S, class U, class O>
    static constexpr O run_generic(I first, S last, U upstream, O out, const Work& temperature) {
        return log_softmax_backward_row<Value>(first, last, upstream, out, temperature);
    }
};

// Whether float holds 1 / T, and its products with usual gradients.
constexpr bool is_kernel_temperature(double temperature) { return temperature > 1e-20 && temperature < 1e20; }

// One row; returns the end of the output.
template <class Route, class Value, class Work, class I, class S, class U, class O>
constexpr O gradient_row(I first, S last, U upstream, O out, const Work& temperature) {
    if constexpr (kernel_rows<I, U, O> && neighbours<I> && neighbours<U> && neighbours<O>) {
        if (!std::is_constant_evaluated() && is_kernel_temperature(temperature)) {
            const std::size_t classes = size_of(row<I, S>{first, last});
            if (classes != 0) {
                Route::template run<Value>({first, upstream, out, 1, classes, temperature});
            }
            return out + classes;
        }
    }
    return Route::template run_generic<Value>(first, last, upstream, out, temperature);
}

} // namespace smx::inline SMX_ABI::detail

#endif
