#include "peer.hpp"

#include <xnnpack.h>

#include <stdexcept>

namespace {

void check(xnn_status status) {
    if (status != xnn_status_success)
        throw std::runtime_error("XNNPACK: status " + std::to_string(static_cast<int>(status)));
}

class xnnpack : public peer<float> {
public:
    xnnpack() : peer("XNNPACK", "XNNPACK, the operator softmax_nc_f32") { check(xnn_initialize(nullptr)); }
    xnnpack(const xnnpack&) = delete;
    xnnpack& operator=(const xnnpack&) = delete;
    ~xnnpack() override { xnn_delete_operator(operator_); }

    bool prepare(const problem<float>& p) override {
        if (p.what != operation::softmax)
            return false;
        xnn_delete_operator(operator_);
        operator_ = nullptr;
        check(xnn_create_softmax_nc_f32(p.columns, p.columns, p.columns, 0, &operator_));
        check(xnn_setup_softmax_nc_f32(operator_, p.rows, p.logits, p.results, nullptr));
        return true;
    }

    void run() override { xnn_run_operator(operator_, nullptr); } // no thread pool: this thread

private:
    xnn_operator_t operator_ = nullptr;
};

} // namespace

std::unique_ptr<peer<float>> make_xnnpack() { return std::make_unique<xnnpack>(); }
