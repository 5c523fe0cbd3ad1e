// Which way a row goes: contiguous rows of float or double to the kernels, all others to the generic code, and everything
// in constant expressions. Leans on both.
#ifndef SMX_DETAIL_ROUTES_HPP
#define SMX_DETAIL_ROUTES_HPP

#include "../shape.hpp"
#include "config.hpp"
#include "dispatch.hpp"
#include "elements.hpp"
#include "generic_rows.hpp"
#include "inner.hpp"

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
template <class T>
struct pointee<strided_iterator<T>> {
    using type = std::remove_const_t<T>;
};

// Kernels load and store one type: the rows of all these iterators hold it.
template <class I, class... O>
concept kernel_rows = one_of<typename pointee<I>::type, float, double> &&
                      (std::same_as<typename pointee<I>::type, typename pointee<O>::type> && ...);

template <class I>
concept neighbours = std::is_pointer_v<I>;

// T = 0 and T = infinity are limits, no divisors.
constexpr bool is_divisor(double temperature) {
    return temperature > 0 && temperature <= (std::numeric_limits<double>::max)();
}

// A row whose elements are not neighbours, moved to where they are, so that it has the bits of any other row.
template <class Real>
class gathered_row {
public:
    static constexpr std::size_t longest = longest_tiled_row<Real>;

    template <class I, class S>
    gathered_row(I first, S last) {
        for (; first != last; ++first, static_cast<void>(++size_)) {
            elements_[size_] = *first;
        }
    }

    Real* data() { return elements_; }

    template <class O>
    O copy_to(O out) const {
        for (std::size_t i = 0; i < size_; ++i, static_cast<void>(++out)) {
            *out = elements_[i];
        }
        return out;
    }

private:
    Real elements_[longest];
    std::size_t size_ = 0;
};

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
            if constexpr (neighbours<I> && neighbours<O>) {
                Route::run(first, out, 1, classes, scale);
                return out + classes;
            } else if (classes <= gathered_row<Value>::longest) {
                gathered_row<Value> gathered(first, last);
                Route::run(gathered.data(), gathered.data(), 1, classes, scale);
                return gathered.copy_to(out);
            }
        }
    }
    return Route::template run_generic<Value>(first, last, out, temperature);
}

// All rows of a batch at one temperature, if the kernels can; false with nothing done otherwise.
template <class Route, class I, class O, class Work>
constexpr bool map_batch(I in, O out, const shape& batch, const Work& temperature) {
    if constexpr (kernel_rows<I, O>) {
        if (!std::is_constant_evaluated() && is_divisor(temperature)) {
            using real = typename pointee<O>::type;
            base2_scale<real> own;
            const auto& scale = base2_scale_of<real>(temperature, own);
            const auto run = [&](const real* x, real* y, std::size_t rows) {
                Route::run(x, y, rows, batch.classes, scale);
            };
            if (batch.inner != 1) {
                return map_inner(in, out, batch.outer, batch.classes, batch.inner, run);
            }
            run(in, out, batch.outer);
            return true;
        }
    }
    return false;
}

template <class Work, class I, class S>
constexpr Work reduce_row(I first, S last, const Work& temperature) {
    if constexpr (kernel_rows<I>) {
        using real = typename pointee<I>::type;
        if (!std::is_constant_evaluated() && is_divisor(temperature)) {
            const std::size_t classes = size_of(row<I, S>{first, last});
            base2_scale<real> own;
            const auto& scale = base2_scale_of<real>(temperature, own);
            real result{};
            if constexpr (neighbours<I>) {
                logsumexp_rows(first, &result, 1, classes, scale);
                return result;
            } else if (classes <= gathered_row<real>::longest) {
                gathered_row<real> gathered(first, last);
                logsumexp_rows(gathered.data(), &result, 1, classes, scale);
                return result;
            }
        }
    }
    return logsumexp_row(first, last, temperature);
}

// The same for logsumexp.
template <class I, class O, class Work>
constexpr bool reduce_batch(I in, O results, const shape& batch, const Work& temperature) {
    if constexpr (kernel_rows<I, O>) {
        if (!std::is_constant_evaluated() && is_divisor(temperature) && batch.classes != 0) {
            base2_scale<typename pointee<O>::type> own;
            const auto& scale = base2_scale_of<typename pointee<O>::type>(temperature, own);
            if (batch.inner != 1) {
                return logsumexp_inner(in, results, batch.outer, batch.classes, batch.inner, scale);
            }
            logsumexp_rows(in, results, batch.outer, batch.classes, scale);
            return true;
        }
    }
    return false;
}

} // namespace smx::inline SMX_ABI::detail

#endif
