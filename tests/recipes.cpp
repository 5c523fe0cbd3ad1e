// The recipes of docs/recipes.md do what they say: the code between the marks is that of the page, to the letter
// (recipes.cmake compares them). That for attention is in a header, since an example and a benchmark use it.
#include "support/catch.hpp"

#include "../examples/support/streaming_attention.hpp"

// [recipe chunks]
#include <softmax.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <span>
#include <vector>

// The losses of rows whose logits arrive in chunks of `width` classes, and the gradient of their sum. Twice for each chunk,
// make(first, count, logits) writes the logits of classes [first, first + count) of all rows: that of row r and class
// first + c to logits[r * (count + 1) + c]. Then use(first, count, gradient) gets the gradient by them, laid out likewise.
template <class Make, class Use>
void cross_entropy_in_chunks(std::size_t classes, std::size_t width, std::span<const std::size_t> targets,
                             std::span<float> losses, double temperature, Make make, Use use) {
    constexpr float none = -std::numeric_limits<float>::infinity();
    const std::size_t rows = targets.size(), chunks = (classes + width - 1) / width;
    const auto count_of = [&](std::size_t k) { return (std::min)(width, classes - k * width); };
    std::vector<float> logits(rows * (width + 1)), gradient(rows * (width + 1)), sums(rows), found(rows);

    // The logsumexp of each part of a row. The column that is to spare holds nothing yet.
    std::vector<float> parts(rows * chunks);
    for (std::size_t k = 0; k != chunks; ++k) {
        const std::size_t count = count_of(k);
        const auto chunk = std::span(logits).first(rows * (count + 1));
        std::fill(chunk.begin(), chunk.end(), none);
        make(k * width, count, chunk);
        smx::logsumexp(chunk, sums, {rows, count + 1}, temperature);
        for (std::size_t r = 0; r != rows; ++r) {
            parts[r * chunks + k] = sums[r];
        }
    }

    // To a chunk, the rest of the row is one more class, whose logit is T times the logsumexp of the other parts.
    for (std::size_t k = 0; k != chunks; ++k) {
        const std::size_t first = k * width, count = count_of(k);
        const auto chunk = std::span(logits).first(rows * (count + 1));
        const auto out = std::span(gradient).first(rows * (count + 1));
        std::vector<float> others = parts;
        for (std::size_t r = 0; r != rows; ++r) {
            others[r * chunks + k] = none;
        }
        smx::logsumexp(others, sums, {rows, chunks});
        make(first, count, chunk);
        std::vector<std::size_t> at(rows); // where the target is: here, or in the rest
        for (std::size_t r = 0; r != rows; ++r) {
            at[r] = targets[r] >= first && targets[r] < first + count ? targets[r] - first : count;
            chunk[r * (count + 1) + count] = static_cast<float>(temperature) * sums[r];
        }
        smx::cross_entropy_per_row(chunk, at, found, out, {rows, count + 1}, {.temperature = temperature});
        for (std::size_t r = 0; r != rows; ++r) {
            losses[r] = at[r] != count ? found[r] : losses[r];
        }
        use(first, count, out);
    }
}
// [/recipe chunks]

// [recipe logsumexps]
// The loss of the rows with its gradient, and beside it the probability of one class of each, such as the target's.
inline float loss_and_probabilities(std::span<const float> logits, std::span<const std::size_t> targets,
                                    std::span<float> gradient, std::span<float> probabilities,
                                    std::size_t classes, double temperature) {
    const std::size_t rows = targets.size();
    std::vector<float> logsumexps(rows);
    const float loss = smx::cross_entropy(logits, targets, gradient, {rows, classes},
                                          {.temperature = temperature, .logsumexps = logsumexps});
    for (std::size_t r = 0; r != rows; ++r) {
        const double logit = logits[r * classes + targets[r]];
        probabilities[r] = static_cast<float>(std::exp(logit / temperature - logsumexps[r]));
    }
    return loss;
}
// [/recipe logsumexps]

#include "support/oracle.hpp"

#include <array>
#include <random>

namespace {

// A matrix product of sorts: class c of row r has the logit c-th weights times the row's features.
struct output_layer {
    std::size_t features, classes;
    std::vector<float> weights, inputs;

    output_layer(std::size_t rows, std::size_t width, std::size_t count, float size)
        : features(width),
          classes(count) {
        std::mt19937_64 random(count);
        const auto number = [&] { return static_cast<float>(random() >> 40) / 0x1p24F - 0.5F; };
        for (std::size_t i = 0; i != count * width; ++i) {
            weights.push_back(size * number());
        }
        for (std::size_t i = 0; i != rows * width; ++i) {
            inputs.push_back(number());
        }
    }
    float logit(std::size_t r, std::size_t c) const {
        float sum = 0;
        for (std::size_t i = 0; i != features; ++i) {
            sum += weights[c * features + i] * inputs[r * features + i];
        }
        return sum;
    }
};

} // namespace

TEST_CASE("the recipe for logits in chunks gives the loss and gradient of whole rows under every width") {
    const std::size_t rows = 5, classes = 1003;
    for (const float size : {4.0F, 100.0F}) { // the large one makes one class dominate
        const output_layer layer(rows, 16, classes, size);
        std::vector<float> whole, expected(rows * classes);
        std::vector<std::size_t> targets;
        for (std::size_t r = 0; r != rows; ++r) {
            for (std::size_t c = 0; c != classes; ++c) {
                whole.push_back(layer.logit(r, c));
            }
            const auto row = std::span(whole).last(classes);
            targets.push_back(
                r % 2 == 0 ? static_cast<std::size_t>(std::max_element(row.begin(), row.end()) - row.begin())
                           : 7 * r);
        }
        const double t = 0.7;
        std::vector<float> losses(rows);
        smx::cross_entropy_per_row(whole, targets, losses, expected, {rows, classes}, {.temperature = t});
        std::vector<long double> exact_losses;
        float largest = 0;
        for (std::size_t r = 0; r != rows; ++r) {
            const auto row = std::span(whole).subspan(r * classes, classes);
            const oracle::row<float> exact(row, t);
            exact_losses.push_back(-exact.log_probability(targets[r]));
            largest = (std::max)(largest, static_cast<float>(std::abs(exact.logsumexp())));
        }
        // The logit of the rest is rounded: a few ulp of logsumexp * T, which the probabilities of a chunk get as a factor.
        const float rounding = 8 * std::numeric_limits<float>::epsilon() * largest;
        for (const std::size_t width :
             {std::size_t(1003), std::size_t(512), std::size_t(100), std::size_t(1)}) {
            std::size_t unequal = 0, chunks = 0;
            cross_entropy_in_chunks(
                classes, width, targets, losses, t,
                [&](std::size_t first, std::size_t count, std::span<float> logits) {
                    for (std::size_t r = 0; r != rows; ++r) {
                        for (std::size_t c = 0; c != count; ++c) {
                            logits[r * (count + 1) + c] = layer.logit(r, first + c);
                        }
                    }
                },
                [&](std::size_t first, std::size_t count, std::span<const float> gradient) {
                    for (std::size_t r = 0; r != rows; ++r) {
                        for (std::size_t c = 0; c != count; ++c) {
                            const float here = gradient[r * (count + 1) + c],
                                        there = expected[r * classes + first + c];
                            const float error = std::abs(here - there);
                            unequal += error <= rounding * std::abs(there) || error < 1e-38F ? 0U : 1U;
                        }
                    }
                    ++chunks;
                });
            CAPTURE(size, width, unequal);
            CHECK(chunks == (classes + width - 1) / width);
            CHECK(unequal == 0);
            for (std::size_t r = 0; r != rows; ++r) {
                CAPTURE(r, losses[r], exact_losses[r]);
                CHECK(std::abs(static_cast<long double>(losses[r]) - exact_losses[r]) <=
                      static_cast<long double>(rounding) * (std::min)(1.0L, exact_losses[r]) +
                          3e-7L * exact_losses[r]);
            }
        }
    }
}

TEST_CASE("the recipe for probabilities beside the loss gives those of softmax under a temperature") {
    const std::size_t rows = 4, classes = 37;
    const output_layer layer(rows, 8, classes, 10.0F);
    std::vector<float> logits, p(rows * classes), gradient(rows * classes), found(rows);
    for (std::size_t r = 0; r != rows; ++r) {
        for (std::size_t c = 0; c != classes; ++c) {
            logits.push_back(layer.logit(r, c));
        }
    }
    const std::vector<std::size_t> targets = {3, 0, 36, 11};
    smx::softmax(logits, p, {rows, classes}, 0.7);
    const float loss = loss_and_probabilities(logits, targets, gradient, found, classes, 0.7);
    double expected_loss = 0;
    for (std::size_t r = 0; r != rows; ++r) {
        const float expected = p[r * classes + targets[r]];
        CAPTURE(r, found[r], expected);
        CHECK(std::abs(found[r] / expected - 1) < 2e-6F); // a few ulp of a logsumexp below 16
        expected_loss -= std::log(static_cast<double>(expected)) / static_cast<double>(rows);
        CHECK(gradient[r * classes + targets[r]] < 0);
    }
    CHECK(std::abs(static_cast<double>(loss) / expected_loss - 1) < 1e-6);
}

TEST_CASE("the recipe for attention in tiles gives what the whole matrix gives under every size") {
    std::mt19937_64 random(7);
    const auto numbers = [&](std::size_t count, float size) {
        std::vector<float> all(count);
        for (float& x : all) {
            x = size * (static_cast<float>(random() >> 40) / 0x1p23F - 1);
        }
        return all;
    };
    for (const auto& [queries, keys, depth, width] : {std::array<std::size_t, 4>{1, 1, 1, 1},
                                                      {5, 3, 7, 2},
                                                      {33, 257, 64, 64},
                                                      {100, 600, 16, 10},
                                                      {300, 300, 8, 33}}) {
        for (const bool is_causal : {false, true}) {
            const attention_head head{queries, keys, depth, width, 0.4, is_causal};
            const auto q = numbers(queries * depth, 1), k = numbers(keys * depth, 1),
                       v = numbers(keys * width, 3);
            std::vector<float> found(queries * width);
            attend(q, k, v, found, head);
            double worst = 0;
            for (std::size_t r = 0; r != queries; ++r) {
                std::vector<double> p(keys);
                for (std::size_t c = 0; c != keys; ++c) {
                    for (std::size_t i = 0; i != depth; ++i) {
                        p[c] += double{q[r * depth + i]} * double{k[c * depth + i]};
                    }
                }
                smx::masked_softmax(p, smx::valid_lengths({head.seen_by(r)}), p, {.temperature = 0.4});
                for (std::size_t i = 0; i != width; ++i) {
                    double mean = 0;
                    for (std::size_t c = 0; c != keys; ++c) {
                        mean += p[c] * double{v[c * width + i]};
                    }
                    worst = (std::max)(worst, std::abs(mean - double{found[r * width + i]}));
                }
            }
            CAPTURE(queries, keys, depth, width, is_causal, worst);
            CHECK(worst < 5e-5); // scores of up to 60, in float, over T
        }
    }
}
