// A network that looks at a cell of a page at a time and gives the logits of all its pixels: one hidden layer. What comes out is
// laid out as images are, a plane of the page for each class: {pages, classes, height * width}.

#ifndef SMX_EXAMPLES_SEGMENTATION_MODEL_HPP
#define SMX_EXAMPLES_SEGMENTATION_MODEL_HPP

#include "page.hpp"

#include "../support/adam.hpp"
#include "../support/linear_layer.hpp"

#include <functional>
#include <random>
#include <span>
#include <vector>

class segmenter {
public:
    explicit segmenter(std::mt19937_64& random);

    // The logits of the pixels of a page.
    std::vector<float> operator()(const page& input) const;

    // One step of the optimizer on pages of one size; returns the mean loss of their pixels before it.
    double train_on(std::span<const page> batch, float rate);

private:
    support::linear_layer first_, second_;
    support::adam first_optimizer_, second_optimizer_;
};

// Called after each epoch with the mean loss in it.
using epoch_observer = std::function<void(int epoch, double loss)>;

inline constexpr int epochs = 20;

// Trained on pages of these digits, composed anew for every epoch.
segmenter train(const support::digit_set& digits, std::mt19937_64& random, const epoch_observer& observe);

#endif
