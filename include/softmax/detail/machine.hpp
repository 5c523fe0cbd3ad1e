// What the engine asks of the compiler: vector types, forced inlining, instruction sets, a barrier against
// algebra. All its macros are undefined at the end of softmax.hpp.
#ifndef SMX_DETAIL_MACHINE_HPP
#define SMX_DETAIL_MACHINE_HPP

#include "config.hpp"

#if defined(__GNUC__) && !defined(SMX_NO_VECTOR_EXTENSIONS)
#define SMX_VECTORS 1
#else
#define SMX_VECTORS 0
#endif

#if defined(__GNUC__)
#define SMX_INLINE [[gnu::always_inline]] inline
#define SMX_LAMBDA_INLINE __attribute__((always_inline))
#define SMX_NOINLINE [[gnu::noinline]] // of templates: inline would have extern templates instantiated
#define SMX_UNROLL _Pragma("GCC unroll 16")
#define SMX_PREFETCH(p) __builtin_prefetch(p)
#define SMX_PREFETCH_TO_WRITE(p) __builtin_prefetch(p, 1)
#else
#define SMX_INLINE inline
#define SMX_LAMBDA_INLINE
#define SMX_NOINLINE
#define SMX_UNROLL
#define SMX_PREFETCH(p) static_cast<void>(p)
#define SMX_PREFETCH_TO_WRITE(p) static_cast<void>(p)
#endif

#if defined(__x86_64__) && SMX_VECTORS
#define SMX_X86 1
#define SMX_AVX2 [[gnu::target("avx2,fma,prfchw"), gnu::noinline]]
#define SMX_AVX512 [[gnu::target("avx512f,avx512vl,avx512dq,avx512bw,avx2,fma,prfchw"), gnu::noinline]]
#else
#define SMX_X86 0
#endif

// GCC turns a loop over lanes of __builtin_fmaf into one instruction at -O2, but unrolls it first at -O3
// (nine times slower). Its builtins hold at every level, and need no <immintrin.h> once a target pragma has
// declared them.
#if SMX_X86 && !defined(__clang__)
#define SMX_GCC_X86 1
#pragma GCC push_options
#pragma GCC target("avx2,fma,avx512f,avx512vl,avx512bw,avx512dq")
#pragma GCC pop_options
#else
#define SMX_GCC_X86 0
#endif

#if SMX_VECTORS && defined(__clang__)
#define SMX_CLANG_VECTORS 1
#else
#define SMX_CLANG_VECTORS 0
#endif

#if defined(__FMA__) || defined(__aarch64__) || defined(__FP_FAST_FMAF)
#define SMX_EMULATES_FMA 0
#else
#define SMX_EMULATES_FMA 1
#endif

// Hides a number, or a vector, from algebra and from contraction. For vectors Clang has a fence that holds
// under -ffast-math only (an asm operand of a wide vector would need the instruction set in the function that
// names it): what it might contract elsewhere must be written as a fused operation. x87: through memory,
// which takes the excess digits off as well.
#if defined(__GNUC__) && (defined(__x86_64__) || (defined(__i386__) && defined(__SSE2_MATH__)))
#define SMX_HIDE(x) __asm__("" : "+v"(x))
#elif defined(__aarch64__) && defined(__GNUC__)
#define SMX_HIDE(x) __asm__("" : "+w"(x))
#elif defined(__GNUC__)
#define SMX_HIDE(x) __asm__("" : "+m"(x))
#else
#define SMX_HIDE(x) static_cast<void>(x)
#endif
#if defined(__clang__) && (defined(__x86_64__) || defined(__i386__))
#define SMX_HIDE_VECTOR(v) v = __arithmetic_fence(v)
#else
#define SMX_HIDE_VECTOR(v) SMX_HIDE(v)
#endif

#endif
