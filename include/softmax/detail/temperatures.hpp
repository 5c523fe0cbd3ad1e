// Temperatures of a batch, one for all rows or a range of one per row: checked as a whole, then handed out row by row.
#ifndef SMX_DETAIL_TEMPERATURES_HPP
#define SMX_DETAIL_TEMPERATURES_HPP

#include "../options.hpp"
#include "contract.hpp"
#include "elements.hpp"

#include <cstddef>
#include <type_traits>

namespace smx::inline SMX_ABI::detail {

// Checked temperatures; from(row) gives those of the rows from there on, one a call.
template <class Work>
struct one_temperature {
    Work value;

    constexpr auto from(std::size_t) const {
        return [this]() -> const Work& { return value; };
    }
};
template <class Work, class I>
struct temperature_of_each {
    I first;

    constexpr auto from(std::size_t row) const {
        return [next = advanced_by(first, row)]() mutable {
            const Work value = static_cast<Work>(*next);
            ++next;
            return value;
        };
    }
};

template <class Work, class T>
    requires number<std::remove_cvref_t<T>>
constexpr one_temperature<Work> checked_temperatures(const char* function, const T& temperature, std::size_t,
                                                     temperature_rule rule) {
    return {checked_temperature<Work>(function, temperature, rule)};
}
// A range of them is checked as a whole before the first row is written.
template <class Work, class I, class S>
constexpr temperature_of_each<Work, I> checked_temperatures(const char* function,
                                                            const row<I, S>& temperatures, std::size_t rows,
                                                            temperature_rule rule) {
    require_size(function, "temperature", size_of(temperatures), "the batch of rows", rows);
    for (auto it = temperatures.first; it != temperatures.last; ++it) {
        checked_temperature<Work>(function, *it, rule);
    }
    return {temperatures.first};
}

// A temperature as checked_temperatures() takes it.
template <class T>
constexpr decltype(auto) temperature_of(T& temperature) {
    if constexpr (number<std::remove_cvref_t<T>>) {
        return static_cast<const T&>(temperature);
    } else {
        return row_of(temperature);
    }
}

} // namespace smx::inline SMX_ABI::detail

#endif
