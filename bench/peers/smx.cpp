#include "kernels.hpp"

#include <softmax.hpp>

#include <span>

template <class Real>
void smx_peer::softmax(const Real* logits, Real* probabilities, std::size_t rows, std::size_t columns) {
    const std::span in(logits, rows * columns);
    const std::span out(probabilities, rows * columns);
    if (rows == 1)
        smx::softmax(in, out);
    else
        smx::softmax(in, out, smx::shape{rows, columns});
}

template <class Real>
void smx_peer::log_softmax(const Real* logits, Real* log_probabilities, std::size_t rows,
                           std::size_t columns) {
    const std::span in(logits, rows * columns);
    const std::span out(log_probabilities, rows * columns);
    if (rows == 1)
        smx::log_softmax(in, out);
    else
        smx::log_softmax(in, out, smx::shape{rows, columns});
}

template void smx_peer::softmax(const float*, float*, std::size_t, std::size_t);
template void smx_peer::softmax(const double*, double*, std::size_t, std::size_t);
template void smx_peer::log_softmax(const float*, float*, std::size_t, std::size_t);
template void smx_peer::log_softmax(const double*, double*, std::size_t, std::size_t);
