// Numbers in, probabilities out: from arguments or standard input, as a bar chart for people or one per line
// for pipes.

#include "../support/command_line.hpp"
#include "../support/numbers.hpp"
#include "../support/terminal.hpp"

#include <softmax.hpp>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <iostream>
#include <sstream>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

using support::command_line;
using support::quote;
using support::usage_error;

namespace {

constexpr const char* help = R"(usage: softmax_cli [options] [--] [NUMBER ...]

Prints the softmax of the numbers: exp(x / T) of each, divided by the sum of
all. Without numbers on the command line they are read from standard input,
separated by white space. inf, -inf and nan are numbers too.

options:
  -t, --temperature T  divide the numbers by T first (default 1): 0 leaves only
                       the largest, inf makes all equal
  -l, --log            natural logarithms of the probabilities
  -b, --bars           a bar chart (the default on a terminal) with rounded
                       results; the bars show probabilities, with --log too
  -p, --plain          one result per line, with all its digits (the default
                       where the output is not a terminal)
  -h, --help           show this text

examples:
  softmax_cli 2 1 -0.5
  softmax_cli --temperature 0.5 2 1 -0.5
  cut -d, -f3 scores.csv | softmax_cli --log
)";

enum class layout { automatic, bars, plain };

struct options {
    std::vector<double> numbers;
    double temperature = 1;
    layout output = layout::automatic;
    bool has_numbers = false;
    bool log = false;
    bool help = false;
};

double number_from(std::string_view word) {
    double value = 0;
    const std::errc error = support::read_number(word, value);
    if (error == std::errc::result_out_of_range) {
        throw usage_error(quote(word) + " is outside the range of double");
    }
    if (error != std::errc{}) {
        throw usage_error(quote(word) + " is not a number");
    }
    return value;
}

double temperature_from(std::string_view word) {
    const double value = number_from(word);
    if (!(value >= 0)) {
        throw usage_error("the temperature is " + quote(word) + ", it must be at least 0");
    }
    return value;
}

// "-1" and "-inf" are numbers, "-x" and "--plain" are meant as options.
bool is_option(std::string_view word) {
    double value = 0;
    return word.starts_with("-") && support::read_number(word, value) == std::errc::invalid_argument;
}

options parse(command_line words) {
    options result;
    bool only_numbers = false; // after "--"
    while (words.next()) {
        if (only_numbers || !is_option(words.word())) {
            result.numbers.push_back(number_from(words.word()));
            result.has_numbers = true;
        } else if (words.word() == "--") {
            only_numbers = true;
        } else if (words.is("--temperature")) {
            result.temperature = temperature_from(words.value_of("--temperature"));
        } else if (words.is("-t")) {
            result.temperature = temperature_from(words.value_of("-t"));
        } else if (words.word() == "--log" || words.word() == "-l") {
            result.log = true;
        } else if (words.word() == "--bars" || words.word() == "-b") {
            result.output = layout::bars;
        } else if (words.word() == "--plain" || words.word() == "-p") {
            result.output = layout::plain;
        } else if (words.word() == "--help" || words.word() == "-h") {
            result.help = true;
        } else {
            throw usage_error("unknown option " + quote(words.word()));
        }
    }
    return result;
}

std::vector<double> numbers_from_standard_input() {
    if (support::is_terminal(stdin)) {
        std::cerr << "softmax_cli: type numbers, then end the input (Ctrl-D)\n";
    }
    std::vector<double> numbers;
    std::string line;
    for (std::size_t line_number = 1; std::getline(std::cin, line); ++line_number) {
        std::istringstream words(line);
        for (std::string word; words >> word;) {
            try {
                numbers.push_back(number_from(word));
            } catch (const usage_error& error) {
                throw usage_error("standard input:" + std::to_string(line_number) + ": " + error.what());
            }
        }
    }
    if (std::cin.bad() || std::ferror(stdin) != 0) {
        throw usage_error("standard input cannot be read");
    }
    return numbers;
}

void print_plain(const std::vector<double>& results) {
    for (const double result : results) {
        std::cout << support::to_text(result) << '\n';
    }
}

// Each number, a bar as long as its probability, and the result.
void print_bars(const std::vector<double>& numbers, const std::vector<double>& probabilities,
                const std::vector<double>& results) {
    constexpr std::size_t result_width = 11;
    std::size_t number_width = 0;
    for (const double number : numbers) {
        number_width = (std::max)(number_width, support::to_text(number).size());
    }
    const int around_bar = static_cast<int>(number_width + 2 + 2 + result_width);
    const int bar_width = std::clamp(support::terminal_width(stdout) - 1 - around_bar, 10, 60);
    for (std::size_t i = 0; i < numbers.size(); ++i) {
        const std::string number = support::to_text(numbers[i]);
        const std::string result = std::isnan(results[i]) ? "nan" : support::to_text("%.4g", results[i]);
        std::cout << std::string(number_width - number.size(), ' ') << number << "  "
                  << support::text_bar(probabilities[i], bar_width) << "  " << result << '\n';
    }
}

void run(options chosen) {
    if (chosen.help) {
        std::cout << help;
        return;
    }
    if (!chosen.has_numbers) {
        chosen.numbers = numbers_from_standard_input();
    }
    const std::vector<double> probabilities = smx::softmax(chosen.numbers, chosen.temperature);
    const std::vector<double> results =
        chosen.log ? smx::log_softmax(chosen.numbers, chosen.temperature) : probabilities;
    if (chosen.output == layout::automatic) {
        chosen.output = support::is_terminal(stdout) ? layout::bars : layout::plain;
    }
    if (chosen.output == layout::bars) {
        print_bars(chosen.numbers, probabilities, results);
    } else {
        print_plain(results);
    }
}

} // namespace

int main(int argc, char** argv) {
    return support::exit_status_of("softmax_cli", [&] { run(parse({argc, argv})); });
}
