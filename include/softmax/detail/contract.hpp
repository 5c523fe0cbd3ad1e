// What happens when a caller breaks a precondition: an exception whose message names the argument and both numbers,
// or, without exceptions, a handler the user may name. Kept out of line so that the checks stay a compare and a jump.
#ifndef SMX_DETAIL_CONTRACT_HPP
#define SMX_DETAIL_CONTRACT_HPP

#include "config.hpp"

#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <type_traits>

#if !defined(__cpp_exceptions) && !defined(SMX_VIOLATION_HANDLER)
#define SMX_VIOLATION_HANDLER(message) static_cast<void>(message)
#define SMX_DEFAULT_VIOLATION_HANDLER
#endif

namespace smx::inline SMX_ABI::detail {

#if defined(__cpp_exceptions)
template <class Exception>
[[noreturn]] inline void violate(const std::string& message) {
    throw Exception("smx::" + message);
}
#else
template <class>
[[noreturn]] inline void violate(const std::string& message) {
    SMX_VIOLATION_HANDLER(("smx::" + message).c_str());
    std::abort();
}
#endif

template <class Number>
std::string to_text(const Number& value) {
    if constexpr (std::is_integral_v<Number>) {
        return std::to_string(value);
    } else if constexpr (std::is_floating_point_v<Number>) {
        char text[32];
        std::snprintf(text, sizeof text, "%g", static_cast<double>(value));
        return text;
    } else {
        return "out of range";
    }
}

[[noreturn]] inline void violate_size(const char* function, const char* argument, std::size_t size,
                                      const char* other, std::size_t expected) {
    violate<std::invalid_argument>(std::string(function) + ": " + argument + " has " + to_text(size) +
                                   " elements, " + other + " has " + to_text(expected));
}

[[noreturn]] inline void violate_empty(const char* function, const char* argument) {
    violate<std::invalid_argument>(std::string(function) + ": " + argument +
                                   " has 0 elements, must have at least 1");
}

[[noreturn]] inline void violate_extent(const char* function, std::size_t a, std::size_t b) {
    violate<std::invalid_argument>(std::string(function) + ": a shape of " + to_text(a) + " * " + to_text(b) +
                                   " elements cannot be addressed");
}

template <class Number>
[[noreturn]] void violate_value(const char* function, const char* argument, const Number& value,
                                const char* rule) {
    violate<std::invalid_argument>(std::string(function) + ": " + argument + " is " + to_text(value) +
                                   ", must be " + rule);
}

template <class Index>
[[noreturn]] void violate_target(const char* function, const Index& target, std::size_t classes) {
    violate<std::out_of_range>(std::string(function) + ": target is " + to_text(target) + ", outside [0, " +
                               to_text(classes) + ")");
}

[[noreturn]] inline void violate_mask(const char* function, std::size_t size, std::size_t of_row,
                                      std::size_t of_all) {
    violate<std::invalid_argument>(std::string(function) + ": mask has " + to_text(size) +
                                   " elements, must have " + to_text(of_row) + " (one row) or " +
                                   to_text(of_all) + " (all rows)");
}

template <class Length>
[[noreturn]] void violate_length(const char* function, const Length& length, std::size_t classes) {
    violate<std::out_of_range>(std::string(function) + ": a valid length is " + to_text(length) +
                               ", outside [0, " + to_text(classes) + "]");
}

[[noreturn]] inline void violate_axis(const char* function, const std::string& axis, std::size_t rank) {
    violate<std::out_of_range>(std::string(function) + ": axis is " + axis + ", outside [-" + to_text(rank) +
                               ", " + to_text(rank) + ")");
}

[[noreturn]] inline void violate_extent_of_view(const char* function, const char* argument,
                                                std::size_t extent, std::size_t axis, const char* other,
                                                std::size_t expected, std::size_t axis_of_other) {
    violate<std::invalid_argument>(std::string(function) + ": " + argument + " has " + to_text(extent) +
                                   " elements along axis " + to_text(axis) + ", " + other + " has " +
                                   to_text(expected) + " along axis " + to_text(axis_of_other));
}

[[noreturn]] inline void violate_strides(const char* function, const char* argument) {
    violate<std::invalid_argument>(std::string(function) + ": the layout of " + argument + " has no strides");
}

constexpr void require_size(const char* function, const char* argument, std::size_t size, const char* other,
                            std::size_t expected) {
    if (size != expected) {
        violate_size(function, argument, size, other, expected);
    }
}

} // namespace smx::inline SMX_ABI::detail

#endif
