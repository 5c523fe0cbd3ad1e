// Numbers from text and back, the same in every locale, and text from outside made fit for a message.

#ifndef SMX_EXAMPLES_SUPPORT_NUMBERS_HPP
#define SMX_EXAMPLES_SUPPORT_NUMBERS_HPP

#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <system_error>
#include <version>

namespace support {

// Reads the whole of `text` as a decimal number: "2", "+2", "-3.5", "1e-3", "inf", "-inf", "nan". Returns
// std::errc{}; or, with `value` as it was, invalid_argument where it is no number and result_out_of_range
// where no double holds it.
inline std::errc read_number(std::string_view text, double& value) {
    const bool has_plus = text.size() > 1 && text[0] == '+' && text[1] != '-';
    if (has_plus) {
        text.remove_prefix(1);
    }
#ifdef __cpp_lib_to_chars
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    const bool is_whole = end == text.data() + text.size();
    return is_whole ? error : std::errc::invalid_argument;
#else
    // libc++ had no floating-point from_chars for long. strtod also takes leading blanks and hexadecimals, so
    // those are refused first; it follows the locale, but these programs never leave the "C" locale.
    if (text.empty() || text.find_first_of(" \t\n\v\f\rxXpP") != text.npos) {
        return std::errc::invalid_argument;
    }
    const std::string copy(text);
    char* end = nullptr;
    errno = 0;
    const double result = std::strtod(copy.c_str(), &end);
    if (end != copy.c_str() + copy.size()) {
        return std::errc::invalid_argument;
    }
    if (errno == ERANGE && (result == 0 || std::isinf(result))) {
        return std::errc::result_out_of_range;
    }
    value = result;
    return std::errc{};
#endif
}

// The text from which `value` is read back exactly.
inline std::string to_text(double value) {
    if (std::isnan(value)) {
        return "nan"; // whatever its sign bit, which says nothing to a reader
    }
    char buffer[32];
#ifdef __cpp_lib_to_chars
    return std::string(buffer, std::to_chars(buffer, buffer + sizeof buffer, value).ptr);
#else
    std::snprintf(buffer, sizeof buffer, "%.17g", value);
    return buffer;
#endif
}

// As printf would write it.
inline std::string to_text(const char* format, double value) {
    char buffer[64];
    std::snprintf(buffer, sizeof buffer, format, value);
    return buffer;
}

// 'text', shortened and without what would upset a terminal.
inline std::string quote(std::string_view text) {
    constexpr std::size_t longest = 30;
    std::string result = "'";
    for (const char c : text.substr(0, longest)) {
        result += c >= ' ' && c <= '~' ? c : '?';
    }
    return result + (text.size() > longest ? "...'" : "'");
}

} // namespace support

#endif
