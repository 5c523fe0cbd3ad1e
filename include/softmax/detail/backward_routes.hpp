// Which way the gradients of softmax and log_softmax go: contiguous rows of float or double, and those of tiles, to the
// kernels, all others to the generic code. Leans on both.
#ifndef SMX_DETAIL_BACKWARD_ROUTES_HPP
#define SMX_DETAIL_BACKWARD_ROUTES_HPP

#include "../shape.hpp"
#include "backward_rows.hpp"
#include "generic_gradients.hpp"
#include "routes.hpp"
#include "temperatures.hpp"

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

// Rows of neighbours, from those of `next` on; next is moved past them where there is one temperature for each.
template <class Route, class Work, class Real>
void gradient_rows(const Real* outputs, const Real* upstream, Real* gradient, std::size_t rows,
                   std::size_t classes, auto& next) {
    if constexpr (std::same_as<std::remove_cvref_t<decltype(next)>, Work>) {
        Route::template run<Real>({outputs, upstream, gradient, rows, classes, next});
    } else {
        for (std::size_t at = 0; at != rows * classes; at += classes, static_cast<void>(++next)) {
            gradient_row<Route, Real>(outputs + at, outputs + at + classes, upstream + at, gradient + at,
                                      static_cast<Work>(*next));
        }
    }
}

// All rows of a batch by the kernels where they can; false with nothing done otherwise. temperature: one for all rows, or
// an iterator over one for each.
template <class Route, class Work, class Real>
bool gradient_of_batch(const Real* outputs, const Real* upstream, Real* gradient, const shape& batch,
                       auto temperature) {
    if constexpr (std::same_as<decltype(temperature), Work>) {
        if (!is_kernel_temperature(temperature)) {
            return false;
        }
    }
    const std::size_t classes = batch.classes;
    if (batch.inner == 1) {
        gradient_rows<Route, Work>(outputs, upstream, gradient, batch.outer, classes, temperature);
        return true;
    }
    Real from_above[longest_tiled_row<Real>];
    return for_each_tile(outputs, batch.outer, classes, batch.inner,
                         [&](Real* tile, std::size_t at, std::size_t, std::size_t rows) {
                             gather_tile(upstream + at, classes, batch.inner, rows, from_above);
                             gradient_rows<Route, Work, Real>(tile, from_above, tile, rows, classes,
                                                              temperature);
                             scatter_tile(tile, classes, batch.inner, rows, gradient + at);
                         });
}

} // namespace smx::inline SMX_ABI::detail

#endif
