// The words of a command line, one after the other.

#ifndef SMX_EXAMPLES_SUPPORT_COMMAND_LINE_HPP
#define SMX_EXAMPLES_SUPPORT_COMMAND_LINE_HPP

#include "errors.hpp"

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

namespace support {

class command_line {
public:
    command_line(int argc, char** argv) : words_(argv, static_cast<std::size_t>(argc)) {}

    // Goes to the next word; false at the end. The name of the program is not one of them.
    bool next() {
        if (position_ + 1 >= words_.size()) {
            return false;
        }
        word_ = words_[++position_];
        return true;
    }

    std::string_view word() const { return word_; }

    // Is this word the option `name`, alone or as `name=value`?
    bool is(std::string_view name) const { return word_ == name || holds_value_of(name); }

    // The value of the option `name` that this word is: what follows its '=', or the next word.
    std::string_view value_of(std::string_view name) {
        if (holds_value_of(name)) {
            return word_.substr(name.size() + 1);
        }
        if (!next()) {
            throw usage_error(std::string(name) + " needs a value");
        }
        return word_;
    }

private:
    bool holds_value_of(std::string_view name) const {
        return word_.starts_with(name) && word_.size() > name.size() && word_[name.size()] == '=';
    }

    std::span<char*> words_;
    std::size_t position_ = 0;
    std::string_view word_;
};

} // namespace support

#endif
