// The gradients of softmax and log_softmax of batches, as forward_batches.hpp does the functions themselves. Leans on
// backward_routes.hpp, tiles.hpp and tasks.hpp.
#ifndef SMX_DETAIL_BACKWARD_BATCHES_HPP
#define SMX_DETAIL_BACKWARD_BATCHES_HPP

#include "../shape.hpp"
#include "backward_routes.hpp"
#include "contract.hpp"
#include "elements.hpp"
#include "layout.hpp"
#include "tasks.hpp"
#include "temperatures.hpp"
#include "tiles.hpp"

#include <concepts>
#include <cstddef>
#include <type_traits>

namespace smx::inline SMX_ABI::detail {

// What a gradient can be computed from, and written to: of a row, and of a batch.
template <class P, class U, class G>
concept backward_rows_for = number_row<P> && number_row<U> && writable_row<G>;

template <class P, class U, class G>
concept backward_batches_for =
    backward_rows_for<P, U, G> && contiguous_row<P> && contiguous_row<U> && contiguous_row<G>;

template <class Route, class Real, std::size_t D, class Temperatures>
void backward_by_kernels(const buffers<Real, 2>& data, const layout<D, 3>& batch, std::size_t begin,
                         std::size_t end, const Temperatures& temperatures) {
    const std::size_t n = batch.classes();
    auto next = temperatures.from(begin);
    for_each_packed(
        data, batch, begin, end, [&](const buffers<Real, 2>& rows, std::size_t, std::size_t count) {
            if constexpr (std::same_as<Temperatures, one_temperature<double>>) {
                Route::template run<Real>({rows.in[0], rows.in[1], rows.out, count, n, temperatures.value});
            } else {
                for (std::size_t at = 0; at != count * n; at += n) {
                    const Real* const row = rows.in[0] + at;
                    gradient_row<Route, Real>(row, row + n, rows.in[1] + at, rows.out + at, next());
                }
            }
        });
}

// Rows [begin, end) by softmax_backward_route or log_softmax_backward_route; buffers: outputs, upstream, gradient.
template <class Route, class P, class U, class G, std::size_t D, class Temperatures>
constexpr void backward_rows_from(const P* outputs, const U* upstream, G* gradient, const layout<D, 3>& batch,
                                  std::size_t begin, std::size_t end, const Temperatures& temperatures) {
    if constexpr (kernel_rows<const P*, const U*, G*>) {
        bool suits = true; // row by row each goes its own way
        if constexpr (std::same_as<Temperatures, one_temperature<double>>) {
            suits = is_kernel_temperature(temperatures.value);
        }
        if (!std::is_constant_evaluated() && suits && fits_tiles<G>(batch)) {
            return backward_by_kernels<Route>(buffers<G, 2>{{outputs, upstream}, gradient}, batch, begin, end,
                                              temperatures);
        }
    }
    auto next = temperatures.from(begin);
    batch.for_each_row(begin, end, [&](std::size_t, const auto& at) {
        const auto in = at[0].of(outputs);
        Route::template run_generic<G>(in.first, in.last, at[1].of(upstream).first, at[2].of(gradient).first,
                                       next());
    });
}

// All rows of a batch in buffers that have been checked. temperature: a number, or a row of one per row.
template <class Route, class P, class U, class G, std::size_t D, class T>
constexpr void backward_batch_of(auto&& exec, const P* outputs, const U* upstream, G* gradient,
                                 const layout<D, 3>& batch, const T& temperature) {
    using work = work_t<real_t<P, U, G>>;
    const auto temperatures =
        checked_temperatures<work>(Route::function, temperature, batch.rows(), temperature_rule::positive);
    if (batch.classes() == 0) {
        return; // of rows without elements there may be more than there is time for
    }
    for_parts_of_rows(exec, batch.rows(), batch.classes(), [&](std::size_t begin, std::size_t end) {
        backward_rows_from<Route>(outputs, upstream, gradient, batch, begin, end, temperatures);
    });
}

template <class Route, class P, class U, class G, class T>
constexpr void backward_shape(auto&& exec, P& outputs, U& upstream, G& gradient, const shape& batch,
                              T& temperature) {
    const auto in = row_of(outputs);
    const auto from = row_of(upstream);
    const auto out = row_of(gradient);
    const std::size_t size = element_count(Route::function, batch);
    require_size(Route::function, Route::input, size_of(in), "the shape", size);
    require_size(Route::function, "upstream", size_of(from), "the shape", size);
    require_size(Route::function, "gradient", size_of(out), "the shape", size);
    backward_batch_of<Route>(exec, in.first, from.first, out.first, layout_of<3>(batch),
                             temperature_of(temperature));
}

} // namespace smx::inline SMX_ABI::detail

#endif
