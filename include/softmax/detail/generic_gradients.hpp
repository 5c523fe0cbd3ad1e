// The gradients of softmax and log_softmax of one row, for every element type and forward iterator, also in constant
// expressions. A row is read twice and written in the second pass, each element after it was read, so that the gradient may
// take the place of either input.
#ifndef SMX_DETAIL_GENERIC_GRADIENTS_HPP
#define SMX_DETAIL_GENERIC_GRADIENTS_HPP

#include "double_word.hpp"
#include "elementary.hpp"
#include "elements.hpp"

#include <concepts>
#include <limits>

namespace smx::inline SMX_ABI::detail {

template <class Work>
constexpr void add_product(compensated_sum<Work>& sum, const Work& a, const Work& b) {
    if constexpr (std::floating_point<Work>) {
        const auto product = two_product(a, b);
        sum += product.hi;
        sum += product.lo == product.lo ? product.lo : Work(0); // that of an infinite product is NaN
    } else {
        sum += Work(a * b);
    }
}

template <class Work>
constexpr bool is_usual(const Work& x) {
    return x > std::numeric_limits<Work>::lowest() && x < (std::numeric_limits<Work>::max)();
}

// Writes f(y, u) for each pair; returns the end of the output.
template <class Value, class Work, class I, class S, class U, class O, class F>
constexpr O write_gradient(I first, S last, U upstream, O out, F f) {
    for (; first != last; ++first, static_cast<void>(++upstream), static_cast<void>(++out)) {
        const Work result = f(static_cast<Work>(*first), static_cast<Work>(*upstream));
        *out = static_cast<Value>(result);
    }
    return out;
}

// p (u - sum) / T and (u - p sum) / T. Divided first, as by the kernels: a product below the normal numbers has lost digits that a
// small T shows.
template <class Work>
constexpr Work gradient_of_probability(const Work& p, const Work& up, const double_word<Work>& sum,
                                       const Work& temperature) {
    if constexpr (std::floating_point<Work>) {
        if (is_usual(Work((up - sum.hi) / temperature)) && is_usual(temperature)) {
            using word = double_word<Work>;
            return ((word{up, 0} - sum) / word{temperature, 0} * word{p, 0}).hi;
        }
    }
    return p * (up - sum.hi) / temperature;
}
template <class Work>
constexpr Work gradient_of_logarithm(const Work& p, const Work& up, const double_word<Work>& sum,
                                     const Work& temperature) {
    if constexpr (std::floating_point<Work>) {
        if (is_usual(Work(up / temperature)) && is_usual(Work(sum.hi / temperature)) &&
            is_usual(temperature)) {
            using word = double_word<Work>;
            const word divisor{temperature, 0};
            return (word{up, 0} / divisor - sum / divisor * word{p, 0}).hi;
        }
    }
    return (up - p * sum.hi) / temperature;
}

// p (u - sum(p u)) / T. A class of probability 0 takes no part, whatever its upstream.
template <class Value, class Work, class I, class S, class U, class O>
constexpr O softmax_backward_row(I first, S last, U upstream, O out, const Work& temperature) {
    const Work zero(0.0);
    compensated_sum<Work> products;
    U u = upstream;
    for (I p = first; p != last; ++p, static_cast<void>(++u)) {
        const Work probability = static_cast<Work>(*p);
        if (!(probability == zero)) {
            add_product(products, probability, static_cast<Work>(*u));
        }
    }
    const auto sum = products.value();
    return write_gradient<Value, Work>(first, last, upstream, out, [&](const Work& p, const Work& up) {
        if (p == zero) {
            return zero;
        }
        return gradient_of_probability(p, up, sum, temperature);
    });
}

// (u - exp(l) sum(u)) / T.
template <class Value, class Work, class I, class S, class U, class O>
constexpr O log_softmax_backward_row(I first, S last, U upstream, O out, const Work& temperature) {
    compensated_sum<Work> all;
    U u = upstream;
    for (I l = first; l != last; ++l, static_cast<void>(++u)) {
        all += static_cast<Work>(*u);
    }
    const auto sum = all.value();
    return write_gradient<Value, Work>(first, last, upstream, out, [&](const Work& l, const Work& up) {
        return gradient_of_logarithm(exponential(l), up, sum, temperature);
    });
}

} // namespace smx::inline SMX_ABI::detail

#endif
