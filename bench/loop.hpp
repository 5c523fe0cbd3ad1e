// The softmax and log-softmax that users write, row by row, float and double; compiled twice: CMakeLists.txt
// says with which flags.
#ifndef SMX_BENCH_LOOP_HPP
#define SMX_BENCH_LOOP_HPP

#include <cstddef>

namespace loop_plain {
template <class Real>
void softmax(const Real* logits, Real* probabilities, std::size_t rows, std::size_t columns);
template <class Real>
void log_softmax(const Real* logits, Real* log_probabilities, std::size_t rows, std::size_t columns);
} // namespace loop_plain

namespace loop_fast {
template <class Real>
void softmax(const Real* logits, Real* probabilities, std::size_t rows, std::size_t columns);
template <class Real>
void log_softmax(const Real* logits, Real* log_probabilities, std::size_t rows, std::size_t columns);
} // namespace loop_fast

#endif
