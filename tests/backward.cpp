// softmax_backward and log_softmax_backward: their bounds against an oracle wider than the result, on every instruction set
// of the machine; finite differences in 50 digits; special values; the same bits alone, in batches and in place.
#include <softmax.hpp>

#include "support/accuracy.hpp"
#include "support/instruction_sets.hpp"
#include "support/sanitizers.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
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

constexpr double softmax_backward_bound = 3;     // of p max(|u|, |sum|, epsilon sum of |p u|) / T
constexpr double log_softmax_backward_bound = 4; // of max(|u|, p max(|sum|, epsilon sum of |u|)) / T

// Upstream gradients as losses make them, and such whose sum cancels.
template <class Real>
struct upstream_kind {
    const char* name;
    Real (*entry)(std::size_t c, Real p, random_numbers& random);
};

template <class Real>
const std::vector<upstream_kind<Real>>& upstreams() {
    using at = std::size_t;
    static const std::vector<upstream_kind<Real>> all = {
        {"N(0, 1)", [](at, Real, random_numbers& r) { return static_cast<Real>(r.normal()); }},
        {"one class", [](at c, Real, random_numbers&) { return static_cast<Real>(c == 0 ? -1.3 : 0); }},
        {"-q / p",
         [](at, Real p, random_numbers& r) {
             return p < static_cast<Real>(1e-9) ? Real(0) : -static_cast<Real>(r.uniform()) / p;
         }},
        {"equal", [](at, Real, random_numbers&) { return static_cast<Real>(0.3); }},
        {"+-1", [](at c, Real, random_numbers&) { return static_cast<Real>(c % 2 == 0 ? 1 : -1); }},
        {"large, of both signs",
         [](at, Real, random_numbers& r) { return static_cast<Real>(1e9 * r.normal()); }},
        {"small", [](at, Real, random_numbers& r) { return static_cast<Real>(1e-12 * r.normal()); }},
    };
    return all;
}

template <class Real>
struct exact_row {
    using wide = oracle::wide_t<Real>;

    exact_row(const std::vector<Real>& outputs, const std::vector<Real>& up, temperature_of<Real> temperature,
              bool of_logarithms)
        : t(temperature) {
        using std::abs;
        using std::exp;
        for (std::size_t c = 0; c != outputs.size(); ++c) {
            p.push_back(of_logarithms ? wide(exp(wide(outputs[c]))) : wide(outputs[c]));
            u.push_back(wide(up[c]));
            const wide term = of_logarithms ? u[c] : wide(p[c] * u[c]);
            sum += term;
            magnitude += abs(term);
        }
    }
    wide softmax(std::size_t c) const { return p[c] * (u[c] - sum) / t; }
    wide log_softmax(std::size_t c) const { return (u[c] - p[c] * sum) / t; }
    wide larger(const wide& a, const wide& b) const { return a > b ? a : b; }
    wide of_sum() const {
        using std::abs;
        return larger(wide(abs(sum)), wide(magnitude * std::numeric_limits<Real>::epsilon()));
    }
    wide softmax_scale(std::size_t c) const {
        using std::abs;
        return p[c] * larger(wide(abs(u[c])), of_sum()) / t;
    }
    wide log_softmax_scale(std::size_t c) const {
        using std::abs;
        return larger(wide(abs(u[c])), wide(p[c] * of_sum())) / t;
    }
    wide t, sum = 0, magnitude = 0;
    std::vector<wide> p, u;
};

template <class Real>
std::vector<Real> upstream_of(const upstream_kind<Real>& kind, const std::vector<Real>& p) {
    random_numbers random(p.size());
    std::vector<Real> u;
    for (std::size_t c = 0; c != p.size(); ++c) {
        u.push_back(kind.entry(c, p[c], random));
    }
    return u;
}

template <class Real>
void examine_row(const distribution<Real>& from, const upstream_kind<Real>& kind, std::size_t n,
                 temperature_of<Real> t) {
    const std::vector<Real> x = logits_of(from, n);
    std::vector<Real> p(n), l(n), g(n), h(n);
    smx::softmax(x, p, t);
    smx::log_softmax(x, l, t);
    const std::vector<Real> u = upstream_of(kind, p);
    smx::softmax_backward(p, u, g, t);
    smx::log_softmax_backward(l, u, h, t);
    const exact_row<Real> exact(p, u, t, false), exact_log(l, u, t, true);
    const std::string where = std::string(from.name) + ", upstream " + kind.name + ", " + std::to_string(n) +
                              " classes, T = " + std::to_string(static_cast<double>(t));
    verdict<Real> found("softmax_backward", softmax_backward_bound, where),
        log_found("log_softmax_backward", log_softmax_backward_bound, where);
    for (std::size_t c = 0; c != n; ++c) {
        if (is_normal_magnitude<Real>(exact.softmax_scale(c)) && is_normal_magnitude<Real>(exact.p[c])) {
            found.add(g[c], exact.softmax(c), exact.softmax_scale(c), c);
        }
        if (is_normal_magnitude<Real>(exact_log.log_softmax_scale(c)) &&
            is_normal_magnitude<Real>(exact_log.p[c])) {
            log_found.add(h[c], exact_log.log_softmax(c), exact_log.log_softmax_scale(c), c);
        }
    }
    found.check();
    log_found.check();
}

template <class Real>
bool same(const std::vector<Real>& a, const std::vector<Real>& b) {
    return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                      [](Real x, Real y) { return x == y || (std::isnan(x) && std::isnan(y)); });
}

} // namespace

TEMPLATE_TEST_CASE("softmax_backward and log_softmax_backward keep their bounds under every upstream", "",
                   float, double, long double) {
    using real = TestType;
    const auto sizes = is_sanitized ? std::vector<std::size_t>{1, 3, 16, 33}
                                    : std::vector<std::size_t>{1,  2,  3,  4,  5,  7,  8,  9,   12,  15,
                                                               16, 17, 31, 33, 47, 64, 65, 100, 129, 1000};
    const auto check_all = [&] {
        for (const auto& from : distributions<real>()) {
            for (const auto& kind : upstreams<real>()) {
                for (const auto t : {temperature_of<real>(1), temperature_of<real>(7) / 10,
                                     temperature_of<real>(17) / 10, temperature_of<real>(1) / 100}) {
                    for (const std::size_t n : sizes) {
                        examine_row<real>(from, kind, n, t);
                    }
                }
            }
        }
    };
    std::is_same_v<real, long double> ? check_all() : on_every_instruction_set(check_all);
}

TEMPLATE_TEST_CASE("softmax_backward and log_softmax_backward keep their bounds under long rows", "", float,
                   double) {
    using real = TestType;
    for (const auto& kind : upstreams<real>()) {
        for (const std::size_t n : {std::size_t(50257), std::size_t(300007)}) {
            if (!is_sanitized && (n < 100000 || std::is_same_v<real, float>)) {
                examine_row<real>(distributions<real>()[0], kind, n, 0.7);
                examine_row<real>(distributions<real>()[1], kind, n, 1.7);
            }
        }
    }
}

TEST_CASE(
    "softmax_backward and log_softmax_backward are the derivatives under finite differences in 50 digits") {
    const std::vector<big> x = {big("1.1"), big("-0.3"), big("2.7"), big("0.123456789"), big("-4")},
                           u = {big("0.7"), big("-1.9"), big("0.2"), big("3"), big("-0.5")};
    const big step("1e-17");
    for (const big& t : {big(1), big("0.3"), big("2.5")}) {
        const auto slope = [&](auto function, std::size_t c) {
            const auto loss = [&](const big& by) {
                std::vector<big> moved = x, out(x.size());
                moved[c] += by;
                function(moved, out);
                big sum = 0;
                for (std::size_t k = 0; k != x.size(); ++k) {
                    sum += u[k] * out[k];
                }
                return sum;
            };
            return big((loss(step) - loss(big(-step))) / (2 * step));
        };
        std::vector<big> p(x.size()), l(x.size()), g(x.size()), h(x.size());
        smx::softmax(x, p, t);
        smx::log_softmax(x, l, t);
        smx::softmax_backward(p, u, g, t);
        smx::log_softmax_backward(l, u, h, t);
        // The same through double, to the digits that it has.
        const std::vector<double> dx(x.begin(), x.end()), du(u.begin(), u.end());
        const double dt = static_cast<double>(t);
        std::vector<double> dp(x.size()), dl(x.size());
        smx::softmax(dx, dp, dt);
        smx::log_softmax(dx, dl, dt);
        smx::softmax_backward(dp, du, dp, dt);
        smx::log_softmax_backward(dl, du, dl, dt);
        for (std::size_t c = 0; c != x.size(); ++c) {
            const big of_softmax = slope([&](auto& in, auto& out) { smx::softmax(in, out, t); }, c),
                      of_log = slope([&](auto& in, auto& out) { smx::log_softmax(in, out, t); }, c);
            CAPTURE(t, c, g[c], of_softmax, h[c], of_log);
            CHECK(abs(big(g[c] - of_softmax)) < big("1e-30")); // the third derivative times step^2
            CHECK(abs(big(h[c] - of_log)) < big("1e-30"));
            CHECK(std::abs(dp[c] - static_cast<double>(of_softmax)) < 2e-14);
            CHECK(std::abs(dl[c] - static_cast<double>(of_log)) < 2e-14);
        }
    }
}

TEMPLATE_TEST_CASE(
    "softmax_backward and log_softmax_backward follow their table of special values on both routes", "",
    float, double, long double) {
    using real = TestType;
    const real inf = std::numeric_limits<real>::infinity(), nan = std::numeric_limits<real>::quiet_NaN();
    // A row of n: `head`, then zeros of probability and upstream.
    for (const std::size_t n : std::initializer_list<std::size_t>{3, 5, 16, 40}) {
        const auto row = [&](std::initializer_list<real> head, real rest) {
            std::vector<real> all(n, rest);
            std::copy(head.begin(), head.end(), all.begin());
            return all;
        };
        const auto backward = [&](bool of_log, const std::vector<real>& y, const std::vector<real>& u,
                                  auto t) {
            std::vector<real> g(n, real(-77));
            of_log ? smx::log_softmax_backward(y, u, g, t) : smx::softmax_backward(y, u, g, t);
            std::list<real> in(y.begin(), y.end()), out(n);
            of_log ? smx::log_softmax_backward(in, u, out, t) : smx::softmax_backward(in, u, out, t);
            const std::vector<real> generic(out.begin(), out.end());
            CAPTURE(n, g, generic);
            CHECK(same(g, generic));
            return g;
        };
        const temperature_of<real> t = 2;
        CAPTURE(n);
        // sum(p u) = 0.5: the class of probability 0 has no say and no gradient.
        for (const real u : {real(3), nan, inf, -inf}) {
            CHECK(backward(false, row({0.5, 0, 0.5}, 0), row({1, u, 0}, 0), t) == row({0.125, 0, -0.125}, 0));
        }
        // A log-probability of -inf: its upstream is in the sum, but nothing of the sum in its gradient.
        CHECK(backward(true, row({0, -inf, -inf}, -inf), row({1, 4, -2}, 0), t) == row({-1, 2, -1}, 0));
        const std::vector<real> all_nan(n, nan);
        CHECK(same(backward(false, all_nan, row({1, 2, 3}, 0), t), all_nan));
        CHECK(same(backward(true, all_nan, row({1, 2, 3}, 0), t), all_nan));
        CHECK(same(backward(false, row({0.5, 0.25, 0.25}, 0), row({nan, 1, 2}, 0), t),
                   row({nan, nan, nan}, 0)));
        // Infinite upstream.
        CHECK(same(backward(false, row({0.5, 0.25, 0.25}, 0), row({inf, 1, 2}, 0), t),
                   row({nan, -inf, -inf}, 0)));
        CHECK(same(backward(false, row({0.5, 0.25, 0.25}, 0), row({-inf, 1, 2}, 0), t),
                   row({nan, inf, inf}, 0)));
        CHECK(same(backward(true, row({-1, -1, -2}, -3), row({inf, 1, 2}, 0), t),
                   row({nan, -inf, -inf}, -inf)));
        // T = infinity: nothing moves the outputs.
        const auto at_infinity = std::numeric_limits<temperature_of<real>>::infinity();
        const std::vector<real> zeros(n, real(0));
        CHECK(backward(false, row({0.5, 0.25, 0.25}, 0), row({1, 2, 3}, 0), at_infinity) == zeros);
        CHECK(backward(true, row({-1, -1, -2}, -3), row({1, 2, 3}, 0), at_infinity) == zeros);
        // Temperatures whose reciprocal is no usual number of float.
        if (std::numeric_limits<real>::max_exponent > 128) {
            CHECK(backward(false, row({0.5, 0.5}, 0), row({1, 0}, 0), temperature_of<real>(0x1p-130)) ==
                  row({real(0x1p128), real(-0x1p128)}, 0));
        } else {
            CHECK(backward(false, row({0.5, 0.5}, 0), row({real(0x1p-20), 0}, 0),
                           temperature_of<real>(0x1p-130)) == row({real(0x1p108), real(-0x1p108)}, 0));
        }
    }
    std::vector<real> none;
    smx::softmax_backward(none, none, none, 0.7);
    smx::log_softmax_backward(none, none, none, smx::shape{3, 0}, 0.7);
}

TEMPLATE_TEST_CASE(
    "softmax_backward and log_softmax_backward have the same bits alone, in any batch and in place", "",
    float, double) {
    using real = TestType;
    on_every_instruction_set([&] {
        for (const std::size_t n :
             std::initializer_list<std::size_t>{1, 2, 4, 5, 7, 8, 9, 15, 16, 17, 33, 65, 300, 5000}) {
            for (const std::size_t inner : std::initializer_list<std::size_t>{1, 3}) {
                const smx::shape shape{37, n, inner};
                const std::size_t rows = shape.outer * inner;
                const std::vector<real> x = logits_of(distributions<real>()[0], rows * n);
                std::vector<real> p(x.size()), l(x.size()), g(x.size()), h(x.size()), one(n), up(n), from(n);
                smx::softmax(x, p, shape);
                smx::log_softmax(x, l, shape);
                const std::vector<real> u = upstream_of(upstreams<real>()[0], p);
                std::vector<double> t;
                for (std::size_t r = 0; r != rows; ++r) {
                    t.push_back(r == 5 ? std::numeric_limits<double>::infinity()
                                       : 0.3 + static_cast<double>(r));
                }
                for (const bool per_row : {false, true}) {
                    per_row ? smx::softmax_backward(p, u, g, shape, t)
                            : smx::softmax_backward(p, u, g, shape, 0.7);
                    per_row ? smx::log_softmax_backward(l, u, h, shape, t)
                            : smx::log_softmax_backward(l, u, h, shape, 0.7);
                    bool is_same = true, in_place = true;
                    for (std::size_t r = 0; r != rows; ++r) {
                        const auto at = [&](std::size_t c) {
                            return (r / inner * n + c) * inner + r % inner;
                        };
                        const auto check = [&](const std::vector<real>& outputs,
                                               const std::vector<real>& batch, auto function) {
                            for (std::size_t c = 0; c != n; ++c) {
                                from[c] = outputs[at(c)];
                                up[c] = u[at(c)];
                            }
                            const double here = per_row ? t[r] : 0.7;
                            function(from, up, one, here);
                            for (std::size_t c = 0; c != n; ++c) {
                                is_same = is_same && one[c] == batch[at(c)];
                            }
                            std::vector<real> over_outputs = from, over_upstream = up;
                            function(over_outputs, up, over_outputs, here);
                            function(from, over_upstream, over_upstream, here);
                            in_place = in_place && over_outputs == one && over_upstream == one;
                        };
                        check(p, g, [](auto&... a) { smx::softmax_backward(a...); });
                        check(l, h, [](auto&... a) { smx::log_softmax_backward(a...); });
                    }
                    CAPTURE(n, inner, per_row);
                    CHECK(is_same);
                    CHECK(in_place);
                    for (const bool over_upstream : {false, true}) {
                        std::vector<real> outputs = p, log_outputs = l, upstream = u, log_upstream = u;
                        auto& to = over_upstream ? upstream : outputs;
                        auto& log_to = over_upstream ? log_upstream : log_outputs;
                        per_row ? smx::softmax_backward(outputs, upstream, to, shape, t)
                                : smx::softmax_backward(outputs, upstream, to, shape, 0.7);
                        per_row ? smx::log_softmax_backward(log_outputs, log_upstream, log_to, shape, t)
                                : smx::log_softmax_backward(log_outputs, log_upstream, log_to, shape, 0.7);
                        CHECK(to == g);
                        CHECK(log_to == h);
                    }
                }
            }
        }
    });
}

TEST_CASE("backward functions keep their bounds in the generic code where a small T lifts a gradient to the "
          "normal numbers") {
    constexpr double t = 0.015625, epsilon = std::numeric_limits<double>::epsilon();
    const std::list<double> u = {1.39635e-152, 0};
    const long double lifted = static_cast<long double>(u.front()) / static_cast<long double>(t);
    const auto relative_error = [](double found, long double exact) {
        return static_cast<double>(std::abs(static_cast<long double>(found) / exact - 1));
    };
    for (int k = 0; k != 20; ++k) {
        const std::list<double> p = {1, 8.29205e-158 - k * 1e-159}, l = {0, std::log(p.back())};
        std::list<double> g(2);
        smx::softmax_backward(p, u, g, t);
        CHECK(relative_error(g.back(), -static_cast<long double>(p.back()) * lifted) <=
              softmax_backward_bound * epsilon);
        const long double of_logarithm = -std::exp(static_cast<long double>(l.back())) * lifted;
        smx::log_softmax_backward(l, u, g, t);
        CHECK(relative_error(g.back(), of_logarithm) <= log_softmax_backward_bound * epsilon);
        smx::masked_log_softmax_backward(l, std::list<bool>{true, true}, l, u, g, {.temperature = t});
        CHECK(relative_error(g.back(), of_logarithm) <= log_softmax_backward_bound * epsilon);
    }
}

TEST_CASE("softmax_backward computes in the widest type under mixed elements and iterators") {
    const std::vector<float> p = {0.5F, 0.25F, 0.25F};
    const std::list<double> u = {1, 2, 4};
    const std::vector<int> whole = {1, 2, 4};
    std::vector<double> g(3), h(3), k(3);
    smx::softmax_backward(p, u, g, 2);
    CHECK(g == std::vector<double>{-0.25, 0, 0.25});
    CHECK(smx::softmax_backward(p.begin(), p.end(), u.begin(), h.begin(), 2) == h.end());
    CHECK(h == g);
    smx::softmax_backward(p, whole, k, 2.0F);
    CHECK(k == g);
    std::vector<double> l = {std::log(0.5), std::log(0.25), std::log(0.25)}, of_log(3);
    CHECK(smx::log_softmax_backward(l.begin(), l.end(), u.begin(), of_log.begin(), 2) == of_log.end());
    const double expected[] = {(1 - 3.5) / 2, (2 - 1.75) / 2, (4 - 1.75) / 2};
    for (std::size_t c = 0; c != 3; ++c) {
        CHECK(std::abs(of_log[c] - expected[c]) < 1e-15);
    }
    // Rows longer than a tile, with neighbours in between.
    const std::size_t n = 20000;
    std::vector<double> wide_p(2 * n, 1.0 / static_cast<double>(n)), wide_u(2 * n), wide_g(2 * n);
    wide_u[4] = 1;
    smx::softmax_backward(wide_p, wide_u, wide_g, smx::shape{1, n, 2}, 0.5);
    CHECK(std::abs(wide_g[4] * static_cast<double>(n) / 2 - (1 - 1.0 / static_cast<double>(n))) < 1e-12);
    CHECK(wide_g[5] == 0);
}
