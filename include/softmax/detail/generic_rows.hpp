// The operations on one row, for every element type and forward iterator, also in constant expressions. One function an
// operation; `Work` is the type of the arithmetic. A row is read two or three times and written in the last pass, each
// element after it was read, so that a row may be its own output.
//
// Two things keep the digits. (x - max) / T is held in two words, so that its rounding does not become an error of
// |x - max| ulp after exp. And the first maximum, whose term is exactly 1, stays out of the sum: where it dominates, the
// sum of the others is the whole answer, and log1p takes it without loss.
#ifndef SMX_DETAIL_GENERIC_ROWS_HPP
#define SMX_DETAIL_GENERIC_ROWS_HPP

#include "double_word.hpp"
#include "elementary.hpp"
#include "elements.hpp"

#include <concepts>
#include <cstddef>
#include <limits>

namespace smx::inline SMX_ABI::detail {

// The first maximum of a row. value is NaN where an element is, -inf for an empty row.
template <class Work>
struct maximum {
    Work value = negative_infinity<Work>();
    std::size_t position = 0;

    // Otherwise there is no distribution: every result follows from value alone.
    constexpr bool is_finite() const { return is_number(value); }
};

template <class Work, class I, class S>
constexpr maximum<Work> find_maximum(I first, S last) {
    maximum<Work> top;
    bool undefined = false;
    for (std::size_t position = 0; first != last; ++first, static_cast<void>(++position)) {
        const Work x = static_cast<Work>(*first);
        undefined = undefined || x != x;
        if (top.value < x) {
            top.value = x;
            top.position = position;
        }
    }
    if (undefined) {
        top.value = not_a_number<Work>();
    }
    return top;
}

// e^((x - max) / T) and its exponent.
template <class Work>
class boltzmann_factor {
public:
    constexpr boltzmann_factor(const Work& max, const Work& temperature)
        : max_(max),
          temperature_(temperature) {
        if constexpr (std::floating_point<Work>) {
            // Near the ends of the range x - max could overflow: there all is halved, which loses nothing that counts.
            if (max > (std::numeric_limits<Work>::max)() * std::numeric_limits<Work>::epsilon() / 4) {
                scale_ = Work(0.5);
                max_ = max * scale_;
                temperature_ = temperature * scale_;
                // Half of the smallest number is none; all of it divides to -infinity too.
                if (temperature_ == 0) {
                    temperature_ = temperature;
                }
            }
        }
    }

    // x is finite. Whole: in two words also where e^exponent is 0, for sums with what makes up for that.
    template <bool Whole = false>
    constexpr double_word<Work> exponent(const Work& x) const {
        if constexpr (std::floating_point<Work>) {
            return divided<Whole>(two_sum(x * scale_, -max_));
        } else {
            return {(x - max_) / temperature_, Work(0.0)};
        }
    }

    // Of x in two words, whole.
    constexpr double_word<Work> exponent(const double_word<Work>& x) const {
        if constexpr (std::floating_point<Work>) {
            auto difference = two_sum(x.hi * scale_, -max_);
            difference.lo = difference.lo + x.lo * scale_;
            return divided<true>(difference);
        } else {
            return exponent(x.hi);
        }
    }

    constexpr Work operator()(const Work& x) const {
        if (x == negative_infinity<Work>()) {
            return Work(0.0);
        }
        return value(exponent(x));
    }

    static constexpr Work value(const double_word<Work>& exponent) {
        const Work factor = exponential(exponent.hi);
        return factor + factor * exponent.lo;
    }

private:
    // difference / temperature. Unless Whole, the quotient's rounding error is worth having only where exp of it is not 0.
    template <bool Whole>
    constexpr double_word<Work> divided(const double_word<Work>& difference) const {
        using limits = std::numeric_limits<Work>;
        if (temperature_ == 1) {
            return difference;
        }
        if (difference.hi == 0 || temperature_ > (limits::max)()) {
            return {0, 0};
        }
        if (temperature_ < 1 && difference.hi < limits::lowest() * temperature_) {
            return {negative_infinity<Work>(), 0};
        }
        const Work quotient = difference.hi / temperature_;
        constexpr Work far = Whole ? constant::scale_by_power_of_two(Work(1), limits::max_exponent / 4)
                                   : Work(4 * limits::max_exponent);
        if (quotient < -far || (Whole && quotient > far)) {
            return {quotient, 0};
        }
        // Both moved away from the ends of the range, where the parts of the product overflow or are flushed.
        constexpr Work large = constant::scale_by_power_of_two(Work(1), limits::max_exponent / 2);
        const Work shift = temperature_ > large ? 1 / large : temperature_ < 1 / large ? large : Work(1);
        const Work divisor = temperature_ * shift;
        const auto product = two_product(quotient, divisor);
        const Work remainder = (difference.hi * shift - product.hi) - product.lo + difference.lo * shift;
        return {quotient, remainder / divisor};
    }

    Work max_;
    Work temperature_;
    Work scale_ = Work(1.0);
};

// The terms of a row added up, each as e^((x - max) / T).
template <class Work>
struct partition {
    double_word<Work> others; // without the first maximum
    double_word<Work> total;  // 1 + others
    Work log_total;

    constexpr explicit partition(const double_word<Work>& sum_of_others)
        : others(sum_of_others),
          total(two_sum(Work(1.0), others.hi)),
          log_total(logarithm_of_one_plus(others.hi) + others.lo / total.hi) {
        total.lo = total.lo + others.lo;
    }
};

template <class Work, class I, class S>
constexpr partition<Work> sum_terms(I first, S last, const maximum<Work>& top,
                                    const boltzmann_factor<Work>& factor) {
    compensated_sum<Work> others;
    for (std::size_t position = 0; first != last; ++first, static_cast<void>(++position)) {
        if (position != top.position) {
            others += factor(static_cast<Work>(*first));
        }
    }
    return partition<Work>(others.value());
}

// Writes f(x) for each x of a row; returns the end of the output.
template <class Value, class Work, class I, class S, class O, class F>
constexpr O write_row(I first, S last, O out, F f) {
    for (; first != last; ++first, static_cast<void>(++out)) {
        const Work result = f(static_cast<Work>(*first));
        *out = static_cast<Value>(result);
    }
    return out;
}

// T = 0: all weight on the maxima, shared equally.
template <class Work, class I, class S>
constexpr Work count_maxima(I first, S last, const Work& max) {
    std::size_t count = 0;
    for (; first != last; ++first) {
        count += static_cast<Work>(*first) == max ? 1U : 0U;
    }
    return static_cast<Work>(static_cast<double>(count));
}

// Value: what the output holds.
template <class Value, class Work, class I, class S, class O>
constexpr O softmax_row(I first, S last, O out, const Work& temperature) {
    const auto write = [&](auto f) { return write_row<Value, Work>(first, last, out, f); };
    const auto top = find_maximum<Work>(first, last);
    if (!top.is_finite()) {
        return write([](const Work&) { return not_a_number<Work>(); });
    }
    if (temperature == Work(0.0)) {
        const Work share = Work(1.0) / count_maxima(first, last, top.value);
        return write([&](const Work& x) { return x == top.value ? share : Work(0.0); });
    }
    const boltzmann_factor<Work> factor(top.value, temperature);
    const auto terms = sum_terms(first, last, top, factor);
    // The low words of the exponent and of the sum in one correction: a rounding less each.
    const Work sum_correction = terms.total.lo / terms.total.hi;
    return write([&](const Work& x) {
        if (x == negative_infinity<Work>()) {
            return Work(0.0);
        }
        auto exponent = factor.exponent(x);
        exponent.lo = exponent.lo - sum_correction;
        return Work(factor.value(exponent) / terms.total.hi);
    });
}

template <class Value, class Work, class I, class S, class O>
constexpr O log_softmax_row(I first, S last, O out, const Work& temperature) {
    const auto write = [&](auto f) { return write_row<Value, Work>(first, last, out, f); };
    const auto top = find_maximum<Work>(first, last);
    if (!top.is_finite()) {
        return write([](const Work&) { return not_a_number<Work>(); });
    }
    if (temperature == Work(0.0)) {
        const Work share = Work(0.0) - logarithm(count_maxima(first, last, top.value)); // not -0 for one
        return write([&](const Work& x) { return x == top.value ? share : negative_infinity<Work>(); });
    }
    const boltzmann_factor<Work> factor(top.value, temperature);
    const auto terms = sum_terms(first, last, top, factor);
    return write([&](const Work& x) {
        if (x == negative_infinity<Work>()) {
            return x;
        }
        const auto exponent = factor.exponent(x);
        return Work((exponent.hi - terms.log_total) + exponent.lo);
    });
}

template <class Work, class I, class S>
constexpr Work logsumexp_row(I first, S last, const Work& temperature) {
    const auto top = find_maximum<Work>(first, last);
    if (!top.is_finite()) {
        return top.value;
    }
    const boltzmann_factor<Work> factor(top.value, temperature);
    return top.value / temperature + sum_terms(first, last, top, factor).log_total;
}

// cap tanh(x / cap), and its derivative. A cap of 0 or infinity is none.
template <class Work>
class soft_cap {
public:
    constexpr explicit soft_cap(const Work& cap)
        : cap_(cap),
          is_on_(Work(0.0) < cap && cap < infinity<Work>()) {}

    constexpr bool is_on() const { return is_on_; }

    constexpr Work operator()(const Work& x) const {
        return is_on_ ? Work(cap_ * hyperbolic_tangent(Work(x / cap_))) : x;
    }

    // 1 - tanh^2 as 4 e / (1 + e)^2, e = exp(-2 |x / cap|): where tanh rounds to 1 it still has all its digits. The quotient in two
    // words: rounded, it is 2 |x / cap| times as far off in e.
    constexpr Work slope(const double_word<Work>& x) const {
        const Work zero(0.0), one(1.0);
        if (!is_on_) {
            return one;
        }
        if (!is_number(x.hi)) {
            return x.hi == x.hi ? zero : x.hi;
        }
        const auto u = boltzmann_factor<Work>(zero, cap_).exponent(x);
        const Work two(u.hi < zero ? 2.0 : -2.0);
        const Work e = boltzmann_factor<Work>::value({two * u.hi, two * u.lo});
        return Work(4.0) * e / ((one + e) * (one + e));
    }

private:
    Work cap_;
    bool is_on_;
};

// What the losses of all rows of a call have in common.
template <class Work>
struct loss_formula {
    Work temperature;
    Work z_loss;
    soft_cap<Work> cap;
};

// What the loss of a row leaves for its gradient.
template <class Work>
struct row_loss {
    Work loss;
    Work logsumexp;
    maximum<Work> top;
    boltzmann_factor<Work> factor;
    partition<Work> terms;
    double_word<Work> weight; // the sum of the weights of all classes
};

// sum_c v_c (logsumexp - x_c / T) + z logsumexp^2 of the capped logits; next_weight() returns v_0, v_1, ... in turn. A
// class of weight 0 adds 0 whatever its logit. The row is not empty.
template <class Work, class I, class S, class Weights>
constexpr row_loss<Work> cross_entropy_row(I first, S last, Weights next_weight,
                                           const loss_formula<Work>& formula) {
    auto top = find_maximum<Work>(first, last);
    top.value = formula.cap(top.value);
    const boltzmann_factor<Work> factor(top.value, formula.temperature);
    if (!top.is_finite()) {
        const double_word<Work> none{Work(0.0), Work(0.0)};
        return {not_a_number<Work>(), not_a_number<Work>(), top, factor, partition<Work>(none), none};
    }
    compensated_sum<Work> others;
    compensated_sum<Work> distance;
    compensated_sum<Work> weight;
    for (std::size_t position = 0; first != last; ++first, static_cast<void>(++position)) {
        const Work x = formula.cap(static_cast<Work>(*first));
        const Work v = next_weight();
        const bool excluded = x == negative_infinity<Work>();
        const auto exponent = excluded ? double_word<Work>{x, Work(0.0)} : factor.exponent(x);
        if (position != top.position && !excluded) {
            others += factor.value(exponent);
        }
        if (v != Work(0.0)) {
            distance += v * (Work(0.0) - (exponent.hi + exponent.lo));
            weight += v;
        }
    }
    const partition<Work> terms(others.value());
    const Work logsumexp = top.value / formula.temperature + terms.log_total;
    Work loss = distance.value().hi + weight.value().hi * terms.log_total;
    if (formula.z_loss != Work(0.0)) {
        loss = loss + formula.z_loss * logsumexp * logsumexp;
    }
    return {loss, logsumexp, top, factor, terms, weight.value()};
}

// The derivative of row.loss / divisor by each logit: ((V + 2 z logsumexp) p_j - v_j) / (T divisor), V = sum of v, times that
// of the cap. Written as (V - v_j) e_j - v_j (sum of the other terms): at a target that dominates both are small, while
// p_j - 1 would be 0.
template <class Value, class Work, class I, class S, class O, class Weights>
constexpr O cross_entropy_gradient_row(I first, S last, O out, Weights next_weight, const row_loss<Work>& row,
                                       const loss_formula<Work>& formula, const Work& divisor) {
    const Work drift =
        formula.z_loss != Work(0.0) ? Work(formula.z_loss * row.logsumexp * Work(2.0)) : Work(0.0);
    std::size_t position = 0;
    return write_row<Value, Work>(first, last, out, [&](const Work& x) {
        const Work v = next_weight();
        if (!row.top.is_finite()) {
            return not_a_number<Work>();
        }
        const Work term = row.factor(formula.cap(x));
        const Work others = position == row.top.position
                                ? row.terms.others.hi
                                : Work((row.terms.total.hi - term) + row.terms.total.lo);
        const Work other_weight = (row.weight.hi - v) + row.weight.lo;
        ++position;
        // One by one: a product of the three could leave the range.
        const Work slope =
            ((other_weight + drift) * term - v * others) / row.terms.total.hi / formula.temperature / divisor;
        return formula.cap.is_on() ? Work(slope * formula.cap.slope({x, Work(0.0)})) : slope;
    });
}

} // namespace smx::inline SMX_ABI::detail

#endif
