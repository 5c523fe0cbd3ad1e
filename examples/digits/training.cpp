#include "training.hpp"

#include "../support/adam.hpp"
#include "../support/random_order.hpp"

#include <softmax.hpp>

#include <algorithm>
#include <numeric>

using support::adam;
using support::digit_set;
using support::linear_layer;

namespace {

// Chosen by looking at the five folds: on new digits the accuracy may be a shade lower. Without weight decay a quarter
// of the seeds stay below 96 %, with 0.01 the model is too well calibrated to show anything.
constexpr std::size_t batch_size = 32;
constexpr float first_rate = 0.1F; // from here straight down to 0, so that the last steps settle
constexpr float weight_decay = 0.005F;

} // namespace

linear_layer fit(std::span<const float> rows, std::size_t inputs, const batch_loss& loss,
                 std::mt19937_64& random, const epoch_observer& observe) {
    linear_layer model(inputs, digit_set::classes);
    adam optimizer(model.parameters().size());
    std::vector<std::size_t> order(rows.size() / inputs);
    std::iota(order.begin(), order.end(), std::size_t{0});
    for (int epoch = 1; epoch <= epochs; ++epoch) {
        const float rate = first_rate * static_cast<float>(epochs - epoch + 1) / epochs;
        double sum = 0;
        support::shuffle(order, random);
        for (std::size_t first = 0; first < order.size(); first += batch_size) {
            const auto which = std::span(order).subspan(first, (std::min)(batch_size, order.size() - first));
            std::vector<float> batch;
            for (const std::size_t row : which) {
                const auto from = rows.subspan(row * inputs, inputs);
                batch.insert(batch.end(), from.begin(), from.end());
            }
            const std::vector<float> logits = model(batch);
            std::vector<float> gradient(logits.size());
            sum += loss(which, logits, gradient) * static_cast<double>(which.size());
            optimizer.step(model.parameters(), model.gradient(batch, gradient), rate, weight_decay);
        }
        observe(epoch, sum / static_cast<double>(order.size()));
    }
    return model;
}

linear_layer train(const digit_set& digits, const loss_options& options, std::mt19937_64& random,
                   const epoch_observer& observe) {
    const auto loss = [&](std::span<const std::size_t> which, std::span<const float> logits,
                          std::span<float> gradient) {
        std::vector<int> labels;
        for (const std::size_t i : which) {
            labels.push_back(digits.labels[i]);
        }
        return smx::cross_entropy(
            logits, labels, gradient, smx::shape{which.size(), digit_set::classes},
            {.label_smoothing = options.label_smoothing, .class_weights = options.class_weights});
    };
    return fit(digits.pixels, digit_set::pixel_count, loss, random, observe);
}
