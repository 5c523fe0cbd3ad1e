// What happens when a caller breaks a precondition: an exception whose message names the argument and both numbers,
// or, without exceptions, a handler the user may name. Kept out of line so that the checks stay a compare and a jump.
#ifndef SMX_DETAIL_CONTRACT_HPP
#define SMX_DETAIL_CONTRACT_HPP

#include "config.hpp"

#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <initializer_list>
#include <stdexcept>
#include <string>
#include <type_traits>

#if !defined(__cpp_exceptions) && !defined(SMX_VIOLATION_HANDLER)
#define SMX_VIOLATION_HANDLER(message) static_cast<void>(message)
#define SMX_DEFAULT_VIOLATION_HANDLER
#endif

namespace smx::inline SMX_ABI::detail {

template <class Exception>
[[noreturn]] inline void violate(std::initializer_list<const char*> parts) {
    std::string message;
    message += "smx::";
    for (const char* part : parts) {
        message += part;
    }
#if defined(__cpp_exceptions)
    throw Exception(message);
#else
    SMX_VIOLATION_HANDLER(message.c_str());
    std::abort();
#endif
}

// A number as messages show it. (Neither std::to_string nor sums of strings: every unit that includes this would instantiate
// their templates, a thirtieth of what the own headers take.)
struct number_text {
    char characters[32];

    const char* c_str() const { return characters; }
};

template <class Number>
number_text to_text(const Number& value) {
    number_text text{"out of range"};
    if constexpr (std::is_floating_point_v<Number>) {
        std::snprintf(text.characters, sizeof text.characters, "%g", static_cast<double>(value));
    } else if constexpr (std::is_unsigned_v<Number>) {
        std::snprintf(text.characters, sizeof text.characters, "%llu",
                      static_cast<unsigned long long>(value));
    } else if constexpr (std::is_integral_v<Number>) {
        std::snprintf(text.characters, sizeof text.characters, "%lld", static_cast<long long>(value));
    }
    return text;
}

[[noreturn]] inline void violate_size(const char* function, const char* argument, std::size_t size,
                                      const char* other, std::size_t expected) {
    violate<std::invalid_argument>({function, ": ", argument, " has ", to_text(size).c_str(), " elements, ",
                                    other, " has ", to_text(expected).c_str()});
}

[[noreturn]] inline void violate_empty(const char* function, const char* argument) {
    violate<std::invalid_argument>({function, ": ", argument, " has 0 elements, must have at least 1"});
}

[[noreturn]] inline void violate_extent(const char* function, std::size_t a, std::size_t b) {
    violate<std::invalid_argument>({function, ": a shape of ", to_text(a).c_str(), " * ", to_text(b).c_str(),
                                    " elements cannot be addressed"});
}

template <class Number>
[[noreturn]] void violate_value(const char* function, const char* argument, const Number& value,
                                const char* rule) {
    violate<std::invalid_argument>(
        {function, ": ", argument, " is ", to_text(value).c_str(), ", must be ", rule});
}

template <class Index>
[[noreturn]] void violate_target(const char* function, const Index& target, std::size_t classes) {
    violate<std::out_of_range>(
        {function, ": target is ", to_text(target).c_str(), ", outside [0, ", to_text(classes).c_str(), ")"});
}

[[noreturn]] inline void violate_mask(const char* function, std::size_t size, std::size_t of_row,
                                      std::size_t of_all) {
    violate<std::invalid_argument>({function, ": mask has ", to_text(size).c_str(), " elements, must have ",
                                    to_text(of_row).c_str(), " (one row) or ", to_text(of_all).c_str(),
                                    " (all rows)"});
}

template <class Length>
[[noreturn]] void violate_length(const char* function, const Length& length, std::size_t classes) {
    violate<std::out_of_range>({function, ": a valid length is ", to_text(length).c_str(), ", outside [0, ",
                                to_text(classes).c_str(), "]"});
}

[[noreturn]] inline void violate_axis(const char* function, const char* axis, std::size_t rank) {
    violate<std::out_of_range>({function, ": axis is ", axis, ", outside [-", to_text(rank).c_str(), ", ",
                                to_text(rank).c_str(), ")"});
}

[[noreturn]] inline void violate_extent_of_view(const char* function, const char* argument,
                                                std::size_t extent, std::size_t axis, const char* other,
                                                std::size_t expected, std::size_t axis_of_other) {
    violate<std::invalid_argument>({function, ": ", argument, " has ", to_text(extent).c_str(),
                                    " elements along axis ", to_text(axis).c_str(), ", ", other, " has ",
                                    to_text(expected).c_str(), " along axis ",
                                    to_text(axis_of_other).c_str()});
}

[[noreturn]] inline void violate_strides(const char* function, const char* argument) {
    violate<std::invalid_argument>({function, ": the layout of ", argument, " has no strides"});
}

constexpr void require_size(const char* function, const char* argument, std::size_t size, const char* other,
                            std::size_t expected) {
    if (size != expected) {
        violate_size(function, argument, size, other, expected);
    }
}

} // namespace smx::inline SMX_ABI::detail

#endif
