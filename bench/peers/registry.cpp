#include "kernels.hpp"
#include "peer.hpp"

namespace {

template <class Real>
class kernel_peer : public peer<Real> {
public:
    kernel_peer(std::string name, std::string description, kernel<Real> softmax, kernel<Real> log_softmax)
        : peer<Real>(std::move(name), std::move(description)),
          softmax_(softmax),
          log_softmax_(log_softmax) {}

    bool prepare(const problem<Real>& p) override {
        problem_ = p;
        kernel_ = p.what == operation::softmax ? softmax_ : log_softmax_;
        return true;
    }

    void run() override { kernel_(problem_.logits, problem_.results, problem_.rows, problem_.columns); }

private:
    kernel<Real> softmax_, log_softmax_;
    kernel<Real> kernel_ = nullptr;
    problem<Real> problem_{};
};

} // namespace

template <class Real>
peer_list<Real> all_peers() {
    peer_list<Real> peers;
    const auto add = [&](const char* name, const std::string& description, kernel<Real> softmax,
                         kernel<Real> log_softmax) {
        peers.push_back(std::make_unique<kernel_peer<Real>>(name, description, softmax, log_softmax));
    };
    add("smx", "smx, -O2", smx_peer::softmax, smx_peer::log_softmax);
    add("loop", "std::exp loop, -O2", loop_plain::softmax, loop_plain::log_softmax);
    add("loop fast", "std::exp loop, -O3 -march=native -ffast-math", loop_fast::softmax,
        loop_fast::log_softmax);
#if defined(SMX_BENCH_EIGEN)
    add("Eigen", std::string("Eigen ") + eigen_peer::version + ", -O3 -march=native", eigen_peer::softmax,
        eigen_peer::log_softmax);
#endif
#if defined(SMX_BENCH_XSIMD)
    add("xsimd",
        std::string("three passes over the exp of xsimd ") + xsimd_peer::version + ", -O3 -march=native",
        xsimd_peer::softmax, xsimd_peer::log_softmax);
#endif
    if constexpr (sizeof(Real) == sizeof(float)) {
#if defined(SMX_BENCH_ONEDNN)
        peers.push_back(make_onednn());
#endif
#if defined(SMX_BENCH_XNNPACK)
        peers.push_back(make_xnnpack());
#endif
    }
#if defined(SMX_BENCH_TORCH)
    peers.push_back(make_torch<Real>());
#endif
    return peers;
}

template peer_list<float> all_peers();
template peer_list<double> all_peers();
