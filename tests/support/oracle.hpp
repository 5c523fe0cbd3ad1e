// Exact results to judge the library by: softmax and its relatives in arithmetic wider than the result, and
// the distance of a result from the exact one in units of the last place. Shares nothing with the library, on
// purpose. double and long double need oracle_multiprecision.hpp as well: Boost costs seconds of compile
// time.
#ifndef SMX_TESTS_SUPPORT_ORACLE_HPP
#define SMX_TESTS_SUPPORT_ORACLE_HPP

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <iterator>
#include <limits>
#include <sstream>
#include <string>
#include <vector>

namespace oracle {

template <class Real>
struct wide_for;

template <>
struct wide_for<float> {
    using type = long double;
};

template <class Real>
using wide_t = typename wide_for<Real>::type;

// (x - max) / T reaches 11,400 before exp vanishes in the widest type judged here: 14 bits of the oracle go
// there, and ten more keep its own error out of the second decimal of an ulp.
template <class Wide, class Real>
inline constexpr bool is_wider =
    std::numeric_limits<Wide>::is_specialized && std::numeric_limits<Wide>::radix == 2 &&
    std::numeric_limits<Wide>::digits >= std::numeric_limits<Real>::digits + 24;

// log(1 + s) for s > -1, keeping the digits of a small s.
template <class Wide>
Wide log1p_of(const Wide& s) {
    using std::abs;
    using std::log;
    if (abs(s) > Wide(1) / Wide(1 << 20)) {
        return log(Wide(1 + s));
    }
    Wide sum = 0;
    for (int k = 12; k > 0; --k) {
        sum = s * (Wide(1) / Wide(k) - sum);
    }
    return sum;
}

// exp(x) - 1, keeping the digits of a small x.
template <class Wide>
Wide expm1_of(const Wide& x) {
    using std::abs;
    using std::exp;
    if (abs(x) > Wide(1) / Wide(1 << 10)) {
        return exp(x) - Wide(1);
    }
    Wide sum = 0;
    for (int k = 12; k > 0; --k) {
        sum = x / Wide(k) * (Wide(1) + sum);
    }
    return sum;
}

template <class Wide>
Wide tanh_of(const Wide& x) {
    using std::abs;
    const Wide part = expm1_of(Wide(-2 * abs(x)));
    const Wide size = -part / (Wide(2) + part);
    return x < 0 ? Wide(-size) : size;
}

// The derivative of tanh.
template <class Wide>
Wide sech2_of(const Wide& x) {
    using std::abs;
    using std::exp;
    const Wide part = exp(Wide(-2 * abs(x)));
    return 4 * part / ((1 + part) * (1 + part));
}

// The target as the loss uses it: of[c] is q_c w_c, the probability of the class after smoothing times its
// weight.
template <class Real>
struct target_shares {
    using wide = wide_t<Real>;

    // Weights: none means 1 each.
    template <class Probabilities, class Weights = std::vector<Real>>
    explicit target_shares(const Probabilities& target, double smoothing = 0, const Weights& weights = {}) {
        const wide a = smoothing;
        for (const auto& q : target) {
            of.push_back(wide(q));
        }
        for (std::size_t c = 0; c != of.size(); ++c) {
            of[c] = ((1 - a) * of[c] + a / wide(of.size())) * (weights.empty() ? wide(1) : wide(weights[c]));
            total += of[c];
        }
    }

    std::vector<wide> of;
    wide total = 0;
};

inline std::vector<int> one_hot(std::size_t classes, std::size_t target) {
    std::vector<int> q(classes, 0);
    q[target] = 1;
    return q;
}

// One row of finite logits (or -inf beside finite ones) at a positive finite temperature, judged in results
// of type Real.
template <class Real>
class row {
public:
    using wide = wide_t<Real>;
    static_assert(is_wider<wide, Real>, "the oracle has to be wider than the result that it judges");

    template <class Logits, class Temperature>
    row(const Logits& logits, const Temperature& temperature) : inverse_temperature_(1 / wide(temperature)) {
        using std::exp;
        std::vector<wide> x;
        for (const auto& logit : logits) {
            x.push_back(wide(logit));
        }
        top_ = static_cast<std::size_t>(std::max_element(x.begin(), x.end()) - x.begin());
        scaled_max_ = x[top_] * inverse_temperature_;
        for (std::size_t c = 0; c != x.size(); ++c) {
            distance_.push_back(wide((x[c] - x[top_]) * inverse_temperature_));
            term_.push_back(distance_[c] < wide(-20000) ? wide(0) : wide(exp(distance_[c])));
            if (c != top_) {
                others_ += term_[c];
            }
        }
        inverse_sum_ = 1 / (1 + others_);
        log_sum_ = log1p_of(others_);
    }

    std::size_t size() const { return term_.size(); }
    std::size_t top() const { return top_; }
    wide scaled_max() const { return scaled_max_; }
    wide log_sum() const { return log_sum_; }

    wide probability(std::size_t c) const { return term_[c] * inverse_sum_; }
    // 1 - probability(c) without the cancellation.
    wide probability_of_others(std::size_t c) const {
        return (c == top_ ? others_ : wide(1 + (others_ - term_[c]))) * inverse_sum_;
    }
    wide log_probability(std::size_t c) const { return distance_[c] - log_sum_; }
    wide logsumexp() const { return scaled_max_ + log_sum_; }
    // logsumexp is promised in units of this, since its two parts can cancel.
    wide logsumexp_scale() const {
        using std::abs;
        const wide a = abs(scaled_max_);
        return a > log_sum_ ? a : log_sum_;
    }

    wide loss(const target_shares<Real>& share, const wide& z_loss = 0) const {
        wide sum = 0;
        for (std::size_t c = 0; c != size(); ++c) {
            if (share.of[c] != 0) {
                sum -= share.of[c] * log_probability(c);
            }
        }
        return sum + z_loss * logsumexp() * logsumexp();
    }

    wide gradient(std::size_t c, const target_shares<Real>& share, const wide& z_loss = 0) const {
        // For an index target one of the two products is zero: nothing cancels.
        const wide plain =
            (share.total - share.of[c]) * probability(c) - share.of[c] * probability_of_others(c);
        return (plain + 2 * z_loss * logsumexp() * probability(c)) * inverse_temperature_;
    }

    // The largest of the gradient and the terms that it adds up: where they cancel, errors are in units of
    // this.
    wide gradient_scale(std::size_t c, const target_shares<Real>& share, const wide& z_loss = 0) const {
        using std::abs;
        const wide terms[] = {wide(share.total * probability(c) * inverse_temperature_),
                              wide(share.of[c] * inverse_temperature_),
                              wide(abs(gradient(c, share, z_loss)))};
        return *std::max_element(std::begin(terms), std::end(terms));
    }

private:
    wide inverse_temperature_;
    std::vector<wide> distance_, term_;
    std::size_t top_ = 0;
    wide scaled_max_ = 0, others_ = 0, inverse_sum_ = 0, log_sum_ = 0;
};

// The value of the last place of a Real of this size.
template <class Real, class Wide>
Wide last_place(const Wide& exact) {
    static_assert(is_wider<Wide, Real>, "the oracle has to be wider than the result that it judges");
    using std::frexp;
    using std::ldexp;
    using limits = std::numeric_limits<Real>;
    int exponent = limits::min_exponent;
    if (exact != 0) {
        frexp(exact, &exponent);
    }
    return ldexp(Wide(1), std::max(exponent, limits::min_exponent) - limits::digits);
}

// |result - exact| in units of the last place of a number as large as `scale`. NaN counts as infinitely far.
template <class Real, class Wide>
double ulps_of(Real result, const Wide& exact, const Wide& scale) {
    using std::abs;
    using limits = std::numeric_limits<Real>;
    if (!(std::abs(result) <= (limits::max)())) {
        const bool overflows = abs(exact) > Wide((limits::max)()) && !std::isnan(result);
        return overflows && (exact < 0) == (result < 0) ? 0.0 : std::numeric_limits<double>::infinity();
    }
    const Wide ulps = abs(Wide(Wide(result) - exact)) / last_place<Real>(Wide(abs(scale)));
    return ulps > Wide(1e300) ? 1e300 : static_cast<double>(ulps);
}

template <class Real, class Wide>
double ulps(Real result, const Wide& exact) {
    return ulps_of(result, exact, exact);
}

// What a failure prints: both values as decimals and as hexadecimal floats, and the distance.
template <class Real, class Wide>
std::string describe(Real result, const Wide& exact, double distance) {
    const Real nearest = static_cast<Real>(exact);
    std::ostringstream text;
    text.precision(std::numeric_limits<Real>::max_digits10);
    text << "result " << result << " = " << std::hexfloat << result << std::defaultfloat << ", exact "
         << nearest << " = " << std::hexfloat << nearest << std::defaultfloat << ", " << distance
         << " ulp apart";
    return text.str();
}

} // namespace oracle

#endif
