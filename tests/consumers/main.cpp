// The program that every consumer project builds.
#include <softmax.hpp>

#include <cstdio>
#include <vector>

int main() {
    const std::vector<float> logits{1, 2, 3};
    std::vector<float> probabilities(logits.size());
    smx::softmax(logits, probabilities);
    std::printf("smx %d.%d.%d: %g %g %g\n", SMX_VERSION_MAJOR, SMX_VERSION_MINOR, SMX_VERSION_PATCH,
                double(probabilities[0]), double(probabilities[1]), double(probabilities[2]));
    return probabilities[2] > 0.665F && probabilities[2] < 0.666F ? 0 : 1;
}
