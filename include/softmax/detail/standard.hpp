// The functions of <cmath> that are called here, for float, double and long double. GCC and Clang have them as builtins, without
// that header: in libstdc++ it is a fifth of what #include <softmax.hpp> costs.
#ifndef SMX_DETAIL_STANDARD_HPP
#define SMX_DETAIL_STANDARD_HPP

#include "config.hpp"

// (Extended floating-point types have overloads there.)
#if !defined(__GNUC__) || defined(SMX_NO_VECTOR_EXTENSIONS) || defined(__STDCPP_FLOAT32_T__)
#define SMX_BUILTINS 0
#include <cmath>
#else
#define SMX_BUILTINS 1
#endif

namespace smx::inline SMX_ABI::detail::standard {

#if SMX_BUILTINS
#define SMX_BUILTIN(name)                                                                                    \
    inline float name(float x) { return __builtin_##name##f(x); }                                            \
    inline double name(double x) { return __builtin_##name(x); }                                             \
    inline long double name(long double x) { return __builtin_##name##l(x); }
SMX_BUILTIN(exp)
SMX_BUILTIN(log)
SMX_BUILTIN(log1p)
SMX_BUILTIN(tanh)
#undef SMX_BUILTIN

inline float fma(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
inline double fma(double a, double b, double c) { return __builtin_fma(a, b, c); }
inline long double fma(long double a, long double b, long double c) { return __builtin_fmal(a, b, c); }
#else
using std::exp, std::fma, std::log, std::log1p, std::tanh;
#endif

} // namespace smx::inline SMX_ABI::detail::standard

#undef SMX_BUILTINS

#endif
