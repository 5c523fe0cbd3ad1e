// The softmax and log-softmax that users write, compiled twice: CMakeLists.txt says with which flags.
#ifndef SMX_BENCH_LOOP_HPP
#define SMX_BENCH_LOOP_HPP

#include <cstddef>

namespace loop_plain {
void softmax(const float* logits, float* probabilities, std::size_t n);
void log_softmax(const float* logits, float* log_probabilities, std::size_t n);
} // namespace loop_plain

namespace loop_fast {
void softmax(const float* logits, float* probabilities, std::size_t n);
void log_softmax(const float* logits, float* log_probabilities, std::size_t n);
} // namespace loop_fast

#endif
