// Number types the library has never heard of: 50 decimal digits, whose temperature keeps its digits, and
// dual numbers, whose derivatives by logits and by temperature come out of the ordinary calls.
#include <softmax.hpp>

#include "support/catch.hpp"

#include <boost/multiprecision/cpp_bin_float.hpp>
#include <boost/multiprecision/cpp_dec_float.hpp>

#include <cmath>
#include <cstddef>
#include <limits>
#include <list>
#include <string>
#include <type_traits>
#include <vector>

namespace dual_numbers {

// value + slope * epsilon, epsilon^2 = 0. No more than the library asks for: no default constructor, no
// implicit conversion, no compound assignment, no negation, no numeric_limits.
class dual {
public:
    explicit dual(double value) : value_(value), slope_(0) {}
    static dual with_slope(double value, double slope) {
        dual x(value);
        x.slope_ = slope;
        return x;
    }
    double value() const { return value_; }
    double slope() const { return slope_; }

    friend dual operator+(const dual& a, const dual& b) {
        return with_slope(a.value_ + b.value_, a.slope_ + b.slope_);
    }
    friend dual operator-(const dual& a, const dual& b) {
        return with_slope(a.value_ - b.value_, a.slope_ - b.slope_);
    }
    friend dual operator*(const dual& a, const dual& b) {
        return with_slope(a.value_ * b.value_, a.slope_ * b.value_ + a.value_ * b.slope_);
    }
    friend dual operator/(const dual& a, const dual& b) {
        const double quotient = a.value_ / b.value_;
        return with_slope(quotient, (a.slope_ - quotient * b.slope_) / b.value_);
    }
    friend bool operator==(const dual& a, const dual& b) { return a.value_ == b.value_; }
    friend bool operator!=(const dual& a, const dual& b) { return a.value_ != b.value_; }
    friend bool operator<(const dual& a, const dual& b) { return a.value_ < b.value_; }
    friend bool operator>(const dual& a, const dual& b) { return a.value_ > b.value_; }
    friend bool operator<=(const dual& a, const dual& b) { return a.value_ <= b.value_; }
    friend bool operator>=(const dual& a, const dual& b) { return a.value_ >= b.value_; }
    friend dual exp(const dual& x) {
        const double e = std::exp(x.value_);
        return with_slope(e, e * x.slope_);
    }
    friend dual log(const dual& x) { return with_slope(std::log(x.value_), x.slope_ / x.value_); }

private:
    double value_, slope_;
};

} // namespace dual_numbers

namespace {

using dual_numbers::dual;
using decimal50 = boost::multiprecision::cpp_dec_float_50; // with expression templates
using binary50 =
    boost::multiprecision::number<boost::multiprecision::cpp_bin_float<50>, boost::multiprecision::et_on>;
using exact = boost::multiprecision::cpp_bin_float_100;

// 48 of the 50 digits: the numbers are at most a few hundred, so that two digits may go into x / T.
template <class Real>
bool same_digits(const Real& result, const exact& expected) {
    const exact error = abs(exact(exact(result) - expected));
    return error <= abs(expected) * exact("1e-48");
}

// The closed forms at doubles, for the values and derivatives of duals. The largest is left out of the sum.
struct closed_form {
    closed_form(const std::vector<double>& logits, double temperature) : x(logits), t(temperature) {
        double max = -std::numeric_limits<double>::infinity(), sum = 0;
        for (const double entry : x) {
            max = entry > max ? entry : max;
        }
        for (const double entry : x) {
            sum += std::exp((entry - max) / t);
        }
        for (const double entry : x) {
            p.push_back(std::exp((entry - max) / t) / sum);
            mean += p.back() * entry;
        }
        lse = max / t + std::log(sum);
    }
    double kronecker(std::size_t i, std::size_t j) const { return i == j ? 1 : 0; }
    double softmax_by_logit(std::size_t i, std::size_t j) const {
        return p[i] * (kronecker(i, j) - p[j]) / t;
    }
    double softmax_by_temperature(std::size_t i) const { return -p[i] * (x[i] - mean) / (t * t); }
    double log_softmax_by_logit(std::size_t i, std::size_t j) const { return (kronecker(i, j) - p[j]) / t; }
    double log_softmax_by_temperature(std::size_t i) const { return -(x[i] - mean) / (t * t); }
    std::vector<double> x, p;
    double t, lse, mean = 0;
};

bool close(double a, double b) { return std::abs(a - b) <= 1e-13 * (1 + std::abs(b)); }

std::vector<dual> duals(const std::vector<double>& x, std::size_t seed) {
    std::vector<dual> result;
    for (std::size_t c = 0; c != x.size(); ++c) {
        result.push_back(dual::with_slope(x[c], c == seed ? 1 : 0));
    }
    return result;
}

constexpr std::size_t none = static_cast<std::size_t>(-1);

const std::vector<std::vector<double>> rows = {
    {0.5, -1, 2, 0.25}, // one maximum
    {2, -1, 2, 0.25},   // a tie
    {1, 1, 1},          // ties only
    {3, 1},             // two classes
    {-700, 5, -3},      // a term that vanishes
    {30, 0, -5},        // a dominant class
    {4},                // one class
};
constexpr double temperatures[] = {1, 0.7, 2.5};

} // namespace

TEMPLATE_TEST_CASE("softmax, log_softmax, logsumexp and cross_entropy keep 48 digits under 50-digit numbers",
                   "", decimal50, binary50) {
    using real = TestType;
    const std::vector<real> x = {real("1.1"), real("-0.3"), real("2.7"),
                                 real("0.123456789012345678901234567890123")};
    const std::vector<real> weights = {real("0.5"), real("1.1"), real("0.7"), real("2")};
    // Not 0.3 as a double, which has 17 of these digits.
    const real t("0.3000000000000000000000000000000000000000000001");
    std::vector<exact> term;
    exact sum = 0;
    for (const real& entry : x) {
        term.push_back(exp(exact(exact(entry) / exact(t))));
        sum += term.back();
    }
    std::vector<real> p(4), l(4), g(4);
    smx::softmax(x, p, t);
    smx::log_softmax(x, l, t);
    const smx::cross_entropy_options<real> options{.temperature = t, .class_weights = weights};
    const real loss = smx::cross_entropy(x, 1, g, options);
    for (std::size_t c = 0; c != 4; ++c) {
        const exact probability = term[c] / sum;
        CAPTURE(c, p[c], l[c], g[c]);
        CHECK(same_digits(p[c], probability));
        CHECK(same_digits(l[c], log(probability)));
        CHECK(same_digits(g[c], exact(weights[1]) * (probability - (c == 1 ? 1 : 0)) / exact(t)));
    }
    CHECK(same_digits(smx::logsumexp(x, t), log(sum)));
    CHECK(same_digits(loss, -exact(weights[1]) * log(exact(term[1] / sum))));
    CHECK(smx::cross_entropy(x, 1, options) == loss);
    // By value, from a list, in place, by expression: all the same numbers.
    STATIC_REQUIRE(std::is_same_v<decltype(smx::softmax(x, t)), std::vector<real>>);
    STATIC_REQUIRE(std::is_same_v<decltype(smx::logsumexp(x, t)), real>);
    CHECK(smx::softmax(x, t) == p);
    CHECK(smx::softmax(std::list<real>(x.begin(), x.end()), t) == p);
    CHECK(smx::softmax(x, real(t * 2 / 2)) == p);
    std::vector<real> row = x;
    smx::softmax(row, row, t);
    CHECK(row == p);
    std::vector<real> batch = x, out(8);
    batch.insert(batch.end(), x.begin(), x.end());
    smx::softmax(batch, out, smx::shape{2, 4, 1}, std::vector<real>{real(1), t});
    CHECK(std::vector<real>(out.begin() + 4, out.end()) == p);
    CHECK(out[0] != p[0]);
    // A temperature of another type than the numbers.
    CHECK(smx::softmax(x, real(0.25)) == smx::softmax(x, 0.25));
    CHECK(smx::softmax(x, real(2)) == smx::softmax(x, 2));
}

TEMPLATE_TEST_CASE(
    "softmax, log_softmax and logsumexp follow the table of special values under 50-digit numbers", "",
    decimal50, binary50) {
    using real = TestType;
    const real inf = std::numeric_limits<real>::infinity();
    const real t("0.3");
    CHECK(smx::softmax(std::vector<real>{1, 3, 3}, 0) == std::vector<real>{0, real(1) / 2, real(1) / 2});
    CHECK(smx::softmax(std::vector<real>{1, -inf}, t) == std::vector<real>{1, 0});
    CHECK(smx::log_softmax(std::vector<real>{1, -inf}, t) == std::vector<real>{0, -inf});
    CHECK(smx::logsumexp(std::vector<real>{}, t) == -inf);
    CHECK(smx::logsumexp(std::vector<real>{-inf, -inf}, t) == -inf);
    CHECK(smx::logsumexp(std::vector<real>{1, inf}, t) == inf);
    const real of_infinite = smx::softmax(std::vector<real>{1, inf}, t)[0];
    CHECK(of_infinite != of_infinite);
    CHECK(smx::cross_entropy(std::vector<real>{1, -inf}, 1, {.temperature = t}) == inf);
    CHECK_THROWS_AS(smx::softmax(std::vector<real>{1, 2}, real(-1)), std::invalid_argument);
    CHECK_THROWS_AS(smx::logsumexp(std::vector<real>{1, 2}, real(0)), std::invalid_argument);
    // A dominant class keeps its digits here too: exp(-80 / 0.3).
    const exact expected = -exact(exp(exact(exact(-80) / exact(t))));
    const exact found = exact(smx::log_softmax(std::vector<real>{80, 0}, t)[0]);
    CHECK(abs(exact(found - expected)) <= abs(expected) * exact("1e-46"));
}

TEST_CASE("softmax and log_softmax have the right derivatives by every logit under dual numbers") {
    for (const auto& row : rows) {
        for (const double t : temperatures) {
            const closed_form expected(row, t);
            for (std::size_t j = 0; j != row.size(); ++j) {
                const std::vector<dual> x = duals(row, j);
                std::vector<dual> p(row.size(), dual(-77.0)), l = p;
                smx::softmax(x, p, t);
                smx::log_softmax(x, l, t);
                for (std::size_t i = 0; i != row.size(); ++i) {
                    CAPTURE(row, t, i, j, p[i].value(), p[i].slope(), l[i].value(), l[i].slope());
                    CHECK(close(p[i].value(), expected.p[i]));
                    CHECK(close(p[i].slope(), expected.softmax_by_logit(i, j)));
                    CHECK(close(l[i].value(), row[i] / t - expected.lse));
                    CHECK(close(l[i].slope(), expected.log_softmax_by_logit(i, j)));
                }
            }
        }
    }
}

TEST_CASE("softmax and log_softmax have the right derivatives by the temperature under dual numbers") {
    for (const auto& row : rows) {
        for (const double t : temperatures) {
            const closed_form expected(row, t);
            const std::vector<dual> x = duals(row, none);
            const std::list<dual> in(x.begin(), x.end());
            const dual temperature = dual::with_slope(t, 1);
            std::vector<dual> p(row.size(), dual(-77.0)), l = p, through_list = p;
            smx::softmax(x, p, temperature);
            smx::log_softmax(x, l, temperature);
            smx::softmax(in.begin(), in.end(), through_list.begin(), temperature);
            for (std::size_t i = 0; i != row.size(); ++i) {
                CAPTURE(row, t, i, p[i].slope(), l[i].slope());
                CHECK(close(p[i].slope(), expected.softmax_by_temperature(i)));
                CHECK(close(through_list[i].slope(), expected.softmax_by_temperature(i)));
                CHECK(close(l[i].slope(), expected.log_softmax_by_temperature(i)));
            }
        }
    }
}

TEST_CASE("logsumexp has the right derivatives by every logit and the temperature under dual numbers") {
    for (const auto& row : rows) {
        for (const double t : temperatures) {
            const closed_form expected(row, t);
            for (std::size_t j = 0; j != row.size(); ++j) {
                const dual result = smx::logsumexp(duals(row, j), t);
                CAPTURE(row, t, j, result.value(), result.slope());
                CHECK(close(result.value(), expected.lse));
                CHECK(close(result.slope(), expected.p[j] / t));
            }
            const dual result = smx::logsumexp(duals(row, none), dual::with_slope(t, 1));
            CAPTURE(row, t, result.slope());
            CHECK(close(result.slope(), -expected.mean / (t * t)));
        }
    }
}

TEST_CASE("cross_entropy has the right derivatives by every logit and the temperature under dual numbers") {
    using options = smx::cross_entropy_options<dual>;
    for (const auto& row : rows) {
        for (const double t : temperatures) {
            const closed_form expected(row, t);
            for (std::size_t target = 0; target != row.size(); ++target) {
                for (std::size_t j = 0; j != row.size(); ++j) {
                    std::vector<dual> g(row.size(), dual(-77.0));
                    const dual loss =
                        smx::cross_entropy(duals(row, j), target, g, options{.temperature = dual(t)});
                    CAPTURE(row, t, target, j, loss.value(), loss.slope());
                    CHECK(close(loss.value(), expected.lse - row[target] / t));
                    CHECK(close(loss.slope(), -expected.log_softmax_by_logit(target, j)));
                    for (std::size_t i = 0; i != row.size(); ++i) {
                        // The gradient of a dual row carries a column of the second derivative.
                        CAPTURE(i, g[i].value(), g[i].slope());
                        CHECK(close(g[i].value(), (expected.p[i] - expected.kronecker(i, target)) / t));
                        CHECK(close(g[i].slope(), expected.softmax_by_logit(i, j) / t));
                    }
                }
                const dual loss = smx::cross_entropy(duals(row, none), target,
                                                     options{.temperature = dual::with_slope(t, 1)});
                CAPTURE(row, t, target, loss.slope());
                CHECK(close(loss.slope(), -expected.log_softmax_by_temperature(target)));
                std::vector<dual> q(row.size(), dual(0.0));
                q[target] = dual(1.0);
                const dual by_probabilities =
                    smx::cross_entropy(duals(row, none), q, options{.temperature = dual::with_slope(t, 1)});
                CHECK(close(by_probabilities.slope(), -expected.log_softmax_by_temperature(target)));
            }
        }
    }
}

TEST_CASE("softmax_backward and log_softmax_backward carry second derivatives under dual numbers") {
    for (const auto& row : rows) {
        for (const double t : temperatures) {
            const closed_form expected(row, t);
            std::vector<dual> u;
            double sum = 0, sum_of_products = 0;
            for (std::size_t c = 0; c != row.size(); ++c) {
                u.push_back(dual(0.5 + static_cast<double>(c)));
                sum += u[c].value();
                sum_of_products += expected.p[c] * u[c].value();
            }
            for (std::size_t j = 0; j != row.size(); ++j) {
                const std::vector<dual> x = duals(row, j);
                std::vector<dual> p(row.size(), dual(-77.0)), l = p, g = p, h = p;
                smx::softmax(x, p, t);
                smx::log_softmax(x, l, t);
                smx::softmax_backward(p, u, g, t);
                smx::log_softmax_backward(l, u, h, t);
                for (std::size_t i = 0; i != row.size(); ++i) {
                    CAPTURE(row, t, i, j, g[i].value(), g[i].slope(), h[i].value(), h[i].slope());
                    const double away = u[i].value() - sum_of_products;
                    CHECK(close(g[i].value(), expected.p[i] * away / t));
                    // d(sum of p u) / dx_j = p_j (u_j - sum of p u) / t
                    CHECK(close(g[i].slope(),
                                (expected.softmax_by_logit(i, j) * away -
                                 expected.p[i] * expected.p[j] * (u[j].value() - sum_of_products) / t) /
                                    t));
                    CHECK(close(h[i].value(), (u[i].value() - expected.p[i] * sum) / t));
                    CHECK(close(h[i].slope(), -expected.softmax_by_logit(i, j) * sum / t));
                }
            }
        }
    }
}

TEST_CASE("kl_divergence has the right derivatives by every logit under dual numbers") {
    for (const auto& row : rows) {
        for (const double t : temperatures) {
            std::vector<double> other;
            for (const double logit : row) {
                other.push_back(logit > 3 || logit < -3 ? logit : 1 - 0.5 * logit);
            }
            const closed_form student(row, t), teacher(other, t);
            for (std::size_t j = 0; j != row.size(); ++j) {
                std::vector<dual> g(row.size(), dual(-77.0));
                const smx::distillation_options<dual> options{.temperature = dual(t)};
                const dual loss = smx::kl_divergence(duals(row, j), duals(other, none), g, options);
                double expected = 0;
                for (std::size_t c = 0; c != row.size(); ++c) {
                    expected += t * t * teacher.p[c] * ((other[c] - row[c]) / t - teacher.lse + student.lse);
                    CAPTURE(row, t, j, c, g[c].value(), g[c].slope());
                    CHECK(close(g[c].value(), t * (student.p[c] - teacher.p[c])));
                    CHECK(close(g[c].slope(), t * student.softmax_by_logit(c, j)));
                }
                CAPTURE(row, t, j, loss.value(), loss.slope());
                CHECK(close(loss.value(), expected));
                CHECK(close(loss.slope(), t * (student.p[j] - teacher.p[j])));
                // And by the teacher's logits: T (t_j (log(t_j / s_j) - the mean of these)).
                const dual by_teacher = smx::kl_divergence(duals(row, none), duals(other, j), options);
                const double ratio = (other[j] - row[j]) / t - teacher.lse + student.lse;
                CHECK(close(by_teacher.slope(), t * teacher.p[j] * (ratio - expected / (t * t))));
            }
        }
    }
}
