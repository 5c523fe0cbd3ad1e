// Exact results of one problem, and the distance of a peer's results from them.
#ifndef SMX_BENCH_ACCURACY_HPP
#define SMX_BENCH_ACCURACY_HPP

#include "peer.hpp"

#include <cstddef>
#include <vector>

struct accuracy {
    double worst_ulp = 0;    // of the results that are normal numbers
    double sum_error = 0;    // the worst |sum of the probabilities - 1| of a row
    std::size_t normals = 0; // exact results that are normal numbers,
    std::size_t lost = 0;    // and how many of them came out as 0
};

template <class Real>
class oracle {
public:
    explicit oracle(const problem<Real>& p);
    accuracy judge(const Real* results) const;

private:
    void solve_row(const Real* logits, long double* exact) const;

    problem<Real> problem_;
    std::vector<long double> exact_;
};

#endif
