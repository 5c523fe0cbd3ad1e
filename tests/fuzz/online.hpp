// Fuzzing online_normalizer: a row pushed by values and ranges, merged in any grouping, and what it then says of its logits.
#ifndef SMX_TESTS_FUZZ_ONLINE_HPP
#define SMX_TESTS_FUZZ_ONLINE_HPP

#include "cases.hpp"

namespace fuzz {

// Pieces of any length, some of them empty, some pushed value by value, merged as the bytes say.
template <class Real>
smx::online_normalizer<Real> normalizer_of(const placed<Real>& row, double temperature, source& from) {
    std::vector<smx::online_normalizer<Real>> states(1 + from.below(6),
                                                     smx::online_normalizer<Real>(temperature));
    for (std::size_t i = 0; i != row.row.size();) {
        auto& state = states[from.below(states.size())];
        const auto piece = row.row.subspan(i, (std::min)(row.row.size() - i, from.below(40)));
        if (from.below(3) == 0) {
            for (const Real x : piece) {
                state.push(x);
            }
        } else {
            state.push(piece);
        }
        i += piece.size();
        if (piece.empty()) { // the bytes may be at their end
            state.push(row.row[i++]);
        }
    }
    while (states.size() > 1) {
        const std::size_t into = from.below(states.size() - 1);
        states[into].merge(states.back());
        states.pop_back();
    }
    return states[0];
}

template <class Real>
void fuzz_online_normalizer(const batch_case<Real>& b, source& from) {
    using reals = std::vector<Real>;
    for (std::size_t r = 0; r != b.rows(); ++r) {
        const reals x = b.row_of(b.logits, r);
        placed<Real> row(x, b.offset), out(reals(x.size(), Real(-77)), (b.offset * 3) % 16);
        auto state = normalizer_of(row, b.temperature, from);
        const Real logsumexp = state.logsumexp();
        check_logsumexp(b, x, logsumexp);
        state.normalize(row.row, out.row);
        const reals p = out.taken();
        for (std::size_t c = 0; c != x.size(); ++c) {
            require(same(p[c], state.probability(x[c])), "normalize() is probability()");
            require(usual(x) ? p[c] >= 0 && p[c] <= 1 : std::isnan(p[c]),
                    "a probability is in [0, 1], or NaN");
        }
        state.normalize(row.row, row.row);
        require(same(p, row.taken()), "normalize() in place");
        if (b.judged(x)) {
            const oracle::row<Real> exact(x, b.temperature);
            for (std::size_t c = 0; c != x.size(); ++c) {
                near_probability(p[c], exact.probability(c), 3, "normalize()");
            }
            near(state.probability(state), oracle::wide_t<Real>(1), oracle::wide_t<Real>(1), 3,
                 "the share of all");
        }
        // What is refused changes nothing.
        placed<Real> shorter(reals(x.size() + 1, Real(-77)));
        refused(shorter, [&] { state.normalize(x, shorter.row); }, "a size that does not fit is refused");
        const smx::online_normalizer<Real> other(b.temperature == 3 ? 2 : 3);
        refused(shorter, [&] { state.merge(other); }, "a state of another temperature is refused");
        require(same(logsumexp, state.logsumexp()), "a state is as it was after an error");
    }
}

} // namespace fuzz

#endif
