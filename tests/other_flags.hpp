// What other_flags.cpp judges: the library as compiled in other_flags_library.cpp, with flags of its own.
// Nothing but pointers and numbers passes between the two: of an inline function of a header that both have
// (containers) the linker keeps one copy, and the judge must not run on one made with -ffast-math.
#ifndef SMX_TESTS_OTHER_FLAGS_HPP
#define SMX_TESTS_OTHER_FLAGS_HPP

#include <cstddef>

namespace other_flags {

// At most this instruction set from now on: 0 baseline, 1 AVX2, 2 AVX-512; returns which.
int use_instruction_set(int set);

// Whether the same formula gives the same bits in two places: not under -ffast-math, nor with the excess
// digits of x87.
bool keeps_bits();

template <class Real>
void softmax(const Real* x, std::size_t n, double temperature, Real* probabilities);
// masked_softmax of rows without a sink of which everything takes part, by truth values.
void masked_softmax(const float* x, const bool* mask, std::size_t n, double temperature,
                    float* probabilities);
// masked_log_softmax of rows with a bias and without a sink.
void masked_log_softmax(const float* x, const float* bias, std::size_t n, double temperature,
                        float* log_probabilities);
template <class Real>
void log_softmax(const Real* x, std::size_t n, double temperature, Real* log_probabilities);
template <class Real>
void logsumexp(const Real* x, std::size_t n, double temperature, Real* result);
// gradient may be null.
template <class Real>
void cross_entropy(const Real* x, std::size_t n, double temperature, std::size_t target, Real* gradient,
                   Real* loss);

} // namespace other_flags

#endif
