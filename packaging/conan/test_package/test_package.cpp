#include <softmax.hpp>

#include <cstdio>
#include <vector>

int main() {
    const std::vector<float> logits{1, 2, 3};
    const std::vector<float> probabilities = smx::softmax(logits, 0.5);
    std::printf("smx %d.%d.%d: %g %g %g\n", SMX_VERSION_MAJOR, SMX_VERSION_MINOR, SMX_VERSION_PATCH,
                double(probabilities[0]), double(probabilities[1]), double(probabilities[2]));
    return probabilities[2] > 0.8668F && probabilities[2] < 0.8669F ? 0 : 1;
}
