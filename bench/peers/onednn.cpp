#include "peer.hpp"

#include <oneapi/dnnl/dnnl.hpp>

#include <dlfcn.h>
#include <unordered_map>

namespace {

// By name at run time: it has to be the OpenMP that oneDNN runs on, which need not be that of our compiler.
void use_one_thread() {
    if (void* const symbol = dlsym(RTLD_DEFAULT, "omp_set_num_threads"))
        reinterpret_cast<void (*)(int)>(symbol)(1);
}

dnnl::primitive make_primitive(const dnnl::engine& engine, const dnnl::memory::desc& layout, operation what) {
    const auto kind = dnnl::prop_kind::forward_inference;
    const auto algorithm =
        what == operation::softmax ? dnnl::algorithm::softmax_accurate : dnnl::algorithm::softmax_log;
#if DNNL_VERSION_MAJOR >= 3
    return dnnl::softmax_forward({engine, kind, algorithm, layout, layout, 1});
#else
    return dnnl::softmax_v2_forward({{kind, algorithm, layout, layout, 1}, engine});
#endif
}

std::string version() {
    const dnnl_version_t* const v = dnnl_version();
    return std::to_string(v->major) + '.' + std::to_string(v->minor) + '.' + std::to_string(v->patch);
}

class onednn : public peer<float> {
public:
    onednn() : peer("oneDNN", "oneDNN " + version()) { use_one_thread(); }

    bool prepare(const problem<float>& p) override {
        const dnnl::memory::desc layout(
            {static_cast<dnnl::memory::dim>(p.rows), static_cast<dnnl::memory::dim>(p.columns)},
            dnnl::memory::data_type::f32, dnnl::memory::format_tag::ab);
        primitive_ = make_primitive(engine_, layout, p.what);
        arguments_ = {{DNNL_ARG_SRC, dnnl::memory(layout, engine_, const_cast<float*>(p.logits))},
                      {DNNL_ARG_DST, dnnl::memory(layout, engine_, p.results)}};
        return true;
    }

    void run() override {
        primitive_.execute(stream_, arguments_);
        stream_.wait();
    }

private:
    dnnl::engine engine_{dnnl::engine::kind::cpu, 0};
    dnnl::stream stream_{engine_};
    dnnl::primitive primitive_;
    std::unordered_map<int, dnnl::memory> arguments_;
};

} // namespace

std::unique_ptr<peer<float>> make_onednn() { return std::make_unique<onednn>(); }
