// Attention as a classifier: a handwritten digit attends to digits that are known, and the mean of their labels is the answer. Nothing is
// trained but the temperature. Build and run it from the top of the repository:
//
//     g++ -std=c++20 -O2 -Iinclude examples/attention/*.cpp -o attention && ./attention
//
// Queries are the images in question, keys the training images, values their labels as one number per class; scores are products of
// images made alike in brightness and contrast. The keys go by in tiles (../support/streaming_attention.hpp): no query ever has all its
// scores at once. Three fifths of the digits are keys, one fifth chooses the temperature, one fifth is held out.

#include "map.hpp"

#include "../support/command_line.hpp"
#include "../support/digits_csv.hpp"
#include "../support/numbers.hpp"
#include "../support/random_order.hpp"
#include "../support/streaming_attention.hpp"

#include <softmax.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdio>
#include <limits>
#include <random>
#include <span>
#include <string>
#include <vector>

using support::digit_set;

namespace {

constexpr std::size_t fewest_digits = 100;
constexpr std::size_t classes = digit_set::classes, depth = digit_set::pixel_count;

const char* const help_text = R"(usage: attention [options] [FILE]

Classifies handwritten digits by attention over digits that are known: the
temperature is chosen on one part of them, the accuracy is that on another, and
one digit is drawn with those that it attends to.

FILE holds one digit per line: 64 pixels from 0 to 16 and the digit, separated
by commas. Without it examples/data/digits.csv is read, which is there when the
program is run from the top of the repository.

options:
  --svg FILE   where the picture goes (default attention.svg)
  -h, --help   show this text
)";

struct options {
    std::string data = "examples/data/digits.csv";
    std::string svg = "attention.svg";
    bool help = false;
};

options parse_options(support::command_line words) {
    options result;
    bool has_data = false;
    while (words.next()) {
        if (words.is("--svg")) {
            result.svg = words.value_of("--svg");
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

// Each image less its mean, of length 1: the product of two is their correlation.
std::vector<float> normalized(std::span<const float> pixels) {
    std::vector<float> all(pixels.begin(), pixels.end());
    for (std::size_t i = 0; i < all.size(); i += depth) {
        const auto image = std::span(all).subspan(i, depth);
        double mean = 0, square = 0;
        for (const float x : image) {
            mean += x / static_cast<double>(depth);
        }
        for (float& x : image) {
            x -= static_cast<float>(mean);
            square += static_cast<double>(x) * x;
        }
        for (float& x : image) {
            x = square > 0 ? static_cast<float>(x / std::sqrt(square)) : 0;
        }
    }
    return all;
}

struct known_digits {
    std::vector<float> keys, values;

    explicit known_digits(const digit_set& digits)
        : keys(normalized(digits.pixels)),
          values(digits.size() * classes) {
        for (std::size_t i = 0; i < digits.size(); ++i) {
            values[i * classes + static_cast<std::size_t>(digits.labels[i])] = 1;
        }
    }
};

// The probabilities of the classes of each query.
std::vector<float> classify(std::span<const float> queries, const known_digits& known, double temperature) {
    const attention_head head{
        queries.size() / depth, known.keys.size() / depth, depth, classes, temperature, false};
    std::vector<float> output(head.queries * classes);
    attend(queries, known.keys, known.values, output, head);
    return output;
}

struct score {
    double accuracy = 0, loss = 0; // loss: mean of -log of the probability of the right class
};

score judge(std::span<const float> probabilities, std::span<const int> labels) {
    score result;
    const auto count = static_cast<double>(labels.size());
    for (std::size_t i = 0; i < labels.size(); ++i) {
        const auto row = probabilities.subspan(i * classes, classes);
        const auto best = std::max_element(row.begin(), row.end()) - row.begin();
        result.accuracy += (best == labels[i] ? 1 : 0) / count;
        const double right = row[static_cast<std::size_t>(labels[i])];
        result.loss -= std::log((std::max)(right, 1e-6)) / count;
    }
    return result;
}

// The one of least loss: of accuracies many are equal. Scores lie in [-1, 1].
double choose_temperature(std::span<const float> queries, std::span<const int> labels,
                          const known_digits& known) {
    double best = 1, least = std::numeric_limits<double>::infinity();
    std::puts("    T   loss   accuracy, on the validation digits");
    for (const double t : {0.3, 0.1, 0.05, 0.03, 0.02, 0.015, 0.01, 0.005, 0.002}) {
        const score found = judge(classify(queries, known, t), labels);
        std::printf("%5g  %5.3f   %6.2f %%\n", t, found.loss, 100 * found.accuracy);
        if (found.loss < least) {
            least = found.loss;
            best = t;
        }
    }
    return best;
}

// The query of the least certain right answer: others attend to digits of one class alone.
std::size_t most_doubtful(std::span<const float> probabilities, std::span<const int> labels) {
    std::size_t found = 0;
    float least = 2;
    for (std::size_t i = 0; i < labels.size(); ++i) {
        const auto row = probabilities.subspan(i * classes, classes);
        const auto best = std::max_element(row.begin(), row.end());
        if (best - row.begin() == labels[i] && *best < least) {
            least = *best;
            found = i;
        }
    }
    return found;
}

// What one query attends to.
std::vector<float> attention_of(std::span<const float> query, const known_digits& known, double temperature) {
    const std::size_t count = known.keys.size() / depth;
    std::vector<float> weights(count);
    for (std::size_t k = 0; k < count; ++k) {
        for (std::size_t i = 0; i < depth; ++i) {
            weights[k] += query[i] * known.keys[k * depth + i];
        }
    }
    smx::softmax(weights, weights, temperature);
    return weights;
}

void run(const options& chosen) {
    if (chosen.help) {
        std::fputs(help_text, stdout);
        return;
    }
    const digit_set digits = support::read_digits(chosen.data, fewest_digits);
    std::mt19937_64 random(1);
    const std::vector<std::size_t> order = support::random_order(digits.size(), random);
    const std::size_t fifth = digits.size() / 5;
    const digit_set test = subset(digits, std::span(order).first(fifth));
    const digit_set validation = subset(digits, std::span(order).subspan(fifth, fifth));
    const digit_set training = subset(digits, std::span(order).subspan(2 * fifth));

    const known_digits known(training);
    const double temperature = choose_temperature(normalized(validation.pixels), validation.labels, known);
    const std::vector<float> queries = normalized(test.pixels);
    const std::vector<float> answers = classify(queries, known, temperature);
    const score found = judge(answers, test.labels);
    std::printf(
        "temperature %g: of %zu held-out digits, by attention over %zu, loss %.3f, accuracy: %.2f %%\n",
        temperature, test.size(), training.size(), found.loss, 100 * found.accuracy);

    const std::size_t query = most_doubtful(answers, test.labels);
    const auto weights = attention_of(std::span(queries).subspan(query * depth, depth), known, temperature);
    attention_map(test, query, training, weights, temperature).save(chosen.svg);
    std::printf("what held-out digit %zu attends to: %s\n", query, chosen.svg.c_str());
}

} // namespace

int main(int argc, char** argv) {
    return support::exit_status_of("attention", [&] { run(parse_options({argc, argv})); });
}
