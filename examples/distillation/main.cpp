// Distillation: what a small student learns from a teacher's softened outputs beside what it learns from labels alone. Build
// and run it from the top of the repository:
//
//     g++ -std=c++20 -O2 -Iinclude examples/distillation/*.cpp examples/digits/training.cpp -o distillation && ./distillation
//
// The teacher is the model of examples/digits: it sees all 64 pixels of four fifths of the digits. The students see 32 numbers,
// the means of pairs of pixels, of a few of the same digits, and are alike but for what they are taught with: the labels, or
// the teacher's logits by smx::kl_divergence (Hinton, Vinyals, Dean, "Distilling the Knowledge in a Neural Network", 2015).
// The last fifth is held out. Everything is done again for each seed, which orders the digits and the training.

#include "../digits/training.hpp"

#include "../support/command_line.hpp"
#include "../support/numbers.hpp"
#include "../support/progress.hpp"
#include "../support/random_order.hpp"

#include <softmax.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <random>
#include <span>
#include <string>
#include <vector>

using support::digit_set;
using support::linear_layer;

namespace {

// Chosen by looking at the results. With 200 digits the gain is half of that with 100; with all of them, or with 16 numbers
// of each, a linear student learns the same from labels. T = 2 gains two thirds of what T = 4 does.
constexpr std::size_t lessons = 100; // digits that the students are taught with
constexpr std::size_t student_inputs = 32;
constexpr double temperature = 4;
constexpr std::size_t fewest_digits = 400;

struct options {
    std::string data = "examples/data/digits.csv";
    int seeds = 20;
    bool help = false;
};

const char* const help_text = R"(usage: distillation [options] [FILE]

Teaches a small student digits from the outputs of a larger model, and its twin
from the labels alone, and reports how many held-out digits each gets right.

FILE holds digits as examples/data/digits.csv, which is read without it.

options:
  --seeds N    how often, each time in another random order (2 to 1000; default 20)
  -h, --help   show this text
)";

options parse_options(support::command_line words) {
    options result;
    while (words.next()) {
        if (words.is("--seeds")) {
            const std::string text(words.value_of("--seeds"));
            double value = 0;
            if (support::read_number(text, value) != std::errc{} || !(value >= 2 && value <= 1000) ||
                value != std::floor(value)) {
                throw support::usage_error("the number of seeds is " + support::quote(text) +
                                           ", expected 2 to 1000");
            }
            result.seeds = static_cast<int>(value);
        } else if (words.word() == "--help" || words.word() == "-h") {
            result.help = true;
        } else if (words.word().starts_with("-")) {
            throw support::usage_error("unknown option " + support::quote(words.word()));
        } else {
            result.data = words.word();
        }
    }
    return result;
}

// The means of pairs of pixels, image after image.
std::vector<float> shrunk(const digit_set& digits) {
    std::vector<float> all;
    for (std::size_t i = 0; i < digits.pixels.size(); i += 2) {
        all.push_back((digits.pixels[i] + digits.pixels[i + 1]) / 2);
    }
    return all;
}

double accuracy(std::span<const float> logits, std::span<const int> labels) {
    double right = 0;
    for (std::size_t i = 0; i < labels.size(); ++i) {
        const auto row = logits.subspan(i * digit_set::classes, digit_set::classes);
        right += std::max_element(row.begin(), row.end()) - row.begin() == labels[i] ? 1 : 0;
    }
    return right / static_cast<double>(labels.size());
}

struct outcome {
    double teacher, labels_alone, taught;
};

outcome run(const digit_set& digits, std::uint64_t seed) {
    std::mt19937_64 random(seed);
    const std::vector<std::size_t> order = support::random_order(digits.size(), random);
    const std::size_t held_out = digits.size() / 5;
    const digit_set test = subset(digits, std::span(order).first(held_out));
    const digit_set training = subset(digits, std::span(order).subspan(held_out));
    const digit_set few = subset(digits, std::span(order).subspan(held_out, lessons));
    const auto quiet = [](int, double) {};

    const linear_layer teacher = train(training, {}, random, quiet);
    const std::vector<float> outputs = teacher(few.pixels);
    const std::vector<float> inputs = shrunk(few);

    const auto by_labels = [&](std::span<const std::size_t> which, std::span<const float> logits,
                               std::span<float> gradient) {
        std::vector<int> labels;
        for (const std::size_t i : which) {
            labels.push_back(few.labels[i]);
        }
        return smx::cross_entropy(logits, labels, gradient, smx::shape{which.size(), digit_set::classes});
    };
    const auto by_teacher = [&](std::span<const std::size_t> which, std::span<const float> logits,
                                std::span<float> gradient) {
        std::vector<float> targets;
        for (const std::size_t i : which) {
            const auto row = std::span(outputs).subspan(i * digit_set::classes, digit_set::classes);
            targets.insert(targets.end(), row.begin(), row.end());
        }
        return smx::kl_divergence(logits, targets, gradient, smx::shape{which.size(), digit_set::classes},
                                  {.temperature = temperature});
    };
    std::mt19937_64 same_random = random; // both go through the same digits in the same order
    const linear_layer alone = fit(inputs, student_inputs, by_labels, random, quiet);
    const linear_layer taught = fit(inputs, student_inputs, by_teacher, same_random, quiet);
    const std::vector<float> unseen = shrunk(test);
    return {accuracy(teacher(test.pixels), test.labels), accuracy(alone(unseen), test.labels),
            accuracy(taught(unseen), test.labels)};
}

struct spread {
    double mean = 0, deviation = 0;
};

spread spread_of(const std::vector<outcome>& all, auto value) {
    spread result;
    const auto count = static_cast<double>(all.size());
    for (const outcome& each : all) {
        result.mean += value(each) / count;
    }
    for (const outcome& each : all) {
        result.deviation += std::pow(value(each) - result.mean, 2) / (count - 1);
    }
    result.deviation = std::sqrt(result.deviation);
    return result;
}

void print(const char* name, const spread& found) {
    std::printf("%-32s %6.2f %%  +- %.2f\n", name, 100 * found.mean, 100 * found.deviation);
}

void run(const options& chosen) {
    if (chosen.help) {
        std::fputs(help_text, stdout);
        return;
    }
    const digit_set digits = support::read_digits(chosen.data, fewest_digits);
    std::vector<outcome> all;
    support::progress progress("teaching", chosen.seeds);
    for (int seed = 1; seed <= chosen.seeds; ++seed) {
        all.push_back(run(digits, static_cast<std::uint64_t>(seed)));
        progress.update(seed, "seed " + std::to_string(seed));
    }
    const auto better = std::count_if(all.begin(), all.end(),
                                      [](const outcome& each) { return each.taught > each.labels_alone; });
    std::printf("accuracy on %zu held-out digits, mean and standard deviation of %d seeds\n",
                digits.size() / 5, chosen.seeds);
    print("teacher, 64 pixels", spread_of(all, [](const outcome& o) { return o.teacher; }));
    print("student, labels alone", spread_of(all, [](const outcome& o) { return o.labels_alone; }));
    print("student, taught by the teacher", spread_of(all, [](const outcome& o) { return o.taught; }));
    print("gain of being taught", spread_of(all, [](const outcome& o) { return o.taught - o.labels_alone; }));
    std::printf("better taught with %d of %d seeds (T = %g, %zu digits to learn from)\n",
                static_cast<int>(better), chosen.seeds, temperature, lessons);
}

} // namespace

int main(int argc, char** argv) {
    return support::exit_status_of("distillation", [&] { run(parse_options({argc, argv})); });
}
