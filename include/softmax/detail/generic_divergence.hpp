// The divergence of a student's row from a teacher's, and its gradient, for every element type and forward iterator, also
// in constant expressions; by the same formulas as the kernels (divergence_rows.hpp says why these).
#ifndef SMX_DETAIL_GENERIC_DIVERGENCE_HPP
#define SMX_DETAIL_GENERIC_DIVERGENCE_HPP

#include "generic_rows.hpp"

#include <concepts>
#include <limits>

namespace smx::inline SMX_ABI::detail {

// The softmax of a row.
template <class Work>
struct row_distribution {
    maximum<Work> top;
    boltzmann_factor<Work> factor;
    partition<Work> terms;

    // x is finite.
    constexpr Work probability(double_word<Work> exponent) const {
        exponent.lo = exponent.lo - terms.total.lo / terms.total.hi;
        return factor.value(exponent) / terms.total.hi;
    }
};

template <class Work, class I, class S>
constexpr row_distribution<Work> distribution_of_row(I first, S last, const Work& temperature) {
    const auto top = find_maximum<Work>(first, last);
    const boltzmann_factor<Work> factor(top.value, temperature);
    if (!top.is_finite()) {
        return {top, factor, partition<Work>({Work(0.0), Work(0.0)})};
    }
    return {top, factor, sum_terms(first, last, top, factor)};
}

// What one class adds: t log(t / s) - t + s, and t - s.
template <class Work>
struct class_divergence {
    Work relative;
    Work difference;
};

// The terms of exp(-d) from the second on, for -2 < d < 1; to their last digits, since a divergence has 6 ulp for all it is made of.
template <class Work>
constexpr Work tail_of_exponential(const double_word<Work>& d) {
    Work power = d.hi * d.hi / Work(2.0);
    compensated_sum<Work> sum;
    for (int k = 3; !(power + sum.value().hi == sum.value().hi); ++k) {
        sum += power;
        power = power * (Work(0.0) - d.hi) / Work(static_cast<double>(k));
    }
    const auto tail = sum.value();
    return tail.hi + (tail.lo + d.lo * (d.hi - tail.hi));
}

// log(a / b), of sums that are at least 1. (Their logarithms apart are large for long rows, and rounded cost 6.4 ulp.)
template <class Work>
constexpr double_word<Work> log_ratio_of_sums(const partition<Work>& a, const partition<Work>& b) {
    if constexpr (std::floating_point<Work>) {
        const bool is_below = a.total.hi < b.total.hi;
        const auto quotient = is_below ? b.total / a.total : a.total / b.total;
        const auto excess = quotient - double_word<Work>{1, 0};
        const Work log =
            excess.hi > 0 ? logarithm_of_one_plus(excess.hi) + excess.lo / quotient.hi : excess.hi;
        return {is_below ? -log : log, 0};
    } else {
        return two_sum(a.log_total, Work(Work(0.0) - b.log_total));
    }
}

template <class Work>
class compared_rows {
public:
    constexpr compared_rows(const row_distribution<Work>& student, const row_distribution<Work>& teacher)
        : student_(student),
          teacher_(teacher),
          offset_(log_ratio_of_sums(teacher.terms, student.terms)) {}

    constexpr bool is_defined() const { return student_.top.is_finite() && teacher_.top.is_finite(); }

    constexpr class_divergence<Work> operator()(const Work& x, const Work& y) const {
        const Work zero(0.0);
        const bool no_student = x == negative_infinity<Work>(), no_teacher = y == negative_infinity<Work>();
        if (no_student) {
            const Work t = no_teacher ? zero : teacher_.probability(teacher_.factor.exponent(y));
            return {no_teacher ? zero : infinity<Work>(), t};
        }
        const auto at_student = student_.factor.exponent(x);
        const Work s = student_.probability(at_student);
        if (no_teacher) {
            return {s, zero - s};
        }
        const auto at_teacher = teacher_.factor.exponent(y);
        const Work t = teacher_.probability(at_teacher);
        if (t == zero) { // beside which s is all there is
            return {s, zero - s};
        }
        const auto ratio = log_ratio(at_teacher, at_student);
        const Work d = ratio.hi;
        if (Work(-2.0) < d && d < Work(1.0)) {
            const Work tail = tail_of_exponential(ratio);
            return {t * tail, Work(-1.0) < d ? Work(t * (d - tail)) : Work(t - s)};
        }
        const Work one(1.0);
        return {d < zero ? Work(s * (one - exponential(d) * (one - d))) : Work(t * (d - one) + s), t - s};
    }

    // The excess of the sum of t over that of s, taken out of log(t / s).
    constexpr void correct(const Work& excess) {
        const auto sum = two_sum(offset_.hi, excess);
        offset_ = {sum.hi, sum.lo + offset_.lo};
    }

private:
    constexpr double_word<Work> log_ratio(const double_word<Work>& at_teacher,
                                          const double_word<Work>& at_student) const {
        const Work plain = (at_teacher.hi - at_student.hi) - offset_.hi;
        if constexpr (std::floating_point<Work>) {
            if (plain < infinity<Work>()) { // else its rounding error would be infinity - infinity
                return (at_teacher - at_student) - offset_;
            }
        }
        return {plain, Work(0.0)};
    }

    row_distribution<Work> student_, teacher_;
    double_word<Work> offset_;
};

// T^2 sum t log(t / s); corrects `rows` for the gradient. The rows are as long as each other.
template <class Work, class I, class S, class J>
constexpr Work divergence_of_rows(I first, S last, J teacher, const Work& temperature,
                                  compared_rows<Work>& rows) {
    if (!rows.is_defined()) {
        return not_a_number<Work>();
    }
    compensated_sum<Work> relative, difference;
    for (; first != last; ++first, static_cast<void>(++teacher)) {
        const auto parts = rows(static_cast<Work>(*first), static_cast<Work>(*teacher));
        relative += parts.relative;
        difference += parts.difference;
    }
    const Work excess = difference.value().hi;
    rows.correct(excess);
    const Work result = relative.value().hi - excess * excess / Work(2.0);
    return (result < Work(0.0) ? Work(0.0) : result) * temperature * temperature;
}

// T (s - t) / divisor.
template <class Value, class Work, class I, class S, class J, class O>
constexpr O divergence_gradient_row(I first, S last, J teacher, O out, const Work& temperature,
                                    const Work& divisor, const compared_rows<Work>& rows) {
    for (; first != last; ++first, static_cast<void>(++teacher), static_cast<void>(++out)) {
        Work result = not_a_number<Work>();
        if (rows.is_defined()) {
            const auto parts = rows(static_cast<Work>(*first), static_cast<Work>(*teacher));
            result = (Work(0.0) - parts.difference) * temperature / divisor;
        }
        *out = static_cast<Value>(result);
    }
    return out;
}

} // namespace smx::inline SMX_ABI::detail

#endif
