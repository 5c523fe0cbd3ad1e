// One body, compiled for several instruction sets: which of them this machine runs, and the functions that carry
// them. Leans on lanes.hpp.
//
// SMX_INSTRUCTION_SET pins the choice at compile time: 0 baseline, 1 AVX2 + FMA, 2 AVX-512. At run time, for
// tests and benchmarks, use_instruction_set() lowers it.
#ifndef SMX_DETAIL_INSTRUCTION_SET_HPP
#define SMX_DETAIL_INSTRUCTION_SET_HPP

#include "lanes.hpp"

namespace smx::inline SMX_ABI::detail {

// Vector types of one machine: W lanes of Real in a vector, and as many bytes of double; Lanes logical lanes.
template <class Real, int W, int Lanes = format<Real>::lanes>
struct machine {
    using real = Real;
    using vector = pack<Real, W>;
    using wide = pack<double, W* int(sizeof(Real)) / int(sizeof(double))>;
    static constexpr int width = W;
    static constexpr int lanes = Lanes;
    static constexpr int parts = lanes / W; // vectors in the logical lanes
    static constexpr std::size_t step = 4 * lanes, block = 4 * step;
};

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

// Named result types, not auto: a compiler would have to see the bodies of what kernels.hpp says is elsewhere.
template <class Body, class Real, int Bytes, class... A>
using result_of_body =
    decltype(Body::template run<machine<Real, Bytes / int(sizeof(Real))>>(std::declval<A>()...));

template <class Body, class Real, class... A>
SMX_NOINLINE result_of_body<Body, Real, 16, A...> run_baseline(A... a) noexcept {
    return Body::template run<machine<Real, 16 / int(sizeof(Real))>>(a...);
}
#if SMX_X86
template <class Body, class Real, class... A>
SMX_AVX2 result_of_body<Body, Real, 32, A...> run_avx2(A... a) noexcept {
    return Body::template run<machine<Real, 32 / int(sizeof(Real))>>(a...);
}
template <class Body, class Real, class... A>
SMX_AVX512 result_of_body<Body, Real, 64, A...> run_avx512(A... a) noexcept {
    return Body::template run<machine<Real, 64 / int(sizeof(Real))>>(a...);
}
#endif
template <class Body, class Real, class... A>
SMX_INLINE auto dispatch(A... a) noexcept {
#if SMX_X86 && defined(SMX_INSTRUCTION_SET)
    if constexpr (SMX_INSTRUCTION_SET == 2) {
        return run_avx512<Body, Real>(a...);
    } else if constexpr (SMX_INSTRUCTION_SET == 1) {
        return run_avx2<Body, Real>(a...);
    } else {
        return run_baseline<Body, Real>(a...);
    }
#else
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
#endif
}

// The same from a body that runs already: a function of its own for what would be inlined many times.
template <class M, class Body, class... A>
SMX_INLINE auto run_apart(A... a) noexcept {
    using Real = typename M::real;
#if SMX_X86
    if constexpr (sizeof(typename M::vector) == 64) {
        return run_avx512<Body, Real>(a...);
    } else if constexpr (sizeof(typename M::vector) == 32) {
        return run_avx2<Body, Real>(a...);
    } else
#endif
    {
        return run_baseline<Body, Real>(a...);
    }
}

} // namespace smx::inline SMX_ABI::detail

#endif
