// Which way a row that arrives in pieces goes: float and double to the kernels, where they can, all else to the generic code,
// and everything in constant expressions. Leans on both.
#ifndef SMX_DETAIL_ONLINE_SUMS_HPP
#define SMX_DETAIL_ONLINE_SUMS_HPP

#include "contract.hpp"
#include "elements.hpp"
#include "generic_online.hpp"
#include "online_rows.hpp"
#include "routes.hpp"

#include <concepts>
#include <cstddef>
#include <type_traits>

namespace smx::inline SMX_ABI::detail {

template <class T>
constexpr void require_same_temperature(const char* function, const T& temperature, const T& expected) {
    if (!(temperature == expected)) {
        violate_value(function, "temperature of the other state", temperature, to_text(expected).c_str());
    }
}

// f(scale) of the kernels; false where there are none.
template <class Real, class Work, class F>
constexpr bool by_kernels(const Work& temperature, F f) {
    if constexpr (one_of<Real, float, double>) {
        if (!std::is_constant_evaluated() && is_divisor(temperature)) {
            base2_scale<Real> own;
            return f(base2_scale_of<Real>(temperature, own));
        }
    }
    return false;
}

template <class Real, class Work>
constexpr void take_reference_off(partial_sum<Real>& s, const Work& temperature) {
    by_kernels<Real>(temperature, [&](const auto& scale) {
        dispatch<centre_sum, Real>(&s, &scale);
        return true;
    });
}

template <class Real, class Work>
constexpr void merge_into(partial_sum<Real>& s, partial_sum<Real> part, const Work& temperature) {
    if (settle(s, part) || by_kernels<Real>(temperature, [&](const auto& scale) {
            return dispatch<merge_sums, Real>(&s, static_cast<const partial_sum<Real>*>(&part), &scale);
        })) {
        return;
    }
    take_reference_off(s, temperature);
    take_reference_off(part, temperature);
    add_partial_sum(s, part, temperature);
}

template <class Real, class Work>
constexpr void push_value(partial_sum<Real>& s, const Real& x, const Work& temperature) {
    if (!by_kernels<Real>(temperature,
                          [&](const auto& scale) { return dispatch<push_one, Real>(&s, x, &scale); })) {
        merge_into(s, partial_sum<Real>(x), temperature);
    }
}

// f(buffer, count) for all elements of a row, some at a time.
template <class Real, class I, class S, class F>
void gathered(I first, S last, F f) {
    constexpr std::size_t most = 256;
    Real buffer[most];
    while (first != last) {
        std::size_t count = 0;
        for (; count != most && first != last; ++first) {
            buffer[count++] = static_cast<Real>(*first);
        }
        f(buffer, count);
    }
}

template <class Real, class Work>
bool push_neighbours(partial_sum<Real>& s, const Real* x, std::size_t n, const Work& temperature,
                     const base2_scale<Real>& scale) {
    partial_sum<Real> part;
    if (n != 0 && !dispatch<push_row, Real>(&s, x, n, &scale, &part)) {
        merge_into(s, part, temperature);
    }
    return true;
}

template <class Real, class I, class S, class Work>
constexpr void push_range(partial_sum<Real>& s, I first, S last, const Work& temperature) {
    if (by_kernels<Real>(temperature, [&](const auto& scale) {
            if constexpr (kernel_rows<I, Real*> && neighbours<I>) {
                return push_neighbours(s, first, size_of(row<I, S>{first, last}), temperature, scale);
            } else {
                gathered<Real>(first, last, [&](const Real* x, std::size_t n) {
                    push_neighbours(s, x, n, temperature, scale);
                });
                return true;
            }
        })) {
        return;
    }
    for (; first != last; ++first) {
        merge_into(s, partial_sum<Real>(static_cast<Real>(*first)), temperature);
    }
}

template <class Real, class Work>
constexpr Real logsumexp_so_far(partial_sum<Real> s, const Work& temperature) {
    Real result{};
    if (by_kernels<Real>(temperature, [&](const auto& scale) {
            return dispatch<logsumexp_of_sum, Real>(static_cast<const partial_sum<Real>*>(&s), &scale,
                                                    &result);
        })) {
        return result;
    }
    take_reference_off(s, temperature);
    return static_cast<Real>(logsumexp_of(s, temperature));
}

template <class Real, class Work>
constexpr Real share_so_far(partial_sum<Real> s, partial_sum<Real> part, const Work& temperature) {
    Real result{};
    if (by_kernels<Real>(temperature, [&](const auto& scale) {
            return dispatch<share_of_sum, Real>(static_cast<const partial_sum<Real>*>(&s),
                                                static_cast<const partial_sum<Real>*>(&part), &scale,
                                                &result);
        })) {
        return result;
    }
    take_reference_off(s, temperature);
    take_reference_off(part, temperature);
    return static_cast<Real>(probability_of(s, part, temperature));
}

// Rows of neighbours by the kernel; what it does not do, element by element.
template <class Real, class Work>
void normalize_neighbours(const partial_sum<Real>& s, const Real* x, Real* y, std::size_t n,
                          const Work& temperature, const base2_scale<Real>& scale) {
    constexpr std::size_t most = 4096; // in L1 from its maximum to its results
    for (std::size_t i = 0; i < n; i += most) {
        const std::size_t count = n - i < most ? n - i : most;
        if (!dispatch<normalize_row, Real>(&s, x + i, y + i, count, &scale)) {
            partial_sum<Real> own = s;
            take_reference_off(own, temperature);
            for (std::size_t k = i; k != i + count; ++k) {
                y[k] = static_cast<Real>(probability_of(own, x[k], temperature));
            }
        }
    }
}

template <class Value, class Real, class I, class S, class O, class Work>
constexpr void normalize_range(partial_sum<Real> s, I first, S last, O out, const Work& temperature) {
    if (by_kernels<Real>(temperature, [&](const auto& scale) {
            if constexpr (kernel_rows<I, O, Real*> && neighbours<I> && neighbours<O>) {
                normalize_neighbours(s, first, out, size_of(row<I, S>{first, last}), temperature, scale);
            } else {
                gathered<Real>(first, last, [&](Real* x, std::size_t n) {
                    normalize_neighbours<Real>(s, x, x, n, temperature, scale);
                    for (std::size_t i = 0; i != n; ++i, static_cast<void>(++out)) {
                        *out = static_cast<Value>(x[i]);
                    }
                });
            }
            return true;
        })) {
        return;
    }
    take_reference_off(s, temperature);
    for (; first != last; ++first, static_cast<void>(++out)) {
        *out = static_cast<Value>(probability_of(s, static_cast<Real>(*first), temperature));
    }
}

template <class Real, class Work>
constexpr Real probability_so_far(const partial_sum<Real>& s, const Real& x, const Work& temperature) {
    Real result{};
    normalize_range<Real>(s, &x, &x + 1, &result, temperature);
    return result;
}

} // namespace smx::inline SMX_ABI::detail

#endif
