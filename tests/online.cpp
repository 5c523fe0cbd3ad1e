// online_normalizer: its bounds whatever the order and grouping of pushes and merges, against an oracle wider than the result, on
// every instruction set of the machine; many pushes and many states; special values; constant expressions and user types.
#include <softmax.hpp>

#include "support/accuracy.hpp"
#include "support/instruction_sets.hpp"
#include "support/sanitizers.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <functional>
#include <initializer_list>
#include <limits>
#include <list>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

namespace {

using namespace accuracy;
using big = boost::multiprecision::number<boost::multiprecision::cpp_bin_float<50>>;

static_assert(std::is_trivially_copyable_v<smx::online_normalizer<float>>);
static_assert(std::is_trivially_copyable_v<smx::online_normalizer<double>>);
static_assert(sizeof(smx::online_normalizer<float>) <= 24 && sizeof(smx::online_normalizer<double>) <= 40);

template <class Real>
using normalizer = smx::online_normalizer<Real>;

// Ways to push a row.
template <class Real>
struct grouping {
    const char* name;
    normalizer<Real> (*of)(std::vector<Real> row, temperature_of<Real> t, random_numbers& random);
};

template <class Real>
normalizer<Real> one_by_one(const std::vector<Real>& row, temperature_of<Real> t) {
    normalizer<Real> all(t);
    for (const Real x : row) {
        all.push(x);
    }
    return all;
}

// Pieces of random length, some of them empty, some pushed value by value: merged in a random tree.
template <class Real>
normalizer<Real> tree(std::vector<Real> row, temperature_of<Real> t, random_numbers& random) {
    for (std::size_t i = row.size(); i > 1; --i) {
        std::swap(row[i - 1], row[random.below(i)]);
    }
    std::vector<normalizer<Real>> states;
    for (std::size_t i = 0; i < row.size();) {
        const std::size_t most = std::size_t{1} << random.below(8);
        const std::size_t n = std::min(row.size() - i, random.below(most + 1));
        normalizer<Real> state(t);
        const auto piece = std::span(row).subspan(i, n);
        if (random.below(3) == 0) {
            for (const Real x : piece) {
                state.push(x);
            }
        } else {
            state.push(piece);
        }
        states.push_back(state);
        i += n;
    }
    while (states.size() > 1) {
        const std::size_t a = random.below(states.size() - 1);
        states[a].merge(states.back());
        states.pop_back();
    }
    return states.empty() ? normalizer<Real>(t) : states[0];
}

template <class Real>
const std::vector<grouping<Real>>& groupings() {
    using row = std::vector<Real>;
    using temperature = temperature_of<Real>;
    static const std::vector<grouping<Real>> all = {
        {"one range",
         [](row x, temperature t, random_numbers&) {
             normalizer<Real> state(t);
             state.push(x);
             return state;
         }},
        {"one by one", [](row x, temperature t, random_numbers&) { return one_by_one(x, t); }},
        {"ascending, one by one",
         [](row x, temperature t, random_numbers&) {
             std::sort(x.begin(), x.end());
             return one_by_one(x, t);
         }},
        {"descending, one by one",
         [](row x, temperature t, random_numbers&) {
             std::sort(x.begin(), x.end(), std::greater<>());
             return one_by_one(x, t);
         }},
        {"a list", // of elements that are not neighbours
         [](row x, temperature t, random_numbers&) {
             normalizer<Real> state(t);
             state.push(std::list<Real>(x.begin(), x.end()));
             return state;
         }},
        {"ascending, in ranges of 5",
         [](row x, temperature t, random_numbers&) {
             std::sort(x.begin(), x.end());
             normalizer<Real> state(t);
             for (std::size_t i = 0; i < x.size(); i += 5) {
                 state.push(std::span(x).subspan(i, std::min<std::size_t>(5, x.size() - i)));
             }
             return state;
         }},
        {"a random tree", tree<Real>},
        {"another random tree", tree<Real>},
    };
    return all;
}

// Rows across the ends of what the kernels do with integer references, with and without fused multiply-add.
template <class Real>
std::vector<distribution<Real>> rows_to_judge() {
    using at = std::size_t;
    std::vector<distribution<Real>> all = distributions<Real>();
    all.push_back({"across 2^9 log(2)", [](at, at, random_numbers& r) {
                       return static_cast<Real>((r.below(2) == 0 ? -1 : 1) * 354.891356446692 + r.normal());
                   }});
    all.push_back({"across 2^12 log(2)", [](at, at, random_numbers& r) {
                       return static_cast<Real>((r.below(2) == 0 ? -1 : 1) * 2839.130851573536 + r.normal());
                   }});
    all.push_back({"across -2^12 log(2)", [](at, at, random_numbers& r) {
                       return static_cast<Real>(-2839.130851573536 + 3 * r.normal());
                   }});
    all.push_back({"across 2^20 log(2)", [](at, at, random_numbers& r) {
                       return static_cast<Real>(726817.4980028252 + 3 * r.normal());
                   }});
    all.push_back({"across -2^20 log(2)", [](at, at, random_numbers& r) {
                       return static_cast<Real>(-726817.4980028252 + 3 * r.normal());
                   }});
    all.push_back({"across 2^45 log(2)", [](at, at, random_numbers& r) {
                       return static_cast<Real>(24388055163065.996 + 3 * r.normal());
                   }});
    all.push_back({"-inf but for a few", [](at c, at n, random_numbers& r) {
                       return c % 5 == (n - 1) % 5 ? static_cast<Real>(r.normal())
                                                   : -std::numeric_limits<Real>::infinity();
                   }});
    return all;
}

template <class Real>
void examine_grouping(const std::vector<Real>& x, const oracle::row<Real>& exact, temperature_of<Real> t,
                      const grouping<Real>& how, const std::string& where) {
    random_numbers random(x.size());
    const normalizer<Real> state = how.of(x, t, random);
    verdict<Real> sum("online_normalizer::logsumexp", logsumexp_bound, where),
        probability("online_normalizer::normalize", softmax_bound, where);
    sum.add(state.logsumexp(), exact.logsumexp(), exact.logsumexp_scale(), 0);
    std::vector<Real> p(x.size());
    state.normalize(x, p);
    std::size_t outside = 0;
    for (std::size_t c = 0; c != x.size(); ++c) {
        outside += p[c] >= 0 && p[c] <= 1 ? 0U : 1U;
        if (is_normal_magnitude<Real>(exact.probability(c))) {
            probability.add(p[c], exact.probability(c), c);
        } else {
            outside += p[c] <= (std::numeric_limits<Real>::min)() ? 0U : 1U;
        }
    }
    sum.check();
    probability.check();
    if (outside != 0) {
        CAPTURE(where, outside);
        CHECK(outside == 0);
    }
}

template <class Real>
constexpr std::array<Real, 4> four_logits = {2, 4, Real(-0.5), -std::numeric_limits<Real>::infinity()};

// Those and 6, in constant expressions too.
template <class Real>
constexpr normalizer<Real> in_pieces(temperature_of<Real> t) {
    normalizer<Real> state(t), other(t);
    state.push(std::span(four_logits<Real>).first(2));
    state.push(Real(6));
    other.push(std::span(four_logits<Real>).subspan(2));
    state.merge(other);
    return state;
}

template <class Real>
constexpr bool close(Real a, Real b) {
    const Real error = a / b - 1, most = 4 * std::numeric_limits<Real>::epsilon();
    return error < most && -error < most;
}

template <class Real>
bool same(Real a, Real b) {
    return a == b || (std::isnan(a) && std::isnan(b));
}

} // namespace

TEMPLATE_TEST_CASE("online_normalizer keeps its bounds under every order and grouping", "", float, double,
                   long double) {
    using real = TestType;
    const auto sizes = is_sanitized
                           ? std::vector<std::size_t>{1, 3, 33}
                           : std::vector<std::size_t>{1, 2, 3, 5, 8, 15, 16, 17, 31, 64, 100, 300, 1000};
    const auto check_all = [&] {
        for (const auto& from : rows_to_judge<real>()) {
            for (const temperature_of<real> t : temperatures<real>(from.name)) {
                for (const std::size_t n : sizes) {
                    const std::vector<real> x = logits_of(from, n);
                    const oracle::row<real> exact(x, t);
                    for (const auto& how : groupings<real>()) {
                        if (n <= 100 || (t < 1 && t > temperature_of<real>(0.5))) {
                            examine_grouping(x, exact, t, how,
                                             std::string(from.name) + ", " + how.name + ", " +
                                                 std::to_string(n) +
                                                 " logits, T = " + std::to_string(static_cast<double>(t)));
                        }
                    }
                }
            }
        }
    };
    std::is_same_v<real, long double> ? check_all() : on_every_instruction_set(check_all);
}

TEMPLATE_TEST_CASE("online_normalizer keeps its bounds under long ranges", "", float, double) {
    using real = TestType;
    for (const std::size_t n : {std::size_t(5000), std::size_t(200003), std::size_t(1100000)}) {
        if (is_sanitized && n > 5000) {
            continue;
        }
        for (const std::size_t kind : {0U, 1U, 3U, 6U}) {
            const auto& from = distributions<real>()[kind];
            const std::vector<real> x = logits_of(from, n);
            const oracle::row<real> exact(x, 0.7);
            for (const std::size_t how : {0U, 6U}) {
                if (how == 0 || n < 1000000) {
                    examine_grouping<real>(x, exact, 0.7, groupings<real>()[how],
                                           std::string(from.name) + ", " + groupings<real>()[how].name +
                                               ", " + std::to_string(n) + " logits");
                }
            }
        }
    }
}

TEMPLATE_TEST_CASE("online_normalizer keeps its bounds under 2^24 values pushed one by one", "", float,
                   double) {
    using real = TestType;
    using wide = oracle::wide_t<real>;
    using std::exp;
    const std::size_t n = std::size_t{1} << (is_sanitized ? 16 : 24);
    const auto judge = [](real found, const wide& log_sum, const wide& top, const char* where) {
        using std::abs;
        verdict<real> sum("online_normalizer::logsumexp, 2^24 values", logsumexp_bound, where);
        sum.add(found, wide(top + log_sum), abs(top) > log_sum ? wide(abs(top)) : log_sum, 0);
        sum.check();
    };
    // Each a maximum: the sum is carried 2^24 times. A geometric series.
    const real step = static_cast<real>(0x1p-10);
    const temperature_of<real> t = 0.7;
    normalizer<real> ramp(t), levels(1), merged(t);
    for (std::size_t i = 0; i != n; ++i) {
        ramp.push(static_cast<real>(i) * step);
        if (i % 64 == 0) {
            merged.merge(ramp);
            ramp = normalizer<real>(t);
        }
    }
    merged.merge(ramp);
    ramp = normalizer<real>(t);
    for (std::size_t i = 0; i != n; ++i) {
        ramp.push(static_cast<real>(i) * step);
    }
    using std::log;
    const wide ratio = exp(wide(-wide(step) / wide(t))), length = exp(wide(-wide(step) * wide(n) / wide(t)));
    const wide top = wide(step) * wide(n - 1) / wide(t), log_sum = log(wide((1 - length) / (1 - ratio)));
    judge(ramp.logsumexp(), log_sum, top, "a ramp, each value a maximum");
    judge(merged.logsumexp(), log_sum, top, "a ramp, 2^18 states");
    // Seven levels in turn: the sum of each is known.
    wide total = 0;
    for (std::size_t i = 0; i != n; ++i) {
        levels.push(static_cast<real>(i % 7) * static_cast<real>(0.3) - 2);
    }
    for (std::size_t k = 0; k != 7; ++k) {
        const real level = static_cast<real>(k) * static_cast<real>(0.3) - 2;
        const real highest = 6 * static_cast<real>(0.3) - 2;
        total += wide(n / 7 + (k < n % 7 ? 1 : 0)) * exp(wide(wide(level) - wide(highest)));
    }
    judge(levels.logsumexp(), log(total), wide(6 * static_cast<real>(0.3) - 2), "seven levels in turn");
}

TEMPLATE_TEST_CASE("online_normalizer gives the share of a part under any two of its states", "", float,
                   double, long double) {
    using real = TestType;
    const auto check = [] {
        for (const auto& from : rows_to_judge<real>()) {
            for (const temperature_of<real> t : temperatures<real>(from.name)) {
                const std::vector<real> x = logits_of(from, 90);
                const oracle::row<real> exact(x, t);
                normalizer<real> all(t), first(t), second(t);
                first.push(std::span(x).first(20));
                second.push(std::span(x).subspan(20));
                all.merge(second);
                all.merge(first);
                oracle::wide_t<real> share = 0;
                for (std::size_t c = 0; c != 20; ++c) {
                    share += exact.probability(c);
                }
                verdict<real> found("online_normalizer::probability of a part", softmax_bound, from.name);
                if (is_normal_magnitude<real>(share)) {
                    found.add(all.probability(first), share, 0);
                    found.check();
                    // The other way round: above 1.
                    const oracle::wide_t<real> inverse = 1 / share;
                    if (inverse < oracle::wide_t<real>((std::numeric_limits<real>::max)())) {
                        found.add(first.probability(all), inverse, 1);
                        found.check();
                    }
                }
                found.add(all.probability(all), oracle::wide_t<real>(1), 2);
                found.check();
                CHECK(all.probability(normalizer<real>(t)) == 0);
            }
        }
    };
    std::is_same_v<real, long double> ? check() : on_every_instruction_set(check);
}

TEMPLATE_TEST_CASE("online_normalizer gives a probability above 1 under a logit that was not pushed", "",
                   float, double, long double) {
    using real = TestType;
    const auto check = [] {
        for (const real x : {real(0.5), real(7), real(60), real(2e6)}) {
            normalizer<real> state(2);
            state.push(real(-1));
            state.push(real(0.25));
            using wide = oracle::wide_t<real>;
            using std::exp;
            const wide exact = exp(wide(wide(x) / 2)) / (exp(wide(-0.5)) + exp(wide(0.125)));
            if (x < 1000) {
                verdict<real> found("online_normalizer::probability above 1", softmax_bound, "");
                found.add(state.probability(x), exact, 0);
                found.check();
            } else if (!std::is_same_v<real, long double>) {
                CHECK(state.probability(x) == std::numeric_limits<real>::infinity());
            }
            // In a row, in place, beside some that were.
            std::vector<real> row(37, real(0.25)), p(37);
            row[20] = x;
            state.normalize(row, row);
            CHECK(row[20] == state.probability(x));
            CHECK(row[3] == state.probability(real(0.25)));
        }
    };
    std::is_same_v<real, long double> ? check() : on_every_instruction_set(check);
}

TEMPLATE_TEST_CASE("online_normalizer follows the table of special values under every order", "", float,
                   double, long double) {
    using real = TestType;
    const real inf = std::numeric_limits<real>::infinity(), nan = std::numeric_limits<real>::quiet_NaN();
    struct expectation {
        std::vector<real> row;
        real logsumexp, probability; // of 1, which is in each row that gives it one
    };
    const real one_of_two = static_cast<real>(0.5);
    const real two = 1 / real(2) + std::log(real(2)); // logsumexp of {1, 1} at T = 2
    const std::vector<expectation> all = {
        {{}, -inf, nan},
        {{-inf}, -inf, nan},
        {{-inf, -inf, -inf}, -inf, nan},
        {{-inf, -inf, 1, 1}, two, one_of_two}, // a leading block of -inf is no NaN
        {{1, 1, -inf}, two, one_of_two},
        {{1, inf, 1}, inf, nan},
        {{inf, inf}, inf, nan},
        {{-inf, inf, 2}, inf, nan},
        {{1, nan, 1}, nan, nan},
        {{nan}, nan, nan},
        {{inf, nan, 1}, nan, nan},
        {{nan, inf, -inf}, nan, nan},
    };
    const auto check = [&] {
        for (const auto& expected : all) {
            // Padded by -inf to a kernel's size, too.
            for (const std::size_t padding : {0U, 40U}) {
                std::vector<real> row = expected.row;
                row.insert(row.begin() + static_cast<std::ptrdiff_t>(row.size() / 2), padding, -inf);
                for (const auto& how : groupings<real>()) {
                    random_numbers random(7);
                    if (std::string(how.name).find("cending") != std::string::npos) {
                        continue; // NaN cannot be sorted
                    }
                    const auto state = how.of(row, 2, random);
                    CAPTURE(expected.row, padding, how.name, state.logsumexp(), state.probability(real(1)));
                    if (std::isfinite(expected.logsumexp)) {
                        CHECK(std::abs(state.logsumexp() - two) <= 2 * std::numeric_limits<real>::epsilon());
                        CHECK(state.probability(-inf) == 0);
                        CHECK(state.probability(inf) == inf);
                    } else {
                        CHECK(same(state.logsumexp(), expected.logsumexp));
                        CHECK(std::isnan(state.probability(-inf)));
                    }
                    CHECK(same(state.probability(real(1)), expected.probability));
                    CHECK(std::isnan(state.probability(nan)));
                    std::vector<real> p(row.size());
                    state.normalize(row, p);
                    for (std::size_t c = 0; c != row.size(); ++c) {
                        CHECK(same(p[c], state.probability(row[c])));
                    }
                }
            }
        }
        // T = infinity counts.
        const auto at_infinity = std::numeric_limits<temperature_of<real>>::infinity();
        for (const auto& how : groupings<real>()) {
            random_numbers random(3);
            const auto state = how.of({-inf, 3, -2, 0, -inf, 800, 800, -1e6, -inf}, at_infinity, random);
            CHECK(std::abs(state.logsumexp() - std::log(real(6))) <= std::numeric_limits<real>::epsilon());
            CHECK(state.probability(real(3)) == 1 / real(6));
            CHECK(state.probability(-inf) == 0);
        }
        // Extreme temperatures, at which x / T is usual or none.
        for (const double t : {0x1p-100, 0x1p100}) {
            const real unit = static_cast<real>(t);
            normalizer<real> state(t);
            state.push(3 * unit);
            state.push(std::vector<real>{unit, 3 * unit, -500 * unit});
            const real exact = static_cast<real>(3 + std::log(2 + std::exp(-2.0L)));
            CHECK(std::abs(state.logsumexp() - exact) <= 2 * exact * std::numeric_limits<real>::epsilon());
        }
    };
    std::is_same_v<real, long double> ? check() : on_every_instruction_set(check);
}

TEMPLATE_TEST_CASE("online_normalizer does the same under constant evaluation, and goes on at run time", "",
                   float, double, long double) {
    using real = TestType;
    constexpr normalizer<real> made = in_pieces<real>(2);
    constexpr auto& first = four_logits<real>;
    static_assert(close(made.logsumexp(), made.logsumexp()));
    static_assert(close(made.probability(real(6)) + made.probability(real(4)) + made.probability(real(2)) +
                            made.probability(real(-0.5)),
                        real(1)));
    constexpr auto normalized = [](const normalizer<real>& state) {
        std::array<real, 4> p{};
        state.normalize(four_logits<real>, p);
        return p;
    }(made);
    static_assert(normalized[3] == 0 && normalized[0] == made.probability(real(2)));
    on_every_instruction_set([&] {
        auto again = in_pieces<real>(2);
        CHECK(close(again.logsumexp(), made.logsumexp()));
        auto going_on = made;
        going_on.push(real(7));
        again.push(real(7));
        CHECK(close(going_on.logsumexp(), again.logsumexp()));
        going_on.push(first);
        again.push(first);
        CHECK(close(going_on.logsumexp(), again.logsumexp()));
        again.merge(made);
        going_on.merge(made);
        CHECK(close(going_on.logsumexp(), again.logsumexp()));
        for (const real x : first) {
            CHECK((x < -1000 || close(made.probability(x), in_pieces<real>(2).probability(x))));
        }
    });
}

TEST_CASE("online_normalizer is what its bytes are under a copy, also of states of other machines") {
    using smx::detail::instruction_set;
    on_every_instruction_set([] {
        normalizer<float> state(0.7), copy(3);
        state.push(std::vector<float>{1.5F, -2, 8, 0.25F});
        std::memcpy(static_cast<void*>(&copy), &state, sizeof state);
        CHECK(copy.logsumexp() == state.logsumexp());
        CHECK(copy.temperature() == 0.7);
    });
    // Made with and without fused multiply-add: N may differ where x c is nearly halfway between two integers.
    std::vector<normalizer<double>> states;
    std::vector<double> all;
    on_every_instruction_set([&] {
        for (int k = 0; k != 4000; ++k) {
            const double x = std::log(2.0) * (k + 1.0) * (1 + (k % 5 - 2) * 0x1p-52);
            normalizer<double> state;
            state.push(x);
            state.push(x - 1.25);
            states.push_back(state);
            all.insert(all.end(), {x, x - 1.25});
        }
    });
    const oracle::row<double> exact(all, 1);
    on_every_instruction_set([&] {
        normalizer<double> sum;
        for (const auto& state : states) {
            sum.merge(state);
        }
        verdict<double> found("online_normalizer::logsumexp", logsumexp_bound, "states of several machines");
        found.add(sum.logsumexp(), exact.logsumexp(), exact.logsumexp_scale(), 0);
        found.check();
    });
}

TEST_CASE("online_normalizer keeps the digits of user types, and their temperatures") {
    const big t("0.3");
    smx::online_normalizer<big> all(t), first(t);
    const std::vector<big> x = {big("1.1"), big("-0.3"), big("2.7"), big("0.123456789"), big("-4")};
    first.push(std::list<big>(x.begin(), x.begin() + 2));
    all.push(x[2]);
    all.push(x[3]);
    all.merge(first);
    all.push(x[4]);
    std::vector<big> p(x.size()), expected(x.size());
    all.normalize(x, p);
    smx::softmax(x, expected, t);
    CHECK(abs(big(all.logsumexp() - smx::logsumexp(x, t))) < big("1e-48"));
    for (std::size_t c = 0; c != x.size(); ++c) {
        CHECK(abs(big(p[c] - expected[c])) < big("1e-48"));
    }
    CHECK(abs(big(all.probability(first) - expected[0] - expected[1])) < big("1e-48"));
}

TEST_CASE("online_normalizer takes what is not wider than its type") {
    smx::online_normalizer<double> state(0.5), same(0.5);
    state.push(std::vector<int>{1, 2});
    state.push(std::array<float, 2>{0.5F, -3});
    state.push(std::initializer_list<double>{7});
    same.push(std::vector<double>{1, 2, 0.5, -3, 7});
    CHECK(std::abs(state.logsumexp() - same.logsumexp()) < 1e-15);
    const std::vector<float> x = {1, 2, 7};
    std::vector<double> p(3);
    std::list<float> q(3);
    same.normalize(x, p);
    same.normalize(x, q);
    CHECK(p[1] == same.probability(2));
    CHECK(q.back() == static_cast<float>(same.probability(7)));
}
