// Temperatures of a batch, one for all rows or a range of one per row: checked as a whole, then handed out row by row.
#ifndef SMX_DETAIL_TEMPERATURES_HPP
#define SMX_DETAIL_TEMPERATURES_HPP

#include "../options.hpp"
#include "../shape.hpp"
#include "contract.hpp"
#include "elements.hpp"

#include <type_traits>

namespace smx::inline SMX_ABI::detail {

// Before the first row is written.
template <class Work, class T>
constexpr void require_temperatures(const char* function, T& temperature, const shape& batch,
                                    temperature_rule rule) {
    if constexpr (number<std::remove_cvref_t<T>>) {
        checked_temperature<Work>(function, temperature, rule);
    } else {
        const auto values = row_of(temperature);
        require_size(function, "temperature", size_of(values), "the batch of rows",
                     row_count(function, batch));
        for (auto it = values.first; it != values.last; ++it) {
            checked_temperature<Work>(function, *it, rule);
        }
    }
}

// Calls visit(elements, temperature) for each row.
template <class Work, class T, class Visit>
constexpr void for_each_row_at(const shape& batch, T& temperature, Visit visit) {
    if constexpr (number<std::remove_cvref_t<T>>) {
        for_each_row(batch, [&](auto elements) { visit(elements, static_cast<Work>(temperature)); });
    } else {
        auto next = row_of(temperature).first;
        for_each_row(batch, [&](auto elements) {
            visit(elements, static_cast<Work>(*next));
            ++next;
        });
    }
}

} // namespace smx::inline SMX_ABI::detail

#endif
