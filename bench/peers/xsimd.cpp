// Three passes over xsimd's exp, what is left of a row after its last full vector one by one. (That
// remainder as one more vector, filled up in memory, is slower: a vector load that has to wait for
// narrower stores.)
#include "kernels.hpp"

#include <xsimd/xsimd.hpp>

#include <cmath>
#include <limits>

#define SMX_BENCH_TEXT_OF(x) #x
#define SMX_BENCH_TEXT(x) SMX_BENCH_TEXT_OF(x)
const char* const xsimd_peer::version = SMX_BENCH_TEXT(XSIMD_VERSION_MAJOR) "." SMX_BENCH_TEXT(
    XSIMD_VERSION_MINOR) "." SMX_BENCH_TEXT(XSIMD_VERSION_PATCH);

namespace {

template <class Real>
using batch = xsimd::batch<Real>;

template <class Real>
constexpr std::size_t size = batch<Real>::size;

template <class Real>
std::size_t vectorized(std::size_t n) {
    return n - n % size<Real>;
}

// Its own, because the name in xsimd changed with version 9.
template <class Real, class F>
Real reduce(const batch<Real>& values, F f) {
    alignas(batch<Real>) Real lanes[size<Real>];
    values.store_aligned(lanes);
    for (std::size_t half = size<Real> / 2; half != 0; half /= 2)
        for (std::size_t i = 0; i < half; ++i)
            lanes[i] = f(lanes[i], lanes[i + half]);
    return lanes[0];
}

// f(f(...f(start, x[0]), ...), x[n - 1]), if f does not mind the order.
template <class Real, class F, class Combine>
Real fold(const Real* x, std::size_t n, Real start, F f, Combine combine) {
    batch<Real> partial(start);
    for (std::size_t i = 0; i < vectorized<Real>(n); i += size<Real>)
        partial = f(partial, batch<Real>::load_unaligned(x + i));
    Real result = vectorized<Real>(n) == 0 ? start : reduce(partial, combine);
    for (std::size_t i = vectorized<Real>(n); i < n; ++i)
        result = f(result, x[i]);
    return result;
}

// y = f(x) over the row.
template <class Real, class F>
void map(const Real* x, Real* y, std::size_t n, F f) {
    for (std::size_t i = 0; i < vectorized<Real>(n); i += size<Real>)
        f(batch<Real>::load_unaligned(x + i)).store_unaligned(y + i);
    for (std::size_t i = vectorized<Real>(n); i < n; ++i)
        y[i] = f(x[i]);
}

template <class Real>
Real max_of(const Real* x, std::size_t n) {
    const auto larger = [](const auto& a, const auto& b) { return xsimd::max(a, b); };
    return fold(x, n, std::numeric_limits<Real>::lowest(), larger, larger);
}

constexpr auto plus = [](const auto& a, const auto& b) { return a + b; };

// y = exp(x - max); returns the sum.
template <class Real>
Real exp_of(const Real* x, Real* y, std::size_t n, Real max) {
    batch<Real> partial(Real(0));
    for (std::size_t i = 0; i < vectorized<Real>(n); i += size<Real>) {
        const batch<Real> term = xsimd::exp(batch<Real>::load_unaligned(x + i) - max);
        term.store_unaligned(y + i);
        partial += term;
    }
    Real sum = vectorized<Real>(n) == 0 ? 0 : reduce(partial, plus);
    for (std::size_t i = vectorized<Real>(n); i < n; ++i) {
        y[i] = xsimd::exp(x[i] - max);
        sum += y[i];
    }
    return sum;
}

template <class Real>
void softmax_of_row(const Real* logits, Real* probabilities, std::size_t n) {
    const Real factor = 1 / exp_of(logits, probabilities, n, max_of(logits, n));
    map(probabilities, probabilities, n, [factor](const auto& p) { return p * factor; });
}

template <class Real>
void log_softmax_of_row(const Real* logits, Real* log_probabilities, std::size_t n) {
    const Real max = max_of(logits, n);
    const auto add_exp = [max](const auto& sum, const auto& x) { return sum + xsimd::exp(x - max); };
    const Real log_sum = std::log(fold(logits, n, Real(0), add_exp, plus));
    map(logits, log_probabilities, n, [max, log_sum](const auto& x) { return x - max - log_sum; });
}

} // namespace

template <class Real>
void xsimd_peer::softmax(const Real* logits, Real* probabilities, std::size_t rows, std::size_t columns) {
    for (std::size_t row = 0; row < rows; ++row)
        softmax_of_row(logits + row * columns, probabilities + row * columns, columns);
}

template <class Real>
void xsimd_peer::log_softmax(const Real* logits, Real* log_probabilities, std::size_t rows,
                             std::size_t columns) {
    for (std::size_t row = 0; row < rows; ++row)
        log_softmax_of_row(logits + row * columns, log_probabilities + row * columns, columns);
}

template void xsimd_peer::softmax(const float*, float*, std::size_t, std::size_t);
template void xsimd_peer::softmax(const double*, double*, std::size_t, std::size_t);
template void xsimd_peer::log_softmax(const float*, float*, std::size_t, std::size_t);
template void xsimd_peer::log_softmax(const double*, double*, std::size_t, std::size_t);
