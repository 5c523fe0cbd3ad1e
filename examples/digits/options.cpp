#include "options.hpp"

#include "../support/numbers.hpp"

#include <cmath>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

const char* const help_text = R"(usage: digits [options] [FILE]

Trains a multinomial logistic regression on handwritten digits, reports its
accuracy on a held-out fifth, fits the softmax temperature on another fifth,
and reports what that does to the likelihood and the calibration.

FILE holds one digit per line: 64 pixels from 0 to 16 and the digit, separated
by commas. Without it examples/data/digits.csv is read, which is there when the
program is run from the top of the repository.

options:
  --folds      hold out each fifth in turn and report on all digits
  --label-smoothing A   a part A of every target, 0 to 1, is shared by all classes
  --class-weights W,W,...   ten weights of the classes in the loss, 0 or more
  --seed N     another random order, of the digits and of the training (a whole
               number; default 1998)
  --svg FILE   where the reliability diagram goes (default reliability.svg)
  -h, --help   show this text
)";

namespace {

std::uint64_t seed_from(std::string_view text) {
    constexpr double limit = 0x1p53; // below it every whole number is a double
    double value = -1;
    const bool is_number = support::read_number(text, value) == std::errc{};
    if (!is_number || !(value >= 0 && value < limit) || value != std::floor(value)) {
        throw support::usage_error("the seed is " + support::quote(text) + ", expected a whole number");
    }
    return static_cast<std::uint64_t>(value);
}

double fraction_from(std::string_view text) {
    double value = -1;
    if (support::read_number(text, value) != std::errc{} || !(value >= 0 && value <= 1)) {
        throw support::usage_error("the label smoothing is " + support::quote(text) + ", expected 0 to 1");
    }
    return value;
}

std::vector<float> weights_from(std::string_view text) {
    std::vector<float> weights;
    for (std::size_t end = 0; end != text.npos; text.remove_prefix(end == text.npos ? 0 : end + 1)) {
        end = text.find(',');
        double value = -1;
        if (support::read_number(text.substr(0, end), value) != std::errc{} || !(value >= 0 && value < 1e6)) {
            throw support::usage_error("a class weight is " + support::quote(text.substr(0, end)) +
                                       ", expected a number of at least 0");
        }
        weights.push_back(static_cast<float>(value));
    }
    if (weights.size() != support::digit_set::classes) {
        throw support::usage_error(std::to_string(weights.size()) +
                                   " class weights, expected one for each digit");
    }
    return weights;
}

} // namespace

options parse_options(support::command_line words) {
    options result;
    bool has_data = false;
    while (words.next()) {
        if (words.is("--svg")) {
            result.svg = words.value_of("--svg");
        } else if (words.is("--seed")) {
            result.seed = seed_from(words.value_of("--seed"));
        } else if (words.is("--label-smoothing")) {
            result.loss.label_smoothing = fraction_from(words.value_of("--label-smoothing"));
        } else if (words.is("--class-weights")) {
            result.loss.class_weights = weights_from(words.value_of("--class-weights"));
        } else if (words.word() == "--folds") {
            result.all_folds = true;
        } else if (words.word() == "--help" || words.word() == "-h") {
            result.help = true;
        } else if (words.word().starts_with("-")) {
            throw support::usage_error("unknown option " + support::quote(words.word()));
        } else if (has_data) {
            throw support::usage_error("more than one file: " + support::quote(words.word()));
        } else {
            result.data = words.word();
            has_data = true;
        }
    }
    return result;
}
