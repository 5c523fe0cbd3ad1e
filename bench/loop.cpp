// No inline function of a header may be left to call here (std::max, containers): the linker keeps one copy of
// each for the whole program, and it might be the one compiled with -march=native -ffast-math.
#include "loop.hpp"

#include <cmath>

static float max_of(const float* x, std::size_t n) {
    float max = x[0];
    for (std::size_t i = 1; i < n; ++i)
        max = x[i] > max ? x[i] : max;
    return max;
}

void SMX_BENCH_LOOP::softmax(const float* logits, float* probabilities, std::size_t n) {
    const float max = max_of(logits, n);
    float sum = 0;
    for (std::size_t i = 0; i < n; ++i) {
        probabilities[i] = std::exp(logits[i] - max);
        sum += probabilities[i];
    }
    for (std::size_t i = 0; i < n; ++i)
        probabilities[i] /= sum;
}

void SMX_BENCH_LOOP::log_softmax(const float* logits, float* log_probabilities, std::size_t n) {
    const float max = max_of(logits, n);
    float sum = 0;
    for (std::size_t i = 0; i < n; ++i)
        sum += std::exp(logits[i] - max);
    const float log_sum = std::log(sum);
    for (std::size_t i = 0; i < n; ++i)
        log_probabilities[i] = logits[i] - max - log_sum;
}
