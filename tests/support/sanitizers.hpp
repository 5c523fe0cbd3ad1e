// Whether this is compiled for sanitizers: they look for errors on every path, which fewer numbers take as
// well as many, and cost ten times the time.
#ifndef SMX_TESTS_SUPPORT_SANITIZERS_HPP
#define SMX_TESTS_SUPPORT_SANITIZERS_HPP

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr bool is_sanitized = true;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(undefined_behavior_sanitizer) ||                       \
    __has_feature(thread_sanitizer)
inline constexpr bool is_sanitized = true;
#else
inline constexpr bool is_sanitized = false;
#endif
#else
inline constexpr bool is_sanitized = false;
#endif

#endif
