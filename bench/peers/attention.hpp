// The contestants of bench_attention: one head, softmax(Q K^T / sqrt(d)) V, of n queries and n keys of d numbers.
#ifndef SMX_BENCH_ATTENTION_HPP
#define SMX_BENCH_ATTENTION_HPP

#include "peer.hpp"

#include <cstddef>
#include <memory>

// In rows of d numbers. Causal: row r sees the keys 0 to r.
struct head_problem {
    std::size_t n, d;
    bool is_causal;
    const float *queries, *keys, *values;
    float* output;
};

// The recipe of docs/recipes.md: tiles of keys.
std::unique_ptr<runnable> make_fused_head(const head_problem& p);
// The whole matrix: product, smx::softmax (masked_softmax if causal), product. The products of the recipe.
std::unique_ptr<runnable> make_separate_head(const head_problem& p);
// The same with Eigen's products.
std::unique_ptr<runnable> make_eigen_head(const head_problem& p);
// at::_scaled_dot_product_attention, the name of that function in the libtorch at hand.
std::unique_ptr<runnable> make_torch_head(const head_problem& p);

#endif
