// Handwritten digits from a file: on each line 64 pixels from 0 to 16 and the digit, separated by commas.

#ifndef SMX_EXAMPLES_SUPPORT_DIGITS_CSV_HPP
#define SMX_EXAMPLES_SUPPORT_DIGITS_CSV_HPP

#include "errors.hpp"
#include "numbers.hpp"

#include <algorithm>
#include <cstddef>
#include <fstream>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

namespace support {

struct digit_set {
    static constexpr std::size_t pixel_count = 64; // of one image, 8x8, row by row
    static constexpr std::size_t classes = 10;

    std::vector<float> pixels; // from 0 to 1, image after image
    std::vector<int> labels;   // one per image

    std::size_t size() const { return labels.size(); }
    std::span<const float> image(std::size_t i) const {
        return std::span(pixels).subspan(i * pixel_count, pixel_count);
    }
};

// The digits at `indices`, in that order.
inline digit_set subset(const digit_set& digits, std::span<const std::size_t> indices) {
    digit_set result;
    for (const std::size_t i : indices) {
        const auto image = digits.image(i);
        result.pixels.insert(result.pixels.end(), image.begin(), image.end());
        result.labels.push_back(digits.labels[i]);
    }
    return result;
}

// Appends the digit on one line of a file. Throws std::invalid_argument with the reason why there is none.
inline void append_digit(digit_set& digits, std::string_view line) {
    const auto fields = static_cast<std::size_t>(std::count(line.begin(), line.end(), ',')) + 1;
    if (fields != digit_set::pixel_count + 1) {
        throw std::invalid_argument(std::to_string(fields) + (fields == 1 ? " value" : " values") +
                                    ", expected 64 pixels and the digit");
    }
    for (std::size_t i = 0; i < fields; ++i) {
        const std::string_view field = line.substr(0, line.find(','));
        line.remove_prefix((std::min)(field.size() + 1, line.size()));
        const bool is_label = i + 1 == fields;
        double value = -1;
        const bool is_number = read_number(field, value) == std::errc{};
        if (is_label && is_number && value >= 0 && value <= 9 && value == static_cast<int>(value)) {
            digits.labels.push_back(static_cast<int>(value));
        } else if (is_label) {
            throw std::invalid_argument("the digit is " + quote(field) + ", expected 0 to 9");
        } else if (is_number && value >= 0 && value <= 16) {
            digits.pixels.push_back(static_cast<float>(value / 16));
        } else {
            throw std::invalid_argument("pixel " + std::to_string(i + 1) + " is " + quote(field) +
                                        ", expected a number from 0 to 16");
        }
    }
}

// All digits of a file, which must be at least `fewest`. Throws input_error.
inline digit_set read_digits(const std::string& path, std::size_t fewest = 1) {
    std::ifstream file(path);
    if (!file) {
        throw input_error(path + ": cannot be opened");
    }
    digit_set digits;
    std::string line;
    while (std::getline(file, line)) {
        if (line.ends_with('\r')) {
            line.pop_back();
        }
        try {
            append_digit(digits, line);
        } catch (const std::invalid_argument& error) {
            throw input_error(path + ":" + std::to_string(digits.size() + 1) + ": " + error.what());
        }
    }
    if (file.bad()) {
        throw input_error(path + ": cannot be read");
    }
    if (digits.size() < fewest) {
        throw input_error(path + ":" + std::to_string((std::max)(digits.size(), std::size_t{1})) +
                          ": the file ends here, at least " + std::to_string(fewest) + " digits are needed");
    }
    return digits;
}

} // namespace support

#endif
