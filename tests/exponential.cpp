// The exponential of the kernels alone: the error of 2^(x c - N + lift), c = log2(e) / T, N the reference of
// a row, against a wider exponential. Every 1009th float; test_exponential "[all floats]" takes each of the
// 2^32 (minutes).
//
// Measured for every x that a row can hold at or below its maximum: as the maximum itself, and under a
// maximum above it by up to the range of terms, so that exponents down to the smallest normal number come up.
// Left out: x beyond the range in which a row goes uncentred (term_range::limit), which exponentials() never
// sees.
#include <softmax.hpp>

#include "support/catch.hpp"

#include <algorithm>
#include <bit>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <string>
#include <vector>

namespace {

namespace detail = smx::detail;
using detail::instruction_set;

// In ulp of the exact term. The budget in softmax/detail/exponential.hpp is 1.9; over all floats the worst is
// 1.34 with fused multiply-add and 1.44 without.
constexpr double bound = 1.5;
// Of |max c - N|, N even: 1, and the maximum times what c is rounded by in N, at the end of the range.
template <class Real>
constexpr double reference_bound =
    1 + detail::term_range<Real>::limit * std::numeric_limits<Real>::epsilon() / 2;

#if defined(__GNUC__)
#define SMX_TEST_INLINE [[gnu::always_inline]]
#else
#define SMX_TEST_INLINE
#endif

// Terms and references of n numbers, each in a row of its own; n a multiple of 64.
struct terms_of {
    template <class M, class Real>
    SMX_TEST_INLINE static void run(const Real* x, const Real* maximum, Real* term, Real* reference,
                                    std::size_t n, const detail::base2_scale<Real>* c) {
        using P = typename M::vector;
        constexpr std::size_t w = M::width;
        const P origin = detail::splat<P>(detail::term_range<Real>::magic + detail::format<Real>::bias +
                                          detail::term_range<Real>::lift);
        for (std::size_t i = 0; i < n; i += 4 * w) {
            P v[4];
            detail::row_reference<P> q[4];
            for (std::size_t k = 0; k < 4; ++k) {
                v[k] = detail::load<P>(x + i + k * w);
                detail::refer(*c, detail::load<P>(maximum + i + k * w), q[k]);
                detail::store(reference + i + k * w, origin - q[k].magic);
            }
            detail::exponentials<1>(v, q);
            for (std::size_t k = 0; k < 4; ++k) {
                detail::store(term + i + k * w, v[k]);
            }
        }
    }
};

// The largest maximum of a row that is not centred; without fused multiply-add it is smaller.
struct largest_uncentred {
    template <class M, class Real>
    SMX_TEST_INLINE static void run(const detail::base2_scale<Real>* c, Real* result) {
        *result = c->template largest<typename M::vector>();
    }
};

// log2(e) / T to more than 100 bits, and 2^(x c - e) for an integer e.
class exact_scale {
public:
    explicit exact_scale(double temperature) {
        constexpr long double log2e = 0x1.71547652b82fep+0L, rest = 0x1.777d0ffda0d23a7dp-56L;
        const long double t = temperature;
        high_ = log2e / t;
        low_ = (std::fma(-high_, t, log2e) + rest) / t;
        double_high_ = static_cast<double>(high_);
        double_low_ = static_cast<double>(high_ - static_cast<long double>(double_high_));
    }

    double product(double x) const { return x * double_high_; }

    // The error: 2^-45 of the result, from the rounding of an exponent below 2^8 in double.
    double term(float x, double e) const {
        const double wide = static_cast<double>(x);
        return std::exp2(std::fma(wide, double_high_, -e) + wide * double_low_);
    }
    // The error: 2^-62 of the result; the exponent is split, or its rounding would cost 1/3 ulp.
    long double term(double x, double e) const {
        static_assert(std::numeric_limits<long double>::digits >= 64);
        const long double wide = x;
        const long double whole = std::nearbyint(wide * high_ - static_cast<long double>(e));
        const long double fraction =
            std::fma(wide, high_, -(static_cast<long double>(e) + whole)) + wide * low_;
        return std::ldexp(std::exp2(fraction), static_cast<int>(whole));
    }

private:
    long double high_, low_;
    double double_high_, double_low_;
};

// |found - exact| in units of the last place of a Real as large as `exact`, which is positive and normal.
template <class Real, class Wide>
double ulps(Real found, Wide exact) {
    int exponent;
    if constexpr (sizeof(Wide) == sizeof(double)) { // frexp is half of the time that all floats take
        exponent = static_cast<int>(std::bit_cast<std::uint64_t>(exact) >> 52) - 1022;
        const auto unit = static_cast<std::uint64_t>(exponent - std::numeric_limits<Real>::digits + 1023);
        return std::abs(static_cast<Wide>(found) - exact) / std::bit_cast<double>(unit << 52);
    } else {
        std::frexp(exact, &exponent);
        return static_cast<double>(std::ldexp(std::abs(static_cast<Wide>(found) - exact),
                                              std::numeric_limits<Real>::digits - exponent));
    }
}

// Judges numbers in batches, as terms at one temperature.
template <class Real>
class examination {
public:
    explicit examination(double temperature)
        : scale_(detail::base2_scale_of_any<Real>(temperature)),
          exact_(temperature) {
        detail::dispatch<largest_uncentred, Real>(&scale_, &largest_);
    }

    bool is_reachable(Real x) const { return !(x > largest_); }

    // x as its own maximum, and under one that is above it by `share` of the range of terms.
    void add(Real x, double share) {
        const bool ordered = x >= std::numeric_limits<Real>::lowest();
        const Real lowest = -largest_, own = ordered ? (x > lowest ? x : lowest) : Real(0);
        add_pair(x, own);
        const double above = share * range / exact_.product(1);
        const Real higher = static_cast<Real>(static_cast<double>(own) + above);
        add_pair(x, higher > largest_ ? largest_ : higher);
    }
    void finish() {
        while (size_ != 0) {
            add_pair(Real(0), Real(0));
        }
    }

    double worst = 0, worst_reference = 0;
    Real worst_x = 0, worst_maximum = 0;
    std::size_t normals = 0, outside = 0; // outside: NaN lost, below the range and not small, ...

private:
    static constexpr std::size_t batch = 1024;
    static constexpr double range =
        detail::term_range<Real>::lift + detail::format<Real>::bias + 2; // and a little too far

    void add_pair(Real x, Real maximum) {
        x_[size_] = x;
        maximum_[size_] = maximum;
        if (++size_ == batch) {
            size_ = 0;
            detail::dispatch<terms_of, Real>(static_cast<const Real*>(x_), static_cast<const Real*>(maximum_),
                                             static_cast<Real*>(term_), static_cast<Real*>(reference_), batch,
                                             &scale_);
            for (std::size_t i = 0; i < batch; ++i) {
                judge(x_[i], maximum_[i], term_[i], static_cast<double>(reference_[i]));
            }
        }
    }

    void judge(Real x, Real maximum, Real found, double reference) {
        constexpr Real smallest = (std::numeric_limits<Real>::min)();
        const double off = std::abs(exact_.product(static_cast<double>(maximum)) - reference);
        worst_reference = off > worst_reference ? off : worst_reference;
        if (x != x) {
            outside += static_cast<std::size_t>(found == found);
            return;
        }
        // Far below the range: the oracle's exponent would not be exact, nor does it matter.
        const double e = reference - detail::term_range<Real>::lift;
        const auto exact = exact_.product(static_cast<double>(x)) - e < -range
                               ? decltype(exact_.term(x, e))(0)
                               : exact_.term(x, e);
        if (exact < static_cast<decltype(exact)>(smallest)) {
            outside += static_cast<std::size_t>(!(found >= 0 && found <= smallest));
            return;
        }
        ++normals;
        const double distance = ulps(found, exact);
        if (!(distance <= worst)) {
            worst = distance;
            worst_x = x;
            worst_maximum = maximum;
        }
    }

    detail::base2_scale<Real> scale_;
    Real largest_ = 0;
    exact_scale exact_;
    std::size_t size_ = 0;
    Real x_[batch], maximum_[batch], term_[batch], reference_[batch];
};

// Runs `examine` on every instruction set that the machine has.
template <class Examine>
void on_every_instruction_set(Examine examine) {
    const instruction_set best = detail::use_instruction_set(instruction_set::avx512);
    for (const auto& [set, name] : {std::pair{instruction_set::avx512, "AVX-512"},
                                    {instruction_set::avx2, "AVX2"},
                                    {instruction_set::baseline, "baseline"}}) {
        if (detail::use_instruction_set(set) == set) {
            examine(name);
        }
    }
    detail::use_instruction_set(best);
}

template <class Real>
void report(const examination<Real>& found, const char* set, double temperature) {
    std::printf("%-8s %-9s T = %-5g worst %.4f ulp at x = %a, maximum %a; |max c - N| <= %.4f; %zu normal\n",
                sizeof(Real) == sizeof(float) ? "float" : "double", set, temperature, found.worst,
                static_cast<double>(found.worst_x), static_cast<double>(found.worst_maximum),
                found.worst_reference, found.normals);
    CAPTURE(set, temperature, found.worst_x, found.worst_maximum);
    CHECK(found.worst <= bound);
    CHECK(found.worst_reference <= reference_bound<Real>);
    CHECK(found.outside == 0);
    CHECK(found.normals > 0);
}

constexpr double temperatures[] = {1, 0.7};

// A number in [0, 1) that has nothing to do with the bits it is made from.
double share_of(std::uint64_t bits) {
    bits *= 0x9e3779b97f4a7c15U;
    return static_cast<double>((bits ^ (bits >> 32)) & 0xffffffffU) * 0x1p-32;
}

void examine_floats(std::uint64_t step) {
    for (const double temperature : temperatures) {
        on_every_instruction_set([&](const char* set) {
            const auto start = std::chrono::steady_clock::now();
            examination<float> found(temperature);
            for (std::uint64_t bits = 0; bits < std::uint64_t{1} << 32; bits += step) {
                const float x = std::bit_cast<float>(static_cast<std::uint32_t>(bits));
                if (found.is_reachable(x)) {
                    found.add(x, share_of(bits));
                }
            }
            found.finish();
            report(found, set, temperature);
            if (step == 1) {
                const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
                std::printf("         %.0f s\n", seconds.count());
            }
        });
    }
}

} // namespace

TEST_CASE("exponentials keep their bound under every 1009th float") { examine_floats(1009); }

TEST_CASE("exponentials keep their bound under every float", "[.][all floats]") { examine_floats(1); }

TEST_CASE("exponentials keep their bound under doubles of every exponent that a row can hold") {
    for (const double temperature : temperatures) {
        on_every_instruction_set([&](const char* set) {
            examination<double> found(temperature);
            std::uint64_t state = 1;
            for (int k = 0; k < 100'000; ++k) {
                state = state * 6364136223846793005U + 1442695040888963407U;
                const double fraction = 1 + static_cast<double>(state >> 12) * 0x1p-52;
                // mostly of the size of usual logits, where terms differ most
                const double x =
                    std::ldexp(k % 2 == 0 ? fraction : -fraction, k % 4 < 3 ? k % 13 : k % 106 - 60);
                if (found.is_reachable(x)) {
                    found.add(x, share_of(state));
                }
            }
            for (const double x : {-std::numeric_limits<double>::infinity(),
                                   std::numeric_limits<double>::quiet_NaN(), 0.0, -0.0}) {
                found.add(x, 0.5);
            }
            found.finish();
            report(found, set, temperature);
        });
    }
}
