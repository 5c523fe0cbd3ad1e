// Compiled with -O3 -march=native: what is not softmax is a product of matrices.
#include "attention.hpp"

#include "../../examples/support/streaming_attention.hpp"

#include <softmax.hpp>

#include <cmath>
#include <span>
#include <vector>

namespace {

double root(std::size_t d) { return std::sqrt(static_cast<double>(d)); }

class fused_head : public runnable {
public:
    explicit fused_head(const head_problem& p) : p_(p) {}
    void run() override {
        const std::size_t size = p_.n * p_.d;
        attend({p_.queries, size}, {p_.keys, size}, {p_.values, size}, {p_.output, size},
               {p_.n, p_.n, p_.d, p_.d, root(p_.d), p_.is_causal});
    }

private:
    head_problem p_;
};

class separate_head : public runnable {
public:
    explicit separate_head(const head_problem& p) : p_(p), transposed_(p.n * p.d), scores_(p.n * p.n) {}
    void run() override {
        const std::size_t n = p_.n, d = p_.d;
        for (std::size_t k = 0; k != n; ++k) {
            for (std::size_t i = 0; i != d; ++i) {
                transposed_[i * n + k] = p_.keys[k * d + i];
            }
        }
        std::fill(scores_.begin(), scores_.end(), 0.0F);
        add_product(p_.queries, d, transposed_.data(), n, scores_.data(), n, n, d, n);
        p_.is_causal ? smx::masked_softmax(scores_, smx::causal(), scores_, {n, n}, {.temperature = root(d)})
                     : smx::softmax(scores_, scores_, {n, n}, root(d));
        std::fill(p_.output, p_.output + n * d, 0.0F);
        add_product(scores_.data(), n, p_.values, d, p_.output, d, n, n, d);
    }

private:
    head_problem p_;
    std::vector<float> transposed_, scores_;
};

} // namespace

std::unique_ptr<runnable> make_fused_head(const head_problem& p) { return std::make_unique<fused_head>(p); }
std::unique_ptr<runnable> make_separate_head(const head_problem& p) {
    return std::make_unique<separate_head>(p);
}
