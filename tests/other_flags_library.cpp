// The library under the flags that CMakeLists.txt gives this file, for other_flags.cpp to judge.
#include "other_flags.hpp"

#include <softmax.hpp>

#include <span>

int other_flags::use_instruction_set(int set) {
    return static_cast<int>(smx::detail::use_instruction_set(smx::detail::instruction_set{set}));
}

bool other_flags::keeps_bits() {
#if defined(__FAST_MATH__) || (defined(__FLT_EVAL_METHOD__) && __FLT_EVAL_METHOD__ != 0)
    return false;
#else
    return true;
#endif
}

template <class Real>
void other_flags::softmax(const Real* x, std::size_t n, double temperature, Real* probabilities) {
    smx::softmax(std::span(x, n), std::span(probabilities, n), temperature);
}

void other_flags::masked_softmax(const float* x, const bool* mask, std::size_t n, double temperature,
                                 float* probabilities) {
    smx::masked_softmax(std::span(x, n), std::span(mask, n), std::span(probabilities, n),
                        {.temperature = temperature});
}

void other_flags::masked_log_softmax(const float* x, const float* bias, std::size_t n, double temperature,
                                     float* log_probabilities) {
    smx::masked_log_softmax(std::span(x, n), std::span(bias, n), std::span(log_probabilities, n),
                            {.temperature = temperature});
}

template <class Real>
void other_flags::log_softmax(const Real* x, std::size_t n, double temperature, Real* log_probabilities) {
    smx::log_softmax(std::span(x, n), std::span(log_probabilities, n), temperature);
}

template <class Real>
void other_flags::logsumexp(const Real* x, std::size_t n, double temperature, Real* result) {
    *result = smx::logsumexp(std::span(x, n), temperature);
}

template <class Real>
void other_flags::cross_entropy(const Real* x, std::size_t n, double temperature, std::size_t target,
                                Real* gradient, Real* loss) {
    const smx::cross_entropy_options<Real> options{.temperature = temperature};
    *loss = gradient == nullptr
                ? smx::cross_entropy(std::span(x, n), target, options)
                : smx::cross_entropy(std::span(x, n), target, std::span(gradient, n), options);
}

#define SMX_TEST_INSTANTIATE(Real)                                                                           \
    template void other_flags::softmax(const Real*, std::size_t, double, Real*);                             \
    template void other_flags::log_softmax(const Real*, std::size_t, double, Real*);                         \
    template void other_flags::logsumexp(const Real*, std::size_t, double, Real*);                           \
    template void other_flags::cross_entropy(const Real*, std::size_t, double, std::size_t, Real*, Real*);
SMX_TEST_INSTANTIATE(float)
SMX_TEST_INSTANTIATE(double)
