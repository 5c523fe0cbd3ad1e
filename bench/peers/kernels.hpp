// The peers that are plain functions, each namespace a file compiled with flags of its own. A file
// compiled with -march=native leaves no inline function of a header to call (containers, std::max): the
// linker keeps one copy of each for the whole program, and it might be that one. Hence nothing but
// pointers here.
#ifndef SMX_BENCH_KERNELS_HPP
#define SMX_BENCH_KERNELS_HPP

#include "../loop.hpp"

#include <cstddef>

template <class Real>
using kernel = void (*)(const Real* logits, Real* results, std::size_t rows, std::size_t columns);

namespace smx_peer {
template <class Real>
void softmax(const Real* logits, Real* probabilities, std::size_t rows, std::size_t columns);
template <class Real>
void log_softmax(const Real* logits, Real* log_probabilities, std::size_t rows, std::size_t columns);
} // namespace smx_peer

namespace eigen_peer {
extern const char* const version;
template <class Real>
void softmax(const Real* logits, Real* probabilities, std::size_t rows, std::size_t columns);
template <class Real>
void log_softmax(const Real* logits, Real* log_probabilities, std::size_t rows, std::size_t columns);
} // namespace eigen_peer

namespace xsimd_peer {
extern const char* const version;
template <class Real>
void softmax(const Real* logits, Real* probabilities, std::size_t rows, std::size_t columns);
template <class Real>
void log_softmax(const Real* logits, Real* log_probabilities, std::size_t rows, std::size_t columns);
} // namespace xsimd_peer

// What the machine can do at best: passes over n numbers that compute nothing to speak of, with the widest
// vectors that -march=native has.
namespace limits {
extern const std::size_t vector_bytes;
template <class Real>
void read(const Real* logits, Real* results, std::size_t n); // leaves their sum in results[0]
template <class Real>
void scale(const Real* logits, Real* results, std::size_t n); // the results, in place, by 1
template <class Real>
void copy(const Real* logits, Real* results, std::size_t n);
template <class Real>
void copy_streaming(const Real* logits, Real* results, std::size_t n);

// Chains of vector multiply-adds, each `steps` long: enough of them to hide the latency of one. Returns
// their sum.
inline constexpr std::size_t chains = 10;
template <class Real>
Real multiply_add(std::size_t steps);
} // namespace limits

#endif
