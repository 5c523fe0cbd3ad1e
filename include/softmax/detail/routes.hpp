// Which way a row goes: contiguous rows of float or double to the kernels, all others to the generic code, and everything
// in constant expressions. Leans on both.
#ifndef SMX_DETAIL_ROUTES_HPP
#define SMX_DETAIL_ROUTES_HPP

#include "config.hpp"
#include "dispatch.hpp"
#include "elements.hpp"
#include "generic_rows.hpp"

#include <concepts>
#include <cstddef>
#include <limits>
#include <type_traits>

namespace smx::inline SMX_ABI::detail {

template <class I>
struct pointee {
    using type = void;
};
template <class T>
struct pointee<T*> {
    using type = std::remove_const_t<T>;
};

// Kernels load and store one type, in rows of neighbours: all these are pointers to it.
template <class I, class... O>
concept kernel_rows = one_of<typename pointee<I>::type, float, double> &&
                      (std::same_as<typename pointee<I>::type, typename pointee<O>::type> && ...);

template <class I>
concept neighbours = std::is_pointer_v<I>;

// T = 0 and T = infinity are limits, no divisors.
constexpr bool is_divisor(double temperature) {
    return temperature > 0 && temperature <= (std::numeric_limits<double>::max)();
}

// One struct per operation, so that softmax and log_softmax share everything but the formula.
struct softmax_route {
    static constexpr const char* function = "softmax";
    static constexpr const char* output = "probabilities";

    template <class Real>
    static void run(const Real* x, Real* y, std::size_t rows, std::size_t classes,
                    const base2_scale<Real>& scale) {
        softmax_rows(x, y, rows, classes, scale);
    }
    template <class Value, class Work, class I, class S, class O>
    static constexpr O run_generic(I first, S last, O out, const Work& temperature) {
        return softmax_row<Value>(first, last, out, temperature);
    }
};

struct log_softmax_route {
    static constexpr const char* function = "log_softmax";
    static constexpr const char* output = "log_probabilities";

    template <class Real>
    static void run(const Real* x, Real* y, std::size_t rows, std::size_t classes,
                    const base2_scale<Real>& scale) {
        log_softmax_rows(x, y, rows, classes, scale);
    }
    template <class Value, class Work, class I, class S, class O>
    static constexpr O run_generic(I first, S last, O out, const Work& temperature) {
        return log_softmax_row<Value>(first, last, out, temperature);
    }
};

// One row by softmax_route or log_softmax_route; returns the end of the output.
template <class Route, class Value, class Work, class I, class S, class O>
constexpr O map_row(I first, S last, O out, const Work& temperature) {
    if constexpr (kernel_rows<I, O>) {
        if (!std::is_constant_evaluated() && is_divisor(temperature)) {
            const std::size_t classes = size_of(row<I, S>{first, last});
            base2_scale<Value> own;
            const auto& scale = base2_scale_of<Value>(temperature, own);
            Route::run(first, out, 1, classes, scale);
            return out + classes;
        }
    }
    return Route::template run_generic<Value>(first, last, out, temperature);
}

// The same for logsumexp.
template <class Work, class I, class S>
constexpr Work reduce_row(I first, S last, const Work& temperature) {
    if constexpr (kernel_rows<I>) {
        using real = typename pointee<I>::type;
        if (!std::is_constant_evaluated() && is_divisor(temperature)) {
            const std::size_t classes = size_of(row<I, S>{first, last});
            base2_scale<real> own;
            const auto& scale = base2_scale_of<real>(temperature, own);
            real result{};
            logsumexp_rows(first, &result, 1, classes, scale);
            return result;
        }
    }
    return logsumexp_row(first, last, temperature);
}

} // namespace smx::inline SMX_ABI::detail

#endif
