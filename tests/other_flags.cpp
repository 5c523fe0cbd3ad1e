// The promised bounds where the bits are not promised: without fused multiply-add, under -ffast-math, with
// arrays for vectors, on 32 bits. The library is compiled with such flags in other_flags_library.cpp; this
// file, the judge, never is.
#include "other_flags.hpp"

#include "support/accuracy.hpp"

#include <array>
#include <cmath>
#include <cstddef>
#include <limits>
#include <vector>

namespace {

using namespace accuracy;

struct library {
    static bool keeps_bits() { return other_flags::keeps_bits(); }
    template <class Real>
    static void softmax(const std::vector<Real>& x, std::vector<Real>& p, double t) {
        other_flags::softmax(x.data(), x.size(), t, p.data());
    }
    template <class Real>
    static void log_softmax(const std::vector<Real>& x, std::vector<Real>& l, double t) {
        other_flags::log_softmax(x.data(), x.size(), t, l.data());
    }
    template <class Real>
    static Real logsumexp(const std::vector<Real>& x, double t) {
        Real result;
        other_flags::logsumexp(x.data(), x.size(), t, &result);
        return result;
    }
    template <class Real>
    static Real cross_entropy(const std::vector<Real>& x, std::size_t target, double t) {
        Real loss;
        other_flags::cross_entropy<Real>(x.data(), x.size(), t, target, nullptr, &loss);
        return loss;
    }
    template <class Real>
    static Real cross_entropy(const std::vector<Real>& x, std::size_t target, std::vector<Real>& gradient,
                              double t) {
        Real loss;
        other_flags::cross_entropy(x.data(), x.size(), t, target, gradient.data(), &loss);
        return loss;
    }
};

// Every length up to 36, the ends of vectors and of steps after that, and rows of every route.
std::vector<std::size_t> lengths() {
    std::vector<std::size_t> all;
    for (std::size_t n = 1; n <= 36; ++n) {
        all.push_back(n);
    }
    all.insert(all.end(), {47, 60, 63, 64, 65, 87, 127, 129, 257, 1000});
    return all;
}

template <class F>
void on_every_instruction_set_of_the_library(F f) {
    const int best = other_flags::use_instruction_set(2);
    for (int set = best; set >= 0; --set) {
        if (other_flags::use_instruction_set(set) != set) {
            continue; // pinned
        }
        CAPTURE(set);
        f();
    }
    other_flags::use_instruction_set(best);
}

} // namespace

TEMPLATE_TEST_CASE("softmax, log_softmax, logsumexp and cross_entropy keep their bounds under other flags",
                   "", float, double) {
    using real = TestType;
    on_every_instruction_set_of_the_library([&] {
        for (const auto& from : distributions<real>()) {
            const auto at = temperatures<real>(from.name);
            for (const auto t : at) {
                for (const std::size_t n : lengths()) {
                    examine<library, real>(from, n, t);
                }
            }
            examine<library, real>(from, 20011, at[3]);
        }
    });
}

TEST_CASE("masked_softmax without a sink keeps to softmax under other flags") {
    const float two_bounds = 6 * std::numeric_limits<float>::epsilon();
    std::array<bool, 1000> mask;
    mask.fill(true);
    on_every_instruction_set_of_the_library([&] {
        for (const std::size_t n : lengths()) {
            CAPTURE(n);
            const std::vector<float> x = logits_of(distributions<float>()[0], n);
            std::vector<float> p(n), masked(n);
            other_flags::softmax(x.data(), n, 0.7, p.data());
            other_flags::masked_softmax(x.data(), mask.data(), n, 0.7, masked.data());
            for (std::size_t c = 0; c != n; ++c) {
                CHECK(std::abs(masked[c] - p[c]) <= two_bounds * p[c]);
            }
        }
    });
}

TEST_CASE("masked_log_softmax with a bias keeps its bound under other flags") {
    constexpr float bound = 3 * std::numeric_limits<float>::epsilon();
    on_every_instruction_set_of_the_library([&] {
        for (const std::size_t n : lengths()) {
            CAPTURE(n);
            const std::vector<float> x = logits_of(distributions<float>()[0], n);
            std::vector<float> bias(x.rbegin(), x.rend()), found(n);
            std::vector<double> sum(n), expected(n);
            for (std::size_t c = 0; c != n; ++c) {
                bias[c] *= 3;
                sum[c] = static_cast<double>(x[c]) / 0.7 + static_cast<double>(bias[c]);
            }
            other_flags::log_softmax(sum.data(), n, 1, expected.data());
            other_flags::masked_log_softmax(x.data(), bias.data(), n, 0.7, found.data());
            for (std::size_t c = 0; c != n; ++c) {
                const auto exact = static_cast<float>(expected[c]);
                CHECK(std::abs(found[c] - exact) <= bound * std::abs(exact));
            }
        }
    });
}
