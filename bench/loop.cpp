// No inline function of a header may be left to call here (std::max, containers): the linker keeps one copy of
// each for the whole program, and it might be the one compiled with -march=native -ffast-math.
#include "loop.hpp"

#include <cmath>

template <class Real>
static Real max_of(const Real* x, std::size_t n) {
    Real max = x[0];
    for (std::size_t i = 1; i < n; ++i)
        max = x[i] > max ? x[i] : max;
    return max;
}

template <class Real>
static void softmax_of_row(const Real* logits, Real* probabilities, std::size_t n) {
    const Real max = max_of(logits, n);
    Real sum = 0;
    for (std::size_t i = 0; i < n; ++i) {
        probabilities[i] = std::exp(logits[i] - max);
        sum += probabilities[i];
    }
    for (std::size_t i = 0; i < n; ++i)
        probabilities[i] /= sum;
}

template <class Real>
static void log_softmax_of_row(const Real* logits, Real* log_probabilities, std::size_t n) {
    const Real max = max_of(logits, n);
    Real sum = 0;
    for (std::size_t i = 0; i < n; ++i)
        sum += std::exp(logits[i] - max);
    const Real log_sum = std::log(sum);
    for (std::size_t i = 0; i < n; ++i)
        log_probabilities[i] = logits[i] - max - log_sum;
}

template <class Real>
void SMX_BENCH_LOOP::softmax(const Real* logits, Real* probabilities, std::size_t rows, std::size_t columns) {
    for (std::size_t row = 0; row < rows; ++row)
        softmax_of_row(logits + row * columns, probabilities + row * columns, columns);
}

template <class Real>
void SMX_BENCH_LOOP::log_softmax(const Real* logits, Real* log_probabilities, std::size_t rows,
                                 std::size_t columns) {
    for (std::size_t row = 0; row < rows; ++row)
        log_softmax_of_row(logits + row * columns, log_probabilities + row * columns, columns);
}

template void SMX_BENCH_LOOP::softmax(const float*, float*, std::size_t, std::size_t);
template void SMX_BENCH_LOOP::softmax(const double*, double*, std::size_t, std::size_t);
template void SMX_BENCH_LOOP::log_softmax(const float*, float*, std::size_t, std::size_t);
template void SMX_BENCH_LOOP::log_softmax(const double*, double*, std::size_t, std::size_t);
