#include "model.hpp"

#include "../support/random_order.hpp"

#include <softmax.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>

using support::linear_layer;

namespace {

constexpr std::size_t hidden_units = 96;
constexpr float first_rate = 0.02F; // from here straight down to 0
constexpr float weight_decay = 0.01F;

constexpr std::size_t pages_of_step = 2, cell_rows = 4, cell_columns = 6;
constexpr std::size_t digits_of_page = 20; // of 24 cells

// Uniform in [-range, range), the same with every standard library.
void randomize(std::span<float> weights, double range, std::mt19937_64& random) {
    for (float& weight : weights) {
        weight = static_cast<float>(range * (static_cast<double>(random() >> 11) * 0x1p-52 - 1));
    }
}

// One row of pixels per cell.
std::vector<float> cells_of(const page& input) {
    std::vector<float> cells;
    for (std::size_t cell = 0; cell < input.cells(); ++cell) {
        for (std::size_t k = 0; k < cell_size; ++k) {
            cells.push_back(input.pixels[input.place(cell, k)]);
        }
    }
    return cells;
}

// visit(plane, cell): the value of a class at a pixel in the planes of the page, and in the row of its cell.
template <class Planes, class Cells, class Visit>
void for_each_logit(const page& input, Planes planes, Cells cells, Visit visit) {
    for (std::size_t cell = 0; cell < input.cells(); ++cell) {
        for (std::size_t c = 0; c < classes; ++c) {
            for (std::size_t k = 0; k < cell_size; ++k) {
                visit(planes[c * input.size() + input.place(cell, k)],
                      cells[(cell * classes + c) * cell_size + k]);
            }
        }
    }
}

struct activations {
    std::vector<float> cells, hidden;
};

activations look_at(const page& input, const linear_layer& first) {
    activations result{cells_of(input), {}};
    result.hidden = first(result.cells);
    for (float& unit : result.hidden) {
        unit = (std::max)(unit, 0.0F);
    }
    return result;
}

void write_planes(const page& input, const std::vector<float>& hidden, const linear_layer& second,
                  std::span<float> planes) {
    const std::vector<float> rows = second(hidden);
    for_each_logit(input, planes, std::span(rows), [](float& plane, float cell) { plane = cell; });
}

void add(std::span<const float> part, std::span<float> sum) {
    for (std::size_t i = 0; i < sum.size(); ++i) {
        sum[i] += part[i];
    }
}

} // namespace

segmenter::segmenter(std::mt19937_64& random)
    : first_(cell_size, hidden_units),
      second_(hidden_units, classes * cell_size),
      first_optimizer_(first_.parameters().size()),
      second_optimizer_(second_.parameters().size()) {
    randomize(first_.parameters(), 1 / std::sqrt(30.0), random); // about 30 pixels of a cell are ink
    randomize(second_.parameters(), 1 / std::sqrt(static_cast<double>(hidden_units)), random);
}

std::vector<float> segmenter::operator()(const page& input) const {
    std::vector<float> planes(classes * input.size());
    write_planes(input, look_at(input, first_).hidden, second_, planes);
    return planes;
}

double segmenter::train_on(std::span<const page> batch, float rate) {
    const std::size_t pixels = batch[0].size(), size = classes * pixels;
    std::vector<activations> seen;
    std::vector<float> planes(batch.size() * size);
    std::vector<int> labels;
    for (const page& input : batch) {
        seen.push_back(look_at(input, first_));
        write_planes(input, seen.back().hidden, second_,
                     std::span(planes).subspan(labels.size() * classes, size));
        labels.insert(labels.end(), input.labels.begin(), input.labels.end());
    }

    // The classes are in the middle. Rims do not count; the gradient takes the place of the logits.
    const float loss = smx::cross_entropy(planes, labels, planes, smx::shape{batch.size(), classes, pixels},
                                          {.ignore_index = rim});

    std::vector<float> of_first(first_.parameters().size()), of_second(second_.parameters().size());
    for (std::size_t n = 0; n < batch.size(); ++n) {
        std::vector<float> upstream(batch[n].cells() * classes * cell_size);
        for_each_logit(batch[n], std::span(planes).subspan(n * size, size), std::span(upstream),
                       [](float plane, float& cell) { cell = plane; });
        add(second_.gradient(seen[n].hidden, upstream), of_second);
        std::vector<float> of_hidden = second_.input_gradient(upstream);
        for (std::size_t k = 0; k < of_hidden.size(); ++k) {
            of_hidden[k] = seen[n].hidden[k] > 0 ? of_hidden[k] : 0.0F;
        }
        add(first_.gradient(seen[n].cells, of_hidden), of_first);
    }
    first_optimizer_.step(first_.parameters(), of_first, rate, weight_decay);
    second_optimizer_.step(second_.parameters(), of_second, rate, weight_decay);
    return loss;
}

segmenter train(const support::digit_set& digits, std::mt19937_64& random, const epoch_observer& observe) {
    constexpr std::size_t digits_of_step = pages_of_step * digits_of_page;
    segmenter model(random);
    const int steps = static_cast<int>(digits.size() / digits_of_step);
    for (int epoch = 1; epoch <= epochs; ++epoch) {
        const std::vector<std::size_t> order = support::random_order(digits.size(), random);
        double loss = 0;
        for (int step = 0; step < steps; ++step) {
            std::vector<page> batch;
            for (std::size_t n = 0; n < pages_of_step; ++n) {
                const std::size_t first =
                    static_cast<std::size_t>(step) * digits_of_step + n * digits_of_page;
                batch.push_back(compose(digits, std::span(order).subspan(first, digits_of_page), cell_rows,
                                        cell_columns, random));
            }
            const int left = (epochs - epoch + 1) * steps - step;
            loss += model.train_on(batch, first_rate * static_cast<float>(left) /
                                              static_cast<float>(epochs * steps));
        }
        observe(epoch, loss / steps);
    }
    return model;
}
