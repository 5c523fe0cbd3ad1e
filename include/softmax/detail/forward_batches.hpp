// softmax, log_softmax and logsumexp of batches, between their checks and the routes of rows: a temperature for all rows or
// one for each, rows wherever they stand, tasks for the caller's threads. Leans on routes.hpp, tiles.hpp and tasks.hpp.
#ifndef SMX_DETAIL_FORWARD_BATCHES_HPP
#define SMX_DETAIL_FORWARD_BATCHES_HPP

#include "../shape.hpp"
#include "contract.hpp"
#include "elements.hpp"
#include "layout.hpp"
#include "routes.hpp"
#include "shared_rows.hpp"
#include "tasks.hpp"
#include "temperatures.hpp"
#include "tiles.hpp"

#include <concepts>
#include <cstddef>
#include <type_traits>

namespace smx::inline SMX_ABI::detail {

// The kernels on packed rows, whose temperatures may be limits where they are not one.
template <class Real, class Divisor, class Limit>
void for_each_scale(auto& next, std::size_t rows, Divisor by_kernel, Limit by_limit) {
    base2_scale<Real> own;
    for (std::size_t r = 0; r != rows; ++r) {
        const double temperature = next();
        if (is_divisor(temperature)) {
            by_kernel(r, base2_scale_of<Real>(temperature, own));
        } else {
            by_limit(r, temperature);
        }
    }
}

// Rows [begin, end) by softmax_route or log_softmax_route.
template <class Route, class X, class Y, std::size_t D, class Temperatures>
void map_by_kernels(const X* x, Y* y, const layout<D, 2>& batch, std::size_t begin, std::size_t end,
                    const Temperatures& temperatures) {
    const std::size_t n = batch.classes();
    const buffers<Y, 1> data{{x}, y};
    if constexpr (std::same_as<Temperatures, one_temperature<double>>) {
        base2_scale<Y> own;
        const auto& scale = base2_scale_of<Y>(temperatures.value, own);
        for_each_packed(data, batch, begin, end,
                        [&](const buffers<Y, 1>& rows, std::size_t, std::size_t count) {
                            Route::run(rows.in[0], rows.out, count, n, scale);
                        });
    } else {
        auto next = temperatures.from(begin);
        for_each_packed(
            data, batch, begin, end, [&](const buffers<Y, 1>& rows, std::size_t, std::size_t count) {
                for_each_scale<Y>(
                    next, count,
                    [&](std::size_t r, const base2_scale<Y>& scale) {
                        Route::run(rows.in[0] + r * n, rows.out + r * n, 1, n, scale);
                    },
                    [&](std::size_t r, double temperature) {
                        const Y* const row = rows.in[0] + r * n;
                        Route::template run_generic<Y>(row, row + n, rows.out + r * n, temperature);
                    });
            });
    }
}

// Whether the kernels do these temperatures: limits only row by row.
template <class Work>
constexpr bool suit_kernels(const one_temperature<Work>& temperature) {
    return is_divisor(temperature.value);
}
template <class Work, class I>
constexpr bool suit_kernels(const temperature_of_each<Work, I>&) {
    return true;
}

template <class Route, class X, class Y, std::size_t D, class Temperatures>
constexpr void map_rows_from(const X* x, Y* y, const layout<D, 2>& batch, std::size_t begin, std::size_t end,
                             const Temperatures& temperatures) {
    if constexpr (kernel_rows<const X*, Y*>) {
        if (!std::is_constant_evaluated() && fits_tiles<Y>(batch) && suit_kernels(temperatures)) {
            return map_by_kernels<Route>(x, y, batch, begin, end, temperatures);
        }
    }
    auto next = temperatures.from(begin);
    batch.for_each_row(begin, end, [&](std::size_t, const auto& at) {
        const auto in = at[0].of(x);
        Route::template run_generic<Y>(in.first, in.last, at[1].of(y).first, next());
    });
}

// Fewer rows than this are shared by all tasks one by one, if they are long enough: as many threads may be waiting.
inline constexpr std::size_t few_rows = 16;

// visit(row, at, temperature, scale) for the rows of a batch that had better be shared; false, with nothing done, if it is not
// such a batch. visit returns whether it could; otherwise single(row).
template <class Real, std::size_t D, std::size_t N, class Temperatures>
bool share_few_rows(const layout<D, N>& batch, const Temperatures& temperatures, std::size_t longest_unshared,
                    auto visit, auto single) {
    if (batch.rows() >= few_rows || batch.classes() <= longest_unshared || !batch.has_neighbours()) {
        return false;
    }
    auto next = temperatures.from(0);
    base2_scale<Real> own;
    batch.for_each_row(0, batch.rows(), [&](std::size_t row, const auto& at) {
        const double temperature = next();
        if (!is_divisor(temperature) || !visit(row, at, base2_scale_of<Real>(temperature, own))) {
            single(row);
        }
    });
    return true;
}

// All rows of a batch in buffers that have been checked. temperature: a number, or a row of one per row.
template <class Route, class X, class Y, std::size_t D, class T>
constexpr void map_batch(auto&& exec, const X* x, Y* y, const layout<D, 2>& batch, const T& temperature) {
    using work = work_t<real_t<X, Y>>;
    const auto temperatures = checked_temperatures<work>(Route::function, temperature, batch.rows(),
                                                         temperature_rule::zero_allowed);
    if (batch.classes() == 0) {
        return; // of rows without elements there may be more than there is time for
    }
    const auto map_part = [&](std::size_t begin, std::size_t end) {
        map_rows_from<Route>(x, y, batch, begin, end, temperatures);
    };
    if constexpr (!is_calling_thread<std::remove_reference_t<decltype(exec)>> && kernel_rows<const X*, Y*>) {
        if (share_few_rows<Y>(
                batch, temperatures, longest_unshared_row<Y>(Route{}),
                [&](std::size_t, const auto& at, const base2_scale<Y>& scale) {
                    return share_row<Route>(exec, x + at[0].offset, y + at[1].offset, batch.classes(), scale);
                },
                [&](std::size_t row) { map_part(row, row + 1); })) {
            return;
        }
    }
    for_parts_of_rows(exec, batch.rows(), batch.classes(), map_part);
}

// logsumexp of packed rows to any output.
template <class Real, class O>
void reduce_packed(const Real* x, O& out, std::size_t rows, std::size_t n, const base2_scale<Real>& scale) {
    if constexpr (std::same_as<O, Real*>) {
        logsumexp_rows(x, out, rows, n, scale);
        out += rows;
    } else {
        constexpr std::size_t most = 64;
        Real results[most];
        for (std::size_t r = 0; r < rows; r += most) {
            const std::size_t count = rows - r < most ? rows - r : most;
            logsumexp_rows(x + r * n, results, count, n, scale);
            for (std::size_t k = 0; k != count; ++k, static_cast<void>(++out)) {
                *out = static_cast<std::iter_value_t<O>>(results[k]);
            }
        }
    }
}

template <class Real, class O, std::size_t D, class Temperatures>
void reduce_by_kernels(const Real* x, O out, const layout<D, 1>& batch, std::size_t begin, std::size_t end,
                       const Temperatures& temperatures) {
    const std::size_t n = batch.classes();
    const buffers<Real, 1> data{{x}, nullptr};
    if constexpr (std::same_as<Temperatures, one_temperature<double>>) {
        base2_scale<Real> own;
        const auto& scale = base2_scale_of<Real>(temperatures.value, own);
        for_each_packed(data, batch, begin, end,
                        [&](const buffers<Real, 1>& rows, std::size_t, std::size_t count) {
                            reduce_packed(rows.in[0], out, count, n, scale);
                        });
    } else {
        auto next = temperatures.from(begin);
        for_each_packed(
            data, batch, begin, end, [&](const buffers<Real, 1>& rows, std::size_t, std::size_t count) {
                for_each_scale<Real>(
                    next, count,
                    [&](std::size_t r, const base2_scale<Real>& scale) {
                        reduce_packed(rows.in[0] + r * n, out, 1, n, scale);
                    },
                    [&](std::size_t r, double temperature) {
                        const Real* const row = rows.in[0] + r * n;
                        *out = static_cast<std::iter_value_t<O>>(logsumexp_row(row, row + n, temperature));
                        ++out;
                    });
            });
    }
}

template <class X, class O, std::size_t D, class Temperatures>
constexpr void reduce_rows_from(const X* x, O out, const layout<D, 1>& batch, std::size_t begin,
                                std::size_t end, const Temperatures& temperatures) {
    // (Results of a wider type have the digits of that type.)
    if constexpr (kernel_rows<const X*> && std::same_as<X, std::iter_value_t<O>>) {
        if (!std::is_constant_evaluated() && fits_tiles<X>(batch) && suit_kernels(temperatures) &&
            batch.classes() != 0) {
            return reduce_by_kernels(x, out, batch, begin, end, temperatures);
        }
    }
    auto next = temperatures.from(begin);
    batch.for_each_row(begin, end, [&](std::size_t, const auto& at) {
        const auto in = at[0].of(x);
        *out = static_cast<std::iter_value_t<O>>(logsumexp_row(in.first, in.last, next()));
        ++out;
    });
}

// One logsumexp a row, to an output of as many elements.
template <class X, class O, std::size_t D, class T>
constexpr void reduce_batch(auto&& exec, const X* x, O results, const layout<D, 1>& batch,
                            const T& temperature) {
    using work = work_t<real_t<X, std::iter_value_t<O>>>;
    const auto temperatures =
        checked_temperatures<work>("logsumexp", temperature, batch.rows(), temperature_rule::positive);
    const auto reduce_part = [&](std::size_t begin, std::size_t end) {
        reduce_rows_from(x, advanced_by(results, begin), batch, begin, end, temperatures);
    };
    if constexpr (!is_calling_thread<std::remove_reference_t<decltype(exec)>> && kernel_rows<const X*> &&
                  std::same_as<X, std::iter_value_t<O>>) {
        if (share_few_rows<X>(
                batch, temperatures, longest_row_read_twice<X>,
                [&](std::size_t row, const auto& at, const base2_scale<X>& scale) {
                    X result;
                    const bool shared =
                        share_logsumexp(exec, x + at[0].offset, result, batch.classes(), scale);
                    if (shared) {
                        *advanced_by(results, row) = result;
                    }
                    return shared;
                },
                [&](std::size_t row) { reduce_part(row, row + 1); })) {
            return;
        }
    }
    for_parts_of_rows(exec, batch.rows(), batch.classes(), reduce_part);
}

template <class Route, class In, class Out, class T>
constexpr void map_shape(auto&& exec, In& logits, Out& results, const shape& batch, T& temperature) {
    const auto in = row_of(logits);
    const auto out = row_of(results);
    const std::size_t size = element_count(Route::function, batch);
    require_size(Route::function, "logits", size_of(in), "the shape", size);
    require_size(Route::function, Route::output, size_of(out), "the shape", size);
    map_batch<Route>(exec, in.first, out.first, layout_of<2>(batch), temperature_of(temperature));
}

template <class In, class Out, class T>
constexpr void reduce_shape(auto&& exec, In& logits, Out& results, const shape& batch, T& temperature) {
    const auto in = row_of(logits);
    const auto out = row_of(results);
    require_size("logsumexp", "logits", size_of(in), "the shape", element_count("logsumexp", batch));
    require_size("logsumexp", "results", size_of(out), "the batch of rows", row_count("logsumexp", batch));
    reduce_batch(exec, in.first, out.first, layout_of<1>(batch), temperature_of(temperature));
}

} // namespace smx::inline SMX_ABI::detail

#endif
