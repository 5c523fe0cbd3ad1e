// Training of a classifier: one linear layer, whose outputs are the logits of the ten digits.

#ifndef SMX_EXAMPLES_DIGITS_TRAINING_HPP
#define SMX_EXAMPLES_DIGITS_TRAINING_HPP

#include "../support/digits_csv.hpp"
#include "../support/linear_layer.hpp"

#include <cstddef>
#include <functional>
#include <random>
#include <span>
#include <vector>

// Called after each epoch with the mean loss in it.
using epoch_observer = std::function<void(int epoch, double loss)>;

// The mean loss of the rows named by `which`, whose logits follow one another; leaves its gradient by them.
using batch_loss = std::function<double(std::span<const std::size_t> which, std::span<const float> logits,
                                        std::span<float> gradient)>;

inline constexpr int epochs = 200;

// Fits a linear layer to `rows` of `inputs` numbers each.
support::linear_layer fit(std::span<const float> rows, std::size_t inputs, const batch_loss& loss,
                          std::mt19937_64& random, const epoch_observer& observe);

struct loss_options {
    double label_smoothing = 0;
    std::vector<float> class_weights; // none: 1 each
};

// Multinomial logistic regression on the pixels, trained until hardly a training digit is in doubt, with little that
// holds the weights back. That makes it surer of itself than it should be: what calibration is for. Stopped early, or
// held back more, the same model is calibrated well as it is.
support::linear_layer train(const support::digit_set& digits, const loss_options& options,
                            std::mt19937_64& random, const epoch_observer& observe);

#endif
