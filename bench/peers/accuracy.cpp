#include "accuracy.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace {

struct parts {
    long double large, small;
};

// The sum as its rounded value and what that lost, exactly (Knuth).
parts two_sum(long double a, long double b) {
    const long double sum = a + b;
    const long double b_part = sum - a;
    return {sum, (a - (sum - b_part)) + (b - b_part)};
}

class compensated_sum {
public:
    void add(long double x) {
        const parts next = two_sum(sum_.large, x);
        sum_ = {next.large, sum_.small + next.small};
    }
    long double value() const { return sum_.large + sum_.small; }

private:
    parts sum_{0, 0};
};

// Of a row of doubles the rounded difference x - max alone would cost 1/8 ulp: exp(a + b) = exp(a) (1 + b).
long double exp_of(const parts& x) {
    const long double e = std::exp(x.large);
    return e + e * x.small;
}

template <class Real>
double ulps(Real result, long double exact) {
    if (!std::isfinite(result))
        return std::numeric_limits<double>::infinity();
    int exponent;
    std::frexp(exact, &exponent);
    const auto distance = static_cast<double>(std::abs(static_cast<long double>(result) - exact));
    return std::ldexp(distance, std::numeric_limits<Real>::digits - exponent);
}

} // namespace

template <class Real>
oracle<Real>::oracle(const problem<Real>& p) : problem_(p),
                                               exact_(p.size()) {
    // log1p rounds to a relative 2^-digits of long double, which has to be well below an ulp.
    static_assert(std::numeric_limits<long double>::digits >= std::numeric_limits<Real>::digits + 8);
    for (std::size_t row = 0; row < p.rows; ++row)
        solve_row(p.logits + row * p.columns, exact_.data() + row * p.columns);
}

template <class Real>
void oracle<Real>::solve_row(const Real* logits, long double* exact) const {
    const Real* const top = std::max_element(logits, logits + problem_.columns);
    const auto difference = [&](std::size_t i) {
        return two_sum(static_cast<long double>(logits[i]), -static_cast<long double>(*top));
    };
    compensated_sum others; // all but the largest term, which is 1: so log1p keeps the digits of a small sum
    for (std::size_t i = 0; i < problem_.columns; ++i) {
        exact[i] = exp_of(difference(i));
        if (logits + i != top)
            others.add(exact[i]);
    }
    const long double sum = 1 + others.value();
    const long double log_sum = std::log1p(others.value());
    for (std::size_t i = 0; i < problem_.columns; ++i) {
        const parts x = difference(i);
        exact[i] = problem_.what == operation::softmax ? exact[i] / sum : (x.large - log_sum) + x.small;
    }
}

template <class Real>
accuracy oracle<Real>::judge(const Real* results) const {
    accuracy found;
    for (std::size_t row = 0; row < problem_.rows; ++row) {
        compensated_sum sum;
        for (std::size_t i = row * problem_.columns; i < (row + 1) * problem_.columns; ++i) {
            sum.add(problem_.what == operation::softmax ? static_cast<double>(results[i])
                                                        : std::exp(static_cast<double>(results[i])));
            if (std::abs(exact_[i]) < static_cast<long double>((std::numeric_limits<Real>::min)()))
                continue;
            ++found.normals;
            if (results[i] == 0)
                ++found.lost;
            found.worst_ulp = (std::max)(found.worst_ulp, ulps(results[i], exact_[i]));
        }
        found.sum_error = (std::max)(found.sum_error, static_cast<double>(std::abs(sum.value() - 1)));
    }
    return found;
}

template class oracle<float>;
template class oracle<double>;
