// One small program for every machine, without Catch2 and Boost, so that it cross-compiles alone and fast: what a machine
// without vectors, with another byte order or another width of pointers may get wrong. The results are judged by the
// promised bounds; where there is fused multiply-add, or SMX_STRICT_BITS stands in for it, their hash is held against one
// number for all machines. same_bits.cpp does that for every length, batch and alignment, and takes minutes.
#include "support/bits.hpp"
#include "support/oracle_double_double.hpp"

#include <softmax.hpp>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <span>
#include <vector>

namespace {

int failures = 0;

// The worst distance from the exact result, in ulp, of one function and type.
struct worst {
    const char* function;
    double bound, found = 0;

    template <class Real, class Wide>
    void add(Real result, const Wide& exact, const Wide& scale) {
        found = (std::max)(found, oracle::ulps_of(result, exact, scale));
    }
};

struct judgement {
    worst softmax{"softmax", 3}, log_softmax{"log_softmax", 3}, logsumexp{"logsumexp", 3}, loss{"loss", 3},
        gradient{"gradient", 4};

    bool report(const char* type) const {
        bool holds = true;
        std::printf("  %-6s", type);
        for (const worst& w : {softmax, log_softmax, logsumexp, loss, gradient}) {
            std::printf("  %s %.3g", w.function, w.found);
            holds = holds && w.found <= w.bound;
        }
        std::printf(" ulp%s\n", holds ? "" : "  FAILED: beyond the bounds");
        return holds;
    }
};

template <class Real>
struct results {
    std::vector<Real> probabilities, log_probabilities, gradient;
    Real logsumexp, loss;
};

template <class Real>
void judge(const std::vector<Real>& x, double temperature, std::size_t target, const results<Real>& found,
           judgement& verdict) {
    using wide = oracle::wide_t<Real>;
    const oracle::row<Real> exact(x, temperature);
    const oracle::target_shares<Real> share(oracle::one_hot(x.size(), target));
    const auto normal = [](const wide& value) {
        using std::abs;
        return abs(value) >= wide((std::numeric_limits<Real>::min)());
    };
    for (std::size_t c = 0; c != x.size(); ++c) {
        const wide p = exact.probability(c), l = exact.log_probability(c), g = exact.gradient(c, share);
        if (normal(p)) {
            verdict.softmax.add(found.probabilities[c], p, p);
        } else if (found.probabilities[c] > (std::numeric_limits<Real>::min)()) {
            std::printf("FAILED: a probability that should be below the normal numbers\n");
            ++failures;
        }
        verdict.log_softmax.add(found.log_probabilities[c], l, l);
        if (normal(g) && normal(c == target ? exact.probability_of_others(c) : p)) {
            verdict.gradient.add(found.gradient[c], g, g);
        }
    }
    verdict.logsumexp.add(found.logsumexp, exact.logsumexp(), exact.logsumexp_scale());
    verdict.loss.add(found.loss, exact.loss(share), exact.loss(share));
}

template <class Real>
std::uint64_t hash_and_judge(judgement& verdict) {
    bits::hash all;
    bits::logits<Real> next;
    std::vector<std::size_t> sizes;
    for (std::size_t n = 1; n <= 36; ++n) {
        sizes.push_back(n);
    }
    sizes.insert(sizes.end(), {47, 60, 63, 64, 65, 87, 127, 129, 257, 1000, 4097, 20011});
    for (const std::size_t n : sizes) {
        for (const double temperature : {1.0, 0.7, 3.0}) {
            std::vector<Real> x(n);
            for (Real& logit : x) {
                logit = next(static_cast<int>(n % 7));
            }
            const std::size_t target = n / 3;
            results<Real> found;
            found.probabilities.resize(n);
            found.log_probabilities.resize(n);
            found.gradient.resize(n);
            smx::softmax(x, found.probabilities, temperature);
            smx::log_softmax(x, found.log_probabilities, temperature);
            found.logsumexp = smx::logsumexp(x, temperature);
            found.loss = smx::cross_entropy(x, target, found.gradient,
                                            smx::cross_entropy_options<Real>{.temperature = temperature});
            if (n <= 300) {
                judge(x, temperature, target, found, verdict);
            }
            all.add(std::span<const Real>(found.probabilities));
            all.add(std::span<const Real>(found.log_probabilities));
            all.add(std::span<const Real>(found.gradient));
            all.add(found.logsumexp);
            all.add(found.loss);
        }
    }
    return all.value();
}

// Probabilities down to the smallest subnormal: flushed to 0 or kept, never large. -inf is no class.
template <class Real>
void check_edges(const char* type) {
    constexpr Real infinity = std::numeric_limits<Real>::infinity();
    std::vector<Real> x(40), p(40);
    for (std::size_t c = 0; c != x.size(); ++c) {
        x[c] = static_cast<Real>(static_cast<double>(c) * -(sizeof(Real) == 4 ? 2.7 : 20));
    }
    x[39] = -infinity;
    smx::softmax(x, p);
    bool falls = p[39] == 0 && p[0] > Real(0.9);
    for (std::size_t c = 1; c != x.size(); ++c) {
        falls = falls && p[c] >= 0 && (p[c] < p[c - 1] || p[c - 1] == 0);
    }
    std::vector<Real> l(3);
    smx::log_softmax(std::vector<Real>{80, 0, -infinity}, l, 2);
    const bool small = l[0] < 0 && l[0] > Real(-1e-17) && l[2] == -infinity;
    smx::softmax(std::vector<Real>{1, infinity, 2}, l, 0.5);
    const bool no_number = std::isnan(l[0]) && std::isnan(l[1]) && std::isnan(l[2]);
    if (!falls || !small || !no_number) {
        std::printf("FAILED: %s: subnormal results, -inf or +inf\n", type);
        ++failures;
    }
}

template <class Real>
void check(const char* type, bool fused, std::uint64_t golden) {
    judgement verdict;
    const std::uint64_t found = hash_and_judge<Real>(verdict);
    failures += verdict.report(type) ? 0 : 1;
    check_edges<Real>(type);
    std::printf("  %-6s  %016llx\n", type, static_cast<unsigned long long>(found));
    if (fused && found != golden) {
        std::printf("FAILED: expected %016llx\n", static_cast<unsigned long long>(golden));
        ++failures;
    }
}

} // namespace

int main() {
    namespace detail = smx::detail;
    using set = detail::instruction_set;
    constexpr std::uint64_t golden_float = 0x73962962aac9069a, golden_double = 0x9eddc760170190da;
    constexpr struct {
        set which;
        const char* name;
    } sets[] = {{set::avx512, "AVX-512"}, {set::avx2, "AVX2"}, {set::baseline, "baseline"}};
    const char* checked = "bounds";
    for (const auto& [which, name] : sets) {
        if (detail::use_instruction_set(which) != which) {
            continue; // not on this machine
        }
        const bool fused = which != set::baseline || detail::is_fused<detail::pack<float, 4>>;
        std::printf("%s: %zu-bit pointers, %s endian, %s\n", name, 8 * sizeof(void*),
                    std::endian::native == std::endian::big ? "big" : "little",
                    fused ? "fused multiply-add" : "no fused multiply-add: the bounds, its own bits");
        checked = fused ? "same bits" : checked;
        check<float>("float", fused, golden_float);
        check<double>("double", fused, golden_double);
    }
    std::printf("%s: %s\n", checked, failures == 0 ? "passed" : "FAILED");
    return failures == 0 ? 0 : 1;
}
