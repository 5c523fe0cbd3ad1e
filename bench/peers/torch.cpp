#include "peer.hpp"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>
#include <torch/csrc/api/include/torch/version.h>

namespace {

// Of what a program pays per call, only the dispatch is timed: the tensors are views made once, the result
// is one of them, and no graph is recorded.
template <class Real>
class torch_peer : public peer<Real> {
public:
    torch_peer() : peer<Real>("libtorch", "libtorch " TORCH_VERSION) { at::set_num_threads(1); }

    bool prepare(const problem<Real>& p) override {
        const c10::InferenceMode guard;
        what_ = p.what;
        logits_ = view(const_cast<Real*>(p.logits), p);
        results_ = view(p.results, p);
        return true;
    }

    void run() override {
        const c10::InferenceMode guard;
        if (what_ == operation::softmax)
            at::_softmax_out(results_, logits_, 1, false);
        else
            at::_log_softmax_out(results_, logits_, 1, false);
    }

private:
    static at::Tensor view(Real* data, const problem<Real>& p) {
        return at::from_blob(data, {static_cast<std::int64_t>(p.rows), static_cast<std::int64_t>(p.columns)},
                             at::TensorOptions(c10::CppTypeToScalarType<Real>::value));
    }

    operation what_ = operation::softmax;
    at::Tensor logits_, results_;
};

} // namespace

template <class Real>
std::unique_ptr<peer<Real>> make_torch() {
    return std::make_unique<torch_peer<Real>>();
}

template std::unique_ptr<peer<float>> make_torch();
template std::unique_ptr<peer<double>> make_torch();
