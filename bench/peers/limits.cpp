#include "kernels.hpp"

#include <cstring>

#if defined(__SSE2__)
#include <immintrin.h>
#endif

namespace {

#if defined(__AVX512F__)
constexpr std::size_t width = 64;
#elif defined(__AVX__)
constexpr std::size_t width = 32;
#else
constexpr std::size_t width = 16;
#endif

// In a class, because GCC does not take the attribute on a type that depends on a template argument
// elsewhere.
template <class Real>
struct vector_of {
    typedef Real type __attribute__((vector_size(width)));
};

template <class Real>
using vector = typename vector_of<Real>::type;

template <class Real>
constexpr std::size_t lanes = width / sizeof(Real);

template <class Real>
Real sum_of_lanes(const vector<Real>& x) {
    Real sums[lanes<Real>];
    std::memcpy(sums, &x, width);
    for (std::size_t half = lanes<Real> / 2; half != 0; half /= 2)
        for (std::size_t k = 0; k < half; ++k)
            sums[k] += sums[k + half];
    return sums[0];
}

// Without such stores, a copy like any other.
template <class Real>
void store_streaming(Real* target, const vector<Real>& x) {
#if defined(__AVX512F__)
    _mm512_stream_si512(reinterpret_cast<__m512i*>(target), reinterpret_cast<const __m512i&>(x));
#elif defined(__AVX__)
    _mm256_stream_si256(reinterpret_cast<__m256i*>(target), reinterpret_cast<const __m256i&>(x));
#elif defined(__SSE2__)
    _mm_stream_si128(reinterpret_cast<__m128i*>(target), reinterpret_cast<const __m128i&>(x));
#else
    std::memcpy(target, &x, width);
#endif
}

// y = f(x), store(target, vector) for whole vectors from the first aligned one on.
template <class Real, class F, class Store>
void map(const Real* x, Real* y, std::size_t n, F f, Store store) {
    std::size_t i = 0;
    for (; i < n && reinterpret_cast<std::size_t>(y + i) % width != 0; ++i)
        y[i] = f(x[i]);
    for (; i + lanes<Real> <= n; i += lanes<Real>) {
        vector<Real> v;
        std::memcpy(&v, x + i, width);
        store(y + i, f(v));
    }
    for (; i < n; ++i)
        y[i] = f(x[i]);
}

constexpr auto unchanged = [](const auto& x) { return x; };
constexpr auto store_cached = [](auto* target, const auto& x) { std::memcpy(target, &x, width); };

} // namespace

const std::size_t limits::vector_bytes = width;

template <class Real>
void limits::read(const Real* logits, Real* results, std::size_t n) {
    constexpr std::size_t group = 8; // as many sums, or the latency of an addition is what is measured
    vector<Real> sums[group] = {};
    std::size_t i = 0;
    for (; i + group * lanes<Real> <= n; i += group * lanes<Real>) {
#pragma GCC unroll 8
        for (std::size_t k = 0; k < group; ++k) {
            vector<Real> x;
            std::memcpy(&x, logits + i + k * lanes<Real>, width);
            sums[k] += x;
        }
    }
    for (; i + lanes<Real> <= n; i += lanes<Real>) {
        vector<Real> x;
        std::memcpy(&x, logits + i, width);
        sums[0] += x;
    }
    vector<Real> sum{};
    for (const vector<Real>& s : sums)
        sum += s;
    Real total = sum_of_lanes<Real>(sum);
    for (; i < n; ++i)
        total += logits[i];
    results[0] = total;
}

template <class Real>
void limits::scale(const Real*, Real* results, std::size_t n) {
    static const volatile Real one = 1;
    const Real factor = one;
    map(results, results, n, [&](const auto& x) { return x * factor; }, store_cached);
}

template <class Real>
void limits::copy(const Real* logits, Real* results, std::size_t n) {
    map(logits, results, n, unchanged, store_cached);
}

template <class Real>
void limits::copy_streaming(const Real* logits, Real* results, std::size_t n) {
    map(logits, results, n, unchanged,
        [](Real* target, const vector<Real>& x) { store_streaming<Real>(target, x); });
#if defined(__SSE2__)
    _mm_sfence();
#endif
}

template <class Real>
Real limits::multiply_add(std::size_t steps) {
    static const volatile Real half = Real(0.5);
    const vector<Real> factor = vector<Real>{} + half;
    vector<Real> chain[chains];
    for (std::size_t k = 0; k < chains; ++k)
        chain[k] = vector<Real>{} + static_cast<Real>(k); // equal ones would be merged
    for (std::size_t step = 0; step < steps; ++step) {
#pragma GCC unroll 10
        for (std::size_t k = 0; k < chains; ++k)
            chain[k] = chain[k] * factor + factor;
    }
    vector<Real> sum{};
    for (const vector<Real>& c : chain)
        sum += c;
    return sum_of_lanes<Real>(sum);
}

template void limits::read(const float*, float*, std::size_t);
template void limits::read(const double*, double*, std::size_t);
template void limits::scale(const float*, float*, std::size_t);
template void limits::scale(const double*, double*, std::size_t);
template void limits::copy(const float*, float*, std::size_t);
template void limits::copy(const double*, double*, std::size_t);
template void limits::copy_streaming(const float*, float*, std::size_t);
template void limits::copy_streaming(const double*, double*, std::size_t);
template float limits::multiply_add<float>(std::size_t);
template double limits::multiply_add<double>(std::size_t);
