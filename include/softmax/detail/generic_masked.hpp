// Masked rows of every element type and forward iterator, with every option, also in constant expressions, and their gradients.
// As in generic_rows.hpp each element is written after it was read for the last time.
#ifndef SMX_DETAIL_GENERIC_MASKED_HPP
#define SMX_DETAIL_GENERIC_MASKED_HPP

#include "double_word.hpp"
#include "elementary.hpp"
#include "elements.hpp"
#include "generic_gradients.hpp"
#include "generic_online.hpp"
#include "generic_rows.hpp"
#include "masks.hpp"

#include <concepts>
#include <cstddef>

namespace smx::inline SMX_ABI::detail {

// What the rows of a call have in common.
template <class Work>
struct masked_rule {
    Work temperature;
    soft_cap<Work> cap;

    // A logit in units of divisor(). (An infinite one is capped as the limit it is.)
    constexpr Work scaled(const Work& x) const {
        return cap.is_on() ? cap(is_number(x) ? Work(x / temperature) : x) : x;
    }
    constexpr Work divisor() const { return cap.is_on() ? Work(1.0) : temperature; }
};

// a - b, in two words; an infinite distance moved by a number stays as it is.
template <class Work>
constexpr double_word<Work> difference(const Work& a, const Work& b) {
    if constexpr (std::floating_point<Work>) {
        return two_sum(a, -b);
    } else {
        return {a - b, Work(0.0)};
    }
}
template <class Work>
constexpr double_word<Work> moved(const double_word<Work>& distance, const double_word<Work>& by) {
    return is_number(distance.hi) ? plus(distance, by) : distance;
}

// (x - top) / T + (bias - bias of top), in two words.
template <class Work>
class masked_exponent {
public:
    constexpr masked_exponent(const Work& top, const Work& bias, const Work& divisor)
        : factor_(top, divisor),
          bias_(bias) {}

    constexpr double_word<Work> operator()(const Work& x, const Work& bias) const {
        const auto distance = factor_.template exponent<true>(x);
        return bias == bias_ ? distance : moved(distance, difference(bias, bias_));
    }
    // A sink is beside all that: it is neither divided nor biased.
    constexpr double_word<Work> of_sink(const Work& sink) const {
        return moved(factor_.template exponent<true>(Work(0.0)), difference(sink, bias_));
    }

private:
    boltzmann_factor<Work> factor_;
    Work bias_;
};

// What a pass over a masked row finds: a largest logit, and whether results are numbers.
template <class Work>
struct masked_top {
    masked_exponent<Work> exponent{Work(0.0), Work(0.0), Work(1.0)};
    std::size_t position = 0;
    bool is_found = false;
    bool is_undefined = false; // by NaN or +inf
    bool is_empty = true;      // nothing takes part
};

template <class Work, class I, class S, class Cursor>
constexpr masked_top<Work> find_masked_top(I first, S last, Cursor mask, const masked_rule<Work>& rule) {
    masked_top<Work> top;
    std::size_t position = 0;
    for (; first != last; ++first, static_cast<void>(++mask), static_cast<void>(++position)) {
        if (!mask.takes_part()) {
            continue;
        }
        top.is_empty = false;
        const Work x = rule.scaled(static_cast<Work>(*first)), bias = bias_at<Work>(mask);
        top.is_undefined = top.is_undefined || !(x < infinity<Work>()) || !(bias < infinity<Work>());
        if (!is_number(x) || !is_number(bias)) {
            continue;
        }
        if (!top.is_found || Work(0.0) < top.exponent(x, bias).hi) {
            top.exponent = masked_exponent<Work>(x, bias, rule.divisor());
            top.position = position;
            top.is_found = true;
        }
    }
    return top;
}

// Writes f(x, bias) where the mask lets a logit take part, else `excluded`; returns the end of the output.
template <class Value, class Work, class I, class S, class O, class Cursor, class F>
constexpr O write_masked(I first, S last, Cursor mask, O out, const Work& excluded, F f) {
    for (; first != last; ++first, static_cast<void>(++mask), static_cast<void>(++out)) {
        const Work result =
            mask.takes_part() ? Work(f(static_cast<Work>(*first), bias_at<Work>(mask))) : excluded;
        *out = static_cast<Value>(result);
    }
    return out;
}

// T = 0: all weight on the maxima of what takes part.
template <bool Log, class Value, class Work, class I, class S, class O, class Cursor>
constexpr O masked_maxima_row(I first, S last, Cursor mask, O out) {
    Work top = negative_infinity<Work>();
    std::size_t count = 0;
    bool undefined = false;
    Cursor at = mask;
    for (I it = first; it != last; ++it, static_cast<void>(++at)) {
        if (at.takes_part()) {
            const Work x = static_cast<Work>(*it);
            undefined = undefined || !(x < infinity<Work>());
            count = x == top ? count + 1 : top < x ? 1 : count;
            top = top < x ? x : top;
        }
    }
    const Work none = Log ? negative_infinity<Work>() : Work(0.0);
    const Work counted = static_cast<Work>(static_cast<double>(count));
    const Work share = Log ? Work(Work(0.0) - logarithm(counted)) : Work(Work(1.0) / counted);
    const bool is_defined = !undefined && is_number(top);
    return write_masked<Value>(first, last, mask, out, none, [&](const Work& x, const Work&) {
        return !is_defined ? not_a_number<Work>() : x == top ? share : none;
    });
}

// Of the logits that take part, exp(z - top) or its logarithm over the sum of all and of the sink: z as masked_rule and the bias
// make it.
template <bool Log, class Value, class Work, class I, class S, class O, class Cursor>
constexpr O masked_row(I first, S last, Cursor mask, O out, const masked_rule<Work>& rule, const Work& sink) {
    const Work none = Log ? negative_infinity<Work>() : Work(0.0);
    if (rule.temperature == Work(0.0)) {
        return masked_maxima_row<Log, Value, Work>(first, last, mask, out);
    }
    const auto top = find_masked_top(first, last, mask, rule);
    const bool has_sink = !(sink == negative_infinity<Work>());
    const double_word<Work> zero{Work(0.0), Work(0.0)};
    const auto sink_exponent = has_sink && top.is_found ? top.exponent.of_sink(sink) : zero;
    const bool is_undefined =
        top.is_undefined || !(sink < infinity<Work>()) || (!top.is_found && !top.is_empty && !has_sink);
    if (is_undefined || !top.is_found || !(sink_exponent.hi < infinity<Work>())) {
        const Work result = is_undefined ? not_a_number<Work>() : none;
        return write_masked<Value>(first, last, mask, out, none,
                                   [&](const Work&, const Work&) { return result; });
    }
    const bool sink_leads = has_sink && Work(0.0) < sink_exponent.hi;
    // By the larger of the top and the sink, whose term is 1 and stays out of the sum.
    const auto exponent = [&](const Work& x, const Work& bias) {
        const auto e = top.exponent(x, bias);
        return sink_leads ? moved(e, {Work(Work(0.0) - sink_exponent.hi), Work(Work(0.0) - sink_exponent.lo)})
                          : e;
    };
    const auto counts = [&](const Work& x, const Work& bias) { return is_number(x) && is_number(bias); };
    compensated_sum<Work> others;
    Cursor at = mask;
    std::size_t position = 0;
    for (I it = first; it != last; ++it, static_cast<void>(++at), static_cast<void>(++position)) {
        const Work x = at.takes_part() ? rule.scaled(static_cast<Work>(*it)) : negative_infinity<Work>();
        if (is_number(x) && (sink_leads || position != top.position)) {
            others += boltzmann_factor<Work>::value(exponent(x, bias_at<Work>(at)));
        }
    }
    if (has_sink && !sink_leads) {
        others += boltzmann_factor<Work>::value(sink_exponent);
    }
    const partition<Work> terms(others.value());
    const Work correction = terms.total.lo / terms.total.hi;
    return write_masked<Value>(first, last, mask, out, none, [&](const Work& logit, const Work& bias) {
        const Work x = rule.scaled(logit);
        if (!counts(x, bias)) {
            return none;
        }
        auto e = exponent(x, bias);
        if constexpr (Log) {
            return Work((e.hi - terms.log_total) + e.lo);
        } else {
            e.lo = e.lo - correction;
            return Work(boltzmann_factor<Work>::value(e) / terms.total.hi);
        }
    });
}

// The slope of the cap at x / T.
template <class Work>
constexpr Work slope_at(const masked_rule<Work>& rule, const Work& x) {
    return rule.cap.slope(boltzmann_factor<Work>(Work(0.0), rule.temperature).template exponent<true>(x));
}

// The gradient by the capped logits over T, times the slope of the cap. Outputs of what takes no part are 0, or -inf: such add
// nothing to the sum, whatever their upstream.
template <bool Log, class Value, class Work, class L, class I, class S, class U, class O>
constexpr O masked_gradient_row(L logits, I first, S last, U upstream, O out, const masked_rule<Work>& rule) {
    const Work none = Log ? negative_infinity<Work>() : Work(0.0);
    compensated_sum<Work> all;
    U u = upstream;
    for (I y = first; y != last; ++y, static_cast<void>(++u)) {
        const Work output = static_cast<Work>(*y);
        if (output == none) {
            continue;
        }
        if constexpr (Log) {
            all += static_cast<Work>(*u);
        } else {
            add_product(all, output, static_cast<Work>(*u));
        }
    }
    const auto sum = all.value();
    return write_gradient<Value, Work>(first, last, upstream, out, [&](const Work& output, const Work& up) {
        Work slope(1.0);
        if (rule.cap.is_on()) {
            slope = slope_at(rule, static_cast<Work>(*logits));
            ++logits;
        }
        if (output == none) {
            return Work(0.0);
        }
        const Work gradient = Log ? gradient_of_logarithm(exponential(output), up, sum, rule.temperature)
                                  : gradient_of_probability(output, up, sum, rule.temperature);
        return Work(gradient * slope);
    });
}

} // namespace smx::inline SMX_ABI::detail

#endif
