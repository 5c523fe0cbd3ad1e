// Fuzzing softmax, log_softmax and logsumexp: a batch out of place and in place, each row alone, the bounds and the table of
// special values.
#ifndef SMX_TESTS_FUZZ_FORWARD_HPP
#define SMX_TESTS_FUZZ_FORWARD_HPP

#include "cases.hpp"

namespace fuzz {

// Calls check(row, result) for every row.
template <class Real, class F, class Check>
void map_rows(const batch_case<Real>& b, F f, Check check) {
    using reals = std::vector<Real>;
    placed<Real> in(b.logits, b.offset), out(reals(b.logits.size()), (b.offset * 7) % 16);
    f(in.row, out.row, b.batch, b.temperature);
    require(same(in.taken(), b.logits), "the input is left as it was");
    f(in.row, in.row, b.batch, b.temperature);
    require(same(in.taken(), out.taken()), "in place is as out of place");
    for (std::size_t r = 0; r != b.rows(); ++r) {
        const reals x = b.row_of(b.logits, r);
        placed<Real> alone(x, (b.offset * 3) % 16);
        f(alone.row, alone.row, b.temperature);
        const reals found = alone.taken();
        require(same(found, b.row_of(out.taken(), r)), "a row in a batch is as the row alone");
        if (b.is_sampled(r)) {
            check(x, found);
        }
    }
}

template <class Real>
void check_softmax(const batch_case<Real>& b, const std::vector<Real>& x, const std::vector<Real>& p) {
    using wide = oracle::wide_t<Real>;
    if (!usual(x)) {
        require(std::all_of(p.begin(), p.end(), is_nan<Real>), "all NaN");
        return;
    }
    const Real top = *std::max_element(x.begin(), x.end());
    const auto tops = std::count(x.begin(), x.end(), top);
    const auto finite = std::count_if(x.begin(), x.end(), [](Real a) { return a != -infinity<Real>; });
    for (std::size_t c = 0; c != x.size(); ++c) {
        require(p[c] >= 0 && p[c] <= 1, "a probability is in [0, 1]");
        require(x[c] != -infinity<Real> || p[c] == 0, "-inf has probability 0");
        if (b.temperature == 0) {
            near(p[c], x[c] == top ? wide(1) / wide(tops) : wide(0), wide(1) / wide(tops), 1,
                 "softmax at T = 0");
        } else if (b.temperature == infinity<double> && x[c] != -infinity<Real>) {
            near(p[c], wide(1) / wide(finite), wide(1) / wide(finite), 1, "softmax at T = inf");
        }
    }
    if (b.judged(x)) {
        const oracle::row<Real> exact(x, b.temperature);
        for (std::size_t c = 0; c != x.size(); ++c) {
            near_probability(p[c], exact.probability(c), 3, "softmax");
        }
    }
}

template <class Real>
void check_log_softmax(const batch_case<Real>& b, const std::vector<Real>& x, const std::vector<Real>& l) {
    if (!usual(x)) {
        require(std::all_of(l.begin(), l.end(), is_nan<Real>), "all NaN");
        return;
    }
    for (std::size_t c = 0; c != x.size(); ++c) {
        require(l[c] <= 0, "a logarithm of a probability is not positive");
        require(x[c] != -infinity<Real> || l[c] == -infinity<Real>, "-inf has log-probability -inf");
    }
    if (b.judged(x)) {
        const oracle::row<Real> exact(x, b.temperature);
        for (std::size_t c = 0; c != x.size(); ++c) {
            if (x[c] != -infinity<Real>) {
                near_log_probability(l[c], exact.log_probability(c), 3, "log_softmax");
            }
        }
    }
}

template <class Real>
void fuzz_softmax(const batch_case<Real>& b) {
    map_rows(b, [](const auto&... a) { smx::softmax(a...); }, [&](auto&... a) { check_softmax(b, a...); });
}

template <class Real>
void fuzz_log_softmax(const batch_case<Real>& b) {
    map_rows(
        b, [](const auto&... a) { smx::log_softmax(a...); }, [&](auto&... a) { check_log_softmax(b, a...); });
}

template <class Real>
void fuzz_logsumexp(const batch_case<Real>& b) {
    using reals = std::vector<Real>;
    placed<Real> in(b.logits, b.offset), out(reals(b.rows()), 3);
    smx::logsumexp(in.row, out.row, b.batch, b.temperature);
    for (std::size_t r = 0; r != b.rows(); ++r) {
        const reals x = b.row_of(b.logits, r);
        placed<Real> alone(x, (b.offset * 3) % 16);
        const Real found = smx::logsumexp(alone.row, b.temperature);
        require(same(found, out.row[r]), "logsumexp in a batch is as alone");
        if (b.is_sampled(r)) {
            check_logsumexp(b, x, found);
        }
    }
}

} // namespace fuzz

#endif
