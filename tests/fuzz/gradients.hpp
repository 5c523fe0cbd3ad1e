// Fuzzing softmax_backward and log_softmax_backward: made-up outputs, in place on either argument, the bounds, what takes no part.
#ifndef SMX_TESTS_FUZZ_GRADIENTS_HPP
#define SMX_TESTS_FUZZ_GRADIENTS_HPP

#include "cases.hpp"

namespace fuzz {

// p: the outputs, or what they are the logarithms of; sum and magnitude: of what is added up for a row, and of its absolute values.
template <class Real>
struct upstream_sum {
    using wide = oracle::wide_t<Real>;
    wide sum = 0, magnitude = 0;

    void add(const wide& term) {
        using std::abs;
        sum += term;
        magnitude += abs(term);
    }
    // Where it cancels, it is as good as its terms are.
    wide unit() const {
        using std::abs;
        return (std::max)(wide(abs(sum)), wide(magnitude * wide(std::numeric_limits<Real>::epsilon())));
    }
};

template <class Real>
bool is_judged_upstream(const std::vector<Real>& u, double temperature) {
    return temperature > 1e-6 && temperature < 1e6 &&
           std::all_of(
               u.begin(), u.end(),
               [](Real a) { return std::abs(a) < Real(1e30) && (a == 0 || std::abs(a) > Real(1e-20)); });
}

template <class Real>
void check_gradient(const batch_case<Real>& b, const std::vector<Real>& p, std::vector<Real> u,
                    const std::vector<Real>& found) {
    using wide = oracle::wide_t<Real>;
    using std::abs;
    upstream_sum<Real> all;
    for (std::size_t c = 0; c != p.size(); ++c) {
        require(p[c] != 0 || found[c] == 0, "softmax_backward: a class of probability 0 has gradient 0");
        u[c] = p[c] == 0 ? Real(0) : u[c];
        all.add(wide(p[c]) * wide(u[c]));
    }
    if (!is_judged_upstream(u, b.temperature)) {
        return;
    }
    const wide t = b.temperature;
    for (std::size_t c = 0; c != p.size(); ++c) {
        // Divided first: the oracle of double has the range of double.
        const wide exact = wide(p[c]) * ((wide(u[c]) - all.sum) / t);
        const wide scale = wide(p[c]) * ((std::max)(wide(abs(wide(u[c]))), all.unit()) / t);
        if (normal<Real>(scale)) {
            near(found[c], exact, scale, 3, "softmax_backward");
        }
    }
}

template <class Real>
void check_log_gradient(const batch_case<Real>& b, const std::vector<Real>& l, const std::vector<Real>& u,
                        const std::vector<Real>& found) {
    using wide = oracle::wide_t<Real>;
    using std::abs;
    using std::exp;
    if (!is_judged_upstream(u, b.temperature)) {
        return;
    }
    upstream_sum<Real> all;
    for (const Real up : u) {
        all.add(wide(up));
    }
    const wide t = b.temperature;
    for (std::size_t c = 0; c != l.size(); ++c) {
        const bool is_out = l[c] == -infinity<Real>;
        const wide p = is_out ? wide(0) : wide(exp(wide(l[c])));
        const wide exact = wide(u[c]) / t - p * (all.sum / t);
        const wide scale = (std::max)(wide(abs(wide(u[c])) / t), wide(p * (all.unit() / t)));
        if ((is_out || normal<Real>(p)) && normal<Real>(scale)) {
            near(found[c], exact, scale, 4, "log_softmax_backward");
        }
    }
}

// f(outputs, upstream, gradient, shape, T): out of place, in place on either; a row alone is as in the batch.
template <class Real, class F, class Check>
void map_gradients(const batch_case<Real>& b, const std::vector<Real>& y, const std::vector<Real>& u, F f,
                   Check check) {
    using reals = std::vector<Real>;
    placed<Real> out(y, b.offset), up(u, (b.offset * 3) % 16), gradient(reals(y.size()), 5);
    f(out.row, up.row, gradient.row, b.batch, b.temperature);
    const reals found = gradient.taken();
    f(out.row, up.row, up.row, b.batch, b.temperature);
    require(same(found, up.taken()), "a gradient in place on the upstream");
    placed<Real> again(u, 1);
    f(out.row, again.row, out.row, b.batch, b.temperature);
    require(same(found, out.taken()), "a gradient in place on the outputs");
    for (std::size_t r = 0; r != b.rows(); ++r) {
        const reals row = b.row_of(y, r), up_row = b.row_of(u, r);
        placed<Real> alone(row, 3), with(up_row, b.offset);
        f(alone.row, with.row, alone.row, b.temperature);
        require(same(alone.taken(), b.row_of(found, r)), "a gradient in a batch is as alone");
        if (b.is_sampled(r)) {
            check(row, up_row, alone.taken());
        }
    }
}

// Outputs in [0, 1), upstreams as the logits are.
template <class Real>
void fuzz_softmax_backward(const batch_case<Real>& b, source& from) {
    std::vector<Real> p, u = b.logits;
    for (Real& up : u) {
        const auto byte = from.take<std::uint8_t>();
        p.push_back(byte < 16 ? Real(0) : static_cast<Real>(byte) / 256);
        if (byte < 8) { // takes no part, whatever its upstream
            up = byte < 4 ? std::numeric_limits<Real>::quiet_NaN() : infinity<Real>;
        }
    }
    map_gradients(
        b, p, u, [](const auto&... a) { smx::softmax_backward(a...); },
        [&](const auto&... a) { check_gradient(b, a...); });
}

template <class Real>
void fuzz_log_softmax_backward(const batch_case<Real>& b, source& from) {
    std::vector<Real> l;
    for (std::size_t k = 0; k != b.logits.size(); ++k) {
        const auto bits = from.take<std::uint16_t>();
        l.push_back(bits < 4096   ? -infinity<Real>
                    : bits < 8192 ? Real(0)
                                  : -std::ldexp(static_cast<Real>(bits), -(bits % 32)));
    }
    map_gradients(
        b, l, b.logits, [](const auto&... a) { smx::log_softmax_backward(a...); },
        [&](const auto&... a) { check_log_gradient(b, a...); });
}

} // namespace fuzz

#endif
