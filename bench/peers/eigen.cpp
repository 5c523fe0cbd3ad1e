#include "kernels.hpp"

#include <Eigen/Core>

#include <cmath>

#define SMX_BENCH_TEXT_OF(x) #x
#define SMX_BENCH_TEXT(x) SMX_BENCH_TEXT_OF(x)
const char* const eigen_peer::version = SMX_BENCH_TEXT(EIGEN_WORLD_VERSION) "." SMX_BENCH_TEXT(
    EIGEN_MAJOR_VERSION) "." SMX_BENCH_TEXT(EIGEN_MINOR_VERSION);

template <class Real>
using row_of = Eigen::Array<Real, 1, Eigen::Dynamic>;

template <class Real>
void eigen_peer::softmax(const Real* logits, Real* probabilities, std::size_t rows, std::size_t columns) {
    const auto n = static_cast<Eigen::Index>(columns);
    for (std::size_t row = 0; row < rows; ++row) {
        const Eigen::Map<const row_of<Real>> x(logits + row * columns, n);
        Eigen::Map<row_of<Real>> p(probabilities + row * columns, n);
        p = (x - x.maxCoeff()).exp();
        p *= 1 / p.sum();
    }
}

template <class Real>
void eigen_peer::log_softmax(const Real* logits, Real* log_probabilities, std::size_t rows,
                             std::size_t columns) {
    const auto n = static_cast<Eigen::Index>(columns);
    for (std::size_t row = 0; row < rows; ++row) {
        const Eigen::Map<const row_of<Real>> x(logits + row * columns, n);
        Eigen::Map<row_of<Real>> l(log_probabilities + row * columns, n);
        const Real max = x.maxCoeff();
        const Real log_sum = std::log((x - max).exp().sum());
        l = x - max - log_sum;
    }
}

template void eigen_peer::softmax(const float*, float*, std::size_t, std::size_t);
template void eigen_peer::softmax(const double*, double*, std::size_t, std::size_t);
template void eigen_peer::log_softmax(const float*, float*, std::size_t, std::size_t);
template void eigen_peer::log_softmax(const double*, double*, std::size_t, std::size_t);
