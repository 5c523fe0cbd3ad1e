// The numbers that the documentation promises, each held against an oracle wider than the result: which
// distributions, lengths and temperatures, and how many units in the last place. The bounds and the rows
// stand in support/accuracy.hpp.
#include <softmax.hpp>

#include "support/accuracy.hpp"
#include "support/sanitizers.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <list>
#include <numeric>
#include <random>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

namespace {

using namespace accuracy;

struct library {
    static constexpr bool keeps_bits() { return true; }
    template <class Real>
    static void softmax(const std::vector<Real>& x, std::vector<Real>& p, temperature_of<Real> t) {
        smx::softmax(x, p, t);
    }
    template <class Real>
    static void log_softmax(const std::vector<Real>& x, std::vector<Real>& l, temperature_of<Real> t) {
        smx::log_softmax(x, l, t);
    }
    template <class Real>
    static Real logsumexp(const std::vector<Real>& x, temperature_of<Real> t) {
        return smx::logsumexp(x, t);
    }
    template <class Real>
    static Real cross_entropy(const std::vector<Real>& x, std::size_t target, temperature_of<Real> t) {
        return smx::cross_entropy(x, target, {.temperature = t});
    }
    template <class Real>
    static Real cross_entropy(const std::vector<Real>& x, std::size_t target, std::vector<Real>& gradient,
                              temperature_of<Real> t) {
        return smx::cross_entropy(x, target, gradient, {.temperature = t});
    }
};

// A row of n logits that holds those of `from` again and again, the largest once: the oracle then has as few
// terms as there are different logits, however long the row.
template <class Real>
class repeated_row {
public:
    using wide = oracle::wide_t<Real>;

    repeated_row(const distribution<Real>& from, std::size_t n, double t)
        : different_(logits_of(from, 4093)),
          exact_(different_, t),
          which_(n),
          count_(different_.size()),
          logits_(n) {
        random_numbers random(n);
        for (std::size_t c = 0; c != n; ++c) {
            std::size_t k = c == n / 2 ? exact_.top() : random.below(different_.size());
            k = k == exact_.top() && c != n / 2 ? (k + 1) % different_.size() : k;
            which_[c] = static_cast<std::uint16_t>(k);
            logits_[c] = different_[k];
            ++count_[k];
        }
        for (std::size_t k = 0; k != count_.size(); ++k) {
            more_ += (wide(count_[k]) - 1) * exact_.probability(k);
        }
        log_total_ = oracle::log1p_of(more_);
    }

    const std::vector<Real>& logits() const { return logits_; }
    std::size_t top() const { return logits_.size() / 2; }
    wide probability(std::size_t c) const { return exact_.probability(which_[c]) / (1 + more_); }
    // Both terms are at most 0: nothing cancels.
    wide log_probability(std::size_t c) const { return exact_.log_probability(which_[c]) - log_total_; }
    wide logsumexp() const { return exact_.scaled_max() + (exact_.log_sum() + log_total_); }
    wide logsumexp_scale() const {
        using std::abs;
        return (std::max)(wide(abs(exact_.scaled_max())), wide(exact_.log_sum() + log_total_));
    }

    // Calls judge(c, times) for the first of equal logits and how many there are; returns how many of the
    // others have another result.
    template <class Judge>
    std::size_t each_different(const std::vector<Real>& results, Judge judge) const {
        std::vector<std::size_t> first(different_.size(), results.size());
        std::size_t unequal = 0;
        for (std::size_t c = 0; c != results.size(); ++c) {
            std::size_t& seen = first[which_[c]];
            if (seen == results.size()) {
                seen = c;
                judge(c, count_[which_[c]]);
            }
            unequal += static_cast<std::size_t>(results[c] != results[seen]);
        }
        return unequal;
    }

private:
    std::vector<Real> different_;
    oracle::row<Real> exact_;
    std::vector<std::uint16_t> which_;
    std::vector<std::size_t> count_;
    std::vector<Real> logits_;
    wide more_ = 0, log_total_ = 0; // the sum of the row over that of the different logits is 1 + more_
};

template <class Real>
void examine_long(const distribution<Real>& from, std::size_t n, double t) {
    using wide = oracle::wide_t<Real>;
    const std::string where = std::string(from.name) + ", " + std::to_string(n) + " classes";
    const repeated_row<Real> row(from, n, t);
    std::vector<Real> out(n);
    verdict<Real> p("softmax", softmax_bound, where), l("log_softmax", log_softmax_bound, where),
        lse("logsumexp", logsumexp_bound, where), loss("cross_entropy, index", loss_bound, where),
        sum("softmax, |sum - 1| in epsilon", sum_bound, where);
    CAPTURE(where, name_of<Real>);
    smx::softmax(row.logits(), out, t);
    wide total = 0;
    CHECK(row.each_different(out, [&](std::size_t c, std::size_t times) {
        total += wide(out[c]) * wide(times);
        if (is_normal_magnitude<Real>(row.probability(c))) {
            p.add(out[c], row.probability(c), c);
        }
    }) == 0);
    sum.add(Real(1), total, wide(1), 0);
    smx::log_softmax(row.logits(), out, t);
    CHECK(row.each_different(
              out, [&](std::size_t c, std::size_t) { l.add(out[c], row.log_probability(c), c); }) == 0);
    lse.add(smx::logsumexp(row.logits(), t), row.logsumexp(), row.logsumexp_scale(), 0);
    for (const std::size_t target : {row.top(), n - 1}) {
        loss.add(smx::cross_entropy(row.logits(), target, {.temperature = t}),
                 wide(-row.log_probability(target)), target);
    }
    for (const auto* v : {&p, &l, &lse, &loss, &sum}) {
        v->check();
    }
}

// 1 to 130, or the ends of vectors and steps among them.
std::vector<std::size_t> short_lengths() {
    if (is_sanitized) {
        return {1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 47, 63, 64, 65, 100, 127, 128, 129, 130};
    }
    std::vector<std::size_t> all(130);
    std::iota(all.begin(), all.end(), std::size_t{1});
    return all;
}

// Losses whose terms meet in other ways than an index target's: probabilities, smoothing, weights, z_loss.
template <class Real>
struct mixture {
    const char* name;
    bool index;
    double smoothing;
    bool weighted;
    double z_loss;
};

} // namespace

TEMPLATE_TEST_CASE(
    "softmax, log_softmax, logsumexp and cross_entropy keep their bounds under 1 to 130 classes", "", float,
    double, long double) {
    using real = TestType;
    for (const auto& from : distributions<real>()) {
        for (const auto t : temperatures<real>(from.name)) {
            for (const std::size_t n : short_lengths()) {
                examine<library, real>(from, n, t);
            }
        }
    }
}

TEMPLATE_TEST_CASE("softmax, log_softmax, logsumexp and cross_entropy keep their bounds under 1000 classes",
                   "", float, double, long double) {
    using real = TestType;
    for (const auto& from : distributions<real>()) {
        for (const auto t : temperatures<real>(from.name)) {
            examine<library, real>(from, 1000, t);
        }
    }
}

TEMPLATE_TEST_CASE("softmax, log_softmax, logsumexp and cross_entropy keep their bounds under 100003 classes",
                   "", float, double, long double) {
    using real = TestType;
    // The oracle takes most of the time: the wide types see half of the distributions each, at one
    // temperature.
    const auto& all = distributions<real>();
    for (std::size_t k = 0; k != (is_sanitized ? 2 : all.size()); ++k) {
        const auto at = temperatures<real>(all[k].name);
        for (const auto t : at) {
            if ((std::is_same_v<real, float> && !is_sanitized) ||
                (t == at[3] && k % 2 == std::is_same_v<real, double>)) {
                examine<library, real>(all[k], 100003, t);
            }
        }
    }
}

TEST_CASE("softmax, log_softmax, logsumexp and cross_entropy keep their bounds under one million classes of "
          "float") {
    const auto& all = distributions<float>();
    for (std::size_t k = 0; k != (is_sanitized ? 1 : all.size()); ++k) {
        examine<library, float>(all[k], 1'000'000, 0.7);
    }
    if (!is_sanitized) {
        examine<library, float>(all[0], 1'000'000, 1.7);
        examine<library, float>(all[1], 1'000'000, 100.0);
    }
}

TEMPLATE_TEST_CASE("softmax, log_softmax, logsumexp and cross_entropy keep their bounds under 2^24 classes",
                   "", float, double) {
    using real = TestType;
    const auto& all = distributions<real>();
    for (std::size_t k = 0; k < (is_sanitized ? 1 : all.size()); k += std::is_same_v<real, float> ? 1 : 2) {
        examine_long<real>(all[k], (std::size_t{1} << 24) - 3, 0.7);
    }
    if (!is_sanitized) {
        examine_long<real>(all[1], std::size_t{1} << 24, 1.0);
    }
}

TEMPLATE_TEST_CASE("softmax of one class is exactly 1 under any logit and temperature", "", float, double,
                   long double) {
    using real = TestType;
    for (const auto& from : distributions<real>()) {
        for (const auto t : temperatures<real>(from.name)) {
            const std::vector<real> x = logits_of(from, 1);
            CAPTURE(from.name, t, x[0]);
            CHECK(smx::softmax(x, t)[0] == 1);
            CHECK(smx::log_softmax(x, t)[0] == 0);
            CHECK(smx::cross_entropy(x, 0, {.temperature = t}) == 0);
        }
    }
}

TEMPLATE_TEST_CASE("softmax of equal logits has equal bits under every length and temperature", "", float,
                   double, long double) {
    using real = TestType;
    for (const real value : {real(-2.7), real(0), real(88.3), real(-1e30)}) {
        for (const auto t : temperatures<real>("")) {
            for (std::size_t n = 1; n <= 300; ++n) {
                const std::vector<real> p = smx::softmax(std::vector<real>(n, value), t);
                const std::vector<real> l = smx::log_softmax(std::vector<real>(n, value), t);
                CAPTURE(n, t, value);
                CHECK((std::count(p.begin(), p.end(), p[0]) == static_cast<std::ptrdiff_t>(n) &&
                       std::count(l.begin(), l.end(), l[0]) == static_cast<std::ptrdiff_t>(n)));
                CHECK(std::abs(p[0] * static_cast<real>(n) - 1) <= 3 * std::numeric_limits<real>::epsilon());
            }
        }
    }
}

TEMPLATE_TEST_CASE("log_softmax of a dominant class is -(n - 1) exp(-80) under {80, 0, 0, ...}", "", float,
                   double, long double) {
    using real = TestType;
    using wide = oracle::wide_t<real>;
    using std::exp;
    for (const std::size_t n : std::initializer_list<std::size_t>{2, 3, 10, 129, 1000, 100003}) {
        for (const int scale : {1, 2}) { // {160, 0, 0, ...} at T = 2 is the same row
            std::vector<real> x(n, real(0));
            x[n / 2] = static_cast<real>(80 * scale);
            const wide expected = -wide(n - 1) * exp(wide(-80));
            verdict<real> found("log_softmax of {80, 0, 0, ...}", 3, std::to_string(n) + " classes");
            found.add(smx::log_softmax(x, scale)[n / 2], expected, n / 2);
            const temperature_of<real> t = scale;
            found.add(-smx::cross_entropy(x, n / 2, {.temperature = t}), expected, n / 2);
            found.check();
        }
    }
}

// Terms of a few sizes: what their additions round off may all have one sign.
TEMPLATE_TEST_CASE("softmax keeps its bounds under many terms of one size", "", float, double) {
    using real = TestType;
    std::mt19937_64 random(20261125);
    const auto some = [&](unsigned values, double step) {
        return static_cast<real>(static_cast<double>(random() % values) * step);
    };
    for (const std::size_t n : {569U, 1024U, 5000U}) {
        for (int trial = 0; trial != (is_sanitized ? 5 : 40); ++trial) {
            const real large = real(13.25) + some(4096, 0x1p-14);
            std::vector<real> x(n, some(65536, 0x1p-13) - real(2)), p(n);
            for (std::size_t i = 0; i + 8 < n; i += 128) {
                std::fill_n(x.begin() + static_cast<std::ptrdiff_t>(i), 8, large);
            }
            x[0] = real(13.75);
            for (std::size_t k = 1; k != 40; ++k) {
                x[n - k] = some(4096, 0x1p-9);
            }
            smx::softmax(x, p);
            const oracle::row<real> exact(x, real(1));
            verdict<real> found("softmax", softmax_bound, std::to_string(n) + " logits of a few sizes");
            for (std::size_t c = 0; c != n; ++c) {
                if (c == 0 || x[c] != x[c - 1]) {
                    found.add(p[c], exact.probability(c), c);
                }
            }
            found.check();
        }
    }
}

TEMPLATE_TEST_CASE("cross_entropy keeps its digits under losses down to 1e-30", "", float, double,
                   long double) {
    using real = TestType;
    using wide = oracle::wide_t<real>;
    using std::log;
    for (const double loss : {1e-3, 1e-6, 1e-12, 1e-20, 1e-30}) {
        for (const double t : {0.5, 1.0, 4.0}) {
            const real top = static_cast<real>(-std::log(loss) * t);
            std::vector<real> x = {0, top}, g(2);
            const temperature_of<real> temperature = t;
            const oracle::row<real> exact(x, temperature);
            const wide expected = -exact.log_probability(1);
            verdict<real> found("cross_entropy of 1e-3 to 1e-30", 3, std::to_string(loss));
            found.add(smx::cross_entropy(x, 1, g, {.temperature = temperature}), expected, 1);
            found.check();
            CHECK(
                std::abs(static_cast<double>(smx::cross_entropy(x, 1, {.temperature = temperature})) / loss -
                         1) < 1e-3);
            // With two classes the gradient at the target is that of the other, negated; p - 1 rounded would
            // be 0.
            CHECK(g[1] == -g[0]);
            CHECK(oracle::ulps(g[0], wide(exact.probability(0) / wide(temperature))) <= gradient_bound);
        }
    }
}

TEMPLATE_TEST_CASE(
    "the gradient of cross_entropy at the target is -(sum of the others) under a dominant class", "", float,
    double, long double) {
    using real = TestType;
    using wide = oracle::wide_t<real>;
    for (const std::size_t n : std::initializer_list<std::size_t>{3, 50, 1000}) {
        for (const int top : {5, 18, 30, 60}) {
            std::vector<real> x(n), g(n);
            random_numbers random(n);
            for (real& entry : x) {
                entry = static_cast<real>(random.uniform());
            }
            x[n / 2] = static_cast<real>(top);
            smx::cross_entropy(x, n / 2, g, {.temperature = temperature_of<real>(0.75)});
            wide others = 0;
            for (std::size_t c = 0; c != n; ++c) {
                others += c == n / 2 ? wide(0) : wide(g[c]);
            }
            CAPTURE(n, top, g[n / 2]);
            CHECK(oracle::ulps(g[n / 2], wide(-others)) <= 8);
        }
    }
}

TEMPLATE_TEST_CASE("cross_entropy keeps its bounds under probabilities, smoothing, weights and z_loss", "",
                   float, double, long double) {
    using real = TestType;
    using wide = oracle::wide_t<real>;
    const mixture<real> mixtures[] = {
        {"cross_entropy, probabilities", false, 0, false, 0},
        {"cross_entropy, smoothing", true, 0.1, false, 0},
        {"cross_entropy, weights", true, 0, true, 0},
        {"cross_entropy, probabilities, weights", false, 0, true, 0},
        {"cross_entropy, all of them", false, 0.3, true, 0},
        {"cross_entropy, smoothing, weights", true, 0.9, true, 0},
        {"cross_entropy, z_loss", true, 0, false, 1e-2},
    };
    for (const auto& from : distributions<real>()) {
        if (std::string(from.name).find("1e30") != std::string::npos) {
            continue;
        }
        for (const auto& mix : mixtures) {
            for (const std::size_t n : std::initializer_list<std::size_t>{2, 7, 64, 1001}) {
                for (const auto t : {temperature_of<real>(0.3), temperature_of<real>(1.7)}) {
                    const std::vector<real> x = logits_of(from, n);
                    random_numbers random(n);
                    std::vector<real> q, w;
                    for (std::size_t c = 0; c != n; ++c) {
                        q.push_back(static_cast<real>(random.uniform() / static_cast<double>(n)));
                        w.push_back(static_cast<real>(0.1 + random.uniform()));
                    }
                    const std::size_t target = n / 3;
                    smx::cross_entropy_options<real> options{
                        .temperature = t,
                        .label_smoothing = static_cast<temperature_of<real>>(mix.smoothing),
                        .z_loss = static_cast<temperature_of<real>>(mix.z_loss)};
                    if (mix.weighted) {
                        options.class_weights = w;
                    }
                    const std::vector<real> weights = mix.weighted ? w : std::vector<real>();
                    const oracle::row<real> exact(x, t);
                    const oracle::target_shares<real> share =
                        mix.index
                            ? oracle::target_shares<real>(oracle::one_hot(n, target), mix.smoothing, weights)
                            : oracle::target_shares<real>(q, mix.smoothing, weights);
                    const wide z = mix.z_loss;
                    std::vector<real> g(n);
                    const real both = mix.index ? smx::cross_entropy(x, target, g, options)
                                                : smx::cross_entropy(x, q, g, options);
                    const real alone = mix.index ? smx::cross_entropy(x, target, options)
                                                 : smx::cross_entropy(x, q, options);
                    CHECK(alone == both);
                    const std::string where = std::string(from.name) + ", " + std::to_string(n) +
                                              " classes, T = " + std::to_string(t);
                    verdict<real> loss(mix.name, loss_bound, where);
                    verdict<real> gradient("gradient, " + std::string(mix.name).substr(15),
                                           mix.z_loss != 0 ? z_gradient_bound : gradient_bound, where);
                    // logsumexp is promised in units of its larger part, and its square as well.
                    const wide exact_loss = exact.loss(share, z);
                    const wide larger =
                        exact.loss(share) + z * exact.logsumexp_scale() * exact.logsumexp_scale();
                    loss.add(both, exact_loss, larger, 0);
                    for (std::size_t c = 0; c != n; ++c) {
                        const wide scale = exact.gradient_scale(c, share, z);
                        if (is_normal_magnitude<real>(exact.probability(c)) &&
                            is_normal_magnitude<real>(scale)) {
                            gradient.add(g[c], exact.gradient(c, share, z), scale, c);
                        }
                    }
                    loss.check();
                    gradient.check();
                }
            }
        }
    }
}

TEMPLATE_TEST_CASE("cross_entropy does not degrade under a mean or sum over 2^20 rows", "", float, double) {
    using real = TestType;
    using wide = oracle::wide_t<real>;
    constexpr std::size_t rows = std::size_t{1} << 20, classes = 3;
    // So many rows that differ: the oracle takes microseconds for one of double.
    constexpr std::size_t kinds = 8191;
    const auto kind_of = [](std::size_t o) { return o * 2654435761U % kinds; };
    random_numbers random(7);
    const std::vector<real> w = {real(0.3), real(1.1), real(2.7)};
    const double t = 0.7;
    std::vector<real> of_kind;
    std::vector<std::uint8_t> target_of_kind;
    std::vector<wide> loss_of_kind;
    for (std::size_t k = 0; k != kinds; ++k) {
        for (std::size_t c = 0; c != classes; ++c) {
            of_kind.push_back(static_cast<real>(3 * random.normal()));
        }
        target_of_kind.push_back(k % 10 == 9 ? 255 : static_cast<std::uint8_t>(random.below(classes)));
        loss_of_kind.push_back(0);
        if (target_of_kind[k] != 255) {
            const oracle::row<real> row(std::span<const real>(of_kind).subspan(k * classes, classes), t);
            loss_of_kind[k] = -wide(w[target_of_kind[k]]) * row.log_probability(target_of_kind[k]);
        }
    }
    std::vector<real> x(rows * classes), columns(x.size()), g(x.size()), h(x.size());
    std::vector<std::uint8_t> targets(rows);
    wide sum = 0, weight = 0;
    for (std::size_t o = 0; o != rows; ++o) {
        const std::size_t k = kind_of(o);
        for (std::size_t c = 0; c != classes; ++c) {
            columns[c * rows + o] = x[o * classes + c] = of_kind[k * classes + c];
        }
        targets[o] = target_of_kind[k];
        sum += loss_of_kind[k];
        weight += targets[o] != 255 ? wide(w[targets[o]]) : wide(0);
    }
    smx::cross_entropy_options<real> options{.temperature = t, .class_weights = w, .ignore_index = 255};
    const smx::shape shape{rows, classes, 1};
    for (const auto reduce : {smx::reduction::mean, smx::reduction::sum}) {
        options.reduce = reduce;
        const wide divisor = reduce == smx::reduction::mean ? weight : wide(1);
        const real loss = smx::cross_entropy(x, targets, g, shape, options);
        CHECK(loss == smx::cross_entropy(x, targets, shape, options));
        CHECK(loss == smx::cross_entropy(columns, targets, h, {1, classes, rows}, options));
        verdict<real> found("cross_entropy over 2^20 rows", loss_bound, "2^20 rows");
        verdict<real> gradient("gradient over 2^20 rows", gradient_bound, "2^20 rows");
        found.add(loss, wide(sum / divisor), 0);
        std::size_t ignored_and_written = 0, different = 0;
        for (std::size_t o = 0; o != rows; ++o) {
            const real* const row = g.data() + o * classes;
            for (std::size_t c = 0; c != classes; ++c) {
                different += row[c] == h[c * rows + o] ? 0U : 1U;
                ignored_and_written += targets[o] == 255 && row[c] != 0 ? 1U : 0U;
            }
            if (targets[o] != 255 && o % 997 == 0) {
                const oracle::row<real> exact(std::span<const real>(x).subspan(o * classes, classes), t);
                const oracle::target_shares<real> share(oracle::one_hot(classes, targets[o]), 0, w);
                for (std::size_t c = 0; c != classes; ++c) {
                    gradient.add(row[c], wide(exact.gradient(c, share) / divisor), o * classes + c);
                }
            }
        }
        CHECK(ignored_and_written == 0);
        CHECK(different == 0);
        found.check();
        gradient.check();
    }
}

TEMPLATE_TEST_CASE(
    "softmax, log_softmax and logsumexp of a row have the same bits under any batch and address", "", float,
    double, long double) {
    using real = TestType;
    for (const std::size_t n : std::initializer_list<std::size_t>{1, 2, 5, 16, 17, 65, 129}) {
        for (const std::size_t inner : std::initializer_list<std::size_t>{1, 3}) {
            const smx::shape shape{2, n, inner};
            const std::vector<real> x = logits_of(distributions<real>()[1], shape.outer * n * inner);
            std::vector<real> p(x.size()), l(x.size()), s(shape.outer * inner), g(x.size());
            const std::vector<double> t = {0.3, 1.7, 0.7, 11, 0.9, 3};
            const auto each = std::span<const double>(t).first(shape.outer * inner);
            smx::softmax(x, p, shape, each);
            smx::log_softmax(x, l, shape, each);
            smx::logsumexp(x, s, shape, each);
            for (std::size_t o = 0; o != shape.outer; ++o) {
                for (std::size_t i = 0; i != inner; ++i) {
                    std::vector<real> row(n + 1), batch_p, batch_l;
                    for (std::size_t c = 0; c != n; ++c) {
                        row[c + 1] = x[(o * n + c) * inner + i];
                        batch_p.push_back(p[(o * n + c) * inner + i]);
                        batch_l.push_back(l[(o * n + c) * inner + i]);
                    }
                    const std::size_t number = o * inner + i;
                    const auto odd =
                        std::span<const real>(row).subspan(1); // another address than the batch's
                    CAPTURE(n, inner, o, i);
                    CHECK(smx::softmax(odd, t[number]) == batch_p);
                    CHECK(smx::log_softmax(odd, t[number]) == batch_l);
                    CHECK(smx::logsumexp(odd, t[number]) == s[number]);
                }
            }
        }
    }
}

TEMPLATE_TEST_CASE("exp, log and log1p of constant expressions are within 1 ulp under any argument", "",
                   float, double, long double) {
    using real = TestType;
    using wide = oracle::wide_t<real>;
    using limits = std::numeric_limits<real>;
    namespace constant = smx::detail::constant;
    verdict<real> exp_found("constant exp", 1, "-"), log_found("constant log", 1, "-"),
        log1p_found("constant log1p", 1, "-");
    const real low = std::log((limits::min)()), high = std::log((limits::max)());
    using std::exp;
    using std::log;
    for (int k = 1; k != 4000; ++k) {
        const real fraction = static_cast<real>(k) / 4000;
        const real x = low + (high - low) * fraction, small = std::ldexp(fraction, -(k % limits::digits));
        const real any = std::ldexp(1 + fraction, (k * 7919) % (limits::max_exponent - limits::min_exponent) +
                                                      limits::min_exponent);
        exp_found.add(constant::exp(x), wide(exp(wide(x))), 0);
        exp_found.add(constant::exp(-small), wide(exp(wide(-small))), 0);
        log_found.add(constant::log(any), wide(log(wide(any))), 0);
        log_found.add(constant::log(1 + small), oracle::log1p_of(wide(wide(real(1 + small)) - 1)), 0);
        log1p_found.add(constant::log1p(small), oracle::log1p_of(wide(small)), 0);
        log1p_found.add(constant::log1p(8 * fraction), oracle::log1p_of(wide(8 * fraction)), 0);
    }
    exp_found.check();
    log_found.check();
    log1p_found.check();
}

TEMPLATE_TEST_CASE(
    "softmax and log_softmax keep their bounds under logits and temperatures at the ends of the range", "",
    float, double, long double) {
    using real = TestType;
    using limits = std::numeric_limits<real>;
    const auto check = [](const std::vector<real>& x, auto temperature) {
        const std::list<real> elsewhere(x.begin(), x.end()); // the generic route
        const oracle::row<real> exact(x, oracle::wide_t<real>(temperature));
        for (const auto& p : {smx::softmax(x, temperature), smx::softmax(elsewhere, temperature)}) {
            for (std::size_t c = 0; c != x.size(); ++c) {
                CAPTURE(c, temperature, p[c]);
                CHECK(p[c] == p[c]);
                if (is_normal_magnitude<real>(exact.probability(c))) {
                    CHECK(oracle::ulps(p[c], exact.probability(c)) <= softmax_bound);
                }
            }
        }
        for (const auto& l : {smx::log_softmax(x, temperature), smx::log_softmax(elsewhere, temperature)}) {
            CHECK(l[0] == l[0]);
            CHECK(l[1] == l[1]);
        }
    };
    // The usual value of a mask, at temperatures whose quotient comes back above the largest number.
    for (int k = 1; k <= 60; ++k) {
        check({0, limits::lowest()}, 1 + static_cast<real>(k) / 8);
        check({0, limits::lowest(), (limits::max)()}, 1 + static_cast<real>(k) / 10);
    }
    check({(limits::max)(), 0}, limits::denorm_min());
    check({0, -1}, (limits::max)() / 4);
    const real small = limits::denorm_min() * static_cast<real>(1 << 30);
    check({0, real(-3.75) * small, real(-20.25) * small, real(-60.5) * small}, small);
}

TEST_CASE("softmax computes in the wider type under mixed element types") {
    random_numbers random(11);
    std::vector<float> x;
    std::vector<double> y;
    for (int k = 0; k != 200; ++k) {
        x.push_back(static_cast<float>(10 * random.normal()));
        y.push_back(10 * random.normal());
    }
    const double t = 0.3;
    std::vector<double> wide_p(200), wide_l(200);
    smx::softmax(x, wide_p, t);
    smx::log_softmax(x, wide_l, t);
    const oracle::row<double> exact(x, t);
    std::vector<float> narrow_p(200);
    smx::softmax(y, narrow_p, t);
    const oracle::row<double> exact_y(y, t);
    double worst_p = 0, worst_l = 0, worst_narrow = 0;
    for (std::size_t c = 0; c != 200; ++c) {
        worst_p = std::max(worst_p, oracle::ulps(wide_p[c], exact.probability(c)));
        worst_l = std::max(worst_l, oracle::ulps(wide_l[c], exact.log_probability(c)));
        if (exact_y.probability(c) >= (std::numeric_limits<float>::min)()) {
            worst_narrow = std::max(
                worst_narrow, oracle::ulps(narrow_p[c], static_cast<long double>(exact_y.probability(c))));
        }
    }
    CHECK(worst_p <= softmax_bound);
    CHECK(worst_l <= log_softmax_bound);
    CHECK(worst_narrow <= 0.51); // rounded once
    // Probability targets wider than the logits.
    const std::vector<double> q(200, 0.005);
    const double loss = smx::cross_entropy(x, q, smx::cross_entropy_options<double>{.temperature = t});
    CHECK(oracle::ulps(loss, exact.loss(oracle::target_shares<double>(q))) <= loss_bound);
}

TEST_CASE("softmax of double rounds a long double temperature to double under large quotients") {
    const long double t = 0.3L;
    const std::vector<double> x = {0, 50, 120, 200};
    CHECK(smx::softmax(x, t) == smx::softmax(x, static_cast<double>(t)));
    // In long double the temperature keeps its digits.
    const std::vector<long double> wide(x.begin(), x.end());
    const std::vector<long double> p = smx::softmax(wide, t);
    const oracle::row<long double> exact(wide, oracle::wide_t<long double>(t));
    for (std::size_t c = 0; c != wide.size(); ++c) {
        const double found = oracle::ulps(p[c], exact.probability(c));
        CAPTURE(c, oracle::describe(p[c], exact.probability(c), found));
        CHECK(found <= softmax_bound);
    }
}
