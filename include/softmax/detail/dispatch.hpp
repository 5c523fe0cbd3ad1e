// The doors of the engine: each runs one body from operations.hpp, compiled for several instruction sets, on
// the best that the machine has. Nothing here throws, allocates, or touches memory outside the ranges given;
// y may be x.
//
// SMX_INSTRUCTION_SET pins the choice at compile time: 0 baseline, 1 AVX2 + FMA, 2 AVX-512. At run time, for
// tests and benchmarks, use_instruction_set() lowers it.
#ifndef SMX_DETAIL_DISPATCH_HPP
#define SMX_DETAIL_DISPATCH_HPP

#include "short_rows.hpp"

namespace smx::inline SMX_ABI::detail {

enum class instruction_set : int { unknown = -1, baseline = 0, avx2 = 1, avx512 = 2 };

inline instruction_set best_instruction_set() noexcept {
#if SMX_X86
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw")) {
        return instruction_set::avx512;
    }
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
        return instruction_set::avx2;
    }
#endif
    return instruction_set::baseline;
}

#if SMX_X86 && !defined(SMX_INSTRUCTION_SET)
// Found on first use; every thread finds the same, so that a relaxed load and store are all it takes.
inline instruction_set chosen_instruction_set = instruction_set::unknown;
SMX_INLINE instruction_set current_instruction_set() noexcept {
    instruction_set s;
    __atomic_load(&chosen_instruction_set, &s, __ATOMIC_RELAXED);
    if (s == instruction_set::unknown) [[unlikely]] {
        s = best_instruction_set();
        __atomic_store(&chosen_instruction_set, &s, __ATOMIC_RELAXED);
    }
    return s;
}
// For tests and benchmarks: at most `s`; returns what is in use from now on.
inline instruction_set use_instruction_set(instruction_set s) noexcept {
    const instruction_set best = best_instruction_set();
    s = s < best ? s : best;
    __atomic_store(&chosen_instruction_set, &s, __ATOMIC_RELAXED);
    return s;
}
#elif defined(SMX_INSTRUCTION_SET)
constexpr instruction_set current_instruction_set() noexcept { return instruction_set{SMX_INSTRUCTION_SET}; }
constexpr instruction_set use_instruction_set(instruction_set) noexcept { return current_instruction_set(); }
#else
constexpr instruction_set current_instruction_set() noexcept { return instruction_set::baseline; }
constexpr instruction_set use_instruction_set(instruction_set) noexcept { return current_instruction_set(); }
#endif

template <class Body, class Real, class... A>
SMX_NOINLINE auto run_baseline(A... a) noexcept {
    return Body::template run<machine<Real, 16 / int(sizeof(Real))>>(a...);
}
#if SMX_X86
template <class Body, class Real, class... A>
SMX_AVX2 auto run_avx2(A... a) noexcept {
    return Body::template run<machine<Real, 32 / int(sizeof(Real))>>(a...);
}
template <class Body, class Real, class... A>
SMX_AVX512 auto run_avx512(A... a) noexcept {
    return Body::template run<machine<Real, 64 / int(sizeof(Real))>>(a...);
}
#endif
template <class Body, class Real, class... A>
SMX_INLINE auto dispatch(A... a) noexcept {
#if SMX_X86
    const instruction_set s = current_instruction_set();
    if (s == instruction_set::avx512) {
        return run_avx512<Body, Real>(a...);
    }
    if (s == instruction_set::avx2) {
        return run_avx2<Body, Real>(a...);
    }
#endif
    return run_baseline<Body, Real>(a...);
}

// What the kernels need to know of T > 0; a batch with one T computes it once. T = 1 divides nothing.
template <class Real>
inline base2_scale<Real> base2_scale_of(double temperature) noexcept {
    using bits = typename format<Real>::bits;
    using R = term_range<Real>;
    constexpr double log2e = 0x1.71547652b82fep+0, log2e_rest = 0x1.777d0ffda0d24p-56;
    base2_scale<Real> c{};
    c.temperature = temperature;
    double t = temperature, stretch = 1, shrink = 1;
    const bool usual = temperature > 0x1p-60 && temperature < 0x1p60;
    // Else c = log2(e) / t with t in [1, 2); x is scaled by t / T in two steps that neither overflow nor flush.
    if (!usual) {
        constexpr int most = format<Real>::bias - 1;
        int e = 0;
        for (; t >= 2; t *= 0.5) {
            --e;
        }
        for (; t < 1 && e < most; t *= 2) {
            ++e;
        }
        for (int k = 0; k < e; ++k) {
            stretch *= 2;
        }
        for (int k = 0; k > e && k > -most; --k) {
            shrink *= 0.5;
        }
        for (int k = -most; k > e && k > -2 * most; --k) {
            stretch *= 0.5;
        }
        t = t < 0x1p-60 ? 0x1p-60 : t;
    }
    double hi = log2e, lo = log2e_rest;
    if (t != 1) {
        hi = log2e / t;
        // the remainder of the division, exactly enough: products of halves (all but the last are exact),
        // since fma may be a slow function here
        const auto half = [](double v) {
            return std::bit_cast<double>(std::bit_cast<std::int64_t>(v) & -(std::int64_t{1} << 27));
        };
        const double p = product(hi, t), a = half(hi), b = half(t);
        const double most = opaque(opaque(product(a, b) - p) + product(a, t - b));
        const double error = opaque(most + product(hi - a, b)) + product(hi - a, t - b);
        lo = opaque(opaque(opaque(log2e - p) - opaque(error)) + log2e_rest) / t;
    }
    c.hi = static_cast<Real>(hi);
    c.lo = static_cast<Real>((hi - static_cast<double>(c.hi)) + lo);
    c.upper = std::bit_cast<Real>(std::bit_cast<bits>(c.hi) &
                                  static_cast<bits>(-1) * (bits{1} << format<Real>::split));
    c.lower = c.hi - c.upper;
    c.inverse_hi = static_cast<Real>(1 / hi);
    c.usual = static_cast<Real>(R::limit / hi);
    c.scaled = !usual;
    c.shrink = static_cast<Real>(shrink);
    c.stretch = static_cast<Real>(stretch);
    c.inverse = usual ? static_cast<Real>(1 / temperature) : Real(0);
    return c;
}

template <class Operation>
struct map_rows {
    template <class M, class Real>
    SMX_INLINE static void run(const Real* x, Real* y, std::size_t rows, std::size_t n,
                               const base2_scale<Real>* c) {
        const bool padded = n < std::size_t(M::lanes);
        for (std::size_t r = 0; r < rows; ++r, x += n, y += n) {
            padded_row<M> p(x, padded ? n : 0);
            Operation::template row<M>(padded ? p.logit : x, padded ? p.result : y, padded ? M::lanes : n,
                                       *c);
            p.write(y, padded ? n : 0);
        }
    }
};
struct reduce_rows {
    template <class M, class Real>
    SMX_INLINE static void run(const Real* x, Real* results, std::size_t rows, std::size_t n,
                               const base2_scale<Real>* c) {
        const bool padded = n < std::size_t(M::lanes);
        for (std::size_t r = 0; r < rows; ++r, x += n) {
            const padded_row<M> p(x, padded ? n : 0);
            results[r] = logsumexp_operation::row<M>(padded ? p.logit : x, padded ? M::lanes : n, *c);
        }
    }
};
template <bool Gradient>
struct one_loss {
    template <class M, class Real>
    SMX_INLINE static Real run(const Real* x, Real* gradient, std::size_t n, const base2_scale<Real>* c,
                               std::size_t target, double factor) {
        const bool padded = n < std::size_t(M::lanes);
        padded_row<M> p(x, padded ? n : 0);
        const Real loss = cross_entropy_operation<Gradient>::template row<M>(
            padded ? p.logit : x, padded ? p.result : gradient, padded ? M::lanes : n, *c, target, factor);
        p.write(gradient, padded && Gradient ? n : 0);
        return loss;
    }
};

// rows x n logits to probabilities, or their logarithms.
template <class Real>
inline void softmax_rows(const Real* x, Real* y, std::size_t rows, std::size_t n,
                         const base2_scale<Real>& c) noexcept {
    if constexpr (sizeof(Real) == sizeof(float)) {
        if (n <= 4 * std::size_t(format<Real>::lanes)) {
            if (n != 0) {
                dispatch<map_short_rows, Real>(x, y, rows, n, &c);
            }
            return;
        }
    }
    dispatch<map_rows<softmax_operation>, Real>(x, y, rows, n, &c);
}
template <class Real>
inline void log_softmax_rows(const Real* x, Real* y, std::size_t rows, std::size_t n,
                             const base2_scale<Real>& c) noexcept {
    dispatch<map_rows<log_softmax_operation>, Real>(x, y, rows, n, &c);
}
// One result a row.
template <class Real>
inline void logsumexp_rows(const Real* x, Real* results, std::size_t rows, std::size_t n,
                           const base2_scale<Real>& c) noexcept {
    dispatch<reduce_rows, Real>(x, results, rows, n, &c);
}
// The loss of one row, and, unless gradient is null, factor (p - onehot): the same loss either way. n >
// target.
template <class Real>
inline Real cross_entropy_row(const Real* x, Real* gradient, std::size_t n, const base2_scale<Real>& c,
                              std::size_t target, double factor) noexcept {
    if (gradient == nullptr) {
        return dispatch<one_loss<false>, Real>(x, gradient, n, &c, target, factor);
    }
    return dispatch<one_loss<true>, Real>(x, gradient, n, &c, target, factor);
}

} // namespace smx::inline SMX_ABI::detail

#endif
