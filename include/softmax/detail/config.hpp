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
#if defined(__AVX512F__)
#define SMX_BASELINE avx512
#elif defined(__AVX2__) && defined(__FMA__)
#define SMX_BASELINE avx2_fma
#elif defined(__AVX2__)
#define SMX_BASELINE avx2
#elif defined(__FMA__)
#define SMX_BASELINE avx_fma
#elif defined(__AVX__)
#define SMX_BASELINE avx
#else
#define SMX_BASELINE base
#endif

#if defined(__FAST_MATH__) || defined(_M_FP_FAST)
#define SMX_ARITHMETIC _fast
#else
#define SMX_ARITHMETIC
#endif

#if defined(__cpp_exceptions)
#define SMX_ERRORS
#else
#define SMX_ERRORS _abort
#endif

#define SMX_JOIN(major, minor, patch, baseline, arithmetic, errors)                                          \
    v##major##_##minor##_##patch##_##baseline##arithmetic##errors
#define SMX_EXPAND_AND_JOIN(major, minor, patch, baseline, arithmetic, errors)                               \
    SMX_JOIN(major, minor, patch, baseline, arithmetic, errors)
#define SMX_ABI                                                                                              \
    SMX_EXPAND_AND_JOIN(SMX_VERSION_MAJOR, SMX_VERSION_MINOR, SMX_VERSION_PATCH, SMX_BASELINE,               \
                        SMX_ARITHMETIC, SMX_ERRORS)

#endif
