// Cross-entropy with every combination of its options, alone and in batches, against its formula in 50 digits
// and finite differences of it; and what the calls promise about each other: the same bits with and without a
// gradient, alone and in a batch, in place or not. The bounds of accuracy.cpp hold here as well.
#include <softmax.hpp>

#include "support/catch.hpp"
#include "support/instruction_sets.hpp"
#include "support/oracle_multiprecision.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <list>
#include <numeric>
#include <span>
#include <stdexcept>
#include <type_traits>
#include <utility>
#include <vector>

namespace {

using big = oracle::binary168;

// splitmix64: the same numbers with every standard library.
class random_numbers {
public:
    explicit random_numbers(std::uint64_t seed) : state_(seed) {}
    std::size_t below(std::size_t n) { return static_cast<std::size_t>(bits() % n); }
    double uniform() { return static_cast<double>(bits() >> 11) * 0x1p-53; }

private:
    std::uint64_t bits() {
        std::uint64_t z = (state_ += 0x9e3779b97f4a7c15U);
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
        return z ^ (z >> 31);
    }
    std::uint64_t state_;
};

template <class Real>
using parameter_of = typename smx::cross_entropy_options<Real>::parameter;

template <class Real>
std::vector<Real> random_row(std::size_t n, double low, double high, std::uint64_t seed) {
    random_numbers random(seed);
    std::vector<Real> x(n);
    for (Real& entry : x) {
        entry = static_cast<Real>(low + (high - low) * random.uniform());
    }
    return x;
}

// The formula of cross_entropy.hpp for one row, term by term.
struct formula {
    big temperature = 1, smoothing = 0, z_loss = 0, softcap = 0;
    std::vector<big> weights; // none: 1 each

    std::vector<big> shares(const std::vector<big>& target) const {
        std::vector<big> v;
        for (std::size_t c = 0; c != target.size(); ++c) {
            const big q = (1 - smoothing) * target[c] + smoothing / target.size();
            v.push_back(weights.empty() ? q : big(q * weights[c]));
        }
        return v;
    }
    big capped(const big& x) const { return softcap == 0 ? x : big(softcap * tanh(big(x / softcap))); }
    big slope(const big& x) const {
        const big t = cosh(big(x / (softcap == 0 ? big(1) : softcap)));
        return softcap == 0 ? big(1) : big(1 / (t * t));
    }

    big logsumexp(const std::vector<big>& x) const {
        big top = capped(x[0]), sum = 0;
        for (const big& entry : x) {
            top = (std::max)(top, capped(entry));
        }
        for (const big& entry : x) {
            sum += exp(big((capped(entry) - top) / temperature));
        }
        return top / temperature + log(sum);
    }
    big loss(const std::vector<big>& x, const std::vector<big>& target) const {
        const big lse = logsumexp(x);
        const std::vector<big> v = shares(target);
        big sum = z_loss * lse * lse;
        for (std::size_t c = 0; c != x.size(); ++c) {
            sum += v[c] * (lse - capped(x[c]) / temperature);
        }
        return sum;
    }
    // What the bounds of a loss and of a gradient are units of: the sum of magnitudes that may cancel.
    big loss_scale(const std::vector<big>& x, const std::vector<big>& target) const {
        big larger = 0, sum = 0;
        for (const big& entry : x) {
            larger = (std::max)(larger, big(abs(capped(entry) / temperature)));
        }
        const big lse = logsumexp(x);
        larger = (std::max)(larger, big(abs(lse)));
        sum = loss(x, target) - z_loss * lse * lse + z_loss * larger * larger;
        return sum;
    }
    big gradient_scale(const std::vector<big>& x, const std::vector<big>& target, std::size_t c) const {
        const std::vector<big> v = shares(target);
        const big lse = logsumexp(x), total = std::accumulate(v.begin(), v.end(), big(0));
        const big p = exp(big(capped(x[c]) / temperature - lse));
        const big largest = (std::max)({big(total * p), v[c], big(abs(2 * z_loss * lse * p))});
        return largest / temperature * slope(x[c]);
    }
    big difference_quotient(std::vector<big> x, const std::vector<big>& target, std::size_t c) const {
        const big step("1e-17"), at = x[c];
        x[c] = at + step;
        const big above = loss(x, target);
        x[c] = at - step;
        return (above - loss(x, target)) / (2 * step);
    }
};

std::vector<big> one_hot(std::size_t n, std::size_t target) {
    std::vector<big> q(n, big(0));
    q[target] = 1;
    return q;
}

// The bounds of cross_entropy.hpp: 3 ulp of a loss, 4 of a gradient or 8 with z_loss; a softcap adds its own.
template <class Real>
struct bounds {
    const formula& exact;

    // What the error of the capped logits makes of a result that moves by `scale` when they move by T.
    big of_cap(const big& scale) const {
        using work = smx::detail::work_t<Real>;
        return 4 * std::numeric_limits<work>::epsilon() * exact.softcap / exact.temperature * scale;
    }
    big of_loss(const big& scale, const big& total) const {
        return 3 * oracle::last_place<Real>(oracle::wide_t<Real>(scale)) + of_cap(total);
    }
    big of_gradient(const big& scale) const {
        const int ulps = (exact.z_loss != 0 ? 8 : 4) + (exact.softcap != 0 ? 4 : 0);
        return ulps * oracle::last_place<Real>(oracle::wide_t<Real>(scale)) + of_cap(scale);
    }
};

enum option : unsigned {
    temperature = 1,
    smoothing = 2,
    weights = 4,
    ignored = 8,
    z = 16,
    cap = 32,
    given = 64
};
constexpr unsigned option_count = 7;

// One batch of 5 rows under the options of `set`.
template <class Real>
struct batch_case {
    static constexpr std::size_t rows = 5;

    unsigned set;
    smx::shape shape;
    smx::reduction reduce;
    std::vector<Real> x, q, w;
    std::vector<int> targets;
    smx::cross_entropy_options<Real> options;
    formula exact;

    batch_case(unsigned options_set, std::size_t n, std::size_t inner, smx::reduction how)
        : set(options_set),
          shape{rows, n, inner},
          reduce(how) {
        shape.outer = inner == 1 ? rows : 2;
        const std::size_t count = shape.outer * inner;
        random_numbers random(n * 100 + inner);
        x = random_row<Real>(count * n, -9, 9, n + inner);
        q = random_row<Real>(count * n, 0, 2.0 / static_cast<double>(n), n);
        w = random_row<Real>(n, 0.1, 3, 3);
        for (std::size_t r = 0; r != count; ++r) {
            targets.push_back((set & ignored) != 0 && r % 3 == 1 ? -7 : static_cast<int>(random.below(n)));
        }
        options.reduce = how;
        // Numbers of double that are none of float; each as the interface takes it.
        const auto choose = [&](unsigned which, parameter_of<Real>& field, big& same, double value) {
            if ((set & which) != 0) {
                field = static_cast<parameter_of<Real>>(value);
                same = big(field);
            }
        };
        choose(temperature, options.temperature, exact.temperature, 0.7);
        choose(smoothing, options.label_smoothing, exact.smoothing, 0.15);
        choose(z, options.z_loss, exact.z_loss, 0.03);
        choose(cap, options.softcap, exact.softcap, 5.3);
        if ((set & weights) != 0) {
            options.class_weights = w;
            exact.weights.assign(w.begin(), w.end());
        }
        if ((set & ignored) != 0) {
            options.ignore_index = -7;
        }
    }

    std::size_t count() const { return shape.outer * shape.inner; }
    std::size_t at(std::size_t r, std::size_t c) const {
        return (r / shape.inner * shape.classes + c) * shape.inner + r % shape.inner;
    }
    bool counts(std::size_t r) const { return (set & given) != 0 || targets[r] >= 0; }
    std::vector<big> row(std::size_t r) const {
        std::vector<big> values;
        for (std::size_t c = 0; c != shape.classes; ++c) {
            values.push_back(big(x[at(r, c)]));
        }
        return values;
    }
    std::vector<big> target(std::size_t r) const {
        if ((set & given) == 0) {
            return one_hot(shape.classes, static_cast<std::size_t>(targets[r]));
        }
        std::vector<big> values;
        for (std::size_t c = 0; c != shape.classes; ++c) {
            values.push_back(big(q[at(r, c)]));
        }
        return values;
    }
    big divisor() const {
        if (reduce == smx::reduction::sum) {
            return 1;
        }
        big sum = 0;
        for (std::size_t r = 0; r != count(); ++r) {
            if ((set & given) != 0) {
                sum += 1;
            } else if (counts(r)) {
                sum += exact.weights.empty() ? big(1) : exact.weights[static_cast<std::size_t>(targets[r])];
            }
        }
        return sum;
    }
    template <class... Gradient>
    Real run(Gradient&... gradient) const {
        return (set & given) != 0 ? smx::cross_entropy(x, q, gradient..., shape, options)
                                  : smx::cross_entropy(x, targets, gradient..., shape, options);
    }
};

template <class Real>
void check_batch(const batch_case<Real>& test) {
    const bounds<Real> bound{test.exact};
    const big divisor = test.divisor();
    std::vector<Real> gradient(test.x.size()), logsumexps(test.count());
    batch_case<Real> with_logsumexps = test;
    with_logsumexps.options.logsumexps = logsumexps;
    const Real alone = with_logsumexps.run(), both = test.run(gradient);
    big loss = 0, scale = 0, total = 0, worst = 0;
    for (std::size_t r = 0; r != test.count(); ++r) {
        if (!test.counts(r)) {
            CHECK(logsumexps[r] == 0);
            for (std::size_t c = 0; c != test.shape.classes; ++c) {
                CHECK(gradient[test.at(r, c)] == 0);
            }
            continue;
        }
        const std::vector<big> x = test.row(r), target = test.target(r), v = test.exact.shares(target);
        loss += test.exact.loss(x, target);
        scale += test.exact.loss_scale(x, target);
        total += std::accumulate(v.begin(), v.end(), big(0));
        const big lse = test.exact.logsumexp(x);
        // |max / T| and log(sum) are both below 20.
        CHECK(abs(big(logsumexps[r]) - lse) <= 20 * std::numeric_limits<Real>::epsilon() + bound.of_cap(1));
        for (const std::size_t c : {std::size_t(0), r % test.shape.classes, test.shape.classes - 1}) {
            const big expected = test.exact.difference_quotient(x, target, c) / divisor;
            const big limit = bound.of_gradient(test.exact.gradient_scale(x, target, c) / divisor);
            const big found = abs(big(gradient[test.at(r, c)]) - expected) / limit;
            if (found > 1) {
                CAPTURE(r, c, gradient[test.at(r, c)], static_cast<Real>(expected));
                CHECK(found <= 1);
            }
            worst = (std::max)(worst, found);
        }
    }
    CHECK(alone == both);
    CAPTURE(alone, static_cast<Real>(loss / divisor));
    CHECK(abs(big(alone) - loss / divisor) <= bound.of_loss(scale / divisor, total / divisor));
    CHECK(worst > 0);
}

} // namespace

TEMPLATE_TEST_CASE("cross_entropy of a batch follows its formula under every combination of options", "",
                   float, double, long double) {
    for (unsigned set = 0; set != 1u << option_count; ++set) {
        for (const auto reduce : {smx::reduction::mean, smx::reduction::sum}) {
            CAPTURE(set, reduce == smx::reduction::mean);
            check_batch(batch_case<TestType>(set, 5, 1, reduce));
        }
    }
}

TEMPLATE_TEST_CASE("cross_entropy of a batch follows its formula under every pair of options and shape", "",
                   float, double) {
    for (unsigned set = 0; set != 1u << option_count; ++set) {
        if (std::popcount(set) > 2) {
            continue;
        }
        using pair = std::pair<std::size_t, std::size_t>;
        for (const auto& [n, inner] : {pair(2, 1), pair(17, 1), pair(41, 1), pair(5, 3), pair(18, 2)}) {
            CAPTURE(set, n, inner);
            check_batch(batch_case<TestType>(set, n, inner, smx::reduction::mean));
        }
    }
}

TEMPLATE_TEST_CASE("cross_entropy takes class indices of every integer type under every pair of options", "",
                   signed char, unsigned char, short, unsigned short, int, unsigned, long, unsigned long,
                   long long, unsigned long long, std::size_t, char, char8_t, wchar_t) {
    for (unsigned set = 0; set != 1u << option_count; ++set) {
        if (std::popcount(set) > 2 || (set & given) != 0) {
            continue;
        }
        for (const std::size_t inner : {std::size_t(1), std::size_t(2)}) {
            batch_case<double> test(set, 5, inner, smx::reduction::mean);
            test.options.ignore_index = (set & ignored) != 0 ? 4 : test.options.none;
            std::vector<TestType> targets;
            for (int& target : test.targets) {
                target = target < 0 ? 4 : target; // some types have no -7
                targets.push_back(static_cast<TestType>(target));
            }
            std::vector<double> g(test.x.size()), expected_g(test.x.size());
            const double expected = test.run(expected_g);
            CAPTURE(set, inner);
            CHECK(smx::cross_entropy(test.x, targets, g, test.shape, test.options) == expected);
            CHECK(g == expected_g);
            const std::list<TestType> list(targets.begin(), targets.end());
            CHECK(smx::cross_entropy(test.x, list, test.shape, test.options) == expected);
            const auto row = std::span<const double>(test.x).first(5);
            CHECK(smx::cross_entropy(row, targets[0], test.options) ==
                  smx::cross_entropy(row, test.targets[0], test.options));
        }
    }
}

TEST_CASE("cross_entropy divides, ignores and weighs as its documentation says under options in pairs") {
    using options = smx::cross_entropy_options<double>;
    const std::vector<double> x = {1.5, -2, 0.25, 0.5, 3, -1}, w = {0.5, 3, 0.25},
                              q = {0.2, 0.3, 0.5, 0, 1, 0};
    const std::vector<int> targets = {2, 1}, second = {-1, 1}, none = {-1, -1};
    const smx::shape shape{2, 3};
    const auto row = [&](std::size_t r) { return std::span<const double>(x).subspan(3 * r, 3); };
    const auto close = [](double a, double b) { return std::abs(a - b) <= 1e-14 * std::abs(b); };
    const auto lse = [&](std::size_t r) { return smx::logsumexp(row(r), 2); };
    // smoothing and weights: the divisor is that of the targets, not of the smoothed weights.
    const options both{.temperature = 2, .label_smoothing = 0.3, .class_weights = w};
    CHECK(close(smx::cross_entropy(x, targets, shape, both),
                (smx::cross_entropy(row(0), 2, both) + smx::cross_entropy(row(1), 1, both)) / (w[2] + w[1])));
    // Either and ignored rows: no smoothing, no weight, no z_loss of theirs.
    options all = both;
    all.z_loss = 0.125;
    all.ignore_index = -1;
    CHECK(close(smx::cross_entropy(x, second, shape, all), smx::cross_entropy(row(1), 1, all) / w[1]));
    CHECK(smx::cross_entropy(x, none, shape, all) == 0);
    // z_loss is neither weighted nor smoothed, but divided with the rest; its logsumexp is at T.
    options without = all;
    without.z_loss = 0;
    CHECK(close(smx::cross_entropy(row(1), 1, all),
                smx::cross_entropy(row(1), 1, without) + 0.125 * lse(1) * lse(1)));
    // Probabilities: the mean is over rows, whatever the weights, and no row is ignored.
    CHECK(
        close(smx::cross_entropy(x, q, shape, all), (smx::cross_entropy(row(0), std::span(q).first(3), all) +
                                                     smx::cross_entropy(row(1), std::span(q).last(3), all)) /
                                                        2));
    // softcap: before T and before all else, the logsumexp of z_loss included.
    options capped = all;
    capped.softcap = 1.5;
    std::vector<double> by_hand;
    for (const double logit : row(1)) {
        by_hand.push_back(1.5 * std::tanh(logit / 1.5));
    }
    CHECK(close(smx::cross_entropy(row(1), 1, capped), smx::cross_entropy(by_hand, 1, all)));
    // The gradient is divided by T once more than the loss, and by what the mean divides by.
    std::vector<double> g(6), g_sum(6), at_one(3), halved;
    all.reduce = smx::reduction::sum;
    smx::cross_entropy(x, targets, g_sum, shape, all);
    all.reduce = smx::reduction::mean;
    smx::cross_entropy(x, targets, g, shape, all);
    CHECK(close(g[4] * (w[2] + w[1]), g_sum[4]));
    for (const double logit : row(1)) {
        halved.push_back(logit / 2);
    }
    all.temperature = 1;
    smx::cross_entropy(halved, 1, at_one, all);
    CHECK(close(g_sum[4] * 2, at_one[1]));
}

namespace {

// Everything that a call leaves, so that two calls can be compared.
template <class Real>
struct left_over {
    std::vector<Real> losses, gradient, logsumexps;
    Real mean;
    friend bool operator==(const left_over&, const left_over&) = default;
};

template <class Real, class Targets>
left_over<Real> everything(const std::vector<Real>& x, const Targets& targets, smx::shape shape,
                           smx::cross_entropy_options<Real> options) {
    const std::size_t rows = shape.outer * shape.inner;
    left_over<Real> all{std::vector<Real>(rows), std::vector<Real>(x.size()), std::vector<Real>(rows), 0};
    options.logsumexps = all.logsumexps;
    smx::cross_entropy_per_row(x, targets, all.losses, all.gradient, shape, options);
    options.logsumexps = {};
    all.mean = smx::cross_entropy(x, targets, shape, options);
    return all;
}

} // namespace

TEMPLATE_TEST_CASE("cross_entropy has the same bits alone, in a batch, in place and without its gradient", "",
                   float, double) {
    using real = TestType;
    // 1 to 65 for the padded and the short ones, then more than a block, and rows that are not stored.
    const std::size_t longest = std::is_same_v<real, float> ? 131100 : 65600;
    for (const std::size_t n :
         std::initializer_list<std::size_t>{1, 2, 7, 8, 9, 15, 16, 17, 33, 65, 300, longest}) {
        const std::size_t rows = n > 1000 ? 2 : 11; // a group and a rest
        const std::vector<real> x = random_row<real>(rows * n, -20, 20, n),
                                q = random_row<real>(rows * n, 0, 2.0 / static_cast<double>(n), n + 1),
                                w = random_row<real>(n, 0.1, 2, 5);
        std::vector<unsigned> targets;
        for (std::size_t r = 0; r != rows; ++r) {
            targets.push_back(static_cast<unsigned>(r * 7 % n));
        }
        for (unsigned set = 0; set != 1u << option_count; ++set) {
            if ((set & (ignored | cap)) != 0 || (n > 1000 && std::popcount(set) > 2)) {
                continue;
            }
            smx::cross_entropy_options<real> options{.reduce = smx::reduction::sum};
            options.temperature = (set & temperature) != 0 ? 0.7 : 1;
            options.label_smoothing = (set & smoothing) != 0 ? 0.1 : 0;
            options.z_loss = (set & z) != 0 ? 0.01 : 0;
            options.class_weights = (set & weights) != 0 ? std::span<const real>(w) : std::span<const real>();
            const smx::shape shape{rows, n};
            const bool probabilities = (set & given) != 0;
            const auto batch =
                probabilities ? everything(x, q, shape, options) : everything(x, targets, shape, options);
            CAPTURE(n, set);
            bool same_loss = true, same_gradient = true, same_logsumexp = true;
            for (std::size_t r = 0; r != rows; ++r) {
                const auto row = std::span<const real>(x).subspan(r * n, n),
                           shares = std::span<const real>(q).subspan(r * n, n),
                           expected = std::span<const real>(batch.gradient).subspan(r * n, n);
                std::vector<real> g(n), in_place(row.begin(), row.end()), over(shares.begin(), shares.end());
                real alone, both, replaced, replaced_shares = batch.losses[r];
                if (probabilities) {
                    alone = smx::cross_entropy(row, shares, options);
                    both = smx::cross_entropy(row, shares, g, options);
                    replaced = smx::cross_entropy(in_place, shares, in_place, options);
                    replaced_shares = smx::cross_entropy(row, over, over, options);
                    same_gradient = same_gradient && over == g;
                } else {
                    alone = smx::cross_entropy(row, targets[r], options);
                    both = smx::cross_entropy(row, targets[r], g, options);
                    replaced = smx::cross_entropy(in_place, targets[r], in_place, options);
                }
                for (const real loss : {alone, both, replaced, replaced_shares}) {
                    same_loss = same_loss && loss == batch.losses[r];
                }
                same_gradient =
                    same_gradient && std::equal(g.begin(), g.end(), expected.begin()) && in_place == g;
                same_logsumexp =
                    same_logsumexp && batch.logsumexps[r] == smx::logsumexp(row, options.temperature);
            }
            CHECK(same_loss);
            CHECK(same_gradient);
            CHECK(same_logsumexp);
            if (n <= 1000) { // the same rows as columns
                std::vector<real> columns(x.size()), column_shares(x.size());
                for (std::size_t k = 0; k != x.size(); ++k) {
                    columns[k % n * rows + k / n] = x[k];
                    column_shares[k % n * rows + k / n] = q[k];
                }
                const smx::shape across{1, n, rows};
                auto turned = probabilities ? everything(columns, column_shares, across, options)
                                            : everything(columns, targets, across, options);
                std::vector<real> back(x.size());
                for (std::size_t k = 0; k != x.size(); ++k) {
                    back[k] = turned.gradient[k % n * rows + k / n];
                }
                turned.gradient = back;
                CHECK(turned == batch);
            }
        }
    }
}

namespace {

// One row against the formula in 50 digits, by the kernels and, as a list, by the generic code.
template <class Real>
void check_row(const std::vector<Real>& x, std::size_t target,
               const smx::cross_entropy_options<Real>& options) {
    formula exact{big(options.temperature),
                  big(options.label_smoothing),
                  big(options.z_loss),
                  big(options.softcap),
                  {}};
    exact.weights.assign(options.class_weights.begin(), options.class_weights.end());
    const bounds<Real> bound{exact};
    const std::vector<big> row(x.begin(), x.end()), q = one_hot(x.size(), target);
    const std::vector<Real> one(q.begin(), q.end());
    const std::list<Real> list(x.begin(), x.end());
    const big loss = exact.loss(row, q), scale = exact.loss_scale(row, q), lse = exact.logsumexp(row);
    const std::vector<big> v = exact.shares(q);
    const big total = std::accumulate(v.begin(), v.end(), big(0));
    std::vector<Real> g(x.size()), h(x.size()), k(x.size());
    const Real losses[] = {smx::cross_entropy(x, target, g, options), smx::cross_entropy(x, one, h, options),
                           smx::cross_entropy(list, target, k, options)};
    for (const Real found : losses) {
        CAPTURE(found, static_cast<Real>(loss));
        CHECK(abs(big(found) - loss) <= bound.of_loss(scale, total));
    }
    for (std::size_t c = 0; c != x.size(); ++c) {
        const big p = exp(big(exact.capped(row[c]) / exact.temperature - lse));
        const big expected =
            ((total + 2 * exact.z_loss * lse) * p - v[c]) / exact.temperature * exact.slope(row[c]);
        const big limit = bound.of_gradient(exact.gradient_scale(row, q, c));
        const big least = big((std::numeric_limits<Real>::min)());
        for (const Real found : {g[c], h[c], k[c]}) {
            CAPTURE(c, found, static_cast<Real>(expected));
            CHECK(abs(big(found) - expected) <= (std::max)(limit, least));
        }
    }
}

} // namespace

TEMPLATE_TEST_CASE(
    "cross_entropy follows its formula under logits, temperatures and weights at the ends of the range", "",
    float, double) {
    using real = TestType;
    using limits = std::numeric_limits<real>;
    for (const std::size_t n : std::initializer_list<std::size_t>{3, 20, 70}) {
        for (const double size : {1e-30, 1.0, 1e5, 1e30}) {
            std::vector<real> x = random_row<real>(n, -10 * size, 10 * size, n);
            for (const double a : {0.0, 0.2}) {
                for (const double t : {size, size * 3.7}) {
                    CAPTURE(n, size, a, t);
                    check_row<real>(x, n / 2, {.temperature = t, .label_smoothing = a});
                    x[n / 2] = static_cast<real>(9.9 * size); // the target dominates, or nearly
                    check_row<real>(x, n / 2, {.temperature = t, .label_smoothing = a, .z_loss = 1e-3});
                }
            }
        }
        // Factors beyond the range in which a term times a factor stays normal.
        for (const double weight : {1e-30, 1e-22, 1e22, 1e30}) {
            const std::vector<real> x = random_row<real>(n, -3, 3, n);
            const std::vector<real> w(n, static_cast<real>(weight));
            for (const double a : {0.0, 0.2}) {
                CAPTURE(n, weight, a);
                check_row<real>(x, n / 2, {.label_smoothing = a, .class_weights = w});
            }
        }
    }
    // x - max overflows; at this temperature the loss does not.
    const std::vector<real> wide = {limits::lowest(), (limits::max)(), 0, limits::lowest() / 2};
    for (const double a : {0.0, 0.5}) {
        check_row<real>(wide, 0, {.temperature = 1e10, .label_smoothing = a});
        check_row<real>(wide, 1, {.temperature = 1e10, .label_smoothing = a});
    }
}

TEMPLATE_TEST_CASE("cross_entropy leaves classes without a share out under logits of -inf and NaN", "", float,
                   double, long double) {
    using real = TestType;
    const real inf = std::numeric_limits<real>::infinity(), nan = std::numeric_limits<real>::quiet_NaN();
    for (const std::size_t n : std::initializer_list<std::size_t>{3, 16, 40}) {
        std::vector<real> x = random_row<real>(n, -3, 3, n), q(n, real(0)), w(n, real(1)), g(n);
        q[0] = real(0.5);
        q[n - 1] = real(0.5);
        w[1] = 0;
        x[1] = -inf;
        const smx::cross_entropy_options<real> smooth{.label_smoothing = parameter_of<real>(0.1)},
            weighted{.label_smoothing = parameter_of<real>(0.1), .class_weights = w};
        std::vector<real> others;
        for (std::size_t c = 0; c != n; ++c) {
            if (c != 1) {
                others.push_back(x[c]);
            }
        }
        CAPTURE(n);
        CHECK(std::isfinite(smx::cross_entropy(x, q, g)));
        CHECK(g[1] == 0);
        CHECK(std::isfinite(smx::cross_entropy(x, 0, g, weighted)));
        CHECK(g[1] == 0);
        CHECK(smx::cross_entropy(x, 0, g, smooth) == inf);
        CHECK(smx::cross_entropy(x, q, g, smooth) == inf);
        CHECK(smx::cross_entropy(x, 1, weighted) < inf); // the class of weight 0 is the target
        x[1] = nan;
        real lse = 0;
        smx::cross_entropy_options<real> kept = weighted;
        kept.logsumexps = std::span<real>(&lse, 1);
        CHECK(std::isnan(smx::cross_entropy(x, 0, g, kept)));
        CHECK(std::isnan(lse));
        CHECK(std::all_of(g.begin(), g.end(), [](real d) { return std::isnan(d); }));
        CHECK(std::isnan(smx::cross_entropy(x, q, g)));
        x[1] = inf;
        CHECK(std::isnan(smx::cross_entropy(x, 0, g, weighted)));
        CHECK(std::all_of(g.begin(), g.end(), [](real d) { return std::isnan(d); }));
    }
}

TEMPLATE_TEST_CASE("the gradient of cross_entropy at a dominant class keeps its digits under probabilities",
                   "", float, double, long double) {
    using real = TestType;
    for (const std::size_t n : std::initializer_list<std::size_t>{2, 20, 100}) {
        std::vector<real> x(n, real(0)), q(n, real(0)), g(n), h(n);
        x[n / 2] = 60;
        q[n / 2] = 1;
        const real loss = smx::cross_entropy(x, q, g), same = smx::cross_entropy(x, n / 2, h);
        const double expected = static_cast<double>(n - 1) * std::exp(-60.0);
        CHECK(std::abs(static_cast<double>(loss) / expected - 1) < 1e-6);
        CHECK(std::abs(static_cast<double>(same) / expected - 1) < 1e-6);
        CHECK(std::abs(static_cast<double>(g[n / 2]) / -expected - 1) < 1e-6);
        CHECK(std::abs(static_cast<double>(h[n / 2]) / -expected - 1) < 1e-6);
    }
}

// Found by fuzzing: a sum of doubles may be some ulp from its larger word, 10 of the gradient here.
TEST_CASE("the gradient of cross_entropy with z_loss keeps its bound at one of many equal maxima") {
    constexpr std::size_t n = 514, target = 59;
    std::vector<double> x(n, 36), g(n);
    for (std::size_t c = 1; c < n; c += 2) {
        x[c] = 15466496;
    }
    const double z_loss = 0x1p-9;
    on_every_instruction_set([&] {
        for (const double t : {1.1875, 1.0, 1.7, 0.6875, 3.0}) {
            smx::cross_entropy(x, target, g,
                               smx::cross_entropy_options<double>{.temperature = t, .z_loss = z_loss});
            const big p = big(1) / 257, logsumexp = big(15466496) / t + log(big(257)); // all else is e^-1e7
            const big drift = 2 * z_loss * logsumexp * p / t, exact = drift + (p - 1) / t;
            CHECK(abs(big(g[target]) - exact) <=
                  8 * oracle::last_place<double>(oracle::wide_t<double>(drift)));
        }
    });
}

// Found by fuzzing: 4.1 ulp, where a class weight of 0 leaves nothing but the square, which has twice the error of logsumexp.
TEMPLATE_TEST_CASE("what z_loss adds to a loss keeps the bound of a square", "", float, double) {
    using real = TestType;
    const auto check = [](const std::vector<real>& x, double t) {
        const std::vector<real> weights(x.size(), 0);
        formula exact;
        exact.temperature = t;
        exact.z_loss = 0x1.8p-9;
        exact.weights.assign(x.size(), big(0));
        const std::vector<big> wide(x.begin(), x.end()), target = one_hot(x.size(), 0);
        const real loss = smx::cross_entropy(
            x, 0,
            smx::cross_entropy_options<real>{.temperature = t, .class_weights = weights, .z_loss = 0x1.8p-9});
        const big scale = exact.loss_scale(wide, target);
        CHECK(abs(big(loss) - exact.loss(wide, target)) <=
              10 * oracle::last_place<real>(oracle::wide_t<real>(scale)));
    };
    on_every_instruction_set([&] {
        check({6, 7, 2}, 129.5);
        for (std::size_t n = 1; n <= 70; ++n) {
            check(random_row<real>(n, -8, 8, n), 129.5 / static_cast<double>(n));
        }
    });
}

TEMPLATE_TEST_CASE("cross_entropy has the right slope under a softcap that saturates", "", float, double,
                   long double) {
    using real = TestType;
    using parameter = parameter_of<real>;
    const std::vector<real> x = {100, 0, -100, 3};
    std::vector<real> g(4);
    const smx::cross_entropy_options<real> options{.softcap = parameter(5)};
    smx::cross_entropy(x, 1, g, options);
    // sech^2(20) = 4 e^-40; 1 - tanh^2 would be 0
    const double term[] = {std::exp(5.0), 1, std::exp(-5.0), std::exp(5 * std::tanh(0.6))};
    const double p = term[0] / (term[0] + term[1] + term[2] + term[3]);
    CHECK(std::abs(static_cast<double>(g[0]) / (4 * std::exp(-40.0) * p) - 1) < 1e-5);
    // Infinite logits are at the cap, where nothing moves them; NaN stays NaN.
    const real inf = std::numeric_limits<real>::infinity();
    const std::vector<real> ends = {inf, 0, -inf, 3};
    std::vector<real> at_ends(4);
    const real loss = smx::cross_entropy(ends, 2, at_ends, options);
    CHECK(std::abs(static_cast<double>(loss) - (5 - std::log(p / term[0]))) < 1e-5);
    CHECK(at_ends[0] == 0);
    CHECK(at_ends[2] == 0);
    CHECK(at_ends[1] > 0);
    CHECK(std::isnan(
        smx::cross_entropy(std::vector<real>{1, std::numeric_limits<real>::quiet_NaN()}, 0, options)));
    // 0 and infinity are no cap.
    const real plain = smx::cross_entropy(x, 1);
    CHECK(smx::cross_entropy(x, 1, smx::cross_entropy_options<real>{.softcap = parameter(inf)}) == plain);
    CHECK(smx::cross_entropy(x, 1, smx::cross_entropy_options<real>{.softcap = 0}) == plain);
}

TEMPLATE_TEST_CASE("cross_entropy_per_row leaves one loss a row under every kind of target and output", "",
                   float, double, long double) {
    using real = TestType;
    const std::size_t n = 6;
    for (const smx::shape shape : {smx::shape{4, n}, smx::shape{2, n, 2}}) {
        const std::vector<real> x = random_row<real>(4 * n, -5, 5, 1), q = random_row<real>(4 * n, 0, 1, 2);
        const std::vector<int> targets = {3, -1, 0, 5};
        const smx::cross_entropy_options<real> options{.temperature = parameter_of<real>(0.7),
                                                       .ignore_index = -1};
        std::vector<real> losses(4, real(-77)), g(4 * n), sum_g(4 * n);
        smx::cross_entropy_per_row(x, targets, losses, g, shape, options); // reduce: mean, which has no say
        CHECK(losses[1] == 0);
        std::list<double> wide(4);
        smx::cross_entropy_per_row(x, targets, wide, shape, options);
        CHECK(std::equal(wide.begin(), wide.end(), losses.begin(),
                         [](double a, real b) { return std::abs(a - static_cast<double>(b)) < 1e-6; }));
        smx::cross_entropy_options<real> sum = options;
        sum.reduce = smx::reduction::sum;
        const real total = smx::cross_entropy(x, targets, sum_g, shape, sum);
        CHECK(g == sum_g);
        CHECK(std::abs(total - std::accumulate(losses.begin(), losses.end(), real(0))) < real(1e-5));
        for (std::size_t r = 0; r != 4; ++r) {
            std::vector<real> row, shares;
            for (std::size_t c = 0; c != n; ++c) {
                const std::size_t at = (r / shape.inner * n + c) * shape.inner + r % shape.inner;
                row.push_back(x[at]);
                shares.push_back(q[at]);
            }
            CHECK(losses[r] == smx::cross_entropy(row, targets[r], options));
            std::vector<real> of_shares(4);
            smx::cross_entropy_per_row(x, q, of_shares, shape, options);
            CHECK(of_shares[r] == smx::cross_entropy(row, shares, options));
        }
    }
    // No row counts.
    std::vector<real> losses(2, real(-77)), g(4, real(-77));
    smx::cross_entropy_per_row(std::vector<real>{1, 2, 3, 4}, std::vector<int>{9, 9}, losses, g,
                               smx::shape{2, 2}, smx::cross_entropy_options<real>{.ignore_index = 9});
    CHECK(losses == std::vector<real>(2, real(0)));
    CHECK(g == std::vector<real>(4, real(0)));
}

TEST_CASE("cross_entropy of a batch does not overflow on the way to a mean under losses near the end of the "
          "range") {
    const std::vector<double> x = {1.5e308, 0, 1.5e308, 0, 0, 1};
    const std::vector<int> targets = {1, 1, 1};
    std::vector<double> g(6);
    for (const std::size_t rows : {std::size_t(2), std::size_t(3)}) {
        const auto part = std::span<const double>(x).first(2 * rows);
        const double expected = rows == 2 ? 1.5e308 : 1e308;
        const auto some = std::span<const int>(targets).first(rows);
        CHECK(std::abs(smx::cross_entropy(part, some, smx::shape{rows, 2}) / expected - 1) < 1e-15);
        CHECK(
            std::isinf(smx::cross_entropy(part, some, smx::shape{rows, 2}, {.reduce = smx::reduction::sum})));
    }
}

TEST_CASE(
    "cross_entropy leaves the logsumexps of rows whose loss counts for nothing under class weights of 0") {
    const std::vector<double> x = {1, 2, 3, 4}, w = {0, 1};
    std::vector<double> lse(2, -77), g(4, -77);
    smx::cross_entropy_options<double> options{.class_weights = w, .logsumexps = lse};
    CHECK(smx::cross_entropy(x, std::vector<int>{0, 0}, g, smx::shape{2, 2}, options) == 0);
    CHECK(lse == std::vector<double>{smx::logsumexp({1.0, 2.0}), smx::logsumexp({3.0, 4.0})});
    CHECK(g == std::vector<double>(4, 0.0));
}

TEST_CASE("cross_entropy refuses what does not fit under a softcap, logsumexps and losses per row") {
    const std::vector<double> x = {1, 2, 3, 4}, q = {0.5, 0.5, 0, 1};
    const std::vector<int> targets = {0, 1}, outside = {0, 2};
    std::vector<double> losses(2, -77), g(4, -77), three(3, -77);
    const smx::shape shape{2, 2};
    using options = smx::cross_entropy_options<double>;
    CHECK_THROWS_AS(smx::cross_entropy(x, 0, g, options{.softcap = -1}), std::invalid_argument);
    CHECK_THROWS_AS(smx::cross_entropy(x, 0, options{.softcap = std::nan("")}), std::invalid_argument);
    CHECK_THROWS_AS(smx::cross_entropy(x, 0, g, options{.logsumexps = three}), std::invalid_argument);
    CHECK_THROWS_AS(smx::cross_entropy(x, targets, g, shape, options{.logsumexps = three}),
                    std::invalid_argument);
    CHECK_THROWS_AS(smx::cross_entropy_per_row(x, targets, three, g, shape), std::invalid_argument);
    CHECK_THROWS_AS(smx::cross_entropy_per_row(x, q, three, shape), std::invalid_argument);
    CHECK_THROWS_AS(smx::cross_entropy_per_row(x, targets, losses, three, shape), std::invalid_argument);
    CHECK_THROWS_AS(smx::cross_entropy_per_row(x, three, losses, g, shape), std::invalid_argument);
    CHECK_THROWS_AS(smx::cross_entropy_per_row(x, outside, losses, g, shape), std::out_of_range);
    CHECK_THROWS_AS(smx::cross_entropy_per_row(x, targets, losses, g, shape, options{.temperature = 0}),
                    std::invalid_argument);
    CHECK(losses == std::vector<double>(2, -77.0));
    CHECK(g == std::vector<double>(4, -77.0));
    CHECK(three == std::vector<double>(3, -77.0));
}

namespace {

template <class Target>
concept is_target = requires(std::vector<double> x, Target t) { smx::cross_entropy(x, t); };
#if defined(__SIZEOF_INT128__)
__extension__ typedef __int128 int128;
static_assert(!is_target<int128>); // std::intmax_t does not hold it
#endif
static_assert(is_target<long long> && is_target<unsigned long long> && is_target<short>);

constexpr double capped_loss() {
    double g[3] = {}, lse[1] = {}, losses[1] = {};
    const double x[] = {9.0, -0.25, 0.5};
    const double alone = smx::cross_entropy(x, 1, g, {.softcap = 2, .logsumexps = lse});
    const int targets[] = {1};
    smx::cross_entropy_per_row(x, targets, losses, g, smx::shape{1, 3}, {.softcap = 2});
    return losses[0] == alone && g[1] < 0 && lse[0] > 2 ? alone : -1;
}
constexpr double compiled = capped_loss();

} // namespace

TEST_CASE("cross_entropy with a softcap is the same under constant evaluation") {
    CHECK(compiled > 0);
    CHECK(std::abs(compiled / capped_loss() - 1) < 4 * std::numeric_limits<double>::epsilon());
    constexpr double small = smx::detail::constant::tanh(0.25), large = smx::detail::constant::tanh(-3.5),
                     tiny = smx::detail::constant::tanh(1e-20);
    CHECK(std::abs(small / std::tanh(0.25) - 1) < 3e-16);
    CHECK(std::abs(large / std::tanh(-3.5) - 1) < 3e-16);
    CHECK(tiny == 1e-20);
}

// The maximum of a long row once in its first block and again in a later one: each has the derivative of its own share.
TEMPLATE_TEST_CASE(
    "cross_entropy of probabilities gives every maximum its own gradient under maxima far apart", "", float,
    double) {
    using real = TestType;
    constexpr std::size_t n = 1000;
    for (const auto& [first, second] :
         {std::pair<std::size_t, std::size_t>{5, 700}, {31, 132}, {700, 5}, {0, 999}}) {
        CAPTURE(first, second);
        std::vector<real> x(n), q(n), weights(n), g(n), p(n);
        for (std::size_t c = 0; c != n; ++c) {
            x[c] = static_cast<real>(c % 17) / 8;
            q[c] = static_cast<real>(c % 5) / 2048;
            weights[c] = static_cast<real>(1 + c % 3) / 2;
        }
        x[first] = x[second] = 3;
        q[first] = real(0.5);
        q[second] = real(0.125);
        const double temperature = 0.7;
        smx::cross_entropy(
            x, q, g, smx::cross_entropy_options<real>{.temperature = temperature, .class_weights = weights});
        smx::softmax(x, p, temperature);
        double total = 0;
        for (std::size_t c = 0; c != n; ++c) {
            total += static_cast<double>(q[c] * weights[c]);
        }
        for (const std::size_t c : {first, second, std::size_t{500}}) {
            const double exact =
                (total * static_cast<double>(p[c]) - static_cast<double>(q[c] * weights[c])) / temperature;
            CHECK(std::abs(static_cast<double>(g[c]) - exact) <
                  16 * static_cast<double>(std::numeric_limits<real>::epsilon()));
        }
    }
}
