// The contestants of bench_losses: mean cross-entropy over a batch and its gradient by the logits. As in kernels.hpp
// nothing but pointers: some are compiled with flags of their own.
#ifndef SMX_BENCH_LOSSES_HPP
#define SMX_BENCH_LOSSES_HPP

#include "peer.hpp"

#include <cstddef>
#include <cstdint>
#include <memory>

// Element (o, c, i) stands at (o * classes + c) * inner + i, the target of its row at o * inner + i.
struct loss_problem {
    std::size_t outer, classes, inner;
    const float* logits;
    const std::int64_t* targets;
    float* gradient;

    std::size_t rows() const { return outer * inner; }
    std::size_t size() const { return rows() * classes; }
};

namespace loss_loop_fast {
// As a careful user writes it: maximum, terms and their sum, gradient, one row after the other (inner > 1: a strip of
// neighbouring rows at once).
float cross_entropy(const loss_problem& p);
} // namespace loss_loop_fast

// Forward and backward by autograd, as a program that trains calls them.
std::unique_ptr<runnable> make_torch_loss(const loss_problem& p);

#endif
