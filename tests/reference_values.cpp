// Softmax, its relatives, losses and gradients against PyTorch and SciPy: values of another origin than the formulas that the
// other tests hold the library against. tools/reference_values.py wrote them, in float64.
#include <softmax.hpp>

#include "support/catch.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

namespace {

struct reference_case {
    const char* function;
    smx::shape shape;
    double temperature, label_smoothing, z_loss, softcap;
    int ignore_index;
    bool is_mean;
    std::vector<double> logits;
    std::vector<double>
        other; // upstream gradient, class indices, target probabilities, or the teacher's logits
    std::vector<double> class_weights;
    std::vector<double> values;
    std::vector<double> gradient; // none: not compared
};

const reference_case cases[] = {
// clang-format off
#include "reference_values.inc"
    // clang-format on
};

// The references round x / T and x - max, and take exp and log of that: with logits in [-8, 8] and T >= 0.75 an error of
// 22 epsilon in a probability, on top of a few of their own. What is compared with is as large as the terms that a
// result is the sum of: losses up to 30, logsumexp up to 12, upstream times probability up to 2.
constexpr double tolerance = 64 * std::numeric_limits<double>::epsilon();

void compare(const std::vector<double>& found, const std::vector<double>& expected, double scale) {
    REQUIRE(found.size() == expected.size());
    for (std::size_t k = 0; k != found.size(); ++k) {
        CAPTURE(k, found[k], expected[k]);
        CHECK(std::abs(found[k] - expected[k]) <= tolerance * (std::max)(scale, std::abs(expected[k])));
    }
}

void compare_forward(const reference_case& c) {
    std::vector<double> out(c.logits.size()), gradient(c.logits.size());
    const bool is_log = std::string(c.function) == "log_softmax";
    if (is_log) {
        smx::log_softmax(c.logits, out, c.shape, c.temperature);
    } else {
        smx::softmax(c.logits, out, c.shape, c.temperature);
    }
    compare(out, c.values, is_log ? 1 : 0); // probabilities by the relative error
    if (!c.gradient.empty()) {
        if (is_log) {
            smx::log_softmax_backward(out, c.other, gradient, c.shape, c.temperature);
        } else {
            smx::softmax_backward(out, c.other, gradient, c.shape, c.temperature);
        }
        compare(gradient, c.gradient, 2);
    }
}

void compare_cross_entropy(const reference_case& c, bool of_probabilities) {
    const smx::cross_entropy_options<double> options{.temperature = c.temperature,
                                                     .label_smoothing = c.label_smoothing,
                                                     .class_weights = c.class_weights,
                                                     .ignore_index = c.ignore_index,
                                                     .z_loss = c.z_loss,
                                                     .softcap = c.softcap,
                                                     .reduce = c.is_mean ? smx::reduction::mean
                                                                         : smx::reduction::sum};
    std::vector<double> gradient(c.logits.size());
    std::vector<int> targets;
    for (const double target : c.other) {
        targets.push_back(static_cast<int>(target));
    }
    const double loss = of_probabilities ? smx::cross_entropy(c.logits, c.other, gradient, c.shape, options)
                                         : smx::cross_entropy(c.logits, targets, gradient, c.shape, options);
    compare({loss}, c.values, 1);
    compare(gradient, c.gradient, 1);
}

void compare_divergence(const reference_case& c) {
    std::vector<double> gradient(c.logits.size());
    const double loss = smx::kl_divergence(
        c.logits, c.other, gradient, c.shape,
        {.temperature = c.temperature, .reduce = c.is_mean ? smx::reduction::mean : smx::reduction::sum});
    compare({loss}, c.values, c.temperature * c.temperature); // the terms that cancel in the references
    if (!c.gradient.empty()) {
        compare(gradient, c.gradient, c.temperature);
    }
}

} // namespace

TEST_CASE("all functions agree with PyTorch and SciPy under their options") {
    std::size_t compared = 0;
    for (const reference_case& c : cases) {
        const std::string function = c.function;
        CAPTURE(function, c.shape.outer, c.shape.classes, c.shape.inner, c.temperature, c.label_smoothing,
                c.z_loss, c.softcap, c.ignore_index, c.is_mean, c.class_weights, c.logits, c.other);
        if (function == "softmax" || function == "log_softmax") {
            compare_forward(c);
        } else if (function == "logsumexp") {
            std::vector<double> sums(c.shape.outer * c.shape.inner);
            smx::logsumexp(c.logits, sums, c.shape, c.temperature);
            compare(sums, c.values, 12);
        } else if (function == "kl_divergence") {
            compare_divergence(c);
        } else {
            compare_cross_entropy(c, function != "cross_entropy");
        }
        ++compared;
    }
    CHECK(compared > 80);
}
