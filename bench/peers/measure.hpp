// Everything about one operation on one shape.
#ifndef SMX_BENCH_MEASURE_HPP
#define SMX_BENCH_MEASURE_HPP

#include "report.hpp"

template <class Real>
shape_result measure(operation what, std::size_t rows, std::size_t columns,
                     const std::vector<peer<Real>*>& peers, const schedule& s, bool judge);

#endif
