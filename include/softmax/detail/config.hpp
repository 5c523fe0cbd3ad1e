// Version, inline namespace and compiler facts: the one file with #if per compiler.
// Every macro made here, but the version and the documented switches, is undefined at the end of softmax.hpp.
#ifndef SMX_DETAIL_CONFIG_HPP
#define SMX_DETAIL_CONFIG_HPP

#define SMX_VERSION_MAJOR 0
#define SMX_VERSION_MINOR 1
#define SMX_VERSION_PATCH 0

// The inline namespace carries the version and whatever changes the body of an inline function from one translation
// unit to the next. Two units compiled with different -m flags must not share a function: the linker keeps one copy,
// perhaps the one that the machine cannot run.
#if defined(__AVX512VL__) && defined(__AVX512DQ__) && defined(__AVX512BW__)
#define SMX_BASELINE avx512_full
#elif defined(__AVX512F__)
#define SMX_BASELINE avx512
#elif defined(__AVX2__) && defined(__FMA__)
#define SMX_BASELINE avx2_fma
#elif defined(__AVX2__)
#define SMX_BASELINE avx2
#elif defined(__FMA__)
#define SMX_BASELINE avx_fma
#elif defined(__AVX__)
#define SMX_BASELINE avx
#elif defined(__SSE4_2__)
#define SMX_BASELINE sse4_2
#elif defined(__SSE4_1__)
#define SMX_BASELINE sse4_1
#elif defined(__SSSE3__)
#define SMX_BASELINE ssse3
#elif defined(__SSE3__)
#define SMX_BASELINE sse3
#else
#define SMX_BASELINE base
#endif

#if defined(__BMI2__)
#define SMX_BIT_MANIPULATION _bmi2
#else
#define SMX_BIT_MANIPULATION
#endif

#if defined(__FAST_MATH__) || defined(_M_FP_FAST) || defined(__ASSOCIATIVE_MATH__)
#define SMX_ARITHMETIC _fast
#elif defined(__FINITE_MATH_ONLY__) && __FINITE_MATH_ONLY__ > 0
#define SMX_ARITHMETIC _finite
#else
#define SMX_ARITHMETIC
#endif

#if defined(__cpp_exceptions)
#define SMX_ERRORS
#else
#define SMX_ERRORS _abort
#endif

#if defined(SMX_NO_VECTOR_EXTENSIONS)
#define SMX_LANES _arrays
#else
#define SMX_LANES
#endif

#if !defined(SMX_INSTRUCTION_SET)
#define SMX_PIN
#elif SMX_INSTRUCTION_SET == 0
#define SMX_PIN _pin0
#elif SMX_INSTRUCTION_SET == 1
#define SMX_PIN _pin1
#elif SMX_INSTRUCTION_SET == 2
#define SMX_PIN _pin2
#else
#error "SMX_INSTRUCTION_SET is 0 (baseline), 1 (AVX2 and FMA) or 2 (AVX-512)"
#endif

#if defined(SMX_STRICT_BITS)
#define SMX_STRICTNESS _strict
#else
#define SMX_STRICTNESS
#endif

#define SMX_JOIN(major, minor, patch, baseline, bits, arithmetic, errors, lanes, pin, strictness)            \
    v##major##_##minor##_##patch##_##baseline##bits##arithmetic##errors##lanes##pin##strictness
#define SMX_EXPAND_AND_JOIN(major, minor, patch, baseline, bits, arithmetic, errors, lanes, pin, strictness) \
    SMX_JOIN(major, minor, patch, baseline, bits, arithmetic, errors, lanes, pin, strictness)
#define SMX_ABI                                                                                              \
    SMX_EXPAND_AND_JOIN(SMX_VERSION_MAJOR, SMX_VERSION_MINOR, SMX_VERSION_PATCH, SMX_BASELINE,               \
                        SMX_BIT_MANIPULATION, SMX_ARITHMETIC, SMX_ERRORS, SMX_LANES, SMX_PIN,                \
                        SMX_STRICTNESS)

namespace smx::inline SMX_ABI::detail {

// False where the compiler takes it that there are none (-ffast-math).
inline constexpr bool has_infinities =
#if defined(__FINITE_MATH_ONLY__) && __FINITE_MATH_ONLY__ > 0
    false;
#else
    true;
#endif

} // namespace smx::inline SMX_ABI::detail

#endif
