// A linear layer: outputs = weights * inputs + bias, for many rows at a time, and its gradient.

#ifndef SMX_EXAMPLES_SUPPORT_LINEAR_LAYER_HPP
#define SMX_EXAMPLES_SUPPORT_LINEAR_LAYER_HPP

#include <algorithm>
#include <cstddef>
#include <numeric>
#include <span>
#include <vector>

namespace support {

class linear_layer {
public:
    // All parameters are 0 at first.
    linear_layer(std::size_t inputs, std::size_t outputs)
        : inputs_(inputs),
          outputs_(outputs),
          parameters_((inputs + 1) * outputs) {}

    // For the optimizer: one row of `outputs` weights for each input, then the bias. With the output as the
    // inner index the loops below need no sum across a vector register, and a pixel that is 0 costs nothing.
    std::span<float> parameters() { return parameters_; }

    // One row of outputs for each row of inputs.
    std::vector<float> operator()(std::span<const float> rows) const {
        const std::size_t count = rows.size() / inputs_;
        const std::span<const float> all = parameters_;
        const auto bias = all.last(outputs_);
        std::vector<float> result(count * outputs_);
        for (std::size_t row = 0; row < count; ++row) {
            const auto out = std::span(result).subspan(row * outputs_, outputs_);
            std::copy(bias.begin(), bias.end(), out.begin());
            for (std::size_t i = 0; i < inputs_; ++i) {
                add_scaled(rows[row * inputs_ + i], all.subspan(i * outputs_, outputs_), out);
            }
        }
        return result;
    }

    // The gradient of a loss by the parameters, in their order, given its gradient by the outputs.
    std::vector<float> gradient(std::span<const float> rows, std::span<const float> output_gradient) const {
        const std::size_t count = rows.size() / inputs_;
        std::vector<float> result(parameters_.size());
        const std::span<float> all = result;
        for (std::size_t row = 0; row < count; ++row) {
            const auto upstream = output_gradient.subspan(row * outputs_, outputs_);
            for (std::size_t i = 0; i < inputs_; ++i) {
                add_scaled(rows[row * inputs_ + i], upstream, all.subspan(i * outputs_, outputs_));
            }
            add_scaled(1, upstream, all.last(outputs_));
        }
        return result;
    }

    // The gradient of a loss by the inputs, given its gradient by the outputs.
    std::vector<float> input_gradient(std::span<const float> output_gradient) const {
        const std::size_t count = output_gradient.size() / outputs_;
        std::vector<float> result(count * inputs_);
        for (std::size_t row = 0; row < count; ++row) {
            const auto upstream = output_gradient.subspan(row * outputs_, outputs_);
            for (std::size_t i = 0; i < inputs_; ++i) {
                const float* const weights = parameters_.data() + i * outputs_;
                result[row * inputs_ + i] =
                    std::inner_product(upstream.begin(), upstream.end(), weights, 0.0F);
            }
        }
        return result;
    }

private:
    static void add_scaled(float factor, std::span<const float> from, std::span<float> to) {
        if (factor == 0) {
            return;
        }
        for (std::size_t i = 0; i < to.size(); ++i) {
            to[i] += factor * from[i];
        }
    }

    std::size_t inputs_;
    std::size_t outputs_;
    std::vector<float> parameters_;
};

} // namespace support

#endif
