// The unit of mixed_flags.cpp that is compiled for AVX-512 and called only where that is.
#include <softmax.hpp>

#include <cstddef>
#include <span>

bool avx512_unit_agrees(const float* logits, const float* probabilities, int n);

bool avx512_unit_agrees(const float* logits, const float* probabilities, int n) {
    float p[100];
    const auto size = static_cast<std::size_t>(n);
    smx::softmax(std::span(logits, size), std::span(p, size), 0.5);
    bool same =
        smx::logsumexp(std::span(logits, size)) > 0 && smx::cross_entropy(std::span(logits, size), 3) > 0;
    for (std::size_t i = 0; i < size; ++i) {
        same = same && p[i] == probabilities[i];
    }
    return same;
}
