// A unit for every machine, linked with mixed_flags_avx512.cpp, whose functions the linker would keep where two have one
// name: this program then stops on machines without AVX-512. CMake also runs it on an emulated one without AVX.
#include <softmax.hpp>

#include <cmath>
#include <cstdio>

bool avx512_unit_agrees(const float* logits, const float* probabilities, int n);

int main() {
    constexpr int n = 100;
    float x[n];
    float p[n];
    for (int i = 0; i < n; ++i) {
        x[i] = static_cast<float>(i % 7);
    }
    smx::softmax(x, p, 0.5);
    const double expected = std::exp(-2.0) * static_cast<double>(p[6]);
    bool right = std::fabs(static_cast<double>(p[5]) - expected) < 1e-6 * expected;
    right =
        right && std::fabs(smx::logsumexp(x, 0.5) - smx::cross_entropy(x, 0, {.temperature = 0.5})) < 1e-5F;
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f")) {
        right = right && avx512_unit_agrees(x, p, n);
    }
#endif
    std::printf("%s\n", right ? "right" : "wrong");
    return right ? 0 : 1;
}
