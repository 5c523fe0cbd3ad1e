// Training of the classifier: one linear layer, whose outputs are the logits of the ten digits.

#ifndef SMX_EXAMPLES_DIGITS_TRAINING_HPP
#define SMX_EXAMPLES_DIGITS_TRAINING_HPP

#include "../support/digits_csv.hpp"
#include "../support/linear_layer.hpp"

#include <functional>
#include <random>

// Called after each epoch with the mean loss in it.
using epoch_observer = std::function<void(int epoch, double loss)>;

inline constexpr int epochs = 200;

// Multinomial logistic regression on the pixels, trained until hardly a training digit is in doubt, with little that
// holds the weights back. That makes it surer of itself than it should be: what calibration is for. Stopped early, or
// held back more, the same model is calibrated well as it is.
support::linear_layer train(const support::digit_set& digits, std::mt19937_64& random,
                            const epoch_observer& observe);

#endif
