// Calibration: can the probabilities of a classifier be taken at their word, and the temperature that makes
// them so (Guo et al., On Calibration of Modern Neural Networks, 2017).

#ifndef SMX_EXAMPLES_DIGITS_CALIBRATION_HPP
#define SMX_EXAMPLES_DIGITS_CALIBRATION_HPP

#include <array>
#include <cstddef>
#include <span>
#include <vector>

// The temperature, from 1/100 to 100, with the smallest mean loss. It takes a few mistakes to learn from:
// where every label is the most probable class, the colder the better, and the result is 1/100.
double fit_temperature(std::span<const float> logits, std::span<const int> labels);

struct prediction {
    double confidence; // probability of the most probable class
    bool is_right;
};

// A classifier at one temperature on digits it has not seen.
struct evaluation {
    std::vector<prediction> predictions;
    double loss_sum = 0;

    double accuracy() const;
    double negative_log_likelihood() const; // mean per digit
};

evaluation evaluate(std::span<const float> logits, std::span<const int> labels, double temperature);

// Both as one, for the folds of a cross-validation.
void append(evaluation& all, const evaluation& more);

// The predictions whose confidence lies in one tenth of [0, 1].
struct reliability_bin {
    std::size_t count = 0;
    double confidence = 0; // mean over the bin
    double accuracy = 0;
};
using reliability_bins = std::array<reliability_bin, 10>;

reliability_bins bins_of(std::span<const prediction> predictions);

// |accuracy - confidence| of a bin, averaged over the predictions.
double expected_calibration_error(const reliability_bins& bins);

#endif
