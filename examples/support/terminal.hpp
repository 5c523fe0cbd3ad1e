// What is known about the terminal, and bars made of characters.

#ifndef SMX_EXAMPLES_SUPPORT_TERMINAL_HPP
#define SMX_EXAMPLES_SUPPORT_TERMINAL_HPP

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

#ifdef _WIN32
#include <io.h>
#else
#include <sys/ioctl.h>
#include <unistd.h>
#endif

namespace support {

inline bool is_terminal(std::FILE* stream) {
#ifdef _WIN32
    return _isatty(_fileno(stream)) != 0;
#else
    return isatty(fileno(stream)) != 0;
#endif
}

// In characters; 80 where `stream` is no terminal or does not tell.
inline int terminal_width([[maybe_unused]] std::FILE* stream) {
#ifdef TIOCGWINSZ
    winsize size{};
    if (ioctl(fileno(stream), TIOCGWINSZ, &size) == 0 && size.ws_col > 0) {
        return size.ws_col;
    }
#endif
    return 80;
}

// Does the user's locale say that text is UTF-8? The first variable that is set decides, as in POSIX.
inline bool text_is_utf8() {
    for (const char* name : {"LC_ALL", "LC_CTYPE", "LANG"}) {
        const char* value = std::getenv(name);
        if (value != nullptr && *value != '\0') {
            const std::string_view locale = value;
            return locale.ends_with("UTF-8") || locale.ends_with("utf8");
        }
    }
    return false;
}

// A bar of `width` characters, of which `fraction` is filled: in eighths of a character where the locale
// allows, with '#' elsewhere. A '|' stands at `mark`, a fraction too, unless that is negative.
inline std::string text_bar(double fraction, int width, double mark = -1) {
    static const bool has_eighths = text_is_utf8();
    const double filled = fraction > 0 ? (std::min)(fraction, 1.0) * width : 0; // NaN: nothing
    const int eighths = static_cast<int>(std::lround(has_eighths ? 8 * filled : 8 * std::round(filled)));
    const int mark_cell = mark < 0 ? -1 : (std::min)(static_cast<int>(mark * width), width - 1);
    std::string bar;
    for (int cell = 0; cell < width; ++cell) {
        const int in_cell = std::clamp(eighths - 8 * cell, 0, 8);
        if (cell == mark_cell) {
            bar += '|';
        } else if (in_cell == 0) {
            bar += ' ';
        } else if (has_eighths) {
            bar += "\xE2\x96"; // U+2588, a full block, to U+258F, an eighth of one
            bar += static_cast<char>(0x90 - in_cell);
        } else {
            bar += '#';
        }
    }
    return bar;
}

} // namespace support

#endif
