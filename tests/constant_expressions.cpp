// The one-row functions in constant expressions: that they are, and that they give what they give at run
// time. The exp, log and log1p behind them against those of the standard library.
#include <softmax.hpp>

#include "support/catch.hpp"

#include <array>
#include <cmath>
#include <cstddef>
#include <limits>
#include <list>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

namespace {

template <class Real>
constexpr bool close(Real a, Real b, Real tolerance) {
    return a - b <= tolerance && b - a <= tolerance;
}

// softmax({1, 2, 3}) and its relatives from tables of exp and log.
constexpr std::array<double, 3> p123 = {0.0900305731703804579, 0.2447284710547976525, 0.6652409557748218896};
constexpr double lse123 = 3.4076059644443803045;

static_assert(std::is_same_v<decltype(smx::softmax({1.0, 2.0, 3.0})), std::array<double, 3>>);
static_assert(close(smx::softmax({1.0, 2.0, 3.0})[0], p123[0], 1e-15));
static_assert(close(smx::softmax({1.0, 2.0, 3.0})[2], p123[2], 1e-15));
static_assert(close(smx::softmax({2.0, 4.0, 6.0}, 2)[1], p123[1], 1e-15));
static_assert(close(smx::softmax({0.25F, 0.5F, 0.75F}, 0.25)[1], static_cast<float>(p123[1]), 1e-7F));
static_assert(close(smx::softmax({2.0L, 4.0L, 6.0L}, 2.0L)[1], static_cast<long double>(p123[1]), 1e-15L));
static_assert(close(smx::softmax({2, 4, 6}, 2)[1], p123[1], 1e-15));
static_assert(smx::softmax({5.0}) == std::array{1.0});
static_assert(close(smx::log_softmax({1.0, 2.0, 3.0})[0], 1 - lse123, 1e-15));
static_assert(close(smx::log_softmax({0.5F, 1.0F, 1.5F}, 0.5F)[0], static_cast<float>(1 - lse123), 1e-6F));
static_assert(smx::log_softmax({800.0, 0.0}, 10)[0] < 0);
static_assert(close(smx::logsumexp({1.0, 2.0, 3.0}), lse123, 1e-14));
static_assert(close(smx::logsumexp({2.0L, 4.0L, 6.0L}, 2), static_cast<long double>(lse123), 1e-14L));
static_assert(close(smx::cross_entropy({1.0, 2.0, 3.0}, 0), lse123 - 1, 1e-14));
static_assert(close(smx::cross_entropy({2.0, 4.0, 6.0}, 1u, {.temperature = 2}), lse123 - 2, 1e-14));

constexpr std::array<float, 3> standing_array = {2, 4, 6};
constexpr double c_array[] = {2, 4, 6};
static_assert(close(smx::softmax(standing_array, 2)[0], static_cast<float>(p123[0]), 1e-7F));
static_assert(smx::softmax(c_array, 2) == smx::softmax({2.0, 4.0, 6.0}, 2));
static_assert(smx::logsumexp(std::span<const double>(c_array), 2) == smx::logsumexp(c_array, 2));
static_assert(smx::logsumexp(std::begin(c_array), std::end(c_array), 2) == smx::logsumexp(c_array, 2));

constexpr auto written_to_arrays() {
    std::array<double, 3> p{}, l{}, through_iterators{};
    smx::softmax(c_array, p, 2);
    smx::log_softmax(std::span<const double>(c_array), l, 2);
    smx::softmax(std::begin(c_array), std::end(c_array), through_iterators.begin(), 2);
    return std::array{p, l, through_iterators};
}
static_assert(written_to_arrays()[0] == smx::softmax(c_array, 2));
static_assert(written_to_arrays()[1] == smx::log_softmax(c_array, 2));
static_assert(written_to_arrays()[2] == smx::softmax(c_array, 2));

constexpr auto in_place() {
    std::array<double, 3> x = {2, 4, 6};
    smx::softmax(x, x, 2);
    return x;
}
static_assert(in_place() == smx::softmax(c_array, 2));

struct loss_and_gradient {
    double loss;
    std::array<double, 3> gradient;
};
constexpr loss_and_gradient by_index() {
    loss_and_gradient result{};
    result.loss = smx::cross_entropy(c_array, 1, result.gradient, {.temperature = 2});
    return result;
}
static_assert(close(by_index().loss, lse123 - 2, 1e-14));
static_assert(close(by_index().gradient[0], p123[0] / 2, 1e-15));
static_assert(close(by_index().gradient[1], (p123[1] - 1) / 2, 1e-15));
static_assert(close(by_index().gradient[2], p123[2] / 2, 1e-15));

constexpr loss_and_gradient by_probabilities() {
    constexpr std::array<double, 3> q = {0.25, 0.5, 0.25};
    loss_and_gradient result{};
    result.loss =
        smx::cross_entropy(c_array, q, result.gradient,
                           smx::cross_entropy_options<double>{.temperature = 2, .label_smoothing = 0.25});
    return result;
}
static_assert(close(by_probabilities().loss, lse123 - 2, 1e-14));
static_assert(close(by_probabilities().gradient[0], (p123[0] - 0.75 * 0.25 - 0.25 / 3) / 2, 1e-15));

constexpr std::array<double, 3> half_and_quarters = {0.5, 0.25, 0.25};
constexpr std::array<double, 3> of_probabilities() {
    std::array<double, 3> gradient{};
    smx::softmax_backward(half_and_quarters, c_array, gradient, 2);
    return gradient;
}
static_assert(of_probabilities() == std::array{-0.375, 0.0625, 0.3125}); // sum(p u) = 3.5
constexpr std::array<double, 3> of_log_probabilities() {
    std::array<double, 3> gradient{};
    smx::log_softmax_backward(smx::log_softmax(c_array, 2), c_array, gradient, 2);
    return gradient;
}
static_assert(close(of_log_probabilities()[1], 2 - 6 * p123[1], 1e-14));
static_assert(close(of_log_probabilities()[2], 3 - 6 * p123[2], 1e-14));

constexpr loss_and_gradient of_a_student() {
    constexpr std::array<double, 3> equal = {7, 7, 7};
    loss_and_gradient result{};
    result.loss = smx::kl_divergence(equal, c_array, result.gradient, {.temperature = 2});
    return result;
}
// 4 (log(3) - the entropy of p123), and 2 (1/3 - p123)
static_assert(close(of_a_student().loss, 4 * (1.0986122886681098 - 0.8323955818399389), 1e-14));
static_assert(close(of_a_student().gradient[0], 2 * (1.0 / 3 - p123[0]), 1e-15));
static_assert(close(of_a_student().gradient[2], 2 * (1.0 / 3 - p123[2]), 1e-15));

// Special values.
constexpr double inf = std::numeric_limits<double>::infinity();
constexpr double no_number = std::numeric_limits<double>::quiet_NaN();
static_assert(smx::softmax({1.0, -inf}, 0.5) == std::array{1.0, 0.0});
static_assert(smx::log_softmax({1.0, -inf}, 0.5) == std::array{0.0, -inf});
static_assert(smx::softmax({1.0, 3.0, 3.0}, 0) == std::array{0.0, 0.5, 0.5});
static_assert(smx::softmax({1.0, -inf, 3.0}, inf) == std::array{0.5, 0.0, 0.5});
static_assert(smx::logsumexp({-inf, -inf}, 0.5) == -inf);
static_assert(smx::logsumexp({1.0, inf}, 0.5) == inf);
static_assert(smx::logsumexp({inf, no_number}, 0.5) != smx::logsumexp({inf, no_number}, 0.5));
static_assert(smx::softmax({1.0, inf})[0] != smx::softmax({1.0, inf})[0]);
static_assert(smx::cross_entropy({1.0, -inf}, 1, {.temperature = 0.5}) == inf);
static_assert(smx::cross_entropy({1.0, 2.0}, -1, {.ignore_index = -1}) == 0);

// What overflows at run time without harm is an error of the compiler in a constant expression.
constexpr double lowest = std::numeric_limits<double>::lowest();
static_assert(smx::softmax({0.0, lowest}, 1.5) == std::array{1.0, 0.0});
static_assert(smx::softmax({0.0, -1e305}, 0.9) == std::array{1.0, 0.0});
static_assert(smx::softmax({0.0, -1.0}, 1e305) == std::array{0.5, 0.5});
static_assert(smx::log_softmax({0.0, -1e300}, 1e-10) == std::array{0.0, -inf});
static_assert(smx::log_softmax({-lowest, lowest}, 4)[1] == lowest / 2);

// A grid of rows, each in a constant expression of its own (compilers count the steps of one).
constexpr std::size_t row_length = 7;
constexpr std::size_t row_count = 48;

template <class Real>
constexpr std::array<Real, row_length> row_of(std::size_t number) {
    constexpr Real spreads[] = {Real(0.01), Real(1), Real(9), Real(60), Real(300), Real(11000)};
    std::array<Real, row_length> row{};
    std::size_t state = 7919 * number + 17;
    for (Real& entry : row) {
        state = (state * 1103515245U + 12345U) % 2147483648U;
        entry = spreads[number % 6] * (static_cast<Real>(state / 65536 % 2048) / Real(1024) - 1);
    }
    return row;
}

constexpr std::array<double, 5> grid_temperatures = {1, 0.3, 7, 0.01, 100};

template <class Real>
struct results {
    std::array<Real, row_length> p, l, g;
    Real lse, loss;
};

template <class Real>
constexpr results<Real> evaluate(std::size_t number) {
    const auto row = row_of<Real>(number);
    const double t = grid_temperatures[number % grid_temperatures.size()];
    results<Real> result{smx::softmax(row, t), smx::log_softmax(row, t), {}, smx::logsumexp(row, t), 0};
    result.loss = smx::cross_entropy(row, number % row_length, result.g, {.temperature = t});
    return result;
}

template <class Real, std::size_t Number>
constexpr results<Real> constant_results = evaluate<Real>(Number);

// The same formulas at run time: a list goes where constant expressions go, not to the kernels, whose own bounds
// accuracy.cpp has.
template <class Real>
results<Real> evaluate_at_run_time(std::size_t number) {
    const auto row = row_of<Real>(number);
    const std::list<Real> logits(row.begin(), row.end());
    const double t = grid_temperatures[number % grid_temperatures.size()];
    results<Real> result{};
    smx::softmax(logits, result.p, t);
    smx::log_softmax(logits, result.l, t);
    result.lse = smx::logsumexp(logits, t);
    result.loss = smx::cross_entropy(logits, number % row_length, result.g, {.temperature = t});
    return result;
}

// exp, log and log1p agree within 1 ulp; the arithmetic behind them may add one.
template <class Real>
bool same_number(Real a, Real b) {
    return a == b || std::nextafter(a, b) == b || std::nextafter(std::nextafter(a, b), b) == b;
}

template <class Real>
void compare(std::size_t number, const results<Real>& constant) {
    const results<Real> now = evaluate_at_run_time<Real>(number);
    CAPTURE(number, constant.lse, now.lse, constant.loss, now.loss);
    CHECK(same_number(constant.lse, now.lse));
    CHECK(same_number(constant.loss, now.loss));
    for (std::size_t c = 0; c != row_length; ++c) {
        CAPTURE(c, constant.p[c], now.p[c], constant.l[c], now.l[c], constant.g[c], now.g[c]);
        CHECK(same_number(constant.p[c], now.p[c]));
        CHECK(same_number(constant.l[c], now.l[c]));
        CHECK(same_number(constant.g[c], now.g[c]));
    }
}

template <class Real, std::size_t... Numbers>
void compare_all(std::index_sequence<Numbers...>) {
    (compare<Real>(Numbers, constant_results<Real, Numbers>), ...);
}

// The standard library itself is within 1 ulp for float and double; glibc's log1p for long double is 2.1 ulp
// off. (accuracy.cpp holds the twins against exact values.)
template <class Real>
constexpr Real twin_bound = std::is_same_v<Real, long double> ? 3 : 1;

template <class Real>
struct twin_check {
    Real worst = 0, at = 0;
    void add(Real twin, Real standard, Real x) {
        if (twin == standard || (std::isnan(twin) && std::isnan(standard))) {
            return;
        }
        const Real infinity = std::numeric_limits<Real>::infinity();
        const Real unit = std::abs(std::nextafter(standard, standard < 0 ? -infinity : infinity) - standard);
        const Real ulps =
            std::isfinite(twin) && std::isfinite(standard) ? std::abs(twin - standard) / unit : infinity;
        if (ulps > worst) {
            worst = ulps;
            at = x;
        }
    }
};

} // namespace

TEMPLATE_TEST_CASE("softmax, log_softmax, logsumexp and cross_entropy are the same under constant evaluation",
                   "", float, double, long double) {
    compare_all<TestType>(std::make_index_sequence<row_count>());
}

TEMPLATE_TEST_CASE("the exp of constant expressions is that of the standard library within 1 ulp under any x",
                   "", float, double, long double) {
    using real = TestType;
    using limits = std::numeric_limits<real>;
    twin_check<real> check;
    const real low = std::log(limits::denorm_min()) - 2, high = std::log((limits::max)());
    for (int k = 0; k <= 40000; ++k) {
        const real x = low + (high - low) * static_cast<real>(k) / 40000;
        check.add(smx::detail::constant::exp(x), std::exp(x), x);
        const real small = std::ldexp(1 + static_cast<real>(k) / 40000, k % 70 - 68);
        check.add(smx::detail::constant::exp(small), std::exp(small), small);
        check.add(smx::detail::constant::exp(-small), std::exp(-small), -small);
    }
    for (const real x : {real(0), -real(0), limits::infinity(), -limits::infinity(), limits::quiet_NaN(),
                         (limits::max)(), limits::lowest(), limits::denorm_min(), high}) {
        check.add(smx::detail::constant::exp(x), std::exp(x), x);
    }
    CAPTURE(check.at, smx::detail::constant::exp(check.at), std::exp(check.at));
    CHECK(check.worst <= twin_bound<real>);
}

TEMPLATE_TEST_CASE("the log of constant expressions is that of the standard library within 1 ulp under any x",
                   "", float, double, long double) {
    using real = TestType;
    using limits = std::numeric_limits<real>;
    twin_check<real> log_check, log1p_check;
    const auto check = [&](real x) {
        log_check.add(smx::detail::constant::log(x), std::log(x), x);
        log1p_check.add(smx::detail::constant::log1p(x), std::log1p(x), x);
    };
    const int span = limits::max_exponent - limits::min_exponent + limits::digits;
    for (int k = 0; k <= 40000; ++k) {
        const real fraction = static_cast<real>(k) / 40000;
        check(std::ldexp(1 + fraction, limits::min_exponent - limits::digits + (k * 7919) % span));
        check(std::ldexp(1 + fraction, k % 8 - 4));
        check(1 + std::ldexp(fraction, -(k % limits::digits)));
        const real below_one = 1 - std::ldexp(fraction, -1 - k % limits::digits);
        log_check.add(smx::detail::constant::log(below_one), std::log(below_one), below_one);
    }
    for (const real x : {real(0), real(1), limits::infinity(), limits::quiet_NaN(), (limits::max)(),
                         (limits::min)(), limits::denorm_min()}) {
        check(x);
    }
    CAPTURE(log_check.at, log1p_check.at);
    CHECK(log_check.worst <= twin_bound<real>);
    CHECK(log1p_check.worst <= twin_bound<real>);
}
