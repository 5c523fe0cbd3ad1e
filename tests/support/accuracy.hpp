// Rows to judge a softmax by, and the judgement: distributions, temperatures, the promised bounds, and the
// worst error found of every function, printed when the program ends, green or not. Whose functions are
// judged is a parameter: those of this translation unit, or some that were compiled with other flags.
#ifndef SMX_TESTS_SUPPORT_ACCURACY_HPP
#define SMX_TESTS_SUPPORT_ACCURACY_HPP

#include "support/catch.hpp"
#include "support/oracle_multiprecision.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <map>
#include <numbers>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace accuracy {

// The promised bounds, in ulp; of the sum of a row, in epsilon.
inline constexpr double softmax_bound = 3;
inline constexpr double log_softmax_bound = 3;
inline constexpr double logsumexp_bound = 3; // of the larger of |max / T| and log(sum)
inline constexpr double loss_bound = 3;
inline constexpr double gradient_bound =
    4; // of the largest term where terms of both signs meet, of the value elsewhere
inline constexpr double sum_bound = 4;
// The gradient of z lse^2 is a product of lse and p, which come with 3 ulp each.
inline constexpr double z_gradient_bound = 8;

static_assert(!oracle::is_wider<double, double> && !oracle::is_wider<long double, long double>);
static_assert(oracle::is_wider<oracle::wide_t<float>, float> &&
              oracle::is_wider<oracle::wide_t<double>, double>);

template <class Real>
inline constexpr const char* name_of = std::is_same_v<Real, float>    ? "float"
                                       : std::is_same_v<Real, double> ? "double"
                                                                      : "long double";

// The worst found so far, by function and element type; printed when the program ends.
class worst_table {
public:
    struct entry {
        double worst = 0, bound = 0;
        std::string where;
    };

    void note(const std::string& function, const char* type, double found, double bound,
              const std::string& where) {
        entry& e = entries_[{function, type}];
        e.bound = bound;
        if (found > e.worst || e.where.empty()) {
            e.worst = found;
            e.where = where;
        }
    }

    ~worst_table() {
        if (entries_.empty()) {
            return;
        }
        std::printf("%-42s %-12s %9s %6s  %s\n", "worst error, in ulp", "type", "found", "bound", "where");
        for (const auto& [key, e] : entries_) {
            std::printf("%-42s %-12s %9.3g %6g  %s\n", key.first.c_str(), key.second.c_str(), e.worst,
                        e.bound, e.where.c_str());
        }
    }

private:
    std::map<std::pair<std::string, std::string>, entry> entries_;
};

inline worst_table table;

// splitmix64 and Box-Muller: the same numbers with every standard library.
class random_numbers {
public:
    explicit random_numbers(std::uint64_t seed) : state_(seed) {}
    std::uint64_t bits() {
        std::uint64_t z = (state_ += 0x9e3779b97f4a7c15U);
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
        return z ^ (z >> 31);
    }
    double uniform() { return static_cast<double>(bits() >> 11) * 0x1p-53; }
    std::size_t below(std::size_t n) { return static_cast<std::size_t>(bits() % n); }
    double normal() {
        const double radius = std::sqrt(-2 * std::log(1 - uniform()));
        return radius * std::cos(2 * std::numbers::pi * uniform());
    }

private:
    std::uint64_t state_;
};

template <class Real>
struct distribution {
    const char* name;
    Real (*entry)(std::size_t c, std::size_t n, random_numbers& random);
};

// Entries near `center`, a few units in its last place apart: differences of logits are exact, x / T is not.
template <class Real>
Real near(Real center, random_numbers& random) {
    return center + static_cast<Real>(static_cast<int>(random.below(9)) - 4) *
                        (std::nextafter(center, Real(0)) - center);
}

template <class Real>
const std::vector<distribution<Real>>& distributions() {
    using at = std::size_t;
    static const std::vector<distribution<Real>> all = {
        {"N(0, 1)", [](at, at, random_numbers& r) { return static_cast<Real>(r.normal()); }},
        {"N(0, 30)", [](at, at, random_numbers& r) { return static_cast<Real>(30 * r.normal()); }},
        {"{80, 0, 0, ...}", [](at c, at, random_numbers&) { return static_cast<Real>(c == 0 ? 80 : 0); }},
        {"one at 20 above N(0, 1)",
         [](at c, at n, random_numbers& r) { return static_cast<Real>((c == n / 2 ? 20 : 0) + r.normal()); }},
        {"one at -40, others near -75",
         [](at c, at n, random_numbers& r) {
             return static_cast<Real>(c + 1 == n ? -40 : -75 + r.uniform());
         }},
        {"equal", [](at, at, random_numbers&) { return static_cast<Real>(-2.7); }},
        {"three levels",
         [](at, at, random_numbers& r) { return static_cast<Real>(0.7) * static_cast<Real>(r.below(3)); }},
        {"a ramp",
         [](at c, at, random_numbers&) { return static_cast<Real>(static_cast<double>(c) / 16 - 3); }},
        {"near 1e4", [](at, at, random_numbers& r) { return static_cast<Real>(1e4 + r.normal()); }},
        {"near -1e4", [](at, at, random_numbers& r) { return static_cast<Real>(-1e4 + r.normal()); }},
        {"near 1e30", [](at, at, random_numbers& r) { return near(static_cast<Real>(1e30), r); }},
        {"near -1e30", [](at, at, random_numbers& r) { return near(static_cast<Real>(-1e30), r); }},
    };
    return all;
}

template <class Real>
std::vector<Real> logits_of(const distribution<Real>& from, std::size_t n) {
    random_numbers random(0x5eed + n);
    std::vector<Real> x;
    for (std::size_t c = 0; c != n; ++c) {
        x.push_back(from.entry(c, n, random));
    }
    return x;
}

// As the interface takes it: double for float and double. The third-bit ends make x / T inexact.
template <class Real>
using temperature_of = std::conditional_t<std::is_same_v<Real, float>, double, Real>;

template <class Real>
std::vector<temperature_of<Real>> temperatures(const std::string& distribution_name) {
    using t = temperature_of<Real>;
    std::vector<t> all = {t(1) / 1000, t(1) / 100, t(3) / 10, t(7) / 10, 1, t(17) / 10, 100};
    if (distribution_name.find("1e30") != std::string::npos) {
        // Where neighbours of 1e30 differ by about 1.
        const Real unit = static_cast<Real>(1e30) - std::nextafter(static_cast<Real>(1e30), Real(0));
        all.push_back(static_cast<t>(unit) * 7 / 10);
        all.push_back(static_cast<t>(unit) / 9);
    }
    return all;
}

// Keeps the worst of one function over one row; reports it once.
template <class Real>
class verdict {
public:
    verdict(std::string function, double bound, std::string where)
        : function_(std::move(function)),
          bound_(bound),
          where_(std::move(where)) {}

    template <class Wide>
    void add(Real result, const Wide& exact, std::size_t c) {
        add(result, exact, exact, c);
    }
    template <class Wide>
    void add(Real result, const Wide& exact, const Wide& scale, std::size_t c) {
        const double found = oracle::ulps_of(result, exact, scale);
        if (text_.empty() || found > worst_) {
            worst_ = found;
            text_ = "entry " + std::to_string(c);
            if (found > bound_) {
                text_ += ": " + oracle::describe(result, exact, found);
            }
        }
    }
    ~verdict() {
        if (!text_.empty()) {
            table.note(function_, name_of<Real>, worst_, bound_, where_);
        }
    }
    void check() const {
        if (worst_ > bound_) {
            CAPTURE(function_, name_of<Real>, where_, text_, worst_, bound_);
            CHECK(worst_ <= bound_);
        }
    }

private:
    std::string function_;
    double bound_;
    std::string where_, text_;
    double worst_ = 0;
};

template <class Real>
constexpr bool is_normal_magnitude(const oracle::wide_t<Real>& exact) {
    return exact >= (std::numeric_limits<Real>::min)() || -exact >= (std::numeric_limits<Real>::min)();
}

// Probabilities: in [0, 1], bound where they are normal, 0 or subnormal elsewhere, their sum, equal bits of
// equal logits.
template <class Subject, class Real>
void check_softmax(const std::vector<Real>& x, const std::vector<Real>& p, const oracle::row<Real>& exact,
                   const std::string& where) {
    using wide = oracle::wide_t<Real>;
    constexpr Real smallest = (std::numeric_limits<Real>::min)();
    verdict<Real> found("softmax", softmax_bound, where),
        sum("softmax, |sum - 1| in epsilon", sum_bound, where);
    wide total = 0;
    std::map<Real, Real> seen;
    std::size_t outside = 0, above_normal = 0, unequal = 0;
    for (std::size_t c = 0; c != x.size(); ++c) {
        const wide probability = exact.probability(c);
        outside += static_cast<std::size_t>(!(p[c] >= 0 && p[c] <= 1));
        total += p[c];
        if (is_normal_magnitude<Real>(probability)) {
            found.add(p[c], probability, c);
        } else {
            above_normal += static_cast<std::size_t>(p[c] > smallest);
        }
        if (Subject::keeps_bits() && x.size() <= 1000) {
            unequal += static_cast<std::size_t>(seen.emplace(x[c], p[c]).first->second != p[c]);
        }
    }
    sum.add(Real(1), total, wide(1), 0);
    sum.check();
    found.check();
    if (outside != 0 || above_normal != 0 || unequal != 0) {
        CAPTURE(where, name_of<Real>, outside, above_normal, unequal);
        CHECK((outside == 0 && above_normal == 0 && unequal == 0));
    }
}

template <class Subject, class Real>
void check_log_softmax(const std::vector<Real>& x, const std::vector<Real>& l, const oracle::row<Real>& exact,
                       const std::string& where) {
    verdict<Real> found("log_softmax", log_softmax_bound, where);
    std::map<Real, Real> seen;
    std::size_t unequal = 0, positive = 0;
    for (std::size_t c = 0; c != x.size(); ++c) {
        found.add(l[c], exact.log_probability(c), c);
        positive += static_cast<std::size_t>(!(l[c] <= 0));
        if (Subject::keeps_bits() && x.size() <= 1000) {
            unequal += static_cast<std::size_t>(seen.emplace(x[c], l[c]).first->second != l[c]);
        }
    }
    found.check();
    if (unequal != 0 || positive != 0) {
        CAPTURE(where, name_of<Real>, unequal, positive);
        CHECK((unequal == 0 && positive == 0));
    }
}

// The largest entry, the last and one in between.
inline std::vector<std::size_t> targets_of(std::size_t n, std::size_t top) {
    std::vector<std::size_t> targets = {top, n - 1, n / 3};
    std::sort(targets.begin(), targets.end());
    targets.erase(std::unique(targets.begin(), targets.end()), targets.end());
    return targets;
}

template <class Subject, class Real>
void check_cross_entropy(const std::vector<Real>& x, temperature_of<Real> t, const oracle::row<Real>& exact,
                         const std::string& where) {
    verdict<Real> loss("cross_entropy, index", loss_bound, where);
    verdict<Real> gradient("gradient, index", gradient_bound, where);
    std::vector<Real> g(x.size());
    for (const std::size_t target : targets_of(x.size(), exact.top())) {
        const oracle::target_shares<Real> share(oracle::one_hot(x.size(), target));
        const Real alone = Subject::cross_entropy(x, target, t);
        const Real both = Subject::cross_entropy(x, target, g, t);
        loss.add(alone, exact.loss(share), target);
        if (Subject::keeps_bits()) {
            CHECK(alone == both);
        }
        for (std::size_t c = 0; c != x.size(); ++c) {
            const auto value = exact.gradient(c, share);
            const auto probability = c == target ? exact.probability_of_others(c) : exact.probability(c);
            if (is_normal_magnitude<Real>(value) && is_normal_magnitude<Real>(probability)) {
                gradient.add(g[c], value, c);
            }
        }
    }
    loss.check();
    gradient.check();
}

// One row under all functions of Subject: softmax(x, out, t), log_softmax(x, out, t), logsumexp(x, t),
// cross_entropy(x, target, [gradient,] t) of vectors; keeps_bits(): equal logits have equal
// results, and the loss is the same with and without gradient.
template <class Subject, class Real>
void examine(const distribution<Real>& from, std::size_t n, temperature_of<Real> t) {
    const std::vector<Real> x = logits_of(from, n);
    char number[32];
    std::snprintf(number, sizeof number, "%.3g", static_cast<double>(t));
    const std::string where = std::string(from.name) + ", " + std::to_string(n) + " classes, T = " + number;
    const oracle::row<Real> exact(x, t);
    std::vector<Real> out(n);
    Subject::softmax(x, out, t);
    check_softmax<Subject>(x, out, exact, where);
    Subject::log_softmax(x, out, t);
    check_log_softmax<Subject>(x, out, exact, where);
    verdict<Real> sum("logsumexp", logsumexp_bound, where);
    sum.add(Subject::logsumexp(x, t), exact.logsumexp(), exact.logsumexp_scale(), 0);
    sum.check();
    check_cross_entropy<Subject>(x, t, exact, where);
}

} // namespace accuracy

#endif
