#include <softmax.hpp>

#include <cstdio>
#include <vector>

int main() {
    const std::vector<float> logits{2.0f, 1.0f, -1.0f};
    std::vector<float> gradient(3);
    for (const float p : smx::softmax(logits, 0.5)) { // temperature 0.5
        std::printf("%.6f\n", p);
    }
    const float loss = smx::cross_entropy(logits, 1, gradient); // the true class is 1
    std::printf("loss %.6f, gradient %.6f %.6f %.6f\n", loss, gradient[0], gradient[1], gradient[2]);
}
