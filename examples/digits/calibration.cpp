#include "calibration.hpp"

#include "../support/digits_csv.hpp"

#include <softmax.hpp>

#include <algorithm>
#include <cmath>
#include <numeric>

namespace {

smx::shape shape_of(std::span<const int> labels) { return {labels.size(), support::digit_set::classes}; }

// d(mean loss) / d(log T). The loss depends on logits / T alone, so growing T is shrinking all logits: the
// chain rule needs nothing but the gradient by the logits.
double slope(std::span<const float> logits, std::span<const int> labels, double temperature) {
    std::vector<float> gradient(logits.size());
    smx::cross_entropy(logits, labels, gradient, shape_of(labels), {.temperature = temperature});
    return -std::inner_product(logits.begin(), logits.end(), gradient.begin(), 0.0);
}

} // namespace

double fit_temperature(std::span<const float> logits, std::span<const int> labels) {
    // The loss is convex in 1/T: one minimum, where the slope goes through 0.
    double low = 0.01;
    double high = 100;
    for (int halvings = 0; halvings < 40; ++halvings) {
        const double middle = std::sqrt(low * high);
        (slope(logits, labels, middle) < 0 ? low : high) = middle;
    }
    return std::sqrt(low * high);
}

double evaluation::accuracy() const {
    const auto right =
        std::count_if(predictions.begin(), predictions.end(), [](auto& p) { return p.is_right; });
    return static_cast<double>(right) / static_cast<double>(predictions.size());
}

double evaluation::negative_log_likelihood() const {
    return loss_sum / static_cast<double>(predictions.size());
}

evaluation evaluate(std::span<const float> logits, std::span<const int> labels, double temperature) {
    const smx::shape shape = shape_of(labels);
    std::vector<float> probabilities(logits.size());
    smx::softmax(logits, probabilities, shape, temperature);

    evaluation result;
    result.loss_sum = smx::cross_entropy(logits, labels, shape,
                                         {.temperature = temperature, .reduce = smx::reduction::sum});
    for (std::size_t i = 0; i < labels.size(); ++i) {
        const auto row = std::span(probabilities).subspan(i * shape.classes, shape.classes);
        const auto best = std::max_element(row.begin(), row.end());
        result.predictions.push_back({*best, best - row.begin() == labels[i]});
    }
    return result;
}

void append(evaluation& all, const evaluation& more) {
    all.predictions.insert(all.predictions.end(), more.predictions.begin(), more.predictions.end());
    all.loss_sum += more.loss_sum;
}

reliability_bins bins_of(std::span<const prediction> predictions) {
    reliability_bins bins{};
    for (const prediction& p : predictions) {
        const auto tenth = static_cast<std::size_t>(p.confidence * 10);
        reliability_bin& bin = bins[(std::min)(tenth, bins.size() - 1)];
        ++bin.count;
        bin.confidence += p.confidence;
        bin.accuracy += p.is_right ? 1 : 0;
    }
    for (reliability_bin& bin : bins) {
        const auto count = static_cast<double>((std::max)(bin.count, std::size_t{1}));
        bin.confidence /= count;
        bin.accuracy /= count;
    }
    return bins;
}

double expected_calibration_error(const reliability_bins& bins) {
    double sum = 0;
    double count = 0;
    for (const reliability_bin& bin : bins) {
        sum += static_cast<double>(bin.count) * std::abs(bin.accuracy - bin.confidence);
        count += static_cast<double>(bin.count);
    }
    return sum / count;
}
