// Trains a classifier of handwritten digits, then calibrates it with a temperature, so that of the digits of
// which it is 90 % sure it gets 90 % right. Build and run it from the top of the repository:
//
//     g++ -std=c++20 -O2 -Iinclude examples/digits/*.cpp -o digits && ./digits
//
// One part of the digits is for training, one for the temperature, one for the report: no digit is in two.

#include "options.hpp"
#include "report.hpp"
#include "training.hpp"

#include "../support/command_line.hpp"
#include "../support/numbers.hpp"
#include "../support/progress.hpp"
#include "../support/random_order.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <random>
#include <string>
#include <vector>

using support::digit_set;

namespace {

constexpr std::size_t fold_count = 5;
constexpr std::size_t fewest_digits = 100; // twenty in each fold

struct split {
    digit_set training, validation, test;
};

// Fold `k` is held out, the next one is for calibration, the other three are for training.
split split_at_fold(const digit_set& digits, const std::vector<std::size_t>& order, std::size_t k) {
    std::vector<std::size_t> training, validation, test;
    for (std::size_t i = 0; i < order.size(); ++i) {
        const std::size_t fold = i * fold_count / order.size();
        (fold == k ? test : fold == (k + 1) % fold_count ? validation : training).push_back(order[i]);
    }
    return {subset(digits, training), subset(digits, validation), subset(digits, test)};
}

struct fold_result {
    double temperature;
    evaluation before, after;
};

fold_result run_fold(const split& parts, const options& chosen, std::mt19937_64& random,
                     const epoch_observer& observe) {
    const support::linear_layer model = train(parts.training, chosen.loss, random, observe);
    const double temperature = fit_temperature(model(parts.validation.pixels), parts.validation.labels);
    const std::vector<float> logits = model(parts.test.pixels);
    return {temperature, evaluate(logits, parts.test.labels, 1),
            evaluate(logits, parts.test.labels, temperature)};
}

void publish(const calibration_report& report, const options& chosen) {
    print(report);
    draw(report, chosen.svg);
    std::printf("As a picture: %s\n", chosen.svg.c_str());
}

void report_one_fold(const digit_set& digits, const options& chosen) {
    std::mt19937_64 random(chosen.seed);
    const split parts = split_at_fold(digits, support::random_order(digits.size(), random), 0);
    std::printf("%zu digits to train on, %zu to calibrate on, %zu held out\n", parts.training.size(),
                parts.validation.size(), parts.test.size());
    std::fflush(stdout);

    support::progress progress("training", epochs);
    const fold_result result = run_fold(parts, chosen, random, [&](int epoch, double loss) {
        progress.update(epoch, support::to_text("loss %.4f", loss));
    });
    std::printf("accuracy on the held-out digits: %.2f %%\n", 100 * result.before.accuracy());
    publish({result.before, result.after, support::to_text("T = %.2f", result.temperature)}, chosen);
    std::printf("The ECE of only %zu digits is a rough one; --folds reports on all %zu.\n", parts.test.size(),
                digits.size());
}

void report_all_folds(const digit_set& digits, const options& chosen) {
    std::mt19937_64 random(chosen.seed);
    const std::vector<std::size_t> order = support::random_order(digits.size(), random);
    support::progress progress("training", static_cast<int>(fold_count) * epochs);
    std::vector<fold_result> results;
    for (std::size_t k = 0; k < fold_count; ++k) {
        const std::string fold = "fold " + std::to_string(k + 1) + ", ";
        results.push_back(
            run_fold(split_at_fold(digits, order, k), chosen, random, [&](int epoch, double loss) {
                progress.update(static_cast<int>(k) * epochs + epoch,
                                fold + support::to_text("loss %.4f", loss));
            }));
    }

    std::printf("held out   accuracy   NLL at T = 1   fitted T   NLL there\n");
    calibration_report report;
    double accuracy = 0;
    double lowest = results[0].temperature;
    double highest = lowest;
    for (std::size_t k = 0; k < fold_count; ++k) {
        const auto& [temperature, before, after] = results[k];
        std::printf("fold %zu      %6.2f %%   %12.4f   %8.2f   %9.4f\n", k + 1, 100 * before.accuracy(),
                    before.negative_log_likelihood(), temperature, after.negative_log_likelihood());
        append(report.before, before);
        append(report.after, after);
        accuracy += before.accuracy() / fold_count;
        lowest = (std::min)(lowest, temperature);
        highest = (std::max)(highest, temperature);
    }
    std::printf("mean accuracy of the %zu folds: %.2f %%\n", fold_count, 100 * accuracy);
    report.temperature = support::to_text("T = %.2f", lowest) + support::to_text(" to %.2f", highest);
    publish(report, chosen);
}

void run(const options& chosen) {
    if (chosen.help) {
        std::fputs(help_text, stdout);
        return;
    }
    const digit_set digits = support::read_digits(chosen.data, fewest_digits);
    std::printf("%zu handwritten digits from %s\n", digits.size(), chosen.data.c_str());
    (chosen.all_folds ? report_all_folds : report_one_fold)(digits, chosen);
}

} // namespace

int main(int argc, char** argv) {
    return support::exit_status_of("digits", [&] { run(parse_options({argc, argv})); });
}
