#include "training.hpp"

#include "../support/adam.hpp"
#include "../support/random_order.hpp"

#include <softmax.hpp>

#include <algorithm>
#include <cstddef>
#include <numeric>
#include <span>
#include <vector>

using support::adam;
using support::digit_set;
using support::linear_layer;

namespace {

// Chosen by looking at the five folds: on new digits the accuracy may be a shade lower. Without weight decay a quarter
// of the seeds stay below 96 %, with 0.01 the model is too well calibrated to show anything.
constexpr std::size_t batch_size = 32;
constexpr float first_rate = 0.1F; // from here straight down to 0, so that the last steps settle
constexpr float weight_decay = 0.005F;

// One step of the optimizer; returns the mean loss of the batch before it.
double train_on(const digit_set& batch, linear_layer& model, adam& optimizer, float rate) {
    const std::vector<float> logits = model(batch.pixels);
    std::vector<float> gradient(logits.size());
    const float loss =
        smx::cross_entropy(logits, batch.labels, gradient, smx::shape{batch.size(), digit_set::classes});
    optimizer.step(model.parameters(), model.gradient(batch.pixels, gradient), rate, weight_decay);
    return loss;
}

} // namespace

linear_layer train(const digit_set& digits, std::mt19937_64& random, const epoch_observer& observe) {
    linear_layer model(digit_set::pixel_count, digit_set::classes);
    adam optimizer(model.parameters().size());
    std::vector<std::size_t> order(digits.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    for (int epoch = 1; epoch <= epochs; ++epoch) {
        const float rate = first_rate * static_cast<float>(epochs - epoch + 1) / epochs;
        double loss = 0;
        support::shuffle(order, random);
        for (std::size_t first = 0; first < order.size(); first += batch_size) {
            const std::size_t count = (std::min)(batch_size, order.size() - first);
            const digit_set batch = subset(digits, std::span(order).subspan(first, count));
            loss += train_on(batch, model, optimizer, rate) * static_cast<double>(count);
        }
        observe(epoch, loss / static_cast<double>(digits.size()));
    }
    return model;
}
