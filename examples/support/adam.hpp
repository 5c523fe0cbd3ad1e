// AdamW (Kingma and Ba, 2015; Loshchilov and Hutter, 2019): gradient descent with a step size of its own for
// every parameter, which weight decay does not pass through.

#ifndef SMX_EXAMPLES_SUPPORT_ADAM_HPP
#define SMX_EXAMPLES_SUPPORT_ADAM_HPP

#include <cmath>
#include <cstddef>
#include <span>
#include <vector>

namespace support {

class adam {
public:
    explicit adam(std::size_t parameters) : mean_(parameters), square_(parameters) {}

    // Moves each parameter by about `rate` against its gradient, and by the part rate * decay of itself to 0.
    void step(std::span<float> parameters, std::span<const float> gradient, float rate, float decay) {
        mean_weight_ *= mean_decay;
        square_weight_ *= square_decay;
        for (std::size_t i = 0; i < parameters.size(); ++i) {
            mean_[i] += (1 - mean_decay) * (gradient[i] - mean_[i]);
            square_[i] += (1 - square_decay) * (gradient[i] * gradient[i] - square_[i]);
            const float mean =
                mean_[i] / (1 - mean_weight_); // both start at 0: without the division, too small
            const float square = square_[i] / (1 - square_weight_);
            parameters[i] -= rate * (mean / (std::sqrt(square) + 1e-8F) + decay * parameters[i]);
        }
    }

private:
    static constexpr float mean_decay = 0.9F;
    static constexpr float square_decay = 0.999F;

    std::vector<float> mean_;
    std::vector<float> square_;
    float mean_weight_ = 1; // what the zeros at the start still weigh
    float square_weight_ = 1;
};

} // namespace support

#endif
