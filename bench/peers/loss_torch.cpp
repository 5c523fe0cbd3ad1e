#include "losses.hpp"

#include <ATen/Parallel.h>
#include <torch/torch.h>

namespace {

// The tensors are made once; the graph is recorded anew in each run, as in training, and the gradient overwritten.
class torch_loss : public runnable {
public:
    explicit torch_loss(const loss_problem& p) {
        at::set_num_threads(1);
        const auto n = [](std::size_t size) { return static_cast<std::int64_t>(size); };
        std::vector<std::int64_t> sizes{n(p.outer), n(p.classes)}, rows{n(p.outer)};
        if (p.inner != 1) {
            sizes.push_back(n(p.inner));
            rows.push_back(n(p.inner));
        }
        logits_ = torch::from_blob(const_cast<float*>(p.logits), sizes, torch::kFloat32);
        targets_ = torch::from_blob(const_cast<std::int64_t*>(p.targets), rows, torch::kInt64);
        logits_.requires_grad_(true);
        logits_.mutable_grad() = torch::from_blob(p.gradient, sizes, torch::kFloat32);
    }

    void run() override {
        logits_.mutable_grad().zero_(); // kept, or every run would take new memory; one of many passes
        torch::nn::functional::cross_entropy(logits_, targets_).backward();
    }

private:
    torch::Tensor logits_, targets_;
};

} // namespace

std::unique_ptr<runnable> make_torch_loss(const loss_problem& p) { return std::make_unique<torch_loss>(p); }
